"""Connections to somebody else's SQLite database: the one place of this room that knows aiosqlite.

One connection has one thread of its own. Work is one plain function per transaction, carried there in one hop; a
caller that is cancelled leaves the function to run to its end. We never checkpoint (R16: two programs that write and
checkpoint one write-ahead log meet a bug of SQLite before 3.51.3), never open the file by other means (that would drop
SQLite's locks in this process), and wait for foreign locks for ``Limits.busy_s_max`` at most.

A copy may be put over a database that is open, and its log removed. The connection then has the locks of a file that
is another, and would write the log of the former over it where it is the last to close.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import aiosqlite

from syncd.core.errors import ApplicationBusy, ApplicationOffline, DiskError, DiskFull, SyncdError
from syncd.core.settings import Limits

Result = TypeVar("Result")
CACHE_KIB = 16 * 1024
# Ours in an application's database: of a source, of a target, temporary (they would hide others), with a number.
_OURS = frozenset(
    f"_syncd_{table}"
    for table in "log control tables renamed source position types locals captured"
    " executed authors as brought child index made newest parent ranked seen".split()
)
_NUMBERED = re.compile(r"_syncd_((local_)?[0-9]+_[a-z_]+|touched_[0-9]+)")
_BUSY = frozenset((sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED))
_DAMAGED = frozenset((sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB))
_UNREACHABLE = frozenset((sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL))
_DENIED = frozenset((sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH))
_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def name(identifier: str) -> str:
    """An identifier as SQL text."""
    return '"' + identifier.replace('"', '""') + '"'


def names(identifiers: tuple[str, ...]) -> str:
    """A list of identifiers as SQL text."""
    return ", ".join(name(one) for one in identifiers)


def collated(expression: str, collation: str) -> str:
    """SQL: an expression with its collation, if it has one."""
    return f"{expression} COLLATE {name(collation)}" if collation else expression


def fold(identifier: str) -> str:
    """What two spellings of one identifier have in common. To SQLite only the letters A to Z have two cases."""
    return identifier.translate(_LOWER)


def is_ours(table: str) -> bool:
    """Whether a table or a trigger belongs to SQLite or to syncd, not to the application."""
    found = fold(table)
    return found in _OURS or found.startswith("sqlite_") or _NUMBERED.fullmatch(found) is not None


def is_there(connection: sqlite3.Connection, table: str) -> bool:
    """Whether the schema has a table or anything else of exactly this name."""
    return connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone() is not None


def data_version(connection: sqlite3.Connection) -> int:
    """Changes when another connection commits."""
    version: int = connection.execute("PRAGMA data_version").fetchone()[0]
    return version


def encoding_of(connection: sqlite3.Connection) -> str:
    """Of text in the database."""
    found: str = connection.execute("PRAGMA encoding").fetchone()[0]
    return found


def schema_version(connection: sqlite3.Connection) -> int:
    """Changes with the schema."""
    version: int = connection.execute("PRAGMA schema_version").fetchone()[0]
    return version


def primary_code(error: sqlite3.Error) -> int:
    """SQLite's primary result code of an error; 0 where there is none."""
    code = getattr(error, "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else 0


def mapped(error: sqlite3.Error, path: Path) -> SyncdError:
    """An error of SQLite in our words: whose fault, what happened, what to do."""
    code = primary_code(error)
    no_shared_memory = getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_IOERR_SHMSIZE  # its file did not fit
    if code == sqlite3.SQLITE_FULL or no_shared_memory:
        return DiskFull(f"there is no room to write {path}", "make room on its disk")
    if code in _BUSY:
        return ApplicationBusy(
            f"another program holds the lock on {path}", "close the program if it hangs; this is tried again"
        )
    if code in _DAMAGED:
        return ApplicationOffline(f"{path} is not a sound SQLite database ({error})", "restore it from a backup")
    if code in _DENIED:
        return ApplicationOffline(f"{path} cannot be written ({error})", "give syncd the right to read and write it")
    if code in _UNREACHABLE:
        return ApplicationOffline(f"{path} cannot be read ({error})", "check the disk and the rights of the file")
    return ApplicationOffline(f"{path} cannot be used: {error}", "check the database with its application")


def file_id(path: Path) -> tuple[int, int] | None:
    """Device and inode of a file or directory; None where there is none. Raises ApplicationOffline where that cannot be
    told: what may not be looked at is not gone."""
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        denied = isinstance(error, PermissionError)
        advice = "give syncd the right to enter its directories" if denied else "check its disk and its path"
        raise ApplicationOffline(f"{path} cannot be reached ({error.strerror})", advice) from error
    return found.st_dev, found.st_ino


def connect(path: Path, limits: Limits, create: bool = False) -> sqlite3.Connection:
    """A connection with the settings that another program's database needs. Raises sqlite3.Error.

    Its schema is trusted: with trusted_schema=OFF, SQLite 3.40 refuses a database that has CHECK(json_valid(x)), and
    the application's own triggers would fail here. Nothing is registered that a schema could misuse, extensions
    cannot be loaded, and what another machine says of a schema is checked by ``sqlite_definition``.
    """
    mode = "rwc" if create else "rw"
    uri = f"file:{quote(str(path.absolute()))}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, cached_statements=512)
    try:
        connection.execute(f"PRAGMA busy_timeout={int(limits.busy_s_max * 1000)}")
        connection.execute("PRAGMA wal_autocheckpoint=0")
        connection.execute("PRAGMA foreign_keys=OFF")
        connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection, kind: str) -> Iterator[None]:
    """``BEGIN kind`` to COMMIT, or ROLLBACK on any error."""
    connection.execute(f"BEGIN {kind}")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def lazily(connection: sqlite3.Connection) -> Iterator[None]:
    """What is committed meanwhile survives a power cut once the log is synced, or once something is committed after it.
    With a write-ahead log; it is always there in order, up to some commit."""
    connection.execute("PRAGMA synchronous=NORMAL")
    try:
        yield
    finally:
        connection.execute("PRAGMA synchronous=FULL")


