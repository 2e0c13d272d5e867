"""Selection classes of the sync store: each has its own order of the changes of its objects (R8).

Plain functions that run in a database thread. Of a member that is there the rowid is the change of its object, which is
read from the table of objects. One that left or was deleted has a tombstone, which names it, and only in classes that
held it: an object that was never in a class has no trace there. ``stays``: those before the last, which began with
``born`` (see ``stays``). While a class is filled, in the order of changes, it holds objects up to ``filled`` only: what
changes meanwhile goes, and is met later.
"""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from syncd.core import digest
from syncd.core.model import DataType
from syncd.core.ports import ClassState, CollectionState
from syncd.core.references import Object
from syncd.core.selection import ALL, Selection, read_selection
from syncd.store import store_collections as collections
from syncd.store import store_held
from syncd.store.class_choice import NOT_COMPARED, Choice, HashedRow, portions, renamed, values_of
from syncd.store.database import give_back
from syncd.store.store_collections import CollectionRow, TypeSet, get
from syncd.store.store_references import References, reached
from syncd.store.type_rows import COLUMNS, type_of


class ClassRow(NamedTuple):
    """A row of the table ``classes``, as its columns are described in the schema."""

    id: int
    canonical: str
    head: int
    last: int
    horizon: int
    digest: bytes
    objects: int
    filled: int
    ready: int
    again: int
    broken: str

    @property
    def table(self) -> str:
        return f"members_{self.id:d}"


_FORMER_MAX = 10_000  # classes that are no more whose selections are remembered; then the oldest are forgotten
_SELECT = f"SELECT {', '.join(ClassRow._fields)} FROM classes WHERE collection = ?"
_CREATE = """
CREATE TABLE members_{0} (
    change INTEGER PRIMARY KEY,
    born INTEGER NOT NULL,
    hash BLOB,
    type INTEGER,
    key BLOB,
    stays TEXT
) STRICT;
CREATE UNIQUE INDEX left_{0} ON members_{0} (type, key) WHERE type IS NOT NULL;
"""


def selection_of(connection: sqlite3.Connection, name: str, number: int) -> Selection | None:
    """See ``core.history_port``."""
    of_collection = (get(connection, name).id, number)
    for table in ("classes", "former_classes"):
        found = connection.execute(f"SELECT canonical FROM {table} WHERE collection = ? AND id = ?", of_collection)
        for (canonical,) in found.fetchall():
            return read_selection(canonical)
    return None


def classes_of(connection: sqlite3.Connection, collection: int) -> list[ClassRow]:
    found = connection.execute(f"{_SELECT} ORDER BY canonical", (collection,))
    return [ClassRow._make(row) for row in found.fetchall()]


def find(connection: sqlite3.Connection, row: CollectionRow, selection: Selection) -> ClassRow | None:
    found = connection.execute(f"{_SELECT} AND canonical = ?", (row.id, selection.canonical)).fetchone()
    return None if found is None else ClassRow._make(found)


def state(
    connection: sqlite3.Connection, row: CollectionRow, types: TypeSet, classes: Sequence[ClassRow] | None = None
) -> CollectionState:
    """``classes``: all of the collection, where they are known."""
    epoch = collections.epoch(connection)
    classes = classes_of(connection, row.id) if classes is None else classes
    seen = tuple(_state(one, types, epoch) for one in classes)
    return collections.state(row, types, epoch, seen, store_held.state(connection, row))


def _state(one: ClassRow, types: TypeSet, epoch: str) -> ClassState:
    selection, own = types.choice(one.canonical).selection, f"{epoch}.{one.id}"
    return ClassState(selection, own, one.head, one.horizon, one.digest, one.objects, bool(one.ready), one.broken)


def save(connection: sqlite3.Connection, one: ClassRow) -> None:
    id_, _, *values = one
    connection.execute(
        "UPDATE classes SET head = ?, last = ?, horizon = ?, digest = ?, objects = ?, filled = ?, ready = ?, again = ?,"
        " broken = ? WHERE id = ?",
        (*values, id_),
    )


# ---------------------------------------------------------------- opening


def open_class(
    connection: sqlite3.Connection, row: CollectionRow, types: TypeSet, selection: Selection, rows_max: int
) -> None:
    """See ``core.ports.SyncStore``."""
    if selection == ALL:
        return
    one = find(connection, row, selection)
    if one is None:
        one = _create(connection, row.id, selection.canonical, types.choice(selection.canonical))
    if not one.ready and not one.broken:
        save(connection, _fill(connection, row, one, types, rows_max))
        _touch(connection, row)


def _create(connection: sqlite3.Connection, collection: int, canonical: str, choice: Choice) -> ClassRow:
    number = connection.execute(
        "INSERT INTO classes (collection, canonical, broken) VALUES (?, ?, ?)", (collection, canonical, choice.broken)
    ).lastrowid
    assert number is not None
    for statement in _CREATE.format(number).split(";"):
        connection.execute(statement)
    if choice.selection.follow:
        References(connection, number).create()
    return ClassRow(number, canonical, 0, 0, 0, digest.EMPTY, 0, 0, 0, 0, choice.broken)


