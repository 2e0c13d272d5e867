"""How each effect of the engine is performed on the ports: a table from effect to function, and what sources and the
store do; targets are in ``perform_down``, changes from auxiliaries in ``perform_up`` and ``perform_intake``.

A function does its durable work first and returns the event that says so; the driver runs it, and so does the
simulation, on twins in memory. An error of the application or the disk becomes an event too: it takes a collection
offline, never the daemon down.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeGuard

from syncd import perform_down, perform_intake, perform_up
from syncd.core import effects as fx
from syncd.core import events as ev
from syncd.core import upward_effects as ux
from syncd.core import upward_events as up
from syncd.core.errors import ApplicationError, ApplicationOffline, DiskError, TargetHeld
from syncd.core.guard import guard_of_comparisons, guard_of_groups
from syncd.core.holding import Batch
from syncd.core.model import Observed
from syncd.core.ports import CollectionState, SourceChanges, SourceState, StoredChunk, SyncStore
from syncd.core.query_builder import build
from syncd.core.upward_effects import StageUpload, UpwardEffect
from syncd.outside import Ahead, Ports


async def _save_adapter(ports: Ports, effect: fx.SaveAdapter) -> ev.Event:
    try:
        await ports.sync_database.set_adapter(effect.device, effect.adapter)
    except DiskError as error:
        return ev.AdapterSaved(effect.device, effect.adapter, error.line())
    return ev.AdapterSaved(effect.device, effect.adapter)


async def _save_name(ports: Ports, effect: fx.SaveName) -> ev.Event | None:
    try:
        await ports.sync_database.set_name(effect.device, effect.name)
    except DiskError:
        return None  # its next Hello says it again
    return ev.NameSaved(effect.device, effect.name)


async def _open_source(ports: Ports, effect: fx.OpenSource) -> ev.Event:
    name, store = effect.collection, ports.sync_store
    before = await store.open_collection(name)
    try:
        opened = await ports.sources[name].open(before.source)
    except ApplicationError as error:
        return ev.SourceFailed(name, error.line(), before)
    gone = await _gone(store, before, opened)
    if gone and name not in ports.shared_again:
        raise ApplicationOffline(
            f"{gone[0]} of collection {name} is gone from its application, or has no primary key any more",
            "put it back, or `syncd share` the collection again: then its objects are deleted everywhere",
        )
    if before.held is not None and before.held.released:
        ports.releasing.add(name)
    types = await store.set_source(name, opened.identity, opened.types)
    await ports.sources[name].number(types)
    if name in ports.writers:
        ports.writers[name].describe(opened.identity, types)
    ports.shared_again.discard(name)
    changed = before.source != opened.identity or tuple(before.types) != types
    if changed:
        ports.cache.clear()  # frames of types that devices are not told of any more
    return ev.SourceOpened(name, opened, await store.open_collection(name), changed)


async def _gone(store: SyncStore, before: CollectionState, opened: SourceState) -> list[str]:
    """Types with objects that are not there (R13). One that took the place of another, as a table that is rebuilt
    under a name for the while does, is not gone: its objects are those of the other."""
    there = {one.name for one in opened.types}
    renamed, known = dict(opened.renamed), {one.name for one in before.types}
    missing = [one for one in before.types if one.name not in there and renamed.get(one.name) not in known]
    return sorted([one.name for one in missing if await store.holds(before.name, one.id)])


async def _keep(ports: Ports, name: str, batch: Batch) -> CollectionState:
    """Nothing is kept while a person's decision is made that was foreseen (``decisions``)."""
    async with ports.alone(name):
        return await ports.sync_store.keep(name, batch, ports.wall_us())


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
    state = await _keep(ports, name, Batch(page.observed, publish=False, loose=True))
    return ev.Scanned(name, effect.type, page.after, state)


async def _sweep(ports: Ports, effect: fx.SweepSource) -> ev.Event:
    name, store = effect.collection, ports.sync_store
    unseen = await store.unseen(name, ports.limits.scan_rows_max)
    if not unseen:
        return ev.Swept(name, 0, await store.open_collection(name))
    state = await store.open_collection(name)
    known = {type_.id for type_ in state.types}
    there = await ports.sources[name].observe([(gone.type, gone.key) for gone in unseen if gone.type in known])
    others = [Observed(gone.type, gone.key, None) for gone in unseen if gone.type not in known]
    guard = guard_of_comparisons(ports.limits_of(name))
    for observed, against in ((there, guard), (others, None)):  # of types that are gone a person was asked before
        batch = Batch(observed, publish=False, loose=True, guard=against, sweep=True)
        state = await _keep(ports, name, batch)
    return ev.Swept(name, len(unseen), state)


