"""Groups of edits on the primary's tables: one transaction for all of them, each whole or not at all (R7, R11, R16).

What each edit finds is read inside the transaction, under the application's lock, and decided by ``core.conflict``.
Writing is by the same roads as on an auxiliary: many rows at once, then row by row, then everything removed first where
a value under a UNIQUE index was in the way; but nothing is silenced: the capture logs it as what the application did.
Neighbours that share no object are decided and written at once; where that does not go, in halves, and one by one.
Where the tables allow it, all goes by the short road of ``sqlite_writer_straight`` first; what is known exactly of that
is handed to the source (``sqlite_handed``).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice

from syncd.adapters.canonical import Value, unpack_values
from syncd.applications import sqlite_executed as executed
from syncd.applications import sqlite_log as log
from syncd.applications.base import RowFailed, rolled_back
from syncd.applications.forms import CanonicalForms
from syncd.applications.sqlite_apply import Applier
from syncd.applications.sqlite_authors import Signing
from syncd.applications.sqlite_authors import make as make_authors
from syncd.applications.sqlite_capture import CONTROL, LOG, SOURCE
from syncd.applications.sqlite_common import is_there, schema_version, transaction
from syncd.applications.sqlite_definition import Shape
from syncd.applications.sqlite_divide import TransactionLost
from syncd.applications.sqlite_handed import Handed, HandOver
from syncd.applications.sqlite_noted import NEWEST
from syncd.applications.sqlite_tables import TEMP_TABLES, Columns, PieceFailed, Tables, UniqueFailed, robust
from syncd.applications.sqlite_writer_look import Facts, Look, NotDecided, packed
from syncd.applications.sqlite_writer_straight import NotStraight, write_straight
from syncd.core.conflict import Change, Decision, View, decide
from syncd.core.edits import Edit, EditGroup, Policy, Written
from syncd.core.errors import ApplicationOffline
from syncd.core.model import DataType, Failure, Kind, ObjectId, Observed
from syncd.core.settings import Limits

_AT_ONCE = 4  # groups from which they are tried at once
_IDENTITY = f"SELECT id FROM {SOURCE}"


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be executed: see ``upward_ports.Writer.write`` and ``describe``. ``settled``: may be forgotten."""

    groups: Sequence[EditGroup]
    policy: Policy | None
    facts: Facts
    source: str
    types: Mapping[int, DataType]
    settled: Sequence[executed.Name]


class _GroupApplier(Applier):
    """One for all groups of a transaction, each of which begins anew. No table counts as empty: the next group finds
    there what the one before wrote."""

    def __init__(self, connection: sqlite3.Connection, tables: Tables) -> None:
        super().__init__(connection, tables, snapshot=False, careful=False, watched=False)

    def was_empty(self, shape: Shape) -> bool:
        return False

    def begin(self, careful: bool) -> None:
        self._careful = careful
        self.tables.foreign_keys.begin(self._connection)
        if self.tables.renamed:
            NEWEST.clear(self._connection)


class _Try:
    """One transaction: what is to be executed in it, on what, and how. ``straight``: by the short road first.
    ``author``: of what is executed next. ``written``: by the short road, in order; None: there was another road, or it
    is not known how it was stored."""

    def __init__(self, connection: sqlite3.Connection, order: Order, look: Look, straight: bool) -> None:
        self.order = order
        self.look = look
        self.straight = straight
        self.author = ""
        self.written: list[Observed] | None = []
        self._connection = connection

    def wrote(self, changes: Sequence[Change] | None) -> None:
        if changes is None or self.written is None:
            self.written = None
        else:
            self.written += [Observed(*change, "", self.author) for change in changes]

    def handed(self, begin: log.Extent, last: int, mark: int) -> Handed | None:
        """What the source need not read: each row of the log is of one of them."""
        if not self.written or last - begin.last != len(self.written) or log.number_of(mark) != last:
            return None
        return Handed(begin.last + 1, last, mark, self.look.version, self.written)

    @cached_property
    def applier(self) -> _GroupApplier:
        """Of the other roads."""
        return _GroupApplier(self._connection, self.look.tables)


