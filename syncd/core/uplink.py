"""A collection's changes on an auxiliary, from the application to the primary, as a table (R7, R10, R11, R13).

Beside the target, and neither waits for the other (R10). What the application changed is read into the outbox whether
the primary is there or not. Beside the reading, groups are taken and sent within a window of bytes, and one errand
after the other is run: keeping verdicts, putting back what was refused.
"""

from __future__ import annotations

from collections.abc import Callable

from syncd.core.edits import EVER, Direction, OutboxState, Ruling
from syncd.core.effects import Effect, Send, SendFrame
from syncd.core.errors import InvariantBroken, OrderError
from syncd.core.events import Event, Tick
from syncd.core.frozen import replace
from syncd.core.messages import Offer, Taken, Terms, Verdict, Verdicts
from syncd.core.model import DataType
from syncd.core.ports import TargetState
from syncd.core.uplink_state import NO_PAUSE, Errand, Mode, Step, Uplink, UplinkPhase, heard, later, sealed_to
from syncd.core.upward_effects import (
    HoldUploads,
    OfferLocal,
    ReadLocal,
    RenumberOutbox,
    SettleUploads,
    TakeUploads,
    UndoEdits,
    WaitLocal,
)
from syncd.core.upward_events import (
    EditsUndone,
    LocalFailed,
    LocalOffered,
    LocalRead,
    OutboxRenumbered,
    SettleFailed,
    TakeFailed,
    UploadsSettled,
    UploadsTaken,
)

ONE_WAY = "this collection comes from the primary only: what is changed here does not leave this device"
_NUMBER_MAX = 2**62  # what waits must find numbers above those that the primary says it has
_SETTLE_S = 1.0  # groups that wait for the target's position are looked at so often, where it moved


# ---------------------------------------------------------------- what is due


def proceed(uplink: Uplink, now: float) -> Step:
    """Orders what can be done: reading begins, an errand is run, groups are offered and sent."""
    effects: list[Effect] = []
    for lane in (_begin, _errand, _offer, _offer_again, _take):
        uplink, more = lane(uplink, now)
        effects += more
    return uplink, effects


def _begin(uplink: Uplink, now: float) -> Step:
    inward = uplink.direction is Direction.IN and bool(uplink.told)
    if uplink.phase is not UplinkPhase.RESTING or not (uplink.holding or inward):
        return uplink, []
    return _read(uplink)


def _read(uplink: Uplink) -> Step:
    if uplink.direction is Direction.IN and (uplink.outbox is None or uplink.lost or uplink.anew):
        return replace(uplink, phase=UplinkPhase.OFFERING, anew=False), [OfferLocal(uplink.name, uplink.told)]
    return replace(uplink, phase=UplinkPhase.READING), [ReadLocal(uplink.name, _takes(uplink))]


def _takes(uplink: Uplink) -> TakeUploads | None:
    """For a group that closes with what is read, after those that are being taken. What has changed until then is seen
    when the frames are there."""
    if not uplink.follows:
        return None
    after = uplink.sent if uplink.taking is None else uplink.taking
    return TakeUploads(uplink.name, after, uplink.adapter, uplink.room_bytes)


def _errand(uplink: Uplink, now: float) -> Step:
    outbox = uplink.outbox
    if uplink.errand is not Errand.NONE or outbox is None or now < uplink.errand_pause.until:
        return uplink, []
    if uplink.renumber is not None:
        return replace(uplink, errand=Errand.RENUMBERING), [RenumberOutbox(uplink.name, uplink.renumber)]
    uplink = _condemned(uplink, outbox)
    moved = uplink.position > uplink.settled_to and now - uplink.settled_at >= _SETTLE_S
    if uplink.verdicts or (outbox.pending and moved):
        position = EVER if uplink.direction is Direction.IN else uplink.position
        settling = replace(
            uplink,
            errand=Errand.SETTLING,
            settling=len(uplink.verdicts),
            settling_to=uplink.position,
            settled_to=uplink.position,
            settled_at=now,
        )
        return settling, [SettleUploads(uplink.name, uplink.verdicts, position)]
    if outbox.undo and uplink.holding and _puts_back(uplink):
        return replace(uplink, errand=Errand.UNDOING), [UndoEdits(uplink.name)]
    return uplink, []


def _puts_back(uplink: Uplink) -> bool:
    """Whether what was refused gives way to the primary's version. What left before all came from the primary only is
    refused there, and stays if a person chose that."""
    return uplink.direction is Direction.BOTH or (uplink.direction is Direction.OUT and not uplink.keep_edits)


