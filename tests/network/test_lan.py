"""The network that the other tests here run on does what they think it does."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.network.avahi import Avahi, Service, why_no_avahi
from tests.network.lan import ROOT, Host, Lan, sweep
from tests.network.service import KIND
from tests.wait import eventually_blocking

pytestmark = pytest.mark.e2e

KILLED = """
import os, signal
from tests.network.lan import Lan
with Lan() as lan:
    lan.host("left")
    print(lan.namespace("left"), flush=True)
    {rest}
"""


@contextlib.contextmanager
def service(host: Host, directory: Path, *arguments: str) -> Iterator[Path]:
    """``tests/network/service.py`` on the host; gives the file with its lines, the first of which is there."""
    log = directory / f"{host.name}-{arguments[0]}.log"
    with host.running(sys.executable, "-m", "tests.network.service", *arguments, log=log):
        eventually_blocking(log.read_text, what=f"{arguments[0]} on {host.name} began")
        yield log


def wait_line(log: Path, line: str) -> None:
    eventually_blocking(lambda: line in log.read_text().splitlines(), what=f"{line!r} in {log}")


def addresses(host: Host) -> str:
    return host.run("ip", "address", "show", "dev", "eth0")


def test_hosts_reach_each_other_at_once_by_every_kind_of_address(lan: Lan) -> None:
    one, two = lan.host("one"), lan.host("two")
    assert one.reaches(two)
    assert two.reaches(one)
    assert one.reaches(two.address6)
    link_local = re.findall(r"fe80::[0-9a-f:]+", addresses(two))
    assert one.reaches(f"{link_local[0]}%eth0")
    assert "tentative" not in addresses(one)
    assert one.reaches("127.0.0.1"), "its loopback is up"
    assert "eth0" in one.run("ip", "route", "get", "192.0.2.1"), "it has a way to far networks"


def test_a_partition_divides_the_hosts_and_is_healed(lan: Lan) -> None:
    one, two, three = (lan.host(name) for name in ("one", "two", "three"))
    lan.partition({one}, {two, three})
    assert "NO-CARRIER" not in addresses(one)
    assert [one.reaches(two, 0.2), two.reaches(three)] == [False, True]
    lan.partition({one, two}, {three})
    assert [one.reaches(two), two.reaches(three, 0.2)] == [True, False]
    lan.heal()
    assert [one.reaches(three), two.reaches(three)] == [True, True]


def test_a_cable_that_is_unplugged_and_plugged_again(lan: Lan) -> None:
    one, two = lan.host("one"), lan.host("two")
    one.unplug()
    assert "NO-CARRIER" in addresses(one)
    assert one.address in addresses(one)
    assert not two.reaches(one, 0.2)
    one.plug()
    assert two.reaches(one)


def test_a_host_with_another_address(lan: Lan) -> None:
    one, two = lan.host("one"), lan.host("two")
    before = one.address
    assert one.readdress() == one.address != before
    assert before not in addresses(one).replace("/", " ").split()
    assert two.reaches(one)
    assert one.reaches(two)


def test_a_host_on_two_networks(lan: Lan) -> None:
    with Lan() as other:
        one, two, far = lan.host("one"), lan.host("two"), other.host("far")
        cable = one.attach(other)
        assert cable.address.startswith(other.network)
        assert [one.reaches(two), one.reaches(far), two.reaches(far, 0.2)] == [True, True, False]
        one.unplug()
        assert [one.reaches(two, 0.2), one.reaches(far)] == [False, True]


def test_multicast_passes_between_hosts_but_not_out_of_a_partition(lan: Lan, tmp_path: Path) -> None:
    one, two, three = (lan.host(name) for name in ("one", "two", "three"))
    lan.partition({one, two}, {three})
    with service(two, tmp_path, "browse") as near, service(three, tmp_path, "browse") as far:
        with service(one, tmp_path, "announce", "shop", "1234", one.address):
            wait_line(near, f"+ shop {one.address} 1234")
        wait_line(near, "- shop")
        assert far.read_text() == "browsing\n"


def test_avahi_and_zeroconf_see_each_others_services(lan: Lan, tmp_path: Path) -> None:
    if reason := why_no_avahi():
        pytest.skip(reason)
    one, two = lan.host("one"), lan.host("two")
    expected = Service("shop", "shop.local", two.address, 1234, '"v=1"')
    with Avahi(one, tmp_path / "avahi") as avahi, service(two, tmp_path, "browse") as browser:
        avahi.publish("printer", KIND, 631)
        with service(two, tmp_path, "announce", "shop", "1234", two.address):
            eventually_blocking(lambda: expected in avahi.services(KIND), what="avahi sees the service")
            wait_line(browser, f"+ printer {one.address} 631")
        eventually_blocking(lambda: expected not in avahi.services(KIND), what="avahi heard the goodbye")


@pytest.mark.parametrize(
    ("rest", "left"), [("os.kill(os.getpid(), signal.SIGINT)", False), ("os.kill(os.getpid(), signal.SIGKILL)", True)]
)
def test_what_a_run_leaves_that_was_killed_is_removed_by_the_next(lan: Lan, rest: str, left: bool) -> None:
    command = [sys.executable, "-c", KILLED.format(rest=rest)]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    namespace = Path("/run/netns") / done.stdout.strip()
    assert done.returncode == -(signal.SIGKILL if left else signal.SIGINT), done.stderr
    assert namespace.name.endswith("-left")
    assert namespace.exists() is left
    sweep()
    assert not namespace.exists()
    assert lan.host("still").address, "the network of a run that lives is left alone"
