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

from syncd.adapters.canonical import pack_values, unpack_values
from syncd.applications import sqlite_authors as authors
from syncd.applications import sqlite_capture as capture
from syncd.applications import sqlite_log as log
from syncd.applications.sqlite_common import (
    Database,
    data_version,
    file_id,
    primary_code,
    schema_version,
    transaction,
)
from syncd.applications.sqlite_foreign_keys import references
from syncd.applications.sqlite_handed import HandOver
from syncd.applications.sqlite_identity import identity as identity_of
from syncd.applications.sqlite_identity import place_of, set_identity
from syncd.applications.sqlite_read import (
    Named,
    RawRow,
    RawText,
    RawValue,
    Reader,
    plain,
    size_bytes,
    touched,
)
from syncd.applications.sqlite_schema import Table, shareable
from syncd.applications.sqlite_wait import Waiter
from syncd.applications.sqlite_wal import Growth
from syncd.core.errors import ApplicationOffline
from syncd.core.model import DataType, Observed, Reference
from syncd.core.ports import ScanPage, SourceChanges, SourceState
from syncd.core.settings import Limits

Result = TypeVar("Result")
_CACHE_KIB = 4 * 1024  # a source reads in order or here and there: more is no gain
_DISCARD_ROWS = 1_000  # the log is cut back in pieces of at least this
_DISCARD_ROWS_ROLLBACK = 100_000  # the same where readers and writers lock each other out
_DISCARD_IDLE_S = 1.0  # or when nothing happened for so long; so is room made for a checkpoint
_DISCARD_BUSY_MS = 20  # R16: the application's lock comes first, the log can wait
_REPLACED = "the database at {} is not the one that was shared (it was replaced)"


