"""What an application can do to its database, and what the primary notices of it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from syncd.core.errors import ApplicationOffline
from syncd.core.settings import Limits
from tests.applications.road import LIMITS, Reading, sql
from tests.wait import eventually

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("wal")]


async def test_replace_of_a_row_under_another_key_is_noticed(path: Path) -> None:
    sql(path, "CREATE TABLE t(id INTEGER PRIMARY KEY, u TEXT UNIQUE, a, b)", "CREATE UNIQUE INDEX ab ON t(a, b DESC)")
    sql(path, "INSERT INTO t VALUES(1, 'x', 1, 1), (2, 'y', 2, 2), (3, 'z', 3, 3)")
    async with Reading(path) as reading:
        await reading.changes()
        sql(path, "REPLACE INTO t VALUES(9, 'x', 9, 9)")
        assert await reading.touched() == [("t", [1], None), ("t", [9], ["x", 9, 9])]
        sql(path, "UPDATE OR REPLACE t SET a = 3, b = 3 WHERE id = 2")
        assert await reading.touched() == [("t", [2], ["y", 3, 3]), ("t", [3], None)]


async def test_replace_under_a_collation_of_the_index_is_noticed(path: Path) -> None:
    sql(path, "CREATE TABLE t(id INTEGER PRIMARY KEY, u TEXT)", "CREATE UNIQUE INDEX u ON t(u COLLATE NOCASE)")
    sql(path, "INSERT INTO t VALUES(1, 'x')")
    async with Reading(path) as reading:
        await reading.changes()
        sql(path, "REPLACE INTO t VALUES(2, 'X')")
        assert await reading.touched() == [("t", [1], None), ("t", [2], ["X"])]


async def test_rows_changed_by_the_applications_triggers_and_cascades_are_noticed(path: Path) -> None:
    sql(
        path,
        "CREATE TABLE p(id INTEGER PRIMARY KEY, n INTEGER DEFAULT 0)",
        "CREATE TABLE c(id INTEGER PRIMARY KEY, p REFERENCES p ON DELETE CASCADE ON UPDATE CASCADE)",
        "CREATE TRIGGER count AFTER INSERT ON c BEGIN UPDATE p SET n = n + 1 WHERE id = NEW.p; END",
        "INSERT INTO p VALUES(1, 0), (2, 0)",
    )
    async with Reading(path) as reading:
        await reading.changes()
        sql(path, "INSERT INTO c VALUES(10, 1), (20, 2)")
        assert await reading.touched() == [("c", [10], [1]), ("c", [20], [2]), ("p", [1], [1]), ("p", [2], [1])]
        sql(path, "PRAGMA foreign_keys=ON", "DELETE FROM p WHERE id = 1", "UPDATE p SET id = 3 WHERE id = 2")
        touched = await reading.touched()
        assert touched == [("c", [10], None), ("c", [20], [3]), ("p", [1], None), ("p", [2], None), ("p", [3], [1])]


async def test_upsert_multi_row_delete_and_a_rolled_back_transaction(path: Path) -> None:
    sql(path, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)", "INSERT INTO t VALUES(1, 1), (2, 2), (3, 3)")
    async with Reading(path) as reading:
        await reading.changes()
        sql(path, "BEGIN", "DELETE FROM t", "INSERT INTO t VALUES(7, 7)", "ROLLBACK")
        assert await reading.touched() == []
        sql(
            path,
            "INSERT INTO t VALUES(1, 10) ON CONFLICT(id) DO UPDATE SET v = excluded.v",
            "DELETE FROM t WHERE id > 1",
        )
        assert await reading.touched() == [("t", [1], [10]), ("t", [2], None), ("t", [3], None)]


async def test_a_transaction_is_never_seen_in_part(path: Path) -> None:
    sql(path, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
    async with Reading(path) as reading:
        await reading.changes()
        with closing(sqlite3.connect(path, isolation_level=None)) as app:
            app.execute("BEGIN IMMEDIATE")
            app.execute("INSERT INTO t VALUES(1, 1)")
            assert await reading.touched() == []
            app.execute("INSERT INTO t VALUES(2, 2)")
            app.execute("COMMIT")
        assert await reading.touched() == [("t", [1], [1]), ("t", [2], [2])]


async def test_a_rebuilt_table_is_captured_again_and_compared(path: Path) -> None:
    sql(path, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)", "INSERT INTO t VALUES(1, 1)")
    async with Reading(path) as reading:
        await reading.changes()
        sql(
            path,
            "BEGIN",
            "CREATE TABLE new_t(id INTEGER PRIMARY KEY, v, w DEFAULT 'w')",
            "INSERT INTO new_t(id, v) SELECT id, v FROM t",
            "DROP TABLE t",
            "ALTER TABLE new_t RENAME TO t",
            "INSERT INTO t VALUES(2, 2, 'unlogged')",
            "COMMIT",
        )
        assert (await reading.source.changes(reading.mark, 10)).reshaped
        await reading.open()
        assert reading.types[0].fields == ("v", "w")
        assert (await reading.changes()).lost
        sql(path, "INSERT INTO t VALUES(3, 3, 'logged')")
        assert await reading.touched() == [("t", [3], [3, "logged"])]


async def test_triggers_that_were_dropped_come_back_and_what_passed_is_compared(path: Path) -> None:
    sql(path, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
    async with Reading(path) as reading:
        await reading.changes()
        sql(path, "DROP TRIGGER _syncd_1_insert", "INSERT INTO t VALUES(1, 1)")
        assert (await reading.source.changes(reading.mark, 10)).reshaped
        await reading.open()
        assert (await reading.changes()).lost
        sql(path, "INSERT INTO t VALUES(2, 2)")
        assert await reading.touched() == [("t", [2], [2])]


async def test_side_tables_that_were_dropped_come_back(path: Path) -> None:
    sql(path, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
    async with Reading(path) as reading:
        await reading.changes()
        sql(path, "DROP TABLE _syncd_log")
        assert (await reading.source.changes(reading.mark, 10)).reshaped
        await reading.open()
        assert (await reading.changes()).lost


async def test_a_change_of_the_schema_that_does_not_concern_us_is_nothing(path: Path) -> None:
    sql(path, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
    async with Reading(path) as reading:
        await reading.changes()
        sql(path, "CREATE TABLE keyless(a)", "CREATE VIEW seen AS SELECT * FROM t", "INSERT INTO t VALUES(1, 1)")
        assert await reading.touched() == [("t", [1], [1])]


async def test_a_new_table_is_taken_in_unless_tables_were_named(path: Path) -> None:
    sql(path, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
    async with Reading(path) as reading:
        await reading.changes()
        sql(path, "CREATE TABLE wide(a, b, c, d, PRIMARY KEY(a, b, c))")
        assert (await reading.source.changes(reading.mark, 10)).reshaped
        await reading.open()
        assert [one.name for one in reading.types] == ["t", "wide"]
        await reading.changes()
        sql(path, "INSERT INTO wide VALUES(1, 2, 3, 4)")
        assert await reading.touched() == [("wide", [1, 2, 3], [4])]


async def test_a_named_table_that_vanished_is_offline_not_empty(path: Path) -> None:
    sql(path, "CREATE TABLE t(id INTEGER PRIMARY KEY)", "CREATE TABLE keep(id INTEGER PRIMARY KEY)")
    async with Reading(path, ("t", "keep")) as reading:
        await reading.changes()
        sql(path, "DROP TABLE t")
        assert (await reading.source.changes(reading.mark, 10)).reshaped
        with pytest.raises(ApplicationOffline, match=r"has no table t with a primary key") as caught:
            await reading.open()
        assert "`syncd share` the collection again" in caught.value.advice


async def test_a_table_that_is_there_for_a_moment_is_not_taken_in(path: Path) -> None:
    sql(path, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
    async with Reading(path, limits=replace(LIMITS, schema_quiet_s=3600.0)) as reading:
        await reading.changes()
        sql(path, "CREATE TABLE new_t(id INTEGER PRIMARY KEY, v, w)", "INSERT INTO t VALUES(1, 1)")
        assert await reading.touched() == [("t", [1], [1])]
        sql(path, "INSERT INTO new_t SELECT id, v, 1 FROM t")
        assert await reading.touched() == []
        sql(path, "DROP TABLE t")
        assert (await reading.source.changes(reading.mark, 10)).reshaped
        assert (await reading.source.open(reading.identity)).types == ()
        sql(path, "ALTER TABLE new_t RENAME TO t")
        await reading.open()
        assert [(one.name, one.fields) for one in reading.types] == [("t", ("v", "w"))]


async def test_a_table_is_taken_in_when_the_schema_is_quiet(path: Path) -> None:
    sql(path, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
    async with Reading(path, limits=replace(LIMITS, schema_quiet_s=0.2)) as reading:
        await reading.changes()
        sql(path, "CREATE TABLE later(id INTEGER PRIMARY KEY)")
        assert not (await reading.source.changes(reading.mark, 10)).reshaped

        async def taken_in() -> bool:
            return (await reading.source.changes(reading.mark, 10)).reshaped

        await eventually(taken_in)
        await reading.open()
        assert [one.name for one in reading.types] == ["later", "t"]


async def test_a_table_that_took_the_place_of_another_is_told(path: Path) -> None:
    sql(path, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)", "CREATE TABLE new_t(id INTEGER PRIMARY KEY, v)")
    async with Reading(path) as reading:
        sql(path, "DROP TABLE t", "ALTER TABLE new_t RENAME TO t")
        assert (await reading.source.open(reading.identity)).renamed == (("new_t", "t"),)


async def test_it_is_told_again_until_a_table_has_the_former_name(path: Path) -> None:
    """Who is told may die before it is kept."""
    sql(path, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)", "CREATE TABLE new_t(id INTEGER PRIMARY KEY, v)")
    async with Reading(path) as reading:
        sql(path, "DROP TABLE t", "ALTER TABLE new_t RENAME TO t")
        await reading.source.open(reading.identity)
        assert (await reading.source.open(reading.identity)).renamed == (("new_t", "t"),)
        sql(path, "CREATE TABLE new_t(id INTEGER PRIMARY KEY, v)")
        assert (await reading.source.open(reading.identity)).renamed == ()
        sql(path, "DROP TABLE new_t")
        assert (await reading.source.open(reading.identity)).renamed == ()


async def test_named_tables_only(path: Path) -> None:
    sql(path, "CREATE TABLE a(id INTEGER PRIMARY KEY)", "CREATE TABLE b(id INTEGER PRIMARY KEY)")
    async with Reading(path, ("b",)) as reading:
        assert [one.name for one in reading.types] == ["b"]
        sql(path, "INSERT INTO a VALUES(1)", "INSERT INTO b VALUES(1)")
        assert await reading.touched() == [("b", [1], [])]
    with pytest.raises(ApplicationOffline, match="no table c"):
        await Reading(path, ("c",)).source.open("")


async def test_what_cannot_be_captured_is_named(path: Path) -> None:
    sql(
        path,
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT)",
        "CREATE UNIQUE INDEX filled ON t(a) WHERE t.a > ''",
        "CREATE TABLE keyless(a)",
        "CREATE VIEW seen AS SELECT * FROM t",
        "CREATE VIRTUAL TABLE words USING fts5(w)",
    )
    async with Reading(path) as reading:
        problems = await reading.open()
        assert [one.name for one in reading.types] == ["t"]
    assert [one.split(":")[0] for one in problems] == [
        "table keyless",
        "view seen",
        "virtual table words",
        "table t",
    ]
    assert "index filled" in problems[3]


async def test_what_syncd_writes_itself_is_not_logged(path: Path) -> None:
    sql(path, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
    async with Reading(path) as reading:
        await reading.changes()
        sql(
            path,
            "BEGIN",
            "UPDATE _syncd_control SET applying = 1",
            "INSERT INTO t VALUES(1, 1)",
            "UPDATE t SET v = 2",
            "UPDATE _syncd_control SET applying = 0",
            "COMMIT",
            "INSERT INTO t VALUES(2, 2)",
        )
        assert await reading.touched() == [("t", [2], [2])]


async def test_the_log_stops_at_its_bound(path: Path) -> None:
    sql(path, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
    async with Reading(path, limits=Limits(log_rows_max=20, busy_s_max=0.3)) as reading:
        await reading.changes()
        sql(path, *(f"INSERT INTO t VALUES({i}, {i})" for i in range(100)))
        assert sql(path, "SELECT count(*) FROM _syncd_log") == [(20,)]
        assert (await reading.changes()).lost
        assert len(await reading.scan()) == 100
        sql(path, "DELETE FROM t WHERE id = 5")
        assert await reading.touched() == [("t", [5], None)]


_MANY = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1500) INSERT INTO t SELECT i, i FROM n"


async def test_the_log_is_cut_back_and_never_loses_its_last_row(path: Path) -> None:
    sql(path, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
    async with Reading(path) as reading:
        sql(path, _MANY)
        await reading.changes()
        await reading.source.discard(reading.mark)
        assert sql(path, "SELECT count(*), max(n) FROM _syncd_log") == [(1, 1500)]
        sql(path, "INSERT INTO t VALUES(9999, 1)")
        assert await reading.touched() == [("t", [9999], [1])]


async def test_the_log_waits_while_the_application_holds_its_lock(path: Path) -> None:
    sql(path, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
    async with Reading(path) as reading:
        sql(path, _MANY)
        await reading.changes()
        with closing(sqlite3.connect(path, isolation_level=None)) as app:
            app.execute("BEGIN IMMEDIATE")
            await reading.source.discard(reading.mark)
            assert app.execute("SELECT count(*) FROM _syncd_log").fetchone() == (1500,)
            app.execute("COMMIT")


async def test_tables_with_odd_names(path: Path) -> None:
    odd = '"odd ""{}? table\'s"'
    sql(path, f'CREATE TABLE {odd}("k "" ?" TEXT, "select" INTEGER, "{{v}}", PRIMARY KEY("k "" ?", "select"))')
    sql(path, f'CREATE UNIQUE INDEX "i\'?" ON {odd}("{{v}}")')
    async with Reading(path) as reading:
        sql(path, f"INSERT INTO {odd} VALUES('a', 1, 'x')", f"REPLACE INTO {odd} VALUES('b', 1, 'x')")
        table = reading.types[0].name
        assert await reading.touched() == [(table, ["a", 1], None), (table, ["b", 1], ["x"])]
        assert len(await reading.scan()) == 1


async def test_the_application_is_not_disturbed(path: Path) -> None:
    sql(path, "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, v)")
    async with Reading(path):
        with closing(sqlite3.connect(path, isolation_level=None)) as app:
            for i in range(3):
                cursor = app.execute("INSERT INTO t(v) VALUES(?)", (i,))
                assert app.execute("SELECT last_insert_rowid(), changes()").fetchone() == (i + 1, 1)
                assert cursor.lastrowid == i + 1
            assert app.execute("DELETE FROM t").rowcount == 3
    assert LIMITS.busy_s_max < 1


async def test_a_table_or_trigger_with_a_name_like_ours_is_the_applications(path: Path) -> None:
    sql(path, "CREATE TABLE _syncd_mine(id INTEGER PRIMARY KEY)")
    sql(
        path, "CREATE TRIGGER _syncd_theirs AFTER INSERT ON _syncd_mine BEGIN DELETE FROM _syncd_mine WHERE id = 0; END"
    )
    async with Reading(path) as reading:
        await reading.changes()
        sql(path, "INSERT INTO _syncd_mine VALUES(0), (1)")
        assert await reading.touched() == [("_syncd_mine", [0], None), ("_syncd_mine", [1], [])]
        await reading.open()
    assert sql(path, "SELECT count(*) FROM sqlite_master WHERE name = '_syncd_theirs'") == [(1,)]


async def test_a_row_is_logged_without_a_temporary_table(path: Path) -> None:
    """R16: it would cost the application more than all else that is done for a row."""
    sql(path, "CREATE TABLE t(id TEXT PRIMARY KEY, v)")
    async with Reading(path):
        with closing(sqlite3.connect(path)) as app:
            for written in ("INSERT INTO t VALUES('a', 1)", "UPDATE t SET v = 2 WHERE id = 'a'", "DELETE FROM t"):
                program = [step[1] for step in app.execute(f"EXPLAIN {written}").fetchall()]
                assert "Program" in program
                assert "OpenEphemeral" not in program


async def test_a_row_whose_key_is_moved_is_noticed_under_both(path: Path) -> None:
    sql(path, "CREATE TABLE t(a, b, v, PRIMARY KEY(a, b))", "INSERT INTO t VALUES(1, 1, 'x'), (1, 2, 'y')")
    async with Reading(path) as reading:
        await reading.changes()
        sql(path, "UPDATE t SET b = 3 WHERE b = 2")
        assert await reading.touched() == [("t", [1, 2], None), ("t", [1, 3], ["y"])]
