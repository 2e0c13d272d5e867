"""One SQLite database of ours: one writer, one reader, group commit. The only module that knows aiosqlite.

A transaction is one synchronous function that runs in the thread of a connection. A function that comes while the
thread rests goes there at once; all that wait meanwhile go together: they share one commit (group commit) and stand
apart by savepoints. Who asked is told after the commit, so whatever was answered survives a power cut
(``synchronous=FULL``). A caller that is cancelled leaves its function and the transaction intact.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import aiosqlite

from syncd.core.errors import DiskError, DiskFull, InvariantBroken, StoreBroken, SyncdError
from syncd.store.schema_files import Schema, bring_up_to_date, check

T = TypeVar("T")
_Act = Callable[[sqlite3.Connection], Any]

WAITING_MAX = 1_000  # functions that wait for the writer; then their callers wait to hand them over
TOGETHER_MAX = 200  # functions in one commit
OPEN_S_MAX = 60.0  # opening, migration included
_WRITER_CACHE_KIB = 16 * 1024
_READER_CACHE_KIB = 4 * 1024
# The write-ahead log is folded back into the file, which takes as long as there is in it, and who comes meanwhile
# waits. Once nobody waits: after so many commits, the fewer where they are large, and after so many rows and such a
# pause. When it has so many pages, whoever waits.
FOLD_COMMITS = 256
_FOLD_COMMITS_LARGE, _FOLD_ROWS_LARGE = 32, 8_000
FOLD_ROWS = 1_000
_FOLD_IDLE_S = 0.2
_FOLD_PAGES_MAX = 8_000
_LOG_BYTES_MAX = 32 * 1024 * 1024  # and its file is cut to this
_STOCK_PAGES = 2_000  # free pages that stay in the file
_GIVE_BACK_PAGES = 400  # more than that are given back in slices of this

_BROKEN = {
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_PERM,
}
_PASSING = {  # it may go the next time
    sqlite3.SQLITE_NOMEM: "there is no memory left",
    sqlite3.SQLITE_PROTOCOL: "its locks cannot be had",
    sqlite3.SQLITE_INTERRUPT: "it was interrupted",
}


async def in_thread(db: aiosqlite.Connection, function: Callable[[sqlite3.Connection], T]) -> T:
    """One hop: runs the function in the connection's thread. aiosqlite has no public way to say this."""
    result: T = await db._execute(function, db._conn)  # type: ignore[no-untyped-call]
    return result


def mapped(error: sqlite3.Error, path: Path) -> SyncdError:
    """Whose fault an error of SQLite is."""
    extended = getattr(error, "sqlite_errorcode", 0)
    code = extended & 0xFF
    if code == sqlite3.SQLITE_FULL or extended == sqlite3.SQLITE_IOERR_SHMSIZE:  # the -shm file did not fit
        return DiskFull(f"no room to write {path}", "free some space on this disk; syncd goes on by itself")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return DiskError(f"another program holds the lock on {path}", "end that program; syncd goes on by itself")
    if code in _BROKEN:
        return StoreBroken(
            f"{path} cannot be used: {error}",
            "the file is kept as it is; check the disk and its rights, then restore the file or set up syncd again",
        )
    if code in _PASSING:
        return DiskError(f"{path} cannot be used: {_PASSING[code]}", "syncd goes on by itself")
    return InvariantBroken(f"{path}: {type(error).__name__}: {error}")


@dataclass(slots=True)
class _Waiting(Generic[T]):
    function: Callable[[sqlite3.Connection], T]
    future: asyncio.Future[T]
    lazily: bool


