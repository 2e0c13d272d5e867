"""All that a target holds is offered to the primary, parents before the rows that refer to them."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

import pytest

from syncd.adapters.canonical import Value, unpack_values
from syncd.applications import sqlite_ranked
from syncd.core.model import DataType
from tests.applications.road import sql
from tests.applications.writing import Row, Writing, local, table

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("wal")]


def of(number: int, name: str, *parents: str) -> DataType:
    references = ", ".join(f"{parent} REFERENCES {parent}(id)" for parent in parents)
    return table(number, name, f"id INTEGER PRIMARY KEY{references and ', '}{references}", ("id",), parents)


@pytest.mark.parametrize(
    ("types", "order"),
    [
        ((of(1, "a"), of(2, "b"), of(3, "c")), "abc"),
        ((of(1, "a", "b"), of(2, "b", "c"), of(3, "c")), "cba"),
        ((of(1, "a", "c"), of(2, "b"), of(3, "c", "c")), "bca"),
        ((of(1, "a", "b"), of(2, "b", "a"), of(3, "c", "a")), "abc"),
        ((of(1, "a", "gone"), of(2, "b", "a")), "ab"),
    ],
    ids=["no references", "a chain", "to itself", "a ring", "to another collection's"],
)
async def test_parents_are_offered_first(path: Path, types: tuple[DataType, ...], order: str) -> None:
    rows = [Row(one.name, (number,), (None,) * len(one.fields)) for one in types for number in range(3)]
    async with local(path, types[0], *rows, others=types[1:]) as here:
        names, offered = {one.id: one.name for one in types}, list[tuple[str, int]]()
        page, after = await here.target.offer(None, 2)
        while after is not None:
            offered += [(names[edit.type], int(str(unpack_values(edit.key)[0]))) for edit in page.edits]
            page, after = await here.target.offer(after, 2)
        assert offered == [(name, number) for name in order for number in range(3)]


async def offered(here: Writing, limit: int) -> list[tuple[object, ...]]:
    """Keys in the order in which they are offered."""
    keys: list[tuple[object, ...]] = []
    page, after = await here.target.offer(None, limit)
    while after is not None:
        keys += [tuple(unpack_values(edit.key)) for edit in page.edits]
        page, after = await here.target.offer(after, limit)
    return keys


async def tree(
    path: Path, one: DataType, rows: Iterable[tuple[tuple[Value, ...], tuple[Value, ...]]], limit: int
) -> list[object]:
    """The first value of each key in the order in which rows of a table that refers to itself are offered."""
    async with local(path, one, *(Row(one.name, key, fields) for key, fields in rows)) as here:
        return [key[0] for key in await offered(here, limit)]


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
async def test_rows_that_refer_to_later_ones_of_their_table_are_offered_after_them(path: Path, limit: int) -> None:
    boss = {1: 9, 2: None, 3: 1, 4: 2, 9: 5, 5: None}
    order = await tree(path, of(1, "a", "a"), (((key,), (value,)) for key, value in boss.items()), limit)
    assert order == [2, 5, 4, 9, 1, 3]


async def test_rows_that_refer_to_no_later_ones_are_offered_in_the_order_of_their_keys(path: Path) -> None:
    boss = {1: 1, 2: 1, 3: None, 4: 2}
    assert await tree(path, of(1, "a", "a"), (((key,), (value,)) for key, value in boss.items()), 2) == [1, 2, 3, 4]


async def test_rows_that_refer_to_each_other_in_a_ring_come_last_in_the_order_of_their_keys(path: Path) -> None:
    boss = {1: 2, 2: 1, 3: 4, 4: None, 5: 1}
    assert await tree(path, of(1, "a", "a"), (((key,), (value,)) for key, value in boss.items()), 2) == [4, 3, 1, 2, 5]


async def test_a_chain_that_takes_too_many_passes_ends_in_the_order_of_the_keys(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_ranked, "_PASSES_MAX", 2)
    rows = (((key,), (key + 1 if key < 5 else None,)) for key in range(1, 6))
    assert await tree(path, of(1, "a", "a"), rows, 2) == [5, 4, 1, 2, 3]


async def test_a_row_comes_after_all_that_it_refers_to(path: Path) -> None:
    one = table(1, "a", "id INTEGER PRIMARY KEY, x REFERENCES a(id), y REFERENCES a", ("id",), ("x", "y"))
    rows = {1: (3, 2), 2: (None, 4), 3: (None, None), 4: (5, 3), 5: (None, None)}
    order = await tree(path, one, (((key,), fields) for key, fields in rows.items()), 2)
    assert order == [3, 5, 4, 2, 1]


async def test_keys_of_several_columns_and_of_other_collations_are_told_apart(path: Path) -> None:
    columns = "a TEXT COLLATE NOCASE, b, up TEXT, over, PRIMARY KEY(a, b), FOREIGN KEY(up, over) REFERENCES t(a, b)"
    one = table(1, "t", columns, ("a", "b"), ("up", "over"))
    rows: list[tuple[tuple[Value, ...], tuple[Value, ...]]] = [
        (("a", 1), ("C", 2)),
        (("b", 1), ("A", 1)),
        (("c", 1), (None, 2)),
        (("c", 2), (None, None)),
    ]
    assert await tree(path, one, rows, 2) == ["c", "c", "a", "b"]


async def test_a_reference_to_a_row_that_is_not_there_holds_nothing_up(path: Path) -> None:
    async with local(path, of(1, "a", "a"), *(Row("a", (key,), (None,)) for key in (1, 2, 3))) as here:
        sql(path, "UPDATE a SET a = 77 WHERE id = 2", "UPDATE a SET a = 2 WHERE id = 1")
        assert await offered(here, 2) == [(2,), (3,), (1,)]


async def test_a_key_that_is_no_text_keeps_no_row_from_being_offered(path: Path) -> None:
    columns = "id TEXT PRIMARY KEY, up TEXT REFERENCES t(id)"
    async with local(
        path, table(1, "t", columns, ("id",), ("up",)), Row("t", ("a",), ("b",)), Row("t", ("b",), (None,))
    ) as here:
        sql(path, "INSERT INTO t VALUES (CAST(x'63ff' AS TEXT), NULL)", "INSERT INTO t VALUES ('d', 'e'), ('e', NULL)")
        assert {("a",), ("b",), ("d",), ("e",)} <= set(await offered(here, 2))


async def test_parents_that_are_no_key_of_their_table_are_left_alone(path: Path) -> None:
    one = table(1, "a", "id INTEGER PRIMARY KEY, code, x REFERENCES a(code)", ("id",), ("code", "x"))
    rows = {1: ("p", "q"), 2: ("q", None)}
    assert await tree(path, one, (((key,), fields) for key, fields in rows.items()), 2) == [1, 2]


@pytest.mark.parametrize("seed", range(20))
async def test_each_row_of_a_random_forest_is_offered_once_and_after_its_parents(path: Path, seed: int) -> None:
    chance = random.Random(seed)
    keys = chance.sample(range(1_000), 60)
    boss = {key: chance.choice([None, *keys[:at]]) for at, key in enumerate(keys)}
    order = await tree(
        path, of(1, "a", "a"), (((key,), (value,)) for key, value in boss.items()), chance.randint(1, 20)
    )
    assert sorted(map(int, map(str, order))) == sorted(keys), f"seed {seed}"
    for key, value in boss.items():
        assert value is None or order.index(value) < order.index(key), f"seed {seed}"
