"""The sync database, real and in memory: several users, their devices, revocation (claims 20b, 21c, 24c; R9)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from syncd.core.devices import Device, SyncDatabase
from syncd.core.errors import UserError
from tests.contract.sync_database_kit import KINDS, LIMITS, device, devices_of, opened, report

pytestmark = pytest.mark.asyncio

LAPTOP, TILL, DESK = device("laptop"), device("till", 2), device("desk", 3)
SHOP, OFFICE, HOME = (replace(device(name), role="primary") for name in ("shop", "office", "home"))


@pytest_asyncio.fixture(params=KINDS)
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SyncDatabase]:
    async with opened(request.param, tmp_path) as made:
        yield made


async def names_of(database: SyncDatabase, device: Device) -> list[str]:
    return [user.name for user in await database.users_of(device.id)]


# ---------------------------------------------------------------- users


async def test_a_user_is_added_once(database: SyncDatabase) -> None:
    ada = await database.ensure_user("ada")
    assert await database.ensure_user("ada") == ada
    bob = await database.add_user("bob")
    assert await database.users() == [(ada, "ada"), (bob, "bob")]
    assert await database.user_name(bob) == "bob"


async def test_a_user_who_is_there_is_not_added_again(database: SyncDatabase) -> None:
    await database.add_user("ada")
    with pytest.raises(UserError, match="is a user 'ada' already") as caught:
        await database.add_user("ada")
    assert caught.value.advice
    assert len(await database.users()) == 1


async def test_a_user_keeps_the_id_and_the_devices_with_another_name(database: SyncDatabase) -> None:
    ada = await database.add_user("ada")
    await database.link(ada, LAPTOP)
    await database.rename_user("ada", "grace")
    assert await database.users() == [(ada, "grace")]
    assert await names_of(database, LAPTOP) == ["grace"]


async def test_a_former_name_makes_no_second_user(database: SyncDatabase) -> None:
    """config.toml holds it until it is written anew, and a crash may come between."""
    ada = await database.add_user("ada")
    await database.rename_user("ada", "grace")
    assert await database.ensure_user("ada") == ada
    await database.rename_user("grace", "ada")
    assert await database.ensure_user("grace") == ada
    assert await database.users() == [(ada, "ada")]


async def test_a_former_name_that_a_person_gives_away_is_the_new_users(database: SyncDatabase) -> None:
    ada = await database.add_user("ada")
    await database.rename_user("ada", "grace")
    second = await database.add_user("ada")
    assert second != ada
    assert await database.ensure_user("ada") == second
    await database.rename_user("ada", "bob")
    assert await database.ensure_user("ada") == second
    await database.rename_user("grace", "ada")
    assert await database.ensure_user("ada") == ada


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("eve", "grace", "no user 'eve'"),
        ("ada", "bob", "a user 'bob' already"),
        ("ada", "ada", "a user 'ada' already"),
        ("ada", "a b", "'a b' is no name"),
        ("ada", "", "'' is no name"),
    ],
)
async def test_a_change_of_name_that_cannot_be_is_refused(
    database: SyncDatabase, old: str, new: str, problem: str
) -> None:
    ada, bob = await database.add_user("ada"), await database.add_user("bob")
    with pytest.raises(UserError, match=problem) as caught:
        await database.rename_user(old, new)
    assert caught.value.advice
    assert await database.users() == [(ada, "ada"), (bob, "bob")]


@pytest.mark.parametrize("name", ["", "a b", "-ada", "a" * 65, "\N{SNOWMAN}", "a\n"])
async def test_what_is_no_name_names_no_user_and_no_device(database: SyncDatabase, name: str) -> None:
    ada = await database.add_user("ada")
    await database.link(ada, LAPTOP)
    for named in (database.add_user(name), database.ensure_user(name), database.set_name(LAPTOP.id, name)):
        with pytest.raises(UserError, match="is no name"):
            await named
    if name:
        with pytest.raises(UserError, match="is no name"):
            await database.set_label(LAPTOP.id, name)
    assert await database.users() == [(ada, "ada")]
    assert await database.all_devices() == [LAPTOP]


async def test_users_are_no_more_than_the_bound(database: SyncDatabase) -> None:
    for number in range(LIMITS.users_max):
        await database.add_user(f"user{number}")
    for one_more in (database.add_user("ada"), database.ensure_user("ada")):
        with pytest.raises(UserError, match="there are 3 users") as caught:
            await one_more
        assert caught.value.advice
    assert await database.ensure_user("user0")
    assert len(await database.users()) == LIMITS.users_max


# ---------------------------------------------------------------- links


async def test_a_device_is_linked_with_several_users_in_the_order_of_linking(database: SyncDatabase) -> None:
    ada, bob = await database.add_user("ada"), await database.add_user("bob")
    await database.link(bob, LAPTOP)
    await database.link(ada, TILL)
    for _ in range(2):
        await database.link_user(ada, LAPTOP.id)
    assert await database.users_of(LAPTOP.id) == [(bob, "bob"), (ada, "ada")]
    assert await devices_of(database, ada) == [LAPTOP, TILL]
    assert await database.links() == [(ada, LAPTOP.id), (ada, TILL.id), (bob, LAPTOP.id)]
    assert await database.users_of_all() == {LAPTOP.id: ("bob", "ada"), TILL.id: ("ada",)}


async def test_a_device_that_is_unlinked_stays_known(database: SyncDatabase) -> None:
    ada, bob = await database.add_user("ada"), await database.add_user("bob")
    await database.link(ada, LAPTOP)
    await database.link_user(bob, LAPTOP.id)
    for _ in range(2):
        await database.unlink_user(ada, LAPTOP.id)
    assert await names_of(database, LAPTOP) == ["bob"]
    await database.unlink_user(bob, LAPTOP.id)
    assert await names_of(database, LAPTOP) == []
    assert (await database.links(), await database.users_of_all()) == ([], {})
    assert await database.all_devices() == [LAPTOP]
    await database.link_user(bob, LAPTOP.id)
    assert await names_of(database, LAPTOP) == ["bob"]


async def test_only_what_is_there_is_linked_and_unlinked(database: SyncDatabase) -> None:
    ada = await database.add_user("ada")
    await database.link(ada, LAPTOP)
    for user, other, problem in ((99, LAPTOP.id, "no user 99"), (ada, "GHOST", "no device 'GHOST'")):
        for change in (database.link_user(user, other), database.unlink_user(user, other)):
            with pytest.raises(UserError, match=problem) as caught:
                await change
            assert caught.value.advice
    assert await database.links() == [(ada, LAPTOP.id)]
    with pytest.raises(UserError, match="no user 99"):
        await database.user_name(99)


async def test_devices_are_no_more_than_the_bound(database: SyncDatabase) -> None:
    ada = await database.add_user("ada")
    for number in range(LIMITS.devices_max):
        await database.link(ada, device(f"till{number}"))
    with pytest.raises(UserError, match="there are 4 devices") as caught:
        await database.link(ada, LAPTOP)
    assert caught.value.advice
    assert await database.device(LAPTOP.id) is None
    await database.link(ada, device("till0"))
    await database.forget(device("till0").id)
    await database.link(ada, LAPTOP)
    assert len(await database.all_devices()) == LIMITS.devices_max


# ---------------------------------------------------------------- devices


async def test_a_label_is_what_is_shown_and_outlives_a_new_pairing(database: SyncDatabase) -> None:
    ada = await database.add_user("ada")
    await database.link(ada, LAPTOP)
    await database.set_label(LAPTOP.id, "thin")
    await database.link(ada, replace(LAPTOP, name="other"))
    (found,) = await database.all_devices()
    assert (found.label, found.name, found.shown) == ("thin", "other", "thin")
    await database.set_label(LAPTOP.id, "")
    (found,) = await database.all_devices()
    assert (found.label, found.shown) == ("", "other")


async def test_a_device_takes_another_name(database: SyncDatabase) -> None:
    await database.link(await database.add_user("ada"), LAPTOP)
    await database.set_name(LAPTOP.id, "other")
    await database.set_name("GHOST", "other")
    assert await database.all_devices() == [replace(LAPTOP, name="other")]


async def test_a_revoked_device_stays_with_what_it_reported_until_it_is_paired_again(database: SyncDatabase) -> None:
    ada = await database.add_user("ada")
    await database.link(ada, LAPTOP)
    await database.save_reports([(LAPTOP.id, report())])
    await database.revoke(LAPTOP.id, 70)
    await database.set_copied(LAPTOP.id, 80)
    assert await devices_of(database, ada) == [replace(LAPTOP, revoked_us=70, copied_us=80)]
    assert await database.reports() == [(LAPTOP.id, report())]
    await database.link(ada, LAPTOP)
    assert await database.all_devices() == [LAPTOP]


async def test_a_revoked_device_that_is_paired_again_is_linked_with_that_user_alone(database: SyncDatabase) -> None:
    ada, bob = await database.add_user("ada"), await database.add_user("bob")
    await database.link(ada, LAPTOP)
    await database.link(bob, LAPTOP)
    assert await database.links() == [(ada, LAPTOP.id), (bob, LAPTOP.id)]
    await database.revoke(LAPTOP.id, 70)
    await database.link(bob, LAPTOP)
    assert await database.links() == [(bob, LAPTOP.id)]


async def test_where_a_device_is_reached_may_change(database: SyncDatabase) -> None:
    await database.link(await database.add_user("ada"), LAPTOP)
    await database.set_addresses(LAPTOP.id, ("b:2", "a:1"))
    await database.set_addresses("GHOST", ("c:3",))
    assert await database.all_devices() == [replace(LAPTOP, addresses=("b:2", "a:1"))]


async def test_a_person_decides_that_a_copied_device_is_the_right_one(database: SyncDatabase) -> None:
    await database.link(await database.add_user("ada"), LAPTOP)
    await database.set_copied(LAPTOP.id, 80)
    await database.set_copied("GHOST", 80)
    await database.set_copied(LAPTOP.id, 0)
    assert await database.all_devices() == [LAPTOP]


async def test_only_a_device_that_is_there_is_labelled_or_revoked(database: SyncDatabase) -> None:
    for asked in (database.set_label("GHOST", "thin"), database.revoke("GHOST", 70)):
        with pytest.raises(UserError, match="no device 'GHOST'") as caught:
            await asked
        assert caught.value.advice


async def test_a_forgotten_device_leaves_nothing(database: SyncDatabase) -> None:
    ada, bob = await database.add_user("ada"), await database.add_user("bob")
    for one in (LAPTOP, TILL):
        await database.link(ada, one)
        await database.save_reports([(one.id, report())])
    await database.link_user(bob, LAPTOP.id)
    for _ in range(2):
        await database.forget(LAPTOP.id)
    assert await database.all_devices() == [TILL]
    assert await database.links() == [(ada, TILL.id)]
    assert await database.reports() == [(TILL.id, report())]
    await database.link(bob, LAPTOP)
    assert await names_of(database, LAPTOP) == ["bob"]


async def test_the_primary_before_is_followed_again_when_the_last_is_forgotten(database: SyncDatabase) -> None:
    ada = await database.add_user("ada")
    for primary in (SHOP, OFFICE, SHOP, HOME):
        await database.link(ada, primary)
    await database.forget(OFFICE.id)
    assert await database.primary() == HOME
    await database.forget(HOME.id)
    assert await database.primary() == SHOP
    await database.forget(SHOP.id)
    assert await database.primary() is None