def sync_log(path: Path) -> None:
    """The write-ahead log of a database as far as it was written is on the disk, without a lock or a transaction of
    anybody's. SQLite locks the database and its index, not the log: to open that drops no lock of this process. Where
    none is there it was folded back, which syncs as well. Raises DiskError."""
    try:
        log = os.open(f"{os.path.realpath(path)}-wal", os.O_RDONLY)
    except FileNotFoundError:
        return
    except OSError as error:
        raise DiskError(f"the log of {path} cannot be reached ({error.strerror})", "check its disk") from error
    try:
        os.fdatasync(log)
    except OSError as error:
        raise DiskError(f"the log of {path} cannot be written ({error.strerror})", "check its disk") from error
    finally:
        os.close(log)


@contextlib.contextmanager
def _locked_against_checkpoint(path: Path) -> Iterator[None]:
    """Reads the file meanwhile, so that no connection is its last user; itself it may not write."""
    with contextlib.ExitStack() as reading:
        with contextlib.suppress(sqlite3.Error):  # whatever is at the path
            uri = f"file:{quote(str(path.absolute()))}?mode=ro"
            reader = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=0)
            reading.enter_context(contextlib.closing(reader))
            reader.execute("BEGIN")
            reader.execute("PRAGMA schema_version").fetchone()
        yield


