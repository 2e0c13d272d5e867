"""Which rows of a table a snapshot names (R5): a mark for each rowid that the table had before.

A mark costs a hundredth of a note in a temporary table (``sqlite_noted``). It is for tables of which, in this try, rows
are inserted and updated only: a rowid beyond those that the table had is then a row that the try made.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence

from syncd.adapters.canonical import Value, pack_values
from syncd.applications.sqlite_common import name, names
from syncd.applications.sqlite_definition import Shape

_MARKS_BYTES_MAX = 4 * 1024 * 1024  # of one table, a byte each from its first to its last rowid; then notes are taken
_ROWID_MAX = 2**63 - 1  # above it SQLite gives any rowid that is free
_PAGE_ROWS = 512
_NAMED = 1


class Marks:
    """``rowid``: what the table calls it."""

    def __init__(self, shape: Shape, first: int, last: int) -> None:
        self.rowid = shape.table.rowid
        self._shape = shape
        self._first = first
        self._marks = bytearray(last - first + 1)

    @classmethod
    def of(cls, connection: sqlite3.Connection, shape: Shape) -> Marks | None:
        """None: the table has no rowids, too many, or keys that are equal and not the same."""
        if not (shape.table.rowid and shape.table.exact):
            return None
        rowid, table = name(shape.table.rowid), name(shape.table.name)
        # Two queries of one end each: one of both reads the whole table.
        ends = f"SELECT (SELECT min({rowid}) FROM {table}), (SELECT max({rowid}) FROM {table})"
        first, last = connection.execute(ends).fetchone()
        if first is None or last == _ROWID_MAX or last - first >= _MARKS_BYTES_MAX:
            return None
        return cls(shape, first, last)

    def mark(self, rows: Iterable[Sequence[Value]]) -> bool:
        """Rows that were there, with their rowids at the end; False if any was named before."""
        first, marks, once = self._first, self._marks, True
        for row in rows:
            rowid = row[-1]
            assert isinstance(rowid, int)
            at = rowid - first
            if not 0 <= at < len(marks) or marks[at]:
                once = False
            else:
                marks[at] = _NAMED
        return once

    def made(self, keys: Iterable[Sequence[Value]]) -> None:
        """Rows that were not there. Only where the key is the rowid their place may be among those that were."""
        if self.rowid == self._shape.table.key[0]:
            for (key,) in keys:
                if isinstance(key, int) and 0 <= (at := key - self._first) < len(self._marks):
                    self._marks[at] = _NAMED

    def named(self, connection: sqlite3.Connection) -> Iterator[bytes]:
        """The keys of the rows that the work named so far."""
        return (key for rowid, key in self._rows(connection) if not self._is_other(rowid))

    def others(self, connection: sqlite3.Connection) -> Iterator[list[bytes]]:
        """The keys of the rows that it did not name, some hundreds at a time."""
        page: list[bytes] = []
        for rowid, key in self._rows(connection):
            if self._is_other(rowid):
                page.append(key)
                if len(page) == _PAGE_ROWS:
                    yield page
                    page = []
        if page:
            yield page

    def remove_others(self, connection: sqlite3.Connection) -> None:
        """Removes the rows that the work did not name, a page of them at a time."""
        rowid, table, marks, first = name(self.rowid), name(self._shape.table.name), self._marks, self._first
        rows = f"SELECT {rowid} FROM {table} WHERE {rowid} BETWEEN ? AND ? ORDER BY {rowid} LIMIT {_PAGE_ROWS}"
        after, last = first, first + len(marks) - 1
        while page := [found for (found,) in connection.execute(rows, (after, last))]:
            after = page[-1] + 1
            others = [found for found in page if not marks[found - first]]
            connection.execute(f"DELETE FROM {table} WHERE {rowid} IN ({', '.join('?' * len(others))})", others)

    def _is_other(self, rowid: int) -> bool:
        at = rowid - self._first
        return 0 <= at < len(self._marks) and not self._marks[at]

    def _rows(self, connection: sqlite3.Connection) -> Iterator[tuple[int, bytes]]:
        columns = names((self.rowid, *self._shape.type.key))
        for rowid, *key in connection.execute(f"SELECT {columns} FROM {name(self._shape.table.name)}"):
            yield rowid, pack_values(key)
