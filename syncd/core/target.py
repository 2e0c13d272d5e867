"""A collection on an auxiliary, from the inbound queue to the application, as a table (R2-R7, R13, R14; claim 20f).

Frames are staged while the application is executed, offline or held; complete cuts are executed joined; what fails
is parked in the inbound queue before the rest is executed, so that a crash at any point repeats work and loses none.
"""

from __future__ import annotations

from collections.abc import Callable

from syncd.core import direct, parked
from syncd.core.effects import (
    BeginTransfer,
    Effect,
    Execute,
    LookAtTarget,
    OpenTarget,
    Park,
    SaveTypes,
)
from syncd.core.errors import InvariantBroken, OrderError
from syncd.core.events import (
    Event,
    LookedAtTarget,
    Parked,
    Recounted,
    ReportsJoined,
    Retried,
    RetryAsked,
    Staged,
    StageFailed,
    TargetFailed,
    TargetOpened,
    TargetSynced,
    Tick,
    WorkDone,
    WorkVoid,
)
from syncd.core.frozen import replace
from syncd.core.inbound_queue import Arrival, arrival
from syncd.core.messages import Begin, Objects, Types
from syncd.core.model import Proof
from syncd.core.onward import and_proceed, and_report, check, proceed
from syncd.core.ports import Executed, Parking, Transfer
from syncd.core.settings import Limits, back_off
from syncd.core.target_state import (
    Heal,
    Step,
    Target,
    TargetPhase,
    credit,
    epoch,
    executed,
    joined,
    leaves_unsynced,
    report,
    settled,
    silenced,
    synced,
)


def start(name: str, limits: Limits) -> Step:
    return Target(name, limits), [OpenTarget(name)]


# ---------------------------------------------------------------- the link


def link_open(target: Target, peer: str, now: float) -> Step:
    """The primary welcomed us."""
    target = replace(target, peer=peer, following=False, begun=False, proof=None, told=None, untold=False, moved_at=now)
    target = replace(target, arrived_bytes=0, durable_bytes=0, credit_bytes=0)
    return and_report(target, now, [])


def link_down(target: Target) -> Target:
    """What was handed to staging is staged all the same; the next Follow waits for it."""
    return silenced(replace(target, peer="", following=False, begun=False, buffer=()))


def _begin(target: Target, begin: Begin, raw: bytes, now: float) -> Step:
    if not target.following or target.begun:
        raise OrderError(f"Begin for {target.name} was not asked for")
    if target.heal is Heal.FETCHING and not begin.snapshot:  # of a Follow that did not ask for everything yet
        return and_proceed(replace(target, following=False), now, [])
    old = target.transfer
    fresh = begin.snapshot and begin.cursor == begin.base
    cut = 0 if fresh or old is None or old.cut > begin.cursor else old.cut  # beyond it: of what is restored here
    transfer = Transfer(begin.epoch, begin.snapshot, begin.base, begin.floor, begin.cursor, cut)
    told = _told(target) if fresh else frozenset[int]()
    types = {id_: one for id_, one in target.types.items() if id_ in told} if told else target.types
    target = replace(
        target,
        transfer=transfer,
        types=types,
        received=begin.cursor,
        head=begin.head,
        begun=True,
        fetching=begin.reason or (target.fetching if begin.snapshot else ""),
        cuts=() if fresh else target.cuts,
        parked=Parking() if fresh else target.parked,
        proof=None if fresh else target.proof,
        stuck=target.stuck and not fresh,
    )
    return target, [BeginTransfer(target.name, begin, told)]


def _told(target: Target) -> frozenset[int]:
    """The types that the primary named, and those of tables that it names no more: of these all is to go."""
    names = {target.types[id_].name for id_ in target.named}
    return target.named | {id_ for id_, one in target.types.items() if one.name not in names}


