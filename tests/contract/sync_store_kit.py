"""What the suites of the sync store share: one type, objects by short names, and a device that follows the store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from syncd.core import digest
from syncd.core.holding import Batch
from syncd.core.inbound_queue import divide
from syncd.core.model import DataType, Kind, Observed, Proof, Tie
from syncd.core.ports import ChunkRequest, CollectionState, StoredChunk, SyncStore
from syncd.core.query_builder import build
from syncd.core.selection import ALL
from syncd.core.settings import Limits
from syncd.store.memory import MemorySyncStore
from syncd.store.sync_store import SqliteSyncStore

NAME = "notes"
TYPE = DataType(0, "note", ("id",), ("text",), ("CREATE TABLE note (id PRIMARY KEY, text)",))
BYTES_MAX = 1_000_000
USUAL = Limits()


@asynccontextmanager
async def opened(kind: str, directory: Path, limits: Limits = USUAL) -> AsyncIterator[SyncStore]:
    """The one in SQLite (kind "sqlite"), or its twin."""
    if kind == "memory":
        yield MemorySyncStore(limits=limits)
        return
    real = await SqliteSyncStore.open(directory / "store.db", limits)
    yield real
    await real.close()


async def prepare(store: SyncStore, *types: DataType) -> int:
    """A collection with a source, nothing imported yet. Returns the id of its first type."""
    await store.open_collection(NAME)
    return (await store.set_source(NAME, "source 1", types or (TYPE,)))[0].id


def observed(type_id: int, values: Mapping[str, str | None]) -> list[Observed]:
    """Key -> fields; None: the object is gone."""
    return [Observed(type_id, key.encode(), None if value is None else value.encode()) for key, value in values.items()]


@dataclass
class Writer:
    """The primary's side: says what the application holds."""

    store: SyncStore
    type: int
    now_us: int = 0

    async def keep(
        self, values: Mapping[str, str | None], publish: bool = True, loose: bool = False, mark: int | None = None
    ) -> CollectionState:
        self.now_us += 1
        batch = Batch(observed(self.type, values), publish, loose, mark)
        return await self.store.keep(NAME, batch, self.now_us)

    async def imported(self, values: Mapping[str, str | None]) -> CollectionState:
        """A whole comparison with one page."""
        await self.store.begin_scan(NAME)
        await self.keep(values, publish=False, loose=True)
        while gone := await self.store.unseen(NAME, 3):
            await self.store.keep(NAME, Batch(gone, publish=False, loose=True), self.now_us)
        return await self.end_scan()

    async def end_scan(self) -> CollectionState:
        """The comparison is complete, and what it brought is published."""
        self.now_us += 1
        return await self.store.keep(NAME, Batch((), publish=True, loose=True, end_scan=True), self.now_us)


@dataclass
class Follower:
    """A device. ``objects`` is what it holds, ``ties`` those of the transfer that ended last."""

    store: SyncStore
    prefix: bytes = field(default_factory=lambda: digest.type_prefix(TYPE.name))
    base: int = 0
    floor: int = 0
    cursor: int = 0
    objects: dict[bytes, bytes] = field(default_factory=dict)
    ties: list[Tie] = field(default_factory=list)
    cut: bool = True

    async def take(self, rows_max: int = 1_000) -> Proof | None:
        """One chunk. The proof, if it ended the transfer; then it was checked."""
        if self.cut:
            self.ties, self.cut = [], False
        request = ChunkRequest(NAME, ALL, self.base, self.floor, self.cursor)
        chunk = await self.store.read(request, rows_max, BYTES_MAX)
        frame = build(request, chunk)
        for message in frame.messages():
            if message.kind is Kind.DELETE:
                self.objects.pop(message.key, None)
            else:
                self.objects[message.key] = b"" if message.kind is Kind.WITHHELD else message.fields
        self.ties += chunk.ties
        self.cursor = chunk.last
        if chunk.proof is not None:
            assert chunk.proof == self.proof(chunk.last)
            self.base, self.floor, self.cut = chunk.proof.seq, 0, True
        return chunk.proof

    async def catch_up(self, rows_max: int = 1_000) -> Proof:
        proof = None
        while proof is None:
            proof = await self.take(rows_max)
        return proof

    def proof(self, seq: int) -> Proof:
        """What the device says of itself."""
        hashes = (digest.object_hash(self.prefix, key, fields) for key, fields in self.objects.items())
        return Proof(seq, digest.of(hashes), len(self.objects))

    def together(self) -> dict[int, int]:
        """Groups of the transfer that ended last -> the part they belong to."""
        return divide(self.ties)


async def chunk_of(
    store: SyncStore, base: int, cursor: int, rows_max: int = 1_000, bytes_max: int = BYTES_MAX
) -> StoredChunk:
    return await store.read(ChunkRequest(NAME, ALL, base, 0, cursor), rows_max, bytes_max)


def keys(chunk: StoredChunk) -> Sequence[str]:
    return [row.key.decode() for row in chunk.rows]
