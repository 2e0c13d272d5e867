"""Foreign keys hold at each commit (R16), in whatever order the rows of a work come."""

from __future__ import annotations

from pathlib import Path

import pytest

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


def order(key: int, n: int = 0) -> Row:
    return Row("orders", (key,), (n,))


def line(key: int, o: int | None, p: int = 0) -> Row:
    return Row("lines", (key,), (o, p))


def removed(row: Row) -> Row:
    return row._replace(fields=None)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "app.db"


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
        assert part.failure.cause == "table lines: o = 7777 has no row in table orders"


@pytest.mark.parametrize("many", [1, 60], ids=["few rows", "many rows"])
async def test_a_parent_that_leaves_a_child_behind_is_rolled_back_and_named(path: Path, many: int) -> None:
    async with writing(path, ORDERS, LINES) as here:
        await here.begin(*(order(i) for i in range(100)), *(line(i, i) for i in range(100)))
        both = [Group([removed(order(i)), removed(line(i, 0))]) for i in range(many)]
        (part,) = await here.failed(here.work([*both, Group([removed(order(99))])]))
        assert (part.seqs, part.failure.guilty) == (frozenset((here.seqs[-1],)), order(99).id)
        assert part.failure.cause == "table orders: 99 is still named by table lines, id = 99"
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
        assert part.failure.cause == "table c: x, y = 2, 1 has no row in table p"
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
