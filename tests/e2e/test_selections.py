"""A till that takes one country, with real daemons and files: what it holds, while the other device holds all (R8)."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.e2e import shop
from tests.e2e.harness import Fleet, Json, Machine

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(150)]
NAME = "customers"
FRENCH, GERMAN = 'country == "FR"', "country == 'DE'"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A primary, a till that takes the French customers, and a desk that takes all."""
    directory = tmp_path_factory.mktemp("selections")
    with Fleet(directory, auxiliaries=2) as fleet:
        database = directory / "customers.db"
        with closing(sqlite3.connect(database)) as connection, connection:
            connection.execute("CREATE TABLE customer(id INTEGER PRIMARY KEY, country TEXT, name TEXT)")
            connection.execute("INSERT INTO customer VALUES (1, 'FR', 'a'), (2, 'DE', 'b'), (3, 'FR', 'c')")
        fleet.primary.share(NAME, database)
        fleet.primary.wait_state(NAME, "identical")
        choose(fleet, FRENCH)
        for auxiliary in fleet.auxiliaries:
            auxiliary.accept(NAME)
        yield fleet


def choose(fleet: Fleet, expression: str) -> None:
    """What is held, because it leaves much of what the till has behind, is approved."""
    primary, words = fleet.primary, ("settings", "set", f"{NAME}.selection", expression)
    asked = primary.begin(*words, "--device", fleet.auxiliary.name)
    said = asked.communicate(timeout=60)[0]
    held = re.search(r"`syncd approve (settings-\d+)`", said)
    assert (asked.returncode == 1) is bool(held), said
    if held:
        primary.cli("approve", held[1])


def ids(machine: Machine) -> list[object]:
    return [row[0] for row in shop.ask(machine.databases[NAME], "SELECT id FROM customer ORDER BY id")]


def refused(machine: Machine) -> object:
    """How many groups of edits were refused there."""
    collections = machine.status()["collections"]
    assert isinstance(collections, list)
    return collections[0]["refused"]


def seen(fleet: Fleet, machine: Machine) -> Json:
    """The device as the primary knows it."""
    return fleet.primary.collection(NAME, machine.name)


def holds(fleet: Fleet, *taken: int) -> None:
    """The till holds these and is proven identical, and so is the desk, which holds all."""
    till, desk = fleet.auxiliaries
    till.wait(lambda: ids(till) == list(taken), f"holds customers {taken}")
    desk.wait_identical(NAME)
    for machine in (till, desk):
        fleet.primary.wait(lambda: seen(fleet, machine)["state"] == "identical", f"knows {machine.name} identical")  # noqa: B023


def change(machine: Machine, *statements: str) -> None:
    shop.execute(machine.databases[NAME], *statements)


def test_a_till_takes_one_country(fleet: Fleet) -> None:
    primary, (till, desk) = fleet.primary, fleet.auxiliaries
    holds(fleet, 1, 3)
    change(
        primary, "UPDATE customer SET country = 'DE' WHERE id = 1", "UPDATE customer SET country = 'FR' WHERE id = 2"
    )
    holds(fleet, 2, 3)
    change(primary, "DELETE FROM customer WHERE id = 3", "INSERT INTO customer VALUES (4, 'IT', 'd')")
    holds(fleet, 2)
    change(
        primary, "UPDATE customer SET country = 'FR' WHERE id = 1", "UPDATE customer SET country = 'DE' WHERE id = 2"
    )
    change(primary, "INSERT INTO customer VALUES (3, 'FR', 'c')")
    holds(fleet, 1, 3)

    change(till, "UPDATE customer SET name = 'from the till' WHERE id = 1")
    change(till, "INSERT INTO customer VALUES (5, 'FR', 'of the till')")
    change(till, "UPDATE customer SET country = 'IT' WHERE id = 3")
    desk.wait(lambda: ids(desk) == [1, 2, 3, 4, 5], "has what the till added")
    holds(fleet, 1, 5)
    change(till, "INSERT INTO customer VALUES (6, 'DE', 'not of the till')")
    till.wait(lambda: refused(till) == 1, "was refused")
    holds(fleet, 1, 5)
    assert "this device's selection does not take customer/6" in till.cli("conflicts")


def test_a_selection_changes_while_the_till_runs_and_while_it_is_off(fleet: Fleet) -> None:
    primary, (till, desk) = fleet.primary, fleet.auxiliaries
    holds(fleet, 1, 5)
    linked = seen(fleet, desk)["position"], primary.status()["epoch"]
    choose(fleet, GERMAN)
    holds(fleet, 2)
    till.stop()
    choose(fleet, 'country in ("IT", "FR")')
    change(primary, "DELETE FROM customer WHERE id = 2", "UPDATE customer SET country = 'DE' WHERE id = 5")
    change(primary, "INSERT INTO customer VALUES (7, 'IT', 'e')")
    till.start()
    holds(fleet, 1, 3, 4, 7)
    primary.restart()
    holds(fleet, 1, 3, 4, 7)
    assert primary.status()["epoch"] == linked[1]
    primary.cli("settings", "unset", f"{NAME}.selection", "--device", till.name)
    till.wait_identical(NAME)
    choose(fleet, FRENCH)
    holds(fleet, 1)


def test_a_mistake_is_shown_to_who_made_it(fleet: Fleet) -> None:
    till = fleet.auxiliary
    words = "settings", "set", f"{NAME}.selection", "contry == 'FR'", "--device", till.name
    for running in (True, False):
        if not running:
            fleet.primary.stop()
        said = fleet.primary.cli(*words, code=1)
        assert "no type has a field 'contry'" in said
        assert said.splitlines()[-2:] == ["  contry == 'FR'", "  ^^^^^^"]
    fleet.primary.start()
    holds(fleet, 1)


def test_a_selection_that_fits_no_longer_holds_the_device(fleet: Fleet) -> None:
    primary, till = fleet.primary, fleet.auxiliary
    holds(fleet, 1)
    change(primary, "ALTER TABLE customer RENAME COLUMN country TO land")
    primary.wait(lambda: seen(fleet, till)["state"] == "held", "holds the till")
    assert "its selection cannot be applied" in str(seen(fleet, till)["reason"])
    assert ids(till) == [1]
    choose(fleet, "land == 'FR'")
    till.wait(lambda: ids(till) == [1], "holds what it held")
    primary.wait(lambda: seen(fleet, till)["state"] != "held", "sends again")
