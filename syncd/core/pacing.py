"""What travels when, to which device, and how fast: what rests, runs that a schedule or a person began, rates, ranks.

A collection on a device rests in both directions at once: the primary reads nothing for it, and tells the device, which
sends nothing. What was sent before arrives and counts. Groups wait where they are durable: here in the order, on the
device in its outbox. Greetings, terms, reports, credit and verdicts always travel.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from syncd.core.effects import Effect, Send
from syncd.core.errors import Refused
from syncd.core.messages import Hello, Pace, Rest
from syncd.core.pace import USUAL, Bucket, Paced, bucket
from syncd.core.reception import Reception
from syncd.core.schedule import CONTINUOUS, Clock, Window
from syncd.core.settings import Limits

ON_DEVICE = "paused on the device: `syncd resume` there"
_NO_PACE = Pace(())
NONE_APART: Mapping[str, Paced] = {}


@dataclass(frozen=True, slots=True)
class Run:
    """A collection on a device goes on until all that waited has travelled. ``asked``: by a person. ``offered``: newest
    group of the device's first offer, None before it; ``up``: all that had waited there has come; ``aim``: how far the
    device is to come from then on."""

    begun_at: float
    asked: bool = False
    offered: int | None = None
    up: bool = False
    aim: int | None = None


@dataclass(frozen=True, slots=True)
class Due:
    """When the next run begins, in monotonic seconds and, for people, in microseconds UTC."""

    at: float
    wall_us: int


class Pacing(Reception):
    """``paces``: of each collection, ``paced_apart``: of devices that have another. ``rates``: bytes per second of
    devices, those without a limit left out; ``buckets``: what they may be sent. ``clock``: None until it is known, when
    nothing that has hours travels. ``own_rests``: what rests because a device said so. ``told``: which pace."""

    def __init__(self, name: str, user: str, adapters: Sequence[str], limits: Limits) -> None:
        super().__init__(name, user, adapters, limits)
        self.now = 0.0
        self.paces: dict[str, Paced] = {}
        self.paced_apart: dict[str, Mapping[str, Paced]] = {}
        self.rates: Mapping[str, int] = {}
        self.buckets: dict[str, Bucket] = {}
        self.clock: Clock | None = None
        self.runs: dict[tuple[str, str], Run] = {}
        self.due: dict[tuple[str, str], Due] = {}
        self.own_rests: dict[str, frozenset[str]] = {}
        self.told: dict[str, Pace] = {}
        self.is_paced = False  # whether anything rests at any time
        self.ranked = False  # whether any collection goes before another
        self._opens: dict[Window, int] = {}

    # ------------------------------------------------------------ what rests

    def pace_of(self, device: str, collection: str) -> Paced:
        return self.paced_apart.get(collection, NONE_APART).get(device, self.paces.get(collection, USUAL))

    def rest_of(self, device: str, collection: str) -> Rest | None:
        """Why nothing of it travels to and from the device, None: it does."""
        if collection in self.own_rests.get(device, ()):
            return Rest(collection, ON_DEVICE, 0)
        return self.bidden_rest(device, collection)

    def bidden_rest(self, device: str, collection: str) -> Rest | None:
        """The same, as far as it is decided here."""
        paced = self.pace_of(device, collection)
        if not paced.paused and paced.schedule is CONTINUOUS:
            return None
        run = self.runs.get((device, collection))
        if run is not None and run.asked:
            return None
        if paced.paused:
            return Rest(collection, f"paused: `syncd resume {collection}` on the primary", 0)
        schedule = paced.schedule
        if schedule.manual:
            return Rest(collection, f"its schedule is manual: `syncd now {collection}` on the primary", 0)
        reason = f"its schedule is {schedule.canonical}"
        if schedule.window is not None and (minutes := self._opens_in_min(schedule.window)):
            return Rest(collection, reason, self.clock.wall_us + minutes * 60_000_000 if self.clock else 0)
        due = self.due.get((device, collection))
        if schedule.every_s and run is None and due is not None and self.now < due.at:
            return Rest(collection, reason, due.wall_us)
        return None

    def _opens_in_min(self, window: Window) -> int:
        if self.clock is None:
            return 1
        found = self._opens.get(window)
        if found is None:
            found = self._opens[window] = window.opens_in_min(self.clock)
        return found

    def know_clock(self, clock: Clock) -> None:
        """Another minute, or another clock."""
        self.clock = clock
        self._opens.clear()

    def set_own_rests(self, device: str, pace: Pace) -> None:
        """What a device says that it pauses. Raises Refused."""
        if len(pace.resting) > self.limits.follows_max:
            raise Refused(f"more than {self.limits.follows_max} collections are paused", code="too-large")
        self.own_rests[device] = frozenset(one.collection for one in pace.resting)

    # ------------------------------------------------------------ what a device is told

    def pace_for(self, device: str) -> Pace:
        """Of all that it may have."""
        rate = self.rates.get(device, 0)
        if not self.is_paced:
            return Pace((), (), rate)
        resting: list[Rest] = []
        running: list[str] = []
        for name in self.collections_of(device):
            if (rest := self.bidden_rest(device, name)) is not None:
                resting.append(rest)
            elif (device, name) in self.runs:
                running.append(name)
        return Pace(tuple(resting), tuple(running), rate)

    def tell_pace(self, device: str) -> list[Effect]:
        pace = self.pace_for(device)
        if pace == self.told.get(device, _NO_PACE):
            return []
        self.told[device] = pace
        return [Send(device, pace)]

    def _welcome(self, device: str, hello: Hello) -> list[Effect]:
        """Before the terms: nothing of what rests is to be offered."""
        return super()._welcome(device, hello) + self.tell_pace(device)

    def forget_pace(self, device: str) -> None:
        """Its link begins or is over."""
        self.told.pop(device, None)

    # ------------------------------------------------------------ rates and ranks

    def know_rates(self, rates: Mapping[str, int]) -> None:
        """Those that are as they were keep their accounts."""
        same = {device: one for device, one in self.buckets.items() if rates.get(device) == one.rate_bytes_s}
        self.rates = dict(rates)
        self.buckets = {device: same.get(device) or bucket(rate, self.now) for device, rate in rates.items()}

    def has_room(self, device: str) -> bool:
        """Whether its rate leaves room for a frame."""
        one = self.buckets.get(device)
        return one is None or one.ready(self.now)

    def spend(self, device: str, frame: bytes | str) -> None:
        if (one := self.buckets.get(device)) is not None:
            sent_bytes = len(frame) if isinstance(frame, bytes) else len(frame.encode())
            self.buckets[device] = one.spent(sent_bytes, self.now)

    def by_rank(self, device: str) -> Iterable[str]:
        """The collections that it may have, those that go first first."""
        return sorted(self.collections_of(device), key=lambda name: self.pace_of(device, name).rank)

    def is_ordered(self, device: str) -> bool:
        """Whether it matters which collection is looked at first."""
        return self.ranked or device in self.rates
