"""Previews, and who holds what, with real daemons and files."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.control.status_page import mistakes
from tests.e2e import shop
from tests.e2e.harness import Fleet, Json, Machine

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(240)]
NAME = "customers"
ROWS = 3_000
FRENCH = 'country == "FR"'


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A primary, a till and a desk, which hold all customers, two of three of them French."""
    directory = tmp_path_factory.mktemp("preview")
    with Fleet(directory, auxiliaries=2) as fleet:
        database = directory / "customers.db"
        with closing(sqlite3.connect(database)) as connection, connection:
            connection.execute("CREATE TABLE customer(id INTEGER PRIMARY KEY, country TEXT, name TEXT)")
            rows = [(number, "FR" if number % 3 else "DE", f"name {number}") for number in range(1, ROWS + 1)]
            connection.executemany("INSERT INTO customer VALUES (?, ?, ?)", rows)
        fleet.primary.share(NAME, database)
        for auxiliary in fleet.auxiliaries:
            auxiliary.accept(NAME)
            auxiliary.wait_identical(NAME)
        yield fleet


def change(fleet: Fleet, *statements: str) -> None:
    """Committed, and read by the primary."""
    head = fleet.primary.collection(NAME)["head"]
    shop.execute(fleet.primary.databases[NAME], *statements)
    fleet.primary.wait(lambda: fleet.primary.collection(NAME)["head"] != head, "has read it")


def rows(machine: Machine) -> object:
    return shop.ask(machine.databases[NAME], "SELECT count(*) FROM customer")[0][0]


def settled(fleet: Fleet, machine: Machine) -> None:
    fleet.primary.wait(lambda: fleet.primary.collection(NAME, machine.name)["state"] == "identical", "is identical")


def moves(told: Json) -> dict[str, tuple[int, int, int]]:
    """Device -> how many objects are added, modified and deleted there."""
    assert mistakes("preview", "primary", told) == []
    outcomes = told["outcomes"]
    assert isinstance(outcomes, list)
    kinds = ("add", "modify", "delete")
    counts = {one["device_name"]: [int(one[kind]["objects"]) for kind in kinds] for one in outcomes}
    return {name: (added, modified, deleted) for name, (added, modified, deleted) in counts.items()}


def holders(fleet: Fleet, key: int) -> dict[str, tuple[str, str]]:
    told = fleet.primary.cli_json("holds", NAME, str(key))
    assert mistakes("holds", "primary", told) == []
    devices = told["devices"]
    assert isinstance(devices, list)
    return {one["device_name"]: (one["holds"], one["version"]) for one in devices}


def test_a_selection_is_seen_before_it_is_set_and_is_what_was_seen(fleet: Fleet) -> None:
    primary, (till, desk) = fleet.primary, fleet.auxiliaries
    words = ("preview", "settings", "set", f"{NAME}.selection", FRENCH, "--device", till.name)
    seen = primary.cli_json(*words)
    assert moves(seen) == {till.name: (0, 0, ROWS // 3)}
    change(fleet, "UPDATE customer SET country = 'DE' WHERE id = 1")
    said = primary.cli(*words, "--apply", str(seen["hash"]), code=1)
    assert "the data moved" in said
    assert rows(till) == ROWS
    again = primary.cli_json(*words)
    change(fleet, "UPDATE customer SET name = 'it moves nowhere' WHERE id = 2")
    done = primary.cli_json(*words, "--apply", str(again["hash"]))
    assert (moves(done), done["applied"]) == ({till.name: (0, 0, ROWS // 3 + 1)}, True)
    till.wait(lambda: rows(till) == ROWS - ROWS // 3 - 1, "holds the French ones")
    assert rows(desk) == ROWS

    versions = primary.cli_json("history", NAME, "1")["versions"]
    assert isinstance(versions, list)
    group = str(versions[0]["group"])
    undo = primary.cli_json("preview", "undo", group)
    assert moves(undo) == {"": (0, 1, 0), till.name: (1, 0, 0), desk.name: (0, 1, 0)}
    assert primary.cli_json("preview", "undo", group, "--apply", str(undo["hash"]))["applied"] is True
    till.wait(lambda: rows(till) == ROWS - ROWS // 3, "has it again")
    assert "(new device)" in primary.cli("preview", "pair")
    settled(fleet, till)


def test_a_held_group_is_approved_by_what_was_seen(fleet: Fleet) -> None:
    primary, (till, desk) = fleet.primary, fleet.auxiliaries
    shop.execute(primary.databases[NAME], f"DELETE FROM customer WHERE id > {ROWS - 900}")
    primary.wait_state(NAME, "held")
    group = str(primary.collection(NAME)["held"])
    seen = primary.cli_json("preview", "approve", group)
    before = moves(seen)
    assert before == {till.name: (0, 0, 600), desk.name: (0, 0, 900)}
    assert moves(primary.cli_json("preview", "reject", group)) == {"": (900, 0, 0)}
    assert primary.cli_json("preview", "approve", group, "--apply", str(seen["hash"]))["applied"] is True
    desk.wait(lambda: rows(desk) == ROWS - 900, "has lost them")
    for machine in (till, desk):
        settled(fleet, machine)


def test_it_is_known_which_devices_hold_an_object(fleet: Fleet) -> None:
    till, desk = fleet.auxiliaries
    for machine in (till, desk):
        settled(fleet, machine)
    assert holders(fleet, 2) == {till.name: ("yes", "current"), desk.name: ("yes", "current")}
    assert holders(fleet, 3) == {desk.name: ("yes", "current")}
    till.stop()
    change(fleet, "DELETE FROM customer WHERE id = 2", "UPDATE customer SET country = 'FR' WHERE id = 3")
    settled(fleet, desk)
    assert holders(fleet, 2) == {till.name: ("yes", "older")}
    assert holders(fleet, 3) == {desk.name: ("yes", "current")}


def test_it_is_known_what_a_lost_device_had(fleet: Fleet) -> None:
    primary, till = fleet.primary, fleet.auxiliary
    primary.wait(lambda: primary.collection(NAME, till.name)["state"] != "identical", "knows that the till is away")
    had = {row[0] for row in shop.ask(till.databases[NAME], "SELECT id FROM customer")}
    primary.cli("revoke", till.name)
    primary.cli("settings", "unset", f"{NAME}.selection", "--device", till.name)
    change(fleet, "INSERT INTO customer VALUES (1000000, 'FR', 'later')")
    told = primary.cli_json("holds", "--device", till.name)
    assert mistakes("holds --device", "primary", told) == []
    collections = told["collections"]
    assert isinstance(collections, list)
    (line,) = collections
    assert (line["standing"], line["holds"]["objects"], line["maybe"]["objects"]) == ("revoked", len(had), 0)
    primary.restart()
    lines = primary.cli("holds", "--device", till.name, NAME, "--all", "--json").splitlines()
    assert {json.loads(json.loads(one)["key"])[0] for one in lines} == had
