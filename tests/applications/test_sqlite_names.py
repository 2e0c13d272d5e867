"""Names as SQLite compares them: tables and columns by the case of A to Z, keys by the collation of their index."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from syncd.applications.sqlite_common import fold, is_ours
from syncd.core.model import DataType
from syncd.core.ports import Executed
from tests.applications.road import Road, contents, sql
from tests.applications.writing import Group, Row, Writing, table, writing

pytestmark = pytest.mark.asyncio

OLD = table(1, "t", "id INTEGER PRIMARY KEY, v", ("id",), ("v",))
NEW = table(2, "T", "id INTEGER PRIMARY KEY, v", ("id",), ("v",))


async def test_only_the_letters_a_to_z_have_two_cases() -> None:
    assert fold("AZaz_Ä\u212a\u0130") == "azaz_Ä\u212a\u0130"
    assert list(map(is_ours, ("_SYNCD_Log", "SQLite_sequence"))) == [True, True]
    assert list(map(is_ours, ("\u017fqlite_x", "_\u017fyncd_x"))) == [False, False]


async def test_a_table_that_ours_would_hide_is_refused(path: Path) -> None:
    """Temporary tables are found before those of the database: its rows would be written aside and lost."""
    async with writing(path, OLD) as here:
        await here.begin()
        connection = here.target._database
        assert connection is not None
        hiding = await connection.run(lambda own: own.execute("SELECT name FROM temp.sqlite_master").fetchall())
    made = {str(one) for (one,) in hiding if not str(one).startswith("sqlite_")}
    assert made
    assert [one for one in made | {"_syncd_touched_0"} if not is_ours(one)] == []


def renamed(here: Writing, count: int) -> list[Row]:
    """Objects of a table of which only the case of its name changed, as the primary tells of them."""
    here.types[2] = NEW
    return [*(Row("T", (i,), (f"v{i}",)) for i in range(count)), *(Row("t", (i,)) for i in range(count + 1))]


@pytest.mark.parametrize("rows_per_frame", [1000, 3], ids=["one frame", "many frames"])
async def test_a_table_renamed_in_case_only_keeps_its_rows(path: Path, rows_per_frame: int) -> None:
    async with writing(path, OLD) as here:
        await here.begin(*(Row("t", (i,), (f"v{i}",)) for i in range(21)))
        rows = renamed(here, 20)
        await here.done(here.work([Group(rows, loose=True)], rows_per_frame=rows_per_frame))
        assert sql(path, "SELECT id, v FROM t ORDER BY id") == [(i, f"v{i}") for i in range(20)]
        await here.done(here.work([Group([Row("T", (3,), ("changed",)), Row("T", (4,))])]))
        assert len(sql(path, "SELECT id FROM t")) == 19
        snapshot = here.work([Group([Row("T", (i,), (i,)) for i in range(5)], loose=True)], snapshot=True)
        await here.done(snapshot)
        assert sql(path, "SELECT id, v FROM t ORDER BY id") == [(i, i) for i in range(5)]


async def test_a_table_renamed_in_case_only_keeps_its_rows_beside_one_that_fails(path: Path) -> None:
    async with writing(path, OLD) as here:
        await here.begin(*(Row("t", (i,), (f"v{i}",)) for i in range(21)))
        sql(path, "CREATE TRIGGER no BEFORE INSERT ON t WHEN NEW.v = 'bad' BEGIN SELECT RAISE(ABORT, 'bad'); END")
        bad = Row("T", (99,), ("bad",))
        work = here.work([Group([*renamed(here, 20), bad], loose=True)], rows_per_frame=3)
        (part,) = await here.failed(work)
        assert part.objects == {bad.id}
        await here.done(replace(work, skip=part.objects.intersection))
        assert len(sql(path, "SELECT id FROM t")) == 20


async def test_a_database_that_is_made_now_has_the_table_of_the_newest_type(path: Path) -> None:
    more = table(2, "T", "id INTEGER PRIMARY KEY, v, w", ("id",), ("v", "w"))
    async with writing(path, OLD, more) as here:
        await here.begin(Row("T", (1,), ("v", "w")))
    assert contents(path) == {"T": [(("int", 1), ("str", "v"), ("str", "w"))]}


async def test_tables_whose_names_differ_in_other_letters_are_two(tmp_path: Path) -> None:
    here, there = tmp_path / "primary.db", tmp_path / "auxiliary.db"
    sql(
        here,
        *(f'CREATE TABLE "{one}"(id INTEGER PRIMARY KEY, "É", "é")' for one in "Ää"),
        "INSERT INTO \"Ä\" VALUES(1, 'A', 'B')",
        "INSERT INTO \"ä\" VALUES(1, 'a', 'b'), (2, 'c', 'd')",
        'CREATE TABLE "Ö"(id INTEGER PRIMARY KEY, up REFERENCES "ä"(id))',
        'INSERT INTO "Ö" VALUES(1, 2)',
    )
    async with Road(here, there) as road:
        await road.same(await road.snapshot())
        assert contents(there) == contents(here)
        sql(here, 'UPDATE "Ä" SET "é" = 1', 'UPDATE "ä" SET "É" = 2', 'DELETE FROM "Ö"', 'DELETE FROM "ä" WHERE id = 2')
        await road.same(await road.follow())
        assert contents(there) == contents(here)


@pytest.mark.parametrize("kind", ["", " WITHOUT ROWID"])
@pytest.mark.parametrize(("column", "key"), [("NOCASE", "BINARY"), ("BINARY", "NOCASE"), ("RTRIM", "BINARY")])
async def test_a_key_compared_in_another_way_than_its_column(path: Path, kind: str, column: str, key: str) -> None:
    columns = f"k TEXT COLLATE {column} NOT NULL, v, PRIMARY KEY(k COLLATE {key})"
    one = DataType(1, "t", ("k",), ("v",), (f"CREATE TABLE t({columns}){kind}",))
    names = ("abc", "x") if key == "NOCASE" else ("abc", "ABC", "abc ", "x")
    async with writing(path, one) as here:
        await here.begin(*(Row("t", (k,), (k,)) for k in names))
        await here.done(here.work([Group([Row("t", ("abc",), (1,))])]))
        await here.done(here.work([Group([Row("t", (k,), (2,)) for k in names[:-1]])]))
        assert sorted(sql(path, "SELECT k, v FROM t"), key=repr) == sorted(
            [*((k, 2) for k in names[:-1]), ("x", "x")], key=repr
        )
        await here.done(here.work([Group([Row("t", ("abc",))])]))
        assert sorted(sql(path, "SELECT k FROM t")) == sorted((k,) for k in names[1:])


async def test_a_trigger_is_the_tables_however_it_spells_its_name(path: Path) -> None:
    sql(
        path,
        "CREATE TABLE notes(id INTEGER PRIMARY KEY, v)",
        "CREATE TABLE tags(n TEXT PRIMARY KEY)",
        "CREATE TRIGGER tag AFTER INSERT ON NOTES BEGIN INSERT OR IGNORE INTO tags VALUES('x'); END",
    )
    notes = table(1, "notes", "id INTEGER PRIMARY KEY, v", ("id",), ("v",))
    async with writing(path, notes) as here:
        for number in range(3):
            result = await here.target.execute(
                here.work([Group([Row("notes", (number,), ("v",))])], snapshot=number == 0)
            )
            assert isinstance(result, Executed)
            here.position = result.state.position
    assert sql(path, "SELECT n FROM tags") == [("x",)]
