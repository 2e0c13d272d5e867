"""The primary's database as a file that others own: missing, replaced, locked, killed, watched."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from syncd.applications import sqlite_capture as capture
from syncd.applications import watch
from syncd.applications.sqlite import SqliteSource
from syncd.applications.sqlite_identity import place_of
from syncd.core.errors import ApplicationBusy, ApplicationOffline
from tests.applications.road import LIMITS, Reading, lateness, put_over, sql
from tests.pace import slower
from tests.wait import eventually

pytestmark = pytest.mark.asyncio

LONG = "x" * 300  # no file system takes such a name: looking for it is an error


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "app.db"
    sql(made, "PRAGMA journal_mode=WAL", "CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
    return made


async def test_a_missing_database_is_offline_and_is_not_created(tmp_path: Path) -> None:
    with pytest.raises(ApplicationOffline, match="missing") as caught:
        await SqliteSource(tmp_path / "none.db", (), LIMITS).open("")
    assert caught.value.advice
    assert os.listdir(tmp_path) == []


async def test_a_database_that_is_removed_while_it_is_opened_is_offline(tmp_path: Path) -> None:
    with pytest.raises(ApplicationOffline):
        place_of(tmp_path / "gone.db")


async def test_a_database_that_cannot_be_looked_for_is_offline_and_not_missing(tmp_path: Path) -> None:
    for unreachable in (tmp_path / LONG / "app.db", tmp_path / LONG):
        with pytest.raises(ApplicationOffline, match=r"cannot be reached \(File name too long\)"):
            await SqliteSource(unreachable, (), LIMITS).open("")


async def test_a_directory_or_a_file_that_is_no_database_is_offline(tmp_path: Path) -> None:
    with pytest.raises(ApplicationOffline, match="not a file"):
        await SqliteSource(tmp_path, (), LIMITS).open("")
    (tmp_path / "text").write_text("not a database, but long enough to look at" * 100)
    with pytest.raises(ApplicationOffline, match="not a sound SQLite database"):
        await SqliteSource(tmp_path / "text", (), LIMITS).open("")


async def test_a_database_that_was_replaced_by_another_is_offline(path: Path, tmp_path: Path) -> None:
    async with Reading(path) as reading:
        await reading.changes()
    other = tmp_path / "other.db"
    sql(other, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
    for name in os.listdir(tmp_path):
        if name.startswith("app.db"):
            os.unlink(tmp_path / name)
    os.rename(other, path)
    with pytest.raises(ApplicationOffline, match=r"not the one that was shared \(it was replaced\)"):
        await reading.open()


async def test_a_schema_that_changes_while_it_is_opened_is_not_taken_for_the_one_that_was_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = capture.renamed

    def renamed(connection: sqlite3.Connection) -> tuple[tuple[str, str], ...]:
        sql(path, "ALTER TABLE t ADD COLUMN more")
        return known(connection)

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr("syncd.applications.sqlite_capture.renamed", renamed)
        async with Reading(path) as reading:
            assert (await reading.changes()).reshaped


async def test_a_backup_put_back_is_compared(path: Path, tmp_path: Path) -> None:
    backup = tmp_path / "backup.db"
    async with Reading(path) as reading:
        await reading.changes()
        sql(path, "INSERT INTO t VALUES(1, 1)", f"VACUUM INTO '{backup}'", "UPDATE t SET v = 2")
        await reading.changes()
    for name in os.listdir(tmp_path):
        if name.startswith("app.db"):
            os.unlink(tmp_path / name)
    shutil.move(backup, path)
    sql(path, "INSERT INTO t VALUES(2, 2)", "INSERT INTO t VALUES(3, 3)")
    async with reading:
        assert (await reading.changes()).lost


async def test_a_database_that_vanishes_while_it_is_open_is_offline_and_recovers(path: Path, tmp_path: Path) -> None:
    async with Reading(path) as reading:
        await reading.changes()
        os.rename(path, tmp_path / "away.db")

        async def offline() -> bool:
            try:
                await reading.wait(0.2)
            except ApplicationOffline:
                return True
            return False

        await eventually(offline)
        os.rename(tmp_path / "away.db", path)
        await reading.open()
        sql(path, "INSERT INTO t VALUES(1, 1)")
        assert await reading.touched() == [("t", [1], [1])]


async def test_a_locked_database_is_busy_then_read(tmp_path: Path) -> None:
    path = tmp_path / "rollback.db"
    sql(path, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)", "INSERT INTO t VALUES(1, 1)")
    async with Reading(path) as reading:
        await reading.changes()
        with closing(sqlite3.connect(path, isolation_level=None)) as app:
            app.execute("BEGIN EXCLUSIVE")
            app.execute("UPDATE t SET v = 2")
            with pytest.raises(ApplicationBusy, match="holds the lock"):
                await reading.changes()
            app.execute("COMMIT")
        assert await reading.touched() == [("t", [1], [2])]


async def test_a_copy_that_was_put_over_a_database_in_use_is_compared(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    async with Reading(path) as reading:
        await reading.changes()
        sql(path, f"VACUUM INTO '{copy}'", "INSERT INTO t VALUES(1, 1)", "PRAGMA wal_checkpoint(FULL)")
        assert await reading.touched() == [("t", [1], [1])]
        put_over(copy, path)
        changes = await reading.changes()
        assert changes.lost
        assert await reading.scan() == []


async def test_a_copy_whose_log_was_removed_is_left_as_it_is_and_to_the_application(path: Path, tmp_path: Path) -> None:
    """Our connection would lock the application out, and write the log of the former database over the copy."""
    copy = tmp_path / "copy.db"
    async with Reading(path) as reading:
        await reading.changes()
        sql(path, "INSERT INTO t VALUES(1, 'kept')", f"VACUUM INTO '{copy}'", "UPDATE t SET v = 'former'")
        await reading.changes()
        put_over(copy, path, ("-wal", "-shm"))

        async def offline() -> bool:
            try:
                await reading.source.changes(reading.mark, 10)
            except ApplicationOffline as error:
                return "was replaced" in str(error)
            return False

        await eventually(offline)
        await reading.source.close()
        assert sql(path, "PRAGMA integrity_check", "SELECT * FROM t") == [(1, "kept")]
        sql(path, "INSERT INTO t VALUES(2, 2)")
        await reading.open()
        assert (await reading.changes()).lost
        assert len(await reading.scan()) == 2
        sql(path, "INSERT INTO t VALUES(3, 3)")
        assert await reading.touched() == [("t", [3], [3])]


_APPLICATION = """
import sqlite3, sys
app = sqlite3.connect(sys.argv[1], isolation_level=None)
app.execute("PRAGMA cache_size=1")
app.execute("BEGIN IMMEDIATE")
app.execute("INSERT INTO t VALUES(1, 'kept')")
app.execute("COMMIT")
app.execute("BEGIN IMMEDIATE")
for i in range(2, 500):
    app.execute("INSERT INTO t VALUES(?, ?)", (i, "x" * 1000))
