"""Which interfaces are used, and which of their addresses."""

from __future__ import annotations

import re
from ipaddress import ip_interface

import pytest

from syncd.discovery.interfaces import Interface, choose, read, sockets_for


def interface(name: str, *addresses: str, loopback: bool = False, multicast: bool = True) -> Interface:
    return Interface(name, 1, loopback, multicast, tuple(ip_interface(each) for each in addresses))


LO = interface("lo", "127.0.0.1/8", "::1/128", loopback=True, multicast=False)
ETH = interface("eth0", "10.0.0.1/24", "10.0.0.2/24", "fd00::1/64", "fe80::1/64")
VETH = interface("veth12ab", "fe80::2/64")
TUN = interface("wg0", "10.9.0.1/24", multicast=False)
UP = (ETH, LO, VETH, TUN)


@pytest.mark.parametrize(
    ("named", "excluded", "chosen"),
    [
        ((), (), "eth0 veth12ab"),
        ((), ("veth*",), "eth0"),
        ((), ("*",), ""),
        (("lo",), (), "lo"),
        (("eth0", "wg0"), (), "eth0 wg0"),
        (("*",), ("lo",), "eth0 veth12ab wg0"),
        (("eth0",), ("eth0",), ""),
        (("eth1",), (), ""),
        (("127.0.0.1",), (), "lo"),
    ],
)
def test_interfaces_are_named_and_excluded(named: tuple[str, ...], excluded: tuple[str, ...], chosen: str) -> None:
    assert " ".join(each.name for each in choose(UP, named, excluded)) == chosen


def test_a_single_address_is_named_or_excluded() -> None:
    assert choose(UP, ("10.0.0.2",), ()) == (interface("eth0", "10.0.0.2/24"),)
    assert choose(UP, ("eth0",), ("10.0.0.1", "fe80::1")) == (interface("eth0", "10.0.0.2/24", "fd00::1/64"),)


def test_one_address_of_each_family_speaks_and_on_loopback_ipv4_alone() -> None:
    assert [str(each.ip) for each in sockets_for(ETH)] == ["10.0.0.1", "fe80::1"]
    assert [str(each.ip) for each in sockets_for(LO)] == ["127.0.0.1"]


def test_this_machine_has_loopback() -> None:
    [lo] = [each for each in read() if each.name == "lo"]
    assert lo.loopback
    assert "127.0.0.1" in [str(each.ip) for each in lo.addresses]
    assert all(re.fullmatch(r"[^%]+/\d+", str(address)) for each in read() for address in each.addresses)
