"""The auxiliary's database as a file that others own: missing, replaced, locked, on a full disk, a daemon that dies."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from syncd.applications.sqlite import SqliteTarget
from syncd.core.errors import ApplicationBusy, ApplicationOffline, DiskFull, TargetHeld
from syncd.core.ports import Executed
from tests.applications.road import LIMITS, contents, put_over, sql
from tests.applications.writing import Group, Row, Writing, table, writing
from tests.contract.application_kit import looked

pytestmark = pytest.mark.asyncio

LONG = "x" * 300  # no file system takes such a name: looking for it is an error
ONE = table(1, "t", "id INTEGER PRIMARY KEY, v", ("id",), ("v",))


def row(key: int, value: str | bytes = "x") -> Row:
    return Row("t", (key,), (value,))


async def test_a_target_that_is_gone_is_offline_and_is_not_made_anew(path: Path) -> None:
    with pytest.raises(ApplicationOffline, match="is gone") as caught:
        await SqliteTarget(path, "c", False, True, LIMITS).open()
    assert "accept" in caught.value.advice
    assert os.listdir(path.parent) == []


async def test_a_target_without_its_directory_is_offline(path: Path) -> None:
    with pytest.raises(ApplicationOffline, match=r"directory .* is missing"):
        await SqliteTarget(path / "below" / "app.db", "c", False, False, LIMITS).open()


@pytest.mark.parametrize("established", [False, True])
async def test_a_target_that_cannot_be_looked_for_is_offline_and_not_gone(path: Path, established: bool) -> None:
    for unreachable in (path.parent / LONG / "app.db", path.parent / LONG):
        with pytest.raises(ApplicationOffline, match=r"cannot be reached \(File name too long\)") as caught:
            await SqliteTarget(unreachable, "c", False, established, LIMITS).open()
        assert "accept" not in caught.value.advice


async def test_a_target_that_was_replaced_is_offline(path: Path) -> None:
    sql(path, *ONE.definition)
    with pytest.raises(ApplicationOffline, match="it was replaced"):
        await SqliteTarget(path, "c", False, True, LIMITS).open()


async def test_a_copy_that_was_put_over_a_target_without_its_log_is_left_as_it_is(path: Path) -> None:
    """What the former log holds is not the copy's, and what would be written to it is lost."""
    copy = path.with_name("copy.db")
    async with writing(path, ONE) as here:
        await here.begin(row(1, "kept"))
        sql(path, f"VACUUM INTO '{copy}'")
        await here.done(here.work([Group([row(1, "former")])]))
        put_over(copy, path, ("-wal", "-shm"))
        with pytest.raises(ApplicationOffline, match="missing or was replaced"):
            await here.target.execute(here.work([Group([row(2)])]))
        await here.target.close()
        assert sql(path, "INSERT INTO t VALUES(3, 'own')", "SELECT v FROM t") == [("kept",), ("own",)]
        assert (await here.target.open()).position < here.position


@pytest.fixture
def no_database(path: Path) -> Path:
    path.write_bytes(b"no database at all " * 1000)
    return path


async def test_a_target_that_is_no_database_is_offline(no_database: Path) -> None:
    with pytest.raises(ApplicationOffline, match="not a sound SQLite database"):
        await SqliteTarget(no_database, "c", False, False, LIMITS).open()


async def test_a_target_that_vanishes_while_it_is_open_is_offline_and_recovers(path: Path) -> None:
    async with writing(path, ONE) as here:
        await here.begin(row(1))
        work = here.work([Group([row(2)])])
        os.rename(path, path.with_suffix(".away"))
        with pytest.raises(ApplicationOffline, match="missing or was replaced"):
            await here.target.execute(work)
        with pytest.raises(ApplicationOffline, match="is gone"):
            await here.target.open()
        with pytest.raises(ApplicationOffline):
            await here.target.execute(work)
        os.rename(path.with_suffix(".away"), path)
        await here.target.open()
        await here.done(work)


async def test_a_target_that_is_replaced_while_it_is_open_is_offline(path: Path, tmp_path: Path) -> None:
    async with writing(path, ONE) as here:
        await here.begin(row(1))
        other = tmp_path / "other.db"
        sql(other, *ONE.definition)
        for companion in ("-wal", "-shm"):
            os.unlink(f"{path}{companion}")
        os.rename(other, path)
        with pytest.raises(ApplicationOffline):
            await here.target.execute(here.work([Group([row(2)])]))
        with pytest.raises(ApplicationOffline, match="it was replaced"):
            await here.target.open()
    assert contents(path) == {"t": []}


