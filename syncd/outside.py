"""The outside of one daemon: what effects are performed on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from syncd.adapters.base import Adapter
from syncd.core import effects as fx
from syncd.core import events as ev
from syncd.core.devices import SyncDatabase
from syncd.core.edits import LocalChanges
from syncd.core.inbound_port import InboundQueue
from syncd.core.model import DataType
from syncd.core.ports import SourceChanges, SyncStore, Target
from syncd.core.references import Object
from syncd.core.settings import Limits
from syncd.core.source_port import Source
from syncd.core.upward_effects import SettleUploads
from syncd.core.upward_ports import Local, Outbox, UploadQueue, Writer

Result = TypeVar("Result")
Page = TypeVar("Page")


class FrameCache:
    """Encoded frames that devices which follow closely will want too, bounded in bytes. Frames with a cut are not
    kept: a cut proves a state only together with frames read before it."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._frames: dict[fx.ReadChunk, ev.ChunkRead] = {}

    def get(self, key: fx.ReadChunk) -> ev.ChunkRead | None:
        return self._frames.get(key)

    def clear(self) -> None:
        self._frames.clear()
        self._bytes = 0

    def put(self, key: fx.ReadChunk, chunk: ev.ChunkRead) -> None:
        if chunk.proof is not None or chunk.last == chunk.request.cursor or key in self._frames:
            return
        self._frames[key] = chunk
        self._bytes += len(chunk.frame)
        while self._bytes > self._bytes_max:
            oldest = next(iter(self._frames))
            self._bytes -= len(self._frames.pop(oldest).frame)


class Aside(Protocol):
    """Runs a function that reads a whole work where it does not hold up the loop: in a thread."""

    async def __call__(self, function: Callable[[], Result], /) -> Result: ...


async def no_pause(seconds: float) -> None:
    """For simulations."""


class Beside(Protocol):
    """Keeps a page while the next is read."""

    async def __call__(self, keeping: Coroutine[Any, Any, Result], reading: Coroutine[Any, Any, None], /) -> Result: ...


async def kept_meanwhile(keeping: Coroutine[Any, Any, Result], reading: Coroutine[Any, Any, None]) -> Result:
    """A page is kept while the next is read: they are in different databases, in threads of their own."""
    ahead = asyncio.create_task(reading)
    try:
        kept = await keeping
    except BaseException:
        ahead.cancel()
        raise
    await ahead
    return kept


class Inline:
    """For simulations."""

    async def __call__(self, function: Callable[[], Result], /) -> Result:
        return function()


@dataclass(frozen=True, slots=True)
class Ahead(Generic[Page]):
    """A page that was found after a mark beside other work."""

    mark: int
    page: Page


@dataclass
class Ports:
    """The outside of one daemon. ``wall_us``: microseconds UTC, for people; ``now``: monotonic seconds. ``limits_by``:
    of collections that have other limits than all else. ``shared_again``: collections whose types may be fewer than
    they were, a person has said so; ``releasing``: those with a held group that goes into the order. ``void``: why
    frames of a collection cannot be staged, by what must succeed before they can: its types, or the beginning of a
    transfer. ``ahead``: the page of a source's changes after a mark that was read while the one before was kept;
    ``local_ahead``: the same of a target. ``added``: by collection and device, what one whose
    selection follows references added lately, in order.

    Of targets whose edits are captured: ``locals``; ``merging``, what those hold when they are first filled is offered
    to the primary; ``lost``, of those it is not known what was edited, until all was offered and a snapshot executed;
    ``whole``, all that had been edited was in the outbox when they were last read; ``untold``, those that may have
    carried out a plan of which the outbox was not told; ``settling``, verdicts that are kept in a moment;
    ``uncounted``, since when they are not counted because edits wait; ``known``, types that it was told; ``over``, how
    many links are. ``alone``: held while a plan is made and carried out, and while changes are kept: neither may come
    between the other's steps; on a primary while what was read of a source is kept, and while a decision is made.
    """

    limits: Limits
    adapters: Mapping[str, Adapter]
    now: Callable[[], float]
    wall_us: Callable[[], int]
    database: SyncDatabase | None = None
    store: SyncStore | None = None
    inbound: InboundQueue | None = None
    sources: dict[str, Source] = field(default_factory=dict)
    targets: dict[str, Target] = field(default_factory=dict)
    outbox: Outbox | None = None
    locals: dict[str, Local] = field(default_factory=dict)
    merging: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)
    whole: set[str] = field(default_factory=set)
    untold: set[str] = field(default_factory=set)
    settling: dict[str, SettleUploads] = field(default_factory=dict)
    uncounted: dict[str, float] = field(default_factory=dict)
    known: dict[str, set[DataType]] = field(default_factory=dict)
    over: dict[str, int] = field(default_factory=dict)
    uploads: UploadQueue | None = None
    writers: dict[str, Writer] = field(default_factory=dict)
    void: dict[tuple[str, type[fx.Effect]], str] = field(default_factory=dict)
    limits_by: dict[str, Limits] = field(default_factory=dict)
    shared_again: set[str] = field(default_factory=set)
    releasing: set[str] = field(default_factory=set)
    aside: Aside = field(default_factory=Inline)
    pause: Callable[[float], Awaitable[None]] = no_pause
    beside: Beside | None = None  # None: in simulations nothing is read ahead
    ahead: dict[str, Ahead[SourceChanges]] = field(default_factory=dict)
    added: dict[tuple[str, str], dict[Object, None]] = field(default_factory=dict)
    local_ahead: dict[str, Ahead[LocalChanges]] = field(default_factory=dict)
    cache: FrameCache = field(init=False)
    _alone: dict[str, asyncio.Lock] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.cache = FrameCache(self.limits.cache_bytes_max)

    def limits_of(self, collection: str) -> Limits:
        """What a person chose for the collection, else the usual."""
        return self.limits_by.get(collection, self.limits)

    @property
    def sync_store(self) -> SyncStore:
        assert self.store is not None, "only a primary has a sync store"
        return self.store

    @property
    def sync_database(self) -> SyncDatabase:
        assert self.database is not None, "a daemon has a sync database"
        return self.database

    @property
    def queue(self) -> InboundQueue:
        assert self.inbound is not None, "only an auxiliary has an inbound queue"
        return self.inbound

    @property
    def edits(self) -> Outbox:
        assert self.outbox is not None, "only an auxiliary has an outbox"
        return self.outbox

    @property
    def upload_queue(self) -> UploadQueue:
        assert self.uploads is not None, "only a primary has an upload queue"
        return self.uploads

    async def kept(
        self,
        keeping: Coroutine[Any, Any, Result],
        size_bytes: int,
        read_on: Callable[[], Coroutine[Any, Any, None]],
    ) -> Result:
        """Keeps a page of that size and reads the next meanwhile, unless two such are too much to hold (R15)."""
        if self.beside is None or size_bytes > self.limits.scan_bytes_max // 2:
            return await keeping
        return await self.beside(keeping, read_on())

    def alone(self, collection: str) -> asyncio.Lock:
        """See above."""
        return self._alone.setdefault(collection, asyncio.Lock())
