"""The primary's daemon: what it remembers of devices, and what it forgets when all have passed it (R5, R9)."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from syncd.adapters.msgpack_adapter import MsgpackAdapter
from syncd.core import source as sources
from syncd.core.devices import Device, SyncDatabase
from syncd.core.edits import Direction, Policy, Ruling, Side, Written
from syncd.core.effects import SaveReport
from syncd.core.errors import DiskFull, UserError
from syncd.core.intake_state import Intake
from syncd.core.messages import Made, Report, Upload
from syncd.core.model import Kind, ObjectId
from syncd.core.ports import ChunkRequest, CollectionState
from syncd.core.selection import ALL
from syncd.core.sending import Standing
from syncd.core.status import Json
from syncd.home import config
from syncd.primary import Primary
from syncd.store.sync_database import SqliteSyncDatabase
from tests.contract.sync_store_kit import NAME, Writer, prepare
from tests.ports import free_port
from tests.rooms_kit import device_of, primary_home, rooms_of

pytestmark = pytest.mark.asyncio

DAY_US = 86_400 * 1_000_000


def report(epoch: str, position: int) -> Report:
    return Report(NAME, epoch, position, bytes(16), 0, True, 0, "")


class Desk:
    """A primary with two devices, whose store holds a collection in which objects were deleted."""

    def __init__(self, primary: Primary, devices: Sequence[Device], writer: Writer) -> None:
        self.primary = primary
        self.devices = devices
        self.writer = writer
        self.owner = "ada"

    @property
    def database(self) -> SyncDatabase:
        return self.primary.rooms.database

    async def deletes(self, key: str) -> int:
        """An object comes and goes. Returns the sequence number."""
        await self.writer.keep({key: "1"})
        return (await self.writer.keep({key: None})).head

    async def forgets(self, *positions: int) -> int:
        """Up to where, when the devices reported these positions, the first device first."""
        store, engine = self.primary.store, self.primary.engine
        state = await self.shares()
        for device, position in zip(self.devices, positions, strict=False):
            engine.standings[device.id, NAME] = Standing(report(state.epoch, position), 0.0)
        await self.primary.prune()
        return (await store.open_collection(NAME)).horizon

    async def shares(self) -> CollectionState:
        """The collection is the owner's, and was imported."""
        engine, state = self.primary.engine, await self.primary.store.open_collection(NAME)
        engine.owners[NAME] = self.owner
        source, _ = sources.start(NAME, self.primary.rooms.limits)
        engine.sources[NAME] = replace(source, state=replace(state, imported=True))
        return state

    async def tells(self, what: str) -> list[Json]:
        """A part of the status."""
        found = (await self.primary.answer("status", {}))[what]
        assert isinstance(found, list)
        return found


@asynccontextmanager
async def desk(tmp_path: Path, wall_us: int = 0) -> AsyncIterator[Desk]:
    async with rooms_of(primary_home(tmp_path / "desk")) as (rooms, stack):
        user = await rooms.database.ensure_user("ada")
        devices = [device_of(at, tmp_path / f"till-{at}") for at in range(2)]
        for device in devices:
            await rooms.database.link(user, device)
        if wall_us:
            rooms.ports.wall_us = lambda: wall_us
        primary = Primary(rooms, stack)
        await primary.open()
        yield Desk(primary, devices, Writer(primary.store, await prepare(primary.store)))


def another_daemon(before: Primary) -> Primary:
    """Of the same home, at another port."""
    rooms = before.rooms
    config.save(rooms.home, msgspec.structs.replace(rooms.config, listen=f"127.0.0.1:{free_port()}"))
    rooms.reload()
    return Primary(rooms, before._stack)


async def test_deleted_objects_are_remembered_until_the_slowest_device_has_passed_them(tmp_path: Path) -> None:
    async with desk(tmp_path, wall_us=DAY_US) as here:
        first, second = await here.deletes("a"), await here.deletes("b")
        assert await here.forgets(second, first) == first
        assert await here.forgets(second, second) == second


