"""Inbound queue (claim 24k), the decisions: order, repeats, gaps, and how a failed transfer is divided (R3, R6, R7).

The durable tables are in ``store/``; this says what belongs into them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from typing import Protocol

from syncd.core.messages import Objects, Run
from syncd.core.model import Failure, ObjectId, OutcomeKind, Tie
from syncd.core.ports import Part, Skip, TargetState, Work


class Arrival(Enum):
    """What a frame is to the transfer whose frames are staged up to a cursor."""

    NEXT = "next"
    REPEAT = "repeat"
    GAP = "gap"


def arrival(cursor: int, frame: Objects) -> Arrival:
    """A frame that begins at the cursor is next; one that ends at or before it was staged before (R6)."""
    if frame.first == cursor:
        return Arrival.NEXT
    if frame.last <= cursor:
        return Arrival.REPEAT
    return Arrival.GAP


class Joins:
    """What belongs together, by numbers: union by least root with path halving."""

    def __init__(self) -> None:
        self._root: dict[int, int] = {}

    def find(self, one: int) -> int:
        """The least of those that belong together with this one, which is taken in."""
        root = self._root
        while root.setdefault(one, one) != one:
            root[one] = root[root[one]]
            one = root[one]
        return one

    def join(self, one: int, other: int) -> None:
        """These two belong together."""
        first, second = sorted((self.find(one), self.find(other)))
        self._root[second] = first

    def sets(self) -> Iterator[list[int]]:
        """What belongs together, the least first."""
        members: dict[int, list[int]] = {}
        for one in sorted(self._root):
            members.setdefault(self.find(one), []).append(one)
        yield from members.values()


def divide(ties: Iterable[Tie]) -> dict[int, int]:
    """Groups joined by shared objects -> for each group that has a tie, the least group of its part; groups without a
    tie are parts of their own and not in the result."""
    joins = Joins()
    for older, newer in ties:
        joins.join(older, newer)
    return {member: members[0] for members in joins.sets() for member in members}


BEHIND = Failure(OutcomeKind.CANCELLED, "it touches objects of a group that failed before", None)


def entangled(work: Work) -> tuple[Part, ...]:
    """The parts of a work that touch parked objects (``work.skip``): they park behind them (R7), and so does what
    brings another version of an object that parks with them, or an old version could outlive a newer one."""
    if work.skip is None:
        return ()
    root = divide(tie for frame in work.frames() for tie in frame.ties)
    touched: dict[int, set[int]] = {}
    loose: set[ObjectId] = set()
    reached: set[ObjectId] = set()  # objects of the groups touched
    behind = False
    before = -1
    while before != len(touched) + len(loose) + len(reached):
        before = len(touched) + len(loose) + len(reached)
        for run, ids, parked in _runs(work, work.skip):
            if run.loose:
                behind = behind or bool(parked)
                loose |= reached.intersection(ids) - parked
                continue
            part = root.get(run.seq, run.seq)
            if part in touched or parked or not reached.isdisjoint(ids):
                touched.setdefault(part, set()).add(run.seq)
                reached.update(ids)
    parts = [Part(frozenset(seqs), frozenset(), BEHIND) for _, seqs in sorted(touched.items())]
    parts += [Part(frozenset(), frozenset((object_id,)), BEHIND) for object_id in sorted(loose)]
    parts += [Part(frozenset(), frozenset(), BEHIND, behind=True)] * behind
    return tuple(parts)


def _runs(work: Work, skip: Skip) -> Iterator[tuple[Run, list[ObjectId], frozenset[ObjectId]]]:
    """The runs of a work with the objects that each brings, and those of them that are parked."""
    for frame in work.frames():
        ids = ids_of(work, frame)
        parked, at = skip(ids), 0
        for run in frame.runs:
            brought = ids[at : at + run.rows]
            yield run, brought, parked.intersection(brought)
            at += run.rows


class Keyed(Protocol):
    """Rows as columns: the ids of their types, their keys."""

    @property
    def types(self) -> Sequence[int]: ...

    @property
    def keys(self) -> Sequence[bytes]: ...


def ids_of(work: Work, rows: Keyed) -> list[ObjectId]:
    """The objects of rows: those of a frame, or a part of them."""
    types = work.types
    return [ObjectId(types[number].name, key) for number, key in zip(rows.types, rows.keys, strict=True)]


def begins_at(work: Work, held: TargetState) -> bool:
    """Whether a work can be executed on what the target holds: it has no gap after it (R4). Parked objects come from
    groups that it has passed."""
    if work.snapshot:
        return True
    frame = next(iter(work.frames()), None)
    if frame is None:
        return work.epoch == held.epoch
    first = frame.first if work.proof is not None else max((run.seq for run in frame.runs), default=0)
    return work.epoch == held.epoch and first <= held.position
