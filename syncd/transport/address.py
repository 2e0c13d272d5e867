"""Addresses ``host:port``: reading them, writing them, and those of this machine.

An IPv6 host stands in brackets: ``[::1]:8765``.
"""

from __future__ import annotations

import os
import re
import socket
import struct
import sys
from collections.abc import Sequence
from pathlib import Path

from syncd.core.errors import UserError

_SIOCGIFADDR = 0x8915  # Linux: the IPv4 address of an interface
_INTERFACES6 = Path("/proc/self/net/if_inet6")  # Linux: address, index, prefix, scope, flags, name
_GLOBAL, _UNUSABLE = 0x00, 0x40 | 0x08 | 0x20  # of IPv6: a scope; flags: tentative, failed, deprecated
_FAR = (  # addresses for documentation: connecting a UDP socket sends nothing, it only asks for the route
    (socket.AF_INET, "192.0.2.1"),
    (socket.AF_INET6, "2001:db8::1"),
)
_NUMBER = re.compile(r"\[Errno (\d+)\]")
_EVERYWHERE = frozenset(("", "0.0.0.0", "::"))  # noqa: S104 (compared with, not bound)


def parse_address(text: str) -> tuple[str, int]:
    """Host and port of ``host:port``. Raises UserError."""
    host, colon, port = text.strip().rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    good_host = host and host.isprintable() and (":" not in host or bracketed)
    if not (colon and good_host and port.isascii() and port.isdigit() and len(port) <= 5 and int(port) < 65536):
        raise UserError(f"{text!r} is no address", "write HOST:PORT, or [HOST]:PORT for IPv6")
    return host, int(port)


def format_address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reason(error: OSError | UnicodeError) -> str:
    """Why an address cannot be used, in few words: asyncio puts the address and a number instead of them, and all
    that failed in a row where a name has several addresses."""
    if isinstance(error, UnicodeError):
        return "this is no host name"
    if isinstance(error, socket.gaierror):
        return error.strerror or "no such host"
    number = error.errno or next((int(found[1]) for found in _NUMBER.finditer(str(error))), 0)
    return os.strerror(number) if number else str(error) or "the connection was broken off"


def addresses(host: str, port: int) -> list[str]:
    """Where others reach what is bound to ``host``: that host, or all addresses of this machine, loopback last."""
    if host not in _EVERYWHERE:
        return [format_address(host, port)]
    found = [*_routed(), *_of_interfaces()]
    found.sort(key=_is_loopback)
    if host == "0.0.0.0":  # noqa: S104 (compared with, not bound)
        found = [one for one in found if ":" not in one]
    return [format_address(one, port) for one in dict.fromkeys([*found, "127.0.0.1"])]


def kept(answered: str, named: Sequence[str]) -> tuple[str, ...]:
    """The addresses of another machine to keep, of those that it named, the one that answered first. Loopback stays
    only if it answered: elsewhere it means the machine that dials, and whatever listens there."""
    far = [one for one in named if not _is_loopback(parse_address(one)[0])]
    return tuple(dict.fromkeys((answered, *far)))


def _is_loopback(host: str) -> bool:
    return host.startswith("127.") or host in ("::1", "localhost")


def _routed() -> list[str]:
    """The addresses this machine uses towards far networks."""
    found = []
    for family, far in _FAR:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((far, 9))
                found.append(str(probe.getsockname()[0]))
        except OSError:
            continue  # no route to there, or no such family
    return found


def _of_interfaces() -> list[str]:
    """The addresses of the interfaces: a network without a default route has no far address."""
    if not sys.platform.startswith("linux"):
        return []
    import fcntl

    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(probe, _SIOCGIFADDR, struct.pack("256s", os.fsencode(name)))
            except OSError:
                continue  # an interface without an IPv4 address
            found.append(socket.inet_ntoa(answer[20:24]))
    return [*found, *_of_interfaces6()]


def _of_interfaces6() -> list[str]:
    """Those of IPv6 that other machines can dial as they are: no link-local ones, which need the dialer's interface."""
    try:
        lines = _INTERFACES6.read_text("utf-8", "replace").splitlines()
    except OSError:
        return []  # no IPv6
    found = []
    for line in lines:
        address, _, _, scope, flags = line.split()[:5]
        if int(scope, 16) == _GLOBAL and not int(flags, 16) & _UNUSABLE:
            found.append(socket.inet_ntop(socket.AF_INET6, bytes.fromhex(address)))
    return found
