"""Connections to somebody else's SQLite database: the one place of this room that knows aiosqlite.

One connection has one thread of its own. Work is one plain function per transaction, carried there in one hop; a
caller that is cancelled leaves the function to run to its end. We never checkpoint (R16: two programs that write and
checkpoint one write-ahead log meet a bug of SQLite before 3.51.3), never open the file by other means (that would drop
SQLite's locks in this process), and wait for foreign locks for ``Limits.busy_s_max`` at most.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import aiosqlite

from syncd.core.errors import ApplicationBusy, ApplicationOffline, DiskFull, SyncdError
from syncd.core.settings import Limits

Result = TypeVar("Result")
CACHE_KIB = 16 * 1024
_PREFIX = "_syncd_"
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


def fold(identifier: str) -> str:
    """What two spellings of one identifier have in common. To SQLite only the letters A to Z have two cases."""
    return identifier.translate(_LOWER)


def is_ours(table: str) -> bool:
    """Whether a table belongs to SQLite or to syncd, not to the application."""
    return fold(table).startswith((_PREFIX, "sqlite_"))


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


class Database:
    """One connection with its thread."""

    def __init__(self, path: Path, connection: aiosqlite.Connection) -> None:
        self.path = path
        self.waiting = 0  # functions handed over and not finished; a function that idles looks at it
        self._connection = connection

    @classmethod
    async def open(cls, path: Path, limits: Limits, create: bool = False) -> Database:
        """Raises the mapped errors; the file must exist unless ``create``."""
        connection = aiosqlite.Connection(lambda: connect(path, limits, create), iter_chunk_size=64)
        connection._thread.name = f"application {path.name}"
        try:
            await connection
        except sqlite3.Error as error:
            raise mapped(error, path) from error
        return cls(path, connection)

    async def run(self, function: Callable[[sqlite3.Connection], Result]) -> Result:
        """Runs ``function`` in the database's thread. Our own errors pass, those of SQLite are mapped."""
        self.waiting += 1
        task = asyncio.ensure_future(self._hop(function))
        task.add_done_callback(self._finished)
        try:
            result: Result = await asyncio.shield(task)
        except sqlite3.Error as error:
            raise mapped(error, self.path) from error
        return result

    async def close(self) -> None:
        """Ends the thread after the functions handed over before."""
        with contextlib.suppress(sqlite3.Error, ValueError):
            await self._connection.close()

    async def _hop(self, function: Callable[[sqlite3.Connection], Result]) -> Result:
        result: Result = await self._connection._execute(function, self._connection._conn)  # type: ignore[no-untyped-call]
        return result

    def _finished(self, task: asyncio.Future[Result]) -> None:
        self.waiting -= 1
        if not task.cancelled():
            task.exception()
