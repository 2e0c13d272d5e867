"""Settings, with real daemons and files: each has its effect at once, with no restart (claim 24f; R5, R11, R13)."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from syncd.home.paths import Home
from tests.e2e import shop
from tests.e2e.harness import Fleet, Json, Machine

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(150)]
# A daemon whose clock is so many days ahead of ours.
LAUNCHER = (
    sys.executable,
    "-c",
    """
import os, sys, time
ahead_ns, real = int(os.environ.get("AHEAD_DAYS", "0")) * 86_400 * 10**9, time.time_ns
time.time_ns = lambda: real() + ahead_ns
from syncd.__main__ import main
sys.exit(main())
""",
)
NUMBERS = itertools.count(1)  # of collections
DAYS = 40  # longer than conflicts and former versions are usually kept, shorter than tombstones


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A primary and two auxiliaries for all tests of this file, each of which has collections of its own."""
    with Fleet(tmp_path_factory.mktemp("settings"), auxiliaries=2, launcher=LAUNCHER) as fleet:
        yield fleet


@pytest.fixture
def notes(fleet: Fleet, tmp_path: Path) -> str:
    """A collection that all hold."""
    return begin(fleet, tmp_path)


def begin(fleet: Fleet, directory: Path, rows: int = 3) -> str:
    name = f"notes-{next(NUMBERS):02}"
    for machine in (fleet.primary, *fleet.auxiliaries):
        if not machine.running:  # a test before this one failed
            machine.environment.clear()
            machine.start()
    values = ", ".join(f"({number}, 'base')" for number in range(1, rows + 1))
    database = directory / f"{name}.db"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE note(id INTEGER PRIMARY KEY, body TEXT)")
        connection.execute(f"INSERT INTO note VALUES {values}")
    fleet.primary.share(name, database)
    for auxiliary in fleet.auxiliaries:
        auxiliary.accept(name)
    identical(fleet, name)
    return name


def identical(fleet: Fleet, name: str) -> None:
    for auxiliary in fleet.auxiliaries:
        auxiliary.wait_identical(name)


def change(machine: Machine, name: str, *statements: str) -> None:
    shop.execute(machine.databases[name], *statements)


def body(machine: Machine, name: str, key: int = 1) -> object:
    found = shop.ask(machine.databases[name], f"SELECT body FROM note WHERE id = {key}")
    return found[0][0] if found else None


def arrives(machine: Machine, name: str, text: str, key: int = 1) -> None:
    machine.wait(lambda: body(machine, name, key) == text, f"has {text!r} in {name}")


def line(machine: Machine, name: str) -> Json:
    found = [one for one in records(machine.status(), "collections") if one["name"] == name]
    return found[0] if found else {}


def records(told: Json, key: str) -> list[Json]:
    value = told[key]
    assert isinstance(value, list)
    return value


@contextmanager
def ahead(primary: Machine) -> Iterator[None]:
    """Its clock is ahead until the end of the block."""
    primary.stop()
    primary.environment["AHEAD_DAYS"] = str(DAYS)
    primary.start()
    yield
    primary.stop()
    primary.environment.clear()
    primary.start()


# ---------------------------------------------------------------- direction, conflicts, adapter


def test_direction_of_one_device(fleet: Fleet, notes: str) -> None:
    primary, (one, other) = fleet.primary, fleet.auxiliaries
    told = primary.cli("settings", "set", f"{notes}.direction", "out", "--device", one.name)
    assert f"{notes} on {one.name}: direction: not set -> out" in told
    one.wait(lambda: line(one, notes)["direction"] == "out", "knows that nothing leaves it")
    assert (line(other, notes)["direction"], line(primary, notes)["direction"]) == ("both", "both")
    change(one, notes, "UPDATE note SET body = 'from one' WHERE id = 1")
    change(other, notes, "UPDATE note SET body = 'from other' WHERE id = 2")
    arrives(one, notes, "from other", 2)
    one.wait(lambda: (line(one, notes)["refused"], body(one, notes)) == (1, "base"), "put its own change back")
    assert body(primary, notes) == "base"

    primary.cli("settings", "set", f"{notes}.direction", "in", "--device", one.name)
    one.wait(lambda: line(one, notes)["direction"] == "in", "is sent nothing any more")
    change(one, notes, "UPDATE note SET body = 'from one, again' WHERE id = 1")
    for machine in (primary, other):
        arrives(machine, notes, "from one, again")
    change(primary, notes, "UPDATE note SET body = 'from the primary' WHERE id = 2")
    arrives(other, notes, "from the primary", 2)
    assert body(one, notes, 2) == "from other"

    primary.cli("settings", "unset", f"{notes}.direction", "--device", one.name)
    arrives(one, notes, "from the primary", 2)
    change(one, notes, "UPDATE note SET body = 'from one, at last' WHERE id = 3")
    for machine in (primary, other):
        arrives(machine, notes, "from one, at last", 3)
    identical(fleet, notes)


