"""What the contract of the sync database is tried with: the real one and its twin, each with small bounds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from syncd.core.devices import Device, SyncDatabase
from syncd.core.messages import Failed, Report
from syncd.core.settings import Limits
from syncd.store.memory_sync_database import MemorySyncDatabase
from syncd.store.sync_database import SqliteSyncDatabase

KINDS = ("sqlite", "memory")
LIMITS = Limits(users_max=3, devices_max=4, settings_max=5, settings_journal_max=6, held_settings_max=2)


@asynccontextmanager
async def opened(kind: str, directory: Path) -> AsyncIterator[SyncDatabase]:
    if kind == "memory":
        yield MemorySyncDatabase(LIMITS)
        return
    database = await SqliteSyncDatabase.open(directory / "sync.db", LIMITS)
    yield database
    await database.close()


async def devices_of(database: SyncDatabase, user: int) -> list[Device]:
    """The devices linked with the user, in the order of their pairing (claim 20b)."""
    links = await database.links()
    return [one for one in await database.all_devices() if (user, one.id) in links]


def device(name: str, paired_us: int = 1) -> Device:
    return Device(
        id=name.upper() * 4,
        name=name,
        role="auxiliary",
        certificate=b"certificate of " + name.encode(),
        adapter="msgpack",
        addresses=("192.0.2.1:7070", "[2001:db8::1]:7070"),
        paired_us=paired_us,
        last_seen_us=0,
    )


def report(collection: str = "notes", position: int = 5, *failed: Failed) -> Report:
    return Report(collection, "epoch", position, bytes(range(16)), 3, not failed, len(failed), "", False, failed)


def failed(seq: int) -> Failed:
    return Failed(seq, "rolled-back", "CHECK failed", "note", b"a")
