"""The primary's daemon: what it remembers of devices, and what it forgets when all have passed it (R5, R9)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from syncd.core import source as sources
from syncd.core.devices import Device
from syncd.core.effects import SaveReport
from syncd.core.errors import DiskFull
from syncd.core.messages import Report
from syncd.core.primary_engine import Standing
from syncd.primary import Primary
from syncd.store.sync_database import SqliteSyncDatabase
from tests.contract.sync_store_kit import NAME, Writer, prepare
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

    async def deletes(self, key: str) -> int:
        """An object comes and goes. Returns the sequence number."""
        await self.writer.keep({key: "1"})
        return (await self.writer.keep({key: None})).head

    async def forgets(self, *positions: int) -> int:
        """Up to where, when the devices reported these positions, the first device first."""
        store, engine = self.primary.store, self.primary.engine
        state = await store.open_collection(NAME)
        source, _ = sources.start(NAME, self.primary.rooms.limits)
        engine.sources[NAME] = replace(source, state=replace(state, imported=True))
        for device, position in zip(self.devices, positions, strict=False):
            engine.standings[device.id, NAME] = Standing(report(state.epoch, position), 0.0)
        await self.primary.prune()
        return (await store.open_collection(NAME)).horizon


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


async def test_deleted_objects_are_remembered_until_the_slowest_device_has_passed_them(tmp_path: Path) -> None:
    async with desk(tmp_path, wall_us=DAY_US) as here:
        first, second = await here.deletes("a"), await here.deletes("b")
        assert await here.forgets(second, first) == first
        assert await here.forgets(second, second) == second


async def test_a_device_that_never_reported_keeps_deleted_objects_remembered(tmp_path: Path) -> None:
    async with desk(tmp_path, wall_us=DAY_US) as here:
        assert await here.forgets(await here.deletes("a")) == 0


async def test_deleted_objects_are_forgotten_after_ninety_days_whoever_was_away(tmp_path: Path) -> None:
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
        again = Primary(primary.rooms, primary._stack)
        await again._recall()
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