async def _release(ports: Ports, name: str) -> None:
    """What is held no longer is observed as it is at this moment; what is read next is published with it, as one group.
    Nothing of the collection is published meanwhile: its source is read by one at a time."""
    if name not in ports.releasing:
        return
    store, source = ports.sync_store, ports.sources[name]
    guard, state = guard_of_groups(ports.limits_of(name)), await store.open_collection(name)
    known = {one.id for one in state.types}
    while state.held is not None and state.held.released:
        objects = await store.held_objects(name, ports.limits.scan_rows_max)
        asked = [(one.type, one.key) for one in objects if one.type in known]
        there = await source.observe(asked) if asked else ()
        gone = (Observed(one.type, one.key, None) for one in objects if one.type not in known)
        batch = Batch([*there, *gone], publish=False, loose=False, guard=guard, release=True)
        state = await _keep(ports, name, batch)
    ports.releasing.discard(name)


async def _read_source(ports: Ports, effect: fx.ReadSource) -> ev.Event:
    ahead = ports.ahead.pop(effect.collection, None)
    if effect.collection in ports.releasing:
        ahead = None  # it was read before what is released
    await _release(ports, effect.collection)
    if ahead is not None and ahead.mark == effect.mark:
        changes = ahead.page
    else:
        changes = await ports.sources[effect.collection].changes(effect.mark, ports.limits.scan_rows_max)
    return await _keep_read(ports, effect, changes)


async def _look_ahead(ports: Ports, name: str, mark: int) -> None:
    """Reads the next page. What cannot be read is told when it is its turn."""
    with suppress(ApplicationError):
        page = await ports.sources[name].changes(mark, ports.limits.scan_rows_max)
        if not (page.lost or page.reshaped):
            ports.ahead[name] = Ahead(mark, page)


async def _wait_source(ports: Ports, effect: fx.WaitSource) -> ev.Event:
    limits = ports.limits
    source = ports.sources[effect.collection]
    await _release(ports, effect.collection)
    changes = await source.changes(effect.mark, limits.scan_rows_max, limits.source_wait_s_max)
    return await _keep_read(ports, fx.ReadSource(effect.collection, effect.mark), changes)


async def _keep_read(ports: Ports, effect: fx.ReadSource, changes: SourceChanges) -> ev.Event:
    name, store = effect.collection, ports.sync_store
    if changes.lost:
        await store.begin_scan(name)  # before the mark moves: a crash between must not lose the comparison
        state = await _keep(ports, name, Batch((), publish=False, loose=True, mark=changes.mark))
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
        guard = guard_of_groups(ports.limits_of(name))
        batch = Batch(changes.observed, changes.drained, effect.loose, changes.mark, effect.end_scan, guard)
        keeping = _keep(ports, name, batch)
        if changes.drained:
            state = await keeping
        else:
            size_bytes = sum(len(one.fields or b"") for one in changes.observed)
            state = await ports.kept(keeping, size_bytes, lambda: _look_ahead(ports, name, changes.mark))
        await ports.sources[name].discard(changes.mark)
    released = state.held is not None and state.held.released
    if released:
        ports.releasing.add(name)
    return ev.SourceRead(name, state, more=released or not changes.drained, lost=False, reshaped=False)


def chunk_at_hand(ports: Ports, effect: fx.ReadChunk) -> ev.ChunkRead | None:
    """The chunk, where nothing need be read for it."""
    cached = ports.cache.get(effect)
    if cached is not None:
        return cached
    stored = ports.sync_store.at_hand(effect.request, ports.limits.chunk_rows_max, ports.limits.frame_bytes)
    return None if stored is None else _chunk(ports, effect, stored)


async def _read_chunk(ports: Ports, effect: fx.ReadChunk) -> ev.Event:
    limits = ports.limits
    if (at_hand := chunk_at_hand(ports, effect)) is not None:
        return at_hand
    try:
        stored = await ports.sync_store.read(effect.request, limits.chunk_rows_max, limits.frame_bytes)
    except DiskError as error:
        return ev.ChunkFailed(effect.request, effect.adapter, error.line())
    return _chunk(ports, effect, stored)


def _chunk(ports: Ports, effect: fx.ReadChunk, stored: StoredChunk) -> ev.ChunkRead:
    frame = ports.adapters[effect.adapter].encode(build(effect.request, stored))
    chunk = ev.ChunkRead(
        effect.request, effect.adapter, stored.last, stored.proof, stored.version, stored.horizon, frame
    )
    if stored.rows or stored.proof is not None:  # else it is of no use, or of a class that is not there
        ports.cache.put(effect, chunk)
    return chunk


async def _new_epoch(ports: Ports, effect: fx.NewEpoch) -> ev.Event:
    try:
        return ev.EpochMoved(await ports.sync_store.new_epoch())
    except DiskError as error:
        return ev.EpochFailed(effect.collection, error.line())


