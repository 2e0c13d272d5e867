"""A count of what the tables hold beside the work that goes on (R10, R14), on a connection and a thread of its own.

It counts one state of the database, of which it is seen before it begins that all edits in it were read. It only tells
whether something else was found than was kept then: then all is counted once more, in the target's thread, which may
take as long as there is. Not for a rollback journal, where a reader keeps everybody else from writing.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from syncd.applications.sqlite_common import Database
from syncd.applications.sqlite_count import GivenUp, GiveUp, count
from syncd.applications.sqlite_local import Local
from syncd.applications.sqlite_position import Position
from syncd.applications.sqlite_tables import Tables
from syncd.core import digest
from syncd.core.edits import Overlay
from syncd.core.errors import SyncdError
from syncd.core.settings import Limits

_CACHE_KIB = 1024  # each page of the database is looked at once
_REST_S_MAX = 0.05  # between two pages of rows, at most


class Counted(NamedTuple):
    """``version``: of the data, as it was given; ``differs``: something else was found than was kept."""

    version: int
    took_s: float
    differs: bool


class CountBeside:
    """One count at a time. ``captures``: as of the target."""

    def __init__(self, collection: str, captures: bool, limits: Limits) -> None:
        self._collection = collection
        self._captures = captures
        self._limits = limits
        self._task: asyncio.Task[Counted] | None = None
        self._stopped = False
        self._page_at = 0.0

    @property
    def goes_on(self) -> bool:
        return self._task is not None and not self._task.done()

    async def begin(self, path: Path, version: int, overlay: Overlay | None) -> None:
        """Nothing of ours writes the database until this returns. Raises EditsUnread, and the mapped errors."""
        await self.close()
        database = await Database.open(path, self._limits)
        try:
            one = await database.run(
                lambda connection: _Count(connection, self._collection, self._captures, self._limits, overlay)
            )
        except BaseException:
            await database.close()
            raise
        self._stopped = False
        self._task = asyncio.create_task(self._count(database, one, version), name=f"count {self._collection}")

    async def _count(self, database: Database, one: _Count, version: int) -> Counted:
        began = self._page_at = time.monotonic()
        try:
            differs = await database.run(lambda _: one.finds_else(self._rest))
        finally:
            await database.close()
        return Counted(version, time.monotonic() - began, differs)

    async def wait(self) -> None:
        """Until no count goes on."""
        if self._task is not None:
            await asyncio.wait((self._task,))

    def take(self) -> Counted | None:
        """What the last count found, once. Raises what it failed of."""
        task, self._task = self._task, None
        return None if task is None else task.result()

    async def close(self) -> None:
        """Gives up."""
        self._stopped = True
        await self.wait()
        with contextlib.suppress(GivenUp, SyncdError):  # nobody asks for it any more
            self.take()

    def _rest(self) -> bool:
        """After each page of rows, for as long as it took: the interpreter and the disk are others' as well."""
        time.sleep(min(time.monotonic() - self._page_at, _REST_S_MAX))
        self._page_at = time.monotonic()
        return self._stopped


class _Count:
    """In the thread of its connection. The state that is counted is that of the moment at which this is made."""

    def __init__(
        self, connection: sqlite3.Connection, collection: str, captures: bool, limits: Limits, overlay: Overlay | None
    ) -> None:
        self._connection = connection
        self._edited = overlay is not None
        connection.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
        position = Position(connection, collection)
        connection.execute("BEGIN")
        self._before = position.state()
        self._above = Local(connection, collection, position, limits, captures).above(overlay)
        self._tables = Tables(connection, position.types(), create=False)

    def finds_else(self, rest: GiveUp) -> bool:
        """Raises GivenUp."""
        if self._before is None:
            return True
        change, objects = count(self._connection, self._tables, rest, self._edited)
        above, more = self._above
        return self._before != replace(self._before, digest=digest.of((change + above,)), objects=objects + more)