def _condemned(uplink: Uplink, outbox: OutboxState) -> Uplink:
    """Where nothing may leave, the device itself refuses what is edited, unless that is to be kept."""
    if uplink.direction is not Direction.OUT or uplink.keep_edits or not outbox.pending or uplink.verdicts:
        return uplink
    last = min(outbox.last, outbox.first + uplink.limits.verdicts_max - 1)
    numbers = range(outbox.first, last + 1)
    own = tuple(Verdict(number, Ruling.REFUSED, 0, ONE_WAY, "", b"", 0) for number in numbers)
    return replace(uplink, verdicts=own)


def _offer(uplink: Uplink, now: float) -> Step:
    outbox, waits = uplink.outbox, uplink.errand is Errand.RENUMBERING or uplink.renumber is not None
    if not (uplink.agreed and uplink.sends) or outbox is None or uplink.offered or waits:
        return uplink, []
    offer = Offer(uplink.name, outbox.outbox, outbox.first, outbox.last)
    return replace(uplink, offered=True, answered=False), [Send(uplink.peer, offer)]


def _offer_again(uplink: Uplink, now: float) -> Step:
    """In a run: once what had waited has its verdicts, the primary is told so. What was changed just before the run
    began is in the outbox by then."""
    outbox, began_at = uplink.outbox, uplink.running_at
    if began_at is None or outbox is None or not (uplink.answered and uplink.sends):
        return uplink, []
    if now - began_at < uplink.limits.offer_again_s or uplink.unread:
        return uplink, []
    aim = outbox.last if uplink.aim is None else uplink.aim
    if outbox.first <= min(aim, outbox.last):  # its newest group may have come to nothing
        return replace(uplink, aim=aim), []
    return _offer(replace(uplink, running_at=None, aim=None, offered=False), now)


def _take(uplink: Uplink, now: float) -> Step:
    outbox = uplink.outbox
    if uplink.taking is not None or not (uplink.answered and uplink.sends) or now < uplink.taking_pause.until:
        return uplink, []
    if outbox is None or uplink.sent >= outbox.last or uplink.room_bytes <= 0:
        return uplink, []
    take = TakeUploads(uplink.name, uplink.sent, uplink.adapter, uplink.room_bytes)
    return replace(uplink, taking=outbox.last), [take]


# ---------------------------------------------------------------- the link


def link_open(uplink: Uplink, peer: str, now: float) -> Step:
    """The primary welcomed us; its Terms are to come."""
    return proceed(replace(link_down(uplink), peer=peer), now)


def link_down(uplink: Uplink) -> Uplink:
    """What came is settled all the same."""
    uplink = replace(uplink, peer="", links=uplink.links + 1, agreed=False, offered=False, answered=False)
    return replace(uplink, sent=0, sent_bytes=0, settled_bytes=0)


def paced(uplink: Uplink, mode: Mode, now: float) -> Step:
    """Whether edits travel from here on. When they do again, or a run begins, they are offered as on another link."""
    if mode is uplink.mode:
        return uplink, []
    anew = Mode.RESTING in (mode, uplink.mode) or mode is Mode.RUNNING
    uplink = replace(uplink, mode=mode, running_at=now if mode is Mode.RUNNING else None, aim=None)
    if mode is Mode.RESTING:
        return _hold(uplink)
    if anew:
        uplink = replace(uplink, offered=False, answered=False, sent=0)
    return proceed(uplink, now)


def slowed(uplink: Uplink, now: float) -> Step:
    """From here on less may be sent: what was to be taken with the next edit was measured before."""
    if not uplink.sends:
        return uplink, []
    uplink, held = _hold(uplink)
    uplink, more = proceed(uplink, now)
    return uplink, held + more


def _hold(uplink: Uplink) -> Step:
    """Edits do not travel from here on; what is being taken, or waits to be with the next edit, stays here."""
    uplink = replace(uplink, links=uplink.links + 1, offered=False, answered=False, sent=0)
    return uplink, [HoldUploads(uplink.name, uplink.links)]


def message(uplink: Uplink, received: Terms | Taken | Verdicts, now: float) -> Step:
    """A message of the primary's. Raises OrderError."""
    held: list[Effect] = []
    match received:
        case Terms():
            before, uplink = uplink.sends, replace(uplink, agreed=True, direction=Direction(received.direction))
            if before and not uplink.sends:
                uplink, held = _hold(uplink)
        case Taken():
            uplink = _taken(uplink, received)
        case Verdicts() if uplink.outbox is not None and received.outbox == uplink.outbox.outbox:
            if len(uplink.verdicts) > uplink.limits.verdicts_waiting_max:
                raise OrderError(f"verdicts of {uplink.name} come faster than they are kept")
            # What was never sealed was never sent: these are of groups that an older copy of this outbox does not have.
            sent = tuple(one for one in received.verdicts if one.number <= uplink.sealed)
            uplink = replace(uplink, verdicts=uplink.verdicts + sent)
    uplink, effects = proceed(uplink, now)
    return uplink, held + effects


