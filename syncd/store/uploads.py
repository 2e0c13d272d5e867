"""The upload queue in SQLite, the primary's inbound queue (claim 24k): groups of edits received and not yet settled,
verdicts, conflicts.

Owns ``uploads.db``. A frame is one row, with the bytes as they came; each whole group is a small row that names its
frames. Keeps R6 (what comes again is there once), R11 (all versions of a conflict) and R15.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

from syncd.core.edits import Conflict, EditGroup, Written
from syncd.core.errors import DiskError
from syncd.core.messages import Upload, Verdict
from syncd.core.settings import Limits
from syncd.store import conflicts
from syncd.store import uploads_settle as settling
from syncd.store.database import Database, give_back
from syncd.store.schema_files import Schema
from syncd.store.uploads_read import Decode, GroupReader
from syncd.store.uploads_rules import Begun, Kept, begun
from syncd.store.uploads_stage import Stager

SCHEMA = Schema("uploads", 0x53594E05)


class SqliteUploadQueue:
    """See ``core.upward_ports``. ``decode`` turns the bytes of a staged frame into its message."""

    def __init__(self, database: Database, decode: Decode, limits: Limits) -> None:
        self._database = database
        self._limits = limits
        self._missing: dict[tuple[str, str, str], list[Begun]] = {}  # see ``still_missing``; of the writer's thread
        self._reader = GroupReader(decode, limits.uploads_bytes_max)

    @classmethod
    async def open(cls, path: Path, decode: Decode, limits: Limits | None = None) -> SqliteUploadQueue:
        """Creates the file if it is missing."""
        return cls(await Database.open(path, SCHEMA), decode, limits or Limits())

    async def close(self) -> None:
        await self._database.close()

    async def stage(self, device: str, uploads: Sequence[tuple[Upload, bytes]], now_us: int) -> int:
        """See the port. Where it fails, nothing that follows is kept until what failed comes again."""
        whole = 0
        for (collection, outbox), run in groupby(uploads, lambda one: (one[0].collection, one[0].outbox)):
            whole = await self._stage((device, collection, outbox), list(run), now_us)
        return whole

    async def _stage(self, name: tuple[str, str, str], uploads: list[tuple[Upload, bytes]], now_us: int) -> int:
        def write(connection: sqlite3.Connection) -> int:
            stager = Stager(connection, name, self._limits, self._missing.get(name, ()))
            for upload, raw in uploads:
                stager.add(upload, raw, now_us)
            if not stager.missing:
                self._missing.pop(name, None)
            return stager.close()

        try:
            return await self._database.write(write)
        except DiskError:
            self._missing[name] = self._missing.get(name) or begun(upload for upload, _ in uploads)
            raise

    async def received(self, device: str, collection: str, outbox: str) -> int:
        query = "SELECT whole FROM streams WHERE device = ? AND collection = ? AND outbox = ?"
        name = (device, collection, outbox)
        found = await self._database.read(lambda connection: connection.execute(query, name).fetchone())
        return found[0] if found else 0

    async def next(self, collection: str, after: int, groups_max: int) -> tuple[int, tuple[EditGroup, ...]]:
        return await self._database.read(
            lambda connection: self._reader.next(connection, collection, after, groups_max)
        )

    async def settle(
        self, collection: str, written: Sequence[Written], seq: int, policy: str, now_us: int
    ) -> Mapping[str, tuple[Verdict, ...]]:
        kept = Kept(collection, seq, policy, now_us)
        return await self._database.write(lambda connection: settling.settle(connection, kept, written, self._limits))

    async def waiting_bytes(self, device: str, collection: str) -> int:
        query = (
            "SELECT ifnull(sum(length(f.frame)), 0) FROM streams s JOIN frames f ON f.stream = s.id"
            " WHERE s.device = ? AND s.collection = ?"
        )
        name = (device, collection)
        found: tuple[int] = await self._database.read(lambda connection: connection.execute(query, name).fetchone())
        return found[0]

    async def verdicts(
        self, device: str, collection: str, outbox: str, first: int, after: int = 0
    ) -> tuple[Verdict, ...]:
        def look(connection: sqlite3.Connection) -> tuple[int, bool, tuple[Verdict, ...]]:
            stream = settling.stream_of(connection, (device, collection, outbox))
            most = self._limits.verdicts_read_max
            if stream is None:
                return 0, False, ()
            query = "SELECT 1 FROM verdicts WHERE stream = ? AND number < ? LIMIT 1"
            earlier = connection.execute(query, (stream, first)).fetchone() is not None
            return stream, earlier, settling.verdicts_from(connection, stream, (first, after), most)

        stream, earlier, verdicts = await self._database.read(look)
        if earlier:
            await self._database.write(lambda connection: settling.forget_verdicts_before(connection, stream, first))
        return verdicts

    async def conflicts(self, collection: str, resolved: bool) -> Sequence[Conflict]:
        return await self._database.read(lambda connection: conflicts.listed(connection, collection, resolved))

    async def conflict(self, id: int) -> Conflict | None:
        return await self._database.read(lambda connection: conflicts.one(connection, id))

    async def resolve(self, id: int, how: str) -> None:
        how = how[: self._limits.text_chars_max]
        await self._database.write(lambda connection: conflicts.resolve(connection, id, how))

    async def unresolved(self) -> Mapping[str, int]:
        return await self._database.read(conflicts.unresolved)

    async def prune(self, collection: str, older_than_us: int) -> int:
        def write(connection: sqlite3.Connection) -> int:
            gone = conflicts.prune(connection, collection, older_than_us)
            give_back(connection)
            return gone

        return await self._database.write(write)

    async def drop(self, device: str) -> None:
        await self._database.write(lambda connection: self._missing.update(settling.forget_waiting(connection, device)))
