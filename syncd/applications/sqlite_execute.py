"""Roads of a work through the application's database, each one transaction, tried in turn (R2, R4-R7, R14).

1. Everything in order, many rows at once. 2. If many do not go in at once: the same, those row by row. 3. If a value
under a UNIQUE index was in the way: everything removed first, then inserted. 4. Divided into what may fail alone; if
any part fails, nothing is kept and the parts are named: the caller parks them durably and comes again with the rest.
Position, checksum and data move in the same commit.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from syncd.applications.base import Division, RowFailed, Unit, check_begins, nothing_to_do, rolled_back
from syncd.applications.sqlite_apply import Applier
from syncd.applications.sqlite_beyond import Beyond
from syncd.applications.sqlite_common import name, transaction
from syncd.applications.sqlite_count import GivenUp, GiveUp, Pace, count
from syncd.applications.sqlite_divide import Divided, TransactionLost, chunks_of, division
from syncd.applications.sqlite_tables import TEMP_TABLES, Chunks, PieceFailed, Tables, UniqueFailed
from syncd.applications.sqlite_touched import Touched, settle, watch
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
    """What is known of the schema as long as its version and the types stay as they are. ``recast``: until the next
    commit, the checksum kept is not that of what the tables hold (``Tables.recast``). ``touched``: notes of what the
    application's triggers do, where there are any."""

    version: int
    tables: Tables
    captured: bool
    recast: bool
    touched: Touched | None