class Database:
    """One connection with its thread."""

    def __init__(self, path: Path, connection: aiosqlite.Connection) -> None:
        self.path = path
        self.waiting = 0  # functions handed over and not finished, but for those that run in turns
        self.wanted: Callable[[], None] = lambda: None  # tells a function that idles of another
        self._in_turns = 0  # functions that run in turns
        self._connection = connection
        self._file = file_id(path)
        self._index_path = Path(f"{os.path.realpath(path)}-shm")  # companions are beside the file, not beside a link
        self._index: tuple[int, int] | None = None  # of the log that is open, if one is

    @classmethod
    async def open(cls, path: Path, limits: Limits, create: bool = False) -> Database:
        """Raises the mapped errors; the file must exist unless ``create``."""
        connection = aiosqlite.Connection(lambda: connect(path, limits, create), iter_chunk_size=64)
        connection._thread.name = f"application {path.name}"
        try:
            await connection
        except sqlite3.Error as error:
            raise mapped(error, path) from error
        try:
            database = cls(path, connection)
            await database.run(database.in_place)  # the log that is there by then is the one that is open
        except BaseException:
            await connection.close()
            raise
        return database

    async def run(self, function: Callable[[sqlite3.Connection], Result]) -> Result:
        """Runs ``function`` in the database's thread. Our own errors pass, those of SQLite are mapped."""
        loop, connection = asyncio.get_running_loop(), self._connection._conn
        future: asyncio.Future[Result] = loop.create_future()

        def done(outcome: Result | BaseException) -> None:
            self.waiting -= 1
            _settle(future, outcome)

        def run() -> None:
            loop.call_soon_threadsafe(done, _outcome(function, connection))

        self._connection._tx.put_nowait((None, run))
        self.waiting += 1
        if self.waiting + self._in_turns > 1:
            self.wanted()
        return await self._result(future)

    async def in_turns(self, function: Callable[[sqlite3.Connection], Result | None]) -> Result:
        """The same for a function that idles. Where it returns None it gave way (``is_wanted``): it is run again when
        those that waited are done, and nobody is told of that."""
        loop, connection = asyncio.get_running_loop(), self._connection._conn
        future: asyncio.Future[Result] = loop.create_future()

        def done(outcome: Result | BaseException | None) -> None:
            self._in_turns -= 1
            _settle(future, outcome)

        def turn() -> None:
            outcome = _outcome(function, connection)
            if outcome is None and not future.cancelled():
                self._connection._tx.put_nowait((None, turn))
            else:
                loop.call_soon_threadsafe(done, outcome)

        self._connection._tx.put_nowait((None, turn))
        self._in_turns += 1
        return await self._result(future)

    def is_wanted(self) -> bool:
        """Whether functions wait for the one that asks. In the thread."""
        return not self._connection._tx.empty()

    async def _result(self, future: asyncio.Future[Result]) -> Result:
        try:
            return await future  # a caller that is cancelled gives up just this
        except sqlite3.Error as error:
            raise mapped(error, self.path) from error

    @property
    def has_log(self) -> bool:
        """A write-ahead log, which stays as long as it is open here."""
        return self._index is not None

    def in_place(self, connection: sqlite3.Connection) -> bool:
        """Whether the path leads to the file that is open, and its log is the one that is open. In the thread."""
        if self._index is None and connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
            self._index = file_id(self._index_path)
        return self.is_there()

    def is_there(self) -> bool:
        """The same, as far as is known without asking for the log."""
        return file_id(self.path) == self._file and not self._log_is_gone()

    async def close(self) -> None:
        """Ends the thread after the functions handed over before."""
        with contextlib.ExitStack() as until_closed:
            if self._log_is_gone():
                until_closed.enter_context(_locked_against_checkpoint(self.path))
            with contextlib.suppress(sqlite3.Error, ValueError):
                await self._connection.close()

    def _log_is_gone(self) -> bool:
        if self._index is None:
            return False
        try:
            return file_id(self._index_path) != self._index
        except ApplicationOffline:
            return True


def _outcome(
    function: Callable[[sqlite3.Connection], Result], connection: sqlite3.Connection
) -> Result | BaseException:
    """In the thread."""
    try:
        return function(connection)
    except BaseException as error:
        return error


def _settle(future: asyncio.Future[Result], outcome: Result | BaseException | None) -> None:
    """Nobody may wait for it any more."""
    if future.done():
        return
    if isinstance(outcome, BaseException):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)  # type: ignore[arg-type]
