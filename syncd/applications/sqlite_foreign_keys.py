"""Foreign keys, checked for what a work touched, before its commit (R16).

They are off while a work runs: its rows come in the order of their changes, and what the primary's cascades did comes
as messages, so that a cascade here would run twice. A touched child must have its parent; a parent that went or
changed must leave no child. Violations that were there before and touch nothing of the work are the application's
own. A foreign key whose parent table does not exist here cannot be checked and is left alone. Values are compared as
SQLite does for a foreign key: a child's value takes the affinity of the parent's column, whose collation counts.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from syncd.adapters.canonical import Value, pack_values, unpack_values
from syncd.applications.sqlite_common import fold, name, names
from syncd.applications.sqlite_definition import Shape
from syncd.applications.sqlite_noted import CHILDREN
from syncd.applications.sqlite_schema import affinity, table_names
from syncd.core.model import ObjectId, Reference

TEMP_TABLES = (
    "CREATE TEMP TABLE _syncd_parent(fk INTEGER, old BLOB, name_id INTEGER, key BLOB, PRIMARY KEY(fk, old))"
    " WITHOUT ROWID",
    "CREATE TEMP TABLE _syncd_as(at INTEGER PRIMARY KEY, text TEXT, numeric NUMERIC, integer INTEGER, real REAL,"
    " blob BLOB)",
)
# Touched rows that are looked up singly; for more, the tables are read once.
_CHILDREN_SINGLY, _PARENTS_SINGLY = 200, 20


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """``columns`` of ``child`` name ``parent_columns`` of ``parent``; ``child_key``: how to name a row of it.

    ``affinities``, ``collations``: of the parent's columns. ``alike``: the child's columns have the same affinities.
    """

    number: int
    child: str
    child_key: tuple[str, ...]
    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]
    affinities: tuple[str, ...]
    collations: tuple[str, ...]
    alike: bool

    def normal(self, values: Sequence[Value]) -> list[Value]:
        """Values that are equal in the parent's columns become the same."""
        return [_normal(value, collation) for value, collation in zip(values, self.collations, strict=True)]

    def naming(self) -> str:
        """SQL: the child's rows that name a parent: one parameter for each column if ``alike``, else ``_syncd_as``."""
        if self.alike:
            pairs = zip(self.columns, self.collations, strict=True)
            return " AND ".join(f"c.{name(column)} COLLATE {name(collation)} = ?" for column, collation in pairs)
        return " AND ".join(
            f"(SELECT {name(fold(affinity))} FROM temp._syncd_as WHERE at = {at}) COLLATE {name(collation)}"
            f" = +c.{name(column)}"
            for at, (column, affinity, collation) in enumerate(
                zip(self.columns, self.affinities, self.collations, strict=True)
            )
        )

    def naming_parent(self) -> str:
        """SQL: ``c`` names the parent ``p``, which is on the left: its collation counts; a "+" takes the child's
        affinity away."""
        pairs = zip(self.parent_columns, self.columns, strict=True)
        return " AND ".join(f"p.{name(theirs)} = +c.{name(ours)}" for theirs, ours in pairs)

    def orphan(self, where: str) -> str:
        """SQL: key and foreign key of rows without parent."""
        filled = " AND ".join(f"c.{name(column)} IS NOT NULL" for column in self.columns)
        selected = ", ".join(f"c.{name(column)}" for column in (*self.child_key, *self.columns))
        return (
            f"SELECT {selected} FROM {name(self.child)} AS c WHERE {where} AND {filled}"
            f" AND NOT EXISTS (SELECT 1 FROM {name(self.parent)} AS p WHERE {self.naming_parent()})"
        )


class _Told(NamedTuple):
    """Whom a cause is told: a device of itself, or ``discreet``, one of another machine, whose business no other table
    than ``ours``, those of the collection, is (R9)."""

    ours: frozenset[str]
    discreet: bool = False

    def advice(self, fk: ForeignKey) -> str:
        """A device is not told what its selection leaves out."""
        if self.discreet or fold(fk.child) not in self.ours:
            return ""
        return f" (where a selection leaves that out: end it with `follow {fk.child}.{fk.columns[0]}`)"


