"""What the status socket tells (DESIGN §6), from the engine's state: which state each collection is in, and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from syncd.core.auxiliary_engine import AuxiliaryEngine
from syncd.core.conversation import Phase
from syncd.core.messages import Failed, Report
from syncd.core.model import State, group_id
from syncd.core.primary_engine import PrimaryEngine, Standing
from syncd.core.settings import Limits
from syncd.core.source import Source, SourcePhase
from syncd.core.target_state import Target, TargetPhase

Json = dict[str, object]


@dataclass(frozen=True, slots=True)
class DeviceLine:
    """A device as the sync database knows it. ``last_seen``: ISO 8601 UTC, empty if never. ``reason``: why it is not
    connected, if that is known."""

    id: str
    name: str
    connected: bool
    last_seen: str
    reason: str = ""

    def line(self, collections: list[Json]) -> Json:
        return {
            "id": self.id,
            "name": self.name,
            "connected": self.connected,
            "last_seen": self.last_seen,
            "reason": self.reason,
            "collections": collections,
        }


ShowKey = Callable[[bytes], str]  # a canonical key for people


def _failed(collection: str, failed: tuple[Failed, ...], show_key: ShowKey) -> list[Json]:
    return [
        {
            "group": group_id(collection, one.seq),
            "outcome": one.outcome,
            "cause": one.cause,
            "type": one.type,
            "key": show_key(one.key),
        }
        for one in failed
    ]


def source_state(source: Source) -> State:
    if source.offline:
        return State.OFFLINE
    published = source.state is not None and source.state.published
    if source.ready and published and source.phase in (SourcePhase.WAITING, SourcePhase.READING):
        return State.IDENTICAL
    return State.SYNCING


def source_line(source: Source, application: str) -> Json:
    state = source.state
    return {
        "name": source.name,
        "application": application,
        "state": source_state(source).value,
        "objects": state.objects if state else 0,
        "head": state.head if state else 0,
        "reason": source.reason if source.offline else "",
    }


def of_epoch(report: Report, source: Source) -> Report:
    """A report as it counts: positions and groups of another epoch than the store's are none."""
    if source.state is not None and report.epoch == source.state.epoch:
        return report
    return replace(report, position=0, match=False, parked=0, failed=())


def device_state(standing: Standing, source: Source, connected: bool, now: float, limits: Limits) -> State:
    """State of a collection on an auxiliary, as the primary knows it."""
    report, head = of_epoch(standing.report, source), source.state.head if source.state else 0
    if connected and report.held:
        return State.HELD
    if connected and report.offline:
        return State.OFFLINE
    if report.parked:
        return State.PARKED
    if report.match and report.position == head:
        return State.IDENTICAL
    if not connected:
        return State.BEHIND
    return State.STALLED if now - standing.moved_at > limits.stalled_s else State.SYNCING


def primary_devices(engine: PrimaryEngine, devices: list[DeviceLine], now: float, show_key: ShowKey) -> list[Json]:
    lines: list[Json] = []
    for device in devices:
        collections: list[Json] = []
        for (owner, name), standing in sorted(engine.standings.items()):
            source = engine.sources.get(name)
            if owner != device.id or source is None:
                continue
            report, head = of_epoch(standing.report, source), source.state.head if source.state else 0
            line: Json = {
                "name": name,
                "state": device_state(standing, source, device.connected, now, engine.limits).value,
                "position": report.position,
                "head": head,
                "behind": max(0, head - report.position),
                "parked": report.parked,
                "digest_match": report.match,
                "objects": report.objects,
                "reason": report.offline or _unequal(report, head),
                "failed": _failed(name, report.failed, show_key),
            }
            follow = engine.follows.get((device.id, name))
            if follow is not None and follow.epoch and report.position < head and follow.cursor > report.position:
                line["progress"] = _progress(report.position, follow.cursor, head)
            collections.append(line)
        lines.append(device.line(collections))
    return lines


def _unequal(report: Report, head: int) -> str:
    same = report.match or report.parked or report.position < head
    return "" if same else "its checksum is not the primary's: see `syncd status` there"


def _progress(base: int, reached: int, head: int) -> Json:
    return {"done": min(reached, head) - base, "total": max(head - base, 1)}


def target_state(target: Target, connected: bool, now: float) -> State:
    """State of a collection on this auxiliary."""
    if target.phase is TargetPhase.HELD:
        return State.HELD
    if target.phase is TargetPhase.OFFLINE:
        return State.OFFLINE
    if target.parked.parts:
        return State.PARKED
    if not connected:
        return State.BEHIND  # as far as anybody knows: the primary's head is not known
    position = target.state.position if target.state else 0
    if target.match and target.begun and position >= target.head:
        return State.IDENTICAL
    if target.following and not target.begun:
        return State.BEHIND  # the primary does not offer it
    if target.phase in (TargetPhase.EXECUTING, TargetPhase.PARKING, TargetPhase.RETRYING):
        return State.SYNCING
    return State.STALLED if now - target.moved_at > target.limits.stalled_s else State.SYNCING


def _head(target: Target) -> int:
    """The primary's, as far as known."""
    return max(target.head, target.state.position if target.state else 0)


def shared(engine: AuxiliaryEngine) -> tuple[str, ...] | None:
    """What the primary said that it shares; None while it is not connected."""
    return engine.welcome.collections if engine.phase is Phase.OPEN and engine.welcome else None


def target_line(target: Target, application: str, shared: tuple[str, ...] | None, now: float) -> Json:
    """``shared``: see above."""
    return {
        "name": target.name,
        "application": application,
        "state": target_state(target, shared is not None, now).value,
        "objects": target.state.objects if target.state else 0,
        "head": _head(target),
        "reason": _reason(target, shared),
    }


def _reason(target: Target, shared: tuple[str, ...] | None) -> str:
    """Why a target is not as far as it could be. ``shared``: what the primary shares, None if it is not connected."""
    if target.reason:
        return target.reason
    if shared is None:
        return "not connected: identical when it last was" if target.match else ""
    if target.following and not target.begun:
        others = f" (it shares {', '.join(shared)})" if shared else ""
        if target.name not in shared:
            return f"the primary shares no collection of this name{others}: `syncd share` it there"
        return "the primary is reading it from its application for the first time"
    if target.phase is TargetPhase.EXECUTING and target.transfer is not None and target.transfer.snapshot:
        return "all of it has come and is being executed"
    return f"everything is fetched, {target.fetching}" if target.fetching else ""


def primary_line(engine: AuxiliaryEngine, device: DeviceLine, now: float, show_key: ShowKey) -> Json:
    """The one device an auxiliary knows: its primary."""
    collections: list[Json] = []
    for name, target in sorted(engine.targets.items()):
        position = target.state.position if target.state else 0
        line: Json = {
            "name": name,
            "state": target_state(target, device.connected, now).value,
            "position": position,
            "head": _head(target),
            "behind": _head(target) - position,
            "parked": target.parked.parts,
            "digest_match": target.match,
            "objects": target.state.objects if target.state else 0,
            "reason": _reason(target, shared(engine)),
            "failed": _failed(name, target.failed, show_key),
        }
        transfer, state = target.transfer, target.state
        if transfer is not None and target.begun and state is not None:
            base = position if transfer.epoch == state.epoch and not transfer.snapshot else 0
            if target.head > position and target.received > base:
                line["progress"] = _progress(base, target.received, target.head)
        collections.append(line)
    return device.line(collections)
