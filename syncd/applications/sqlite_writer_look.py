"""What edits find in the primary's database: the rows that are there, as conflict rules look at them (R11)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from syncd.adapters.canonical import Value, pack_values, unpack_many
from syncd.applications.forms import Reference
from syncd.applications.sqlite_bulk import held_rows
from syncd.applications.sqlite_common import encoding_of, fold, is_ours, name
from syncd.applications.sqlite_definition import Shape
from syncd.applications.sqlite_handed import Stored
from syncd.applications.sqlite_read import unreadable
from syncd.applications.sqlite_tables import Tables
from syncd.applications.sqlite_usual import usual_values
from syncd.core.conflict import TABLE_CHANGED, Decision, View
from syncd.core.edits import NOTHING_KNOWN, Edit, Fact, Ruling
from syncd.core.errors import ApplicationOffline
from syncd.core.model import ObjectId

Facts = Mapping[tuple[int, bytes], Fact]
_TOGETHER = 4  # rows of one type from which they are looked up together


class NotDecided(Exception):
    """A group is refused before any rule of conflicts."""

    def __init__(self, cause: str, guilty: ObjectId | None) -> None:
        super().__init__(cause)
        self.decision = Decision(Ruling.REFUSED, cause=cause, guilty=guilty)


@dataclass(frozen=True, slots=True)
class Look:
    """The tables as they are, while schema and types stay. ``shapes``: of the types that can be written and are
    captured. ``plain``: of those the tables of which each row stands for itself: no trigger of the application writes
    more, and keys that are equal are the same. ``free``: of those the ones that no foreign key concerns. ``stored``:
    how these store values."""

    connection: sqlite3.Connection
    version: int
    tables: Tables
    shapes: Mapping[int, Shape]
    plain: frozenset[int]
    free: frozenset[int]
    stored: Mapping[int, Stored]

    @classmethod
    def at(cls, connection: sqlite3.Connection, version: int, tables: Tables) -> Look:
        there = captured(connection)
        shapes = {
            number: shape
            for number, shape in tables.shapes.items()
            if isinstance(shape, Shape) and number not in tables.superseded and fold(shape.table.name) in there
        }
        plain = frozenset(at for at, one in shapes.items() if one.table.exact and not one.table.triggers)
        free = frozenset(at for at in plain if not tables.noted(shapes[at]))
        encoding = encoding_of(connection)
        stored = {at: Stored(shapes[at], encoding) for at in free}
        return cls(connection, version, tables, shapes, plain, free, stored)

    def views(self, edits: Sequence[Edit], facts: Facts) -> list[View]:
        """What each edit of a group, or of groups that share no object, finds. Raises NotDecided."""
        found: dict[int, View] = {}
        by_type: dict[int, list[int]] = {}
        for place, edit in enumerate(edits):
            by_type.setdefault(edit.type, []).append(place)
        for type_id, places in by_type.items():
            shape = self.shape(type_id)
            its_edits = [edits[place] for place in places]
            for place, edit, (key, fields) in zip(places, its_edits, self._held(shape, its_edits), strict=True):
                one = ObjectId(shape.type.name, edit.key)
                taken = key is not None and key != edit.key  # its own key is equal, and not the same
                if taken and not any(other.key == key and other.fields is None for other in its_edits):
                    raise NotDecided(f"table {one.type}: a row with an equal key is there", one)
                fact = facts.get((type_id, edit.key), NOTHING_KNOWN) if facts else NOTHING_KNOWN
                found[place] = View(one, None if taken else fields, fact)
        return [found[place] for place in range(len(edits))]

    def shape(self, type_id: int) -> Shape:
        """The table of a type. Raises NotDecided, and ApplicationOffline where what is written would not be captured:
        a table that was just made anew."""
        found = self.shapes.get(type_id)
        if found is not None:
            return found
        shape = self.tables.shapes.get(type_id)
        if shape is None or type_id in self.tables.superseded:
            raise NotDecided(TABLE_CHANGED, None)
        if isinstance(shape, str):
            raise NotDecided(f"{TABLE_CHANGED} ({shape})", None)
        raise ApplicationOffline(f"table {shape.table.name} is not captured just now", "it is opened again")

    def greatest(self, type_id: int) -> int | None:
        """See ``forms.CanonicalForms``: a rowid has no meaning."""
        shape = self.tables.shapes[type_id]
        if isinstance(shape, str) or shape.table.key_collations != ("",):
            return None
        sql = f"SELECT max({name(shape.table.key[0])}) FROM {name(shape.table.name)}"
        return max(0, self.connection.execute(sql).fetchone()[0] or 0)

    def usual(self, type_id: int) -> Sequence[Value]:
        """What stands in the fields of a row of which nothing is said."""
        return usual_values(self.connection, self.shape(type_id))

    def references(self, type_id: int) -> Sequence[Reference]:
        """Foreign keys of one column that name rows of the collection by their keys."""
        shape = self.shape(type_id)
        columns = [fold(column) for column in shape.columns]
        types = {fold(one.table.name): one.type for one in self.tables.current}
        return [
            Reference(parent.id, columns.index(fold(fk.columns[0])))
            for fk in self.tables.foreign_keys.by_child.get(fold(shape.table.name), ())
            if (parent := types.get(fold(fk.parent))) is not None
            and [fold(column) for column in fk.parent_columns] == [fold(column) for column in parent.key]
            and len(fk.columns) == 1
            and fold(fk.columns[0]) in columns
        ]

    def _held(self, shape: Shape, edits: Sequence[Edit]) -> Iterator[tuple[bytes | None, bytes | None]]:
        """Key and fields of the row that answers to the key of each edit, None where there is none."""
        keys = unpack_many([edit.key for edit in edits])
        for edit, key in zip(edits, keys, strict=True):
            if len(key) != shape.width or None in key:
                raise NotDecided(TABLE_CHANGED, ObjectId(shape.type.name, edit.key))
        if shape.table.exact and len(edits) >= _TOGETHER:
            try:
                held = held_rows(self.connection, shape, keys)
            except (sqlite3.Error, UnicodeError, OverflowError) as error:
                if not unreadable(error):
                    raise
            else:
                return (packed(shape, held.get(tuple(key))) for key in keys)
        return (
            packed(shape, self._row(shape, ObjectId(shape.type.name, edit.key), key))
            for edit, key in zip(edits, keys, strict=True)
        )

    def _row(self, shape: Shape, one: ObjectId, key: Sequence[Value]) -> Sequence[Value] | None:
        try:
            row: Sequence[Value] | None = self.connection.execute(shape.select, key).fetchone()
        except (sqlite3.Error, UnicodeError, OverflowError) as error:
            if not unreadable(error):
                raise
            cause = f"table {shape.type.name}: what the primary holds cannot be read ({error})"
            raise NotDecided(cause, one) from error
        return row


def captured(connection: sqlite3.Connection) -> frozenset[str]:
    """Folded names of tables with triggers of ours."""
    rows = connection.execute("SELECT name, tbl_name FROM sqlite_master WHERE type = 'trigger'").fetchall()
    return frozenset(fold(table) for trigger, table in rows if is_ours(trigger))


def packed(shape: Shape, row: Sequence[Value] | None) -> tuple[bytes | None, bytes | None]:
    """Key and fields of a row."""
    return (None, None) if row is None else (pack_values(row[: shape.width]), pack_values(row[shape.width :]))
