"""The primary's application with both of its ends, read by a source and written by a writer, in memory and in SQLite,
under one vocabulary for the contract suite."""

from __future__ import annotations

import os
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from syncd.adapters.canonical import Value, pack_values, unpack_values
from syncd.applications.memory import MemorySource
from syncd.applications.memory_writer import MemoryWriter
from syncd.applications.sqlite import SqliteSource, SqliteWriter
from syncd.core.edits import Edit, EditGroup, Fact, Policy, Written
from syncd.core.model import DataType, ObjectId, Observed
from syncd.core.settings import Limits
from syncd.core.source_port import Source
from syncd.core.upward_ports import Writer

NOTES = DataType(
    1,
    "notes",
    ("id",),
    ("body", "size", "data"),
    ("CREATE TABLE notes(id TEXT PRIMARY KEY, body TEXT, size REAL, data BLOB)",),
)
ITEMS = DataType(2, "items", ("id",), ("name",), ("CREATE TABLE items(id INTEGER PRIMARY KEY, name TEXT)",))
LIMITS = Limits(object_bytes_max=10_000, log_rows_max=50, busy_s_max=0.2, schema_quiet_s=0.0)
IDS = {"notes": 1, "items": 2}
Fields = tuple[Value, ...] | None


def note(key: str) -> ObjectId:
    return ObjectId("notes", pack_values([key]))


def item(key: int) -> ObjectId:
    return ObjectId("items", pack_values([key]))


def packed(fields: Fields) -> bytes | None:
    return None if fields is None else pack_values(fields)


def body(text: str) -> Fields:
    """Fields of a note that has nothing but a body."""
    return (text, None, None)


def edit(one: ObjectId, base: Fields, fields: Fields, type_id: int = 0) -> Edit:
    return Edit(type_id or IDS[one.type], one.key, packed(base), packed(fields))


def group(
    number: int, *edits: Edit, device: str = "laptop", author: str | None = None, offered: bool = False
) -> EditGroup:
    return EditGroup(device, f"{device}-outbox", number, 0, edits, offered, device if author is None else author)


class WriterBench(ABC):
    """An application on the primary and what can happen to it. ``mark``: how far it was read."""

    source: Source
    writer: Writer
    mark = 0
    _identity = ""

    async def open(self) -> None:
        """Read to the end, as after a first import."""
        await self._begin()
        await self.read()

    async def _begin(self) -> None:
        state = await self.source.open(self._identity)
        self._identity = state.identity
        types = [replace(one, id=IDS[one.name]) for one in state.types if one.name in IDS]
        await self.source.number(types)
        self.writer.describe(state.identity, types)

    async def read(self) -> dict[ObjectId, Observed]:
        """What the source says was touched since it was last asked."""
        names = {number: name for name, number in IDS.items()}
        found: dict[ObjectId, Observed] = {}
        drained = False
        while not drained:
            changes = await self.source.changes(self.mark, 100)
            if changes.reshaped:
                await self._begin()
                continue
            self.mark, drained = changes.mark, changes.drained
            found |= {ObjectId(names[one.type], one.key): one for one in changes.observed}
        return found

    async def begun(self, rows: Mapping[ObjectId, Fields]) -> None:
        """The application holds these, and they were read."""
        self.commit(rows)
        await self.read()

    async def write(
        self,
        *groups: EditGroup,
        policy: Policy | None = Policy.PRIMARY,
        facts: Mapping[tuple[int, bytes], Fact] | None = None,
    ) -> list[Written]:
        return list(await self.writer.write(groups, policy, facts or {}))

    async def close(self) -> None:
        await self.writer.close()
        await self.source.close()

    @abstractmethod
    def commit(self, changes: Mapping[ObjectId, Fields]) -> None: ...
    @abstractmethod
    def rows(self) -> dict[ObjectId, Fields]: ...
    @abstractmethod
    def refuse(self, one: ObjectId, why: str) -> None:
        """From here on the application refuses all versions of the object."""

    @abstractmethod
    def spoil(self, one: ObjectId) -> None:
        """The object is there and cannot be turned into fields."""

    @abstractmethod
    async def crash(self) -> None:
        """The daemon goes without a word, and another takes its place."""

    @abstractmethod
    def lose_log(self) -> None: ...
    @abstractmethod
    def take_away(self) -> None: ...
    @abstractmethod
    def bring_back(self) -> None: ...


