"""The sync database (claims 20b, 21c, 24c): users, devices, their links, and how far each device has come.

Owns ``sync.db``, on the primary and on auxiliaries. The table ``user_devices`` is the first table of claim 21c: it
links one user identifier with the identifiers of two or more devices (R9: what goes to a device is looked up in it).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from syncd.core.devices import Device
from syncd.core.errors import InvariantBroken
from syncd.core.messages import Failed, Report
from syncd.core.model import Role
from syncd.store.database import Database
from syncd.store.schema_files import Schema

SCHEMA = Schema("sync_database", 0x53594E03)

_DEVICE = "id, name, role, certificate, adapter, addresses, paired_us, last_seen_us"
_REPORT = 'device, collection, epoch, position, digest, objects, "match", parked, offline, held'
_FAILED = "device, collection, seq, outcome, cause, type, key"


class SqliteSyncDatabase:
    """See ``core.devices.SyncDatabase``. Open with ``open``, close with ``close``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    async def open(cls, path: Path) -> SqliteSyncDatabase:
        """Creates the file if it is missing."""
        return cls(await Database.open(path, SCHEMA))

    async def close(self) -> None:
        await self._database.close()

    # ------------------------------------------------------------ users and devices

    async def ensure_user(self, name: str) -> int:
        def write(connection: sqlite3.Connection) -> int:
            connection.execute("INSERT INTO users (name) VALUES (?) ON CONFLICT DO NOTHING", (name,))
            found: int = connection.execute("SELECT id FROM users WHERE name = ?", (name,)).fetchone()[0]
            return found

        return await self._database.write(write)

    async def link(self, user: int, device: Device) -> None:
        values = _device_row(device)

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(
                f"INSERT INTO devices ({_DEVICE}) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
                " name = excluded.name, role = excluded.role, certificate = excluded.certificate,"
                " adapter = excluded.adapter, addresses = excluded.addresses, paired_us = excluded.paired_us,"
                " last_seen_us = max(last_seen_us, excluded.last_seen_us)",
                values,
            )
            connection.execute("INSERT INTO user_devices VALUES (?, ?) ON CONFLICT DO NOTHING", (user, device.id))
            if device.role == Role.PRIMARY:
                follow = "INSERT INTO followed VALUES (1, ?) ON CONFLICT DO UPDATE SET device = excluded.device"
                connection.execute(follow, (device.id,))

        await self._database.write(write)

    async def primary(self) -> Device | None:
        found = await self._devices("WHERE id = (SELECT device FROM followed)", ())
        return found[0] if found else None

    async def devices_of(self, user: int) -> list[Device]:
        return await self._devices(
            "WHERE id IN (SELECT device FROM user_devices WHERE user = ?) ORDER BY paired_us, id", (user,)
        )

    async def device(self, id: str) -> Device | None:
        found = await self._devices("WHERE id = ?", (id,))
        return found[0] if found else None

    async def all_devices(self) -> list[Device]:
        return await self._devices("ORDER BY paired_us, id", ())

    async def set_adapter(self, device: str, adapter: str) -> None:
        await self._run("UPDATE devices SET adapter = ? WHERE id = ?", (adapter, device))

    async def seen(self, device: str, when_us: int) -> None:
        await self._run("UPDATE devices SET last_seen_us = max(last_seen_us, ?) WHERE id = ?", (when_us, device))

    # ------------------------------------------------------------ how far each device has come

    async def save_reports(self, reports: Sequence[tuple[str, Report]]) -> None:
        def write(connection: sqlite3.Connection) -> None:
            for device, report in reports:
                _save_report(connection, device, report)

        await self._database.write(write)

    async def reports(self) -> list[tuple[str, Report]]:
        def look(connection: sqlite3.Connection) -> list[tuple[str, Report]]:
            failed: dict[tuple[str, str], list[Failed]] = {}
            for device, name, *group in connection.execute(f"SELECT {_FAILED} FROM failed ORDER BY id"):
                failed.setdefault((device, name), []).append(Failed(*group))
            found = connection.execute(f"SELECT {_REPORT} FROM reports ORDER BY device, collection")
            return [(row[0], _report(row[1:], tuple(failed.get(row[:2], ())))) for row in found]

        return await self._database.read(look)

    # ------------------------------------------------------------ inside

    async def _devices(self, where: str, values: tuple[object, ...]) -> list[Device]:
        def look(connection: sqlite3.Connection) -> list[Device]:
            found = connection.execute(f"SELECT {_DEVICE} FROM devices {where}", values)
            return [
                Device(id_, name, role, certificate, adapter, tuple(json.loads(addresses)), *times)
                for id_, name, role, certificate, adapter, addresses, *times in found
            ]

        return await self._database.read(look)

    async def _run(self, statement: str, values: tuple[object, ...]) -> None:
        def write(connection: sqlite3.Connection) -> None:
            connection.execute(statement, values)

        await self._database.write(write)


def _device_row(device: Device) -> tuple[object, ...]:
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


def _save_report(connection: sqlite3.Connection, device: str, report: Report) -> None:
    if connection.execute("SELECT 1 FROM devices WHERE id = ?", (device,)).fetchone() is None:
        return
    where = (device, report.collection)
    connection.execute("DELETE FROM failed WHERE device = ? AND collection = ?", where)
    connection.execute("DELETE FROM reports WHERE device = ? AND collection = ?", where)
    held = (report.epoch, report.position, report.digest, report.objects)
    row = (*where, *held, report.match, report.parked, report.offline, report.held)
    connection.execute(f"INSERT INTO reports ({_REPORT}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    connection.executemany(
        f"INSERT INTO failed ({_FAILED}) VALUES (?, ?, ?, ?, ?, ?, ?)",
        ((*where, one.seq, one.outcome, one.cause, one.type, one.key) for one in report.failed),
    )


def _report(row: tuple[str, str, int, bytes, int, int, int, str, int], failed: tuple[Failed, ...]) -> Report:
    name, epoch, position, digest, objects, match, parked, offline, held = row
    return Report(name, epoch, position, digest, objects, bool(match), parked, offline, bool(held), failed)
