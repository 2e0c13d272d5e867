"""What the suites of selection classes share: one type of canonical values, and a device of a class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from syncd.adapters.canonical import Value, pack_values, unpack_values
from syncd.core import digest
from syncd.core.holding import Batch
from syncd.core.model import DataType, Kind, Observed, Proof
from syncd.core.ports import ChunkRequest, CollectionState, StoredChunk, SyncStore
from syncd.core.query_builder import build
from syncd.core.selection import Selection
from tests.contract.sync_store_kit import BYTES_MAX, NAME

ITEM = DataType(0, "item", ("id",), ("country", "total"))
COUNTRY = DataType(0, "item", ("id",), ("land",))
FRENCH = Selection('country == "FR"')
NAMES_ONLY = Selection(without=("total",))
Fields = tuple[Value, ...]


def item(country: str, total: int = 1) -> Fields:
    return (country, total)


@dataclass
class Shop:
    """The primary's side: says what the application holds."""

    store: SyncStore
    type: int
    now_us: int = 0

    @staticmethod
    def key(number: int) -> bytes:
        return pack_values([number])

    def observed(self, values: Mapping[int, Fields | None]) -> list[Observed]:
        return [
            Observed(self.type, self.key(number), None if fields is None else pack_values(fields))
            for number, fields in values.items()
        ]

    async def keep(
        self, values: Mapping[int, Fields | None], publish: bool = True, loose: bool = False
    ) -> CollectionState:
        self.now_us += 1
        return await self.store.keep(NAME, Batch(self.observed(values), publish, loose), self.now_us)

    async def fail(self, *numbers: int) -> None:
        """These cannot be read."""
        self.now_us += 1
        failed = [Observed(self.type, self.key(number), b"", "not to be read") for number in numbers]
        await self.store.keep(NAME, Batch(failed, True, False), self.now_us)

    async def imported(self, values: Mapping[int, Fields | None]) -> CollectionState:
        """A whole comparison."""
        await self.store.begin_scan(NAME)
        await self.keep(values, publish=False, loose=True)
        while gone := await self.store.unseen(NAME, 3):
            await self.store.keep(NAME, Batch(gone, publish=False, loose=True), self.now_us)
        self.now_us += 1
        return await self.store.keep(NAME, Batch((), publish=True, loose=True, end_scan=True), self.now_us)

    async def set_types(self, *types: DataType) -> None:
        self.type = (await self.store.set_source(NAME, "source 1", types))[0].id

    async def open(self, selection: Selection, rows_max: int = 100) -> CollectionState:
        state = await self.store.open_class(NAME, selection, rows_max)
        while state.of(selection) is None:
            state = await self.store.open_class(NAME, selection, rows_max)
        return state


@dataclass
class Device:
    """A device of a class. ``objects``: what it holds, by number."""

    store: SyncStore
    selection: Selection
    base: int = 0
    floor: int = 0
    cursor: int = 0
    objects: dict[int, Fields] = field(default_factory=dict)
    heard: set[tuple[str, int]] = field(default_factory=set)

    async def read(self, rows_max: int = 1_000) -> StoredChunk:
        request = ChunkRequest(NAME, self.selection, self.base, self.floor, self.cursor)
        return await self.store.read(request, rows_max, BYTES_MAX)

    async def take(self, rows_max: int = 1_000) -> Proof | None:
        """One chunk. The proof, if it ended the transfer; then it was checked."""
        request = ChunkRequest(NAME, self.selection, self.base, self.floor, self.cursor)
        chunk = await self.store.read(request, rows_max, BYTES_MAX)
        for message in build(request, chunk).messages():
            number = unpack_values(message.key)[0]
            assert isinstance(number, int)
            self.heard.add((message.kind.name.lower(), number))
            if message.kind is Kind.DELETE:
                self.objects.pop(number, None)
            elif message.kind is not Kind.WITHHELD:
                self.objects[number] = tuple(unpack_values(message.fields))
        self.cursor = chunk.last
        if chunk.proof is not None:
            assert chunk.proof == self.proof(chunk.last)
            self.base, self.floor = chunk.proof.seq, 0
        return chunk.proof

    async def catch_up(self, rows_max: int = 1_000) -> set[tuple[str, int]]:
        """What it was told: kinds and numbers."""
        self.heard.clear()
        while await self.take(rows_max) is None:
            pass
        return set(self.heard)

    def proof(self, seq: int) -> Proof:
        prefix = digest.type_prefix(ITEM.name)
        held = [digest.object_hash(prefix, Shop.key(key), pack_values(fields)) for key, fields in self.objects.items()]
        return Proof(seq, digest.of(held), len(held))
