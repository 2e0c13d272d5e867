"""A work that failed as a whole, tried again unit by unit, each under a savepoint (R7).

Loose rows go in by pieces, and row by row where a piece fails. A unit of groups is collected until its last row has
come; one that is too big to collect is read again by itself. Units that fail are tried again at the end while any
gets through: independent units may free a value under a UNIQUE index for one another.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping

from syncd.adapters.canonical import unpack_values
from syncd.applications.base import Division, RowFailed, Unit, WholeType
from syncd.applications.sqlite_apply import Applier
from syncd.applications.sqlite_noted import BROUGHT, MADE
from syncd.applications.sqlite_tables import Columns, Tables, UniqueFailed
from syncd.core.inbound_queue import ids_of
from syncd.core.model import Failure, ObjectId, OutcomeKind
from syncd.core.ports import Work

_ROUNDS = 16
_LINKS = 1_000  # of a chain of objects that name one another, followed in one try
_COLLECTED_BYTES = 16 * 1024 * 1024


class TransactionLost(Exception):
    """The application's schema rolled the whole transaction back (RAISE(ROLLBACK)); ``unit`` did it, None: a piece."""

    def __init__(self, unit: Unit | None, failure: Failure) -> None:
        super().__init__(failure.cause)
        self.unit = unit
        self.failure = failure


def runs_of(work: Work) -> Iterator[tuple[int, bool, Columns]]:
    """The rows of the work that are not skipped, run by run: group, whether it is loose, rows."""
    for frame in work.frames():
        whole = Columns(frame.kinds, frame.types, frame.keys, frame.fields)
        parked = work.skip(ids_of(work, whole)) if work.skip else None
        at = 0
        for seq, loose, rows in frame.runs:
            columns = whole.part(at, at + rows)
            at += rows
            if parked:
                columns = _without(work, columns, parked)
            if columns.keys:
                yield seq, loose, columns


def chunks_of(work: Work) -> Iterator[Columns]:
    """The rows of the work that are not skipped, frame by frame."""
    for frame in work.frames():
        columns = Columns(frame.kinds, frame.types, frame.keys, frame.fields)
        parked = work.skip(ids_of(work, columns)) if work.skip else None
        yield _without(work, columns, parked) if parked else columns


def _without(work: Work, columns: Columns, parked: frozenset[ObjectId]) -> Columns:
    """The rows that are not parked."""
    return columns.only([i for i, object_id in enumerate(ids_of(work, columns)) if object_id not in parked])


def division(connection: sqlite3.Connection, work: Work, tables: Tables) -> Division:
    """Which rows of the work stand or fall together. Call it inside a transaction."""
    found = Division(work, tables.void)
    name_ids = tables.name_ids
    repeated: set[ObjectId] = set()
    BROUGHT.clear(connection)
    for columns in chunks_of(work):
        ids = ids_of(work, columns)
        if BROUGHT.add_all(connection, [(name_ids[one.type], one.key) for one in ids]) < len(ids):
            repeated.update(ids)  # all of this frame may be: more is asked than is needed, nothing is missed
    if repeated:
        brought: dict[ObjectId, list[tuple[int, bool]]] = {}
        for seq, loose, columns in runs_of(work):
            for one in ids_of(work, columns):
                if one in repeated:
                    brought.setdefault(one, []).append((seq, loose))
        for one in sorted(brought):
            if len(brought[one]) > 1:
                found.repeated(one, [seq for seq, loose in brought[one] if not loose])
    found.settle()
    return found


