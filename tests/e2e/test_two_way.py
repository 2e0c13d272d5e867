"""Changes on both sides, with real daemons and files: accepted, refused, in conflict, undone (R7, R9-R11, R13)."""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e import shop
from tests.e2e.harness import Fleet, Json, Machine

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
SCHEMA = (
    "CREATE TABLE note(id INTEGER PRIMARY KEY, title TEXT, body TEXT)",
    "CREATE TABLE account(name TEXT PRIMARY KEY, sum INTEGER CHECK (sum >= 0))",
    "INSERT INTO note VALUES (1, 'one', 'base'), (2, 'two', 'base')",
    "INSERT INTO account VALUES ('ada', 10), ('grace', 0)",
)
NUMBERS = itertools.count(1)  # of collections
NOTES = "SELECT id, title, body FROM note ORDER BY id"


def name(machine: Machine) -> str:
    """The collection of the test: the last that the machine has."""
    return next(reversed(machine.databases))


def rows(machine: Machine, sql: str = NOTES) -> list[tuple[object, ...]]:
    return list(shop.ask(machine.databases[name(machine)], sql))


def change(machine: Machine, *statements: str) -> None:
    """One transaction of the machine's application."""
    shop.execute(machine.databases[name(machine)], *statements)


def made(path: Path) -> Path:
    with closing(sqlite3.connect(path)) as db, db:
        for sql in SCHEMA:
            db.execute(sql)
    return path


def records(told: Json, key: str) -> list[Json]:
    value = told[key]
    assert isinstance(value, list)
    return value


def settle(fleet: Fleet) -> None:
    """Until nothing is under way: all machines hold the same."""
    for machine in fleet.auxiliaries:
        machine.wait_identical(name(machine))
        machine.wait(lambda: line(machine)["pending"] == 0, "nothing is pending")  # noqa: B023


def line(machine: Machine) -> Json:
    """What a machine's status says of the collection itself. A daemon that begins takes one up after the other."""
    found: list[Json] = []

    def told() -> bool:
        found[:] = [one for one in records(machine.status(), "collections") if one["name"] == name(machine)]
        return bool(found)

    machine.wait(told, f"has {name(machine)}")
    return found[0]


