"""The sync database (claims 20b, 21c, 24c): users, devices, their links, and how far each device has come.

Owns ``sync.db``, on the primary and on auxiliaries. The table ``user_devices`` is the first table of claim 21c: it
links one user identifier with the identifiers of two or more devices (R9: what goes to a device is looked up in it).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from syncd.core.errors import InvariantBroken
from syncd.store.database import Database
from syncd.store.schema_files import Schema

SCHEMA = Schema("sync_database", 0x53594E03)


@dataclass(frozen=True, slots=True)
class UserRecord:
    id: int
    name: str


@dataclass(frozen=True, slots=True)
class DeviceRecord:
    """A device. ``certificate``: DER. ``addresses``: where it was reached, HOST:PORT, the best first."""

    id: str
    name: str
    role: str
    certificate: bytes
    adapter: str
    addresses: tuple[str, ...]
    paired_us: int
    last_seen_us: int


@dataclass(frozen=True, slots=True)
class PositionRecord:
    """What a device last reported of a collection (``core.messages.Report``)."""

    device: str
    collection: str
    epoch: str
    position: int
    objects: int
    match: bool
    parked: int
    offline: str
    reported_us: int


@dataclass(frozen=True, slots=True)
class FailedRecord:
    """A failed group on a device. ``type`` and ``key`` name the guilty object, empty if there is none."""

    seq: int
    outcome: str
    cause: str
    type: str
    key: bytes
    since_us: int
    device: str = ""
    collection: str = ""


_DEVICE = "id, name, role, certificate, adapter, addresses, paired_us, last_seen_us"
_POSITION = 'device, collection, epoch, position, objects, "match", parked, offline, reported_us'
_FAILED = "seq, outcome, cause, type, key, since_us, device, collection"


class SyncDatabase:
    """Open with ``open``, close with ``close``. Whatever writes is durable when it returns."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    async def open(cls, path: Path) -> SyncDatabase:
        """Creates the file if it is missing."""
        return cls(await Database.open(path, SCHEMA))

    async def close(self) -> None:
        await self._database.close()

    # ------------------------------------------------------------ users and devices

    async def ensure_user(self, name: str) -> int:
        """The id of the user, who is added if unknown."""

        def write(connection: sqlite3.Connection) -> int:
            connection.execute("INSERT INTO users (name) VALUES (?) ON CONFLICT DO NOTHING", (name,))
            found: int = connection.execute("SELECT id FROM users WHERE name = ?", (name,)).fetchone()[0]
            return found

        return await self._database.write(write)

    async def users(self) -> list[UserRecord]:
        return await self._database.read(
            lambda connection: [
                UserRecord(*row) for row in connection.execute("SELECT id, name FROM users ORDER BY id")
            ]
        )

    async def link(self, user: int, device: DeviceRecord) -> None:
        """Adds the device, or takes over what changed of it, and links it with the user."""
        values = (*_device_row(device), user, device.id)

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(
                f"INSERT INTO devices ({_DEVICE}) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
                " name = excluded.name, role = excluded.role, certificate = excluded.certificate,"
                " adapter = excluded.adapter, addresses = excluded.addresses, paired_us = excluded.paired_us,"
                " last_seen_us = max(last_seen_us, excluded.last_seen_us)",
                values[:-2],
            )
            connection.execute("INSERT INTO user_devices VALUES (?, ?) ON CONFLICT DO NOTHING", values[-2:])

        await self._database.write(write)

    async def unlink(self, device: str) -> None:
        """Forgets the device, its links and what it reported."""
        await self._run("DELETE FROM devices WHERE id = ?", (device,))

    async def devices_of(self, user: int) -> list[DeviceRecord]:
        """The devices linked with the user (claim 20b)."""
        return await self._devices(
            "WHERE id IN (SELECT device FROM user_devices WHERE user = ?) ORDER BY paired_us, id", (user,)
        )

    async def users_of(self, device: str) -> list[UserRecord]:
        """The users that the device is linked with (R9)."""
        query = "SELECT id, name FROM users WHERE id IN (SELECT user FROM user_devices WHERE device = ?) ORDER BY id"
        return await self._database.read(
            lambda connection: [UserRecord(*row) for row in connection.execute(query, (device,))]
        )

    async def device(self, id: str) -> DeviceRecord | None:
        found = await self._devices("WHERE id = ?", (id,))
        return found[0] if found else None

    async def all_devices(self) -> list[DeviceRecord]:
        return await self._devices("ORDER BY paired_us, id", ())

    async def set_adapter(self, device: str, adapter: str) -> None:
        """Which adapter the device speaks (claim 20c)."""
        await self._run("UPDATE devices SET adapter = ? WHERE id = ?", (adapter, device))

    async def set_addresses(self, device: str, addresses: Sequence[str]) -> None:
        await self._run("UPDATE devices SET addresses = ? WHERE id = ?", (json.dumps(list(addresses)), device))

    async def seen(self, device: str, when_us: int) -> None:
        """The device was connected at this time."""
        await self._run("UPDATE devices SET last_seen_us = max(last_seen_us, ?) WHERE id = ?", (when_us, device))

    # ------------------------------------------------------------ how far each device has come

    async def save_positions(self, records: Sequence[PositionRecord]) -> None:
        """The newest report of each (device, collection) stays. Devices that were unlinked meanwhile are left out."""
        rows = [
            (
                record.device,
                record.collection,
                record.epoch,
                record.position,
                record.objects,
                record.match,
                record.parked,
                record.offline,
                record.reported_us,
                record.device,
            )
            for record in records
        ]

        def write(connection: sqlite3.Connection) -> None:
            connection.executemany(
                f"INSERT INTO positions ({_POSITION}) SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?"
                " WHERE EXISTS (SELECT 1 FROM devices WHERE id = ?)"
                " ON CONFLICT (device, collection) DO UPDATE SET epoch = excluded.epoch, position = excluded.position,"
                ' objects = excluded.objects, "match" = excluded."match", parked = excluded.parked,'
                " offline = excluded.offline, reported_us = excluded.reported_us",
                rows,
            )

        await self._database.write(write)

    async def positions(self) -> list[PositionRecord]:
        def look(connection: sqlite3.Connection) -> list[PositionRecord]:
            found = connection.execute(f"SELECT {_POSITION} FROM positions ORDER BY device, collection")
            return [
                PositionRecord(device, name, epoch, position, objects, bool(match), *rest)
                for device, name, epoch, position, objects, match, *rest in found
            ]

        return await self._database.read(look)

    async def replace_failed(self, device: str, collection: str, failed: Sequence[FailedRecord]) -> None:
        """What the device reports as failed now. A group that failed before keeps since when."""

        def write(connection: sqlite3.Connection) -> None:
            where = (device, collection)
            if connection.execute("SELECT 1 FROM devices WHERE id = ?", (device,)).fetchone() is None:
                return
            since = dict(
                connection.execute(
                    "SELECT seq, min(since_us) FROM failed WHERE device = ? AND collection = ? GROUP BY seq", where
                ).fetchall()
            )
            connection.execute("DELETE FROM failed WHERE device = ? AND collection = ?", where)
            connection.executemany(
                f"INSERT INTO failed ({_FAILED}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    (one.seq, one.outcome, one.cause, one.type, one.key, since.get(one.seq, one.since_us), *where)
                    for one in failed
                ),
            )

        await self._database.write(write)

    async def failed(self, device: str | None = None) -> list[FailedRecord]:
        """Failed groups of one device or of all."""
        where, values = ("", ()) if device is None else (" WHERE device = ?", (device,))
        query = f"SELECT {_FAILED} FROM failed{where} ORDER BY device, collection, seq, type, key"
        return await self._database.read(
            lambda connection: [FailedRecord(*row) for row in connection.execute(query, values)]
        )

    # ------------------------------------------------------------ inside

    async def _devices(self, where: str, values: tuple[object, ...]) -> list[DeviceRecord]:
        def look(connection: sqlite3.Connection) -> list[DeviceRecord]:
            found = connection.execute(f"SELECT {_DEVICE} FROM devices {where}", values)
            return [
                DeviceRecord(id_, name, role, certificate, adapter, tuple(json.loads(addresses)), *times)
                for id_, name, role, certificate, adapter, addresses, *times in found
            ]

        return await self._database.read(look)

    async def _run(self, statement: str, values: tuple[object, ...]) -> None:
        def write(connection: sqlite3.Connection) -> None:
            connection.execute(statement, values)

        await self._database.write(write)


def _device_row(device: DeviceRecord) -> tuple[object, ...]:
    if not device.id:
        raise InvariantBroken("a device without an id cannot be linked")
    return (
        device.id,
        device.name,
        device.role,
        device.certificate,
        device.adapter,
        json.dumps(list(device.addresses)),
        device.paired_us,
        device.last_seen_us,
    )
