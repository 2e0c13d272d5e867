"""The inbound queue in memory: a twin for simulations and tests, under the same contract suite.

Each method runs without pause, so that it happens whole or not at all, and a queue outlives its users: a daemon that
"crashed" leaves it and the next one goes on with it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from syncd.core.errors import InvariantBroken
from syncd.core.inbound_queue import Arrival, Joins, arrival
from syncd.core.messages import Begin, Objects, Run
from syncd.core.model import DataType, Failure, ObjectId
from syncd.core.ports import ParkedPart, Parking, Part, Transfer, Work
from syncd.core.settings import Limits
from syncd.store.parking import Fresh, Guilty, claimed, joined, moved_on, together


class _Parked(NamedTuple):
    """A parked row."""

    part: int
    type: int
    kind: int
    fields: bytes


@dataclass
class _Queue:
    """What one collection has in the inbound queue. ``parked``: the rows of each part."""

    transfer: Transfer | None = None
    filled: bool = False
    frames: list[Objects] = field(default_factory=list)
    types: dict[int, DataType] = field(default_factory=dict)
    parts: dict[int, ParkedPart] = field(default_factory=dict)
    parked: dict[ObjectId, _Parked] = field(default_factory=dict)

    def complete(self) -> int:
        """How many frames wait, up to the last cut."""
        return max((i + 1 for i, frame in enumerate(self.frames) if frame.cut), default=0)


class MemoryInboundQueue:
    """Twin of ``SqliteInboundQueue``."""

    def __init__(self, named_max: int = Limits().failed_max) -> None:
        self._named_max = named_max
        self._queues: dict[str, _Queue] = {}
        self._last_part = 0

    def _of(self, collection: str) -> _Queue:
        return self._queues.setdefault(collection, _Queue())

    async def load(self, collection: str) -> tuple[Transfer | None, tuple[DataType, ...], Parking]:
        queue = self._of(collection)
        types = tuple(queue.types[number] for number in sorted(queue.types))
        return queue.transfer, types, await self.parking(collection)

    async def types(self, collection: str, types: Sequence[DataType]) -> None:
        self._of(collection).types |= {type_.id: type_ for type_ in types}

    async def begin(self, collection: str, begin: Begin, types: Collection[int] = ()) -> None:
        queue, fresh = self._of(collection), begin.cursor == begin.base
        if fresh and begin.snapshot:
            kept = {number: one for number, one in queue.types.items() if not types or number in types}
            self._queues[collection] = queue = _Queue(filled=queue.filled, types=kept)
        if fresh:
            del queue.frames[queue.complete() :]
        queue.frames = [frame for frame in queue.frames if frame.last <= begin.cursor]
        waits = queue.transfer is not None and queue.transfer.snapshot and queue.complete() > 0
        cut = queue.transfer.cut if queue.transfer else 0
        if cut > begin.cursor:
            cut = max((frame.cut.seq for frame in queue.frames if frame.cut), default=0)
        queue.transfer = Transfer(begin.epoch, begin.snapshot or waits, begin.base, begin.floor, begin.cursor, cut)

    async def stage(self, frames: Sequence[tuple[Objects, bytes]]) -> None:
        for frame, _ in frames:
            queue = self._of(frame.collection)
            if queue.transfer is None or (came := arrival(queue.transfer.cursor, frame)) is Arrival.GAP:
                raise InvariantBroken(f"a frame of {frame.collection} from {frame.first} does not continue a transfer")
            if came is Arrival.NEXT:
                queue.frames.append(frame)
                queue.transfer = replace(queue.transfer, cursor=frame.last)
                if frame.cut:
                    queue.transfer = replace(queue.transfer, base=frame.cut.seq, floor=0, cut=frame.cut.seq)

    async def work(self, collection: str) -> Work | None:
        queue = self._of(collection)
        frames = queue.frames[: queue.complete()]
        if not frames or queue.transfer is None or frames[-1].cut is None:
            return None
        transfer, types = queue.transfer, dict(queue.types)
        skip = frozenset(queue.parked).intersection if queue.parked else None
        proof = frames[-1].cut.proof
        return Work(collection, transfer.epoch, transfer.snapshot, lambda: iter(frames), types, proof, skip)

    async def executed(self, collection: str, seq: int) -> None:
        queue = self._of(collection)
        done = max((i + 1 for i, frame in enumerate(queue.frames) if frame.cut and frame.cut.seq <= seq), default=0)
        del queue.frames[:done]
        if done and queue.transfer:
            queue.transfer, queue.filled = replace(queue.transfer, snapshot=False), True

    async def filled(self, collection: str) -> bool:
        return self._of(collection).filled

    async def park(self, work: Work, parts: Sequence[Part], retry_at_us: int) -> None:
        queue, first = self._of(work.collection), self._last_part + 1
        before, joins = dict(queue.parts), Joins()
        guilty = Guilty(lambda part, one: part in before and before[part].failure.guilty == one)
        seqs: dict[int, set[int]] = {}
        for row in claimed(work, parts):
            held = queue.parked.get(row.id)
            part = held.part if row.part is None and held else first + (row.part or 0)
            queue.parked[row.id] = _Parked(part, row.type, row.kind, row.fields)
            joins.find(part)
            if held is not None:
                joins.join(held.part, part)
                guilty.see(row.id, held.part, held[1:], queue.parked[row.id][1:])
            seqs.setdefault(part, set()).add(row.seq)
        self._last_part += len(parts)
        replaced = guilty.replaced()
        for members in joins.sets():
            queue.parked |= {
                one: held._replace(part=members[0]) for one, held in queue.parked.items() if held.part in members
            }
            objects = sum(held.part == members[0] for held in queue.parked.values())
            old = [
                moved_on(queue.parts.pop(part), seqs.get(part, ()), part in replaced)
                for part in members
                if part in before
            ]
            fresh = [Fresh(parts[part - first].failure, seqs[part], retry_at_us) for part in members if part >= first]
            queue.parts[members[0]] = replace(joined(old, fresh, replaced, objects), id=members[0])

    async def parking(self, collection: str, seq: int | None = None) -> Parking:
        parts = [part for _, part in sorted(self._of(collection).parts.items()) if seq is None or seq in part.seqs]
        due = min((part.retry_at_us for part in parts), default=None)
        return Parking(len(parts), tuple(parts[: self._named_max]), due)

    async def parts(self, collection: str, ids: Sequence[int]) -> tuple[ParkedPart, ...]:
        parts = self._of(collection).parts
        return tuple(parts[part] for part in ids if part in parts)

    async def any_parked(self, collection: str, objects: Iterable[ObjectId]) -> bool:
        return not self._of(collection).parked.keys().isdisjoint(objects)

    async def make_due(self, collection: str, seqs: Collection[int] | None) -> None:
        parts = self._of(collection).parts
        for number, part in parts.items():
            if seqs is None or not set(part.seqs).isdisjoint(seqs):
                parts[number] = replace(part, retry_at_us=0)

    async def due(self, collection: str, now_us: int, position: int) -> tuple[ParkedPart, ...]:
        parts = self._of(collection).parts.values()
        due = [part for part in parts if part.retry_at_us <= now_us and part.seqs[-1] <= position]
        return tuple(together(sorted(due, key=lambda part: (part.retry_at_us, part.id))))

    async def parked_works(self, collection: str, parts: Sequence[int]) -> tuple[Work, ...]:
        return tuple(self._work_of(collection, self._of(collection), part) for part in parts)

    def _work_of(self, collection: str, queue: _Queue, part: int) -> Work:
        if part not in queue.parts or queue.transfer is None:
            raise InvariantBroken(f"part {part} of {collection} is not parked")
        rows = {one: held for one, held in queue.parked.items() if held.part == part}
        run = Run(queue.parts[part].seqs[-1], False, len(rows))
        kinds = bytes(held.kind for held in rows.values())
        types, fields = [held.type for held in rows.values()], [held.fields for held in rows.values()]
        frame = Objects(collection, 0, 0, (run,), kinds, types, [one.key for one in rows], fields)

        def frames() -> Iterator[Objects]:
            yield frame

        return Work(collection, queue.transfer.epoch, False, frames, dict(queue.types), None)

    async def retried(
        self, collection: str, applied: Collection[int], failed: Mapping[int, tuple[Failure, int]]
    ) -> None:
        queue = self._of(collection)
        for part in applied:
            queue.parts.pop(part, None)
        queue.parked = {one: held for one, held in queue.parked.items() if held.part not in applied}
        for part, (failure, retry_at_us) in failed.items():
            if part in queue.parts:
                old = queue.parts[part]
                queue.parts[part] = replace(old, failure=failure, attempts=old.attempts + 1, retry_at_us=retry_at_us)

    async def clear(self, collection: str) -> None:
        self._queues.pop(collection, None)
