"""What selection classes cost the sync store, without daemons."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from statistics import median
from time import process_time

from scripts.benchlib.figures import Figure, Measure, Setting
from syncd.adapters.canonical import pack_values
from syncd.core.holding import Batch
from syncd.core.model import DataType, Observed
from syncd.core.ports import ChunkRequest
from syncd.core.selection import Selection
from syncd.core.settings import Limits
from syncd.store.sync_store import SqliteSyncStore

NAME = "shop"
TYPE = DataType(0, "customer", ("id",), ("country", "total", "name"))
CLASSES = 10
COMMITS = 300  # in one round
ROUNDS = 5
FILLED_TOGETHER = 5_000


class _Shop:
    """Objects that are spread evenly over the classes; each commit changes one, which stays in its class."""

    def __init__(self, store: SqliteSyncStore, objects: int) -> None:
        self.store = store
        self.objects = objects
        self.type = 0
        self._chance = random.Random(1)
        self._changes = 0

    async def fill(self) -> None:
        await self.store.open_collection(NAME)
        self.type = (await self.store.set_source(NAME, "bench", (TYPE,)))[0].id
        await self.store.begin_scan(NAME)
        await self.store.keep(NAME, Batch([self._object(number) for number in range(self.objects)], False, True), 1)
        await self.store.keep(NAME, Batch((), True, True, end_scan=True), 1)

    def changed(self, number: int) -> Observed:
        """It stays in its class: another total, the same country and name."""
        return self._object(number)

    def _object(self, number: int) -> Observed:
        self._changes += 1
        fields = pack_values((f"country {number % CLASSES}", self._changes, f"customer {number}"))
        return Observed(self.type, pack_values([number]), fields)

    async def open(self, number: int) -> float:
        """CPU seconds until a class is ready."""
        selection = Selection(f'country == "country {number}" and total >= 0 and name is not None')
        begin = process_time()
        while (await self.store.open_class(NAME, selection, FILLED_TOGETHER)).of(selection) is None:
            pass
        return process_time() - begin

    async def commit_us(self) -> float:
        """CPU of a commit of one object."""
        rounds: list[float] = []
        for _ in range(ROUNDS):
            batches = [
                Batch([self._object(self._chance.randrange(self.objects))], publish=True, loose=False)
                for _ in range(COMMITS)
            ]
            begin = process_time()
            for batch in batches:
                await self.store.keep(NAME, batch, 1)
            rounds.append(process_time() - begin)
        return median(rounds) / COMMITS * 1e6


def classes(setting: Setting) -> Figure:
    objects = setting.of(100_000)
    filling, one, ten = asyncio.run(_measured(setting, objects))
    what = (
        f"{objects:,} objects in the sync store, {CLASSES} selection classes against one: CPU of a commit of one object"
    )
    measures = [
        Measure("with one", one, "us"),
        Measure(f"with {CLASSES}", ten, "us"),
        Measure("ratio", ten / one, "x", 1.5),
        Measure("filling a class", filling, "s"),
    ]
    return Figure("classes", what, measures)


async def _measured(setting: Setting, objects: int) -> tuple[float, float, float]:
    async with _filled(setting, objects) as shop:
        filling = await shop.open(0)
        one = await shop.commit_us()
        for number in range(1, CLASSES):
            await shop.open(number)
        return filling, one, await shop.commit_us()


@asynccontextmanager
async def _filled(setting: Setting, objects: int) -> AsyncIterator[_Shop]:
    store = await SqliteSyncStore.open(setting.directory / "store.db", Limits())
    try:
        shop = _Shop(store, objects)
        await shop.fill()
        yield shop
    finally:
        await store.close()


# ---------------------------------------------------------------- what a catch-up reads

ALTERED = 20_000  # while the device is away, spread over the collection


def catch_up(setting: Setting) -> Figure:
    objects = setting.of(100_000)
    whole, snapshot, later = asyncio.run(_counted(setting, objects))
    what = (
        f"a class that holds 1 % of {objects:,} objects is read from the sync store: the steps of SQLite's machine in"
        " all statements, against those for a class that holds them all"
    )
    measures = [
        Measure("rows read for a snapshot", 100 * snapshot / whole, "%", 2.0),
        Measure(f"rows read after {setting.of(ALTERED):,} objects changed", 100 * later / whole, "%", 2.0),
        Measure("steps for one row", whole / objects, ""),
    ]
    return Figure("class-catch-up", what, measures)


async def _counted(setting: Setting, objects: int) -> tuple[int, int, int]:
    """Steps for the whole collection, for the class, and for what changed in it after that."""
    async with _filled(setting, objects) as shop:
        store, altered = shop.store, setting.of(ALTERED)
        rare, every = Selection('endswith(name, "00")'), Selection("total >= 0")
        for one in (rare, every):
            while (await store.open_class(NAME, one, FILLED_TOGETHER)).of(one) is None:
                pass
        whole, _, everything = await _steps(store, every, 0, 0)
        snapshot, head, taken = await _steps(store, rare, 0, 0)
        assert (everything, taken) == (objects, objects // 100 - 1), (everything, taken)
        for begin in range(0, altered, 100):
            batch = [shop.changed(number * objects // altered) for number in range(begin, begin + 100)]
            await store.keep(NAME, Batch(batch, publish=True, loose=False), 1)
        later, _, came = await _steps(store, rare, head, head)
        assert 0 < came <= taken, came
        return whole, snapshot, later


async def _steps(store: SqliteSyncStore, selection: Selection, base: int, cursor: int) -> tuple[int, int, int]:
    """Steps of the reading connection until a device is at the head, the head, and how many rows came."""
    limits, steps, rows, done = Limits(), 0, 0, False

    def step() -> int:
        nonlocal steps
        steps += 1
        return 0

    await store._database.read(lambda connection: connection.set_progress_handler(step, 1))
    floor = 0 if base else (await store.open_collection(NAME)).head
    while not done:
        request = ChunkRequest(NAME, selection, base, floor, cursor)
        chunk = await store.read(request, limits.chunk_rows_max, limits.frame_bytes)
        rows, cursor, done = rows + len(chunk.rows), chunk.last, chunk.proof is not None
    await store._database.read(lambda connection: connection.set_progress_handler(None, 0))
    return steps, cursor, rows


FIGURES: dict[str, Callable[[Setting], Figure]] = {"classes": classes, "class-catch-up": catch_up}
