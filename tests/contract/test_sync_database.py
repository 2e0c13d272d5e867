"""The sync database, real and in memory: users, devices, links, reports (claims 20b, 20c, 21c, 24c; R9)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from syncd.core.devices import SyncDatabase
from syncd.core.errors import InvariantBroken
from syncd.store.sync_database import SqliteSyncDatabase
from tests.contract.sync_database_kit import KINDS, device, devices_of, failed, opened, report

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture(params=KINDS)
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SyncDatabase]:
    async with opened(request.param, tmp_path) as made:
        yield made


async def test_one_user_identifier_links_to_two_or_more_device_identifiers(database: SyncDatabase) -> None:
    ada, bob = await database.ensure_user("ada"), await database.ensure_user("bob")
    laptop, till, desk = device("laptop"), device("till", 2), device("desk", 3)
    for user, one in ((bob, desk), (ada, till), (ada, laptop)):
        await database.link(user, one)
    assert await devices_of(database, ada) == [laptop, till]
    assert await devices_of(database, bob) == [desk]
    assert await database.all_devices() == [laptop, till, desk]
    assert await database.device(till.id) == till
    assert await database.device("unknown") is None


async def test_a_device_without_an_id_is_not_linked(database: SyncDatabase) -> None:
    ada = await database.ensure_user("ada")
    with pytest.raises(InvariantBroken, match="without an id"):
        await database.link(ada, replace(device("laptop"), id=""))
    assert await database.all_devices() == []


async def test_a_device_linked_again_keeps_its_links_and_takes_what_changed(database: SyncDatabase) -> None:
    ada = await database.ensure_user("ada")
    await database.link(ada, device("laptop"))
    await database.seen(device("laptop").id, 70)
    changed = replace(device("laptop"), name="other", addresses=(), paired_us=9)
    await database.link(ada, changed)
    assert await devices_of(database, ada) == [replace(changed, last_seen_us=70)]


async def test_the_primary_is_the_one_linked_last_whatever_the_clocks_said(database: SyncDatabase) -> None:
    ada = await database.ensure_user("ada")
    shop, office = (replace(device(name, when), role="primary") for name, when in (("shop", 9), ("office", 5)))
    assert await database.primary() is None
    await database.link(ada, shop)
    await database.link(ada, device("laptop", 20))
    assert await database.primary() == shop
    await database.link(ada, office)
    assert await database.primary() == office
    await database.seen(shop.id, 100)
    assert await database.primary() == office
    await database.link(ada, shop)
    assert await database.primary() == replace(shop, last_seen_us=100)


async def test_the_database_says_which_adapter_a_device_speaks(database: SyncDatabase) -> None:
    ada, laptop = await database.ensure_user("ada"), device("laptop")
    await database.link(ada, laptop)
    await database.set_adapter(laptop.id, "json")
    await database.set_adapter("unknown", "json")
    assert await database.all_devices() == [replace(laptop, adapter="json")]


async def test_last_seen_never_goes_back(database: SyncDatabase) -> None:
    ada, laptop = await database.ensure_user("ada"), device("laptop")
    await database.link(ada, laptop)
    for when_us in (50, 40):
        await database.seen(laptop.id, when_us)
    await database.seen("unknown", 60)
    assert await database.all_devices() == [replace(laptop, last_seen_us=50)]


async def test_the_last_report_of_each_device_and_collection_stays_whole(database: SyncDatabase) -> None:
    ada, laptop, till = await database.ensure_user("ada"), device("laptop"), device("till")
    await database.link(ada, laptop)
    await database.link(ada, till)
    first = [(laptop.id, report("notes", 5, failed(4), failed(2))), (till.id, report()), (laptop.id, report("files"))]
    await database.save_reports(first)
    assert await database.reports() == [first[2], first[0], first[1]]
    later = replace(report("notes", 9, failed(7)), offline="disk full", held=True)
    await database.save_reports([(laptop.id, later)])
    assert await database.reports() == [first[2], (laptop.id, later), first[1]]


async def test_what_an_unknown_device_reports_is_not_kept(database: SyncDatabase) -> None:
    await database.save_reports([(device("ghost").id, report("notes", 5, failed(4)))])
    assert await database.reports() == []


async def test_a_sync_database_belongs_to_the_device_that_claimed_it_first(database: SyncDatabase) -> None:
    assert await database.claim("DESK" * 13) == "DESK" * 13
    assert await database.claim("COPY" * 13) == "DESK" * 13


async def test_a_sync_database_opened_again_is_as_it_was(tmp_path: Path) -> None:
    path, laptop = tmp_path / "again.db", device("laptop")
    first = await SqliteSyncDatabase.open(path)
    ada = await first.ensure_user("ada")
    bob = await first.add_user("bob")
    await first.rename_user("ada", "grace")
    await first.link(ada, laptop)
    await first.link_user(bob, laptop.id)
    await first.set_label(laptop.id, "thin")
    await first.revoke(laptop.id, 7)
    await first.set_copied(laptop.id, 8)
    await first.claim("DESK" * 13)
    told = (laptop.id, report("notes", 5, failed(4)))
    await first.save_reports([told])
    await first.close()
    again = await SqliteSyncDatabase.open(path)
    assert await again.users() == [(ada, "grace"), (bob, "bob")]
    assert await again.ensure_user("ada") == ada
    assert await devices_of(again, bob) == [replace(laptop, label="thin", revoked_us=7, copied_us=8)]
    assert await again.links() == [(ada, laptop.id), (bob, laptop.id)]
    assert await again.reports() == [told]
    assert await again.claim("COPY" * 13) == "DESK" * 13
    await again.close()
