"""What moves between selections of which any follows references is foreseen as the store's classes come to it (R8)."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from syncd.adapters.canonical import pack_values
from syncd.core.foreseen import Shift, Tally
from syncd.core.loss import Leaving
from syncd.core.model import Kind, ObjectId
from syncd.core.ports import ChunkRequest
from syncd.core.references import Object
from syncd.core.selection import ALL, Selection
from syncd.foresight import Moving
from syncd.settings_guard import counted
from tests.contract.sync_store_kit import BYTES_MAX, NAME, opened
from tests.contract.test_sync_store_references import PERSON, SALE, Shop, Thing, Values

pytestmark = pytest.mark.asyncio
SELECTIONS = [
    ALL,
    Selection('country == "FR"'),
    Selection('country == "FR"', follow=("sale.person",)),
    Selection('country == "FR"', follow=("sale.person", "person.boss")),
    Selection('country == "DE" or id == 3', follow=("sale.person", "person.boss")),
    Selection("id < 3", follow=("person.boss",), without=("person.name",)),
    Selection(tables=("sale",), follow=("sale.person",)),
]


@pytest_asyncio.fixture(params=["sqlite", "memory"])
async def shop(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Shop]:
    """Sales of persons who have bosses, nothing of them yet."""
    async with opened(request.param, tmp_path) as store:
        await store.open_collection(NAME)
        made = Shop(store, {one.name: one.id for one in await store.set_source(NAME, "source", [PERSON, SALE])})
        await store.begin_scan(NAME)
        await made.keep({}, end_scan=True)
        yield made


async def edit(shop: Shop, chance: random.Random, objects: int) -> None:
    things: dict[tuple[str, int], Values | None] = {}
    for _ in range(objects):
        one, other = chance.randrange(8), chance.choice([None, *range(8)])
        if chance.random() < 0.5:
            things["sale", one] = chance.choice([None, ("FR", other), ("DE", other), ("IT", other)])
        else:
            things["person", one] = chance.choice([None, (other, "a"), (other, "b"), (None, "a")])
    await shop.keep(things)


async def contents(shop: Shop, selection: Selection) -> dict[Object, bytes]:
    """What the store's class holds at its head."""
    await shop.store.open_class(NAME, selection, 1_000)
    chunk = await shop.store.read(ChunkRequest(NAME, selection, 0, 0, 0), 1_000, BYTES_MAX)
    told = {selection.told_id(number): number for number in shop.ids.values()}
    await shop.store.drop_class(NAME, selection)
    return {(told.get(row.type, row.type), row.key): row.fields for row in chunk.rows if row.fields is not None}


async def foreseen(shop: Shop, before: Selection, after: Selection) -> tuple[Moving, Tally]:
    moving = Moving(await shop.store.open_collection(NAME), [Shift("till", NAME, before, after)])
    (outcome,) = await moving.look(shop.store)
    return moving, outcome.tally


async def moving_of(shop: Shop, before: Selection, after: Selection) -> Tally:
    """What moves between what the classes hold."""
    tally, names = Tally(), {number: name for name, number in shop.ids.items()}
    held, taken = await contents(shop, before), await contents(shop, after)
    for type_, key in held.keys() | taken.keys():
        tally.count(ObjectId(names[type_], key), held.get((type_, key)), taken.get((type_, key)))
    return tally


@pytest.mark.parametrize("number", range(20))
async def test_what_is_foreseen_is_what_the_classes_differ_in(shop: Shop, seed: int, number: int) -> None:
    chance = random.Random(seed + number)
    for _ in range(6):
        await edit(shop, chance, 5)
    for before, after in [chance.sample(SELECTIONS, 2) for _ in range(4)]:
        moving, tally = await foreseen(shop, before, after)
        await moving.close()
        expected = await moving_of(shop, before, after)
        assert (tally.parts, tally.checksum) == (expected.parts, expected.checksum)
        gone, held = tally.parts[Kind.DELETE].objects, len(await contents(shop, before))
        assert await counted(shop.store, 3, NAME, (before, after)) == Leaving(gone, held, 0)


@pytest.mark.parametrize("number", range(20))
async def test_where_nothing_is_said_to_have_moved_all_that_moves_is_as_it_was(
    shop: Shop, seed: int, number: int
) -> None:
    chance, stayed = random.Random(seed + number), 0
    for _ in range(6):
        await edit(shop, chance, 5)
    for before, after in [chance.sample(SELECTIONS, 2) for _ in range(4)]:
        moving, tally = await foreseen(shop, before, after)
        for _ in range(4):
            await edit(shop, chance, chance.choice([1, 1, 2]))
            if await moving.moved(shop.store, await shop.store.open_collection(NAME)):
                break
            stayed += 1
            assert (await moving_of(shop, before, after)).checksum == tally.checksum
        await moving.close()
    print("stayed", stayed)


async def test_objects_that_come_while_it_is_looked_at_do_not_matter(shop: Shop) -> None:
    await shop.keep({("sale", 1): ("FR", 1), ("person", 1): (2, "a"), ("person", 2): (None, "b")})
    before, after = SELECTIONS[1], SELECTIONS[3]
    moving = Moving(await shop.store.open_collection(NAME), [Shift("till", NAME, before, after)])
    await shop.keep({("person", 1): None, ("person", 3): (None, "c"), ("sale", 1): ("FR", 3)})
    (outcome,) = await moving.look(shop.store)
    assert [one.key for one in outcome.tally.parts[Kind.ADD].first] == [pack_values([1]), pack_values([2])]
    assert await moving.moved(shop.store, await shop.store.open_collection(NAME))
    await moving.close()


@pytest.mark.parametrize(
    ("change", "moves"),
    [
        ({("sale", 2): ("DE", 4)}, False),
        ({("person", 4): (1, "not reached")}, False),
        ({("person", 1): (2, "another name")}, True),
        ({("person", 9): (None, "was referenced before it was there")}, True),
        ({("sale", 2): ("FR", 4)}, True),
        ({("sale", 1): ("DE", 1)}, True),
        ({("sale", 1): ("FR", 2)}, True),
        ({("sale", 3): None}, True),
    ],
)
async def test_what_leads_elsewhere_has_moved(shop: Shop, change: dict[Thing, Values | None], moves: bool) -> None:
    await shop.keep({("sale", 1): ("FR", 1), ("sale", 2): ("DE", 2), ("sale", 3): ("FR", 9), ("sale", 4): ("FR", 1)})
    await shop.keep({("person", 1): (2, "a"), ("person", 2): (None, "b"), ("person", 4): (None, "d")})
    moving, _ = await foreseen(shop, SELECTIONS[1], SELECTIONS[3])
    await shop.keep(change)
    assert await moving.moved(shop.store, await shop.store.open_collection(NAME)) is moves
    await moving.close()
