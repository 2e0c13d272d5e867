"""How a target's effects are performed: the inbound queue, and the application on an auxiliary (R4, R6, R7, R11).

Where edits are captured, executing is three steps: the outbox plans what the work means for them, the target carries
it out in the work's transaction, the outbox is told. A target that finds changes which nobody has read does nothing;
they are read, and it is planned again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from syncd.core import effects as fx
from syncd.core import events as ev
from syncd.core.edits import EVER, OutboxState, Overlay, Plan
from syncd.core.errors import ApplicationError, DiskError, TargetHeld
from syncd.core.inbound_queue import begins_at, entangled, ids_of
from syncd.core.model import Failure
from syncd.core.ports import Executed, ParkedPart, TargetState, Tried, Unexecuted, Work
from syncd.core.settings import back_off
from syncd.core.target_state import executed
from syncd.outside import Ports
from syncd.perform_up import LocalLost, carry_out, know, offer_all, once_read, read_changes, settle_first

Result = TypeVar("Result")


async def _open_target(ports: Ports, effect: fx.OpenTarget) -> ev.Event:
    name = effect.collection
    ports.local_ahead.pop(name, None)  # it may be another
    try:
        state = await ports.targets[name].open()
    except (ApplicationError, DiskError) as error:
        parked = (await ports.queue.load(name))[2]
        return ev.TargetFailed(name, error.line(), isinstance(error, TargetHeld), parked)
    outbox: OutboxState | None = None
    if name in ports.locals:  # before anything else: a crash may have come between the execution and this
        async with ports.alone(name):
            outbox = await ports.edits.carried_out(name, state)
            ports.untold.discard(name)
    transfer, types, parked = await ports.queue.load(name)
    if transfer is not None and transfer.cut and executed(transfer, state):
        # A crash between the commit and this: the frames were executed, and must not come first in the next work.
        await ports.queue.executed(name, state.position)
        transfer, types, parked = await ports.queue.load(name)
    return ev.TargetOpened(name, state, transfer, {one.id: one for one in types}, parked, outbox)


async def _save_types(ports: Ports, effect: fx.SaveTypes) -> None:
    await ports.queue.types(effect.collection, effect.types)
    if effect.collection in ports.locals:
        await know(ports, effect.collection, effect.types)
    ports.void.pop((effect.collection, fx.SaveTypes), None)


async def _begin_transfer(ports: Ports, effect: fx.BeginTransfer) -> None:
    await ports.queue.begin(effect.collection, effect.begin, effect.types)
    ports.void.pop((effect.collection, fx.BeginTransfer), None)


async def stage_frames(ports: Ports, effects: Sequence[fx.Stage]) -> ev.Event:
    """Frames of one collection that arrived while the last commit ran become durable in one commit. Where one cannot
    be kept, those after it are void as well."""
    name = effects[0].collection
    for condition in BEFORE_STAGING:
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
    ends_at = work.proof.seq if work.proof else 0
    if ends_at > effect.settled and work.skip and (parts := await ports.aside(lambda: entangled(work))):
        return ev.WorkDone(name, work.proof, Unexecuted(parts))
    try:
        result, outbox = await _planned(ports, work, held)
    except LocalLost:
        ports.void[name, fx.BeginTransfer] = "it is not known what the application changed: everything is fetched"
        await ports.queue.clear(name)
        return ev.WorkVoid(name, lost=True)
    if isinstance(result, Executed) and work.proof is not None:
        await ports.queue.executed(name, work.proof.seq)
    return ev.WorkDone(name, work.proof, result, outbox)


async def _execute_now(ports: Ports, effect: fx.ExecuteNow) -> ev.Event:
    name, cut = effect.collection, effect.frames[-1].cut
    proof = cut.proof if cut else None
    epoch, types = effect.held.epoch, dict(effect.types)
    work = Work(name, epoch, False, lambda: iter(effect.frames), types, proof, at_hand=True, lazily=effect.lazily)
    brought = [one for frame in effect.frames for one in ids_of(work, frame)] if effect.parked else []
    if brought and await ports.queue.any_parked(name, brought):
        return ev.WorkDone(name, proof, Unexecuted(()))
    try:
        result, outbox = await _planned(ports, work, effect.held)
    except LocalLost:
        return ev.WorkDone(name, proof, Unexecuted(()))  # the long road begins anew
    return ev.WorkDone(name, proof, result, outbox)


async def _planned(ports: Ports, work: Work, held: TargetState) -> tuple[Executed | Unexecuted, OutboxState | None]:
    """Executes a work with what the outbox plans for it. Raises LocalLost."""
    name = work.collection
    if name not in ports.locals:
        return await ports.targets[name].execute(work), None

    offers = work.snapshot and name in ports.merging and not held.epoch

    async def tried() -> tuple[Executed | Unexecuted, OutboxState | None]:
        nonlocal offers
        if name in ports.lost and not work.snapshot:
            raise LocalLost
        if offers or name in ports.lost:
            await ports.locals[name].describe(work.types)
            await offer_all(ports, name)
            offers = False
            if held.epoch:  # else a snapshot that agrees with what was counted would leave what is not known
                await ports.targets[name].recount(await ports.edits.overlay(name))
        plan = await ports.edits.plan(name, work)
        return await carry_out(ports, name, plan, lambda: ports.targets[name].execute(replace(work, plan=plan)))

    async with ports.alone(name):
        if not work.at_hand:
            await settle_first(ports, name)
        await know(ports, name, tuple(work.types.values()))
        result, outbox = await once_read(ports, name, tried, anew=work.snapshot)
        if isinstance(result, Executed):
            _stands_at(ports, name, result.state.position)
        if not work.at_hand:  # verdicts that came meanwhile wait no longer
            outbox = await settle_first(ports, name) or outbox
        return result, outbox


def _stands_at(ports: Ports, name: str, position: int) -> None:
    """Verdicts that wait to be kept are kept with the position that the target has by now: by that is told whether what
    was accepted came down."""
    effect = ports.settling.get(name)
    if effect is not None and effect.position < EVER:
        ports.settling[name] = replace(effect, position=position)


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
    works = await queue.parked_works(name, [part.id for part in parts])
    tried = await _tried(ports, name, parts, works)
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


async def _tried(ports: Ports, name: str, parts: tuple[ParkedPart, ...], works: tuple[Work, ...]) -> Tried:
    """Parts with an object above which an edit stands wait until it is settled: what is tried has no plan for it."""
    target = ports.targets[name]
    if name not in ports.locals:
        return await target.retry(works)

    async def tried() -> Tried:
        waits = [await ports.edits.touches(name, work) for work in works]
        free = [work for work, waiting in zip(works, waits, strict=True) if not waiting]
        look = Plan(0, (await ports.edits.load(name)).mark)
        done = await target.retry([replace(work, plan=look) for work in free])
        failures = iter(done.failures)
        return Tried(
            done.state,
            tuple(part.failure if waiting else next(failures) for part, waiting in zip(parts, waits, strict=True)),
        )

    async with ports.alone(name):
        return await once_read(ports, name, tried)


async def _recount(ports: Ports, effect: fx.Recount) -> ev.Event:
    name = effect.collection
    return ev.Recounted(name, await _counted(ports, name, ports.targets[name].recount))


async def _look(ports: Ports, effect: fx.LookAtTarget) -> ev.Event:
    name = effect.collection
    if name in ports.locals and (name not in ports.whole or await _edits_wait(ports, name)):
        async with ports.alone(name):  # edits go first, and are not held up by a count
            await read_changes(ports, name)  # an error tells that the target is not in its place
        return ev.LookedAtTarget(name)
    try:
        return ev.LookedAtTarget(name, await _counted(ports, name, ports.targets[name].look))
    except LocalLost:
        return ev.LookedAtTarget(name)  # it cannot be told before everything was fetched


async def _edits_wait(ports: Ports, name: str) -> bool:
    """Whether edits are to travel or to come back before all is counted; not for ever."""
    if (await ports.edits.load(name)).pending:
        since = ports.uncounted.setdefault(name, ports.now())
        if ports.now() - since < ports.limits.count_s_max:
            return True
    ports.uncounted.pop(name, None)
    return False


async def _counted(ports: Ports, name: str, count: Callable[[Overlay | None], Awaitable[Result]]) -> Result:
    """What is held is counted without the edits that stand above it. A page of changes tells objects as they are, not
    as they were at its mark: where only some were read, the others are first, so that nothing is counted twice."""
    if name not in ports.locals:
        return await count(None)

    async def counted() -> Result:
        while name not in ports.whole:
            if (await read_changes(ports, name, close=True)).lost:
                raise LocalLost
        return await count(await ports.edits.overlay(name))

    async with ports.alone(name):
        return await once_read(ports, name, counted)


async def _sync(ports: Ports, effect: fx.SyncTarget) -> ev.Event:
    try:
        await ports.targets[effect.collection].sync()
    except (ApplicationError, DiskError) as error:
        return ev.TargetSynced(effect.collection, error.line())
    return ev.TargetSynced(effect.collection)


async def _join_reports(ports: Ports, effect: fx.JoinReports) -> ev.Event:
    await ports.pause(ports.limits.report_join_s)
    return ev.ReportsJoined(effect.collection)


TABLE: dict[type[fx.Effect], Callable[..., Awaitable[ev.Event | None]]] = {
    fx.OpenTarget: _open_target,
    fx.SaveTypes: _save_types,
    fx.BeginTransfer: _begin_transfer,
    fx.Execute: _execute,
    fx.ExecuteNow: _execute_now,
    fx.Park: _park,
    fx.RetryParked: _retry,
    fx.Recount: _recount,
    fx.LookAtTarget: _look,
    fx.JoinReports: _join_reports,
    fx.SyncTarget: _sync,
}
BEFORE_STAGING = (fx.SaveTypes, fx.BeginTransfer)
OF_TARGET = (fx.OpenTarget, fx.Execute, fx.ExecuteNow, fx.Park, fx.RetryParked, fx.Recount, fx.LookAtTarget)
