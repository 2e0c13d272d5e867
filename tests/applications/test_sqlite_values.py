"""Types, keys and values survive the road exactly."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from syncd.adapters.canonical import pack_values, unpack_values
from syncd.core.settings import Limits
from tests.applications.road import LIMITS, Reading, Road, contents, sql

pytestmark = pytest.mark.asyncio

ENCODINGS = {"UTF-8": "x'61ff'", "UTF-16le": "x'00d8'", "UTF-16be": "x'd800'"}  # each with bytes that are no text in it


@pytest.fixture(params=ENCODINGS)
def encoding(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def here(encoding: str, tmp_path: Path) -> Path:
    """The primary's database, whose text is in the encoding."""
    made = tmp_path / "primary.db"
    sql(made, f"PRAGMA encoding = '{encoding}'", "CREATE TABLE made(a)", "DROP TABLE made")
    assert sql(made, "PRAGMA encoding") == [(encoding,)]
    return made


@pytest.fixture
def there(tmp_path: Path) -> Path:
    return tmp_path / "auxiliary.db"


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
async def test_each_kind_of_table_follows_the_primary(kind: str, here: Path, there: Path) -> None:
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
async def test_each_value_arrives_as_it_is(affinity: str, here: Path, there: Path) -> None:
    sql(here, f"CREATE TABLE t(id INTEGER PRIMARY KEY, v {affinity})")
    sql(here, *(f"INSERT INTO t VALUES({i}, {value})" for i, value in enumerate(VALUES)))
    async with Road(here, there) as road:
        await road.same(await road.snapshot())
        assert contents(there) == contents(here)
        sql(here, *(f"UPDATE t SET v = {value} WHERE id = {i}" for i, value in enumerate(reversed(VALUES))))
        await road.same(await road.follow())
        assert contents(there) == contents(here)


@pytest.mark.parametrize("rowid", ["", "WITHOUT ROWID"])
async def test_each_value_can_be_a_key(rowid: str, here: Path, there: Path) -> None:
    values = [value for value in VALUES if value not in ("NULL", "1.0")]  # 1.0 = 1
    sql(here, f"CREATE TABLE t(k PRIMARY KEY, v) {rowid}")
    sql(here, *(f"INSERT INTO t VALUES({value}, {i})" for i, value in enumerate(values)))
    async with Road(here, there) as road:
        await road.same(await road.snapshot())
        assert contents(there) == contents(here)
        sql(here, "UPDATE t SET v = v + 100", "DELETE FROM t WHERE k = x'00ff'")
        await road.same(await road.follow())
        assert contents(there) == contents(here)


async def test_a_key_that_changes_to_an_equal_one_is_another_object(here: Path, there: Path) -> None:
    sql(here, "CREATE TABLE t(k PRIMARY KEY, v)", "CREATE TABLE n(k TEXT PRIMARY KEY COLLATE NOCASE, v)")
    sql(here, "INSERT INTO t VALUES(1, 'int')", "INSERT INTO n VALUES('a', 'lower'), ('b', 'lower')")
    async with Road(here, there) as road:
        await road.same(await road.snapshot())
        sql(here, "UPDATE t SET k = 1.0", "UPDATE n SET k = 'A' WHERE k = 'a'", "REPLACE INTO n VALUES('B', 'upper')")
        await road.same(await road.follow())
        assert contents(there) == contents(here)
        assert contents(there)["n"] == [(("str", "A"), ("str", "lower")), (("str", "B"), ("str", "upper"))]


async def test_generated_columns_are_left_to_the_application(here: Path, there: Path) -> None:
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


