"""Which rows of a work belong to failed parts, and how parts that share an object become one (R7).

Pure decisions that the inbound queue and its twin in memory share.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from syncd.core.model import Failure, ObjectId
from syncd.core.ports import ParkedPart, Part, Work

SEQS_MAX = 100  # sequence numbers kept of one part: the newest


class Claimed(NamedTuple):
    """A row of a work that belongs to the part with the index ``part``."""

    part: int
    seq: int
    id: ObjectId
    type: int
    kind: int
    fields: bytes


def claimed(work: Work, parts: Sequence[Part]) -> Iterator[Claimed]:
    """The rows of the parts, in the order of the work."""
    by_seq = {seq: index for index, part in enumerate(parts) for seq in part.seqs}
    by_object = {one: index for index, part in enumerate(parts) for one in part.objects}
    names = {number: type_.name for number, type_ in work.types.items()}
    for frame in work.frames():
        at = 0
        for seq, loose, rows in frame.runs:
            of_run = None if loose else by_seq.get(seq)
            if of_run is not None or by_object:
                for i in range(at, at + rows):
                    one = ObjectId(names[frame.types[i]], frame.keys[i])
                    index = by_object.get(one) if of_run is None else of_run
                    if index is not None:
                        yield Claimed(index, seq, one, frame.types[i], frame.kinds[i], frame.fields[i])
            at += rows


class Joins:
    """Part ids that share objects -> one id, the least."""

    def __init__(self) -> None:
        self._root: dict[int, int] = {}

    def find(self, part: int) -> int:
        root = self._root
        while root.setdefault(part, part) != part:
            root[part] = root[root[part]]
            part = root[part]
        return part

    def join(self, one: int, other: int) -> None:
        first, second = sorted((self.find(one), self.find(other)))
        self._root[second] = first

    def sets(self) -> Iterator[list[int]]:
        """The members of each joined part, the least first."""
        members: dict[int, list[int]] = {}
        for part in sorted(self._root):
            members.setdefault(self.find(part), []).append(part)
        yield from members.values()


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


def bounded(seqs: Collection[int]) -> tuple[int, ...]:
    """The newest sequence numbers, newest last."""
    return tuple(sorted(seqs)[-SEQS_MAX:])


Version = tuple[int, int, bytes]  # type, kind, fields


class Guilty:
    """The guilty objects of the parts that were parked before: which have another version when all rows are seen. A
    work may bring an object twice, an older version first, so that single rows do not tell."""

    def __init__(self, before: Mapping[int, ParkedPart]) -> None:
        self._before = before
        self._versions: dict[ObjectId, tuple[int, Version, Version]] = {}

    def see(self, one: ObjectId, part: int, held: Version, row: Version) -> None:
        """A row takes the place of what a part held."""
        if one in self._versions:
            self._versions[one] = (*self._versions[one][:2], row)
        elif part in self._before and self._before[part].failure.guilty == one:
            self._versions[one] = (part, held, row)

    def replaced(self) -> set[int]:
        """Parts whose guilty object has another version."""
        return {part for part, first, last in self._versions.values() if first != last}
