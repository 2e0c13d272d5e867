"""The sync store and the inbound queue in memory: twins for simulations and tests, under the same contract suites.

Each method runs without pause, so that it happens whole or not at all, and an object outlives its users: a daemon that
"crashed" leaves it and the next one goes on with it. ``crash`` forgets what the real ones do not keep in files.
"""

from __future__ import annotations

import secrets
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from syncd.core import digest
from syncd.core.errors import InvariantBroken
from syncd.core.inbound_queue import Arrival, arrival
from syncd.core.messages import Begin, Objects, Run
from syncd.core.model import DataType, Failure, ObjectId, Observed, Proof, Tie
from syncd.core.ports import (
    Batch,
    ChunkRequest,
    CollectionState,
    Group,
    ParkedPart,
    Part,
    StoredChunk,
    StoredRow,
    Transfer,
    Work,
)
from syncd.core.settings import Limits
from syncd.store.parking import Fresh, Guilty, Joins, claimed, joined
from syncd.store.ties import Owner, ties_of


def random_epoch() -> str:
    """16 hexadecimal digits."""
    return secrets.token_hex(8)


@dataclass
class _Collection:
    """One collection. ``rows`` is in the order of their changes. ``ties`` is by the change that made the tie, ``tied``
    names the older groups of those not published. ``seen`` is None while no comparison runs."""

    name: str
    rows: dict[ObjectId, StoredRow] = field(default_factory=dict)
    groups: list[Group] = field(default_factory=list)
    ties: dict[int, Tie] = field(default_factory=dict)
    tied: set[int] = field(default_factory=set)
    types: tuple[DataType, ...] = ()
    former: dict[int, DataType] = field(default_factory=dict)
    seen: set[ObjectId] | None = None
    head: int = 0
    last: int = 0
    horizon: int = 0
    version: int = 0
    digest: bytes = digest.EMPTY
    objects: int = 0
    source: str = ""
    mark: int = 0
    loose: bool = False
    scanning: bool = False
    scanned: bool = False
    imported: bool = False

    def names(self) -> dict[int, str]:
        return {number: type_.name for number, type_ in self.former.items()} | {one.id: one.name for one in self.types}

    def count(self, row: StoredRow | None, sign: int) -> None:
        """Takes the object of a row into the checksum (+1) or out of it (-1)."""
        if row is None or row.fields is None:
            return
        hashed = digest.object_hash(digest.type_prefix(self.names()[row.type]), row.key, row.fields)
        self.digest = digest.add(self.digest, sign * hashed)
        self.objects += sign


