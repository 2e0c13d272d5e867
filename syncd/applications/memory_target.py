"""In-memory twin of the application on an auxiliary, for simulations: no files, no threads, no clock.

It obeys the same contract as the SQLite application (``tests/contract/``). An object outlives its users: a daemon that
"crashed" leaves it, the next one opens it again. What its user changes is in ``memory_local``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace as changed_copy

from syncd.applications.base import (
    Division,
    Row,
    RowFailed,
    Unit,
    as_planned,
    cancelled,
    check_begins,
    current_types,
    not_put_back,
    nothing_to_do,
    rolled_back,
    rows_of,
)
from syncd.applications.memory import MemorySource
from syncd.applications.memory_local import MemoryLocal, hash_of
from syncd.core import digest
from syncd.core.edits import Overlay, Plan
from syncd.core.errors import DiskFull, TargetHeld
from syncd.core.model import Failure, Kind, ObjectId
from syncd.core.ports import Executed, TargetState, Tried, Unexecuted, Work

_NO_PLAN = Plan(0, 0)


class MemoryTarget(MemoryLocal):
    """An application on an auxiliary. ``commit`` is what its user does.

    ``failing``: object -> why each of its versions is refused. ``failing_versions``: the same for single versions.
    ``check``, if given, looks at all rows before a commit and returns why which object cannot stand, or None.
    ``captured``: a source on the same application. ``captures``: what the user does is logged.
    """

    def __init__(
        self,
        replace: bool = False,
        rows: Mapping[ObjectId, bytes] | None = None,
        captured: MemorySource | None = None,
        captures: bool = False,
    ) -> None:
        super().__init__(dict(rows or {}), captures)
        self.replace = replace
        self.state = TargetState("", 0, digest.EMPTY, 0)
        self.failing: dict[ObjectId, str] = {}
        self.failing_versions: dict[tuple[ObjectId, bytes], str] = {}
        self.check: Callable[[Mapping[ObjectId, bytes]], tuple[str, ObjectId] | None] | None = None
        self.disk_full = False
        self._captured = captured

    async def open(self) -> TargetState:
        self._reachable()
        return self.state

    async def execute(self, work: Work) -> Executed | Unexecuted:
        self._reachable()
        if nothing_to_do(self.state, work):
            return Executed(self.state)
        work = as_planned(work)
        rows = self._rows(work)
        self._check_read(work, rows)
        before = self._put_back(work.plan)
        try:
            after = self._all(work, rows, before)
        except RowFailed:
            divided = self._divided(work, rows, before)
            if isinstance(divided, Unexecuted):
                return divided
            after = divided
        if self.disk_full:
            raise DiskFull("no room in memory")
        self._commit(work, before, after)
        return Executed(self.state, durable=not work.lazily or (work.plan or _NO_PLAN).id != 0)

    async def sync(self) -> None:
        """Memory has no power cuts."""

    async def retry(self, works: Sequence[Work]) -> Tried:
        self._reachable()
        for work in works:
            check_begins(self.state, work)
            self._check_read(work, list(rows_of(work.frames())))
        if self.disk_full:
            raise DiskFull("no room in memory")
        failures: list[Failure | None] = []
        for work in works:
            try:
                after = self._all(work, list(rows_of(work.frames())), self.rows)
            except RowFailed as failed:
                failures.append(failed.failure)
            else:
                failures.append(None)
                self.state = self._counted(self.rows, after)
                self._write(after)
        return Tried(self.state, tuple(failures))

    async def restore(self, plan: Plan) -> TargetState:
        self._reachable()
        self._check_unread(plan, [(one.type, one.key) for one in (plan.restore or tuple)()])
        after = self._put_back(plan)
        broken = self.check(after) if self.check else None
        if broken:
            raise not_put_back(broken[0])
        if self.disk_full:
            raise DiskFull("no room in memory")
        self._write(after)
        self.state = changed_copy(self.state, plan=plan.id or self.state.plan)
        return self.state

    def _holds(self) -> bool:
        return bool(self.state.epoch)

    async def recount(self, overlay: Overlay | None = None) -> TargetState:
        self._reachable()
        held, objects = digest.of(map(hash_of, self.rows.items())), len(self.rows)
        if overlay is not None:
            change, more = self._above(overlay)
            held, objects = digest.add(held, change), objects + more
        self.state = changed_copy(self.state, digest=held, objects=objects)
        return self.state

    async def look(self, overlay: Overlay | None = None) -> TargetState | None:
        self._reachable()
        before = self.state
        return None if not before.epoch or await self.recount(overlay) == before else self.state

    def _rows(self, work: Work) -> list[Row]:
        """Those that are not skipped."""
        rows = list(rows_of(work.frames()))
        skipped = work.skip(_id(work, row) for row in rows) if work.skip else frozenset()
        return [row for row in rows if _id(work, row) not in skipped]

    def _check_read(self, work: Work, rows: Iterable[Row]) -> None:
        if work.plan is not None:
            named = [(row.type, row.key) for row in rows]
            named += [(one.type, one.key) for one in (work.plan.restore or tuple)()]
            self._check_unread(work.plan, named, work)

    def _put_back(self, plan: Plan | None) -> dict[ObjectId, bytes]:
        """A copy of what is held, with what the plan restores."""
        rows = dict(self.rows)
        for type_id, key, fields in plan.restore() if plan and plan.restore else ():
            if fields is None:
                rows.pop(self._id(type_id, key), None)
            else:
                rows[self._id(type_id, key)] = fields
        return rows

    def _all(self, work: Work, rows: Iterable[Row], before: Mapping[ObjectId, bytes]) -> dict[ObjectId, bytes]:
        """All rows executed on a copy."""
        after = dict(before)
        self._apply(work, rows, after)
        self._checked(after)
        return after

    def _apply(self, work: Work, rows: Iterable[Row], after: dict[ObjectId, bytes]) -> None:
        newest = current_types(work.types)
        decided = {_id(work, row) for row in rows if newest[work.types[row.type].name] == row.type}
        for row in rows:
            object_id = _id(work, row)
            if row.type != newest[object_id.type] and object_id in decided:
                continue
            if row.kind == Kind.WITHHELD:
                raise cancelled(row.fields.decode(errors="replace"), object_id)
            if row.kind == Kind.DELETE:
                after.pop(object_id, None)
                continue
            cause = self.failing.get(object_id) or self.failing_versions.get((object_id, row.fields))
            if cause:
                raise rolled_back(cause, object_id)
            after[object_id] = row.fields

    def _checked(self, after: Mapping[ObjectId, bytes]) -> None:
        broken = self.check(after) if self.check else None
        if broken:
            raise rolled_back(*broken)

    def _divided(
        self, work: Work, rows: Sequence[Row], before: Mapping[ObjectId, bytes]
    ) -> dict[ObjectId, bytes] | Unexecuted:
        """Unit by unit; those that fail are tried again until none gets through any more."""
        division = _division(work, rows)
        units: dict[Unit, list[Row]] = {}
        for row in rows:
            object_id = _id(work, row)
            units.setdefault(division.unit(row.seq, row.loose, object_id, row.type), []).append(row)
        after = dict(before)
        failed: dict[Unit, Failure] = {}
        waiting = dict(units)
        while waiting:
            failed = {}
            for unit, its_rows in waiting.items():
                tried = dict(after)
                try:
                    self._apply(work, its_rows, tried)
                    self._checked(tried)
                except RowFailed as error:
                    failed[unit] = error.failure
                else:
                    after = tried
            if len(failed) == len(waiting):
                break
            waiting = {unit: units[unit] for unit in failed}
        return Unexecuted(division.parts(failed)) if failed else after

    def _commit(self, work: Work, before: Mapping[ObjectId, bytes], after: dict[ObjectId, bytes]) -> None:
        assert work.proof is not None
        if work.snapshot:
            seen = {_id(work, row) for row in rows_of(work.frames())}
            seen |= work.skip(self.rows) if work.skip else frozenset()
            if not self.state.epoch and not self.replace:
                own = [one for one, fields in self.rows.items() if after.get(one) != fields or one not in seen]
                if own:
                    raise TargetHeld(f"the target holds {len(own)} objects of its own", "accept it with --replace")
            after = {one: fields for one, fields in after.items() if one in seen}
        plan = work.plan or _NO_PLAN
        held = self._counted(None if work.snapshot else before, after, plan)
        self._write(after)
        self._begin(work.types, anew=not self.state.epoch and not plan.mark)
        self.state = changed_copy(held, epoch=work.epoch, position=work.proof.seq, plan=plan.id or held.plan)

    def _counted(
        self, before: Mapping[ObjectId, bytes] | None, after: Mapping[ObjectId, bytes], plan: Plan = _NO_PLAN
    ) -> TargetState:
        """Checksum and count after what changed. ``before``: None counts all; so does where no edits stand above."""
        if before is None or not self._captures:
            return changed_copy(self.state, digest=digest.of(map(hash_of, after.items())), objects=len(after))
        change = sum(map(hash_of, after.items() - before.items())) - sum(map(hash_of, before.items() - after.items()))
        held = digest.add(self.state.digest, change + plan.digest)
        objects = self.state.objects + len(after) - len(before) + plan.objects
        return changed_copy(self.state, digest=held, objects=objects)

    def _write(self, after: dict[ObjectId, bytes]) -> None:
        if self._captured is not None:
            changed = {one for one in self.rows.keys() | after.keys() if self.rows.get(one) != after.get(one)}
            self._captured.commit({one: after.get(one) for one in changed}, applying=True)
        self.rows = after


def _id(work: Work, row: Row) -> ObjectId:
    return ObjectId(work.types[row.type].name, row.key)


def _division(work: Work, rows: Sequence[Row]) -> Division:
    division = Division(work)
    brought: dict[ObjectId, list[int]] = {}
    seen: set[ObjectId] = set()
    repeated: set[ObjectId] = set()
    for row in rows:
        object_id = _id(work, row)
        (repeated if object_id in seen else seen).add(object_id)
        if not row.loose:
            brought.setdefault(object_id, []).append(row.seq)
    for object_id in sorted(repeated):
        division.repeated(object_id, brought.get(object_id, ()))
    division.settle()
    return division
