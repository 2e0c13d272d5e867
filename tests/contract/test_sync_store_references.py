"""Classes that follow references, for the store in SQLite and its twin in memory: what comes and goes because of
others, in circles too (R2, R5, R7, R8)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio

from syncd.adapters.canonical import Value, pack_values, unpack_values
from syncd.core.edits import Edit
from syncd.core.guard import Guard
from syncd.core.holding import Batch
from syncd.core.model import DataType, Kind, Observed, Reference, Tie
from syncd.core.ports import ChunkRequest, CollectionState, SyncStore
from syncd.core.query_builder import build
from syncd.core.selection import ALL, Selection
from tests.contract.sync_store_kit import BYTES_MAX, NAME, opened

pytestmark = pytest.mark.asyncio
PERSON = DataType(0, "person", ("id",), ("boss", "name"), references=(Reference(("boss",), "person"),))
SALE = DataType(0, "sale", ("id",), ("country", "person"), references=(Reference(("person",), "person"),))
FRENCH = Selection('country == "FR"', follow=("sale.person", "person.boss"))
Thing = tuple[str, int]
Values = tuple[Value, ...]


@dataclass
class Shop:
    """``ids``: of the types, by name. ``heard``: what a device of the class was told since it was last asked."""

    store: SyncStore
    ids: dict[str, int] = field(default_factory=dict)
    now_us: int = 0
    base: int = 0
    floor: int = 0
    cursor: int = 0
    holds: dict[Thing, Values] = field(default_factory=dict)
    heard: set[tuple[str, Thing]] = field(default_factory=set)
    ties: list[Tie] = field(default_factory=list)

    def observed(self, things: Mapping[Thing, Values | None]) -> list[Observed]:
        return [
            Observed(self.ids[type_], pack_values([key]), None if values is None else pack_values(values))
            for (type_, key), values in things.items()
        ]

    async def keep(
        self, things: Mapping[Thing, Values | None], publish: bool = True, guard: Guard | None = None, **more: bool
    ) -> CollectionState:
        self.now_us += 1
        loose = more.get("end_scan", False)
        return await self.store.keep(
            NAME, Batch(self.observed(things), publish, loose, guard=guard, **more), self.now_us
        )

    async def catch_up(self) -> dict[Thing, Values]:
        """What the device holds at the head."""
        names, self.heard, self.ties = {number: name for name, number in self.ids.items()}, set(), []
        while True:
            request = ChunkRequest(NAME, FRENCH, self.base, self.floor, self.cursor)
            chunk = await self.store.read(request, 2, BYTES_MAX)
            for message in build(request, chunk).messages():
                (key,) = unpack_values(message.key)
                assert isinstance(key, int)
                thing = names[message.type], key
                self.heard.add((message.kind.name.lower(), thing))
                if message.kind is Kind.DELETE:
                    self.holds.pop(thing, None)
                else:
                    self.holds[thing] = tuple(unpack_values(message.fields))
            self.cursor = chunk.last
            self.ties += chunk.ties
            if chunk.proof is not None:
                self.base, self.floor = chunk.proof.seq, 0
                assert chunk.proof.objects == len(self.holds)
                return self.holds


@pytest_asyncio.fixture(params=["sqlite", "memory"])
async def shop(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Shop]:
    """1 is the boss of 2, who made a French sale; 3 made a German one."""
    async with opened(request.param, tmp_path) as store:
        await store.open_collection(NAME)
        types = await store.set_source(NAME, "source", [PERSON, SALE])
        made = Shop(store, {one.name: one.id for one in types})
        await store.begin_scan(NAME)
        await made.keep(
            {
                ("sale", 1): ("FR", 2),
                ("sale", 2): ("DE", 3),
                ("person", 1): (None, "a"),
                ("person", 2): (1, "b"),
                ("person", 3): (None, "c"),
            },
            publish=False,
        )
        await made.keep({}, end_scan=True)
        while (await store.open_class(NAME, FRENCH, 2)).of(FRENCH) is None:
            pass
        await made.catch_up()
        yield made


def things(shop: Shop) -> set[Thing]:
    return set(shop.holds)


async def test_what_it_takes_references_is_in_it(shop: Shop) -> None:
    assert things(shop) == {("sale", 1), ("person", 2), ("person", 1)}


async def test_what_comes_and_goes_because_of_others_does_so_in_their_group(shop: Shop) -> None:
    before = await shop.store.open_collection(NAME)
    state = await shop.keep({("sale", 2): ("FR", 3)})
    chunk = await shop.store.read(ChunkRequest(NAME, FRENCH, before.head, 0, before.head), 100, BYTES_MAX)
    assert [(one.type, one.change) for one in chunk.rows] == [
        (shop.ids["sale"], before.head + 1),
        (shop.ids["person"], before.head + 2),
    ]
    assert [(group.seq, group.objects) for group in chunk.groups] == [(state.head, 2)]
    await shop.catch_up()
    assert shop.heard == {("add", ("sale", 2)), ("add", ("person", 3))}
    await shop.keep({("sale", 1): None})
    await shop.catch_up()
    assert shop.heard == {("delete", ("sale", 1)), ("delete", ("person", 2)), ("delete", ("person", 1))}


async def test_what_another_still_references_stays(shop: Shop) -> None:
    await shop.keep({("sale", 3): ("FR", 2)})
    await shop.keep({("sale", 1): None})
    await shop.catch_up()
    assert things(shop) == {("sale", 3), ("person", 2), ("person", 1)}
    assert shop.heard == {("delete", ("sale", 1)), ("add", ("sale", 3))}


async def test_what_only_a_circle_holds_goes(shop: Shop) -> None:
    await shop.keep({("person", 1): (2, "a")})
    await shop.catch_up()
    assert things(shop) == {("sale", 1), ("person", 2), ("person", 1)}
    await shop.keep({("person", 3): (3, "its own boss"), ("sale", 1): ("DE", 2)})
    await shop.catch_up()
    assert things(shop) == set()
    await shop.keep({("sale", 2): ("FR", 3), ("sale", 1): ("FR", 1)})
    await shop.catch_up()
    assert things(shop) == {("sale", 1), ("sale", 2), *(("person", number) for number in (1, 2, 3))}


async def test_what_is_referenced_before_it_is_there_comes_when_it_is(shop: Shop) -> None:
    await shop.keep({("sale", 4): ("FR", 9)})
    await shop.catch_up()
    await shop.keep({("person", 9): (None, "late"), ("person", 8): (None, "of nobody")})
    await shop.catch_up()
    assert shop.heard == {("add", ("person", 9))}


async def test_a_device_of_everything_hears_of_it_as_it_is_and_its_history_does_not(shop: Shop) -> None:
    head = (await shop.store.open_collection(NAME)).head
    await shop.keep({("sale", 2): ("FR", 3)})
    chunk = await shop.store.read(ChunkRequest(NAME, ALL, head, 0, head), 100, BYTES_MAX)
    assert [(one.type, one.fields) for one in chunk.rows] == [
        (shop.ids["sale"], pack_values(["FR", 3])),
        (shop.ids["person"], pack_values([None, "c"])),
    ]
    versions = await shop.store.history(NAME, shop.ids["person"], pack_values([3]), 10)
    (fact,) = await shop.store.facts(NAME, [Edit(shop.ids["person"], pack_values([3]), None, None)])
    assert fact.changed_us == 2
    assert [(one.seq, one.fields) for one in versions] == [(head, pack_values([None, "c"]))]
    seq = (await shop.store.open_collection(NAME)).head
    assert [one.type for one in await shop.store.inverse(NAME, seq)] == [shop.ids["sale"]]


async def test_groups_that_share_what_came_because_of_others_are_tied(shop: Shop) -> None:
    first = (await shop.keep({("sale", 2): ("FR", 3)})).head
    second = (await shop.keep({("person", 3): (None, "again")})).head
    await shop.catch_up()
    assert Tie(first, second) in shop.ties


async def test_what_a_comparison_has_not_seen_is_gone_also_if_it_came_because_of_others_meanwhile(shop: Shop) -> None:
    await shop.store.begin_scan(NAME)
    await shop.keep({("sale", 2): ("FR", 3), ("sale", 1): ("FR", 2)}, publish=False)
    await shop.keep({("person", 2): (1, "b")}, publish=False)
    unseen = {unpack_values(one.key)[0] for one in await shop.store.unseen(NAME, 10)}
    assert unseen == {1, 3}
    assert len(await shop.store.unseen(NAME, 10)) == 2
    await shop.keep({("person", 3): (None, "c")}, publish=False)
    assert len(await shop.store.unseen(NAME, 10)) == 1
    await shop.keep({("person", 1): None}, publish=False)
    assert len(await shop.store.unseen(NAME, 10)) == 0
    await shop.keep({}, end_scan=True)
    await shop.catch_up()
    assert things(shop) == {("sale", 1), ("sale", 2), ("person", 2), ("person", 3)}


async def test_a_group_that_is_held_leaves_the_class_as_it_was(shop: Shop) -> None:
    guard = Guard(2, 20, 86_400.0)
    before = await shop.store.open_collection(NAME)
    await shop.keep({("sale", 2): ("FR", 3), ("person", 1): (3, "a")}, publish=False)
    state = await shop.keep(dict.fromkeys([("sale", 1), ("person", 2), ("sale", 2)]), guard=guard)
    assert state.held is not None
    while (state := await shop.store.open_class(NAME, FRENCH, 2)).of(FRENCH) is None:
        pass
    (was,), (now,) = before.classes, state.classes
    assert (was.digest, was.objects) == (now.digest, now.objects)
    assert was.epoch != now.epoch
    shop.base, shop.cursor, shop.floor = 0, 0, now.head
    shop.holds.clear()
    await shop.catch_up()
    assert things(shop) == {("sale", 1), ("person", 2), ("person", 1)}
    await shop.keep({("sale", 3): ("FR", 3)})
    await shop.catch_up()
    assert things(shop) == {("sale", 1), ("sale", 3), ("person", 3), ("person", 2), ("person", 1)}


async def test_a_group_that_is_held_whole_costs_the_class_nothing(shop: Shop) -> None:
    before = await shop.store.open_collection(NAME)
    gone = dict.fromkeys([("sale", 1), ("person", 2), ("sale", 2)])
    state = await shop.keep(gone, guard=Guard(2, 20, 86_400.0))
    assert state.held is not None
    assert state.classes == before.classes


async def test_other_columns_fill_the_class_anew(shop: Shop) -> None:
    before = (await shop.store.open_collection(NAME)).classes[0].epoch
    await shop.store.set_source(NAME, "source", [PERSON, SALE])
    assert (await shop.store.open_collection(NAME)).classes[0].epoch == before
    loose = DataType(0, "person", ("id",), ("boss", "name"))
    await shop.store.set_source(NAME, "source", [loose, SALE])
    broken = (await shop.store.open_collection(NAME)).classes[0].broken
    assert broken == "'person.boss' is no foreign key that holds the primary key of a shared table"
    await shop.store.set_source(NAME, "source", [PERSON, SALE])
    assert (await shop.store.open_collection(NAME)).classes[0].epoch != before


async def test_the_store_says_what_is_in_the_class_and_what_has_left_it(shop: Shop) -> None:
    await shop.keep({("sale", 1): ("FR", 3)})
    persons = [(shop.ids["person"], pack_values([number])) for number in (1, 2, 3, 4)]
    assert await shop.store.in_class(NAME, FRENCH, persons) == ({persons[2]}, {persons[0], persons[1]})
    assert await shop.store.in_class(NAME, Selection('country == "IT"'), persons) == (set(), set())
