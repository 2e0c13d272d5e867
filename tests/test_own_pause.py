"""What an auxiliary pauses itself is kept in its home, whether its daemon runs or not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from syncd import arrange, own_pause
from syncd.core.auxiliary_pace import OwnPause
from syncd.core.errors import UserError
from syncd.core.status import Json
from syncd.home.paths import Home
from syncd.store.memory_sync_database import MemorySyncDatabase
from tests.rooms_kit import auxiliary_home, primary_home, rooms_of

ACCEPTED = ("notes", "photos")


async def asks(database: MemorySyncDatabase, verb: str, **args: object) -> tuple[OwnPause, list[tuple[object, object]]]:
    """What is paused then, and what changed: collection and value."""
    own, told = await own_pause.change(database, verb, dict(args), ACCEPTED, 0)
    changed = told["changed"]
    assert isinstance(changed, list)
    return own, [(one["collection"], one["after"]) for one in changed]


async def paused(database: MemorySyncDatabase) -> list[bool]:
    own = await own_pause.load(database)
    return [own.has(name) for name in (*ACCEPTED, "accepted later")]


@pytest.mark.asyncio
async def test_everything_is_paused_and_goes_on_and_so_does_one_collection() -> None:
    database = MemorySyncDatabase()
    assert await paused(database) == [False, False, False]
    assert (await asks(database, "pause", collection="notes"))[1] == [("notes", "on")]
    assert await paused(database) == [True, False, False]
    assert (await asks(database, "pause"))[1] == [("", "on"), ("notes", "")]
    assert await paused(database) == [True, True, True]
    assert (await asks(database, "resume", collection="photos"))[1] == [("photos", "off")]
    assert await paused(database) == [True, False, True]
    assert (await asks(database, "pause", collection="photos"))[1] == [("photos", "")]
    assert (await asks(database, "resume", collection="photos"))[0] == await own_pause.load(database)
    assert (await asks(database, "resume"))[1] == [("", ""), ("photos", "")]
    assert await paused(database) == [False, False, False]
    assert (await asks(database, "resume"))[1] == []


@pytest.mark.asyncio
async def test_what_it_cannot_pause_is_refused_with_what_to_do() -> None:
    database = MemorySyncDatabase()
    for args, said in (
        ({"collection": "music"}, "no collection 'music' is accepted here"),
        ({"device": "till"}, "pauses nothing but itself"),
        ({"user": "ada"}, "pauses nothing but itself"),
    ):
        with pytest.raises(UserError, match=said):
            await own_pause.change(database, "pause", dict(args), ACCEPTED, 0)
    assert await paused(database) == [False, False, False]


def kept(home: Home) -> list[tuple[str, str]]:
    """Settings in a home, by name."""

    async def look() -> list[tuple[str, str]]:
        async with rooms_of(home) as (rooms, _):
            return [(one.name, one.value) for one in await rooms.database.settings()]

    return asyncio.run(look())


@pytest.mark.parametrize("make", [auxiliary_home, primary_home])
def test_with_the_daemon_stopped_it_is_kept_in_the_home(make: Callable[[Path], Home], tmp_path: Path) -> None:
    home = make(tmp_path / "home")
    everything: Json = {"collection": "", "device": "", "user": ""}
    assert arrange.choose(home, "pause", everything)["changed"]
    assert kept(home) == [("pause", "on")]
    assert arrange.choose(home, "resume", everything)["changed"]
    assert kept(home) == []
