"""What the tables hold beyond a snapshot: objects of the application's own (R13), and what a snapshot removes (R5)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence

from syncd.adapters.canonical import pack_values, unpack_many, unpack_values
from syncd.applications.sqlite_apply import Applier
from syncd.applications.sqlite_bulk import delete_all
from syncd.applications.sqlite_common import name, names
from syncd.applications.sqlite_definition import Shape
from syncd.applications.sqlite_noted import SEEN
from syncd.applications.sqlite_tables import Chunks, Tables, robust
from syncd.core.model import Kind, ObjectId
from syncd.core.ports import Skip

_PAGE_ROWS = 256  # rows looked at together


class Beyond:
    """Looks through the tables for one try."""

    def __init__(self, connection: sqlite3.Connection, tables: Tables, applier: Applier) -> None:
        self._connection = connection
        self._tables = tables
        self._applier = applier

    def own_rows(self, chunks: Chunks, skip: Skip | None) -> int:
        """Rows that a first snapshot finds here and that are not as the snapshot has them (R13). Changes nothing."""
        applier = self._applier
        if all(applier.was_empty(shape) for shape in self._tables.current):
            return 0
        for columns in chunks():
            for kind, type_id, key, fields in zip(*columns, strict=True):
                shape = self._tables.shapes[type_id]
                if isinstance(shape, str) or applier.was_empty(shape) or kind == Kind.DELETE:
                    continue
                old = applier.old(shape, unpack_values(key))
                same = old is not None and (pack_values(old[: shape.width]), pack_values(old[shape.width :])) == (
                    key,
                    fields,
                )
                if same or kind == Kind.WITHHELD:
                    applier.seen(shape.name_id, key)
        own = 0
        for shape in self._tables.current:
            robust(self._connection, lambda: self._find_unseen(shape, skip))  # noqa: B023
            own += self._connection.execute("SELECT count(*) FROM temp._syncd_index").fetchone()[0]
        SEEN.clear(self._connection)
        return own

    def remove_unseen(self, skip: Skip | None) -> None:
        """Removes what the tables hold beyond the snapshot (R5), but for parked objects. Raises RowFailed."""
        applier = self._applier
        for shape in self._tables.current:
            if applier.was_empty(shape) or applier.sent.nothing_else(self._connection, shape):
                continue
            if not skip and (marks := applier.marks.get(shape.name_id)) and self._is_plain(shape):
                marks.remove_others(self._connection)
                continue
            robust(self._connection, lambda: self._find_unseen(shape, skip))  # noqa: B023
            unseen = self._connection.execute("SELECT key FROM temp._syncd_index")
            while page := unseen.fetchmany(_PAGE_ROWS):
                self._remove(shape, [key for (key,) in page])

    def _remove(self, shape: Shape, keys: Sequence[bytes]) -> None:
        """Together, where that can be: then it is not told what they were, whoever removes them counts what is left."""
        applier = self._applier
        values = unpack_many(keys)
        if not self._is_plain(shape):
            for key, key_values in zip(keys, values, strict=True):
                applier.guarded(shape, key, lambda: applier.delete(shape, key, key_values))  # noqa: B023
            return
        delete_all(self._connection, shape, values)
        applier.mended = True

    def _is_plain(self, shape: Shape) -> bool:
        """Whether rows can go without being looked at, and nothing but a fault of the disk can keep them."""
        return shape.table.exact and not shape.table.triggers and not self._tables.noted(shape)

    def _find_unseen(self, shape: Shape, skip: Skip | None) -> None:
        run = self._connection.execute
        run("DELETE FROM temp._syncd_index")
        for unseen in self._unseen(shape):
            parked = skip(ObjectId(shape.type.name, key) for key in unseen) if skip else frozenset()
            left = [key for key in unseen if (shape.type.name, key) not in parked]
            if left:
                listed = ", ".join([f"({shape.name_id:d}, ?, 0, 0, NULL)"] * len(left))
                run(f"INSERT INTO temp._syncd_index VALUES {listed}", left)

    def _unseen(self, shape: Shape) -> Iterator[list[bytes]]:
        """Keys of rows that the work does not name, some at a time."""
        marks = self._applier.marks.get(shape.name_id)
        if marks is not None:
            yield from marks.others(self._connection)
            return
        rows = self._connection.execute(f"SELECT {names(shape.type.key)} FROM {name(shape.table.name)}")
        while page := rows.fetchmany(_PAGE_ROWS):
            keys = list(map(pack_values, page))
            seen = SEEN.among(self._connection, shape.name_id, keys)
            if unseen := [key for key in keys if key not in seen]:
                yield unseen
