"""A snapshot over a table that holds rows (R5, R14): afterwards it holds what was sent, and what the target says."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from syncd.adapters.canonical import Value
from syncd.applications import sqlite_marks
from syncd.applications.sqlite import SqliteTarget
from syncd.applications.sqlite_definition import Shape, shape
from syncd.applications.sqlite_marks import Marks
from syncd.core.model import DataType
from syncd.core.ports import Executed
from tests.applications.road import LIMITS, sql
from tests.applications.writing import Group, Row, Writing, table, writing

pytestmark = pytest.mark.asyncio

KEYS = {
    "text": ("k TEXT PRIMARY KEY NOT NULL, v", ("k",)),
    "rowid": ("k INTEGER PRIMARY KEY, v", ("k",)),
    "given": ("k INTEGER PRIMARY KEY AUTOINCREMENT, v", ("k",)),
    "two": ("k TEXT NOT NULL, l INTEGER NOT NULL, v, PRIMARY KEY(k, l)", ("k", "l")),
    "without": ("k TEXT PRIMARY KEY NOT NULL, v) WITHOUT ROWID", ("k",)),
    "nocase": ("k TEXT PRIMARY KEY NOT NULL COLLATE NOCASE, v", ("k",)),
    "bare": ("k PRIMARY KEY NOT NULL, v", ("k",)),
    "shadowed": ("k TEXT PRIMARY KEY NOT NULL, rowid TEXT DEFAULT 'mine', _rowid_, v", ("k",)),
}


def keyed(kind: str) -> DataType:
    columns, key = KEYS[kind]
    return DataType(1, "t", key, ("v",), (f"CREATE TABLE t({columns}" + ("" if "WITHOUT" in columns else ")"),))


def key_of(kind: str, number: int) -> tuple[Value, ...]:
    """In no order, with gaps."""
    mixed = number * 7_919 % 1_009
    if kind in {"rowid", "given"}:
        return (mixed * 3 - 700,)
    return (f"k{mixed}", number % 3) if kind == "two" else (f"k{mixed}",)


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("seed", range(3))
async def test_any_snapshot_over_any_rows(path: Path, kind: str, seed: int) -> None:
    print(f"seed {seed}")
    chance = random.Random(f"{kind} {seed}")

    def rows(numbers: list[int]) -> list[Row]:
        return [Row("t", key_of(kind, one), (chance.randrange(3),)) for one in numbers]

    async with writing(path, keyed(kind)) as here:
        await here.begin(*rows(chance.sample(range(600), 300)))
        for _ in range(6):
            named = rows(chance.sample(range(700), chance.choice((0, 1, 250, 500, 700))))
            if chance.random() < 0.5:  # what is changed and goes meanwhile comes again
                named += [
                    Row("t", one.key, chance.choice((None, (9,)))) for one in chance.sample(named, len(named) // 9)
                ]
            frame = chance.choice((1000, 97, 7))
            await here.done(here.work([Group(named, loose=True)], snapshot=True, rows_per_frame=frame))
            left = {one.key: one.fields for one in named}
            expected = {(*key, *fields) for key, fields in left.items() if fields is not None}
            assert set(sql(path, f"SELECT {', '.join(KEYS[kind][1])}, v FROM t")) == expected


@pytest.mark.parametrize("kind", ["text", "rowid", "without"])
async def test_what_comes_twice_does_not_stand_for_what_did_not_come(path: Path, kind: str) -> None:
    async with writing(path, keyed(kind)) as here:
        rows = [Row("t", key_of(kind, at), (at,)) for at in range(4)]
        await here.begin(*rows)
        twice = Group([*rows[:2], *rows[:2]], loose=True)
        await here.done(here.work([twice], snapshot=True, rows_per_frame=2))
        assert sql(path, "SELECT v FROM t ORDER BY v") == [(0,), (1,)]


async def test_objects_that_are_parked_stay_and_count(path: Path) -> None:
    async with writing(path, keyed("text")) as here:
        rows = [Row("t", (f"k{one}",), (one,)) for one in range(20)]
        await here.begin(*rows)
        skip = [one.id for one in rows[5:8]]
        await here.done(here.work([Group(rows[:6], loose=True)], snapshot=True, skip=skip))
        assert sql(path, "SELECT count(*), max(v) FROM t") == [(8, 7)]


async def test_of_several_tables_each_is_looked_at_by_itself(path: Path) -> None:
    one = table(1, "one", "k TEXT PRIMARY KEY NOT NULL, v", ("k",), ("v",))
    two = table(2, "two", "k INTEGER PRIMARY KEY, v", ("k",), ("v",))
    async with writing(path, one, two) as here:
        firsts = [Row("one", (f"k{at}",), (at,)) for at in range(9)]
        await here.begin(*firsts)
        seconds = [Row("two", (at,), (at,)) for at in range(9)]
        await here.done(here.work([Group([*firsts, *seconds], loose=True)], snapshot=True))
        await here.done(here.work([Group([*firsts[:3], *seconds], loose=True)], snapshot=True))
        assert sql(path, "SELECT (SELECT count(*) FROM one), (SELECT count(*) FROM two)") == [(3, 9)]
        await here.done(here.work([Group(firsts, loose=True)], snapshot=True))
        assert sql(path, "SELECT (SELECT count(*) FROM one), (SELECT count(*) FROM two)") == [(9, 0)]


async def test_what_a_table_keeps_as_something_else_is_not_taken_for_what_was_sent(path: Path) -> None:
    """A type without a definition fits a table that makes texts of numbers."""
    sql(path, "CREATE TABLE t(k TEXT PRIMARY KEY NOT NULL, v TEXT)")
    target = SqliteTarget(path, "c", True, False, LIMITS)
    await target.open()
    here = Writing(target, path, [DataType(1, "t", ("k",), ("v",))])
    rows = [Row("t", (f"k{at}",), (at,)) for at in range(3)]
    await target.execute(here.work([Group(rows, loose=True)], snapshot=True))
    again = await target.execute(here.work([Group(rows, loose=True)], snapshot=True))
    assert isinstance(again, Executed)
    assert await target.recount() == again.state
    await target.close()


async def test_the_bound_of_marks_is_of_rowids(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sql(path, "CREATE TABLE t(k INTEGER PRIMARY KEY, v)", "INSERT INTO t(k) VALUES(10), (29)")
    monkeypatch.setattr(sqlite_marks, "_MARKS_BYTES_MAX", 20)
    with closing(sqlite3.connect(path)) as app:
        found = shape(app, keyed("rowid"), 0, create=False)
        assert isinstance(found, Shape)
        assert Marks.of(app, found) is not None
        app.execute("INSERT INTO t(k) VALUES(30)")
        assert Marks.of(app, found) is None
