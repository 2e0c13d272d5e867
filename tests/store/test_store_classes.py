"""What selection classes cost the SQLite store, and what of them outlives the process (R3, R4, R8)."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from syncd.core.holding import Batch
from syncd.core.ports import ChunkRequest
from syncd.core.selection import ALL, Selection
from syncd.core.settings import Limits
from syncd.store import store_read
from syncd.store.store_collections import load_types
from syncd.store.store_read import Most
from syncd.store.sync_store import SqliteSyncStore
from tests.contract.classes_kit import FRENCH, ITEM, Device, Shop, item
from tests.contract.sync_store_kit import BYTES_MAX, NAME, prepare

pytestmark = pytest.mark.asyncio

OBJECTS = 5_000
ONE_PERCENT = Selection("total < 1 and country is not None")


class Steps:
    """How many steps SQLite's machine makes for a read, which grow with the rows that it visits."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path)
        self.count = 0

    def __enter__(self) -> Steps:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def _count(self) -> None:
        self.count += 1

    def of(self, selection: Selection) -> int:
        """For all that there is of the class."""
        self.count, cursor = 0, 0
        self.connection.set_progress_handler(self._count, 1)
        while True:
            request = ChunkRequest(NAME, selection, 0, 0, cursor)
            chunk = store_read.read(self.connection, request, load_types, Most(100, BYTES_MAX, 1_000))
            if chunk.proof is not None:
                return self.count
            cursor = chunk.last


async def filled(path: Path, together: bool) -> None:
    store = await SqliteSyncStore.open(path, Limits())
    shop = Shop(store, await prepare(store, ITEM))
    everything = {key: item("FR", key % 100) for key in range(OBJECTS)}
    for observed in [shop.observed(everything)] if together else [[one] for one in shop.observed(everything)]:
        await store.keep(NAME, Batch(observed, True, False), 1)
    await shop.open(ONE_PERCENT, 1_000)
    await store.close()


@pytest.mark.parametrize("together", [True, False], ids=["one group", "a group for each object"])
async def test_reading_a_class_costs_what_it_holds(tmp_path: Path, together: bool) -> None:
    """Of one percent: two rows in a hundred, its own and the object's, and the groups of these."""
    await filled(tmp_path / "store.db", together)
    with Steps(tmp_path / "store.db") as steps:
        assert steps.of(ONE_PERCENT) <= 0.0251 * steps.of(ALL)


async def test_a_class_goes_on_being_filled_where_a_restart_broke_it_off(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = await SqliteSyncStore.open(path, Limits())
    shop = Shop(store, await prepare(store, ITEM))
    await shop.keep({key: item("FR") for key in range(6)})
    begun = (await store.open_class(NAME, FRENCH, 4)).classes[0]
    await store.close()
    store = await SqliteSyncStore.open(path, Limits())
    state = await store.open_collection(NAME)
    assert state.classes == (begun,)
    assert not begun.ready
    ready = await store.open_class(NAME, FRENCH, 4)
    assert ready.classes[0].ready
    assert ready.classes[0].epoch == begun.epoch
    device = Device(store, FRENCH)
    await device.catch_up()
    assert len(device.objects) == 6
    await store.close()


async def test_the_number_of_a_class_is_never_used_again(tmp_path: Path) -> None:
    path, epochs = tmp_path / "store.db", set()
    for _ in range(3):
        store = await SqliteSyncStore.open(path, Limits())
        await prepare(store, ITEM)
        epochs.add((await store.open_class(NAME, FRENCH, 4)).classes[0].epoch)
        await store.drop_class(NAME, FRENCH)
        await store.close()
    assert len(epochs) == 3
    with sqlite3.connect(path) as connection:
        left = connection.execute("SELECT count(*) FROM sqlite_master WHERE name LIKE 'members%'").fetchone()
    connection.close()
    assert left == (0,)


async def test_what_is_at_hand_of_a_class_is_what_is_read(tmp_path: Path) -> None:
    """For every cursor from which nothing but the newest group concerns the class."""
    path = tmp_path / "store.db"
    store = await SqliteSyncStore.open(path, Limits())
    shop = Shop(store, await prepare(store, ITEM))
    await shop.keep({1: item("FR"), 2: item("DE"), 3: item("FR")})
    await shop.open(FRENCH)
    await shop.keep({2: item("DE", 2)})
    assert store.at_hand(ChunkRequest(NAME, FRENCH, 3, 0, 3), 10, BYTES_MAX) is None
    for changes in ({1: item("DE"), 2: item("FR")}, {3: None}, {1: item("FR"), 4: item("FR")}):
        before = (await store.open_collection(NAME)).of(FRENCH)
        assert before is not None
        after = await shop.keep(changes)
        other = await SqliteSyncStore.open(path, Limits())
        for cursor in range(after.head + 1):
            request = ChunkRequest(NAME, FRENCH, cursor, 0, cursor)
            at_hand, read = store.at_hand(request, 10, BYTES_MAX), await other.read(request, 10, BYTES_MAX)
            assert (at_hand is not None) == (before.head <= cursor < after.head - len(changes) + 1)
            if at_hand is not None:
                assert set(at_hand.ties) <= set(read.ties)
                assert replace(at_hand, ties=read.ties) == read
        await other.close()
    await store.close()
