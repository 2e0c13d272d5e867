"""A primary whose collections are paced, for the tests of it."""

from __future__ import annotations

from syncd.core.edits import Direction, Policy
from syncd.core.effects import Effect, ReadChunk
from syncd.core.events import Tick
from syncd.core.messages import Pace
from syncd.core.pace import USUAL, Paced
from syncd.core.schedule import Clock, read_schedule
from syncd.core.status import DeviceLine, primary_devices
from tests.core.kit import NAME, chunk, of_kind
from tests.core.primary_play import A, Play, reported, sent_to

MANUAL, PAUSED = Paced(read_schedule("manual")), Paced(paused=True)
MON_9, MON_23 = 9 * 60, 23 * 60
HIGH, LOW = Paced(rank=0), Paced(rank=2)


def clock(minute: int, at: float = 100.0) -> Clock:
    return Clock(minute, 1_000_000_000 + minute * 60_000_000, at)


def paced(text: str) -> Paced:
    return Paced(read_schedule(text))


class Paces(Play):
    """A primary whose A follows at 20 and whose collection is taken both ways; ``paces``: how it is paced."""

    def __init__(self, pace: Paced = USUAL) -> None:
        super().__init__()
        self.engine.set_terms(NAME, Direction.BOTH, Policy.PRIMARY)
        self.engine.set_clock(clock(MON_9))
        self.engine.set_paces(NAME, pace)

    def identical(self) -> Paces:
        """A holds what there is, and a cut proved it."""
        self.follows(A, 20)
        self.hears(chunk(20, 20, base=20))
        self.says(A, reported(20))
        return self

    def later(self, seconds: float) -> list[Effect]:
        self.now += seconds
        return self.hears(Tick())

    def reads(self, effects: list[Effect]) -> list[str]:
        return [one.request.collection for one in of_kind(effects, ReadChunk)]

    def line(self, device: str = A) -> dict[str, object]:
        """What the status says of the collection there."""
        devices = [DeviceLine(device, "till", self.engine.connected(device), "")]
        (told,) = primary_devices(self.engine, devices, self.now, lambda key: "", str)
        lines = told["collections"]
        assert isinstance(lines, list)
        return dict(lines[0])


def paces_to(device: str, effects: list[Effect]) -> list[Pace]:
    return [one for one in sent_to(device, effects) if isinstance(one, Pace)]


def resting(effects: list[Effect], device: str = A) -> list[str] | None:
    """What the device is told that rests, None: it is told nothing."""
    told = paces_to(device, effects)
    return [one.collection for one in told[-1].resting] if told else None
