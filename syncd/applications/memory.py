"""In-memory twins of the application's two ends, for simulations: no files, no threads, no clock.

They obey the same contracts as the SQLite application (``tests/contract/``). An object outlives its users: a daemon
that "crashed" leaves it, the next one opens it again.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace as changed_copy

from syncd.applications.base import (
    Division,
    Row,
    RowFailed,
    Unit,
    cancelled,
    check_begins,
    current_types,
    nothing_to_do,
    rolled_back,
    rows_of,
)
from syncd.core import digest
from syncd.core.errors import ApplicationOffline, DiskFull, TargetHeld
from syncd.core.model import DataType, Failure, Kind, ObjectId, Observed
from syncd.core.ports import (
    Executed,
    ScanPage,
    SourceChanges,
    SourceState,
    TargetState,
    Tried,
    Unexecuted,
    Work,
)

Copy = tuple[dict[ObjectId, bytes], list[tuple[int, ObjectId]], int]


class MemorySource:
    """An application on the primary. ``commit`` is what its user does; ``offline`` takes it away."""

    def __init__(self, types: Sequence[DataType], identity: str = "memory") -> None:
        self.identity = identity
        self.rows: dict[ObjectId, bytes] = {}
        self.faults: dict[ObjectId, str] = {}
        self.offline = ""
        self._types = tuple(types)
        self._ids: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self._log: list[tuple[int, ObjectId]] = []
        self._base = 0  # the mark that the log goes on from; no number is given twice, whatever is put back
        self._last = 0
        self._overflow = False
        self._reshaped = False
        self._touched = asyncio.Event()

    @property
    def types(self) -> tuple[DataType, ...]:
        """As the application declares them: their ids are 0."""
        return self._types

    def commit(self, changes: Mapping[ObjectId, bytes | None], applying: bool = False) -> None:
        """One transaction: new fields of objects, None where an object is deleted. ``applying``: it is not the
        application's but ours, and is not logged (R12)."""
        for object_id, fields in changes.items():
            if fields is None:
                self.rows.pop(object_id, None)
            else:
                self.rows[object_id] = fields
            if not (self._overflow or applying):
                self._last += 1
                self._log.append((self._last, object_id))
        if not applying:
            self._touched.set()

    def lose_log(self) -> None:
        """What was touched and not read yet is forgotten, as when the log reached its bound."""
        self._overflow = True
        self._touched.set()

    def copy(self) -> Copy:
        """A backup, to be put back with ``put_back``."""
        return dict(self.rows), list(self._log), self._base

    def put_back(self, copy: Copy) -> None:
        """The data becomes what it was, its log with it."""
        rows, log, self._base = copy
        self.rows, self._log = dict(rows), list(log)
        self._touched.set()

    def reshape(self, types: Sequence[DataType]) -> None:
        """The application changes its types; objects of those that are gone are gone."""
        self._types = tuple(types)
        names = {one.name for one in types}
        self.rows = {object_id: fields for object_id, fields in self.rows.items() if object_id.type in names}
        self._reshaped = True
        self._touched.set()

    async def open(self, expected: str) -> SourceState:
        self._check()
        if expected not in ("", self.identity):
            raise ApplicationOffline("the application's data is not what was shared (it was replaced)")
        self._reshaped = False
        return SourceState(self.identity, self._types, ())

    async def number(self, types: Sequence[DataType]) -> None:
        self._ids = {one.name: one.id for one in types}
        self._names = {one.id: one.name for one in types}

    async def scan(self, type_id: int, after: tuple[object, ...] | None, limit: int) -> ScanPage:
        self._check()
        name = self._names[type_id]
        keys = sorted(object_id.key for object_id in self.rows if object_id.type == name)
        start = bisect_right(keys, after[0]) if after is not None and isinstance(after[0], bytes) else 0
        page = keys[start : start + limit]
        more = start + limit < len(keys)
        return ScanPage([self._read(ObjectId(name, key)) for key in page], (page[-1],) if more else None)

    async def observe(self, objects: Sequence[tuple[int, bytes]]) -> Sequence[Observed]:
        self._check()
        return [self._read(ObjectId(self._names[type_id], key)) for type_id, key in objects]

    async def changes(self, mark: int, limit: int) -> SourceChanges:
        self._check()
        self._touched.clear()
        if self._reshaped:
            return SourceChanges([], mark, False, reshaped=True)
        numbers = [self._base, *(number for number, _ in self._log)]
        if self._overflow or mark not in numbers:
            if self._overflow:
                self._log.clear()
                self._last += 1
                self._base = self._last  # a mark from before stays lost
                self._overflow = False
            return SourceChanges([], self._log[-1][0] if self._log else self._base, False, lost=True)
        start = numbers.index(mark)
        touched = self._log[start : start + limit]
        distinct = dict.fromkeys(object_id for _, object_id in touched if object_id.type in self._ids)
        drained = start + limit >= len(self._log)
        if not drained:
            self._touched.set()
        return SourceChanges([self._read(one) for one in distinct], touched[-1][0] if touched else mark, drained)

    async def discard(self, mark: int) -> None:
        self._base = max(self._base, mark)
        self._log = [entry for entry in self._log if entry[0] > self._base]

    async def wait(self, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await self._touched.wait()
        except TimeoutError:
            return

    async def close(self) -> None:
        return

    def _check(self) -> None:
        if self.offline:
            raise ApplicationOffline(self.offline)

    def _read(self, object_id: ObjectId) -> Observed:
        number = self._ids[object_id.type]
        if object_id not in self.rows:
            return Observed(number, object_id.key, None)
        fault = self.faults.get(object_id, "")
        return Observed(number, object_id.key, b"" if fault else self.rows[object_id], fault)


class MemoryTarget:
    """An application on an auxiliary.

    ``failing``: object -> why each of its versions is refused. ``failing_versions``: the same for single versions.
    ``check``, if given, looks at all rows before a commit and returns why which object cannot stand, or None.
    ``captured``: a source on the same application.
    """

    def __init__(
        self,
        replace: bool = False,
        rows: Mapping[ObjectId, bytes] | None = None,
        captured: MemorySource | None = None,
    ) -> None:
        self.rows: dict[ObjectId, bytes] = dict(rows or {})
        self.state = TargetState("", 0, digest.EMPTY, 0)
        self.failing: dict[ObjectId, str] = {}
        self.failing_versions: dict[tuple[ObjectId, bytes], str] = {}
        self.check: Callable[[Mapping[ObjectId, bytes]], tuple[str, ObjectId] | None] | None = None
        self.offline = ""
        self.disk_full = False
        self._replace = replace
        self._captured = captured

    async def open(self) -> TargetState:
        self._reachable()
        return self.state

    async def execute(self, work: Work) -> Executed | Unexecuted:
        self._reachable()
        if nothing_to_do(self.state, work):
            return Executed(self.state)
        rows = list(rows_of(work.frames()))
        skipped = work.skip(_id(work, row) for row in rows) if work.skip else frozenset()
        rows = [row for row in rows if _id(work, row) not in skipped]
        try:
            after = self._all(work, rows)
        except RowFailed:
            divided = self._divided(work, rows)
            if isinstance(divided, Unexecuted):
                return divided
            after = divided
        if self.disk_full:
            raise DiskFull("no room in memory")
        self._commit(work, after)
        return Executed(self.state)

    async def retry(self, works: Sequence[Work]) -> Tried:
        self._reachable()
        for work in works:
            check_begins(self.state, work)
        if self.disk_full:
            raise DiskFull("no room in memory")
        failures: list[Failure | None] = []
        for work in works:
            try:
                self._write(self._all(work, list(rows_of(work.frames()))))
            except RowFailed as failed:
                failures.append(failed.failure)
            else:
                failures.append(None)
        self.state = changed_copy(self.state, digest=_digest_of(self.rows), objects=len(self.rows))
        return Tried(self.state, tuple(failures))

    async def recount(self) -> TargetState:
        self._reachable()
        self.state = changed_copy(self.state, digest=_digest_of(self.rows), objects=len(self.rows))
        return self.state

    async def look(self) -> TargetState | None:
        self._reachable()
        before = self.state
        return None if not before.epoch or await self.recount() == before else self.state

    async def close(self) -> None:
        return

    def _reachable(self) -> None:
        if self.offline:
            raise ApplicationOffline(self.offline)

    def _all(self, work: Work, rows: Iterable[Row]) -> dict[ObjectId, bytes]:
        """All rows executed on a copy."""
        after = dict(self.rows)
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

    def _divided(self, work: Work, rows: Sequence[Row]) -> dict[ObjectId, bytes] | Unexecuted:
        """Unit by unit; those that fail are tried again until none gets through any more."""
        division = _division(work, rows)
        units: dict[Unit, list[Row]] = {}
        for row in rows:
            object_id = _id(work, row)
            units.setdefault(division.unit(row.seq, row.loose, object_id, row.type), []).append(row)
        after = dict(self.rows)
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

    def _commit(self, work: Work, after: dict[ObjectId, bytes]) -> None:
        assert work.proof is not None
        if work.snapshot:
            seen = {_id(work, row) for row in rows_of(work.frames())}
            seen |= work.skip(self.rows) if work.skip else frozenset()
            if not self.state.epoch and not self._replace:
                own = [one for one, fields in self.rows.items() if after.get(one) != fields or one not in seen]
                if own:
                    raise TargetHeld(f"the target holds {len(own)} objects of its own", "accept it with --replace")
            after = {one: fields for one, fields in after.items() if one in seen}
        self._write(after)
        self.state = TargetState(work.epoch, work.proof.seq, _digest_of(after), len(after))

    def _write(self, after: dict[ObjectId, bytes]) -> None:
        if self._captured is not None:
            changed = {one for one in self.rows.keys() | after.keys() if self.rows.get(one) != after.get(one)}
            self._captured.commit({one: after.get(one) for one in changed}, applying=True)
        self.rows = after


def _id(work: Work, row: Row) -> ObjectId:
    return ObjectId(work.types[row.type].name, row.key)


def _digest_of(rows: Mapping[ObjectId, bytes]) -> bytes:
    prefixes = {name: digest.type_prefix(name) for name in {one.type for one in rows}}
    return digest.of(digest.object_hash(prefixes[one.type], one.key, fields) for one, fields in rows.items())


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
