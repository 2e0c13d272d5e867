"""What the status socket tells (DESIGN §6), from the engine's state: which state each collection is in, and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from syncd.core.auxiliary_engine import AuxiliaryEngine
from syncd.core.conversation import Phase
from syncd.core.edits import Direction
from syncd.core.holding import held_id, held_reason
from syncd.core.messages import Failed, Report, Rest
from syncd.core.model import State, group_id
from syncd.core.ports import CollectionState
from syncd.core.primary_engine import PrimaryEngine
from syncd.core.sending import Standing
from syncd.core.settings import Limits
from syncd.core.source import Source, SourcePhase
from syncd.core.target_state import Target, TargetPhase
from syncd.core.uplink_state import Uplink

Json = dict[str, object]


@dataclass(frozen=True, slots=True)
class DeviceLine:
    """A device as the sync database knows it. ``reason``: why it is not connected, if that is known. ``users``: names
    of those that it is linked with. ``revoked``, ``copied``: since when a person cut it off, and since when two
    machines are known to use its identity. Times in ISO 8601 UTC, empty if never."""

    id: str
    name: str
    connected: bool
    last_seen: str
    reason: str = ""
    users: tuple[str, ...] = ()
    revoked: str = ""
    copied: str = ""

    def line(self, collections: list[Json]) -> Json:
        return {
            "id": self.id,
            "name": self.name,
            "connected": self.connected,
            "last_seen": self.last_seen,
            "reason": self.reason or self._refused(),
            "users": list(self.users),
            "revoked": self.revoked,
            "copied": self.copied,
            "collections": collections,
        }

    def _refused(self) -> str:
        """Why no link of it is let in."""
        if self.revoked:
            return "it is cut off: to let it in again, pair it again"
        if self.copied:
            return (
                "two machines use its identity, and neither is let in: set one of them up anew with `syncd init`, then "
                "`syncd devices allow` it here"
            )
        return ""


ShowKey = Callable[[bytes], str]  # a canonical key for people
ShowTime = Callable[[int], str]  # microseconds UTC for people


def untold(time_us: int) -> str:
    """Where times are of no interest."""
    return ""


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
    if source.state is not None and source.state.held is not None:
        return State.HELD
    published = source.state is not None and source.state.published
    if source.ready and published and source.phase in (SourcePhase.WAITING, SourcePhase.READING):
        return State.IDENTICAL
    return State.SYNCING


def source_line(source: Source, application: str, user: str) -> Json:
    """``user``: whose it is."""
    state = source.state
    return {
        "name": source.name,
        "user": user,
        "application": application,
        "state": source_state(source).value,
        "objects": state.objects if state else 0,
        "head": state.head if state else 0,
        "reason": source.reason or (held_reason(source.name, state.held) if state and state.held else ""),
        "held": held_id(source.name, state.held.number) if state and state.held else "",
    }


def of_epoch(report: Report, state: CollectionState | None) -> Report:
    """A report as it counts: positions and groups of another epoch are none. ``state``: as the device sees it."""
    if state is not None and report.epoch == state.epoch:
        return report
    return replace(report, position=0, match=False, parked=0, failed=())


def device_state(
    standing: Standing, state: CollectionState | None, connected: bool, now: float, limits: Limits
) -> State:
    """State of a collection on an auxiliary, as the primary knows it. ``state``: as the device sees it."""
    report, head = of_epoch(standing.report, state), state.head if state else 0
    if connected and report.held:
        return State.HELD
    if connected and report.offline:
        return State.OFFLINE
    if report.parked:
        return State.PARKED
    if report.match and report.position >= head:
        return State.IDENTICAL
    if not connected:
        return State.BEHIND
    return State.STALLED if now - standing.moved_at > limits.stalled_s else State.SYNCING


def primary_devices(
    engine: PrimaryEngine,
    devices: list[DeviceLine],
    now: float,
    show_key: ShowKey,
    show_time: ShowTime = untold,
) -> list[Json]:
    lines: list[Json] = []
    for device in devices:
        collections: list[Json] = []
        for (owner, name), standing in sorted(engine.standings.items()):
            source = engine.sources.get(name)
            if owner != device.id or source is None or not engine.may(device.id, name):
                continue  # R9: what it reported of another user's is not of these users
            seen, broken = engine.state_of(device.id, name), engine.why_not_sent(device.id, name)
            report, head = of_epoch(standing.report, seen), seen.head if seen else 0
            state = device_state(standing, seen, device.connected, now, engine.limits)
            state = patient(state, now - standing.moved_at, engine.limits, engine.rates.get(device.id, 0))
            state = State.HELD if broken else state
            if inward := engine.terms_of(name, device.id)[0] is Direction.IN:  # it is sent nothing, and lacks nothing
                head = report.position
                state = State.IDENTICAL if state in (State.SYNCING, State.STALLED) else state
            silent = inward or device.id in engine.revoked
            line: Json = {
                "name": name,
                "state": state.value,
                "position": report.position,
                "head": head,
                "behind": max(0, head - report.position),
                "parked": report.parked,
                "digest_match": report.match,
                "objects": report.objects,
                "reason": report.offline or ("" if silent else _unsent(source, seen, broken) or _unequal(report, head)),
                "failed": _failed(name, report.failed, show_key),
            }
            follow = engine.follows.get((device.id, name))
            if follow is not None and follow.epoch and report.position < head and follow.cursor > report.position:
                line["progress"] = _progress(report.position, follow.cursor, head)
            collections.append(rested(line, engine.rest_of(device.id, name), show_time))
        lines.append(device.line(collections))
    return lines


def patient(state: State, waited_s: float, limits: Limits, rate_bytes_s: int) -> State:
    """Where there is a rate, what goes on may show nothing of it for as long as two frames take."""
    if state is not State.STALLED or not rate_bytes_s:
        return state
    slow = waited_s <= limits.stalled_s + 2 * limits.frame_bytes / rate_bytes_s
    return State.SYNCING if slow else state


_PATIENT = frozenset({State.IDENTICAL.value, State.SYNCING.value, State.BEHIND.value, State.STALLED.value})


def rested(line: Json, rest: Rest | None, show_time: ShowTime) -> Json:
    """The line of a collection of which nothing travels, None: it does. What needs a person is said all the same."""
    if rest is None:
        return line | {"resumes": ""}
    resumes = show_time(rest.until_us)
    if line["state"] not in _PATIENT:
        return line | {"resumes": resumes}
    return line | {"state": State.PAUSED.value, "reason": rest.reason, "resumes": resumes}


def _unsent(source: Source, seen: CollectionState | None, broken: str) -> str:
    """Why the selection of a device keeps it from being sent anything."""
    if broken:
        return f"its selection cannot be applied: {broken}"
    return "" if seen is not None or source.state is None else "what its selection takes is being put together"


def _unequal(report: Report, head: int) -> str:
    same = report.match or report.parked or report.position < head
    return "" if same else "its checksum is not the primary's: see `syncd status` there"


def _progress(base: int, reached: int, head: int) -> Json:
    return {"done": min(reached, head) - base, "total": max(head - base, 1)}


def target_state(target: Target, connected: bool, now: float, pending: bool = False) -> State:
    """State of a collection on this auxiliary. ``pending``: edits may wait for their verdict."""
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
        return State.SYNCING if pending else State.IDENTICAL
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


def local_state(target: Target, uplink: Uplink | None, connected: bool, now: float) -> State:
    """The same, with what was changed here: nothing is identical that still waits for the primary."""
    kept = uplink is not None and uplink.direction is Direction.OUT and uplink.keep_edits
    pending = uplink is not None and not kept and (uplink.unread or uplink.pending > 0)
    if uplink is None or uplink.direction is not Direction.IN or not connected:
        return target_state(target, connected, now, pending)
    return State.SYNCING if pending else State.IDENTICAL  # nothing comes down that could differ


def target_line(
    target: Target, application: str, shared: tuple[str, ...] | None, now: float, uplink: Uplink | None = None
) -> Json:
    """``shared``: see above."""
    return {
        "name": target.name,
        "application": application,
        "state": local_state(target, uplink, shared is not None, now).value,
        "objects": target.state.objects if target.state else 0,
        "head": _head(target),
        "pending": uplink.pending if uplink else 0,
        "refused": uplink.refused if uplink else 0,
        "reason": _reason(target, shared, uplink),
    }


def _reason(target: Target, shared: tuple[str, ...] | None, uplink: Uplink | None = None) -> str:
    """Why a target is not as far as it could be. ``shared``: what the primary shares, None if it is not connected."""
    if uplink is not None and uplink.direction is Direction.IN and shared is not None:
        return uplink.reason
    if target.reason:
        return target.reason
    if shared is None:
        return "not connected: identical when it last was" if target.match else ""
    if target.following and not target.begun:
        others = f" (it shares {', '.join(shared)})" if shared else ""
        if target.name not in shared:
            advice = "`syncd share` it there, or link this device with the user whose it is"
            return f"the primary shares no collection of this name{others}: {advice}"
        return "the primary is reading it from its application for the first time"
    if target.phase is TargetPhase.EXECUTING and target.transfer is not None and target.transfer.snapshot:
        return "all of it has come and is being executed"
    return f"everything is fetched, {target.fetching}" if target.fetching else ""


def slow_state(engine: AuxiliaryEngine, target: Target, connected: bool, now: float) -> State:
    """Of a collection on this auxiliary, at the rate that the primary gave."""
    state = local_state(target, engine.uplinks.get(target.name), connected, now)
    return patient(state, now - target.moved_at, engine.limits, engine.bidden.rate_bytes_s)


def primary_line(
    engine: AuxiliaryEngine, device: DeviceLine, now: float, show_key: ShowKey, show_time: ShowTime = untold
) -> Json:
    """The one device an auxiliary knows: its primary."""
    collections: list[Json] = []
    for name, target in sorted(engine.targets.items()):
        position = target.state.position if target.state else 0
        line: Json = {
            "name": name,
            "state": slow_state(engine, target, device.connected, now).value,
            "position": position,
            "head": _head(target),
            "behind": _head(target) - position,
            "parked": target.parked.parts,
            "digest_match": target.match,
            "objects": target.state.objects if target.state else 0,
            "reason": _reason(target, shared(engine), engine.uplinks.get(name)),
            "failed": _failed(name, target.failed, show_key),
        }
        transfer, state = target.transfer, target.state
        if transfer is not None and target.begun and state is not None:
            base = position if transfer.epoch == state.epoch and not transfer.snapshot else 0
            if target.head > position and target.received > base:
                line["progress"] = _progress(base, target.received, target.head)
        collections.append(rested(line, engine.rest_of(name), show_time))
    return device.line(collections)
