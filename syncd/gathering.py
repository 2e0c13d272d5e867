"""What selections take that follow references, at a state of a collection: looked up in one walk over its objects (R8).

The walk and what follows from it are of one published state: what is committed meanwhile does not matter. It goes a
page at a time, so that nobody waits for it, and no more than a page is in memory (R15).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence, Set
from contextlib import AsyncExitStack

from syncd.core.errors import ExpressionError, UserError
from syncd.core.gathered import Gathered, Met
from syncd.core.loss import Leaving
from syncd.core.model import DataType
from syncd.core.ports import CollectionState, SyncStore
from syncd.core.references import Object
from syncd.core.selection import ALL, Selection
from syncd.views import Seen, View

PAGE_ROWS = 500  # objects of one turn, which takes a few milliseconds
PAGE_BYTES = 2 * 1024 * 1024
Members = Mapping[Selection | None, Set[Object]]  # of the objects asked about, those that a selection takes


async def pages(store: SyncStore, state: CollectionState) -> AsyncIterator[Sequence[Seen]]:
    """All objects of a collection as they stood at the head of ``state``. Raises UserError where they are forgotten."""
    cursor = 0
    while cursor < state.head:
        page = await store.stood(state.name, state.head, cursor, PAGE_ROWS, PAGE_BYTES)
        if not page.whole:
            raise UserError(f"former versions of {state.name} were forgotten while it was looked at", "ask again")
        yield [Seen(row.type, row.key, row.fields) for row in page.rows]
        cursor = page.last
        await asyncio.sleep(0)


class Followers:
    """Selections of one collection that follow references, and what they take. ``close`` it at the end."""

    def __init__(self, selections: Iterable[Selection | None], state: CollectionState) -> None:
        follow = [one for one in dict.fromkeys(selections) if one is not None and one.follow]
        self._views = {one: (number, View(one, state.types)) for number, one in enumerate(follow)}
        self._stack = AsyncExitStack()
        self._gathered: Gathered | None = None

    async def look(self, store: SyncStore, state: CollectionState) -> None:
        if not self._views:
            return
        self._gathered = gathered = await self._stack.enter_async_context(store.gather())
        async for page in pages(store, state):
            for number, view in self._views.values():
                met = (Met(one.object, view.takes_by_itself(one), view.leads_to(one)) for one in page)
                await gathered.add(number, [one for one in met if one.own or one.targets])
        await gathered.spread()

    async def members(self, objects: Sequence[Object]) -> Members:
        """Those of the objects, which are there, that each takes."""
        if self._gathered is None:
            return {}
        return {one: await self._gathered.among(number, objects) for one, (number, _) in self._views.items()}

    async def stays(self, object_: Object, before: Seen | None, after: Seen | None) -> bool:
        """Whether what they take stays the same, but for what the object itself is, when it becomes another; None: it
        is not there. In doubt it does not."""
        gathered = self._gathered
        if gathered is None:
            return not self._views
        for number, view in self._views.values():
            if object_ not in await gathered.among(number, [object_]):
                if after is not None and view.takes_by_itself(after):
                    return False
                continue
            if before is None or after is None or (view.takes_by_itself(before) and not view.takes_by_itself(after)):
                return False
            if set(view.leads_to(after)) != await gathered.led_from(number, object_):
                return False
        return True

    async def close(self) -> None:
        await self._stack.aclose()


def fits(selection: Selection | None, types: Sequence[DataType]) -> bool:
    """Whether it can be applied; else its devices keep what they hold."""
    try:
        if selection is not None:
            selection.check(types)
    except ExpressionError:
        return False
    return True


async def leaving(store: SyncStore, name: str, shift: tuple[Selection, Selection]) -> Leaving:
    """As ``core.loss.Losing`` tells it of selections that follow none, at once for all objects."""
    state = await store.open_collection(name)
    if not state.imported or not fits(shift[1], state.types):
        return Leaving(0, 0, 0)
    sides = (shift[0] if fits(shift[0], state.types) else ALL), shift[1]
    followers, views, objects, of = Followers(sides, state), [View(one, state.types) for one in sides], 0, 0
    try:
        await followers.look(store, state)
        async for page in pages(store, state):
            members = await followers.members([seen.object for seen in page])
            for seen in page:
                known = (seen.object in members[one] if one in members else None for one in sides)
                before, after = (
                    bool(view.takes(seen)) if taken is None else taken for view, taken in zip(views, known, strict=True)
                )
                of += before
                objects += before and not after
    finally:
        await followers.close()
    return Leaving(objects, of, 0)