def _taken(uplink: Uplink, taken: Taken) -> Uplink:
    outbox = uplink.outbox
    if outbox is None or not uplink.offered or taken.outbox != outbox.outbox:
        return uplink  # of another numbering
    if taken.number > _NUMBER_MAX:
        raise OrderError(f"Taken of {uplink.name} names a group that no outbox can have made")
    settled_bytes = min(uplink.sent_bytes, max(uplink.settled_bytes, taken.received_bytes))
    uplink = replace(uplink, settled_bytes=settled_bytes)
    if taken.number > uplink.sealed:  # this outbox is an older copy of itself, whatever was made in it since
        return replace(uplink, renumber=taken.number, offered=False, answered=False)
    if uplink.answered:
        return uplink
    return replace(uplink, answered=True, sent=taken.number)


# ---------------------------------------------------------------- the target


def moved(uplink: Uplink, state: TargetState, outbox: OutboxState | None, now: float) -> Step:
    """Where the target is. ``outbox``: what it holds, where it was told so."""
    holding, position = bool(state.epoch), state.position
    if outbox is None and (uplink.holding, uplink.position) == (holding, position):
        return uplink, []
    settled_to = position if outbox or not uplink.holding else min(uplink.settled_to, position)
    uplink = replace(uplink, holding=holding, position=position, settled_to=settled_to)
    if outbox is not None and uplink.outbox is not None:  # before it was read, that is not all
        pause = NO_PAUSE if uplink.lost else uplink.reading_pause  # it may have been a snapshot
        uplink = replace(heard(uplink, outbox), reading_pause=pause)
    return proceed(uplink, now)


def described(uplink: Uplink, types: tuple[DataType, ...], now: float) -> Step:
    """The types are known, where nothing is followed. By others everything is read, and offered, anew: what an edit is
    based on is known by the former only."""
    before, uplink = uplink.told, replace(uplink, told=types)
    if before == types:
        return uplink, []
    return (replace(uplink, anew=True), []) if before else proceed(uplink, now)


# ---------------------------------------------------------------- the table


def _was_read(uplink: Uplink, event: LocalRead, now: float) -> Step:
    waits = event.lost and uplink.direction is not Direction.IN
    uplink = replace(
        uplink,
        outbox=event.outbox,
        sealed=sealed_to(uplink, event.outbox),
        lost=event.lost,
        unread=event.more or event.lost,
        reason="",
        reading_pause=later(uplink, uplink.reading_pause, now) if waits else NO_PAUSE,
    )
    if waits:
        return proceed(replace(uplink, phase=UplinkPhase.OFFLINE), now)
    uplink, sends = _leave_at_once(uplink, event.taken)
    uplink, more = proceed(uplink, now)  # what can leave goes first
    if event.more or event.lost or uplink.anew:
        uplink, effects = _read(uplink)
    else:
        uplink, effects = (
            replace(uplink, phase=UplinkPhase.WAITING),
            [WaitLocal(uplink.name, _takes(uplink), uplink.links)],
        )
    return uplink, sends + more + effects


def _was_offered(uplink: Uplink, event: LocalOffered, now: float) -> Step:
    uplink, effects = _read(replace(heard(uplink, event.outbox), lost=False, reason=""))
    uplink, more = proceed(uplink, now)
    return uplink, effects + more


def _failed(uplink: Uplink, event: LocalFailed, now: float) -> Step:
    pause = later(uplink, uplink.reading_pause, now)
    return replace(uplink, phase=UplinkPhase.OFFLINE, reason=event.reason, unread=True, reading_pause=pause), []


def _taken_out(uplink: Uplink, event: UploadsTaken, now: float) -> Step:
    """Frames were made of groups; those of a link that is over are made again for the next."""
    uplink = replace(uplink, taking=None, taking_pause=NO_PAUSE)
    if not event.frames and uplink.answered and event.after == uplink.sent:
        uplink = replace(uplink, sent=event.last)
    uplink, sends = _leave(uplink, event)
    uplink, more = proceed(uplink, now)
    return uplink, sends + more


