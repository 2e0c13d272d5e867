"""What the tests of the two role files share: a home that was made, and what the daemon builds before its role."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Literal

from syncd import arrange
from syncd.adapters.registry import ADAPTERS
from syncd.core.devices import Device
from syncd.core.model import Role
from syncd.core.settings import Limits
from syncd.home import config, identity
from syncd.home.config import Config
from syncd.home.paths import Home
from syncd.outside import Ports
from syncd.rooms import Rooms
from syncd.store.sync_database import SqliteSyncDatabase


def primary_home(path: Path) -> Home:
    """Of user ada, listening at a free port of the loopback."""
    home = Home(path)
    arrange.init(home, Config(role=Role.PRIMARY, name=path.name, user="ada", listen="127.0.0.1:0"))
    return home


def auxiliary_home(path: Path, adapter: Literal["msgpack", "json"] = "msgpack") -> Home:
    home = Home(path)
    arrange.init(home, Config(role=Role.AUXILIARY, name=path.name, adapter=adapter))
    return home


def device_of(number: int, path: Path) -> Device:
    """An auxiliary with a certificate of its own, paired as number so and so."""
    home = Home(path)
    home.create()
    own = identity.create(home, path.name)
    return Device(own.device_id, path.name, Role.AUXILIARY, own.certificate_der, "msgpack", (), number, 0)


@asynccontextmanager
async def rooms_of(home: Home) -> AsyncIterator[tuple[Rooms, AsyncExitStack]]:
    """Open until the end; the stack is the role's."""
    async with AsyncExitStack() as stack:
        database = await SqliteSyncDatabase.open(home.sync_database)
        stack.push_async_callback(database.close)
        ports = Ports(Limits(), ADAPTERS, time.monotonic, lambda: time.time_ns() // 1000, database)
        rooms = Rooms(home, config.load(home), identity.load(home), Limits(), database, ports, time.monotonic())
        yield rooms, stack
