"""The sync store in memory: a twin for simulations and tests, under the same contract suite.

Each method runs without pause, so that it happens whole or not at all, and an object outlives its users: a daemon that
"crashed" leaves it and the next one goes on with it. ``crash`` forgets what the real ones do not keep in files.
"""

from __future__ import annotations

import secrets
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count

from syncd.core.edits import Edit
from syncd.core.errors import InvariantBroken
from syncd.core.guard import Guard
from syncd.core.holding import Batch, HeldObject
from syncd.core.loss import Leaving
from syncd.core.model import DataType, ObjectId, Observed, Proof, Spans, Tie
from syncd.core.ports import ChunkRequest, CollectionState, Group, StoredChunk, StoredRow
from syncd.core.references import Object
from syncd.core.selection import ALL, Selection
from syncd.core.settings import Limits
from syncd.store.memory_classes import MemoryClasses
from syncd.store.memory_collection import MemoryCollection
from syncd.store.memory_held import Named
from syncd.store.memory_past import MemoryPast
from syncd.store.ties import Owner, ties_of


def random_epoch() -> str:
    """16 hexadecimal digits."""
    return secrets.token_hex(8)


class MemorySyncStore(MemoryPast):
    """Twin of ``SqliteSyncStore``. ``epochs`` gives epochs; a simulation passes its own."""

    def __init__(self, epochs: Callable[[], str] = random_epoch, limits: Limits | None = None) -> None:
        super().__init__(limits or Limits())
        self._epochs = epochs
        self._epoch = epochs()
        self._last_type = 0
        self._class_numbers = count(1)

    def crash(self) -> None:
        """A running comparison is forgotten, as it is when a daemon ends."""
        for collection in self._collections.values():
            collection.seen = None

    async def open_collection(self, name: str) -> CollectionState:
        if name not in self._collections:
            self._collections[name] = MemoryCollection(name, MemoryClasses(lambda: next(self._class_numbers)))
        return self._state(self._collections[name])

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
        for type_ in numbered:
            if type_.name not in before or before[type_.name].id != type_.id:
                collection.history.since[type_.id] = collection.last
        names = {type_.name for type_ in numbered}
        collection.former = {type_.id: type_ for type_ in before.values() if type_.name not in names}
        collection.scanning |= (collection.source, collection.types) != (source, numbered)
        collection.types, collection.source = numbered, source
        collection.classes.set_types(tuple(before.values()), numbered)
        collection.version += 1
        return numbered

    def _numbered(self, before: DataType | None, type_: DataType) -> DataType:
        if before is not None and (before.key, before.fields) == (type_.key, type_.fields):
            return replace(type_, id=before.id)
        self._last_type += 1
        return replace(type_, id=self._last_type)

    async def begin_scan(self, name: str) -> None:
        collection = self._collections[name]
        collection.seen, collection.scanning, collection.scanned = set(collection.held.objects), True, False

    async def unseen(self, name: str, limit: int) -> Sequence[Observed]:
        collection = self._collections[name]
        if collection.seen is None:
            raise InvariantBroken(f"no comparison of {name} runs")
        return [Observed(row.type, row.key, None) for row in collection.unseen()[:limit]]

    async def holds(self, name: str, type_id: int) -> bool:
        return any(row.type == type_id and row.fields is not None for row in self._collections[name].rows.values())

    async def keep(self, name: str, batch: Batch, now_us: int) -> CollectionState:
        collection = self._collections[name]
        apart = self._apart(collection, batch, now_us)
        if apart is None:
            return self._hold(collection, batch, now_us)
        before, head, objects = collection.last, collection.head, collection.objects
        altered = {one: was for one, seen in apart.items() if (was := self._observe(collection, one, seen)) is not None}
        for one in sorted(collection.classes.settle(collection.rows, set(altered)), key=collection.place):
            row = collection.rows[one]
            altered[one] = self._put(collection, one, row, collection.history.author(row.change))
            collection.history.touched.add(collection.last)
        moved = [(was, collection.rows[one].change) for one, was in altered.items() if was]
        for one in altered:
            collection.classes.changed(one, collection.rows[one], collection.head)
        if not (batch.loose or collection.loose):
            self._tie(collection, [(old, new) for old, new in moved if old <= head])
        collection.loose |= batch.loose and collection.last > before
        if batch.mark is not None:
            collection.mark = batch.mark
        if batch.end_scan:
            collection.seen, collection.scanning, collection.scanned = None, False, True
            if collection.held.number:
                collection.held.close(open_=False)
        if batch.publish:
            self._publish(collection, now_us)
            collection.classes.published(head, collection.head, not collection.scanning)
            guarded = batch.guard is not None and collection.imported
            added = collection.objects - objects + collection.held.gone if before == head else 0
            collection.held.published(collection.source if guarded else "", now_us, added)
        collection.version += 1
        return self._state(collection)

    def _apart(self, collection: MemoryCollection, batch: Batch, now_us: int) -> dict[ObjectId, Observed] | None:
        """See ``store_keep``."""
        held, named = collection.held, collection.named(batch)
        loose = collection.scanning or collection.loose or batch.loose
        if held.number and loose and not batch.release:
            self._join(collection, [(one, seen) for one, seen in named.items() if one in held.objects], now_us)
            named = {one: seen for one, seen in named.items() if one not in held.objects}
        elif held.number and not batch.release and (held.open or held.objects.keys() & named.keys()):
            return None
        gone = collection.gone(named, batch.release)
        if self._is_too_much(collection, batch, gone, now_us):
            if not loose or batch.release:
                return None
            lost = [(one, seen) for one, seen in named.items() if seen.fields is None]
            self._join(collection, lost, now_us)
            if batch.sweep and collection.seen is not None:
                held.close(open_=True)
                collection.seen.update(one for one, _ in lost)
            named = {one: seen for one, seen in named.items() if seen.fields is not None}
            gone = collection.gone(named, batch.release)
        held.gone += gone if batch.guard is not None else 0
        if batch.release:
            held.leave(named)
        return named

    @staticmethod
    def _is_too_much(collection: MemoryCollection, batch: Batch, gone: int, now_us: int) -> bool:
        """See ``store_keep``."""
        if batch.guard is None or not collection.imported or not gone:
            return False
        held = collection.held
        spent = held.spent(collection.source, batch.guard, now_us)
        if batch.sweep:
            there = {one.id for one in collection.types}
            unseen = sum(row.type in there for row in collection.unseen())
            return bool(held.number and held.open) or batch.guard.holds(unseen, spent, collection.objects)
        before = max(held.gone, 0)
        return batch.guard.holds(max(held.gone + gone, 0), spent, collection.objects + before)

    def _join(self, collection: MemoryCollection, observed: Sequence[Named], now_us: int) -> None:
        if observed:
            there = {one for one, row in collection.rows.items() if row.fields is not None}
            collection.held.join(observed, there, collection.objects, now_us)

    def _hold(self, collection: MemoryCollection, batch: Batch, now_us: int) -> CollectionState:
        back = collection.take_back()
        collection.mark = collection.mark if batch.mark is None else batch.mark
        before = [(one, collection.held.seen_later(one, seen)) for one, seen in back]
        self._join(collection, [*before, *collection.named(batch).items()], now_us)
        collection.held.of = max(collection.held.of, collection.objects if back else 0)
        collection.held.close(open_=not batch.publish)
        collection.version += 1
        return self._state(collection)

    def _observe(self, collection: MemoryCollection, one: ObjectId, observed: Observed) -> int | None:
        """The change number before, 0 for a new object; None: it did not change."""
        if collection.seen is not None:
            collection.seen.add(one)
        row = collection.rows.get(one)
        type_, key, fields, fault, author = observed
        if row is None and fields is None:
            return None
        if row is not None and (row.fields, row.fault) == (fields, fault):
            return None
        return self._put(collection, one, StoredRow(0, 0, type_, key, fields, fault), author)

    def _put(self, collection: MemoryCollection, one: ObjectId, made: StoredRow, author: str) -> int:
        """The change number before."""
        row = collection.rows.get(one)
        if row is None or row.change <= collection.head:
            collection.held.before[one] = row
        collection.last = change = collection.last + 1
        born = change if row is None else row.born  # a device may hold it from before it was deleted
        if row is not None:
            collection.history.replaced(row, change, collection.head)
            del collection.rows[one]
        collection.rows[one] = made._replace(change=change, born=born)
        collection.history.made(change, author)
        collection.count(row, -1)
        collection.count(collection.rows[one], +1)
        return 0 if row is None else row.change

    def _tie(self, collection: MemoryCollection, moved: list[tuple[int, int]]) -> None:
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

    def _publish(self, collection: MemoryCollection, now_us: int) -> None:
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
        if collection.scanned and not (collection.scanning or collection.imported):
            collection.imported = True
            collection.history.begin_at(collection.head)

    async def read(self, request: ChunkRequest, rows_max: int, bytes_max: int) -> StoredChunk:
        return self._read(request, rows_max, bytes_max)

    def at_hand(self, request: ChunkRequest, rows_max: int, bytes_max: int) -> StoredChunk | None:
        newest = self._collections[request.collection].groups[-1:]
        is_asked_for = bool(newest) and newest[0].first == request.cursor + 1
        return self._read(request, rows_max, bytes_max) if is_asked_for else None

    def _read(self, request: ChunkRequest, rows_max: int, bytes_max: int) -> StoredChunk:
        collection = self._collections[request.collection]
        rows: list[StoredRow] = []
        replaced, size = [row.change for row in collection.held.before.values() if row is not None], 0
        held, seen = Proof(collection.head, collection.digest, collection.objects), list(collection.rows.values())
        horizon = collection.horizon
        if request.selection != ALL:
            of_class = collection.classes.find(request.selection)
            if of_class is None or not of_class.ready or of_class.broken:  # no use to any device
                return StoredChunk((), request.cursor, (), None, (), collection.version, collection.last + 1)
            held, horizon = Proof(collection.head, of_class.digest, of_class.objects), of_class.horizon
            replaced += [member.change for member in of_class.before.values()]
            numbers = {type_: number for number, type_ in collection.names().items()}
            seen = of_class.rows(collection.rows, numbers, max(request.base, request.floor))
        last = end = collection.end(replaced, request.cursor)
        for row in seen:
            if not request.cursor < row.change <= end:
                continue
            size += len(row.key) + len(row.fields or b"")
            if rows and (len(rows) == rows_max or size > bytes_max):
                last = rows[-1].change
                break
            rows.append(row)
        ties = sorted((at, tie) for at, tie in collection.ties.items() if request.cursor < at <= last)
        if len(ties) > (ties_max := self._limits.ties_max):
            last = ties[ties_max][0] - 1
            rows = [row for row in rows if row.change <= last]
            ties = ties[:ties_max]
        groups = tuple(g for g in collection.groups if any(g.first <= row.change <= g.seq for row in rows))
        proof = held if last == collection.head == collection.last else None
        return StoredChunk(rows, last, groups, proof, tuple(tie for _, tie in ties), collection.version, horizon)

    async def groups(self, name: str, limit: int) -> Sequence[Group]:
        return self._collections[name].groups[: -limit - 1 : -1]

    async def prune(self, name: str, passed: int, older_than_us: int, groups_us: int | None = None) -> int:
        collection = self._collections[name]
        old = _newest_before(collection, older_than_us)
        old_groups = old if groups_us is None else _newest_before(collection, min(groups_us, older_than_us))
        limit = min(max(passed, old), collection.head)
        gone = [one for one, row in collection.rows.items() if row.fields is None and row.change <= limit]
        for one in gone:
            collection.history.pruned(collection.rows.pop(one))
        over = collection.groups[: -self._limits.groups_max]
        forgotten = min(max([old_groups, *(group.seq for group in over)]), collection.head)
        collection.groups = [group for group in collection.groups if group.seq > forgotten]
        collection.ties = {at: tie for at, tie in collection.ties.items() if at > forgotten}
        collection.horizon = max(collection.horizon, limit)
        collection.version += 1
        return len(gone)

    # ------------------------------------------------------------ selection classes

    async def open_class(self, name: str, selection: Selection, rows_max: int) -> CollectionState:
        collection = self._collections[name]
        if selection == ALL:
            return self._state(collection)
        one = collection.classes.open(selection, collection.types)
        one.fill(collection.rows, collection.head, collection.last, rows_max)
        collection.version += 1
        return self._state(collection)

    async def in_class(
        self, name: str, selection: Selection, objects: Sequence[Object]
    ) -> tuple[set[Object], set[Object]]:
        collection = self._collections[name]
        named = {at: ObjectId(collection.names().get(at[0], ""), at[1]) for at in objects}
        return collection.classes.among(selection, named)

    async def drop_class(self, name: str, selection: Selection) -> CollectionState:
        self._collections[name].classes.drop(selection)
        return self._state(self._collections[name])

    async def prune_class(self, name: str, selection: Selection, passed: int, older_than_us: int) -> int:
        collection = self._collections[name]
        limit = min(max(passed, _newest_before(collection, older_than_us)), collection.head)
        collection.version += 1
        of_class = collection.classes.find(selection)
        return 0 if of_class is None else of_class.prune(limit)

    async def forget_gone(self, name: str, selection: Selection, spans: Spans, upto: int) -> int:
        collection = self._collections[name]
        upto = min(upto, collection.head)
        collection.version += 1
        if selection != ALL:
            of_class = collection.classes.find(selection)
            return 0 if of_class is None else of_class.forget_gone(spans, upto)
        gone = [
            one
            for one, row in collection.rows.items()
            if row.fields is None and row.change <= upto and not spans.may_hold(row.born, row.change)
        ]
        for one in gone:
            collection.history.pruned(collection.rows.pop(one))
        return len(gone)

    # ------------------------------------------------------------ what is held

    async def spent(self, name: str, guard: Guard, now_us: int) -> int:
        collection = self._collections[name]
        return collection.held.spent(collection.source, guard, now_us)

    async def release(self, name: str, number: int) -> bool:
        return self._collections[name].held.release(number)

    async def held_objects(self, name: str, limit: int, after: HeldObject | None = None) -> Sequence[HeldObject]:
        collection = self._collections[name]
        return collection.held.some({type_: number for number, type_ in collection.names().items()}, limit, after)

    async def lost(self, name: str, after: int, bytes_max: int) -> tuple[Sequence[Edit], int]:
        collection, edits, size, last = self._collections[name], list[Edit](), 0, 0
        for one, row in collection.rows.items():
            if row.change <= after or row.fields is None or not collection.held.objects.get(one):
                continue
            size += len(row.key) + len(row.fields)
            if edits and size > bytes_max:
                break
            edits.append(Edit(row.type, row.key, None, row.fields))
            last = row.change
        return edits, last

    async def leaving(self, name: str, shift: tuple[Selection, Selection], cursor: int, rows_max: int) -> Leaving:
        return self._collections[name].leaving(shift, cursor, rows_max)

    def _state(self, collection: MemoryCollection) -> CollectionState:
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
            classes=collection.classes.states(self._epoch),
            held=collection.held.state(),
            remembers=collection.history.begin,
        )


def _newest_before(collection: MemoryCollection, older_than_us: int) -> int:
    """The newest group of those before which all are older; 0 if there is none."""
    young = [group.first for group in collection.groups if group.time_us >= older_than_us]
    return min(young) - 1 if young else collection.groups[-1].seq if collection.groups else 0
