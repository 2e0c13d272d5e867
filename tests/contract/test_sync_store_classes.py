"""The contract of the sync store's selection classes, for the one in SQLite and its twin in memory (R2-R5, R8, R14)."""

from __future__ import annotations

import pytest
import pytest_asyncio

from syncd.core import digest
from syncd.core.model import DataType
from syncd.core.ports import SyncStore
from syncd.core.selection import ALL, Selection
from tests.contract.classes_kit import COUNTRY, FRENCH, ITEM, NAMES_ONLY, Device, Shop, item
from tests.contract.sync_store_kit import NAME, prepare

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def shop(store: SyncStore) -> Shop:
    return Shop(store, await prepare(store, ITEM))


async def test_a_class_is_not_there_before_it_is_opened(shop: Shop) -> None:
    state = await shop.store.open_collection(NAME)
    assert state.classes == ()
    assert state.of(FRENCH) is None
    assert state.of(ALL) is state


async def test_a_class_is_filled_in_parts_and_served_when_it_is_ready(shop: Shop) -> None:
    await shop.keep({1: item("FR"), 2: item("DE"), 3: item("FR")})
    state = await shop.store.open_class(NAME, FRENCH, 2)
    assert not state.classes[0].ready
    assert state.of(FRENCH) is None
    state = await shop.store.open_class(NAME, FRENCH, 2)
    seen = state.of(FRENCH)
    assert seen is not None
    assert (seen.head, seen.objects, seen.epoch) == (3, 2, f"{state.epoch}.1")
    assert await shop.store.open_class(NAME, FRENCH, 2) == state
    device = Device(shop.store, FRENCH)
    await device.catch_up()
    assert device.objects == {1: item("FR"), 3: item("FR")}


async def test_entering_and_leaving_are_add_and_delete(shop: Shop) -> None:
    await shop.keep({1: item("FR"), 2: item("DE"), 3: item("DE")})
    await shop.open(FRENCH)
    device = Device(shop.store, FRENCH)
    await device.catch_up()
    await shop.keep({1: item("DE"), 2: item("FR"), 3: item("IT")})
    assert await device.catch_up() == {("delete", 1), ("add", 2)}
    assert device.objects == {2: item("FR")}


async def test_the_key_of_what_was_never_in_the_class_is_never_named(shop: Shop) -> None:
    await shop.keep({1: item("FR"), 2: item("DE")})
    await shop.open(FRENCH)
    device = Device(shop.store, FRENCH)
    await device.catch_up()
    await shop.keep({2: item("DE", 5), 3: item("DE")})
    await shop.keep({2: None, 3: item("FR")}, publish=False)
    await shop.keep({3: item("DE")})
    assert await device.catch_up() == set()


async def test_what_does_not_concern_a_class_leaves_its_head(shop: Shop) -> None:
    await shop.keep({1: item("FR"), 2: item("DE")})
    await shop.open(FRENCH)
    state = await shop.keep({2: item("DE", 5)})
    seen = state.of(FRENCH)
    assert seen is not None
    assert (state.head, seen.head) == (3, 2)
    state = await shop.keep({1: item("FR", 5)}, publish=False)
    seen = state.of(FRENCH)
    assert seen is not None
    assert seen.head == 2
    state = await shop.keep({})
    seen = state.of(FRENCH)
    assert seen is not None
    assert seen.head == 4


async def test_fields_left_out_are_not_told_and_not_proven(shop: Shop) -> None:
    await shop.keep({1: item("FR", 7)})
    await shop.open(NAMES_ONLY)
    device = Device(shop.store, NAMES_ONLY)
    await device.catch_up()
    assert device.objects == {1: ("FR",)}
    await shop.keep({1: item("IT", 8), 2: item("DE", 9)})
    await device.catch_up()
    assert device.objects == {1: ("IT",), 2: ("DE",)}


async def test_a_dropped_class_comes_back_with_another_epoch(shop: Shop) -> None:
    await shop.keep({1: item("FR")})
    first = (await shop.open(FRENCH)).of(FRENCH)
    state = await shop.store.drop_class(NAME, FRENCH)
    assert state.classes == ()
    assert state.of(FRENCH) is None
    again = (await shop.open(FRENCH)).of(FRENCH)
    assert first is not None
    assert again is not None
    assert first.epoch != again.epoch
    assert (first.head, first.digest) == (again.head, again.digest)


async def test_tombstones_of_a_class_are_forgotten_for_themselves(shop: Shop) -> None:
    await shop.keep({1: item("FR"), 2: item("FR")})
    await shop.open(FRENCH)
    await shop.keep({1: item("DE")})
    await shop.keep({2: None})
    assert await shop.store.prune(NAME, 4, 0) == 1
    seen = (await shop.store.open_collection(NAME)).of(FRENCH)
    assert seen is not None
    assert seen.horizon == 0
    assert await shop.store.prune_class(NAME, FRENCH, 3, 0) == 1
    seen = (await shop.store.open_collection(NAME)).of(FRENCH)
    assert seen is not None
    assert (seen.horizon, seen.objects, seen.digest) == (3, 0, digest.EMPTY)
    assert [row.fields for row in (await Device(shop.store, FRENCH).read()).rows] == [None]


