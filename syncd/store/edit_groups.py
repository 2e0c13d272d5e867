"""What both outboxes share: sizes and limits of groups of edits, and how groups become Uploads (R15)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from syncd.core.edits import Edit
from syncd.core.messages import Made, Upload
from syncd.core.model import Kind
from syncd.core.settings import Limits

UNREAD = "changes of the application that belong to what is put back were not read yet"


class Refusal(NamedTuple):
    """Why this device refuses a group itself. ``guilty``: type and key of the object, None where it is all of them."""

    cause: str
    guilty: tuple[int, bytes] | None


def edit_bytes(edit: Edit) -> int:
    return len(edit.key) + len(edit.base or b"") + len(edit.fields or b"")


def refusal(edits: Iterable[Edit], limits: Limits) -> Refusal | None:
    """Why a group cannot travel, None where it can."""
    total = 0
    for edit in edits:
        size = len(edit.base or b"") + len(edit.fields or b"")
        if edit.fault:
            return Refusal(edit.fault, (edit.type, edit.key))
        if size > limits.object_bytes_max:
            cause = f"with the version it was made from it has {size} bytes; the limit is {limits.object_bytes_max}"
            return Refusal(cause, (edit.type, edit.key))
        total += edit_bytes(edit)
    return too_large(total, limits)


def too_large(total: int, limits: Limits) -> Refusal | None:
    """The same for a group that has so many bytes."""
    if total <= limits.edit_group_bytes_max:
        return None
    return Refusal(f"{total} bytes were changed together; the limit is {limits.edit_group_bytes_max}", None)


class Row(NamedTuple):
    """One edit of a group on its way into an Upload. ``last``: the group ends with it."""

    number: int
    time_us: int
    offered: bool
    last: bool
    type: int
    key: bytes
    base: bytes | None
    fields: bytes | None


@dataclass(slots=True)
class Packer:
    """Packs rows of groups, in order, into frames."""

    collection: str
    outbox: str
    limits: Limits

    def packed(self, rows: Iterable[Row]) -> tuple[Upload, ...]:
        frames: list[Upload] = []
        held: list[Row] = []
        size = 0
        for row in rows:
            held.append(row)
            size += len(row.key) + len(row.base or b"") + len(row.fields or b"")
            if size >= self.limits.frame_bytes or len(held) >= self.limits.chunk_rows_max:
                frames.append(self._frame(held))
                held, size = [], 0
        if held:
            frames.append(self._frame(held))
        return tuple(frames)

    def _frame(self, rows: list[Row]) -> Upload:
        runs: list[Made] = []
        for row in rows:
            if runs and runs[-1].number == row.number:
                runs[-1] = runs[-1]._replace(rows=runs[-1].rows + 1, whole=row.last)
            else:
                runs.append(Made(row.number, row.time_us, 1, row.last, row.offered))
        return Upload(
            self.collection,
            self.outbox,
            0,
            tuple(runs),
            bytes(_kind(row) for row in rows),
            [row.type for row in rows],
            [row.key for row in rows],
            [row.base or b"" for row in rows],
            [row.fields or b"" for row in rows],
        )


def _kind(row: Row) -> Kind:
    if row.fields is None:
        return Kind.DELETE
    return Kind.ADD if row.base is None else Kind.MODIFY