class _Entering(NamedTuple):
    """Objects that a class takes: changes of those that are as they are in the collection, in their order; (change,
    hash) of those that have fewer fields; what they reference; the sum of all hashes."""

    plain: Sequence[int] = ()
    projected: Sequence[tuple[int, bytes]] = ()
    references: Sequence[tuple[Object, Object]] = ()
    weight: int = 0


def _fill(connection: sqlite3.Connection, row: CollectionRow, one: ClassRow, types: TypeSet, rows_max: int) -> ClassRow:
    """The class with the next ``rows_max`` objects in it."""
    choice = types.choice(one.canonical)
    end = connection.execute(
        f"SELECT change FROM {row.table} WHERE change > ? ORDER BY change LIMIT 1 OFFSET ?", (one.filled, rows_max - 1)
    ).fetchone()
    filled: int = row.last if end is None else end[0]
    for entering in _known(connection, row, choice, (one.filled, filled)) or _asked(
        connection, row, choice, (one.filled, filled)
    ):
        if entering is None:
            return one._replace(broken=NOT_COMPARED)
        _enter(connection, one, entering)
        one = one._replace(
            digest=digest.add(one.digest, entering.weight),
            objects=one.objects + len(entering.plain) + len(entering.projected),
            last=max((one.last, *entering.plain[-1:], *(change for change, _ in entering.projected[-1:]))),
        )
    if filled < row.last:
        return one._replace(filled=filled)
    choice.answered.forget()
    after = _closed(connection, row, one, choice)
    return after._replace(ready=int(not after.broken), filled=row.last, head=row.head)


def _known(
    connection: sqlite3.Connection, row: CollectionRow, choice: Choice, between: tuple[int, int]
) -> list[_Entering]:
    """What of the changes in (first, last] is taken, where each was asked lately; else empty."""
    if not choice.answered or choice.projects or choice.follows:
        return []
    query = (
        f"SELECT change, hash FROM {row.table} WHERE change > ? AND change <= ? AND hash IS NOT NULL ORDER BY change"
    )
    there = connection.execute(query, between).fetchall()
    taken = choice.answered.of([change for change, _ in there])
    if taken is None:
        choice.answered.forget()
        return []
    entering = list(itertools.compress(there, taken))
    weight = sum(int.from_bytes(hashed, "big") for _, hashed in entering)
    return [_Entering([change for change, _ in entering], weight=weight)]


def _asked(
    connection: sqlite3.Connection, row: CollectionRow, choice: Choice, between: tuple[int, int]
) -> Iterator[_Entering | None]:
    """The same in parts; None: one cannot be asked."""
    query = "SELECT change, type, key, fields, fault, hash FROM {} WHERE change > ? AND change <= ?"
    there = connection.execute(f"{query.format(row.table)} AND hash IS NOT NULL ORDER BY change", between)
    for rows in portions(there):
        entering = _entering_together(choice, rows) or _entering(choice, rows)
        if entering is None:
            there.close()
        yield entering


def _entering_together(choice: Choice, there: Sequence[HashedRow]) -> _Entering | None:
    """None: each must be looked at alone."""
    taken = None if choice.projects or choice.follows else choice.takes_each(there)
    if taken is None:
        return None
    entering = list(itertools.compress(there, taken))
    return _Entering(
        [found[0] for found in entering], weight=sum(int.from_bytes(found[-1], "big") for found in entering)
    )


def _entering(choice: Choice, there: Sequence[HashedRow]) -> _Entering | None:
    """None: one cannot be asked."""
    plain, projected, references, weight = list[int](), list[tuple[int, bytes]](), list[tuple[Object, Object]](), 0
    for change, type_, key, fields, fault, hashed in there:
        if (taken := choice.answers.get(type_, False)) is False:
            continue
        if taken is None or type_ in choice.projects or type_ in choice.follows:
            values = values_of(key, fields, fault)
            if choice.asks_in_vain(type_, values):
                return None
            taken = choice.takes(type_, values, False)
            references += [((type_, key), to) for to in choice.targets(type_, values) or ()] if taken else []
        if taken:
            own = choice.hash(type_, key, fields, fault) if type_ in choice.projects else None
            if own is None:
                plain.append(change)
            else:
                projected.append((change, own))
            weight += int.from_bytes(own or hashed, "big")
    return _Entering(plain, projected, references, weight)


def _enter(connection: sqlite3.Connection, one: ClassRow, entering: _Entering) -> None:
    """By one statement where it can be: of many each is given away to other threads, and taken back, by itself."""
    changes = json.dumps(entering.plain)
    connection.execute(f"INSERT INTO {one.table} (change, born) SELECT value, value FROM json_each(?)", (changes,))
    projected = [(change, change, own) for change, own in entering.projected]
    connection.executemany(f"INSERT INTO {one.table} (change, born, hash) VALUES (?, ?, ?)", projected)
    if entering.references:
        References(connection, one.id).add(entering.references)


