"""What the sync store has at hand of the newest group is what it would read (R2, R7, R14)."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from syncd.core.holding import Batch
from syncd.core.model import Observed
from syncd.core.ports import ChunkRequest, StoredChunk
from syncd.core.selection import ALL
from syncd.core.settings import Limits
from syncd.store.sync_store import SqliteSyncStore
from tests.contract.sync_store_kit import BYTES_MAX, NAME, TYPE, Writer, prepare

pytestmark = pytest.mark.asyncio

LIMITS = Limits(ties_max=3)
KEYS = "abcdefgh"


class Bench:
    """A store, and another that has the same file open: it has nothing at hand, whatever it is asked for it reads."""

    def __init__(self, store: SqliteSyncStore, reads: SqliteSyncStore, type_id: int) -> None:
        self.store = store
        self.reads = reads
        self.writer = Writer(store, type_id)

    async def head(self) -> int:
        return (await self.store.open_collection(NAME)).head

    def at_hand(self, cursor: int, rows_max: int = 1_000, bytes_max: int = BYTES_MAX) -> StoredChunk | None:
        return self.store.at_hand(ChunkRequest(NAME, ALL, cursor, 0, cursor), rows_max, bytes_max)

    async def read(self, cursor: int, rows_max: int = 1_000, bytes_max: int = BYTES_MAX) -> StoredChunk:
        return await self.reads.read(ChunkRequest(NAME, ALL, cursor, 0, cursor), rows_max, bytes_max)


@pytest_asyncio.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    store = await SqliteSyncStore.open(tmp_path / "store.db", LIMITS)
    reads = await SqliteSyncStore.open(tmp_path / "store.db", LIMITS)
    yield Bench(store, reads, await prepare(store))
    await store.close()
    await reads.close()


async def test_the_group_of_one_batch_is_at_hand_for_who_was_at_the_head_before(bench: Bench) -> None:
    await bench.writer.keep({"a": "1"})
    await bench.writer.keep({"a": "2", "b": "1"})
    assert bench.at_hand(1) == await bench.read(1)
    assert bench.at_hand(0) is None, "of an older position it is not known what lies between"
    assert bench.at_hand(3) is None


@pytest.mark.parametrize("seed", range(4))
async def test_what_is_at_hand_is_what_is_read_whatever_was_kept_before(bench: Bench, seed: int) -> None:
    rng = random.Random(seed)
    known = 0
    for number in range(40):
        before = await bench.head()
        if rng.random() < 0.05:
            await bench.store.prune(NAME, before, number)
        batch = [
            Observed(
                bench.writer.type,
                rng.choice(KEYS).encode(),
                None if rng.random() < 0.2 else rng.choice("123").encode(),
                "a fault" if rng.random() < 0.1 else "",
                rng.choice(("", "someone")),
            )
            for _ in range(rng.randint(0, 6))
        ]
        publish, loose = rng.random() < 0.8, rng.random() < 0.1
        await bench.store.keep(NAME, Batch(batch, publish, loose), number)
        for cursor in range(before + 2):
            if (at_hand := bench.at_hand(cursor)) is not None:
                known += 1
                assert at_hand == await bench.read(cursor)
    assert known > 10


async def test_a_chunk_that_may_hold_less_than_the_group_is_read(bench: Bench) -> None:
    await bench.writer.keep({"a": "1" * 50, "b": "1" * 50})
    assert bench.at_hand(0, bytes_max=60) is None
    assert bench.at_hand(0, rows_max=1) is None
    await bench.writer.keep({"a": "2" * 50})
    assert bench.at_hand(2, rows_max=1, bytes_max=10) == await bench.read(2, rows_max=1, bytes_max=10)


@pytest.mark.parametrize("rows", [{str(i): "1" for i in range(101)}, {"a": "x" * 70_000}], ids=["rows", "bytes"])
async def test_a_large_group_is_not_kept_in_memory(bench: Bench, rows: dict[str, str | None]) -> None:
    await bench.writer.keep(rows)
    assert bench.at_hand(0) is None
    assert (await bench.read(0)).proof is not None


async def test_what_changes_what_is_read_is_no_longer_at_hand(bench: Bench) -> None:
    await bench.writer.keep({"a": "1"})
    await bench.writer.keep({"b": "1"}, publish=False)
    assert bench.at_hand(0) is None
    await bench.writer.keep({"c": "1"})
    assert bench.at_hand(1) is None, "not all of it came in one batch"
    await bench.writer.keep({"d": "1"})
    assert bench.at_hand(3) is not None
    await bench.store.prune(NAME, 1, 0)
    assert bench.at_hand(3) is None
    await bench.writer.keep({"d": "2"})
    await bench.store.set_source(NAME, "source 1", (TYPE,))
    assert bench.at_hand(4) is None
