"""A primary without its daemon, on twins in memory: an application, the store that follows it, and what persons do."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal

from syncd.adapters.canonical import Value, pack_values, unpack_values
from syncd.applications.memory import MemorySource
from syncd.applications.memory_writer import MemoryWriter
from syncd.core.edits import Edit, EditGroup, Policy, Written
from syncd.core.holding import Batch
from syncd.core.model import DataType, ObjectId, Reference
from syncd.core.ports import CollectionState
from syncd.core.settings import Limits
from syncd.core.status import Json
from syncd.deeds import Deeds
from syncd.disputes import Disputes
from syncd.past import Past
from syncd.store.memory import MemorySyncStore
from syncd.store.memory_uploads import MemoryUploadQueue

NAME = "notes"
DESK, LAPTOP = "D" * 52, "L" * 52
NOTE = DataType(0, "note", ("id",), ("title", "body"), references=(Reference(("body",), "note"),))  # a number is one
TAG = DataType(0, "tag", ("note", "word"), ("weight",))
PERSON = DataType(0, "person", ("id",), ("name",))
_US = 1_000_000

Row = tuple[Value, ...] | None


def note(number: Value) -> ObjectId:
    return ObjectId("note", pack_values([number]))


def packed(row: Row) -> bytes | None:
    return None if row is None else pack_values(row)


class _Reading(asyncio.Event):
    """Whoever waits has the source read."""

    def __init__(self, read: Callable[[], Awaitable[CollectionState]]) -> None:
        super().__init__()
        self._read = read

    async def wait(self) -> Literal[True]:
        await self._read()
        return True


class Desk:
    """``commit``: what the application's user does; ``edit``: what comes from the laptop."""

    def __init__(self) -> None:
        self.source = MemorySource((NOTE, TAG, PERSON))
        self.store = MemorySyncStore()
        self.uploads = MemoryUploadQueue()
        self.writer = MemoryWriter(self.source, numbered=("note",))
        self.time_us = 1_700_000_000 * _US
        self.ids: dict[str, int] = {}
        self._numbers = itertools.count(1)
        self.deeds = Deeds(
            store=self.store,
            uploads=self.uploads,
            writers={NAME: self.writer},
            sources={NAME: self.source},
            device=DESK,
            wall_us=lambda: self.time_us,
            changed=_Reading(self._keep),
        )
        shown = {DESK: "desk", LAPTOP: "laptop"}
        self.verbs = Past(self.deeds, shown.__getitem__, Limits()).verbs | Disputes(self.deeds, shown.__getitem__).verbs

    async def open(self) -> Desk:
        opened = await self.source.open("")
        await self.store.open_collection(NAME)
        types = await self.store.set_source(NAME, opened.identity, opened.types)
        await self.source.number(types)
        self.ids = {one.name: one.id for one in types}
        await self.store.begin_scan(NAME)
        await self._keep(end_scan=True)
        return self

    async def _keep(self, end_scan: bool = False) -> CollectionState:
        state = await self.store.open_collection(NAME)
        changes = await self.source.changes(state.mark, 1_000)
        batch = Batch(changes.observed, publish=True, loose=False, mark=changes.mark, end_scan=end_scan)
        self.time_us += _US
        state = await self.store.keep(NAME, batch, self.time_us)
        await self.source.discard(changes.mark)
        return state

    async def commit(self, rows: Mapping[ObjectId, Row]) -> str:
        """The group that came of it."""
        self.source.commit({one: packed(row) for one, row in rows.items()})
        return f"{NAME}:{(await self._keep()).head}"

    def row(self, one: ObjectId) -> Row:
        fields = self.source.rows.get(one)
        return None if fields is None else tuple(unpack_values(fields))

    async def edit(self, rows: Mapping[ObjectId, tuple[Row, Row]], policy: Policy = Policy.PRIMARY) -> Written:
        """A group of the laptop's: base and fields of each object. It is settled when this returns."""
        edits = tuple(
            Edit(self.ids[one.type], one.key, packed(base), packed(fields)) for one, (base, fields) in rows.items()
        )
        group = EditGroup(LAPTOP, "outbox", next(self._numbers), self.time_us, edits, author=LAPTOP)
        facts = dict(zip(((one.type, one.key) for one in edits), await self.store.facts(NAME, edits), strict=True))
        (written,) = await self.writer.write([group], policy, facts)
        state = await self._keep()
        await self.uploads.settle(NAME, [written], state.head, policy, self.time_us)
        return written

    async def ask(self, verb: str, **args: object) -> Json:
        return await self.verbs[verb](args)

    async def records(self, key: str, verb: str, **args: object) -> list[Json]:
        told = (await self.ask(verb, **args))[key]
        assert isinstance(told, list)
        return told
