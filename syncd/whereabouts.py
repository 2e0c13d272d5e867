"""Where devices stand of a collection, and the objects that they hold there (R4, R8, R9): read, a page at a time.

Objects that nothing in flight touches are known from the state at the device's position. Others are looked at one by
one, in all states in which the device may be. What a device takes because something references it is known where its
class has stayed the same since the device's position: it is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import NamedTuple

from syncd.core import reach
from syncd.core.follow import store_epoch
from syncd.core.history_port import Stood
from syncd.core.messages import Report
from syncd.core.ports import ChunkRequest, CollectionState, SyncStore
from syncd.core.reach import NOTHING, NOTHING_FAILED, Held, Past, Reach, Reaches, Which
from syncd.core.references import Object
from syncd.core.selection import ALL, Selection
from syncd.core.transactions import names_all
from syncd.views import Seen, View

PAGE_ROWS = 500
PAGE_BYTES = 2 * 1024 * 1024
GROUPS_MAX = 10_000  # newest groups among which those that failed on a device are looked for
ANYWHERE = Reach(None, 0, 2**62, failed=None)  # a position of another store's


class Here(NamedTuple):
    """One object that a device holds or may hold."""

    type: int
    key: bytes
    size_bytes: int
    held: Held
    which: Which


class Cursor(NamedTuple):
    """How far the objects on a device were read: in which of its reaches, whether of what stood at its beginning or of
    what changed after that, and up to which change."""

    reach: int = 0
    changed: bool = False
    change: int = 0


BEGINNING = Cursor()


class Page(NamedTuple):
    """``after``: None, that was the last. ``whole``: all that the device may hold there was found."""

    objects: Sequence[Here]
    after: Cursor | None
    whole: bool


class Sight(NamedTuple):
    """What devices are looked at from. ``versions_max``: of one object."""

    store: SyncStore
    reaches: Reaches
    versions_max: int


async def reaches_of(on: Sight, device: str, state: CollectionState, report: Report | None) -> list[Reach]:
    """Where a device may be. ``report``: what it said last."""
    spans, name = on.reaches.spans.get((device, state.name), {}), state.name
    found = [NOTHING]
    if report is not None and report.epoch:
        found = [ANYWHERE]
        if store_epoch(report.epoch) == store_epoch(state.epoch):
            span = spans.get(report.epoch)
            selection, position = await _selection(on, name, report.epoch), report.position
            last = position if span is None else max(position, span.last)
            found = [Reach(selection, position, last, _failed(report), epoch=report.epoch)]
    for epoch, span in spans.items():
        if (report is None or epoch != report.epoch) and span.last >= max(span.first, 1):
            found.append(Reach(await _selection(on, name, epoch), span.first, span.last))
    return found


async def _selection(on: Sight, name: str, epoch: str) -> Selection | None:
    number = epoch.partition(".")[2]
    if not number:
        return ALL
    return await on.store.class_numbered(name, int(number)) if number.isascii() and number.isdigit() else None


def _failed(report: Report) -> frozenset[int] | None:
    if not report.parked:
        return NOTHING_FAILED
    return frozenset(one.seq for one in report.failed) if names_all(report) else None


class Whereabouts:
    """One device and one collection. ``since``: see ``StoreHistory.columns_since``."""

    def __init__(self, on: Sight, state: CollectionState, reaches: Sequence[Reach], since: Mapping[int, int]) -> None:
        self._on, self._state, self.reaches, self._since = on, state, reaches, since
        self._known = {one.id for one in state.types}
        self._views: dict[Selection, View] = {}
        self._class = self._asked()
        self._last = max((one.last for one in reaches), default=0)

    async def held(self, past: Past, type_: int, key: bytes) -> tuple[Held, Which]:
        """Whether it holds one object, and in which version."""
        members = await self._members([(type_, key)])
        return reach.held(self.reaches, past, self._takes(type_, key, members))

    def _asked(self) -> Selection | None:
        """A selection that follows references, if its class has stayed the same since the device's position."""
        if len(self.reaches) != 1:
            return None
        one = self.reaches[0]
        if one.selection is None or not one.selection.follow or one.failed != NOTHING_FAILED:
            return None
        return one.selection if self._stays(one, self._state) else None

    def _stays(self, one: Reach, state: CollectionState) -> bool:
        """A class with changes that are not published has members that no device was told of."""
        seen = None if one.selection is None else state.of(one.selection)
        return seen is not None and seen.epoch == one.epoch and seen.head <= one.first and state.published

    async def _members(self, objects: Iterable[Object]) -> Set[Object] | None:
        """Those of the objects that are in the class that is asked; None: it cannot be told."""
        if self._class is None:
            return None
        members, _ = await self._on.store.in_class(self._state.name, self._class, [*objects])
        now = await self._on.store.open_collection(self._state.name)
        return members if self._stays(self.reaches[0], now) else None

    async def past(self, type_: int, key: bytes) -> Past:
        """What is known of one object."""
        most = self._on.versions_max
        versions = await self._on.store.history(self._state.name, type_, key, most)
        since = max(self._state.remembers, self._since.get(type_, 0))
        if len(versions) == most:
            since = max(since, versions[-1].seq)
        return Past(versions, since)

    def _takes(self, type_: int, key: bytes, members: Set[Object] | None) -> Callable[[Selection, bytes], bool | None]:
        if members is not None:
            return lambda selection, fields: (type_, key) in members
        return lambda selection, fields: self._view(selection).takes(Seen(type_, key, fields))

    def _view(self, selection: Selection) -> View:
        if selection not in self._views:
            self._views[selection] = View(selection, self._state.types)
        return self._views[selection]

    # ------------------------------------------------------------ all objects

    async def page(self, cursor: Cursor) -> Page:
        """Objects that it holds or may hold, each once; one that changes while they are read perhaps twice."""
        one = self.reaches[cursor.reach]
        if one.nothing:
            return Page((), self._next(cursor), True)
        return await (self._changed(cursor, one) if cursor.changed else self._stood(cursor, one))

    def _next(self, cursor: Cursor) -> Cursor | None:
        return Cursor(cursor.reach + 1) if cursor.reach + 1 < len(self.reaches) else None

    async def _stood(self, cursor: Cursor, one: Reach) -> Page:
        """What stood at the beginning of a reach."""
        failed = await self._failed_spans(one)
        page = await self._on.store.stood(self._state.name, one.first, cursor.change, PAGE_ROWS, PAGE_BYTES)
        members = await self._members((row.type, row.key) for row in page.rows)
        found: list[Here] = []
        for row in page.rows:
            if row.type not in self._known:
                continue  # of a table that has other columns by now: it is met where it changed
            touched = 0 < row.until <= self._last or any(first <= row.change <= seq for first, seq in failed)
            if touched or len(self.reaches) > 1 or row.change <= self._since.get(row.type, 0):
                verdict = await self._once(cursor, row.type, row.key)
            else:
                verdict = self._plain(one, row, members)
            if verdict[0] is not Held.NO:
                found.append(Here(row.type, row.key, len(row.key) + len(row.fields), *verdict))
        if page.last < one.first:
            return Page(found, cursor._replace(change=page.last), page.whole)
        in_flight = one.last > one.first and self._state.head > one.first
        after = Cursor(cursor.reach, changed=True, change=one.first) if in_flight else self._next(cursor)
        return Page(found, after, page.whole)

    async def _failed_spans(self, one: Reach) -> list[tuple[int, int]]:
        """Changes of groups that failed there; of one that is forgotten all before it."""
        if not one.failed:
            return []
        first = {group.seq: group.first for group in await self._on.store.groups(self._state.name, GROUPS_MAX)}
        return [(first.get(seq, 0), seq) for seq in one.failed]

    def _plain(self, one: Reach, row: Stood, members: Set[Object] | None) -> tuple[Held, Which]:
        """Of an object that is the same in all states in which the device may be."""
        if one.selection is None or one.failed is None:
            return Held.MAYBE, Which.UNKNOWN
        taken = self._takes(row.type, row.key, members)(one.selection, row.fields)
        if taken is None:
            return Held.MAYBE, Which.UNKNOWN
        which = Which.OLDER if row.until else Which.CURRENT
        return (Held.YES, which) if taken else (Held.NO, Which.UNKNOWN)

    async def _changed(self, cursor: Cursor, one: Reach) -> Page:
        """What changed after the beginning of a reach."""
        request = ChunkRequest(self._state.name, ALL, one.first, 0, cursor.change)
        chunk = await self._on.store.read(request, PAGE_ROWS, PAGE_BYTES)
        found: list[Here] = []
        for row in chunk.rows:
            verdict = await self._once(cursor, row.type, row.key)
            if verdict[0] is not Held.NO:
                found.append(Here(row.type, row.key, len(row.key) + len(row.fields or b""), *verdict))
        if cursor.change < chunk.last < self._state.head:
            return Page(found, cursor._replace(change=chunk.last), True)
        return Page(found, self._next(cursor), chunk.last >= self._state.head)

    async def _once(self, cursor: Cursor, type_: int, key: bytes) -> tuple[Held, Which]:
        """NO where the object is met in an earlier part as well."""
        past = await self.past(type_, key)
        if self._first_part(past) != cursor[:2]:
            return Held.NO, Which.UNKNOWN
        return await self.held(past, type_, key)

    def _first_part(self, past: Past) -> tuple[int, bool]:
        newest = past.versions[0].seq if past.versions else 0
        for number, one in enumerate(self.reaches):
            stood = next((version for version in past.versions if version.seq <= one.first), None)
            if stood is not None and stood.fields is not None and not one.nothing:
                return number, False
            if newest > one.first and one.last > one.first and not one.nothing:
                return number, True
        return -1, False
