"""What a target executes lazily costs no disk of its own, and is durable when it is said to be (DESIGN 3, R4)."""

from __future__ import annotations

import asyncio
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from syncd.applications.sqlite import SqliteTarget
from syncd.applications.sqlite_common import sync_log
from syncd.core.errors import ApplicationOffline, DiskError
from syncd.core.ports import Executed
from tests.applications.road import LIMITS, sql
from tests.applications.writing import Group, Row, Writing, table, writing
from tests.wait import HANGS_S, eventually

pytestmark = pytest.mark.asyncio
ONE = table(1, "t", "id INTEGER PRIMARY KEY, v", ("id",), ("v",))


def row(i: int, v: str = "v") -> Row:
    return Row("t", (i,), (v,))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "disk").mkdir()
    return tmp_path / "disk" / "app.db"


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were synced by us, not by SQLite."""
    names: list[str] = []

    def fdatasync(file: int) -> None:
        names.append(os.path.basename(os.readlink(f"/proc/self/fd/{file}")))

    monkeypatch.setattr("syncd.applications.sqlite_common.os.fdatasync", fdatasync)
    return names


async def lazily(here: Writing, *rows: Row) -> Executed:
    result = await here.target.execute(replace(here.work([Group(rows)]), lazily=True))
    assert isinstance(result, Executed), result
    here.position = result.state.position
    return result


async def traced(target: SqliteTarget) -> list[str]:
    """What is executed from here on."""
    seen: list[str] = []
    assert target._database is not None
    await target._database.run(lambda connection: connection.set_trace_callback(seen.append))
    return seen


async def test_one_work_is_committed_without_a_sync_and_the_next_with_one(path: Path) -> None:
    async with writing(path, ONE) as here:
        await here.begin(row(1))
        seen = await traced(here.target)
        assert not (await lazily(here, row(2))).durable
        normal, commit, full = (
            seen.index(one) for one in ("PRAGMA synchronous=NORMAL", "COMMIT", "PRAGMA synchronous=FULL")
        )
        assert normal < commit < full
        seen.clear()
        await here.done_without_count(here.work([Group([row(3)])]))
        assert not any("synchronous" in one for one in seen)


async def test_after_a_failure_commits_are_synced_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with writing(path, ONE) as here:
        await here.begin(row(1))
        executor = here.target._executor
        assert executor is not None
        monkeypatch.setattr(executor, "execute", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await lazily(here, row(2))
        assert here.target._database is not None
        query = "PRAGMA synchronous"
        assert await here.target._database.run(lambda connection: connection.execute(query).fetchone()) == (2,)


async def test_a_sync_reaches_the_log_and_takes_no_lock(path: Path, synced: list[str]) -> None:
    async with writing(path, ONE) as here:
        await here.begin(row(1))
        await lazily(here, row(2))
        assert synced == []
        sql(path, "CREATE TABLE mine(v)")
        await here.target.sync()
        assert synced == ["app.db-wal"]


async def test_what_another_daemon_left_is_synced_where_the_target_is_opened(path: Path, synced: list[str]) -> None:
    async with writing(path, ONE) as here:
        await here.begin(row(1))
        await lazily(here, row(2))
        again = SqliteTarget(path, "c", False, True, LIMITS)
        await again.open()
        assert synced == ["app.db-wal"]
        await again.close()


async def test_a_target_that_is_closed_is_synced_all_the_same(path: Path, synced: list[str]) -> None:
    async with writing(path, ONE) as here:
        await here.begin(row(1))
        assert here.target._database is not None
        database, here.target._database = here.target._database, None
        await here.target.sync()
        here.target._database = database
        assert synced == ["app.db-wal"]


async def test_with_a_rollback_journal_all_is_durable_at_once(path: Path, synced: list[str]) -> None:
    async with writing(path, ONE) as here:
        await here.begin(row(1))
        await here.target.close()
        sql(path, "PRAGMA journal_mode = DELETE")
        await here.target.open()
        assert (await lazily(here, row(2))).durable
        await here.target.sync()
        assert synced == []


async def test_a_log_that_cannot_be_synced_is_said(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fdatasync(_: int) -> None:
        raise OSError(5, "Input/output error")

    async with writing(path, ONE) as here:
        await here.begin(row(1))
        monkeypatch.setattr("syncd.applications.sqlite_common.os.fdatasync", fdatasync)
        with pytest.raises(DiskError, match="Input/output error"):
            await here.target.sync()
        monkeypatch.undo()
        monkeypatch.setattr("syncd.applications.sqlite_common.os.open", denied)
        with pytest.raises(DiskError, match="Permission denied"):
            await here.target.sync()


def denied(*_: object) -> int:
    raise PermissionError(13, "Permission denied")


async def test_what_is_not_in_its_place_is_not_durable(path: Path) -> None:
    """A disk that was unplugged, or whose files were taken away."""
    async with writing(path, ONE) as here:
        await here.begin(row(1))
        await lazily(here, row(2))
        away = path.parent.rename(path.parent.with_name("away"))
        with pytest.raises(ApplicationOffline, match="missing or was replaced"):
            await here.target.sync()
        await here.target.close()
        with pytest.raises(ApplicationOffline, match="missing or was replaced"):
            await here.target.sync()
        away.rename(path.parent)
        await here.target.open()
        await here.target.sync()


async def test_a_sync_does_not_wait_for_a_work_that_takes_long(path: Path) -> None:
    async with writing(path, ONE) as here:
        await here.begin(row(1))
        await lazily(here, row(2))
        assert here.target._database is not None
        go_on = threading.Event()
        work = asyncio.create_task(here.target._database.run(lambda _: go_on.wait(HANGS_S)))
        await asyncio.wait_for(here.target.sync(), HANGS_S / 2)
        assert not work.done()
        go_on.set()
        assert await work


async def test_a_target_that_is_opened_anew_while_it_is_synced_is_synced(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with writing(path, ONE) as here:
        await here.begin(row(1))
        await lazily(here, row(2))
        begun, go_on = threading.Event(), threading.Event()

        def fdatasync(_: int) -> None:
            if not begun.is_set():
                begun.set()
                assert go_on.wait(HANGS_S)

        monkeypatch.setattr("syncd.applications.sqlite_common.os.fdatasync", fdatasync)
        syncing = asyncio.create_task(here.target.sync())
        await eventually(begun.is_set)
        await here.target.open()  # the last connection was closed: its log is another
        go_on.set()
        await syncing


async def test_a_log_that_is_not_there_was_folded_back(tmp_path: Path) -> None:
    sync_log(tmp_path / "never.db")
