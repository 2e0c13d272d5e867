"""Groups of edits in a primary's SQLite database: constraints, triggers, tables that change."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from syncd.adapters.canonical import pack_values
from syncd.core.conflict import ADDED, TABLE_CHANGED
from syncd.core.edits import Edit, Policy, Ruling
from syncd.core.errors import ApplicationBusy, ApplicationOffline
from syncd.core.model import ObjectId
from tests.applications.road import LIMITS
from tests.applications.writing_up import writing_up

pytestmark = pytest.mark.asyncio

ORDERS = (
    "CREATE TABLE orders(id INTEGER PRIMARY KEY, who TEXT)",
    "CREATE TABLE lines(id INTEGER PRIMARY KEY, of INTEGER REFERENCES orders(id) ON DELETE CASCADE, what TEXT)",
)
PEOPLE = "CREATE TABLE people(id INTEGER PRIMARY KEY, mail TEXT UNIQUE)"
A, R = Ruling.ACCEPTED, Ruling.REFUSED


async def test_an_order_and_its_lines_come_in_one_group_in_any_order(path: Path) -> None:
    async with writing_up(path, *ORDERS) as up:
        lines = [up.edit("lines", (number,), None, (7, "tea")) for number in range(3)]
        (written,) = await up.write(up.group(*lines, up.edit("orders", (7,), None, ("Ann",))))
        assert written.ruling is A
        assert up.sql("SELECT count(*) FROM lines JOIN orders ON of = orders.id") == [(3,)]
        gone = [up.edit("lines", (number,), (7, "tea"), None) for number in range(3)]
        (written,) = await up.write(up.group(up.edit("orders", (7,), ("Ann",), None), *gone))
        assert (written.ruling, up.sql("SELECT * FROM lines")) == (A, [])


@pytest.mark.parametrize("groups", [3, 30])
async def test_a_row_without_its_parent_refuses_its_group_and_no_other(path: Path, groups: int) -> None:
    async with writing_up(path, *ORDERS) as up:
        made = [up.group(up.edit("orders", (number,), None, ("Ann",))) for number in range(groups)]
        made[1] = up.group(up.edit("orders", (100,), None, ("Bob",)), up.edit("lines", (1,), None, (99, "tea")))
        written = await up.write(*made)
        assert [one.ruling for one in written] == [A, R, *[A] * (groups - 2)]
        assert written[1].guilty == ObjectId("lines", pack_values([1]))
        assert "of = 99 has no row in table orders" in written[1].cause
        assert up.sql("SELECT count(*) FROM orders") == [(groups - 1,)]
        assert up.sql("SELECT * FROM lines") == []


async def test_a_deletion_that_leaves_what_the_primary_added_is_refused(path: Path) -> None:
    async with writing_up(path, *ORDERS) as up:
        up.sql("INSERT INTO orders VALUES(7, 'Ann')")
        up.sql("INSERT INTO lines VALUES(1, 7, 'tea')")
        (written,) = await up.write(up.group(up.edit("orders", (7,), ("Ann",), None)))
        assert (written.ruling, written.guilty) == (R, ObjectId("orders", pack_values([7])))
        assert up.sql("SELECT * FROM lines") == [(1, 7, "tea")]


@pytest.mark.parametrize("rows", [1, 30])
async def test_a_row_of_a_table_that_is_not_shared_is_named_to_nobody(path: Path, rows: int) -> None:
    async with writing_up(path, *ORDERS, tables=("orders",)) as up:
        for number in range(rows):
            up.sql("INSERT INTO orders VALUES(?, 'Ann')", (number,))
            up.sql("INSERT INTO lines VALUES(?, ?, 'secret')", (5000 + number, number))
        await up.read()
        gone = [up.edit("orders", (number,), ("Ann",), None) for number in range(rows)]
        (written,) = await up.write(up.group(*gone))
        assert (written.ruling, written.guilty) == (R, ObjectId("orders", pack_values([0])))
        assert written.cause == "table orders: 0 is still named by a table that is not shared"
        assert up.sql("SELECT count(*) FROM orders") == [(rows,)]


@pytest.mark.parametrize("lines", [1, 6])
async def test_what_was_made_with_a_row_follows_it_to_its_second_key(path: Path, lines: int) -> None:
    """Two who are apart take the same next numbers, for an order and its lines."""
    async with writing_up(path, *ORDERS) as up:
        up.sql("INSERT INTO orders VALUES(7, 'Ann')")
        up.sql("INSERT INTO lines VALUES(1, 7, 'tea')")
        made = [up.edit("lines", (number,), None, (7, "milk")) for number in range(1, 1 + lines)]
        ours = up.group(up.edit("orders", (7,), None, ("Bob",)), *made)
        others = [up.group(up.edit("orders", (number,), None, ("Eve",))) for number in range(20, 26)]
        written = await up.write(ours, *others, policy=Policy.BOTH)
        assert [one.ruling for one in written] == [Ruling.MERGED, *[A] * 6]
        assert up.sql("SELECT what FROM lines WHERE of = 7") == [("tea",)]
        (second,) = up.sql("SELECT id FROM orders WHERE who = 'Bob'")
        assert up.sql("SELECT count(*) FROM lines WHERE of = ?", second) == [(lines,)]
        assert [side.theirs for side in written[0].sides][1] == pack_values((7, "milk")), "as it was sent"


async def test_a_row_whose_own_key_would_have_to_follow_refuses_its_group(path: Path) -> None:
    parts = "CREATE TABLE parts(of INTEGER REFERENCES orders, at INTEGER, PRIMARY KEY(of, at)) WITHOUT ROWID"
    async with writing_up(path, ORDERS[0], parts) as up:
        up.sql("INSERT INTO orders VALUES(7, 'Ann')")
        group = up.group(up.edit("orders", (7,), None, ("Bob",)), up.edit("parts", (7, 1), None, ()))
        (written,) = await up.write(group, policy=Policy.BOTH)
        assert (written.ruling, len(written.sides)) == (R, 2)
        assert up.sql("SELECT count(*) FROM parts") == [(0,)]


async def test_values_under_a_unique_index_are_swapped_in_one_group(path: Path) -> None:
    async with writing_up(path, PEOPLE) as up:
        up.sql("INSERT INTO people VALUES(1, 'a'), (2, 'b')")
        (written,) = await up.write(
            up.group(up.edit("people", (1,), ("a",), ("b",)), up.edit("people", (2,), ("b",), ("a",)))
        )
        assert (written.ruling, up.sql("SELECT * FROM people")) == (A, [(1, "b"), (2, "a")])
        assert set(await up.read()) == {ObjectId("people", pack_values([number])) for number in (1, 2)}


@pytest.mark.parametrize("size", [1, 6])
@pytest.mark.parametrize("groups", [3, 40])
async def test_a_value_that_is_taken_refuses_its_group_with_the_words_of_sqlite(
    path: Path, size: int, groups: int
) -> None:
    async with writing_up(path, PEOPLE) as up:
        up.sql("INSERT INTO people VALUES(1000, 'taken')")
        bad = groups - 2
        made = [
            up.group(
                *(
                    up.edit("people", (group * size + at,), None, ("taken" if (group, at) == (bad, 0) else None,))
                    for at in range(size)
                )
            )
            for group in range(groups)
        ]
        written = await up.write(*made)
        assert [one.ruling for one in written] == [R if at == bad else A for at in range(groups)]
        assert written[bad].cause == "table people: UNIQUE constraint failed: people.mail"
        assert written[bad].guilty == ObjectId("people", pack_values([bad * size]))
        assert up.sql("SELECT count(*) FROM people") == [((groups - 1) * size + 1,)]
        assert len(await up.read()) == (groups - 1) * size + 1


async def test_a_value_that_an_earlier_group_freed_is_taken_by_a_later_one(path: Path) -> None:
    async with writing_up(path, PEOPLE) as up:
        up.sql("INSERT INTO people VALUES(1, 'a')")
        others = [up.group(up.edit("people", (10 + at,), None, (None,))) for at in range(4)]
        written = await up.write(
            *others,
            up.group(up.edit("people", (1,), ("a",), ("b",))),
            up.group(up.edit("people", (0,), None, ("a",))),
        )
        assert {one.ruling for one in written} == {A}


@pytest.mark.parametrize("table", [PEOPLE, PEOPLE.replace("UNIQUE", "CHECK(mail LIKE '%@%')")])
async def test_of_many_groups_the_table_refuses_one_and_takes_the_others(path: Path, table: str) -> None:
    """They are executed together at first, and then again: nothing is written, logged or signed twice."""
    async with writing_up(path, table) as up:
        up.sql("INSERT INTO people VALUES(100, 'a@100'), (101, 'a@101')")
        await up.read()
        made = [up.group(up.edit("people", (number,), None, (f"a@{number}x",))) for number in range(20)]
        taken = "a@100" if "UNIQUE" in table else "nothing"
        made[7] = up.group(up.edit("people", (7,), None, (taken,)), up.edit("people", (101,), ("a@101",), None))
        written = await up.write(*made)
        assert [one.ruling for one in written] == [*[A] * 7, R, *[A] * 12]
        assert written[7].guilty == ObjectId("people", pack_values([7]))
        found = await up.read()
        assert {author for _, author in found.values()} == {"laptop"}
        assert len(found) == len(up.sql("SELECT * FROM people")) - 2 == 19
        assert max(one.mark for one in written) <= up.mark
        assert await up.write(*made) == written


async def test_groups_are_known_after_the_application_changed_its_schema(path: Path) -> None:
    async with writing_up(path, PEOPLE) as up:
        groups = [up.group(up.edit("people", (number,), None, (f"{number}",))) for number in range(3)]
        written = [(await up.write(one))[0] for one in groups]
        up.sql("DELETE FROM people")
        up.sql("CREATE INDEX mails ON people(mail)")
        await up.read()
        assert [(await up.write(one))[0] for one in reversed(groups)] == written[::-1]
        assert up.sql("SELECT * FROM people") == []


async def test_a_check_that_fails_refuses_the_group(path: Path) -> None:
    async with writing_up(path, "CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER CHECK (n > 0))") as up:
        (written,) = await up.write(up.group(up.edit("t", (1,), None, (1,)), up.edit("t", (2,), None, (-1,))))
        assert (written.ruling, written.guilty) == (R, ObjectId("t", pack_values([2])))
        assert "CHECK constraint failed" in written.cause


@pytest.mark.parametrize("verb", ["ABORT", "FAIL", "ROLLBACK"])
@pytest.mark.parametrize("bad", [(3,), (0, 5, 8)])
async def test_a_trigger_that_raises_refuses_its_group_and_no_other(
    path: Path, verb: str, bad: tuple[int, ...]
) -> None:
    trigger = (
        "CREATE TRIGGER no BEFORE INSERT ON t WHEN NEW.n < 0"
        f" BEGIN INSERT INTO seen(n) VALUES(NEW.id); SELECT RAISE({verb}, 'not so'); END"
    )
    tables = ("CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER)", "CREATE TABLE seen(id INTEGER PRIMARY KEY, n)")
    async with writing_up(path, *tables, trigger) as up:
        made = [
            up.group(
                up.edit("t", (number,), None, (1,)), up.edit("t", (100 + number,), None, (-1 if number in bad else 1,))
            )
            for number in range(9)
        ]
        written = await up.write(*made)
        assert [at for at, one in enumerate(written) if one.ruling is R] == list(bad)
        assert {one.cause for one in written if one.ruling is R} == {"table t: not so"}
        assert up.sql("SELECT count(*) FROM t") == [(2 * (9 - len(bad)),)]
        assert up.sql("SELECT * FROM seen") == []
        assert [one.ruling for one in await up.write(*made)] == [one.ruling for one in written]
        assert max(one.mark for one in written) > up.mark
        read = await up.read()
        assert {author for _, author in read.values()} == {"laptop"}
        assert max(one.mark for one in written) <= up.mark


async def test_what_a_trigger_makes_of_it_is_what_is_captured(path: Path) -> None:
    trigger = "CREATE TRIGGER up AFTER INSERT ON t BEGIN UPDATE t SET n = n + 1 WHERE id = NEW.id; END"
    async with writing_up(path, "CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER)", trigger) as up:
        (written,) = await up.write(up.group(up.edit("t", (1,), None, (1,))))
        assert written.ruling is A
        assert await up.read() == {ObjectId("t", pack_values([1])): (pack_values([2]), "laptop")}


@pytest.mark.parametrize(
    ("event", "base", "fields"), [("INSERT", None, (2,)), ("UPDATE", (1,), (2,)), ("DELETE", (1,), None)]
)
async def test_a_trigger_that_passes_over_a_row_refuses_its_group(
    path: Path, event: str, base: tuple[int] | None, fields: tuple[int] | None
) -> None:
    trigger = f"CREATE TRIGGER no BEFORE {event} ON t BEGIN SELECT RAISE(IGNORE); END"
    async with writing_up(path, "CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER)", trigger) as up:
        if base:
            up.sql("INSERT INTO t VALUES(1, 1)")
        (written,) = await up.write(up.group(up.edit("t", (1,), base, fields)))
        assert (written.ruling, written.cause) == (R, "table t: a trigger left it as it was")


@pytest.mark.parametrize("reverse", [False, True])
async def test_what_a_trigger_did_on_the_other_side_is_not_done_again_on_top_of_it(path: Path, reverse: bool) -> None:
    """Two orders, joined while there was no link: their sum comes before the second."""
    schema = (
        ORDERS[0],
        "CREATE TABLE sums(id INTEGER PRIMARY KEY, n)",
        "INSERT INTO sums VALUES(1, 10)",
        "CREATE TRIGGER t AFTER INSERT ON orders BEGIN UPDATE sums SET n = n + 1; END",
    )
    async with writing_up(path, *schema) as up:
        edits = [
            up.edit("orders", (7,), None, ("Ann",)),
            up.edit("sums", (1,), (10,), (12,)),
            up.edit("orders", (8,), None, ("Bob",)),
        ]
        (written,) = await up.write(up.group(*(reversed(edits) if reverse else edits)))
        assert (written.ruling, up.sql("SELECT n FROM sums")) == (A, [(12,)])


async def test_keys_that_are_equal_and_not_the_same_do_not_write_over_each_other(path: Path) -> None:
    async with writing_up(path, "CREATE TABLE t(id TEXT COLLATE NOCASE PRIMARY KEY, n INTEGER)") as up:
        up.sql("INSERT INTO t VALUES('abc', 1)")
        (refused,) = await up.write(up.group(up.edit("t", ("ABC",), None, (2,))), policy=Policy.AUXILIARY)
        assert (refused.ruling, refused.cause) == (R, "table t: a row with an equal key is there")
        (renamed,) = await up.write(up.group(up.edit("t", ("ABC",), None, (1,)), up.edit("t", ("abc",), (1,), None)))
        assert (renamed.ruling, up.sql("SELECT * FROM t")) == (A, [("ABC", 1)])
        both = [up.group(up.edit("t", (key,), None, (1,))) for key in ("x", "y", "z", "X", "u")]
        assert [one.ruling for one in await up.write(*both)] == [A, A, A, R, A]


async def test_columns_that_the_type_does_not_have_keep_what_they_hold(path: Path) -> None:
    async with writing_up(path, "CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER)") as up:
        up.sql("INSERT INTO t VALUES(1, 1)")
        up.sql("ALTER TABLE t ADD COLUMN more TEXT DEFAULT 'kept'")
        (written,) = await up.write(up.group(up.edit("t", (1,), (1,), (2,))))
        assert (written.ruling, up.sql("SELECT * FROM t")) == (A, [(1, 2, "kept")])


async def test_a_table_that_lost_a_column_refuses_and_is_written_when_it_is_described_anew(path: Path) -> None:
    async with writing_up(path, "CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER, more TEXT)") as up:
        await up.write(up.group(up.edit("t", (1,), None, (1, "x"))))
        up.sql("ALTER TABLE t DROP COLUMN more")
        (written,) = await up.write(up.group(up.edit("t", (1,), (1, "x"), (2, "x"))))
        assert written.ruling is R
        assert written.cause.startswith(TABLE_CHANGED)
        assert "has no column more" in written.cause
        await up.read()
        (written,) = await up.write(up.group(up.edit("t", (1,), (1,), (2,))))
        assert (written.ruling, up.sql("SELECT * FROM t")) == (A, [(1, 2)])


async def test_a_table_that_was_made_anew_is_not_written_until_it_is_captured_again(path: Path) -> None:
    async with writing_up(path, "CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER)") as up:
        up.sql("DROP TABLE t")
        up.sql("CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER)")
        made = up.group(up.edit("t", (1,), None, (1,)))
        with pytest.raises(ApplicationOffline, match="not captured"):
            await up.write(made)
        await up.open()
        (written,) = await up.write(made)
        assert written.ruling is A


@pytest.mark.parametrize("key", [(1, 2), (), (None,)])
async def test_a_key_that_names_no_row_refuses_the_group(path: Path, key: tuple[int | None, ...]) -> None:
    async with writing_up(path, "CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER)") as up:
        (written,) = await up.write(up.group(Edit(1, pack_values(key), None, pack_values([1]))))
        assert (written.ruling, written.cause) == (R, TABLE_CHANGED)


@pytest.mark.parametrize("fields", [(), (1, 2)])
@pytest.mark.parametrize("rows", [1, 5])
async def test_fields_of_another_number_refuse_the_group(path: Path, fields: tuple[int, ...], rows: int) -> None:
    async with writing_up(path, "CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER)") as up:
        edits = [up.edit("t", (number,), None, (1,)) for number in range(rows)]
        edits[-1] = up.edit("t", (rows - 1,), None, fields)
        (written,) = await up.write(up.group(*edits))
        assert (written.ruling, up.sql("SELECT * FROM t")) == (R, [])


@pytest.mark.parametrize("rows", [1, 5])
async def test_an_object_over_the_limit_refuses_its_group(path: Path, rows: int) -> None:
    limits = replace(LIMITS, object_bytes_max=1000)
    async with writing_up(path, "CREATE TABLE t(id INTEGER PRIMARY KEY, n, m)", limits=limits) as up:
        up.sql("INSERT INTO t VALUES(1000, '', ?)", ("x" * 600,))
        made = [up.group(up.edit("t", (number,), None, ("x" * 600, ""))) for number in range(rows)]
        made.append(up.group(up.edit("t", (500,), None, ("x" * 1000, ""))))
        made.append(up.group(up.edit("t", (1000,), ("", ""), ("x" * 600, ""))))
        written = await up.write(*made, policy=Policy.MERGE)
        assert [one.ruling for one in written] == [*[A] * rows, R, R]
        assert "over the limit of 1000" in written[-1].cause
        assert [side.theirs for side in written[-1].sides] == [pack_values(("x" * 600, ""))]
        assert up.sql("SELECT count(*) FROM t") == [(rows + 1,)]


async def test_a_locked_database_is_busy_and_nothing_is_lost_by_it(path: Path) -> None:
    async with writing_up(path, PEOPLE) as up:
        made = up.group(up.edit("people", (1,), None, ("a",)))
        up.sql("BEGIN IMMEDIATE")
        up.sql("INSERT INTO people VALUES(1, 'mine')")
        with pytest.raises(ApplicationBusy):
            await up.write(made)
        up.sql("COMMIT")
        (written,) = await up.write(made)
        assert (written.ruling, written.cause) == (R, ADDED)
        assert up.sql("SELECT * FROM people") == [(1, "mine")]


@pytest.mark.parametrize(
    ("key", "rowid"),
    [("id INTEGER PRIMARY KEY", True), ("id INTEGER, PRIMARY KEY(id)", True), ("id INT PRIMARY KEY", False)],
)
async def test_only_a_rowid_is_a_number_without_a_meaning(path: Path, key: str, rowid: bool) -> None:
    async with writing_up(path, f"CREATE TABLE t(n, {key})") as up:
        up.sql("INSERT INTO t(id, n) VALUES(5, 'ours')")
        (written,) = await up.write(up.group(up.edit("t", (5,), ("base",), ("theirs",))), policy=Policy.BOTH)
        assert written.ruling is (Ruling.MERGED if rowid else R)
        assert up.sql("SELECT id, n FROM t") == ([(5, "ours"), (6, "theirs")] if rowid else [(5, "ours")])


async def test_no_second_number_is_given_after_the_greatest(path: Path) -> None:
    async with writing_up(path, "CREATE TABLE t(id INTEGER PRIMARY KEY, n)") as up:
        up.sql("INSERT INTO t VALUES(1, 'ours'), (9223372036854775807, '')")
        (written,) = await up.write(up.group(up.edit("t", (1,), ("base",), ("theirs",))), policy=Policy.BOTH)
        assert written.ruling is R


async def test_two_who_write_at_the_same_time_wait_for_each_other(path: Path) -> None:
    """The engine, and a person who undoes something."""
    async with writing_up(path, PEOPLE) as up:
        written = await asyncio.gather(
            *(up.write(up.group(up.edit("people", (number,), None, (str(number),)))) for number in range(8))
        )
        assert [one.ruling for (one,) in written] == [A] * 8
        assert up.sql("SELECT count(*) FROM people") == [(8,)]