@dataclass(frozen=True, slots=True)
class ForeignKeys:
    """Those of one schema that concern the types of a collection."""

    by_child: dict[str, list[ForeignKey]] = field(default_factory=dict)
    by_parent: dict[str, list[ForeignKey]] = field(default_factory=dict)

    @classmethod
    def of(cls, connection: sqlite3.Connection, shapes: Sequence[Shape]) -> ForeignKeys:
        """Reads the schema. Names of tables are folded as keys."""
        ours = {fold(shape.table.name) for shape in shapes}
        found = cls()
        for fk in _all(connection):
            if fold(fk.child) in ours:
                found.by_child.setdefault(fold(fk.child), []).append(fk)
            if fold(fk.parent) in ours:
                found.by_parent.setdefault(fold(fk.parent), []).append(fk)
        return found

    @property
    def any(self) -> bool:
        return bool(self.by_child or self.by_parent)

    def parents_first(self, shapes: Iterable[Shape]) -> list[Shape]:
        """So that rows find the rows of other tables that they refer to; else by the ids of their types, as where
        tables refer to each other in a ring."""
        left = {fold(shape.table.name): shape for shape in sorted(shapes, key=lambda one: one.type.id)}
        order: list[Shape] = []
        while left:
            waiting = {one for one in left if any(fold(fk.parent) in left for fk in self._to_others(one))}
            for one in [one for one in left if one not in waiting] or list(left)[:1]:
                order.append(left.pop(one))
        return order

    def to_itself(self, table: str) -> list[ForeignKey]:
        """Of a table to itself."""
        table = fold(table)
        return [fk for fk in self.by_child.get(table, ()) if fold(fk.parent) == table]

    def _to_others(self, table: str) -> Iterator[ForeignKey]:
        return (fk for fk in self.by_child.get(table, ()) if fold(fk.parent) != table)

    def begin(self, connection: sqlite3.Connection) -> None:
        """What was noted before is void."""
        if self.any:
            CHILDREN.clear(connection)
            connection.execute("DELETE FROM temp._syncd_parent")

    def changed(
        self,
        connection: sqlite3.Connection,
        shape: Shape,
        key: bytes,
        old: Sequence[Value] | None,
        new: Sequence[Value] | None,
    ) -> None:
        """Takes note of a row that is about to be written (``new``) or removed; ``old``: its values, if it is there."""
        table = fold(shape.table.name)
        if new is not None and table in self.by_child:
            CHILDREN.add(connection, shape.name_id, key)
        if old is None or table not in self.by_parent:
            return
        at = {fold(column): i for i, column in enumerate(shape.columns)}
        for fk in self.by_parent[table]:
            places = [at[fold(column)] for column in fk.parent_columns if fold(column) in at]
            known = len(places) == len(fk.parent_columns)
            was = [old[i] for i in places] if known else _read(connection, shape, fk.parent_columns, old)
            if None in was:
                continue
            if new is None or not known or was != [new[i] for i in places]:
                connection.execute(
                    "INSERT INTO temp._syncd_parent VALUES(?, ?, ?, ?) ON CONFLICT DO NOTHING",
                    (fk.number, pack_values(fk.normal(was)), shape.name_id, key),
                )

    def violations(
        self, connection: sqlite3.Connection, shapes: Sequence[Shape], whole: frozenset[int], discreet: bool = False
    ) -> Iterator[tuple[ObjectId, str]]:
        """Guilty object and cause of each violation. ``whole``: name ids of types of which every row is touched.
        ``discreet``: another device is told of them, whose business no other table is (R9)."""
        named = {shape.name_id: shape for shape in shapes}
        told = _Told(frozenset(fold(shape.table.name) for shape in shapes), discreet)
        children = CHILDREN.count(connection)
        parents = connection.execute("SELECT count(*) FROM temp._syncd_parent").fetchone()[0]
        if not whole and children <= _CHILDREN_SINGLY and parents <= _PARENTS_SINGLY:
            yield from self._one_by_one(connection, named, told)
            return
        for fk in self._numbered().values():
            yield from _scan(connection, fk, named, whole, told)

    def bereft(self, connection: sqlite3.Connection, shapes: Sequence[Shape]) -> dict[ObjectId, str]:
        """Objects that name a parent of which note was taken and that is gone, with the cause; the notes end here."""
        by_table = {fold(shape.table.name): shape for shape in shapes}
        by_number = self._numbered()
        found: dict[ObjectId, str] = {}
        for number, old in connection.execute("SELECT fk, old FROM temp._syncd_parent").fetchall():
            fk = by_number[number]
            child = by_table.get(fold(fk.child))
            if child is not None:
                for row in _naming(connection, fk, unpack_values(old)).fetchall():
                    found[ObjectId(child.type.name, pack_values(row[: len(fk.child_key)]))] = _no_parent(
                        fk, row, _Told(frozenset(by_table))
                    )
        connection.execute("DELETE FROM temp._syncd_parent")
        return found

    def _numbered(self) -> dict[int, ForeignKey]:
        tables = (*self.by_child.values(), *self.by_parent.values())
        return {fk.number: fk for of_table in tables for fk in of_table}

    def _one_by_one(
        self, connection: sqlite3.Connection, named: dict[int, Shape], told: _Told
    ) -> Iterator[tuple[ObjectId, str]]:
        for name_id, key in CHILDREN.all(connection):
            shape = named[name_id]
            for fk in self.by_child[fold(shape.table.name)]:
                where = shape.table.key_equal("c.", ["?"] * shape.width)
                row = connection.execute(fk.orphan(where), unpack_values(key)).fetchone()
                if row is not None:
                    yield ObjectId(shape.type.name, key), _no_parent(fk, row, told)
        by_number = self._numbered()
        left = connection.execute("SELECT fk, old, name_id, key FROM temp._syncd_parent").fetchall()
        for number, old, name_id, key in left:
            fk = by_number[number]
            row = _naming(connection, fk, unpack_values(old)).fetchone()
            if row is not None:
                yield ObjectId(named[name_id].type.name, key), _left(fk, row, told)


