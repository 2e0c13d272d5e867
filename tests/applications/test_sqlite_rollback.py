"""A database with a rollback journal, where a reader can make a commit of the application fail: it is read when the
application rests (R16)."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from syncd.applications import sqlite_source, sqlite_wait
from syncd.applications.sqlite_common import data_version
from tests.applications.road import Reading, lateness, sql
from tests.pace import slower
from tests.wait import eventually

pytestmark = pytest.mark.asyncio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "app.db"
    sql(made, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
    return made


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When SQLite was asked for the data version while waiting."""
    times: list[float] = []

    def counted(connection: sqlite3.Connection) -> int:
        times.append(time.monotonic())
        return data_version(connection)

    monkeypatch.setattr(sqlite_wait, "data_version", counted)
    return times


@pytest.mark.alone
async def test_a_commit_is_noticed_soon(path: Path) -> None:
    async with Reading(path) as reading:
        assert await lateness(reading, path, commits=10) < 0.1 * slower()


async def test_nothing_is_asked_while_the_application_is_in_a_transaction(path: Path, asked: list[float]) -> None:
    async with Reading(path) as reading:
        await reading.changes()
        with closing(sqlite3.connect(path, isolation_level=None)) as app:
            waiting = asyncio.create_task(reading.wait(10.0))
            await eventually(lambda: len(asked) > 0)
            app.execute("BEGIN IMMEDIATE")
            begun = len(asked)
            for i in range(100):
                app.execute("INSERT INTO t VALUES(?, 1)", (i,))
                await asyncio.sleep(0)
            assert len(asked) <= begun + 1
            app.execute("COMMIT")
        await waiting
        assert len(await reading.touched()) == 100


async def test_a_transaction_that_lasts_keeps_nobody_waiting_for_ever(path: Path, asked: list[float]) -> None:
    async with Reading(path) as reading:
        await reading.changes()
        with closing(sqlite3.connect(path, isolation_level=None)) as app:
            app.execute("PRAGMA journal_mode=PERSIST")  # the journal is there although nobody works
            app.execute("INSERT INTO t VALUES(1, 1)")
            await reading.wait(10.0)
            assert await reading.touched() == [("t", [1], [1])]
            waiting = asyncio.create_task(reading.wait(10.0))
            await asyncio.sleep(0)
            app.execute("INSERT INTO t VALUES(2, 2)")
            await eventually(waiting.done)
            assert await reading.touched() == [("t", [2], [2])]


async def test_the_log_is_cut_back_when_the_application_is_idle(path: Path) -> None:
    async with Reading(path) as reading:
        sql(path, "INSERT INTO t SELECT value, 1 FROM json_each('[1, 2, 3, 4, 5]')")
        await reading.changes()
        await reading.wait(0.01)
        await reading.source.discard(reading.mark)
        assert sql(path, "SELECT count(*) FROM _syncd_log") == [(5,)]

        async def cut_back() -> bool:
            await reading.wait(0.1)
            return sql(path, "SELECT count(*) FROM _syncd_log") == [(1,)]

        await eventually(cut_back)
        sql(path, "INSERT INTO t VALUES(6, 1)")
        assert await reading.touched() == [("t", [6], [1])]


async def test_the_log_of_a_copy_that_was_put_back_is_not_cut_back_by_the_numbers_of_the_other(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_source, "_DISCARD_IDLE_S", 0.0)
    copy = path.with_name("copy.db")
    async with Reading(path) as reading:
        sql(path, f"VACUUM INTO '{copy}'", "INSERT INTO t VALUES(1, 1), (2, 1), (3, 1), (4, 1)")
        await reading.changes()
        await reading.source.discard(reading.mark)
        copy.replace(path)
        await reading.open()
        assert (await reading.changes()).lost
        sql(path, "INSERT INTO t VALUES(5, 1), (6, 1)")
        await reading.wait(0.01)
        assert await reading.touched() == [("t", [5], [1]), ("t", [6], [1])]
