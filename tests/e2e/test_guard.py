"""The guard on groups, with real daemons and files: what deletes much is held, all else goes on (R2, R13)."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e import shop
from tests.e2e.harness import Fleet, Machine

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(150)]
NUMBERS = itertools.count(1)  # of collections
ROWS = 40


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A primary and two auxiliaries for all tests of this file, each of which has a collection of its own."""
    with Fleet(tmp_path_factory.mktemp("guard"), auxiliaries=2) as fleet:
        yield fleet


@pytest.fixture
def notes(fleet: Fleet, tmp_path: Path) -> str:
    """A collection that all hold."""
    name = f"notes-{next(NUMBERS):02}"
    database = tmp_path / f"{name}.db"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE note(id INTEGER PRIMARY KEY, body TEXT)")
        connection.executemany("INSERT INTO note VALUES (?, 'base')", [(number,) for number in range(ROWS)])
    fleet.primary.share(name, database)
    for auxiliary in fleet.auxiliaries:
        auxiliary.accept(name)
    for auxiliary in fleet.auxiliaries:
        auxiliary.wait_identical(name)
    return name


def rows(machine: Machine, name: str) -> int:
    found = shop.ask(machine.databases[name], "SELECT count(*) FROM note")[0][0]
    assert isinstance(found, int)
    return found


def body(machine: Machine, name: str, key: int) -> object:
    found = shop.ask(machine.databases[name], f"SELECT body FROM note WHERE id = {key}")
    return found[0][0] if found else None


def held(primary: Machine, name: str) -> str:
    """The id of what is held."""
    primary.wait_state(name, "held")
    return str(primary.collection(name)["held"])


def let_through(fleet: Fleet, name: str, text: str) -> None:
    """Another change of the application arrives everywhere."""
    shop.execute(fleet.primary.databases[name], f"UPDATE note SET body = '{text}' WHERE id = 39")
    for auxiliary in fleet.auxiliaries:
        auxiliary.wait(lambda: body(auxiliary, name, 39) == text, f"has {text!r}")  # noqa: B023


def test_a_mass_delete_is_held_over_a_restart_until_it_is_approved(fleet: Fleet, notes: str) -> None:
    primary = fleet.primary
    shop.execute(primary.databases[notes], "DELETE FROM note WHERE id < 30")
    group = held(primary, notes)
    assert f"`syncd approve {group}`" in str(primary.collection(notes)["reason"])
    let_through(fleet, notes, "meanwhile")
    primary.restart()
    assert held(primary, notes) == group
    let_through(fleet, notes, "and after")
    assert [rows(auxiliary, notes) for auxiliary in fleet.auxiliaries] == [ROWS, ROWS]
    primary.cli("approve", group)
    for auxiliary in fleet.auxiliaries:
        auxiliary.wait(lambda: rows(auxiliary, notes) == 10, "lacks what was approved")  # noqa: B023
        auxiliary.wait_identical(notes)
    primary.wait_state(notes, "identical")


def test_a_mass_delete_that_is_rejected_is_taken_back_in_the_application(fleet: Fleet, notes: str) -> None:
    primary = fleet.primary
    shop.execute(primary.databases[notes], "DELETE FROM note")
    group = held(primary, notes)
    assert "40 objects given back" in primary.cli("reject", group)
    assert rows(primary, notes) == ROWS
    primary.wait_state(notes, "identical")
    let_through(fleet, notes, "after it")
    for auxiliary in fleet.auxiliaries:
        auxiliary.wait_identical(notes)
        assert rows(auxiliary, notes) == ROWS


def test_a_mass_delete_on_an_auxiliary_is_held_at_the_primary(fleet: Fleet, notes: str) -> None:
    """It is taken, and until a person decides all devices have the objects, the one that deleted them as well."""
    primary, (one, other) = fleet.primary, fleet.auxiliaries
    primary.cli("settings", "set", f"{notes}.direction", "both")
    shop.execute(one.databases[notes], "UPDATE note SET body = 'from here' WHERE id = 38")
    other.wait(lambda: body(other, notes, 38) == "from here", "has what was changed there")
    shop.execute(one.databases[notes], "DELETE FROM note WHERE id < 30")
    group = held(primary, notes)
    for auxiliary in fleet.auxiliaries:
        auxiliary.wait(lambda: rows(auxiliary, notes) == ROWS, "has all of it")  # noqa: B023
    let_through(fleet, notes, "meanwhile")
    primary.cli("reject", group)
    primary.wait_state(notes, "identical")
    assert (rows(primary, notes), rows(other, notes)) == (ROWS, ROWS)


