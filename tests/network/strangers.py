"""Strangers: a process that opens connections to a daemon and shows nothing that the daemon knows.

    with Strangers("no-certificate", primary.address, at_once=100) as strangers:
        ...
    print(strangers.report)

The modes are in ``MODES``, and HANG_UP. It runs here or on a host of ``tests/network/lan.py`` (``prefix``). Each of
``at_once`` callers does one thing, again and again, from one of ``sources``; it hangs up when the daemon does, or when
it has waited for ``hold_s``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime
import itertools
import json
import os
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

ROOT = Path(__file__).resolve().parents[2]
SLOW_PAUSE_S = 0.2  # between two bytes of a slow greeting
READY = "ready"
_END_S_MAX = 60.0
_GARBAGE = bytes(range(256)) * 16
_UPGRADE = (
    b"GET /pair HTTP/1.1\r\nHost: syncd\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: c3RyYW5nZXJzLi4uLi4uLg==\r\n\r\n"
)
_FULL_S = 0.02  # a connection that takes longer was not even queued; the next one may be
_NO_WAIT = struct.pack("ii", 1, 0)  # SO_LINGER: closing resets, so that no port of ours stays in TIME_WAIT


@dataclass(frozen=True, slots=True)
class Report:
    """What came of it: connections that came to be, those the daemon closed, and what else happened by its kind."""

    mode: str
    seconds: float
    connections: int
    closed_by_daemon: int
    errors: dict[str, int]

    @property
    def per_s(self) -> float:
        return self.connections / self.seconds


class Strangers:
    """``niceness``: they give way to the daemon and to whoever measures, as on machines of their own."""

    def __init__(
        self,
        mode: str,
        address: str,
        at_once: int = 50,
        *,
        hold_s: float = 30.0,
        sources: Sequence[str] = (),
        prefix: Sequence[str] = (),
        niceness: int = 10,
    ) -> None:
        self.report = Report(mode, 0.0, 0, 0, {})
        options = ("--at-once", str(at_once), "--hold-s", str(hold_s), "--niceness", str(niceness))
        self._command = [*prefix, sys.executable, "-m", __name__, mode, address, *options, "--sources", *sources]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for the tests, which end this
        )
        assert self._process.stdout is not None
        said = self._process.stdout.readline().strip()
        if said != READY:
            self._process.kill()
            self._process.communicate()
            raise AssertionError(f"the strangers did not begin: {said}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            said, _ = self._process.communicate(timeout=_END_S_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            raise AssertionError("the strangers did not end") from None
        if kind is None:
            self.report = Report(**json.loads(said))


# ---------------------------------------------------------------- the process


class Caller:
    """Opens connections to ``target`` and counts what becomes of them."""

    def __init__(self, target: tuple[str, int], hold_s: float, sources: Sequence[str]) -> None:
        self.target = target
        self.hold_s = hold_s
        self.connections = 0
        self.closed_by_daemon = 0
        self.errors: Counter[str] = Counter()
        self._sources = list(sources)
        self._turns = itertools.cycle(self._sources)
        self._bare = _client_context()
        self._unknown = _client_context()
        _show_certificate(self._unknown)

    async def again_and_again(self, mode: str) -> None:
        act = MODES[mode]
        while True:
            try:
                await act(self)
            except (OSError, ssl.SSLError, asyncio.IncompleteReadError) as error:
                self.errors[type(error).__name__] += 1
                await asyncio.sleep(0)

    def hang_up_at_once(self) -> None:
        """A connection that is reset as soon as it is there. Blocks: nothing else is as fast."""
        for source in self._sources or [""]:
            try:
                with socket.create_connection(self.target, _FULL_S, (source, 0) if source else None) as connection:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_WAIT)
                self.connections += 1
            except OSError as error:
                self.errors[type(error).__name__] += 1

    # ------------------------------------------------------------ what one does

    async def hang(self) -> None:
        await self._say([])

    async def garbage(self) -> None:
        await self._say([_GARBAGE])

    async def slow_tls(self) -> None:
        greeting = _client_hello(self._bare)
        await self._say([greeting[place : place + 1] for place in range(len(greeting))])

    async def half_tls(self) -> None:
        """The daemon does its costly part of the handshake, and never hears more."""
        await self._say([_client_hello(self._bare)])

    async def no_certificate(self) -> None:
        await self._shake(self._bare)

    async def unknown_certificate(self) -> None:
        await self._shake(self._unknown)

    async def pair_and_hang(self) -> None:
        """Where pairing is open: goes as far as anybody can, and says nothing."""
        await self._shake(self._bare, _UPGRADE)

    async def _say(self, pieces: Sequence[bytes]) -> None:
        reader, writer = await self._open(None)
        try:
            async with asyncio.timeout(self.hold_s):
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    if piece is not pieces[-1]:
                        await asyncio.sleep(SLOW_PAUSE_S)
                await self._until_closed(reader)
        except TimeoutError:
            self.errors["held"] += 1
        finally:
            writer.transport.abort()

    async def _shake(self, context: ssl.SSLContext, words: bytes = b"") -> None:
        reader, writer = await self._open(context)
        try:
            async with asyncio.timeout(self.hold_s):
                writer.write(words)
                await self._until_closed(reader)
        except TimeoutError:
            self.errors["held"] += 1
        finally:
            writer.transport.abort()

    async def _open(self, context: ssl.SSLContext | None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        source = (next(self._turns), 0) if self._sources else None
        loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as stack:
            connection = stack.enter_context(socket.socket(socket.AF_INET))
            connection.setblocking(False)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_WAIT)
            if source:
                connection.bind(source)
            await loop.sock_connect(connection, self.target)
            self.connections += 1
            opened = await asyncio.open_connection(
                sock=connection, ssl=context, server_hostname="syncd" if context else None
            )
            stack.pop_all()
        return opened

    async def _until_closed(self, reader: asyncio.StreamReader) -> None:
        try:
            while await reader.read(65536):
                pass
        finally:
            self.closed_by_daemon += reader.at_eof() or reader.exception() is not None


MODES: dict[str, Callable[[Caller], Awaitable[None]]] = {
    "hang": Caller.hang,
    "garbage": Caller.garbage,
    "slow-tls": Caller.slow_tls,
    "half-tls": Caller.half_tls,
    "no-certificate": Caller.no_certificate,
    "unknown-certificate": Caller.unknown_certificate,
    "pair-and-hang": Caller.pair_and_hang,  # where pairing is open; elsewhere as no-certificate
}
HANG_UP = "hang-up"  # the one that no task could do fast enough


def _client_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _show_certificate(context: ssl.SSLContext) -> None:
    """One that the stranger made for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stranger")])
    today = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=30))
        .sign(key, hashes.SHA256())
    )
    key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with tempfile.NamedTemporaryFile() as file:
        file.write(key_pem + certificate.public_bytes(Encoding.PEM))
        file.flush()
        context.load_cert_chain(file.name)