print("in the middle", flush=True)
sys.stdin.read()
"""


async def test_an_application_killed_in_mid_transaction_leaves_what_it_committed(path: Path) -> None:
    async with Reading(path) as reading:
        await reading.changes()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _APPLICATION, str(path), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        assert await process.stdout.readline() == b"in the middle\n"
        process.kill()
        await process.wait()
        assert await reading.touched() == [("t", [1], ["kept"])]
        assert len(await reading.scan()) == 1
        sql(path, "INSERT INTO t VALUES(2, 'after')")
        assert await reading.touched() == [("t", [2], ["after"])]


@pytest.mark.alone
async def test_a_commit_wakes_within_milliseconds(path: Path) -> None:
    async with Reading(path) as reading:
        assert await lateness(reading, path, commits=30) < 0.02 * slower()


@pytest.mark.alone
async def test_a_commit_behind_a_link_wakes_as_soon(path: Path, tmp_path: Path) -> None:
    """The companions of a database are beside the file, not beside the link."""
    link = tmp_path / "elsewhere" / "link.db"
    link.parent.mkdir()
    link.symlink_to(path)
    async with Reading(link) as reading:
        # beyond the time in which the data version is asked often
        assert await lateness(reading, path, commits=5, quiet_s=0.15) < 0.1 * slower()


async def test_without_a_notifier_a_commit_is_noticed_all_the_same(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise OSError("no inotify handle left")

    monkeypatch.setattr(watch, "inotify", none)
    async with Reading(path) as reading:
        await reading.changes()
        await reading.wait(0.15)  # beyond the time in which the data version is asked often
        waiting = asyncio.create_task(reading.wait(30.0))
        sql(path, "INSERT INTO t VALUES(1, 1)")
        await eventually(waiting.done)
        assert await reading.touched() == [("t", [1], [1])]


async def test_a_wait_gives_way_when_the_source_is_wanted_or_closed(path: Path) -> None:
    async with Reading(path) as reading:
        await reading.changes()
        await reading.wait(0.1)
        waiting = asyncio.create_task(reading.wait(60.0))
        await asyncio.wait_for(reading.source.observe([]), 30.0)
        await asyncio.wait_for(waiting, 30.0)
        waiting = asyncio.create_task(reading.wait(60.0))
        await asyncio.sleep(0)
        await asyncio.wait_for(reading.source.close(), 30.0)
        await asyncio.wait_for(waiting, 30.0)


@pytest.mark.parametrize("told", [True, False], ids=["the end is told", "the end is not told"])
async def test_what_is_written_while_the_source_is_hushed_is_read(path: Path, told: bool) -> None:
    async with Reading(path) as reading:
        await reading.changes()
        waiting = asyncio.create_task(reading.wait(60.0))
        await asyncio.sleep(0)
        reading.source.hand_over.hush(True)
        sql(path, "INSERT INTO t VALUES(1, 1)")
        if told:
            reading.source.hand_over.hush(False)
        await eventually(waiting.done)
        assert await reading.touched() == [("t", [1], [1])]


async def test_problems_are_bounded_and_counted(path: Path) -> None:
    sql(path, *(f"CREATE TABLE keyless{i}(a)" for i in range(10)))
    async with Reading(path, limits=replace(LIMITS, problems_max=3)) as reading:
        assert len(reading.source.problems) == 4
        assert reading.source.problems[-1] == "and 7 more"


@pytest.mark.slow
async def test_the_database_is_never_checkpointed(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as app:
        app.execute("PRAGMA wal_autocheckpoint=0")
        async with Reading(path) as reading:
            app.execute("INSERT INTO t SELECT value, zeroblob(4000) FROM json_each('[1,2,3,4,5,6,7,8,9]')")
            app.executemany("INSERT INTO t VALUES(?, zeroblob(4000))", ((i,) for i in range(10, 2000)))
            size = os.stat(f"{path}-wal").st_size
            await reading.changes()
            await reading.scan()
            await reading.source.discard(reading.mark)
        assert os.stat(f"{path}-wal").st_size >= size
