"""A collection on an auxiliary, from the inbound queue to the application, as a table (R2-R7, R13, R14; claim 20f).

Frames are staged while the application is executed, offline or held; complete cuts are executed joined; what fails
is parked in the inbound queue before the rest is executed, so that a crash at any point repeats work and loses none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from syncd.core import direct
from syncd.core.effects import (
    BeginTransfer,
    Effect,
    Execute,
    LookAtTarget,
    OpenTarget,
    Park,
    Recount,
    RetryParked,
    SaveTypes,
    Send,
)
from syncd.core.errors import InvariantBroken, OrderError
from syncd.core.events import (
    Event,
    LookedAtTarget,
    Parked,
    Recounted,
    Retried,
    RetryAsked,
    Staged,
    StageFailed,
    TargetFailed,
    TargetOpened,
    Tick,
    WorkDone,
    WorkVoid,
)
from syncd.core.inbound_queue import Arrival, arrival
from syncd.core.messages import Begin, Objects, Types
from syncd.core.model import Proof
from syncd.core.ports import Executed, Transfer
from syncd.core.settings import Limits, back_off
from syncd.core.target_state import Heal, Step, Target, TargetPhase, credit, follow, left_behind, report


def start(name: str, limits: Limits) -> Step:
    return Target(name, limits), [OpenTarget(name)]


def proceed(target: Target, now: float) -> Step:
    """What a ready target does next: execute what waits, ask for more, try parked parts again."""
    state = target.state
    if target.phase is not TargetPhase.READY or state is None:
        return target, []
    if target.cuts:
        execute = Execute(target.name, 0, state)
        return replace(target, phase=TargetPhase.EXECUTING, aim=target.cuts[-1].seq), [execute]
    if target.begun and not target.staging and left_behind(target, state):
        target = replace(target, following=False, begun=False)  # an older copy is in its place: ask from there
    if target.peer and not target.following and not target.staging:
        ask: Effect = Send(target.peer, follow(target))
        asking, credits = credit(replace(target, following=True, begun=False))
        return asking, [ask, *credits]
    now_us = int(now * 1e6)
    due = [part for part in target.parked if part.id in target.asked or part.retry_at_us <= now_us]
    # What was parked beyond what the application holds (it is an older copy) waits for the changes before it.
    same = target.transfer is not None and target.transfer.epoch == state.epoch
    due = [part for part in due if same and max(part.seqs) <= state.position]
    if due and (target.begun or not target.peer):
        retry = RetryParked(target.name, due[0].id, due[0].attempts)
        return replace(target, phase=TargetPhase.RETRYING, asked=target.asked - {due[0].id}), [retry]
    return target, []


def _and_proceed(target: Target, now: float, effects: list[Effect]) -> Step:
    target, more = proceed(target, now)
    return target, effects + more


# ---------------------------------------------------------------- the link


def link_open(target: Target, peer: str, now: float) -> Step:
    """The primary welcomed us."""
    target = replace(target, peer=peer, following=False, begun=False, moved_at=now)
    target = replace(target, arrived_bytes=0, durable_bytes=0, credit_bytes=0)
    return _and_proceed(target, now, report(target))


def link_down(target: Target) -> Target:
    """What was handed to staging is staged all the same; the next Follow waits for it."""
    return replace(target, peer="", following=False, begun=False, buffer=())


def _begin(target: Target, begin: Begin, raw: bytes, now: float) -> Step:
    if not target.following or target.begun:
        raise OrderError(f"Begin for {target.name} was not asked for")
    old = target.transfer
    fresh = begin.snapshot and begin.cursor == begin.base
    cut = 0 if fresh or old is None or old.cut > begin.cursor else old.cut  # beyond it: of what is restored here
    transfer = Transfer(begin.epoch, begin.snapshot, begin.base, begin.floor, begin.cursor, cut)
    target = replace(
        target,
        transfer=transfer,
        received=begin.cursor,
        head=begin.head,
        begun=True,
        cuts=() if fresh else target.cuts,
        parked=() if fresh else target.parked,
        proof=None if fresh else target.proof,
    )
    return target, [BeginTransfer(target.name, begin)]


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
        case Arrival.NEXT:
            pass
    settled = state is not None and state.epoch == _epoch(target) and not target.cuts
    if not len(frame) and frame.cut and settled and state and frame.cut.seq == state.position == target.received:
        target = replace(
            target,
            proof=Proof(frame.cut.seq, frame.cut.digest, frame.cut.objects),
            durable_bytes=target.durable_bytes + len(raw),
        )
        target, effects = credit(target)
        return _check(target, now, effects)
    return direct.take(target, frame, raw)


def _epoch(target: Target) -> str:
    return target.transfer.epoch if target.transfer else ""


def described(target: Target, types: Types) -> Step:
    """The primary says what its objects are."""
    known = {one.id: one for one in types.types}
    return replace(target, types={**target.types, **known}), [SaveTypes(target.name, types.types)]


def message(target: Target, received: Begin | Objects, raw: bytes, now: float) -> Step:
    """A message of the primary's. Raises OrderError."""
    if isinstance(received, Begin):
        return _begin(target, received, raw, now)
    return _objects(target, received, raw, now)


