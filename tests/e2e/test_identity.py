"""Identities that are not what they were: copied, replaced, readable by others, or those of machines whose clock is
wrong. A person sees what it is; nothing is guessed, and nobody is let in for it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import shop, trust
from tests.e2e.harness import START_S_MAX, Fleet, Machine

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

RESTARTS = 10
FAKETIME = "libfaketime.so.1"
SLEEPS = """
import select, sys, time
from syncd.__main__ import main
time.sleep = lambda seconds: select.select([], [], [], seconds)  # the library breaks the way that Python sleeps
sys.exit(main())
"""
_NOT_COPIED = shutil.ignore_patterns("syncd.sock", "lock")


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with Fleet(tmp_path) as fleet:
        yield fleet


def copied_home(machine: Machine, name: str) -> Machine:
    """Another machine with a copy of the home, as from a backup."""
    other = Machine(machine.directory.with_name(name))
    shutil.copytree(machine.home, other.home, ignore=_NOT_COPIED)
    other.home.chmod(0o700)
    return other


def end_of_start(machine: Machine) -> str:
    """A daemon that does not want to start says why, in one line."""
    before = len(machine.log.read_text()) if machine.log.exists() else 0
    machine.start(wait=False)
    assert machine.process is not None
    assert machine.process.wait(START_S_MAX) == 1, machine.log_end()
    (line,) = [one for one in machine.log.read_text()[before:].splitlines() if one.startswith("syncd: ")]
    assert "Traceback" not in machine.log.read_text()
    return line


# ---------------------------------------------------------------- a home on two machines


def test_a_copied_home_is_refused_on_both_machines_until_a_person_decides(fleet: Fleet) -> None:
    primary, auxiliary = fleet.primary, fleet.auxiliary
    auxiliary.stop()
    with copied_home(auxiliary, "copy") as copy:
        for machine in (auxiliary, copy):
            machine.start()
        for machine in (auxiliary, copy):
            machine.wait(lambda m=machine: "two machines use the identity" in trust.reason(m), "knows it")  # type: ignore[misc]
            assert "`syncd devices allow NAME` on the primary" in trust.reason(machine)
        assert trust.device(primary, auxiliary.name)["copied"]
        assert "held back: two machines use its identity" in primary.cli("devices")
        assert not trust.linked(primary)

        primary.restart()
        auxiliary.restart()
        auxiliary.wait(lambda: "two machines" in trust.reason(auxiliary), "is refused still")
        assert trust.device(primary, auxiliary.name)["copied"]

        auxiliary.stop()
        assert f"{auxiliary.name} may come in again" in primary.cli("devices", "allow", auxiliary.name)
        copy.restart()  # it would dial by itself within half a minute
        copy.wait(lambda: trust.linked(copy), "is let in")
        assert not trust.device(primary, auxiliary.name)["copied"]
        assert "is not held back" in trust.refused(primary, "devices", "allow", auxiliary.name)
        copy.stop()
    primary.stop()


def test_a_daemon_that_is_started_again_is_never_taken_for_a_copy(fleet: Fleet) -> None:
    primary, auxiliary = fleet.primary, fleet.auxiliary

    def links() -> int:
        return primary.log.read_text().count(" linked with auxiliary-1")

    primary.wait(lambda: links() > 0, "is linked")
    for number in range(RESTARTS):
        seen = links()
        if number % 2:
            auxiliary.stop()
        else:
            auxiliary.kill()
        auxiliary.start(wait=False)
        primary.wait(lambda n=seen: links() > n, "is linked")  # type: ignore[misc]
    auxiliary.wait(lambda: trust.linked(auxiliary), "is linked")
    assert not trust.device(primary, auxiliary.name)["copied"]
    assert "two machines" not in primary.log.read_text()


# ---------------------------------------------------------------- another identity, or one that others read


def test_an_identity_that_others_can_read_is_not_used(fleet: Fleet) -> None:
    for machine in (fleet.primary, fleet.auxiliary):
        machine.stop()
        identity = machine.home / "identity.pem"
        identity.chmod(0o644)
        line = end_of_start(machine)
        assert str(identity) in line
        assert "chmod 600" in line
        identity.chmod(0o600)
    fleet.primary.start()
    fleet.auxiliary.start()
    fleet.auxiliary.wait(lambda: trust.linked(fleet.auxiliary), "is linked again")


def test_a_daemon_does_not_begin_with_another_identity(fleet: Fleet, tmp_path: Path) -> None:
    other = Machine(tmp_path / "other")
    other.init("auxiliary")
    for machine in (fleet.primary, fleet.auxiliary):
        machine.stop()
        shutil.copy2(other.home / "identity.pem", machine.home / "identity.pem")
        line = end_of_start(machine)
        assert "was replaced" in line
        assert "put the former file back" in line


def test_auxiliaries_say_that_their_primary_has_another_identity(fleet: Fleet, tmp_path: Path) -> None:
    primary, auxiliary = fleet.primary, fleet.auxiliary
    address = str(primary.status()["address"])
    primary.stop()
    with Machine(tmp_path / "anew") as anew:
        anew.init("primary", "--listen", address)
        anew.start()
        auxiliary.wait(lambda: "is not the primary that was paired" in trust.reason(auxiliary), "says so")
        assert "if the primary was set up anew, pair again" in trust.reason(auxiliary)
        assert trust.no_trace(anew)
        trust.pair_by_code(auxiliary, anew)
        auxiliary.wait(lambda: trust.linked(auxiliary, "anew"), "is linked with the one set up anew")


# ---------------------------------------------------------------- clocks


def test_nothing_depends_on_the_clocks(tmp_path: Path) -> None:
    library, launcher = faketime(), (sys.executable, "-c", SLEEPS)
    with Machine(tmp_path / "desk", launcher) as primary, Machine(tmp_path / "laptop", launcher) as auxiliary:
        for machine, role, clock in ((primary, "primary", "-30y"), (auxiliary, "auxiliary", "+40y")):
            machine.init(role)
            machine.environment |= {"LD_PRELOAD": library, "FAKETIME": clock, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
            machine.start()
        trust.pair_by_code(auxiliary, primary)
        source = shop.make(tmp_path / "shop.db", 100)
        primary.share("shop", source)
        auxiliary.accept("shop")
        auxiliary.wait_identical("shop")
        auxiliary.restart()
        shop.execute(source, "DELETE FROM goods WHERE id = 5", "UPDATE goods SET stock = 9")
        auxiliary.wait_identical("shop")
        here = str(trust.device(primary, auxiliary.name)["paired"])
        there = str(trust.device(auxiliary, primary.name)["paired"])
        print(f"paired at {here} by the primary's clock, at {there} by the auxiliary's")
        assert abs(int(here[:4]) - int(there[:4])) >= 69, "they do believe so"
        for machine in (auxiliary, primary):
            machine.stop()


def faketime() -> str:
    """The library that makes a program believe in another time."""
    found = sorted(Path("/usr/lib").glob(f"*/faketime/{FAKETIME}"))
    if not found:
        pytest.skip(f"there is no {FAKETIME} (install faketime)")
    return str(found[0])


# ---------------------------------------------------------------- names


def test_a_device_with_another_name_is_the_same_device(fleet: Fleet) -> None:
    primary, auxiliary = fleet.primary, fleet.auxiliary
    before = trust.device_id(auxiliary)
    trust.set_config(auxiliary, "name", "tablet")
    auxiliary.restart()
    auxiliary.wait(lambda: trust.linked(auxiliary), "is linked")
    primary.wait(lambda: trust.device(primary, "tablet") != {}, "shows its other name")
    assert [one["id"] for one in trust.devices(primary)] == [before]

    primary.cli("devices", "rename", "tablet", "kitchen")
    trust.set_config(auxiliary, "name", "slate")
    auxiliary.restart()
    primary.wait(lambda: trust.device(primary, "kitchen").get("own_name") == "slate", "knows both names")
    said = primary.cli("devices")
    assert "kitchen: auxiliary of ada, connected, calls itself slate" in said
    primary.restart()
    auxiliary.wait(lambda: trust.linked(auxiliary), "is linked")
    assert trust.device(primary, "kitchen")["own_name"] == "slate"
    assert primary.status()["devices"][0]["name"] == "kitchen"  # type: ignore[index]
