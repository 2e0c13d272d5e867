"""Who may come in at the primary: paired devices, one that has just paired, and those that are refused (DESIGN §7).

Owns the listener, the pairing desk and what is advertised of both, and keeps what the engine and TLS know of devices
in step with the sync database: durable first, then in force, one change after the other (R9). A device that finished
the pairing exchange is kept only when it comes for the first time, so that an exchange that breaks off leaves no trace.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import NamedTuple

from syncd.adapters.registry import DEFAULT
from syncd.core.devices import Device, User, find_device, unknown_user
from syncd.core.errors import DiskError, UserError
from syncd.core.found import Discovery
from syncd.core.model import Role, show_device
from syncd.core.primary_engine import PrimaryEngine
from syncd.driver import Driver
from syncd.home.config import split_address
from syncd.rooms import Rooms
from syncd.transport.address import addresses, parse_address
from syncd.transport.link import Link
from syncd.transport.listener import Listener
from syncd.transport.pairing import PairedInfo, Stranger
from syncd.transport.pairing_listener import PairingDesk
from syncd.transport.tls import Trust

log = logging.getLogger("syncd")
LOOK_S = 1.0  # between looks for devices that paired and did not come


class Expected(NamedTuple):
    """A device that finished the exchange and has not come yet: the id of its user, whatever that is called then, and
    until when it may come (monotonic seconds)."""

    record: Device
    user: int
    until_s: float


class Admission:
    """``open`` lets devices in, ``run`` carries its background work until it is cancelled. ``carry`` holds the link of
    a device that came in."""

    def __init__(
        self, rooms: Rooms, engine: PrimaryEngine, driver: Driver, carry: Callable[[Link], Awaitable[None]]
    ) -> None:
        self.devices: dict[str, Device] = {}  # every auxiliary that was ever paired, in the order of pairing
        self._rooms = rooms
        self._engine = engine
        self._driver = driver
        self._carry = carry
        self._expected: dict[str, Expected] = {}
        self._copied: dict[str, int] = {}  # when that was found, also where it could not be kept
        self._changing = asyncio.Lock()  # what was read before a change is never in force after it
        self._arrived = asyncio.Event()
        self._advertise = asyncio.Event()
        self._pairing_port = 0
        self.discovery: Discovery | None = None
        self.trust: Trust
        self.listener: Listener
        self.desk: PairingDesk

    async def open(self, stack: AsyncExitStack) -> None:
        rooms = self._rooms
        host, port = split_address(rooms.config.listen)
        listener = Listener(host, port, self.trust, rooms.limits, self._carry, self._let_in, self.copied, self._homes())
        self.listener = await stack.enter_async_context(listener)
        port = self.listener.address[1]
        desk = PairingDesk(host, port, rooms.home.identity, rooms.limits, self._accept, on_change=self._desk_moved)
        self.desk = await stack.enter_async_context(desk)
        self._advertise.set()
        if rooms.discover is not None:
            self.discovery = await stack.enter_async_context(rooms.discover(_ignore, self._advertise.set))

    async def recall(self) -> None:
        """What the sync database knows of devices; what each may have, and which adapter it speaks. Before ``open``."""
        database, engine = self._rooms.database, self._engine
        self.trust = Trust(self._rooms.home.identity)
        self.devices = {one.id: one for one in await database.all_devices() if one.role == Role.AUXILIARY}
        engine.users = await database.users_of_all()
        engine.speaks = {one.id: one.adapter for one in self.devices.values()}
        engine.names = {one.id: one.name for one in self.devices.values()}
        for device in self.devices.values():
            self._enforce(device)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.listener.wait(), name="listener")
            group.create_task(self.desk.run(), name="pairing desk")
            group.create_task(self._forget_late(), name="late arrivals")
            if self.discovery is not None:
                group.create_task(self._keep_advertised(self.discovery), name="advertisement")

    # ------------------------------------------------------------ where devices are

    async def came(self, link: Link) -> None:
        """A device came from there: it has a place before strangers, after a restart as well (R15)."""
        record, host = self.devices.get(link.device), link.host
        if record is None or not host or _hosts(record) == [host]:
            return
        try:
            await self._rooms.database.set_addresses(link.device, (link.address,))
        except DiskError as error:
            log.warning("%s", error.line())

    def _homes(self) -> list[str]:
        """Where devices came from, who was seen last at the end."""
        known = sorted(self.devices.values(), key=lambda one: one.last_seen_us)
        return [host for one in known if not one.revoked_us for host in _hosts(one)]

    # ------------------------------------------------------------ what a device may

    async def know(self, device: str) -> None:
        """What the sync database says of the device is in force from here on."""
        async with self._changing:
            await self._know(device)

    async def _know(self, device: str) -> None:
        record = await self._rooms.database.device(device)
        if record is not None:
            record = replace(record, copied_us=record.copied_us or self._copied.get(device, 0))
            self.devices[device] = record
            self._enforce(record)

    def _enforce(self, device: Device) -> None:
        self.trust.admit(device.certificate)
        if device.revoked_us or device.copied_us:
            self.trust.refuse(device.id, "revoked" if device.revoked_us else "copied")
        self._driver.order(self._engine.set_revoked(device.id, bool(device.revoked_us)))

    def records(self) -> list[Device]:
        """All devices, each with the name and the adapter that it said last: it may have others since its record was
        read."""
        return [self._named(one) for one in self.devices.values()]

    def shown(self, device: str) -> str:
        """What people read. Empty if unknown."""
        record = self.devices.get(device)
        return self._named(record).shown if record else ""

    def _named(self, device: Device) -> Device:
        engine = self._engine
        name, adapter = engine.names.get(device.id, device.name), engine.speaks.get(device.id, device.adapter)
        return replace(device, name=name, adapter=adapter)

    async def relink(self, device: str) -> None:
        """The users of the device changed: what it may not have any more does not leave from here on (R9)."""
        async with self._changing:
            await self._relink(device)

    async def _relink(self, device: str) -> None:
        names = tuple(user.name for user in await self._rooms.database.users_of(device))
        self._driver.order(self._engine.relink(device, names))

    async def revoke(self, device: str) -> None:
        """The device is cut off, durably, and its link with it. Where that cannot be kept it is cut off all the same,
        for as long as this daemon runs. Raises DiskError."""
        async with self._changing:
            self._expected.pop(device, None)
            try:
                await self._rooms.database.revoke(device, self._rooms.ports.wall_us())
            except DiskError as error:
                await self.listener.refuse(device, "revoked")
                raise DiskError(
                    f"{self.shown(device)} is cut off until this daemon ends, which could not be kept: {error.text}",
                    "make room, then `syncd revoke` it again",
                    error.code,
                ) from error
            await self.listener.refuse(device, "revoked")
            self._driver.order(self._engine.cut_off(device))
            await self._know(device)
        log.warning("%s (%s) is revoked", self.shown(device), show_device(device))

    async def copied(self, device: str) -> None:
        """Two machines use the identity of the device: nobody knows which of them it is. Both are refused, even where
        that cannot be kept."""
        async with self._changing:
            self._copied[device] = self._rooms.ports.wall_us()
            try:
                await self._rooms.database.set_copied(device, self._copied[device])
                await self._know(device)
            except DiskError as error:
                log.warning("%s", error.line())
        shown = self.shown(device)
        log.error("two machines use the identity of %s: both are refused until `syncd devices allow %s`", shown, shown)

    async def allow(self, device: str) -> None:
        """A person says that one machine alone uses the identity."""
        async with self._changing:
            await self._rooms.database.set_copied(device, 0)
            self._copied.pop(device, None)
            await self._know(device)

    def find(self, asked: str) -> Device:
        """See ``core.devices.find_device``."""
        return find_device(self.records(), asked)

    # ------------------------------------------------------------ pairing

    async def pairing_user(self, asked: str) -> User:
        """For whom a device is to be linked: the user that was asked for, else the configured one."""
        name = asked or self._engine.user
        for user in await self._rooms.database.users():
            if user.name == name:
                return user
        raise unknown_user(name)

    def pairing_addresses(self, port: int) -> list[str]:
        """Where the pairing desk is reached."""
        return addresses(split_address(self._rooms.config.listen)[0], port)

    async def _accept(self, stranger: Stranger) -> PairedInfo:
        """A device proved that its person has the code: it may come in, and is kept when it does."""
        rooms, now_us = self._rooms, self._rooms.ports.wall_us()
        user = await self.pairing_user(stranger.user)
        adapter = self._engine.speaks.get(stranger.device, DEFAULT)
        record = Device(
            stranger.device, stranger.name, Role.AUXILIARY.value, stranger.certificate, adapter, (), now_us, 0
        )
        until_s = rooms.ports.now() + rooms.limits.pairing_s_max
        self._expected[stranger.device] = Expected(record, user.id, until_s)
        self.trust.admit(stranger.certificate)
        self.listener.expect(parse_address(stranger.address)[0])
        return PairedInfo(rooms.config.name, user.name, self.listener.address[1])

    async def arrival(self, device: str, within_s: float) -> bool:
        """Whether a device that finished the exchange came in this time."""
        try:
            async with asyncio.timeout(within_s):
                while device in self._expected:
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            return False
        return device in self.devices and not self.devices[device].revoked_us

    async def _let_in(self, device: str) -> str:
        """Before a device that TLS let in is answered: one that has just paired is kept, or refused with a code."""
        expected = self._expected.get(device)
        if expected is None:
            return ""
        try:
            async with self._changing:
                if self._expected.get(device) is expected:
                    await self._keep(expected)
        except DiskError as error:
            log.warning("%s is not linked: %s", expected.record.name, error.line())
            return "disk"
        except UserError as error:  # no room for one more
            log.warning("%s is not linked: %s", expected.record.name, error.line())
            self._drop(device)
            return "unknown-device"
        return self.trust.refusal_of(device)  # a person may have decided meanwhile

    async def _keep(self, expected: Expected) -> None:
        database, record = self._rooms.database, expected.record
        self._engine.speaks.setdefault(record.id, record.adapter)
        self._engine.names[record.id] = record.name
        await database.link(expected.user, record)
        self._copied.pop(record.id, None)
        await self._know(record.id)
        await self._relink(record.id)
        self._expected.pop(record.id, None)
        self._arrived.set()
        users = ", ".join(self._engine.users.get(record.id, ()))
        log.info("%s (%s) is linked with user %s", record.name, show_device(record.id), users)

    async def _forget_late(self) -> None:
        """Devices that paired and did not come in time are strangers again."""
        while True:
            await asyncio.sleep(LOOK_S)
            now = self._rooms.ports.now()
            for device, expected in sorted(self._expected.items()):
                if now >= expected.until_s:
                    log.warning("%s paired and did not come: it must pair again", expected.record.name)
                    self._drop(device)

    def _drop(self, device: str) -> None:
        self._expected.pop(device, None)
        self._arrived.set()
        if (known := self.devices.get(device)) is not None:
            self._enforce(known)
        else:
            self.trust.forget(device)

    # ------------------------------------------------------------ being found

    def _desk_moved(self, port: int) -> None:
        self._pairing_port = port
        self._advertise.set()

    async def _keep_advertised(self, discovery: Discovery) -> None:
        while True:
            await self._advertise.wait()
            self._advertise.clear()
            host, port = self.listener.address
            await discovery.advertise(self._rooms.identity.device_id, port, self._pairing_port, host)


def _hosts(device: Device) -> list[str]:
    return [parse_address(address)[0] for address in device.addresses]


def _ignore() -> None:
    """A primary looks for nobody."""
