"""A set of objects that is kept in a table of the connection: it holds each once, and tells apart what differs."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from syncd.applications.sqlite_noted import ALL, SEEN, Noted

KEYS = [b"", b"\x00", b"a", b"A", b"a ", b"a\x00", b"1", b"\xff\xfe"]


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as made:
        for noted in ALL:
            made.execute(noted.table)
        yield made


def test_an_object_is_noted_once(connection: sqlite3.Connection) -> None:
    assert not SEEN.has(connection, 1, b"a")
    assert SEEN.add(connection, 1, b"a")
    assert not SEEN.add(connection, 1, b"a")
    assert SEEN.has(connection, 1, b"a")
    assert (SEEN.count(connection), list(SEEN.all(connection))) == (1, [(1, b"a")])


def test_of_many_those_that_were_not_in_it_are_counted(connection: sqlite3.Connection) -> None:
    SEEN.add(connection, 1, b"a")
    assert SEEN.add_all(connection, [(1, b"a"), (1, b"b"), (2, b"a"), (1, b"b")]) == 2
    assert SEEN.count(connection) == 3
    assert SEEN.add_all(connection, []) == 0


def test_keys_are_told_apart_by_their_bytes_and_objects_by_their_names(connection: sqlite3.Connection) -> None:
    objects = {(name_id, key) for key in KEYS for name_id in (0, 1, 2**40)}
    assert SEEN.add_all(connection, objects) == len(objects)
    assert set(SEEN.all(connection)) == objects
    assert all(SEEN.has(connection, *one) for one in objects)
    assert not SEEN.has(connection, 2, b"a")


def test_it_is_emptied_and_filled_again(connection: sqlite3.Connection) -> None:
    SEEN.add_all(connection, [(1, key) for key in KEYS])
    SEEN.clear(connection)
    assert (SEEN.count(connection), list(SEEN.all(connection))) == (0, [])
    assert SEEN.add(connection, 1, b"a")


def test_what_is_in_it_may_be_noted_and_forgotten_while_it_is_gone_through(connection: sqlite3.Connection) -> None:
    SEEN.add_all(connection, [(1, b"a"), (1, b"b")])
    found: list[tuple[int, bytes]] = []
    for name_id, key in SEEN.all(connection):
        found.append((name_id, key))
        SEEN.add(connection, name_id + 1, key)
        SEEN.clear(connection)
    assert found == [(1, b"a"), (1, b"b")]


def test_sets_know_nothing_of_each_other(connection: sqlite3.Connection) -> None:
    for number, noted in enumerate(ALL):
        noted.add(connection, number, b"a")
    assert [list(noted.all(connection)) for noted in ALL] == [[(number, b"a")] for number in range(len(ALL))]
    SEEN.clear(connection)
    assert [noted.count(connection) for noted in ALL if noted is not SEEN] == [1] * (len(ALL) - 1)


def test_a_try_that_is_rolled_back_noted_nothing(connection: sqlite3.Connection) -> None:
    SEEN.add(connection, 1, b"before")
    connection.execute("BEGIN")
    SEEN.add(connection, 1, b"in it")
    connection.execute("ROLLBACK")
    assert list(SEEN.all(connection)) == [(1, b"before")]


def test_nothing_of_it_reaches_the_database(tmp_path: Path) -> None:
    one = Noted("one")
    with closing(sqlite3.connect(tmp_path / "app.db", isolation_level=None)) as made:
        made.execute(one.table)
        one.add(made, 1, b"a")
        assert made.execute("SELECT name FROM main.sqlite_master").fetchall() == []
    assert (tmp_path / "app.db").stat().st_size == 0