class MemorySyncStore:
    """Twin of ``SqliteSyncStore``. ``epochs`` gives epochs; a simulation passes its own."""

    def __init__(self, epochs: Callable[[], str] = random_epoch, ties_max: int = Limits().ties_max) -> None:
        self._epochs = epochs
        self._ties_max = ties_max
        self._epoch = epochs()
        self._collections: dict[str, _Collection] = {}
        self._last_type = 0

    def crash(self) -> None:
        """A running comparison is forgotten, as it is when a daemon ends."""
        for collection in self._collections.values():
            collection.seen = None

    async def open_collection(self, name: str) -> CollectionState:
        return self._state(self._collections.setdefault(name, _Collection(name)))

    async def new_epoch(self) -> str:
        self._epoch = self._epochs()
        return self._epoch

    async def set_source(self, name: str, source: str, types: Sequence[DataType]) -> tuple[DataType, ...]:
        collection = self._collections[name]
        before = {type_.name: type_ for type_ in (*collection.former.values(), *collection.types)}
        numbered = tuple(self._numbered(before.get(type_.name), type_) for type_ in types)
        moved = {before[type_.name].id: type_.id for type_ in numbered if type_.name in before}
        collection.rows = {
            one: row._replace(type=moved.get(row.type, row.type)) for one, row in collection.rows.items()
        }
        names = {type_.name for type_ in numbered}
        collection.former = {type_.id: type_ for type_ in before.values() if type_.name not in names}
        collection.types, collection.source = numbered, source
        collection.version += 1
        return numbered

    def _numbered(self, before: DataType | None, type_: DataType) -> DataType:
        if before is not None and (before.key, before.fields) == (type_.key, type_.fields):
            return replace(type_, id=before.id)
        self._last_type += 1
        return replace(type_, id=self._last_type)

    async def begin_scan(self, name: str) -> None:
        collection = self._collections[name]
        collection.seen, collection.scanning, collection.scanned = set(), True, False

    async def end_scan(self, name: str) -> None:
        collection = self._collections[name]
        collection.seen, collection.scanning, collection.scanned = None, False, True

    async def unseen(self, name: str, limit: int) -> Sequence[Observed]:
        collection = self._collections[name]
        if collection.seen is None:
            raise InvariantBroken(f"no comparison of {name} runs")
        left = (row for one, row in collection.rows.items() if row.fields is not None and one not in collection.seen)
        return [Observed(row.type, row.key, None) for row, _ in zip(left, range(limit), strict=False)]

    async def keep(self, name: str, batch: Batch, now_us: int) -> CollectionState:
        collection = self._collections[name]
        names = collection.names()
        before, head = collection.last, collection.head
        moved: list[tuple[int, int]] = []
        for observed in {ObjectId(names[one.type], one.key): one for one in batch.observed}.items():
            moved += self._observe(collection, *observed)
        if not (batch.loose or collection.loose):
            self._tie(collection, [(old, new) for old, new in moved if old <= head])
        collection.loose |= batch.loose and collection.last > before
        if batch.mark is not None:
            collection.mark = batch.mark
        if batch.publish:
            self._publish(collection, now_us)
        collection.version += 1
        return self._state(collection)

    def _observe(self, collection: _Collection, one: ObjectId, observed: Observed) -> list[tuple[int, int]]:
        """The change number before and after, if there was a row and it changed."""
        if collection.seen is not None:
            collection.seen.add(one)
        row = collection.rows.get(one)
        if row is None and observed.fields is None:
            return []
        if row is not None and (row.fields, row.fault) == (observed.fields, observed.fault):
            return []
        collection.last = change = collection.last + 1
        born = change if row is None else row.born  # a device may hold it from before it was deleted
        collection.rows.pop(one, None)
        collection.rows[one] = StoredRow(change, born, *observed)
        collection.count(row, -1)
        collection.count(collection.rows[one], +1)
        return [] if row is None else [(row.change, change)]

    def _tie(self, collection: _Collection, moved: list[tuple[int, int]]) -> None:
        def owner_of(change: int) -> Owner | None:
            at = bisect_left(collection.groups, change, key=lambda group: group.seq)
            if at == len(collection.groups):
                return None
            group = collection.groups[at]
            return Owner(group.seq, group.first, group.loose, group.objects)

        def ties_within(first: int, last: int) -> list[tuple[int, int]]:
            return sorted((at, tie.older) for at, tie in collection.ties.items() if first <= at <= last)

        ties = ties_of(moved, collection.tied, owner_of, ties_within)
        for at in ties.dropped:
            del collection.ties[at]
        collection.ties |= {at: Tie(older, 0) for at, older in ties.made}

    def _publish(self, collection: _Collection, now_us: int) -> None:
        head, last = collection.head, collection.last
        if last > head:
            rows = sum(row.change > head for row in collection.rows.values())
            collection.groups.append(Group(last, head + 1, collection.loose, now_us, rows))
            for at in [at for at in collection.ties if at > head]:
                tie = collection.ties.pop(at)
                if not collection.loose:
                    collection.ties[at] = Tie(tie.older, last)
            collection.head, collection.loose = last, False
            collection.tied.clear()
        collection.imported |= collection.scanned and not collection.scanning

    async def read(self, request: ChunkRequest, rows_max: int, bytes_max: int) -> StoredChunk:
        collection = self._collections[request.collection]
        rows: list[StoredRow] = []
        last, size = collection.head, 0
        for row in collection.rows.values():
            if not request.cursor < row.change <= collection.head:
                continue
            size += len(row.key) + len(row.fields or b"")
            if rows and (len(rows) == rows_max or size > bytes_max):
                last = rows[-1].change
                break
            rows.append(row)
        ties = sorted((at, tie) for at, tie in collection.ties.items() if request.cursor < at <= last)
        if len(ties) > self._ties_max:
            last = ties[self._ties_max][0] - 1
            rows = [row for row in rows if row.change <= last]
            ties = ties[: self._ties_max]
        groups = tuple(g for g in collection.groups if any(g.first <= row.change <= g.seq for row in rows))
        proof = None
        if last == collection.head == collection.last:
            proof = Proof(last, collection.digest, collection.objects)
        return StoredChunk(
            rows, last, groups, proof, tuple(tie for _, tie in ties), collection.version, collection.horizon
        )

    async def groups(self, name: str, limit: int) -> Sequence[Group]:
        return self._collections[name].groups[: -limit - 1 : -1]

    async def prune(self, name: str, passed: int, older_than_us: int) -> int:
        collection = self._collections[name]
        young = [group.first for group in collection.groups if group.time_us >= older_than_us]
        old = min(young) - 1 if young else collection.groups[-1].seq if collection.groups else 0
        limit = min(max(passed, old), collection.head)
        gone = [one for one, row in collection.rows.items() if row.fields is None and row.change <= limit]
        for one in gone:
            del collection.rows[one]
        forgotten = min(old, collection.head)
        collection.groups = [group for group in collection.groups if group.seq > forgotten]
        collection.ties = {at: tie for at, tie in collection.ties.items() if at > forgotten}
        collection.horizon = max(collection.horizon, limit)
        collection.version += 1
        return len(gone)

    def _state(self, collection: _Collection) -> CollectionState:
        return CollectionState(
            name=collection.name,
            epoch=self._epoch,
            head=collection.head,
            horizon=collection.horizon,
            digest=collection.digest,
            objects=collection.objects,
            published=collection.last == collection.head,
            source=collection.source,
            mark=collection.mark,
            imported=collection.imported,
            scanning=collection.scanning,
            types=collection.types,
        )


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
    frames: list[Objects] = field(default_factory=list)
    types: dict[int, DataType] = field(default_factory=dict)
    parts: dict[int, ParkedPart] = field(default_factory=dict)
    parked: dict[ObjectId, _Parked] = field(default_factory=dict)

    def complete(self) -> int:
        """How many frames wait, up to the last cut."""
        return max((i + 1 for i, frame in enumerate(self.frames) if frame.cut), default=0)