class Database:
    """Open with ``open``, close with ``close``; both are the owner's."""

    def __init__(self, path: Path, writer: aiosqlite.Connection, reader: aiosqlite.Connection) -> None:
        self.path = path
        self.commits = 0
        self.synced = False  # all that was written is known to be durable
        self._folded = 0, writer.total_changes  # commits and rows when the log was last folded back
        self._writer = writer
        self._reader = reader
        self._waiting: deque[_Waiting[Any]] = deque()
        self._room = asyncio.Event()  # for more of them
        self._room.set()
        self._busy = False  # the writer's thread is
        self._idle: asyncio.TimerHandle | None = None  # until the log is folded back
        self._unsettled = 0  # functions asked for of which nobody was told yet what became
        self._at_rest = asyncio.Event()
        self._at_rest.set()
        self._closed = False

    @classmethod
    async def open(cls, path: Path, schema: Schema) -> Database:
        """Creates the file if it is missing. Raises StoreBroken, SchemaTooNew, DiskFull."""
        opened: list[aiosqlite.Connection] = []
        try:
            async with asyncio.timeout(OPEN_S_MAX):
                opened.append(await aiosqlite.connect(path, isolation_level=None, cached_statements=256))
                await in_thread(opened[0], lambda connection: _prepare_writer(connection, path, schema))
                opened.append(await aiosqlite.connect(path, isolation_level=None, cached_statements=256))
                await in_thread(opened[1], _prepare_reader)
        except BaseException as error:
            for connection in opened:
                await connection.close()
            if isinstance(error, sqlite3.Error):
                raise mapped(error, path) from error
            if isinstance(error, TimeoutError):
                raise StoreBroken(
                    f"{path} was not opened within {OPEN_S_MAX:g} s", "check its disk, and who else uses the file"
                ) from error
            if isinstance(error, OSError):  # of the copy before a migration
                raise DiskError(f"{path} cannot be copied before it is migrated: {error}", "check its disk") from error
            raise
        return cls(path, *opened)

    @property
    def waiting(self) -> int:
        """How many functions wait for the writer, bounded by ``WAITING_MAX``."""
        return len(self._waiting)

    async def write(self, function: Callable[[sqlite3.Connection], T], lazily: bool = False) -> T:
        """Durable. Runs the function in a transaction of the writer and returns after the commit. ``lazily``: it is
        durable with the next one, and not before."""
        if self._closed:
            raise InvariantBroken(f"{self.path} was closed")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._unsettled += 1
        self._at_rest.clear()
        try:
            while len(self._waiting) >= WAITING_MAX:
                self._room.clear()
                await self._room.wait()
        except asyncio.CancelledError:
            self._settle(future, DiskError("cancelled while waiting for the writer"))
            future.exception()
            raise
        self._waiting.append(_Waiting(function, future, lazily))
        if not self._busy:
            self._write_together()
        return await future  # a caller that is cancelled gives up just this

    async def read(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Runs the function in one read transaction: all it sees is of one state."""
        if self._closed:
            raise InvariantBroken(f"{self.path} was closed")
        try:
            return await in_thread(self._reader, lambda connection: _in_read(connection, function))
        except sqlite3.Error as error:
            raise mapped(error, self.path) from error

    async def close(self) -> None:
        """What waits is written, then both connections are closed."""
        if self._closed:
            return
        self._closed = True
        await self._at_rest.wait()
        if self._idle is not None:
            self._idle.cancel()
        await self._reader.close()
        await self._writer.close()

    # ------------------------------------------------------------ the writer's thread, one thing after the other

    def _write_together(self) -> None:
        """Hands over all that wait, bounded by ``TOGETHER_MAX``."""
        together = [self._waiting.popleft() for _ in range(min(len(self._waiting), TOGETHER_MAX))]
        self._room.set()
        functions = [one.function for one in together]
        lazily, changes = all(one.lazily for one in together), self._writer.total_changes
        catch_up = not (lazily or self.synced)

        def then(outcome: list[object] | BaseException) -> None:
            if not isinstance(outcome, BaseException):
                self.synced = not lazily and (self.synced or self._writer.total_changes > changes)
            self._written(together, outcome)

        self._hand_over(lambda connection: _in_write(connection, functions, lazily, catch_up), then)

    def _written(self, together: list[_Waiting[Any]], outcome: list[object] | BaseException) -> None:
        if isinstance(outcome, BaseException):
            for one in together:
                self._settle(one.future, self._as_ours(outcome))
        else:
            self.commits += 1
            for one, its in zip(together, outcome, strict=True):
                self._settle(one.future, self._as_ours(its))
        self._go_on()

    def _go_on(self) -> None:
        """What waits is written; the log is folded back when nobody waits."""
        if self._waiting:
            self._write_together()
        if self._busy or self._closed:
            return
        commits, rows = self.commits - self._folded[0], self._writer.total_changes - self._folded[1]
        if commits >= FOLD_COMMITS or (commits >= _FOLD_COMMITS_LARGE and rows >= _FOLD_ROWS_LARGE):
            self._fold()
        elif self._idle is None and rows >= FOLD_ROWS:
            self._idle = asyncio.get_running_loop().call_later(_FOLD_IDLE_S, self._fold_idle, self.commits)

    def _fold_idle(self, commits: int) -> None:
        """Where nothing was written meanwhile."""
        self._idle = None
        if self._busy or self._closed:
            return
        if commits == self.commits:
            self._fold()
        else:
            self._go_on()

    def _fold(self) -> None:
        self._folded = self.commits, self._writer.total_changes
        # An error is met by the next commit, which says so.
        self._hand_over(_fold, lambda outcome: self._go_on())

    def _hand_over(
        self, function: Callable[[sqlite3.Connection], T], then: Callable[[T | BaseException], None]
    ) -> None:
        """Runs the function in the writer's thread, then ``then`` here. In one turn of the loop, where a future that a
        task waits for needs three."""
        loop, connection = asyncio.get_running_loop(), self._writer._conn
        self._busy = True

        def done(outcome: T | BaseException) -> None:
            self._busy = False
            then(outcome)

        def run() -> None:
            outcome: T | BaseException
            try:
                outcome = function(connection)
            except BaseException as error:
                outcome = error
            loop.call_soon_threadsafe(done, outcome)

        self._writer._tx.put_nowait((None, run))

    def _as_ours(self, outcome: object) -> object:
        if isinstance(outcome, sqlite3.Error):
            error = mapped(outcome, self.path)
            error.__cause__ = outcome
            return error
        return outcome

    def _settle(self, future: asyncio.Future[Any], outcome: object) -> None:
        self._unsettled -= 1
        if not self._unsettled:
            self._at_rest.set()
        if future.done():  # its caller was cancelled
            return
        if isinstance(outcome, BaseException):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)


class Scratch:
    """A database of what somebody looks at for a while; see ``scratch``."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection

    async def run(self, function: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return await in_thread(self._connection, function)
        except sqlite3.Error as error:
            raise mapped(error, Path("a temporary file")) from error


@asynccontextmanager
async def scratch(schema: str) -> AsyncIterator[Scratch]:
    """In memory while it is small, then in a file that SQLite deletes by itself; nothing of it is durable."""
    connection = await aiosqlite.connect("", isolation_level=None, cached_statements=32)
    try:
        made = Scratch(connection)
        await made.run(lambda database: database.executescript("PRAGMA journal_mode = OFF; BEGIN;" + schema))
        yield made
    finally:
        await connection.close()


# ---------------------------------------------------------------- in the threads


def give_back(connection: sqlite3.Connection) -> None:
    """Gives some free pages of the file back to the disk; a stock of them stays to be used again."""
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    for _ in range(min(_GIVE_BACK_PAGES, free - _STOCK_PAGES)):
        connection.execute("PRAGMA incremental_vacuum(1)")  # sqlite3 makes one step of this statement: one page


def _fold(connection: sqlite3.Connection) -> None:
    """Copies what is in the write-ahead log into the file, after those who waited for the commits were told. By the
    writer's connection alone: a second one that did so would meet a bug of SQLite before 3.51.3."""
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


def _prepare_writer(connection: sqlite3.Connection, path: Path, schema: Schema) -> None:
    version = check(connection, path, schema)
    for pragma in (
        "auto_vacuum = INCREMENTAL",  # before the first table
        "journal_mode = WAL",
        "synchronous = FULL",
        "busy_timeout = 5000",
        "foreign_keys = ON",
        "trusted_schema = OFF",
        "cell_size_check = ON",
        f"cache_size = -{_WRITER_CACHE_KIB}",
        f"wal_autocheckpoint = {_FOLD_PAGES_MAX}",
        f"journal_size_limit = {_LOG_BYTES_MAX}",
    ):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    bring_up_to_date(connection, path, schema, version)


def _prepare_reader(connection: sqlite3.Connection) -> None:
    for pragma in (
        "query_only = ON",
        "busy_timeout = 5000",
        "trusted_schema = OFF",
        "cell_size_check = ON",
        f"cache_size = -{_READER_CACHE_KIB}",
        "wal_autocheckpoint = 0",
    ):
        connection.execute(f"PRAGMA {pragma}").fetchall()


def _in_read(connection: sqlite3.Connection, function: Callable[[sqlite3.Connection], T]) -> T:
    connection.execute("BEGIN")
    try:
        return function(connection)
    finally:
        if connection.in_transaction:
            connection.execute("COMMIT")


def _in_write(connection: sqlite3.Connection, functions: Sequence[_Act], lazily: bool, catch_up: bool) -> list[object]:
    """The functions' results or errors. Raises if nothing at all was committed. ``catch_up``: what was written lazily
    becomes durable with it, if it writes."""
    if lazily:
        connection.execute("PRAGMA synchronous = NORMAL")
    try:
        return _in_transaction(connection, functions, catch_up)
    finally:
        if lazily:
            connection.execute("PRAGMA synchronous = FULL")


def _in_transaction(connection: sqlite3.Connection, functions: Sequence[_Act], catch_up: bool) -> list[object]:
    before = connection.total_changes
    connection.execute("BEGIN IMMEDIATE")
    try:
        if len(functions) == 1:
            outcomes: list[object] = [functions[0](connection)]
        else:
            outcomes = [_apart(connection, function) for function in functions]
        if catch_up and connection.total_changes > before:
            # Rows may be what they were, or a temporary table's: a commit of no page syncs nothing of what came before.
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            connection.execute(f"PRAGMA user_version = {version:d}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return outcomes


def _apart(connection: sqlite3.Connection, function: Callable[[sqlite3.Connection], Any]) -> object:
    """One function of several: its error is its own, unless SQLite gave up the whole transaction (disk full)."""
    connection.execute("SAVEPOINT one")
    try:
        result: object = function(connection)
    except Exception as error:
        if not connection.in_transaction:
            raise
        connection.execute("ROLLBACK TO one")
        result = error
    connection.execute("RELEASE one")
    return result
