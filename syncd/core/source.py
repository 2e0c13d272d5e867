"""A collection on the primary, from the application to the store, as a table (R1, R12, R13; claims 24e, 24g, 24h).

Import, re-import and everyday capture are one road: read in short steps, keep each step unpublished, publish when
nothing remains, so that what devices are sent is always one state of the application. A source that fails in any
way is offline, never empty, and is opened again with growing pauses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

from syncd.core.effects import BeginScan, Effect, OpenSource, ReadSource, ScanSource, SweepSource, WaitSource
from syncd.core.errors import InvariantBroken
from syncd.core.events import (
    Event,
    Scanned,
    SourceFailed,
    SourceOpened,
    SourceRead,
    SourceWoken,
    StoreMoved,
    Swept,
    Tick,
)
from syncd.core.ports import CollectionState
from syncd.core.settings import Limits, back_off


class SourcePhase(Enum):
    OPENING = "opening"
    SCANNING = "scanning"
    SWEEPING = "sweeping"
    READING = "reading"
    WAITING = "waiting"
    OFFLINE = "offline"


@dataclass(frozen=True, slots=True)
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
        return source, [ReadSource(source.name, event.state.mark)]
    return replace(source, phase=SourcePhase.WAITING, attempt=0), [WaitSource(source.name)]


def _woken(source: Source, event: SourceWoken, now: float) -> Step:
    assert source.state is not None
    return replace(source, phase=SourcePhase.READING), [ReadSource(source.name, source.state.mark)]


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
    return replace(source, state=replace(source.state, horizon=event.state.horizon)), []


_P = SourcePhase
# (phase, event) -> what happens; a missing pair is a fault of ours
TABLE: dict[tuple[SourcePhase, type[Event]], Callable[..., Step]] = {
    (_P.OPENING, SourceOpened): _opened,
    (_P.SCANNING, Scanned): _scanned,
    (_P.SWEEPING, Swept): _swept,
    (_P.READING, SourceRead): _read,
    (_P.WAITING, SourceWoken): _woken,
    (_P.OFFLINE, Tick): _tick_offline,
    **{(phase, SourceFailed): _failed for phase in _P if phase is not _P.OFFLINE},
    **{(phase, Tick): _nothing for phase in _P if phase is not _P.OFFLINE},
    **{(phase, StoreMoved): _moved for phase in _P},
}


def step(source: Source, event: Event, now: float) -> Step:
    """The source after the event, and what is to be done."""
    handle = TABLE.get((source.phase, type(event)))
    if handle is None:
        raise InvariantBroken(f"source {source.name} in phase {source.phase.value} got {type(event).__name__}")
    return handle(source, event, now)
