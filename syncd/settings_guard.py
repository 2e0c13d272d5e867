"""What a change of settings takes away from which devices, and whether the guard holds it (R8, R13).

``losses`` answers for any change, before it is made: settings that are set, and a preview of them, ask the same. What
is held was not set at all: every device takes what it took before, whatever is started anew or paired again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from syncd.core.devices import SyncDatabase
from syncd.core.loss import Holder, Leaving, Loss, shifts, too_much
from syncd.core.ports import SyncStore
from syncd.core.preferences import Chosen, Preferences, with_chosen
from syncd.core.selection import Selection
from syncd.core.settings import Limits
from syncd.gathering import leaving

Counting = Callable[[str, tuple[Selection, Selection]], Awaitable[Leaving]]
TAKES_AWAY = {"selection", "direction"}  # settings that may
SHOWN_MAX = 3  # devices that a reason names


async def counted(store: SyncStore, rows_max: int, name: str, shift: tuple[Selection, Selection]) -> Leaving:
    """How many objects leave a device whose selection becomes another one; read in parts, so that nobody waits."""
    if any(one.follow for one in shift):
        return await leaving(store, name, shift)
    objects = of = cursor = 0
    while True:
        part = await store.leaving(name, shift, cursor, rows_max)
        objects, of, cursor = objects + part.objects, of + part.of, part.cursor
        if not cursor:
            return Leaving(objects, of, 0)


async def losses(
    before: Preferences, after: Preferences, holders: Iterable[Holder], counting: Counting
) -> tuple[Loss, ...]:
    """What each device loses when settings become other ones. Devices that had, and get, the same selections are
    counted once."""
    known: dict[tuple[str, tuple[Selection, Selection]], Leaving] = {}
    found: list[Loss] = []
    for device, collection, *shift in shifts(before, after, holders):
        at = collection, (shift[0], shift[1])
        if at not in known:
            known[at] = await counting(*at)
        if known[at].objects:
            found.append(Loss(device, collection, known[at].objects, known[at].of))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class SettingsGuard:
    """``owners``: whose each collection is, by name. ``holding``: devices and collections of which they hold objects,
    as far as they reported."""

    database: SyncDatabase
    limits: Limits
    owners: Callable[[], Mapping[str, str]]
    holding: Callable[[], Awaitable[Iterable[tuple[str, str]]]]
    counting: Counting

    @property
    def window_us(self) -> int:
        return int(self.limits.guard_s * 1e6)

    async def losses(self, chosen: Sequence[Chosen]) -> tuple[Loss, ...]:
        """What these values would take away from devices. One that was cut off, or is not linked with the user, is sent
        nothing, and loses nothing."""
        if not any(one.name in TAKES_AWAY for one in chosen):
            return ()
        kept = await self.database.settings()
        before, after = (Preferences.of(self.limits, one) for one in (kept, with_chosen(kept, chosen)))
        return await losses(before, after, await self._holders(), self.counting)

    async def _holders(self) -> list[Holder]:
        users = {one.name: one.id for one in await self.database.users()}
        links, owners = set(await self.database.links()), self.owners()
        cut_off = {one.id for one in await self.database.all_devices() if one.revoked_us}
        return [
            Holder(device, collection, user)
            for device, collection in sorted(await self.holding())
            if (user := users.get(owners.get(collection, ""), 0), device) in links and device not in cut_off
        ]

    async def holds(self, lost: Iterable[Loss], now_us: int, shown: Sequence[Loss] = ()) -> bool:
        """Whether a person decides first. The guard is the one that counts before the change. ``shown``: what a person
        has seen already; only what is lost beyond it counts then."""
        known = {(one.device, one.collection): one.objects for one in shown}
        more = [one._replace(objects=one.objects - known.get((one.device, one.collection), 0)) for one in lost]
        if not any(one.objects > 0 for one in more):
            return False
        users = {one.name: one.id for one in await self.database.users()}
        chosen = Preferences.of(self.limits, await self.database.settings())
        spent = {} if shown else await self.database.taken_away(now_us - self.window_us)
        return any(
            too_much(
                chosen,
                users.get(self.owners().get(one.collection, ""), 0),
                one,
                spent.get((one.device, one.collection), 0),
            )
            for one in more
            if one.objects > 0
        )


def words(lost: Sequence[Loss], named: Callable[[str], str]) -> str:
    """What is taken away, for people. ``named``: what a device is called."""
    most = sorted(lost, key=lambda one: (-one.objects, one.device, one.collection))
    said = [
        f"{named(one.device)} would lose {one.objects:,} of the {one.of:,} objects of {one.collection} that it holds"
        for one in most[:SHOWN_MAX]
    ]
    if len(most) > SHOWN_MAX:
        said.append(f"and {len(most) - SHOWN_MAX:,} more")
    return ", ".join(said)
