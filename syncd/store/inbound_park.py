"""Parking in the inbound queue's tables (R7): it runs in the writer's thread.

A part is written as its rows come by; of the parts of a work only those that are joined are kept in memory (R15).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

from syncd.core.inbound_queue import Joins
from syncd.core.model import ObjectId
from syncd.core.ports import ParkedPart, Part, Work
from syncd.store.inbound_parked import COLUMNS, part_of, row_of
from syncd.store.parking import Claimed, Fresh, Guilty, bounded, claimed, joined, moved_on

_ROWS_TOGETHER = 500  # rows looked up and written in one go
_FIND = "SELECT part, type_id, kind, fields FROM parked_objects WHERE collection = ? AND type = ? AND key = ?"
_PUT = (
    "INSERT INTO parked_objects (part, collection, type, key, type_id, kind, fields) VALUES (?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (collection, type, key) DO UPDATE"
    " SET part = excluded.part, type_id = excluded.type_id, kind = excluded.kind, fields = excluded.fields"
)
_INSERT = f"INTO parked (collection, {COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


class Parker:
    """Parks the parts of one work."""

    def __init__(self, connection: sqlite3.Connection, work: Work, parts: Sequence[Part]) -> None:
        self._connection = connection
        self._work = work
        self._parts = parts
        last = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'parked'").fetchone()
        self._first = (last[0] if last else 0) + 1
        self._joins = Joins()
        self._guilty = Guilty(self._is_guilty)

    def park(self, retry_at_us: int) -> None:
        for rows in _batched(claimed(self._work, self._parts)):
            self._put(rows, retry_at_us)
        self._connection.execute(
            "UPDATE parked SET objects = (SELECT count(*) FROM parked_objects WHERE part = parked.id) WHERE id >= ?",
            (self._first,),
        )
        replaced = self._guilty.replaced()
        for part in sorted(replaced):
            _save(self._connection, moved_on(self._noted(part), (), replaced=True))
        for members in self._joins.sets():
            self._join(members, replaced)

    def _put(self, rows: Sequence[Claimed], retry_at_us: int) -> None:
        """Rows become rows of their new part; who held one of their objects before is joined to it."""
        collection = self._work.collection
        newest: dict[ObjectId, tuple[int, int, int, bytes]] = {}
        seqs: dict[int, set[int]] = {}
        for row in rows:
            held = newest.get(row.id) or self._connection.execute(_FIND, (collection, *row.id)).fetchone()
            part = held[0] if row.part is None else self._first + row.part
            seqs.setdefault(part, set()).add(row.seq)
            newest[row.id] = (part, row.type, row.kind, row.fields)
            if held is not None:
                if held[0] != part:
                    self._joins.join(held[0], part)
                self._guilty.see(row.id, held[0], held[1:], newest[row.id][1:])
        self._connection.executemany(_PUT, ((held[0], collection, *one, *held[1:]) for one, held in newest.items()))
        for part, found in seqs.items():
            self._note(part, found, retry_at_us)

    def _is_guilty(self, part: int, one: ObjectId) -> bool:
        """Whether a part that was parked before failed for this object."""
        found = self._connection.execute(
            "SELECT 1 FROM parked WHERE id = ? AND id < ? AND guilty_type = ? AND guilty_key = ?",
            (part, self._first, *one),
        )
        return found.fetchone() is not None

    def _note(self, part: int, seqs: set[int], retry_at_us: int) -> None:
        """The part has rows of these groups."""
        run = self._connection.execute
        if part >= self._first:
            failure = self._parts[part - self._first].failure
            row = row_of(ParkedPart(part, bounded(seqs), 0, failure, 0, retry_at_us))
            if run(f"INSERT OR IGNORE {_INSERT}", (self._work.collection, *row)).rowcount:
                return
        _save(self._connection, moved_on(self._noted(part), seqs, replaced=False))

    def _noted(self, part: int) -> ParkedPart:
        return part_of(self._connection.execute(f"SELECT {COLUMNS} FROM parked WHERE id = ?", (part,)).fetchone())

    def _join(self, members: Sequence[int], replaced: set[int]) -> None:
        part, connection = members[0], self._connection
        moved = ((part, other) for other in members[1:])
        connection.executemany("UPDATE parked_objects SET part = ? WHERE part = ?", moved)
        objects = connection.execute("SELECT count(*) FROM parked_objects WHERE part = ?", (part,)).fetchone()[0]
        found = [self._noted(one) for one in members]
        old = [one for one in found if one.id < self._first]
        fresh = [Fresh(one.failure, one.seqs, one.retry_at_us) for one in found if one.id >= self._first]
        connection.executemany("DELETE FROM parked WHERE id = ?", ((one,) for one in members))
        whole = replace(joined(old, fresh, replaced, objects), id=part)
        connection.execute(f"INSERT {_INSERT}", (self._work.collection, *row_of(whole)))


def _save(connection: sqlite3.Connection, part: ParkedPart) -> None:
    number, *values = row_of(part)
    names = COLUMNS.removeprefix("id, ").replace(", ", " = ?, ")
    connection.execute(f"UPDATE parked SET {names} = ? WHERE id = ?", (*values, number))


def _batched(rows: Iterable[Claimed]) -> Iterator[list[Claimed]]:
    rows = iter(rows)
    while batch := list(islice(rows, _ROWS_TOGETHER)):
        yield batch
