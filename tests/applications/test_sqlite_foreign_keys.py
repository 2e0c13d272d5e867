"""Foreign keys hold at each commit (R16), in whatever order the rows of a work come."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from syncd.adapters.canonical import Value
from syncd.core.errors import TargetHeld
from tests.applications.road import sql
from tests.applications.writing import Group, Row, table, writing

pytestmark = pytest.mark.asyncio

ORDERS = table(1, "orders", "id INTEGER PRIMARY KEY, n", ("id",), ("n",))
LINES = table(
    2,
    "lines",
    "id INTEGER PRIMARY KEY, o INTEGER REFERENCES orders ON DELETE CASCADE ON UPDATE CASCADE, p",
    ("id",),
    ("o", "p"),
)


def advice(column: str) -> str:
    """What a device with a selection may do about it."""
    return f" (where a selection leaves that out: end it with `follow {column}`)"


def order(key: int, n: int = 0) -> Row:
    return Row("orders", (key,), (n,))


def line(key: int, o: int | None, p: int = 0) -> Row:
    return Row("lines", (key,), (o, p))


def removed(row: Row) -> Row:
    return row._replace(fields=None)


@pytest.mark.parametrize("many", [1, 400], ids=["few rows", "many rows"])
async def test_a_child_may_come_before_its_parent_within_a_group(path: Path, many: int) -> None:
    async with writing(path, ORDERS, LINES) as here:
        await here.begin(order(0), line(0, 0))
        rows = [line(i, i) for i in range(1, many + 1)] + [order(i) for i in range(1, many + 1)]
        await here.done(here.work([Group([*rows, line(9999, None)])]))


@pytest.mark.parametrize("many", [1, 400], ids=["few rows", "many rows"])
async def test_a_child_without_parent_is_rolled_back_and_named(path: Path, many: int) -> None:
    async with writing(path, ORDERS, LINES) as here:
        await here.begin(order(0), line(0, 0))
        good = [Group([order(i), line(i, i)]) for i in range(1, many + 1)]
        bad = Group([line(5000, 7777), order(5000)])
        (part,) = await here.failed(here.work([*good, bad]))
        assert (part.seqs, part.failure.guilty) == (frozenset((here.seqs[-1],)), line(5000, 7777).id)
        assert part.failure.cause == f"table lines: o = 7777 has no row in table orders{advice('lines.o')}"


@pytest.mark.parametrize("many", [1, 60], ids=["few rows", "many rows"])
async def test_a_parent_that_leaves_a_child_behind_is_rolled_back_and_named(path: Path, many: int) -> None:
    async with writing(path, ORDERS, LINES) as here:
        await here.begin(*(order(i) for i in range(100)), *(line(i, i) for i in range(100)))
        both = [Group([removed(order(i)), removed(line(i, 0))]) for i in range(many)]
        (part,) = await here.failed(here.work([*both, Group([removed(order(99))])]))
        assert (part.seqs, part.failure.guilty) == (frozenset((here.seqs[-1],)), order(99).id)
        assert part.failure.cause == f"table orders: 99 is still named by table lines, id = 99{advice('lines.o')}"
        await here.done(here.work(both))


async def test_no_cascade_is_executed_twice(path: Path) -> None:
    async with writing(path, ORDERS, LINES) as here:
        await here.begin(order(1), order(2), line(10, 1), line(11, 1))
        moved = [removed(order(1)), order(3), line(10, 3), removed(line(11, 1))]
        await here.done(here.work([Group(moved)]))
    assert sql(path, "SELECT id FROM orders") == [(2,), (3,)]
    assert sql(path, "SELECT id, o FROM lines") == [(10, 3)]


async def test_a_violation_of_before_that_nothing_touches_is_the_applications_own(path: Path) -> None:
    async with writing(path, ORDERS, LINES) as here:
        await here.begin(order(1), line(10, 1))
        sql(path, "PRAGMA foreign_keys=OFF", "INSERT INTO lines VALUES(99, 12345, 0)")
        await here.done_without_count(here.work([Group([order(2), line(20, 2)])]))
        many = [order(i) for i in range(1000, 1400)]
        await here.done_without_count(here.work([Group(many)]))


async def test_a_table_of_this_machine_that_names_a_row_keeps_it(path: Path) -> None:
    sql(path, *ORDERS.definition, "CREATE TABLE mine(id INTEGER PRIMARY KEY, o REFERENCES orders(id))")
    async with writing(path, ORDERS) as here:
        await here.begin(order(1), order(2))
        sql(path, "INSERT INTO mine VALUES(5, 1)")
        (part,) = await here.failed(here.work([Group([removed(order(1))])]))
        assert "table mine, id = 5" in part.failure.cause
        with pytest.raises(TargetHeld, match="table mine, id = 5"):
            await here.target.execute(here.work([Group([order(2)], loose=True)], snapshot=True))
        assert sql(path, "SELECT id FROM orders") == [(1,), (2,)]


async def test_a_foreign_key_to_a_table_that_is_not_here_is_left_alone(path: Path) -> None:
    async with writing(path, LINES) as here:
        await here.begin(line(1, 77))
        await here.done(here.work([Group([line(2, 78)])]))


async def test_composite_keys_and_keys_by_a_unique_column(path: Path) -> None:
    parent = table(1, "p", "a, b, u TEXT UNIQUE, PRIMARY KEY(a, b)", ("a", "b"), ("u",))
    child = table(
        2,
        "c",
        "id INTEGER PRIMARY KEY, x, y, u TEXT COLLATE NOCASE REFERENCES p(u), FOREIGN KEY(x, y) REFERENCES p",
        ("id",),
        ("x", "y", "u"),
    )
    async with writing(path, parent, child) as here:
        await here.begin(Row("p", (1, 2), ("u1",)), Row("c", (1,), (1, 2, "u1")), Row("c", (2,), (None, 5, None)))
        (part,) = await here.failed(here.work([Group([Row("c", (3,), (2, 1, None))])]))
        assert part.failure.cause == f"table c: x, y = 2, 1 has no row in table p{advice('c.x')}"
        (part,) = await here.failed(here.work([Group([Row("p", (1, 2), ("u2",))])]))
        assert "'u1' is still named by table c" in part.failure.cause
        await here.done(here.work([Group([Row("p", (1, 2), ("u2",)), Row("c", (1,), (1, 2, "u2"))])]))


async def test_a_tree_in_one_table(path: Path) -> None:
    tree = table(1, "tree", "id INTEGER PRIMARY KEY, up INTEGER REFERENCES tree", ("id",), ("up",))
    async with writing(path, tree) as here:
        await here.begin(*(Row("tree", (i,), (i + 1 if i < 300 else None,)) for i in range(1, 301)))
        (part,) = await here.failed(here.work([Group([Row("tree", (300,))])]))
        assert part.failure.guilty == Row("tree", (300,)).id
        await here.done(
            here.work([Group([Row("tree", (i,)) for i in range(300, 100, -1)] + [Row("tree", (100,), (None,))])])
        )


async def test_children_of_a_parent_that_fails_park_in_their_own_parts(path: Path) -> None:
    sql(path, "CREATE TABLE orders(id INTEGER PRIMARY KEY, n CHECK(n >= 0))", *LINES.definition)
    async with writing(path, ORDERS, LINES) as here:
        rows = [order(1), order(2, -1), line(10, 1), line(20, 2), line(21, 2), line(11, 1)]
        work = here.work([Group(rows, loose=True)], snapshot=True)
        parts = await here.failed(work)
        assert {one for part in parts for one in part.objects} == {order(2).id, line(20, 2).id, line(21, 2).id}
        first = next(part for part in parts if order(2).id in part.objects)
        assert "CHECK constraint failed" in first.failure.cause
        skip = [one for part in parts for one in part.objects]
        await here.done(here.work([Group(rows, loose=True)], snapshot=True, skip=skip))
        assert sql(path, "SELECT id FROM lines ORDER BY id") == [(10,), (11,)]


COMPARED = [  # columns of parent and child, a parent's value, a child's value
    ("TEXT", "INTEGER", "01", 1),
    ("TEXT", "INTEGER", "1", 1),
    ("INTEGER", "TEXT", 1, "1"),
    ("INTEGER", "TEXT", 1, "01"),
    ("INTEGER", "", 1, "1"),
    ("INTEGER", "", 1, 1.0),
    ("REAL", "INTEGER", 1.0, 1),
    ("NUMERIC", "TEXT", 1, "1.0"),
    ("", "TEXT", 1, "1"),
    ("", "INTEGER", "1", 1),
    ("", "", 1, 1.0),
    ("TEXT COLLATE NOCASE", "TEXT", "abc", "ABC"),
    ("TEXT", "TEXT COLLATE NOCASE", "abc", "ABC"),
    ("TEXT COLLATE RTRIM", "TEXT COLLATE NOCASE", "abc  ", "abc"),
    ("TEXT", "TEXT", "abc", "abc"),
]


@pytest.mark.parametrize("many", [0, 400], ids=["few rows", "many rows"])
@pytest.mark.parametrize("compared", COMPARED, ids=map(repr, COMPARED))
async def test_values_are_compared_as_sqlite_does_for_a_foreign_key(
    path: Path, compared: tuple[str, str, Value, Value], many: int
) -> None:
    their_column, our_column, theirs, ours = compared
    parent = table(1, "p", f"k {their_column} PRIMARY KEY NOT NULL, v", ("k",), ("v",))
    child = table(2, "c", f"id INTEGER PRIMARY KEY, k {our_column} REFERENCES p(k)", ("id",), ("k",))
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as plain:
        for one in ("PRAGMA foreign_keys = ON", *parent.definition, *child.definition):
            plain.execute(one)
        plain.execute("INSERT INTO p VALUES(?, 0)", (theirs,))
        try:
            plain.execute("INSERT INTO c VALUES(1, ?)", (ours,))
            allowed = True
        except sqlite3.IntegrityError:
            allowed = False
        held = plain.execute("SELECT k FROM p").fetchone()
    others = [Row("p", (type(held[0])(1000 + i),), (0,)) for i in range(many)]
    async with writing(path, parent, child) as here:
        await here.begin(Row("p", held, (0,)), *others)
        work = here.work([Group([Row("c", (1,), (ours,)), *(one._replace(fields=(1,)) for one in others)])])
        if not allowed:
            (part,) = await here.failed(work)
            assert "has no row in table p" in part.failure.cause
            return
        await here.done(work)
        (part,) = await here.failed(here.work([Group([Row("p", held), *(removed(one) for one in others)])]))
        assert "is still named by table c" in part.failure.cause
        assert part.failure.guilty == Row("p", held).id
        await here.done(here.work([Group([Row("p", held), Row("c", (1,))])]))


@pytest.mark.parametrize("many", [1, 60], ids=["few rows", "many rows"])
async def test_a_parent_named_by_a_generated_column(path: Path, many: int) -> None:
    parent = table(1, "p", "k TEXT PRIMARY KEY NOT NULL, v, g AS (lower(v)) STORED UNIQUE", ("k",), ("v",))
    child = table(2, "c", "id INTEGER PRIMARY KEY, v REFERENCES p(g)", ("id",), ("v",))
    async with writing(path, parent, child) as here:
        await here.begin(
            *(Row("p", (f"k{i}",), (f"V{i}",)) for i in range(many)), *(Row("c", (i,), (f"v{i}",)) for i in range(many))
        )
        (part,) = await here.failed(here.work([Group([Row("p", (f"k{i}",), (f"Y{i}",)) for i in range(many)])]))
        assert "is still named by table c" in part.failure.cause
        await here.failed(here.work([Group([Row("p", ("k0",))])]))
        await here.done(here.work([Group([Row("p", (f"k{i}",), (f"v{i}",)) for i in range(many)])]))
        both = [*(Row("p", (f"k{i}",)) for i in range(many)), *(Row("c", (i,)) for i in range(many))]
        await here.done(here.work([Group(both)]))


async def test_a_parent_named_by_a_column_that_exists_here_only(path: Path) -> None:
    sql(
        path,
        "CREATE TABLE orders(id INTEGER PRIMARY KEY, n, place TEXT UNIQUE)",
        "CREATE TABLE mine(id INTEGER PRIMARY KEY, place TEXT REFERENCES orders(place))",
    )
    async with writing(path, ORDERS) as here:
        await here.begin(order(1), order(2))
        sql(path, "UPDATE orders SET place = 'L' || id", "INSERT INTO mine VALUES(5, 'L1')")
        (part,) = await here.failed(here.work([Group([removed(order(1))])]))
        assert part.failure.cause == "table orders: 'L1' is still named by table mine, id = 5"
        await here.done(here.work([Group([order(1, 7), removed(order(2))])]))


async def test_a_child_whose_key_is_compared_in_another_way_than_its_column(path: Path) -> None:
    child = table(
        2,
        "c",
        "k TEXT COLLATE NOCASE NOT NULL, o INTEGER REFERENCES orders, PRIMARY KEY(k COLLATE BINARY)",
        ("k",),
        ("o",),
    )
    async with writing(path, ORDERS, child) as here:
        await here.begin(order(1), Row("c", ("abc",), (1,)))
        sql(path, "INSERT INTO c VALUES('ABC', 77)")
        await here.done_without_count(here.work([Group([Row("c", ("abc",), (None,))])]))


TREE = table(1, "tree", "id INTEGER PRIMARY KEY, up INTEGER REFERENCES tree, v", ("id",), ("up", "v"))


def link(key: int, v: str = "x") -> Row:
    return Row("tree", (key,), (key - 1 if key else None, v))


@pytest.mark.parametrize("there", [False, True], ids=["an empty table", "a table with rows"])
async def test_a_chain_without_its_first_link_parks_in_one_try(path: Path, there: bool) -> None:
    sql(path, TREE.definition[0].replace("v)", "v CHECK(v <> 'bad'))"))
    async with writing(path, TREE) as here:
        await here.begin(*([Row("tree", (9_000,), (None, "x")), Row("tree", (9_001,), (9_000, "x"))] if there else []))
        chain = [link(i, "x" if i else "bad") for i in range(300)]
        fine = [Row("tree", (9_001,), (None, "y")), Row("tree", (9_002,), (9_001, "x"))]
        work = here.work([Group([*chain, *(fine if there else [])], loose=True)], snapshot=not there)
        parts = await here.failed(work)
        assert {one for part in parts for one in part.objects} == {one.id for one in chain}
        causes = {one: part.failure.cause for part in parts for one in part.objects}
        assert causes[link(7).id] == f"table tree: up = 6 has no row in table tree{advice('tree.up')}"
        await here.done(replace(work, skip=frozenset(one.id for one in chain).intersection))


async def test_what_stands_without_a_parked_object_does_not_park_with_it(path: Path) -> None:
    """The row that an object had before is a parent still; a group parks whole."""
    sql(path, TREE.definition[0].replace("v)", "v CHECK(v <> 'bad'))"))
    async with writing(path, TREE) as here:
        await here.begin(link(0), link(1))
        groups = [
            Group([Row("tree", (1,), (777, "y"))]),  # fails, and stays as it was
            Group([link(2)]),
            Group([Row("tree", (50,), (None, "bad"))]),
            Group([Row("tree", (51,), (50, "x")), Row("tree", (60,), (None, "x"))]),
            Group([Row("tree", (61,), (60, "x"))]),
            Group([Row("tree", (70,), (None, "x"))]),
        ]
        work = here.work(groups)
        parts = await here.failed(work)
        failed = {seq for part in parts for seq in part.seqs}
        assert failed == {here.seqs[0], here.seqs[2], here.seqs[3], here.seqs[4]}
        skip = [row.id for at in (0, 2, 3, 4) for row in groups[at].rows]
        await here.done(replace(work, skip=frozenset(skip).intersection))
        assert sql(path, "SELECT id FROM tree ORDER BY id") == [(0,), (1,), (2,), (70,)]
