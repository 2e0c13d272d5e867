"""Devices on a real network: whatever happens to it, all are identical soon after it works again."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncd.core.settings import Limits
from tests.e2e import shop
from tests.e2e.harness import limited, set_up
from tests.network import machines
from tests.network.lan import Lan
from tests.network.machines import Machine, machine, paired
from tests.wait import seconds_until

pytestmark = pytest.mark.e2e

GOODS = 50
RELINK_S_MAX = 10.0
RETRY_S_MAX = Limits().retry_s_max + RELINK_S_MAX  # for a dialer that has failed for long
DEAD_S_MAX = 30.0  # for a link that no packet passes to be given up, see ``_impatient``


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead link is given up after 3 s, not after 20 s: what comes then is the same."""
    monkeypatch.setattr(machines, "RUN", limited(send_s_max=3.0))


def share(primary: Machine, *auxiliaries: Machine) -> Path:
    """All are identical when it returns."""
    source = shop.make(primary.directory / "shop.db", GOODS)
    primary.share("shop", source)
    for auxiliary in auxiliaries:
        auxiliary.accept("shop")
    for auxiliary in auxiliaries:
        auxiliary.wait_identical("shop")
    return source


def connected(primary: Machine, auxiliary: Machine) -> bool:
    """Whether the primary has a link to it."""
    devices = primary.status()["devices"]
    assert isinstance(devices, list)
    return any(one["connected"] for one in devices if one["name"] == auxiliary.name)


def change(source: Path, stock: int) -> None:
    shop.execute(source, f"UPDATE goods SET stock = {stock} WHERE id % 2 = 0", f"DELETE FROM goods WHERE id = {stock}")


def test_three_auxiliaries_one_of_them_cut_off_from_the_others_for_a_while(lan: Lan, tmp_path: Path) -> None:
    with paired(lan, tmp_path, auxiliaries=3) as (primary, auxiliaries):
        source = share(primary, *auxiliaries)
        *near, far = auxiliaries
        lan.partition({primary.host, *(one.host for one in near)}, {far.host})
        change(source, 1)
        for auxiliary in near:
            auxiliary.wait_identical("shop")
        assert shop.ask(far.databases["shop"], "SELECT count(*) FROM goods WHERE id = 1") == [(1,)]
        lan.heal()
        far.wait_identical("shop")
        for machine in (*auxiliaries, primary):
            machine.stop()  # without a traceback in its log


def test_a_cable_that_is_out_for_a_moment(lan: Lan, tmp_path: Path) -> None:
    with paired(lan, tmp_path) as (primary, (auxiliary,)):
        source = share(primary, auxiliary)
        auxiliary.host.unplug()
        change(source, 1)
        auxiliary.host.plug()
        auxiliary.wait_identical("shop")


def test_a_primary_that_was_killed_and_started_again_is_found_at_its_address(lan: Lan, tmp_path: Path) -> None:
    with paired(lan, tmp_path) as (primary, (auxiliary,)):
        source = share(primary, auxiliary)
        primary.kill()
        change(source, 1)
        primary.start()
        print(f"linked {seconds_until(lambda: auxiliary.linked, RELINK_S_MAX):.2f} s after the start")
        auxiliary.wait_identical("shop")


@pytest.mark.slow
def test_a_cable_that_is_out_until_both_ends_have_given_up(lan: Lan, tmp_path: Path) -> None:
    with paired(lan, tmp_path) as (primary, (auxiliary,)):
        source = share(primary, auxiliary)
        primary.host.unplug()
        change(source, 1)
        print(f"given up after {seconds_until(lambda: not auxiliary.linked, DEAD_S_MAX):.1f} s")
        primary.host.plug()
        print(f"linked {seconds_until(lambda: auxiliary.linked, RETRY_S_MAX):.1f} s after the cable was in")
        auxiliary.wait_identical("shop")


def test_an_auxiliary_that_gets_another_address(lan: Lan, tmp_path: Path) -> None:
    """It looks for nobody by mDNS, and knows all the same that its link is dead."""
    with paired(lan, tmp_path) as (primary, (auxiliary,)):
        source = share(primary, auxiliary)
        auxiliary.host.readdress()
        change(source, 1)
        auxiliary.wait_identical("shop", RELINK_S_MAX)


@pytest.mark.slow
def test_two_devices_on_two_networks_meet_on_the_one_that_works(lan: Lan, tmp_path: Path) -> None:
    with (
        Lan() as other,
        machine(lan, tmp_path, "primary") as primary,
        machine(lan, tmp_path, "auxiliary") as auxiliary,
    ):
        for one in (primary, auxiliary):
            one.host.attach(other)
        set_up(primary, auxiliary)
        auxiliary.pair(primary)  # with all the addresses of the token
        source = share(primary, auxiliary)
        primary.host.unplug()
        change(source, 1)
        auxiliary.wait_identical("shop", DEAD_S_MAX)


@pytest.mark.slow
def test_an_auxiliary_that_sleeps_until_its_primary_has_given_it_up(lan: Lan, tmp_path: Path) -> None:
    with paired(lan, tmp_path) as (primary, (auxiliary,)):
        source = share(primary, auxiliary)
        auxiliary.host.unplug()
        with auxiliary.frozen():
            change(source, 1)
            gone = seconds_until(lambda: not connected(primary, auxiliary), DEAD_S_MAX)
            print(f"given up after {gone:.1f} s")
        auxiliary.host.plug()
        print(f"linked {seconds_until(lambda: connected(primary, auxiliary), DEAD_S_MAX):.1f} s after it woke up")
        auxiliary.wait_identical("shop")
