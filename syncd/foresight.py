"""What becomes of the objects that devices hold when they take others, or when objects change (R8): counted, not kept.

The sync store is read a page at a time, all pages of one published state, so that nobody waits for it and no more than
a page is in memory (R15).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from syncd.core.edits import Direction
from syncd.core.errors import UserError
from syncd.core.foreseen import Outcome, Shift, Tally
from syncd.core.model import DataType, ObjectId
from syncd.core.ports import ChunkRequest, CollectionState, SyncStore
from syncd.core.preferences import Place, Preferences
from syncd.core.selection import ALL, Selection
from syncd.core.settings import Limits
from syncd.gathering import PAGE_BYTES, PAGE_ROWS, Followers, Members, fits, pages
from syncd.known import Known
from syncd.views import Seen, View

Access = Mapping[
    tuple[str, str], Selection | None
]  # device and collection -> what it takes, None where it is sent nothing
_UNKNOWN = "at most: what it holds of these already is not known"
_BY_REFERENCE = "what moves there is not foreseen: it takes what others reference"
_NO_MORE = "it is sent nothing from then on, and keeps what it holds"


class Change(NamedTuple):
    """An object in the primary's application, before and after; None: it is not there."""

    type: int
    key: bytes
    before: bytes | None
    after: bytes | None


# ---------------------------------------------------------------- who takes what


def access(known: Known, owners: Mapping[str, str], chosen: Preferences) -> Access:
    """What all devices take that are not cut off."""
    found: dict[tuple[str, str], Selection | None] = {}
    for name, owner in sorted(owners.items()):
        at = Place(known.users.get(owner, 0), "", name)
        usual, apart = chosen.selection(at), chosen.selections_apart(at)
        way, ways = chosen.direction(at), chosen.apart(at)
        for device in known.devices:
            if not device.revoked_us and (at.user, device.id) in known.links:
                sent = ways.get(device.id, way) is not Direction.IN
                found[device.id, name] = apart.get(device.id, usual) if sent else None
    return found


def shifts(before: Access, after: Access) -> tuple[Shift, ...]:
    """Where that differs. A device that was linked and sent nothing holds what nobody here knows."""
    return tuple(
        Shift(device, name, before.get((device, name)), takes, unknown=before.get((device, name), ALL) is None)
        for (device, name), takes in after.items()
        if (device, name) not in before or before[device, name] != takes
    )


def check(state: CollectionState) -> CollectionState:
    """Raises UserError where nothing can be foreseen."""
    if not state.imported or state.scanning:
        raise UserError(
            f"collection {state.name} is being compared with its application", "ask again when `syncd status` says so"
        )
    return state


# ---------------------------------------------------------------- other selections


class _Pair:
    """Two selections of one collection, and what moves between them."""

    def __init__(self, shift: Shift, types: Sequence[DataType]) -> None:
        self.keeps = shift.after is None
        self.unknown = shift.unknown or not fits(shift.before, types)
        self.sides = None if self.unknown else shift.before, shift.after
        self._views = [View(one, types) for one in self.sides]
        self.tally = Tally()

    @property
    def note(self) -> str:
        return _NO_MORE if self.keeps else _UNKNOWN if self.unknown else ""

    def moves(self, seen: Seen, members: Members) -> tuple[bytes | None, bytes | None]:
        """The object as it is held before and after. ``members``: of selections that follow references."""
        taken = (seen.object in members[one] if one in members else None for one in self.sides)
        before, after = (view.held(seen, is_taken) for view, is_taken in zip(self._views, taken, strict=True))
        if self.keeps:
            return before, before
        return (seen.fields if self.unknown and after is None else before), after


def _pairs(shifted: Iterable[Shift], types: Sequence[DataType]) -> dict[Shift, _Pair]:
    """Devices that had, and get, the same share one."""
    return {one: _Pair(one, types) for one in {shift._replace(device="") for shift in shifted}}


