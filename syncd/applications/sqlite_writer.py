"""The SQLite application on the primary, written: groups of edits from auxiliaries (claims 24e, 24k; R6, R7, R11, R13).

A connection and a thread of its own, beside those of the source, so that a lock that another program holds does not
keep changes from being read (R10). What is done in the transaction is in ``sqlite_writer_groups``.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from syncd.applications.sqlite_common import Database
from syncd.applications.sqlite_executed import Name, Outbox
from syncd.applications.sqlite_handed import HandOver
from syncd.applications.sqlite_wal import Growth
from syncd.applications.sqlite_writer_groups import Groups, Order
from syncd.core.edits import EditGroup, Fact, Policy, Written
from syncd.core.errors import ApplicationOffline
from syncd.core.model import DataType
from syncd.core.settings import Limits


class SqliteWriter:
    """``core.upward_ports.Writer`` on the database at ``path``, which is opened with the first write. ``hand_over``: to
    the source of the same database."""

    def __init__(self, path: Path, limits: Limits, hand_over: HandOver | None = None) -> None:
        self._path = path
        self._limits = limits
        self._hand_over = hand_over or HandOver(limits)
        self._database: Database | None = None
        self._groups: Groups | None = None
        self._source = ""
        self._types: dict[int, DataType] = {}
        self._settled: list[Name] = []
        self._begun: set[Outbox] = set()  # see ``Groups``
        self._growth = Growth(path, limits)
        self._alone = asyncio.Lock()  # the engine and a person's deed may come at the same time

    def describe(self, source: str, types: Sequence[DataType]) -> None:
        self._source = source
        self._types = {one.id: one for one in types}

    async def write(
        self, groups: Sequence[EditGroup], policy: Policy | None, facts: Mapping[tuple[int, bytes], Fact]
    ) -> Sequence[Written]:
        if not self._source:
            raise ApplicationOffline(f"the database {self._path} is not read yet")
        if not groups:
            return ()
        async with self._alone:
            return await self._write(groups, policy, facts)

    async def _write(
        self, groups: Sequence[EditGroup], policy: Policy | None, facts: Mapping[tuple[int, bytes], Fact]
    ) -> Sequence[Written]:
        database, executor = await self._opened()
        settled = tuple(self._settled)
        order = Order(groups, policy, facts, self._source, self._types, settled)

        def write(connection: sqlite3.Connection) -> list[Written] | None:
            return executor.write(order) if database.in_place(connection) else None

        written = await database.run(write)
        if written is None:
            await self.close()  # what is there by then is opened
            raise ApplicationOffline(
                f"the database {self._path} is missing or was replaced", "it is opened again when it is back"
            )
        del self._settled[: len(settled)]
        await self._keep_log_short()
        return written

    async def settled(self, groups: Sequence[tuple[str, str, int]]) -> None:
        self._settled += groups

    async def close(self) -> None:
        database, self._database, self._groups = self._database, None, None
        if database is not None:
            await database.close()

    async def _opened(self) -> tuple[Database, Groups]:
        if self._database is None or self._groups is None:
            await self.close()
            self._database = database = await Database.open(self._path, self._limits)
            self._growth.opened()
            try:
                made = partial(Groups, limits=self._limits, begun=self._begun, hand_over=self._hand_over)
                self._groups = await database.run(made)
            except BaseException:
                await self.close()
                raise
        return self._database, self._groups

    async def _keep_log_short(self) -> None:
        """Closing makes room for whoever checkpoints (``sqlite_wal``). The next write opens the database again."""
        if self._growth.goes_on():
            await self.close()
            self._growth.made_room()
