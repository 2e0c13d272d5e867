"""Rows of one table as observed data objects.

The fast path reads and packs whole pages. A row that cannot become canonical bytes (text that is not UTF-8, a value
over the bound) makes a page fail; the page is then read again row by row, with text as bytes, to find and name it.
Every read ends early when it reached its bound in bytes (R15): rows can be large.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence

from syncd.adapters.canonical import Value, pack_values
from syncd.applications.sqlite_common import name, names, primary_code
from syncd.applications.sqlite_schema import Table
from syncd.core.model import Observed
from syncd.core.settings import Limits

_LENGTH_MAX = 1_000_000_000  # SQLite's own bound for one value
_LARGE = 1024  # bytes from which a value counts
_ENCODINGS = ("utf-8", "utf-16-le", "utf-16-be")  # of SQLite


class RawText(bytes):
    """Text as its bytes, because not every text is what it says: as SQLite gives it, in UTF-8, or (in a key that is
    asked for) as the database holds it, in the database's encoding."""


RawValue = Value | RawText
RawRow = tuple[RawValue, ...]


def fetch_raw(
    connection: sqlite3.Connection, sql: str, values: Sequence[RawValue], bytes_max: int = _LENGTH_MAX
) -> list[RawRow]:
    """Rows with text as ``RawText``: all, or those up to the one that reaches ``bytes_max``."""
    connection.text_factory = RawText
    try:
        return fetch(connection, sql, values, bytes_max)
    finally:
        connection.text_factory = str


