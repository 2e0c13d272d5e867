"""What a writer leaves in the primary's database to know what became of groups, and who wrote what (R6, R13, R15)."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from syncd.adapters.canonical import pack_values
from syncd.applications.sqlite import SqliteSource, SqliteWriter
from syncd.core.edits import Ruling
from syncd.core.errors import ApplicationOffline
from syncd.core.model import ObjectId
from tests.applications.road import LIMITS, sql
from tests.applications.writing_up import WritingUp, writing_up
from tests.wait import eventually

pytestmark = pytest.mark.asyncio

TABLE = "CREATE TABLE t(id INTEGER PRIMARY KEY, n)"


def one(number: int) -> ObjectId:
    return ObjectId("t", pack_values([number]))


async def another_daemon(up: WritingUp) -> None:
    """The one before went without a word."""
    await up.writer.close()
    await up.source.close()
    up.source = SqliteSource(up.path, (), LIMITS)
    up.writer = SqliteWriter(up.path, LIMITS, up.source.hand_over)
    await up.open()


def kept(up: WritingUp) -> list[int]:
    return [int(str(number)) for (number,) in up.sql("SELECT number FROM _syncd_executed ORDER BY number")]


_DAEMON = """
import asyncio, os, signal, sys
from pathlib import Path
from tests.applications.writing_up import WritingUp
from tests.applications.road import LIMITS

