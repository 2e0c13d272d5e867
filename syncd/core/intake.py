"""Changes from auxiliaries on the primary, from the link to their verdicts, as a table (R6, R7, R9-R11; claim 24k).

One for each collection. Frames are staged, then acknowledged; whole groups are executed on the application, one
transaction at a time, and read from there by the source like any change of its own; once that is published, what became
of them is made durable, and told. An application that cannot be written holds up nothing else (R10). Where nothing
waits, small frames go a shorter road (``core.intake_direct``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from syncd.core import intake_direct as direct
from syncd.core.effects import CloseLink, Effect, Send
from syncd.core.errors import InvariantBroken, OrderError
from syncd.core.events import Event, Tick
from syncd.core.frozen import replace
from syncd.core.intake_state import Frame, Ground, Intake, IntakePhase, Sender, Step, full, with_known, with_sender
from syncd.core.messages import Offer, Taken, Verdict, Verdicts
from syncd.core.settings import back_off
from syncd.core.upward_effects import ReadVerdicts, SettleWritten, WriteUploads
from syncd.core.upward_events import (
    UnsettledWritten,
    UploadStaged,
    UploadsWritten,
    UploadUnstaged,
    VerdictsRead,
    VerdictsUnread,
    WriteFailed,
    WrittenNow,
    WrittenSettled,
)

# ---------------------------------------------------------------- what is due


def proceed(intake: Intake, ground: Ground, now: float) -> Step:
    """Settles what has its place in the order, and executes what waits."""
    intake, effects = _settle(intake, ground, now)
    if intake.twice and not intake.written and intake.phase is not IntakePhase.DIRECT:
        intake = replace(intake, twice=False)
    intake, queued = _write(intake, ground)
    intake, came = direct.go_on(intake, ground)
    return intake, effects + queued + came


def _settle(intake: Intake, ground: Ground, now: float) -> Step:
    state = ground.state
    if intake.settling or not intake.written or state is None or not ground.published or now < intake.settle_at:
        return intake, []
    count = next((at for at, one in enumerate(intake.written) if one.mark > state.mark), len(intake.written))
    if not count:
        return intake, []
    settle = SettleWritten(intake.name, intake.written[:count], state.head, ground.policy)
    return replace(intake, settling=count), [settle]


def _write(intake: Intake, ground: Ground) -> Step:
    if intake.phase is not IntakePhase.RESTING or not intake.more or intake.twice:
        return intake, []
    if ground.state is None or full(intake):
        return intake, []
    write = WriteUploads(intake.name, intake.cursor, ground.silent, ground.policy, ground.devices, ground.selected)
    return replace(intake, phase=IntakePhase.WRITING, more=False), [write]


# ---------------------------------------------------------------- the link


def offered(intake: Intake, device: str, offer: Offer) -> Step:
    """A device says which groups wait there: it is told what came of those that are here."""
    intake = direct.offered(intake, device, offer.outbox)
    sender = intake.senders.get(device, Sender(offer.outbox))
    again, sender = sender.reading, replace(sender, outbox=offer.outbox, number=0, first=offer.first)
    sender = replace(sender, reading=True, half=False)
    if again:  # one answer at a time, however often it asks (R15)
        return with_sender(intake, device, replace(sender, again=True)), []
    return _read_on(intake, device, sender, 0)


def _read_on(intake: Intake, device: str, sender: Sender, after: int) -> Step:
    asked = ReadVerdicts(device, intake.name, sender.outbox, sender.first, after)
    return with_sender(intake, device, replace(sender, reading=True, again=False)), [asked]


def uploaded(intake: Intake, frame: Frame, ground: Ground) -> Step:
    """Groups of a device's come. Raises OrderError."""
    device, upload = frame.device, frame.upload
    sender = intake.senders.get(device)
    if sender is None or sender.outbox != upload.outbox:
        raise OrderError(f"an Upload of {intake.name} comes that was not offered")
    sender = replace(sender, arrived_bytes=sender.arrived_bytes + len(frame.raw))
    if sender.arrived_bytes - sender.staged_bytes > intake.limits.unsettled_bytes_max:  # far beyond the window
        raise OrderError(f"Uploads of {intake.name} come faster than they were taken")
    if sender.waiting_bytes > intake.limits.upload_bytes_max + 2 * intake.limits.unsettled_bytes_max:
        raise OrderError(f"Uploads of {intake.name} come although nothing more is taken")
    return direct.take(intake, sender, frame, ground)


def link_down(intake: Intake, device: str) -> Intake:
    """What came is executed all the same."""
    intake = direct.link_down(intake, device)
    sender = intake.senders.get(device)
    counted = intake.counted and (sender is None or not sender.waiting_bytes)
    return replace(
        intake, counted=counted, senders={one: sender for one, sender in intake.senders.items() if one != device}
    )


