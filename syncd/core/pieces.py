"""The groups of a frame of edits: which rows are whose, and what each of them edits.

A group comes in one *piece* or, one a frame, in several.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from syncd.core.edits import Edit, EditGroup
from syncd.core.messages import Made, Upload
from syncd.core.model import Kind
from syncd.core.settings import Limits


class Piece(NamedTuple):
    """The rows of one group in one frame: those from ``start`` to ``end``."""

    made: Made
    start: int
    end: int


def pieces(upload: Upload) -> Iterator[Piece]:
    """The groups of a frame, in order; one that does not follow the one before it is passed over."""
    at = before = 0
    for made in upload.runs:
        if made.number > before:
            yield Piece(made, at, at + made.rows)
            before = made.number
        at += made.rows


def edits_of(upload: Upload, piece: Piece) -> Iterator[Edit]:
    kinds, types, keys, bases, fields = upload.kinds, upload.types, upload.keys, upload.bases, upload.fields
    for row in range(piece.start, piece.end):
        base = None if kinds[row] == Kind.ADD else bases[row]
        yield Edit(types[row], keys[row], base, None if kinds[row] == Kind.DELETE else fields[row])


def made_us(made: Made, clock_us: int, now_us: int, limits: Limits) -> int:
    """When a group was made, by the primary's clock: not after it came. 0 where the clocks differ too much to tell."""
    ahead_us = now_us - clock_us
    if abs(ahead_us) > limits.clock_skew_s_max * 1_000_000:
        return 0
    return max(0, min(made.time_us + ahead_us, now_us))


def groups_of(device: str, upload: Upload, now_us: int, limits: Limits) -> Iterator[EditGroup]:
    """Of a frame that holds whole groups only."""
    for piece in pieces(upload):
        made, edits = piece.made, tuple(edits_of(upload, piece))
        time_us = made_us(made, upload.clock_us, now_us, limits)
        yield EditGroup(device, upload.outbox, made.number, time_us, edits, made.offered, device)
