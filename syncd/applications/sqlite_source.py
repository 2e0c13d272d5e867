"""The SQLite application on the primary (claim 24e): what its database holds and what was touched in it.

Keeps R13 (a database that is missing, replaced or not the one that was shared is offline, never empty), R12 and R16
(short read transactions; the log of touched keys is cut back only when the application leaves the lock free). Its log
and its triggers are made in ``sqlite_capture``, the log is read in ``sqlite_log``, rows are read in ``sqlite_read``,
waiting is in ``sqlite_wait``.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from syncd.adapters.canonical import Value, pack_values, unpack_values
from syncd.applications import sqlite_capture as capture
from syncd.applications import sqlite_log as log
from syncd.applications.sqlite_common import Database, file_id, primary_code, transaction
from syncd.applications.sqlite_read import RawRow, RawText, RawValue, Reader, plain
from syncd.applications.sqlite_schema import Table, shareable
from syncd.applications.sqlite_wait import Waiter
from syncd.core.errors import ApplicationOffline
from syncd.core.model import DataType, Observed
from syncd.core.ports import ScanPage, SourceChanges, SourceState
from syncd.core.settings import Limits

Result = TypeVar("Result")
_DISCARD_ROWS = 1_000  # the log is cut back in pieces of at least this
_DISCARD_IDLE_S = 1.0  # or when nothing happened for so long
_DISCARD_BUSY_MS = 20  # R16: the application's lock comes first, the log can wait
_REPLACED = "the database at {} is not the one that was shared (it was replaced)"


class SqliteSource:
    """``core.ports.Source`` on the database at ``path``; ``tables``: those to share, empty for all."""

    def __init__(self, path: Path, tables: Sequence[str], limits: Limits) -> None:
        self._path = path
        self._wanted = tuple(tables)
        self._limits = limits
        self._database: Database | None = None
        self._waiter: Waiter | None = None
        self._tables: tuple[Table, ...] = ()
        self._numbers: dict[str, int] = {}
        self._by_number: dict[int, Reader] = {}
        self._by_type: dict[int, Reader] = {}
        self._schema_version = -1
        self._drained: tuple[int, int] | None = None  # data_version and mark at which nothing remained
        self._discarded = 0
        self._discarded_at = 0.0
        self._problems: dict[str, None] = {}
        self._problem_count = 0

    @property
    def problems(self) -> tuple[str, ...]:
        """What cannot be captured, in words: as found at ``open`` and by reading since."""
        more = self._problem_count - len(self._problems)
        return (*self._problems, f"and {more} more") if more > 0 else tuple(self._problems)

    async def open(self, expected: str) -> SourceState:
        await self.close()
        if file_id(self._path) is None:
            raise ApplicationOffline(
                f"the database {self._path} is missing",
                "mount its disk or put it back; if it moved, share it again",
            )
        if not self._path.is_file():
            raise ApplicationOffline(f"{self._path} is not a file", "share the path of an SQLite database")
        self._database = await Database.open(self._path, self._limits)
        self._drained = None
        try:
            identity = await self._run(lambda connection: self._open(connection, expected))
            self._waiter = Waiter(self._path)
        except BaseException:
            await self.close()
            raise
        return SourceState(identity, tuple(table.data_type() for table in self._tables), self.problems)

    async def number(self, types: Sequence[DataType]) -> None:
        tables = {table.name: table for table in self._tables}
        self._by_type = {one.id: Reader(tables[one.name], one.id, self._limits) for one in types if one.name in tables}
        self._by_number = {self._numbers[reader.table.name]: reader for reader in self._by_type.values()}

    async def scan(self, type_id: int, after: tuple[object, ...] | None, limit: int) -> ScanPage:
        reader = self._by_type[type_id]
        begin: RawRow | None = None if after is None else tuple(_raw(value) for value in after)

        def page(connection: sqlite3.Connection) -> ScanPage:
            with transaction(connection, "DEFERRED"):
                nameless = 0 if begin is not None else reader.nameless(connection)
                observed, more, problems = reader.page(connection, begin, limit)
            if nameless:
                self._problem(f"table {reader.table.name}: {nameless} rows have NULL in their key, left out")
            for problem in problems:
                self._problem(problem)
            return ScanPage(observed, more)

        return await self._run(page)

    async def observe(self, objects: Sequence[tuple[int, bytes]]) -> Sequence[Observed]:
        def read(connection: sqlite3.Connection) -> list[Observed]:
            observed: list[Observed] = []
            size = 0
            with transaction(connection, "DEFERRED"):
                for type_id, key in objects:
                    if size >= self._limits.scan_bytes_max:
                        break
                    reader = self._by_type.get(type_id)
                    if reader is None:
                        observed.append(Observed(type_id, key, None))
                        continue
                    found = reader.one(connection, unpack_values(key), key)
                    observed += [one for one in found if one.key == key]
                    size += sum(map(_size, found))
            return observed

        return await self._run(read)

    async def changes(self, mark: int, limit: int) -> SourceChanges:
        return await self._run(lambda connection: self._changes(connection, mark, limit))

    async def discard(self, mark: int) -> None:
        now = time.monotonic()
        number = log.number_of(mark)
        idle = now - self._discarded_at >= _DISCARD_IDLE_S
        if number <= self._discarded or (number - self._discarded < _DISCARD_ROWS and not idle):
            return
        self._discarded_at = now

        def cut_back(connection: sqlite3.Connection) -> bool:
            connection.execute(f"PRAGMA busy_timeout={_DISCARD_BUSY_MS}")
            try:
                log.cut_back(connection, number)
            except sqlite3.OperationalError as error:
                if primary_code(error) not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                    raise
                return False
            finally:
                connection.execute(f"PRAGMA busy_timeout={int(self._limits.busy_s_max * 1000)}")
            return True

        if await self._run(cut_back):
            self._discarded = number

    async def wait(self, timeout_s: float) -> None:
        database, waiter = self._reached()
        if waiter is not None:
            await database.run(lambda connection: waiter.wait(connection, timeout_s, lambda: database.waiting > 1))

    async def close(self) -> None:
        waiter, self._waiter = self._waiter, None
        database, self._database = self._database, None
        if waiter is not None:
            waiter.stop()
        if database is not None:
            await database.close()
        if waiter is not None:
            waiter.close()

    def _reached(self) -> tuple[Database, Waiter | None]:
        if self._database is None:
            raise ApplicationOffline(f"the database {self._path} is not open")
        return self._database, self._waiter

    async def _run(self, function: Callable[[sqlite3.Connection], Result]) -> Result:
        database, waiter = self._reached()

        def checked(connection: sqlite3.Connection) -> Result:
            if waiter is not None and not waiter.in_place(time.monotonic()):
                raise ApplicationOffline(
                    f"the database {self._path} is missing or was replaced", "it is opened again when it is back"
                )
            return function(connection)

        return await database.run(checked)

    def _problem(self, text: str) -> None:
        if text not in self._problems:
            self._problem_count += 1
            if len(self._problems) < self._limits.problems_max:
                self._problems[text] = None

    # ------------------------------------------------------------ in the database's thread

    def _open(self, connection: sqlite3.Connection, expected: str) -> str:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, self._limits.object_bytes_max + 4096)
        with transaction(connection, "DEFERRED"):
            identity, place = _identity(connection)
            if expected and identity != expected:
                raise ApplicationOffline(
                    _REPLACED.format(self._path), "put the shared one back, or share this one as another collection"
                )
            tables = self._inspect(connection)
            numbers = capture.complete(connection, tables, self._limits)
        here = _place(self._path)
        if numbers is None or not expected or place != here:
            with transaction(connection, "IMMEDIATE"):
                identity, place = _identity(connection)
                identity = identity or expected or secrets.token_hex(16)
                tables = self._inspect(connection)
                numbers = capture.install(connection, tables, self._limits)
                _set_identity(connection, identity, here)
                if place not in ("", here):
                    connection.execute(f"UPDATE {capture.CONTROL} SET lost = 1")
                if not expected:  # a first import follows, which reads everything
                    connection.execute(f"DELETE FROM {capture.LOG}")
                    connection.execute(f"UPDATE {capture.CONTROL} SET lost = 0")
        self._tables, self._numbers = tables, numbers
        self._schema_version = connection.execute("PRAGMA schema_version").fetchone()[0]
        return identity

    def _inspect(self, connection: sqlite3.Connection) -> tuple[Table, ...]:
        tables, problems = shareable(connection, self._wanted)
        self._problems, self._problem_count = {}, 0
        for problem in problems:
            self._problem(problem)
        found = {table.name for table in tables}
        captured = {reader.table.name for reader in self._by_type.values()}
        for gone in sorted({*self._wanted, *captured} - found):
            raise ApplicationOffline(
                f"table {gone} of {self._path} is gone or has no primary key any more"
                if gone in captured
                else f"{self._path} has no table {gone} with a primary key",
                "put it back, or `syncd share` the collection again: then its objects are deleted everywhere",
            )
        return tuple(tables)

    def _changes(self, connection: sqlite3.Connection, mark: int, limit: int) -> SourceChanges:
        version = connection.execute("PRAGMA data_version").fetchone()[0]
        if self._drained == (version, mark):
            return SourceChanges((), mark, True)
        try:
            connection.execute("BEGIN")
            changes = self._read(connection, mark, limit)
        except sqlite3.OperationalError as error:
            if "no such" not in str(error):
                raise
            return SourceChanges((), mark, False, reshaped=True)
        finally:
            if connection.in_transaction:
                connection.execute("COMMIT")
        if changes.lost:
            # A comparison will replace the log: logging goes on before it begins, so that nothing falls between.
            self._drained = None
            if log.lost(connection, self._limits):
                log.begin_anew(connection)
            return replace(changes, mark=log.last_mark(connection))
        if changes.drained:
            self._drained = (version, changes.mark)
            if self._waiter is not None:
                self._waiter.seen(version, time.monotonic())
        return changes

    def _read(self, connection: sqlite3.Connection, mark: int, limit: int) -> SourceChanges:
        if connection.execute("PRAGMA schema_version").fetchone()[0] != self._schema_version and self._reshaped(
            connection
        ):
            return SourceChanges((), mark, False, reshaped=True)
        if not log.follows(connection, mark) or (self._tables and log.lost(connection, self._limits)):
            return SourceChanges((), mark, False, lost=True)
        rows = log.read(connection, mark, limit, self._limits.scan_bytes_max)
        observed, taken = self._touched(connection, rows)
        reached = log.mark_of(int(rows[taken - 1][0] or 0), int(rows[taken - 1][2] or 0)) if taken else mark
        return SourceChanges(observed, reached, reached == log.last_mark(connection))

    def _touched(self, connection: sqlite3.Connection, rows: Sequence[RawRow]) -> tuple[list[Observed], int]:
        """The distinct objects that rows of the log name, as they are; each once, its last reading. And the number of
        rows that were taken: the objects may be large."""
        asked: set[tuple[int, bytes]] = set()
        observed: dict[tuple[int, bytes], Observed] = {}
        size = 0
        for count, row in enumerate(rows, 1):
            named = self._named(row)
            if named is None or (named[0].type_id, named[2]) in asked:
                continue
            reader, values, key = named
            asked.add((reader.type_id, key))
            for one in reader.one(connection, values, key):
                if one.fields is not None or (reader.type_id, one.key) not in observed:
                    observed[reader.type_id, one.key] = one
                    size += _size(one)
            if size >= self._limits.scan_bytes_max:
                return list(observed.values()), count
        return list(observed.values()), len(rows)

    def _named(self, row: RawRow) -> tuple[Reader, tuple[Value, ...], bytes] | None:
        """Which object a row of the log names: its table, its key, the same packed. None: no object."""
        reader = self._by_number.get(int(row[1] or 0))
        if reader is None:
            return None
        key = row[log.KEY_AT : log.KEY_AT + len(reader.table.key)]
        if None in key:
            self._problem(
                f"table {reader.table.name}: rows have NULL in their key, or a key over the limit of"
                f" {self._limits.object_bytes_max} bytes, left out"
            )
            return None
        try:
            values = tuple(plain(key))
            return reader, values, pack_values(values)
        except UnicodeError:
            self._problem(f"table {reader.table.name}: the key of a row is text that is not UTF-8; it is left out")
            return None

    def _reshaped(self, connection: sqlite3.Connection) -> bool:
        """Whether the schema differs in what concerns us; if not, its version is taken note of."""
        version = connection.execute("PRAGMA schema_version").fetchone()[0]
        tables, _ = shareable(connection, self._wanted)
        if tuple(tables) != self._tables or capture.complete(connection, tables, self._limits) is None:
            return True
        self._schema_version = version
        return False


def _size(observed: Observed) -> int:
    return len(observed.key) + len(observed.fields or b"")


def _raw(value: object) -> RawValue:
    if value is None or isinstance(value, int | float | str | bytes | RawText):
        return value
    raise TypeError(f"no value of SQLite: {type(value).__name__}")


def _place(path: Path) -> str:
    """Where the file is: a copy that was put in its place has another, and its log cannot be trusted."""
    found = os.stat(path)
    return f"{found.st_dev}:{found.st_ino}"


def _identity(connection: sqlite3.Connection) -> tuple[str, str]:
    there = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = ?", (capture.SOURCE,)).fetchone()[0]
    row = connection.execute(f"SELECT id, place FROM {capture.SOURCE}").fetchone() if there else None
    return (str(row[0]), str(row[1])) if row else ("", "")


def _set_identity(connection: sqlite3.Connection, identity: str, place: str) -> None:
    connection.execute(f"CREATE TABLE IF NOT EXISTS {capture.SOURCE}(id TEXT NOT NULL, place TEXT NOT NULL)")
    connection.execute(f"DELETE FROM {capture.SOURCE}")
    connection.execute(f"INSERT INTO {capture.SOURCE} VALUES(?, ?)", (identity, place))
