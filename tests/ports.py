"""Ports that nobody gets by chance: below those that the system gives to connections, and to whoever asks for any."""

from __future__ import annotations

import contextlib
import secrets
import socket

from syncd.core.errors import UserError
from syncd.transport.door import bind

_PORTS = range(10_000, 32_000)


def two_listening(host: str = "127.0.0.1") -> tuple[socket.socket, socket.socket]:
    """At one port and at the next. Once closed, that port stays free, and nobody answers at it."""
    while True:
        port = secrets.choice(_PORTS)
        with contextlib.ExitStack() as stack, contextlib.suppress(UserError):
            one, after = (stack.enter_context(bind(host, each)) for each in (port, port + 1))
            stack.pop_all()
            return one, after


def free_port(host: str = "127.0.0.1") -> int:
    """It stays free, and nobody answers at it."""
    listening, after = two_listening(host)
    with listening, after:
        return int(listening.getsockname()[1])