class Divided:
    """One try of a divided work in the transaction of ``applier``. ``excluded``: units that are known to fail."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        applier: Applier,
        work: Work,
        parts: Division,
        excluded: Mapping[Unit, Failure],
    ) -> None:
        self._run = connection.execute
        self._connection = connection
        self._applier = applier
        self._work = work
        self._division = parts
        self._excluded = excluded
        self._unique: set[Unit] = set()
        self._void: set[int] = set()  # types whose rows came and cannot be executed
        self._rows = self._count()
        applier.divide()

    def execute(self, by_pieces: bool) -> dict[Unit, Failure]:
        """The units that fail, with their first causes; all others are executed."""
        failed = self._round(None, by_pieces)
        failed.update((WholeType(number), self._division.void[number]) for number in sorted(self._void))
        for _ in range(_ROUNDS):
            again = frozenset(unit for unit in failed if failed[unit].outcome is OutcomeKind.ROLLED_BACK)
            if not again:
                return failed
            still = self._round(again, by_pieces=False)
            failed = {unit: why for unit, why in failed.items() if unit in still or unit not in again}
            if len(still) == len(again):
                break
        return self._together(failed)

    def units_with(self, guilty: Mapping[ObjectId, str]) -> dict[Unit, Failure]:
        """The units that bring these objects, those that bring what names an object of them, and so on. What is not
        followed to its end is found by the next try."""
        units: dict[Unit, Failure] = {}
        for _ in range(_ROUNDS):
            found = {unit: why for unit, why in self.units_of(guilty).items() if unit not in units}
            units |= found
            pieces = self._pieces(frozenset(found), by_pieces=False) if found else ()
            try:
                made = (one for _, part in pieces for one in ids_of(self._work, part))
                guilty = _remove_made(self._connection, self._applier, made)
            except RowFailed:
                break
            if not guilty:
                break
        return units

    def units_of(self, guilty: Mapping[ObjectId, str]) -> dict[Unit, Failure]:
        """The units that bring these objects."""
        found: dict[Unit, Failure] = {}
        for seq, loose, columns in runs_of(self._work):
            for type_id, one in zip(columns.types, ids_of(self._work, columns), strict=True):
                if one in guilty:
                    unit = self._division.unit(seq, loose, one, type_id)
                    found.setdefault(unit, Failure(OutcomeKind.ROLLED_BACK, guilty[one], one))
        return found

    def _round(self, only: frozenset[Unit] | None, by_pieces: bool) -> dict[Unit, Failure]:
        failed: dict[Unit, Failure] = {}
        collected: dict[Unit, list[Columns]] = {}
        left = dict(self._rows)
        held_bytes = 0
        for unit, columns in self._pieces(only, by_pieces):
            if unit is None:
                failed.update(self._piece(columns))
                continue
            if unit not in left:
                self._try(unit, lambda: (columns,), failed)  # noqa: B023
                continue
            left[unit] -= len(columns.keys)
            if held_bytes < _COLLECTED_BYTES:
                collected.setdefault(unit, []).append(columns)
                held_bytes += _size(columns)
            else:  # R15: read again when its last row has come
                held_bytes -= sum(map(_size, collected.pop(unit, [])))
            if left[unit]:
                continue
            parts = collected.pop(unit, [])
            held_bytes -= sum(map(_size, parts))
            whole = sum(len(part.keys) for part in parts) == self._rows[unit]
            self._try(unit, (lambda: parts) if whole else (lambda: self._alone(unit)), failed)  # noqa: B023
        return failed

    def _pieces(self, only: frozenset[Unit] | None, by_pieces: bool) -> Iterator[tuple[Unit | None, Columns]]:
        """Rows with their unit; None: loose rows, of which none is excluded, to be tried together."""
        plain = only is None and by_pieces and not self._excluded and not self._division.joins_loose
        for seq, loose, columns in runs_of(self._work):
            if only is None:
                self._applier.note(ids_of(self._work, columns))
            if loose and plain:
                yield None, self._executable(columns)
            elif loose:
                for i, one in enumerate(ids_of(self._work, columns)):
                    unit = self._division.unit(seq, loose, one, columns.types[i])
                    if isinstance(unit, WholeType):
                        self._void.add(unit.id)
                    elif self._wanted(unit, only):
                        yield unit, columns.part(i, i + 1)
            elif self._wanted(unit := self._division.group_unit(seq), only):
                yield unit, columns

    def _executable(self, columns: Columns) -> Columns:
        """Loose rows without those of types that fail as such."""
        void = self._division.void.keys() & set(columns.types)
        self._void |= void
        return columns.only([i for i, number in enumerate(columns.types) if number not in void]) if void else columns

    def _wanted(self, unit: Unit, only: frozenset[Unit] | None) -> bool:
        return unit not in self._excluded and (only is None or unit in only)

    def _alone(self, unit: Unit) -> Iterator[Columns]:
        """The rows of one unit, read again."""
        for found, columns in self._pieces(frozenset((unit,)), by_pieces=False):
            if found == unit:
                yield columns

    def _piece(self, columns: Columns) -> dict[Unit, Failure]:
        """Loose rows: together, or else one by one."""
        failed: dict[Unit, Failure] = {}
        if self._attempt(None, lambda: self._applier.execute(lambda: (columns,))) is not None:
            for i, unit in enumerate(ids_of(self._work, columns)):
                self._try(unit, lambda: (columns.part(i, i + 1),), failed)  # noqa: B023
        return failed

    def _try(self, unit: Unit, chunks: Callable[[], Iterable[Columns]], failed: dict[Unit, Failure]) -> None:
        error = self._attempt(unit, lambda: self._applier.execute(chunks))
        if isinstance(error, UniqueFailed):
            self._unique.add(unit)
            if not isinstance(unit, ObjectId):
                error = self._attempt(unit, lambda: self._applier.execute_cleared(chunks))
        if error is not None:
            failed[unit] = error.failure

    def _together(self, failed: dict[Unit, Failure]) -> dict[Unit, Failure]:
        """Loose objects may have swapped a value under a UNIQUE index: those that fail for one are tried as one."""
        swapped = frozenset(unit for unit in failed if unit in self._unique)
        if len(swapped) > 1:

            def rows() -> Iterator[Columns]:
                return (columns for _, columns in self._pieces(swapped, by_pieces=False))

            if self._attempt(None, lambda: self._applier.execute_cleared(rows)) is None:
                return {unit: why for unit, why in failed.items() if unit not in swapped}
        return failed

    def _attempt(self, unit: Unit | None, execute: Callable[[], None]) -> RowFailed | None:
        """All of it or, with the error, nothing."""
        self._run("SAVEPOINT unit")
        before = self._applier.change, self._applier.objects
        try:
            execute()
        except RowFailed as error:
            if not self._connection.in_transaction:
                raise TransactionLost(unit, error.failure) from error
            self._run("ROLLBACK TO unit")
            self._run("RELEASE unit")
            self._applier.change, self._applier.objects = before
            return error
        self._run("RELEASE unit")
        return None

    def _count(self) -> dict[Unit, int]:
        """Rows of each unit that has groups."""
        rows: dict[Unit, int] = {}
        for seq, loose, columns in runs_of(self._work):
            if not loose:
                unit = self._division.group_unit(seq)
                rows[unit] = rows.get(unit, 0) + len(columns.keys)
            elif self._division.joins_loose:
                for type_id, one in zip(columns.types, ids_of(self._work, columns), strict=True):
                    joined = self._division.unit(seq, loose, one, type_id)
                    if isinstance(joined, int):
                        rows[joined] = rows.get(joined, 0) + 1
        return rows


def _size(columns: Columns) -> int:
    return sum(map(len, columns.fields)) + sum(map(len, columns.keys))


def _remove_made(connection: sqlite3.Connection, applier: Applier, objects: Iterable[ObjectId]) -> dict[ObjectId, str]:
    """Takes those of the objects away that were not there before this try, then what names them, and so on: what
    cannot stay without them, with causes. The try is to be given up. Raises RowFailed."""
    tables, found = applier.tables, dict[ObjectId, str]()
    connection.execute("DELETE FROM temp._syncd_parent")
    shapes = {shape.name_id: shape for shape in tables.current}
    for _ in range(_LINKS):
        for one in objects:
            shape = shapes.get(tables.name_ids[one.type])
            if shape is None:
                continue
            if shape.name_id in applier.whole or MADE.has(connection, shape.name_id, one.key):
                applier.guarded(shape, one.key, lambda: applier.delete(shape, one.key, unpack_values(one.key)))  # noqa: B023
        left = tables.foreign_keys.bereft(connection, tables.current)
        objects = [one for one in left if one not in found]
        if not objects:
            break
        found |= {one: left[one] for one in objects}
    return found
