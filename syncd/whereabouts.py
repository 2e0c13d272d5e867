"""Where devices stand of a collection, and the objects that they hold there (R4, R8, R9): read, a page at a time.

Objects that nothing in flight touches are known from the state at the device's position. Others are looked at one by
one, in all states in which the device may be.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

from syncd.core import reach
from syncd.core.errors import UserError
from syncd.core.follow import store_epoch
from syncd.core.history_port import Stood
from syncd.core.messages import Report
from syncd.core.ports import ChunkRequest, CollectionState, SyncStore
from syncd.core.reach import NOTHING, NOTHING_FAILED, Held, Past, Reach, Reaches, Which
from syncd.core.references import Object
from syncd.core.selection import ALL, Selection
from syncd.core.transactions import names_all
from syncd.lent import NONE_LENT, lent
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
            found = [Reach(selection, position, last, _failed(report))]
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


class Ground(NamedTuple):
    """A collection at a moment. ``since``: see ``StoreHistory.columns_since``. ``lent``: what was found to be held by
    references alone, by selection and position."""

    state: CollectionState
    since: Mapping[int, int]
    lent: dict[tuple[Selection, int], Collection[Object] | None]


async def lent_there(on: Sight, ground: Ground, reaches: Sequence[Reach]) -> Collection[Object] | None:
    """What a device holds by references alone. None: that is not known, as while anything is on its way to it."""
    one, state = reaches[0], ground.state
    if not any(each.selection is not None and each.selection.follow for each in reaches):
        return NONE_LENT
    if one.selection is None or len(reaches) > 1 or one.first != one.last or one.failed != NOTHING_FAILED:
        return None
    at = one.selection, one.first
    if at not in ground.lent:
        ground.lent[at] = None
        if one.first <= state.head and max(ground.since.values(), default=0) <= one.first:
            with suppress(UserError):
                ground.lent[at] = await lent(on.store, replace(state, head=one.first), one.selection, certain=True)
    return ground.lent[at]


class Whereabouts:
    """One device and one collection. ``lent``: see ``lent_there``."""

    def __init__(
        self, on: Sight, ground: Ground, reaches: Sequence[Reach], lent: Collection[Object] | None = None
    ) -> None:
        self._on, self._state, self.reaches, self._since = on, ground.state, reaches, ground.since
        self._lent = lent
        self._known = {one.id for one in ground.state.types}
        self._views: dict[Selection, View] = {}
        self._last = max((one.last for one in reaches), default=0)

    def held(self, past: Past, type_: int, key: bytes) -> tuple[Held, Which]:
        """Whether it holds one object, and in which version."""
        return reach.held(self.reaches, past, self._takes(type_, key))

    async def past(self, type_: int, key: bytes) -> Past:
        """What is known of one object."""
        most = self._on.versions_max
        versions = await self._on.store.history(self._state.name, type_, key, most)
        since = max(self._state.remembers, self._since.get(type_, 0))
        if len(versions) == most:
            since = max(since, versions[-1].seq)
        return Past(versions, since)

    def _takes(self, type_: int, key: bytes) -> Callable[[Selection, bytes], bool | None]:
        return lambda selection, fields: self._view(selection).takes(Seen(type_, key, fields))

    def _view(self, selection: Selection) -> View:
        if selection not in self._views:
            self._views[selection] = View(selection, self._state.types, self._lent)
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
        found: list[Here] = []
        for row in page.rows:
            if row.type not in self._known:
                continue  # of a table that has other columns by now: it is met where it changed
            touched = 0 < row.until <= self._last or any(first <= row.change <= seq for first, seq in failed)
            if touched or len(self.reaches) > 1 or row.change <= self._since.get(row.type, 0):
                verdict = await self._once(cursor, row.type, row.key)
            else:
                verdict = self._plain(one, row)
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

    def _plain(self, one: Reach, row: Stood) -> tuple[Held, Which]:
        """Of an object that is the same in all states in which the device may be."""
        if one.selection is None or one.failed is None:
            return Held.MAYBE, Which.UNKNOWN
        taken = self._takes(row.type, row.key)(one.selection, row.fields)
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
        return self.held(past, type_, key)

    def _first_part(self, past: Past) -> tuple[int, bool]:
        newest = past.versions[0].seq if past.versions else 0
        for number, one in enumerate(self.reaches):
            stood = next((version for version in past.versions if version.seq <= one.first), None)
            if stood is not None and stood.fields is not None and not one.nothing:
                return number, False
            if newest > one.first and one.last > one.first and not one.nothing:
                return number, True
        return -1, False
