"""Tombstones go as soon as no device can hold their objects (R5, R8), and no device misses one that it needs."""

from __future__ import annotations

import random

import pytest
import pytest_asyncio

from syncd.core.model import Span, Spans
from syncd.core.ports import ChunkRequest, SyncStore
from syncd.core.selection import ALL, Selection
from syncd.store import store_gone
from tests.contract.classes_kit import FRENCH, ITEM, Device, Shop, item
from tests.contract.sync_store_kit import NAME, prepare

pytestmark = pytest.mark.asyncio
SELECTIONS = pytest.mark.parametrize("selection", [ALL, FRENCH], ids=["all", "class"])
FOREVER = 2**62


@pytest_asyncio.fixture
async def shop(store: SyncStore) -> Shop:
    shop = Shop(store, await prepare(store, ITEM))
    await shop.imported({number: item("FR") for number in range(1, 5)})
    await shop.open(FRENCH)
    return shop


async def tombstones(store: SyncStore, selection: Selection) -> int:
    chunk = await store.read(ChunkRequest(NAME, selection, FOREVER, 0, 0), 1_000, 1_000_000)
    return sum(row.fields is None for row in chunk.rows)


async def forget(store: SyncStore, selection: Selection, *spans: Span, upto: int = FOREVER) -> int:
    return await store.forget_gone(NAME, selection, Spans(spans), upto)


@SELECTIONS
async def test_where_no_device_takes_it_nothing_stays(shop: Shop, selection: Selection) -> None:
    await shop.keep({1: None, 2: None})
    assert await tombstones(shop.store, selection) == 2
    assert await forget(shop.store, selection) == 2
    assert await tombstones(shop.store, selection) == 0


@SELECTIONS
async def test_what_came_and_went_while_a_device_was_away_goes(shop: Shop, selection: Selection) -> None:
    away = (await shop.keep({})).head
    await shop.keep({1: None, 9: item("FR")})
    passed = (await shop.keep({9: None})).head
    assert await forget(shop.store, selection, Span(away, away), Span(passed, passed)) == 1
    assert await tombstones(shop.store, selection) == 1
    state = (await shop.store.open_collection(NAME)).of(selection)
    assert state is not None
    assert state.horizon < away, "it needs no snapshot"
    device = Device(shop.store, selection, base=away, cursor=away, objects={n: item("FR") for n in range(1, 5)})
    assert await device.catch_up() == {("delete", 1)}


@SELECTIONS
async def test_what_may_be_on_its_way_to_a_device_stays(shop: Shop, selection: Selection) -> None:
    away = (await shop.keep({})).head
    sent = (await shop.keep({9: item("FR")})).head
    await shop.keep({9: None})
    assert await forget(shop.store, selection, Span(away, sent)) == 0
    assert await forget(shop.store, selection, Span(away, sent - 1)) == 1


@SELECTIONS
async def test_what_went_later_than_is_asked_for_stays(shop: Shop, selection: Selection) -> None:
    head = (await shop.keep({1: None})).head
    await shop.keep({2: None})
    await shop.keep({3: None}, publish=False)
    assert await forget(shop.store, selection, upto=head) == 1
    assert await forget(shop.store, selection) == 1
    await shop.keep({})
    assert await tombstones(shop.store, selection) == 1


async def test_the_history_tells_of_it_still(shop: Shop) -> None:
    await shop.keep({1: None})
    await forget(shop.store, ALL)
    versions = await shop.store.history(NAME, shop.type, shop.key(1), 9)
    assert [one.fields is None for one in versions] == [True, False]


@SELECTIONS
async def test_many_are_forgotten_some_at_a_time(
    shop: Shop, selection: Selection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_gone, "_TOGETHER", 3)
    await shop.keep({number: item("FR") for number in range(10, 40)})
    await shop.keep(dict.fromkeys(range(10, 40)))
    assert await forget(shop.store, selection) == 30
    assert await tombstones(shop.store, selection) == 0


async def test_a_class_that_is_not_there_has_none(shop: Shop) -> None:
    assert await forget(shop.store, Selection("total > 3")) == 0


@SELECTIONS
@pytest.mark.parametrize("seed", range(25))
async def test_devices_hold_what_they_should_whatever_was_forgotten(
    shop: Shop, selection: Selection, seed: int
) -> None:
    print("seed", seed)
    chance = random.Random(seed)
    devices = [Device(shop.store, selection) for _ in range(3)]
    for _ in range(40):
        match chance.randrange(4):
            case 0 | 1:
                numbers = [chance.randrange(12) for _ in range(chance.randrange(1, 4))]
                values = {one: None if chance.random() < 0.5 else item(chance.choice(["FR", "DE"])) for one in numbers}
                await shop.keep(values, publish=chance.random() < 0.8)
            case 2:
                await chance.choice(devices).take(rows_max=chance.randrange(1, 5))
            case _:
                await forget(shop.store, selection, *(Span(one.base, one.cursor) for one in devices))
    await shop.keep({})
    for device in devices:
        await device.catch_up()