def _client_hello(context: ssl.SSLContext) -> bytes:
    """The first bytes of a TLS handshake."""
    outgoing = ssl.MemoryBIO()
    greeting = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="syncd")
    with contextlib.suppress(ssl.SSLWantReadError):
        greeting.do_handshake()
    return outgoing.read()


async def _call(caller: Caller, mode: str, at_once: int) -> None:
    """Until SIGTERM."""
    end = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end.set)
    print(READY, flush=True)
    if mode == HANG_UP:
        while not end.is_set():
            caller.hang_up_at_once()
            await asyncio.sleep(0)
        return
    tasks = [asyncio.create_task(caller.again_and_again(mode)) for _ in range(at_once)]
    ended = asyncio.create_task(end.wait())
    await asyncio.wait([ended, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        if task.done():
            task.result()  # what is no fault of the network's
        task.cancel()
    await asyncio.wait(tasks)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=[*MODES, HANG_UP])
    parser.add_argument("address")
    parser.add_argument("--at-once", type=int, required=True)
    parser.add_argument("--hold-s", type=float, required=True)
    parser.add_argument("--niceness", type=int, required=True)
    parser.add_argument("--sources", nargs="*", default=[])
    given = parser.parse_args()
    os.nice(given.niceness)
    host, _, port = given.address.rpartition(":")
    caller = Caller((host, int(port)), given.hold_s, given.sources)
    begin = time.monotonic()
    asyncio.run(_call(caller, given.mode, given.at_once))
    seconds = time.monotonic() - begin
    report = Report(given.mode, seconds, caller.connections, caller.closed_by_daemon, dict(caller.errors))
    print(json.dumps(asdict(report)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
