"""The sync database (claims 20b, 21c, 24c): users, devices, their links, and how far each device has come.

Owns ``sync.db``, on the primary and on auxiliaries. The table ``user_devices`` is the first table of claim 21c: it
links one user identifier with the identifiers of two or more devices (R9: what goes to a device is looked up in it).
Each verb is one commit: a person's mistake, or a bound, is found in the same transaction that would have written.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

from syncd.core.devices import Device, Sent, User, checked_name, name_taken, too_many, unknown_device, unknown_user
from syncd.core.errors import InvariantBroken
from syncd.core.loss import NOTHING_LOST, HeldSettings, Loss, Weighed
from syncd.core.messages import Failed, Report
from syncd.core.model import Role
from syncd.core.preferences import Changed, Chosen
from syncd.core.settings import Limits
from syncd.store import chosen_settings, held_settings
from syncd.store.chosen_settings import Door
from syncd.store.database import Database
from syncd.store.devices_sent import SENDING, all_sent, keep_sent
from syncd.store.schema_files import Schema

SCHEMA = Schema("sync_database", 0x53594E03)
USUAL = Limits()

_PAIRED = "id, name, role, certificate, adapter, addresses, paired_us, last_seen_us"
_DEVICE = f"{_PAIRED}, label, revoked_us, copied_us"
_UNLINK_REVOKED = "DELETE FROM user_devices WHERE device = (SELECT id FROM devices WHERE id = ? AND revoked_us > 0)"
_LINK = "INSERT INTO user_devices (user, device) VALUES (?, ?) ON CONFLICT DO NOTHING"
_REPORT = 'device, collection, epoch, position, digest, objects, "match", parked, offline, held'
_FAILED = "device, collection, seq, outcome, cause, type, key"


class SqliteSyncDatabase:
    """See ``core.devices.SyncDatabase``. Open with ``open``, close with ``close``."""

    def __init__(self, database: Database, limits: Limits) -> None:
        self._database = database
        self._limits = limits

    @classmethod
    async def open(cls, path: Path, limits: Limits = USUAL) -> SqliteSyncDatabase:
        """Creates the file if it is missing."""
        return cls(await Database.open(path, SCHEMA), limits)

    async def close(self) -> None:
        await self._database.close()

    # ------------------------------------------------------------ users

    async def ensure_user(self, name: str) -> int:
        def write(connection: sqlite3.Connection) -> int:
            find = "SELECT id FROM users WHERE name = ?1 OR (former = ?1 AND former <> '') ORDER BY name = ?1 DESC"
            found: tuple[int] | None = connection.execute(find, (name,)).fetchone()
            return found[0] if found else self._add_user(connection, name)

        return await self._database.write(write)

    async def users(self) -> list[User]:
        return await self._users("ORDER BY id", ())

    async def user_name(self, user: int) -> str:
        found = await self._users("WHERE id = ?", (user,))
        if not found:
            raise unknown_user(user)
        return found[0].name

    async def add_user(self, name: str) -> int:
        return await self._database.write(lambda connection: self._add_user(connection, name))

    def _add_user(self, connection: sqlite3.Connection, name: str) -> int:
        _check_free(connection, checked_name("user", name))
        count: int = connection.execute("SELECT count(*) FROM users").fetchone()[0]
        if count >= self._limits.users_max:
            raise too_many("users", self._limits.users_max)
        added = connection.execute("INSERT INTO users (name) VALUES (?) RETURNING id", (name,))
        return int(added.fetchone()[0])

    async def rename_user(self, old: str, new: str) -> None:
        def write(connection: sqlite3.Connection) -> None:
            found = connection.execute("SELECT id FROM users WHERE name = ?", (old,)).fetchone()
            if found is None:
                raise unknown_user(old)
            _check_free(connection, checked_name("user", new))
            connection.execute("UPDATE users SET former = '' WHERE former = ?", (old,))
            connection.execute("UPDATE users SET name = ?, former = ? WHERE id = ?", (new, old, *found))

        await self._database.write(write)

    async def _users(self, where: str, values: tuple[object, ...]) -> list[User]:
        def look(connection: sqlite3.Connection) -> list[User]:
            return [User(*row) for row in connection.execute(f"SELECT id, name FROM users {where}", values)]

        return await self._database.read(look)

    # ------------------------------------------------------------ links

    async def link(self, user: int, device: Device) -> None:
        values = _device_row(device)

        def write(connection: sqlite3.Connection) -> None:
            self._check_room(connection, device.id)
            connection.execute(_UNLINK_REVOKED, (device.id,))
            connection.execute(
                f"INSERT INTO devices ({_PAIRED}) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
                " name = excluded.name, role = excluded.role, certificate = excluded.certificate,"
                " adapter = excluded.adapter, addresses = excluded.addresses, paired_us = excluded.paired_us,"
                " last_seen_us = max(last_seen_us, excluded.last_seen_us), revoked_us = 0, copied_us = 0",
                values,
            )
            connection.execute(_LINK, (user, device.id))
            if device.role == Role.PRIMARY:
                connection.execute("DELETE FROM followed WHERE device = ?", (device.id,))
                connection.execute(
                    "INSERT INTO followed SELECT coalesce(max(number), 0) + 1, ? FROM followed", (device.id,)
                )

        await self._database.write(write)

    def _check_room(self, connection: sqlite3.Connection, device: str) -> None:
        known, count = connection.execute("SELECT max(id = ?), count(*) FROM devices", (device,)).fetchone()
        if not known and count >= self._limits.devices_max:
            raise too_many("devices", self._limits.devices_max)

    async def forget(self, device: str) -> None:
        await self._run("DELETE FROM devices WHERE id = ?", (device,))

    async def link_user(self, user: int, device: str) -> None:
        await self._change_link(_LINK, user, device)

    async def unlink_user(self, user: int, device: str) -> None:
        await self._change_link("DELETE FROM user_devices WHERE user = ? AND device = ?", user, device)

    async def _change_link(self, statement: str, user: int, device: str) -> None:
        def write(connection: sqlite3.Connection) -> None:
            if connection.execute("SELECT 1 FROM users WHERE id = ?", (user,)).fetchone() is None:
                raise unknown_user(user)
            if connection.execute("SELECT 1 FROM devices WHERE id = ?", (device,)).fetchone() is None:
                raise unknown_device(device)
            connection.execute(statement, (user, device))

        await self._database.write(write)

    async def links(self) -> list[tuple[int, str]]:
        def look(connection: sqlite3.Connection) -> list[tuple[int, str]]:
            return connection.execute("SELECT user, device FROM user_devices ORDER BY user, device").fetchall()

        return await self._database.read(look)

    async def users_of(self, device: str) -> list[User]:
        where = "JOIN user_devices ON user = users.id WHERE device = ? ORDER BY number"
        return await self._users(where, (device,))

    async def users_of_all(self) -> dict[str, tuple[str, ...]]:
        def look(connection: sqlite3.Connection) -> dict[str, tuple[str, ...]]:
            found: dict[str, tuple[str, ...]] = {}
            joined = "SELECT device, name FROM user_devices JOIN users ON users.id = user ORDER BY number"
            for device, name in connection.execute(joined):
                found[device] = (*found.get(device, ()), name)
            return found

        return await self._database.read(look)

    # ------------------------------------------------------------ devices

    async def device(self, id: str) -> Device | None:
        found = await self._devices("WHERE id = ?", (id,))
        return found[0] if found else None

    async def all_devices(self) -> list[Device]:
        return await self._devices("ORDER BY paired_us, id", ())

    async def primary(self) -> Device | None:
        found = await self._devices("WHERE id = (SELECT device FROM followed ORDER BY number DESC LIMIT 1)", ())
        return found[0] if found else None

    async def set_label(self, device: str, label: str) -> None:
        if label:
            checked_name("device", label)
        if not await self._run("UPDATE devices SET label = ? WHERE id = ?", (label, device)):
            raise unknown_device(device)

    async def revoke(self, device: str, when_us: int) -> None:
        if not await self._run("UPDATE devices SET revoked_us = ? WHERE id = ?", (when_us, device)):
            raise unknown_device(device)

    async def set_copied(self, device: str, when_us: int) -> None:
        await self._run("UPDATE devices SET copied_us = ? WHERE id = ?", (when_us, device))

    async def set_name(self, device: str, name: str) -> None:
        await self._run("UPDATE devices SET name = ? WHERE id = ?", (checked_name("device", name), device))

    async def set_addresses(self, device: str, addresses: Sequence[str]) -> None:
        await self._run("UPDATE devices SET addresses = ? WHERE id = ?", (json.dumps(list(addresses)), device))

    async def set_adapter(self, device: str, adapter: str) -> None:
        await self._run("UPDATE devices SET adapter = ? WHERE id = ?", (adapter, device))

    async def seen(self, device: str, when_us: int) -> None:
        await self._run("UPDATE devices SET last_seen_us = max(last_seen_us, ?) WHERE id = ?", (when_us, device))

    async def claim(self, device: str) -> str:
        def write(connection: sqlite3.Connection) -> str:
            connection.execute("INSERT INTO identity VALUES (1, ?) ON CONFLICT DO NOTHING", (device,))
            owner: str = connection.execute("SELECT device FROM identity").fetchone()[0]
            return owner

        return await self._database.write(write)

    async def _devices(self, where: str, values: tuple[object, ...]) -> list[Device]:
        def look(connection: sqlite3.Connection) -> list[Device]:
            found = connection.execute(f"SELECT {_DEVICE} FROM devices {where}", values)
            return [
                Device(id_, name, role, certificate, adapter, tuple(json.loads(addresses)), *others)
                for id_, name, role, certificate, adapter, addresses, *others in found
            ]

        return await self._database.read(look)

    async def _run(self, statement: str, values: tuple[object, ...]) -> int:
        """How many rows it changed."""
        return await self._database.write(lambda connection: connection.execute(statement, values).rowcount)

    # ------------------------------------------------------------ settings

    async def settings(self) -> list[Chosen]:
        return await self._database.read(chosen_settings.all_chosen)

    async def change_settings(
        self, chosen: Sequence[Chosen], who: str, when_us: int, weighed: Weighed = NOTHING_LOST
    ) -> list[Changed]:
        def write(connection: sqlite3.Connection) -> list[Changed]:
            changed = chosen_settings.change(connection, chosen, Door(who, when_us), self._limits)
            held_settings.give_way(connection, chosen)
            held_settings.note(connection, weighed, when_us)
            return changed

        return await self._database.write(write)

    async def hold_settings(
        self, chosen: Sequence[Chosen], losses: Sequence[Loss], who: str, when_us: int
    ) -> HeldSettings:
        door = Door(who, when_us)
        return await self._database.write(
            lambda connection: held_settings.hold(connection, chosen, losses, door, self._limits)
        )

    async def held_settings(self) -> list[HeldSettings]:
        return await self._database.read(held_settings.all_held)

    async def drop_held_settings(self, number: int) -> bool:
        return await self._database.write(lambda connection: held_settings.drop(connection, number))

    async def taken_away(self, since_us: int) -> Mapping[tuple[str, str], int]:
        return await self._database.read(lambda connection: held_settings.taken_away(connection, since_us))

    async def settings_journal(self, limit: int) -> list[Changed]:
        return await self._database.read(lambda connection: chosen_settings.journal(connection, limit))

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

    async def begin_sending(self, device: str) -> None:
        await self._database.write(lambda connection: keep_sent(connection, device, [SENDING]))

    async def end_sending(self, device: str, sent: Sequence[Sent]) -> None:
        await self._database.write(lambda connection: keep_sent(connection, device, sent))

    async def sent(self) -> tuple[list[str], list[Sent]]:
        return await self._database.read(all_sent)


def _check_free(connection: sqlite3.Connection, name: str) -> None:
    """UserError if a user has the name; whoever had it before gives it up."""
    if connection.execute("SELECT 1 FROM users WHERE name = ?", (name,)).fetchone() is not None:
        raise name_taken(name)
    connection.execute("UPDATE users SET former = '' WHERE former = ?", (name,))


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
