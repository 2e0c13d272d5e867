"""What the sync store knows of classes that are no more, and of columns that tables had: for who was away then."""

from __future__ import annotations

from dataclasses import replace

import pytest

from syncd.core.ports import SyncStore
from syncd.core.selection import Selection
from tests.contract.classes_kit import COUNTRY, FRENCH, ITEM, Shop, item
from tests.contract.sync_store_kit import NAME, prepare

pytestmark = pytest.mark.asyncio


async def opened_class(shop: Shop, selection: Selection) -> int:
    """The number in its epoch."""
    seen = (await shop.open(selection)).of(selection)
    assert seen is not None
    return int(seen.epoch.partition(".")[2])


async def test_a_class_is_known_by_its_number_also_when_it_is_no_more(store: SyncStore) -> None:
    shop = Shop(store, await prepare(store, ITEM))
    await shop.imported({1: item("FR")})
    first = await opened_class(shop, FRENCH)
    assert await store.class_numbered(NAME, first) == FRENCH
    await store.drop_class(NAME, FRENCH)
    second = await opened_class(shop, FRENCH)
    other = await opened_class(shop, Selection("total > 3"))
    await store.drop_class(NAME, Selection("total > 3"))
    assert first != second
    assert [await store.class_numbered(NAME, one) for one in (first, second, other, 99)] == [
        FRENCH, FRENCH, Selection("total > 3"), None,
    ]  # fmt: skip


async def test_a_class_of_another_collection_is_not_known(store: SyncStore) -> None:
    shop = Shop(store, await prepare(store, ITEM))
    await shop.imported({1: item("FR")})
    number = await opened_class(shop, FRENCH)
    await store.open_collection("other")
    assert await store.class_numbered("other", number) is None


async def test_columns_that_changed_say_since_when(store: SyncStore) -> None:
    shop = Shop(store, await prepare(store, ITEM))
    head = (await shop.imported({1: item("FR"), 2: item("DE")})).head
    assert await store.columns_since(NAME) == {shop.type: 0}
    await shop.set_types(replace(ITEM, definition=("CREATE TABLE item",)))
    assert await store.columns_since(NAME) == {shop.type: 0}
    await shop.set_types(COUNTRY)
    assert await store.columns_since(NAME) == {shop.type: head}