def _closed(connection: sqlite3.Connection, row: CollectionRow, one: ClassRow, choice: Choice) -> ClassRow:
    """The class with all that the references of its members lead to."""
    if not choice.follows:
        return one
    for part in reached(connection, row, References(connection, one.id), choice):
        if part is None:
            return one._replace(broken=NOT_COMPARED)
        connection.executemany(f"INSERT INTO {one.table} (change, born, hash) VALUES (?, ?, ?)", part.members)
        weight = sum(int.from_bytes(hashed, "big") for hashed in part.hashes)
        one = one._replace(digest=digest.add(one.digest, weight), objects=one.objects + len(part.members))
    last: int | None = connection.execute(f"SELECT max(change) FROM {one.table}").fetchone()[0]
    return one._replace(last=last or 0)


def in_class(
    connection: sqlite3.Connection, name: str, selection: Selection, objects: Sequence[Object]
) -> tuple[set[Object], set[Object]]:
    """See ``core.ports.SyncStore``."""
    row = get(connection, name)
    one = find(connection, row, selection)
    if one is None:
        return set(), set()
    member = (
        f"SELECT 1 FROM {row.table} AS held JOIN {one.table} AS member ON member.change = held.change"
        " WHERE held.type = ? AND held.key = ? AND member.type IS NULL"
    )
    left = f"SELECT 1 FROM {one.table} WHERE type = ? AND key = ?"
    return (
        {at for at in objects if connection.execute(member, at).fetchone()},
        {at for at in objects if connection.execute(left, at).fetchone()},
    )


def drop_class(connection: sqlite3.Connection, row: CollectionRow, selection: Selection) -> None:
    one = find(connection, row, selection)
    if one is not None:
        _drop(connection, one)
        _touch(connection, row)
        give_back(connection)


def _drop(connection: sqlite3.Connection, one: ClassRow) -> None:
    remember = "INSERT INTO former_classes SELECT id, collection, canonical FROM classes WHERE id = ?"
    connection.execute(remember, (one.id,))
    connection.execute(
        "DELETE FROM former_classes WHERE id <= (SELECT id FROM former_classes ORDER BY id DESC LIMIT 1 OFFSET ?)",
        (_FORMER_MAX,),
    )
    connection.execute("DELETE FROM classes WHERE id = ?", (one.id,))
    connection.execute("DELETE FROM replaced_members WHERE class = ?", (one.id,))
    connection.execute(f"DROP TABLE {one.table}")
    References(connection, one.id).drop()


def _touch(connection: sqlite3.Connection, row: CollectionRow) -> None:
    connection.execute("UPDATE collections SET version = version + 1 WHERE id = ?", (row.id,))


def prune_class(connection: sqlite3.Connection, row: CollectionRow, selection: Selection, limit: int) -> int:
    """Forgets tombstones up to ``limit``; beyond its head a class has none, and a snapshot of it begins there."""
    one = find(connection, row, selection)
    if one is None:
        return 0
    limit = min(limit, one.head)
    gone = connection.execute(f"DELETE FROM {one.table} WHERE type IS NOT NULL AND change <= ?", (limit,)).rowcount
    save(connection, one._replace(horizon=max(one.horizon, limit)))
    _touch(connection, row)
    return gone


# ---------------------------------------------------------------- types


def set_source(
    connection: sqlite3.Connection, name: str, source: str, types: Sequence[DataType]
) -> tuple[DataType, ...]:
    """See ``core.ports.SyncStore``: the collection's and, in the same commit, those of its classes."""
    row = get(connection, name)
    found = connection.execute(f"SELECT {COLUMNS} FROM types WHERE collection = ?", (row.id,)).fetchall()
    before = [type_of(columns) for columns in found]
    numbered = collections.set_source(connection, name, source, types)
    former = {one.name: one.id for one in before}
    other_ids = [(one.id, former[one.name]) for one in numbered if former.get(one.name, one.id) != one.id]
    for one in classes_of(connection, row.id):
        choice = Choice(read_selection(one.canonical), numbered)
        if not choice.broken and (one.broken or renamed(choice.selection, before, numbered)):
            renew(connection, row, one, choice)
            continue
        for table in (one.table, "replaced_members"):
            connection.executemany(f"UPDATE {table} SET type = ? WHERE type = ?", other_ids)
        if one.broken != choice.broken:
            save(connection, one._replace(broken=choice.broken))
    return numbered


def renew(connection: sqlite3.Connection, row: CollectionRow, one: ClassRow, choice: Choice) -> ClassRow:
    """To be filled from the beginning, as another class: whoever held anything of it compares (R5)."""
    _drop(connection, one)
    return _create(connection, row.id, one.canonical, choice)
