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
    assert primary.collection("shop")["state"] == "identical"

    script(target, REBUILD)
    shop.execute(target, "ALTER TABLE orders ADD COLUMN note TEXT")
    auxiliary.cli("retry")
    auxiliary.wait_identical("shop")
    shop.execute(source, "UPDATE goods SET price = price + 1", "DELETE FROM orders")  # captured as before
    primary.wait(lambda: primary.collection("shop")["objects"] == GOODS + 1, "has read the transaction")
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
    line = primary.wait_state("shop", "offline")
    assert "goods" in str(line["reason"])
    if running:  # nor after a restart
        primary.restart()
        primary.wait_state("shop", "offline")
    assert goods(target) == before
    assert auxiliary.collection("shop")["objects"] == len(before)

    shop.execute(source, "ALTER TABLE kept RENAME TO goods", "UPDATE goods SET stock = 5 WHERE id = 1")
    auxiliary.wait_identical("shop")

    shop.execute(source, "DROP TABLE goods")  # and for good
    assert "syncd share" in str(primary.wait_state("shop", "offline")["reason"])
    primary.share("shop", source)
    auxiliary.wait(lambda: goods(target) == [] and not differences(source, target, ("orders",)), "has no goods left")
    primary.wait_state("shop", "identical")


def test_a_table_that_is_added_is_captured(fleet: Fleet) -> None:
    primary, auxiliary = fleet.primary, fleet.auxiliary
    source = primary.databases["shop"]
    shop.execute(source, "CREATE TABLE tag(name TEXT PRIMARY KEY)", "INSERT INTO tag VALUES ('first')")
    shop.execute(source, "INSERT INTO tag VALUES ('second')")
    primary.wait(lambda: primary.collection("shop")["objects"] == GOODS + 2, "has captured the table")
    auxiliary.wait_identical("shop")
