"""The one place that reaches a connection's thread: whole functions, whatever becomes of who asked for them."""

from __future__ import annotations

import asyncio
import gc
import os
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from syncd.applications.sqlite_common import Database, connect, transaction
from syncd.core.errors import ApplicationOffline, TargetHeld
from tests.applications.road import LIMITS, sql
from tests.wait import eventually

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await Database.open(tmp_path / "app.db", LIMITS, create=True)
    await opened.run(lambda connection: connection.execute("CREATE TABLE t(v)").fetchall())
    yield opened
    await opened.close()


def add_two(connection: sqlite3.Connection) -> None:
    with transaction(connection, "IMMEDIATE"):
        connection.execute("INSERT INTO t VALUES(1)")
        connection.execute("INSERT INTO t VALUES(2)")


async def test_a_function_runs_in_the_thread_of_its_database(database: Database) -> None:
    thread = await database.run(lambda _: threading.current_thread().name)
    assert thread == "application app.db"


async def test_a_caller_that_is_cancelled_leaves_the_transaction_whole(database: Database) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(connection: sqlite3.Connection) -> None:
        begun.set()
        assert go_on.wait(5)
        add_two(connection)

    task = asyncio.create_task(database.run(slow))
    await eventually(begun.is_set)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()
    await database.run(add_two)
    assert sql(database.path, "SELECT count(*) FROM t") == [(4,)]


async def test_a_function_that_fails_leaves_no_transaction_behind(database: Database) -> None:
    def fails(connection: sqlite3.Connection) -> None:
        with transaction(connection, "IMMEDIATE"):
            connection.execute("INSERT INTO t VALUES(1)")
            raise TargetHeld("not now")

    with pytest.raises(TargetHeld):
        await database.run(fails)
    with pytest.raises(ApplicationOffline, match="no such table: none"):
        await database.run(lambda connection: connection.execute("SELECT * FROM none"))
    await database.run(add_two)
    assert sql(database.path, "SELECT count(*) FROM t") == [(2,)]


async def test_functions_of_many_tasks_do_not_mix(database: Database) -> None:
    await asyncio.gather(*(database.run(add_two) for _ in range(20)))
    assert sql(database.path, "SELECT count(*) FROM t") == [(40,)]
    assert database.waiting == 0


async def test_a_connection_neither_checkpoints_nor_runs_cascades(tmp_path: Path) -> None:
    connection = connect(tmp_path / "new.db", LIMITS, create=True)
    try:
        assert connection.execute("PRAGMA wal_autocheckpoint").fetchone() == (0,)
        assert connection.execute("PRAGMA foreign_keys").fetchone() == (0,)
        assert connection.execute("PRAGMA busy_timeout").fetchone() == (int(LIMITS.busy_s_max * 1000),)
    finally:
        connection.close()


async def test_a_file_is_not_created_unless_that_is_asked(tmp_path: Path) -> None:
    with pytest.raises(ApplicationOffline, match="unable to open"):
        await Database.open(tmp_path / "none.db", LIMITS)
    assert os.listdir(tmp_path) == []


async def test_a_wait_that_nobody_waits_for_ends_at_its_next_turn_and_without_a_word(database: Database) -> None:
    complaints: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    begun, go_on, turns = threading.Event(), threading.Event(), list[int]()

    def gives_way(_: sqlite3.Connection) -> None:
        turns.append(1)
        begun.set()

    def fails(_: sqlite3.Connection) -> None:
        begun.set()
        assert go_on.wait(5)
        raise ApplicationOffline("it is gone", "put it back")

    for function in (gives_way, fails):
        begun.clear()
        go_on.clear()
        task: asyncio.Task[None] = asyncio.create_task(database.in_turns(function))
        await eventually(begun.is_set)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go_on.set()
        await database.run(lambda _: None)
    after = len(turns)
    await database.run(lambda _: None)
    gc.collect()
    assert (complaints, len(turns)) == ([], after)