# ---------------------------------------------------------------- the table


def _opened(target: Target, event: TargetOpened, now: float) -> Step:
    underway = target.begun or target.staging > 0  # then the inbound queue was asked before it knew all
    transfer, state = target.transfer if underway else event.transfer, event.state
    waits = transfer is not None and transfer.cut and (transfer.epoch != state.epoch or transfer.cut > state.position)
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
        asked=frozenset(part.id for part in event.parked),
        reason="",
        looked_at=now,
    )
    return _ready(target, now, report(target))


def _staged(target: Target, event: Staged, now: float) -> Step:
    if target.transfer is None:  # what they were staged for is void, and they with it
        return _and_proceed(_settled(target, event.frames, event.staged_bytes), now, [])
    cut = event.cuts[-1].seq if event.cuts else target.transfer.cut
    base = event.cuts[-1].seq if event.cuts else target.transfer.base
    transfer = replace(target.transfer, cursor=event.cursor, cut=cut, base=base)
    target = _settled(target, event.frames, event.staged_bytes)
    again = target.again and not transfer.snapshot  # a link that ends before any of it is kept must ask once more
    target = replace(target, transfer=transfer, cuts=target.cuts + event.cuts, again=again, moved_at=now)
    target, effects = credit(target)
    return _and_proceed(target, now, effects)


def _stage_failed(target: Target, event: StageFailed, now: float) -> Step:
    """What came cannot be kept: the link's frames are void, the primary will be asked again after a pause."""
    return _offline(_unstaged(target, event), event.reason, now)


def _unstaged(target: Target, event: StageFailed) -> Target:
    return replace(_settled(target, event.frames, 0), following=False, begun=False)


def _settled(target: Target, frames: int, staged_bytes: int) -> Target:
    """Frames handed to staging are durable, or void: the window is free of them either way, as soon as that is known
    of all."""
    staging, waiting_bytes = target.staging - frames, max(0, target.staging_bytes - staged_bytes)
    void_bytes = 0 if staging else waiting_bytes
    return replace(
        target,
        staging=staging,
        staging_bytes=waiting_bytes - void_bytes,
        durable_bytes=target.durable_bytes + staged_bytes + void_bytes,
    )


def _stage_failed_meanwhile(target: Target, event: StageFailed, now: float) -> Step:
    return _unstaged(target, event), []


def _done_now(target: Target, event: WorkDone, now: float) -> Step:
    """Frames were executed as they came, or failed and are staged."""
    target = replace(target, phase=TargetPhase.READY, moved_at=now)
    if not isinstance(event.result, Executed):
        target, effects = direct.failed(target)
        return _and_proceed(target, now, effects)
    target = replace(target, state=event.result.state, proof=event.proof, attempt=0)
    target, effects = direct.done(target)
    target, credits = credit(target)
    if target.phase is not TargetPhase.READY:
        return target, effects + credits + report(target)
    return _check(target, now, effects + credits)


def _done(target: Target, event: WorkDone, now: float) -> Step:
    if target.direct:
        return _done_now(target, event, now)
    if not isinstance(event.result, Executed):
        settled = event.proof.seq if event.proof else 0
        return replace(target, phase=TargetPhase.PARKING, settled=settled), [Park(target.name, event.result.parts)]
    proof, transfer = event.proof, target.transfer
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
        attempt=0,
        cautious=False,
        moved_at=now,
    )
    target, effects = credit(target)
    return _check(target, now, effects)


def _ready(target: Target, now: float, effects: list[Effect]) -> Step:
    """A target that is ready again: a proof may have come meanwhile."""
    if target.heal is Heal.NONE and target.differs:
        return _check(target, now, effects)
    return _and_proceed(target, now, effects)


