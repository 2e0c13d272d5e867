"""The sync database, real and in memory: what persons set, all or nothing, and the journal of it (claim 24f; R15)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from syncd.core.devices import SyncDatabase
from syncd.core.errors import UserError
from syncd.core.preferences import Changed, Chosen, Place
from tests.contract.sync_database_kit import KINDS, LIMITS, device, opened

pytestmark = pytest.mark.asyncio

TILL = device("till")
NOTES = Place(collection="notes")
ON_TILL = Place(device=TILL.id, collection="notes")


@pytest_asyncio.fixture(params=KINDS)
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SyncDatabase]:
    async with opened(request.param, tmp_path) as made:
        await made.link(await made.ensure_user("ada"), TILL)
        yield made


async def test_each_place_keeps_its_own_value(database: SyncDatabase) -> None:
    ada = await database.ensure_user("ada")
    places = [Place(ada), Place(device=TILL.id), NOTES, ON_TILL]
    values = ["both", "out", "in", "both"]
    chosen = [Chosen(place, "direction", value) for place, value in zip(places, values, strict=True)]
    await database.change_settings(chosen, "ada", 1)
    assert sorted(await database.settings()) == sorted(chosen)
    assert await database.settings() == sorted(await database.settings())


async def test_a_change_is_told_and_noted_and_what_is_the_same_is_not(database: SyncDatabase) -> None:
    first = await database.change_settings([Chosen(NOTES, "direction", "out")], "user 0", 5)
    assert first == [Changed(5, "user 0", NOTES, "direction", "", "out")]
    both = [Chosen(NOTES, "direction", "out"), Chosen(NOTES, "conflicts", "merge")]
    assert [one.name for one in await database.change_settings(both, "import", 6)] == ["conflicts"]
    again = await database.change_settings([Chosen(NOTES, "direction", "in")], "user 0", 7)
    assert again == [Changed(7, "user 0", NOTES, "direction", "out", "in")]
    assert [(one.when_us, one.who, one.after) for one in await database.settings_journal(10)] == [
        (7, "user 0", "in"),
        (6, "import", "merge"),
        (5, "user 0", "out"),
    ]
    assert len(await database.settings_journal(2)) == 2


async def test_what_is_set_no_more_is_gone(database: SyncDatabase) -> None:
    await database.change_settings([Chosen(NOTES, "direction", "out")], "a", 1)
    gone = await database.change_settings([Chosen(NOTES, "direction", ""), Chosen(NOTES, "adapter", "")], "a", 2)
    assert gone == [Changed(2, "a", NOTES, "direction", "out", "")]
    assert await database.settings() == []


async def test_the_last_of_several_values_for_one_place_counts(database: SyncDatabase) -> None:
    twice = [Chosen(NOTES, "direction", "out"), Chosen(NOTES, "direction", "in")]
    assert await database.change_settings(twice, "a", 1) == [Changed(1, "a", NOTES, "direction", "", "in")]
    assert await database.settings() == twice[1:]


@pytest.mark.parametrize(("place", "said"), [(Place(77), "no user 77"), (Place(device="NOBODY"), "no device 'NOBODY'")])
async def test_with_one_that_cannot_be_nothing_is_changed(database: SyncDatabase, place: Place, said: str) -> None:
    with pytest.raises(UserError, match=said):
        await database.change_settings([Chosen(NOTES, "direction", "out"), Chosen(place, "direction", "in")], "a", 1)
    assert (await database.settings(), await database.settings_journal(9)) == ([], [])


async def test_more_than_the_bound_is_refused_whole(database: SyncDatabase) -> None:
    chosen = [Chosen(NOTES, f"name-{number}", "1") for number in range(LIMITS.settings_max + 1)]
    with pytest.raises(UserError, match="settings, which is the most"):
        await database.change_settings(chosen, "a", 1)
    assert await database.settings() == []
    await database.change_settings(chosen[1:], "a", 1)
    await database.change_settings([chosen[0], chosen[1]._replace(value="")], "a", 1)
    assert len(await database.settings()) == LIMITS.settings_max


async def test_the_journal_forgets_the_oldest(database: SyncDatabase) -> None:
    most = LIMITS.settings_journal_max
    for number in range(most + 3):
        await database.change_settings([Chosen(NOTES, "guard.objects", str(number + 1))], "a", number)
    assert [one.when_us for one in await database.settings_journal(99)] == [*range(most + 2, 2, -1)]


async def test_what_was_set_of_a_device_goes_with_it(database: SyncDatabase) -> None:
    await database.change_settings([Chosen(ON_TILL, "direction", "out"), Chosen(NOTES, "direction", "in")], "a", 1)
    await database.forget(TILL.id)
    assert await database.settings() == [Chosen(NOTES, "direction", "in")]
    assert len(await database.settings_journal(9)) == 2, "that it was set is known"
