"""A till whose selection follows references, with real daemons and files: foreign keys hold there (R2, R8, R16)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.e2e import shop
from tests.e2e.harness import Fleet, Machine

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(200)]
NAME = "sales"
SCHEMA = """
CREATE TABLE employee(id INTEGER PRIMARY KEY, boss INTEGER REFERENCES employee, name TEXT);
CREATE TABLE customer(id INTEGER PRIMARY KEY, rep INTEGER REFERENCES employee, name TEXT);
CREATE TABLE invoice(id INTEGER PRIMARY KEY, country TEXT, customer INTEGER NOT NULL REFERENCES customer);
INSERT INTO employee VALUES (1, NULL, 'head'), (2, 1, 'rep'), (3, 1, 'other rep'), (4, NULL, 'alone');
INSERT INTO customer VALUES (1, 2, 'a'), (2, 3, 'b'), (3, NULL, 'c');
INSERT INTO invoice VALUES (1, 'FR', 1), (2, 'DE', 2), (3, 'DE', 3);
"""
PLAIN = 'type == "invoice" and country == "FR"'
FOLLOWING = 'country == "FR" follow invoice.customer, customer.rep, employee.boss'


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A primary, a till that takes the French invoices and what these reference, and a desk that takes all."""
    directory = tmp_path_factory.mktemp("follow")
    with Fleet(directory, auxiliaries=2) as fleet:
        database = directory / "sales.db"
        with closing(sqlite3.connect(database)) as connection:
            connection.executescript(SCHEMA)
        fleet.primary.share(NAME, database)
        fleet.primary.wait_state(NAME, "identical")
        choose(fleet, FOLLOWING)
        for auxiliary in fleet.auxiliaries:
            auxiliary.accept(NAME)
        yield fleet


def setting(fleet: Fleet, selection: str) -> tuple[str, ...]:
    return "settings", "set", f"{NAME}.selection", selection, "--device", fleet.auxiliary.name


def choose(fleet: Fleet, selection: str) -> None:
    """Seen first, so that the guard lets the till lose all that it holds."""
    words = "preview", *setting(fleet, selection)
    seen = fleet.primary.cli_json(*words)
    assert fleet.primary.cli_json(*words, "--apply", str(seen["hash"]))["applied"] is True


def held(machine: Machine) -> dict[str, list[object]]:
    """The ids that a machine has in each table that is there."""
    database = machine.databases[NAME]
    tables = [row[0] for row in shop.ask(database, "SELECT name FROM sqlite_master WHERE type = 'table'")]
    found = {
        str(table): shop.ask(database, f"SELECT id FROM {table} ORDER BY id")
        for table in tables
        if "_" not in str(table)
    }
    return {table: [row[0] for row in rows] for table, rows in found.items() if rows}


def holds(fleet: Fleet, **taken: list[int]) -> None:
    till, desk = fleet.auxiliaries
    till.wait(lambda: held(till) == taken, f"holds {taken}")
    desk.wait_identical(NAME)
    for machine in (till, desk):
        name = machine.name
        fleet.primary.wait(
            lambda: fleet.primary.collection(NAME, name)["state"] == "identical",  # noqa: B023
            f"knows {name} identical",
        )
    assert shop.ask(till.databases[NAME], "PRAGMA foreign_key_check") == []


def counted(primary: Machine, device: Machine) -> tuple[object, object]:
    """How many objects the device holds for certain, and may hold, as the primary knows."""
    collections = primary.cli_json("holds", "--device", device.name)["collections"]
    assert isinstance(collections, list)
    return collections[0]["holds"]["objects"], collections[0]["maybe"]["objects"]


def change(machine: Machine, *statements: str) -> None:
    shop.execute(machine.databases[NAME], *statements)


def test_a_till_holds_what_its_rows_reference(fleet: Fleet) -> None:
    primary, till = fleet.primary, fleet.auxiliary
    holds(fleet, invoice=[1], customer=[1], employee=[1, 2])
    change(primary, "UPDATE invoice SET country = 'FR' WHERE id = 2")
    holds(fleet, invoice=[1, 2], customer=[1, 2], employee=[1, 2, 3])
    change(primary, "DELETE FROM invoice WHERE id = 1", "UPDATE customer SET name = 'd' WHERE id = 2")
    holds(fleet, invoice=[2], customer=[2], employee=[1, 3])
    change(primary, "UPDATE employee SET boss = 4 WHERE id = 3", "UPDATE employee SET boss = 3 WHERE id = 4")
    holds(fleet, invoice=[2], customer=[2], employee=[3, 4])  # who is the boss of whose boss

    till.stop()
    change(primary, "UPDATE customer SET rep = NULL WHERE id = 2", "INSERT INTO invoice VALUES (4, 'FR', 3)")
    change(primary, "INSERT INTO invoice VALUES (5, 'FR', 1)", "DELETE FROM invoice WHERE id = 4")
    till.start()
    holds(fleet, invoice=[2, 5], customer=[1, 2], employee=[1, 2])
    change(primary, "DELETE FROM invoice WHERE country = 'FR'")
    holds(fleet)
    change(primary, "INSERT INTO invoice VALUES (2, 'FR', 2)")
    holds(fleet, invoice=[2], customer=[2])