async def test_what_came_and_went_while_a_device_was_away_is_forgotten_at_once(tmp_path: Path) -> None:
    async with desk(tmp_path, wall_us=DAY_US) as here:
        away = (await here.writer.keep({"z": "1"})).head
        await here.deletes("a")
        await here.writer.keep({"z": None})
        assert await here.forgets(away, away) == away, "the horizon is where they stand"
        assert await tombstones(here) == [b"z"]
        assert await here.forgets(away, (await here.primary.store.open_collection(NAME)).head) == away
        assert await tombstones(here) == [b"z"]
        head = (await here.primary.store.open_collection(NAME)).head
        assert await here.forgets(head, head) == head
        assert await tombstones(here) == []


async def test_what_a_device_may_have_been_sent_is_not_forgotten(tmp_path: Path) -> None:
    async with desk(tmp_path, wall_us=DAY_US) as here:
        state = await here.primary.store.open_collection(NAME)
        gone = await here.deletes("a")
        away = here.devices[0].id
        here.primary.engine.reaches.sent(away, NAME, state.epoch, gone - 1)
        await here.forgets(0, gone)
        assert await tombstones(here) == [b"a"]
        here.primary.engine.reaches.spans.clear()
        await here.forgets(0, gone)
        assert await tombstones(here) == []


async def tombstones(here: Desk) -> list[bytes]:
    chunk = await here.primary.store.read(ChunkRequest(NAME, ALL, 2**62, 0, 0), 1_000, 1_000_000)
    return [row.key for row in chunk.rows if row.fields is None]


async def test_a_device_that_never_reported_keeps_deleted_objects_remembered(tmp_path: Path) -> None:
    async with desk(tmp_path, wall_us=DAY_US) as here:
        assert await here.forgets(await here.deletes("a")) == 0


async def test_deleted_objects_are_forgotten_after_ninety_days_whoever_was_away(tmp_path: Path) -> None:
    """``tombstone_s_max``"""
    async with desk(tmp_path, wall_us=90 * DAY_US) as here:
        deleted = await here.deletes("a")
        assert await here.forgets() == 0, "they are ninety days old at the most"
        here.primary.rooms.ports.wall_us = lambda: 90 * DAY_US + 1_000
        assert await here.forgets() == deleted


async def test_what_a_device_reported_is_known_after_a_restart(tmp_path: Path) -> None:
    async with desk(tmp_path) as here:
        primary, device = here.primary, here.devices[0].id
        primary.driver.order([SaveReport(device, report("epoch", 7))])
        await primary.save()
        again = another_daemon(primary)
        await again.open()
        assert again.engine.standings[device, NAME].report == report("epoch", 7)


async def test_a_report_that_finds_no_room_is_written_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk(tmp_path) as here:
        primary, device = here.primary, here.devices[0].id
        primary.driver.order([SaveReport(device, report("epoch", 7))])

        async def full(self: SqliteSyncDatabase, reports: Sequence[tuple[str, Report]]) -> None:
            raise DiskFull("no room", "make room")

        with monkeypatch.context() as patch:
            patch.setattr(SqliteSyncDatabase, "save_reports", full)
            with pytest.raises(DiskFull):
                await primary.save()
        await primary.save()
        assert await primary.rooms.database.reports() == [(device, report("epoch", 7))]


# ---------------------------------------------------------------- several users (R9)


async def test_only_devices_of_the_collections_user_keep_deleted_objects_remembered(tmp_path: Path) -> None:
    async with desk(tmp_path, wall_us=DAY_US) as here:
        first, second = await here.deletes("a"), await here.deletes("b")
        ada, grace = await here.database.ensure_user("ada"), await here.database.ensure_user("grace")
        await here.database.link_user(grace, here.devices[1].id)
        await here.database.unlink_user(ada, here.devices[1].id)
        await here.primary.admission.recall()
        assert await here.forgets(first, 0) == first, "the other device is not ada's"
        here.owner = "grace"
        assert await here.forgets(first, second) == second


async def test_a_device_that_was_cut_off_keeps_nothing_remembered(tmp_path: Path) -> None:
    async with desk(tmp_path, wall_us=DAY_US) as here:
        deleted = await here.deletes("a")
        await here.database.revoke(here.devices[1].id, DAY_US)
        await here.primary.admission.recall()
        assert await here.forgets(deleted, 0) == deleted


