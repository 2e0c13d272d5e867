"""What the tests of ``perform`` share: ports in memory, with disks that fill up."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from syncd.adapters.canonical import pack_values
from syncd.adapters.registry import ADAPTERS
from syncd.applications.memory import MemorySource
from syncd.applications.memory_target import MemoryTarget
from syncd.core import effects as fx
from syncd.core import events as ev
from syncd.core.errors import DiskFull
from syncd.core.holding import Batch
from syncd.core.messages import Begin, Objects
from syncd.core.model import DataType, ObjectId
from syncd.core.ports import ChunkRequest, CollectionState, StoredChunk, TargetState
from syncd.core.settings import Limits
from syncd.outside import Ports
from syncd.perform import perform, stage
from syncd.store.memory import MemorySyncStore
from syncd.store.memory_inbound_queue import MemoryInboundQueue
from tests.core.kit import CITY, COUNTRY, EPOCH, NAME

TYPES = (DataType(0, "city", ("id",), ("name",)), DataType(0, "country", ("id",), ("name",)))
LIMITS = Limits(park_retry_s_first=5.0, park_retry_s_max=20.0, scan_rows_max=2)
NOTHING = TargetState("", 0, bytes(16), 0)


class FullQueue(MemoryInboundQueue):
    """An inbound queue whose disk has no room while ``full``."""

    full = False

    def _room(self) -> None:
        if self.full:
            raise DiskFull("no room in the home", "make room")

    async def types(self, collection: str, types: Sequence[DataType]) -> None:
        self._room()
        await super().types(collection, types)

    async def begin(self, collection: str, begin: Begin, types: Collection[int] = ()) -> None:
        self._room()
        await super().begin(collection, begin, types)

    async def stage(self, frames: Sequence[tuple[Objects, bytes]]) -> None:
        self._room()
        await super().stage(frames)


class FullStore(MemorySyncStore):
    """A sync store whose disk has no room while ``full``."""

    full = False

    async def keep(self, name: str, batch: Batch, now_us: int) -> CollectionState:
        self._room()
        return await super().keep(name, batch, now_us)

    async def read(self, request: ChunkRequest, rows_max: int, bytes_max: int) -> StoredChunk:
        self._room()
        return await super().read(request, rows_max, bytes_max)

    async def new_epoch(self) -> str:
        self._room()
        return await super().new_epoch()

    def _room(self) -> None:
        if self.full:
            raise DiskFull("no room in the home", "make room")


def city(number: int) -> ObjectId:
    return ObjectId("city", pack_values([number]))


def name(text: str) -> bytes:
    return pack_values([text])


class Primary:
    """The ports of a primary whose application holds some cities."""

    def __init__(self, cities: int = 5) -> None:
        self.source = MemorySource(TYPES)
        self.source.commit({city(number): name("old") for number in range(cities)})
        self.store = FullStore(lambda: EPOCH)
        self.ports = Ports(LIMITS, ADAPTERS, lambda: 100.0, lambda: 1)
        self.ports.store, self.ports.sources[NAME] = self.store, self.source

    async def does(self, effect: fx.Effect) -> ev.Event | None:
        return await perform(self.ports, effect)

    async def imported(self) -> ev.SourceRead:
        await self.does(fx.OpenSource(NAME))
        event = await self.does(fx.BeginScan(NAME))
        while isinstance(event, ev.Scanned) and event.after is not None:
            event = await self.does(fx.ScanSource(NAME, event.type, event.after))
        await self.does(fx.ScanSource(NAME, 1, None))
        await self.does(fx.SweepSource(NAME))
        read = await self.does(fx.ReadSource(NAME, 0, end_scan=True, loose=True))
        while isinstance(read, ev.SourceRead) and read.more:
            read = await self.does(fx.ReadSource(NAME, read.state.mark))
        assert isinstance(read, ev.SourceRead)
        return read


class Auxiliary:
    """The ports of an auxiliary whose target holds nothing."""

    def __init__(self) -> None:
        self.queue, self.target = FullQueue(), MemoryTarget()
        self.now = 100.0
        self.ports = Ports(LIMITS, ADAPTERS, lambda: self.now, lambda: 1)
        self.ports.inbound, self.ports.targets[NAME] = self.queue, self.target

    async def does(self, effect: fx.Effect) -> ev.Event | None:
        return await perform(self.ports, effect)

    async def begins(self, begin: Begin) -> ev.Event | None:
        await self.does(fx.SaveTypes(NAME, (CITY, COUNTRY)))
        return await self.does(fx.BeginTransfer(NAME, begin))

    async def stages(self, *frames: Objects) -> ev.Event:
        return await stage(self.ports, [fx.Stage(NAME, one, b"raw") for one in frames])

    async def opens(self) -> ev.TargetOpened:
        event = await self.does(fx.OpenTarget(NAME))
        assert isinstance(event, ev.TargetOpened)
        return event

    async def executes(self, held: TargetState = NOTHING, settled: int = 0) -> ev.Event | None:
        return await self.does(fx.Execute(NAME, settled, held))


SNAPSHOT = Begin(NAME, EPOCH, True, 0, 3, 0, 3)
