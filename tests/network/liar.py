"""A process that tells the network that a primary is where it is not, and keeps what comes of it.

``ID8 ADDRESS MODE``: announces the primary of this id at ADDRESS, where it listens; MODE ``stall`` accepts connections
and says nothing, ``tls`` answers with a certificate of its own. It says ``ready``, and what came as JSON at SIGTERM.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import ssl
import sys
import tempfile
import threading
from dataclasses import asdict, dataclass
from pathlib import Path

from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from syncd.discovery.record import SERVICE, Text, instance_name, server_name, text_of
from tests.transport.peers import make_device

READY, CALLED = "ready", "called"


@dataclass
class Came:
    """``connections`` in all; ``greetings``: complete TLS handshakes; ``said``: bytes after them."""

    connections: int = 0
    greetings: int = 0
    said: int = 0


def answer(connection: socket.socket, context: ssl.SSLContext | None, came: Came) -> None:
    came.connections += 1
    print(CALLED, flush=True)
    with connection, contextlib.suppress(OSError):
        if context is None:
            while connection.recv(65536):
                pass
            return
        with context.wrap_socket(connection, server_side=True) as greeted:
            came.greetings += 1
            while piece := greeted.recv(65536):
                came.said += len(piece)


def accept(listening: socket.socket, context: ssl.SSLContext | None, came: Came) -> None:
    while True:
        connection, _ = listening.accept()
        threading.Thread(target=answer, args=(connection, context, came), daemon=True).start()


async def lie(id8: str, address: str, mode: str) -> None:
    came, end = Came(), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end.set)
    listening = socket.create_server((address, 0))
    context = _context() if mode == "tls" else None
    threading.Thread(target=accept, args=(listening, context, came), daemon=True).start()
    port = listening.getsockname()[1]
    info = AsyncServiceInfo(
        SERVICE,
        instance_name(id8),
        addresses=[socket.inet_aton(address)],
        port=port,
        properties=text_of(Text(id8, port)),
        server=server_name(id8),
    )
    async with AsyncZeroconf(interfaces=[address]) as zeroconf:
        await (await zeroconf.async_register_service(info, cooperating_responders=True))
        print(READY, flush=True)
        await end.wait()
    print(json.dumps(asdict(came)), flush=True)


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as directory:
        context.load_cert_chain(make_device(Path(directory), "primary").identity)
    return context


if __name__ == "__main__":
    asyncio.run(lie(*sys.argv[1:4]))
