"""The SQLite application on an auxiliary (claims 20f, 24e): a work becomes one transaction of its database.

Keeps R4 (position, checksum and data in one commit, durable), R12, R13 (a target that is gone or was replaced is
offline; one with objects of its own is not touched unasked) and R16 (the lock is held for one work; no checkpoint).
The application's own triggers fire for what is written; its foreign keys are checked, its cascades are not run.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from syncd.applications.sqlite_common import Database, data_version, file_id, lazily, sync_log
from syncd.applications.sqlite_count import Pace
from syncd.applications.sqlite_count_beside import CountBeside
from syncd.applications.sqlite_execute import Executor
from syncd.applications.sqlite_position import NOTHING
from syncd.applications.sqlite_wait import Waiter
from syncd.core.edits import LocalChanges, Overlay, Plan
from syncd.core.errors import ApplicationOffline
from syncd.core.model import DataType
from syncd.core.ports import Executed, TargetState, Tried, Unexecuted, Work
from syncd.core.settings import Limits

Result = TypeVar("Result")
_BULK_CACHE_KIB = 24 * 1024  # 32 is no faster at 100,000 objects, and more than the memory that a daemon may take
_DISCARD_IDLE_S = 1.0  # the log is cut back when nothing happened for so long


class SqliteTarget:
    """``core.ports.Target`` on the database at ``path``.

    ``replace``: objects of its own may be overwritten and removed. ``established``: this target held the collection
    before, so a file that is missing or without position is not the one that was accepted. ``captures``: it is also
    ``core.upward_ports.Local``, and what the application changes is captured from the first work on.
    """

    def __init__(  # noqa: PLR0913, PLR0917 -- each of them is another fact about one target
        self,
        path: Path,
        collection: str,
        replace: bool,
        established: bool,
        limits: Limits,
        captures: bool = False,
    ) -> None:
        self._path = path
        self._collection = collection
        self._replace = replace
        self._established = established
        self._limits = limits
        self._database: Database | None = None
        self._executor: Executor | None = None
        self._captures = captures
        self._waiter: Waiter | None = None
        self._types: dict[int, DataType] = {}
        self._discard_to = 0
        self._pace = Pace(limits)
        self.beside = CountBeside(collection, captures, limits)
        self._differs = False  # the last count beside found something else than was kept
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
                "put the accepted one back; to begin anew, `syncd accept` it with --replace, or with --merge",
            )
        self._established = state is not None
        return state or NOTHING

    async def execute(self, work: Work) -> Executed | Unexecuted:
        if self._database is None:
            if self._established or file_id(self._path) is not None:
                raise ApplicationOffline(f"the database {self._path} is not open")
            await self._connect(create=True)

        def execute(executor: Executor, connection: sqlite3.Connection) -> Executed | Unexecuted:
            try:
                return self._executed(executor, connection, work)
            finally:
                if self._waiter is not None:
                    self._waiter.wrote()

        result = await self._run_on(execute)
        self._established = self._established or isinstance(result, Executed)
        await self._keep_log_short()
        return result

    def _executed(self, executor: Executor, connection: sqlite3.Connection, work: Work) -> Executed | Unexecuted:
        """What has a plan is durable at once: the outbox is told of it, and is not to be ahead."""
        planned = work.plan is not None and work.plan.id
        if not work.lazily or planned or self._database is None or not self._database.has_log:
            return executor.execute(work)
        with lazily(connection):
            result = executor.execute(work)
        return replace(result, durable=False) if isinstance(result, Executed) else result

    async def sync(self) -> None:
        """In a thread of its own: a report waits for it, and a work may take long. What is not in its place is not
        known to be durable."""
        while True:
            database = self._database
            await _aside(lambda: sync_log(self._path))
            if database is self._database:  # else it may be the log that was closed meanwhile
                break
        if not (file_id(self._path) if database is None else database.is_there()):
            raise self._misplaced()

    async def retry(self, works: Sequence[Work]) -> Tried:
        tried = await self._run(lambda executor: executor.retry(works))
        await self._keep_log_short()
        return tried

    async def restore(self, plan: Plan) -> TargetState:
        state = await self._run(lambda executor: executor.restore(plan))
        await self._keep_log_short()
        return state

    async def recount(self, overlay: Overlay | None = None) -> TargetState:
        return await self._run(lambda executor: executor.count.recount(overlay))

    async def look(self, overlay: Overlay | None = None) -> TargetState | None:
        """A count goes on beside, and a later look tells of what it found."""
        if self._database is None:
            return None
        if self.beside.goes_on:
            await self._run(lambda _: None)  # an error tells that the target is not in its place
            return None
        counted = self.beside.take()
        self._differs = self._differs or (counted is not None and counted.differs)
        due = await self._run(lambda executor: executor.count.due(self._pace, counted))
        if due is None and not self._differs:
            return None
        if due is not None and due.beside and not self._differs and self._pace.may_give_up(time.monotonic()):
            await self.beside.begin(self._path, due.version, overlay)
            return None
        state = await self._run(lambda executor: executor.count.look(self._pace, overlay))
        self._differs = False
        return state

    # ------------------------------------------------------------ what the application changes

    async def describe(self, types: Mapping[int, DataType], alone: bool = False) -> bool:
        self._types = dict(types)
        if self._executor is None:
            return False
        return await self._run(lambda executor: executor.local.describe(types, alone))

    async def changes(self, mark: int, limit: int, wait_s: float | None = None) -> LocalChanges:
        if wait_s:
            return await self._changes_to_come(mark, limit, wait_s)
        if self._database is None and not self._established:
            return LocalChanges((), mark, True)
        return await self._run_on(self._reading(mark, limit, beside=wait_s is not None))

    def _reading(self, mark: int, limit: int, beside: bool) -> Callable[[Executor, sqlite3.Connection], LocalChanges]:
        waiter = self._waiter

        def read(executor: Executor, connection: sqlite3.Connection) -> LocalChanges:
            version = data_version(connection)
            found = executor.local.changes(mark, limit, beside)
            if found.drained and waiter is not None:
                waiter.seen(version, time.monotonic())
            return found

        return read

    async def _changes_to_come(self, mark: int, limit: int, wait_s: float) -> LocalChanges:
        """Waiting gives way to all else that is to be done in the thread, then it begins again."""
        database, waiter, nothing = self._database, self._waiter, LocalChanges((), mark, False)
        if database is None or waiter is None:
            await asyncio.sleep(wait_s)
            return nothing
        until, read = time.monotonic() + wait_s, self._reading(mark, limit, beside=True)

        def found(executor: Executor, connection: sqlite3.Connection) -> LocalChanges:
            changes = read(executor, connection)
            if waiter.idle(time.monotonic()) >= _DISCARD_IDLE_S:
                executor.local.cut_back(self._discard_to)
            return changes

        checked = self._checked(found)

        def turn(connection: sqlite3.Connection) -> LocalChanges | None:
            if self._waiter is not waiter:
                return nothing
            gave_way = waiter.wait(connection, until - time.monotonic(), database.is_wanted)
            return None if gave_way else checked(connection)  # which says where the file is not in its place

        return await database.in_turns(turn)

    async def discard(self, mark: int) -> None:
        """At once where many rows wait, else when the application is idle: cutting back takes its lock (R16)."""
        self._discard_to = mark
        if self._executor is not None and self._executor.local.is_long(mark):
            await self._run(lambda executor: executor.local.cut_back(mark))

    async def offer(
        self, after: tuple[object, ...] | None, limit: int
    ) -> tuple[LocalChanges, tuple[object, ...] | None]:
        if self._database is None and not self._established:
            return LocalChanges((), 0, True), None
        return await self._run(lambda executor: executor.local.offer(after, limit))

    async def close(self) -> None:
        await self.beside.close()
        waiter, self._waiter = self._waiter, None
        database, self._database, self._executor = self._database, None, None
        if waiter is not None:
            waiter.stop()
        if database is not None:
            await database.close()
        if waiter is not None:
            waiter.close()

    async def _connect(self, create: bool) -> TargetState | None:
        """Opens the database; returns the position that it keeps, if any."""
        self._database = await Database.open(self._path, self._limits, create)

        def begin(connection: sqlite3.Connection) -> tuple[Executor, TargetState | None]:
            if create:
                connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(f"PRAGMA cache_size=-{_BULK_CACHE_KIB}")
            executor = Executor(connection, self._collection, self._replace, self._limits, self._captures)
            executor.local.describe(self._types)
            if (state := executor.position.state()) is not None:
                sync_log(self._path)  # whoever kept it may not have come to that
            return executor, state

        try:
            self._executor, state = await self._database.run(begin)
            self._waiter = Waiter(self._database) if self._captures else None
        except BaseException:
            await self.close()
            raise
        self._log = _log_of(self._path)
        return state

    async def _run(self, function: Callable[[Executor], Result]) -> Result:
        return await self._run_on(lambda executor, _: function(executor))

    async def _run_on(self, function: Callable[[Executor, sqlite3.Connection], Result]) -> Result:
        checked = self._checked(function)
        assert self._database is not None
        return await self._database.run(checked)

    def _checked(
        self, function: Callable[[Executor, sqlite3.Connection], Result]
    ) -> Callable[[sqlite3.Connection], Result]:
        """For the database's thread: nothing is done in a file that is not in its place."""
        database, executor = self._database, self._executor
        if database is None or executor is None:
            raise ApplicationOffline(f"the database {self._path} is not open")

        def checked(connection: sqlite3.Connection) -> Result:
            if not database.in_place(connection):
                raise self._misplaced()
            return function(executor, connection)

        return checked

    def _misplaced(self) -> ApplicationOffline:
        return ApplicationOffline(
            f"the database {self._path} is missing or was replaced", "put back the one that was accepted"
        )

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


async def _aside(function: Callable[[], None]) -> None:
    """In a thread that ends with it. Whoever is cancelled does not wait for it."""
    thread = ThreadPoolExecutor(1)
    try:
        await asyncio.get_running_loop().run_in_executor(thread, function)
    finally:
        thread.shutdown(wait=False)


def _log_of(path: Path) -> str:
    return f"{os.path.realpath(path)}-wal"