async def main():
    up = WritingUp(Path(sys.argv[1]), LIMITS)
    await up.open()
    groups = [up.group(up.edit("t", (number,), None, ("once",))) for number in range(1, 11)]
    written = await up.write(*groups[:6])
    print([one.mark for one in written], flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_a_daemon_that_was_killed_after_the_commit_has_written_once(path: Path) -> None:
    async with writing_up(path, TABLE) as up:
        mark = up.mark
        identity = up.identity
        await up.source.close()
        daemon = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _DAEMON, str(path)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        said, complained = await daemon.communicate()
        assert daemon.returncode == -signal.SIGKILL, complained.decode()
        up.sql("UPDATE t SET n = 'since' WHERE id <= 3")
        up.sql("DELETE FROM t WHERE id = 6")
        up.identity = identity
        await up.open()
        groups = [up.group(up.edit("t", (number,), None, ("once",))) for number in range(1, 11)]
        written = await up.write(*groups)
        assert {told.ruling for told in written} == {Ruling.ACCEPTED}
        assert str([told.mark for told in written[:6]]) == said.decode().strip()
        rows = up.sql("SELECT id, n FROM t")
        assert rows == [(n, "since") for n in (1, 2, 3)] + [(n, "once") for n in (4, 5, 7, 8, 9, 10)]
        up.mark = mark
        read = await up.read()
        assert {key: author for key, (_, author) in read.items()} == {
            one(number): "" if number in (1, 2, 3, 6) else "laptop" for number in range(1, 11)
        }


async def test_what_nobody_said_to_be_settled_before_a_crash_is_forgotten_when_later_groups_come(path: Path) -> None:
    async with writing_up(path, TABLE) as up:
        groups = [up.group(up.edit("t", (number,), None, (1,))) for number in range(1, 7)]
        await up.write(*groups[:4])
        assert kept(up) == [1, 2, 3, 4]
        await another_daemon(up)
        await up.write(*groups[2:5])
        assert kept(up) == [3, 4, 5]
        await up.write(groups[5])
        assert kept(up) == [3, 4, 5, 6]
        await up.writer.settled([("laptop", "o", number) for number in (3, 4, 5)])
        assert kept(up) == [3, 4, 5, 6]
        await up.write(groups[5])
        assert kept(up) == [6]


async def test_what_is_executed_and_not_settled_is_remembered_although_the_writer_opened_the_database_again(
    path: Path,
) -> None:
    """It closes it to keep the write-ahead log short, and what comes next is not the oldest that is not settled."""
    async with writing_up(path, TABLE, limits=replace(LIMITS, wal_bytes_max=1)) as up:
        groups = [up.group(up.edit("t", (number,), None, ("once",))) for number in range(1, 4)]
        for group in groups:
            await up.write(group)
        assert kept(up) == [1, 2, 3]
        up.sql("UPDATE t SET n = 'since'")
        await another_daemon(up)
        written = await up.write(*groups)
        assert {told.ruling for told in written} == {Ruling.ACCEPTED}
        assert up.sql("SELECT DISTINCT n FROM t") == [("since",)]


async def test_what_was_settled_is_forgotten_although_the_next_write_failed(path: Path) -> None:
    async with writing_up(path, TABLE) as up:
        await up.write(up.group(up.edit("t", (1,), None, (1,))))
        await up.writer.settled([("laptop", "o", 1)])
        up.sql("BEGIN IMMEDIATE")
        with pytest.raises(ApplicationOffline):
            await up.write(up.group(up.edit("t", (2,), None, (1,))))
        up.sql("COMMIT")
        await up.write(up.group(up.edit("t", (2,), None, (1,)), number=2))
        assert kept(up) == [2]


async def test_the_notes_of_a_person_s_deeds_stay_until_they_are_settled(path: Path) -> None:
    async with writing_up(path, TABLE) as up:
        deeds = [replace(up.group(up.edit("t", (number,), None, (1,))), device="", outbox="undo") for number in (1, 2)]
        await up.write(deeds[0])
        await another_daemon(up)
        await up.write(deeds[1])
        assert kept(up) == [1, 2]


async def test_neighbours_of_one_author_are_one_note(path: Path) -> None:
    async with writing_up(path, TABLE) as up:
        for number in range(5):
            await up.write(up.group(up.edit("t", (number,), None, (1,))))
        assert len(up.sql("SELECT * FROM _syncd_authors")) == 1
        up.sql("INSERT INTO t VALUES(100, 1)")
        await up.write(up.group(up.edit("t", (5,), None, (1,))))
        await up.write(up.group(up.edit("t", (6,), None, (1,)), author="tablet"))
        assert [row[-1] for row in up.sql("SELECT * FROM _syncd_authors")] == ["laptop", "laptop", "tablet"]
        read = await up.read()
        assert [read[one(number)][1] for number in (0, 4, 100, 5, 6)] == ["laptop", "laptop", "", "laptop", "tablet"]


async def test_authors_are_cut_back_with_the_log(path: Path) -> None:
    limits = replace(LIMITS, log_rows_max=10_000)
    async with writing_up(path, TABLE, limits=limits) as up:
        for at in range(3):
            edits = [up.edit("t", (number,), None, (1,)) for number in range(at * 1000, at * 1000 + 1000)]
            await up.write(up.group(*edits, author=f"device {at}"))
            await up.read()
            await up.source.discard(up.mark)
        assert up.sql("SELECT author FROM _syncd_authors") == [("device 2",)]
        assert up.sql("SELECT count(*) FROM _syncd_log") == [(1,)]


async def test_authors_of_a_log_that_is_gone_are_forgotten(path: Path) -> None:
    async with writing_up(path, TABLE) as up:
        await up.write(*(up.group(up.edit("t", (number,), None, (1,))) for number in range(9)))
        up.sql("DROP TABLE _syncd_log")
        await another_daemon(up)
        sql(path, "INSERT INTO t VALUES(100, 1)")
        assert sql(path, "SELECT * FROM _syncd_authors") == []
        lost = await up.source.changes(up.mark, 100)
        assert lost.lost


async def test_what_became_of_a_group_has_a_mark_that_the_log_reaches_though_it_began_anew(path: Path) -> None:
    async with writing_up(path, TABLE) as up:
        groups = [up.group(up.edit("t", (number,), None, (1,))) for number in range(9)]
        before = await up.write(*groups)
        up.sql("DROP TABLE _syncd_log")
        await another_daemon(up)
        again = await up.write(*groups)
        assert [told.ruling for told in again] == [told.ruling for told in before]
        lost = await up.source.changes(up.mark, 100)
        assert lost.lost
        assert max(told.mark for told in again) <= lost.mark < before[0].mark


async def test_a_log_that_fills_within_a_group_has_a_mark_that_only_a_comparison_reaches(path: Path) -> None:
    limits = replace(LIMITS, log_rows_max=20)
    async with writing_up(path, TABLE, limits=limits) as up:
        edits = [up.edit("t", (number,), None, (1,)) for number in range(50)]
        (written,) = await up.write(up.group(*edits))
        assert up.sql("SELECT count(*) FROM _syncd_log") == [(20,)]
        lost = await up.source.changes(up.mark, 1000)
        assert (lost.lost, lost.mark >= written.mark) == (True, True)
        up.mark = lost.mark
        (written,) = await up.write(up.group(up.edit("t", (100,), None, (1,))))
        assert set(await up.read()) == {one(100)}
        assert up.mark == written.mark


async def test_that_the_log_was_full_is_not_forgotten_when_it_is_cut_back(path: Path) -> None:
    limits = replace(LIMITS, log_rows_max=2_000)
    async with writing_up(path, TABLE, limits=limits) as up:
        up.app.executemany("INSERT INTO t VALUES(?, 1)", ((number,) for number in range(1_500)))
        await up.read()
        up.app.executemany("INSERT INTO t VALUES(?, 1)", ((number,) for number in range(1_500, 3_000)))
        (written,) = await up.write(up.group(up.edit("t", (4_000,), None, (1,))))
        await up.source.discard(up.mark)
        assert up.sql("SELECT max(n) - min(n) < 1999 FROM _syncd_log") == [(1,)]
        lost = await up.source.changes(up.mark, 10)
        assert (lost.lost, lost.mark >= written.mark > up.mark) == (True, True)


async def test_a_file_that_was_replaced_is_offline_and_what_is_put_back_is_written(path: Path) -> None:
    async with writing_up(path, TABLE) as up:
        await up.write(up.group(up.edit("t", (1,), None, (1,))))
        up.sql("PRAGMA wal_checkpoint(TRUNCATE)")
        away, other = path.with_suffix(".away"), path.with_suffix(".other")
        up.app.close()
        await up.source.close()
        os.rename(path, away)
        with sqlite3.connect(other) as made:
            made.execute(TABLE)
        made.close()
        shutil.copy(other, path)
        group = up.group(up.edit("t", (2,), None, (1,)))
        for _ in range(2):
            with pytest.raises(ApplicationOffline):
                await up.write(group)
        os.replace(away, path)
        with pytest.raises(ApplicationOffline):  # the one that was opened is gone
            await up.write(group)
        (written,) = await up.write(group)
        assert written.ruling is Ruling.ACCEPTED
        up.app = sqlite3.connect(path, isolation_level=None)
        assert up.sql("SELECT id FROM t") == [(1,), (2,)]
        await up.open()


async def test_nothing_is_written_before_the_source_was_read(path: Path) -> None:
    writer = SqliteWriter(path, LIMITS)
    with pytest.raises(ApplicationOffline):
        await writer.write((), None, {})
    await writer.close()


async def test_our_tables_are_none_of_the_application_s(path: Path) -> None:
    async with writing_up(path, TABLE) as up:
        await up.write(up.group(up.edit("t", (1,), None, (1,))))
        state = await up.source.open(up.identity)
        assert [found.name for found in state.types] == ["t"]


async def test_a_write_ahead_log_that_the_writer_grew_is_gone_once_nothing_happens(path: Path) -> None:
    limits = replace(LIMITS, wal_bytes_max=200_000)
    async with writing_up(path, TABLE, limits=limits) as up:
        up.app.close()
        for at in range(4):
            edits = [up.edit("t", (number,), None, ("x" * 1000,)) for number in range(at * 100, at * 100 + 100)]
            await up.write(up.group(*edits))
            await up.read()

        async def small() -> bool:
            await up.source.changes(up.mark, 1000, 0.2)
            await up.read()
            return os.stat(f"{path}-wal").st_size < 100_000

        assert os.stat(f"{path}-wal").st_size > 400_000
        await eventually(small)
        up.app = sqlite3.connect(path, isolation_level=None)
        assert up.sql("SELECT count(*) FROM t") == [(400,)]
        (written,) = await up.write(up.group(up.edit("t", (1000,), None, (1,))))
        assert set(await up.read()) == {one(1000)}
        assert up.mark == written.mark


async def test_a_write_ahead_log_that_the_application_keeps_open_is_its_own_affair(path: Path) -> None:
    limits = replace(LIMITS, wal_bytes_max=100_000)
    async with writing_up(path, TABLE, limits=limits) as up:
        up.sql("PRAGMA wal_autocheckpoint=0")
        for at in range(4):
            edits = [up.edit("t", (number,), None, ("x" * 1000,)) for number in range(at * 100, at * 100 + 100)]
            await up.write(up.group(*edits))
        assert len(await up.read()) == 400
        assert up.sql("SELECT count(*) FROM t") == [(400,)]
