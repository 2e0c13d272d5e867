"""Selection classes of the sync store in memory: twin of ``store_classes``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from syncd.core import digest
from syncd.core.model import DataType, ObjectId, Span, Spans
from syncd.core.ports import ClassState, StoredRow
from syncd.core.references import Object
from syncd.core.selection import Selection
from syncd.store.class_choice import NOT_COMPARED, Choice, renamed, values_of
from syncd.store.stays import Stays, ended, since


class Member(NamedTuple):
    """``hash`` None: it left, and devices that may hold it are told so. ``born``: when its last stay began; ``stays``:
    those before."""

    change: int
    born: int
    hash: int | None
    stays: Stays = ()


@dataclass
class MemoryClass:
    """One class. ``before``: what changes above the head replaced. While it is filled, in the order of changes, it
    holds objects up to ``filled`` only; what changes meanwhile is met later."""

    selection: Selection
    number: int
    choice: Choice
    broken: str = ""
    ready: bool = False
    filled: int = 0
    head: int = 0
    last: int = 0
    horizon: int = 0
    digest: bytes = digest.EMPTY
    objects: int = 0
    members: dict[ObjectId, Member] = field(default_factory=dict)
    before: dict[ObjectId, Member] = field(default_factory=dict)

    def state(self, epoch: str) -> ClassState:
        own = (f"{epoch}.{self.number}", self.head, self.horizon, self.digest, self.objects)
        return ClassState(self.selection, *own, self.ready, self.broken)

    def count(self, hashed: int | None, sign: int) -> None:
        if hashed is not None:
            self.digest = digest.add(self.digest, sign * hashed)
            self.objects += sign

    def hash(self, name: str, row: StoredRow) -> int:
        assert row.fields is not None
        own = self.choice.hash(row.type, row.key, row.fields, row.fault)
        if own is not None:
            return int.from_bytes(own, "big")
        return digest.object_hash(digest.type_prefix(name), row.key, row.fields)

    def fill(self, rows: Mapping[ObjectId, StoredRow], head: int, last: int, rows_max: int) -> None:
        """``rows``: all of the collection, in the order of their changes."""
        if self.ready or self.broken:
            return
        left = [(one, row) for one, row in rows.items() if row.change > self.filled]
        for one, row in left[:rows_max]:
            values = values_of(row.key, row.fields, row.fault)
            if row.fields is not None and self.choice.asks_in_vain(row.type, values):
                self.broken = NOT_COMPARED
                return
            self.filled = row.change
            if row.fields is not None and self.choice.takes(row.type, values, False):
                self.members[one] = Member(row.change, row.change, self.hash(one.type, row))
                self.count(self.members[one].hash, +1)
        if len(left) <= rows_max:
            self.filled_up(rows)
        if len(left) <= rows_max and not self.broken:
            self.ready, self.filled, self.head = True, last, head
            self.last = max((member.change for member in self.members.values()), default=0)

    def settle(self, rows: Mapping[ObjectId, StoredRow], altered: set[ObjectId]) -> set[ObjectId]:
        """What enters or leaves because of others that a batch altered."""
        return set()

    def filled_up(self, rows: Mapping[ObjectId, StoredRow]) -> None:
        """All that it takes is in it."""

    def takes(self, one: ObjectId, row: StoredRow, there: bool) -> bool:
        """Whether an object that is there is in the class from here on. ``there``: whether it has been."""
        return self.choice.takes(row.type, values_of(row.key, row.fields, row.fault), there)

    def changed(self, one: ObjectId, row: StoredRow, head: int) -> None:
        """The object has become ``row``."""
        if self.broken:
            return
        was = self.members.pop(one, None)
        there = was is not None and was.hash is not None
        if was is not None:
            self.count(was.hash, -1)
        if was is not None and was.change <= head:
            self.before[one] = was
        if not self.ready:
            return
        born, stays = (row.change, ()) if was is None else (was.born, was.stays)
        if row.fields is not None and self.takes(one, row, there):
            if was is not None and not there and was.change <= head:
                born, stays = row.change, ended(was.stays, Span(was.born, was.change), self.horizon)
            self.members[one] = Member(row.change, born, self.hash(one.type, row), stays)
            self.count(self.members[one].hash, +1)
        elif was is not None and not there:
            self.members[one] = was
            if was.change <= head:
                del self.before[one]
            return
        elif was is not None and (born <= head or stays):
            born = born if born <= head else row.change  # a stay of which no device knows is none
            self.members[one] = Member(row.change, born, None, stays)
        elif was is None:
            return
        self.last = row.change

    def take_back(self, former: Mapping[ObjectId, StoredRow | None], head: int) -> None:
        """``former``: what stands in the collection again, for each object that was changed above the head."""
        before, self.before = self.before, {}
        if self.broken:
            return
        if not self.ready:
            self.filled = min(self.filled, head)
        self.last = min(self.last, self.head if self.ready else head)
        for one, row in former.items():
            member = self.members.get(one)
            if member is not None and member.change > head:
                self.count(self.members.pop(one).hash, -1)
            if one in before:
                self.members[one] = before[one]
                self.count(before[one].hash, +1)
            elif one not in self.members and row is not None:
                self._meet(one, row)

    def _meet(self, one: ObjectId, row: StoredRow) -> None:
        """The filling may have passed by what stood above the head."""
        if row.fields is None or not (self.ready or row.change <= self.filled):
            return
        if self.choice.takes(row.type, values_of(row.key, row.fields, row.fault), False):
            self.members[one] = Member(row.change, row.change, self.hash(one.type, row))
            self.count(self.members[one].hash, +1)

    def published(self, before: int, head: int) -> None:
        self.before.clear()
        if self.ready and self.last > before:
            self.head = head

    def rows(self, rows: Mapping[ObjectId, StoredRow], types: Mapping[str, int], base: int) -> list[StoredRow]:
        """In the order of their changes, as a device sees them that stands at ``base`` or later."""
        seen = []
        for one, member in sorted(self.members.items(), key=lambda pair: pair[1].change):
            born = since(member.stays, member.born, base)
            if member.hash is None:
                seen.append(self.choice.row(StoredRow(member.change, born, types[one.type], one.key, None)))
            else:
                seen.append(self.choice.row(rows[one])._replace(born=born))
        return seen

    def prune(self, limit: int) -> int:
        limit = min(limit, self.head)  # a snapshot begins there
        gone = [one for one, member in self.members.items() if member.hash is None and member.change <= limit]
        for one in gone:
            del self.members[one]
        self.horizon = max(self.horizon, limit)
        return len(gone)

    def forget_gone(self, spans: Spans, upto: int) -> int:
        gone = [
            one
            for one, member in self.members.items()
            if member.hash is None
            and member.change <= upto
            and not any(spans.may_hold(*stay) for stay in (*member.stays, Span(member.born, member.change)))
        ]
        for one in gone:
            del self.members[one]
        return len(gone)


class FollowingClass(MemoryClass):
    """A class that follows references, by the definition: with each batch all that is in it is looked up anew,
    beginning with what it takes by itself. ``references``: of members, as they were when they could last be read.
    ``decided``: what is in it after the batch whose changes are being taken in."""

    def __init__(self, selection: Selection, number: int, choice: Choice, types: Sequence[DataType]) -> None:
        super().__init__(selection, number, choice, choice.broken)
        self._names = {one.id: one.name for one in types}
        self._references: dict[ObjectId, tuple[ObjectId, ...]] = {}
        self._decided: set[ObjectId] = set()

    def settle(self, rows: Mapping[ObjectId, StoredRow], altered: set[ObjectId]) -> set[ObjectId]:
        """What enters or leaves with the objects that a batch altered."""
        if self.broken or not self.ready:
            return set()
        was = {one for one, member in self.members.items() if member.hash is not None}
        self._decided = self._reached(rows, was)
        return (was ^ self._decided) - altered

    def _reached(self, rows: Mapping[ObjectId, StoredRow], was: set[ObjectId]) -> set[ObjectId]:
        """``was``: what has been in it."""
        queue = [one for one, row in rows.items() if row.fields is not None and self._is_own(row, one in was)]
        members, before, self._references = set[ObjectId](), self._references, {}
        while queue:
            one = queue.pop()
            row = rows.get(one)
            if row is None or row.fields is None or one in members:
                continue
            targets = self.choice.targets(row.type, values_of(row.key, row.fields, row.fault))
            known = before.get(one, ()) if targets is None else [ObjectId(self._names[to], key) for to, key in targets]
            members.add(one)
            self._references[one] = tuple(known)
            queue += known
        return members

    def _is_own(self, row: StoredRow, was: bool) -> bool:
        return self.choice.takes(row.type, values_of(row.key, row.fields, row.fault), was)

    def takes(self, one: ObjectId, row: StoredRow, there: bool) -> bool:
        return one in self._decided

    def filled_up(self, rows: Mapping[ObjectId, StoredRow]) -> None:
        """All that it takes by itself is in it."""
        reached = self._reached(rows, set())
        for one in [one for one in rows if one in reached and one not in self.members]:
            row = rows[one]
            if self.choice.asks_in_vain(row.type, values_of(row.key, row.fields, row.fault)):
                self.broken = NOT_COMPARED
                return
            self.members[one] = Member(row.change, row.change, self.hash(one.type, row))
            self.count(self.members[one].hash, +1)


class MemoryClasses:
    """The classes of one collection. ``number``: gives each of them one that no other ever had. ``numbered``: what each
    takes that there ever was."""

    def __init__(self, number: Callable[[], int]) -> None:
        self._number = number
        self.numbered: dict[int, Selection] = {}
        self._classes: dict[Selection, MemoryClass] = {}
        self._types: Sequence[DataType] = ()

    def find(self, selection: Selection) -> MemoryClass | None:
        return self._classes.get(selection)

    def open(self, selection: Selection, types: Sequence[DataType]) -> MemoryClass:
        if selection not in self._classes:
            self._renew(selection, Choice(selection, types), types)
        return self._classes[selection]

    def _renew(self, selection: Selection, choice: Choice, types: Sequence[DataType]) -> None:
        number, self._types = self._number(), types
        if selection.follow:
            self._classes[selection] = FollowingClass(selection, number, choice, types)
        else:
            self._classes[selection] = MemoryClass(selection, number, choice, choice.broken)
        self.numbered[number] = selection

    def among(self, selection: Selection, objects: Mapping[Object, ObjectId]) -> tuple[set[Object], set[Object]]:
        one = self._classes.get(selection)
        found = {at: one.members.get(named) for at, named in objects.items()} if one is not None else {}
        return (
            {at for at, member in found.items() if member is not None and member.hash is not None},
            {at for at, member in found.items() if member is not None and member.hash is None},
        )

    def drop(self, selection: Selection) -> None:
        self._classes.pop(selection, None)

    def states(self, epoch: str) -> tuple[ClassState, ...]:
        return tuple(one.state(epoch) for _, one in self._ordered())

    def _ordered(self) -> list[tuple[Selection, MemoryClass]]:
        return sorted(self._classes.items(), key=lambda pair: pair[0].canonical)

    def set_types(self, before: Sequence[DataType], types: Sequence[DataType]) -> None:
        for selection, one in self._ordered():
            choice = Choice(selection, types)
            if not choice.broken and (one.broken or renamed(selection, before, types)):
                self._renew(selection, choice, types)
            else:
                one.choice, one.broken = choice, choice.broken

    def changed(self, object_: ObjectId, row: StoredRow, head: int) -> None:
        for one in self._classes.values():
            one.changed(object_, row, head)

    def settle(self, rows: Mapping[ObjectId, StoredRow], altered: set[ObjectId]) -> set[ObjectId]:
        """What enters or leaves a class because of others that a batch altered."""
        return {touched for one in self._classes.values() for touched in one.settle(rows, altered)}

    def take_back(self, former: Mapping[ObjectId, StoredRow | None], head: int) -> None:
        for selection, one in self._ordered():
            if selection.follow and former and not one.broken:
                self._renew(selection, one.choice, self._types)
            else:
                one.take_back(former, head)

    def published(self, before: int, head: int, compared: bool) -> None:
        """``compared``: no comparison is due."""
        for selection, one in self._ordered():
            one.published(before, head)
            if compared and one.broken == NOT_COMPARED:
                self._renew(selection, one.choice, self._types)
