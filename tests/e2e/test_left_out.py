"""A till whose selection leaves fields out, with real daemons and files: they never come, and never go (R8, R11)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.e2e import shop
from tests.e2e.harness import Fleet, Machine

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(150)]
NAME = "customers"
TABLE = (
    "CREATE TABLE customer(id INTEGER PRIMARY KEY, country TEXT NOT NULL, photo BLOB, notes TEXT DEFAULT 'none',"
    " name TEXT)"
)
LEFT_OUT = 'country == "FR" without photo, customer.notes'


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A primary, a till without photos and notes, and a desk that takes all."""
    directory = tmp_path_factory.mktemp("left_out")
    with Fleet(directory, auxiliaries=2) as fleet:
        database = directory / "customers.db"
        with closing(sqlite3.connect(database)) as connection, connection:
            connection.execute(TABLE)
            connection.execute(
                "INSERT INTO customer VALUES (1, 'FR', x'01', 'dear', 'a'), (2, 'DE', x'02', 'x', 'b'),"
                " (3, 'FR', x'03', 'cheap', 'c')"
            )
        fleet.primary.share(NAME, database)
        fleet.primary.wait_state(NAME, "identical")
        choose(fleet, LEFT_OUT)
        for auxiliary in fleet.auxiliaries:
            auxiliary.accept(NAME)
        identical(fleet)
        yield fleet


def choose(fleet: Fleet, selection: str, code: int = 0) -> str:
    return fleet.primary.cli(
        "settings", "set", f"{NAME}.selection", selection, "--device", fleet.auxiliary.name, code=code
    )


def rows(machine: Machine, columns: str = "*", where: str = "1") -> list[tuple[object, ...]]:
    return shop.ask(machine.databases[NAME], f"SELECT {columns} FROM customer WHERE {where} ORDER BY id")


def change(machine: Machine, *statements: str) -> None:
    shop.execute(machine.databases[NAME], *statements)


def identical(fleet: Fleet) -> None:
    for machine in fleet.auxiliaries:
        fleet.primary.wait(
            lambda: fleet.primary.collection(NAME, machine.name)["state"] == "identical",  # noqa: B023
            f"knows {machine.name} identical",
        )


def comes_up(fleet: Fleet, *held: tuple[object, ...]) -> None:
    """What the till changed is on the primary, whose French customers are these (id, name)."""
    primary = fleet.primary
    primary.wait(lambda: rows(primary, "id, name", "country = 'FR'") == list(held), f"has {held}")


def settles(fleet: Fleet, *held: tuple[object, ...]) -> None:
    """The till holds these (id, country, name), is proven identical, and the desk holds what the primary does."""
    till, desk = fleet.auxiliaries
    till.wait(lambda: rows(till, "id, country, name") == list(held), f"holds {held}")
    desk.wait(lambda: rows(desk) == rows(fleet.primary), "holds what the primary does")
    identical(fleet)
    till.wait(lambda: rows(till, "id, country, name") == list(held), f"holds {held}")


def test_what_is_left_out_does_not_come(fleet: Fleet) -> None:
    till = fleet.auxiliary
    settles(fleet, (1, "FR", "a"), (3, "FR", "c"))
    assert rows(till, "photo, notes") == [(None, "none")] * 2, "the table is as the application declares it"
    change(fleet.primary, "UPDATE customer SET photo = x'0101' WHERE id = 1")
    change(fleet.primary, "UPDATE customer SET name = 'A', notes = 'dearer' WHERE id = 1")
    settles(fleet, (1, "FR", "A"), (3, "FR", "c"))
    assert rows(till, "photo, notes") == [(None, "none")] * 2


def test_what_a_device_has_in_such_a_column_is_its_own(fleet: Fleet) -> None:
    primary, till = fleet.primary, fleet.auxiliary
    change(till, "UPDATE customer SET photo = x'ff', notes = 'mine' WHERE id = 3")
    change(primary, "UPDATE customer SET name = 'C' WHERE id = 3")
    settles(fleet, (1, "FR", "A"), (3, "FR", "C"))
    assert rows(till, "photo, notes", "id = 3") == [(b"\xff", "mine")]
    assert rows(primary, "photo, notes", "id = 3") == [(b"\x03", "cheap")]
    assert primary.cli("conflicts").count("\n") <= 1


def test_what_a_device_changes_leaves_them_as_they_are(fleet: Fleet) -> None:
    primary, till = fleet.primary, fleet.auxiliary
    change(
        till,
        "UPDATE customer SET name = 'of the till' WHERE id = 1",
        "INSERT INTO customer VALUES (5, 'FR', x'99', 'y', 'new')",
    )
    comes_up(fleet, (1, "of the till"), (3, "C"), (5, "new"))
    settles(fleet, (1, "FR", "of the till"), (3, "FR", "C"), (5, "FR", "new"))
    assert rows(primary) == [
        (1, "FR", b"\x01\x01", "dearer", "of the till"),
        (2, "DE", b"\x02", "x", "b"),
        (3, "FR", b"\x03", "cheap", "C"),
        (5, "FR", None, "none", "new"),
    ]
    assert rows(till, "photo, notes", "id = 5") == [(b"\x99", "y")]
    change(till, "DELETE FROM customer WHERE id = 5", "UPDATE customer SET country = 'IT' WHERE id = 3")
    comes_up(fleet, (1, "of the till"))
    settles(fleet, (1, "FR", "of the till"))
    assert rows(primary, "*", "id = 3") == [(3, "IT", b"\x03", "cheap", "C")]
    told = primary.cli("history", NAME, "3")
    assert "country" in told


def test_fields_come_when_they_are_taken_again_and_stay_when_they_are_not(fleet: Fleet) -> None:
    primary, till = fleet.primary, fleet.auxiliary
    till.stop()
    change(till, "UPDATE customer SET name = 'while it was off' WHERE id = 1")
    choose(fleet, 'country == "FR"')
    till.start()
    till.wait(lambda: rows(till, "photo, notes", "id = 1") == [(b"\x01\x01", "dearer")], "has all fields")
    settles(fleet, (1, "FR", "of the till"))
    till.wait(lambda: "its table has changed since" in till.cli("conflicts"), "knows it was made with other fields")
    choose(fleet, LEFT_OUT)
    change(primary, "UPDATE customer SET photo = x'77' WHERE id = 1")
    change(primary, "UPDATE customer SET name = 'last' WHERE id = 1")
    settles(fleet, (1, "FR", "last"))
    assert rows(till, "photo, notes", "id = 1") == [(b"\x01\x01", "dearer")]
    change(till, "UPDATE customer SET name = 'from the till' WHERE id = 1")
    comes_up(fleet, (1, "from the till"))
    settles(fleet, (1, "FR", "from the till"))
    assert rows(primary, "photo", "id = 1") == [(b"\x77",)]


def test_what_no_row_can_be_without_is_not_left_out(fleet: Fleet) -> None:
    assert "customer.country cannot be left out: it is NOT NULL and has no default" in choose(
        fleet, "without country", 1
    )
    assert "'id' is part of the key of customer" in choose(fleet, "without id", 1)
    assert "no table has a field 'foto'" in choose(fleet, "without foto", 1)
    assert "no field is named after without" in choose(fleet, 'country == "FR" without', 1)
