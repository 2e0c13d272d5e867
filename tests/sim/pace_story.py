"""One seeded story with schedules, pauses on either side and rates, beside all that happens in the stories with
selections; then peace: first each device runs once, then nothing rests any more.

Of what rests nothing travels (``Watcher.leaves``, ``Watcher.sent``): asked of each message, by what its sender was told
or said on this link.
"""

from __future__ import annotations

from collections import Counter

from syncd.core.auxiliary_engine import AuxiliaryEngine
from syncd.core.auxiliary_pace import OwnPause
from syncd.core.messages import Begin, Hello, Objects, Offer, Pace, Upload
from syncd.core.messages import Wire as Message
from syncd.core.pace import USUAL, Paced
from syncd.core.schedule import WEEK_MIN, Clock, read_schedule
from tests.sim.contents import parked
from tests.sim.edits_world import EditsWorld
from tests.sim.network import PRIMARY, Frame, finish
from tests.sim.selections_story import SelectionsStory
from tests.sim.selections_story import Watcher as SelectionsWatcher
from tests.sim.telling import Plan, tell, told
from tests.two_way_kit import NAME

SCHEDULES = (
    "continuous",
    "continuous",
    "manual",
    "every 5s",
    "within 12:00-13:00",
    "within 22:00-06:00",
    "every 10s within 06:00-18:00",
    "within 00:00-24:00 sat-sun",
)
PACES = (*(Paced(read_schedule(text)) for text in SCHEDULES), Paced(paused=True))
MANUAL = Paced(read_schedule("manual"))
RATES = (100, 400, 5_000)


class PaceWorld(EditsWorld):
    """``pace``: of the collection, ``paces``: of devices that have another; ``own``: devices that pause by themselves.
    All of that, and the clock, outlives crashes."""

    minute = 0
    pace = USUAL

    def start(self, device: str) -> None:
        self.__dict__.setdefault("paces", {})
        self.__dict__.setdefault("rates", {})
        self.__dict__.setdefault("own", set())
        super().start(device)
        engine = self.nodes[device].engine
        if isinstance(engine, AuxiliaryEngine):
            engine.own = OwnPause(device in self.own)
        else:
            self.keep_pace()

    paces: dict[str, Paced]
    rates: dict[str, int]
    own: set[str]

    def work(self, fuse: int = -1, whose: str = "") -> bool:
        """Much may be published and deleted again in one round: the watcher sees each state."""
        worked = super().work(fuse, whose)
        if isinstance(self.observer, SelectionsWatcher) and PRIMARY in self.nodes:
            self.observer.publication()
        return worked

    def keep_pace(self) -> None:
        node, engine = self.nodes[PRIMARY], self.primary
        node.order(engine.set_clock(Clock(self.minute, int(self.now * 1e6), self.now)))
        node.order(engine.set_paces(NAME, self.pace, self.paces))
        node.order(engine.set_rates(self.rates))

    def pause_there(self, device: str, paused: bool) -> None:
        self.note(f"{device[0]} {'pauses' if paused else 'goes on'} by itself")
        (self.own.add if paused else self.own.discard)(device)
        if device not in self.off:
            engine = self.auxiliary(device)
            is_open = engine.phase.value == "open"
            self.nodes[device].order(engine.pause(OwnPause(paused), is_open, self.now))

    def run_now(self, *devices: str) -> None:
        self.note(f"{[one[0] for one in devices]} run")
        self.nodes[PRIMARY].order(self.primary.run_now([(device, NAME) for device in devices]))


