"""The listening socket: lets in only so many connections that have not shown who they are (R15).

A stranger keeps a place from the accepted TCP connection until the listener knows the device behind it, or until the
connection ends. A source (an address) has a few places, and when all places are taken, the source with most of them
loses its oldest, so that nobody locks the others out. Strangers of the newcomer's own source have a moment first: many
auxiliaries behind one address, who all come at once, must not put each other out in mid-handshake. A source whose
connections come to nothing too often is turned away before anything is spent on it, and so are all sources together
when they come too fast, except where a paired device came from before, in the life of an earlier daemon as well: a
flood from many addresses neither keeps the daemon busy nor locks devices out that come back. Who is turned away or put
out tries again.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple

from websockets.asyncio.connection import Connection

from syncd.core.errors import UserError
from syncd.core.settings import Limits
from syncd.transport.address import format_address, reason
from syncd.transport.tries import Tries

YOUNG_S = 0.5  # a handshake takes less; then a stranger may lose its place to another of its own source
HOMES_MAX = 4_096
TELL_S = 60.0  # between two lines of the log about too many strangers
_NET_BITS = 64  # of an IPv6 address: one machine has as many addresses below it as it likes

log = logging.getLogger("syncd.transport")


class _Stranger(NamedTuple):
    connection: socket.socket
    address: str
    source: str
    since_s: float


class Door(socket.socket):
    """``homes``: addresses that paired devices came from, the latest last. ``soon``: calls a function in the next turn
    of the loop."""

    def __init__(
        self,
        bound: socket.socket,
        limits: Limits,
        homes: Iterable[str] = (),
        now: Callable[[], float] = time.monotonic,
        soon: Callable[[Callable[[], None]], object] | None = None,
    ) -> None:
        super().__init__(bound.family, bound.type, bound.proto, fileno=bound.detach())
        self._limits = limits
        self._now = now
        self._soon = soon or asyncio.get_running_loop().call_soon
        self._strangers: list[_Stranger] = []  # the oldest first
        self._leaving: list[_Stranger] = []  # were put out, and are closed soon
        self._is_shut = False
        self._tries = Tries(limits.stranger_tries_max, limits.stranger_tries_per_s_max)
        self._all_tries = Tries(limits.strangers_per_s_max, limits.strangers_per_s_max)
        self._homes: dict[str, None] = {}
        for host in homes:
            self.expect(host)
        self._taken = 0  # in this turn of the loop
        self._tell_at = now()

    def accept(self) -> tuple[socket.socket, object]:
        if self._is_shut:
            raise BlockingIOError  # as if nobody waited
        self._take_turns()
        connection, address = super().accept()
        source, now_s = self.source_of(address[0]), self._now()
        spent = self._tries.spend(source, now_s) and (source in self._homes or self._all_tries.spend("", now_s))
        if not spent or not self._find_place(source):
            connection.close()
            raise ConnectionAbortedError("too many strangers")  # the event loop goes on listening
        self._strangers.append(_Stranger(connection, str(_address(address[0])), source, now_s))
        return connection, address

    def _take_turns(self) -> None:
        """asyncio takes all that wait at once; links that are open must not wait for so long."""
        if self._taken == 0:
            self._soon(self._next_turn)
        if self._taken >= self._limits.accepts_max:
            raise BlockingIOError
        self._taken += 1

    def _next_turn(self) -> None:
        self._taken = 0

    def recognize(self, connection: Connection) -> None:
        """The connection is a device's: it was no try, and who comes from there has a place before others."""
        known = connection.transport.get_extra_info("socket")
        if known is None:
            return  # it was lost meanwhile; whoever reads from it finds that
        fileno = known.fileno()
        for one in [one for one in self._strangers if one.connection.fileno() == fileno]:
            self._strangers.remove(one)
            self._tries.give_back(one.source)
            if one.address not in self._homes:
                self._all_tries.give_back("")
            self.expect(one.address)

    def expect(self, host: str) -> None:
        """A paired device comes from there: it has a place before others."""
        self._add_home(str(_address(host)))

    def source_of(self, host: str) -> str:
        """Whom a connection from ``host`` is counted for: its address, or the network of an IPv6 address that no paired
        device came from: neighbours on that network must not use up what the device may."""
        address = _address(host)
        if isinstance(address, ipaddress.IPv4Address) or str(address) in self._homes:
            return str(address)
        return str(ipaddress.ip_network((address, _NET_BITS), strict=False))

    def _add_home(self, address: str) -> None:
        self._homes.pop(address, None)
        self._homes[address] = None
        if len(self._homes) > HOMES_MAX:
            del self._homes[next(iter(self._homes))]

    def shut(self) -> None:
        """Nobody is let in any more."""
        self._is_shut = True

    @property
    def has_strangers(self) -> bool:
        """Whether any is connected, those who were put out and are not closed yet among them."""
        return any(one.connection.fileno() >= 0 for one in (*self._strangers, *self._leaving))

    def put_all_out(self) -> None:
        """No stranger stays, wherever in the handshake."""
        while self._strangers:
            self._show_out(self._strangers[0])

    def _find_place(self, source: str) -> bool:
        self._strangers = [one for one in self._strangers if one.connection.fileno() >= 0]
        counts = Counter(one.source for one in self._strangers)
        if counts[source] >= self._limits.strangers_of_address_max:
            return self._put_out(source, self._limits.strangers_of_address_max, source)
        if len(self._strangers) < self._limits.strangers_max:
            return True
        counts[source] += 1
        others = {one: count for one, count in counts.items() if one not in self._homes} or counts
        most = max(others.values())
        return self._put_out(next(one for one in others if others[one] == most), most, source)

    def _put_out(self, crowd: str, count: int, newcomer: str) -> bool:
        """Puts out the oldest stranger of the source with ``count`` of them; not if that is the newcomer's own source
        and even its oldest is young."""
        self._tell(crowd, count)
        oldest = next((one for one in self._strangers if one.source == crowd), None)
        if oldest is None or (crowd == newcomer and self._now() - oldest.since_s < YOUNG_S):
            return False
        self._show_out(oldest)
        return True

    def _show_out(self, stranger: _Stranger) -> None:
        self._strangers.remove(stranger)
        self._leaving = [one for one in (*self._leaving, stranger) if one.connection.fileno() >= 0]
        with contextlib.suppress(OSError):  # it hung up by itself
            stranger.connection.shutdown(socket.SHUT_RDWR)  # closing is up to the event loop, which watches it

    def _tell(self, source: str, count: int) -> None:
        now = self._now()
        if now >= self._tell_at:
            self._tell_at = now + TELL_S
            log.warning("too many strangers, %d from %s: the oldest of them are put out", count, source)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Without the interface of a link-local one; an IPv4 address that came by way of IPv6 is one."""
    address = ipaddress.ip_address(host.partition("%")[0])
    return (address.ipv4_mapped or address) if isinstance(address, ipaddress.IPv6Address) else address


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
