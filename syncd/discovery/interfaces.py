"""The network interfaces of this machine and their addresses, read and chosen.

An interface counts while it is up and has a carrier: a cable that is pulled takes it away. Names in settings are those
of interfaces, with patterns (``veth*``), or addresses. Without names, all that can multicast are used, loopback not;
nothing is guessed about which of them are worth it.
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_address, ip_interface

import ifaddr

_SIOCGIFFLAGS = 0x8913
_UP, _LOOPBACK, _RUNNING, _MULTICAST = 0x1, 0x8, 0x40, 0x1000
_FAR = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))  # for documentation: nobody has them
_ADDRESSES_MAX = 16  # of one interface; more are passed over

Address = IPv4Interface | IPv6Interface


@dataclass(frozen=True, slots=True)
class Interface:
    """``addresses``: those that can be used, a tentative one (IPv6) not yet."""

    name: str
    index: int
    loopback: bool
    multicast: bool
    addresses: tuple[Address, ...]


def read() -> tuple[Interface, ...]:
    """The interfaces that are up and have an address. Raises OSError."""
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for adapter in ifaddr.get_adapters():
            name, index = str(adapter.name), adapter.index or 0
            flags = _flags(probe, name)
            if index and flags & _UP and flags & _RUNNING:
                addresses = [_address(each) for each in adapter.ips[:_ADDRESSES_MAX]]
                usable = tuple(sorted({each for each in addresses if _usable(each, index)}, key=_order))
                if usable:
                    found.append(Interface(name, index, bool(flags & _LOOPBACK), bool(flags & _MULTICAST), usable))
    return tuple(sorted(found, key=lambda interface: interface.name))


def outward() -> frozenset[IPv4Address | IPv6Address]:
    """The addresses that this machine uses towards far networks, if any. Nothing is sent."""
    found = set()
    for family, far in _FAR:
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((far, 9))
            found.add(ip_address(probe.getsockname()[0]))
    return frozenset(found)


def choose(all_up: Sequence[Interface], named: Sequence[str], excluded: Sequence[str]) -> tuple[Interface, ...]:
    """Those that are named (without names: all that can multicast, loopback not) and not excluded. An address in
    place of a name takes or leaves out that one address."""
    chosen = []
    for interface in all_up:
        addresses = [
            address
            for address in interface.addresses
            if _takes(interface, address, named) and not _names(interface, address, excluded)
        ]
        if addresses:
            chosen.append(
                Interface(interface.name, interface.index, interface.loopback, interface.multicast, tuple(addresses))
            )
    return tuple(chosen)


def sockets_for(interface: Interface) -> list[Address]:
    """The addresses to speak from: one of each family. A second one of the same interface adds nothing but doubles
    each word. IPv6 on loopback has no multicast."""
    v4 = [each for each in interface.addresses if each.version == 4]
    v6 = [each for each in interface.addresses if each.version == 6 and not interface.loopback]
    v6.sort(key=lambda each: not each.is_link_local)
    return [*v4[:1], *v6[:1]]


def _takes(interface: Interface, address: Address, named: Sequence[str]) -> bool:
    return _names(interface, address, named) if named else interface.multicast and not interface.loopback


def _names(interface: Interface, address: Address, names: Sequence[str]) -> bool:
    return any(fnmatchcase(interface.name, name) or str(address.ip) == name for name in names)


def _flags(probe: socket.socket, name: str) -> int:
    try:
        answer = fcntl.ioctl(probe, _SIOCGIFFLAGS, struct.pack("256s", name.encode()[:15]))
    except OSError:
        return 0  # it went meanwhile
    return int(struct.unpack_from("H", answer, 16)[0])


def _address(ip: ifaddr.IP) -> Address:
    host = ip.ip if isinstance(ip.ip, str) else ip.ip[0]
    return ip_interface(f"{host.partition('%')[0]}/{ip.network_prefix}")


def _usable(address: Address, index: int) -> bool:
    """Whether a socket can be bound to it: not to one that is tentative."""
    if address.version == 4:
        return True
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address.ip), 0, 0, index if address.is_link_local else 0))
    except OSError:
        return False
    return True


def _order(address: Address) -> tuple[int, bool, int]:
    return address.version, address.is_link_local, int(address.ip)
