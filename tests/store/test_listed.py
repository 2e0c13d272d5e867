"""Rows that are written by few statements are those that one statement a row would write."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from syncd.store.listed import ROWS, delete_rows, insert_rows

COUNTS = [0, 1, ROWS - 1, ROWS, ROWS + 1, 2 * ROWS, 2 * ROWS + 1]


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE one (id INTEGER PRIMARY KEY, name TEXT)")
        yield connection


@pytest.mark.parametrize("count", COUNTS)
def test_all_rows_are_inserted_in_their_order(database: sqlite3.Connection, count: int) -> None:
    rows = [(number, f"{number}") for number in range(count)]
    insert_rows(database, "INSERT INTO one (id, name)", rows)
    assert database.execute("SELECT id, name FROM one ORDER BY id").fetchall() == rows


@pytest.mark.parametrize("count", COUNTS)
def test_just_the_rows_with_the_values_are_deleted(database: sqlite3.Connection, count: int) -> None:
    insert_rows(database, "INSERT INTO one (id, name)", [(number, "") for number in range(count + 3)])
    delete_rows(database, "DELETE FROM one WHERE id", list(range(1, count + 1)))
    assert [one for (one,) in database.execute("SELECT id FROM one ORDER BY id")] == [0, count + 1, count + 2]
