"""Roads of a work through the application's database, each one transaction, tried in turn (R2, R4-R7, R14).

1. Everything in order, many rows at once. 2. If many do not go in at once: the same, those row by row. 3. If a value
under a UNIQUE index was in the way: everything removed first, then inserted. 4. Divided into what may fail alone; if
any part fails, nothing is kept and the parts are named: the caller parks them durably and comes again with the rest.
Position, checksum and data move in the same commit.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from syncd.adapters.canonical import pack_values
from syncd.applications.base import Division, RowFailed, Unit, check_parked, nothing_to_do, rolled_back
from syncd.applications.sqlite_apply import Applier
from syncd.applications.sqlite_common import name, names, transaction
from syncd.applications.sqlite_definition import Shape
from syncd.applications.sqlite_divide import Divided, TransactionLost, chunks_of, division
from syncd.applications.sqlite_tables import TEMP_TABLES, Chunks, PieceFailed, Tables, UniqueFailed, robust
from syncd.core import digest
from syncd.core.errors import TargetHeld
from syncd.core.model import DataType, Failure
from syncd.core.ports import Executed, TargetState, Tried, Unexecuted, Work

POSITION, TYPES = "_syncd_position", "_syncd_types"
_CONTROL = "_syncd_control"  # of a capture on the same database (R12)
_TRIES = 32  # each finds units that fail only when others are left out
NOTHING = TargetState("", 0, digest.EMPTY, 0)


@dataclass(frozen=True, slots=True)
class _Kept:
    """What is known of the schema as long as its version and the types stay as they are."""

    version: int
    tables: Tables
    captured: bool


class Executor:
    """Runs in the database's thread, on one connection."""

    def __init__(self, connection: sqlite3.Connection, collection: str, replace: bool) -> None:
        self._connection = connection
        self._run = connection.execute
        self._collection = collection
        self._replace = replace
        self._kept: _Kept | None = None
        self._run("PRAGMA synchronous=FULL")
        for sql in TEMP_TABLES:
            self._run(sql)

    def state(self) -> TargetState | None:
        """The position kept in the database; None if there is none."""
        if not self._run("SELECT 1 FROM sqlite_master WHERE name = ?", (POSITION,)).fetchone():
            return None
        sql = f"SELECT epoch, position, digest, objects FROM {POSITION} WHERE collection = ?"
        row = self._run(sql, (self._collection,)).fetchone()
        return None if row is None else TargetState(*row)

    def execute(self, work: Work) -> Executed | Unexecuted:
        """All roads in turn."""
        try:
            try:
                return self._one(work, lambda applier: self._whole(work, applier, applier.execute), careful=False)
            except PieceFailed:
                return self._one(work, lambda applier: self._whole(work, applier, applier.execute))
        except RowFailed as error:
            swapped = isinstance(error, UniqueFailed)
        if swapped and self._something_there():
            try:
                return self._one(work, lambda applier: self._whole(work, applier, applier.execute_cleared))
            except RowFailed:
                pass
        return self._in_parts(work)

    def retry(self, works: Sequence[Work]) -> Tried:
        """Parked parts, all in one transaction, each under a savepoint; each in its own where one of them makes the
        application's schema give up the whole transaction."""
        try:
            return self._retried(works)
        except TransactionLost as lost:
            if len(works) == 1:
                return Tried(self.state() or NOTHING, (lost.failure,))
        tried = [self.retry([work]) for work in works]
        return Tried(tried[-1].state, tuple(one.failures[0] for one in tried))

    def recount(self) -> TargetState:
        """Checksum and number of what the tables hold."""
        with transaction(self._connection, "IMMEDIATE"):
            state = self.state()
            if state is None:
                return NOTHING
            self._kept = None
            tables = Tables(self._connection, self._kept_types())
            counted, objects = self._count(tables)
            state = TargetState(state.epoch, state.position, digest.of((counted,)), objects)
            self._keep(state)
        return state

    # ------------------------------------------------------------ one try

    def _one(self, work: Work, body: Callable[[Applier], None], careful: bool = True) -> Executed:
        """One transaction, committed if ``body`` raises nothing and what it did holds."""
        try:
            with transaction(self._connection, "IMMEDIATE"):
                state = self.state() or NOTHING
                if nothing_to_do(state, work):
                    return Executed(state)
                kept = self._look(work.types)
                if kept.captured:
                    self._run(f"UPDATE {_CONTROL} SET applying = 1")
                applier = Applier(self._connection, kept.tables, work.snapshot, careful)
                if not state.epoch and not self._replace:
                    self._check_own(work, applier)
                body(applier)
                state = self._finish(work, state, applier, kept.tables)
                if kept.captured:
                    self._run(f"UPDATE {_CONTROL} SET applying = 0")
        except BaseException:
            self._kept = None  # what was looked up may belong to a schema that was rolled back
            raise
        return Executed(state)

    def _check_own(self, work: Work, applier: Applier) -> None:
        own = applier.own_rows(lambda: chunks_of(work), work.skip)
        if own:
            raise TargetHeld(
                f"the target holds {own} objects of its own",
                "`syncd accept` it with --replace: a backup copy is made first",
            )

    def _whole(self, work: Work, applier: Applier, execute: Callable[[Chunks], None]) -> None:
        execute(lambda: chunks_of(work))
        self._remove_beyond(work, applier)
        for guilty, cause in applier.violations():
            raise rolled_back(cause, guilty)

    def _remove_beyond(self, work: Work, applier: Applier) -> None:
        """After a snapshot nothing else is left (R5); parked objects stay as they are."""
        if work.snapshot:
            applier.remove_unseen(work.skip)

    def _finish(self, work: Work, before: TargetState, applier: Applier, tables: Tables) -> TargetState:
        """The state after the work, kept in the same commit (R4)."""
        replaced = work.snapshot and any(not applier.was_empty(shape) for shape in tables.current)
        if replaced:
            change, objects = self._count(tables)
            held = digest.EMPTY
        else:
            change = applier.change
            objects = applier.objects + (0 if work.snapshot else before.objects)
            held = digest.EMPTY if work.snapshot else before.digest
        position = before.position if work.proof is None else work.proof.seq
        state = TargetState(work.epoch, position, digest.add(held, change), objects)
        self._keep(state)
        return state

    def _look(self, types: Mapping[int, DataType]) -> _Kept:
        version = self._run("PRAGMA schema_version").fetchone()[0]
        kept = self._kept
        if kept is None or kept.version != version or kept.tables.types != types:
            self._run(
                f"CREATE TABLE IF NOT EXISTS {POSITION}(collection TEXT PRIMARY KEY, epoch TEXT NOT NULL,"
                " position INTEGER NOT NULL, digest BLOB NOT NULL, objects INTEGER NOT NULL)"
            )
            self._keep_types(types)
            tables = Tables(self._connection, types)
            captured = self._run("SELECT 1 FROM sqlite_master WHERE name = ?", (_CONTROL,)).fetchone() is not None
            kept = _Kept(self._run("PRAGMA schema_version").fetchone()[0], tables, captured)
            self._kept = kept
        return kept

    def _keep(self, state: TargetState) -> None:
        self._run(
            f"INSERT INTO {POSITION} VALUES(?, ?, ?, ?, ?) ON CONFLICT(collection) DO UPDATE SET"
            " epoch = excluded.epoch, position = excluded.position, digest = excluded.digest,"
            " objects = excluded.objects",
            (self._collection, state.epoch, state.position, state.digest, state.objects),
        )

    def _keep_types(self, types: Mapping[int, DataType]) -> None:
        """A recount needs the types before any work has come."""
        self._run(f"CREATE TABLE IF NOT EXISTS {TYPES}(collection TEXT PRIMARY KEY, types TEXT NOT NULL)")
        text = json.dumps([[one.id, one.name, one.key, one.fields, one.definition] for one in types.values()])
        self._run(
            f"INSERT INTO {TYPES} VALUES(?, ?) ON CONFLICT(collection) DO UPDATE SET types = excluded.types"
            " WHERE types <> excluded.types",
            (self._collection, text),
        )

    def _kept_types(self) -> dict[int, DataType]:
        row = self._run(f"SELECT types FROM {TYPES} WHERE collection = ?", (self._collection,)).fetchone()
        types: dict[int, DataType] = {}
        for number, type_name, key, fields, definition in json.loads(row[0]) if row else ():
            types[number] = DataType(number, type_name, tuple(key), tuple(fields), tuple(definition))
        return types

    def _count(self, tables: Tables) -> tuple[int, int]:
        counts = [robust(self._connection, lambda: self._count_table(shape)) for shape in tables.current]  # noqa: B023
        return sum(change for change, _ in counts), sum(objects for _, objects in counts)

    def _count_table(self, shape: Shape) -> tuple[int, int]:
        change, objects, width, prefix = 0, 0, shape.width, shape.prefix
        for row in self._run(f"SELECT {names(shape.columns)} FROM {name(shape.table.name)}"):
            change += digest.object_hash(prefix, pack_values(row[:width]), pack_values(row[width:]))
            objects += 1
        return change, objects

    def _something_there(self) -> bool:
        """Whether any application table holds rows: in an empty database nothing can be in the way."""
        listed = self._run("SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table'").fetchall()
        user = [one for (one,) in listed if not one.startswith(("_syncd_", "sqlite_"))]
        return any(self._run(f"SELECT 1 FROM {name(one)} LIMIT 1").fetchone() for one in user)

    # ------------------------------------------------------------ parked parts

    def _retried(self, works: Sequence[Work]) -> Tried:
        """One transaction. Raises TransactionLost."""
        failures: list[Failure | None] = []
        try:
            with transaction(self._connection, "IMMEDIATE"):
                state = self.state() or NOTHING
                check_parked(state, works)
                kept = self._look(works[0].types)
                if kept.captured:
                    self._run(f"UPDATE {_CONTROL} SET applying = 1")
                change = objects = 0
                for work in works:
                    done = self._part(work, kept.tables)
                    failures.append(done.failure if isinstance(done, RowFailed) else None)
                    if isinstance(done, Applier):
                        change, objects = change + done.change, objects + done.objects
                state = replace(state, digest=digest.add(state.digest, change), objects=state.objects + objects)
                self._keep(state)
                if kept.captured:
                    self._run(f"UPDATE {_CONTROL} SET applying = 0")
        except BaseException:
            self._kept = None
            raise
        return Tried(state, tuple(failures))

    def _part(self, work: Work, tables: Tables) -> Applier | RowFailed:
        """One parked part by the same roads: what it did, or why it did nothing."""
        done = self._try_part(work, Applier(self._connection, tables, False, careful=False), cleared=False)
        if isinstance(done, PieceFailed):
            done = self._try_part(work, Applier(self._connection, tables, False, careful=True), cleared=False)
        if isinstance(done, UniqueFailed):
            done = self._try_part(work, Applier(self._connection, tables, False, careful=True), cleared=True)
        return done

    def _try_part(self, work: Work, applier: Applier, cleared: bool) -> Applier | RowFailed:
        self._run("SAVEPOINT part")
        try:
            self._whole(work, applier, applier.execute_cleared if cleared else applier.execute)
        except RowFailed as error:
            if not self._connection.in_transaction:
                raise TransactionLost(None, error.failure) from error
            self._run("ROLLBACK TO part")
            self._run("RELEASE part")
            return error
        self._run("RELEASE part")
        return applier

    # ------------------------------------------------------------ in parts

    def _in_parts(self, work: Work) -> Executed | Unexecuted:
        """Until a try has no failure, or finds no more units that fail."""
        excluded: dict[Unit, Failure] = {}
        by_pieces = True
        parts: Division | None = None
        for _ in range(_TRIES):
            try:
                return self._one(work, lambda applier: self._divided(applier, work, excluded, by_pieces))  # noqa: B023
            except _Failed as error:
                excluded |= error.units
                parts = error.division
                if error.final:
                    break
            except TransactionLost as error:
                by_pieces = False
                if error.unit is not None:
                    excluded[error.unit] = error.failure
        if parts is None:
            with transaction(self._connection, "IMMEDIATE"):
                parts = division(self._connection, work, self._look(work.types).tables)
        return Unexecuted(parts.parts(excluded))

    def _divided(self, applier: Applier, work: Work, excluded: Mapping[Unit, Failure], by_pieces: bool) -> None:
        """Raises ``_Failed`` unless every unit was executed and what all did holds."""
        assert self._kept is not None
        parts = division(self._connection, work, self._kept.tables)
        divided = Divided(self._connection, applier, work, parts, excluded)
        failed = divided.execute(by_pieces)
        self._remove_beyond(work, applier)
        guilty = dict(applier.violations())
        if guilty:
            units = divided.units_of(guilty)
            if not units:
                raise TargetHeld(next(iter(guilty.values())), "change or remove that row on this machine")
            failed |= units
        if failed or excluded:
            raise _Failed(parts, failed, final=not guilty)


class _Failed(Exception):
    """Units failed in a divided try. ``final``: it was executed without them, so that there are no others."""

    def __init__(self, parts: Division, units: dict[Unit, Failure], final: bool) -> None:
        super().__init__(f"{len(units)} units failed")
        self.division = parts
        self.units = units
        self.final = final
