"""Rows of one table as observed data objects.

The fast path reads and packs whole pages. A row that cannot become canonical bytes (text that is not UTF-8, a value
over the bound) makes a page fail; the page is then read again row by row, with text as bytes, to find and name it.
Every read ends early when it reached its bound in bytes (R15): rows can be large.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence

from syncd.adapters.canonical import Value, pack_values
from syncd.applications.sqlite_common import name, names, primary_code
from syncd.applications.sqlite_schema import Table
from syncd.core.model import Observed
from syncd.core.settings import Limits

_LENGTH_MAX = 1_000_000_000  # SQLite's own bound for one value
_LARGE = 1024  # bytes from which a value counts
_SIZED = (str, bytes)
_ENCODINGS = ("utf-8", "utf-16-le", "utf-16-be")  # of SQLite
TOGETHER = 256  # objects that are looked up by one statement
_FEW = 4  # of one table: from here on they are


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
        for one in row:
            if isinstance(one, _SIZED) and len(one) >= _LARGE:
                size += len(one)
        if size >= bytes_max:
            break
    return rows


def size_bytes(observed: Observed) -> int:
    """What an object takes in memory, about."""
    return len(observed.key) + len(observed.fields or b"")


def plain(row: Sequence[RawValue]) -> list[Value]:
    """Raw values with their text decoded; raises UnicodeDecodeError."""
    if RawText not in map(type, row):
        return list(row)
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
        self._order = table.key_order()
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

    def listed(self, connection: sqlite3.Connection, keys: Sequence[Sequence[RawValue]]) -> Iterator[Observed]:
        """Objects with these keys that are there and can be read at once, as many as a page may have bytes. Only where
        equal keys are the same."""
        size = 1 << (len(keys) - 1).bit_length()  # few sizes: each is one prepared statement
        values = [value for key in (*keys, *[keys[-1]] * (size - len(keys))) for value in key]
        try:
            rows = fetch(connection, self._listed_sql(size), values, self._page_bytes_max)
            rows.reverse()
            found = [self._pack(rows.pop()) for _ in range(len(rows))]  # what is packed is not held twice
        except Exception as error:
            if not unreadable(error):
                raise
            return
        yield from (one for one in found if one is not None)

    def _listed_sql(self, size: int) -> str:
        columns = ", ".join(f"_syncd_row.{name(column)}" for column in self._columns)
        given = ", ".join([f"({', '.join('?' * self._width)})"] * size)
        equal = self.table.key_equal("_syncd_row.", [f"_syncd_key.column{at}" for at in range(1, self._width + 1)])
        table = f"{name(self.table.name)} AS _syncd_row"
        return f"SELECT {columns} FROM (VALUES {given}) AS _syncd_key CROSS JOIN {table} WHERE {equal}"

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
                size += size_bytes(packed)
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

    def not_text(self) -> str:
        """What is said of a row that cannot be named."""
        return f"table {self.table.name}: the key of a row is text that is not UTF-8; it is left out"

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
            size += sum(map(size_bytes, found))
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
        with any_length(connection):
            rows = fetch_raw(connection, sql, (*after, limit), self._page_bytes_max)
        return [tuple(map(_exact, row[: self._width], row[self._width :])) for row in rows]

    def _too_long_within(self, connection: sqlite3.Connection, after: RawRow, reached: RawRow) -> bool:
        """Whether ``_keys`` left out a row after the one key and up to the other."""
        order = ", ".join(self._order)
        condition = f"{self._length} > {self._bytes_max}"
        if reached:
            condition += f" AND ({order}) <= ({', '.join(map(_mark, reached))})"
        with any_length(connection):
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
            return [], [self.not_text()]
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


Named = tuple[Reader, Sequence[RawValue], bytes]  # an object: its table, its key, the same packed


def together(connection: sqlite3.Connection, asked: Iterable[Named | None]) -> dict[tuple[int, bytes], Observed]:
    """Those of at most ``TOGETHER`` objects that are there and can be read by one statement for each table."""
    by_reader: dict[Reader, dict[bytes, Sequence[RawValue]]] = {}
    for named in asked:
        if named is not None and named[0].table.exact:
            by_reader.setdefault(named[0], {})[named[2]] = named[1]
    return {
        (one.type, one.key): one
        for reader, keys in by_reader.items()
        if len(keys) >= _FEW
        for one in reader.listed(connection, list(keys.values()))
    }


def touched(connection: sqlite3.Connection, rows: Sequence[Named | None], bytes_max: int) -> tuple[list[Observed], int]:
    """The distinct objects that rows of a log name, as they are; each once, its last reading. And the number of rows
    that were taken: the objects may be large."""
    observed: dict[tuple[int, bytes], Observed] = {}
    asked: set[tuple[int, bytes]] = set()
    ahead: dict[tuple[int, bytes], Observed] = {}
    size = 0
    for at, named in enumerate(rows):
        if at % TOGETHER == 0 and len(rows) >= _FEW:
            ahead = together(connection, rows[at : at + TOGETHER])
        if named is None or (one := (named[0].type_id, named[2])) in asked:
            continue
        asked.add(one)
        if (read := ahead.get(one)) is not None:
            observed[one] = read
            size += len(read.key) + len(read.fields or b"")
        else:
            size += _touched(connection, named, observed)
        if size >= bytes_max:
            return list(observed.values()), at + 1
    return list(observed.values()), len(rows)


def _touched(connection: sqlite3.Connection, named: Named, observed: dict[tuple[int, bytes], Observed]) -> int:
    """Reads one object by itself; the bytes that came of it."""
    reader, values, key = named
    size = 0
    for one in reader.one(connection, values, key):
        if one.fields is not None or (reader.type_id, one.key) not in observed:
            observed[reader.type_id, one.key] = one
            size += size_bytes(one)
    return size


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
def any_length(connection: sqlite3.Connection) -> Iterator[None]:
    """Lets SQLite look at values over the limit, one at a time, to tell their length."""
    before = connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LENGTH_MAX)
    try:
        yield
    finally:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, before)
