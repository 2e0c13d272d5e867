"""The sync store in SQLite (claims 20a, 21a, 24d, 24h): a copy of the data objects and the order of their changes.

Owns ``store.db``. Keeps R1, R3, R4 (the epoch is one for the file), R5, R7 (ties) and R14.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from syncd.core.model import DataType, Observed
from syncd.core.ports import Batch, ChunkRequest, CollectionState, Group, StoredChunk
from syncd.core.settings import Limits
from syncd.store import store_collections as collections
from syncd.store import store_read
from syncd.store.database import Database
from syncd.store.schema_files import Schema
from syncd.store.store_collections import CollectionRow, TypeSet
from syncd.store.store_keep import keep
from syncd.store.store_read import Past

SCHEMA = Schema("sync_store", 0x53594E01)


class SqliteSyncStore:
    """See ``core.ports.SyncStore``. Open with ``open``, close with ``close``."""

    def __init__(self, database: Database, limits: Limits) -> None:
        self._database = database
        self._limits = limits
        self._types: dict[int, TypeSet] = {}  # by collection id

    @classmethod
    async def open(cls, path: Path, limits: Limits) -> SqliteSyncStore:
        """Creates the file if it is missing; a new file has a new epoch (R4)."""
        database = await Database.open(path, SCHEMA)
        try:
            await database.write(_ensure_epoch)
        except BaseException:
            await database.close()
            raise
        return cls(database, limits)

    async def close(self) -> None:
        await self._database.close()

    async def open_collection(self, name: str) -> CollectionState:
        state = await self._database.read(lambda connection: self._state(connection, name))
        if state is None:
            await self._database.write(lambda connection: collections.create(connection, name))
            state = await self._database.read(lambda connection: self._state(connection, name))
        assert state is not None
        return state

    async def new_epoch(self) -> str:
        epoch = secrets.token_hex(8)
        await self._database.write(lambda connection: collections.set_epoch(connection, epoch))
        return epoch

    async def set_source(self, name: str, source: str, types: Sequence[DataType]) -> tuple[DataType, ...]:
        return await self._database.write(lambda connection: collections.set_source(connection, name, source, types))

    async def begin_scan(self, name: str) -> None:
        await self._database.write(lambda connection: collections.begin_scan(connection, name))

    async def keep(self, name: str, batch: Batch, now_us: int) -> CollectionState:
        def commit(connection: sqlite3.Connection) -> CollectionState:
            row = collections.get(connection, name)
            types = self._types_of(connection, row)
            return collections.state(connection, keep(connection, row, types, batch, now_us), types)

        return await self._database.write(commit)

    async def unseen(self, name: str, limit: int) -> Sequence[Observed]:
        # by the writer: the marks of what was seen are in its temporary tables
        return await self._database.write(lambda connection: collections.unseen(connection, name, limit))

    async def read(self, request: ChunkRequest, rows_max: int, bytes_max: int) -> StoredChunk:
        return await self._database.read(
            lambda connection: store_read.read(connection, request, rows_max, bytes_max, self._limits.ties_max)
        )

    async def groups(self, name: str, limit: int) -> Sequence[Group]:
        return await self._database.read(lambda connection: store_read.newest_groups(connection, name, limit))

    async def prune(self, name: str, passed: int, older_than_us: int) -> int:
        past = Past(passed, older_than_us, self._limits.groups_max)
        return await self._database.write(lambda connection: store_read.prune(connection, name, past))

    def _state(self, connection: sqlite3.Connection, name: str) -> CollectionState | None:
        row = collections.find(connection, name)
        return None if row is None else collections.state(connection, row, self._types_of(connection, row))

    def _types_of(self, connection: sqlite3.Connection, row: CollectionRow) -> TypeSet:
        """Read once for each shape; asked for by both threads."""
        types = self._types.get(row.id)
        if types is None or types.shape != row.shape:
            types = self._types[row.id] = collections.load_types(connection, row)
        return types


def _ensure_epoch(connection: sqlite3.Connection) -> None:
    if not collections.epoch(connection):
        collections.set_epoch(connection, secrets.token_hex(8))
