"""Parked parts in the inbound queue's tables (R7): plain functions that run in the threads of its connections.

There may be very many of them (R15): nothing here reads them all, but what is asked for one group.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from syncd.core.messages import Objects
from syncd.core.model import Failure, ObjectId, OutcomeKind
from syncd.core.ports import ParkedPart, Parking
from syncd.store.inbound_frames import PARKED_BYTES_MAX, PARKED_ROWS, PARKED_ROWS_MAX, ParkedFrames, framed
from syncd.store.parking import together

COLUMNS = "id, seqs, last, objects, outcome, cause, guilty_type, guilty_key, attempts, retry_at_us"
_NAMES_GROUP = "EXISTS (SELECT 1 FROM json_each(seqs) WHERE value = ?)"


def part_of(row: Sequence[Any]) -> ParkedPart:
    """A row of ``COLUMNS``."""
    part, seqs, _, objects, outcome, cause, type_, key, attempts, retry_at_us = row
    guilty = None if type_ is None else ObjectId(type_, key)
    failure = Failure(OutcomeKind(outcome), cause, guilty)
    return ParkedPart(part, tuple(map(int, json.loads(seqs))), objects, failure, attempts, retry_at_us)


def row_of(part: ParkedPart) -> tuple[object, ...]:
    """The values of ``COLUMNS``."""
    failure, guilty = part.failure, part.failure.guilty or (None, None)
    why = (failure.outcome.value, failure.cause, *guilty)
    return (part.id, json.dumps(part.seqs), part.seqs[-1], part.objects, *why, part.attempts, part.retry_at_us)


def parking(connection: sqlite3.Connection, collection: str, seq: int | None, named_max: int) -> Parking:
    where, values = ("collection = ?", [collection]) if seq is None else _of_group(collection, seq)
    run = connection.execute
    oldest = run(f"SELECT {COLUMNS} FROM parked WHERE {where} ORDER BY id LIMIT ?", (*values, named_max))
    named = tuple(map(part_of, oldest))
    (due_us,) = run(f"SELECT min(retry_at_us) FROM parked WHERE {where}", values).fetchone()
    if seq is None:
        count = run("SELECT parts FROM parked_count WHERE collection = ?", values).fetchone() or (0,)
    else:
        count = run(f"SELECT count(*) FROM parked WHERE {where}", values).fetchone()
    return Parking(count[0], named, due_us)


def _of_group(collection: str, seq: int) -> tuple[str, list[object]]:
    return f"collection = ? AND last >= ? AND {_NAMES_GROUP}", [collection, seq, seq]


def parts(connection: sqlite3.Connection, ids: Sequence[int]) -> tuple[ParkedPart, ...]:
    found = (connection.execute(f"SELECT {COLUMNS} FROM parked WHERE id = ?", (one,)).fetchone() for one in ids)
    return tuple(part_of(row) for row in found if row is not None)


def some(connection: sqlite3.Connection, collection: str) -> bool:
    """Whether any object is parked."""
    found = connection.execute("SELECT 1 FROM parked_objects WHERE collection = ? LIMIT 1", (collection,))
    return found.fetchone() is not None


def make_due(connection: sqlite3.Connection, collection: str, seqs: Collection[int] | None) -> None:
    update = "UPDATE parked SET retry_at_us = 0 WHERE retry_at_us <> 0 AND"
    if seqs is None:
        connection.execute(f"{update} collection = ?", (collection,))
        return
    for seq in sorted(seqs):
        where, values = _of_group(collection, seq)
        connection.execute(f"{update} {where}", values)


def due(connection: sqlite3.Connection, collection: str, now_us: int, position: int) -> tuple[ParkedPart, ...]:
    found = connection.execute(
        f"SELECT {COLUMNS} FROM parked WHERE collection = ? AND retry_at_us <= ? AND last <= ?"
        " ORDER BY retry_at_us, id",
        (collection, now_us, position),
    )
    return tuple(together(map(part_of, found)))


def rows(
    connection: sqlite3.Connection, path: Path, collection: str, parts: Sequence[int]
) -> Iterator[Callable[[], Iterator[Objects]]]:
    """The frames of each part: read here while they are small, else when they are iterated."""
    room_bytes = PARKED_BYTES_MAX
    for part in parts:
        last, count = connection.execute("SELECT last, objects FROM parked WHERE id = ?", (part,)).fetchone()
        frames: tuple[Objects, ...] = ()
        if count <= PARKED_ROWS_MAX and room_bytes > 0:
            frames = tuple(framed(collection, last, connection.execute(PARKED_ROWS, (part,))))
            room_bytes -= sum(len(one) for frame in frames for one in (*frame.keys, *frame.fields))
        yield frames.__iter__ if frames else ParkedFrames(path, collection, part, last)


def retried(
    connection: sqlite3.Connection, applied: Collection[int], failed: Mapping[int, tuple[Failure, int]]
) -> None:
    gone = [(part,) for part in applied]
    connection.executemany("DELETE FROM parked_objects WHERE part = ?", gone)
    connection.executemany("DELETE FROM parked WHERE id = ?", gone)
    connection.executemany(
        "UPDATE parked SET attempts = attempts + 1, outcome = ?, cause = ?, guilty_type = ?, guilty_key = ?,"
        " retry_at_us = ? WHERE id = ?",
        (
            (why.outcome.value, why.cause, *(why.guilty or (None, None)), retry_at_us, part)
            for part, (why, retry_at_us) in failed.items()
        ),
    )
