"""Executes generic messages on the tables of the application, within a transaction that somebody else holds.

Rows are written with INSERT, UPDATE and DELETE by key, never REPLACE (R16). The application's own triggers fire for
them. The checksum (R14) follows each change: what a row was is read before it is written, except where its table was
empty at the start; there whole pieces are inserted at once, and a piece that does not go in is taken row by row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence

from syncd.adapters.canonical import Value, pack_values, unpack_many, unpack_values
from syncd.applications.base import RowFailed, cancelled
from syncd.applications.sqlite_bulk import held_rows, insert_all
from syncd.applications.sqlite_common import name, primary_code
from syncd.applications.sqlite_definition import Shape
from syncd.applications.sqlite_marks import Marks
from syncd.applications.sqlite_noted import MADE, NEWEST, SEEN
from syncd.applications.sqlite_sent import Sent, hashes_of
from syncd.applications.sqlite_tables import (
    NOT_THE_ROWS,
    Chunks,
    Columns,
    PieceFailed,
    Tables,
    UniqueFailed,
    robust,
    verb,
)
from syncd.core.digest import object_hash
from syncd.core.model import Failure, Kind, ObjectId, OutcomeKind


class Applier:
    """One try to execute a work. ``change`` and ``objects``: what it did to the checksum and to the count.

    ``careful``: a piece that does not go in is undone and taken row by row. Else it ends the try (``PieceFailed``): a
    savepoint copies each page that is changed after it, which costs more than all the rest. ``watched``: the
    application's triggers write too, so that no table counts as empty, and what the work names is noted.
    """

    def __init__(
        self, connection: sqlite3.Connection, tables: Tables, snapshot: bool, careful: bool, watched: bool
    ) -> None:
        self.change = 0
        self.objects = 0
        self._careful = careful
        self._connection = connection
        self.tables = tables
        self._watched = watched
        self._noting = snapshot or watched
        self._empty: dict[int, bool] = {}
        self.whole: set[int] = set()  # name ids of tables that hold nothing but this work's rows
        self.sent = Sent(plain=snapshot and not watched)
        self.marks: dict[int, Marks] = {}  # by name id: tables of which what the work names is not in SEEN, but here
        self.mending = False  # what is as it was sent is left alone, and of other rows only what differs is written
        self.mended = False  # a row was written
        self._dividing = False  # note is taken of each object that was not there
        self._repeated = False  # the work may name an object more than once
        if self._noting:
            SEEN.clear(connection)
        if tables.renamed:
            NEWEST.clear(connection)
        tables.foreign_keys.begin(connection)

    def was_empty(self, shape: Shape) -> bool:
        """Whether the table held nothing before this try, and gets nothing but what the work brings."""
        empty = self._empty.get(shape.name_id)
        if empty is None:
            one = f"SELECT 1 FROM {name(shape.table.name)} LIMIT 1"
            empty = not self._watched and self._connection.execute(one).fetchone() is None
            self._empty[shape.name_id] = empty
            if empty:
                self.whole.add(shape.name_id)
            elif self.sent.plain and not self._careful and (marks := Marks.of(self._connection, shape)):
                self.marks[shape.name_id] = marks
        return empty

    # ------------------------------------------------------------ roads

    def execute(self, chunks: Chunks) -> None:
        """All rows in order. Raises RowFailed."""
        superseded = self.tables.superseded
        if (self.mending and self._repeated) or (
            superseded and any(not superseded.isdisjoint(one.types) for one in chunks())
        ):
            self.sent.plain = False
            self._indexed(chunks, clear=False)
            return
        for columns in chunks():
            self._columns(columns)

    def execute_cleared(self, chunks: Chunks) -> None:
        """Removes all rows first, then inserts their last versions: values may be swapped under a UNIQUE index."""
        self.sent.plain = False
        self._indexed(chunks, clear=True)

    def _columns(self, columns: Columns) -> None:
        at = 0
        for (type_id, kind), rows in columns.pieces():
            piece = columns.part(at, at + rows)
            at += rows
            if kind == Kind.WITHHELD:
                raise cancelled(piece.fields[0].decode(errors="replace"), self._id(type_id, piece.keys[0]))
            if kind == Kind.DELETE:
                self.sent.plain = False
                shape = self._shape(self.tables.to_delete(type_id))
                superseded = type_id in self.tables.superseded
                for key, key_values in zip(piece.keys, unpack_many(piece.keys), strict=True):
                    # What this work brought under the table's newest name is not removed under an older one.
                    if not (superseded and NEWEST.has(self._connection, shape.name_id, key)):
                        self.guarded(shape, key, lambda: self.delete(shape, key, key_values))  # noqa: B023
            else:
                self._write(self._shape(type_id), piece)

    def _write(self, shape: Shape, piece: Columns) -> None:
        keys, fields = unpack_many(piece.keys), unpack_many(piece.fields)
        if shape.name_id in self.tables.renamed and shape.type.id not in self.tables.superseded:
            NEWEST.add_all(self._connection, ((shape.name_id, key) for key in piece.keys))
        together = len(piece.keys) > 1 and not self.mending
        noting = self._noting and not self.was_empty(shape)
        if noting and not (together and shape.name_id in self.marks and len(set(piece.keys)) == len(piece.keys)):
            self._seen_all(shape.name_id, piece.keys)
        self.sent.plain &= not self._repeated
        if together and self._write_all(shape, piece, keys, fields):
            return
        held = held_rows(self._connection, shape, keys) if self.mending and shape.table.exact else {}
        for at, key in enumerate(piece.keys):
            old = held.get(tuple(keys[at])) if held else None
            if old is not None and pack_values(old[shape.width :]) == piece.fields[at]:
                continue
            row = [*keys[at], *fields[at]]
            self.guarded(shape, key, lambda: self.upsert(shape, key, piece.fields[at], row))  # noqa: B023
        if self.sent.plain:
            self.sent.holds(shape, len(keys), sum(hashes_of(shape, piece)))
            self.sent.look_again(self._connection, shape, keys, piece.fields)

    def _write_all(self, shape: Shape, piece: Columns, keys: list[list[Value]], fields: list[list[Value]]) -> bool:
        """Rows of different objects in one go; False, and nothing is done, if that cannot be. Raises PieceFailed."""
        fresh = self.was_empty(shape)
        if not fresh and (not shape.table.exact or len(set(piece.keys)) < len(piece.keys)):
            return False
        if self._careful:
            self._connection.execute("SAVEPOINT piece")
        try:
            if fresh:
                insert_all(self._connection, shape, keys, fields)
                change, objects = sum(hashes_of(shape, piece)), len(keys)
                self.sent.holds(shape, objects, change)
            else:
                change, objects = self._write_changed(shape, piece, keys, fields)
        except (sqlite3.Error, OverflowError, UnicodeError) as error:
            if isinstance(error, sqlite3.Error) and primary_code(error) in NOT_THE_ROWS:
                raise
            if not (self._careful and self._connection.in_transaction):
                cause = f"table {shape.type.name}: {error}"
                raise PieceFailed(Failure(OutcomeKind.ROLLED_BACK, cause, None)) from error
            self._connection.execute("ROLLBACK TO piece")
            self._connection.execute("RELEASE piece")
            return False
        if self._careful:
            self._connection.execute("RELEASE piece")
        self.change += change
        self.objects += objects
        return True

    def _write_changed(
        self, shape: Shape, piece: Columns, keys: list[list[Value]], fields: list[list[Value]]
    ) -> tuple[int, int]:
        """Inserts the rows that are not there and updates those that differ; returns what that changed. In the order
        of their keys, so that pages of the table are visited once."""
        prefix, width, noted = shape.prefix, shape.width, self.tables.noted(shape)
        order = sorted(range(len(keys)), key=piece.keys.__getitem__)
        marks = self.marks.get(shape.name_id)
        held, end = held_rows(self._connection, shape, [keys[i] for i in order], marks is not None), None
        if marks is not None:
            self.sent.plain &= marks.mark(held.values())
            end = -1
        hashes = list(hashes_of(shape, piece))
        fresh, updated = list[int](), list[int]()
        change = 0
        for i in order:
            old = held.get(tuple(keys[i]))
            if old is None:
                fresh.append(i)
            else:
                old_packed = pack_values(old[width:end])
                if old_packed == piece.fields[i]:
                    continue
                updated.append(i)
                change -= object_hash(prefix, piece.keys[i], old_packed)
            change += hashes[i]
            if noted:
                self.tables.foreign_keys.changed(self._connection, shape, piece.keys[i], old, keys[i] + fields[i])
        if updated:
            self._connection.executemany(shape.update, [fields[i] + keys[i] for i in updated])
        insert_all(self._connection, shape, [keys[i] for i in fresh], [fields[i] for i in fresh])
        if marks is not None:
            marks.made(keys[i] for i in fresh)
        if self._dividing:
            self._made(shape, [piece.keys[i] for i in fresh])
        if self.sent.plain:
            self.sent.holds(shape, len(keys), sum(hashes))
            others = [keys[i] for i in updated], [piece.fields[i] for i in updated]
            self.sent.look_again(self._connection, shape, *others)
        return change, len(fresh)

    def _indexed(self, chunks: Chunks, clear: bool) -> None:
        """Two rounds: find the row that decides each object (and clear the objects), then execute those rows."""
        run = self._connection.execute
        run("DELETE FROM temp._syncd_index")
        for at, (type_id, key) in enumerate(_pairs(chunks())):
            run(
                "INSERT INTO temp._syncd_index VALUES(?, ?, ?, ?, NULL) ON CONFLICT DO UPDATE"
                " SET type = excluded.type, at = excluded.at WHERE excluded.type >= type",
                (self._name_id(type_id), key, type_id, at),
            )
            if clear:
                self._clear(self._shape(self.tables.to_delete(type_id)), key)
        at = 0
        for columns in chunks():
            for kind, type_id, key, fields in zip(*columns, strict=True):
                decides = run(
                    "SELECT at, extra FROM temp._syncd_index WHERE name_id = ? AND key = ?",
                    (self._name_id(type_id), key),
                ).fetchone()
                if decides[0] == at:
                    self._decided(Columns((kind,), (type_id,), (key,), (fields,)), decides[1])
                at += 1

    def _clear(self, shape: Shape, key: bytes) -> None:
        """Removes an object; columns that exist only here are kept for its return."""
        key_values = unpack_values(key)
        extra = self._connection.execute(shape.select_extra, key_values).fetchone() if shape.extra else None
        if self.guarded(shape, key, lambda: self.delete(shape, key, key_values)) and extra is not None:
            self._connection.execute(
                "UPDATE temp._syncd_index SET extra = ? WHERE name_id = ? AND key = ?",
                (pack_values(extra), shape.name_id, key),
            )

    def _decided(self, columns: Columns, extra: bytes | None) -> None:
        if extra is None or verb(columns.kinds[0]) != Kind.MODIFY:
            self._columns(columns)
            return
        shape, key, fields = self._shape(columns.types[0]), columns.keys[0], columns.fields[0]
        row = [*unpack_values(key), *unpack_values(fields)]
        self.guarded(shape, key, lambda: self._insert(shape, key, fields, row, unpack_values(extra)))

    # ------------------------------------------------------------ single rows

    def guarded(self, shape: Shape, key: bytes, write: Callable[[], bool]) -> bool:
        """Runs ``write``; what SQLite refuses becomes the failure of this object."""
        try:
            return write()
        except (sqlite3.Error, OverflowError) as error:
            if isinstance(error, sqlite3.Error) and primary_code(error) in NOT_THE_ROWS:
                raise
            code = getattr(error, "sqlite_errorcode", 0)
            cause = f"table {shape.type.name}: {error}"
            guilty = ObjectId(shape.type.name, key)
            failure = Failure(OutcomeKind.ROLLED_BACK, cause, guilty)
            unique = code in (sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)
            raise (UniqueFailed if unique else RowFailed)(failure) from error

    def old(self, shape: Shape, key_values: Sequence[Value]) -> Sequence[Value] | None:
        """The row that answers to the key."""
        run, sql = self._connection.execute, shape.select
        row: Sequence[Value] | None = robust(self._connection, lambda: run(sql, key_values).fetchone())
        return row

    def seen(self, name_id: int, key: bytes) -> bool:
        """Notes that the work names an object; True the first time."""
        self._unmark(name_id)
        first = SEEN.add(self._connection, name_id, key)
        self._repeated |= not (first or self.mending)
        return first

    def _seen_all(self, name_id: int, keys: Sequence[bytes]) -> None:
        """The same for many."""
        self._unmark(name_id)
        fresh = SEEN.add_all(self._connection, ((name_id, key) for key in sorted(keys)))
        self._repeated |= not (fresh == len(keys) or self.mending)

    def _unmark(self, name_id: int) -> None:
        """What the work named so far is in SEEN from here on."""
        if (marks := self.marks.pop(name_id, None)) is not None:
            SEEN.add_all(self._connection, ((name_id, key) for key in marks.named(self._connection)))

    def upsert(self, shape: Shape, key: bytes, fields: bytes, row: Sequence[Value]) -> bool:
        """Writes an object; True if anything changed. A row with an equal key that is not the same is taken over."""
        key_values = row[: shape.width]
        old = self.old(shape, key_values)
        if old is None:
            return self._insert(shape, key, fields, row)
        old_key = key if shape.table.exact else pack_values(old[: shape.width])
        old_fields = pack_values(old[shape.width :])
        if (old_key, old_fields) == (key, fields):
            return False
        self.tables.foreign_keys.changed(self._connection, shape, key, old, row)
        if old_key == key:
            self._update(shape, old, row)
        else:
            self._connection.execute(shape.move, (*row, *old[: shape.width]))
        self.mended = True
        hash_of = object_hash
        self.change += hash_of(shape.prefix, key, fields) - hash_of(shape.prefix, old_key, old_fields)
        return True

    def _update(self, shape: Shape, old: Sequence[Value], row: Sequence[Value]) -> None:
        width = shape.width
        if not self.mending:
            self._connection.execute(shape.update, (*row[width:], *row[:width]))
            return
        # A trigger on other columns than those that differ does not fire again.
        places = [at for at in range(width, len(row)) if pack_values((old[at],)) != pack_values((row[at],))]
        sql = shape.update_only([shape.columns[at] for at in places])
        self._connection.execute(sql, (*(row[at] for at in places), *row[:width]))

    def _insert(
        self, shape: Shape, key: bytes, fields: bytes, row: Sequence[Value], extra: Sequence[Value] | None = None
    ) -> bool:
        if extra is None:
            self._connection.execute(shape.insert, row)
        else:
            self._connection.execute(shape.insert_all, (*row, *extra))
        if self._dividing:
            self._made(shape, (key,))
        self.mended = True
        self.change += object_hash(shape.prefix, key, fields)
        self.objects += 1
        if not self._empty.get(shape.name_id):
            self.tables.foreign_keys.changed(self._connection, shape, key, None, row)
        return True

    def delete(self, shape: Shape, key: bytes, key_values: Sequence[Value]) -> bool:
        """Removes an object; False if it is not there (R6)."""
        if self._noting:
            self.seen(shape.name_id, key)
        old = self.old(shape, key_values)
        if old is None or (not shape.table.exact and pack_values(old[: shape.width]) != key):
            return False
        self.tables.foreign_keys.changed(self._connection, shape, key, old, None)
        self._connection.execute(shape.delete, key_values)
        self.mended = True
        self.change -= object_hash(shape.prefix, key, pack_values(old[shape.width :]))
        self.objects -= 1
        return True

    # ------------------------------------------------------------ after the rows

    def note(self, objects: Iterable[ObjectId]) -> None:
        """The work names these objects, whether or not they can be executed here."""
        for one in objects:
            if self._noting and one.type in self.tables.name_ids:
                self.seen(self.tables.name_ids[one.type], one.key)

    def divide(self) -> None:
        """The work is divided in this try: what it makes may have to be taken away again."""
        MADE.clear(self._connection)
        self._dividing = True
        self.sent.plain = False

    def _made(self, shape: Shape, keys: Iterable[bytes]) -> None:
        MADE.add_all(self._connection, ((shape.name_id, key) for key in keys))

    def violations(self, discreet: bool = False) -> Iterator[tuple[ObjectId, str]]:
        """Foreign keys that do not hold for what was touched; ``discreet`` as in ``ForeignKeys.violations``."""
        tables = self.tables
        if not tables.foreign_keys.any:
            return iter(())
        return tables.foreign_keys.violations(self._connection, tables.current, frozenset(self.whole), discreet)

    def _shape(self, type_id: int) -> Shape:
        shape = self.tables.shapes[type_id]
        if isinstance(shape, str):
            raise RowFailed(self.tables.broken[type_id])
        self.was_empty(shape)
        return shape

    def _name_id(self, type_id: int) -> int:
        return self.tables.name_ids[self.tables.types[type_id].name]

    def _id(self, type_id: int, key: bytes) -> ObjectId:
        return ObjectId(self.tables.types[type_id].name, key)


def _pairs(chunks: Iterable[Columns]) -> Iterator[tuple[int, bytes]]:
    for columns in chunks:
        yield from zip(columns.types, columns.keys, strict=True)
