"""Devices as the sync database knows them: the values, the port, and what all of them have passed.

Claims 20b, 21c and 24c: which devices are linked with a user, and which adapter each of them speaks (20c). Keeps R5
(tombstones live until every linked device has passed them) and R9 (objects go to linked devices only).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from syncd.core.messages import Report


@dataclass(frozen=True, slots=True)
class Device:
    """A paired device. ``certificate``: DER. ``adapter``: which it speaks. ``addresses``: where it was reached,
    HOST:PORT, the best first. Times in microseconds UTC, 0: never."""

    id: str
    name: str
    role: str
    certificate: bytes
    adapter: str
    addresses: tuple[str, ...]
    paired_us: int
    last_seen_us: int


class SyncDatabase(Protocol):
    """The sync database. Whatever writes is durable when it returns."""

    async def ensure_user(self, name: str) -> int:
        """The id of the user, who is added if unknown."""
        ...

    async def link(self, user: int, device: Device) -> None:
        """Adds the device, or takes over what changed of it, and links it with the user. A primary is the one that
        this device follows from then on: in the same commit."""
        ...

    async def primary(self) -> Device | None:
        """The primary that was linked last, whatever the clocks said (R1); None on a primary."""
        ...

    async def devices_of(self, user: int) -> list[Device]:
        """The devices linked with the user, in the order of their pairing (claim 20b)."""
        ...

    async def device(self, id: str) -> Device | None: ...

    async def all_devices(self) -> list[Device]: ...

    async def set_adapter(self, device: str, adapter: str) -> None:
        """Which adapter the device speaks from here on (claim 20c). Unknown devices are left out."""
        ...

    async def seen(self, device: str, when_us: int) -> None:
        """The device was connected at this time."""
        ...

    async def save_reports(self, reports: Sequence[tuple[str, Report]]) -> None:
        """What devices reported last, by device and collection. Unknown devices are left out."""
        ...

    async def reports(self) -> list[tuple[str, Report]]:
        """The last report of each device and collection, in their order."""
        ...


def passed_by_all(devices: Iterable[str], reports: Mapping[str, Report], epoch: str) -> int:
    """The sequence number of one collection that every device has passed in this epoch (R5); 0 if any has not said
    so, or if there is no device. ``reports``: the last of each device."""
    said = [reports.get(device) for device in devices]
    passed = [report.position for report in said if report is not None and report.epoch == epoch]
    return min(passed) if passed and len(passed) == len(said) else 0
