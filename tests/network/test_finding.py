"""Devices that find each other by mDNS on a real network, without any address: set up, started, cut, moved.

The figures of the README are measured here: `pytest -s tests/network/test_finding.py`.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e import shop, trust
from tests.e2e.harness import set_up, start
from tests.network.avahi import Avahi, Service, why_no_avahi
from tests.network.lan import Lan
from tests.network.machines import Machine, finder, found, pair_by_code
from tests.pace import slower
from tests.wait import eventually_blocking, seconds_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

START_S_MAX = 3.0
PAIR_S_MAX = 1.0
RELINK_S_MAX = 1.0
FOUND_S_MAX = 20.0  # after the announcement, on a machine that has much to do; a dialer's pauses grow to more
ANNOUNCED_S_MAX = 1.0  # the network settles, and the first packet is sent
PATIENCE_S = 45.0
TIMES = 8


def reaches(what: str, most_s: float, measure: Callable[[], float]) -> None:
    """Other programs use this machine, too: it is enough once in a few times."""
    most_s *= slower()
    times = [measure()]
    while times[-1] > most_s and len(times) < TIMES:
        times.append(measure())
    print(f"{what}: {', '.join(f'{one:.2f}' for one in times)} s")
    assert min(times) <= most_s, what


def share(primary: Machine, *auxiliaries: Machine, goods: int = 0) -> Path:
    """All are identical when it returns."""
    source = shop.make(primary.directory / "shop.db", goods)
    primary.share("shop", source)
    for auxiliary in auxiliaries:
        auxiliary.accept("shop")
    for auxiliary in auxiliaries:
        auxiliary.wait_identical("shop")
    return source


def change(source: Path, stock: int) -> None:
    shop.execute(source, f"UPDATE goods SET stock = {stock}")


def identical_s(auxiliary: Machine, begin: float) -> float:
    """From the beginning until a change of just before it is there."""
    auxiliary.wait_identical("shop", PATIENCE_S)
    return time.monotonic() - begin


# ---------------------------------------------------------------- the figures


@pytest.mark.alone
def test_auxiliaries_are_set_up_with_a_code_each_and_nothing_else(lan: Lan, tmp_path: Path) -> None:
    with finder(lan, tmp_path, "primary") as primary:
        primary.init("primary")
        primary.start()
        numbers = itertools.count(1)

        def pair() -> float:
            with finder(lan, tmp_path, f"auxiliary-{next(numbers)}") as auxiliary:
                auxiliary.init("auxiliary")
                auxiliary.start()
                took = pair_by_code(auxiliary, primary)
                assert auxiliary.linked
            return took

        for _ in range(2):
            pair()
        reaches("`syncd pair CODE`", PAIR_S_MAX, pair)
        names = [f"auxiliary-{number}" for number in range(1, next(numbers))]
        assert [one["own_name"] for one in trust.devices(primary)] == names


@pytest.mark.alone
def test_daemons_that_are_started_are_soon_identical(lan: Lan, tmp_path: Path) -> None:
    """Also where the primary was given another address meanwhile, so that only mDNS tells where it is."""
    with found(lan, tmp_path) as (primary, (auxiliary,)):
        share(primary, auxiliary)

        def start() -> float:
            begin = time.monotonic()
            for machine in (primary, auxiliary):
                machine.start(wait=False)
            return identical_s(auxiliary, begin)

        def start_again() -> float:
            for machine in (auxiliary, primary):
                machine.stop()
            return start()

        def start_elsewhere() -> float:
            for machine in (auxiliary, primary):
                machine.stop()
            primary.host.readdress()
            return start()

        reaches("start of both daemons -> identical", START_S_MAX, start_again)
        reaches("the same, the primary at another address", START_S_MAX, start_elsewhere)


@pytest.mark.alone
def test_a_link_that_was_dropped_is_soon_there_again(lan: Lan, tmp_path: Path) -> None:
    with found(lan, tmp_path) as (primary, (auxiliary,)):
        source = share(primary, auxiliary, goods=10)
        stock = iter(range(1000, 2000))

        def drop(machine: Machine) -> float:
            before = links(auxiliary)
            change(source, next(stock))
            begin = time.monotonic()
            killed = machine.host.run("ss", "--kill", "--no-header", "state", "established", f"sport = :{port}")
            if "ESTAB" not in killed and not killed.strip():
                pytest.skip("`ss --kill` ends no connection here (the kernel needs CONFIG_INET_DIAG_DESTROY)")
            seconds_until(lambda: links(auxiliary) > before and auxiliary.linked, PATIENCE_S)
            took = time.monotonic() - begin
            auxiliary.wait_identical("shop")
            return took

        port = primary.port
        reaches("a link that was dropped -> linked", RELINK_S_MAX, lambda: drop(primary))


def links(auxiliary: Machine) -> int:
    """How many links it had."""
    return auxiliary.log.read_text().count("INFO linked with")


# ---------------------------------------------------------------- a network that changes


def test_whoever_was_cut_off_is_found_when_the_network_is_whole_again(lan: Lan, tmp_path: Path) -> None:
    with found(lan, tmp_path, auxiliaries=3) as (primary, auxiliaries):
        source = share(primary, *auxiliaries, goods=10)
        *near, far = auxiliaries
        lan.partition({primary.host, *(one.host for one in near)}, {far.host})
        change(source, 1)
        for auxiliary in near:
            auxiliary.wait_identical("shop")
        far.restart()  # it has no link, and nobody hears it
        lan.heal()
        begin = time.monotonic()
        print(f"identical {identical_s(far, begin):.2f} s after the network was whole")
        for machine in (*auxiliaries, primary):
            machine.stop()  # without a traceback in its log


def test_a_primary_that_gets_another_address_is_found_there(lan: Lan, tmp_path: Path) -> None:
    with found(lan, tmp_path) as (primary, (auxiliary,)):
        source = share(primary, auxiliary, goods=10)
        for stock in range(1, 3):
            pid = auxiliary.pid
            primary.host.readdress()
            begin = time.monotonic()
            change(source, stock)
            took = identical_s(auxiliary, begin)
            print(f"identical {took:.2f} s after the primary had another address")
            assert took <= ANNOUNCED_S_MAX + FOUND_S_MAX
            assert auxiliary.pid == pid


def test_an_auxiliary_that_gets_another_address_finds_its_primary(lan: Lan, tmp_path: Path) -> None:
    with found(lan, tmp_path) as (primary, (auxiliary,)):
        source = share(primary, auxiliary, goods=10)
        auxiliary.host.readdress()
        begin = time.monotonic()
        change(source, 1)
        took = identical_s(auxiliary, begin)
        print(f"identical {took:.2f} s after the auxiliary had another address")
        assert took <= ANNOUNCED_S_MAX + FOUND_S_MAX


def test_a_primary_that_is_started_at_another_port_is_found_there(lan: Lan, tmp_path: Path) -> None:
    with found(lan, tmp_path) as (primary, (auxiliary,)):
        source = share(primary, auxiliary, goods=10)
        port = primary.port
        primary.stop()
        trust.set_config(primary, "listen", f"0.0.0.0:{port + 10}")
        change(source, 1)
        primary.start()
        took = identical_s(auxiliary, time.monotonic())
        print(f"identical {took:.2f} s after the primary was started at another port")
        assert took <= ANNOUNCED_S_MAX + FOUND_S_MAX


def test_an_interface_that_was_down_is_used_as_soon_as_it_is_up(lan: Lan, tmp_path: Path) -> None:
    with found(lan, tmp_path) as (primary, (auxiliary,)):
        source = share(primary, auxiliary, goods=10)
        for machine in (primary, auxiliary):
            machine.host.run("ip", "link", "set", "eth0", "down")
            change(source, 5 if machine is primary else 6)
            auxiliary.restart()  # it begins without its primary, or without a network
            assert not auxiliary.linked
            machine.host.run("ip", "link", "set", "eth0", "up")
            took = identical_s(auxiliary, time.monotonic())
            print(f"identical {took:.2f} s after the interface of the {machine.name} was up")
            assert took <= ANNOUNCED_S_MAX + FOUND_S_MAX


def test_devices_meet_on_a_second_network_that_comes_later(lan: Lan, tmp_path: Path) -> None:
    with Lan() as other, found(lan, tmp_path) as (primary, (auxiliary,)):
        source = share(primary, auxiliary, goods=10)
        for machine in (primary, auxiliary):
            machine.host.attach(other)
        primary.host.unplug()
        begin = time.monotonic()
        change(source, 1)
        took = identical_s(auxiliary, begin)
        print(f"identical {took:.2f} s after the first network was gone")
        assert took <= ANNOUNCED_S_MAX + FOUND_S_MAX


def test_a_daemon_that_comes_back_beside_its_own_dead_link_is_no_copy(lan: Lan, tmp_path: Path) -> None:
    """It was killed while its cable was out: the primary was not told, and has a link of it still."""
    with found(lan, tmp_path) as (primary, (auxiliary,)):
        source = share(primary, auxiliary, goods=10)
        auxiliary.host.unplug()
        auxiliary.kill()
        assert trust.linked(primary, auxiliary.name)
        change(source, 1)
        auxiliary.start()
        auxiliary.host.plug()
        took = identical_s(auxiliary, time.monotonic())
        print(f"identical {took:.2f} s after the cable was in")
        assert took <= ANNOUNCED_S_MAX + FOUND_S_MAX
        assert not trust.device(primary, auxiliary.name)["copied"]


# ---------------------------------------------------------------- avahi, no multicast, chosen interfaces


def test_devices_find_each_other_beside_avahi(lan: Lan, tmp_path: Path) -> None:
    if reason := why_no_avahi():
        pytest.skip(reason)
    with (
        finder(lan, tmp_path, "primary") as primary,
        finder(lan, tmp_path, "auxiliary") as auxiliary,
        Avahi(primary.host, tmp_path / "avahi-1"),
        Avahi(auxiliary.host, tmp_path / "avahi-2") as avahi,
    ):
        set_up(primary, auxiliary)
        assert pair_by_code(auxiliary, primary) <= FOUND_S_MAX
        share(primary, auxiliary)
        id8 = trust.device_id(primary)[:8].lower()
        text = f'"id={id8}" "role=primary" "v=1"'
        seen = Service(f"syncd-{id8}", f"syncd-{id8}.local", primary.host.address, primary.port, text)
        eventually_blocking(lambda: seen in map(_sorted, avahi.services("_syncd._tcp")), what=f"avahi sees {seen}")


def _sorted(service: Service) -> Service:
    return replace(service, text=" ".join(sorted(service.text.split())))


def test_devices_meet_by_address_where_nobody_passes_multicast(lan: Lan, tmp_path: Path) -> None:
    """With discovery, which hears nothing, and without."""
    for number, discovers in enumerate((True, False)):
        directory = tmp_path / str(number)
        with finder(lan, directory, f"desk-{number}") as primary, finder(lan, directory, f"pad-{number}") as auxiliary:
            lan.block_multicast()
            primary.discovers = auxiliary.discovers = discovers
            set_up(primary, auxiliary)
            shown = trust.show_code(primary)
            assert shown.place.startswith(primary.host.address)
            auxiliary.cli("pair", shown.code, "--address", shown.place)
            auxiliary.primary = primary
            share(primary, auxiliary)
            for machine in (auxiliary, primary):
                machine.stop()
            start(auxiliary, primary)
            auxiliary.wait_identical("shop")


def test_a_primary_is_found_on_the_networks_that_were_chosen_only(lan: Lan, tmp_path: Path) -> None:
    with ExitStack() as stack:
        other = stack.enter_context(Lan())

        def started(on: Lan, name: str, role: str, *chosen: str) -> Machine:
            made = stack.enter_context(finder(on, tmp_path, name))
            if role == "primary":
                made.host.attach(other)
            made.init(role, *chosen)
            made.start()
            return made

        tries = []
        for number, chosen in enumerate((("--interface", "eth1"), ("--exclude-interface", "eth0"))):
            primary = started(lan, f"desk-{number}", "primary", *chosen)
            outside = started(lan, f"outside-{number}", "auxiliary")
            tries.append((primary, outside.begin("pair", trust.show_code(primary).code)))
            pair_by_code(started(other, f"inside-{number}", "auxiliary"), primary)
        for number, (primary, looks) in enumerate(tries):
            said, _ = looks.communicate(timeout=PATIENCE_S)
            assert looks.returncode == 1
            assert "no primary that pairs is heard on this network" in said
            assert [one["own_name"] for one in trust.devices(primary)] == [f"inside-{number}"]