def _leave_at_once(uplink: Uplink, taken: UploadsTaken | None) -> Step:
    """What was taken with what was read; the window may have become narrower since it was ordered."""
    if taken is None:
        return uplink, []
    if taken.frames and uplink.sent_bytes > uplink.settled_bytes and _size_bytes(taken) > uplink.room_bytes:
        return replace(uplink, sealed=max(uplink.sealed, taken.last)), []
    return _leave(uplink, taken)


def _leave(uplink: Uplink, taken: UploadsTaken) -> Step:
    if not taken.frames:
        return uplink, []
    sealed = max(uplink.sealed, taken.last)
    if not uplink.answered or taken.after != uplink.sent or taken.adapter != uplink.adapter:
        return replace(uplink, sealed=sealed), []  # of another link
    size_bytes, allowance_bytes = _size_bytes(taken), uplink.allowance_bytes
    if allowance_bytes is not None:
        allowance_bytes = max(0, allowance_bytes - size_bytes)
    uplink = replace(uplink, sealed=sealed, sent=taken.last, sent_bytes=uplink.sent_bytes + size_bytes)
    uplink = replace(uplink, allowance_bytes=allowance_bytes)
    return uplink, [SendFrame(uplink.peer, one, uplink.name) for one in taken.frames]


def _size_bytes(taken: UploadsTaken) -> int:
    return sum(len(one) if isinstance(one, bytes) else len(one.encode()) for one in taken.frames)


def _not_taken(uplink: Uplink, event: TakeFailed, now: float) -> Step:
    return replace(uplink, taking=None, taking_pause=later(uplink, uplink.taking_pause, now)), []


def _settled(uplink: Uplink, event: UploadsSettled, now: float) -> Step:
    """The target may have moved meanwhile: that this was told may have come before what was settled."""
    rest, settled_to = uplink.verdicts[uplink.settling :], min(uplink.settled_to, uplink.settling_to)
    uplink = replace(uplink, errand=Errand.NONE, errand_pause=NO_PAUSE, verdicts=rest, settling=0)
    return proceed(heard(replace(uplink, settled_to=settled_to), event.outbox), now)


def _renumbered(uplink: Uplink, event: OutboxRenumbered, now: float) -> Step:
    """What is known of the former numbers means nothing any more."""
    uplink = replace(uplink, errand=Errand.NONE, errand_pause=NO_PAUSE, verdicts=(), renumber=None)
    return proceed(replace(heard(uplink, event.outbox), offered=False, answered=False), now)


def _undone(uplink: Uplink, event: EditsUndone, now: float) -> Step:
    pause = later(uplink, uplink.errand_pause, now) if event.outbox.undo else NO_PAUSE
    uplink = replace(heard(uplink, event.outbox), errand=Errand.NONE, errand_pause=pause)
    return proceed(uplink, now)


def _errand_failed(uplink: Uplink, event: SettleFailed, now: float) -> Step:
    pause = later(uplink, uplink.errand_pause, now)
    settled_to = 0 if uplink.errand is Errand.SETTLING else uplink.settled_to
    return replace(uplink, errand=Errand.NONE, errand_pause=pause, settling=0, settled_to=settled_to), []


def _tick(uplink: Uplink, event: Tick, now: float) -> Step:
    effects: list[Effect] = []
    if uplink.phase is UplinkPhase.OFFLINE and now >= uplink.reading_pause.until:
        uplink, effects = _read(uplink)
    uplink, more = proceed(uplink, now)
    return uplink, effects + more


_P = UplinkPhase
# (phase, event) -> what happens; a missing pair is a fault of ours
TABLE: dict[tuple[UplinkPhase, type[Event]], Callable[..., Step]] = {
    (_P.OFFERING, LocalOffered): _was_offered,
    (_P.READING, LocalRead): _was_read,
    (_P.WAITING, LocalRead): _was_read,
    **{(phase, LocalFailed): _failed for phase in (_P.OFFERING, _P.READING, _P.WAITING)},
    **{(phase, UploadsTaken): _taken_out for phase in _P},
    **{(phase, TakeFailed): _not_taken for phase in _P},
    **{(phase, UploadsSettled): _settled for phase in _P},
    **{(phase, OutboxRenumbered): _renumbered for phase in _P},
    **{(phase, EditsUndone): _undone for phase in _P},
    **{(phase, SettleFailed): _errand_failed for phase in _P},
    **{(phase, Tick): _tick for phase in _P},
}


def step(uplink: Uplink, event: Event, now: float) -> Step:
    """The uplink after the event, and what is to be done."""
    handle = TABLE.get((uplink.phase, type(event)))
    if handle is None:
        raise InvariantBroken(f"uplink {uplink.name} in phase {uplink.phase.value} got {type(event).__name__}")
    return handle(uplink, event, now)
