"""The listening socket: lets in only so many connections that have not shown who they are (R15).

A stranger keeps a place from the accepted TCP connection until the listener knows the device behind it, or until the
connection ends. When all places are taken, the source with most of them loses its oldest, so that nobody locks the
others out. Strangers of the newcomer's own source have a moment first: many auxiliaries behind one address, who all
come at once, must not put each other out in mid-handshake. Who is turned away or put out tries again.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import socket
import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from syncd.core.errors import UserError
from syncd.transport.address import format_address, reason

YOUNG_S = 0.5  # a handshake takes less; then a stranger may lose its place to another of its own source
TELL_S = 60.0  # between two lines of the log about too many strangers
_NET_BITS = 64  # of an IPv6 address: one machine has as many addresses below it as it likes

log = logging.getLogger("syncd.transport")


class _Stranger(NamedTuple):
    connection: socket.socket
    source: str
    since_s: float


class Door(socket.socket):
    """``before_each`` is called before each connection that is let in, so that its handshake finds things current."""

    def __init__(
        self,
        bound: socket.socket,
        strangers_max: int,
        before_each: Callable[[], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(bound.family, bound.type, bound.proto, fileno=bound.detach())
        self._strangers_max = strangers_max
        self._before_each = before_each
        self._now = now
        self._strangers: list[_Stranger] = []  # the oldest first
        self._tell_at = now()

    def accept(self) -> tuple[socket.socket, object]:
        connection, address = super().accept()
        source = source_of(address[0])
        self._strangers = [one for one in self._strangers if one.connection.fileno() >= 0]
        if len(self._strangers) >= self._strangers_max and not self._make_room(source):
            connection.close()
            raise ConnectionAbortedError("too many strangers")  # the event loop goes on listening
        self._before_each()
        self._strangers.append(_Stranger(connection, source, self._now()))
        return connection, address

    def recognize(self, fileno: int) -> None:
        """The connection with this descriptor is a stranger's no more."""
        self._strangers = [one for one in self._strangers if one.connection.fileno() != fileno]

    def _make_room(self, source: str) -> bool:
        """Puts out the oldest stranger of the source with most of them, a newcomer from ``source`` included; not if
        that is the newcomer's own source and even its oldest is young."""
        counts = Counter([source, *(one.source for one in self._strangers)])
        most = max(counts.values())
        self._tell(next(one for one in counts if counts[one] == most))
        oldest = next((one for one in self._strangers if counts[one.source] == most), None)
        if oldest is None or (counts[source] == most and self._now() - oldest.since_s < YOUNG_S):
            return False
        self._strangers.remove(oldest)
        with contextlib.suppress(OSError):  # it hung up by itself
            oldest.connection.shutdown(socket.SHUT_RDWR)  # closing is up to the event loop, which watches it
        return True

    def _tell(self, source: str) -> None:
        now = self._now()
        if now >= self._tell_at:
            self._tell_at = now + TELL_S
            log.warning("too many strangers, most from %s: the oldest of them are put out", source)


def source_of(host: str) -> str:
    """Whom a connection from ``host`` is counted for: the IPv4 address, or the network of the IPv6 address."""
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, _NET_BITS), strict=False))


def bind(host: str, port: int) -> socket.socket:
    """A bound TCP socket; port 0 takes a free one. Raises UserError."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        both = host == "::" and socket.has_dualstack_ipv6()
        return socket.create_server(address[:2], family=family, dualstack_ipv6=both)
    except (OSError, UnicodeError) as error:  # UnicodeError: no name that the network could have
        raise UserError(
            f"cannot listen on {format_address(host, port)}: {reason(error)}",
            "free the port, or set another `listen` in config.toml",
        ) from error
