"""Both roles in one process, over real TLS on the loopback, on a network in memory: a daemon ends and begins again as a
block of the test does."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TypeVar

from syncd.auxiliary import Auxiliary
from syncd.core.status import Json
from syncd.discovery.memory import Air, MemoryDiscovery
from syncd.home.paths import Home
from syncd.primary import Primary
from syncd.rooms import Rooms
from tests.rooms_kit import auxiliary_home, primary_home, rooms_of
from tests.wait import eventually

Role = TypeVar("Role", Primary, Auxiliary)


class Town:
    """Machines by name, each with a home below ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.air = Air()

    @asynccontextmanager
    async def primary(self, name: str = "desk") -> AsyncIterator[Primary]:
        async with self._begun(name, primary_home, Primary) as role:
            yield role

    @asynccontextmanager
    async def auxiliary(self, name: str = "laptop") -> AsyncIterator[Auxiliary]:
        async with self._begun(name, auxiliary_home, Auxiliary) as role:
            yield role

    @asynccontextmanager
    async def _begun(
        self, name: str, make: Callable[[Path], Home], kind: Callable[[Rooms, AsyncExitStack], Role]
    ) -> AsyncIterator[Role]:
        home = Home(self.path / name)
        async with rooms_of(home if home.initialized else make(home.path)) as (rooms, stack):
            rooms.discover = functools.partial(MemoryDiscovery, self.air)
            role = kind(rooms, stack)
            await role.open()
            async with _running(role):
                yield role


@asynccontextmanager
async def _running(role: Primary | Auxiliary) -> AsyncIterator[None]:
    task = asyncio.create_task(role.run(), name="role")
    await role.driver.started.wait()
    try:
        yield
        assert not task.done(), "the daemon goes on"
    finally:
        task.cancel()
        await asyncio.wait([task])
        await asyncio.get_running_loop().shutdown_default_executor()
    if not task.cancelled() and (error := task.exception()) is not None:
        raise error


async def shown_code(primary: Primary, user: str = "") -> str:
    return str((await primary.answer("pair_open", {"user": user}))["code"])


async def pair(auxiliary: Auxiliary, primary: Primary, user: str = "") -> Json:
    """By code, found on the network; linked when it returns."""
    told = await auxiliary.answer("pair", {"shown": await shown_code(primary, user)})
    await eventually(lambda: primary.engine.connected(auxiliary.rooms.identity.device_id))
    return told


async def devices(role: Primary | Auxiliary) -> list[Json]:
    told = (await role.answer("devices", {}))["devices"]
    assert isinstance(told, list)
    return told