class Executor:
    """Runs in the database's thread, on one connection."""

    def __init__(self, connection: sqlite3.Connection, collection: str, replace: bool) -> None:
        self._connection = connection
        self._run = connection.execute
        self._collection = collection
        self._replace = replace
        self._kept: _Kept | None = None
        self._counted: int | None = None  # data_version of the last count: nobody else had written after it
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
        return self._recount(lambda: False)

    def look(self, pace: Pace, give_up: GiveUp) -> TargetState | None:
        """What the tables hold, if somebody else wrote, a count is due, and finds something else than is kept."""
        began = time.monotonic()
        if self._data_version() == self._counted:
            pace.quiet(began)
            return None
        before = self.state()
        if before is None or not before.epoch or not pace.due(began):
            return None
        try:
            state = self._recount(give_up)
        except GivenUp:
            return None
        pace.counted(ended := time.monotonic(), ended - began)
        return None if state == before else state

    def _recount(self, give_up: GiveUp) -> TargetState:
        """Counts without the application's lock, which is taken only to keep what is not as it was kept (R16)."""
        with transaction(self._connection, "DEFERRED"):
            before = self.state()
            if before is None:
                return NOTHING
            version = self._data_version()
            tables = Tables(self._connection, self._kept_types(), create=False)
            change, objects = count(self._connection, tables, give_up)
        state = TargetState(before.epoch, before.position, digest.of((change,)), objects)
        if state != before:
            with transaction(self._connection, "IMMEDIATE"):
                held = self.state()
                if held != before:  # it was restored or reset meanwhile
                    return held or NOTHING
                self._keep(state)
        self._counted = version
        return state

    def _data_version(self) -> int:
        """Changes when another connection commits."""
        version: int = self._run("PRAGMA data_version").fetchone()[0]
        return version

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
                touched = kept.touched
                applier = Applier(self._connection, kept.tables, work.snapshot, careful, touched is not None)
                if touched is not None:
                    touched.forget()
                if not state.epoch and not self._replace:
                    self._check_own(work, applier)
                body(applier)
                state = self._finish(work, state, applier, kept)
                counted = self._data_version() if work.snapshot else self._counted
                if touched is not None and touched.replaces:
                    counted = None  # a look will count
                if kept.captured:
                    self._run(f"UPDATE {_CONTROL} SET applying = 0")
            self._counted = counted
            if kept.recast:
                self._kept = replace(kept, recast=False)
        except BaseException:
            self._kept = None  # what was looked up may belong to a schema that was rolled back
            raise
        return Executed(state)

    def _check_own(self, work: Work, applier: Applier) -> None:
        own = self._beyond(applier).own_rows(lambda: chunks_of(work), work.skip)
        if own:
            raise TargetHeld(
                f"the target holds {own} objects of its own",
                "`syncd accept` it with --replace: a backup copy is made first",
            )

    def _whole(self, work: Work, applier: Applier, execute: Callable[[Chunks], None]) -> None:
        execute(lambda: chunks_of(work))
        self._remove_beyond(work, applier)
        self._settle(work, applier)
        for guilty, cause in applier.violations():
            raise rolled_back(cause, guilty)

    def _remove_beyond(self, work: Work, applier: Applier) -> None:
        """After a snapshot nothing else is left (R5); parked objects stay as they are."""
        if work.snapshot:
            self._beyond(applier).remove_unseen(work.skip)

    def _beyond(self, applier: Applier) -> Beyond:
        assert self._kept is not None
        return Beyond(self._connection, self._kept.tables, applier)

    def _settle(self, work: Work, applier: Applier) -> None:
        """Where the application's triggers write too, what was sent has the last word (R2)."""
        assert self._kept is not None
        touched = self._kept.touched
        if touched is None:
            return
        beyond = self._beyond(applier)

        def put_right() -> None:
            if work.snapshot:
                beyond.remove_unseen(work.skip)
            else:
                touched.restore_untold(applier)

        settle(self._connection, applier, lambda: chunks_of(work), put_right)

    def _finish(self, work: Work, before: TargetState, applier: Applier, kept: _Kept) -> TargetState:
        """The state after the work, kept in the same commit (R4)."""
        there = work.snapshot and any(not applier.was_empty(shape) for shape in kept.tables.current)
        if there or (kept.recast and not work.snapshot):
            change, objects = count(self._connection, kept.tables)
            held = digest.EMPTY
        else:
            change, objects = kept.touched.change() if kept.touched else (applier.change, applier.objects)
            objects += 0 if work.snapshot else before.objects
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
            self._run(f"CREATE TABLE IF NOT EXISTS {TYPES}(collection TEXT PRIMARY KEY, types TEXT NOT NULL)")
            tables = Tables(self._connection, types, create=True)
            recast = tables.recast(self._kept_types())
            self._keep_types(types)
            captured = self._run("SELECT 1 FROM sqlite_master WHERE name = ?", (_CONTROL,)).fetchone() is not None
            kept = _Kept(
                self._run("PRAGMA schema_version").fetchone()[0],
                tables,
                captured,
                recast,
                watch(self._connection, tables),
            )
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
                for work in works:
                    check_begins(state, work)
                kept = self._look(works[0].types)
                if kept.captured:
                    self._run(f"UPDATE {_CONTROL} SET applying = 1")
                change = objects = 0
                for work in works:
                    done = self._part(work, kept)
                    failures.append(done.failure if isinstance(done, RowFailed) else None)
                    if not isinstance(done, RowFailed):
                        change, objects = change + done[0], objects + done[1]
                state = replace(state, digest=digest.add(state.digest, change), objects=state.objects + objects)
                self._keep(state)
                if kept.captured:
                    self._run(f"UPDATE {_CONTROL} SET applying = 0")
        except BaseException:
            self._kept = None
            raise
        return Tried(state, tuple(failures))

    def _part(self, work: Work, kept: _Kept) -> tuple[int, int] | RowFailed:
        """One parked part by the same roads: what it did to checksum and number, or why it did nothing."""
        done = self._try_part(work, kept, careful=False, cleared=False)
        if isinstance(done, PieceFailed):
            done = self._try_part(work, kept, careful=True, cleared=False)
        if isinstance(done, UniqueFailed):
            done = self._try_part(work, kept, careful=True, cleared=True)
        return done

    def _try_part(self, work: Work, kept: _Kept, careful: bool, cleared: bool) -> tuple[int, int] | RowFailed:
        touched = kept.touched
        applier = Applier(self._connection, kept.tables, False, careful, touched is not None)
        if touched is not None:
            touched.forget()
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
        return touched.change() if touched is not None else (applier.change, applier.objects)

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
            parts = self._division(work)
        return Unexecuted(parts.parts(excluded))

    def _division(self, work: Work) -> Division:
        """Into what the work is divided, looked up without a try; what the look makes is not kept."""
        self._run("BEGIN IMMEDIATE")
        try:
            return division(self._connection, work, self._look(work.types).tables)
        finally:
            self._run("ROLLBACK")
            self._kept = None

    def _divided(self, applier: Applier, work: Work, excluded: Mapping[Unit, Failure], by_pieces: bool) -> None:
        """Raises ``_Failed`` unless every unit was executed and what all did holds."""
        assert self._kept is not None
        parts = division(self._connection, work, self._kept.tables)
        divided = Divided(self._connection, applier, work, parts, excluded)
        failed = divided.execute(by_pieces)
        try:
            self._remove_beyond(work, applier)
        except RowFailed as error:  # of an object that no unit brings
            raise TargetHeld(error.failure.cause, "change or remove what forbids it on this machine") from error
        if not failed and not excluded:
            self._settle(work, applier)
        guilty = dict(applier.violations())
        if guilty:
            units = divided.units_with(guilty)
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
