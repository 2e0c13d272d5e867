"""The sync database: users, devices, their links, and how far each device has come (claims 20b, 21c, 24c; R9)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from syncd.store.sync_database import DeviceRecord, FailedRecord, PositionRecord, SyncDatabase, UserRecord

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def database(tmp_path: Path) -> AsyncIterator[SyncDatabase]:
    opened = await SyncDatabase.open(tmp_path / "sync.db")
    yield opened
    await opened.close()


def device(name: str, paired_us: int = 1) -> DeviceRecord:
    return DeviceRecord(
        id=name.upper() * 4,
        name=name,
        role="auxiliary",
        certificate=b"certificate of " + name.encode(),
        adapter="msgpack",
        addresses=("192.0.2.1:7070", "[2001:db8::1]:7070"),
        paired_us=paired_us,
        last_seen_us=0,
    )


def position(of: DeviceRecord, collection: str = "notes", at: int = 5) -> PositionRecord:
    return PositionRecord(of.id, collection, "epoch", at, 3, True, 0, "", at * 10)


async def test_a_user_is_added_once(database: SyncDatabase) -> None:
    ada = await database.ensure_user("ada")
    assert await database.ensure_user("ada") == ada
    assert await database.ensure_user("bob") != ada
    assert await database.users() == [UserRecord(ada, "ada"), UserRecord(await database.ensure_user("bob"), "bob")]


async def test_one_user_identifier_links_to_two_or_more_device_identifiers(database: SyncDatabase) -> None:
    ada, bob = await database.ensure_user("ada"), await database.ensure_user("bob")
    laptop, till, desk = device("laptop"), device("till", 2), device("desk", 3)
    for user, one in ((ada, laptop), (ada, till), (bob, desk)):
        await database.link(user, one)
    assert await database.devices_of(ada) == [laptop, till]
    assert await database.devices_of(bob) == [desk]
    assert await database.users_of(till.id) == [UserRecord(ada, "ada")]
    assert await database.all_devices() == [laptop, till, desk]
    assert await database.device(till.id) == till
    assert await database.device("unknown") is None


async def test_a_device_linked_again_keeps_its_links_and_takes_what_changed(database: SyncDatabase) -> None:
    ada = await database.ensure_user("ada")
    await database.link(ada, device("laptop"))
    await database.seen(device("laptop").id, 70)
    changed = replace(device("laptop"), name="other", addresses=(), paired_us=9)
    await database.link(ada, changed)
    assert await database.devices_of(ada) == [replace(changed, last_seen_us=70)]


async def test_the_database_says_which_adapter_a_device_speaks(database: SyncDatabase) -> None:
    ada, laptop = await database.ensure_user("ada"), device("laptop")
    await database.link(ada, laptop)
    await database.set_adapter(laptop.id, "json")
    await database.set_addresses(laptop.id, ["192.0.2.9:1"])
    assert await database.device(laptop.id) == replace(laptop, adapter="json", addresses=("192.0.2.9:1",))


async def test_last_seen_never_goes_back(database: SyncDatabase) -> None:
    ada, laptop = await database.ensure_user("ada"), device("laptop")
    await database.link(ada, laptop)
    for when_us in (50, 40):
        await database.seen(laptop.id, when_us)
    assert await database.device(laptop.id) == replace(laptop, last_seen_us=50)


async def test_the_newest_report_of_each_device_and_collection_stays(database: SyncDatabase) -> None:
    ada, laptop, till = await database.ensure_user("ada"), device("laptop"), device("till")
    await database.link(ada, laptop)
    await database.link(ada, till)
    await database.save_positions([position(laptop), position(till), position(laptop, "files", 2)])
    later = replace(position(laptop, at=9), match=False, parked=2, offline="disk full")
    await database.save_positions([later])
    assert await database.positions() == [position(laptop, "files", 2), later, position(till)]


async def test_a_device_that_is_unlinked_leaves_nothing(database: SyncDatabase) -> None:
    ada, laptop = await database.ensure_user("ada"), device("laptop")
    await database.link(ada, laptop)
    await database.save_positions([position(laptop)])
    await database.replace_failed(laptop.id, "notes", [FailedRecord(4, "held", "why", "note", b"a", 1)])
    await database.unlink(laptop.id)
    assert await database.devices_of(ada) == []
    assert (await database.positions(), await database.failed()) == ([], [])


async def test_what_an_unknown_device_reports_is_not_kept(database: SyncDatabase) -> None:
    await database.save_positions([position(device("ghost"))])
    await database.replace_failed(device("ghost").id, "notes", [FailedRecord(4, "held", "why", "note", b"a", 1)])
    assert (await database.positions(), await database.failed()) == ([], [])


async def test_failed_groups_are_those_of_the_last_report_and_keep_since_when(database: SyncDatabase) -> None:
    ada, laptop, till = await database.ensure_user("ada"), device("laptop"), device("till")
    await database.link(ada, laptop)
    await database.link(ada, till)
    first = FailedRecord(4, "rolled-back", "CHECK failed", "note", b"a", 10)
    await database.replace_failed(laptop.id, "notes", [first, replace(first, seq=6)])
    await database.replace_failed(laptop.id, "files", [first])
    await database.replace_failed(till.id, "notes", [first])
    await database.replace_failed(laptop.id, "notes", [replace(first, cause="UNIQUE failed", since_us=90)])
    kept = replace(first, cause="UNIQUE failed", device=laptop.id, collection="notes")
    of_files = replace(first, device=laptop.id, collection="files")
    assert await database.failed(laptop.id) == [of_files, kept]
    assert await database.failed() == [of_files, kept, replace(first, device=till.id, collection="notes")]


async def test_a_database_opened_again_is_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "again.db"
    database = await SyncDatabase.open(path)
    ada = await database.ensure_user("ada")
    await database.link(ada, device("laptop"))
    await database.close()
    database = await SyncDatabase.open(path)
    assert await database.devices_of(ada) == [device("laptop")]
    await database.close()
