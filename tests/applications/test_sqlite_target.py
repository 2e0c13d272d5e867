"""Writing into the application's database: what its constraints, triggers and other columns make of it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path

import pytest

from syncd.applications.sqlite import SqliteTarget
from syncd.core.model import ObjectId, OutcomeKind
from syncd.core.ports import TargetState
from tests.applications.road import LIMITS, Reading, contents, sql
from tests.applications.writing import Group, Row, Writing, table, writing

pytestmark = pytest.mark.asyncio

ITEMS = table(1, "items", "id INTEGER PRIMARY KEY, u TEXT UNIQUE, n INTEGER", ("id",), ("u", "n"))


def item(key: int, u: str | None, n: int = 0) -> Row:
    return Row("items", (key,), (u, n))


async def test_a_missing_database_is_created_with_the_tables_and_indexes_of_the_primary(path: Path) -> None:
    one = table(1, "t", "id INTEGER PRIMARY KEY AUTOINCREMENT, v", ("id",), ("v",), "CREATE INDEX by_v ON t(v, id)")
    async with writing(path, one) as here:
        assert not list(path.parent.iterdir())
        await here.begin(Row("t", (1,), ("x",)))
        assert sql(path, "PRAGMA journal_mode") == [("wal",)]
    assert sql(path, "SELECT * FROM t") == [(1, "x")]
    assert sql(path, "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = 't'") == [("by_v",)]


async def test_values_swapped_under_a_unique_index_within_a_group(path: Path) -> None:
    async with writing(path, ITEMS) as here:
        await here.begin(item(1, "a"), item(2, "b"), item(3, "c"))
        await here.done(here.work([Group([item(1, "b"), item(2, "c"), item(3, "a")])]))
        assert sql(path, "SELECT id, u FROM items ORDER BY id") == [(1, "b"), (2, "c"), (3, "a")]
        await here.done(here.work([Group([item(1, "x"), item(4, "b"), Row("items", (2,))])]))
        assert sql(path, "SELECT id, u FROM items ORDER BY id") == [(1, "x"), (3, "a"), (4, "b")]


async def test_columns_that_exist_here_only_keep_their_values(path: Path) -> None:
    sql(path, "CREATE TABLE items(id INTEGER PRIMARY KEY, u TEXT UNIQUE, mine TEXT DEFAULT 'd', n INTEGER)")
    async with writing(path, ITEMS) as here:
        await here.begin(item(1, "a"), item(2, "b"))
        sql(path, "UPDATE items SET mine = 'kept' || id")
        await here.done(here.work([Group([item(1, "b"), item(2, "a"), item(3, "c")])]))
        await here.done(here.work([Group([item(1, "b", 5)])]))
        rows = sql(path, "SELECT id, u, n, mine FROM items")
        assert rows == [(1, "b", 5, "kept1"), (2, "a", 0, "kept2"), (3, "c", 0, "d")]


async def test_values_swapped_within_a_group_beside_one_that_fails(path: Path) -> None:
    async with writing(path, ITEMS) as here:
        await here.begin(item(1, "a"), item(2, "b"))
        sql(path, "CREATE TRIGGER no BEFORE INSERT ON items WHEN NEW.n < 0 BEGIN SELECT RAISE(ABORT, 'negative'); END")
        work = here.work([Group([item(1, "b"), item(2, "a")]), Group([item(9, "z", -1)])])
        (part,) = await here.failed(work)
        assert (part.seqs, part.failure.guilty) == (frozenset((here.seqs[1],)), ObjectId("items", item(9, "").id.key))
        loose = here.work([Group([item(1, "b"), item(2, "a"), item(9, "z", -1)], loose=True)])
        (part,) = await here.failed(loose)
        assert part.objects == {item(9, "").id}


async def test_a_unique_index_makes_no_row_vanish(path: Path) -> None:
    one = table(1, "t", "id INTEGER PRIMARY KEY, u UNIQUE ON CONFLICT REPLACE, v", ("id",), ("u", "v"))
    async with writing(path, one) as here:
        await here.begin(Row("t", (1,), ("a", 1)), Row("t", (2,), ("b", 2)))
        (part,) = await here.failed(here.work([Group([Row("t", (3,), ("a", 3))])]))
        assert "UNIQUE constraint failed: t.u" in part.failure.cause
        assert len(sql(path, "SELECT * FROM t")) == 2


@pytest.mark.parametrize(
    ("columns", "bad", "words"),
    [
        ("id INTEGER PRIMARY KEY, v TEXT CHECK(length(v) < 5)", "too long", "CHECK constraint failed"),
        ("id INTEGER PRIMARY KEY, v TEXT NOT NULL", None, "NOT NULL constraint failed: t.v"),
        ("id INTEGER PRIMARY KEY, v TEXT UNIQUE", "same", "UNIQUE constraint failed: t.v"),
    ],
)
async def test_what_a_constraint_refuses_is_rolled_back_in_the_words_of_sqlite(
    path: Path, columns: str, bad: str | None, words: str
) -> None:
    async with writing(path, table(1, "t", columns, ("id",), ("v",))) as here:
        await here.begin(Row("t", (0,), ("same",)))
        (part,) = await here.failed(here.work([Group([Row("t", (1,), ("fine",)), Row("t", (2,), (bad,))])]))
        assert part.failure.outcome is OutcomeKind.ROLLED_BACK
        assert part.failure.guilty == Row("t", (2,)).id
        assert words in part.failure.cause


async def test_a_strict_table_refuses_a_value_of_another_type(path: Path) -> None:
    sql(path, "CREATE TABLE t(id INTEGER PRIMARY KEY, v INT) STRICT")
    async with writing(path, table(1, "t", "id INTEGER PRIMARY KEY, v INT", ("id",), ("v",))) as here:
        await here.begin(Row("t", (1,), (5,)))
        (part,) = await here.failed(here.work([Group([Row("t", (1,), ("five",))])]))
        assert "cannot store TEXT value in INT column" in part.failure.cause


@pytest.mark.parametrize("action", ["ABORT", "FAIL", "ROLLBACK"])
async def test_a_trigger_that_refuses_rolls_its_group_back_and_no_other(path: Path, action: str) -> None:
    async with writing(path, ITEMS) as here:
        await here.begin(item(1, "a"))
        sql(
            path,
            "CREATE TRIGGER no AFTER UPDATE ON items WHEN NEW.n < 0"
            f" BEGIN UPDATE items SET u = 'changed' WHERE id = 1; SELECT RAISE({action}, 'negative'); END",
        )
        sql(path, "CREATE TRIGGER no2 AFTER INSERT ON items WHEN NEW.n < 0 BEGIN SELECT RAISE(ABORT, 'negative'); END")
        groups = [
            Group([item(1, "b", 1)]),
            Group([item(2, "c", 1), item(1, "d", -1)], ties=(0,)),
            Group([item(3, "e")]),
        ]
        work = here.work(groups)
        (part,) = await here.failed(work)
        assert part.seqs == set(here.seqs[:2])
        assert "negative" in part.failure.cause
        await here.done(
            here.work([Group([item(3, "e"), item(4, "f", -1), item(5, "g")], loose=True)], skip=[item(4, "").id])
        )


async def test_loose_rows_of_which_a_trigger_rolls_everything_back_are_named(path: Path) -> None:
    async with writing(path, ITEMS) as here:
        await here.begin(item(1, "a"))
        sql(path, "CREATE TRIGGER no AFTER INSERT ON items WHEN NEW.n < 0 BEGIN SELECT RAISE(ROLLBACK, 'all'); END")
        rows = [item(i, f"u{i}", -1 if i in (7, 15) else 0) for i in range(2, 30)]
        parts = await here.failed(here.work([Group(rows, loose=True)]))
        assert sorted(one for part in parts for one in part.objects) == [item(7, "").id, item(15, "").id]


async def test_the_applications_own_triggers_fire_and_keep_their_own_manners(path: Path) -> None:
    sql(
        path,
        "CREATE TABLE items(id INTEGER PRIMARY KEY, u TEXT UNIQUE, n INTEGER)",
        "CREATE TABLE log(u TEXT PRIMARY KEY, times INTEGER DEFAULT 1)",
        "CREATE TRIGGER added AFTER INSERT ON items BEGIN INSERT OR IGNORE INTO log(u) VALUES(NEW.u); END",
        "CREATE TRIGGER changed AFTER UPDATE ON items BEGIN REPLACE INTO log VALUES(NEW.u, 9); END",
        "INSERT INTO log(u) VALUES('a')",
    )
    async with writing(path, ITEMS) as here:
        await here.begin(item(1, "a"), item(2, "b"))
        await here.done(here.work([Group([item(1, "a", 7)])]))
    assert sql(path, "SELECT * FROM log ORDER BY u") == [("a", 9), ("b", 1)]


async def test_a_capture_on_the_same_database_logs_nothing(path: Path) -> None:
    sql(path, *ITEMS.definition)
    async with Reading(path) as reading, writing(path, ITEMS) as here:
        await here.begin(item(1, "a"), item(2, "b"))
        await here.done(here.work([Group([item(1, "b"), item(2, "a")])]))
        assert await reading.touched() == []
        sql(path, "UPDATE items SET n = 5 WHERE id = 1")
        assert await reading.touched() == [("items", [1], ["b", 5])]


async def test_a_group_spread_over_many_frames_is_whole_or_not_at_all(path: Path) -> None:
    async with writing(path, ITEMS) as here:
        await here.begin()
        sql(path, "CREATE TRIGGER no BEFORE INSERT ON items WHEN NEW.n < 0 BEGIN SELECT RAISE(ABORT, 'negative'); END")
        groups = [
            Group([item(i, f"a{i}") for i in range(10)]),
            Group([item(i, f"b{i}") for i in range(100, 110)]),
            Group([item(i, f"c{i}", -1 if i == 209 else 0) for i in range(200, 210)], ties=(0,)),
        ]
        work = here.work(groups, rows_per_frame=3)
        (part,) = await here.failed(work)
        assert part.seqs == {here.seqs[0], here.seqs[2]}
        skip = [row.id for group in (groups[0], groups[2]) for row in group.rows]
        await here.done(here.work(groups, skip=skip, rows_per_frame=3))
        assert len(sql(path, "SELECT * FROM items")) == 10


async def test_independent_objects_may_free_a_value_for_one_another(path: Path) -> None:
    async with writing(path, ITEMS) as here:
        await here.begin(item(1, "a"), item(2, "b"))
        sql(path, "CREATE TRIGGER no BEFORE INSERT ON items WHEN NEW.n < 0 BEGIN SELECT RAISE(ABORT, 'negative'); END")
        rows = [item(3, "a"), item(2, "c"), item(4, "b"), item(1, "d"), item(5, "bad", -1)]
        parts = await here.failed(here.work([Group(rows, loose=True)]))
        assert [part.objects for part in parts] == [frozenset((item(5, "").id,))]


BODY = table(1, "t", "id INTEGER PRIMARY KEY, v", ("id",), ("v",))


@asynccontextmanager
async def short_log(path: Path) -> AsyncIterator[Writing]:
    """A target that begins to keep its write-ahead log short at 200,000 bytes, after a first snapshot."""
    target = SqliteTarget(path, "c", True, False, replace(LIMITS, wal_bytes_max=200_000))
    await target.open()
    here = Writing(target, path, [BODY])
    try:
        await here.begin()
        yield here
    finally:
        await target.close()


async def grown(here: Writing, groups: int) -> list[int]:
    """Sizes of the write-ahead log after each of these groups of 9,000 bytes."""
    sizes: list[int] = []
    for _ in range(groups):
        await here.done_without_count(here.work([Group([Row("t", (here.seq,), (b"x" * 9000,))])]))
        directory = here.path.resolve().parent
        logs = [name for name in os.listdir(directory) if name.endswith("-wal")]
        sizes.append(sum(os.stat(directory / name).st_size for name in logs))
    return sizes


async def test_the_write_ahead_log_does_not_grow_for_ever(path: Path) -> None:
    async with short_log(path) as here:
        assert max(await grown(here, 60)) < 300_000
    assert len(contents(path)["t"]) == 60


async def test_rows_of_a_bootstrap_go_in_by_the_hundred_and_one_that_does_not_alone_stays_out(path: Path) -> None:
    """More rows than one statement takes, and not an even number of statements."""
    strict = table(1, "t", "id INTEGER PRIMARY KEY, v CHECK(v <> 'bad')", ("id",), ("v",))
    async with writing(path, strict) as here:
        rows = [Row("t", (number,), ("bad" if number == 300 else "x",)) for number in range(700)]
        work = here.work([Group(rows, loose=True)], snapshot=True)
        (part,) = await here.failed(work)
        assert part.objects == {rows[300].id}
        await here.begin(*(row for row in rows if row.fields != ("bad",)))
    assert len(contents(path)["t"]) == 699


async def test_the_write_ahead_log_of_a_target_behind_a_link_does_not_grow_for_ever(path: Path) -> None:
    real = path.parent / "elsewhere" / "real.db"
    real.parent.mkdir()
    sql(real, "PRAGMA journal_mode=WAL", *BODY.definition)
    os.symlink(real, path)
    async with short_log(path) as here:
        assert max(await grown(here, 60)) < 300_000
    assert len(contents(path)["t"]) == 60


async def test_where_an_application_keeps_the_log_the_target_is_not_opened_for_each_group(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[int] = []
    connect = SqliteTarget._connect

    async def counting(target: SqliteTarget, create: bool) -> TargetState | None:
        opened.append(1)
        return await connect(target, create)

    async with short_log(path) as here:
        with closing(sqlite3.connect(path)) as app:
            app.execute("SELECT count(*) FROM t").fetchone()
            monkeypatch.setattr(SqliteTarget, "_connect", counting)
            sizes = await grown(here, 100)
        assert sizes[-1] > 900_000
        assert 3 <= len(opened) <= sizes[-1] // 200_000
        (problem,) = here.target.problems
        assert "a program keeps the database open" in problem
        assert min(await grown(here, 30)) < 100_000
        assert here.target.problems == ()


async def test_what_a_target_says_to_have_executed_is_durable(path: Path) -> None:
    """Also after the connection was opened anew."""
    full = [(2,)]
    async with short_log(path) as here:
        for _ in range(2):
            database = here.target._database
            assert database is not None
            assert await database.run(lambda connection: connection.execute("PRAGMA synchronous").fetchall()) == full
            await grown(here, 40)
            assert here.target._database is not database
