"""Rows that REPLACE removes are noticed by the unique index they were in the way of, at the price of one look-up; and
the triggers that do it are never in the way of the application's migrations (R16)."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from syncd.applications.sqlite_text import default_expression, index_condition, index_terms
from tests.applications.road import Reading, sql

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("wal")]


CONDITIONS = [
    "WHERE act = 1",
    "where(act)",
    "/* a ) */ WHERE -- b (\n act = 1 -- the end",
    "WHERE \"act\" > 0 AND u <> ')' AND (act IN (1, 2))",
    "WHERE act = 1 AND u IS NOT NULL",
]


@pytest.mark.parametrize("condition", CONDITIONS)
async def test_replace_through_a_partial_index_is_noticed(path: Path, condition: str) -> None:
    sql(path, "CREATE TABLE t(id INTEGER PRIMARY KEY, u TEXT, act)", f"CREATE UNIQUE INDEX i ON t(u) {condition}")
    sql(path, "INSERT INTO t VALUES(1, 'x', 1), (2, 'x', 0), (3, 'y', 1)")
    async with Reading(path) as reading:
        assert reading.source.problems == ()
        await reading.changes()
        sql(path, "REPLACE INTO t VALUES(4, 'x', 1)")
        assert await reading.touched() == [("t", [1], None), ("t", [4], ["x", 1])]
        sql(path, "UPDATE OR REPLACE t SET act = 1 WHERE id = 2")  # only what the condition looks at changes
        assert await reading.touched() == [("t", [2], ["x", 1]), ("t", [4], None)]


EXPRESSIONS = [
    "lower(u)",
    '/* , */ lower ( "u" ) COLLATE BINARY DESC',
    "act, lower(u) || ')' ASC",
    "CASE WHEN act THEN lower(u) END",
    "substr(u, 1, 1) COLLATE NOCASE, act + 0.5",
]


@pytest.mark.parametrize("terms", EXPRESSIONS)
async def test_replace_through_an_index_on_an_expression_is_noticed(path: Path, terms: str) -> None:
    sql(path, "CREATE TABLE t(id INTEGER PRIMARY KEY, u TEXT, act INT)", f"CREATE UNIQUE INDEX i ON t({terms})")
    sql(path, "INSERT INTO t VALUES(1, 'x', 1), (2, 'y', 1), (3, 'z', 1)")
    async with Reading(path) as reading:
        assert reading.source.problems == ()
        await reading.changes()
        sql(path, "REPLACE INTO t VALUES(4, 'X', 1)", "INSERT INTO t VALUES(5, 'v', 1)")
        assert await reading.touched() == [("t", [1], None), ("t", [4], ["X", 1]), ("t", [5], ["v", 1])]
        sql(path, "UPDATE OR REPLACE t SET u = 'Z' WHERE id = 2")
        assert await reading.touched() == [("t", [2], ["Z", 1]), ("t", [3], None)]


async def test_an_index_on_a_function_of_the_applications_is_named(path: Path) -> None:
    with closing(sqlite3.connect(path)) as app:
        app.create_function("mine", 1, str, deterministic=True)
        app.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, u, twice AS (u * 2))")
        app.execute("CREATE UNIQUE INDEX i ON t(mine(u))")
        app.execute("CREATE UNIQUE INDEX j ON t(abs(twice))")
        async with Reading(path) as reading:
            assert ["through index i" in problem for problem in reading.source.problems] == [True, False]
            app.execute("INSERT INTO t(id, u) VALUES(1, 1)")
            app.commit()
            assert await reading.touched() == [("t", [1], [1])]


@pytest.mark.parametrize(
    "index", ["t(u)", "t(u) WHERE act = 1", "t(u, w) WHERE act", "t(u COLLATE NOCASE)", "t(lower(u))", "t(u, a + 1)"]
)
@pytest.mark.parametrize("key", ["id INTEGER PRIMARY KEY", "id PRIMARY KEY", "PRIMARY KEY(a, u)"])
@pytest.mark.parametrize("rowid", ["", " WITHOUT ROWID"])
async def test_an_insert_costs_one_look_up_in_the_index(path: Path, index: str, key: str, rowid: str) -> None:
    columns = [] if key.startswith("id") else [key]
    columns = [*([key] if not columns else ["id"]), "a NOT NULL", "u TEXT NOT NULL", "w", "act", *columns]
    sql(path, f"CREATE TABLE t({', '.join(columns)}){rowid}", f"CREATE UNIQUE INDEX i ON {index}")
    async with Reading(path):
        for event in ("before_insert", "before_update"):
            plan = plan_of(path, event)
            assert any(re.search(r"^SEARCH _syncd_here USING .*INDEX i \((u|<expr>)=\?", step) for step in plan), plan
            assert not any(step.startswith(("SCAN _syncd_here", "SCAN _syncd_there")) for step in plan), plan


def plan_of(path: Path, event: str) -> list[str]:
    """How the statements of a trigger are carried out. Outside of it, NEW means the SELECT that stands in for it."""
    with closing(sqlite3.connect(path)) as app:
        ((text,),) = app.execute("SELECT sql FROM sqlite_master WHERE name = ?", (f"_syncd_1_{event}",)).fetchall()
        body = str(text).partition(" BEGIN ")[2].removesuffix(" END")
        explained = [f"EXPLAIN QUERY PLAN {statement}" for statement in body.split(";") if statement.strip()]
        return [row[3] for statement in explained for row in app.execute(statement).fetchall()]


async def test_a_condition_that_is_not_understood_is_named(path: Path) -> None:
    sql(path, "CREATE TABLE t(id INTEGER PRIMARY KEY, u, act)", "CREATE UNIQUE INDEX i ON t(u) WHERE t.act = 1")
    async with Reading(path) as reading:
        (problem,) = reading.source.problems
        assert "index i is not noticed until the next comparison" in problem
        sql(path, "INSERT INTO t VALUES(1, 'x', 1)")
        assert await reading.touched() == [("t", [1], ["x", 1])]


async def test_a_condition_on_the_key_is_looked_at(path: Path) -> None:
    sql(path, "CREATE TABLE t(a, b, PRIMARY KEY(a, b))", "CREATE UNIQUE INDEX i ON t(a) WHERE b > 0")
    sql(path, "INSERT INTO t VALUES(1, 0), (1, 5)")
    async with Reading(path) as reading:
        await reading.changes()
        sql(path, "UPDATE OR REPLACE t SET b = 7 WHERE b = 0")
        assert await reading.touched() == [("t", [1, 0], None), ("t", [1, 5], None), ("t", [1, 7], [])]


DEFAULTS = ["'x'", "x", '"x"', "('x')", "(lower('X'))", "('x' /* ) */)"]


@pytest.mark.parametrize("default", DEFAULTS)
async def test_replace_that_writes_a_default_for_null_is_noticed(path: Path, default: str) -> None:
    sql(path, f"CREATE TABLE t(id INTEGER PRIMARY KEY, u TEXT NOT NULL DEFAULT {default} UNIQUE)")
    sql(path, "INSERT INTO t VALUES(1, 'x')")
    async with Reading(path) as reading:
        await reading.changes()
        sql(path, "INSERT OR REPLACE INTO t VALUES(2, NULL)")
        assert await reading.touched() == [("t", [1], None), ("t", [2], ["x"])]


@pytest.mark.parametrize("default", ["5", "-5", "+5.5", "x'00'", "TRUE", "NULL", "CURRENT_TIMESTAMP", "it''s", "1e3"])
async def test_each_default_leaves_the_application_alone(path: Path, default: str) -> None:
    default = f"'{default}'" if "''" in default else default
    sql(path, f"CREATE TABLE t(id INTEGER PRIMARY KEY, u NOT NULL DEFAULT {default} UNIQUE)")
    async with Reading(path) as reading:
        sql(path, "INSERT INTO t VALUES(1, 'x')", "INSERT INTO t VALUES(2, 'y')")
        assert await reading.touched() == [("t", [1], ["x"]), ("t", [2], ["y"])]


MIGRATIONS = {
    "a column with its indexes": ["DROP INDEX u", "DROP INDEX e", "ALTER TABLE t DROP COLUMN email"],
    "the column of a condition": ["DROP INDEX p", "ALTER TABLE t DROP COLUMN act"],
    "both": [
        "DROP INDEX u",
        "DROP INDEX p",
        "DROP INDEX e",
        "ALTER TABLE t DROP COLUMN email",
        "ALTER TABLE t DROP COLUMN act",
    ],
    "a column renamed": ["ALTER TABLE t RENAME COLUMN email TO mail", "ALTER TABLE t RENAME COLUMN act TO active"],
    "a table renamed": [
        "ALTER TABLE t RENAME TO kept",
        "INSERT INTO kept(id) VALUES(40)",
        "ALTER TABLE kept RENAME TO t",
    ],
    "another column": ["ALTER TABLE t DROP COLUMN x", "ALTER TABLE t ADD COLUMN y"],
}


@pytest.mark.parametrize("migration", MIGRATIONS)
@pytest.mark.parametrize("table", ["t(id INTEGER PRIMARY KEY, ", "t(id TEXT PRIMARY KEY, "])
async def test_a_migration_of_the_application_goes_through(path: Path, migration: str, table: str) -> None:
    sql(path, f"CREATE TABLE {table} email TEXT, act, x, n UNIQUE)", "CREATE UNIQUE INDEX u ON t(email)")
    sql(path, "CREATE UNIQUE INDEX e ON t(lower(email), id)")
    sql(path, "CREATE UNIQUE INDEX p ON t(x) WHERE act = 1", "INSERT INTO t(id, email) VALUES(1, 'a')")
    if migration == "another column":
        sql(path, "DROP INDEX p")
    async with Reading(path) as reading:
        await reading.changes()
        sql(path, *MIGRATIONS[migration], "INSERT INTO t(id) VALUES(50)", "UPDATE t SET n = id + 1")
        sql(path, "REPLACE INTO t(id, n) VALUES(60, 51)")
        assert (await reading.source.changes(reading.mark, 100)).reshaped
        await reading.open()
        await reading.changes()
        sql(path, "REPLACE INTO t(id, n) VALUES(70, 51)")
        assert [key for _, key, _ in await reading.touched()] in ([[60], [70]], [["60"], ["70"]])


async def test_a_table_that_is_called_new_is_captured(path: Path) -> None:
    sql(path, "CREATE TABLE new(id INTEGER PRIMARY KEY, old TEXT UNIQUE)", "INSERT INTO new VALUES(1, 'x')")
    async with Reading(path) as reading:
        await reading.changes()
        sql(path, "REPLACE INTO new VALUES(2, 'x')", "INSERT INTO new VALUES(3, 'y')")
        assert await reading.touched() == [("new", [1], None), ("new", [2], ["x"]), ("new", [3], ["y"])]


async def test_what_cannot_be_read_out_of_sql_is_said_to_be_so() -> None:
    assert index_condition("CREATE UNIQUE INDEX i ON t(a)") is None
    assert index_condition("CREATE UNIQUE INDEX i ON t(a) WHERE 'open") is None
    assert index_condition('CREATE UNIQUE INDEX "i(" ON [t)](lower("a)"), b) WHERE a > 1.5') == "a > 1.5"
    assert index_terms("CREATE UNIQUE INDEX i ON t(a, t.b, 'open") == []
    assert index_terms("CREATE UNIQUE INDEX i ON t(lower(a) DESC, t . b, desc)") == ["lower(a)", None, "desc"]
    assert default_expression("it") == "'it'"
    assert default_expression('"it""s"') == "'it\"s'"
