"""The power of an auxiliary is cut again and again: nothing that the primary was told is taken back, and no change that
the outbox kept is lost or made twice (R4, R6, DESIGN 3 and 5)."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from syncd.adapters.canonical import unpack_values
from tests.e2e import shop
from tests.e2e.harness import POLL_S, Fleet, Machine
from tests.e2e.person import Person, make
from tests.power import Disk, powered
from tests.wait import eventually_blocking

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(200)]

CUTS = 5
NAME = "notes"
SCHEMA = (
    "CREATE TABLE entry (id TEXT PRIMARY KEY, number INTEGER, author TEXT)",
    "CREATE TABLE tally (id INTEGER PRIMARY KEY, count INTEGER)",
    "INSERT INTO tally VALUES (1, 0), (2, 0), (3, 0)",
)
# The primary's application notes itself what was done to entries, in a table that has no key and is not shared.
DEEDS = (
    "CREATE TABLE deed (entry TEXT)",
    "CREATE TRIGGER made AFTER INSERT ON entry BEGIN INSERT INTO deed VALUES (new.id); END",
    "CREATE TRIGGER changed AFTER UPDATE ON entry BEGIN INSERT INTO deed VALUES (new.id); END",
    "CREATE TRIGGER gone AFTER DELETE ON entry BEGIN INSERT INTO deed VALUES (old.id); END",
)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with powered(tmp_path) as disk:
        yield disk


@pytest.fixture
def fleet(tmp_path: Path, disk: Disk) -> Iterator[Fleet]:
    """All that the auxiliary keeps is on the disk, its application's database as well."""
    fleet = Fleet(tmp_path)
    fleet.auxiliary.home = disk.place / "home"
    with fleet:
        fleet.primary.share(NAME, make(tmp_path / "notes.db", *SCHEMA, *DEEDS))
        fleet.auxiliary.compared = ("entry", "tally")
        fleet.auxiliary.accept(NAME, disk.place / "notes.db")
        fleet.auxiliary.wait_identical(NAME)
        yield fleet


def enter(connection: sqlite3.Connection, rand: random.Random, number: int) -> None:
    """A transaction of one to three entries."""
    for _ in range(rand.randint(1, 3)):
        connection.execute("INSERT INTO entry VALUES (hex(randomblob(16)), ?, 'auxiliary')", (number,))


def count(connection: sqlite3.Connection, rand: random.Random, number: int) -> None:
    """An entry, and a tally of some."""
    connection.execute("INSERT INTO entry VALUES (hex(randomblob(16)), ?, 'primary')", (number,))
    connection.execute("UPDATE tally SET count = count + 1 WHERE id = ?", (rand.randint(1, 3),))


def told(fleet: Fleet) -> tuple[int, bool]:
    """The position that the primary was last told, and whether it may be told another."""
    status = fleet.primary.status()
    devices = status["devices"]
    assert isinstance(devices, list)
    (device,) = devices
    (line,) = [one for one in device["collections"] if one["name"] == NAME]
    return line["position"], device["connected"]


def position(database: Path) -> int:
    """That which the application's database keeps, which is sound."""
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        ((found,),) = connection.execute("SELECT position FROM _syncd_position").fetchall()
        return int(found)


def wait_told(fleet: Fleet, more: int) -> None:
    """Until the primary was told of so many more groups."""
    before, _ = told(fleet)
    fleet.primary.wait(lambda: told(fleet)[0] >= before + more, f"is told of {more} more", poll_s=POLL_S)


def cut_power(fleet: Fleet, disk: Disk) -> int:
    """The auxiliary is off, and what it never synced is gone. Returns the position that the primary was told.

    It is frozen first, as nothing runs after a power cut: a sync that the cut comes into may return as if it had been
    done, and would be told.
    """
    os.kill(fleet.auxiliary.pid, signal.SIGSTOP)
    eventually_blocking(lambda: all_stopped(fleet.auxiliary.pid), what="the daemon stands still")
    disk.cut()
    fleet.auxiliary.kill()
    fleet.primary.wait(lambda: not told(fleet)[1], "knows that it is away", poll_s=POLL_S)
    return told(fleet)[0]


def all_stopped(pid: int) -> bool:
    """Whether each of its threads is, none within a call of the system."""
    threads = Path(f"/proc/{pid}/task").glob("*/stat")
    return all(one.read_text().rpartition(")")[2].split()[0] == "T" for one in threads)


def power_is_back(fleet: Fleet, disk: Disk, was_told: int) -> None:
    auxiliary = fleet.auxiliary
    disk.again()
    there = position(auxiliary.databases[NAME])
    print(f"the primary was told of {was_told}, the application has {there}")
    assert there >= was_told, f"the primary was told of {was_told}, and the application has {there}"
    auxiliary.start()


def test_the_primary_is_told_of_nothing_that_a_power_cut_takes_back(fleet: Fleet, disk: Disk, seed: int) -> None:
    rand = random.Random(seed)
    with Person(fleet.primary.databases[NAME], count, rand.randrange(2**32)):
        for _ in range(CUTS):
            wait_told(fleet, rand.randint(1, 60))
            power_is_back(fleet, disk, cut_power(fleet, disk))
    fleet.auxiliary.wait_identical(NAME)


def test_no_change_of_an_auxiliary_that_was_kept_is_lost_or_made_twice(fleet: Fleet, disk: Disk, seed: int) -> None:
    rand, kept = random.Random(seed), set[str]()
    there, here = fleet.primary.databases[NAME], fleet.auxiliary.databases[NAME]
    with Person(there, count, rand.randrange(2**32)):
        for _ in range(CUTS):
            with Person(here, enter, rand.randrange(2**32)) as person:
                wait_told(fleet, rand.randint(1, 60))
                kept |= pending(fleet.auxiliary)
                was_told = cut_power(fleet, disk)
                eventually_blocking(lambda: person.failed, what="the application misses its disk")
                assert all(isinstance(error, sqlite3.Error) for error in person.failed), person.failed
                person.failed.clear()
            power_is_back(fleet, disk, was_told)
    fleet.auxiliary.wait_identical(NAME)
    assert more_or_less_than_once(there) == []
    entries = {str(id_) for (id_,) in shop.ask(there, "SELECT id FROM entry")}
    assert kept - entries == set()
    assert kept, "nothing was pending at any time"


def pending(auxiliary: Machine) -> set[str]:
    """The entries that its status tells of as pending, and perhaps some that were kept since then."""
    query = (
        "SELECT key FROM groups JOIN edits ON grp = groups.id JOIN objects ON objects.id = object"
        " WHERE number > 0 AND ruling = '' AND type = 'entry'"
    )
    with closing(sqlite3.connect(auxiliary.home / "outbox.db", timeout=20.0)) as outbox:
        return {str(unpack_values(key)[0]) for (key,) in outbox.execute(query)}


def more_or_less_than_once(database: Path) -> list[shop.Row]:
    """Entries that were not made once."""
    return shop.ask(
        database,
        "SELECT id, count(deed.entry) FROM entry LEFT JOIN deed ON deed.entry = entry.id GROUP BY id"
        " HAVING count(deed.entry) <> 1"
        " UNION ALL SELECT entry, 0 FROM deed WHERE entry NOT IN (SELECT id FROM entry)",
    )
