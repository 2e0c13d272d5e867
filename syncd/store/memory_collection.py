"""One collection of the sync store in memory; see ``memory``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from syncd.core import digest
from syncd.core.holding import Batch
from syncd.core.loss import Leaving
from syncd.core.model import DataType, ObjectId, Observed, Tie
from syncd.core.ports import Group, StoredRow
from syncd.core.selection import ALL, Selection
from syncd.store.class_choice import Choice, values_of
from syncd.store.memory_classes import MemoryClasses
from syncd.store.memory_held import MemoryHeld, Named
from syncd.store.memory_history import MemoryHistory


@dataclass
class MemoryCollection:
    """One collection. ``rows`` is in the order of their changes. ``ties`` is by the change that made the tie, ``tied``
    names the older groups of those not published. ``seen`` is None while no comparison runs."""

    name: str
    classes: MemoryClasses
    rows: dict[ObjectId, StoredRow] = field(default_factory=dict)
    groups: list[Group] = field(default_factory=list)
    ties: dict[int, Tie] = field(default_factory=dict)
    tied: set[int] = field(default_factory=set)
    types: tuple[DataType, ...] = ()
    former: dict[int, DataType] = field(default_factory=dict)
    seen: set[ObjectId] | None = None
    history: MemoryHistory = field(default_factory=MemoryHistory)
    held: MemoryHeld = field(default_factory=MemoryHeld)
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

    def place(self, one: ObjectId) -> tuple[int, bytes]:
        """In which order objects are touched that no batch named."""
        return self.rows[one].type, one.key

    def named(self, batch: Batch) -> dict[ObjectId, Observed]:
        """Of an object that comes twice the later counts."""
        names = self.names()
        return {ObjectId(names[one.type], one.key): one for one in batch.observed}

    def unseen(self) -> list[StoredRow]:
        """What the running comparison did not see."""
        seen = self.seen or set()
        return [row for one, row in self.rows.items() if row.fields is not None and one not in seen]

    def gone(self, named: Mapping[ObjectId, Observed], release: bool) -> int:
        """How many deletions these add to those above the head that count; see ``store_keep``."""
        gone = 0
        for one, seen in named.items():
            row = self.rows.get(one)
            if row is not None and row.fields is not None and seen.fields is None:
                gone += " " not in seen.author and not (release and self.held.objects.get(one, False))
            elif row is not None and row.fields is None and seen.fields is not None and row.change > self.head:
                gone -= 1
        return gone

    def take_back(self) -> list[Named]:
        """What was not published is as it was before. Returns it as it was last observed."""
        back: list[Named] = []
        for one, before in self.held.before.items():
            row = self.rows.pop(one)
            back.append((one, Observed(row.type, row.key, row.fields)))
            self.count(row, -1)
            if before is not None:
                self.rows[one] = before._replace(type=row.type)
                self.count(self.rows[one], +1)
        self.rows = dict(sorted(self.rows.items(), key=lambda each: each[1].change))
        self.classes.take_back({one: self.rows.get(one) for one in self.held.before}, self.head)
        self.ties = {at: tie for at, tie in self.ties.items() if at <= self.head}
        self.tied.clear()
        self.history.taken_back(self.head)
        self.last, self.loose, self.held.gone = self.head, False, 0
        self.held.before.clear()
        return back

    def leaving(self, shift: tuple[Selection, Selection], cursor: int, rows_max: int) -> Leaving:
        """See ``core.loss``."""
        before, after = (Choice(one, self.types) for one in shift)
        of_class = self.classes.find(shift[0]) if shift[0] != ALL else None
        known = of_class.members if of_class is not None and of_class.ready and not of_class.broken else None
        if after.broken or not self.imported:
            return Leaving(0, 0, 0)
        there = [(one, row) for one, row in self.rows.items() if row.change > cursor and row.fields is not None]
        if known is not None:
            there = [(one, row) for one, row in there if one in known and known[one].hash is not None]
        objects = of = 0
        for _, row in there[:rows_max]:
            values = values_of(row.key, row.fields, row.fault)
            if known is not None or before.broken or before.takes(row.type, values, False):
                of += 1
                objects += not after.takes(row.type, values, False)
        return Leaving(objects, of, there[rows_max - 1][1].change if len(there) >= rows_max else 0)

    def end(self, replaced: Iterable[int], cursor: int) -> int:
        """Up to where rows stand for good; see ``store_read``."""
        return self.head if self.loose else max(cursor, min([self.head, *(change - 1 for change in replaced)]))

    def count(self, row: StoredRow | None, sign: int) -> None:
        """Takes the object of a row into the checksum (+1) or out of it (-1)."""
        if row is None or row.fields is None:
            return
        hashed = digest.object_hash(digest.type_prefix(self.names()[row.type]), row.key, row.fields)
        self.digest = digest.add(self.digest, sign * hashed)
        self.objects += sign
