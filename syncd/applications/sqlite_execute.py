"""Roads of a work through the application's database, each one transaction, tried in turn (R2, R4-R7, R14).

1. Everything in order, many rows at once. 2. If many do not go in at once: the same, those row by row. 3. If a value
under a UNIQUE index was in the way: everything removed first, then inserted. 4. Divided into what may fail alone; if
any part fails, nothing is kept and the parts are named: the caller parks them durably and comes again with the rest.
Position, checksum and data move in the same commit.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from syncd.applications.base import (
    Division,
    RowFailed,
    Unit,
    as_planned,
    check_begins,
    not_put_back,
    nothing_to_do,
    rolled_back,
)
from syncd.applications.sqlite_apply import Applier
from syncd.applications.sqlite_beyond import Beyond
from syncd.applications.sqlite_common import data_version, is_there, name, schema_version, transaction
from syncd.applications.sqlite_count import count
from syncd.applications.sqlite_divide import Divided, TransactionLost, chunks_of, division
from syncd.applications.sqlite_local import Local
from syncd.applications.sqlite_position import NOTHING, Position
from syncd.applications.sqlite_put_back import named, put_back, restored
from syncd.applications.sqlite_recount import Recount
from syncd.applications.sqlite_schema import table_names
from syncd.applications.sqlite_tables import TEMP_TABLES, Chunks, PieceFailed, Tables, UniqueFailed
from syncd.applications.sqlite_touched import Touched, settle, watch
from syncd.core import digest
from syncd.core.edits import Plan
from syncd.core.errors import TargetHeld
from syncd.core.model import DataType, Failure
from syncd.core.ports import Executed, TargetState, Tried, Unexecuted, Work
from syncd.core.settings import Limits

_CONTROL = "_syncd_control"  # of a primary's capture on the same database (R12)
_TRIES = 32  # each finds units that fail only when others are left out
_NO_PLAN = Plan(0, 0)


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
    """Runs in the database's thread, on one connection. ``captures``: what the application changes is captured."""

    def __init__(
        self, connection: sqlite3.Connection, collection: str, replace: bool, limits: Limits, captures: bool
    ) -> None:
        self._connection = connection
        self._run = connection.execute
        self._replace = replace
        self._kept: _Kept | None = None
        self.position = Position(connection, collection)
        self.local = Local(connection, collection, self.position, limits, captures)
        self.count = Recount(connection, self.position, self.local)
        self._run("PRAGMA synchronous=FULL")
        for sql in TEMP_TABLES:
            self._run(sql)

    def execute(self, work: Work) -> Executed | Unexecuted:
        """All roads in turn."""
        if work.plan and work.plan.stays and (executed := self._stays(work, work.plan)):
            return executed
        work = as_planned(work)
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
                return Tried(self.position.state() or NOTHING, (lost.failure,))
        tried = [self.retry([work]) for work in works]
        return Tried(tried[-1].state, tuple(one.failures[0] for one in tried))

    def restore(self, plan: Plan) -> TargetState:
        """What a plan puts back, and its id, in one transaction. What it breaks was made by edits that stand yet."""
        with self._trying():
            before = self.position.state() or NOTHING
            kept = self._look(self.position.types())
            self.local.check(plan, kept.tables, restored(plan))
            with self._silent(kept, snapshot=False):
                applier = Applier(self._connection, kept.tables, False, True, self._noted(kept))
                put_back(self._connection, applier, plan, kept.touched)
                for _, cause in applier.violations():
                    raise not_put_back(cause)
            state = replace(before, plan=plan.id or before.plan)
            if state != before:
                self.position.keep(state)
        return state

    # ------------------------------------------------------------ one try

    @contextlib.contextmanager
    def _trying(self) -> Iterator[None]:
        """A transaction that writes; what is known of a schema that was rolled back is forgotten."""
        try:
            with transaction(self._connection, "IMMEDIATE"):
                yield
        except BaseException:
            self._forget()
            raise

    def _forget(self) -> None:
        self._kept = None
        self.local.forget()

    def _one(self, work: Work, body: Callable[[Applier], None], careful: bool = True) -> Executed:
        """One transaction, committed if ``body`` raises nothing and what it did holds."""
        with self._trying():
            state = self.position.state() or NOTHING
            if nothing_to_do(state, work):
                return Executed(state)
            kept = self._look(work.types)
            plan = work.plan or _NO_PLAN
            self.local.check(work.plan, kept.tables, None if work.snapshot else named(work))
            with self._silent(kept, work.snapshot, anew=not state.epoch and not plan.mark):
                applier = Applier(self._connection, kept.tables, work.snapshot, careful, self._noted(kept))
                if not state.epoch and not self._replace:
                    self._check_own(work, applier)
                put_back(self._connection, applier, plan, kept.touched)
                applier.sent.plain &= work.skip is None and plan.restore is None and not kept.tables.superseded
                before = _done(applier, kept) if plan.restore else (0, 0)
                body(applier)
                state = self._finish(work, state, applier, before)
            counted = data_version(self._connection) if work.snapshot else self.count.counted
            if kept.touched is not None and kept.touched.replaces:
                counted = None  # a look will count
        self.count.counted = counted
        self._kept = replace(kept, recast=False, version=self._version)
        return Executed(state)

    def _stays(self, work: Work, plan: Plan) -> Executed | None:
        """All that the work names was read here just as it comes, and nothing was changed since then: only the position
        moves. None: that is not known; what the look made is not kept then, as it is without the capture of it."""
        with contextlib.suppress(_NotAsRead), self._trying():
            state = self.position.state() or NOTHING
            if nothing_to_do(state, work):
                return Executed(state)
            known, kept = self._kept, self._look(work.types)
            watched = kept.recast or kept.touched is not None
            if state.epoch == work.epoch and not watched and self.local.is_as_read(plan.mark, kept.tables):
                return Executed(self._moved(work, state, state.digest, plan.digest, state.objects + plan.objects))
            if kept is not known:
                raise _NotAsRead
        return None

    @contextlib.contextmanager
    def _silent(self, kept: _Kept, snapshot: bool, anew: bool = False) -> Iterator[None]:
        """A capture on the same database logs nothing of what is written (R12); that of the collection is as it should
        be at the end."""
        if kept.captured:
            self._run(f"UPDATE {_CONTROL} SET applying = 1")
        with self.local.silent(kept.tables, snapshot, anew):
            yield
        if kept.captured:  # after an error the transaction is rolled back, and this with it
            self._run(f"UPDATE {_CONTROL} SET applying = 0")
        self._version = schema_version(self._connection)

    def _noted(self, kept: _Kept) -> bool:
        """Whether notes are taken of what the application's triggers do; a try begins."""
        if kept.touched is not None:
            kept.touched.forget()
        return kept.touched is not None

    def _check_own(self, work: Work, applier: Applier) -> None:
        own = self._beyond(applier).own_rows(lambda: chunks_of(work), work.skip)
        if own:
            raise TargetHeld(
                f"the target holds {own} objects of its own",
                "`syncd accept` it with --merge or --replace: a backup copy is made first",
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

        settle(self._connection, applier, lambda: named(work), put_right)

    def _finish(self, work: Work, before: TargetState, applier: Applier, restored: tuple[int, int]) -> TargetState:
        """The state after the work, kept in the same commit (R4). ``restored``: what is not counted."""
        assert self._kept is not None
        kept, plan = self._kept, work.plan or _NO_PLAN
        there = work.snapshot and any(not applier.was_empty(shape) for shape in kept.tables.current)
        if there or (kept.recast and not work.snapshot):
            known = applier.sent.total(self._connection, kept.tables.current)
            change, objects = known or count(self._connection, kept.tables)
            held = digest.EMPTY
        else:
            change, objects = _done(applier, kept)
            change, objects = change - restored[0] + plan.digest, objects - restored[1] + plan.objects
            objects += 0 if work.snapshot else before.objects
            held = digest.EMPTY if work.snapshot else before.digest
        return self._moved(work, before, held, change, objects)

    def _moved(self, work: Work, before: TargetState, held: bytes, change: int, objects: int) -> TargetState:
        plan = work.plan or _NO_PLAN
        position = before.position if work.proof is None else work.proof.seq
        state = TargetState(work.epoch, position, digest.add(held, change), objects, plan.id or before.plan)
        self.position.keep(state)
        return state

    def _look(self, types: Mapping[int, DataType]) -> _Kept:
        version = schema_version(self._connection)
        kept = self._kept
        if kept is None or kept.version != version or kept.tables.types != types:
            self.position.make()
            tables = Tables(self._connection, types, create=True)
            recast = tables.recast(self.position.types())
            self.position.keep_types(types)
            captured = is_there(self._connection, _CONTROL)
            version = schema_version(self._connection)  # of what was made
            self._kept = kept = _Kept(version, tables, captured, recast, watch(self._connection, tables))
        return kept

    def _something_there(self) -> bool:
        """Whether any application table holds rows: in an empty database nothing can be in the way."""
        tables = [one for one, kind in table_names(self._connection).items() if kind == "table"]
        return any(self._run(f"SELECT 1 FROM {name(one)} LIMIT 1").fetchone() for one in tables)

    # ------------------------------------------------------------ parked parts

    def _retried(self, works: Sequence[Work]) -> Tried:
        """One transaction. Raises TransactionLost."""
        failures: list[Failure | None] = []
        with self._trying():
            state = self.position.state() or NOTHING
            for work in works:
                check_begins(state, work)
            kept = self._look(works[0].types)
            for work in works:
                self.local.check(work.plan, kept.tables, chunks_of(work))
            change = objects = 0
            with self._silent(kept, snapshot=False):
                for work in works:
                    done = self._part(work, kept)
                    failures.append(done.failure if isinstance(done, RowFailed) else None)
                    if not isinstance(done, RowFailed):
                        change, objects = change + done[0], objects + done[1]
            state = replace(state, digest=digest.add(state.digest, change), objects=state.objects + objects)
            self.position.keep(state)
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
        applier = Applier(self._connection, kept.tables, work.snapshot, careful, self._noted(kept))
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
        return _done(applier, kept)

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
            self._forget()

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
            if not units and work.plan is not None and work.plan.restore is not None:
                raise not_put_back(next(iter(guilty.values())))
            if not units:
                raise TargetHeld(next(iter(guilty.values())), "change or remove that row on this machine")
            failed |= units
        if failed or excluded:
            raise _Failed(parts, failed, final=not guilty)


def _done(applier: Applier, kept: _Kept) -> tuple[int, int]:
    """What a try did to the checksum and to the number of objects."""
    return kept.touched.change() if kept.touched is not None else (applier.change, applier.objects)


class _NotAsRead(Exception):
    """It is not known whether all stands just as it comes."""


class _Failed(Exception):
    """Units failed in a divided try. ``final``: it was executed without them, so that there are no others."""

    def __init__(self, parts: Division, units: dict[Unit, Failure], final: bool) -> None:
        super().__init__(f"{len(units)} units failed")
        self.division = parts
        self.units = units
        self.final = final