def cut_off(intake: Intake, device: str) -> Intake:
    """What came and neither is in the queue nor with the writer is to come again: something before it is gone."""
    return direct.dropped(link_down(intake, device), device)


def _take(intake: Intake, device: str, sender: Sender) -> Step:
    """Says what is durable, unless too much of the device's waits already: then it does not send more (R15)."""
    if sender.waiting_bytes > intake.limits.upload_bytes_max:
        return with_sender(intake, device, replace(sender, owed=True)), []
    taken = Taken(intake.name, sender.outbox, sender.number, sender.staged_bytes)
    return with_sender(intake, device, replace(sender, owed=False, told_bytes=sender.staged_bytes)), [
        Send(device, taken)
    ]


def _tell(intake: Intake, device: str, outbox: str, verdicts: tuple[Verdict, ...]) -> Iterator[Effect]:
    most = intake.limits.verdicts_max
    for at in range(0, len(verdicts), most):
        yield Send(device, Verdicts(intake.name, outbox, verdicts[at : at + most]))


# ---------------------------------------------------------------- the application and its source


def lost(intake: Intake) -> Step:
    """The application's data is not what was written last (a backup was put back), or its log is gone: what was
    executed and not settled is executed again; the application itself knows what of it was done."""
    void = intake.phase in (IntakePhase.WRITING, IntakePhase.DIRECT)
    intake, effects = direct.leave(intake)
    written = tuple(replace(one, mark=0) for one in intake.written[: intake.settling])  # published: no log is to say so
    return replace(intake, cursor=0, more=True, counted=False, twice=True, written=written, void=void), effects


# ---------------------------------------------------------------- the table


def _staged(intake: Intake, event: UploadStaged, ground: Ground, now: float) -> Step:
    effects: list[Effect] = []
    staging_bytes = max(0, intake.staging_bytes - event.staged_bytes)
    intake = replace(intake, more=True, no_room="", staging_bytes=staging_bytes)
    intake = with_known(intake, event.device, event.outbox, event.number)
    sender = intake.senders.get(event.device)
    if sender is not None and sender.outbox == event.outbox:
        staged_bytes = min(sender.arrived_bytes, sender.staged_bytes + event.staged_bytes)
        waiting_bytes = sender.waiting_bytes + event.staged_bytes
        number = max(sender.number, event.number)
        sender = replace(sender, number=number, staged_bytes=staged_bytes, waiting_bytes=waiting_bytes)
        intake = with_sender(intake, event.device, sender)
        if staged_bytes - sender.told_bytes >= intake.limits.upload_window_bytes_max // 4:
            intake, effects = _take(intake, event.device, sender)  # else it is told with the verdicts
    else:
        intake = replace(intake, counted=False)
    intake, more = proceed(intake, ground, now)
    return intake, effects + more


def _unstaged(intake: Intake, event: UploadUnstaged, ground: Ground, now: float) -> Step:
    """The device comes again after a pause."""
    staging_bytes = max(0, intake.staging_bytes - event.unstaged_bytes)
    intake = cut_off(intake, event.device)
    intake = replace(intake, no_room=event.reason, staging_bytes=staging_bytes)
    return intake, [CloseLink(event.device, "disk", event.reason)]


def _read(intake: Intake, event: VerdictsRead, ground: Ground, now: float) -> Step:
    sender = intake.senders.get(event.device)
    if sender is None:
        return intake, []
    if sender.again:
        return _read_on(intake, event.device, sender, 0)
    if sender.outbox != event.outbox or event.device not in ground.devices:
        return with_sender(intake, event.device, replace(sender, reading=False)), []
    effects = list(_tell(intake, event.device, event.outbox, event.verdicts))
    if event.more:
        intake, more = _read_on(intake, event.device, sender, event.verdicts[-1].number)
        return intake, effects + more
    waiting_bytes, number = max(sender.waiting_bytes, event.waiting_bytes), max(sender.number, event.number)
    sender = replace(sender, number=number, reading=False, waiting_bytes=waiting_bytes)
    intake = with_known(intake, event.device, event.outbox, number)
    intake, more = _take(intake, event.device, sender)
    if not more:  # what waited may be gone by this time: it is looked at
        intake = replace(intake, more=True)
    return intake, effects + more


def _unread(intake: Intake, event: VerdictsUnread, ground: Ground, now: float) -> Step:
    return link_down(intake, event.device), [CloseLink(event.device, "disk", event.reason)]