async def test_an_older_copy_that_its_application_restores_in_place_gets_nothing_on_top(path: Path) -> None:
    """The file is the same, what it holds is not: as SQLite's backup restores it (R4)."""
    async with writing(path, ONE) as here:
        await here.begin(row(1))
        before = contents(path)
        with closing(sqlite3.connect(path)) as app, closing(sqlite3.connect(path.with_suffix(".old"))) as copy:
            app.backup(copy)
            await here.done(here.work([Group([row(2)])]))
            copy.backup(app)
        await looked(here.target)
        with pytest.raises(ApplicationOffline, match="older copy"):
            await here.target.execute(here.work([Group([row(3)])]))
        assert contents(path) == before
        assert (await here.target.open()).position == 1


async def test_a_target_whose_application_was_reset_is_offline(path: Path) -> None:
    async with writing(path, ONE) as here:
        await here.begin(row(1))
        sql(path, "DROP TABLE _syncd_position", "DELETE FROM t")
        with pytest.raises(ApplicationOffline, match="reset"):
            await here.target.execute(here.work([Group([row(2)])]))
        with pytest.raises(ApplicationOffline, match="not the one that was accepted"):
            await here.target.open()
    assert contents(path) == {"t": []}


@pytest.mark.parametrize("manner", ["ABORT", "FAIL", "ROLLBACK"])
async def test_a_row_that_its_application_keeps_from_a_snapshot_holds_the_target(path: Path, manner: str) -> None:
    """No group brings the row, so none can be parked for it: a person must decide (R13)."""
    async with writing(path, ONE) as here:
        await here.begin(row(1), row(2))
        before = contents(path)
        sql(path, f"CREATE TRIGGER no BEFORE DELETE ON t BEGIN SELECT RAISE({manner}, 'nothing is deleted'); END")
        snapshot = here.work([Group([row(1)], loose=True)], snapshot=True)
        with pytest.raises(TargetHeld, match="nothing is deleted") as held:
            await here.target.execute(snapshot)
        assert "on this machine" in held.value.advice
        assert contents(path) == before
        sql(path, "DROP TRIGGER no")
        await here.done(snapshot)
    assert len(contents(path)["t"]) == 1


async def test_a_locked_target_is_busy_and_unchanged(path: Path) -> None:
    async with writing(path, ONE) as here:
        await here.begin(row(1))
        work = here.work([Group([row(2)])])
        with closing(sqlite3.connect(path, isolation_level=None)) as app:
            app.execute("BEGIN IMMEDIATE")
            with pytest.raises(ApplicationBusy, match="holds the lock"):
                await here.target.execute(work)
            app.execute("ROLLBACK")
        await here.done(work)


async def test_readers_of_a_target_never_wait(path: Path) -> None:
    async with writing(path, ONE) as here:
        await here.begin(row(1))
        with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as app:
            app.execute("BEGIN")
            assert app.execute("SELECT count(*) FROM t").fetchone() == (1,)
            await here.done(here.work([Group([row(2)])]))
            assert app.execute("SELECT count(*) FROM t").fetchone() == (1,)
            app.execute("COMMIT")
            assert app.execute("SELECT count(*) FROM t").fetchone() == (2,)


async def test_objects_of_its_own_in_another_table_are_no_matter(path: Path) -> None:
    sql(path, "CREATE TABLE mine(id INTEGER PRIMARY KEY)", "INSERT INTO mine VALUES(1)")
    async with writing(path, ONE) as here:
        await here.begin(row(1))
    assert sql(path, "SELECT id FROM mine") == [(1,)]


async def test_objects_of_its_own_are_kept_even_where_values_collide(path: Path) -> None:
    unique = table(1, "t", "id INTEGER PRIMARY KEY, v UNIQUE", ("id",), ("v",))
    sql(path, *unique.definition, "INSERT INTO t VALUES(1, 'a'), (2, 'b')")
    async with writing(path, unique) as here:
        with pytest.raises(TargetHeld, match="2 objects of its own"):
            await here.target.execute(here.work([Group([row(1, "b"), row(2, "a")], loose=True)], snapshot=True))
    assert sql(path, "SELECT id, v FROM t ORDER BY id") == [(1, "a"), (2, "b")]


