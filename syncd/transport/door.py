"""The listening socket: lets in only so many connections that have not shown who they are (R15).

A stranger keeps a place from the accepted TCP connection until the listener knows the device behind it, or until the
connection ends. When all places are taken, the next one is turned away; those who are turned away try again.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

from syncd.core.errors import UserError
from syncd.transport.address import format_address


class Door(socket.socket):
    """``before_each`` is called before each connection that is let in, so that its handshake finds things current."""

    def __init__(self, bound: socket.socket, strangers_max: int, before_each: Callable[[], None]) -> None:
        super().__init__(bound.family, bound.type, bound.proto, fileno=bound.detach())
        self._strangers_max = strangers_max
        self._before_each = before_each
        self._strangers: list[socket.socket] = []

    def accept(self) -> tuple[socket.socket, object]:
        connection, address = super().accept()
        self._strangers = [stranger for stranger in self._strangers if stranger.fileno() >= 0]
        if len(self._strangers) >= self._strangers_max:
            connection.close()
            raise ConnectionAbortedError("too many strangers")  # the event loop goes on listening
        self._before_each()
        self._strangers.append(connection)
        return connection, address

    def recognize(self, fileno: int) -> None:
        """The connection with this descriptor is a stranger's no more."""
        self._strangers = [stranger for stranger in self._strangers if stranger.fileno() != fileno]


def bind(host: str, port: int) -> socket.socket:
    """A bound TCP socket; port 0 takes a free one. Raises UserError."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        both = host == "::" and socket.has_dualstack_ipv6()
        return socket.create_server(address[:2], family=family, dualstack_ipv6=both)
    except OSError as error:
        raise UserError(
            f"cannot listen on {format_address(host, port)}: {error.strerror or error}",
            "free the port, or set another `listen` in config.toml",
        ) from error
