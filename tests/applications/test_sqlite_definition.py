"""Tables made from the primary's definition, which is another machine's text, and tables that are there already."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from syncd.applications.sqlite_definition import shape
from syncd.applications.sqlite_usual import required, usual_values
from syncd.core.model import DataType, OutcomeKind
from tests.applications.road import Road, contents, sql
from tests.applications.writing import Group, Row, table, writing

pytestmark = pytest.mark.asyncio

PLAIN = "CREATE TABLE t(id INTEGER PRIMARY KEY, v)"
HOSTILE = {
    "drops": (PLAIN, "DROP TABLE mine"),
    "drops first": ("DROP TABLE mine", PLAIN),
    "two statements": (f"{PLAIN}; DROP TABLE mine",),
    "another table": ("CREATE TABLE other(id INTEGER PRIMARY KEY, v)",),
    "reads another table": ("CREATE TABLE t AS SELECT id, v FROM mine",),
    "trigger": (PLAIN, "CREATE TRIGGER x AFTER INSERT ON mine BEGIN DELETE FROM mine; END"),
    "trigger on it": (PLAIN, "CREATE TRIGGER x AFTER INSERT ON t BEGIN DELETE FROM mine; END"),
    "view": ("CREATE VIEW t AS SELECT id, v FROM mine",),
    "virtual": ("CREATE VIRTUAL TABLE t USING fts5(id, v)",),
    "temporary": ("CREATE TEMP TABLE t(id INTEGER PRIMARY KEY, v)",),
    "attach": (PLAIN, "ATTACH 'stolen.db' AS stolen"),
    "pragma": (PLAIN, "PRAGMA writable_schema=ON"),
    "index on another table": (PLAIN, "CREATE UNIQUE INDEX u ON mine(v)"),
    "insert": (PLAIN, "INSERT INTO t VALUES(1, 1)"),
    "schema": (PLAIN, "DELETE FROM sqlite_master"),
    "commit": (PLAIN, "COMMIT"),
    "vacuum into": (PLAIN, "VACUUM INTO 'stolen.db'"),
    "function": (PLAIN, "CREATE INDEX i ON t(load_extension('x'))"),
    "other columns": ("CREATE TABLE t(id INTEGER PRIMARY KEY, w)",),
    "no sql": ("this is not sql",),
    "nul": ("CREATE TABLE t(id INTEGER PRIMARY KEY, v)\0; DROP TABLE mine",),
    "none": (),
}


@pytest.mark.parametrize("attack", HOSTILE)
async def test_a_definition_can_only_make_its_table(
    attack: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "app.db"
    sql(path, "CREATE TABLE mine(id INTEGER PRIMARY KEY, v)", "INSERT INTO mine VALUES(1, 'mine')")
    before = sql(path, "SELECT type, name, sql FROM sqlite_master")
    async with writing(path, DataType(1, "t", ("id",), ("v",), HOSTILE[attack])) as here:
        work = here.work([Group([Row("t", (1,), ("x",)), Row("t", (2,), ("y",))], loose=True)], snapshot=True)
        (part,) = await here.failed(work)
    assert part.failure.outcome is OutcomeKind.CANCELLED
    assert part.failure.cause.startswith("table t ")
    assert part.types == {1}
    assert not part.objects
    assert sql(path, "SELECT type, name, sql FROM sqlite_master") == before
    assert contents(path) == {"mine": [(("int", 1), ("str", "mine"))]}
    assert not (tmp_path / "stolen.db").exists()


@pytest.mark.parametrize("name", ["sqlite_master", "_syncd_position", "_SYNCD_control", "a\0b", ""])
async def test_a_type_cannot_take_the_name_of_what_is_not_the_applications(name: str, tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    definition = (f"CREATE TABLE {name}(id INTEGER PRIMARY KEY, v)",)
    async with writing(path, DataType(1, name, ("id",), ("v",), definition)) as here:
        (part,) = await here.failed(here.work([Group([Row(name, (1,), ("x",))], loose=True)], snapshot=True))
    assert part.failure.outcome is OutcomeKind.CANCELLED


THERE = {
    "no column v here": "CREATE TABLE t(id INTEGER PRIMARY KEY)",
    "another primary key here": "CREATE TABLE t(id INTEGER, v, PRIMARY KEY(v))",
    "column v is TEXT here and BLOB on the primary": "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)",
    "is a view here": "CREATE VIEW t AS SELECT 1 AS id, 2 AS v",
    "is a virtual here": "CREATE VIRTUAL TABLE t USING fts5(id, v)",
}


@pytest.mark.parametrize("reason", THERE)
async def test_a_table_that_cannot_hold_the_type_cancels_its_rows_only(reason: str, tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    sql(path, THERE[reason])
    fine = table(2, "fine", "id INTEGER PRIMARY KEY", ("id",), ())
    async with writing(path, DataType(1, "t", ("id",), ("v",), (PLAIN,)), fine) as here:
        rows = [Row("t", (1,), ("x",)), Row("fine", (1,), ()), Row("t", (2,), ("x",))]
        (part,) = await here.failed(here.work([Group(rows, loose=True)], snapshot=True))
        assert reason in part.failure.cause
        assert part.failure.outcome is OutcomeKind.CANCELLED
        assert part.types == {1}
        assert not part.objects
        await here.done(here.work([Group(rows, loose=True)], snapshot=True, skip=[rows[0].id, rows[2].id]))
    assert sql(path, "SELECT id FROM fine") == [(1,)]


async def test_a_key_compared_in_another_way_here_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    sql(path, "CREATE TABLE t(id TEXT PRIMARY KEY COLLATE NOCASE, v)")
    wanted = DataType(1, "t", ("id",), ("v",), ("CREATE TABLE t(id TEXT PRIMARY KEY, v)",))
    async with writing(path, wanted) as here:
        (part,) = await here.failed(here.work([Group([Row("t", ("a",), ("x",))])], snapshot=True))
    assert "in another way" in part.failure.cause


async def test_a_table_that_gets_its_missing_column_holds_the_type(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    sql(path, "CREATE TABLE t(id INTEGER PRIMARY KEY)")
    async with writing(path, DataType(1, "t", ("id",), ("v",), (PLAIN,))) as here:
        work = here.work([Group([Row("t", (1,), ("x",))])], snapshot=True)
        await here.failed(work)
        sql(path, "ALTER TABLE t ADD COLUMN v")
        await here.done(work)


async def test_everything_that_a_table_may_say_of_itself_is_made_on_the_auxiliary(tmp_path: Path) -> None:
    here, there = tmp_path / "primary.db", tmp_path / "auxiliary.db"
    sql(
        here,
        "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, -- a comment; with 'quotes'\n"
        " a TEXT NOT NULL DEFAULT (lower('X') || date('now')) CHECK(length(trim(a)) > 0 AND a GLOB '*' AND a LIKE '%'),"
        " b REAL CHECK(abs(b) < 1e9 AND typeof(b) <> 'blob'), c AS (coalesce(b, 0) + 1), j CHECK(json_valid(j)),"
        " CONSTRAINT same UNIQUE(a, b) ON CONFLICT FAIL)",
        "CREATE UNIQUE INDEX i ON t(lower(a), b DESC) WHERE b IS NOT NULL",
        "CREATE INDEX k ON t(json_extract(j, '$.k') COLLATE NOCASE)",
        "CREATE TABLE w(k TEXT, l INT, PRIMARY KEY(k DESC, l)) STRICT, WITHOUT ROWID",
        "INSERT INTO t(a, b, j) VALUES('x', 1.5, '{\"k\": 1}')",
        "INSERT INTO w VALUES('k', 1)",
    )
    async with Road(here, there) as road:
        await road.same(await road.snapshot())
    assert contents(there) == contents(here)
    listed = (
        "SELECT sql FROM sqlite_master WHERE name NOT LIKE '\\_syncd%' ESCAPE '\\' AND type <> 'trigger' ORDER BY name"
    )
    assert sql(there, listed.replace("WHERE", "WHERE sql IS NOT NULL AND")) == sql(
        here, listed.replace("WHERE", "WHERE sql IS NOT NULL AND")
    )
    with pytest.raises(sqlite3.IntegrityError):
        sql(there, "INSERT INTO t(a, b, j) VALUES('X', 1.5, '{}')")


async def test_objects_of_a_type_that_cannot_be_held_any_more_are_parked_as_one(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    old = DataType(1, "t", ("id",), ("v",), (PLAIN,))
    async with writing(path, old) as here:
        await here.begin(*(Row("t", (i,), ("x",)) for i in range(50)))
        here.types[2] = DataType(2, "t", ("id",), ("v", "w"), ("CREATE TABLE t(id INTEGER PRIMARY KEY, v, w)",))
        added = here.work([Group([Row("t", (i,), ("x", "w")) for i in range(50)], loose=True)])
        for frame in added.frames():
            assert set(frame.types) == {2}
        (part,) = await here.failed(added)
        assert "no column w here" in part.failure.cause
        assert part.types == {2}
        assert not part.objects
        sql(path, "ALTER TABLE t ADD COLUMN w")
        await here.target.execute(added)
        assert sql(path, "SELECT count(*) FROM t WHERE w = 'w'") == [(50,)]


# ---------------------------------------------------------------- columns that are left out

WHOLE = (
    "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT, photo BLOB, rank INTEGER NOT NULL DEFAULT (1 + 1), made TEXT)",
    "CREATE INDEX by_photo ON t(photo)",
)


async def test_columns_that_are_left_out_are_there_and_this_machines_own(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    async with writing(path, DataType(1, "t", ("id",), ("v", "made"), WHOLE)) as here:
        await here.begin(Row("t", (1,), ("x", "a")), Row("t", (2,), ("y", "b")))
        assert sql(path, "SELECT * FROM t") == [(1, "x", None, 2, "a"), (2, "y", None, 2, "b")]
        sql(path, "UPDATE t SET photo = x'01', rank = 7 WHERE id = 1")
        await here.done(here.work([Group([Row("t", (1,), ("z", "c"))])]))
        assert sql(path, "SELECT * FROM t WHERE id = 1") == [(1, "z", b"\x01", 7, "c")]


async def test_columns_that_are_there_need_not_be_as_where_they_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    sql(path, "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT, photo INTEGER, made TEXT)")
    async with writing(path, DataType(1, "t", ("id",), ("v", "made"), WHOLE)) as here:
        await here.begin(Row("t", (1,), ("x", "a")))
        assert sql(path, "SELECT * FROM t") == [(1, "x", None, "a")]


async def test_what_no_row_can_be_without_is_known_from_the_definition() -> None:
    sql_ = (
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a NOT NULL, b NOT NULL DEFAULT 1, c NOT NULL DEFAULT NULL, d,"
        " e NOT NULL DEFAULT CURRENT_TIMESTAMP, f AS (a) STORED NOT NULL)"
    )
    assert required(DataType(1, "t", ("id",), ("a", "b", "c", "d", "e"), (sql_,))) == {"a", "c"}
    assert required(DataType(1, "t", ("id",), ("a",))) == frozenset()
    assert required(DataType(1, "t", ("id",), ("v",), (PLAIN, "DROP TABLE t"))) == frozenset()


async def test_what_stands_where_nothing_is_said_is_the_default(tmp_path: Path) -> None:
    sql(tmp_path / "app.db", *WHOLE)
    with closing(sqlite3.connect(tmp_path / "app.db")) as connection:
        found = shape(connection, DataType(1, "t", ("id",), ("v", "photo", "rank", "made")), 0, create=False)
        assert not isinstance(found, str)
        assert usual_values(connection, found) == [None, None, 2, None]
