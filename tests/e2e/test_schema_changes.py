"""The application changes its schema while syncd runs, or while it does not: captured or offline, never empty (R13)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e import shop
from tests.e2e.compare import differences
from tests.e2e.harness import Fleet

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

GOODS = 200
REBUILD = """
PRAGMA foreign_keys=OFF;
BEGIN;
CREATE TABLE goods_made_anew(
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, stock INTEGER NOT NULL, price REAL DEFAULT 1.5
);
INSERT INTO goods_made_anew(id, name, stock) SELECT id, name, stock FROM goods;
DROP TABLE goods;
ALTER TABLE goods_made_anew RENAME TO goods;
PRAGMA foreign_key_check;
COMMIT;
PRAGMA foreign_keys=ON;
"""


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with Fleet(tmp_path) as fleet:
        fleet.primary.share("shop", shop.make(tmp_path / "shop.db", GOODS))
        fleet.auxiliary.accept("shop")
        fleet.auxiliary.wait_identical("shop")
        yield fleet


def script(path: Path, text: str) -> None:
    with closing(sqlite3.connect(path, timeout=20.0)) as connection:
        connection.executescript(text)


def goods(path: Path) -> list[shop.Row]:
    return shop.ask(path, "SELECT id, name, stock FROM goods ORDER BY id")


@pytest.mark.parametrize("running", [True, False])
def test_a_column_is_added_and_a_table_rebuilt_without_its_triggers(fleet: Fleet, running: bool) -> None:
    """The auxiliary's application has not been brought up to date: its objects are parked, whole, until it has."""
    primary, auxiliary = fleet.primary, fleet.auxiliary
    source, target = primary.databases["shop"], auxiliary.databases["shop"]
    if not running:
        primary.stop()
    script(source, REBUILD)
    shop.execute(source, "ALTER TABLE orders ADD COLUMN note TEXT", "UPDATE goods SET price = id / 4.0")
    shop.execute(
        source, "INSERT INTO orders VALUES (1, 'customer', 0, 'noted')", "INSERT INTO goods VALUES (900, 'n', 1, 2)"
    )
    if not running:
        primary.start()
    line = auxiliary.wait_state("shop", "parked")
    assert "price" in str(line["failed"]) or "note" in str(line["failed"])
    assert len(goods(target)) == GOODS
    primary.wait_state("shop", "identical")

    script(target, REBUILD)
    shop.execute(target, "ALTER TABLE orders ADD COLUMN note TEXT")
    auxiliary.cli("retry")
    auxiliary.wait_identical("shop")
    shop.execute(source, "UPDATE goods SET price = price + 1", "DELETE FROM orders")  # captured as before
    primary.wait(lambda: primary.collection("shop").get("objects") == GOODS + 1, "has read the transaction")
    auxiliary.wait_identical("shop")


@pytest.mark.parametrize("running", [True, False])
def test_a_dropped_table_is_offline_and_not_empty(fleet: Fleet, running: bool) -> None:
    primary, auxiliary = fleet.primary, fleet.auxiliary
    source, target = primary.databases["shop"], auxiliary.databases["shop"]
    before = goods(target)
    if not running:
        primary.stop()
    shop.execute(source, "ALTER TABLE goods RENAME TO kept", "INSERT INTO orders VALUES (1, 'customer', 0)")
    if not running:
        primary.start()
    primary.wait_state("shop", "offline", "goods")
    if running:  # nor after a restart
        primary.restart()
        primary.wait_state("shop", "offline")
    assert goods(target) == before
    assert auxiliary.collection("shop")["objects"] == len(before)

    shop.execute(source, "ALTER TABLE kept RENAME TO goods", "UPDATE goods SET stock = 5 WHERE id = 1")
    auxiliary.wait_identical("shop")

    shop.execute(source, "DROP TABLE goods")  # and for good
    primary.wait_state("shop", "offline", "syncd share")
    primary.share("shop", source)
    auxiliary.wait(lambda: goods(target) == [] and not differences(source, target, ("orders",)), "has no goods left")
    primary.wait_state("shop", "identical")


def test_a_table_that_is_added_is_captured(fleet: Fleet) -> None:
    primary, auxiliary = fleet.primary, fleet.auxiliary
    source = primary.databases["shop"]
    shop.execute(source, "CREATE TABLE tag(name TEXT PRIMARY KEY)", "INSERT INTO tag VALUES ('first')")
    shop.execute(source, "INSERT INTO tag VALUES ('second')")
    primary.wait(lambda: primary.collection("shop").get("objects") == GOODS + 2, "has captured the table")
    auxiliary.wait_identical("shop")


def test_a_table_rebuilt_statement_by_statement_recovers_by_itself(fleet: Fleet) -> None:
    """As a program does that opens no transaction: for a moment the table is not there, and its rows are elsewhere."""
    primary, auxiliary = fleet.primary, fleet.auxiliary
    source, target = primary.databases["shop"], auxiliary.databases["shop"]
    before = goods(target)
    with closing(sqlite3.connect(source, timeout=20.0, isolation_level=None)) as app:
        app.execute("CREATE TABLE goods_made_anew(id INTEGER PRIMARY KEY, name TEXT NOT NULL, stock INTEGER NOT NULL)")
        app.execute("INSERT INTO goods_made_anew SELECT id, name, stock FROM goods")
        app.execute("DROP TABLE goods")
        primary.wait_state("shop", "offline")
        assert goods(target) == before
        app.execute("ALTER TABLE goods_made_anew RENAME TO goods")
        app.execute("UPDATE goods SET stock = 7 WHERE id = 1")
    primary.wait_state("shop", "identical")
    auxiliary.wait_identical("shop")


def test_a_table_that_was_taken_in_and_takes_the_place_of_another_is_followed(fleet: Fleet) -> None:
    """The same, slowly: the table with the passing name was captured, its objects are on the auxiliary."""
    primary, auxiliary = fleet.primary, fleet.auxiliary
    source, target = primary.databases["shop"], auxiliary.databases["shop"]
    with closing(sqlite3.connect(source, timeout=20.0, isolation_level=None)) as app:
        app.execute("CREATE TABLE goods_made_anew(id INTEGER PRIMARY KEY, name TEXT NOT NULL, stock INTEGER NOT NULL)")
        app.execute("INSERT INTO goods_made_anew SELECT id, name, stock FROM goods")
        primary.wait(lambda: primary.collection("shop").get("objects") == 2 * GOODS, "has taken the table in")
        auxiliary.wait_identical("shop")
        app.execute("DROP TABLE goods")
        primary.wait_state("shop", "offline")
        app.execute("ALTER TABLE goods_made_anew RENAME TO goods")
    primary.wait_state("shop", "identical")
    auxiliary.wait(lambda: goods(target) == goods(source), "has the goods")
    primary.wait(lambda: primary.collection("shop").get("objects") == GOODS, "has the goods once")


def test_a_scratch_table_that_came_and_went_leaves_no_trace(fleet: Fleet) -> None:
    primary, auxiliary = fleet.primary, fleet.auxiliary
    source, target = primary.databases["shop"], auxiliary.databases["shop"]
    shop.execute(source, "CREATE TABLE scratch(id INTEGER PRIMARY KEY)", "UPDATE goods SET stock = 3 WHERE id = 1")
    auxiliary.wait(lambda: goods(target) == goods(source), "has the goods")
    shop.execute(source, "DROP TABLE scratch", "UPDATE goods SET stock = 4 WHERE id = 1")
    primary.wait_state("shop", "identical")
    auxiliary.wait_identical("shop")