# ---------------------------------------------------------------- changes of settings


def selects(fleet: Fleet, name: str, expression: str, code: int = 0) -> str:
    primary, till = fleet.primary, fleet.auxiliary
    return primary.cli("settings", "set", f"{name}.selection", expression, "--device", till.name, code=code)


def held_changes(primary: Machine) -> list[str]:
    settings = primary.cli_json("held")["settings"]
    assert isinstance(settings, list)
    return [str(one["group"]) for one in settings]


def test_a_selection_that_would_take_much_away_is_held_until_it_is_approved(fleet: Fleet, notes: str) -> None:
    """Until then, over restarts and a new pairing, the device holds what it held, and gets changes."""
    primary, till = fleet.primary, fleet.auxiliary
    said = selects(fleet, notes, "id < 4", code=1)
    assert f"{till.name} would lose 36 of the 40 objects of {notes} that it holds" in said
    (change,) = held_changes(primary)
    assert f"`syncd approve {change}`" in said
    assert f"would be set: {notes} on {till.name}: selection = where id < 4" in primary.cli("held")
    assert primary.status()["held_settings"] == 1
    assert "1 change of settings held until you decide" in primary.cli("status")
    primary.wait(lambda: f"a change of settings is held: {change}" in primary.log_end(), "says so in its log")
    let_through(fleet, notes, "meanwhile")
    for machine in (primary, till):
        machine.restart()
    till.pair(primary)
    let_through(fleet, notes, "and after")
    assert (rows(till, notes), held_changes(primary)) == (ROWS, [change])
    assert f"{change}: approved" in primary.cli("approve", change)
    till.wait(lambda: rows(till, notes) == 4, "holds what its selection takes")
    till.wait_state(notes, "identical")
    assert rows(fleet.auxiliaries[1], notes) == ROWS
    assert held_changes(primary) == []


def test_a_change_of_settings_that_is_rejected_is_forgotten(fleet: Fleet, notes: str) -> None:
    """Also one that was asked for while the daemon was stopped, in a file."""
    primary, till = fleet.primary, fleet.auxiliary
    file = primary.directory / "narrow.toml"
    file.write_text(f'[[settings]]\ncollection = "{notes}"\nselection = "id < 4"\n')
    primary.stop()
    said = primary.cli("settings", "import", str(file), code=1)
    assert f"would lose 36 of the 40 objects of {notes}" in said
    primary.start()
    (change,) = held_changes(primary)
    assert "nothing is changed" in primary.cli("reject", change)
    assert held_changes(primary) == []
    assert f"{change} is not held" in primary.cli("approve", change, code=1)
    let_through(fleet, notes, "after it")
    assert rows(till, notes) == ROWS


def test_little_may_be_taken_away_unasked(fleet: Fleet, notes: str) -> None:
    selects(fleet, notes, "id < 35")
    till = fleet.auxiliary
    assert held_changes(fleet.primary) == []
    till.wait(lambda: rows(till, notes) == 35, "holds what its selection takes")
    assert "is held" in selects(fleet, notes, "id < 30", code=1), "a little again and again adds up"
    (change,) = held_changes(fleet.primary)
    fleet.primary.cli("reject", change)


def test_what_is_held_is_executed_nowhere_whatever_else_is_done(fleet: Fleet, notes: str) -> None:
    """A new pairing, a snapshot of another selection, a device that was cut off and comes again, a restart."""
    primary, (till, desk) = fleet.primary, fleet.auxiliaries
    shop.execute(primary.databases[notes], "DELETE FROM note WHERE id < 30", "UPDATE note SET body = 'x' WHERE id = 30")
    group = held(primary, notes)
    till.pair(primary)
    selects(fleet, notes, "id != 35")
    till.wait(lambda: rows(till, notes) == ROWS - 1, "holds what its selection takes, and what is held")
    primary.cli("revoke", desk.name)
    let_go = "UPDATE note SET body = 'while the desk is cut off' WHERE id = 39"
    shop.execute(primary.databases[notes], let_go)
    till.wait(lambda: body(till, notes, 39) == "while the desk is cut off", "has the change")
    desk.pair(primary)
    let_through(fleet, notes, "to both")
    primary.restart()
    let_through(fleet, notes, "after it")
    assert (held(primary, notes), rows(till, notes), rows(desk, notes)) == (group, ROWS - 1, ROWS)
    assert (body(till, notes, 30), body(desk, notes, 30)) == ("base", "base")
    primary.cli("approve", group)
    till.wait(lambda: rows(till, notes) == 9, "lacks what was approved")
    desk.wait(lambda: rows(desk, notes) == 10, "lacks what was approved")
    assert (body(till, notes, 30), body(desk, notes, 30)) == ("x", "x")


