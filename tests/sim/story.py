"""One seeded story: what the application's user, the network and the machines do, then peace."""

from __future__ import annotations

import copy
import random
import sys
from collections.abc import Callable

from syncd.adapters.canonical import pack_values
from syncd.applications.memory import MemorySource
from syncd.core.auxiliary_engine import AuxiliaryEngine
from syncd.core.model import DataType, ObjectId
from syncd.core.ports import TargetState
from syncd.core.settings import Limits
from tests.sim.invariants import State, Watcher, parked_objects
from tests.sim.world import COLLECTION, PRIMARY, World, finish

TYPES = (DataType(0, "city", ("id",), ("name",)), DataType(0, "country", ("id",), ("name",)))
LIMITS = Limits(
    frame_bytes=120,
    chunk_rows_max=4,
    scan_rows_max=3,
    ties_max=4,
    window_bytes_max=900,
    credit_bytes=200,
    waiting_cuts_max=3,
    hello_s_max=1e9,  # time leaps while nothing is said
    offline_retry_s_first=0.1,
    offline_retry_s_max=1.0,
    park_retry_s_first=1.0,
    park_retry_s_max=4.0,
)


def some_object(rng: random.Random) -> ObjectId:
    return ObjectId(rng.choice(("city", "country")), pack_values([rng.randrange(12)]))


def some_changes(rng: random.Random) -> dict[ObjectId, bytes | None]:
    size = rng.choice((1, 1, 1, 2, 3, 6))
    return {
        some_object(rng): None if rng.random() < 0.25 else pack_values([f"v{rng.randrange(1000)}"]) for _ in range(size)
    }


class Story:
    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        source = MemorySource(TYPES)
        source.commit({some_object(self.rng): pack_values([f"v{i}"]) for i in range(self.rng.randrange(8))})
        self.world = World(seed, self.rng.randint(1, 3), LIMITS, source)
        self.watcher = Watcher(self.world)
        self._store_copy: object = None
        self._copies: dict[str, list[tuple[State, TargetState]]] = {}
        plan = self._plan()
        self._weights = [weight for weight, _ in plan]
        self._actions = [action for _, action in plan]

    def act(self) -> None:
        """One thing happens: by its weight, anything that can."""
        action = self.rng.choices(self._actions, self._weights)[0]
        action()

    def _device(self) -> str:
        return self.rng.choice(list(self.world.targets))

    def _commit(self) -> None:
        self.watcher.commit(some_changes(self.rng))
        self.world.note("commit")

    def _crash(self) -> None:
        self.world.crash(self.rng.choice([PRIMARY, self._device()]))

    def _time_passes(self) -> None:
        self.world.now += self.rng.choice((0.2, 1.0, 3.0))
        for node in self.world.nodes.values():
            node.take_tick()

    def _refuse(self) -> None:
        device, object_id = self._device(), some_object(self.rng)
        self.world.targets[device].failing[object_id] = "CHECK constraint failed"
        self.world.note(f"{device[:4]} refuses {object_id}")

    def _source_goes_or_comes(self) -> None:
        self.world.source.offline = "" if self.world.source.offline else "the disk is not mounted"

    def _target_goes_or_comes(self) -> None:
        target = self.world.targets[self._device()]
        target.offline = "" if target.offline else "locked"

    def _restore_target(self) -> None:
        """The application's data on an auxiliary is an older copy of itself, taken when nothing was parked there."""
        device = self._device()
        target, copies = self.world.targets[device], self._copies.setdefault(device, [])
        if copies and self.rng.random() < 0.5:
            target.rows, target.state = dict(copies[-1][0]), copies[-1][1]
            self.world.note(f"{device[:4]} is restored to {target.state.position}")
            self.world.crash(device)
        elif not parked_objects(self.world.queues[device]):
            copies.append((dict(target.rows), target.state))

    def _restore_store(self) -> None:
        """The sync store is an older copy of itself; a device that holds more proves it."""
        if self._store_copy is None or self.rng.random() < 0.5:
            self._store_copy = copy.deepcopy(vars(self.world.store)["_collections"])
            return
        vars(self.world.store)["_collections"] = copy.deepcopy(self._store_copy)
        self.world.note("the store is restored")
        state = finish(self.world.store.open_collection(COLLECTION))
        transfers = [finish(queue.load(COLLECTION))[0] for queue in self.world.queues.values()]
        staged = [transfer.cursor for transfer in transfers if transfer is not None]
        engines = [self.world.nodes[device].engine for device in self.world.targets]
        came = [one.targets[COLLECTION].received for one in engines if isinstance(one, AuxiliaryEngine)]
        held = [target.state.position for target in self.world.targets.values()]
        if max(*staged, *came, *held, 0) > state.head:
            finish(self.world.store.new_epoch())  # as the primary does at its start
        else:
            self.watcher.forget_after(state.epoch, state.head)
            self._copies.clear()  # two restorations in a row are more than positions can tell apart
        self.world.crash(PRIMARY)

    def _fault(self) -> None:
        object_id = some_object(self.rng)
        if object_id in self.world.source.rows:
            self.world.source.faults[object_id] = "not UTF-8"
            self.watcher.commit({object_id: self.world.source.rows[object_id]})

    def _plan(self) -> list[tuple[float, Callable[[], object]]]:
        rng, world = self.rng, self.world
        return [
            (55.0, world.work),
            (13.0, self._commit),
            (8.0, lambda: world.nodes[PRIMARY].wake()),
            (10.0, lambda: world.connect(self._device())),
            (3.0, lambda: world.cut(self._device())),
            (1.5, self._crash),
            (1.5, lambda: world.work(fuse=rng.randint(0, 3))),
            (3.0, self._time_passes),
            (1.5, self._refuse),
            (1.0, lambda: world.targets[self._device()].failing.clear()),
            (0.5, self._source_goes_or_comes),
            (0.5, self._target_goes_or_comes),
            (0.3, world.source.lose_log),
            (0.8, self._restore_target),
            (0.3, self._restore_store),
            (0.3, self._fault),
            (0.3, self._heal_faults),
            (0.6, lambda: world.prune(rng)),
        ]

    def _heal_faults(self) -> None:
        source = self.world.source
        faulty = [one for one in source.faults if one in source.rows]
        source.faults.clear()
        if faulty:
            self.watcher.commit({one: source.rows[one] for one in faulty})

    def peace(self) -> None:
        world = self.world
        world.source.offline = ""
        self._heal_faults()
        for target in world.targets.values():
            target.offline = ""
            target.failing.clear()
        world.settle()


def run_story(seed: int, steps: int = 250) -> None:
    """Raises AssertionError with the seed and what happened last."""
    story = Story(seed)
    try:
        for _ in range(steps):
            story.act()
            story.watcher.look()
        story.peace()
        story.watcher.look()
    except Exception as error:
        recent = "\n".join(story.world.log)
        raise AssertionError(f"seed {seed}, collection {COLLECTION}: {error!r}\n{recent}") from error


if __name__ == "__main__":
    first, last = map(int, sys.argv[1].split(":"))
    for number in range(first, last):
        run_story(number)
    print(f"{last - first} stories hold, seeds {first} to {last - 1}")