class Moving:
    """What moves on devices that take other objects of one collection. ``close`` it at the end."""

    def __init__(self, state: CollectionState, shifted: Sequence[Shift]) -> None:
        self.state = state
        self._shifted = shifted
        self._pairs = _pairs(shifted, state.types)
        self._followers = Followers((side for one in self._pairs.values() for side in one.sides), state)

    async def look(self, store: SyncStore) -> list[Outcome]:
        """At the head of the state."""
        await self._followers.look(store, self.state)
        names, pairs = _names(self.state), self._pairs
        async for page in pages(store, self.state):
            members = await self._followers.members([seen.object for seen in page])
            for seen in page:
                for pair in pairs.values():
                    before, after = pair.moves(seen, members)
                    if before != after:
                        pair.tally.count(ObjectId(names.get(seen.type, ""), seen.key), before, after)
        alike = [(one, pairs[one._replace(device="")]) for one in self._shifted]
        return [Outcome(one.device, one.collection, pair.tally, pair.note) for one, pair in alike]

    async def moved(self, store: SyncStore, now: CollectionState) -> bool:
        """Whether what was committed since the state touches an object that moves; else the state is ``now``."""
        then = self.state
        if then.types != now.types or then.epoch != now.epoch:
            return True
        cursor = then.head
        while cursor < now.head:
            chunk = await store.read(ChunkRequest(now.name, ALL, then.head, 0, cursor), PAGE_ROWS, PAGE_BYTES)
            for row in chunk.rows:
                versions = await store.history(now.name, row.type, row.key, Limits().history_versions_max)
                before = next((one.fields for one in versions if one.seq <= then.head), None)
                if await self._touches(row.type, row.key, (before, row.fields)):
                    return True
            if chunk.last <= cursor:
                return True  # what was committed last cannot be read yet
            cursor = chunk.last
        self.state = now
        return False

    async def _touches(self, type_: int, key: bytes, versions: tuple[bytes | None, bytes | None]) -> bool:
        sides = [None if fields is None else Seen(type_, key, fields) for fields in versions]
        if not await self._followers.stays((type_, key), *sides):
            return True
        members = await self._followers.members([(type_, key)])
        moves = [pair.moves(seen, members) for seen in sides if seen is not None for pair in self._pairs.values()]
        return any(held != after for held, after in moves)

    async def close(self) -> None:
        await self._followers.close()


# ---------------------------------------------------------------- other objects


class Counting:
    """What moves on devices, and in this primary's application, when objects become others: a page after the other."""

    def __init__(self, state: CollectionState, takers: Access) -> None:
        self._state, self._names = state, _names(state)
        there = ((device, takes) for (device, name), takes in takers.items() if name == state.name)
        self._takers = {device: takes for device, takes in there if takes is not None}
        counted = {one for one in self._takers.values() if not one.follow}
        self._views = {one: (View(one, state.types), Tally()) for one in counted}
        self._touched = False
        self._application: Tally | None = None

    def on_devices(self, changes: Sequence[Change]) -> None:
        self._touched = self._touched or bool(changes)
        for view, tally in self._views.values():
            self._count(changes, view, tally)

    def in_application(self, changes: Sequence[Change]) -> None:
        self._application = self._application or Tally()
        self._count(changes, View(ALL, self._state.types), self._application)

    def _count(self, changes: Sequence[Change], view: View, tally: Tally) -> None:
        for type_, key, *sides in changes:
            before, after = (None if side is None else view.held(Seen(type_, key, side)) for side in sides)
            tally.count(ObjectId(self._names.get(type_, ""), key), before, after)

    def outcomes(self) -> list[Outcome]:
        here = [] if self._application is None else [Outcome("", self._state.name, self._application)]
        return here + [self._outcome(device, takes) for device, takes in self._takers.items()]

    def _outcome(self, device: str, takes: Selection) -> Outcome:
        if takes.follow:
            return Outcome(device, self._state.name, Tally(), _BY_REFERENCE if self._touched else "")
        return Outcome(device, self._state.name, self._views[takes][1])

    @property
    def whole(self) -> bool:
        """Whether all that moves is counted."""
        return not self._touched or not any(takes.follow for takes in self._takers.values())


def _names(state: CollectionState) -> dict[int, str]:
    return {one.id: one.name for one in state.types}
