"""What a device of a class that follows references holds is the filter and all that it references, applied to the
primary's state at its position: for random tables that reference each other and themselves, edits, groups of many
batches, fillings between commits, comparisons, and stores opened again (R2-R5, R8, R14)."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncd.adapters.canonical import pack_values
from syncd.core.model import DataType, Reference
from syncd.core.selection import Selection
from syncd.core.settings import Limits
from syncd.store.memory import MemorySyncStore
from syncd.store.sync_store import SqliteSyncStore
from tests.contract.sync_store_kit import NAME
from tests.contract.test_sync_store_classes_random import Fields, Thing, Wanted, World, arrives

OF_ITEM, OF_NOTE = (Reference(("note",), "note"),), (Reference(("next",), "note"), Reference(("item",), "item"))
NARROW = (
    DataType(0, "item", ("id",), ("country", "note"), references=OF_ITEM),
    DataType(0, "note", ("id",), ("next", "item"), references=OF_NOTE),
)
WIDE = (DataType(0, "item", ("id",), ("country", "note", "extra"), references=OF_ITEM), NARROW[1])
FOLLOWED = {
    "item.note": ("item", "note", "note"),
    "note.next": ("note", "next", "note"),
    "note.item": ("note", "item", "item"),
}
KEYS = range(5)  # as those of the world

filters = st.sampled_from(
    [
        ({"where": 'country == "FR"'}, lambda type_, key, has: has.get("country") == "FR"),
        ({"where": 'country == "FR" or id == 0'}, lambda type_, key, has: has.get("country") == "FR" or key == 0),
        ({"where": 'type == "item" and id < 2'}, lambda type_, key, has: type_ == "item" and key < 2),
        ({"where": "next is None and id > 2"}, lambda type_, key, has: has.get("next") is None and key > 2),
        ({"tables": ("item",)}, lambda type_, key, has: type_ == "item"),
        ({"keys": ("note/1", "item/2")}, lambda type_, key, has: (type_, key) in {("note", 1), ("item", 2)}),
    ]
)
follows = st.lists(st.sampled_from(sorted(FOLLOWED)), max_size=3, unique=True)
left_out = st.sampled_from([(), (), ("item.country",)])


def _wanted(filter_: tuple[dict[str, Any], Any], follow: list[str], without: tuple[str, ...]) -> Wanted:
    selection = Selection(**filter_[0], follow=tuple(follow), without=without)
    return Wanted(selection, filter_[1], lambda name: name not in without)


wanted = st.builds(_wanted, filters, follows, left_out)
link = st.none() | st.sampled_from(KEYS)
edits = st.dictionaries(
    st.tuples(st.sampled_from(["item", "note"]), st.sampled_from(KEYS)),
    st.none() | st.tuples(st.sampled_from(["FR", "DE", None]), link, link),
    min_size=1,
    max_size=4,
)
few = st.integers(1, 4)
step = st.one_of(
    st.tuples(st.just("edit"), edits, st.booleans()),
    st.tuples(st.just("edit"), edits, st.just(True)),
    st.tuples(st.just("edit"), edits, st.just(True)),
    st.tuples(st.just("open"), st.integers(0, 1), few),
    st.tuples(st.just("drop"), st.integers(0, 1), few),
    st.tuples(st.just("prune"), st.integers(0, 2), few),
    st.tuples(st.just("take"), st.integers(0, 3), few),
    st.tuples(st.just("take"), st.integers(0, 3), st.just(100)),
    st.tuples(st.just("device"), st.integers(0, 1), few),
    st.tuples(st.just("fail"), edits, st.booleans()),
    st.tuples(st.just("compare"), edits, few),
    st.tuples(st.just("reshape"), few, few),
    st.tuples(st.just("reopen"), few, few),
)
PRELUDE: list[tuple[str, object, object]] = [
    ("edit", {("item", key): (("FR", "DE", None)[key % 3], (key + 1) % 5, None) for key in KEYS[:4]}, True),
    ("edit", {("note", key): (None, (key + 1) % 3, key) for key in KEYS[:3]}, True),
    *((name, of, 9) for of in (0, 1) for name in ("open", "device")),
    ("take", 0, 9),
    ("take", 1, 2),
]


@dataclass
class LinkedWorld(World):
    types: tuple[DataType, ...] = NARROW

    async def begin(self) -> None:
        for store in self.stores:
            await store.open_collection(NAME)
        await self.set_types(NARROW)

    def fields(self, thing: Thing, values: tuple[Any, ...]) -> Fields:
        country, first, second = values
        if thing[0] == "note":
            return (first, second)
        return (country, first) if self.types is NARROW else (country, first, "more")

    def filtered(self, of: int, things: dict[Thing, Fields]) -> dict[Thing, bytes]:
        one, names = self.wanted[of], {type_.name: type_.fields for type_ in self.types}
        has = {thing: dict(zip(names[thing[0]], fields, strict=True)) for thing, fields in things.items()}
        queue, members = [thing for thing in things if one.takes(*thing, dict(has[thing]))], set[Thing]()
        while queue:
            thing = queue.pop()
            if thing in members or thing not in things:
                continue
            members.add(thing)
            for type_, column, to in (FOLLOWED[name] for name in one.selection.follow):
                if thing[0] == type_ and isinstance(key := has[thing][column], int):
                    queue.append((to, key))
        kept = {
            thing: [has[thing][name] for name in names[thing[0]] if one.kept(f"{thing[0]}.{name}")] for thing in members
        }
        return {thing: pack_values(values) for thing, values in kept.items()}

    async def open(self, of: int, rows_max: int) -> None:
        """Of what is published: what one that waits leads to a device may hear of before it is."""
        await self.keep([], True)
        await super().open(of, rows_max)

    async def compare(self, edited: dict[Thing, tuple[Any, ...] | None], page: int) -> None:
        """All of it is compared, in pages between which some of it changes; what is gone is found by that."""
        for store in self.stores:
            await store.begin_scan(NAME)
        lost = [thing for thing, values in edited.items() if values is None]
        for thing in lost:
            self.now.pop(thing, None)
        things = sorted(self.now)
        changed = {thing: self.fields(thing, values) for thing, values in edited.items() if values is not None}
        for at in range(0, len(things), page):
            await self.keep([self.observed(thing, self.now[thing]) for thing in things[at : at + page]], False)
            if at == 0:
                self.now |= changed
                await self.keep([self.observed(*one) for one in changed.items()], False)
        while True:
            gone = [await store.unseen(NAME, 2) for store in self.stores]
            counts = [len(await store.unseen(NAME, 1_000)) for store in self.stores]
            assert counts[0] == counts[1]
            if not counts[0]:
                break
            left = set(await self.twin.unseen(NAME, 100))
            assert set(gone[0]) <= left
            await self.keep(list(left), False)
        await self.keep([], True, end_scan=True)

    async def reshape(self, *_: int) -> None:
        await self.set_types(WIDE if self.types is NARROW else NARROW)
        more = () if self.types is NARROW else ("more",)
        for state in (self.now, self.published):
            state |= {thing: (*fields[:2], *more) for thing, fields in state.items() if thing[0] == "item"}
        await self.compare({}, 2)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(wanted, min_size=2, max_size=2, unique_by=lambda one: one.selection),
    st.lists(step, min_size=25, max_size=40),
)
def test_a_device_holds_what_its_selection_takes_and_what_that_references(
    wanted: list[Wanted], steps: list[tuple[str, object, object]]
) -> None:
    async def play() -> None:
        async with AsyncExitStack() as stack:
            path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "store.db"
            world = LinkedWorld(wanted, await SqliteSyncStore.open(path, Limits()), MemorySyncStore(), path)
            stack.push_async_callback(lambda: world.real.close())  # noqa: PLW0108, another one after reopening
            await world.begin()
            for name, *given_ in [*PRELUDE, *steps, ("edit", {}, True)]:
                await getattr(world, name)(*given_)
                await world.check()
            for at in range(len(world.devices)):
                await arrives(world, at)

    asyncio.run(play())
