"""A target is counted beside the work that goes on (R10, R14)."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncd.applications import sqlite_count
from syncd.applications.sqlite_count import count
from syncd.core.edits import Overlay
from syncd.core.errors import ApplicationOffline, EditsUnread
from tests.applications.road import sql
from tests.applications.writing import Group, Row, Writing, local, table, writing
from tests.contract.application_kit import looked
from tests.wait import eventually

pytestmark = pytest.mark.asyncio
ONE = table(1, "t", "id INTEGER PRIMARY KEY, v", ("id",), ("v",))
DEADLINE_S = 20.0


def row(i: int, v: str = "v") -> Row:
    return Row("t", (i,), (v,))


class Held:
    """A count that does not end before it is let go."""

    def __init__(self) -> None:
        self.counts = 0
        self._go = threading.Event()

    def count(self, *given: object) -> tuple[int, int]:
        self.counts += 1
        assert self._go.wait(DEADLINE_S)
        return count(*given)  # type: ignore[arg-type]

    def let_go(self) -> None:
        self._go.set()


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    held = Held()
    monkeypatch.setattr("syncd.applications.sqlite_count_beside.count", held.count)
    yield held
    held.let_go()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "app.db"


async def test_work_is_executed_while_the_target_is_counted(path: Path, held: Held) -> None:
    async with writing(path, ONE) as here:
        await here.begin(row(1))
        sql(path, "CREATE TABLE mine(v)")
        assert await here.target.look() is None
        assert here.target.beside.goes_on
        await eventually(lambda: held.counts)
        await here.done_without_count(here.work([Group([row(2), row(1, "again")])]))
        assert await here.target.look() is None
        assert held.counts == 1
        held.let_go()
        assert await looked(here.target) is None
        await here.done(here.work([Group([row(3)])]))  # which counts, too


async def test_what_the_application_changed_is_found_although_work_was_executed_meanwhile(
    path: Path, held: Held
) -> None:
    async with writing(path, ONE) as here:
        await here.begin(row(1), row(2))
        sql(path, "UPDATE t SET v = 'changed here' WHERE id = 1")
        assert await here.target.look() is None
        await here.done_without_count(here.work([Group([row(2, "again"), row(3)])]))
        held.let_go()
        state = await looked(here.target)
        assert state is not None
        assert (state.position, state.objects) == (here.position, 3)
        assert await here.target.recount() == state
        assert await looked(here.target) is None


async def test_what_a_trigger_replaces_while_the_target_is_counted_is_found(path: Path, held: Held) -> None:
    """No trigger sees what REPLACE removes: after such a work all is to be counted, and a count that began before it
    is not that count."""
    replaces = "CREATE TRIGGER r AFTER INSERT ON t WHEN NEW.id = 7 BEGIN INSERT OR REPLACE INTO u VALUES(3, 5); END"
    another = table(2, "u", "id INTEGER PRIMARY KEY, n UNIQUE", ("id",), ("n",))
    sql(path, "PRAGMA journal_mode = WAL", *ONE.definition, *another.definition, replaces)
    async with writing(path, ONE, another) as here:
        await here.begin(row(1), Row("u", (2,), (5,)))
        sql(path, "CREATE TABLE mine(v)")
        assert await here.target.look() is None
        await here.done_without_count(here.work([Group([row(7)])]))
        held.let_go()
        assert await looked(here.target) is None
        await eventually(lambda: looks(here, objects=2))


async def looks(here: Writing, objects: int) -> bool:
    """Whether a look finds that the target holds so many."""
    state = await looked(here.target)
    return state is not None and state.objects == objects


async def test_edits_that_nobody_has_read_are_read_before_the_count(path: Path) -> None:
    async with local(path, ONE, row(1)) as here:
        mark = (await here.target.changes(0, 100)).mark
        sql(
            path,
            "WITH RECURSIVE n(i) AS (SELECT 10 UNION SELECT i + 1 FROM n LIMIT 10100) INSERT INTO t SELECT i, i FROM n",
        )
        with pytest.raises(EditsUnread):
            await looked(here.target, Overlay(mark))
        assert not here.target.beside.goes_on


async def test_a_count_is_given_up_where_the_target_is_closed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_count, "_ROWS_BETWEEN", 1)
    monkeypatch.setattr("syncd.applications.sqlite_count_beside.time.sleep", lambda _: None)
    pages, first = 0, threading.Event()

    def counting(*given: object) -> tuple[int, int]:
        connection, tables, rest, edited = given

        def page() -> bool:
            nonlocal pages
            pages += 1
            first.set()
            return rest()  # type: ignore[operator, no-any-return]

        return count(connection, tables, page, edited)  # type: ignore[arg-type]

    monkeypatch.setattr("syncd.applications.sqlite_count_beside.count", counting)
    async with writing(path, ONE) as here:
        await here.begin(*(row(i) for i in range(50_000)))
        sql(path, "CREATE TABLE mine(v)")
        assert await here.target.look() is None
        await eventually(first.is_set)
        await here.target.close()
        assert 0 < pages < 50_000
        await here.target.open()
        assert await here.target.look() is None


async def test_a_count_that_fails_takes_the_target_offline(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def counting(*_: object) -> tuple[int, int]:
        raise sqlite3.OperationalError("disk I/O error")

    async with writing(path, ONE) as here:
        await here.begin(row(1))
        sql(path, "CREATE TABLE mine(v)")
        monkeypatch.setattr("syncd.applications.sqlite_count_beside.count", counting)
        with pytest.raises(ApplicationOffline, match="cannot be used"):
            await looked(here.target)
        monkeypatch.undo()
        assert await looked(here.target) is None


async def test_with_a_rollback_journal_nobody_is_kept_waiting_by_a_reader_beside(path: Path, held: Held) -> None:
    async with writing(path, ONE) as here:
        await here.begin(row(1))
        await here.target.close()
        sql(path, "PRAGMA journal_mode = DELETE", "UPDATE t SET v = 'changed here'")
        await here.target.open()
        state = await here.target.look()
        assert state is not None
        assert held.counts == 0
