"""How each effect of the engine is performed on the ports: a table from effect to function.

A function does its durable work first and returns the event that says so; the driver runs it, and so does the
simulation, on twins in memory. An error of the application or the disk becomes an event too: it takes a collection
offline, never the daemon down.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from syncd.adapters.base import Adapter
from syncd.core import effects as fx
from syncd.core import events as ev
from syncd.core.devices import SyncDatabase
from syncd.core.errors import ApplicationError, ApplicationOffline, DiskError, TargetHeld
from syncd.core.inbound_port import InboundQueue
from syncd.core.inbound_queue import begins_at, entangled, ids_of
from syncd.core.model import Failure, Observed
from syncd.core.ports import (
    Batch,
    Executed,
    Source,
    SyncStore,
    Target,
    Unexecuted,
    Work,
)
from syncd.core.query_builder import build
from syncd.core.settings import Limits, back_off
from syncd.core.target_state import executed

Result = TypeVar("Result")


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


class Inline:
    """For simulations."""

    async def __call__(self, function: Callable[[], Result], /) -> Result:
        return function()


@dataclass
class Ports:
    """The outside of one daemon. ``wall_us``: microseconds UTC, for people; ``now``: monotonic seconds.
    ``shared_again``: collections whose types may be fewer than they were, a person has said so. ``void``: why frames of
    a collection cannot be staged, by what must succeed before they can: its types, or the beginning of a transfer."""

    limits: Limits
    adapters: Mapping[str, Adapter]
    now: Callable[[], float]
    wall_us: Callable[[], int]
    database: SyncDatabase | None = None
    store: SyncStore | None = None
    inbound: InboundQueue | None = None
    sources: dict[str, Source] = field(default_factory=dict)
    targets: dict[str, Target] = field(default_factory=dict)
    void: dict[tuple[str, type[fx.Effect]], str] = field(default_factory=dict)
    shared_again: set[str] = field(default_factory=set)
    aside: Aside = field(default_factory=Inline)
    cache: FrameCache = field(default_factory=lambda: FrameCache(Limits().cache_bytes_max))

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


# ---------------------------------------------------------------- the primary's side


async def _save_adapter(ports: Ports, effect: fx.SaveAdapter) -> ev.Event:
    try:
        await ports.sync_database.set_adapter(effect.device, effect.adapter)
    except DiskError as error:
        return ev.AdapterSaved(effect.device, effect.adapter, error.line())
    return ev.AdapterSaved(effect.device, effect.adapter)


async def _open_source(ports: Ports, effect: fx.OpenSource) -> ev.Event:
    name, store = effect.collection, ports.sync_store
    before = await store.open_collection(name)
    try:
        opened = await ports.sources[name].open(before.source)
    except ApplicationError as error:
        return ev.SourceFailed(name, error.line(), before)
    gone = sorted({one.name for one in before.types} - {one.name for one in opened.types})
    if gone and name not in ports.shared_again:
        raise ApplicationOffline(
            f"{gone[0]} of collection {name} is gone from its application",
            "put it back, or `syncd share` the collection again: then its objects are deleted everywhere",
        )
    types = await store.set_source(name, opened.identity, opened.types)
    await ports.sources[name].number(types)
    ports.shared_again.discard(name)
    changed = before.source != opened.identity or tuple(before.types) != types
    if changed:
        ports.cache.clear()  # frames of types that devices are not told of any more
    return ev.SourceOpened(name, opened, await store.open_collection(name), changed)


async def _begin_scan(ports: Ports, effect: fx.BeginScan) -> ev.Event:
    await ports.sync_store.begin_scan(effect.collection)
    state = await ports.sync_store.open_collection(effect.collection)
    if not state.types:
        return ev.Scanned(effect.collection, 0, None, state)
    return await _scan(ports, fx.ScanSource(effect.collection, 0, None))


async def _scan(ports: Ports, effect: fx.ScanSource) -> ev.Event:
    name, store = effect.collection, ports.sync_store
    state = await store.open_collection(name)
    page = await ports.sources[name].scan(state.types[effect.type].id, effect.after, ports.limits.scan_rows_max)
    state = await store.keep(name, Batch(page.observed, publish=False, loose=True), ports.wall_us())
    return ev.Scanned(name, effect.type, page.after, state)


async def _sweep(ports: Ports, effect: fx.SweepSource) -> ev.Event:
    name, store = effect.collection, ports.sync_store
    unseen = await store.unseen(name, ports.limits.scan_rows_max)
    if not unseen:
        return ev.Swept(name, 0, await store.open_collection(name))
    known = {type_.id for type_ in (await store.open_collection(name)).types}
    there = await ports.sources[name].observe([(gone.type, gone.key) for gone in unseen if gone.type in known])
    observed = [*there, *(Observed(gone.type, gone.key, None) for gone in unseen if gone.type not in known)]
    state = await store.keep(name, Batch(observed, publish=False, loose=True), ports.wall_us())
    return ev.Swept(name, len(unseen), state)


async def _read_source(ports: Ports, effect: fx.ReadSource) -> ev.Event:
    name, store, source = effect.collection, ports.sync_store, ports.sources[effect.collection]
    changes = await source.changes(effect.mark, ports.limits.scan_rows_max)
    if changes.lost:
        await store.begin_scan(name)  # before the mark moves: a crash between must not lose the comparison
        state = await store.keep(name, Batch((), publish=False, loose=True, mark=changes.mark), ports.wall_us())
        return ev.SourceRead(name, state, more=False, lost=True, reshaped=False)
    if changes.reshaped:
        state = await store.open_collection(name)
        return ev.SourceRead(name, state, more=False, lost=False, reshaped=True)
    touched = effect.end_scan or changes.mark != effect.mark or bool(changes.observed)
    # What an earlier run kept and could not publish is published although nothing was touched since.
    held = None if touched else await store.open_collection(name)
    if held is not None and (held.published or not changes.drained):
        state = held
    else:
        batch = Batch(changes.observed, changes.drained, effect.loose, changes.mark, effect.end_scan)
        state = await store.keep(name, batch, ports.wall_us())
        await source.discard(changes.mark)
    return ev.SourceRead(name, state, more=not changes.drained, lost=False, reshaped=False)


async def _wait_source(ports: Ports, effect: fx.WaitSource) -> ev.Event:
    await ports.sources[effect.collection].wait(ports.limits.source_wait_s_max)
    return ev.SourceWoken(effect.collection)


async def _read_chunk(ports: Ports, effect: fx.ReadChunk) -> ev.Event:
    cached = ports.cache.get(effect)
    if cached is not None:
        return cached
    limits = ports.limits
    try:
        stored = await ports.sync_store.read(effect.request, limits.chunk_rows_max, limits.frame_bytes)
    except DiskError as error:
        return ev.ChunkFailed(effect.request, effect.adapter, error.line())
    frame = ports.adapters[effect.adapter].encode(build(effect.request, stored))
    chunk = ev.ChunkRead(
        effect.request, effect.adapter, stored.last, stored.proof, stored.version, stored.horizon, frame
    )
    ports.cache.put(effect, chunk)
    return chunk


async def _new_epoch(ports: Ports, effect: fx.NewEpoch) -> ev.Event:
    try:
        return ev.EpochMoved(await ports.sync_store.new_epoch())
    except DiskError as error:
        return ev.EpochFailed(effect.collection, error.line())


# ---------------------------------------------------------------- the auxiliary's side


async def _open_target(ports: Ports, effect: fx.OpenTarget) -> ev.Event:
    name = effect.collection
    try:
        state = await ports.targets[name].open()
    except ApplicationError as error:
        parked = (await ports.queue.load(name))[2]
        return ev.TargetFailed(name, error.line(), isinstance(error, TargetHeld), parked)
    transfer, types, parked = await ports.queue.load(name)
    if transfer is not None and transfer.cut and executed(transfer, state):
        # A crash between the commit and this: the frames were executed, and must not come first in the next work.
        await ports.queue.executed(name, state.position)
        transfer, types, parked = await ports.queue.load(name)
    return ev.TargetOpened(name, state, transfer, {one.id: one for one in types}, parked)


async def _save_types(ports: Ports, effect: fx.SaveTypes) -> None:
    await ports.queue.types(effect.collection, effect.types)
    ports.void.pop((effect.collection, fx.SaveTypes), None)


async def _begin_transfer(ports: Ports, effect: fx.BeginTransfer) -> None:
    await ports.queue.begin(effect.collection, effect.begin)
    ports.void.pop((effect.collection, fx.BeginTransfer), None)


async def stage(ports: Ports, effects: list[fx.Stage]) -> ev.Event:
    """Frames of one collection that arrived while the last commit ran become durable in one commit. Where one cannot
    be kept, those after it are void as well."""
    name = effects[0].collection
    for condition in _BEFORE_STAGING:
        if why := ports.void.get((name, condition)):
            return ev.StageFailed(name, len(effects), why)
    try:
        await ports.queue.stage([(effect.frame, effect.raw) for effect in effects])
    except DiskError as error:
        ports.void[name, fx.BeginTransfer] = error.line()
        return ev.StageFailed(name, len(effects), error.line())
    cuts = tuple(cut.proof for effect in effects if (cut := effect.frame.cut) is not None)
    staged_bytes = sum(len(effect.raw) for effect in effects)
    return ev.Staged(name, len(effects), effects[-1].frame.last, cuts, staged_bytes)


async def _execute(ports: Ports, effect: fx.Execute) -> ev.Event:
    name, held = effect.collection, effect.held
    work = await ports.queue.work(name)
    if work is None:
        return ev.WorkDone(name, None, Executed(held))
    if not await ports.aside(lambda: begins_at(work, held)):
        ports.void[name, fx.BeginTransfer] = "the application's data is an older copy of itself"
        await ports.queue.clear(name)
        return ev.WorkVoid(name)
    result: Executed | Unexecuted | None = None
    ends_at = work.proof.seq if work.proof else 0
    if ends_at > effect.settled and work.skip and (parts := await ports.aside(lambda: entangled(work))):
        result = Unexecuted(parts)
    result = result or await ports.targets[name].execute(work)
    if isinstance(result, Executed) and work.proof is not None:
        await ports.queue.executed(name, work.proof.seq)
    return ev.WorkDone(name, work.proof, result)


async def _execute_now(ports: Ports, effect: fx.ExecuteNow) -> ev.Event:
    name, cut = effect.collection, effect.frames[-1].cut
    proof = cut.proof if cut else None
    work = Work(name, effect.held.epoch, False, lambda: iter(effect.frames), dict(effect.types), proof)
    brought = [one for frame in effect.frames for one in ids_of(work, frame)] if effect.parked else []
    if brought and await ports.queue.any_parked(name, brought):
        return ev.WorkDone(name, proof, Unexecuted(()))
    return ev.WorkDone(name, proof, await ports.targets[name].execute(work))


async def _park(ports: Ports, effect: fx.Park) -> ev.Event:
    name = effect.collection
    work = await ports.queue.work(name)
    if work is not None:
        retry_at = ports.now() + ports.limits.park_retry_s_first
        await ports.queue.park(work, effect.parts, int(retry_at * 1e6))
    return ev.Parked(name, await ports.queue.parking(name))


async def _retry(ports: Ports, effect: fx.RetryParked) -> ev.Event:
    name, queue, limits = effect.collection, ports.queue, ports.limits
    if effect.asked:
        await queue.make_due(name, None if None in effect.asked else {seq for seq in effect.asked if seq is not None})
    parts = await queue.due(name, int(ports.now() * 1e6), effect.position)
    if not parts:
        return ev.Retried(name, None, 0, await queue.parking(name))
    tried = await ports.targets[name].retry(await queue.parked_works(name, [part.id for part in parts]))
    applied: list[int] = []
    failed: dict[int, tuple[Failure, int]] = {}
    for part, failure in zip(parts, tried.failures, strict=True):
        if failure is None:
            applied.append(part.id)
        else:
            pause_s = back_off(part.attempts + 1, limits.park_retry_s_first, limits.park_retry_s_max)
            failed[part.id] = failure, int((ports.now() + pause_s) * 1e6)
    await queue.retried(name, applied, failed)
    return ev.Retried(name, tried.state, len(parts), await queue.parking(name))


async def _recount(ports: Ports, effect: fx.Recount) -> ev.Event:
    return ev.Recounted(effect.collection, await ports.targets[effect.collection].recount())


async def _look(ports: Ports, effect: fx.LookAtTarget) -> ev.Event:
    return ev.LookedAtTarget(effect.collection, await ports.targets[effect.collection].look())


TABLE: dict[type[fx.Effect], Callable[..., Awaitable[ev.Event | None]]] = {
    fx.SaveAdapter: _save_adapter,
    fx.OpenSource: _open_source,
    fx.BeginScan: _begin_scan,
    fx.ScanSource: _scan,
    fx.SweepSource: _sweep,
    fx.ReadSource: _read_source,
    fx.WaitSource: _wait_source,
    fx.ReadChunk: _read_chunk,
    fx.NewEpoch: _new_epoch,
    fx.OpenTarget: _open_target,
    fx.SaveTypes: _save_types,
    fx.BeginTransfer: _begin_transfer,
    fx.Execute: _execute,
    fx.ExecuteNow: _execute_now,
    fx.Park: _park,
    fx.RetryParked: _retry,
    fx.Recount: _recount,
    fx.LookAtTarget: _look,
}
_BEFORE_STAGING = (fx.SaveTypes, fx.BeginTransfer)
_OF_SOURCE = (fx.OpenSource, fx.BeginScan, fx.ScanSource, fx.SweepSource, fx.ReadSource, fx.WaitSource)
_OF_TARGET = (fx.OpenTarget, fx.Execute, fx.ExecuteNow, fx.Park, fx.RetryParked, fx.Recount, fx.LookAtTarget)


async def perform(ports: Ports, effect: fx.Effect) -> ev.Event | None:
    """Performs one effect. Errors of the application or the disk come back as the event that tells the engine."""
    try:
        return await TABLE[type(effect)](ports, effect)
    except (ApplicationError, DiskError) as error:
        if isinstance(effect, _OF_SOURCE):
            return ev.SourceFailed(effect.collection, error.line())
        if isinstance(effect, _OF_TARGET):
            return ev.TargetFailed(effect.collection, error.line(), isinstance(error, TargetHeld))
        if isinstance(effect, _BEFORE_STAGING):
            ports.void[effect.collection, type(effect)] = error.line()
            return ev.StageFailed(effect.collection, 0, error.line())
        raise
