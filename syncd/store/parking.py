"""Which rows of a work belong to failed parts, and how parts that share an object become one (R7).

Pure decisions that the inbound queue and its twin in memory share.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import NamedTuple

from syncd.core.inbound_queue import BEHIND, ids_of
from syncd.core.model import Failure, ObjectId
from syncd.core.ports import ParkedPart, Part, Work
from syncd.core.settings import Limits

SEQS_MAX = Limits().part_groups_max
RETRY_PARTS_MAX = 500  # parts that are tried in one transaction
RETRY_OBJECTS_MAX = 2_000  # and their objects; a part with more is tried by itself


class Claimed(NamedTuple):
    """A row of a work that belongs to the part with the index ``part``; None: to the part that holds its object."""

    part: int | None
    seq: int
    id: ObjectId
    type: int
    kind: int
    fields: bytes


def claimed(work: Work, parts: Sequence[Part]) -> Iterator[Claimed]:
    """The rows of the parts, in the order of the work."""
    by_seq = {seq: index for index, part in enumerate(parts) for seq in part.seqs}
    by_object = {one: index for index, part in enumerate(parts) for one in part.objects}
    by_type = {number: index for index, part in enumerate(parts) for number in part.types}
    skip = work.skip if any(part.behind for part in parts) else None
    for frame in work.frames():
        ids, at = ids_of(work, frame), 0
        behind = skip(ids) if skip else frozenset[ObjectId]()
        for seq, loose, rows in frame.runs:
            of_run = None if loose else by_seq.get(seq)
            for i in range(at, at + rows):
                index = by_object.get(ids[i]) if of_run is None else of_run
                if index is None and loose:
                    index = by_type.get(frame.types[i])
                if index is not None or (loose and ids[i] in behind):
                    yield Claimed(index, seq, ids[i], frame.types[i], frame.kinds[i], frame.fields[i])
            at += rows


@dataclass(frozen=True, slots=True)
class Fresh:
    """A part that fails for the first time: its failure and the groups of its rows."""

    failure: Failure
    seqs: Collection[int]
    retry_at_us: int


def joined(old: Sequence[ParkedPart], fresh: Sequence[Fresh], replaced: Collection[int], objects: int) -> ParkedPart:
    """One part out of parts that share objects. ``old``: parked before, the oldest first. ``replaced``: ids of those
    whose guilty object has a newer version: the cause may be gone, so the part is due at once."""
    standing = [part for part in old if part.id not in replaced]
    seqs = bounded({seq for part in old for seq in part.seqs} | {seq for part in fresh for seq in part.seqs})
    if standing:
        first = standing[0]
        return ParkedPart(old[0].id, seqs, objects, first.failure, first.attempts, first.retry_at_us)
    if old:
        failure = fresh[0].failure if fresh else old[0].failure
        return ParkedPart(old[0].id, seqs, objects, failure, 0, 0)
    return ParkedPart(0, seqs, objects, fresh[0].failure, 0, fresh[0].retry_at_us)


def moved_on(part: ParkedPart, seqs: Collection[int], replaced: bool) -> ParkedPart:
    """A parked part after newer versions of some of its objects came. ``replaced``: of its guilty object."""
    part = replace(part, seqs=bounded({*part.seqs, *seqs}))
    return replace(part, failure=BEHIND, attempts=0, retry_at_us=0) if replaced else part


def bounded(seqs: Collection[int]) -> tuple[int, ...]:
    """The newest sequence numbers, newest last."""
    return tuple(sorted(seqs)[-SEQS_MAX:])


def together(due: Iterable[ParkedPart]) -> Iterator[ParkedPart]:
    """The first parts, as many as may be tried in one transaction: the application is locked for as long (R16)."""
    objects = 0
    for at, part in enumerate(islice(due, RETRY_PARTS_MAX)):
        objects += part.objects
        if at and objects > RETRY_OBJECTS_MAX:
            return
        yield part


Version = tuple[int, int, bytes]  # type, kind, fields


class Guilty:
    """The guilty objects of the parts that were parked before: which have another version when all rows are seen. A
    work may bring an object twice, an older version first, so that single rows do not tell. ``guilty``: whether a part
    was parked before, for this object."""

    def __init__(self, guilty: Callable[[int, ObjectId], bool]) -> None:
        self._guilty = guilty
        self._versions: dict[ObjectId, tuple[int, Version, Version]] = {}

    def see(self, one: ObjectId, part: int, held: Version, row: Version) -> None:
        """A row takes the place of what a part held."""
        if one in self._versions:
            self._versions[one] = (*self._versions[one][:2], row)
        elif held != row and self._guilty(part, one):
            self._versions[one] = (part, held, row)

    def replaced(self) -> set[int]:
        """Parts whose guilty object has another version."""
        return {part for part, first, last in self._versions.values() if first != last}
