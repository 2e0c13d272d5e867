"""One database of ours: group commit, cancelled callers, errors and whose fault they are (R15; DESIGN §5)."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiosqlite
import pytest
import pytest_asyncio

from syncd.core.errors import DiskError, DiskFull, InvariantBroken, StoreBroken
from syncd.store import database as module
from syncd.store.database import FOLD_COMMITS, FOLD_ROWS, Database, in_thread
from syncd.store.schema_files import Schema
from tests.wait import eventually

pytestmark = pytest.mark.asyncio

Function = Callable[[sqlite3.Connection], object]


@pytest.fixture
def schema(tmp_path: Path) -> Schema:
    directory = tmp_path / "schema"
    directory.mkdir()
    (directory / "words_0001.sql").write_text("CREATE TABLE words (word TEXT PRIMARY KEY, bulk BLOB) STRICT;")
    return Schema("words", 0x53594E7F, directory)


@pytest_asyncio.fixture
async def database(tmp_path: Path, schema: Schema) -> AsyncIterator[Database]:
    opened = await Database.open(tmp_path / "words.db", schema)
    yield opened
    await opened.close()


def put(word: str, bulk: int = 0) -> Function:
    return lambda connection: connection.execute("INSERT INTO words VALUES (?, zeroblob(?))", (word, bulk)).rowcount


def words(connection: sqlite3.Connection) -> list[str]:
    return [word for (word,) in connection.execute("SELECT word FROM words ORDER BY word")]


async def test_a_function_runs_in_the_thread_of_the_connection() -> None:
    async with aiosqlite.connect(":memory:") as connection:
        there = await in_thread(connection, lambda own: (own.execute("SELECT 1").fetchone(), threading.get_ident()))
        assert there[0] == (1,)
        assert there[1] != threading.get_ident()
        with pytest.raises(ZeroDivisionError):
            await in_thread(connection, lambda own: 1 / 0)


def in_the_file(path: Path) -> int:
    """How many words are in the file itself, without its log."""
    alone = path.with_name("alone.db")
    alone.write_bytes(path.read_bytes())
    connection = sqlite3.connect(f"file:{alone}?immutable=1", uri=True)
    try:
        return int(connection.execute("SELECT count(*) FROM words").fetchone()[0])
    except sqlite3.DatabaseError:  # nor is the table, or it is being written
        return 0
    finally:
        connection.close()


async def test_the_log_is_folded_back_after_some_commits(database: Database) -> None:
    for number in range(FOLD_COMMITS - 1):
        await database.write(put(f"{number}"))
    assert in_the_file(database.path) < FOLD_COMMITS - 1
    await database.write(put("last"))
    await eventually(lambda: in_the_file(database.path) == FOLD_COMMITS)


async def test_the_log_is_folded_back_after_fewer_commits_where_they_are_large(database: Database) -> None:
    commits, rows = module._FOLD_COMMITS_LARGE, module._FOLD_ROWS_LARGE // module._FOLD_COMMITS_LARGE

    def large(number: int) -> Function:
        return lambda connection: [put(f"{number} {row}")(connection) for row in range(rows)]

    for number in range(commits - 1):
        await database.write(large(number))
    await database.write(large(commits))
    await eventually(lambda: in_the_file(database.path) == commits * rows)


async def test_the_log_is_folded_back_after_many_rows_when_nothing_more_comes(database: Database) -> None:
    await database.write(lambda connection: [put(f"{number}")(connection) for number in range(FOLD_ROWS)])
    await eventually(lambda: in_the_file(database.path) == FOLD_ROWS)


async def test_what_was_written_is_read(database: Database) -> None:
    assert await database.write(put("one")) == 1
    assert await database.read(words) == ["one"]


async def test_functions_that_wait_share_a_commit(database: Database) -> None:
    before = database.commits
    await asyncio.gather(*(database.write(put(f"{i:03}")) for i in range(300)))
    assert len(await database.read(words)) == 300
    assert database.commits - before <= 4


async def test_a_function_that_fails_leaves_no_trace_and_its_neighbours_alone(database: Database) -> None:
    def half(connection: sqlite3.Connection) -> None:
        put("half")(connection)
        raise ValueError("no")

    results = await asyncio.gather(
        database.write(put("first")),
        database.write(half),
        database.write(put("first")),
        database.write(put("last")),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [int, ValueError, InvariantBroken, int]
    assert await database.read(words) == ["first", "last"]


async def test_a_function_alone_that_fails_leaves_no_trace(database: Database) -> None:
    def half(connection: sqlite3.Connection) -> None:
        put("half")(connection)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await database.write(half)
    assert await database.read(words) == []
    assert await database.write(put("next")) == 1


async def test_a_cancelled_caller_leaves_the_transaction_whole(database: Database) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def slow(connection: sqlite3.Connection) -> None:
        put("slow")(connection)
        inside.set()
        assert go_on.wait(5)
        put("slow too")(connection)

    caller = asyncio.create_task(database.write(slow))
    await eventually(inside.is_set)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    go_on.set()
    await database.write(put("next"))
    assert await database.read(words) == ["next", "slow", "slow too"]


async def test_callers_wait_when_too_many_wait_already(tmp_path: Path, schema: Schema) -> None:
    database = await Database.open(tmp_path / "words.db", schema)
    inside, go_on = threading.Event(), threading.Event()

    def slow(connection: sqlite3.Connection) -> None:
        inside.set()
        assert go_on.wait(5)

    first = asyncio.create_task(database.write(slow))
    await eventually(inside.is_set)
    writes = [asyncio.create_task(database.write(put(f"{i:04}"))) for i in range(module.WAITING_MAX + 9)]
    await eventually(lambda: database.waiting == module.WAITING_MAX)
    writes[-1].cancel()  # it did not get in, so its function never runs
    go_on.set()
    await asyncio.gather(first, *writes[:-1])
    assert len(await database.read(words)) == module.WAITING_MAX + 8
    await database.close()


async def test_closing_writes_what_a_cancelled_caller_asked_for(tmp_path: Path, schema: Schema) -> None:
    path = tmp_path / "words.db"
    database = await Database.open(path, schema)
    inside, go_on = threading.Event(), threading.Event()

    def slow(connection: sqlite3.Connection) -> None:
        inside.set()
        assert go_on.wait(5)
        put("slow")(connection)

    callers = [asyncio.create_task(database.write(function)) for function in (slow, put("next"))]
    await eventually(inside.is_set)
    for caller in callers:
        caller.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    closing = asyncio.create_task(database.close())
    go_on.set()
    await closing
    again = await Database.open(path, schema)
    assert await again.read(words) == ["next", "slow"]
    await again.close()


async def test_closing_writes_what_waits(tmp_path: Path, schema: Schema) -> None:
    path = tmp_path / "words.db"
    database = await Database.open(path, schema)
    writes = [asyncio.create_task(database.write(put(f"{i:04}"))) for i in range(module.WAITING_MAX + 500)]
    await asyncio.sleep(0)  # each has asked
    await database.close()
    assert all(await asyncio.gather(*writes))
    await database.close()
    with pytest.raises(InvariantBroken):
        await database.write(put("late"))
    with pytest.raises(InvariantBroken):
        await database.read(words)
    again = await Database.open(path, schema)
    assert len(await again.read(words)) == len(writes)
    await again.close()


async def test_what_is_acknowledged_is_synced_to_the_disk(database: Database) -> None:
    def settings(connection: sqlite3.Connection) -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys", "trusted_schema", "cell_size_check")
        return [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

    assert await database.write(settings) == ["wal", 2, 1, 0, 1]


async def test_what_was_written_lazily_is_synced_with_the_next_commit_that_writes(database: Database) -> None:
    """SQLite syncs nothing for a commit of no page, be it that rows became what they were."""
    log = database.path.with_name(f"{database.path.name}-wal")
    synced: list[bool] = []

    async def write(function: Function, lazily: bool = False) -> None:
        await database.write(function, lazily)
        synced.append(database.synced)

    await write(put("one"))
    await write(put("two"), lazily=True)
    await write(lambda connection: None)
    before = log.stat().st_size
    await write(lambda connection: connection.execute("UPDATE words SET word = word").rowcount)
    assert log.stat().st_size > before
    assert synced == [True, False, False, True]


async def test_what_failed_syncs_nothing(database: Database) -> None:
    await database.write(put("one"), lazily=True)

    def fails(connection: sqlite3.Connection) -> None:
        put("two")(connection)
        raise ValueError

    with pytest.raises(ValueError):
        await database.write(fails)
    assert not database.synced


async def test_a_reader_cannot_write(database: Database) -> None:
    with pytest.raises(StoreBroken):
        await database.read(put("no"))
    assert await database.read(words) == []


async def test_a_reader_sees_one_state_whatever_is_committed(database: Database) -> None:
    loop = asyncio.get_running_loop()

    def twice(connection: sqlite3.Connection) -> tuple[list[str], list[str]]:
        before = words(connection)
        asyncio.run_coroutine_threadsafe(database.write(put("meanwhile")), loop).result(5)
        return before, words(connection)

    assert await database.read(twice) == ([], [])
    assert await database.read(words) == ["meanwhile"]


async def test_a_full_disk_takes_back_everything_and_reading_goes_on(database: Database) -> None:
    await database.write(put("kept"))
    pages = await database.write(lambda connection: connection.execute("PRAGMA page_count").fetchone()[0])
    await database.write(lambda connection: connection.execute(f"PRAGMA max_page_count = {pages + 4}").fetchone())
    results = await asyncio.gather(
        database.write(put("small")), database.write(put("large", 1_000_000)), return_exceptions=True
    )
    assert isinstance(results[1], DiskFull)
    assert isinstance(results[0], int | DiskFull)
    expected = {"kept"} | ({"small"} if isinstance(results[0], int) else set())
    assert set(await database.read(words)) == expected
    await database.write(lambda connection: connection.execute("PRAGMA max_page_count = 100000").fetchone())
    await database.write(put("later", 1_000_000))
    assert set(await database.read(words)) == expected | {"later"}


async def test_a_full_disk_alone_is_told_and_leaves_no_trace(database: Database) -> None:
    pages = await database.write(lambda connection: connection.execute("PRAGMA page_count").fetchone()[0])
    await database.write(lambda connection: connection.execute(f"PRAGMA max_page_count = {pages + 4}").fetchone())
    with pytest.raises(DiskFull) as caught:
        await database.write(put("large", 1_000_000))
    assert caught.value.advice
    assert await database.read(words) == []


async def test_a_file_that_is_no_database_is_refused_and_kept(tmp_path: Path, schema: Schema) -> None:
    path = tmp_path / "words.db"
    content = b"these are somebody's notes, not a database\n" * 100
    path.write_bytes(content)
    with pytest.raises(StoreBroken) as caught:
        await Database.open(path, schema)
    assert str(path) in caught.value.text
    assert path.read_bytes() == content


def damage(path: Path) -> None:
    """Each page but the first."""
    content = bytearray(path.read_bytes())
    for page in range(4096, len(content), 4096):
        content[page : page + 200] = b"\xff" * 200
    path.write_bytes(content)


async def test_a_damaged_file_is_told_and_kept(tmp_path: Path, schema: Schema) -> None:
    path = tmp_path / "words.db"
    database = await Database.open(path, schema)
    for i in range(50):
        await database.write(put(f"{i:02}", 10_000))
    await database.close()
    damage(path)
    database = await Database.open(path, schema)
    try:
        with pytest.raises(StoreBroken):
            await database.read(words)
    finally:
        await database.close()
    assert path.exists()


async def test_a_directory_that_is_not_there_is_told(tmp_path: Path, schema: Schema) -> None:
    with pytest.raises(StoreBroken):
        await Database.open(tmp_path / "missing" / "words.db", schema)


async def test_free_pages_are_given_back_in_slices(database: Database) -> None:
    def numbers(connection: sqlite3.Connection) -> tuple[int, int]:
        free = connection.execute("PRAGMA freelist_count").fetchone()[0]
        return free, connection.execute("PRAGMA page_count").fetchone()[0]

    await database.write(put("large", 16_000_000))
    await database.write(lambda connection: connection.execute("DELETE FROM words").rowcount)
    free, pages = await database.write(numbers)
    assert free > 3_000
    await database.write(module.give_back)
    after = await database.write(numbers)
    assert 0 < free - after[0] == pages - after[1] < 1_000
    for _ in range(20):
        await database.write(module.give_back)
    assert (await database.write(numbers))[0] == 2_000


async def test_a_lock_of_another_program_is_the_disks_fault_and_passes(database: Database) -> None:
    await in_thread(database._writer, lambda connection: connection.execute("PRAGMA busy_timeout = 0").close())
    other = sqlite3.connect(database.path, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DiskError, match="another program holds the lock") as caught:
            await database.write(put("one"))
        assert "goes on by itself" in caught.value.advice
    finally:
        other.close()
    await database.write(put("one"))
    assert await database.read(words) == ["one"]