def test_what_a_device_that_only_gives_edits_after_a_field_is_taken_again_arrives(fleet: Fleet, notes: str) -> None:
    primary, one = fleet.primary, fleet.auxiliaries[0]
    device = "--device", one.name
    primary.cli("settings", "set", f"{notes}.selection", "without body", *device)
    primary.wait(lambda: "body" not in read_by(one, notes), "its edits have no body")
    primary.cli("settings", "set", f"{notes}.direction", "in", *device)
    one.wait(lambda: line(one, notes)["direction"] == "in", "is sent nothing any more")
    primary.cli("settings", "unset", f"{notes}.selection", *device)
    one.wait(lambda: "body" in read_by(one, notes), "its edits have a body")
    change(one, notes, "UPDATE note SET body = 'from one' WHERE id = 1")
    for machine in (primary, fleet.auxiliaries[1]):
        arrives(machine, notes, "from one")
    assert line(one, notes)["refused"] == 0


def read_by(machine: Machine, notes: str) -> list[str]:
    """The fields of notes by which a device's edits are read."""
    kept = shop.ask(machine.databases[notes], f"SELECT types FROM _syncd_types WHERE collection = '{notes}'")
    ((_, _, _, fields, _),) = json.loads(str(kept[0][0]))
    return [str(one) for one in fields]


def test_direction_of_a_collection_and_of_a_user(fleet: Fleet, notes: str) -> None:
    primary, one = fleet.primary, fleet.auxiliary
    primary.cli("settings", "set", "direction", "out")
    one.wait(lambda: line(one, notes)["direction"] == "out", "knows what its user set")
    primary.cli("settings", "set", f"{notes}.direction", "both")
    one.wait(lambda: line(one, notes)["direction"] == "both", "knows what was set of the collection")
    primary.cli("share", notes, "--from", f"sqlite:{primary.databases[notes]}", "--direction", "in")
    one.wait(lambda: line(one, notes)["direction"] == "in", "knows what it was shared with")
    primary.cli("settings", "unset", f"{notes}.direction")
    one.wait(lambda: line(one, notes)["direction"] == "out", "knows what its user set")
    primary.restart()
    one.wait(lambda: line(one, notes)["direction"] == "out", "knows it from another daemon")
    primary.cli("settings", "unset", "direction", "--user", "ada")
    one.wait(lambda: line(one, notes)["direction"] == "both", "has the usual direction")


def test_conflicts(fleet: Fleet, notes: str) -> None:
    primary, one = fleet.primary, fleet.auxiliary
    for policy, kept in (("auxiliary", "from one"), ("primary", "from the primary")):
        primary.cli("settings", "set", f"{notes}.conflicts", policy)
        one.stop()
        change(one, notes, "UPDATE note SET body = 'from one' WHERE id = 1")
        change(primary, notes, "UPDATE note SET body = 'from the primary' WHERE id = 1")
        primary.wait(lambda: line(primary, notes)["state"] == "identical", "has read its application")
        one.start()
        for machine in (primary, *fleet.auxiliaries):
            arrives(machine, notes, kept)
        identical(fleet, notes)
        change(primary, notes, "UPDATE note SET body = 'base' WHERE id = 1")
        identical(fleet, notes)


def test_adapter(fleet: Fleet, notes: str) -> None:
    primary, (one, other) = fleet.primary, fleet.auxiliaries

    def spoken(device: Machine) -> object:
        (found,) = [one for one in records(primary.ask("devices"), "devices") if one["name"] == device.name]
        return found["adapter"] if found["connected"] else None

    assert (spoken(one), spoken(other)) == ("msgpack", "msgpack")
    for words, adapter in ((("set", "adapter", "json"), "json"), (("unset", "adapter"), "msgpack")):
        primary.cli("settings", *words, "--device", one.name)
        primary.wait(lambda: spoken(one) == adapter, f"is linked by {adapter}")  # noqa: B023
        change(primary, notes, f"UPDATE note SET body = 'down by {adapter}' WHERE id = 1")
        change(one, notes, f"UPDATE note SET body = 'up by {adapter}' WHERE id = 2")
        arrives(one, notes, f"down by {adapter}")
        arrives(other, notes, f"up by {adapter}", 2)
        assert spoken(other) == "msgpack"
    identical(fleet, notes)