def test_a_copy_in_the_place_of_the_database_begins_no_budget_of_its_own(fleet: Fleet, notes: str) -> None:
    """What was deleted in the application counts with what the copy lacks."""
    primary, source = fleet.primary, fleet.primary.databases[notes]
    shop.execute(source, "DELETE FROM note WHERE id < 5")
    for auxiliary in fleet.auxiliaries:
        auxiliary.wait(lambda: rows(auxiliary, notes) == 35, "lacks the five")  # noqa: B023
    copy = source.with_name("copy.db")
    with closing(sqlite3.connect(source)) as connection, closing(sqlite3.connect(copy)) as other:
        connection.backup(other)
    shop.execute(copy, "DELETE FROM note WHERE id < 10")
    for beside in ("-wal", "-shm"):
        source.with_name(source.name + beside).unlink(missing_ok=True)
    copy.replace(source)
    primary.wait_state(notes, "held")
    assert "5 of 35 objects" in str(primary.collection(notes)["reason"])
    assert [rows(auxiliary, notes) for auxiliary in fleet.auxiliaries] == [35, 35]


def test_a_database_that_was_emptied_while_nobody_looked_gets_all_of_it_back(fleet: Fleet, notes: str) -> None:
    """No log tells of it: it is found by a comparison. Meanwhile changes travel both ways, over a restart as well."""
    primary, (one, other) = fleet.primary, fleet.auxiliaries
    primary.cli("settings", "set", f"{notes}.direction", "both")
    source = primary.databases[notes]
    primary.stop()
    emptied = source.with_name("emptied.db")
    with closing(sqlite3.connect(source)) as connection:
        connection.execute("VACUUM INTO ?", (str(emptied),))
    shop.execute(emptied, "DELETE FROM note")
    for beside in ("-wal", "-shm"):
        source.with_name(source.name + beside).unlink(missing_ok=True)
    emptied.replace(source)
    primary.start()
    group = held(primary, notes)
    assert "40 of 40 objects" in str(primary.collection(notes)["reason"])
    assert "deleted: note [0]" in primary.cli("held")
    shop.execute(source, "INSERT INTO note VALUES (100, 'down')")
    shop.execute(one.databases[notes], "INSERT INTO note VALUES (101, 'up')")
    other.wait(lambda: [body(other, notes, key) for key in (100, 101)] == ["down", "up"], "has what was added")
    primary.restart()
    assert held(primary, notes) == group
    assert [rows(auxiliary, notes) for auxiliary in fleet.auxiliaries] == [ROWS + 2, ROWS + 2]
    assert "40 objects given back" in primary.cli("reject", group)
    primary.wait_state(notes, "identical")
    assert rows(primary, notes) == ROWS + 2


def test_a_rejection_of_more_than_fits_in_one_transaction_breaks_no_foreign_key(fleet: Fleet, tmp_path: Path) -> None:
    """Rows are given back in the order in which they came, and here each parent came after its children."""
    name, primary = f"notes-{next(NUMBERS):02}", fleet.primary
    database = tmp_path / f"{name}.db"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE a_page(id INTEGER PRIMARY KEY, book REFERENCES book(id), body BLOB)")
        connection.execute("CREATE TABLE book(id INTEGER PRIMARY KEY, sequel REFERENCES book(id))")
        connection.executemany(
            "INSERT INTO book VALUES (?, ?)", [(number, number + 1 if number < 9 else None) for number in range(10)]
        )
        connection.executemany(
            "INSERT INTO a_page VALUES (?, ?, zeroblob(500000))", [(at, at % 10) for at in range(ROWS)]
        )
    primary.share(name, database)
    fleet.auxiliary.accept(name)
    fleet.auxiliary.wait_identical(name)
    shop.execute(database, "DELETE FROM a_page", "DELETE FROM book")
    primary.cli("reject", held(primary, name))
    primary.wait_state(name, "identical")
    assert shop.ask(database, "SELECT (SELECT count(*) FROM a_page), (SELECT count(*) FROM book)") == [(ROWS, 10)]
    fleet.auxiliary.wait_identical(name)
    assert shop.ask(fleet.auxiliary.databases[name], "SELECT count(*) FROM a_page") == [(ROWS,)]
