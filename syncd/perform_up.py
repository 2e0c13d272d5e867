"""How changes that an auxiliary's application makes are performed there: from the application into the outbox and on
their way (R6, R7, R9-R11, R13). What the primary does with them is in ``perform_intake``.

Each function does its durable work first and returns the event that says so.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TypeVar

from syncd.core import events as ev
from syncd.core import upward_effects as fx
from syncd.core import upward_events as up
from syncd.core.edits import (
    LocalBatch,
    LocalChanges,
    OutboxState,
    Plan,
)
from syncd.core.effects import Effect
from syncd.core.errors import ApplicationError, ApplicationOffline, EditsUnread
from syncd.core.messages import Upload
from syncd.core.model import DataType
from syncd.core.ports import Executed, Unexecuted
from syncd.outside import Ahead, Ports

Result = TypeVar("Result")


class LocalLost(EditsUnread):
    """It is not known what the application changed: nothing but a snapshot may be executed."""

    def __init__(self) -> None:
        super().__init__("it is not known what the application changed", "everything is fetched and compared")


async def know(ports: Ports, name: str, types: Sequence[DataType]) -> None:
    """The outbox knows the types before edits of them come."""
    known = ports.known.setdefault(name, set())
    if not known.issuperset(types):
        await ports.edits.types(name, types)
        known.update(types)


async def read_changes(
    ports: Ports,
    name: str,
    take: fx.TakeUploads | None = None,
    close: bool = False,
    found: Ahead[LocalChanges] | None = None,
) -> up.LocalRead:
    """What the application changed since it was last read becomes durable, one page of it. ``take``: what can be sent
    is taken in the same commit. ``close``: the group that is open ends, although nothing was changed. ``found``: it is
    this, if nobody has read meanwhile. The caller holds ``Ports.alone``."""
    if name in ports.untold:
        raise ApplicationOffline("what became of the edits in it is to be seen first")
    outbox, local = ports.edits, ports.locals[name]
    before = await outbox.load(name)
    changes = await _next_page(ports, name, before.mark, found)
    if changes.lost:
        ports.lost.add(name)
        ports.whole.discard(name)
        return up.LocalRead(name, before, more=False, lost=True)
    (ports.whole.add if changes.drained else ports.whole.discard)(name)
    if changes.mark == before.mark and not changes.edits and not close:
        return up.LocalRead(name, before, more=not changes.drained)
    batch = LocalBatch(changes.edits, changes.drained, changes.mark, ports.wall_us())
    taken: up.UploadsTaken | None = None
    if not changes.drained:
        size_bytes = sum(len(one.base or b"") + len(one.fields or b"") for one in changes.edits)
        ahead = partial(_look_ahead, ports, name, changes.mark)
        state = await ports.kept(outbox.keep(name, batch), size_bytes, ahead)
    elif take is None:
        state = await outbox.keep(name, batch)
    else:
        state, uploads = await outbox.keep_and_take(name, batch, take.after, take.bytes_max)
        taken = _encoded(ports, take, uploads)
    await local.discard(changes.mark)
    return up.LocalRead(name, state, more=not changes.drained, taken=taken)


async def _next_page(ports: Ports, name: str, mark: int, found: Ahead[LocalChanges] | None) -> LocalChanges:
    ahead = ports.local_ahead.pop(name, None)
    for one in (found, ahead):
        if one is not None and one.mark == mark:
            return one.page
    return await ports.locals[name].changes(mark, ports.limits.scan_rows_max)


async def _look_ahead(ports: Ports, name: str, mark: int) -> None:
    """Reads the next page as the wait does (``_wait_local``). What cannot be read is told when it is its turn."""
    with suppress(ApplicationError):
        page = await ports.locals[name].changes(mark, ports.limits.scan_rows_max, 0.0)
        if page.edits or page.drained:
            ports.local_ahead[name] = Ahead(mark, page)


async def once_read(ports: Ports, name: str, act: Callable[[], Awaitable[Result]], anew: bool = False) -> Result:
    """Does it as soon as no changes are unread that are in its way. ``anew``: it does not matter what they were. Raises
    LocalLost, EditsUnread. The caller holds ``Ports.alone``."""
    for _ in range(ports.limits.unread_tries_max):
        try:
            return await act()
        except LocalLost:
            raise
        except EditsUnread:
            while (read := await read_changes(ports, name, close=True)).more:
                pass
            if read.lost and not anew:
                raise LocalLost from None
    return await act()


async def carry_out(
    ports: Ports, name: str, plan: Plan, act: Callable[[], Awaitable[Executed | Unexecuted]]
) -> tuple[Executed | Unexecuted, OutboxState | None]:
    """Does what has a plan, then tells the outbox that it was done. Where it is not known whether it was, the target is
    opened again before any change is read."""
    if not plan.id:
        return await act(), None
    ports.untold.add(name)
    try:
        result = await act()
    except EditsUnread:
        ports.untold.discard(name)
        raise
    outbox = await ports.edits.carried_out(name, result.state) if isinstance(result, Executed) else None
    ports.untold.discard(name)
    return result, outbox


async def _read_local(ports: Ports, effect: fx.ReadLocal) -> ev.Event:
    async with ports.alone(effect.collection):
        return await read_changes(ports, effect.collection, effect.take)


async def _wait_local(ports: Ports, effect: fx.WaitLocal) -> ev.Event:
    """The wait is no reason for others to wait, so that it is seen after it whether what it found still follows. What
    was found in a transaction before a work is told of the same edits after it: the work is not executed where it
    touches an object of theirs (``Plan.mark``)."""
    name = effect.collection
    mark = (await ports.edits.load(name)).mark
    changes = await ports.locals[name].changes(mark, ports.limits.scan_rows_max, ports.limits.source_wait_s_max)
    async with ports.alone(name):
        take = effect.take if ports.over.get(name, 0) <= effect.link else None
        return await read_changes(ports, name, take, found=Ahead(mark, changes))


async def _hold(ports: Ports, effect: fx.HoldUploads) -> None:
    ports.over[effect.collection] = effect.link


async def offer_all(ports: Ports, name: str) -> OutboxState:
    """All that the application holds becomes edits without base. The mark is kept with the last page: what was broken
    off begins anew. The types are described. The caller holds ``Ports.alone``."""
    outbox, local = ports.edits, ports.locals[name]
    page, after = await local.offer(None, ports.limits.scan_rows_max)
    mark = page.mark
    while after is not None:
        await outbox.keep(name, LocalBatch(page.edits, True, None, ports.wall_us(), offered=True))
        page, after = await local.offer(after, ports.limits.scan_rows_max)
    state = await outbox.keep(name, LocalBatch(page.edits, True, mark, ports.wall_us(), offered=True))
    ports.lost.discard(name)
    return state


async def _offer_local(ports: Ports, effect: fx.OfferLocal) -> ev.Event:
    name = effect.collection
    async with ports.alone(name):
        state = await ports.edits.load(name)
        types = {one.id: one for one in effect.types or (await ports.queue.load(name))[1]}
        anew = bool(types) and await ports.locals[name].describe(types, True)
        if state.mark == 0 or name in ports.lost or anew:
            if not types:
                raise ApplicationOffline("what the primary takes of it is not described yet")
            await know(ports, name, tuple(types.values()))
            state = await offer_all(ports, name)
    return up.LocalOffered(name, state)


async def _take(ports: Ports, effect: fx.TakeUploads) -> up.UploadsTaken:
    """Where there is nothing to take, nothing more is to be expected up to the last number there is at that moment: one
    that was given to a group that is no more is given again."""
    name, outbox = effect.collection, ports.edits
    uploads = await outbox.take(name, effect.after, effect.bytes_max)
    if uploads:
        return _encoded(ports, effect, uploads)
    async with ports.alone(name):
        uploads, last = await outbox.take(name, effect.after, effect.bytes_max), (await outbox.load(name)).last
    taken = _encoded(ports, effect, uploads)
    return taken if uploads else replace(taken, last=max(effect.after, last))


def _encoded(ports: Ports, effect: fx.TakeUploads, uploads: Sequence[Upload]) -> up.UploadsTaken:
    adapter, clock_us = ports.adapters[effect.adapter], ports.wall_us()
    frames = tuple(adapter.encode(replace(one, clock_us=clock_us)) for one in uploads)
    last = uploads[-1].runs[-1].number if uploads else effect.after
    return up.UploadsTaken(effect.collection, effect.after, last, frames, effect.adapter)


async def await_more(ports: Ports, groups: int, edits: int = 0) -> None:
    """What became of few groups is kept a little later: what comes meanwhile is kept with the next, in one commit. With
    many edits that spares little, and the device is to know of them before they come down."""
    if groups < ports.limits.settle_together and edits < ports.limits.settle_edits_together:
        await ports.pause(ports.limits.settle_join_s)


async def _settle(ports: Ports, effect: fx.SettleUploads) -> ev.Event:
    name = effect.collection
    ports.settling[name] = effect
    try:
        await await_more(ports, len(effect.verdicts))
        async with ports.alone(name):
            state = await settle_first(ports, name) or await ports.edits.load(name)
    finally:
        ports.settling.pop(name, None)  # numbers may mean others later
    return up.UploadsSettled(name, state)


async def settle_first(ports: Ports, name: str) -> OutboxState | None:
    """Verdicts that are to be kept are kept: what comes down after its verdict leaves at once. None: there are none.
    The caller holds ``Ports.alone``."""
    effect = ports.settling.get(name)
    if effect is None:
        return None
    state = await ports.edits.settle(name, effect.verdicts, effect.position, ports.wall_us())
    ports.settling.pop(name, None)
    return state


async def _renumber(ports: Ports, effect: fx.RenumberOutbox) -> ev.Event:
    async with ports.alone(effect.collection):
        return up.OutboxRenumbered(effect.collection, await ports.edits.renumber(effect.collection, effect.after))


async def _undo(ports: Ports, effect: fx.UndoEdits) -> ev.Event:
    name = effect.collection

    async def restored(plan: Plan) -> Executed:
        return Executed(await ports.locals[name].restore(plan))

    async def undone() -> OutboxState:
        plan = await ports.edits.plan(name, None)
        if not plan.id:
            return await ports.edits.load(name)
        _, outbox = await carry_out(ports, name, plan, lambda: restored(plan))
        return outbox or await ports.edits.load(name)

    async with ports.alone(name):
        return up.EditsUndone(name, await once_read(ports, name, undone))


TABLE: dict[type[Effect], Callable[..., Awaitable[ev.Event | None]]] = {
    fx.ReadLocal: _read_local,
    fx.WaitLocal: _wait_local,
    fx.HoldUploads: _hold,
    fx.OfferLocal: _offer_local,
    fx.TakeUploads: _take,
    fx.SettleUploads: _settle,
    fx.RenumberOutbox: _renumber,
    fx.UndoEdits: _undo,
}
