"""References that selection classes follow, in the sync store (R8): who of a class references whom.

Plain functions that run in the writer's thread. Each class that follows any has a table of the references of its
members, with an index of what they lead to, which is there or not. An object that enters or leaves because of others is
*touched*: it gets a new place in the order of changes, equal as it is, and so comes with the group that was the reason,
and belongs to that in all that follows (R2, R5, R7). While a class is filled it knows the references of what it took by
itself; at the end all that these lead to comes in, where it stands.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from syncd.core.references import Object, settle
from syncd.store.class_choice import Choice, Values, values_of
from syncd.store.history import touched
from syncd.store.store_collections import CollectionRow, scan_runs, stays_unseen
from syncd.store.store_compare import Changes

_PAGE = 1_000  # objects that are looked at together when a class was filled
_CREATE = """
CREATE TABLE references_{0} (
    type INTEGER NOT NULL,
    key BLOB NOT NULL,
    to_type INTEGER NOT NULL,
    to_key BLOB NOT NULL,
    PRIMARY KEY (type, key, to_type, to_key)
) STRICT, WITHOUT ROWID;
CREATE INDEX referenced_{0} ON references_{0} (to_type, to_key);
"""


class References:
    """Those of the members of a class. ``number``: the class's; ``members``: the table of its members."""

    def __init__(self, connection: sqlite3.Connection, number: int) -> None:
        self._run = connection.execute
        self._many = connection.executemany
        self._number = number
        self._table = f"references_{number:d}"
        self.members = f"members_{number:d}"

    def create(self) -> None:
        for statement in _CREATE.format(self._number).split(";"):
            self._run(statement)

    def drop(self) -> None:
        self._run(f"DROP TABLE IF EXISTS {self._table}")

    def add(self, pairs: Iterable[tuple[Object, Object]]) -> None:
        self._many(f"INSERT OR IGNORE INTO {self._table} VALUES (?, ?, ?, ?)", ((*one, *to) for one, to in pairs))

    def forget(self, objects: Iterable[Object]) -> None:
        self._many(f"DELETE FROM {self._table} WHERE type = ? AND key = ?", objects)

    def of(self, one: Object) -> list[Object]:
        return self._run(f"SELECT to_type, to_key FROM {self._table} WHERE type = ? AND key = ?", one).fetchall()

    def to(self, one: Object) -> Iterator[Object]:
        """Perhaps very many; who looks for one takes no more."""
        yield from self._run(f"SELECT type, key FROM {self._table} WHERE to_type = ? AND to_key = ?", one)

    def led_to(self, after: Object) -> list[Object]:
        """The next of all that is referenced, there or not."""
        query = f"SELECT DISTINCT to_type, to_key FROM {self._table} WHERE (to_type, to_key) > (?, ?)"
        return self._run(f"{query} ORDER BY to_type, to_key LIMIT {_PAGE}", after).fetchall()


class _Row(NamedTuple):
    """``change``: of the row that stands in the store, 0 without one; the others as they are after the batch."""

    change: int
    fields: bytes | None
    fault: str


class ClassGraph:
    """``core.references.Graph`` of a class of the collection ``row``."""

    def __init__(
        self, row: CollectionRow, connection: sqlite3.Connection, references: References, choice: Choice
    ) -> None:
        self._run = connection.execute
        self._objects = row.table
        self._references = references
        self._choice = choice
        self._rows: dict[Object, _Row] = {}
        self._known: dict[Object, bool] = {}
        self._targets: dict[Object, tuple[Object, ...]] = {}

    def after(self, rows: Mapping[Object, _Row]) -> ClassGraph:
        """``rows``: what a batch, not written yet, makes of objects."""
        self._rows |= rows
        return self

    def row(self, one: Object) -> _Row:
        found = self._rows.get(one)
        if found is None:
            query = f"SELECT change, fields, fault FROM {self._objects} WHERE type = ? AND key = ?"
            row = self._run(query, one).fetchone()
            found = self._rows[one] = _Row(0, None, "") if row is None else _Row._make(row)
        return found

    def values(self, one: Object) -> Values | None:
        row = self.row(one)
        return values_of(one[1], row.fields, row.fault)

    def is_member(self, one: Object) -> bool:
        known = self._known.get(one)
        if known is None:
            query = f"SELECT 1 FROM {self._references.members} WHERE change = ? AND type IS NULL"
            known = self._known[one] = self._run(query, (self.row(one).change,)).fetchone() is not None
        return known

    def is_there(self, one: Object) -> bool:
        return self.row(one).fields is not None

    def is_own(self, one: Object) -> bool:
        answer = self._choice.answers.get(one[0], False)
        return self._choice.takes(one[0], self.values(one), self.is_member(one)) if answer is None else answer

    def targets(self, one: Object) -> Sequence[Object]:
        if one[0] not in self._choice.follows:
            return ()
        found = self._targets.get(one)
        if found is None:
            found = self._targets[one] = tuple(self._references.of(one))
        return found

    def referrers(self, one: Object) -> Iterator[Object]:
        return self._references.to(one)

    def record(self, one: Object) -> None:
        """What cannot be read references what it did."""
        targets = self._choice.targets(one[0], self.values(one)) if one[0] in self._choice.follows else ()
        before = self.targets(one)
        if targets is None or set(targets) == set(before):
            return
        if before:
            self._references.forget([one])
        self._references.add((one, to) for to in targets)
        self._targets[one] = targets

    def forget(self, one: Object) -> None:
        if self.targets(one):
            self._references.forget([one])
            self._targets[one] = ()


