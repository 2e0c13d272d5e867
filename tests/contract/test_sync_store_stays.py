"""A device hears that an object left its class only if it may hold it: it stood in one of the object's stays there, not
between two of them (R8); for the store in SQLite and its twin in memory."""

from __future__ import annotations

import pytest
import pytest_asyncio

from syncd.core.holding import Batch
from syncd.core.model import Span, Spans
from syncd.core.ports import SyncStore
from syncd.store.stays import STAYS_MAX
from tests.contract.classes_kit import FRENCH, ITEM, Device, Fields, Shop, item
from tests.contract.sync_store_kit import NAME, prepare
from tests.contract.test_sync_store_classes_held import GUARD, Guarded

pytestmark = pytest.mark.asyncio

MOVED = 1  # the object that comes and goes
HAS: dict[int, Fields | None] = {number: item("FR") for number in range(1, 6)}


@pytest_asyncio.fixture
async def shop(store: SyncStore) -> Guarded:
    shop = Guarded(store, await prepare(store, ITEM))
    await shop.imported(HAS)
    await shop.open(FRENCH)
    return shop


async def comes(shop: Shop, **how: bool) -> int:
    return (await shop.keep({MOVED: item("FR")}, **how)).head


async def leaves(shop: Shop, **how: bool) -> int:
    return (await shop.keep({MOVED: item("DE")}, **how)).head


async def a_device(shop: Shop) -> Device:
    """One that has all that there is at this moment, by a snapshot."""
    state = (await shop.store.open_collection(NAME)).of(FRENCH)
    assert state is not None
    device = Device(shop.store, FRENCH, floor=state.head)
    await device.catch_up()
    return device


DELETED = {("delete", MOVED)}


async def test_one_that_stood_between_two_stays_hears_nothing(shop: Shop) -> None:
    await leaves(shop)
    between = await a_device(shop)
    await comes(shop)
    await leaves(shop)
    assert await between.catch_up() == set()


async def test_those_that_stood_in_either_stay_are_told(shop: Shop) -> None:
    first = await a_device(shop)
    await leaves(shop)
    await comes(shop)
    second = await a_device(shop)
    await leaves(shop)
    assert await first.catch_up() == await second.catch_up() == DELETED


async def test_what_is_back_is_added_where_it_was_missing_and_modified_where_it_was(shop: Shop) -> None:
    first = await a_device(shop)
    await leaves(shop)
    between = await a_device(shop)
    await comes(shop)
    assert await first.catch_up() == {("modify", MOVED)}
    assert await between.catch_up() == {("add", MOVED)}


async def test_one_whose_transfer_went_past_while_the_object_was_back_is_told(shop: Shop) -> None:
    """It read on while the object stood further on, and so holds it still."""
    device = await a_device(shop)
    await shop.keep({2: item("FR", 2)})
    await leaves(shop)
    await shop.keep({3: item("FR", 3)})
    await comes(shop)
    await device.take(rows_max=2)
    assert device.cursor < (await shop.store.open_collection(NAME)).head
    await leaves(shop)
    assert ("delete", MOVED) in await device.catch_up()


async def test_a_snapshot_that_began_between_two_stays_does_not_name_it(shop: Shop) -> None:
    await shop.keep({2: item("FR", 2)})
    await leaves(shop)
    state = (await shop.store.open_collection(NAME)).of(FRENCH)
    assert state is not None
    device = Device(shop.store, FRENCH, floor=state.head)
    await device.take(rows_max=1)
    await comes(shop)
    await leaves(shop)
    assert ("delete", MOVED) not in await device.catch_up()


async def test_a_stay_within_a_group_is_none(shop: Shop) -> None:
    first = await a_device(shop)
    await leaves(shop)
    between = await a_device(shop)
    await comes(shop, publish=False)
    await leaves(shop, publish=False)
    await comes(shop, publish=False)
    await leaves(shop)
    assert await first.catch_up() == DELETED
    assert await between.catch_up() == set()


async def test_a_stay_within_a_group_that_is_read_in_parts_is_none(shop: Shop) -> None:
    await leaves(shop)
    between = await a_device(shop)
    await comes(shop, publish=False, loose=True)
    await shop.keep({2: item("FR", 2)}, publish=False, loose=True)
    await leaves(shop, loose=True)
    await between.take(rows_max=1)
    assert ("delete", MOVED) not in await between.catch_up()


async def test_what_left_and_came_back_within_a_group_never_left(shop: Shop) -> None:
    device = await a_device(shop)
    await leaves(shop, publish=False)
    await comes(shop, publish=False)
    await shop.keep({})
    await leaves(shop)
    assert await device.catch_up() == DELETED


async def test_a_group_that_is_held_takes_its_stays_back(shop: Guarded) -> None:
    first = await a_device(shop)
    await leaves(shop)
    between = await a_device(shop)
    await comes(shop, publish=False)
    state = await shop.store.keep(NAME, Batch(shop.observed(dict.fromkeys((2, 3, 4, 5))), True, False, guard=GUARD), 9)
    assert state.held is not None
    assert await first.catch_up() == DELETED
    assert await between.catch_up() == set()
    await shop.approved({**dict.fromkeys((2, 3, 4, 5)), MOVED: item("FR")})
    assert ("add", MOVED) in await first.catch_up() & await between.catch_up()


async def test_a_tombstone_stays_while_a_device_may_hold_the_object_from_an_earlier_stay(shop: Shop) -> None:
    first = (await shop.store.open_collection(NAME)).head
    gone = await leaves(shop)
    await comes(shop)
    last = await leaves(shop)

    async def forgotten(*spans: Span) -> int:
        return await shop.store.forget_gone(NAME, FRENCH, Spans(spans), last)

    assert await forgotten(Span(first, first), Span(gone, gone)) == 0
    assert await forgotten(Span(gone, gone), Span(last, last)) == 1


async def test_a_tombstone_goes_where_all_that_may_be_seen_is_a_stay_within_a_group(shop: Shop) -> None:
    gone = await leaves(shop)
    await comes(shop, publish=False)
    last = await leaves(shop)
    assert await shop.store.forget_gone(NAME, FRENCH, Spans([Span(gone, last)]), last) == 1


async def test_of_many_stays_the_oldest_are_joined(shop: Shop) -> None:
    """Who stood between those two may be told of what it does not hold; nobody holds what is gone."""
    between = []
    for _ in range(STAYS_MAX + 1):
        await leaves(shop)
        between.append(await a_device(shop))
        await comes(shop)
    await leaves(shop)
    assert [await device.catch_up() for device in between] == [DELETED, *[set()] * STAYS_MAX]


async def test_stays_that_no_device_can_have_seen_are_forgotten(shop: Shop) -> None:
    between = []
    for _ in range(STAYS_MAX + 1):
        await leaves(shop)
        between.append(await a_device(shop))
        await shop.store.prune_class(NAME, FRENCH, between[0].base, 0)
        await comes(shop)
    await leaves(shop)
    assert [await device.catch_up() for device in between] == [set()] * (STAYS_MAX + 1)