def _objects(target: Target, frame: Objects, raw: bytes, now: float) -> Step:
    state = target.state
    target = replace(target, arrived_bytes=target.arrived_bytes + len(raw))
    if target.arrived_bytes - target.durable_bytes > target.limits.unsettled_bytes_max:  # far beyond the window
        raise OrderError(f"Objects of {target.name} come faster than they were credited")
    if not target.begun:  # of the transfer that our latest Follow ends
        return credit(replace(target, durable_bytes=target.durable_bytes + len(raw)))
    if not target.types.keys() >= set(frame.types):
        raise OrderError(f"Objects of {target.name} are of a type that was not described")
    match arrival(target.received, frame):
        case Arrival.GAP:
            raise OrderError(f"Objects of {target.name} begin at {frame.first}, expected {target.received}")
        case Arrival.REPEAT:
            return credit(replace(target, durable_bytes=target.durable_bytes + len(raw)))
        case Arrival.NEXT if frame.last > target.received:
            target = replace(target, moved_at=now)
        case Arrival.NEXT:
            pass  # it only proves
    at_rest = state is not None and state.epoch == epoch(target) and not target.cuts
    if not len(frame) and frame.cut and at_rest and state and frame.cut.seq == state.position == target.received:
        target = replace(
            target,
            proof=frame.cut.proof,
            durable_bytes=target.durable_bytes + len(raw),
        )
        target, effects = credit(target)
        return check(target, now, effects)
    return direct.take(target, frame, raw)


def described(target: Target, types: Types) -> Step:
    """The primary says what its objects are. It does so again when it is followed again. Raises OrderError."""
    if not target.following:
        return target, []
    if len(target.types.keys() | {one.id for one in types.types}) > target.limits.types_max:
        raise OrderError(f"{target.name} has more than {target.limits.types_max} types")
    known = {one.id: one for one in types.types}
    target = replace(target, types={**target.types, **known}, named=frozenset(known))
    return target, [SaveTypes(target.name, types.types)]


def message(target: Target, received: Begin | Objects, raw: bytes, now: float) -> Step:
    """A message of the primary's. Raises OrderError."""
    if isinstance(received, Begin):
        return _begin(target, received, raw, now)
    return _objects(target, received, raw, now)


def fetch_again(target: Target, now: float) -> Step:
    """It is not known what the application changed: everything is fetched and compared (R13)."""
    if target.state is None or not target.state.epoch:
        return target, []
    asked = target.following and not target.begun  # the answer comes first, and is passed over
    return and_proceed(replace(target, heal=Heal.FETCHING, following=asked, begun=False), now, [])


# ---------------------------------------------------------------- the table


def _opened(target: Target, event: TargetOpened, now: float) -> Step:
    # Then the inbound queue was asked before it knew all.
    underway = target.begun or target.staging > 0 or target.overtaken
    transfer, state = target.transfer if underway else event.transfer, event.state
    waits = transfer is not None and transfer.cut and not executed(transfer, state)
    cuts = target.cuts
    if not cuts and waits and transfer is not None:
        cuts = (Proof(transfer.cut, b"", 0),)
    cursor = transfer.cursor if transfer else state.position
    target = replace(
        target,
        phase=TargetPhase.READY,
        state=state,
        transfer=transfer,
        types={**event.types, **target.types},
        received=target.received if underway else cursor,
        cuts=cuts,
        parked=event.parked,
        asked=frozenset((None,)) if event.parked.parts else frozenset(),
        barren=-1,
        reason="",
        looked_at=now,
        unsynced=False,
    )
    return and_report(target, now, [])


def _staged(target: Target, event: Staged, now: float) -> Step:
    if target.transfer is None:  # what they were staged for is void, and they with it
        return and_proceed(settled(target, event.frames, event.staged_bytes), now, [])
    cut = event.cuts[-1].seq if event.cuts else target.transfer.cut
    base = event.cuts[-1].seq if event.cuts else target.transfer.base
    transfer = replace(target.transfer, cursor=event.cursor, cut=cut, base=base)
    target = settled(target, event.frames, event.staged_bytes)
    target = replace(target, transfer=transfer, cuts=target.cuts + event.cuts, overtaken=True, moved_at=now)
    target, effects = credit(target)
    return and_proceed(target, now, effects)


