"""What happens to changes of an auxiliary when something breaks on their way: none is lost, none is made twice, and
nothing else waits for them (R6, R10-R12)."""

from __future__ import annotations

import random
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.e2e import shop, trust
from tests.e2e.harness import Fleet, Json, Machine
from tests.e2e.kills import kill_at_work
from tests.e2e.person import Person, make

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

KILLS = 4
MANY = 2_500
# Daemons of this file: short pauses, and a clock that is SHIFT_S off.
LAUNCHER = """
import functools, os, sys, time
from syncd.__main__ import main
if sys.argv[1] == "run":
    import syncd.daemon
    syncd.daemon.Limits = functools.partial(syncd.daemon.Limits, retry_s_max=0.3, offline_retry_s_max=0.5)
    clock, shift = time.time_ns, int(os.environ.get("SHIFT_S", "0")) * 10**9
    time.time_ns = lambda: clock() + shift
sys.exit(main())
"""
SCHEMA = (
    "CREATE TABLE note (id INTEGER PRIMARY KEY, body TEXT)",
    "CREATE TABLE entry (id TEXT PRIMARY KEY, number INTEGER)",
    "INSERT INTO note SELECT value, 'base' FROM (WITH RECURSIVE n(value) AS"
    " (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 20) SELECT value FROM n)",
)
# The primary's application notes itself what was done to entries, in a table that has no key and is not shared.
DEEDS = (
    "CREATE TABLE deed (entry TEXT)",
    "CREATE TRIGGER made AFTER INSERT ON entry BEGIN INSERT INTO deed VALUES (new.id); END",
    "CREATE TRIGGER changed AFTER UPDATE ON entry BEGIN INSERT INTO deed VALUES (new.id); END",
    "CREATE TRIGGER gone AFTER DELETE ON entry BEGIN INSERT INTO deed VALUES (old.id); END",
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """One fleet for all; each test leaves it identical."""
    directory = tmp_path_factory.mktemp("two-way")
    with Fleet(directory, auxiliaries=2, launcher=(sys.executable, "-c", LAUNCHER)) as fleet:
        fleet.primary.share("notes", make(directory / "notes.db", *SCHEMA, *DEEDS))
        for auxiliary in fleet.auxiliaries:
            auxiliary.compared = ("note", "entry")
            auxiliary.accept("notes")
        yield fleet


@pytest.fixture
def fleet(shared: Fleet) -> Fleet:
    for machine in (shared.primary, *shared.auxiliaries):
        if not machine.running:
            machine.start()
    settle(shared)
    return shared


def place(machine: Machine) -> Path:
    return machine.databases["notes"]


def settle(fleet: Fleet) -> None:
    for auxiliary in fleet.auxiliaries:
        auxiliary.wait_identical("notes")
        auxiliary.wait(lambda: line(auxiliary)["pending"] == 0, "nothing is pending")  # noqa: B023


def line(machine: Machine) -> Json:
    """What a machine's status says of the collection itself."""
    collections = machine.status()["collections"]
    assert isinstance(collections, list)
    (found,) = [one for one in collections if one["name"] == "notes"]
    assert isinstance(found, dict)
    return found


def write(machine: Machine, id: int, body: str) -> None:
    shop.execute(
        place(machine),
        f"INSERT INTO note VALUES ({id}, '{body}') ON CONFLICT (id) DO UPDATE SET body = excluded.body",
    )


def body(machine: Machine, id: int) -> object:
    found = shop.ask(place(machine), f"SELECT body FROM note WHERE id = {id}")
    return found[0][0] if found else None


def wait_body(machine: Machine, id: int, expected: object) -> None:
    machine.wait(lambda: body(machine, id) == expected, f"has {expected!r} in note {id}")


def wait_pending(machine: Machine, count: int) -> None:
    machine.wait(lambda: line(machine)["pending"] == count, f"keeps {count} for its primary")


@contextmanager
def locked(machine: Machine) -> Iterator[None]:
    """Another program holds the lock of the machine's database."""
    with closing(sqlite3.connect(place(machine), isolation_level=None, timeout=20.0)) as lock:
        lock.execute("BEGIN IMMEDIATE")
        yield


def conflicts(fleet: Fleet) -> int:
    count = line(fleet.primary)["conflicts"]
    assert isinstance(count, int)
    return count


# ---------------------------------------------------------------- once


def enter(connection: sqlite3.Connection, rand: random.Random, number: int) -> None:
    """A transaction of one to three entries."""
    for _ in range(rand.randint(1, 3)):
        connection.execute("INSERT INTO entry VALUES (hex(randomblob(16)), ?)", (number,))


def made_twice(fleet: Fleet) -> list[shop.Row]:
    """Entries to which something was done more often than once; and those to which nothing was, or that are gone."""
    return list(
        shop.ask(
            place(fleet.primary),
            "SELECT id, count(deed.entry) FROM entry LEFT JOIN deed ON deed.entry = entry.id GROUP BY id"
            " HAVING count(deed.entry) <> 1"
            " UNION ALL SELECT entry, 0 FROM deed WHERE entry NOT IN (SELECT id FROM entry)",
        )
    )


def test_each_entry_is_made_once_on_the_primary_whoever_is_killed_meanwhile(fleet: Fleet, seed: int) -> None:
    rand = random.Random(seed)
    with Person(place(fleet.auxiliary), enter, rand.randrange(2**32)) as person:
        for _ in range(KILLS):
            kill_at_work(rand.choice((fleet.primary, fleet.auxiliary)), rand)
    for machine in (fleet.primary, fleet.auxiliary):
        machine.wait_started()
    settle(fleet)
    assert made_twice(fleet) == []
    ((count,),) = shop.ask(place(fleet.primary), "SELECT count(DISTINCT number) FROM entry")
    assert count == person.committed
    assert conflicts(fleet) == 0


def test_entries_that_came_and_were_not_executed_are_executed_once_after_both_daemons_died(fleet: Fleet) -> None:
    """The primary dies between staging and settling, the auxiliary between sending and the verdict."""
    one, primary = fleet.auxiliary, fleet.primary
    with locked(primary):
        shop.execute(place(one), "INSERT INTO entry VALUES ('staged', -1)")
        wait_pending(one, 1)
        primary.wait(lambda: waiting(primary) == 1, "has it in its inbound queue")
        primary.kill()
        one.kill()
        shop.execute(place(one), "INSERT INTO entry VALUES ('unread', -2)")
        primary.start()
        assert waiting(primary) == 1
    one.start()
    settle(fleet)
    expected = [("staged",), ("unread",)]
    assert shop.ask(place(primary), "SELECT entry FROM deed WHERE entry IN ('staged', 'unread') ORDER BY 1") == expected
    primary.wait(lambda: waiting(primary) == 0, "has settled them")


def waiting(primary: Machine) -> int:
    """Groups in the primary's inbound queue that are not settled."""
    with closing(sqlite3.connect(primary.home / "uploads.db", timeout=20.0)) as db:
        ((count,),) = db.execute("SELECT count(*) FROM groups").fetchall()
    return int(count)


def test_one_edit_is_numbered_once_and_does_not_come_back_up(fleet: Fleet) -> None:
    """R12: what comes down, to the one who made it too, is nobody's change."""
    before, ups = line(fleet.primary)["head"], [numbered(one) for one in fleet.auxiliaries]
    assert isinstance(before, int)
    for number in range(5):
        write(fleet.auxiliary, 1, f"edit {number}")
        settle(fleet)
    assert line(fleet.primary)["head"] == before + 5
    assert [numbered(one) for one in fleet.auxiliaries] == [ups[0] + 5, ups[1]]


def numbered(auxiliary: Machine) -> int:
    """How many groups of edits it has made."""
    with closing(sqlite3.connect(auxiliary.home / "outbox.db", timeout=20.0)) as db:
        ((high,),) = db.execute("SELECT high FROM outboxes").fetchall()
    return int(high)


# ---------------------------------------------------------------- away


def test_5_000_edits_of_a_time_without_a_primary_and_without_a_daemon_arrive(fleet: Fleet) -> None:
    one, primary = fleet.auxiliary, fleet.primary
    primary.stop()
    edit = "INSERT INTO entry SELECT '{0} ' || value, value FROM (WITH RECURSIVE n(value) AS"
    edit += " (SELECT {1} UNION ALL SELECT value + 1 FROM n WHERE value < {1} + 99) SELECT value FROM n)"
    for first in range(0, MANY, 100):
        shop.execute(place(one), edit.format("alone", first))
    one.wait(lambda: int(str(line(one)["pending"])) > 0, "keeps them")
    one.stop()
    for first in range(0, MANY, 100):
        shop.execute(place(one), edit.format("off", first))
    primary.start()
    one.start()
    settle(fleet)
    came = "SELECT count(*) FROM entry WHERE id LIKE 'alone %' OR id LIKE 'off %'"
    assert shop.ask(place(primary), came) == [(2 * MANY,)]
    assert (made_twice(fleet), conflicts(fleet)) == ([], 0)


# ---------------------------------------------------------------- neither gates the other


def test_what_cannot_be_executed_on_the_primary_holds_up_nothing_that_comes_down(fleet: Fleet) -> None:
    one, primary = fleet.auxiliary, fleet.primary
    one.stop()
    write(primary, 2, "down")
    fleet.auxiliaries[1].wait_identical("notes")
    write(one, 3, "up")
    with locked(primary):
        one.start()
        wait_body(one, 2, "down")
        primary.wait(lambda: waiting(primary) == 1, "has the edit in its inbound queue")
        assert (body(primary, 3), line(one)["pending"]) == ("base", 1)
    settle(fleet)
    assert body(primary, 3) == "up"


def test_what_cannot_be_executed_on_the_auxiliary_holds_up_nothing_that_goes_up(fleet: Fleet) -> None:
    one, primary = fleet.auxiliary, fleet.primary
    primary.stop()
    write(one, 4, "up")
    wait_pending(one, 1)
    write(primary, 5, "down")
    with locked(one):
        primary.start()
        wait_body(primary, 4, "up")
        wait_body(fleet.auxiliaries[1], 5, "down")
        assert body(one, 5) == "base"
    settle(fleet)
    assert body(one, 5) == "down"


# ---------------------------------------------------------------- clocks


@pytest.mark.parametrize("shift_s", [0, 600])
def test_the_newest_wins_only_where_the_clocks_agree(fleet: Fleet, shift_s: int) -> None:
    one, primary = fleet.auxiliary, fleet.primary
    primary.cli("share", "notes", "--from", f"sqlite:{place(primary)}", "--conflicts", "newest")
    one.stop()
    write(primary, 6, f"earlier {shift_s}")
    fleet.auxiliaries[1].wait_identical("notes")  # the primary has seen it
    write(one, 6, f"later {shift_s}")
    before = conflicts(fleet)
    one.environment["SHIFT_S"] = str(shift_s)
    one.start()
    settle(fleet)
    assert body(primary, 6) == (f"earlier {shift_s}" if shift_s else "later 0")
    assert conflicts(fleet) == before + 1, "whoever loses is kept"
    one.stop()
    del one.environment["SHIFT_S"]
    primary.cli("share", "notes", "--from", f"sqlite:{place(primary)}", "--conflicts", "primary")


# ---------------------------------------------------------------- older copies


@contextmanager
def restored(machine: Machine, copy: Path) -> Iterator[None]:
    """The machine's daemon is off; what its database held before the block is put back after it."""
    with closing(sqlite3.connect(place(machine))) as connection:
        connection.execute("VACUUM INTO ?", (str(copy),))
    yield
    assert not machine.running
    for end in ("", "-wal", "-shm"):
        place(machine).with_name(place(machine).name + end).unlink(missing_ok=True)
    shutil.copyfile(copy, place(machine))


def test_an_auxiliarys_database_that_was_restored_gets_what_it_lacks_and_takes_nothing_back(
    fleet: Fleet, tmp_path: Path
) -> None:
    """Earlier versions in it are nobody's edits. What was made in the copy is added, or a conflict, never lost."""
    one, primary = fleet.auxiliary, fleet.primary
    write(one, 7, "before the copy")
    settle(fleet)
    before = conflicts(fleet)
    with restored(one, tmp_path / "copy.db"):
        write(one, 7, "after the copy")
        write(one, 8, "after the copy")
        settle(fleet)
        one.stop()
    write(one, 9, "in the copy")
    write(one, 100, "in the copy")
    write(primary, 10, "meanwhile")
    one.start()
    settle(fleet)
    expected = ["after the copy", "after the copy", "base", "meanwhile"]
    for machine in (primary, *fleet.auxiliaries):
        assert [body(machine, id) for id in range(7, 11)] == expected
        assert body(machine, 100) == "in the copy"
    assert conflicts(fleet) == before + 1
    shown = primary.cli_json("conflicts")["conflicts"]
    assert isinstance(shown, list)
    assert (shown[0]["key"], shown[0]["contested"]) == ("[9]", 1)


def test_a_primarys_database_that_was_restored_is_followed_and_takes_later_edits(fleet: Fleet, tmp_path: Path) -> None:
    """It is the application's data as it was: it becomes ordinary groups; what is edited after it travels as before."""
    one, primary = fleet.auxiliary, fleet.primary
    with restored(primary, tmp_path / "copy.db"):
        write(one, 12, "accepted after the copy")
        settle(fleet)
        primary.stop()
    write(one, 13, "edited meanwhile")
    wait_pending(one, 1)
    primary.start()
    settle(fleet)
    write(one, 14, "edited afterwards")
    settle(fleet)
    for machine in (primary, *fleet.auxiliaries):
        assert [body(machine, id) for id in (12, 13, 14)] == ["base", "edited meanwhile", "edited afterwards"]


# ---------------------------------------------------------------- revoked


def test_what_a_revoked_device_edits_stays_there_until_it_is_paired_again(fleet: Fleet) -> None:
    one, primary = fleet.auxiliary, fleet.primary
    one.stop()
    write(one, 15, "pending")
    primary.cli("revoke", one.name)
    one.start()
    one.wait(lambda: "cut this device off" in trust.reason(one), "knows that it was cut off")
    wait_pending(one, 1)
    write(one, 16, "after it")
    wait_pending(one, 2)
    write(primary, 17, "goes on")
    wait_body(fleet.auxiliaries[1], 17, "goes on")
    assert [body(primary, id) for id in (15, 16)] == ["base", "base"]
    one.pair(primary)
    settle(fleet)
    for machine in (primary, *fleet.auxiliaries):
        assert [body(machine, id) for id in (15, 16, 17)] == ["pending", "after it", "goes on"]