class Watcher(SelectionsWatcher):
    """``bidden``: devices that were told on this link that the collection rests, ``heard``: those that know it, and
    ``paused``: those that said so."""

    def __init__(self, world: EditsWorld) -> None:
        super().__init__(world)
        self.bidden: set[str] = set()
        self.heard: set[str] = set()
        self.paused: set[str] = set()

    def leaves(self, device: str, message: Message) -> None:
        super().leaves(device, message)
        if isinstance(message, Pace):
            rests = any(one.collection == NAME for one in message.resting)
            (self.bidden.add if rests else self.bidden.discard)(device)
            self.met["rests"] += rests
            self.met["runs"] += NAME in message.running
        if isinstance(message, Begin | Objects):
            assert device not in self.bidden, f"{device[0]} is sent {type(message).__name__} of what rests"

    def asked(self, device: str, message: Message) -> None:
        super().asked(device, message)
        if isinstance(message, Hello):
            self.bidden.discard(device)

    def arrives(self, device: str, message: Message, frame: Frame) -> None:
        super().arrives(device, message, frame)
        if isinstance(message, Pace):
            rests = any(one.collection == NAME for one in message.resting)
            (self.heard.add if rests else self.heard.discard)(device)

    def sent(self, sender: str, device: str, message: Message) -> None:
        super().sent(sender, device, message)
        if sender == PRIMARY:
            return
        if isinstance(message, Hello):
            self.heard.discard(device)
            self.paused.discard(device)
        if isinstance(message, Pace):
            rests = any(one.collection == NAME for one in message.resting)
            (self.paused.add if rests else self.paused.discard)(device)
            self.met["rests there"] += rests
        if isinstance(message, Offer | Upload):
            self.met["edits travel"] += 1
            assert device not in self.heard | self.paused, f"{device[0]} sends {type(message).__name__} of what rests"


class PaceStory(SelectionsStory):
    world: PaceWorld
    world_of = PaceWorld
    watcher_of = Watcher

    def _paces(self) -> None:
        """A person chooses: of the collection, or of one device."""
        world, chosen = self.world, self.rng.choice(PACES)
        if self.rng.random() < 0.4:
            world.pace = chosen
        elif self.rng.random() < 0.7:
            world.paces = {**world.paces, self._device(): chosen}
        else:
            world.paces = {}
        world.note(f"pace {world.pace.schedule.canonical}, of {len(world.paces)} devices another")
        world.keep_pace()

    def _rate(self) -> None:
        device = self._device()
        rates = {one: rate for one, rate in self.world.rates.items() if one != device}
        self.world.rates = rates if self.rng.random() < 0.4 else {**rates, device: self.rng.choice(RATES)}
        self.world.keep_pace()

    def _clock(self) -> None:
        """It goes on, or jumps."""
        world = self.world
        minutes = self.rng.choice((1, 30, 300, self.rng.randrange(WEEK_MIN)))
        world.minute = (world.minute + minutes) % WEEK_MIN
        world.keep_pace()

    def _pause_there(self) -> None:
        device = self._device()
        self.world.pause_there(device, device not in self.world.own)

    def _plan(self) -> Plan:
        return [
            *super()._plan(),
            (2.0, self._paces),
            (1.0, self._rate),
            (3.0, self._clock),
            (1.5, self._pause_there),
            (2.0, lambda: self.world.run_now(self._device())),
        ]

    def _run(self) -> None:
        """Each device once."""
        self.world.run_now(*self.world.devices)
        for _ in range(60):
            self.world.round()
            self.watcher.look()
            if not self.world.primary.runs:
                break
        assert not self.world.primary.runs, "a run never ends"

    def peace(self) -> None:
        """All that is manual is the same after each device ran once; then nothing rests."""
        world = self.world
        for device in world.devices:
            world.switch_on(device)
            if device in world.unlinked:
                world.link_or_unlink(device, True)
            world.targets[device].failing.clear()
            if device in world.own:
                world.pause_there(device, False)
        for _ in range(20):  # each has a link, and groups that failed are tried again
            world.round()
            self._decide()
        world.pace, world.paces, world.rates = MANUAL, {}, {}
        world.keep_pace()
        world.round()
        self._commit()
        world.round()
        for _ in range(20):
            if finish(world.store.open_collection(NAME)).held is None:
                break
            self._decide()
            world.round()
        assert all(world.primary.rest_of(device, NAME) for device in world.devices)
        if any(world.uplink(device).pending for device in world.devices):
            self._run()  # what comes up in it goes down in the next: the runs of others may have ended before
        self._run()
        # A group that failed before has travelled; it is tried again beside the run.
        still = [device for device in world.devices if not parked(world.queues[device], NAME)]
        assert all(self._at_rest(device) for device in still), "a run ended before all that waited had travelled"
        self.watcher.met["a run brought all of it"] += 1
        world.pace = USUAL
        world.keep_pace()
        super().peace()


def run_pace_story(seed: int, steps: int = 400) -> Counter[str]:
    """How often each rule was asked. Raises AssertionError with the seed and what happened last."""
    return told(PaceStory(seed), steps, f"pace seed {seed}")


if __name__ == "__main__":
    tell(run_pace_story, "stories with schedules and pauses")
