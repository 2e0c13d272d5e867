"""What only the sync store in SQLite does: restarts, a full disk, commits shared by callers, plans of its queries."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
import pytest_asyncio

from syncd.core.edits import Version
from syncd.core.errors import DiskFull, InvariantBroken
from syncd.core.holding import Batch
from syncd.core.model import Observed
from syncd.core.settings import Limits
from syncd.store.sync_store import SqliteSyncStore
from tests.contract.sync_store_kit import NAME, Follower, Writer, chunk_of, prepare

pytestmark = pytest.mark.asyncio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest_asyncio.fixture
async def store(path: Path) -> AsyncIterator[SqliteSyncStore]:
    opened = await SqliteSyncStore.open(path, Limits())
    yield opened
    await opened.close()


async def test_a_store_opened_again_is_as_it_was(path: Path) -> None:
    store = await SqliteSyncStore.open(path, Limits())
    writer = Writer(store, await prepare(store))
    await writer.keep({"a": "1", "b": "1"})
    state = await writer.keep({"b": None, "c": "1"}, publish=False, mark=12)
    await store.close()
    store = await SqliteSyncStore.open(path, Limits())
    try:
        assert await store.open_collection(NAME) == state
        await Writer(store, writer.type).keep({"a": "2"})
        follower = Follower(store)
        await follower.catch_up()
        assert follower.objects == {b"a": b"2", b"c": b"1"}
        assert len(await store.groups(NAME, 9)) == 2
    finally:
        await store.close()


async def test_a_store_made_anew_has_another_epoch(path: Path, tmp_path: Path) -> None:
    epochs = set()
    for place in (path, tmp_path / "other.db", path):
        store = await SqliteSyncStore.open(place, Limits())
        epochs.add((await store.open_collection(NAME)).epoch)
        await store.close()
    assert len(epochs) == 2


async def test_a_comparison_that_a_restart_broke_off_is_begun_again(path: Path) -> None:
    store = await SqliteSyncStore.open(path, Limits())
    writer = Writer(store, await prepare(store))
    await writer.imported({"a": "1", "b": "1"})
    await store.begin_scan(NAME)
    await writer.keep({"a": "1"}, publish=False, loose=True)
    await store.close()
    store = await SqliteSyncStore.open(path, Limits())
    try:
        assert (await store.open_collection(NAME)).scanning
        with pytest.raises(InvariantBroken):
            await store.unseen(NAME, 9)
        await Writer(store, writer.type).keep({"a": "1"}, publish=False, loose=True)
        state = await Writer(store, writer.type).imported({"b": "1"})
        assert (state.objects, state.scanning) == (1, False)
    finally:
        await store.close()


async def test_a_first_import_that_a_restart_broke_off_is_completed(path: Path) -> None:
    store = await SqliteSyncStore.open(path, Limits())
    writer = Writer(store, await prepare(store))
    await store.begin_scan(NAME)
    await writer.keep({"a": "1", "b": "1"}, publish=False, loose=True)
    await store.close()
    store = await SqliteSyncStore.open(path, Limits())
    try:
        state = await Writer(store, writer.type).imported({"b": "2", "c": "1"})
        follower = Follower(store)
        await follower.catch_up()
        assert follower.objects == {b"b": b"2", b"c": b"1"}
        assert (state.imported, state.objects) == (True, 2)
    finally:
        await store.close()


async def test_callers_share_commits(store: SqliteSyncStore) -> None:
    type_id = await prepare(store)
    before = store._database.commits
    batches = [Batch([Observed(type_id, f"{i}".encode(), b"1")], publish=True, loose=False) for i in range(100)]
    states = await asyncio.gather(*(store.keep(NAME, batch, 1) for batch in batches))
    assert [state.head for state in states] == list(range(1, 101))
    assert store._database.commits - before <= 3


async def test_a_group_that_does_not_fit_on_the_disk_leaves_no_trace(store: SqliteSyncStore) -> None:
    writer = Writer(store, await prepare(store))
    before = await writer.keep({"a": "1"})

    def quota(connection: sqlite3.Connection) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 10}").fetchone()

    await store._database.write(quota)
    with pytest.raises(DiskFull):
        await writer.keep({f"{i}": "x" * 1_000 for i in range(200)})
    assert await store.open_collection(NAME) == before
    await store._database.write(lambda connection: connection.execute("PRAGMA max_page_count = 100000").fetchone())
    assert (await writer.keep({f"{i}": "x" * 1_000 for i in range(200)})).objects == 201


async def test_reading_and_forgetting_look_at_no_more_rows_than_they_must(path: Path, store: SqliteSyncStore) -> None:
    await Writer(store, await prepare(store)).keep({"a": "1"})
    versions = "SEARCH versions_1 USING INTEGER PRIMARY KEY"
    expected = {
        "SELECT fields FROM versions_1 WHERE until >= 5 AND until <= 9": f"{versions} (rowid>? AND rowid<?)",
        "DELETE FROM versions_1 WHERE until > 0 AND until <= 9": f"{versions} (rowid>? AND rowid<?)",
        "SELECT fields FROM versions_1 WHERE change >= 5 AND change <= 9": "SEARCH versions_1 USING INDEX made_1"
        " (change>? AND change<?)",
        "SELECT change FROM versions_1 WHERE until < 0 AND type = 1 AND key = x'61' AND change < 9": "SEARCH versions_1"
        " USING COVERING INDEX gone_1 (type=? AND key=? AND change<?)",
        "SELECT fields FROM objects_1 WHERE change > 5 AND change <= 9 ORDER BY change": "SEARCH objects_1 USING"
        " INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
        "DELETE FROM objects_1 WHERE hash IS NULL AND change <= 9": "SEARCH objects_1 USING INDEX tombstone_1"
        " (change<?)",
        "SELECT change FROM objects_1 WHERE type = 1 AND key = x'61'": "SEARCH objects_1 USING COVERING INDEX object_1"
        " (type=? AND key=?)",
    }
    with closing(sqlite3.connect(path)) as connection:
        for query, plan in expected.items():
            steps = [detail for *_, detail in connection.execute(f"EXPLAIN QUERY PLAN {query}")]
            assert steps == [plan]


async def test_a_group_of_many_objects_is_read_in_chunks_while_others_are_committed(store: SqliteSyncStore) -> None:
    writer = Writer(store, await prepare(store))
    await writer.keep({f"{i:04}": "1" for i in range(1_000)})
    follower = Follower(store)
    for i in range(5):
        assert await follower.take(150) is None
        await writer.keep({f"{i:04}": "2", f"{999 - i:04}": None, f"new {i}": "1"})
    await follower.catch_up(150)
    chunk = await chunk_of(store, 0, 0, rows_max=9_999)
    assert follower.objects == {row.key: row.fields for row in chunk.rows if row.fields is not None}
    assert len(follower.objects) == 1_000


async def test_the_first_import_leaves_no_history(path: Path, store: SqliteSyncStore) -> None:
    writer = Writer(store, await prepare(store))
    await store.begin_scan(NAME)
    await writer.keep({"a": "1", "b": "1"}, publish=True, loose=True)
    await writer.keep({"a": "2"}, publish=True, loose=True)
    await writer.end_scan()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM versions_1").fetchone() == (0,)


async def test_history_makes_the_file_grow_by_at_most_twice_what_changed(path: Path, store: SqliteSyncStore) -> None:
    writer = Writer(store, await prepare(store))
    names = [f"{i * 7_919 % 100_003:016}" for i in range(4_000)]
    await writer.imported(dict.fromkeys(names, "1" * 256))
    before = await pages(store)
    await writer.keep(dict.fromkeys(sorted(names), "2" * 256))
    assert (await pages(store) - before) * 4096 <= 2 * 256 * len(names)


async def pages(store: SqliteSyncStore) -> int:
    """In use."""

    def count(connection: sqlite3.Connection) -> int:
        return sum(
            sign * int(connection.execute(f"PRAGMA {name}_count").fetchone()[0])
            for sign, name in ((1, "page"), (-1, "freelist"))
        )

    return await store._database.write(count)


async def test_what_is_forgotten_in_many_commits_leaves_room_for_others(store: SqliteSyncStore) -> None:
    writer = Writer(store, await prepare(store))
    await writer.imported({f"{i}": "1" for i in range(25_000)})
    state = await writer.keep({f"{i}": "2" for i in range(25_000)})
    before = store._database.commits
    assert await store.forget_history(NAME, writer.now_us, 0) == 25_000
    assert store._database.commits - before == 3
    assert await store.history(NAME, writer.type, b"7", 9) == [Version(state.head, writer.now_us, b"2", "")]
