"""How changes that come from auxiliaries are performed on a primary: from the upload queue, or as they come, into the
application (R6, R7, R9-R11). What an auxiliary does is in ``perform_up``.

Each function does its durable work first and returns the event that says so.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from syncd.core import events as ev
from syncd.core import upward_effects as fx
from syncd.core import upward_events as up
from syncd.core.edits import EditGroup, Fact, Policy, Ruling, Written
from syncd.core.effects import Effect
from syncd.core.errors import DiskError
from syncd.core.messages import Verdict
from syncd.core.pieces import groups_of
from syncd.core.uplink import ONE_WAY
from syncd.outside import Ports
from syncd.perform_selected import within
from syncd.perform_up import await_more

NOT_LINKED = "this device is not linked with the user whose collection it is"


async def stage_uploads(ports: Ports, effects: Sequence[fx.StageUpload]) -> ev.Event:
    """Frames of one device and collection that arrived while the last commit ran become durable in one commit."""
    device, name, outbox = effects[0].device, effects[0].collection, effects[0].upload.outbox
    frames, size_bytes = [(one.upload, one.raw) for one in effects], sum(len(one.raw) for one in effects)
    try:
        number = await ports.upload_queue.stage(device, frames, ports.wall_us())
    except DiskError as error:
        return up.UploadUnstaged(device, name, error.line(), size_bytes)
    return up.UploadStaged(device, name, outbox, number, size_bytes)


async def _write(ports: Ports, effect: fx.WriteUploads) -> ev.Event:
    name = effect.collection
    reached, groups = await ports.upload_queue.next(name, effect.after, ports.limits.uploads_together_max)
    return up.UploadsWritten(name, reached, await _executed(ports, effect, groups))


async def _write_now(ports: Ports, effect: fx.WriteNow) -> ev.Event:
    """What comes meanwhile is executed together, so that executing ends only after a moment."""
    now_us, limits, began = ports.wall_us(), ports.limits, ports.now()
    groups = [one for device, upload in effect.frames for one in groups_of(device, upload, now_us, limits)]
    written = await _executed(ports, effect, groups)
    if (left_s := began + limits.uploads_join_s - ports.now()) > 0.0:
        await ports.pause(left_s)
    return up.WrittenNow(effect.collection, written)


async def _executed(
    ports: Ports, effect: fx.WriteUploads | fx.WriteNow, groups: Sequence[EditGroup]
) -> tuple[Written, ...]:
    """What became of groups that may be executed, and of the others."""
    name = effect.collection
    allowed = [group for group in groups if not _barred(effect, group)]
    allowed, beyond = await within(ports, name, effect.selected, allowed)
    outcomes: dict[tuple[str, str, int], Written] = {}
    if allowed:
        # For all else the versions decide.
        asked = effect.policy is Policy.NEWEST or any(group.offered for group in allowed)
        facts = await _facts(ports, name, allowed) if asked else {}
        for one in await ports.writers[name].write(allowed, effect.policy, facts):
            outcomes[one.device, one.outbox, one.number] = one
    causes = {_name(group): beyond.get(_name(group)) or _barred(effect, group) for group in groups}
    return tuple(_outcome(group, causes[_name(group)], outcomes.get(_name(group))) for group in groups)


def _outcome(group: EditGroup, cause: str, written: Written | None) -> Written:
    if written is None:
        return _refused(group, cause)
    return replace(written, time_us=group.time_us if written.sides else written.time_us, edits=len(group.edits))


def _barred(effect: fx.WriteUploads | fx.WriteNow, group: EditGroup) -> str:
    """Why a group may not be executed; empty: it may."""
    if group.device not in effect.devices:
        return NOT_LINKED
    return ONE_WAY if group.device in effect.silent else ""


def _refused(group: EditGroup, cause: str) -> Written:
    return Written(group.device, group.outbox, group.number, Ruling.REFUSED, 0, cause)


def _name(group: EditGroup) -> tuple[str, str, int]:
    return group.device, group.outbox, group.number


async def _facts(ports: Ports, name: str, groups: Sequence[EditGroup]) -> dict[tuple[int, bytes], Fact]:
    """What the store knows of the objects; one that is edited twice is no earlier version unless both are."""
    edits = [edit for group in groups for edit in group.edits]
    facts: dict[tuple[int, bytes], Fact] = {}
    for edit, fact in zip(edits, await ports.sync_store.facts(name, edits), strict=True):
        known = facts.get((edit.type, edit.key), fact)
        facts[edit.type, edit.key] = fact._replace(stale=fact.stale and known.stale)
    return facts


async def _settle_written(ports: Ports, effect: fx.SettleWritten) -> ev.Event:
    name, queue, written = effect.collection, ports.upload_queue, effect.written
    await await_more(ports, len(written), sum(one.edits for one in written))
    settled = await queue.settle(name, written, effect.seq, effect.policy, ports.wall_us())
    await ports.writers[name].settled([(one.device, one.outbox, one.number) for one in written])
    latest = {one.device: one.outbox for one in written}
    verdicts: dict[str, tuple[str, tuple[Verdict, ...]]] = {}
    for device, said in settled.items():
        numbers = {one.number for one in written if (one.device, one.outbox) == (device, latest[device])}
        verdicts[device] = latest[device], tuple(one for one in said if one.number in numbers)
    return up.WrittenSettled(name, verdicts)


async def _read_verdicts(ports: Ports, effect: fx.ReadVerdicts) -> ev.Event:
    device, name, outbox = effect.device, effect.collection, effect.outbox
    number = await ports.upload_queue.received(device, name, outbox)
    verdicts = await ports.upload_queue.verdicts(device, name, outbox, effect.first, effect.after)
    if len(verdicts) >= ports.limits.verdicts_read_max:
        return up.VerdictsRead(device, name, outbox, number, verdicts, more=True)
    waiting_bytes = await ports.upload_queue.waiting_bytes(device, name)
    return up.VerdictsRead(device, name, outbox, number, verdicts, waiting_bytes)


TABLE: dict[type[Effect], Callable[..., Awaitable[ev.Event | None]]] = {
    fx.WriteUploads: _write,
    fx.WriteNow: _write_now,
    fx.SettleWritten: _settle_written,
    fx.ReadVerdicts: _read_verdicts,
}
