"""What the outbox in memory holds of one collection, and how edits stand above what the primary sent.

The plain model that the outbox in SQLite is tested against: everything is computed anew from the groups, which are in
the order of their making. An object that groups which stand hold has a version below them, which the primary sent last
(``bases``); the edits that did not come down yet are its *chain* above that, oldest first. The newest version of it is
what the application holds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from syncd.core.digest import object_hash, type_prefix
from syncd.core.edits import EVER, Edit, OutboxState, Overlay, Ruling
from syncd.core.errors import InvariantBroken
from syncd.core.model import DataType, ObjectId
from syncd.store.edit_groups import edit_bytes


@dataclass(eq=False)
class Group:
    """``number``: 0 while it is open. ``stands``: in the application. ``passed``: objects whose version from this group
    the primary sent since then. ``hidden``: it was refused, and nobody needs to read it any more."""

    time_us: int
    offered: bool = False
    number: int = 0
    edits: dict[ObjectId, Edit] = field(default_factory=dict)
    sealed: bool = False
    stands: bool = True
    passed: set[ObjectId] = field(default_factory=set)
    ruling: str = ""
    seq: int = 0
    cause: str = ""
    guilty: ObjectId | None = None
    conflict: int = 0
    settled_us: int = 0
    hidden: bool = False

    @property
    def waits(self) -> bool:
        return self.number > 0 and not self.ruling

    @property
    def joinable(self) -> bool:
        return self.waits and not self.sealed and not self.offered

    @property
    def refused(self) -> bool:
        return self.ruling == Ruling.REFUSED

    @property
    def accepted(self) -> bool:
        return self.ruling in (Ruling.ACCEPTED, Ruling.MERGED)

    @property
    def size(self) -> int:
        return sum(map(edit_bytes, self.edits.values()))

    def fold(self, one: ObjectId, edit: Edit) -> None:
        """Adds an edit: of an object that is there the base stays. Nothing remains of one that changes nothing, unless
        the group is open: its base may be needed yet."""
        base = self.edits[one].base if one in self.edits else edit.base
        self.edits[one] = edit._replace(base=base)
        if self.number:
            self.settle_void()

    def settle_void(self) -> None:
        """Edits that change nothing go."""
        self.edits = {one: edit for one, edit in self.edits.items() if edit.base != edit.fields or edit.fault}


@dataclass
class Prepared:
    """A plan that was not carried out yet. ``passing``: objects whose version is one made here, with its fields;
    ``equal``: groups offered that are as in the snapshot."""

    id: int
    undone: list[Group]
    passing: dict[ObjectId, bytes | None]
    equal: list[Group]
    leave: frozenset[ObjectId] = frozenset()


@dataclass
class Box:
    """``high``: the highest number that was sealed or settled. ``plans``: the last id of a plan."""

    outbox: str
    mark: int = 0
    high: int = 0
    position: int = 0
    plans: int = 0
    groups: list[Group] = field(default_factory=list)
    bases: dict[ObjectId, bytes | None] = field(default_factory=dict)
    types: dict[int, DataType] = field(default_factory=dict)
    type_ids: dict[ObjectId, int] = field(default_factory=dict)
    prepared: Prepared | None = None

    def id_of(self, edit: Edit) -> ObjectId:
        if edit.type not in self.types:
            raise InvariantBroken(f"an edit of type {edit.type}, which was not described")
        return ObjectId(self.types[edit.type].name, edit.key)

    @property
    def last(self) -> int:
        return max(self.high, *(group.number for group in self.groups), 0)

    @property
    def waiting(self) -> list[Group]:
        return [group for group in self.groups if group.waits]

    def open_group(self) -> Group | None:
        return next((group for group in self.groups if not group.number), None)

    def chain(self, one: ObjectId) -> list[Group]:
        return [group for group in self.holders(one) if one not in group.passed]

    def holders(self, one: ObjectId) -> list[Group]:
        """Groups that stand and hold the object."""
        return [group for group in self.groups if group.stands and one in group.edits]

    def standing(self) -> set[ObjectId]:
        return {one for group in self.groups if group.stands for one in group.edits}

    def top(self, one: ObjectId) -> bytes | None:
        chain = self.chain(one)
        return chain[-1].edits[one].fields if chain else self.bases[one]

    def condemned(self) -> list[Group]:
        """Groups that stand and must be put back."""
        return [
            group
            for group in self.groups
            if group.stands and (group.refused or (group.accepted and group.seq <= self.position))
        ]

    def joined(self, groups: Iterable[Group]) -> list[Group]:
        """The groups, and those that stand and share an object with any of them, and so on."""
        found = list(groups)
        for group in found:
            found += [
                other
                for other in self.groups
                if other.stands and other not in found and not other.edits.keys().isdisjoint(group.edits)
            ]
        return found

    def seal(self, number: int) -> None:
        """From now on groups up to the number are as they are."""
        for group in self.groups:
            group.sealed = group.sealed or 0 < group.number <= number
        self._count_sealed()

    def seal_ordinary(self, number: int = EVER) -> None:
        """Nothing is joined to what was made up to the number; what was offered can be offered anew."""
        for group in self.groups:
            group.sealed = group.sealed or (0 < group.number <= number and not group.offered)
        self._count_sealed()

    def _count_sealed(self) -> None:
        self.high = max(self.high, *(group.number for group in self.groups if group.sealed), 0)

    def pass_up_to(self, one: ObjectId, newest: Group | None, value: bytes | None) -> None:
        """The primary's version is the one made in the group ``newest`` of the chain, or one that was joined since."""
        chain = self.chain(one)
        reached = chain.index(newest) + 1 if newest else 0
        for group in chain[:reached]:
            if group.sealed:
                group.passed.add(one)
            else:
                del group.edits[one]  # what the primary has is no change any more
        rest = chain[reached:]
        if rest and not rest[0].sealed:
            rest[0].fold(one, rest[0].edits.pop(one)._replace(base=value))
        self.bases[one] = value

    def tidy(self) -> None:
        """Groups that the primary's versions include stand no longer; what needs no keeping goes."""
        for group in self.groups:
            group.stands = group.stands and not (group.passed >= group.edits.keys())
        self.groups = [
            group
            for group in self.groups
            if (group.stands or not (group.accepted or group.hidden)) and (group.edits or group.sealed)
        ]
        standing = self.standing()
        self.bases = {one: base for one, base in self.bases.items() if one in standing}

    def state(self) -> OutboxState:
        waiting = self.waiting
        return OutboxState(
            outbox=self.outbox,
            mark=self.mark,
            first=waiting[0].number if waiting else self.last + 1,
            last=self.last,
            pending=len(waiting) + sum(group.stands and group.accepted for group in self.groups),
            refused=sum(group.refused and not group.hidden for group in self.groups),
            undo=bool(self.condemned()),
            sealed=self.high,
        )

    def overlay(self) -> Overlay:
        digest = objects = 0
        for one in self.standing():
            base, top = self.bases[one], self.top(one)
            digest += hash_of(one, base) - hash_of(one, top)
            objects += (base is not None) - (top is not None)
        return Overlay(self.mark, digest, objects)


def hash_of(one: ObjectId, fields: bytes | None) -> int:
    return 0 if fields is None else object_hash(type_prefix(one.type), one.key, fields)
