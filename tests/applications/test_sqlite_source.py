"""The primary's database as a file that others own: missing, replaced, locked, killed, watched."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from syncd.applications import watch
from syncd.applications.sqlite import SqliteSource
from syncd.core.errors import ApplicationBusy, ApplicationOffline
from tests.applications.road import LIMITS, Reading, sql
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
                await reading.source.wait(0.2)
                await reading.source.changes(reading.mark, 10)
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


async def test_a_commit_wakes_within_milliseconds(path: Path) -> None:
    async with Reading(path) as reading:
        await reading.changes()
        late: list[float] = []
        with closing(sqlite3.connect(path, isolation_level=None)) as app:
            for i in range(30):
                waiting = asyncio.create_task(reading.source.wait(10.0))
                await asyncio.sleep(0)  # the wait begins
                app.execute("INSERT INTO t VALUES(?, 1)", (i,))
                committed = time.perf_counter()
                await waiting
                late.append(time.perf_counter() - committed)
                assert await reading.touched() == [("t", [i], [1])]
    assert sorted(late)[len(late) // 2] < 0.02


async def test_a_commit_behind_a_link_wakes_as_soon(path: Path, tmp_path: Path) -> None:
    """The companions of a database are beside the file, not beside the link."""
    link = tmp_path / "elsewhere" / "link.db"
    link.parent.mkdir()
    link.symlink_to(path)
    async with Reading(link) as reading:
        await reading.changes()
        late: list[float] = []
        with closing(sqlite3.connect(path, isolation_level=None)) as app:
            for i in range(5):
                await reading.source.wait(0.15)  # beyond the time in which the data version is asked often
                waiting = asyncio.create_task(reading.source.wait(10.0))
                await asyncio.sleep(0)
                app.execute("INSERT INTO t VALUES(?, 1)", (i,))
                committed = time.perf_counter()
                await waiting
                late.append(time.perf_counter() - committed)
                assert await reading.touched() == [("t", [i], [1])]
    assert sorted(late)[len(late) // 2] < 0.1


async def test_without_a_notifier_a_commit_is_noticed_all_the_same(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise OSError("no inotify handle left")

    monkeypatch.setattr(watch, "RustNotify", none)
    async with Reading(path) as reading:
        await reading.changes()
        await reading.source.wait(0.15)  # beyond the time in which the data version is asked often
        waiting = asyncio.create_task(reading.source.wait(30.0))
        sql(path, "INSERT INTO t VALUES(1, 1)")
        await eventually(waiting.done)
        assert await reading.touched() == [("t", [1], [1])]


async def test_a_wait_gives_way_when_the_source_is_wanted_or_closed(path: Path) -> None:
    async with Reading(path) as reading:
        await reading.changes()
        await reading.source.wait(0.1)
        waiting = asyncio.create_task(reading.source.wait(60.0))
        await asyncio.wait_for(reading.source.observe([]), 5.0)
        await asyncio.wait_for(waiting, 5.0)
        waiting = asyncio.create_task(reading.source.wait(60.0))
        await asyncio.sleep(0)
        await asyncio.wait_for(reading.source.close(), 5.0)
        await asyncio.wait_for(waiting, 5.0)


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
