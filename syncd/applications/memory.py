"""In-memory twin of the application on the primary, for simulations: no files, no threads, no clock.

It obeys the same contract as the SQLite application (``tests/contract/``). An object outlives its users: a daemon that
"crashed" leaves it, the next one opens it again. The twin of the other end is in ``memory_target``.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from contextlib import suppress

from syncd.core.edits import Written
from syncd.core.errors import ApplicationOffline
from syncd.core.model import DataType, ObjectId, Observed
from syncd.core.ports import ScanPage, SourceChanges, SourceState

Copy = tuple[dict[ObjectId, bytes], list[tuple[int, ObjectId, str]], int, dict[tuple[str, str, int], Written]]


class MemorySource:
    """An application on the primary. ``commit`` is what its user does; ``offline`` takes it away. ``executed``: what
    became of groups of edits (``MemoryWriter``)."""

    def __init__(self, types: Sequence[DataType], identity: str = "memory") -> None:
        self.identity = identity
        self.rows: dict[ObjectId, bytes] = {}
        self.faults: dict[ObjectId, str] = {}
        self.offline = ""
        self.renamed: tuple[tuple[str, str], ...] = ()
        self.executed: dict[tuple[str, str, int], Written] = {}
        self._types = tuple(types)
        self._ids: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self._log: list[tuple[int, ObjectId, str]] = []  # number, object, author
        self._base = 0  # the mark that the log goes on from; no number is given twice, whatever is put back
        self._last = 0
        self._overflow = False
        self._reshaped = False
        self._touched = asyncio.Event()

    @property
    def types(self) -> tuple[DataType, ...]:
        """As the application declares them: their ids are 0."""
        return self._types

    @property
    def numbers(self) -> Mapping[int, str]:
        """Id of a type, as the store gave it -> name."""
        return self._names

    def commit(self, changes: Mapping[ObjectId, bytes | None], applying: bool = False, author: str = "") -> None:
        """One transaction: new fields of objects, None where an object is deleted. ``applying``: it is not the
        application's but ours, and is not logged (R12). ``author``: see ``edits.EditGroup``."""
        for object_id, fields in changes.items():
            if fields is None:
                self.rows.pop(object_id, None)
            else:
                self.rows[object_id] = fields
            if not (self._overflow or applying):
                self._last += 1
                self._log.append((self._last, object_id, author))
        if not applying:
            self._touched.set()

    def lose_log(self) -> None:
        """What was touched and not read yet is forgotten, as when the log reached its bound."""
        self._overflow = True
        self._touched.set()

    def copy(self) -> Copy:
        """A backup, to be put back with ``put_back``."""
        return dict(self.rows), list(self._log), self._base, dict(self.executed)

    def put_back(self, copy: Copy) -> None:
        """The data becomes what it was, its log with it."""
        rows, log, self._base, executed = copy
        self.rows, self._log, self.executed = dict(rows), list(log), dict(executed)
        self._touched.set()

    def end_mark(self) -> int:
        """The mark from which on all that was committed is read; what was not logged is read by a comparison."""
        end = self._log[-1][0] if self._log else self._base
        return self._last + 1 if self._overflow else end

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
        return SourceState(self.identity, self._types, (), self.renamed)

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

    async def changes(self, mark: int, limit: int, wait_s: float = 0.0) -> SourceChanges:
        if wait_s:
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._touched.wait()
        self._check()
        self._touched.clear()
        if self._reshaped:
            return SourceChanges([], mark, False, reshaped=True)
        numbers = [self._base, *(entry[0] for entry in self._log)]
        if self._overflow or mark not in numbers:
            if self._overflow:
                self._log.clear()
                self._last += 1
                self._base = self._last  # a mark from before stays lost
                self._overflow = False
            return SourceChanges([], self._log[-1][0] if self._log else self._base, False, lost=True)
        start = numbers.index(mark)
        touched = self._log[start : start + limit]
        authors = {object_id: author for _, object_id, author in touched if object_id.type in self._ids}
        drained = start + limit >= len(self._log)
        if not drained:
            self._touched.set()
        observed = [self._read(one)._replace(author=author) for one, author in authors.items()]
        return SourceChanges(observed, touched[-1][0] if touched else mark, drained)

    async def discard(self, mark: int) -> None:
        self._base = max(self._base, mark)
        self._log = [entry for entry in self._log if entry[0] > self._base]

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
