"""What a change of settings takes away from which devices, and whether the guard holds it (R8, R13).

``losses`` answers for any change, before it is made: settings that are set, and a preview of them, ask the same.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from syncd.core.loss import Holder, Leaving, Losing, Loss, shifts
from syncd.core.preferences import Preferences
from syncd.core.selection import Selection

Counting = Callable[[str, tuple[Selection, Selection]], Awaitable[Leaving]]


async def counted(store: Losing, rows_max: int, name: str, shift: tuple[Selection, Selection]) -> Leaving:
    """How many objects leave a device whose selection becomes another one; read in parts, so that nobody waits."""
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