class MemoryWriterBench(WriterBench):
    def __init__(self) -> None:
        self.source: MemorySource = MemorySource((NOTES, ITEMS))
        self.writer: MemoryWriter = MemoryWriter(self.source, numbered=("items",))

    def commit(self, changes: Mapping[ObjectId, Fields]) -> None:
        self.source.commit({one: packed(fields) for one, fields in changes.items()})

    def rows(self) -> dict[ObjectId, Fields]:
        return {one: tuple(unpack_values(fields)) for one, fields in self.source.rows.items()}

    def refuse(self, one: ObjectId, why: str) -> None:
        self.writer.failing[one] = why

    def spoil(self, one: ObjectId) -> None:
        self.source.faults[one] = "what the primary holds cannot be read"

    async def crash(self) -> None:
        failing, self.writer = self.writer.failing, MemoryWriter(self.source, numbered=("items",))
        self.writer.failing = failing
        await self._begin()

    def lose_log(self) -> None:
        self.source.lose_log()

    def take_away(self) -> None:
        self.source.offline = "it is gone"

    def bring_back(self) -> None:
        self.source.offline = ""


class SqliteWriterBench(WriterBench):
    def __init__(self, path: Path, limits: Limits = LIMITS) -> None:
        self.path = path
        self.limits = limits
        self.app = sqlite3.connect(path, isolation_level=None)
        self.app.execute("PRAGMA journal_mode=WAL")
        for sql in (*NOTES.definition, *ITEMS.definition):
            self.app.execute(sql)
        self.source: SqliteSource = SqliteSource(path, (), limits)
        self.writer: SqliteWriter = SqliteWriter(path, limits, self.source.hand_over)

    def commit(self, changes: Mapping[ObjectId, Fields]) -> None:
        self.app.execute("BEGIN IMMEDIATE")
        for one, fields in changes.items():
            key = unpack_values(one.key)
            self.app.execute(f"DELETE FROM {one.type} WHERE id = ?", key)
            if fields is not None:
                row = (*key, *fields)
                self.app.execute(f"INSERT INTO {one.type} VALUES({', '.join('?' * len(row))})", row)
        self.app.execute("COMMIT")

    def rows(self) -> dict[ObjectId, Fields]:
        return {
            ObjectId(table, pack_values(row[:1])): row[1:]
            for table in ("notes", "items")
            for row in self.app.execute(f"SELECT * FROM {table}").fetchall()
        }

    def refuse(self, one: ObjectId, why: str) -> None:
        key = str(unpack_values(one.key)[0])
        for event in ("INSERT", "UPDATE"):
            self.app.execute(
                f"CREATE TRIGGER no_{event}_{one.type}_{key} BEFORE {event} ON {one.type} WHEN NEW.id = '{key}'"
                f" BEGIN SELECT RAISE(ABORT, '{why}'); END"
            )

    def spoil(self, one: ObjectId) -> None:
        self.app.execute(f"UPDATE {one.type} SET body = CAST(x'ff' AS TEXT) WHERE id = ?", unpack_values(one.key))

    async def crash(self) -> None:
        await super().close()
        self.source = SqliteSource(self.path, (), self.limits)
        self.writer = SqliteWriter(self.path, self.limits, self.source.hand_over)
        await self._begin()

    def lose_log(self) -> None:
        for _ in range(self.limits.log_rows_max):
            self.app.execute("INSERT INTO notes(id) VALUES('overflow') ON CONFLICT DO UPDATE SET body = ''")
        self.app.execute("DELETE FROM notes WHERE id = 'overflow'")

    def take_away(self) -> None:
        self.app.close()
        os.rename(self.path, self.path.with_suffix(".away"))

    def bring_back(self) -> None:
        os.rename(self.path.with_suffix(".away"), self.path)
        self.app = sqlite3.connect(self.path, isolation_level=None)

    async def close(self) -> None:
        await super().close()
        self.app.close()


@asynccontextmanager
async def opened(kind: str, path: Path, limits: Limits = LIMITS) -> AsyncIterator[WriterBench]:
    """An application of the kind ``sqlite`` or ``memory`` that was read to the end."""
    made = SqliteWriterBench(path, limits) if kind == "sqlite" else MemoryWriterBench()
    try:
        await made.open()
        yield made
    finally:
        await made.close()
