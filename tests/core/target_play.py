"""A target that is told what happens, as the driver would tell it: every order is answered by the test."""

from __future__ import annotations

from dataclasses import replace

from syncd.core import target as targets
from syncd.core.effects import Effect, Send
from syncd.core.events import Event, Parked, Retried, Staged, TargetOpened, WorkDone
from syncd.core.messages import Begin, Credit, Follow, Objects, Report, Types
from syncd.core.ports import Executed, ParkedPart, Parking, TargetState, Transfer
from syncd.core.target_state import Target
from tests.core.kit import CITY, COUNTRY, EPOCH, LIMITS, NAME, frame, of_kind, proof_at, target_state

PRIMARY = "P" * 52
FRAME_BYTES = 40
KNOWN = {CITY.id: CITY, COUNTRY.id: COUNTRY}


class Play:
    """``hears`` events and messages (each frame of ``FRAME_BYTES`` bytes); gives what they make the target order."""

    def __init__(self, **limits: float) -> None:
        changed = replace(LIMITS, **limits)  # type: ignore[arg-type]
        self.now = 100.0
        self.target: Target
        self.target, self.first = targets.start(NAME, changed)

    def hears(self, *events: Event | Begin | Objects | Types, raw: bytes = b"." * FRAME_BYTES) -> list[Effect]:
        """What the last of the events makes it order."""
        effects: list[Effect] = []
        for event in events:
            if isinstance(event, Types):
                self.target, effects = targets.described(self.target, event)
            elif isinstance(event, Begin | Objects):
                self.target, effects = targets.message(self.target, event, raw, self.now)
            else:
                self.target, effects = targets.step(self.target, event, self.now)
        return effects

    def linked(self) -> list[Effect]:
        self.target, effects = targets.link_open(self.target, PRIMARY, self.now)
        return effects

    def unlinked(self) -> None:
        self.target = targets.link_down(self.target)


def opened(state: TargetState, transfer: Transfer | None = None, parked: tuple[ParkedPart, ...] = ()) -> TargetOpened:
    return TargetOpened(NAME, state, transfer, KNOWN, parking(*parked))


def transfer_at(cursor: int, *, base: int | None = None, cut: int | None = None, snapshot: bool = False) -> Transfer:
    """By default one of which nothing is staged: its last cut was executed."""
    start = cursor if base is None else base
    return Transfer(EPOCH, snapshot, start, 0, cursor, start if cut is None else cut)


def begin(base: int, *, cursor: int | None = None, head: int = 0, snapshot: bool = False, floor: int = 0) -> Begin:
    at = base if cursor is None else cursor
    return Begin(NAME, EPOCH, snapshot, base, floor, at, max(head, at))


def staged(*frames: Objects, size: int = FRAME_BYTES) -> Staged:
    """These frames are durable."""
    cuts = tuple(proof_at(one.cut.seq) for one in frames if one.cut is not None)
    return Staged(NAME, len(frames), frames[-1].last, cuts, size * len(frames))


def done(seq: int, digest: bytes | None = None) -> WorkDone:
    """What waited is executed up to a cut; with ``digest``, the application then holds something else."""
    return WorkDone(NAME, proof_at(seq), Executed(target_state(seq, digest=digest)))


def done_lazily(seq: int, digest: bytes | None = None) -> WorkDone:
    """The same, and it is not durable yet."""
    return WorkDone(NAME, proof_at(seq), Executed(target_state(seq, digest=digest), durable=False))


def parked(*parts: ParkedPart) -> Parked:
    return Parked(NAME, parking(*parts))


def parking(*parts: ParkedPart) -> Parking:
    """These are parked."""
    return Parking(len(parts), parts, min((part.retry_at_us for part in parts), default=None))


def retried(*parts: ParkedPart, tried: int = 1, state: TargetState | None = None) -> Retried:
    """So many were tried; these are parked after it."""
    return Retried(NAME, state, tried, parking(*parts))


def following(position: int = 10, **limits: float) -> Play:
    """A target at a position, linked, whose Follow was answered with the changes after it."""
    play = Play(**limits)
    play.hears(opened(target_state(position), transfer_at(position)))
    play.linked()
    play.hears(begin(position))
    return play


def proven(position: int = 10, **limits: float) -> Play:
    """The same, proven identical at its position."""
    play = following(position, **limits)
    play.hears(frame(position, position))
    assert play.target.match
    return play


def catching_up(*ends: int, **limits: float) -> Play:
    """A target at 10 that took these groups by the long road and executes them."""
    play = following(10, direct_bytes_max=0, **limits)
    first = 10
    for end in ends:
        group = frame(first, end)
        play.hears(group, staged(group))
        first = end
    return play


def told(effects: list[Effect], kind: type[Credit | Follow | Report]) -> list[Credit | Follow | Report]:
    """The messages of that kind to the primary."""
    return [one.message for one in of_kind(effects, Send) if isinstance(one.message, kind) and one.device == PRIMARY]


def reports_of(effects: list[Effect]) -> list[Report]:
    return [message for message in told(effects, Report) if isinstance(message, Report)]


def report_of(effects: list[Effect]) -> Report:
    report = told(effects, Report)[-1]
    assert isinstance(report, Report)
    return report
