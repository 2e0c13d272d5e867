"""Parking in the inbound queue's tables (R7): plain functions that run in the writer's thread."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from syncd.core.model import Failure, ObjectId, OutcomeKind
from syncd.core.ports import ParkedPart, Part, Work
from syncd.store.parking import Claimed, Fresh, Guilty, Joins, Version, claimed, joined

_ROWS_TOGETHER = 500  # rows looked up and written in one go
_COLUMNS = "id, seqs, objects, outcome, cause, guilty_type, guilty_key, attempts, retry_at_us"
_FIND = "SELECT part, type_id, kind, fields FROM parked_objects WHERE collection = ? AND type = ? AND key = ?"
_PUT = (
    "INSERT INTO parked_objects (part, collection, type, key, type_id, kind, fields) VALUES (?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (collection, type, key) DO UPDATE"
    " SET part = excluded.part, type_id = excluded.type_id, kind = excluded.kind, fields = excluded.fields"
)


def parked_parts(connection: sqlite3.Connection, collection: str) -> tuple[ParkedPart, ...]:
    """The oldest first."""
    found = connection.execute(f"SELECT {_COLUMNS} FROM parked WHERE collection = ? ORDER BY id", (collection,))
    return tuple(
        ParkedPart(
            part,
            tuple(map(int, json.loads(seqs))),
            objects,
            Failure(OutcomeKind(outcome), cause, None if type_ is None else ObjectId(type_, key)),
            attempts,
            retry_at_us,
        )
        for part, seqs, objects, outcome, cause, type_, key, attempts, retry_at_us in found
    )


def parked_objects(connection: sqlite3.Connection, collection: str) -> frozenset[ObjectId]:
    found = connection.execute("SELECT type, key FROM parked_objects WHERE collection = ?", (collection,))
    return frozenset(ObjectId(type_, key) for type_, key in found)


class Parker:
    """Parks the parts of one work. Memory: a few rows, and the parts themselves."""

    def __init__(self, connection: sqlite3.Connection, work: Work, parts: Sequence[Part]) -> None:
        self._connection = connection
        self._work = work
        self._parts = parts
        self._before = {part.id: part for part in parked_parts(connection, work.collection)}
        last = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'parked'").fetchone()
        self._first = (last[0] if last else 0) + 1
        self._joins = Joins()
        self._seqs: dict[int, set[int]] = {}
        self._guilty = Guilty(self._before)

    def park(self, retry_at_us: int) -> None:
        for rows in _batched(claimed(self._work, self._parts)):
            self._put(rows)
        for members in self._joins.sets():
            self._join(members, retry_at_us)

    def _put(self, rows: Sequence[Claimed]) -> None:
        """Rows become rows of their new part; who held one of their objects before is joined to it."""
        collection = self._work.collection
        newest: dict[ObjectId, tuple[int, Version]] = {}
        for row in rows:
            part = self._first + row.part
            self._joins.find(part)
            self._seqs.setdefault(part, set()).add(row.seq)
            held = newest.get(row.id) or self._held(row.id)
            newest[row.id] = (part, (row.type, row.kind, row.fields))
            if held is not None:
                self._joins.join(held[0], part)
                self._guilty.see(row.id, *held, newest[row.id][1])
        self._connection.executemany(_PUT, ((part, collection, *one, *row) for one, (part, row) in newest.items()))

    def _held(self, one: ObjectId) -> tuple[int, Version] | None:
        """The part that holds the object, and its version there."""
        found = self._connection.execute(_FIND, (self._work.collection, *one)).fetchone()
        return None if found is None else (found[0], found[1:])

    def _join(self, members: Sequence[int], retry_at_us: int) -> None:
        part, connection = members[0], self._connection
        moved = ((part, other) for other in members[1:])
        connection.executemany("UPDATE parked_objects SET part = ? WHERE part = ?", moved)
        objects = connection.execute("SELECT count(*) FROM parked_objects WHERE part = ?", (part,)).fetchone()[0]
        old = [self._before[one] for one in members if one in self._before]
        fresh = [
            Fresh(self._parts[one - self._first].failure, self._seqs[one], retry_at_us)
            for one in members
            if one in self._seqs
        ]
        connection.executemany("DELETE FROM parked WHERE id = ?", ((one.id,) for one in old))
        _insert(connection, self._work.collection, part, joined(old, fresh, self._guilty.replaced(), objects))


def _insert(connection: sqlite3.Connection, collection: str, number: int, part: ParkedPart) -> None:
    guilty = part.failure.guilty
    connection.execute(
        f"INSERT INTO parked (collection, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            collection,
            number,
            json.dumps(part.seqs),
            part.objects,
            part.failure.outcome.value,
            part.failure.cause,
            guilty.type if guilty else None,
            guilty.key if guilty else None,
            part.attempts,
            part.retry_at_us,
        ),
    )


def repark(connection: sqlite3.Connection, part: int, failure: Failure, retry_at_us: int) -> None:
    guilty = failure.guilty
    connection.execute(
        "UPDATE parked SET attempts = attempts + 1, retry_at_us = ?, outcome = ?, cause = ?, guilty_type = ?,"
        " guilty_key = ? WHERE id = ?",
        (
            retry_at_us,
            failure.outcome.value,
            failure.cause,
            guilty.type if guilty else None,
            guilty.key if guilty else None,
            part,
        ),
    )


def unpark(connection: sqlite3.Connection, part: int) -> None:
    connection.execute("DELETE FROM parked_objects WHERE part = ?", (part,))
    connection.execute("DELETE FROM parked WHERE id = ?", (part,))


def _batched(rows: Iterable[Claimed]) -> Iterator[list[Claimed]]:
    rows = iter(rows)
    while batch := list(islice(rows, _ROWS_TOGETHER)):
        yield batch