def _stage_failed(target: Target, event: StageFailed, now: float) -> Step:
    """What came cannot be kept: the link's frames are void, the primary will be asked again after a pause."""
    return _offline(_unstaged(target, event), event.reason, now)


def _unstaged(target: Target, event: StageFailed) -> Target:
    return replace(settled(target, event.frames, 0), following=False, begun=False)


def _stage_failed_meanwhile(target: Target, event: StageFailed, now: float) -> Step:
    return _unstaged(target, event), []


def _done_now(target: Target, event: WorkDone, now: float) -> Step:
    """Frames were executed as they came, or failed and are staged."""
    target = replace(target, phase=TargetPhase.READY, moved_at=now)
    if not isinstance(event.result, Executed):
        target, effects = direct.failed(target)
        return and_proceed(target, now, effects)
    unsynced = leaves_unsynced(target, event.result)
    target = replace(target, state=event.result.state, proof=event.proof, attempt=0, unsynced=unsynced)
    target, effects = direct.done(target)
    target, credits = credit(target)
    if target.phase is not TargetPhase.READY:
        target, said = report(target)
        return target, effects + credits + said
    return check(target, now, effects + credits)


def _done(target: Target, event: WorkDone, now: float) -> Step:
    if target.direct:
        return _done_now(target, event, now)
    if not isinstance(event.result, Executed):
        reached = event.proof.seq if event.proof else 0
        return replace(target, phase=TargetPhase.PARKING, settled=reached), [Park(target.name, event.result.parts)]
    proof, transfer, heal = event.proof, target.transfer, target.heal
    if heal is Heal.FETCHING and transfer is not None and transfer.snapshot:
        heal = Heal.FETCHED
    cuts = tuple(cut for cut in target.cuts if cut.seq > (target.aim if proof is None else proof.seq))
    if transfer is not None and not cuts:
        transfer = replace(transfer, snapshot=transfer.snapshot and not transfer.cut)
    target = replace(
        target,
        phase=TargetPhase.READY,
        state=event.result.state,
        transfer=transfer,
        cuts=cuts,
        proof=proof or target.proof,
        heal=heal,
        healed_at=now,
        attempt=0,
        stuck=False,
        cautious=False,
        fetching="",
        moved_at=now,
        unsynced=leaves_unsynced(target, event.result),
    )
    target, effects = credit(target)
    return check(target, now, effects)


def _recounted(target: Target, event: Recounted, now: float) -> Step:
    return check(replace(target, phase=TargetPhase.READY, state=event.state), now, [])


def _void(target: Target, event: WorkVoid, now: float) -> Step:
    target = replace(target, phase=TargetPhase.OPENING, transfer=None, cuts=(), parked=Parking(), proof=None)
    heal = Heal.FETCHING if event.lost else target.heal
    target = replace(target, following=False, begun=False, overtaken=False, heal=heal)
    return target, [OpenTarget(target.name)]


def _parked(target: Target, event: Parked, now: float) -> Step:
    state = target.state
    if state is None:
        raise InvariantBroken(f"{target.name} parked a part before its target was open")
    return replace(target, phase=TargetPhase.EXECUTING, parked=event.parked), [
        Execute(target.name, target.settled, state)
    ]


def _retried(target: Target, event: Retried, now: float) -> Step:
    target = parked.retried(target, event)
    going, effects = proceed(target, now)
    if going.phase is TargetPhase.RETRYING and not parked.tell(target, now):
        return going, effects
    return check(replace(target, reported_at=now), now, [])


def _retry_asked(target: Target, event: RetryAsked, now: float) -> Step:
    asked = {event.seq} if target.parked.parts else set()
    return and_proceed(replace(target, asked=target.asked | asked), now, [])


def _offline(target: Target, reason: str, now: float, phase: TargetPhase = TargetPhase.OFFLINE) -> Step:
    limits = target.limits
    pause_s = back_off(target.attempt, limits.offline_retry_s_first, limits.offline_retry_s_max)
    target = replace(target, phase=phase, reason=reason, attempt=target.attempt + 1, retry_at=now + pause_s)
    return report(target)


