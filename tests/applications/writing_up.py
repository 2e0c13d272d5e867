"""The primary's SQLite database with a source and a writer, for a schema of its own."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from syncd.adapters.canonical import Value, pack_values
from syncd.applications.sqlite import SqliteSource, SqliteWriter
from syncd.core.edits import Edit, EditGroup, Policy, Written
from syncd.core.model import DataType, ObjectId
from syncd.core.settings import Limits
from tests.applications.road import LIMITS

Row = tuple[Value, ...] | None


class WritingUp:
    """``mark``: how far the source was read. Groups are numbered as they are made."""

    def __init__(self, path: Path, limits: Limits, tables: Sequence[str] = ()) -> None:
        self.path = path
        self.app = sqlite3.connect(path, isolation_level=None)
        self.source = SqliteSource(path, tables, limits)
        self.writer = SqliteWriter(path, limits, self.source.hand_over)
        self.types: dict[str, DataType] = {}
        self.mark = 0
        self.identity = ""
        self._number = 0

    async def open(self) -> None:
        state = await self.source.open(self.identity)
        self.identity = state.identity
        self.types = {one.name: replace(one, id=at) for at, one in enumerate(state.types, 1)}
        await self.source.number(list(self.types.values()))
        self.writer.describe(self.identity, list(self.types.values()))

    async def read(self) -> dict[ObjectId, tuple[bytes | None, str]]:
        """Fields and author of what was touched since the last call."""
        names = {one.id: one.name for one in self.types.values()}
        found: dict[ObjectId, tuple[bytes | None, str]] = {}
        drained = False
        while not drained:
            changes = await self.source.changes(self.mark, 1000)
            if changes.reshaped:
                await self.open()
                continue
            self.mark, drained = changes.mark, changes.drained
            found |= {ObjectId(names[one.type], one.key): (one.fields, one.author) for one in changes.observed}
        return found

    def edit(self, table: str, key: Sequence[Value], base: Row, fields: Row) -> Edit:
        packed = [None if row is None else pack_values(row) for row in (base, fields)]
        return Edit(self.types[table].id, pack_values(key), packed[0], packed[1])

    def group(self, *edits: Edit, author: str = "laptop", number: int = 0) -> EditGroup:
        self._number += 1
        return EditGroup("laptop", "o", number or self._number, 0, edits, author=author)

    async def write(self, *groups: EditGroup, policy: Policy = Policy.PRIMARY) -> list[Written]:
        return list(await self.writer.write(groups, policy, {}))

    def sql(self, statement: str, values: Sequence[Value] = ()) -> list[tuple[Value, ...]]:
        return self.app.execute(statement, values).fetchall()

    async def close(self) -> None:
        await self.writer.close()
        await self.source.close()
        self.app.close()


@asynccontextmanager
async def writing_up(
    path: Path, *schema: str, limits: Limits = LIMITS, tables: Sequence[str] = ()
) -> AsyncIterator[WritingUp]:
    """Open, and read to the end. ``tables``: those that are shared, all by default."""
    made = WritingUp(path, limits, tables)
    made.app.execute("PRAGMA journal_mode=WAL")
    for statement in schema:
        made.app.execute(statement)
    try:
        await made.open()
        await made.read()
        yield made
    finally:
        await made.close()