# ---------------------------------------------------------------- guard


@pytest.mark.parametrize(("name", "value"), [("guard.percent", "60 %"), ("guard.objects", "20")])
def test_guard(fleet: Fleet, tmp_path: Path, name: str, value: str) -> None:
    """What a copy lacks would be held by the usual measure; by another one it is deleted everywhere."""
    primary, notes = fleet.primary, begin(fleet, tmp_path, rows=24)
    source, copy = primary.databases[notes], tmp_path / "copy.db"
    with closing(sqlite3.connect(source)) as connection:
        connection.execute("VACUUM INTO ?", (str(copy),))
    later = ", ".join(f"({number}, 'later')" for number in range(101, 117))
    change(primary, notes, f"INSERT INTO note VALUES {later}")
    identical(fleet, notes)
    primary.stop()
    for end in ("", "-wal", "-shm"):
        source.with_name(f"{source.name}{end}").unlink(missing_ok=True)
    shutil.copyfile(copy, source)
    primary.cli("settings", "set", f"{notes}.{name}", value)
    primary.start()
    for auxiliary in fleet.auxiliaries:
        auxiliary.wait(lambda: body(auxiliary, notes, 101) is None, "is as the copy")  # noqa: B023
    identical(fleet, notes)


# ---------------------------------------------------------------- what is kept


def versions(primary: Machine, name: str) -> int:
    return len(records(primary.cli_json("history", name, "1"), "versions"))


def edited(fleet: Fleet, name: str) -> None:
    """The first note has former versions."""
    for number in range(3):
        change(fleet.primary, name, f"UPDATE note SET body = 'version {number}' WHERE id = 1")
        identical(fleet, name)


def test_history_bytes(fleet: Fleet, notes: str) -> None:
    edited(fleet, notes)
    assert versions(fleet.primary, notes) == 4
    fleet.primary.cli("settings", "set", f"{notes}.history.bytes", "0 B")
    fleet.primary.wait(lambda: versions(fleet.primary, notes) == 1, "has forgotten former versions")


def test_history_age(fleet: Fleet, tmp_path: Path) -> None:
    kept, forgotten = begin(fleet, tmp_path), begin(fleet, tmp_path)
    for name in (kept, forgotten):
        edited(fleet, name)
    primary = fleet.primary
    primary.cli("settings", "set", f"{kept}.history.age", "60d")
    with ahead(primary):
        primary.cli("settings", "set", f"{forgotten}.history.age", "35d")
        primary.wait(lambda: versions(primary, forgotten) == 1, "has forgotten former versions")
        assert versions(primary, kept) == 4
        primary.cli("settings", "set", f"{kept}.history.age", "35d")
        primary.wait(lambda: versions(primary, kept) == 1, "has forgotten these as well")


def test_conflicts_age(fleet: Fleet, tmp_path: Path) -> None:
    kept, forgotten = begin(fleet, tmp_path), begin(fleet, tmp_path)
    primary, one = fleet.primary, fleet.auxiliary
    one.stop()
    for name in (kept, forgotten):
        change(one, name, "UPDATE note SET body = 'from one' WHERE id = 1")
        change(primary, name, "UPDATE note SET body = 'from the primary' WHERE id = 1")
    one.start()

    def conflicts(name: str) -> int:
        return len(records(primary.cli_json("conflicts", name), "conflicts"))

    primary.wait(lambda: conflicts(kept) == conflicts(forgotten) == 1, "has a conflict in each")
    primary.cli("settings", "set", f"{kept}.conflicts.age", "60d")
    with ahead(primary):
        primary.cli("settings", "set", f"{forgotten}.conflicts.age", "35d")
        primary.wait(lambda: conflicts(forgotten) == 0, "has forgotten a conflict")
        assert conflicts(kept) == 1
        primary.cli("settings", "set", f"{kept}.conflicts.age", "35d")
        primary.wait(lambda: conflicts(kept) == 0, "has forgotten this one as well")


