"""Types, keys and values survive the road exactly."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.applications.road import Reading, Road, contents, sql

pytestmark = pytest.mark.asyncio

TABLES = {
    "composite": "CREATE TABLE t(a INTEGER, b TEXT, c REAL, PRIMARY KEY(b, a))",
    "without rowid": "CREATE TABLE t(a INTEGER, b TEXT, c REAL, PRIMARY KEY(b, a)) WITHOUT ROWID",
    "strict": "CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT, c REAL) STRICT",
    "rowid": "CREATE TABLE t(a INTEGER PRIMARY KEY AUTOINCREMENT, b TEXT, c REAL)",
    "no affinity": "CREATE TABLE t(a PRIMARY KEY, b, c)",
    "nocase": "CREATE TABLE t(a INTEGER, b TEXT COLLATE NOCASE PRIMARY KEY, c REAL)",
    "odd names": 'CREATE TABLE t(a INTEGER, b TEXT, c REAL, "x ""?{}y" BLOB, PRIMARY KEY(a))',
    "keys only": "CREATE TABLE t(a INTEGER, b TEXT, c REAL, PRIMARY KEY(a, b, c))",
}


@pytest.mark.parametrize("kind", TABLES)
async def test_each_kind_of_table_follows_the_primary(kind: str, tmp_path: Path) -> None:
    here, there = tmp_path / "primary.db", tmp_path / "auxiliary.db"
    sql(here, TABLES[kind], "INSERT INTO t(a, b, c) VALUES(1, 'one', 1.5), (2, 'two', 2), (3, 'three', 1e300)")
    async with Road(here, there) as road:
        await road.same(await road.snapshot())
        assert contents(there) == contents(here)
        sql(
            here,
            "UPDATE t SET c = 7 WHERE a = 1",
            "DELETE FROM t WHERE a = 2",
            "INSERT INTO t(a, b, c) VALUES(4, 'four', -0.5)",
            "UPDATE t SET a = 33, b = 'moved' WHERE a = 3",
        )
        await road.same(await road.follow())
        assert contents(there) == contents(here)
        assert len(contents(there)["t"]) == 3


VALUES = [
    "9223372036854775807",
    "-9223372036854775808",
    "0",
    "1",
    "1.0",
    "-0.5",
    "1e308",
    "9e999",
    "-9e999",
    "0.1",
    "''",
    "'text'",
    "'1'",
    "x''",
    "x'00ff'",
    "NULL",
    "'\u00e4\u4e2d\U0001f600'",
    "CAST(x'610062' AS TEXT)",
]


@pytest.mark.parametrize("affinity", ["INTEGER", "REAL", "TEXT", "BLOB", "NUMERIC", ""])
async def test_each_value_arrives_as_it_is(affinity: str, tmp_path: Path) -> None:
    here, there = tmp_path / "primary.db", tmp_path / "auxiliary.db"
    sql(here, f"CREATE TABLE t(id INTEGER PRIMARY KEY, v {affinity})")
    sql(here, *(f"INSERT INTO t VALUES({i}, {value})" for i, value in enumerate(VALUES)))
    async with Road(here, there) as road:
        await road.same(await road.snapshot())
        assert contents(there) == contents(here)
        sql(here, *(f"UPDATE t SET v = {value} WHERE id = {i}" for i, value in enumerate(reversed(VALUES))))
        await road.same(await road.follow())
        assert contents(there) == contents(here)


@pytest.mark.parametrize("rowid", ["", "WITHOUT ROWID"])
async def test_each_value_can_be_a_key(rowid: str, tmp_path: Path) -> None:
    here, there = tmp_path / "primary.db", tmp_path / "auxiliary.db"
    values = [value for value in VALUES if value not in ("NULL", "1.0")]  # 1.0 = 1
    sql(here, f"CREATE TABLE t(k PRIMARY KEY, v) {rowid}")
    sql(here, *(f"INSERT INTO t VALUES({value}, {i})" for i, value in enumerate(values)))
    async with Road(here, there) as road:
        await road.same(await road.snapshot())
        assert contents(there) == contents(here)
        sql(here, "UPDATE t SET v = v + 100", "DELETE FROM t WHERE k = x'00ff'")
        await road.same(await road.follow())
        assert contents(there) == contents(here)


async def test_a_key_that_changes_to_an_equal_one_is_another_object(tmp_path: Path) -> None:
    here, there = tmp_path / "primary.db", tmp_path / "auxiliary.db"
    sql(here, "CREATE TABLE t(k PRIMARY KEY, v)", "CREATE TABLE n(k TEXT PRIMARY KEY COLLATE NOCASE, v)")
    sql(here, "INSERT INTO t VALUES(1, 'int')", "INSERT INTO n VALUES('a', 'lower'), ('b', 'lower')")
    async with Road(here, there) as road:
        await road.same(await road.snapshot())
        sql(here, "UPDATE t SET k = 1.0", "UPDATE n SET k = 'A' WHERE k = 'a'", "REPLACE INTO n VALUES('B', 'upper')")
        await road.same(await road.follow())
        assert contents(there) == contents(here)
        assert contents(there)["n"] == [(("str", "A"), ("str", "lower")), (("str", "B"), ("str", "upper"))]


async def test_generated_columns_are_left_to_the_application(tmp_path: Path) -> None:
    here, there = tmp_path / "primary.db", tmp_path / "auxiliary.db"
    sql(
        here,
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a INTEGER, v INTEGER AS (a * 2), s INTEGER AS (a * 3) STORED)",
        "CREATE UNIQUE INDEX u ON t(s)",
        "INSERT INTO t(id, a) VALUES(1, 10), (2, 20)",
    )
    async with Road(here, there) as road:
        assert road.reading.types[0].fields == ("a",)
        await road.same(await road.snapshot())
        sql(here, "UPDATE t SET a = 11 WHERE id = 1")
        await road.same(await road.follow())
    assert sql(there, "SELECT id, v, s FROM t ORDER BY id") == [(1, 22, 33), (2, 40, 60)]


async def test_text_that_is_not_utf8_and_objects_over_the_limit_are_named(tmp_path: Path) -> None:
    here = tmp_path / "primary.db"
    sql(here, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
    sql(here, "INSERT INTO t VALUES(1, 'fine'), (2, CAST(x'61ff' AS TEXT)), (3, zeroblob(13000000)), (4, 'fine')")
    sql(here, "INSERT INTO t VALUES(5, zeroblob(12582912))")
    async with Reading(here) as reading:
        scanned = await reading.scan(limit=2)
        assert [bool(one.fault) for one in scanned] == [False, True, True, False, True]
        assert "column v holds text that is not UTF-8" in scanned[1].fault
        assert "over the limit" in scanned[2].fault
        await reading.changes()
        sql(here, "UPDATE t SET id = id + 10")
        faults = {one.key: one.fault for one in (await reading.changes()).observed if one.fields is not None}
        assert [bool(faults[key]) for key in sorted(faults)] == [False, True, True, False, True]


async def test_keys_that_cannot_be_named_are_problems(tmp_path: Path) -> None:
    here = tmp_path / "primary.db"
    sql(here, "CREATE TABLE t(k TEXT PRIMARY KEY, v)")
    sql(here, "INSERT INTO t VALUES(NULL, 1), ('fine', 2), (CAST(x'ff' AS TEXT), 3), ('zz', 4)")
    async with Reading(here) as reading:
        assert [one.key for one in await reading.scan(limit=1)] == [b"\x91\xa4fine", b"\x91\xa2zz"]
        assert any("1 rows have NULL in their key" in one for one in reading.source.problems)
        assert any("the key of a row is text that is not UTF-8" in one for one in reading.source.problems)
        await reading.changes()
        sql(here, "UPDATE t SET v = 9")
        changes = await reading.changes()
        assert changes.drained
        assert sorted(one.key for one in changes.observed) == [b"\x91\xa2zz", b"\x91\xa4fine"]