def test_a_till_edits_what_it_holds_by_reference(fleet: Fleet) -> None:
    primary, (till, desk) = fleet.primary, fleet.auxiliaries
    holds(fleet, invoice=[2], customer=[2])
    change(till, "UPDATE customer SET name = 'from the till' WHERE id = 2")
    change(till, "INSERT INTO customer VALUES (7, NULL, 'of the till')", "INSERT INTO invoice VALUES (7, 'FR', 7)")
    primary.wait(lambda: held(primary)["customer"] == [1, 2, 3, 7], "has the customer of the till")
    holds(fleet, invoice=[2, 7], customer=[2, 7])
    change(till, "UPDATE invoice SET customer = 2 WHERE id = 7")
    holds(fleet, invoice=[2, 7], customer=[2])
    assert shop.ask(desk.databases[NAME], "SELECT name FROM customer WHERE id IN (2, 7) ORDER BY id") == [
        ("from the till",),
        ("of the till",),
    ]
    change(till, "INSERT INTO customer VALUES (9, NULL, 'of nobody')")
    till.wait(lambda: "does not take customer/9" in till.cli("conflicts"), "is refused")
    holds(fleet, invoice=[2, 7], customer=[2])
    change(primary, "DELETE FROM invoice WHERE id = 7", "DELETE FROM customer WHERE id = 7")
    holds(fleet, invoice=[2], customer=[2])


def test_without_it_a_group_that_breaks_a_foreign_key_fails_there_with_the_advice(fleet: Fleet) -> None:
    primary, till = fleet.primary, fleet.auxiliary
    italian = PLAIN.replace("FR", "IT")
    choose(fleet, italian)
    holds(fleet)
    change(primary, "INSERT INTO invoice VALUES (8, 'IT', 1)")
    primary.wait(lambda: "`follow invoice.customer`" in str(primary.collection(NAME, till.name)["failed"]), "advises")
    assert held(till) == {}
    choose(fleet, f"{italian} follow invoice.customer, customer.rep, employee.boss")
    holds(fleet, invoice=[8], customer=[1], employee=[1, 2])
    choose(fleet, italian)  # what the invoice references is to go, and cannot
    primary.wait(lambda: "`follow invoice.customer`" in str(primary.collection(NAME, till.name)["reason"]), "advises")
    choose(fleet, FOLLOWING)
    holds(fleet, invoice=[2], customer=[2])


def test_it_is_seen_before_it_is_chosen_and_is_what_was_seen(fleet: Fleet) -> None:
    primary, till = fleet.primary, fleet.auxiliary
    holds(fleet, invoice=[2], customer=[2])
    german = FOLLOWING.replace("FR", "DE")
    change(primary, "INSERT INTO invoice VALUES (20, 'DE', 3), (21, 'DE', 1)", "DELETE FROM invoice WHERE id = 8")
    holds(fleet, invoice=[2], customer=[2])
    words = "preview", *setting(fleet, german)
    seen = primary.cli_json(*words)
    outcomes = seen["outcomes"]
    assert isinstance(outcomes, list)
    (outcome,) = outcomes
    moves = {kind: [(one["type"], one["key"]) for one in outcome[kind]["first"]] for kind in ("add", "delete")}
    taken = [("customer", 1), ("customer", 3), ("employee", 1), ("employee", 2), ("invoice", 3)]
    assert moves == {
        "add": [(type_, f"[{key}]") for type_, key in taken],
        "delete": [("customer", "[2]"), ("invoice", "[2]")],
    }
    assert outcome["add"]["objects"] == len([*taken, "invoice 20", "invoice 21"])
    change(primary, "UPDATE customer SET rep = 3 WHERE id = 3")
    primary.wait(lambda: primary.cli_json(*words)["hash"] != seen["hash"], "sees another employee")
    assert "the data moved" in primary.cli(*words, "--apply", str(seen["hash"]), code=1)
    again = primary.cli_json(*words)
    assert primary.cli_json(*words, "--apply", str(again["hash"]))["applied"] is True
    holds(fleet, invoice=[3, 20, 21], customer=[1, 3], employee=[1, 2, 3, 4])
    primary.wait(lambda: counted(primary, till) == (9, 0), "knows all that the till holds")
    change(primary, "UPDATE customer SET name = 'of no German invoice' WHERE id = 2")
    primary.wait(lambda: counted(primary, till) == (9, 0), "knows all that the till holds")
    choose(fleet, FOLLOWING)
    holds(fleet, invoice=[2], customer=[2])


def test_what_is_no_foreign_key_is_refused_at_once(fleet: Fleet) -> None:
    said = fleet.primary.cli(*setting(fleet, 'country == "FR" follow invoice.country'), code=1)
    assert "'invoice.country' is no foreign key that holds the primary key of a shared table" in said
    assert "what can be followed: customer.rep, employee.boss, invoice.customer" in said
