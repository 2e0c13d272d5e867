"""The SQLite application on an auxiliary (claims 20f, 24e): a work becomes one transaction of its database.

Keeps R4 (position, checksum and data in one commit, durable), R12, R13 (a target that is gone or was replaced is
offline; one with objects of its own is not touched unasked) and R16 (the lock is held for one work; no checkpoint).
The application's own triggers fire for what is written; its foreign keys are checked, its cascades are not run.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from syncd.applications.sqlite_common import Database, file_id
from syncd.applications.sqlite_count import Pace
from syncd.applications.sqlite_execute import NOTHING, Executor
from syncd.core.errors import ApplicationOffline
from syncd.core.ports import Executed, TargetState, Tried, Unexecuted, Work
from syncd.core.settings import Limits

Result = TypeVar("Result")
_BULK_CACHE_KIB = 32 * 1024


class SqliteTarget:
    """``core.ports.Target`` on the database at ``path``.

    ``replace``: objects of its own may be overwritten and removed. ``established``: this target held the collection
    before, so a file that is missing or without position is not the one that was accepted.
    """

    def __init__(self, path: Path, collection: str, replace: bool, established: bool, limits: Limits) -> None:
        self._path = path
        self._collection = collection
        self._replace = replace
        self._established = established
        self._limits = limits
        self._database: Database | None = None
        self._executor: Executor | None = None
        self._file: tuple[int, int] | None = None
        self._pace = Pace(limits)
        self._log = ""  # path of the write-ahead log: beside the file itself, not beside a link to it
        self._log_bytes_left = 0  # of the write-ahead log after it was last to be kept short

    @property
    def problems(self) -> tuple[str, ...]:
        """What the application should see to, in words."""
        if self._log_bytes_left <= self._limits.wal_bytes_max:
            return ()
        size = f"{self._log_bytes_left / 2**20:,.0f} MiB"
        return (
            f"the write-ahead log of {self._path} has {size}: a program keeps the database open and does not"
            " checkpoint it, and syncd must not; end that program once, or let it checkpoint",
        )

    async def open(self) -> TargetState:
        await self.close()
        directory = self._path.absolute().parent
        if file_id(directory) is None or not directory.is_dir():
            raise ApplicationOffline(f"the directory {directory} is missing", "mount its disk or make it")
        if file_id(self._path) is None:
            if self._established:
                raise ApplicationOffline(
                    f"the database {self._path} is gone",
                    "mount its disk or put it back; to begin anew, `syncd accept` it with --replace",
                )
            return NOTHING
        state = await self._connect(create=False)
        if state is None and self._established:
            await self.close()
            raise ApplicationOffline(
                f"the database {self._path} is not the one that was accepted (it was replaced)",
                "put the accepted one back; to begin anew, `syncd accept` it with --replace",
            )
        self._established = state is not None
        return state or NOTHING

    async def execute(self, work: Work) -> Executed | Unexecuted:
        if self._database is None:
            if self._established or file_id(self._path) is not None:
                raise ApplicationOffline(f"the database {self._path} is not open")
            await self._connect(create=True)
        result = await self._run(lambda executor: executor.execute(work))
        self._established = self._established or isinstance(result, Executed)
        await self._keep_log_short()
        return result

    async def retry(self, works: Sequence[Work]) -> Tried:
        tried = await self._run(lambda executor: executor.retry(works))
        await self._keep_log_short()
        return tried

    async def recount(self) -> TargetState:
        return await self._run(lambda executor: executor.recount())

    async def look(self) -> TargetState | None:
        database = self._database
        if database is None:
            return None
        now = time.monotonic()
        patient = self._pace.may_give_up(now)
        return await self._run(lambda executor: executor.look(self._pace, lambda: patient and database.waiting > 1))

    async def close(self) -> None:
        database, self._database, self._executor = self._database, None, None
        if database is not None:
            await database.close()

    async def _connect(self, create: bool) -> TargetState | None:
        """Opens the database; returns the position that it keeps, if any."""
        self._database = await Database.open(self._path, self._limits, create)

        def begin(connection: sqlite3.Connection) -> tuple[Executor, TargetState | None]:
            if create:
                connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(f"PRAGMA cache_size=-{_BULK_CACHE_KIB}")
            executor = Executor(connection, self._collection, self._replace)
            return executor, executor.state()

        try:
            self._executor, state = await self._database.run(begin)
            self._file = file_id(self._path)
        except BaseException:
            await self.close()
            raise
        self._log = _log_of(self._path)
        return state

    async def _run(self, function: Callable[[Executor], Result]) -> Result:
        database, executor, path, file = self._database, self._executor, self._path, self._file
        if database is None or executor is None:
            raise ApplicationOffline(f"the database {path} is not open")

        def checked(_connection: sqlite3.Connection) -> Result:
            if file_id(path) != file:
                raise ApplicationOffline(
                    f"the database {path} is missing or was replaced", "put back the one that was accepted"
                )
            return function(executor)

        return await database.run(checked)

    async def _keep_log_short(self) -> None:
        """Nobody may checkpoint somebody else's database. But where syncd is its only user, nobody would: SQLite does
        it when the last connection closes, and only then. An application that keeps a connection open must see to it
        itself: each time that the log has grown by as much again, we only make room for a checkpoint of its own."""
        size = self._log_bytes()
        self._log_bytes_left = min(self._log_bytes_left, size)
        if size - self._log_bytes_left > self._limits.wal_bytes_max:
            await self.close()
            await self._connect(create=False)
            self._log_bytes_left = self._log_bytes()

    def _log_bytes(self) -> int:
        try:
            return os.stat(self._log).st_size
        except OSError:
            return 0


def _log_of(path: Path) -> str:
    return f"{os.path.realpath(path)}-wal"