# ---------------------------------------------------------------- what a batch does


class Settled(NamedTuple):
    """What a batch does to the members of a class."""

    entered: frozenset[Object]
    left: frozenset[Object]

    def has(self, one: Object, there: bool) -> bool:
        """Whether it is a member after the batch. ``there``: before it."""
        return one in self.entered or (there and one not in self.left)


def follow_references(
    connection: sqlite3.Connection, row: CollectionRow, followers: Sequence[tuple[int, bool, Choice]], changes: Changes
) -> dict[int, Settled]:
    """What becomes of the classes that follow any, by number; what enters or leaves them because of others is touched:
    it is among the changes from here on. ``followers``: number, readiness and choice of each. Called before the changes
    are written."""
    if not followers or not (changes.new or changes.moved):
        return {}
    after = {(type_, key): _Row(0, fields, fault) for _, type_, key, _, _, fault, _, fields in changes.new}
    after |= {
        one: _Row(former, fields, fault)
        for one, (_, _, _, fault, _, fields, former) in zip(changes.named, changes.moved, strict=True)
    }
    settled: dict[int, Settled] = {}
    for number, ready, choice in followers:
        references = References(connection, number)
        if not ready:  # what changes goes, and is met later
            references.forget(after)
            continue
        graph = ClassGraph(row, connection, references, choice).after(after)
        settled[number] = Settled(*map(frozenset, settle(graph, list(after))))
    others = {one for of_class in settled.values() for part in of_class for one in part} - after.keys()
    _touch(connection, row, changes, sorted(others))
    for number, ready, _ in followers:
        if not ready:
            References(connection, number).forget(others)
    return settled


def _touch(connection: sqlite3.Connection, row: CollectionRow, changes: Changes, objects: Sequence[Object]) -> None:
    query = f"SELECT born, hash, fault, fields, author, change FROM {row.table} WHERE type = ? AND key = ?"
    scans = scan_runs(connection, row)
    for one in objects:
        born, hashed, fault, fields, author, former = connection.execute(query, one).fetchone()
        changes.last += 1
        changes.named.append(one)
        changes.before.append(hashed)
        changes.moved.append((changes.last, born, hashed, fault, touched(author), fields, former))
        if scans:
            stays_unseen(connection, row, former, changes.last)


# ---------------------------------------------------------------- when a class was filled


class Reached(NamedTuple):
    """What references of a class that was filled lead to: change, born and own hash of new members, with what they
    weigh."""

    members: list[tuple[int, int, bytes | None]]
    hashes: list[bytes]


def reached(
    connection: sqlite3.Connection, row: CollectionRow, references: References, choice: Choice
) -> Iterator[Reached | None]:
    """In parts, to be taken in one after the other. None: an object cannot be asked before it is read again."""
    find = f"SELECT hash FROM {row.table} WHERE change = ?"
    at: Object = (0, b"")
    while page := references.led_to(at):
        at, part = page[-1], Reached([], [])
        graph, queue, met = ClassGraph(row, connection, references, choice), page[::-1], set[Object]()
        while queue:
            one = queue.pop()
            if one in met or not graph.is_there(one) or graph.is_member(one):
                continue
            met.add(one)
            change, fields, fault = graph.row(one)
            if fields is None or choice.asks_in_vain(one[0], graph.values(one)):
                yield None
                return
            graph.record(one)
            queue += graph.targets(one)
            own = choice.hash(*one, fields, fault) if one[0] in choice.projects else None
            part.members.append((change, change, own))
            part.hashes.append(own or connection.execute(find, (change,)).fetchone()[0])
        yield part
