"""What becomes of the objects that devices hold when they take others, or when objects change (R8): counted, not kept.

The sync store is read a page at a time, all pages of one published state, so that nobody waits for it and no more than
a page is in memory (R15).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from syncd.core.edits import Direction
from syncd.core.errors import UserError
from syncd.core.foreseen import Outcome, Shift, Tally
from syncd.core.model import DataType, ObjectId
from syncd.core.ports import ChunkRequest, CollectionState, SyncStore
from syncd.core.preferences import Place, Preferences
from syncd.core.references import Object
from syncd.core.selection import ALL, Selection
from syncd.core.settings import Limits
from syncd.known import Known
from syncd.lent import NONE_LENT, PAGE_BYTES, PAGE_ROWS, lent, standing
from syncd.views import Seen, View, fits

Lent = Mapping[Selection | None, Collection[Object]]  # what is in a class that follows references by these alone
Access = Mapping[
    tuple[str, str], Selection | None
]  # device and collection -> what it takes, None where it is sent nothing
_UNKNOWN = "at most: what it holds of these already is not known"
_ITSELF = "beside that, what these reference may come or go with them"
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

    def __init__(self, shift: Shift, types: Sequence[DataType], lent: Lent) -> None:
        self.keeps = shift.after is None
        self.unknown = shift.unknown or not fits(shift.before, types)
        self._before = View(None if self.unknown else shift.before, types, lent.get(shift.before, NONE_LENT))
        self._after = View(shift.after, types, lent.get(shift.after, NONE_LENT))
        self.tally = Tally()

    @property
    def note(self) -> str:
        return _NO_MORE if self.keeps else _UNKNOWN if self.unknown else ""

    def moves(self, seen: Seen) -> tuple[bytes | None, bytes | None]:
        """The object as it is held before and after."""
        before, after = self._before.held(seen), self._after.held(seen)
        if self.keeps:
            return before, before
        return (seen.fields if self.unknown and after is None else before), after


async def lent_of(store: SyncStore, state: CollectionState, takes: Iterable[Selection | None]) -> Lent:
    """For selections that follow references."""
    return {one: await lent(store, state, one) for one in {*takes} if one is not None and one.follow}


def _sides(shifted: Iterable[Shift]) -> list[Selection | None]:
    return [takes for one in shifted for takes in (one.before, one.after)]


def _pairs(shifted: Iterable[Shift], types: Sequence[DataType], lent: Lent) -> dict[Shift, _Pair]:
    """Devices that had, and get, the same share one."""
    return {one: _Pair(one, types, lent) for one in {shift._replace(device="") for shift in shifted}}


async def of_shifts(store: SyncStore, state: CollectionState, shifted: Sequence[Shift]) -> list[Outcome]:
    """What moves on devices that take other objects of one collection."""
    pairs, names = _pairs(shifted, state.types, await lent_of(store, state, _sides(shifted))), _names(state)
    async for seen in standing(store, state):
        for pair in pairs.values():
            before, after = pair.moves(seen)
            if before != after:
                pair.tally.count(ObjectId(names.get(seen.type, ""), seen.key), before, after)
    alike = [(one, pairs[one._replace(device="")]) for one in shifted]
    return [Outcome(one.device, one.collection, pair.tally, pair.note) for one, pair in alike]


async def moved(store: SyncStore, then: CollectionState, now: CollectionState, shifted: Sequence[Shift]) -> bool:
    """Whether what was committed between two states touches an object that moves between the selections."""
    if then.types != now.types or then.epoch != now.epoch:
        return True
    by_reference = await lent_of(store, now, _sides(shifted)) if now.head > then.head else {}
    if by_reference and by_reference != await lent_of(store, then, _sides(shifted)):
        return True
    pairs, cursor = _pairs(shifted, now.types, by_reference), then.head
    while cursor < now.head:
        request = ChunkRequest(now.name, ALL, then.head, 0, cursor)
        chunk = await store.read(request, PAGE_ROWS, PAGE_BYTES)
        for row in chunk.rows:
            versions = await store.history(now.name, row.type, row.key, Limits().history_versions_max)
            before = next((one.fields for one in versions if one.seq <= then.head), None)
            for fields in (before, row.fields):
                seen = None if fields is None else Seen(row.type, row.key, fields)
                if seen is not None and any(
                    held != after for held, after in (one.moves(seen) for one in pairs.values())
                ):
                    return True
        if chunk.last <= cursor:
            return True  # what was committed last cannot be read yet
        cursor = chunk.last
    return False


# ---------------------------------------------------------------- other objects


class Counting:
    """What moves on devices, and in this primary's application, when objects become others: a page after the other.
    ``lent``: see ``lent_of``. What begins or ceases to be referenced by that is not counted, which a note says."""

    def __init__(self, state: CollectionState, takers: Access, lent: Lent) -> None:
        self._state, self._names = state, _names(state)
        self._takers = {one: takes for one, takes in takers.items() if one[1] == state.name and takes is not None}
        views = {one: View(one, state.types, lent.get(one, NONE_LENT)) for one in {*self._takers.values()}}
        self._views = {one: (view, Tally()) for one, view in views.items()}
        self._application: Tally | None = None

    def on_devices(self, changes: Sequence[Change]) -> None:
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
        return here + [self._outcome(*at, takes) for at, takes in self._takers.items()]

    def _outcome(self, device: str, name: str, takes: Selection) -> Outcome:
        tally = self._views[takes][1]
        return Outcome(device, name, tally, _ITSELF if takes.follow and tally.moves else "")


def _names(state: CollectionState) -> dict[int, str]:
    return {one.id: one.name for one in state.types}