def fetch(connection: sqlite3.Connection, sql: str, values: Sequence[RawValue], bytes_max: int) -> list[RawRow]:
    """Rows up to the one that reaches ``bytes_max``; at least one, if there is one. Small values do not count."""
    rows: list[RawRow] = []
    size = 0
    for row in connection.execute(sql, tuple(values)):
        rows.append(row)
        size += sum(len(one) for one in row if isinstance(one, str | bytes) and len(one) >= _LARGE)
        if size >= bytes_max:
            break
    return rows


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

    def __init__(self, table: Table, type_id: int, limits: Limits) -> None:
        self.table = table
        self.type_id = type_id
        self._bytes_max = limits.object_bytes_max
        self._page_bytes_max = limits.scan_bytes_max
        self._width = len(table.key)
        self._columns = (*table.key, *table.fields)
        self._from = f" FROM {name(table.name)} WHERE "
        self._order = [
            f"{name(key)} COLLATE {name(collation)}" if collation else name(key)
            for key, collation in zip(table.key, table.key_collations, strict=True)
        ]
        self._filled = " AND ".join(f"{name(key)} IS NOT NULL" for key in table.key) if table.nullable else "1"
        self._length = " + ".join(f"length(CAST({name(key)} AS BLOB))" for key in table.key)
        plain_marks = ["?"] * self._width
        self._one = self._one_sql(plain_marks, self._columns)
        self._first = self._page_sql(names(self._columns), [])
        self._next = self._page_sql(names(self._columns), plain_marks)

    def _one_sql(self, marks: Sequence[str], columns: tuple[str, ...]) -> str:
        return f"SELECT {names(columns)}{self._from}{self.table.key_equal('', marks)}"

    def _page_sql(self, columns: str, marks: Sequence[str], condition: str = "1") -> str:
        order = ", ".join(self._order)
        beyond = f" AND ({order}) > ({', '.join(marks)})" if marks else ""
        return f"SELECT {columns}{self._from}{self._filled} AND {condition}{beyond} ORDER BY {order} LIMIT ?"

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
                return self._fast_page(connection, after, limit)
            except Exception as error:
                if not unreadable(error):
                    raise
        return self._slow_page(connection, after, limit)

    def one(self, connection: sqlite3.Connection, asked: Sequence[RawValue], key: bytes) -> list[Observed]:
        """The object with this key as it is. A row may answer to a key that is equal and not the same (NOCASE)."""
        try:
            rows: list[RawRow] = connection.execute(self._one, asked).fetchall()
            found = [observed for row in rows if (observed := self._pack(row)) is not None]
        except Exception as error:
            if not unreadable(error):
                raise
            found, _ = self._slow_row(connection, asked)
        if not any(observed.key == key for observed in found):
            found.insert(0, Observed(self.type_id, key, None))
        return found

    def _fast_page(
        self, connection: sqlite3.Connection, after: RawRow | None, limit: int
    ) -> tuple[list[Observed], RawRow | None, list[str]]:
        sql = self._first if after is None else self._next
        observed: list[Observed] = []
        problems: list[str] = []
        size = 0
        for count, row in enumerate(connection.execute(sql, (*(after or ()), limit)), 1):
            packed = self._pack(row)
            if packed is None:
                problems.append(self._too_long())
            else:
                observed.append(packed)
                size += len(packed.key) + len(packed.fields or b"")
            if count == limit or size >= self._page_bytes_max:
                return observed, row[: self._width], problems
        return observed, None, problems

    def _pack(self, row: Sequence[RawValue]) -> Observed | None:
        """The row as an object, withheld if it is too large; None: its key alone is, so that it cannot be named."""
        key, fields = pack_values(row[: self._width]), pack_values(row[self._width :])
        size = len(key) + len(fields)
        if size <= self._bytes_max:
            return Observed(self.type_id, key, fields)
        if len(key) > self._bytes_max:
            return None
        fault = f"table {self.table.name}: an object of {size} bytes is over the limit of {self._bytes_max}"
        return Observed(self.type_id, key, b"", fault)

    def _too_long(self) -> str:
        return f"table {self.table.name}: the key of a row is over the limit of {self._bytes_max} bytes; it is left out"

    def _slow_page(
        self, connection: sqlite3.Connection, after: RawRow | None, limit: int
    ) -> tuple[list[Observed], RawRow | None, list[str]]:
        """Row by row. A page after the last key, which is empty, is the last one."""
        keys = self._keys(connection, after or (), limit)
        observed: list[Observed] = []
        problems: list[str] = []
        reached: RawRow | None = None
        size = 0
        for reached in keys:
            found, problem = self._slow_row(connection, reached)
            observed += found
            problems += problem
            size += sum(len(one.key) + len(one.fields or b"") for one in found)
            if size >= self._page_bytes_max:
                break
        if self._too_long_within(connection, after or (), reached or ()):
            problems.append(self._too_long())
        return observed, reached, problems

    def _keys(self, connection: sqlite3.Connection, after: RawRow, limit: int) -> list[RawRow]:
        """The next keys, without those that are too long to be read. Text is bound as it is where that is exact."""
        quoted = [name(key) for key in self.table.key]
        held = ", ".join(f"CASE typeof({key}) WHEN 'text' THEN CAST({key} AS BLOB) END" for key in quoted)
        marks = list(map(_mark, after))
        sql = self._page_sql(f"{names(self.table.key)}, {held}", marks, f"{self._length} <= {self._bytes_max}")
        with _any_length(connection):
            rows = fetch_raw(connection, sql, (*after, limit), self._page_bytes_max)
        return [tuple(map(_exact, row[: self._width], row[self._width :])) for row in rows]

    def _too_long_within(self, connection: sqlite3.Connection, after: RawRow, reached: RawRow) -> bool:
        """Whether ``_keys`` left out a row after the one key and up to the other."""
        order = ", ".join(self._order)
        condition = f"{self._length} > {self._bytes_max}"
        if reached:
            condition += f" AND ({order}) <= ({', '.join(map(_mark, reached))})"
        with _any_length(connection):
            sql = self._page_sql("1", list(map(_mark, after)), condition)
            return connection.execute(sql, (*reached, *after, 1)).fetchone() is not None

    def _slow_row(self, connection: sqlite3.Connection, asked: Sequence[RawValue]) -> tuple[list[Observed], list[str]]:
        """One row, with what is wrong with it; a key that is no UTF-8 cannot be named and becomes a problem."""
        table, marks = self.table.name, list(map(_mark, asked))
        keys = fetch_raw(connection, self._one_sql(marks, self.table.key), asked)
        if not keys:
            return [], [f"table {table}: a row is not found under its own key; it is left out"]
        try:
            key = pack_values(plain(keys[0]))
        except UnicodeDecodeError:
            return [], [f"table {table}: the key of a row is text that is not UTF-8; it is left out"]
        try:
            row = fetch_raw(connection, self._one_sql(marks, self._columns), asked)[0]
        except (sqlite3.Error, OverflowError, MemoryError) as error:
            if not unreadable(error):
                raise
            fault = f"table {table}: a value is over the limit of {self._bytes_max} bytes"
            return [Observed(self.type_id, key, b"", fault)], []
        faults = [column for column, value in zip(self._columns, row, strict=True) if not _decodes(value)]
        if faults:
            fault = f"table {table}: column {faults[0]} holds text that is not UTF-8"
            return [Observed(self.type_id, key, b"", fault)], []
        packed = self._pack(plain(row))
        return ([packed], []) if packed else ([], [self._too_long()])


def _decodes(value: RawValue) -> bool:
    if isinstance(value, RawText):
        try:
            bytes(value).decode()
        except UnicodeDecodeError:
            return False
    return True


def _exact(value: RawValue, held: RawValue) -> RawValue:
    """A part of a key as it is asked for. ``held``: the bytes of text in the database. A row is found by its text
    where nothing was lost on the way out of the database's encoding, else by those bytes."""
    if not isinstance(value, RawText) or not isinstance(held, bytes):
        return value
    text = bytes(value).decode(errors="replace")
    return text if any(text.encode(encoding) == held for encoding in _ENCODINGS) else RawText(held)


def _mark(value: RawValue) -> str:
    """A place for a value in SQL. Bytes of text go in as a blob and are called text there; a bound blob that is cast
    would be taken for UTF-8, what comes out of an operator is in the database's encoding."""
    return "CAST(x'' || ? AS TEXT)" if isinstance(value, RawText) else "?"


@contextlib.contextmanager
def _any_length(connection: sqlite3.Connection) -> Iterator[None]:
    """Lets SQLite look at values over the limit, one at a time, to tell their length."""
    before = connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LENGTH_MAX)
    try:
        yield
    finally:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, before)