async def test_the_status_says_whose_devices_they_are_and_which_are_not_let_in(tmp_path: Path) -> None:
    async with desk(tmp_path) as here:
        first, second = here.devices
        await here.database.link_user(await here.database.ensure_user("grace"), first.id)
        await here.database.set_label(first.id, "front")
        await here.database.revoke(second.id, DAY_US)
        await here.database.set_copied(first.id, 2 * DAY_US)
        await here.primary.admission.recall()
        told = await here.tells("devices")
        assert [(one["name"], one["users"], one["revoked"], one["copied"]) for one in told] == [
            ("front", ["ada", "grace"], "", "1970-01-03T00:00:00+00:00"),
            ("till-1", ["ada"], "1970-01-02T00:00:00+00:00", ""),
        ]


async def test_the_groups_of_a_device_are_those_of_its_users(tmp_path: Path) -> None:
    async with desk(tmp_path) as here:
        await here.deletes("a")
        here.owner = "grace"
        await here.shares()
        assert (await here.primary.answer("transactions", {}))["transactions"] == []
        grace = await here.database.ensure_user("grace")
        await here.database.link_user(grace, here.devices[0].id)
        await here.primary.admission.recall()
        rows = (await here.primary.answer("transactions", {}))["transactions"]
        assert isinstance(rows, list)
        assert {row["device"] for row in rows} == {here.devices[0].id}


async def test_a_user_whose_name_was_changed_is_the_same_although_the_file_has_the_former_one(tmp_path: Path) -> None:
    """A crash came between the two."""
    async with desk(tmp_path) as here:
        await here.database.rename_user("ada", "grace")
        again = another_daemon(here.primary)
        await again.open()
        assert config.load(again.rooms.home).user == "grace"
        assert (await again.answer("status", {}))["user"] == "grace"
        assert [user.name for user in await here.database.users()] == ["grace"]
        assert again.engine.users == {device.id: ("grace",) for device in here.devices}