def _check(target: Target, now: float, effects: list[Effect]) -> Step:
    """Compares the checksums at the cut (R14): first count again, then fetch everything again, then say so. A target
    that is at work compares when it is ready again."""
    if target.phase is not TargetPhase.READY or not target.differs:
        if target.match:
            target = replace(target, heal=Heal.NONE, reason="")
        return _and_proceed(target, now, effects + report(target))
    if target.heal is Heal.NONE:
        target = replace(target, phase=TargetPhase.RECOUNTING, heal=Heal.RECOUNTED)
        return target, [*effects, Recount(target.name)]
    if target.heal is Heal.RECOUNTED:
        target = replace(target, heal=Heal.FETCHED, following=False, begun=False, again=True)
        return _and_proceed(target, now, effects + report(target))
    reason = "what the application holds is not what was sent: its own triggers or programs change it"
    target = replace(target, reason=reason)
    return _and_proceed(target, now, effects + report(target))


def _recounted(target: Target, event: Recounted, now: float) -> Step:
    return _check(replace(target, phase=TargetPhase.READY, state=event.state), now, [])


def _void(target: Target, event: WorkVoid, now: float) -> Step:
    target = replace(
        target, phase=TargetPhase.OPENING, transfer=None, cuts=(), parked=(), proof=None, following=False, begun=False
    )
    return target, [OpenTarget(target.name)]


def _parked(target: Target, event: Parked, now: float) -> Step:
    state = target.state
    if state is None:
        raise InvariantBroken(f"{target.name} parked a part before its target was open")
    return replace(target, phase=TargetPhase.EXECUTING, parked=event.parked), [
        Execute(target.name, target.settled, state)
    ]


def _retried(target: Target, event: Retried, now: float) -> Step:
    target = replace(target, phase=TargetPhase.READY, parked=event.parked, state=event.state or target.state)
    return _check(target, now, [])


def _retry_asked(target: Target, event: RetryAsked, now: float) -> Step:
    asked = {part.id for part in target.parked if event.seq is None or event.seq in part.seqs}
    return _and_proceed(replace(target, asked=target.asked | asked), now, [])


def _offline(target: Target, reason: str, now: float, phase: TargetPhase = TargetPhase.OFFLINE) -> Step:
    limits = target.limits
    pause_s = back_off(target.attempt, limits.offline_retry_s_first, limits.offline_retry_s_max)
    target = replace(target, phase=phase, reason=reason, attempt=target.attempt + 1, retry_at=now + pause_s)
    return target, report(target)


def _failed(target: Target, event: TargetFailed, now: float) -> Step:
    effects: list[Effect] = []
    if target.direct:
        target, effects = direct.failed(target)
    if target.state is None and event.parked is not None:
        target = replace(target, parked=event.parked)  # an application that is away hides no failed groups (R7)
    target, more = _offline(target, event.reason, now, TargetPhase.HELD if event.held else TargetPhase.OFFLINE)
    return target, effects + more


def _tick_offline(target: Target, event: Tick, now: float) -> Step:
    if now < target.retry_at:
        return target, []
    return replace(target, phase=TargetPhase.OPENING), [OpenTarget(target.name)]


def _tick_ready(target: Target, event: Tick, now: float) -> Step:
    target, effects = proceed(target, now)
    if target.phase is TargetPhase.READY and now - target.looked_at >= target.limits.target_look_s:
        target = replace(target, phase=TargetPhase.LOOKING, looked_at=now)
        effects = [*effects, LookAtTarget(target.name)]
    return target, effects


def _looked(target: Target, event: LookedAtTarget, now: float) -> Step:
    return _ready(replace(target, phase=TargetPhase.READY), now, [])


def _nothing(target: Target, event: Event, now: float) -> Step:
    return target, []


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
    **{(phase, Tick): _nothing for phase in _WORKING},
    **{(phase, Staged): _staged for phase in _P},
    (_P.READY, StageFailed): _stage_failed,
    **{(phase, StageFailed): _stage_failed_meanwhile for phase in (*_WORKING, *_RESTING)},
    **{(phase, RetryAsked): _retry_asked for phase in _P},
    **{(phase, TargetFailed): _failed for phase in _WORKING},
}


def step(target: Target, event: Event, now: float) -> Step:
    """The target after the event, and what is to be done."""
    handle = TABLE.get((target.phase, type(event)))
    if handle is None:
        raise InvariantBroken(f"target {target.name} in phase {target.phase.value} got {type(event).__name__}")
    return handle(target, event, now)