async def _open_class(ports: Ports, effect: fx.OpenClass) -> ev.Event:
    name, selection = effect.collection, effect.selection
    try:
        state = await ports.sync_store.open_class(name, selection, ports.limits.scan_rows_max)
    except DiskError as error:
        return ev.ClassFailed(name, selection, error.line())
    return ev.ClassOpened(name, selection, state)


async def _drop_class(ports: Ports, effect: fx.DropClass) -> ev.Event:
    name, selection = effect.collection, effect.selection
    try:
        state = await ports.sync_store.drop_class(name, selection)
    except DiskError as error:
        return ev.ClassFailed(name, selection, error.line())
    ports.cache.clear()  # another class of this selection may come
    return ev.ClassDropped(name, selection, state)


TABLE: dict[type[fx.Effect], Callable[..., Awaitable[ev.Event | None]]] = {
    fx.SaveAdapter: _save_adapter,
    fx.SaveName: _save_name,
    fx.OpenSource: _open_source,
    fx.BeginScan: _begin_scan,
    fx.ScanSource: _scan,
    fx.SweepSource: _sweep,
    fx.ReadSource: _read_source,
    fx.WaitSource: _wait_source,
    fx.ReadChunk: _read_chunk,
    fx.NewEpoch: _new_epoch,
    fx.OpenClass: _open_class,
    fx.DropClass: _drop_class,
    **perform_down.TABLE,
    **perform_up.TABLE,
    **perform_intake.TABLE,
}
_OF_SOURCE = (fx.OpenSource, fx.BeginScan, fx.ScanSource, fx.SweepSource, fx.ReadSource, fx.WaitSource)


Staging = fx.Stage | StageUpload
Inbound = Staging | fx.SaveTypes | fx.BeginTransfer  # performed in order, those that stage several at a time


def together(following: Inbound, one: Staging) -> TypeGuard[Staging]:
    """Whether what follows may become durable in one commit with a frame."""
    if isinstance(one, fx.Stage):
        return isinstance(following, fx.Stage) and following.collection == one.collection
    return isinstance(following, StageUpload) and _stream(following) == _stream(one)


def _stream(effect: StageUpload) -> tuple[str, str, str]:
    return effect.device, effect.collection, effect.upload.outbox


async def stage(ports: Ports, effects: Sequence[Staging]) -> ev.Event:
    """Frames that go together (``together``) become durable in one commit."""
    if isinstance(effects[0], fx.Stage):
        return await perform_down.stage_frames(ports, [one for one in effects if isinstance(one, fx.Stage)])
    return await perform_intake.stage_uploads(ports, [one for one in effects if isinstance(one, StageUpload)])


_FAILED: dict[type[UpwardEffect], Callable[[str, str], ev.Event]] = {
    ux.ReadLocal: up.LocalFailed,
    ux.WaitLocal: up.LocalFailed,
    ux.OfferLocal: up.LocalFailed,
    ux.TakeUploads: up.TakeFailed,
    ux.SettleUploads: up.SettleFailed,
    ux.RenumberOutbox: up.SettleFailed,
    ux.UndoEdits: up.SettleFailed,
    ux.WriteUploads: up.WriteFailed,
    ux.WriteNow: up.WriteFailed,
    ux.SettleWritten: up.UnsettledWritten,
}


def _failed(effect: UpwardEffect, reason: str) -> ev.Event:
    """What the engine is told of an effect that the application or the disk did not let through."""
    if isinstance(effect, ux.ReadVerdicts):
        return up.VerdictsUnread(effect.device, effect.collection, reason)
    return _FAILED[type(effect)](effect.collection, reason)


async def perform(ports: Ports, effect: fx.Effect) -> ev.Event | None:
    """Performs one effect. Errors of the application or the disk come back as the event that tells the engine."""
    if isinstance(effect, _OF_SOURCE) and not isinstance(effect, fx.ReadSource):
        ports.ahead.pop(effect.collection, None)  # only what is read at once goes on where it was read ahead
    try:
        return await TABLE[type(effect)](ports, effect)
    except (ApplicationError, DiskError) as error:
        if isinstance(effect, _OF_SOURCE):
            return ev.SourceFailed(effect.collection, error.line())
        if isinstance(effect, perform_down.OF_TARGET):
            return ev.TargetFailed(effect.collection, error.line(), isinstance(error, TargetHeld))
        if isinstance(effect, perform_down.BEFORE_STAGING):
            ports.void[effect.collection, type(effect)] = error.line()
            return ev.StageFailed(effect.collection, 0, error.line())
        if isinstance(effect, UpwardEffect):
            return _failed(effect, error.line())
        raise