def _scan(
    connection: sqlite3.Connection,
    fk: ForeignKey,
    named: dict[int, Shape],
    whole: frozenset[int],
    told: _Told,
) -> Iterator[tuple[ObjectId, str]]:
    width = len(fk.child_key)
    child = next((one for one in named.values() if fold(one.table.name) == fold(fk.child)), None)
    for row in connection.execute(fk.orphan("1")):
        if child is not None:
            key = pack_values(row[:width])
            if child.name_id in whole or CHILDREN.has(connection, child.name_id, key):
                yield ObjectId(child.type.name, key), _no_parent(fk, row, told)
                continue
        named_values = fk.normal(row[width:] if fk.alike else _as_parent(connection, fk, row[width:]))
        parent = connection.execute(
            "SELECT name_id, key FROM temp._syncd_parent WHERE fk = ? AND old = ?",
            (fk.number, pack_values(named_values)),
        ).fetchone()
        if parent is not None:
            yield ObjectId(named[parent[0]].type.name, parent[1]), _left(fk, row, told)


def _all(connection: sqlite3.Connection) -> Iterator[ForeignKey]:
    """All foreign keys of the application's tables that can be checked."""
    known = {fold(table): table for table, kind in table_names(connection).items() if kind == "table"}
    number = 0
    for table in known.values():
        listed = connection.execute(
            'SELECT id, "table", "from", "to" FROM pragma_foreign_key_list(?) ORDER BY id, seq', (table,)
        ).fetchall()
        for found in sorted({row[0] for row in listed}):
            rows = [row for row in listed if row[0] == found]
            parent = known.get(fold(rows[0][1]))
            if parent is None:
                continue
            theirs = tuple(row[3] for row in rows) if rows[0][3] is not None else _key(connection, parent)
            if len(theirs) == len(rows):
                number += 1
                ours = tuple(row[2] for row in rows)
                affinities = _affinities(connection, parent, theirs)
                alike = affinities == _affinities(connection, table, ours)
                collations = _collations(connection, parent, theirs)
                key = _key(connection, table) or ours
                yield ForeignKey(number, table, key, ours, parent, theirs, affinities, collations, alike)


def references(connection: sqlite3.Connection) -> dict[str, tuple[Reference, ...]]:
    """By table: its foreign keys whose values are the primary key of another table (or its own) as they are held."""
    found: dict[str, tuple[Reference, ...]] = {}
    for fk in _all(connection):
        key = _key(connection, fk.parent)
        ours = dict(zip(map(fold, fk.parent_columns), fk.columns, strict=True))
        if fk.alike and set(fk.collations) == {"BINARY"} and ours.keys() == set(map(fold, key)):
            reference = Reference(tuple(ours[fold(column)] for column in key), fk.parent)
            found[fk.child] = (*found.get(fk.child, ()), reference)
    return found


