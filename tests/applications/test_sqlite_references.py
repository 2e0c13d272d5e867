"""Which foreign keys of an SQLite database a selection can follow: those that hold primary keys as they are (R8)."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from syncd.applications.sqlite_source import SqliteSource
from syncd.core.model import Reference
from syncd.core.settings import Limits

pytestmark = pytest.mark.asyncio

SCHEMA = """
CREATE TABLE Customer(Id INTEGER PRIMARY KEY, Rep INTEGER REFERENCES customer, Email TEXT UNIQUE);
CREATE TABLE Till(shop TEXT, number INTEGER, PRIMARY KEY (shop, number)) WITHOUT ROWID;
CREATE TABLE Word(text TEXT COLLATE NOCASE PRIMARY KEY);
CREATE TABLE Invoice(
    id INTEGER PRIMARY KEY,
    customer INTEGER REFERENCES CUSTOMER (id),
    till_number INTEGER,
    till_shop TEXT,
    untyped REFERENCES Customer,
    email TEXT REFERENCES Customer (Email),
    word TEXT REFERENCES Word,
    nowhere INTEGER REFERENCES Missing,
    FOREIGN KEY (till_number, till_shop) REFERENCES Till (number, shop)
);
"""


async def references(path: Path) -> dict[str, tuple[Reference, ...]]:
    source = SqliteSource(path, (), Limits())
    try:
        return {one.name: one.references for one in (await source.open("")).types}
    finally:
        await source.close()


async def test_a_reference_holds_the_key_of_a_table_in_its_order(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(SCHEMA)
    found = await references(path)
    assert found == {
        "Customer": (Reference(("Rep",), "Customer"),),
        "Invoice": found["Invoice"],
        "Till": (),
        "Word": (),
    }
    assert set(found["Invoice"]) == {
        Reference(("customer",), "Customer"),
        Reference(("till_shop", "till_number"), "Till"),
    }


async def test_references_are_those_of_the_schema_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE a(id INTEGER PRIMARY KEY)")
        connection.execute("CREATE TABLE b(id INTEGER PRIMARY KEY, a INTEGER)")
    assert (await references(path))["b"] == ()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("ALTER TABLE b ADD COLUMN c INTEGER REFERENCES a")
    assert (await references(path))["b"] == (Reference(("c",), "a"),)
