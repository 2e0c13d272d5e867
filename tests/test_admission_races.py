"""What a person decides while something else is under way: pairing, revocation and links that meet each other."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from syncd.core.devices import Device, User
from syncd.core.errors import DiskFull, LinkLost, Refused, StoreBroken, UserError
from syncd.core.model import Role
from syncd.primary_link import PrimaryLink
from syncd.store.inbound import SqliteInboundQueue
from syncd.store.sync_database import SqliteSyncDatabase
from syncd.transport.address import format_address
from syncd.transport.dialer import dial
from tests.roles_kit import Town, devices, pair, shown_code
from tests.wait import eventually

pytestmark = pytest.mark.asyncio


@pytest.fixture
def town(tmp_path: Path) -> Town:
    return Town(tmp_path)


async def test_a_link_to_the_former_primary_that_opens_while_another_is_paired_is_not_carried(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep, opened, go_on = PrimaryLink._keep_address, asyncio.Event(), asyncio.Event()

    async def keep_later(self: PrimaryLink, primary: Device) -> None:
        opened.set()
        await go_on.wait()
        await keep(self, primary)

    async with town.primary("one") as one, town.primary("two") as two, town.auxiliary() as laptop:
        await pair(laptop, one)
        monkeypatch.setattr(PrimaryLink, "_keep_address", keep_later)
        assert laptop.link._link is not None
        laptop.link._link.abort()
        await opened.wait()
        pairing = asyncio.create_task(pair(laptop, two))
        await eventually(lambda: laptop.link.primary is not None and laptop.link.primary.name == "two")
        go_on.set()
        assert (await pairing)["linked"] is True


async def test_a_revocation_from_before_does_not_outlive_pairing_again(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, kept, go_on = SqliteSyncDatabase.link, asyncio.Event(), asyncio.Event()

    async def link_slowly(self: SqliteSyncDatabase, user: int, device: Device) -> None:
        await link(self, user, device)
        if device.role == Role.PRIMARY:
            kept.set()
            await go_on.wait()

    async with town.primary() as desk, town.auxiliary() as laptop:
        await pair(laptop, desk)
        monkeypatch.setattr(SqliteSyncDatabase, "link", link_slowly)
        pairing = asyncio.create_task(pair(laptop, desk))
        await kept.wait()
        laptop.link.dialer.failure = Refused("the answer to an earlier dial", code="revoked")
        settling = asyncio.create_task(laptop.link._settle())
        await asyncio.wait((settling,), timeout=0.1)
        go_on.set()
        assert (await pairing)["linked"] is True
        await settling
        assert [one.revoked_us for one in await laptop.rooms.database.all_devices()] == [0]


async def test_a_first_link_whose_record_cannot_be_read_is_made_later(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, broken = SqliteSyncDatabase.users_of, [True]

    async def unreadable(self: SqliteSyncDatabase, device: str) -> list[User]:
        if broken:
            broken.pop()
            raise StoreBroken("it cannot be read", "look at the disk")
        return await read(self, device)

    monkeypatch.setattr(SqliteSyncDatabase, "users_of", unreadable)
    async with town.primary() as desk, town.auxiliary() as laptop:
        assert (await pair(laptop, desk))["linked"] is True
        assert broken == []
        assert [one["users"] for one in await devices(desk)] == [["ada"]]


async def test_who_is_revoked_while_it_comes_for_the_first_time_stays_revoked(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, asked, go_on = SqliteSyncDatabase.link, asyncio.Event(), asyncio.Event()

    async def slowly(self: SqliteSyncDatabase, user: int, device: Device) -> None:
        if desk.rooms.database is self:
            asked.set()
            await go_on.wait()
        await link(self, user, device)

    async with town.primary() as desk, town.auxiliary() as laptop:
        await pair(laptop, desk)
        monkeypatch.setattr(SqliteSyncDatabase, "link", slowly)
        pairing = asyncio.create_task(laptop.answer("pair", {"shown": await shown_code(desk)}))
        await asked.wait()
        revoking = asyncio.create_task(desk.answer("revoke", {"device": "laptop"}))
        await asyncio.wait((revoking,), timeout=0.1)
        go_on.set()
        await revoking
        await eventually(lambda: laptop.link.dialer.over)
        await pairing
        assert [bool(one["revoked"]) for one in await devices(desk)] == [True]
        await eventually(lambda: not desk.engine.connected(laptop.rooms.identity.device_id))


async def test_what_was_read_before_a_revocation_lets_nobody_in(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    read, stale = SqliteSyncDatabase.device, asyncio.Event()

    async def late(self: SqliteSyncDatabase, id: str) -> Device | None:
        found = await read(self, id)
        if not stale.is_set():
            stale.set()
            await asyncio.wait((revoking,), timeout=0.1)
        return found

    async with town.primary() as desk, town.auxiliary() as laptop:
        await pair(laptop, desk)
        own = laptop.rooms.identity.device_id
        monkeypatch.setattr(SqliteSyncDatabase, "device", late)
        knowing = asyncio.create_task(desk.admission.know(own))
        revoking = asyncio.create_task(desk.answer("revoke", {"device": "laptop"}))
        await asyncio.wait((knowing, revoking))
        assert desk.admission.trust.refusal_of(own) == "revoked"
        await eventually(lambda: laptop.link.dialer.over)
        assert not desk.engine.connected(own)


async def test_copied_identities_are_refused_though_the_disk_is_full(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_room(self: SqliteSyncDatabase, device: str, when_us: int) -> None:
        raise DiskFull("no room", "make room")

    async with town.primary() as desk, town.auxiliary() as laptop:
        await pair(laptop, desk)
        monkeypatch.setattr(SqliteSyncDatabase, "set_copied", no_room)
        rooms = laptop.rooms
        address, certificate = format_address(*desk.admission.listener.address), desk.rooms.identity.certificate_der
        copy = await dial(rooms.home.identity, address, certificate, rooms.limits, "a copy")
        with pytest.raises(LinkLost):
            await copy.receive()
        assert copy.refusal == "copied"
        await eventually(lambda: not desk.engine.connected(rooms.identity.device_id))
        await desk.admission.know(rooms.identity.device_id)
        with pytest.raises(Refused, match="copied"):
            await dial(rooms.home.identity, address, certificate, rooms.limits, "a copy")
        assert [one["copied"] != "" for one in await devices(desk)] == [True]


async def test_a_link_ends_though_the_sync_database_cannot_be_read(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    async def unreadable(self: SqliteSyncDatabase, id: str) -> Device | None:
        read.set()
        raise StoreBroken("it cannot be read", "look at the disk")

    read = asyncio.Event()
    async with town.primary() as desk, town.auxiliary() as laptop:
        await pair(laptop, desk)
        monkeypatch.setattr(SqliteSyncDatabase, "device", unreadable)
        assert laptop.link._link is not None
        laptop.link._link.abort()
        await read.wait()
        monkeypatch.undo()
        await eventually(lambda: desk.engine.connected(laptop.rooms.identity.device_id))


async def test_data_that_comes_while_another_primary_is_paired_is_not_replaced_unasked(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R13: the first snapshot may end while a person types the code."""
    told = iter([False])

    async def filled_meanwhile(self: SqliteInboundQueue, collection: str) -> bool:
        return next(told, True)

    async with town.primary("one") as one, town.primary("two") as two, town.auxiliary() as laptop:
        await pair(laptop, one)
        await laptop.answer("accept", {"name": "books", "kind": "sqlite", "path": str(town.path / "books.db")})
        monkeypatch.setattr(SqliteInboundQueue, "filled", filled_meanwhile)
        with pytest.raises(UserError, match="holds the data of one: books"):
            await laptop.answer("pair", {"shown": await shown_code(two)})
        assert laptop.link.primary is not None
        assert laptop.link.primary.name == "one"
        assert next(told, None) is None
