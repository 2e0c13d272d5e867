"""Selection classes while a group is held: what is taken back is taken back in each, for the store in SQLite and its
twin in memory (R2, R8, R13)."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from syncd.core.guard import Guard
from syncd.core.holding import Batch
from syncd.core.model import Proof
from syncd.core.ports import ChunkRequest, CollectionState, StoredChunk, SyncStore
from syncd.core.selection import ALL, Selection
from syncd.core.settings import Limits
from syncd.store.memory import MemorySyncStore
from syncd.store.sync_store import SqliteSyncStore
from tests.contract.classes_kit import FRENCH, ITEM, NAMES_ONLY, Device, Fields, Shop, item
from tests.contract.sync_store_kit import BYTES_MAX, NAME, prepare

pytestmark = pytest.mark.asyncio

GUARD = Guard(4, 20, 86_400.0)
DEAR = Selection("total >= 5", without=("total",))
Values = Mapping[int, Fields | None]


@dataclass
class Guarded(Shop):
    """``has``: what the application holds."""

    async def read(self, values: Values, publish: bool = True) -> CollectionState:
        """One read that the guard looks at."""
        self.now_us += 1
        batch = Batch(self.observed(values), publish, False, guard=GUARD)
        return await self.store.keep(NAME, batch, self.now_us)

    async def approved(self, has: Values) -> CollectionState:
        """A person lets through what is held, and it is read as the application has it."""
        state = await self.store.open_collection(NAME)
        if state.held is not None:
            await self.store.release(NAME, state.held.number)
        state = await self.store.open_collection(NAME)
        while state.held is not None and state.held.released:
            some = await self.store.held_objects(NAME, 3)
            there = {number: has.get(number) for number in range(100) if self.key(number) in {one.key for one in some}}
            self.now_us += 1
            batch = Batch(self.observed(there), False, False, guard=GUARD, release=True)
            state = await self.store.keep(NAME, batch, self.now_us)
        return await self.read({})


HAS: Values = {number: item("FR" if number % 2 else "DE", number) for number in range(20)}
FRENCH_ONES = {number: fields for number, fields in HAS.items() if fields and fields[0] == "FR"}


def gone(*numbers: int) -> dict[int, Fields | None]:
    return dict.fromkeys(numbers)


async def begun(store: SyncStore) -> Guarded:
    shop = Guarded(store, await prepare(store, ITEM))
    await shop.imported(HAS)
    return shop


async def device_of(shop: Shop, selection: Selection = FRENCH) -> Device:
    device = Device(shop.store, selection)
    await device.catch_up()
    return device


def of_class(state: CollectionState, selection: Selection = FRENCH) -> CollectionState:
    seen = state.of(selection)
    assert seen is not None
    return seen


async def order(store: SyncStore, selection: Selection = FRENCH) -> StoredChunk:
    return await store.read(ChunkRequest(NAME, selection, 0, 0, 0), 1_000, BYTES_MAX)


async def test_what_is_held_stays_with_devices_of_a_class_until_it_is_approved(store: SyncStore) -> None:
    shop = await begun(store)
    before = of_class(await shop.open(FRENCH))
    device = await device_of(shop)
    held = await shop.read(gone(*range(10)) | {21: item("FR"), 11: item("DE")})
    assert held.held is not None
    seen = of_class(held)
    assert (seen.head, seen.digest, seen.objects) == (before.head, before.digest, before.objects)
    assert await device.catch_up() == set()
    assert device.objects == FRENCH_ONES
    assert (await device_of(shop)).objects == FRENCH_ONES, "nor does a snapshot"
    has = {number: fields for number, fields in HAS.items() if number >= 10} | {21: item("FR"), 11: item("DE")}
    state = await shop.approved(has)
    assert of_class(state).head == state.head
    assert await device.catch_up() == {("delete", number) for number in (1, 3, 5, 7, 9, 11)} | {("add", 21)}
    assert device.objects == {number: fields for number, fields in has.items() if fields and fields[0] == "FR"}


async def test_classes_are_as_before_when_what_was_kept_in_parts_is_taken_back(store: SyncStore) -> None:
    shop = await begun(store)
    await shop.read({1: item("DE"), 0: item("FR")})
    await shop.open(FRENCH)
    await shop.read({3: item("DE"), 5: item("FR", 50)})  # one has left, and may come back
    await shop.read({3: item("DE", 4)})
    before, was = await order(store), of_class(await store.open_collection(NAME))
    device = await device_of(shop)
    await shop.read({3: item("FR"), 5: item("DE"), 7: item("FR", 70), 2: item("FR"), 30: item("FR")}, publish=False)
    await shop.read({3: item("DE"), 5: item("FR"), 9: None, 2: None}, publish=False)
    state = await shop.read(gone(10, 12, 14, 16))
    assert state.held is not None
    after, seen = await order(store), of_class(state)
    assert (list(after.rows), after.proof, after.horizon) == (list(before.rows), before.proof, before.horizon)
    assert (seen.head, seen.digest, seen.objects) == (was.head, was.digest, was.objects)
    assert await device.catch_up() == set()
    await shop.read({3: item("FR")})
    assert not (await device.catch_up()), "it is of the held group"
    await shop.read({13: item("DE")})
    assert await device.catch_up() == {("delete", 13)}


async def test_a_device_of_a_class_that_reads_meanwhile_has_all_when_the_group_is_taken_back(store: SyncStore) -> None:
    shop = await begun(store)
    await shop.open(FRENCH)
    device, one_more = await device_of(shop), await device_of(shop)
    await shop.read({1: item("DE"), 3: item("FR", 30), 2: item("FR")})
    await shop.read({1: item("DE", 9)})
    for values in ({5: item("DE"), 1: item("FR"), 3: item("DE")}, {1: None, 2: item("IT"), 7: item("FR", 70)}):
        await shop.read(values, publish=False)
        assert await device.take() is None
    assert (await shop.read(gone(*range(9, 16)))).held is not None
    for one in (device, one_more):
        await one.catch_up()
        assert one.objects == {n: f for n, f in FRENCH_ONES.items() if n != 1} | {3: item("FR", 30), 2: item("FR")}


async def test_a_key_that_a_class_never_held_is_not_named_by_what_was_taken_back(store: SyncStore) -> None:
    shop = await begun(store)
    await shop.open(FRENCH)
    device = await device_of(shop)
    await shop.read({2: item("FR"), 30: item("FR")}, publish=False)
    assert (await shop.read(gone(*range(10)))).held is not None
    await shop.approved({number: fields for number, fields in HAS.items() if number >= 10})
    assert await device.catch_up() == {("delete", number) for number in (1, 3, 5, 7, 9)}


async def test_fields_left_out_stay_out_of_what_is_taken_back(store: SyncStore) -> None:
    shop = await begun(store)
    before = of_class(await shop.open(DEAR), DEAR)
    device = await device_of(shop, DEAR)
    await shop.read({6: item("DE", 60), 7: item("FR", 1), 1: item("FR", 9)}, publish=False)
    state = await shop.read(gone(10, 11, 12, 13))
    seen = of_class(state, DEAR)
    assert (seen.head, seen.digest, seen.objects) == (before.head, before.digest, before.objects)
    assert await device.catch_up() == set()
    assert (await device_of(shop, DEAR)).objects == device.objects


async def test_a_class_is_filled_while_a_group_is_held(store: SyncStore) -> None:
    shop = await begun(store)
    await store.open_class(NAME, FRENCH, 7)
    await shop.read(gone(*range(10)))
    await shop.open(FRENCH, rows_max=3)
    assert (await device_of(shop)).objects == FRENCH_ONES
    await shop.approved({number: fields for number, fields in HAS.items() if number >= 10})
    assert sorted((await device_of(shop)).objects) == [11, 13, 15, 17, 19]


@pytest.mark.parametrize("filled", [0, 3, 10, 21, 100])
@pytest.mark.parametrize("meanwhile", [0, 4, 11, 100])
async def test_a_class_that_is_filled_while_a_group_is_read_has_all_when_it_is_taken_back(
    store: SyncStore, filled: int, meanwhile: int
) -> None:
    shop = await begun(store)
    if filled:
        await store.open_class(NAME, FRENCH, filled)
    changed = {1: item("FR", 100), 3: item("DE"), 4: item("FR"), 15: item("FR", 9), 30: item("FR")}
    await shop.read(changed | {17: None}, publish=False)
    if meanwhile:
        await store.open_class(NAME, FRENCH, meanwhile)
    await shop.read({5: item("DE"), 15: item("FR", 90)}, publish=False)
    if meanwhile:
        await store.open_class(NAME, FRENCH, 2)
    assert (await shop.read(gone(10, 12, 14, 16))).held is not None
    await shop.read({19: item("FR", 190), 31: item("FR")})  # has numbers that were given before
    await shop.open(FRENCH, rows_max=4)
    device = await device_of(shop)
    assert device.objects == FRENCH_ONES | {19: item("FR", 190), 31: item("FR")}


async def test_a_small_group_beside_what_is_held_is_answered_as_it_would_be_read(store: SyncStore) -> None:
    shop = await begun(store)
    await shop.open(FRENCH)
    device, all_ = await device_of(shop), await device_of(shop, ALL)
    await shop.read(gone(*range(10)) | {11: item("DE")})
    state = await shop.read({13: item("FR", 130), 12: item("FR", 120), 40: item("DE")})
    assert state.held is not None
    for one in (device, all_):
        request = ChunkRequest(NAME, one.selection, one.base, 0, one.base)
        found, whole = store.at_hand(request, 100, BYTES_MAX), await order(store, one.selection)
        assert found is not None
        assert list(found.rows) == [row for row in whole.rows if row.change > one.base]
        assert found.proof == whole.proof
        await one.catch_up()
    assert device.objects == FRENCH_ONES | {13: item("FR", 130), 12: item("FR", 120)}


async def test_what_was_at_hand_is_not_answered_after_a_group_was_taken_back(store: SyncStore) -> None:
    shop = await begun(store)
    await shop.open(FRENCH)
    device = await device_of(shop)
    await shop.read({13: item("FR", 130)})
    await shop.read({13: item("DE", 1), 15: item("FR", 150)}, publish=False)
    await shop.read(gone(*range(10)))
    assert await device.catch_up() == {("modify", 13)}
    assert device.objects == FRENCH_ONES | {13: item("FR", 130)}
    await shop.read({17: item("FR", 170)})
    assert await device.catch_up() == {("modify", 17)}


async def test_what_is_released_and_then_held_again_is_taken_back_in_classes(store: SyncStore) -> None:
    shop = await begun(store)
    before = of_class(await shop.open(FRENCH))
    device = await device_of(shop)
    held = (await shop.read(gone(0, 1, 2, 3))).held
    assert held is not None
    await store.release(NAME, held.number)
    await store.keep(NAME, Batch(shop.observed(gone(0, 1, 2, 3)), False, False, release=True), 90)
    state = await shop.read(gone(*range(4, 12)))
    assert state.held is not None
    seen = of_class(state)
    assert (seen.head, seen.digest, seen.objects) == (before.head, before.digest, before.objects)
    assert await device.catch_up() == set()


async def test_what_is_taken_back_outlives_the_daemon(tmp_path: Path) -> None:
    real = await SqliteSyncStore.open(tmp_path / "store.db", Limits())
    shop = await begun(real)
    before = of_class(await shop.open(FRENCH))
    await shop.read({1: None, 3: item("DE"), 2: item("FR")}, publish=False)
    await real.close()
    real = await SqliteSyncStore.open(tmp_path / "store.db", Limits())
    try:
        shop.store = real
        seen = of_class(await shop.read(gone(10, 12, 14, 16)))
        assert (seen.head, seen.digest, seen.objects) == (before.head, before.digest, before.objects)
        assert (await device_of(shop)).objects == FRENCH_ONES
    finally:
        await real.close()


SELECTIONS = (FRENCH, NAMES_ONLY, DEAR)


async def _seen(shop: Shop) -> list[object]:
    state = await shop.store.open_collection(NAME)
    answers: list[object] = [state.held, state.head, state.digest, state.objects, state.published]
    answers += [one._replace(epoch=one.epoch.split(".")[1]) for one in state.classes]
    for selection in (ALL, *SELECTIONS):
        if state.of(selection) is not None:
            chunk = await order(shop.store, selection)
            answers += [list(chunk.rows), chunk.proof, chunk.groups, chunk.horizon]
    return answers


async def _filtered(shop: Shop) -> None:
    """What stands in each class is its selection applied to what stands in the collection."""
    state = await shop.store.open_collection(NAME)
    if not state.published:
        return
    everything = (await device_of(shop, ALL)).objects
    for selection in SELECTIONS:
        if (seen := state.of(selection)) is None:
            continue
        device = await device_of(shop, selection)
        assert Proof(0, seen.digest, seen.objects) == device.proof(0)
        country_only: dict[int, Fields] = {number: (fields[0],) for number, fields in everything.items()}
        dear = {n for n, (_, total) in everything.items() if isinstance(total, int) and total >= 5}
        wanted: dict[Selection, dict[int, Fields]] = {
            FRENCH: {n: fields for n, fields in everything.items() if fields[0] == "FR"},
            NAMES_ONLY: country_only,
            DEAR: {n: fields for n, fields in country_only.items() if n in dear},
        }
        assert device.objects == wanted[selection]


async def _comes(shop: Guarded, behind: dict[Selection, tuple[str, Device]], selection: Selection, rows: int) -> None:
    """A device that is often late takes one more chunk; that its proofs are right is asked there."""
    seen = (await shop.store.open_collection(NAME)).of(selection)
    if seen is None:
        return
    epoch, device = behind.get(selection, ("", Device(shop.store, selection)))
    if epoch != seen.epoch or seen.horizon > max(device.cursor, device.floor):
        device = Device(shop.store, selection, floor=seen.head)
    behind[selection] = seen.epoch, device
    await device.take(rows)


async def _step(shop: Guarded, step: float, selection: Selection, rows_max: int) -> None:
    head = (await shop.store.open_collection(NAME)).head
    if step < 0.75:
        await shop.store.open_class(NAME, selection, rows_max)
    elif step < 0.8:
        await shop.store.drop_class(NAME, selection)
    elif step < 0.9:
        await shop.store.prune_class(NAME, selection, head - rows_max, 0)
    else:
        await shop.store.prune(NAME, head - rows_max, 0)


async def test_classes_of_the_twin_are_those_of_the_real_store_with_what_is_held(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    real = await SqliteSyncStore.open(tmp_path / "store.db", Limits())
    try:
        shops = [Guarded(one, await prepare(one, ITEM)) for one in (real, MemorySyncStore())]
        has: dict[int, Fields] = {number: item("FR", number) for number in range(12)}
        for shop in shops:
            await shop.imported(has)
        held, late = 0, [dict[Selection, tuple[str, Device]]() for _ in shops]
        for _ in range(300):
            step, publish, selection = chance.random(), chance.random() < 0.5, chance.choice(SELECTIONS)
            rows_max, numbers = chance.choice((1, 2, 5, 30)), chance.sample(range(14), chance.randrange(6))
            comes = chance.choice((ALL, *SELECTIONS))
            if step < 0.5:
                has = {n: one for n, one in has.items() if n not in numbers}
                has |= {n: item(chance.choice(("FR", "DE")), chance.randrange(9)) for n in numbers[::2]}
            for shop, behind in zip(shops, late, strict=True):
                if step < 0.5:
                    await shop.read({n: has.get(n) for n in numbers}, publish)
                elif step < 0.55:
                    await shop.approved(has)
                else:
                    await _step(shop, (step - 0.55) / 0.45, selection, rows_max)
                held += (await shop.store.open_collection(NAME)).held is not None
                await _comes(shop, behind, comes, rows_max)
                await _filtered(shop)
            assert await _seen(shops[0]) == await _seen(shops[1])
        assert held
    finally:
        await real.close()
