"""The sync database in memory, for simulations and tests. Passes the contract suite of the real one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from syncd.core.devices import Device
from syncd.core.errors import InvariantBroken
from syncd.core.messages import Report
from syncd.core.model import Role


class MemorySyncDatabase:
    """See ``core.devices.SyncDatabase``."""

    def __init__(self) -> None:
        self._users: dict[str, int] = {}
        self._devices: dict[str, Device] = {}
        self._links: set[tuple[int, str]] = set()
        self._followed = ""  # id of the primary that was linked last
        self._reports: dict[tuple[str, str], Report] = {}

    async def ensure_user(self, name: str) -> int:
        return self._users.setdefault(name, len(self._users) + 1)

    async def link(self, user: int, device: Device) -> None:
        if not device.id:
            raise InvariantBroken("a device without an id cannot be linked")
        before = self._devices.get(device.id, device)
        self._devices[device.id] = replace(device, last_seen_us=max(before.last_seen_us, device.last_seen_us))
        self._links.add((user, device.id))
        if device.role == Role.PRIMARY:
            self._followed = device.id

    async def primary(self) -> Device | None:
        return self._devices.get(self._followed)

    async def devices_of(self, user: int) -> list[Device]:
        return [device for device in await self.all_devices() if (user, device.id) in self._links]

    async def device(self, id: str) -> Device | None:
        return self._devices.get(id)

    async def all_devices(self) -> list[Device]:
        return sorted(self._devices.values(), key=lambda one: (one.paired_us, one.id))

    async def set_adapter(self, device: str, adapter: str) -> None:
        if device in self._devices:
            self._devices[device] = replace(self._devices[device], adapter=adapter)

    async def seen(self, device: str, when_us: int) -> None:
        if device in self._devices:
            before = self._devices[device]
            self._devices[device] = replace(before, last_seen_us=max(before.last_seen_us, when_us))

    async def save_reports(self, reports: Sequence[tuple[str, Report]]) -> None:
        for device, report in reports:
            if device in self._devices:
                self._reports[device, report.collection] = report

    async def reports(self) -> list[tuple[str, Report]]:
        return [(device, report) for (device, _), report in sorted(self._reports.items(), key=lambda one: one[0])]
