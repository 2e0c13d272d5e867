"""How many objects a change of selection takes away, asked of the sync store and its twin in memory (R8, R13)."""

from __future__ import annotations

import random
from collections.abc import Mapping

import pytest

from syncd.adapters.canonical import pack_values
from syncd.core.digest import object_hash, type_prefix
from syncd.core.digest import of as digest_of
from syncd.core.loss import Leaving
from syncd.core.ports import SyncStore
from syncd.core.selection import ALL, Selection
from syncd.settings_guard import counted
from tests.contract.classes_kit import FRENCH, ITEM, Fields, Shop, item
from tests.contract.sync_store_kit import NAME, prepare

pytestmark = pytest.mark.asyncio

HAS = {number: item("FR" if number % 4 else "DE", number) for number in range(20)}  # 15 of them French
DEAR = Selection("total >= 10")
NEVER = Selection("total < 0")
UNFIT = Selection("colour is None")


async def begun(store: SyncStore, has: Mapping[int, Fields] = HAS) -> Shop:
    shop = Shop(store, await prepare(store, ITEM))
    await shop.imported(has)
    return shop


async def asked(store: SyncStore, before: Selection, after: Selection, rows_max: int = 3) -> tuple[int, int]:
    objects, of, _ = await counted(store, rows_max, NAME, (before, after))
    return objects, of


@pytest.mark.parametrize("rows_max", [1, 3, 15, 20, 100])
@pytest.mark.parametrize("is_open", [False, True])
async def test_what_one_selection_takes_and_the_other_does_not_is_counted(
    store: SyncStore, rows_max: int, is_open: bool
) -> None:
    shop = await begun(store)
    if is_open:
        await shop.open(FRENCH)
    assert await asked(store, ALL, FRENCH, rows_max) == (5, 20)
    assert await asked(store, FRENCH, DEAR, rows_max) == (7, 15)
    assert await asked(store, FRENCH, ALL, rows_max) == (0, 15)
    assert await asked(store, FRENCH, NEVER, rows_max) == (15, 15)


async def test_each_part_looks_at_so_many_objects_and_no_more(store: SyncStore) -> None:
    await begun(store)
    first = await store.leaving(NAME, (ALL, NEVER), 0, 6)
    assert first._replace(cursor=0) == Leaving(6, 6, 0)
    assert first.cursor
    assert (await store.leaving(NAME, (ALL, NEVER), first.cursor, 100)) == Leaving(14, 14, 0)


async def test_what_was_deleted_or_has_left_counts_no_more(store: SyncStore) -> None:
    shop = await begun(store)
    await shop.open(FRENCH)
    await shop.keep({1: None, 2: item("DE", 2), 4: item("FR", 4)})
    assert await asked(store, ALL, NEVER) == (19, 19)
    assert await asked(store, FRENCH, NEVER) == (14, 14)
    assert await asked(store, FRENCH, DEAR) == (6, 14)


async def test_a_selection_that_does_not_fit_takes_nothing_away_and_one_that_did_not_held_everything(
    store: SyncStore,
) -> None:
    await begun(store)
    assert await asked(store, ALL, UNFIT) == (0, 0)
    assert await asked(store, UNFIT, FRENCH) == (5, 20)


async def test_before_the_first_import_is_complete_there_is_nothing_to_lose(store: SyncStore) -> None:
    await prepare(store, ITEM)
    assert await asked(store, ALL, NEVER) == (0, 0)


async def test_it_is_what_the_filter_says_of_random_objects(store: SyncStore, seed: int) -> None:
    chance = random.Random(seed)
    has = {number: item(chance.choice(("FR", "DE")), chance.randrange(20)) for number in range(60)}
    shop = await begun(store, has)
    if chance.random() < 0.5:
        await shop.open(FRENCH)
    for _ in range(30):
        number = chance.randrange(70)
        if chance.random() < 0.3:
            has.pop(number, None)
        else:
            has[number] = item(chance.choice(("FR", "DE")), chance.randrange(20))
        await shop.keep({number: has.get(number)})
    french = {number for number, fields in has.items() if fields[0] == "FR"}
    dear = {number for number, (_, total) in has.items() if isinstance(total, int) and total >= 10}
    assert await asked(store, FRENCH, DEAR, 7) == (len(french - dear), len(french))
    assert await asked(store, DEAR, FRENCH, 7) == (len(dear - french), len(dear))


async def test_a_class_that_is_opened_after_it_was_asked_about_holds_what_its_filter_takes(
    store: SyncStore, seed: int
) -> None:
    chance = random.Random(seed)
    shop, has = await begun(store, HAS), dict[int, Fields](HAS)
    for _ in range(8):
        if chance.random() < 0.7:
            await asked(store, chance.choice((ALL, FRENCH)), DEAR, chance.choice((3, 100)))
        for _ in range(chance.randrange(4)):
            number = chance.randrange(30)
            has.pop(number, None)
            if chance.random() < 0.7:
                has[number] = item(chance.choice(("FR", "DE")), chance.randrange(20))
            await shop.keep({number: has.get(number)}, publish=chance.random() < 0.7)
        await shop.keep({})
        state = (await shop.open(DEAR, rows_max=chance.choice((2, 7, 100)))).of(DEAR)
        dear = [number for number, (_, total) in has.items() if isinstance(total, int) and total >= 10]
        assert state is not None
        assert state.objects == len(dear)
        hashes = [object_hash(type_prefix("item"), shop.key(one), pack_values(has[one])) for one in dear]
        assert state.digest == digest_of(hashes)
        await store.drop_class(NAME, DEAR)