async def test_text_that_is_not_utf8_and_objects_over_the_limit_are_named(here: Path, encoding: str) -> None:
    bad = f"CAST({ENCODINGS[encoding]} AS TEXT)"
    sql(here, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
    sql(here, f"INSERT INTO t VALUES(1, 'fine'), (2, {bad}), (3, zeroblob(13000000)), (4, 'fine')")
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


@pytest.mark.parametrize("limit", [1, 3, 1000])
async def test_rows_beside_one_that_cannot_be_read_are_all_there(here: Path, encoding: str, limit: int) -> None:
    """The page is read row by row by their text keys, which the database holds in its own encoding."""
    bad = f"CAST({ENCODINGS[encoding]} AS TEXT)"
    keys = ["k1", "k10", "k9", "abcd", "\u00e9", "\u65e5\u672c", "\U0001f600"]
    sql(here, "CREATE TABLE t(k TEXT, n, v, PRIMARY KEY(k, n))")
    sql(here, *(f"INSERT INTO t VALUES('{key}', {n}, 'v')" for n, key in enumerate(keys)))
    sql(here, f"UPDATE t SET v = {bad} WHERE n = 3", "UPDATE t SET v = zeroblob(3000) WHERE n = 0")
    async with Reading(here, limits=Limits(object_bytes_max=1000)) as reading:
        scanned = {str(unpack_values(one.key)[0]): one.fault for one in await reading.scan(limit)}
        assert set(scanned) == set(keys)
        assert [key for key, fault in scanned.items() if fault] == sorted(["abcd", "k1"])
        assert reading.source.problems == ()


async def test_keys_that_cannot_be_named_are_problems(here: Path, encoding: str) -> None:
    bad = f"CAST({ENCODINGS[encoding]} AS TEXT)"
    sql(here, "CREATE TABLE t(k TEXT PRIMARY KEY, v)")
    sql(here, f"INSERT INTO t VALUES(NULL, 1), ('fine', 2), ({bad}, 3), ('zz', 4)")
    async with Reading(here) as reading:
        assert sorted(one.key for one in await reading.scan(limit=1)) == [b"\x91\xa2zz", b"\x91\xa4fine"]
        assert any("1 rows have NULL in their key" in one for one in reading.source.problems)
        assert any("the key of a row is text that is not UTF-8" in one for one in reading.source.problems)
        await reading.changes()
        sql(here, "UPDATE t SET v = 9")
        changes = await reading.changes()
        assert changes.drained
        assert sorted(one.key for one in changes.observed) == [b"\x91\xa2zz", b"\x91\xa4fine"]


async def test_a_key_that_is_too_long_is_named_and_everything_else_goes_on(here: Path, encoding: str) -> None:
    long = "hex(zeroblob(6000))"
    sql(here, "CREATE TABLE t(k TEXT PRIMARY KEY, v)", "INSERT INTO t VALUES('a', 1), ('b', 2)")
    sql(here, f"INSERT INTO t VALUES({long}, 3), (substr({long}, 1, 1200), 4), ('zz', 5)")
    async with Reading(here, limits=Limits(object_bytes_max=1000, busy_s_max=0.3)) as reading:
        for limit in (1, 2, 1000):
            assert [unpack_values(one.key) for one in await reading.scan(limit)] == [["a"], ["b"], ["zz"]]
        assert [one for one in reading.source.problems if "over the limit" in one]
        await reading.changes()
        sql(here, f"INSERT INTO t VALUES({long} || 'x', 6)", "INSERT INTO t VALUES('c', 7)")
        assert await reading.touched() == [("t", ["c"], [7])]
        assert [one for one in reading.source.problems if "a key over the limit" in one]
        sql(here, "UPDATE t SET k = 'd' WHERE v = 6", f"UPDATE t SET k = {long} || 'y' WHERE v = 7")
        assert await reading.touched() == [("t", ["c"], None), ("t", ["d"], [6])]
        sql(here, "DELETE FROM t WHERE length(k) > 10", "DELETE FROM t WHERE k = 'a'")
        assert await reading.touched() == [("t", ["a"], None)]


async def test_a_read_ends_early_at_its_bound_in_bytes(here: Path) -> None:
    """R15: 5,000 rows of a page may be 60 GB."""
    sql(here, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
    sql(here, *(f"INSERT INTO t VALUES({i}, zeroblob(1000))" for i in range(20)))
    async with Reading(here, limits=replace(LIMITS, scan_bytes_max=4500)) as reading:
        page = await reading.source.scan(1, None, 1000)
        assert [len(page.observed), page.after] == [5, (4,)]
        assert len(await reading.scan()) == 20
        await reading.changes()
        sql(here, "UPDATE t SET v = zeroblob(1001)")
        sizes: list[int] = []
        drained = False
        while not drained:
            changes = await reading.changes()
            sizes.append(len(changes.observed))
            drained = changes.drained
        assert sizes == [5, 5, 5, 5]
        keys = [pack_values([i]) for i in range(20)]
        assert len(await reading.source.observe([(1, key) for key in keys])) == 5


async def test_keys_in_the_log_count_as_bytes_too(here: Path) -> None:
    sql(here, "CREATE TABLE t(k TEXT PRIMARY KEY)")
    async with Reading(here, limits=replace(LIMITS, scan_bytes_max=4500)) as reading:
        await reading.changes()
        sql(here, *(f"INSERT INTO t VALUES({i} || hex(zeroblob(1000)))" for i in range(4)))
        assert len((await reading.changes()).observed) < 4
        assert not (await reading.source.changes(reading.mark, 1000)).lost
