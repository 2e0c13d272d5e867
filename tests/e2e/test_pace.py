"""When changes travel, before which others and how fast, with real daemons: schedules, pauses, priority and rates, each
at once and with no restart (claim 24f; R3, R10)."""

from __future__ import annotations

import itertools
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e import shop
from tests.e2e.harness import Fleet, Json, Machine

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(180)]
NUMBERS = itertools.count(1)  # of collections
BODY = "x" * 2_000
MANY = f"""INSERT INTO note WITH n(i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < 900)
           SELECT i, '{BODY}' || i FROM n"""  # about 1.6 MB, several frames


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A primary and two auxiliaries for all tests of this file, each of which has collections of its own."""
    with Fleet(tmp_path_factory.mktemp("pace"), auxiliaries=2) as fleet:
        yield fleet


@pytest.fixture
def notes(fleet: Fleet, tmp_path: Path) -> Iterator[str]:
    """A collection that all hold."""
    name = begin(fleet, tmp_path)
    yield name
    fleet.primary.cli("resume")
    for word in (f"{name}.schedule", f"{name}.priority"):
        fleet.primary.cli("settings", "unset", word)
    for one in fleet.auxiliaries:
        fleet.primary.cli("settings", "unset", "rate", "--device", one.name)


def begin(fleet: Fleet, directory: Path) -> str:
    name = f"pace-{next(NUMBERS):02}"
    database = directory / f"{name}.db"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE note(id INTEGER PRIMARY KEY, body TEXT)")
        connection.execute("INSERT INTO note VALUES (1, 'base'), (2, 'base'), (3, 'base')")
    fleet.primary.share(name, database)
    for auxiliary in fleet.auxiliaries:
        auxiliary.accept(name)
    for auxiliary in fleet.auxiliaries:
        auxiliary.wait_identical(name)
    return name


def change(machine: Machine, name: str, text: str, key: int = 1) -> None:
    shop.execute(machine.databases[name], f"UPDATE note SET body = '{text}' WHERE id = {key}")


def body(machine: Machine, name: str, key: int = 1) -> object:
    found = shop.ask(machine.databases[name], f"SELECT body FROM note WHERE id = {key}")
    return found[0][0] if found else None


def arrives(machine: Machine, name: str, text: str, key: int = 1) -> None:
    machine.wait(lambda: body(machine, name, key) == text, f"has {text!r} in {name}")


def there(fleet: Fleet, one: Machine, name: str) -> Json:
    """How the collection stands on a device, as the primary tells."""
    return fleet.primary.collection(name, one.name)


def rests(fleet: Fleet, one: Machine, name: str, reason: str) -> None:
    """Both ends say so."""
    for machine, line in ((fleet.primary, lambda: there(fleet, one, name)), (one, lambda: one.collection(name))):
        machine.wait(
            lambda line=line: line().get("state") == "paused" and reason in str(line().get("reason")),  # type: ignore[misc]
            f"says that {name} on {one.name} is paused: {reason}",
        )


def goes_on(fleet: Fleet, one: Machine, name: str) -> None:
    one.wait_identical(name)
    assert (there(fleet, one, name)["resumes"], one.collection(name)["resumes"]) == ("", "")


# ---------------------------------------------------------------- schedule


def test_what_is_manual_travels_both_ways_when_a_person_says_now_and_then_rests_again(fleet: Fleet, notes: str) -> None:
    primary, (one, other) = fleet.primary, fleet.auxiliaries
    primary.cli("settings", "set", f"{notes}.schedule", "manual", "--device", one.name)
    rests(fleet, one, notes, "its schedule is manual")
    change(primary, notes, "from the primary")
    change(one, notes, "from one", 2)
    arrives(other, notes, "from the primary")
    one.wait(lambda: one.collection(notes)["state"] == "paused" and _pending(one, notes) == 1, "keeps its change")
    assert (body(one, notes), body(primary, notes, 2)) == ("base", "base")

    told = primary.cli("now", notes)
    assert f"{notes} on {one.name}: identical" in told
    assert other.name not in told, "it rests not"
    assert (body(one, notes), body(primary, notes, 2)) == ("from the primary", "from one")
    rests(fleet, one, notes, "its schedule is manual")
    change(primary, notes, "later")
    arrives(other, notes, "later")
    assert body(one, notes) == "from the primary"

    primary.cli("settings", "unset", f"{notes}.schedule", "--device", one.name)
    goes_on(fleet, one, notes)
    assert "nothing rests" in primary.cli("now", notes)


def _pending(machine: Machine, name: str) -> object:
    status = machine.status()["collections"]
    assert isinstance(status, list)
    return next(one["pending"] for one in status if one["name"] == name)


def test_what_has_hours_rests_outside_of_them(fleet: Fleet, notes: str) -> None:
    primary, one = fleet.primary, fleet.auxiliary
    hour = time.localtime().tm_hour
    closed = f"{(hour + 3) % 24:02}:00-{(hour + 5) % 24:02}:00"
    primary.cli("settings", "set", f"{notes}.schedule", f"within {closed}")
    rests(fleet, one, notes, f"within {closed}")
    assert there(fleet, one, notes)["resumes"] == one.collection(notes)["resumes"] != ""
    change(primary, notes, "by night")
    change(one, notes, "by day", 2)
    primary.restart()
    one.wait(lambda: bool(there(fleet, one, notes).get("behind")), "is linked again, and behind")
    rests(fleet, one, notes, f"within {closed}")
    assert (body(one, notes), body(primary, notes, 2)) == ("base", "base")
    primary.cli("settings", "set", f"{notes}.schedule", f"within {hour:02}:00-{(hour + 3) % 24:02}:00")
    arrives(one, notes, "by night")
    arrives(primary, notes, "by day", 2)
    goes_on(fleet, one, notes)


def test_what_runs_every_so_often_comes_by_itself_and_rests_between(fleet: Fleet, notes: str) -> None:
    primary, one = fleet.primary, fleet.auxiliary
    primary.cli("settings", "set", f"{notes}.schedule", "every 6s", "--device", one.name)
    for text in ("first", "second"):
        rests(fleet, one, notes, "every 6s")
        change(primary, notes, text)
        change(one, notes, text, 2)
        arrives(one, notes, text)
        arrives(primary, notes, text, 2)
    primary.cli("settings", "unset", f"{notes}.schedule", "--device", one.name)
    goes_on(fleet, one, notes)


# ---------------------------------------------------------------- pause


def test_a_pause_on_the_primary_is_kept_and_holds_both_ways(fleet: Fleet, notes: str) -> None:
    primary, (one, other) = fleet.primary, fleet.auxiliaries
    assert f"{notes} on {one.name}: paused" in primary.cli("pause", notes, "--device", one.name)
    rests(fleet, one, notes, "paused: `syncd resume")
    primary.restart()
    one.restart()
    change(primary, notes, "from the primary")
    change(one, notes, "from one", 2)
    arrives(other, notes, "from the primary")
    rests(fleet, one, notes, "paused: `syncd resume")
    one.wait(lambda: _pending(one, notes) == 1, "keeps its change")
    assert (body(one, notes), body(primary, notes, 2)) == ("base", "base")
    assert f"{notes} on {one.name}: pause = on" in primary.cli("settings")
    assert f"{notes} on {one.name}: goes on" in primary.cli("resume", notes)
    arrives(one, notes, "from the primary")
    arrives(primary, notes, "from one", 2)
    goes_on(fleet, one, notes)


def test_a_pause_amid_a_transfer_loses_nothing(fleet: Fleet, notes: str) -> None:
    primary, one = fleet.primary, fleet.auxiliary
    primary.cli("settings", "set", "rate", "16 KiB/s", "--device", one.name)
    shop.execute(primary.databases[notes], MANY)
    primary.wait(lambda: bool(there(fleet, one, notes).get("progress")), "is sending")
    primary.cli("pause")
    rests(fleet, one, notes, "paused: `syncd resume")
    primary.cli("settings", "unset", "rate", "--device", one.name)
    assert not body(one, notes, 900), "the cut has not come"
    primary.cli("resume")
    one.wait_identical(notes)


def test_an_auxiliary_pauses_by_itself_and_the_primary_says_so(fleet: Fleet, notes: str) -> None:
    primary, (one, other) = fleet.primary, fleet.auxiliaries
    assert f"{notes}: paused" in one.cli("pause", notes)
    one.wait(lambda: one.collection(notes)["state"] == "paused", "says so")
    primary.wait(lambda: "paused on the device" in str(there(fleet, one, notes)["reason"]), "says so")
    one.restart()
    change(primary, notes, "from the primary")
    change(one, notes, "from one", 2)
    arrives(other, notes, "from the primary")
    primary.wait(lambda: "paused on the device" in str(there(fleet, one, notes)["reason"]), "is told it again")
    one.wait(lambda: _pending(one, notes) == 1, "keeps its change")
    assert (body(one, notes), body(primary, notes, 2)) == ("base", "base")
    one.stop()
    assert "everything: paused" in one.cli("pause")
    assert "everything: goes on" in one.cli("resume")
    one.start()
    arrives(primary, notes, "from one", 2)
    goes_on(fleet, one, notes)
    assert "nothing changes" in one.cli("resume")
    assert "run it there" in one.cli("now", code=1)
    assert "leave out --device" in one.cli("pause", "--device", one.name, code=1)


# ---------------------------------------------------------------- rate and priority


def test_a_device_with_a_rate_is_slow_both_ways_and_delays_no_other(fleet: Fleet, notes: str) -> None:
    primary, (one, other) = fleet.primary, fleet.auxiliaries
    primary.cli("settings", "set", "rate", "4 KiB/s", "--device", one.name)
    change(primary, notes, "after the rate")
    arrives(one, notes, "after the rate")
    shop.execute(primary.databases[notes], MANY)
    shop.execute(one.databases[notes], MANY.replace("100", "1100").replace("900", "1900"))
    other.wait_identical(notes)
    assert body(one, notes, 900) is None
    assert body(primary, notes, 1_900) is None
    assert there(fleet, one, notes)["state"] == "syncing"
    primary.cli("settings", "unset", "rate", "--device", one.name)
    arrives(primary, notes, f"{BODY}1900", 1_900)
    one.wait_identical(notes)


def test_of_two_collections_that_wait_the_one_of_higher_priority_goes_first(
    fleet: Fleet, notes: str, tmp_path: Path
) -> None:
    primary, one, first = fleet.primary, fleet.auxiliary, begin(fleet, tmp_path)
    primary.cli("settings", "set", f"{first}.priority", "high")  # notes comes before it by name
    primary.cli("pause", "--device", one.name)
    rests(fleet, one, notes, "paused")
    for name in (notes, first):
        shop.execute(primary.databases[name], MANY)
    primary.cli("settings", "set", "rate", "512 KiB/s", "--device", one.name)
    for name in (notes, first):
        primary.wait(lambda name=name: there(fleet, one, name)["behind"] == 801, "has all of it to send")  # type: ignore[misc]
    primary.cli("resume", "--device", one.name)
    order: list[str] = []

    def done() -> bool:
        for name in (first, notes):
            if name not in order and body(one, name, 900) is not None:
                order.append(name)
        return len(order) == 2

    one.wait(done, "has both")
    assert order == [first, notes]
    primary.cli("settings", "unset", "rate", "--device", one.name)
    one.wait_identical(notes)