def listed(machine: Machine, what: str) -> list[Json]:
    """The ``conflicts`` on a primary, or what was ``refused`` on an auxiliary."""
    return records(machine.cli_json("conflicts", name(machine)), what)


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A primary and two auxiliaries for all tests of this file, each of which has a collection of its own."""
    with Fleet(tmp_path_factory.mktemp("two-way"), auxiliaries=2, adapters=("msgpack", "json")) as fleet:
        yield fleet


def begin(machines: Fleet, directory: Path, *options: str) -> Fleet:
    """The primary shares another collection."""
    for machine in (machines.primary, *machines.auxiliaries):
        if not machine.running:  # a test before this one failed
            machine.start()
    primary, collection = machines.primary, f"notes-{next(NUMBERS)}"
    primary.databases[collection] = made(directory / "notes.db")
    primary.cli("share", collection, "--from", f"sqlite:{primary.databases[collection]}", *options)
    return machines


@pytest.fixture
def fleet(machines: Fleet, tmp_path: Path) -> Fleet:
    """All hold the same notes."""
    begin(machines, tmp_path)
    for auxiliary in machines.auxiliaries:
        auxiliary.accept(name(machines.primary))
    settle(machines)
    return machines


def test_an_edit_of_an_auxiliary_reaches_the_primary_and_the_others(fleet: Fleet) -> None:
    one, other = fleet.auxiliaries
    change(one, "UPDATE note SET body = 'from one' WHERE id = 1", "INSERT INTO note VALUES (3, 'three', 'from one')")
    change(other, "DELETE FROM note WHERE id = 2")
    expected = [(1, "one", "from one"), (3, "three", "from one")]
    for machine in (fleet.primary, one, other):
        machine.wait(lambda: rows(machine) == expected, "has the edits of both")  # noqa: B023
    settle(fleet)
    assert (line(one)["refused"], line(fleet.primary)["conflicts"]) == (0, 0)


def test_edits_made_without_a_network_or_a_daemon_arrive_afterwards(fleet: Fleet) -> None:
    one, other = fleet.auxiliaries
    fleet.primary.stop()
    change(one, "UPDATE note SET body = 'primary away' WHERE id = 1")
    one.wait(lambda: line(one)["pending"] == 1, "keeps the edit")
    one.stop()
    change(one, "UPDATE note SET body = 'daemon off' WHERE id = 2")
    fleet.primary.start()
    one.start()
    expected = [(1, "one", "primary away"), (2, "two", "daemon off")]
    other.wait(lambda: rows(other) == expected, "has what was edited meanwhile")
    settle(fleet)
    assert rows(fleet.primary) == expected


def test_what_the_primarys_application_refuses_is_put_back_and_can_be_sent_again(fleet: Fleet, tmp_path: Path) -> None:
    one = fleet.auxiliary
    change(
        fleet.primary,
        "CREATE TRIGGER titled BEFORE UPDATE ON note WHEN new.title = 'bad'"
        " BEGIN SELECT RAISE(ABORT, 'no bad title'); END",
    )
    change(one, "UPDATE note SET title = 'bad' WHERE id = 1", "UPDATE note SET body = 'with it' WHERE id = 2")
    one.wait(lambda: line(one)["refused"] == 1, "the group is refused")
    one.wait(lambda: rows(one) == [(1, "one", "base"), (2, "two", "base")], "it is put back whole")
    settle(fleet)
    (refused,) = listed(one, "refused")
    assert "no bad title" in str(refused["cause"])
    assert (refused["type"], refused["key"], refused["conflict"]) == ("note", "[1]", 0)

    number = f"{name(one)}:{refused['number']}"
    shown = one.cli_json("conflicts", "show", number)
    for edit in records(shown, "edits"):
        for field in records(edit, "fields"):
            if field["edited"] == "bad":
                field["edited"] = "good"
    file = tmp_path / "edited.json"
    file.write_text(json.dumps(shown))
    one.cli("resend", number, "--from", str(file))
    fleet.primary.wait(lambda: rows(fleet.primary)[0] == (1, "good", "base"), "has the edited group")
    settle(fleet)
    assert rows(fleet.primary)[1] == (2, "two", "with it")
    assert listed(one, "refused") == []


def test_two_who_add_under_the_same_next_number_both_keep_what_they_added(fleet: Fleet) -> None:
    one, other = fleet.auxiliaries
    one.stop()
    change(one, "INSERT INTO note(title, body) VALUES ('of one', 'a')")
    change(other, "INSERT INTO note(title, body) VALUES ('of the other', 'b')")
    fleet.primary.wait(lambda: len(rows(fleet.primary)) == 3, "has what the other added")
    one.start()
    one.wait(lambda: line(one)["refused"] == 1, "is refused")
    settle(fleet)
    (refused,) = listed(one, "refused")
    assert refused["cause"] == "another with this key was added on the primary"
    number = str(refused["number"])
    assert "--new-keys" in one.cli("resend", number, code=1)
    assert rows(one)[2:] == [(3, "of the other", "b")]
    one.cli("resend", number, "--new-keys")
    both = [(3, "of the other", "b"), (4, "of one", "a")]
    for machine in (fleet.primary, one, other):
        machine.wait(lambda: rows(machine)[2:] == both, "has both")  # noqa: B023
    settle(fleet)
    assert line(one)["refused"] == 0


def in_conflict(fleet: Fleet) -> str:
    """Note 1 is changed on both sides while they are apart. The id of the conflict."""
    one = fleet.auxiliary
    one.stop()
    change(one, "UPDATE note SET body = 'theirs'")
    change(fleet.primary, "UPDATE note SET body = 'ours' WHERE id = 1")
    one.start()
    fleet.primary.wait(lambda: line(fleet.primary)["conflicts"] == 1, "counts the conflict")
    settle(fleet)
    (conflict,) = listed(fleet.primary, "conflicts")
    assert (conflict["device_name"], conflict["objects"], conflict["contested"]) == (one.name, 2, 1)
    return str(conflict["id"])


def test_a_conflict_is_settled_by_hand_on_all_machines(fleet: Fleet, tmp_path: Path) -> None:
    conflict = in_conflict(fleet)
    assert rows(fleet.auxiliary) == [(1, "one", "ours"), (2, "two", "base")], "the primary's version stays, whole"
    (refused,) = listed(fleet.auxiliary, "refused")
    assert refused["conflict"] == int(conflict)

    shown = fleet.primary.cli_json("conflicts", "show", conflict)
    side = records(shown, "sides")[0]
    body = next(one for one in records(side, "fields") if one["name"] == "body")
    assert body == {
        "name": "body",
        "base": "base",
        "ours": "ours",
        "theirs": "theirs",
        "result": "ours",
        "now": "ours",
    }
    body["result"] = "both of us"
    file = tmp_path / "edited.json"
    file.write_text(json.dumps(shown))
    told = fleet.primary.cli_json("resolve", conflict, "--take", str(file))
    assert told["group"]
    settle(fleet)
    for machine in (fleet.primary, *fleet.auxiliaries):
        assert rows(machine) == [(1, "one", "both of us"), (2, "two", "base")]
    assert line(fleet.primary)["conflicts"] == 0


def test_the_version_that_lost_can_be_taken_and_taken_back(fleet: Fleet) -> None:
    conflict = in_conflict(fleet)
    group = str(fleet.primary.cli_json("resolve", conflict, "--take", "theirs")["group"])
    settle(fleet)
    assert rows(fleet.auxiliaries[1]) == [(1, "one", "theirs"), (2, "two", "theirs")]
    fleet.primary.cli("undo", group)
    settle(fleet)
    assert rows(fleet.auxiliaries[1]) == [(1, "one", "ours"), (2, "two", "base")]
    history = records(fleet.primary.cli_json("history", name(fleet.primary), "note", "1"), "versions")
    assert [one["deed"] for one in history] == [f"undo {group}", f"resolve {conflict}", "", ""]


def test_an_undo_goes_everywhere_and_the_history_says_who_did_what(fleet: Fleet) -> None:
    one, other = fleet.auxiliaries
    change(one, "UPDATE note SET body = 'mistake'")
    other.wait(lambda: rows(other)[0] == (1, "one", "mistake"), "has the edit")
    settle(fleet)
    change(fleet.primary, "UPDATE note SET body = 'later' WHERE id = 2")
    settle(fleet)
    history = records(fleet.primary.cli_json("history", name(fleet.primary), "1", "--limit", "1"), "versions")
    assert (history[0]["device_name"], history[0]["deed"]) == (one.name, "")
    told = fleet.primary.cli_json("undo", str(history[0]["group"]))
    assert (told["objects"], told["left"]) == (1, [{"type": "note", "key": "[2]"}])
    settle(fleet)
    assert rows(other) == [(1, "one", "base"), (2, "two", "later")]
    assert line(fleet.primary)["conflicts"] == 1


def test_a_constraint_that_both_sides_keep_apart_refuses_together(fleet: Fleet) -> None:
    """A transfer that is sound on the device, and on the primary no more."""
    one = fleet.auxiliary
    one.stop()
    change(
        one, "UPDATE account SET sum = sum - 10 WHERE name = 'ada'", "UPDATE account SET sum = 10 WHERE name = 'grace'"
    )
    change(fleet.primary, "UPDATE account SET sum = 3 WHERE name = 'ada'")
    one.start()
    one.wait(lambda: line(one)["refused"] == 1, "the transfer is refused")
    settle(fleet)
    for machine in (fleet.primary, *fleet.auxiliaries):
        assert rows(machine, "SELECT * FROM account ORDER BY name") == [("ada", 3), ("grace", 0)]


# ---------------------------------------------------------------- directions


def test_with_direction_out_edits_are_listed_and_put_back_unless_they_are_to_be_kept(fleet: Fleet) -> None:
    reverts, keeps = fleet.auxiliaries
    keeps.accept(name(keeps), keeps.databases[name(keeps)], "--keep-edits")
    collection = name(fleet.primary)
    told = fleet.primary.cli_json(
        "share", collection, "--from", f"sqlite:{fleet.primary.databases[collection]}", "--direction", "out"
    )
    assert (told["direction"], told["changed"]) == ("out", True)
    for machine in fleet.auxiliaries:
        machine.wait(lambda: line(machine)["direction"] == "out", "knows the direction")  # noqa: B023
        change(machine, "UPDATE note SET body = 'mine' WHERE id = 1")
    reverts.wait(lambda: line(reverts)["refused"] == 1, "refuses its own edit")
    reverts.wait(lambda: rows(reverts)[0] == (1, "one", "base"), "puts it back")
    keeps.wait(lambda: line(keeps)["pending"] == 1, "keeps its edit")
    assert rows(keeps)[0] == (1, "one", "mine")
    keeps.wait_state(collection, "identical")
    assert rows(fleet.primary)[0] == (1, "one", "base")
    (refused,) = listed(reverts, "refused")
    assert "comes from the primary only" in str(refused["cause"])
    assert "comes from the primary only" in reverts.cli("resend", f"{name(reverts)}:{refused['number']}", code=1)
    change(fleet.primary, "UPDATE note SET body = 'news' WHERE id = 2")
    keeps.wait(lambda: rows(keeps) == [(1, "one", "mine"), (2, "two", "news")], "gets what is changed there")
    change(fleet.primary, "UPDATE note SET body = 'final' WHERE id = 1")
    keeps.wait(lambda: rows(keeps)[0] == (1, "one", "final"), "yields to the primary's change of the same object")


def test_with_direction_in_a_device_is_sent_nothing_and_its_edits_arrive(machines: Fleet, tmp_path: Path) -> None:
    begin(machines, tmp_path, "--direction", "in")
    primary, one = machines.primary, machines.auxiliary
    own = made(tmp_path / "own.db")
    with closing(sqlite3.connect(own)) as db, db:
        db.execute("DELETE FROM note")
        db.execute("INSERT INTO note VALUES (7, 'seven', 'own')")
    one.accept(name(primary), own, "--merge")
    primary.wait(lambda: (7, "seven", "own") in rows(primary), "has what the device held")
    change(one, "INSERT INTO note VALUES (8, 'eight', 'own')")
    primary.wait(lambda: (8, "eight", "own") in rows(primary), "has what was added there")
    change(primary, "INSERT INTO note VALUES (9, 'nine', 'primary')")
    change(one, "UPDATE note SET body = 'again' WHERE id = 8")
    primary.wait(lambda: (8, "eight", "again") in rows(primary), "has what was changed there")
    assert rows(one) == [(7, "seven", "own"), (8, "eight", "again")]


# ---------------------------------------------------------------- merge


def test_a_target_with_objects_of_its_own_is_merged_after_a_backup(machines: Fleet, tmp_path: Path) -> None:
    begin(machines, tmp_path)
    primary, one = machines.primary, machines.auxiliary
    own = made(tmp_path / "own.db")
    with closing(sqlite3.connect(own)) as db, db:
        db.execute("UPDATE note SET body = 'mine' WHERE id = 2")
        db.execute("INSERT INTO note VALUES (3, 'three', 'mine')")
    refused = one.cli("accept", name(primary), "--into", f"sqlite:{own}", code=1)
    assert "--merge" in refused
    one.accept(name(primary), own, "--merge")
    one.wait_identical(name(one))
    one.wait(lambda: line(one)["pending"] == 0, "nothing is pending")
    assert rows(primary) == rows(one) == [(1, "one", "base"), (2, "two", "base"), (3, "three", "mine")]
    (backup,) = own.parent.glob("own.db.syncd-backup*")
    assert shop.ask(backup, NOTES)[1] == (2, "two", "mine")
    (conflict,) = listed(primary, "conflicts")
    assert (conflict["type"], conflict["key"], conflict["objects"]) == ("note", "[2]", 1)


def test_rows_that_refer_to_each_other_are_merged_however_many_there_are(machines: Fleet, tmp_path: Path) -> None:
    """Each is offered by itself, and they are executed a part at a time: a page of a book after its book, and a book
    after its prequel, which has a greater number."""
    primary, one, rows = machines.primary, machines.auxiliary, 1_200
    books = [(at, rows - 1 - at if at < rows // 2 else None) for at in range(rows)]
    shared, own = tmp_path / "shared.db", tmp_path / "own.db"
    for path in (shared, own):
        with closing(sqlite3.connect(path)) as db, db:
            db.execute("CREATE TABLE a_page(id INTEGER PRIMARY KEY, book REFERENCES book(id))")
            db.execute("CREATE TABLE book(id INTEGER PRIMARY KEY, prequel REFERENCES book(id))")
    with closing(sqlite3.connect(own)) as db, db:
        db.executemany("INSERT INTO book VALUES (?, ?)", books)
        db.executemany("INSERT INTO a_page VALUES (?, ?)", [(at, at) for at in range(rows)])
    collection = f"books-{next(NUMBERS):02}"
    primary.share(collection, shared)
    primary.wait_state(collection, "identical")
    one.accept(collection, own, "--merge")
    for machine in (one, primary):
        held = "SELECT (SELECT count(*) FROM book), (SELECT count(*) FROM a_page)"
        machine.wait(lambda: shop.ask(machine.databases[collection], held) == [(rows, rows)], "has all rows")  # noqa: B023
    one.wait(lambda: line(one)["pending"] == 0, "has the verdict of each")
    assert collection not in one.cli("conflicts"), "nothing of it was refused"


def test_each_verb_says_where_it_is_to_be_run(machines: Fleet) -> None:
    for argv in (["undo", "notes:1"], ["resolve", "1", "--take", "ours"], ["history", "notes", "1"]):
        assert "is for the primary" in machines.auxiliary.cli(*argv, code=1)
    assert "is for an auxiliary" in machines.primary.cli("resend", "1", code=1)
