"""What the watcher remembers: states, groups and frames, as values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from syncd.core.messages import Begin, Follow, Report
from syncd.core.messages import Run as WireRun
from syncd.core.model import Kind, ObjectId
from syncd.core.ports import TargetState, Work

State = dict[ObjectId, bytes]


class Mine(NamedTuple):
    """What the users of a device have: all that it may be told of. ``types`` by name; ``keys``: all that there ever
    were."""

    users: tuple[str, ...]
    collections: frozenset[str]
    types: frozenset[str]
    keys: frozenset[bytes]


class Publication(NamedTuple):
    """A published head and the state of the application that it is."""

    epoch: str
    seq: int
    state: int


class Group(NamedTuple):
    """A published group and the objects that it numbered; ``deleted``: those of them that were gone with it."""

    seq: int
    loose: bool
    objects: frozenset[ObjectId]
    deleted: frozenset[ObjectId] = frozenset()


class Run(NamedTuple):
    """Rows of one group in a work."""

    seq: int
    loose: bool
    objects: list[ObjectId]


class Came(NamedTuple):
    """A frame since the last cut. ``read``: the store's head when it was read."""

    last: int
    read: int
    runs: tuple[WireRun, ...]
    objects: frozenset[tuple[int, bytes]]


@dataclass
class Traffic:
    """What the primary sends one device. ``asked``: its last Follow. ``epoch``, ``snapshot``, ``floor``, ``cursor``: of
    the transfer; ``came``: its frames since the last cut that count."""

    asked: Follow | None = None
    epoch: str = ""
    snapshot: bool = False
    floor: int = 0
    cursor: int = 0
    came: list[Came] = field(default_factory=list)

    def begin(self, begin: Begin) -> None:
        going_on = begin.cursor > begin.base and begin.epoch == self.epoch
        self.came = [one for one in self.came if going_on and one.last <= begin.cursor]
        self.epoch, self.snapshot = begin.epoch, begin.snapshot
        self.floor, self.cursor = begin.floor, begin.cursor

    def cut(self) -> None:
        self.came.clear()
        self.snapshot, self.floor = False, 0


@dataclass
class Held:
    """What a device was seen to hold after the last commit. ``frozen``: fields that objects of parked groups keep;
    ``parked``: which are parked; ``failing``: those that could not be executed in the last work; ``meddled``: those
    that another program changed and nothing has overwritten, ``unseen``: no checksum was made since it did.
    ``saying``: the last Report that waited until it was durable."""

    rows: State
    state: TargetState
    frozen: dict[ObjectId, bytes | None] = field(default_factory=dict)
    parked: frozenset[ObjectId] = frozenset()
    failing: frozenset[ObjectId] = frozenset()
    meddled: frozenset[ObjectId] = frozenset()
    unseen: bool = False
    traffic: Traffic = field(default_factory=Traffic)
    saying: Saying | None = None


class Saying(NamedTuple):
    """A Report, and what the device held when it was made."""

    message: Report
    then: Held


class Row(NamedTuple):
    """A row of a work."""

    id: ObjectId
    kind: Kind
    fields: bytes


def rows_of(work: Work) -> list[Row]:
    """All rows of a work, in order."""
    return [
        Row(ObjectId(work.types[message.type].name, message.key), message.kind, message.fields)
        for frame in work.frames()
        for message in frame.messages()
    ]


def runs_of(work: Work) -> list[Run]:
    """All runs of a work, in order."""
    rows = iter(rows_of(work))
    runs = [run for frame in work.frames() for run in frame.runs]
    return [Run(run.seq, run.loose, [next(rows).id for _ in range(run.rows)]) for run in runs]


def ties(groups: Sequence[Group], since: int) -> Callable[[int], int]:
    """Group -> its part: groups that share an object belong to one, a loose group to none.

    A group after ``since`` is tied to the last that numbered any of its objects, however old that is. One that takes
    all objects of another may take its ties too, as nothing is left of the other.
    """
    owner: dict[ObjectId, Group] = {}
    older: dict[int, set[int]] = {}
    root: dict[int, int] = {}

    def find(seq: int) -> int:
        while root.setdefault(seq, seq) != seq:
            seq = root[seq]
        return seq

    for group in groups:
        older[group.seq] = set()
        for before in {owner[one] for one in group.objects if one in owner}:
            if not (group.loose or before.loose):
                older[group.seq] |= {before.seq}
                older[group.seq] |= older[before.seq] if before.objects <= group.objects else set()
        owner |= dict.fromkeys(group.objects, group)
        for seq in older[group.seq] if group.seq > since else ():
            root[find(seq)] = find(group.seq)
    return find


def in_snapshot(groups: Sequence[Group]) -> list[Group]:
    """The groups, the newest first, without the objects that were deleted since: a snapshot has no tombstones, and what
    comes again after its tombstone was forgotten is not known to have been there before."""
    deleted: set[ObjectId] = set()
    left: list[Group] = []
    for group in reversed(groups):
        deleted |= group.deleted
        left.append(group._replace(objects=group.objects - deleted))
    return left
