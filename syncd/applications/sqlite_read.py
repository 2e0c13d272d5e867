"""Rows of one table as observed data objects.

The fast path reads and packs whole pages. A row that cannot become canonical bytes (text that is not UTF-8, a value
over the bound) makes a page fail; the page is then read again row by row, with text as bytes, to find and name it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from syncd.adapters.canonical import Value, pack_values
from syncd.applications.sqlite_common import name, names, primary_code
from syncd.applications.sqlite_schema import Table
from syncd.core.model import Observed


class RawText(bytes):
    """Text as its bytes: not every text in a database is UTF-8."""


RawValue = Value | RawText
RawRow = tuple[RawValue, ...]


def fetch_raw(connection: sqlite3.Connection, sql: str, values: Sequence[RawValue]) -> list[RawRow]:
    """All rows, with text as ``RawText``."""
    connection.text_factory = RawText
    try:
        return connection.execute(sql, tuple(values)).fetchall()
    finally:
        connection.text_factory = str


def plain(row: Sequence[RawValue]) -> list[Value]:
    """Raw values with their text decoded; raises UnicodeDecodeError."""
    return [bytes(value).decode() if isinstance(value, RawText) else value for value in row]


def unreadable(error: Exception) -> bool:
    """Whether a page failed because of what one of its rows holds."""
    if isinstance(error, UnicodeError | MemoryError):
        return True
    if isinstance(error, sqlite3.Error):
        return primary_code(error) == sqlite3.SQLITE_TOOBIG or "decode to UTF-8" in str(error)
    return isinstance(error, OverflowError)


class Reader:
    """Reads one table. ``type_id`` is the store's."""

    def __init__(self, table: Table, type_id: int, object_bytes_max: int) -> None:
        self.table = table
        self.type_id = type_id
        self._bytes_max = object_bytes_max
        self._width = len(table.key)
        self._columns = (*table.key, *table.fields)
        self._from = f" FROM {name(table.name)} WHERE "
        self._order = [
            f"{name(key)} COLLATE {name(collation)}" if collation else name(key)
            for key, collation in zip(table.key, table.key_collations, strict=True)
        ]
        self._filled = " AND ".join(f"{name(key)} IS NOT NULL" for key in table.key) if table.nullable else "1"
        plain_marks = ["?"] * self._width
        self._one = self._one_sql(plain_marks)
        self._first = self._page_sql(self._columns, [])
        self._next = self._page_sql(self._columns, plain_marks)

    def _one_sql(self, marks: Sequence[str]) -> str:
        return f"SELECT {names(self._columns)}{self._from}{self.table.key_equal('', marks)}"

    def _page_sql(self, columns: tuple[str, ...], marks: Sequence[str]) -> str:
        order = ", ".join(self._order)
        beyond = f" AND ({order}) > ({', '.join(marks)})" if marks else ""
        return f"SELECT {names(columns)}{self._from}{self._filled}{beyond} ORDER BY {order} LIMIT ?"

    def nameless(self, connection: sqlite3.Connection) -> int:
        """Rows with NULL in their key: they cannot be told apart."""
        if not self.table.nullable:
            return 0
        null = " OR ".join(f"{name(key)} IS NULL" for key in self.table.key)
        found: int = connection.execute(f"SELECT count(*) FROM {name(self.table.name)} WHERE {null}").fetchone()[0]
        return found

    def page(
        self, connection: sqlite3.Connection, after: RawRow | None, limit: int
    ) -> tuple[list[Observed], RawRow | None, list[str]]:
        """The next page in key order: what it holds, where the next begins (None: it was the last), problems."""
        if after is None or not any(isinstance(value, RawText) for value in after):
            try:
                sql = self._first if after is None else self._next
                rows = connection.execute(sql, (*(after or ()), limit)).fetchall()
                more: RawRow | None = rows[-1][: self._width] if len(rows) == limit else None
                return self._pack(rows), more, []
            except Exception as error:
                if not unreadable(error):
                    raise
        return self._slow_page(connection, after, limit)

    def one(self, connection: sqlite3.Connection, asked: Sequence[RawValue], key: bytes) -> list[Observed]:
        """The object with this key as it is. A row may answer to a key that is equal and not the same (NOCASE)."""
        try:
            rows = connection.execute(self._one, asked).fetchall()
            found = self._pack(rows)
        except Exception as error:
            if not unreadable(error):
                raise
            found, _ = self._slow_row(connection, asked)
        if not any(observed.key == key for observed in found):
            found.insert(0, Observed(self.type_id, key, None))
        return found

    def _pack(self, rows: Sequence[tuple[Value, ...]]) -> list[Observed]:
        type_id, width, bytes_max = self.type_id, self._width, self._bytes_max
        observed = [Observed(type_id, pack_values(row[:width]), pack_values(row[width:])) for row in rows]
        if any(len(one.fields or b"") > bytes_max for one in observed):
            return [self._bounded(one) for one in observed]
        return observed

    def _bounded(self, observed: Observed) -> Observed:
        size = len(observed.fields or b"")
        if size <= self._bytes_max:
            return observed
        fault = f"table {self.table.name}: an object of {size} bytes is over the limit of {self._bytes_max}"
        return Observed(self.type_id, observed.key, b"", fault)

    def _slow_page(
        self, connection: sqlite3.Connection, after: RawRow | None, limit: int
    ) -> tuple[list[Observed], RawRow | None, list[str]]:
        after = after or ()
        keys = fetch_raw(connection, self._page_sql(self.table.key, list(map(_mark, after))), (*after, limit))
        observed: list[Observed] = []
        problems: list[str] = []
        for key in keys:
            found, problem = self._slow_row(connection, key)
            observed += found
            problems += problem
        return observed, keys[-1] if len(keys) == limit else None, problems

    def _slow_row(self, connection: sqlite3.Connection, asked: Sequence[RawValue]) -> tuple[list[Observed], list[str]]:
        """One row, with what is wrong with it; a key that is no UTF-8 cannot be named and becomes a problem."""
        try:
            rows = fetch_raw(connection, self._one_sql(list(map(_mark, asked))), asked)
        except (sqlite3.Error, OverflowError, MemoryError) as error:
            if not unreadable(error):
                raise
            key = pack_values(plain(asked))
            fault = f"table {self.table.name}: a value is over the limit of {self._bytes_max} bytes"
            return [Observed(self.type_id, key, b"", fault)], []
        if not rows:
            return [], []
        try:
            key = pack_values(plain(rows[0][: self._width]))
        except UnicodeDecodeError:
            return [], [f"table {self.table.name}: the key of a row is text that is not UTF-8; it is left out"]
        faults = [column for column, value in zip(self._columns, rows[0], strict=True) if not _decodes(value)]
        if faults:
            fault = f"table {self.table.name}: column {faults[0]} holds text that is not UTF-8"
            return [Observed(self.type_id, key, b"", fault)], []
        return [self._bounded(Observed(self.type_id, key, pack_values(plain(rows[0][self._width :]))))], []


def _decodes(value: RawValue) -> bool:
    if isinstance(value, RawText):
        try:
            bytes(value).decode()
        except UnicodeDecodeError:
            return False
    return True


def _mark(value: RawValue) -> str:
    """A place for a value in SQL. Bytes of text go in as a blob and are called text there."""
    return "CAST(? AS TEXT)" if isinstance(value, RawText) else "?"
