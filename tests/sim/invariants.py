"""What must hold in every state of the world (R1-R7, R14), looked at after each step."""

from __future__ import annotations

from syncd.core.auxiliary_engine import AuxiliaryEngine
from syncd.core.digest import EMPTY
from syncd.core.model import ObjectId
from syncd.core.ports import ChunkRequest
from syncd.core.selection import ALL
from syncd.store.memory import MemorySyncStore
from syncd.store.memory_inbound_queue import MemoryInboundQueue
from tests.sim.world import COLLECTION, World, finish

State = dict[ObjectId, bytes]


class Watcher:
    """Remembers each state that the application had and each that the store published."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.committed: list[State] = [dict(world.source.rows)]
        self.published: dict[tuple[str, int], State] = {}
        self.seen: dict[tuple[str, int], int] = {}

    def commit(self, changes: dict[ObjectId, bytes | None]) -> None:
        self.world.source.commit(changes)
        self.committed.append(dict(self.world.source.rows))

    def forget_after(self, epoch: str, head: int) -> None:
        """The store was restored: what it published later, no device has, and it will publish something else."""
        self.published = {at: state for at, state in self.published.items() if at[0] != epoch or at[1] <= head}

    def look(self) -> None:
        self._store()
        for device in self.world.targets:
            self._target(device)
            self._proof(device)

    def _store(self) -> None:
        """R1, R2: what is published is one state of the application, in the order in which they were."""
        state = finish(self.world.store.open_collection(COLLECTION))
        at = (state.epoch, state.head)
        if not state.published or not state.imported or at in self.published:
            return
        held = contents(self.world.store)
        withheld = {one for one, fields in held.items() if not fields}
        plain = {one: fields for one, fields in held.items() if fields}
        assert any(
            plain == {one: fields for one, fields in state.items() if one not in withheld}
            for state in reversed(self.committed)
        ), "the store published what the application never held"
        self.published[at] = held

    def _target(self, device: str) -> None:
        """R2, R4: a device holds the primary's state at its position, but for the objects that are parked there."""
        target, queue = self.world.targets[device], self.world.queues[device]
        state = target.state
        assert state.objects == len(target.rows) or not state.epoch
        if not state.epoch:
            assert state.digest == EMPTY
            return
        expected = self.published.get((state.epoch, state.position))
        assert expected is not None or state.position == 0, f"{device[:4]} is at {state.position}, never published"
        transfer = finish(queue.load(COLLECTION))[0]
        if transfer is not None and transfer.snapshot:
            return  # what was parked is void, all of it comes again; nothing is claimed meanwhile
        parked = parked_objects(queue)
        for object_id in (expected or {}).keys() | target.rows.keys():
            if object_id not in parked:
                assert target.rows.get(object_id) == (expected or {}).get(object_id), (
                    f"{device[:4]} at {state.position} holds another {object_id}"
                )

    def _proof(self, device: str) -> None:
        """R14: identical is said only where it is true."""
        engine = self.world.nodes[device].engine
        assert isinstance(engine, AuxiliaryEngine)
        target = engine.targets[COLLECTION]
        if target.match and target.state is not None and target.state == self.world.targets[device].state:
            key = (target.state.epoch, target.state.position)
            assert self.world.targets[device].rows == self.published.get(key, {}), f"{device[:4]} is not identical"


def contents(store: MemorySyncStore) -> State:
    """All objects of the store."""
    state = finish(store.open_collection(COLLECTION))
    names = {one.id: one.name for one in state.types}
    held: State = {}
    cursor = 0
    while cursor < state.head:
        chunk = finish(store.read(ChunkRequest(COLLECTION, ALL, 0, 0, cursor), 1_000_000, 1 << 30))
        held |= {ObjectId(names[row.type], row.key): row.fields for row in chunk.rows if row.fields is not None}
        cursor = chunk.last
    return held


def parked_objects(queue: MemoryInboundQueue) -> set[ObjectId]:
    """The objects of all parked parts."""
    _, types, _ = finish(queue.load(COLLECTION))
    names = {one.id: one.name for one in types}
    found: set[ObjectId] = set()
    parts = [part.id for part in finish(queue.parking(COLLECTION)).oldest]
    for work in finish(queue.parked_works(COLLECTION, parts)):
        for frame in work.frames():
            found |= {ObjectId(names[number], key) for number, key in zip(frame.types, frame.keys, strict=True)}
    return found
