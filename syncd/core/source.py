"""A collection on the primary, from the application to the store, as a table (R1, R12, R13; claims 24e, 24g, 24h).

Import, re-import and everyday capture are one road: read in short steps, keep each step unpublished, publish when
nothing remains, so that what devices are sent is always one state of the application. A source that fails in any
way is offline, never empty, and is opened again with growing pauses. Of a comparison that finds much gone the store
holds that, as a group, and everything else goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from syncd.core.effects import BeginScan, Effect, OpenSource, ReadSource, ScanSource, SweepSource, WaitSource
from syncd.core.errors import InvariantBroken
from syncd.core.events import (
    ClassDropped,
    ClassOpened,
    Event,
    Scanned,
    SourceFailed,
    SourceOpened,
    SourceRead,
    StoreMoved,
    Swept,
    Tick,
)
from syncd.core.frozen import replace
from syncd.core.ports import ClassState, CollectionState
from syncd.core.settings import Limits, back_off


class SourcePhase(Enum):
    OPENING = "opening"
    SCANNING = "scanning"
    SWEEPING = "sweeping"
    READING = "reading"
    WAITING = "waiting"
    OFFLINE = "offline"


@dataclass(frozen=True)  # no slots, for ``frozen.replace``
class Source:
    """``state``: what the store holds, None until the first opening. ``retry_at``: when offline ends."""

    name: str
    limits: Limits
    phase: SourcePhase = SourcePhase.OPENING
    state: CollectionState | None = None
    reason: str = ""
    attempt: int = 0
    retry_at: float = 0.0

    @property
    def ready(self) -> bool:
        """Whether devices may be sent what the store holds: it was imported whole, once."""
        return self.state is not None and self.state.imported

    @property
    def sendable(self) -> bool:
        """Ready, and no comparison runs: while it does, objects may stand under types that are not complete."""
        comparing = self.phase in (SourcePhase.SCANNING, SourcePhase.SWEEPING)
        return self.ready and not comparing and self.state is not None and not self.state.scanning

    @property
    def offline(self) -> bool:
        return self.phase is SourcePhase.OFFLINE


Step = tuple[Source, list[Effect]]


def start(name: str, limits: Limits) -> Step:
    return Source(name, limits), [OpenSource(name)]


def _opened(source: Source, event: SourceOpened, now: float) -> Step:
    state = event.state
    source = replace(source, state=state, reason="")
    if event.changed or state.scanning or not state.imported:
        return replace(source, phase=SourcePhase.SCANNING), [BeginScan(source.name)]
    return replace(source, phase=SourcePhase.READING), [ReadSource(source.name, state.mark)]


def _scanned(source: Source, event: Scanned, now: float) -> Step:
    source = replace(source, state=event.state)
    if event.after is not None:
        return source, [ScanSource(source.name, event.type, event.after)]
    if event.type + 1 < len(event.state.types):
        return source, [ScanSource(source.name, event.type + 1, None)]
    return replace(source, phase=SourcePhase.SWEEPING), [SweepSource(source.name)]


def _swept(source: Source, event: Swept, now: float) -> Step:
    source = replace(source, state=event.state)
    if event.count:
        return source, [SweepSource(source.name)]
    read = ReadSource(source.name, event.state.mark, end_scan=True, loose=True)
    return replace(source, phase=SourcePhase.READING), [read]


def _read(source: Source, event: SourceRead, now: float) -> Step:
    source = replace(source, state=event.state)
    if event.reshaped:
        return replace(source, phase=SourcePhase.OPENING), [OpenSource(source.name)]
    if event.lost:
        return replace(source, phase=SourcePhase.SCANNING), [BeginScan(source.name)]
    if event.more:
        return replace(source, phase=SourcePhase.READING), [ReadSource(source.name, event.state.mark)]
    return replace(source, phase=SourcePhase.WAITING, attempt=0), [WaitSource(source.name, event.state.mark)]


def _failed(source: Source, event: SourceFailed, now: float) -> Step:
    limits = source.limits
    pause_s = back_off(source.attempt, limits.offline_retry_s_first, limits.offline_retry_s_max)
    offline = replace(
        source,
        phase=SourcePhase.OFFLINE,
        state=source.state or event.state,
        reason=event.reason,
        attempt=source.attempt + 1,
        retry_at=now + pause_s,
    )
    return offline, []


def _tick_offline(source: Source, event: Tick, now: float) -> Step:
    if now < source.retry_at:
        return source, []
    return replace(source, phase=SourcePhase.OPENING), [OpenSource(source.name)]


def _nothing(source: Source, event: Tick, now: float) -> Step:
    return source, []


def _moved(source: Source, event: StoreMoved, now: float) -> Step:
    """Pruning goes on beside the reading: only what it changes is taken over."""
    if source.state is None:
        return source, []
    told = {one.epoch: one for one in event.state.classes}
    classes = tuple(
        one._replace(horizon=max(one.horizon, told[one.epoch].horizon)) if one.epoch in told else one
        for one in source.state.classes
    )
    return replace(source, state=replace(source.state, horizon=event.state.horizon, classes=classes)), []


def _classes(source: Source, event: ClassOpened | ClassDropped, now: float) -> Step:
    """Classes are opened and dropped beside the reading: only what is said of this one is taken over, and of it the
    newer."""
    if source.state is None:
        return source, []
    others = [one for one in source.state.classes if one.selection != event.selection]
    told = [one for one in of_epoch(event.state, source.state.epoch).classes if one.selection == event.selection]
    if isinstance(event, ClassOpened):
        known = [one for one in source.state.classes if one.selection == event.selection]
        if known and told and known[0].epoch == told[0].epoch and known[0].head > told[0].head:
            told = [known[0]._replace(ready=told[0].ready, broken=told[0].broken)]
        others += told
    classes = tuple(sorted(others, key=lambda one: one.selection.canonical))
    return replace(source, state=replace(source.state, classes=classes)), []


def of_epoch(state: CollectionState, epoch: str) -> CollectionState:
    """The same as the store's epoch has it, with all classes."""
    classes = tuple(_numbered(one, epoch) for one in state.classes)
    return replace(state, epoch=epoch, classes=classes)


def _numbered(one: ClassState, epoch: str) -> ClassState:
    return one._replace(epoch=f"{epoch}.{one.epoch.partition('.')[2]}")


_P = SourcePhase
# (phase, event) -> what happens; a missing pair is a fault of ours
TABLE: dict[tuple[SourcePhase, type[Event]], Callable[..., Step]] = {
    (_P.OPENING, SourceOpened): _opened,
    (_P.SCANNING, Scanned): _scanned,
    (_P.SWEEPING, Swept): _swept,
    (_P.READING, SourceRead): _read,
    (_P.WAITING, SourceRead): _read,
    (_P.OFFLINE, Tick): _tick_offline,
    **{(phase, SourceFailed): _failed for phase in _P if phase is not _P.OFFLINE},
    **{(phase, Tick): _nothing for phase in _P if phase is not _P.OFFLINE},
    **{(phase, StoreMoved): _moved for phase in _P},
    **{(phase, event): _classes for phase in _P for event in (ClassOpened, ClassDropped)},
}


def step(source: Source, event: Event, now: float) -> Step:
    """The source after the event, and what is to be done."""
    handle = TABLE.get((source.phase, type(event)))
    if handle is None:
        raise InvariantBroken(f"source {source.name} in phase {source.phase.value} got {type(event).__name__}")
    return handle(source, event, now)