def _written(intake: Intake, event: UploadsWritten, ground: Ground, now: float) -> Step:
    intake = replace(intake, phase=IntakePhase.RESTING, reason="", attempt=0)
    if intake.void:
        return proceed(replace(intake, void=False), ground, now)
    effects: list[Effect] = []
    all_read = not intake.more and (not event.written or _took_all(intake, event))
    if event.written:
        intake = replace(intake, cursor=event.reached, more=not all_read, written=intake.written + event.written)
    if all_read:
        intake, effects = _emptied(replace(intake, counted=True))
    intake, more = proceed(intake, ground, now)
    return intake, effects + more


def _took_all(intake: Intake, event: UploadsWritten) -> bool:
    """Whether what was read is all that waited, without looking."""
    limits = intake.limits
    waiting_bytes = sum(sender.waiting_bytes for sender in intake.senders.values())
    few = len(event.written) < limits.uploads_together_max and waiting_bytes < limits.uploads_bytes_max // 4
    return intake.counted and few


def _emptied(intake: Intake) -> Step:
    """Nothing waits to be executed: devices that were to wait go on."""
    effects: list[Effect] = []
    for device, sender in sorted(intake.senders.items()):
        free = replace(sender, waiting_bytes=0)
        intake, more = _take(intake, device, free) if sender.owed else (with_sender(intake, device, free), [])
        effects += more
    return intake, effects


def _written_now(intake: Intake, event: WrittenNow, ground: Ground, now: float) -> Step:
    intake, void = replace(intake, phase=IntakePhase.RESTING, reason="", attempt=0, void=False), intake.void
    if not void:
        intake = replace(intake, written=intake.written + event.written)
    return proceed(intake, ground, now)


def _write_failed(intake: Intake, event: WriteFailed, ground: Ground, now: float) -> Step:
    limits = intake.limits
    intake, effects = direct.leave(intake)
    pause_s = back_off(intake.attempt, limits.offline_retry_s_first, limits.offline_retry_s_max)
    paused = replace(intake, phase=IntakePhase.PAUSED, more=True, void=False, reason=event.reason)
    return replace(paused, attempt=intake.attempt + 1, retry_at=now + pause_s), effects


def _settled(intake: Intake, event: WrittenSettled, ground: Ground, now: float) -> Step:
    intake = direct.settled(intake, intake.written[: intake.settling])
    intake = replace(intake, written=intake.written[intake.settling :], settling=0, settle_attempt=0)
    effects: list[Effect] = []
    for device, (outbox, verdicts) in sorted(event.verdicts.items()):
        sender = intake.senders.get(device)
        if sender is not None and sender.outbox == outbox and device in ground.devices:
            effects += _tell(intake, device, outbox, verdicts)
            if sender.staged_bytes > sender.told_bytes and not sender.owed:
                intake, taken = _take(intake, device, sender)
                effects += taken
    intake, more = proceed(intake, ground, now)
    return intake, effects + more


def _unsettled(intake: Intake, event: UnsettledWritten, ground: Ground, now: float) -> Step:
    limits = intake.limits
    pause_s = back_off(intake.settle_attempt, limits.offline_retry_s_first, limits.offline_retry_s_max)
    return replace(intake, settling=0, settle_attempt=intake.settle_attempt + 1, settle_at=now + pause_s), []


def _tick(intake: Intake, event: Tick, ground: Ground, now: float) -> Step:
    if intake.phase is IntakePhase.PAUSED and now >= intake.retry_at:
        intake = replace(intake, phase=IntakePhase.RESTING)
    return proceed(intake, ground, now)


_P = IntakePhase
# (phase, event) -> what happens; a missing pair is a fault of ours
TABLE: dict[tuple[IntakePhase, type[Event]], Callable[..., Step]] = {
    (_P.WRITING, UploadsWritten): _written,
    (_P.DIRECT, WrittenNow): _written_now,
    **{(phase, WriteFailed): _write_failed for phase in (_P.WRITING, _P.DIRECT)},
    **{(phase, UploadStaged): _staged for phase in _P},
    **{(phase, UploadUnstaged): _unstaged for phase in _P},
    **{(phase, VerdictsRead): _read for phase in _P},
    **{(phase, VerdictsUnread): _unread for phase in _P},
    **{(phase, WrittenSettled): _settled for phase in _P},
    **{(phase, UnsettledWritten): _unsettled for phase in _P},
    **{(phase, Tick): _tick for phase in _P},
}


def step(intake: Intake, event: Event, ground: Ground, now: float) -> Step:
    """The intake after the event, and what is to be done."""
    handle = TABLE.get((intake.phase, type(event)))
    if handle is None:
        raise InvariantBroken(f"intake {intake.name} in phase {intake.phase.value} got {type(event).__name__}")
    return handle(intake, event, ground, now)