async def test_a_collection_is_shared_for_another_user_while_the_daemon_runs(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE note (id INTEGER PRIMARY KEY)")
    async with desk(tmp_path) as here:
        running = asyncio.create_task(here.primary.run())
        try:
            await asyncio.wait_for(here.primary.driver.started.wait(), 30.0)
            place: Json = {"name": "notes", "kind": "sqlite", "path": str(path)}
            with pytest.raises(UserError, match="is no name"):
                await here.primary.answer("share", place | {"user": "a b"})
            await here.primary.answer("share", place | {"user": "grace"})
            assert [(one["name"], one["user"]) for one in await here.tells("collections")] == [("notes", "grace")]
            assert here.primary.rooms.config.collections[0].user == "grace"
        finally:
            running.cancel()
            await asyncio.wait((running,))
            await asyncio.get_running_loop().shutdown_default_executor()


# ---------------------------------------------------------------- changes from auxiliaries


async def conflict_of(here: Desk, device: str, time_us: int) -> None:
    """A device changed what was changed here as well, and that was settled at this time."""
    side = Side(ObjectId("note", b"\x91\x01"), None, b"\x90", None, b"\x90", True)
    written = Written(device, "outbox", 1, Ruling.REFUSED, 0, "it was changed", None, (side,))
    await here.primary.uploads.settle(NAME, [written], 0, "primary", time_us)


async def test_conflicts_are_counted_and_forgotten_after_thirty_days(tmp_path: Path) -> None:
    """``conflict_s_max``"""
    async with desk(tmp_path, wall_us=31 * DAY_US) as here:
        await here.shares()
        await conflict_of(here, here.devices[0].id, DAY_US - 1)
        await conflict_of(here, here.devices[1].id, DAY_US)
        assert [(one["name"], one["conflicts"]) for one in await here.tells("collections")] == [(NAME, 2)]
        await here.primary.prune()
        assert [(one["name"], one["conflicts"]) for one in await here.tells("collections")] == [(NAME, 1)]


async def test_the_status_says_which_way_changes_travel_and_who_wins(tmp_path: Path) -> None:
    async with desk(tmp_path) as here:
        await here.shares()
        here.primary.engine.set_terms(NAME, Direction.OUT, Policy.MERGE)
        (line,) = await here.tells("collections")
        assert (line["direction"], line["policy"]) == ("out", "merge")


async def test_the_status_says_why_changes_of_auxiliaries_wait(tmp_path: Path) -> None:
    async with desk(tmp_path) as here:
        await here.shares()
        waits = Intake(NAME, here.primary.rooms.limits, reason="it is locked", no_room="no room to write uploads.db")
        here.primary.engine.intakes[NAME] = waits
        (line,) = await here.tells("collections")
        assert line["problems"] == [
            "changes of auxiliaries cannot be written: it is locked",
            "changes of auxiliaries cannot be kept: no room to write uploads.db",
        ]


async def test_what_waits_of_a_device_goes_when_it_is_revoked(tmp_path: Path) -> None:
    async with desk(tmp_path) as here:
        device = here.devices[0].id
        made = (Made(1, DAY_US, 1, whole=True, offered=False),)
        upload = Upload(NAME, "outbox", DAY_US, made, bytes([Kind.DELETE]), [1], [b"\x91\x01"], [b"\x90"], [b""])
        await here.primary.uploads.stage(device, [(upload, MsgpackAdapter().encode(upload))], DAY_US)
        assert len((await here.primary.uploads.next(NAME, 0, 10))[1]) == 1
        await here.primary.answer("revoke", {"device": device})
        assert (await here.primary.uploads.next(NAME, 0, 10))[1] == ()


# ---------------------------------------------------------------- settings


async def test_what_is_forgotten_of_a_collection_is_as_a_person_chose(tmp_path: Path) -> None:
    async with desk(tmp_path, wall_us=31 * DAY_US) as here:
        await here.shares()
        await conflict_of(here, here.devices[0].id, DAY_US - 1)
        await here.primary.answer("settings_set", {"name": f"{NAME}.conflicts.age", "value": "60d"})
        await here.primary.prune()
        assert [one["conflicts"] for one in await here.tells("collections")] == [1]
        await here.primary.answer("settings_unset", {"name": f"{NAME}.conflicts.age"})
        await here.primary.prune()
        assert [one["conflicts"] for one in await here.tells("collections")] == [0]


@pytest.mark.parametrize(("most", "left"), [(15, 3), (14, 2)])
async def test_former_versions_are_kept_up_to_so_many_bytes(tmp_path: Path, most: int, left: int) -> None:
    """``history_bytes_max``"""
    async with desk(tmp_path) as here:
        await here.writer.imported({"a": "1", "b": "1"})
        await here.shares()
        for values in ({"a": "2" * 10}, {"b": "2" * 10}, {"a": "3"}):  # these replace 2, 2 and 11 bytes
            await here.writer.keep(values)
        here.primary.rooms.ports.limits_by[NAME] = replace(here.primary.rooms.limits, history_bytes_max=most)
        await here.primary.prune()
        kept = [await here.primary.store.history(NAME, here.writer.type, key, 9) for key in (b"a", b"b")]
        assert sum(len(versions) - 1 for versions in kept) == left


async def test_a_device_that_is_sent_nothing_keeps_no_tombstones(tmp_path: Path) -> None:
    async with desk(tmp_path, wall_us=DAY_US) as here:
        deleted = await here.deletes("a")
        assert await here.forgets(deleted, 0) == 0
        only: Json = {"name": f"{NAME}.direction", "value": "in", "device": here.devices[1].id}
        await here.primary.answer("settings_set", only)
        assert await here.forgets(deleted, 0) == deleted


async def test_settings_are_in_force_from_the_start_and_follow_a_user_that_is_renamed(tmp_path: Path) -> None:
    async with desk(tmp_path) as here:
        await here.primary.answer("settings_set", {"name": "direction", "value": "out"})
        await here.primary.answer("user_rename", {"user": "ada", "name": "grace"})
        await asyncio.get_running_loop().shutdown_default_executor()
        other = another_daemon(here.primary)
        await other.open()
        told = await other.answer("settings", {})
        assert told["user"] == "grace"
        assert [(one["value"], one["from"]) for one in told["settings"] if one["name"] == "direction"] == [  # type: ignore[attr-defined]
            ("out", "user grace")
        ]