class SqliteSource:
    """``core.source_port.Source`` on the database at ``path``; ``tables``: those to share, empty for all."""

    def __init__(self, path: Path, tables: Sequence[str], limits: Limits) -> None:
        self._path = path
        self._wanted = tuple(tables)
        self._limits = limits
        self._database: Database | None = None
        self._waiter: Waiter | None = None
        self._tables: tuple[Table, ...] = ()
        self._references: dict[str, tuple[Reference, ...]] = {}
        self._numbers: dict[str, int] = {}
        self._by_number: dict[int, Reader] = {}
        self._by_type: dict[int, Reader] = {}
        self._schema_version = -1
        self._authors = False  # whether any may be noted, as of that version
        self._schema_seen = (-1, 0.0)  # the last version, and since when
        self._waits = False  # a table appeared and is not taken in yet
        self._renamed: tuple[tuple[str, str], ...] = ()
        self._drained: tuple[int, int] | None = None  # data_version and mark at which nothing remained
        self._written_ns = 0  # when the file was written, as of the last look
        self._discarded = 0
        self._discard_to = 0
        self._growth = Growth(path, limits)
        self._problems: dict[str, None] = {}
        self._problem_count = 0
        self.hand_over = HandOver(limits, self._hush)  # to our writer of this database

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
        self._database = database = await Database.open(self._path, self._limits)
        self._drained = None
        self._discarded = self._discard_to = 0  # of the log that was there before
        self._growth.made_room()
        try:
            identity = await self._run(lambda connection: self._open(connection, expected))
            self._waiter = Waiter(database)
        except BaseException:
            await self.close()
            raise
        types = tuple(
            replace(table.data_type(), references=self._references.get(table.name, ())) for table in self._tables
        )
        return SourceState(identity, types, self.problems, self._renamed)

    async def number(self, types: Sequence[DataType]) -> None:
        self.hand_over.clear()  # types may have other numbers
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
                    size += sum(map(size_bytes, found))
            return observed

        return await self._run(read)

    async def changes(self, mark: int, limit: int, wait_s: float = 0.0) -> SourceChanges:
        """One hop to the thread for the wait and for what it was for."""
        database, waiter = self._reached()

        def changes(connection: sqlite3.Connection) -> SourceChanges:
            if wait_s and waiter is not None:
                waiter.wait(connection, wait_s, database.is_wanted)
                self.hand_over.await_more(connection, waiter, mark, database.is_wanted)
            self._check_in_place(connection, waiter)
            if wait_s and self._discard_to > self._discarded and self._idle():
                self._cut_back(connection)
            return self._changes(connection, mark, limit)

        return await database.run(changes)

    async def discard(self, mark: int) -> None:
        """At once where many rows wait, else when the application is idle: cutting back takes its lock (R16)."""
        self._discard_to = log.number_of(mark)
        rollback = self._waiter is not None and self._waiter.rollback
        if self._discard_to - self._discarded >= (_DISCARD_ROWS_ROLLBACK if rollback else _DISCARD_ROWS):
            await self._run(self._cut_back)

    def _hush(self, hushed: bool) -> None:
        """We begin to write the database through another connection, or are done (``Waiter.hush``): in its thread."""
        if (waiter := self._waiter) is not None:
            waiter.hush(hushed)

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
            self._check_in_place(connection, waiter)
            return function(connection)

        return await database.run(checked)

    def _problem(self, text: str) -> None:
        if text not in self._problems:
            self._problem_count += 1
            if len(self._problems) < self._limits.problems_max:
                self._problems[text] = None

    # ------------------------------------------------------------ in the database's thread

    def _check_in_place(self, connection: sqlite3.Connection, waiter: Waiter | None) -> None:
        if waiter is not None and not waiter.in_place(connection, time.monotonic()):
            raise ApplicationOffline(
                f"the database {self._path} is missing or was replaced", "it is opened again when it is back"
            )

    def _cut_back(self, connection: sqlite3.Connection) -> None:
        """Forgets what is kept in the store, unless the application has its lock."""
        number = self._discard_to
        connection.execute(f"PRAGMA busy_timeout={_DISCARD_BUSY_MS}")
        try:
            log.cut_back(connection, number, self._limits)
            self._discarded = number
        except sqlite3.OperationalError as error:
            if primary_code(error) not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise
        finally:
            connection.execute(f"PRAGMA busy_timeout={int(self._limits.busy_s_max * 1000)}")

    def _open(self, connection: sqlite3.Connection, expected: str) -> str:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, self._limits.object_bytes_max + 4096)
        connection.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
        with transaction(connection, "DEFERRED"):
            identity, place = identity_of(connection)
            if expected and identity != expected:
                raise ApplicationOffline(
                    _REPLACED.format(self._path), "put the shared one back, or share this one as another collection"
                )
            tables = self._inspect(connection)
            numbers = capture.complete(connection, tables, self._limits)
            version = schema_version(connection)
        here = place_of(self._path)
        if numbers is None or not expected or place != here:
            with transaction(connection, "IMMEDIATE"):
                identity, place = identity_of(connection)
                identity = identity or expected or secrets.token_hex(16)
                tables = self._inspect(connection)
                capture.note_renamed(connection, tables)
                numbers = capture.install(connection, tables, self._limits)
                set_identity(connection, identity, here)
                if place not in ("", here):
                    connection.execute(f"UPDATE {capture.CONTROL} SET lost = 1")
                if not expected:  # a first import follows, which reads everything
                    connection.execute(f"DELETE FROM {capture.LOG}")
                    connection.execute(f"UPDATE {capture.CONTROL} SET lost = 0")
                authors.keep_within_log(connection)
                version = schema_version(connection)
        self._tables, self._numbers, self._renamed = tables, numbers, capture.renamed(connection)
        self._references = references(connection)
        self._schema_version = -1 if self._waits else version
        self._authors = authors.are_noted(connection)
        return identity

    def _inspect(self, connection: sqlite3.Connection) -> tuple[Table, ...]:
        tables, problems = self._shareable(connection)
        self._problems, self._problem_count = {}, 0
        for problem in problems:
            self._problem(problem)
        for gone in sorted(set(self._wanted) - {table.name for table in tables}):
            raise ApplicationOffline(
                f"{self._path} has no table {gone} with a primary key",
                "put it back, or `syncd share` the collection again: then its objects are deleted everywhere",
            )
        return tables

    def _shareable(self, connection: sqlite3.Connection) -> tuple[tuple[Table, ...], list[str]]:
        """The tables that can be shared and what cannot be captured. A table that appears is left out while the schema
        still changes: it may be there for the while, as in a rebuild."""
        tables, problems = shareable(connection, self._wanted)
        version, now = schema_version(connection), time.monotonic()
        if version != self._schema_seen[0]:
            self._schema_seen = version, now
        captured = {reader.table.name for reader in self._by_type.values()}
        known = [table for table in tables if not captured or table.name in captured or table.name in self._wanted]
        quiet = now - self._schema_seen[1] >= self._limits.schema_quiet_s
        self._waits = len(known) < len(tables) and not quiet
        return tuple(known if self._waits else tables), problems

    def _changes(self, connection: sqlite3.Connection, mark: int, limit: int) -> SourceChanges:
        written_ns, before_ns = _written_ns(self._path), self._written_ns
        version = data_version(connection)
        self._written_ns = written_ns
        if self._drained == (version, mark):
            if written_ns == before_ns:
                return SourceChanges((), mark, drained := not self._makes_room(), reshaped=not drained)
            # Written by what is no commit: a checkpoint, or a copy that was put over it, which SQLite does not see as
            # long as it has pages of the former in memory.
            connection.execute("PRAGMA shrink_memory")
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
        if changes.observed:
            self.hand_over.read_at = time.monotonic()
        if changes.drained:
            self._drained = None if self._waits else (version, changes.mark)
            if self._waiter is not None:
                self._waiter.seen(version, time.monotonic())
        return changes

    def _makes_room(self) -> bool:
        """Whether to close the connection and open it again: while nobody else has the database open, its write-ahead
        log, which the writer grows, is checkpointed by that."""
        return self._idle() and self._growth.due()

    def _idle(self) -> bool:
        """Whether nothing was touched for a while."""
        return self._waiter is not None and self._waiter.idle(time.monotonic()) >= _DISCARD_IDLE_S

    def _read(self, connection: sqlite3.Connection, mark: int, limit: int) -> SourceChanges:
        if schema_version(connection) != self._schema_version and self._reshaped(connection):
            return SourceChanges((), mark, False, reshaped=True)
        if not log.follows(connection, mark) or (self._tables and log.lost(connection, self._limits)):
            return SourceChanges((), mark, False, lost=True)
        handed, mark, left = self.hand_over.take(connection, mark, limit)
        rows = log.read(connection, mark, left, self._limits.scan_bytes_max)
        named = [self._named(row) for row in rows]
        observed, taken = touched(connection, named, self._limits.scan_bytes_max)
        if self._authors and taken:
            observed = authors.signed(connection, rows[:taken], named, observed)
        if handed:
            observed = list({(one.type, one.key): one for one in (*handed, *observed)}.values())
        reached = log.mark_of(int(rows[taken - 1][0] or 0), int(rows[taken - 1][2] or 0)) if taken else mark
        return SourceChanges(observed, reached, reached == log.last_mark(connection))

    def _named(self, row: RawRow) -> Named | None:
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
            self._problem(reader.not_text())
            return None

    def _reshaped(self, connection: sqlite3.Connection) -> bool:
        """Whether the schema differs in what concerns us; if not, its version is taken note of."""
        tables, _ = self._shareable(connection)
        if tables != self._tables or capture.complete(connection, tables, self._limits) is None:
            return True
        self._schema_version = -1 if self._waits else schema_version(connection)
        self._authors = authors.are_noted(connection)
        return False


def _raw(value: object) -> RawValue:
    if value is None or isinstance(value, int | float | str | bytes | RawText):
        return value
    raise TypeError(f"no value of SQLite: {type(value).__name__}")


def _written_ns(path: Path) -> int:
    """When the file itself was written; 0 where it is not there: it is looked for once in a while."""
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0