class MemoryInboundQueue:
    """Twin of ``SqliteInboundQueue``."""

    def __init__(self) -> None:
        self._queues: dict[str, _Queue] = {}
        self._last_part = 0

    def _of(self, collection: str) -> _Queue:
        return self._queues.setdefault(collection, _Queue())

    async def load(self, collection: str) -> tuple[Transfer | None, tuple[DataType, ...], tuple[ParkedPart, ...]]:
        queue = self._of(collection)
        types = tuple(queue.types[number] for number in sorted(queue.types))
        return queue.transfer, types, tuple(queue.parts[part] for part in sorted(queue.parts))

    async def types(self, collection: str, types: Sequence[DataType]) -> None:
        self._of(collection).types |= {type_.id: type_ for type_ in types}

    async def begin(self, collection: str, begin: Begin) -> None:
        queue, fresh = self._of(collection), begin.cursor == begin.base
        if fresh and begin.snapshot:
            self._queues[collection] = queue = _Queue(types=queue.types)
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
        cut = frames[-1].cut
        proof = Proof(cut.seq, cut.digest, cut.objects)
        transfer, types = queue.transfer, dict(queue.types)
        return Work(
            collection, transfer.epoch, transfer.snapshot, lambda: iter(frames), types, proof, frozenset(queue.parked)
        )

    async def executed(self, collection: str, seq: int) -> None:
        queue = self._of(collection)
        done = max((i + 1 for i, frame in enumerate(queue.frames) if frame.cut and frame.cut.seq <= seq), default=0)
        del queue.frames[:done]
        if done and queue.transfer:
            queue.transfer = replace(queue.transfer, snapshot=False)

    async def park(self, work: Work, parts: Sequence[Part], retry_at_us: int) -> None:
        queue, first = self._of(work.collection), self._last_part + 1
        before, joins = dict(queue.parts), Joins()
        guilty = Guilty(before)
        seqs: dict[int, set[int]] = {}
        for row in claimed(work, parts):
            part = first + row.part
            joins.find(part)
            held, queue.parked[row.id] = queue.parked.get(row.id), _Parked(part, row.type, row.kind, row.fields)
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
            old = [queue.parts.pop(part) for part in members if part in before]
            fresh = [Fresh(parts[part - first].failure, seqs[part], retry_at_us) for part in members if part in seqs]
            queue.parts[members[0]] = replace(joined(old, fresh, replaced, objects), id=members[0])

    async def parked_work(self, collection: str, part: int) -> Work | None:
        queue = self._of(collection)
        if part not in queue.parts or queue.transfer is None:
            return None
        rows = {one: held for one, held in queue.parked.items() if held.part == part}
        run = Run(queue.parts[part].seqs[-1], False, len(rows))
        kinds = bytes(held.kind for held in rows.values())
        types, fields = [held.type for held in rows.values()], [held.fields for held in rows.values()]
        frame = Objects(collection, 0, 0, (run,), kinds, types, [one.key for one in rows], fields)

        def frames() -> Iterator[Objects]:
            yield frame

        return Work(collection, queue.transfer.epoch, False, frames, dict(queue.types), None)

    async def reparked(self, collection: str, part: int, failure: Failure, retry_at_us: int) -> None:
        queue = self._of(collection)
        if part in queue.parts:
            old = queue.parts[part]
            queue.parts[part] = replace(old, failure=failure, attempts=old.attempts + 1, retry_at_us=retry_at_us)

    async def unpark(self, collection: str, part: int) -> None:
        queue = self._of(collection)
        queue.parts.pop(part, None)
        queue.parked = {one: held for one, held in queue.parked.items() if held.part != part}

    async def clear(self, collection: str) -> None:
        self._queues.pop(collection, None)
