"""What is in a class by references alone (R8): found by reading a published state; the class need not be there.

A round over the state, a page at a time, takes in what was reached by then; there are as many as references are deep.
Kept are the keys of what is referenced, and nothing of the rest (R15). Raises UserError where it would be too much.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection

from syncd.adapters.references import referenced
from syncd.core.errors import UserError
from syncd.core.loss import Leaving
from syncd.core.ports import CollectionState, SyncStore
from syncd.core.references import Object
from syncd.core.selection import ALL, Chooser, Selection, chooser
from syncd.settings_guard import counted
from syncd.views import Seen, View, fits

PAGE_ROWS = 500  # objects of one turn, which takes a few milliseconds
PAGE_BYTES = 2 * 1024 * 1024
REACHED_MAX = 200_000  # objects that references lead to
ROUNDS_MAX = 64
_TOO_MUCH = "more is referenced than can be looked at beforehand"
NONE_LENT: frozenset[Object] = frozenset()


async def standing(store: SyncStore, state: CollectionState) -> AsyncIterator[Seen]:
    """All objects of the published state, others get their turn between two pages. Raises UserError where former
    versions were forgotten meanwhile."""
    cursor = 0
    while cursor < state.head:
        page = await store.stood(state.name, state.head, cursor, PAGE_ROWS, PAGE_BYTES)
        if not page.whole:
            raise UserError(f"former versions of {state.name} were forgotten while it was looked at", "ask again")
        for row in page.rows:
            yield Seen(row.type, row.key, row.fields)
        cursor = page.last
        await asyncio.sleep(0)


async def lent(
    store: SyncStore, state: CollectionState, selection: Selection | None, certain: bool = False
) -> Collection[Object]:
    """The objects that are in the class because of references, and not by themselves. What cannot be read references
    nothing; ``certain``: then UserError is raised."""
    if selection is None or not selection.follow or not fits(selection, state.types):
        return NONE_LENT
    chosen, view = chooser(selection, state.types), View(selection, state.types)
    reached, met = set[Object](), set[Object]()
    for number in range(ROUNDS_MAX):
        before = len(reached)
        async for seen in standing(store, state):
            one = seen.type, seen.key
            if view.takes_itself(seen):
                reached.update(_targets(chosen, view, seen) if not number else ())
            elif one in reached and one not in met:
                met.add(one)
                reached.update(_targets(chosen, view, seen))
            if certain and seen.type in chosen.follows and not view.reads(seen):
                raise UserError("what an object references cannot be read", "`syncd status` names it")
            if len(reached) > REACHED_MAX:
                raise UserError(f"{_TOO_MUCH}: over {REACHED_MAX:,} objects", "follow fewer foreign keys")
        if len(reached) == before and number:
            return frozenset(met)
    raise UserError(f"{_TOO_MUCH}: over {ROUNDS_MAX:,} references in a row", "follow fewer foreign keys")


def _targets(chosen: Chooser, view: View, seen: Seen) -> tuple[Object, ...]:
    foreign_keys = chosen.follows.get(seen.type, ())
    if not foreign_keys or not view.reads(seen):
        return ()
    key, fields = seen.values
    return referenced(foreign_keys, (*key, *fields))


async def losing(store: SyncStore, rows_max: int, name: str, shift: tuple[Selection, Selection]) -> Leaving:
    """``settings_guard.counted``, also where the later selection follows references. Where these cannot be looked at,
    all that it does not take by itself counts as lost: rather too much is held than too little."""
    had, takes = shift
    state = await store.open_collection(name)
    if not takes.follow or not state.imported or not fits(takes, state.types):
        return await counted(store, rows_max, name, shift)
    try:
        had = had if fits(had, state.types) else ALL
        before = View(had, state.types, await lent(store, state, had))
        after = View(takes, state.types, await lent(store, state, takes))
        objects = of = 0
        async for seen in standing(store, state):
            if before.held(seen) is not None:
                of += 1
                objects += after.held(seen) is None
    except UserError:
        return await counted(store, rows_max, name, shift)
    return Leaving(objects, of, 0)
