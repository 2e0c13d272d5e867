"""What stores and queues in memory hold, as values."""

from __future__ import annotations

from syncd.core.model import ObjectId
from syncd.core.ports import ChunkRequest
from syncd.core.selection import ALL
from syncd.store.memory import MemorySyncStore
from syncd.store.memory_inbound_queue import MemoryInboundQueue
from tests.sim.history import State, rows_of
from tests.sim.network import finish

COLLECTION = "things"  # of the simulation in one direction


def contents(store: MemorySyncStore, name: str = COLLECTION) -> tuple[State, dict[ObjectId, int]]:
    """All objects of the store, and the change numbers of those and of the tombstones."""
    state = finish(store.open_collection(name))
    names = {one.id: one.name for one in state.types}
    held: State = {}
    changes: dict[ObjectId, int] = {}
    cursor = 0
    while cursor < state.head:
        chunk = finish(store.read(ChunkRequest(name, ALL, 0, 0, cursor), 1_000_000, 1 << 30))
        rows = [(ObjectId(names[row.type], row.key), row) for row in chunk.rows]
        held |= {one: row.fields for one, row in rows if row.fields is not None}
        changes |= {one: row.change for one, row in rows}
        cursor = chunk.last
    return held, changes


def parked(queue: MemoryInboundQueue, name: str = COLLECTION) -> set[ObjectId]:
    """The objects of all parked parts."""
    parts = [part.id for part in finish(queue.parking(name)).oldest]
    return {row.id for work in finish(queue.parked_works(name, parts)) for row in rows_of(work)}


def durable(queue: MemoryInboundQueue) -> tuple[object, ...]:
    """All that the queue holds, but for empty frames: a cut that proves what is there may come any number of times."""
    held = vars(queue)["_queues"].get(COLLECTION)
    if held is None:
        return ()
    return (
        held.transfer,
        [frame for frame in held.frames if frame.last > frame.first],
        dict(held.types),
        dict(held.parts),
        dict(held.parked),
    )