def _failed(target: Target, event: TargetFailed, now: float) -> Step:
    effects: list[Effect] = []
    if target.direct or target.buffer:
        target, effects = direct.failed(target)
    if target.state is None and event.parked is not None:
        target = replace(target, parked=event.parked)  # an application that is away hides no failed groups (R7)
    target = replace(target, stuck=event.held)
    target, more = _offline(target, event.reason, now, TargetPhase.HELD if event.held else TargetPhase.OFFLINE)
    return target, effects + more


def _tick_offline(target: Target, event: Tick, now: float) -> Step:
    if now < target.retry_at:
        return target, []
    return replace(target, phase=TargetPhase.OPENING, overtaken=False), [OpenTarget(target.name)]


def _tick_ready(target: Target, event: Tick, now: float) -> Step:
    if target.heal is Heal.FETCHED and now - target.healed_at >= target.limits.heal_s:
        target = replace(target, heal=Heal.NONE)
    target, effects = proceed(target, now)
    if target.phase is TargetPhase.READY and now - target.looked_at >= target.limits.target_look_s:
        target = replace(target, phase=TargetPhase.LOOKING, looked_at=now)
        effects = [*effects, LookAtTarget(target.name)]
    return target, effects


def _looked(target: Target, event: LookedAtTarget, now: float) -> Step:
    target = replace(target, phase=TargetPhase.READY)
    if event.state is not None:
        heal = Heal.RECOUNTED if target.heal is Heal.NONE else target.heal  # the look counted
        target = replace(target, state=event.state, heal=heal)
    target, effects = direct.go_on(target)
    if target.phase is not TargetPhase.READY:  # it is compared once that is done
        return target, effects
    return and_proceed(target, now, effects) if event.state is None else check(target, now, effects)


def _tick_working(target: Target, event: Tick, now: float) -> Step:
    """A work may take long: the primary is told that it goes on."""
    if now - target.moved_at < target.limits.report_s:
        return target, []
    return report(replace(target, moved_at=now))


def _reports_joined(target: Target, event: ReportsJoined, now: float) -> Step:
    return joined(target)


def _synced(target: Target, event: TargetSynced, now: float) -> Step:
    return synced(target, durable=not event.failed)


_P = TargetPhase
_RESTING = (_P.OFFLINE, _P.HELD)
_WORKING = (_P.OPENING, _P.EXECUTING, _P.PARKING, _P.RETRYING, _P.RECOUNTING, _P.LOOKING)
# (phase, event) -> what happens; a missing pair is a fault of ours
TABLE: dict[tuple[TargetPhase, type[Event]], Callable[..., Step]] = {
    (_P.OPENING, TargetOpened): _opened,
    (_P.EXECUTING, WorkDone): _done,
    (_P.EXECUTING, WorkVoid): _void,
    (_P.PARKING, Parked): _parked,
    (_P.RETRYING, Retried): _retried,
    (_P.RECOUNTING, Recounted): _recounted,
    (_P.LOOKING, LookedAtTarget): _looked,
    (_P.READY, Tick): _tick_ready,
    **{(phase, Tick): _tick_offline for phase in _RESTING},
    **{(phase, Tick): _tick_working for phase in _WORKING},
    **{(phase, Staged): _staged for phase in _P},
    (_P.READY, StageFailed): _stage_failed,
    **{(phase, StageFailed): _stage_failed_meanwhile for phase in (*_WORKING, *_RESTING)},
    **{(phase, RetryAsked): _retry_asked for phase in _P},
    **{(phase, ReportsJoined): _reports_joined for phase in _P},
    **{(phase, TargetSynced): _synced for phase in _P},
    **{(phase, TargetFailed): _failed for phase in _WORKING},
}


def step(target: Target, event: Event, now: float) -> Step:
    """The target after the event, and what is to be done."""
    handle = TABLE.get((target.phase, type(event)))
    if handle is None:
        raise InvariantBroken(f"target {target.name} in phase {target.phase.value} got {type(event).__name__}")
    return handle(target, event, now)
