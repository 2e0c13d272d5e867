"""What the user of the application in memory does on an auxiliary, as ``core.upward_ports.Local`` tells it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from syncd.applications.base import current_types, named
from syncd.core import digest
from syncd.core.edits import Edit, LocalChanges, Overlay, Plan
from syncd.core.errors import ApplicationOffline, EditsUnread
from syncd.core.model import DataType, ObjectId
from syncd.core.ports import Work


class Logged(NamedTuple):
    """``before``: fields of the object as it was, None where there was none, empty where they could not be told."""

    number: int
    object: ObjectId
    before: bytes | None


class Copy(NamedTuple):
    rows: dict[ObjectId, bytes]
    log: list[Logged]
    base: int
    logs: bool
    types: dict[int, DataType]


class MemoryLocal:
    """The rows, and the log of what the user changed in them. ``faults``: why an object cannot be turned into fields.
    ``log_max``: entries that can be counted in; more are unread."""

    log_max = 10_000

    def __init__(self, rows: dict[ObjectId, bytes], captures: bool) -> None:
        self.rows = rows
        self.faults: dict[ObjectId, str] = {}
        self.offline = ""
        self._captures = captures
        self._logs = False
        self._types: dict[int, DataType] = {}
        self._described: dict[int, DataType] = {}
        self._alone = False
        self._log: list[Logged] = []
        self._base = 0  # the mark that the log goes on from
        self._last = 0
        self._lost = False
        self._drained = 0  # the last mark at which nothing remained
        self._touched = asyncio.Event()

    # ------------------------------------------------------------ the user

    def commit(self, changes: Mapping[ObjectId, bytes | None]) -> None:
        """One transaction: new fields of objects, None where an object is deleted."""
        for one, fields in changes.items():
            before = self.rows.get(one)
            self.faults.pop(one, None)
            if fields is None:
                self.rows.pop(one, None)
            else:
                self.rows[one] = fields
            if self._logs and not self._lost:
                self._last += 1
                self._log.append(Logged(self._last, one, before))
        self._touched.set()

    def spoil(self, one: ObjectId, why: str) -> None:
        """The object is there and cannot be turned into fields."""
        self.commit({one: b""})
        self.faults[one] = why

    def copy(self) -> Copy:
        """A backup, to be put back with ``put_back``."""
        return Copy(dict(self.rows), list(self._log), self._base, self._logs, dict(self._types))

    def put_back(self, copy: Copy) -> None:
        """The data becomes what it was, its log with it. No number is given twice."""
        self.rows, self._log = dict(copy.rows), list(copy.log)
        self._base, self._logs, self._types = copy.base, copy.logs, dict(copy.types)
        self._drained, self._lost = -1, False
        self._touched.set()

    def lose_log(self) -> None:
        """What was changed and not read is forgotten, as when the application makes its tables anew."""
        self._lost = self._logs
        self._touched.set()

    # ------------------------------------------------------------ Local

    async def describe(self, types: Mapping[int, DataType], alone: bool = False) -> bool:
        self._described, self._alone, kept = dict(types), alone, self._types
        self._types = kept or dict(types)
        return bool(kept) and self._may_be_others() and named(kept) != named(types)

    def _may_be_others(self) -> bool:
        """Whether what was described counts, whatever types are kept."""
        return self._alone or not self._holds()

    def _holds(self) -> bool:
        """Whether a work was executed."""
        raise NotImplementedError

    async def changes(self, mark: int, limit: int, wait_s: float | None = None) -> LocalChanges:
        if wait_s:
            await self._wait(wait_s)
        self._reachable()
        self._touched.clear()
        if not self._types or not self._logs:
            return LocalChanges((), mark, True)
        if wait_s is not None and (self._lost or not self._follows(mark)):
            return LocalChanges((), mark, False)
        if self._lost or not self._follows(mark):
            self._begin_anew()
            return LocalChanges((), self._base, False, lost=True)
        logged = [one for one in self._log if one.number > mark]
        page = logged[:limit]
        drained = len(page) == len(logged)
        reached = page[-1].number if page else mark
        whole = drained and mark in (0, self._drained)
        self._drained = reached if drained else -1
        if not drained:
            self._touched.set()
        edits = (self._edit(one, before) for one, before in _first(page))
        wanted = tuple(one for one in edits if one and not (whole and one.base == one.fields and not one.fault))
        return LocalChanges(wanted, reached, drained)

    async def discard(self, mark: int) -> None:
        self._base = max(self._base, mark)
        self._log = [one for one in self._log if one.number > self._base]

    async def _wait(self, timeout_s: float) -> None:
        if self._touched.is_set():
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._touched.wait()

    async def offer(
        self, after: tuple[object, ...] | None, limit: int
    ) -> tuple[LocalChanges, tuple[object, ...] | None]:
        self._reachable()
        if not self._types:
            return LocalChanges((), 0, True), None
        if after is None:
            self._types = dict(self._described) if self._described and self._may_be_others() else self._types
            self._logs = self._captures
            self._begin_anew()
            after = (self._base, None)
        mark, begin = after
        assert isinstance(mark, int)
        ids = current_types(self._types)
        left = sorted(one for one in self.rows if one.type in ids and (begin is None or one > begin))  # type: ignore[operator]
        edits = [self._edit(one, None) for one in left[:limit]]
        drained = len(left) <= limit
        page = LocalChanges(tuple(one for one in edits if one), mark, drained)
        return page, None if drained else (mark, left[limit - 1])

    async def close(self) -> None:
        return

    # ------------------------------------------------------------ for the target

    def _reachable(self) -> None:
        if self.offline:
            raise ApplicationOffline(self.offline)

    def _begin(self, types: Mapping[int, DataType], anew: bool) -> None:
        """A work was executed: what the user does from here on is logged. ``anew``: nothing was before."""
        self._types = dict(types)
        self._logs = self._captures
        if anew:
            self._log.clear()
            self._base = self._last = self._drained = 0
            self._lost = False

    def _check_unread(self, plan: Plan, named: Iterable[tuple[int, bytes]], work: Work | None = None) -> None:
        """Raises EditsUnread if the user changed one of the objects after the plan's mark."""
        if not self._logs:
            return
        types = work.types if work is not None else self._types
        unread = {one.object for one in self._log if one.number > plan.mark}
        touched = unread if work is not None and work.snapshot else unread & {self._id(*one, types) for one in named}
        if touched or self._lost or not self._follows(plan.mark):
            raise EditsUnread("the application changed just now what is about to be written")

    def _above(self, overlay: Overlay) -> tuple[int, int]:
        """What to add to what is held to get what the primary sent."""
        change, objects = overlay.digest, overlay.objects
        unread = [one for one in self._log if one.number > overlay.mark]
        if self._logs and (self._lost or not self._follows(overlay.mark) or len(unread) > self.log_max):
            raise EditsUnread("the application changed more just now than can be counted in")
        for one, before in _first(unread):
            for fields, sign in ((before, 1), (self.rows.get(one), -1)):
                if fields is not None:
                    change += sign * hash_of((one, fields))
                    objects += sign
        return change, objects

    def _id(self, type_id: int, key: bytes, types: Mapping[int, DataType] | None = None) -> ObjectId:
        return ObjectId((self._types if types is None else types)[type_id].name, key)

    def _follows(self, mark: int) -> bool:
        return mark == self._base or any(one.number == mark for one in self._log)

    def _begin_anew(self) -> None:
        self._log.clear()
        self._last += 1  # a mark from before stays lost
        self._base = self._drained = self._last
        self._lost = False

    def _edit(self, one: ObjectId, base: bytes | None) -> Edit | None:
        number = current_types(self._types).get(one.type)
        if number is None:
            return None
        fault = self.faults.get(one, "")
        return Edit(number, one.key, base or None, b"" if fault else self.rows.get(one), fault)


def hash_of(row: tuple[ObjectId, bytes]) -> int:
    """Of an object with its fields."""
    (name, key), fields = row
    return digest.object_hash(digest.type_prefix(name), key, fields)


def _first(logged: Iterable[Logged]) -> Iterator[tuple[ObjectId, bytes | None]]:
    """Each object once, as it was before the first change."""
    found: dict[ObjectId, bytes | None] = {}
    for one in logged:
        found.setdefault(one.object, one.before)
    yield from found.items()
