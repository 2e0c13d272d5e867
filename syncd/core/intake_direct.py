"""The short road of small Uploads: executed as they come, without the queue between (R2, R6, R10, R15).

While nothing waits in the queue and nothing is on its way there, a small frame of whole groups that follow on what is
known of its outbox goes to the writer at once. What comes while the writer or the queue has others waits in memory and
is executed together. Nothing is told before it is settled: until then the device has it, and the application knows what
became of it. So a crash loses nothing and executes nothing twice.

Whatever is not that simple (a large frame, one of half a group, one that came before, an application that cannot be
written) takes the long road, and all that is not settled goes before it: what the queue says to be there has no gap.
What of that was executed is settled before anything of the queue is executed, so that no group is on both roads.
"""

from __future__ import annotations

from syncd.core.edits import Written
from syncd.core.effects import Effect
from syncd.core.frozen import replace
from syncd.core.intake_state import (
    Frame,
    Ground,
    Intake,
    IntakePhase,
    Known,
    Sender,
    Step,
    full,
    with_known,
    with_sender,
)
from syncd.core.upward_effects import StageUpload, WriteNow


def take(intake: Intake, sender: Sender, frame: Frame, ground: Ground) -> Step:
    """The next frame of a device that offered its outbox. ``sender``: what is known of it with this frame."""
    device, fits = frame.device, _fits(intake, sender, frame)
    intake = with_sender(intake, device, replace(sender, half=not frame.upload.runs[-1].whole))
    intake = with_known(intake, device, sender.outbox, frame.last)
    if not fits:
        return leave(intake, (frame,))
    intake = replace(
        intake,
        buffer=(*intake.buffer, frame),
        direct_bytes=intake.direct_bytes + len(frame.raw),
    )
    return go_on(intake, ground)


def _fits(intake: Intake, sender: Sender, frame: Frame) -> bool:
    """Whether it is small, and of whole groups that were not here before. Of an outbox of which none was, the queue
    does not know yet."""
    known, limits, size_bytes = intake.known[frame.device], intake.limits, len(frame.raw)
    return (
        size_bytes <= limits.upload_direct_bytes_max
        and intake.direct_bytes + size_bytes <= limits.unstaged_bytes_max
        and known.sure
        and known.outbox == sender.outbox
        and sender.number > 0
        and frame.first > known.number
        and not sender.half
        and frame.upload.runs[-1].whole
    )


def go_on(intake: Intake, ground: Ground) -> Step:
    """What came is executed, as soon as nothing else waits to be."""
    if not intake.buffer or intake.phase in (IntakePhase.WRITING, IntakePhase.DIRECT):
        return intake, []
    if intake.phase is IntakePhase.PAUSED or ground.state is None or full(intake):
        return leave(intake)
    if intake.more or intake.staging_bytes:
        return intake, []
    frames, groups = intake.buffer, 0
    for at, frame in enumerate(frames):
        groups += len(frame.upload.runs)
        if groups > intake.limits.uploads_together_max and at:
            frames = frames[:at]
            break
    uploads = tuple((one.device, one.upload) for one in frames)
    write = WriteNow(intake.name, uploads, ground.silent, ground.policy, ground.devices, ground.selected)
    buffer = intake.buffer[len(frames) :]
    return replace(intake, phase=IntakePhase.DIRECT, kept=intake.kept + frames, buffer=buffer), [write]


def leave(intake: Intake, frames: tuple[Frame, ...] = ()) -> Step:
    """All that is not settled takes the long road, and then these frames."""
    staged = (*intake.kept, *intake.buffer, *frames)
    effects: list[Effect] = [StageUpload(one.device, intake.name, one.upload, one.raw) for one in staged]
    staging_bytes = intake.staging_bytes + sum(len(one.raw) for one in staged)
    twice = intake.twice or bool(intake.kept)
    return replace(intake, staging_bytes=staging_bytes, kept=(), buffer=(), direct_bytes=0, twice=twice), effects


def settled(intake: Intake, written: tuple[Written, ...]) -> Intake:
    """These are durable in the queue's database."""
    numbers: dict[tuple[str, str], int] = {}
    for one in written:
        name = (one.device, one.outbox)
        numbers[name] = max(one.number, numbers.get(name, 0))
    gone = tuple(one for one in intake.kept if one.last <= numbers.get((one.device, one.upload.outbox), 0))
    if gone:
        kept = tuple(one for one in intake.kept if one.last > numbers.get((one.device, one.upload.outbox), 0))
        direct_bytes = intake.direct_bytes - sum(len(one.raw) for one in gone)
        intake = replace(intake, kept=kept, direct_bytes=direct_bytes)
    senders = dict(intake.senders)
    for (device, outbox), number in numbers.items():
        sender = senders.get(device)
        if sender is not None and sender.outbox == outbox:
            settled_bytes = sum(len(one.raw) for one in gone if one.device == device and one.counts)
            staged_bytes = sender.staged_bytes + settled_bytes
            senders[device] = replace(sender, number=max(sender.number, number), staged_bytes=staged_bytes)
    return replace(intake, senders=senders)


def offered(intake: Intake, device: str, outbox: str) -> Intake:
    """A device says of which outbox its groups are: what the queue's database is asked of it from here on is all there
    is, unless something of the device may be under way that it does not hold yet."""
    known = intake.known.get(device)
    resting = not (intake.staging_bytes or intake.kept or intake.buffer or intake.written)
    if known is None:
        known = Known(outbox)
    elif known.outbox != outbox:
        known = Known(outbox, sure=resting)
    elif resting:
        known = known._replace(sure=True)
    return replace(intake, known={**intake.known, device: known})


def dropped(intake: Intake, device: str) -> Intake:
    """What came before these frames could not be kept: the device sends all of it again."""
    buffer = tuple(one for one in intake.buffer if one.device != device)
    gone_bytes = sum(len(one.raw) for one in intake.buffer if one.device == device)
    return replace(intake, buffer=buffer, direct_bytes=intake.direct_bytes - gone_bytes)


def link_down(intake: Intake, device: str) -> Intake:
    """What came is executed all the same, and counts on no other link."""
    if not any(one.device == device for one in (*intake.kept, *intake.buffer)):
        return intake

    def off(frames: tuple[Frame, ...]) -> tuple[Frame, ...]:
        return tuple(one._replace(counts=False) if one.device == device else one for one in frames)

    return replace(intake, kept=off(intake.kept), buffer=off(intake.buffer))