async def test_a_recount_finds_what_was_changed_here(path: Path) -> None:
    async with writing(path, ONE) as here:
        await here.begin(row(1), row(2))
        before = await here.target.recount()
        sql(path, "UPDATE t SET v = 'changed' WHERE id = 1")
        changed = await here.target.recount()
        assert (changed.position, changed.objects) == (before.position, 2)
        assert changed.digest != before.digest
        sql(path, "UPDATE t SET v = CAST(x'ff' AS TEXT) WHERE id = 1", "INSERT INTO t VALUES(3, CAST(x'ff' AS TEXT))")
        assert (await here.target.recount()).objects == 3
        await here.done(here.work([Group([row(1), row(3)])]))
        assert sql(path, "SELECT v FROM t") == [("x",)] * 3


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of 2 MiB, where this machine lets us make one."""
    place = Path(tempfile.mkdtemp())
    mounted = os.geteuid() == 0 and shutil.which("mount") is not None
    if mounted:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(place)], capture_output=True, check=False
        )
        mounted = done.returncode == 0
    if not mounted:
        place.rmdir()
        pytest.skip("a small file system cannot be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)
    place.rmdir()


async def test_a_full_disk_leaves_all_as_it_was_and_recovers(small_disk: Path) -> None:
    path = small_disk / "app.db"
    ballast = small_disk / "ballast"
    async with writing(path, ONE) as here:
        await here.begin(row(1))
        ballast.write_bytes(bytes(1_200_000))
        work = here.work([Group([row(i, b"x" * 9000) for i in range(100)])])
        before = contents(path)
        with pytest.raises(DiskFull, match="no room"):
            await here.target.execute(work)
        assert contents(path) == before
        small = here.work([Group([row(2)])])
        ballast.unlink()
        await here.done(small)


_DAEMON = """
import asyncio, sys
from pathlib import Path
from syncd.applications import sqlite_common
from syncd.applications.sqlite import SqliteTarget
from tests.applications.road import LIMITS
from tests.applications.writing import Group, Row, Writing, table
from tests.contract.application_kit import looked
ONE = table(1, "t", "id INTEGER PRIMARY KEY, v", ("id",), ("v",))
usual = sqlite_common.connect
def connect(*args):
    connection = usual(*args)
    connection.set_progress_handler(lambda: print("step", flush=True), 2_000)  # many in each transaction
    return connection
sqlite_common.connect = connect
async def main():
    target = SqliteTarget(Path(sys.argv[1]), "c", False, True, LIMITS)
    state = await target.open()
    here = Writing(target, Path(sys.argv[1]), [ONE])
    here.seq = state.position
    for turn in range(1000):
        await target.execute(here.work([Group([Row("t", (i,), (turn,)) for i in range(2000)])]))
        print(here.seq, flush=True)
asyncio.run(main())
"""


@pytest.mark.slow
async def test_a_daemon_killed_at_any_moment_leaves_whole_groups(path: Path, seed: int) -> None:
    chance = random.Random(seed)
    async with writing(path, ONE) as here:
        await here.begin(row(0))
    for _ in range(5):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _DAEMON, str(path), stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
        )
        assert process.stdout is not None
        read: list[bytes] = []
        moment = chance.randrange(100, 500)  # a step in a transaction, or its end, not the first
        while len(read) < moment or b"step" not in read[-1]:
            read.append(await process.stdout.readline())
            assert read[-1], "it works until it is killed"
        process.kill()
        await process.wait()
        lines = b"".join(read) + await process.stdout.read()
        reported = max(int(line) for line in lines.split(b"\n")[:-1] if line.isdigit())
        target = SqliteTarget(path, "c", False, True, LIMITS)
        state = await target.open()
        assert state.position >= reported
        assert await target.recount() == state
        await target.close()
        assert len(sql(path, "SELECT DISTINCT v FROM t")) == 1


async def test_a_work_that_was_executed_before_a_crash_is_not_executed_again(path: Path) -> None:
    async with writing(path, ONE) as here:
        await here.begin(row(1))
        work = here.work([Group([row(1, "second")])])
        state = (await here.done(work)).state
    target = SqliteTarget(path, "c", False, True, LIMITS)
    assert await target.open() == state
    with closing(sqlite3.connect(path, isolation_level=None)) as app:
        app.execute("CREATE TRIGGER never BEFORE UPDATE ON t BEGIN SELECT RAISE(ABORT, 'again'); END")
    assert await target.execute(work) == Executed(state)
    await target.close()
    assert Writing(target, path, [ONE]).seq == 0


async def test_a_table_that_the_application_dropped_is_made_again_and_not_said_to_hold_its_rows(path: Path) -> None:
    async with writing(path, ONE) as here:
        await here.begin(*(row(i) for i in range(50)))
        sql(path, "DROP TABLE t")
        state = (await here.done(here.work([Group([row(100)])]))).state
        assert state.objects == 1
        await here.done(here.work([Group([row(101)])]))
        await here.done(here.work([Group([row(i) for i in range(50)], loose=True)], snapshot=True))
    assert len(contents(path)["t"]) == 50