class Groups:
    """Runs in the database's thread, on one connection. ``begun``: outboxes of which groups came since the daemon
    began, on whatever connection: the oldest group that is not settled comes first after a crash, and not otherwise.
    ``hand_over``: takes what the source need not read, and keeps it quiet while we have the lock: before that others
    commit."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        limits: Limits,
        begun: set[executed.Outbox],
        hand_over: HandOver,
    ) -> None:
        self._connection = connection
        self._run = connection.execute
        self._limits = limits
        self._kept: Look | None = None
        self._begun = begun
        self._hand_over = hand_over
        self._known: dict[executed.Outbox, int] = {}  # the greatest number of them that was executed
        self._run("PRAGMA synchronous=FULL")
        for sql in TEMP_TABLES:
            self._run(sql)

    def write(self, order: Order) -> list[Written]:
        """Where a group makes the application's schema give up the whole transaction, the others are executed in
        others: half of them and half again, down to the one."""
        try:
            return self._together(order, straight=True)
        except TransactionLost as lost:
            if len(order.groups) == 1:
                return self._together(order, straight=False, lost=lost.failure)
        half = len(order.groups) // 2
        first = self.write(replace(order, groups=order.groups[:half]))
        return first + self.write(replace(order, groups=order.groups[half:]))

    def _together(self, order: Order, straight: bool, lost: Failure | None = None) -> list[Written]:
        """By the short road, where there is one; where it does not go, by the others. Raises TransactionLost."""
        try:
            return self._in_one(order, straight, lost)
        except NotStraight:
            return self._in_one(order, straight=False)

    def _in_one(self, order: Order, straight: bool, lost: Failure | None = None) -> list[Written]:
        """One transaction. ``lost``: why the group is not to be tried again. Raises TransactionLost, NotStraight."""
        asked = executed.numbers_of(order.groups)
        try:
            with transaction(self._connection, "IMMEDIATE"):
                self._hand_over.hush(True)
                look = self._look(order)
                begin = log.extent(self._connection)
                if order.settled:
                    executed.forget(self._connection, order.settled)
                newest = self._newest(asked)
                known = executed.known(
                    self._connection, {one: numbers for one, numbers in asked.items() if min(numbers) <= newest[one]}
                )
                fresh = [group for group in order.groups if executed.name_of(group) not in known]
                signing = Signing(self._connection, begin.last)
                work = _Try(self._connection, order, look, straight)
                decisions = self._all(work, fresh, signing, lost)
                last, mark = log.end_of(self._connection, begin, self._limits)
                signing.end(last)
                written = [_told(group, made, mark) for group, made in zip(fresh, decisions, strict=True)]
                executed.keep(self._connection, written)
        except BaseException:
            self._kept = None  # what was looked up may belong to a schema that was rolled back
            raise
        else:
            if handed := work.handed(begin, last, mark):
                self._hand_over.put(handed)
        finally:
            self._hand_over.hush(False)
        self._begun |= {one for one in asked if one[0]}
        self._known |= {one: max(newest[one], *numbers) for one, numbers in asked.items() if one[0]}
        known |= {(one.device, one.outbox, one.number): one for one in written}
        told = [known[executed.name_of(group)] for group in order.groups]
        # A mark that the log has not reached was given by a log that is gone.
        return [one if one.mark <= mark else replace(one, mark=mark) for one in told]

    def _look(self, order: Order) -> Look:
        """Raises ApplicationOffline where the database is not the one that is captured."""
        look, version = self._kept, schema_version(self._connection)
        if look is None or look.version != version or look.tables.types != order.types:
            if not all(is_there(self._connection, one) for one in (LOG, CONTROL, SOURCE)):
                raise ApplicationOffline("the database is not shared yet, or not any more", "it is opened again")
            executed.make(self._connection)
            make_authors(self._connection)
            self._known.clear()  # a backup that is put into a database changes its schema's version
            tables = Tables(self._connection, order.types, create=False)
            look = self._kept = Look.at(self._connection, schema_version(self._connection), tables)
        row = self._run(_IDENTITY).fetchone()
        if row is None or row[0] != order.source:
            raise ApplicationOffline(
                "the database is not the one that was shared (it was replaced)", "put the shared one back"
            )
        return look

    def _newest(self, asked: Mapping[executed.Outbox, Sequence[int]]) -> dict[executed.Outbox, int]:
        """The greatest number of each outbox that can have been executed."""
        newest: dict[executed.Outbox, int] = {}
        for outbox, numbers in asked.items():
            if outbox[0] and outbox not in self._begun:
                executed.forget_before(self._connection, outbox, min(numbers))
            known = self._known.get(outbox)
            newest[outbox] = executed.newest(self._connection, outbox) if known is None else known
        return newest

    # ------------------------------------------------------------ many groups

    def _all(self, work: _Try, groups: Sequence[EditGroup], signing: Signing, lost: Failure | None) -> list[Decision]:
        decisions: list[Decision] = []
        for neighbours in _runs(groups):
            signing.next(neighbours[0].author)
            work.author = neighbours[0].author
            if lost is None:
                decisions += self._some(work, neighbours)
            else:
                refused = (self._decided(work, group)[0].refused(lost.cause, lost.guilty) for group in neighbours)
                decisions += refused
        return decisions

    def _some(self, work: _Try, groups: Sequence[EditGroup]) -> list[Decision]:
        """Groups of one author that share no object."""
        if len(groups) < _AT_ONCE or not all(edit.type in work.look.plain for group in groups for edit in group.edits):
            return [self._one(work, group) for group in groups]
        at_once = self._at_once(work, groups)
        if at_once is not None:
            return at_once
        half = len(groups) // 2
        return self._some(work, groups[:half]) + self._some(work, groups[half:])

    def _at_once(self, work: _Try, groups: Sequence[EditGroup]) -> list[Decision] | None:
        """None, and nothing is done, where that does not go."""
        look, edits = work.look, [edit for group in groups for edit in group.edits]
        try:
            found = look.views(edits, work.order.facts)
        except NotDecided:
            return None
        decisions: list[Decision] = []
        views = iter(found)
        for group in groups:
            decision = self._decision(work, group, list(islice(views, len(group.edits))))
            if any(side.copy for side in decision.sides):  # its key would be another's as well
                return None
            decisions.append(decision)
        changes = [change for decision in decisions for change in decision.changes]
        if not changes or self._straight(work, changes, edits, found):
            return decisions
        changes.sort(key=lambda change: (change.fields is not None, change.type))
        return decisions if self._tried(work, changes) is None else None

    def _straight(self, work: _Try, changes: Sequence[Change], edits: Sequence[Edit], views: Sequence[View]) -> bool:
        """By the short road, if it leads there. Raises NotStraight."""
        if not work.straight or not all(change.type in work.look.free for change in changes):
            return False
        there = {(edit.type, edit.key) for edit, view in zip(edits, views, strict=True) if view.ours is not None}
        work.wrote(write_straight(self._connection, work.look, changes, there))
        return True

    # ------------------------------------------------------------ one group

    def _one(self, work: _Try, group: EditGroup) -> Decision:
        decision, views = self._decided(work, group)
        if not decision.changes or self._straight(work, decision.changes, group.edits, views):
            return decision
        failed = self._executed(work, decision.changes)
        return decision if failed is None else decision.refused(failed.failure.cause, failed.failure.guilty)

    def _decided(self, work: _Try, group: EditGroup) -> tuple[Decision, list[View]]:
        try:
            views = work.look.views(group.edits, work.order.facts)
        except NotDecided as refused:
            return refused.decision, []
        return self._decision(work, group, views), views

    def _decision(self, work: _Try, group: EditGroup, views: Sequence[View]) -> Decision:
        look, order = work.look, work.order
        decision = decide(group, views, order.policy, CanonicalForms(look.greatest, look.references, look.usual))
        most = self._limits.object_bytes_max
        for type_id, key, fields in decision.changes:
            size = len(key) + len(fields or b"")
            if size > most:  # it would be withheld from everybody
                one = ObjectId(order.types[type_id].name, key)
                cause = f"table {one.type}: an object of {size} bytes is over the limit of {most}"
                return decision.refused(cause, one)
        return decision

    def _executed(self, work: _Try, changes: Sequence[Change]) -> RowFailed | None:
        """By the roads of a parked part: all of it or, with the failure, nothing. Rows that set off triggers go first:
        what those write is in the group already where the other side has them too, and must not be done on top of it
        (a sum counted twice). Raises TransactionLost."""
        changes = sorted(changes, key=lambda change: not work.look.shape(change.type).table.triggers)
        failed = self._tried(work, changes)
        if isinstance(failed, PieceFailed):
            failed = self._tried(work, changes, careful=True)
        if isinstance(failed, UniqueFailed) and len(changes) > 1:
            failed = self._tried(work, changes, careful=True, cleared=True)
        return failed

    def _tried(
        self, work: _Try, changes: Sequence[Change], *, careful: bool = False, cleared: bool = False
    ) -> RowFailed | None:
        look, applier = work.look, work.applier
        work.wrote(None)
        columns = Columns(
            bytes(Kind.DELETE if one.fields is None else Kind.MODIFY for one in changes),
            [one.type for one in changes],
            [one.key for one in changes],
            [one.fields or b"" for one in changes],
        )
        self._run("SAVEPOINT edits")
        applier.begin(careful)
        try:
            before = self._triggered(changes, look)
            (applier.execute_cleared if cleared else applier.execute)(lambda: (columns,))
            for guilty, cause in applier.violations(discreet=True):
                raise rolled_back(cause, guilty)
            _check_taken(before, self._triggered(before, look), look)
        except RowFailed as error:
            if not self._connection.in_transaction:
                raise TransactionLost(None, error.failure) from error
            self._run("ROLLBACK TO edits")
            self._run("RELEASE edits")
            return error
        self._run("RELEASE edits")
        return None

    def _triggered(self, changes: Iterable[Change], look: Look) -> dict[Change, Sequence[Value] | None]:
        """Rows of tables that have triggers of the application, as they are."""
        found: dict[Change, Sequence[Value] | None] = {}
        for change in changes:
            shape = look.shape(change.type)
            if shape.table.triggers:
                key = unpack_values(change.key)
                found[change] = robust(self._connection, lambda: self._run(shape.select, key).fetchone())  # noqa: B023
        return found


def _check_taken(
    before: Mapping[Change, Sequence[Value] | None], after: Mapping[Change, Sequence[Value] | None], look: Look
) -> None:
    """Raises RowFailed where a trigger passed over what was to be written: nobody would tell the origin of it."""
    for change, row in after.items():
        shape = look.shape(change.type)
        if row == before[change] and packed(shape, row)[1] != change.fields:
            one = ObjectId(shape.type.name, change.key)
            raise rolled_back(f"table {one.type}: a trigger left it as it was", one)


def _runs(groups: Sequence[EditGroup]) -> Iterator[Sequence[EditGroup]]:
    """Neighbours of one author that share no object."""
    if len(groups) == 1:
        yield groups
        return
    begin = 0
    seen: set[tuple[int, bytes]] = set()
    for at, group in enumerate(groups):
        objects = {(edit.type, edit.key) for edit in group.edits}
        if at > begin and (group.author != groups[begin].author or not seen.isdisjoint(objects)):
            yield groups[begin:at]
            begin, seen = at, set()
        seen |= objects
    if begin < len(groups):
        yield groups[begin:]


def _told(group: EditGroup, made: Decision, mark: int) -> Written:
    return Written(group.device, group.outbox, group.number, made.ruling, mark, made.cause, made.guilty, made.sides)