async def test_what_is_forgotten_of_a_class_ends_at_its_head(shop: Shop) -> None:
    await shop.keep({1: item("FR")})
    await shop.open(FRENCH)
    await shop.keep({2: item("DE")})
    await shop.store.prune_class(NAME, FRENCH, 99, 0)
    seen = (await shop.store.open_collection(NAME)).of(FRENCH)
    assert seen is not None
    assert seen.horizon == seen.head == 1, "a snapshot begins at the head: it must not be beyond what it begins at"


async def test_a_class_whose_column_is_gone_is_broken_and_filled_anew_when_it_is_back(shop: Shop) -> None:
    await shop.keep({1: item("FR"), 2: item("DE")})
    before = (await shop.open(FRENCH)).of(FRENCH)
    assert before is not None
    await shop.set_types(COUNTRY)
    state = await shop.store.open_collection(NAME)
    assert "country" in state.classes[0].broken
    assert state.of(FRENCH) is None
    await shop.imported({1: ("FR",), 2: ("DE",)})
    assert (await shop.store.open_class(NAME, FRENCH, 10)).of(FRENCH) is None
    await shop.set_types(ITEM)
    state = await shop.store.open_class(NAME, FRENCH, 10)
    assert "columns" in state.classes[0].broken, "what was read with other columns cannot be asked"
    await shop.imported({1: item("FR"), 2: item("DE")})
    after = (await shop.open(FRENCH)).of(FRENCH)
    assert after is not None
    assert not (await shop.store.open_collection(NAME)).classes[0].broken
    assert (after.objects, after.epoch != before.epoch) == (1, True)


async def test_an_object_that_cannot_be_built_stays_what_it_was(shop: Shop) -> None:
    await shop.keep({1: item("FR"), 2: item("DE")})
    await shop.open(FRENCH)
    await shop.fail(1, 2)
    device = Device(shop.store, FRENCH)
    chunk = await device.read()
    assert [(row.key, row.fault) for row in chunk.rows] == [(shop.key(1), "not to be read")]
    await shop.keep({1: item("DE"), 2: item("FR")})
    await device.catch_up()
    assert device.objects == {2: item("FR")}


async def test_an_object_comes_back_before_its_tombstone_is_forgotten(shop: Shop) -> None:
    await shop.keep({1: item("FR")})
    await shop.open(FRENCH)
    device, other = Device(shop.store, FRENCH), Device(shop.store, FRENCH)
    await device.catch_up()
    await shop.keep({1: item("DE")})
    await other.catch_up()
    await shop.keep({1: item("DE", 3)})
    await shop.keep({1: item("FR", 4)})
    assert await device.catch_up() == {("modify", 1)}
    await shop.keep({1: None})
    assert await device.catch_up() == {("delete", 1)}


async def test_filling_goes_on_while_objects_change(shop: Shop) -> None:
    await shop.keep({key: item("FR") for key in range(6)})
    await shop.store.open_class(NAME, FRENCH, 3)
    await shop.keep({0: item("DE"), 1: None, 2: item("FR", 2), 4: item("FR", 2), 5: item("DE")})
    await shop.open(FRENCH, 2)
    device = Device(shop.store, FRENCH)
    await device.catch_up()
    assert device.objects == {2: item("FR", 2), 3: item("FR"), 4: item("FR", 2)}


async def test_a_selection_by_type_or_key_alone_is_a_class_too(shop: Shop) -> None:
    await shop.keep({1: item("FR"), 2: item("DE")})
    for selection, held in ((Selection(tables=("item",)), {1, 2}), (Selection(keys=("item/1",)), {1})):
        await shop.open(selection)
        device = Device(shop.store, selection)
        await device.catch_up()
        assert device.objects.keys() == held


async def test_all_objects_are_no_class(shop: Shop) -> None:
    state = await shop.keep({1: item("FR")})
    assert await shop.store.open_class(NAME, ALL, 10) == state
    assert await shop.store.drop_class(NAME, ALL) == state


async def test_a_class_that_is_not_there_has_nothing_of_use_to_any_device(shop: Shop) -> None:
    state = await shop.keep({1: item("FR"), 2: item("DE")})
    for _ in range(2):  # also while it is filled
        chunk = await Device(shop.store, FRENCH).read()
        assert (list(chunk.rows), chunk.last, chunk.proof) == ([], 0, None)
        assert chunk.horizon > state.head
        await shop.store.open_class(NAME, FRENCH, 1)
    assert await shop.store.prune_class(NAME, NAMES_ONLY, 9, 0) == 0


async def test_a_class_whose_columns_change_their_names_alone_is_filled_anew(shop: Shop) -> None:
    """What stays equal may belong to it or not by the other names."""
    await shop.keep({1: item("FR"), 2: item("DE")})
    await shop.set_types(DataType(0, "item", ("id",), ("land", "country")))
    await shop.imported({1: ("FR", "x"), 2: ("DE", "FR"), 3: ("DE", "x")})
    before = (await shop.open(FRENCH)).of(FRENCH)
    assert before is not None
    assert before.objects == 1
    await shop.set_types(DataType(0, "item", ("id",), ("country", "land")))
    await shop.imported({1: ("FR", "x"), 2: ("DE", "FR"), 3: ("DE", "x")})
    after = (await shop.open(FRENCH)).of(FRENCH)
    assert after is not None
    assert after.epoch != before.epoch
    device = Device(shop.store, FRENCH)
    await device.catch_up()
    assert device.objects.keys() == {1}
    assert before.digest != after.digest
