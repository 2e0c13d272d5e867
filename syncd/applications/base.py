"""What all applications share: the rows of a work one by one, and which of them stand or fall together (R7).

The contract of an application: ``core.source_port.Source``, ``core.ports.Target``. A *unit* is the smallest part of a
work that may fail alone: groups joined by ties, one loose object, or all loose objects of a type that fails as such. An
object that a work brings more than once joins the units that bring it, or an old version could outlive a newer one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from syncd.core.errors import ApplicationError, ApplicationOffline
from syncd.core.inbound_queue import begins_at, divide
from syncd.core.messages import Objects
from syncd.core.model import DataType, Failure, ObjectId, OutcomeKind, Tie
from syncd.core.ports import Part, Skip, TargetState, Work


class WholeType(NamedTuple):
    """All loose objects of a type that fails as such."""

    id: int


Unit = int | ObjectId | WholeType


class Row(NamedTuple):
    """One generic message with the group it belongs to."""

    seq: int
    loose: bool
    kind: int
    type: int
    key: bytes
    fields: bytes


class RowFailed(Exception):
    """One row cannot be executed; whoever divides the work catches it."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.cause)
        self.failure = failure


def rows_of(frames: Iterable[Objects]) -> Iterator[Row]:
    """All rows in order."""
    for frame in frames:
        at = 0
        for seq, loose, count in frame.runs:
            for i in range(at, at + count):
                yield Row(seq, loose, frame.kinds[i], frame.types[i], frame.keys[i], frame.fields[i])
            at += count


def cancelled(cause: str, guilty: ObjectId | None) -> RowFailed:
    """An error found before execution."""
    return RowFailed(Failure(OutcomeKind.CANCELLED, cause, guilty))


def rolled_back(cause: str, guilty: ObjectId | None) -> RowFailed:
    """An error found during execution."""
    return RowFailed(Failure(OutcomeKind.ROLLED_BACK, cause, guilty))


def named(types: Mapping[int, DataType]) -> dict[int, tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """By what their objects are read: names of tables and columns."""
    return {number: (one.name, one.key, one.fields) for number, one in types.items()}


def current_types(types: Mapping[int, DataType]) -> dict[str, int]:
    """Name of a type -> the id that counts: a type whose columns changed came back under a greater id."""
    return {types[number].name: number for number in sorted(types)}


def nothing_to_do(state: TargetState, work: Work) -> bool:
    """Whether the work was executed before (R6). A snapshot at the same position repairs what is not as proven.

    Called in the transaction that executes the work, with what the application holds in it. Raises ApplicationOffline
    where the work does not follow on that: the application's data was reset, or an older copy came into its place.
    """
    check_begins(state, work)
    if work.proof is None or state.epoch != work.epoch:
        return False
    if state.position == work.proof.seq and work.snapshot:
        return state.digest == work.proof.digest
    return state.position >= work.proof.seq


def check_begins(state: TargetState, work: Work) -> None:
    """Raises ApplicationOffline unless the work, or the parked part, follows on what the application holds."""
    if not begins_at(work, state):
        raise ApplicationOffline(
            "the application's data is not what it was: it was reset or replaced by an older copy of itself",
            "it is looked at again, and what it lacks is fetched",
        )


def as_planned(work: Work) -> Work:
    """The work without the objects that its plan leaves as they are: they are passed over like those that it skips."""
    skip, leave = work.skip, work.plan.leave if work.plan else None
    if leave is None or skip is None:
        return work if leave is None else replace(work, skip=leave)
    return replace(work, skip=_either(skip, leave))


def _either(skip: Skip, leave: Skip) -> Skip:
    def found(objects: Iterable[ObjectId]) -> frozenset[ObjectId]:
        asked = list(objects)
        return skip(asked) | leave(asked)

    return found


def not_put_back(cause: str) -> ApplicationError:
    """What the primary holds cannot be put back where edits stood, because of others that stand yet; once these are
    settled as well it can, so it is tried again."""
    return ApplicationOffline(
        f"the primary's versions cannot be put back here: {cause}",
        "this is tried again; if it stays, change what is in the way in the application",
    )


class Division:
    """Rows -> units. ``repeated`` is told each row of an object that the work brings more than once. ``void``: types of
    which nothing can be executed here, by id."""

    def __init__(self, work: Work, void: Mapping[int, Failure] | None = None) -> None:
        self._work = work
        self.void = void or {}
        self._ties: list[Tie] = [tie for frame in work.frames() for tie in frame.ties]
        self._loose: dict[ObjectId, int] = {}
        self._root: dict[int, int] = {}

    def repeated(self, object_id: ObjectId, seqs: Iterable[int]) -> None:
        """``seqs``: the groups, not loose, among those that bring the object."""
        groups = sorted(set(seqs))
        if groups:
            self._loose[object_id] = groups[0]
            self._ties += [Tie(groups[0], newer) for newer in groups[1:]]

    def settle(self) -> None:
        """After the last ``repeated``, before anything is asked."""
        self._root = divide(self._ties)

    @property
    def joins_loose(self) -> bool:
        """Whether any loose object belongs to the unit of a group."""
        return bool(self._loose)

    def unit(self, seq: int, loose: bool, object_id: ObjectId, type_id: int) -> Unit:
        """The unit of a row."""
        if not loose:
            return self._root.get(seq, seq)
        joined = self._loose.get(object_id)
        if joined is not None:
            return self._root.get(joined, joined)
        return WholeType(type_id) if type_id in self.void else object_id

    def group_unit(self, seq: int) -> int:
        """The unit of a group that is not loose."""
        return self._root.get(seq, seq)

    def parts(self, failed: Mapping[Unit, Failure]) -> tuple[Part, ...]:
        """The failed units as parts of the work."""
        seqs: dict[Unit, list[int]] = {}  # lists, and only where there is something: failed units may be very many
        objects: dict[Unit, list[ObjectId]] = {}
        for frame in self._work.frames():
            for run in frame.runs:
                unit = self.group_unit(run.seq)
                if not run.loose and unit in failed:
                    seqs.setdefault(unit, []).append(run.seq)
        for object_id, joined in self._loose.items():
            unit = self.group_unit(joined)
            if unit in failed:
                objects.setdefault(unit, []).append(object_id)
        together: dict[str, Unit] = {}  # objects that fail for their type as such are one part
        for loose, failure in failed.items():
            if isinstance(loose, ObjectId):
                first = loose if failure.guilty else together.setdefault(failure.cause, loose)
                objects.setdefault(first, []).append(loose)
        found = [
            Part(frozenset(seqs.get(unit, ())), frozenset(objects.get(unit, ())), failed[unit])
            for unit in failed
            if unit in seqs or unit in objects
        ]
        whole = [unit for unit in failed if isinstance(unit, WholeType)]
        return *found, *(Part(frozenset(), frozenset(), failed[unit], frozenset((unit.id,))) for unit in whole)