def _key(connection: sqlite3.Connection, table: str) -> tuple[str, ...]:
    rows = connection.execute("SELECT name FROM pragma_table_xinfo(?) WHERE pk ORDER BY pk", (table,))
    return tuple(row[0] for row in rows.fetchall())


def _affinities(connection: sqlite3.Connection, table: str, columns: Sequence[str]) -> tuple[str, ...]:
    (strict,) = connection.execute(
        "SELECT strict FROM pragma_table_list WHERE schema = 'main' AND name = ?", (table,)
    ).fetchone()
    rows = connection.execute("SELECT name, type FROM pragma_table_xinfo(?)", (table,)).fetchall()
    declared = {fold(column): kind for column, kind in rows}
    return tuple(affinity(declared.get(fold(column), ""), bool(strict)) for column in columns)


def _collations(connection: sqlite3.Connection, parent: str, columns: Sequence[str]) -> tuple[str, ...]:
    """Of the unique index that makes these columns a parent's key; a rowid has none."""
    indexes = connection.execute('SELECT name FROM pragma_index_list(?) WHERE "unique" ORDER BY name', (parent,))
    for (index,) in indexes.fetchall():
        keyed = connection.execute("SELECT name, coll FROM pragma_index_xinfo(?) WHERE key", (index,)).fetchall()
        found = {fold(column): collation for column, collation in keyed if column is not None}
        if len(keyed) == len(columns) and found.keys() == set(map(fold, columns)):
            return tuple(found[fold(column)] for column in columns)
    return ("BINARY",) * len(columns)


def _read(
    connection: sqlite3.Connection, shape: Shape, columns: tuple[str, ...], old: Sequence[Value]
) -> Sequence[Value]:
    """Columns that the type does not have: generated ones, and those that exist here only."""
    sql = f"SELECT {names(columns)} FROM {name(shape.table.name)}{shape.where}"
    row: Sequence[Value] = connection.execute(sql, old[: shape.width]).fetchone()
    return row


def _naming(connection: sqlite3.Connection, fk: ForeignKey, values: Sequence[Value]) -> sqlite3.Cursor:
    """The child's rows that name this parent, if it is not there."""
    if not fk.alike:
        _as_parent(connection, fk, values)
    return connection.execute(fk.orphan(fk.naming()), values if fk.alike else ())


def _as_parent(connection: sqlite3.Connection, fk: ForeignKey, values: Sequence[Value]) -> list[Value]:
    """The values as the parent's columns would hold them; they stay in ``_syncd_as``."""
    connection.execute("DELETE FROM temp._syncd_as")
    held: list[Value] = []
    for at, (value, kind) in enumerate(zip(values, map(fold, fk.affinities), strict=True)):
        connection.execute(f"INSERT INTO temp._syncd_as(at, {name(kind)}) VALUES(?, ?)", (at, value))
        held += connection.execute(f"SELECT {name(kind)} FROM temp._syncd_as WHERE at = ?", (at,)).fetchone()
    return held


def _normal(value: Value, collation: str) -> Value:
    if isinstance(value, float) and value.is_integer() and abs(value) < 2.0**63:
        return int(value)
    if isinstance(value, str) and fold(collation) == "nocase":
        return fold(value)
    return value.rstrip(" ") if isinstance(value, str) and fold(collation) == "rtrim" else value


def _show(values: Sequence[Value]) -> str:
    text = ", ".join(repr(value) for value in values)
    return text if len(text) <= 100 else f"{text[:100]}..."


def _no_parent(fk: ForeignKey, row: Sequence[Value], told: _Told) -> str:
    values = _show(row[len(fk.child_key) :])
    cause = f"table {fk.child}: {', '.join(fk.columns)} = {values} has no row in table {fk.parent}"
    return cause + told.advice(fk)


def _left(fk: ForeignKey, row: Sequence[Value], told: _Told) -> str:
    width = len(fk.child_key)
    still = f"table {fk.parent}: {_show(row[width:])} is still named by"
    if told.discreet and fold(fk.child) not in told.ours:
        return f"{still} a table that is not shared"
    return f"{still} table {fk.child}, {', '.join(fk.child_key)} = {_show(row[:width])}{told.advice(fk)}"