def test_tombstones_age(fleet: Fleet, tmp_path: Path) -> None:
    kept, forgotten = begin(fleet, tmp_path), begin(fleet, tmp_path)
    primary, away = fleet.primary, fleet.auxiliary
    away.stop()
    for name in (kept, forgotten):
        change(primary, name, "DELETE FROM note WHERE id = 2")
        fleet.auxiliaries[1].wait_identical(name)

    def horizon(name: str) -> int:
        """Deletions up to there are forgotten."""
        found = shop.ask(Home(primary.home).sync_store, "SELECT horizon FROM collections WHERE name = ?", (name,))
        return int(str(found[0][0]))

    with ahead(primary):
        primary.cli("settings", "set", f"{forgotten}.tombstones.age", "35d")
        primary.wait(lambda: horizon(forgotten) == line(primary, forgotten)["head"], "has forgotten what was deleted")
        assert horizon(kept) < int(str(line(primary, kept)["head"])), "the device that is away has not passed it"
        primary.cli("settings", "set", f"{kept}.tombstones.age", "35d")
        primary.wait(lambda: horizon(kept) == line(primary, kept)["head"], "has forgotten this as well")
        away.start()
        for name in (kept, forgotten):
            away.wait(lambda: body(away, name, 2) is None, "is brought up to date")  # noqa: B023
            away.wait_identical(name)


# ---------------------------------------------------------------- the verbs


def test_what_counts_is_explained_and_who_changed_it_is_remembered(fleet: Fleet, notes: str) -> None:
    primary, one = fleet.primary, fleet.auxiliary
    primary.cli("settings", "set", f"{notes}.direction", "out")
    primary.cli("settings", "set", f"{notes}.direction", "both", "--device", one.name)
    told = primary.cli_json("settings", "explain", f"{notes}.direction", "--device", one.name)
    steps = [(step["from"], step["value"], step["counts"]) for step in records(told, "chain")]
    assert steps == [
        ("usual", "both", False),
        ("user ada", "", False),
        (f"device {one.name}", "", False),
        (f"collection {notes}", "out", False),
        (f"collection {notes} on {one.name}", "both", True),
    ]
    assert f"* collection {notes}: out" in primary.cli("settings", "explain", f"{notes}.direction")
    assert "direction       out" in primary.cli("settings", notes)
    newest = records(primary.cli_json("settings", "journal", "--limit", "2"), "journal")
    assert [(entry["who"], entry["device_name"], entry["after"]) for entry in newest] == [
        (f"uid {os.getuid()}", one.name, "both"),
        (f"uid {os.getuid()}", "", "out"),
    ]
    for words in (
        ("set", f"{notes}.direction", "up"),
        ("set", f"{notes}.directoin", "out"),
        ("set", "none.direction", "in"),
    ):
        primary.cli("settings", *words, code=1)
    assert "did you mean direction?" in primary.cli("settings", "set", f"{notes}.directoin", "out", code=1)
    assert "settings are made on the primary" in one.cli("settings", "set", "direction", "out", code=1)


def test_all_is_exported_and_imported_whole_or_not_at_all(fleet: Fleet, notes: str, tmp_path: Path) -> None:
    primary, one, file = fleet.primary, fleet.auxiliary, tmp_path / "settings.toml"
    primary.cli("settings", "set", f"{notes}.direction", "out", "--device", one.name)
    primary.cli("settings", "set", f"{notes}.guard.percent", "30 %")
    primary.cli("settings", "export", str(file))
    primary.cli("settings", "unset", f"{notes}.direction", "--device", one.name)
    one.wait(lambda: line(one, notes)["direction"] == "both", "may send changes")
    bad = tmp_path / "bad.toml"
    bad.write_text(file.read_text() + '[[settings]]\ncollection = "nowhere"\ndirection = "in"\n')
    assert "no collection 'nowhere'" in primary.cli("settings", "import", str(bad), code=1)
    assert line(one, notes)["direction"] == "both"
    told = primary.cli_json("settings", "import", str(file))
    assert [(entry["name"], entry["before"], entry["after"]) for entry in records(told, "changed")] == [
        ("direction", "", "out")
    ]
    one.wait(lambda: line(one, notes)["direction"] == "out", "may send none")
    assert "nothing changes" in primary.cli("settings", "import", str(file))


def test_settings_are_made_with_the_daemon_stopped_as_well(fleet: Fleet, notes: str) -> None:
    primary, one = fleet.primary, fleet.auxiliary
    primary.stop()
    primary.cli("settings", "set", f"{notes}.direction", "out", "--device", one.name)
    assert f"{notes} on {one.name}: direction = out" in primary.cli("settings")
    primary.start()
    one.wait(lambda: line(one, notes)["direction"] == "out", "is told it")
