"""What all stories have: how they are told, what happens in each, and their command line."""

from __future__ import annotations

import random
import sys
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Generic, Protocol, TypeVar

from tests.sim.daemon import Node
from tests.sim.network import PRIMARY


class Place(Protocol):
    """The world of a story."""

    now: float
    devices: list[str]

    @property
    def log(self) -> Iterable[str]: ...

    @property
    def nodes(self) -> Mapping[str, Node]: ...

    def crash(self, device: str) -> None: ...

    def connect(self, device: str) -> None: ...

    def work(self) -> bool: ...


class Watches(Protocol):
    """``met``: how often each rule was asked."""

    @property
    def met(self) -> Counter[str]: ...

    def look(self) -> None: ...


World = TypeVar("World", bound=Place)
Watcher = TypeVar("Watcher", bound=Watches)
Plan = list[tuple[float, Callable[[], object]]]  # what may happen, each with its weight


class Tale(ABC, Generic[World, Watcher]):
    """A seeded story. ``_begin`` is called when its world is there."""

    rng: random.Random
    world: World
    watcher: Watcher

    def _begin(self) -> None:
        plan = self._plan()
        self._weights = [weight for weight, _ in plan]
        self._actions = [action for _, action in plan]

    @abstractmethod
    def _plan(self) -> Plan: ...

    @abstractmethod
    def peace(self) -> None:
        """The faults end, and everything comes to rest."""

    def act(self) -> None:
        """One thing happens: by its weight, anything that can."""
        self.rng.choices(self._actions, self._weights)[0]()

    def _device(self) -> str:
        return self.rng.choice(self.world.devices)

    def _crash(self) -> None:
        self.world.crash(self.rng.choice([PRIMARY, self._device()]))

    def _stream(self, *commits: Callable[[], object]) -> None:
        """Commits that come down one by one, before reports of them are joined; then a device may die."""
        rng, world = self.rng, self.world
        for _ in range(rng.randint(2, 5)):
            world.connect(self._device())
            rng.choice(commits)()
            for node in world.nodes.values():
                node.wake()
            for _ in range(rng.randint(5, 40)):
                world.work()
                self.watcher.look()
        if rng.random() < 0.8:
            world.crash(self._device())

    def _time_passes(self) -> None:
        self.world.now += self.rng.choice((0.2, 1.0, 3.0))
        for node in self.world.nodes.values():
            node.take_tick()


def told(story: Tale[World, Watcher], steps: int, what: str) -> Counter[str]:
    """How often each rule was asked. Raises AssertionError with ``what``, which names the seed, and what happened
    last."""
    try:
        for _ in range(steps):
            story.act()
            story.watcher.look()
        story.peace()
        story.watcher.look()
    except Exception as error:
        recent = "\n".join(story.world.log)
        raise AssertionError(f"{what}: {error!r}\n{recent}") from error
    return story.watcher.met


def tell(run: Callable[[int], object], what: str) -> None:
    """``FIRST:LAST`` is the first argument; ``what``: what the stories are called."""
    first, last = map(int, sys.argv[1].split(":"))
    for number in range(first, last):
        run(number)
    print(f"{last - first} {what} hold, seeds {first} to {last - 1}")
