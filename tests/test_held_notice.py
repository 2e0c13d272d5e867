"""What is held is told once, in the log, and counted (R13)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from syncd.core import source as sources
from syncd.core.errors import DiskError
from syncd.core.holding import Held
from syncd.core.loss import HeldSettings, Loss
from syncd.core.preferences import Chosen, Place
from syncd.core.settings import Limits
from syncd.core.source import Source
from syncd.held_notice import HeldNotice
from syncd.store.memory_sync_database import MemorySyncDatabase
from tests.core.kit import NAME, store_state

pytestmark = pytest.mark.asyncio
LOST = (Loss("D" * 52, NAME, 90, 100),)


class FullDatabase(MemorySyncDatabase):
    full = False

    async def held_settings(self) -> list[HeldSettings]:
        if self.full:
            raise DiskError("no room in the home", "make room")
        return await super().held_settings()


class Desk:
    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self.database = FullDatabase()
        self.sources: dict[str, Source] = {}
        self.notice = HeldNotice(self.database, lambda: self.sources, self.reason)
        self._log = caplog

    async def reason(self, held: HeldSettings) -> str:
        return f"{held.id} would take away {held.losses[0].objects}"

    async def says(self) -> list[str]:
        """In a second in which what is held of settings may have moved."""
        self._log.clear()
        self.notice.move()
        await self.notice.tell()
        return [one.getMessage() for one in self._log.records]

    def holds(self, number: int, gone: int, scanning: bool = False) -> None:
        source, _ = sources.start(NAME, Limits())
        held = Held(number, gone, gone, 40, 0, False) if number else None
        self.sources[NAME] = replace(source, state=replace(store_state(7, scanning=scanning), held=held))


@pytest.fixture
def desk(caplog: pytest.LogCaptureFixture) -> Desk:
    return Desk(caplog)


async def test_a_change_of_settings_that_is_held_is_told_once_and_counted(desk: Desk) -> None:
    assert (await desk.says(), await desk.notice.count()) == ([], 0)
    chosen = [Chosen(Place(collection=NAME), "selection", "id < 4")]
    await desk.database.hold_settings(chosen, LOST, "uid 0", 1)
    assert await desk.says() == ["a change of settings is held: settings-1 would take away 90"]
    assert (await desk.says(), await desk.notice.count()) == ([], 1)
    desk.database.full = True
    assert await desk.notice.count() == 1
    desk.database.full = False
    await desk.database.drop_held_settings(1)
    assert (await desk.says(), await desk.notice.count()) == ([], 0)


async def test_the_database_is_asked_when_a_change_says_so_until_it_answers(desk: Desk) -> None:
    await desk.says()
    desk.database.full = True
    await desk.notice.tell()
    for _ in range(2):
        with pytest.raises(DiskError):
            await desk.says()
    chosen = [Chosen(Place(collection=NAME), "selection", "id < 4")]
    await desk.database.hold_settings(chosen, LOST, "uid 0", 1)
    desk.database.full = False
    await desk.notice.tell()
    assert len(desk._log.records) == 1


async def test_a_group_that_is_held_is_told_once_for_each_number(desk: Desk) -> None:
    desk.holds(1, 12)
    (said,) = await desk.says()
    assert f"collection {NAME} is held: 12 of 40 objects" in said
    assert await desk.says() == []
    desk.holds(2, 13)
    assert len(await desk.says()) == 1
    desk.holds(0, 0)
    assert await desk.says() == []


async def test_what_a_comparison_finds_gone_is_told_when_it_is_complete(desk: Desk) -> None:
    desk.holds(1, 7, scanning=True)
    assert await desk.says() == []
    desk.holds(1, 30)
    (said,) = await desk.says()
    assert "30 of 40 objects" in said
