"""What a target holds is counted where others wrote to its database: soon, seldom, and without its lock."""

from __future__ import annotations

import itertools
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from syncd.applications import sqlite_count
from syncd.applications.sqlite_count import GivenUp, Pace, count
from syncd.applications.sqlite_tables import Tables
from syncd.core.settings import Limits
from tests.applications.road import sql
from tests.applications.writing import Group, Row, table, writing
from tests.contract.application_kit import looked

pytestmark = pytest.mark.asyncio

ONE = table(1, "t", "id INTEGER PRIMARY KEY, v", ("id",), ("v",))
LIMITS = Limits()


def row(key: int, value: str = "x") -> Row:
    return Row("t", (key,), (value,))


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One for each count of the tables."""
    made: list[int] = []

    def counting(*given: object, **named: bool) -> tuple[int, int]:
        made.append(1)
        return count(*given, **named)  # type: ignore[arg-type]

    for where in ("sqlite_recount", "sqlite_count_beside"):
        monkeypatch.setattr(f"syncd.applications.{where}.count", counting)
    return made


async def test_a_target_that_nobody_else_writes_is_not_counted(path: Path, counts: list[int]) -> None:
    async with writing(path, ONE) as here:
        await here.target.execute(here.work([Group([row(1)], loose=True)], snapshot=True))
        here.position = here.seq
        await here.target.execute(here.work([Group([row(2)])]))
        assert await looked(here.target) is None
        assert counts == []


async def test_a_deletion_here_that_a_group_hides_is_found_by_the_next_look(path: Path, counts: list[int]) -> None:
    async with writing(path, ONE) as here:
        await here.begin(*(row(i) for i in range(50)))
        counts.clear()
        sql(path, "DELETE FROM t")
        await here.done_without_count(here.work([Group([row(100)])]))
        state = await looked(here.target)
        assert state is not None
        assert (state.position, state.objects) == (here.position, 1)
        assert counts == [1, 1]  # beside the work, and where nothing is written meanwhile


async def test_writes_to_other_tables_are_counted_at_a_pace_and_change_nothing(path: Path, counts: list[int]) -> None:
    async with writing(path, ONE) as here:
        await here.begin(row(1))
        counts.clear()
        for _ in range(20):
            sql(path, "CREATE TABLE IF NOT EXISTS mine(v)", "INSERT INTO mine VALUES(1)")
            assert await looked(here.target) is None
        assert len(counts) < 10


async def test_a_count_leaves_the_lock_to_the_application(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with writing(path, ONE) as here:
        await here.begin(row(1))
        sql(path, "UPDATE t SET v = 'changed here'")
        with closing(sqlite3.connect(path, isolation_level=None, timeout=0, check_same_thread=False)) as app:

            def counting(*given: object, **named: bool) -> tuple[int, int]:
                found = count(*given, **named)  # type: ignore[arg-type]
                app.execute("INSERT INTO t VALUES(2, 'written meanwhile')")
                return found

            monkeypatch.setattr("syncd.applications.sqlite_recount.count", counting)
            first = await here.target.recount()
            assert first.objects == 1
            monkeypatch.undo()
        second = await looked(here.target)
        assert second is not None
        assert second.objects == 2


async def test_a_count_of_data_that_was_restored_meanwhile_is_not_kept(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with writing(path, ONE) as here:
        await here.begin(row(1))
        sql(path, "UPDATE t SET v = 'changed here'")
        position = here.position - 1

        def counting(*given: object, **named: bool) -> tuple[int, int]:
            found = count(*given, **named)  # type: ignore[arg-type]
            sql(path, f"UPDATE _syncd_position SET position = {position}")
            return found

        monkeypatch.setattr("syncd.applications.sqlite_recount.count", counting)
        state = await here.target.recount()
        assert state.position == position
        assert sql(path, "SELECT digest FROM _syncd_position") == [(state.digest,)]


async def test_a_count_makes_room_for_work(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_count, "_ROWS_BETWEEN", 10)
    sql(
        path,
        *ONE.definition,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION SELECT i + 1 FROM n LIMIT 25) INSERT INTO t SELECT i, i FROM n",
    )
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        tables = Tables(connection, {1: ONE}, create=False)
        asked: list[int] = []

        def second() -> bool:
            asked.append(1)
            return len(asked) == 2

        with pytest.raises(GivenUp):
            count(connection, tables, second)
        assert count(connection, tables)[1] == 25


async def test_pauses_grow_while_others_write_and_begin_anew_when_they_stop() -> None:
    pace, now, at = Pace(LIMITS), 0.0, []
    while now < 1_000:
        if pace.due(now):
            at.append(now)
            pace.counted(now, 0.001)
        now += 0.5
    pauses = [later - earlier for earlier, later in itertools.pairwise(at)]
    assert pauses[:7] == [1, 2, 4, 8, 16, 32, 60]
    assert set(pauses[7:]) == {LIMITS.count_s_max}
    pace.quiet(now + LIMITS.count_s_max)
    assert pace.due(now + 100)
    pace.counted(now + 100, 0.001)
    assert pace.due(now + 100 + LIMITS.count_s_first)


async def test_a_count_that_takes_long_is_seldom() -> None:
    pace = Pace(LIMITS)
    assert pace.due(0.0)
    pace.counted(3.0, 3.0)
    assert not pace.due(3.0 + 3.0 * LIMITS.count_pauses_min - 0.1)
    assert pace.due(3.0 + 3.0 * LIMITS.count_pauses_min)


async def test_a_count_that_was_put_off_for_long_is_made_all_the_same() -> None:
    pace = Pace(LIMITS)
    assert pace.due(10.0)
    assert pace.may_give_up(10.0)
    assert not pace.may_give_up(10.0 + LIMITS.count_s_max)
