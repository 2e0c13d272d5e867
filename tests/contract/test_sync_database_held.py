"""The sync database, real and in memory: changes of settings that are held, and what settings took away (R13; R15)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from syncd.core.devices import SyncDatabase
from syncd.core.errors import UserError
from syncd.core.loss import HeldSettings, Loss, Weighed
from syncd.core.preferences import Chosen, Place
from syncd.store.sync_database import SqliteSyncDatabase
from tests.contract.sync_database_kit import KINDS, LIMITS, device, opened

pytestmark = pytest.mark.asyncio

TILL, DESK = device("till"), device("desk")
NOTES = Place(collection="notes")
ON_TILL = Place(device=TILL.id, collection="notes")
NARROW = Chosen(ON_TILL, "selection", 'where country == "FR"')
OUT = Chosen(NOTES, "direction", "out")
TAKES = Loss(TILL.id, "notes", 90, 100)
DAY_US = 86_400 * 1_000_000
WEEK_US = 7 * DAY_US


@pytest_asyncio.fixture(params=KINDS)
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SyncDatabase]:
    async with opened(request.param, tmp_path) as made:
        for one in (TILL, DESK):
            await made.link(await made.ensure_user("ada"), one)
        yield made


async def test_a_change_that_is_held_is_kept_and_nothing_is_set(database: SyncDatabase) -> None:
    held = await database.hold_settings([NARROW, OUT], [TAKES], "uid 7", 5)
    assert held == HeldSettings(1, 5, "uid 7", (NARROW, OUT), (TAKES,))
    assert await database.held_settings() == [held]
    assert await database.settings() == []
    assert await database.settings_journal(9) == []


async def test_a_change_that_is_dropped_is_gone_and_its_number_never_comes_again(database: SyncDatabase) -> None:
    await database.hold_settings([NARROW], [TAKES], "", 5)
    assert await database.drop_held_settings(1)
    assert not await database.drop_held_settings(1)
    assert await database.held_settings() == []
    assert (await database.hold_settings([NARROW], [TAKES], "", 6)).number == 2


@pytest.mark.parametrize("value", ["all", ""])
async def test_what_is_said_later_of_the_same_value_counts(database: SyncDatabase, value: str) -> None:
    await database.hold_settings([OUT, NARROW], [TAKES], "", 5)
    other = await database.hold_settings([Chosen(NOTES, "selection", "all")], [TAKES], "", 5)
    await database.change_settings([NARROW._replace(value=value)], "", 6)
    assert await database.held_settings() == [other]
    again = await database.hold_settings([Chosen(NOTES, "selection", "where id > 1")], [TAKES], "", 7)
    assert await database.held_settings() == [again]


async def test_more_than_so_many_are_not_held(database: SyncDatabase) -> None:
    await database.hold_settings([NARROW], [TAKES], "", 1)
    await database.hold_settings([OUT], [TAKES], "", 1)
    with pytest.raises(UserError, match="2 held changes of settings, which is the most"):
        await database.hold_settings([Chosen(NOTES, "conflicts", "merge")], [TAKES], "", 1)
    await database.hold_settings([NARROW], [TAKES], "", 2)
    assert len(await database.held_settings()) == 2


async def test_one_that_is_approved_is_set_and_held_no_longer(database: SyncDatabase) -> None:
    held = await database.hold_settings([NARROW], [TAKES], "", 1)
    await database.change_settings(held.chosen, "", 2, Weighed(held.losses, True, held.number, DAY_US))
    assert await database.held_settings() == []
    assert await database.settings() == [NARROW]


async def test_what_was_taken_away_counts_together_for_each_device_until_it_is_long_ago(
    database: SyncDatabase,
) -> None:
    some, other = Weighed((TAKES._replace(objects=9),), window_us=DAY_US), Loss(DESK.id, "notes", 4, 100)
    await database.change_settings([NARROW], "", WEEK_US, some)
    await database.change_settings([OUT], "", WEEK_US + DAY_US // 2, some._replace(losses=(*some.losses, other)))
    assert await database.taken_away(WEEK_US) == {(TILL.id, "notes"): 18, (DESK.id, "notes"): 4}
    assert await database.taken_away(WEEK_US + DAY_US // 4) == {(TILL.id, "notes"): 9, (DESK.id, "notes"): 4}
    await database.change_settings([], "", 2 * WEEK_US, Weighed(window_us=DAY_US))
    assert await database.taken_away(0) == {}


async def test_what_a_person_approved_does_not_count_nor_what_was_before(database: SyncDatabase) -> None:
    other = Loss(DESK.id, "notes", 4, 100)
    await database.change_settings([NARROW], "", WEEK_US, Weighed((TAKES, other), window_us=DAY_US))
    await database.change_settings([OUT], "", WEEK_US, Weighed((TAKES,), True, 0, DAY_US))
    assert await database.taken_away(0) == {(DESK.id, "notes"): 4}


async def test_nothing_is_taken_away_from_a_device_that_is_forgotten(database: SyncDatabase) -> None:
    await database.change_settings([OUT], "", WEEK_US, Weighed((TAKES,), window_us=DAY_US))
    await database.forget(TILL.id)
    assert await database.taken_away(0) == {}


async def test_a_change_that_cannot_be_takes_nothing_away(database: SyncDatabase) -> None:
    held = await database.hold_settings([NARROW], [TAKES], "", 1)
    await database.forget(TILL.id)
    with pytest.raises(UserError, match="no device"):
        await database.change_settings(held.chosen, "", 2, Weighed((TAKES,), False, held.number, DAY_US))
    assert await database.held_settings() == [held]
    assert await database.taken_away(0) == {}


async def test_what_is_held_and_what_was_taken_away_outlive_the_daemon(tmp_path: Path) -> None:
    first = await SqliteSyncDatabase.open(tmp_path / "sync.db", LIMITS)
    await first.link(await first.ensure_user("ada"), TILL)
    held = await first.hold_settings([NARROW], [TAKES], "uid 7", 5)
    await first.change_settings([OUT], "", WEEK_US, Weighed((TAKES,), window_us=DAY_US))
    await first.close()
    again = await SqliteSyncDatabase.open(tmp_path / "sync.db", LIMITS)
    try:
        assert await again.held_settings() == [held]
        assert await again.taken_away(WEEK_US) == {(TILL.id, "notes"): 90}
    finally:
        await again.close()
