"""Devices for the tests of transport: identities, a primary that listens, a proxy that cuts."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from syncd.core.errors import LinkLost, Refused
from syncd.core.model import device_id
from syncd.core.settings import Limits
from syncd.transport.certificate import fingerprint
from syncd.transport.dialer import INSTANCE, dial
from syncd.transport.link import Link
from syncd.transport.listener import Listener
from syncd.transport.tls import Trust

LIMITS = Limits(open_s_max=20.0, hello_s_max=20.0)
FOREVER = datetime.datetime(9999, 12, 31, tzinfo=datetime.UTC)


@dataclass(frozen=True)
class Device:
    name: str
    identity: Path
    certificate: bytes

    @property
    def fingerprint(self) -> bytes:
        return fingerprint(self.certificate)

    @property
    def id(self) -> str:
        return device_id(self.fingerprint)


def self_signed(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    *,
    end: datetime.datetime = FOREVER,
    ca: bool = False,
    named: bool = True,
    issuer: x509.AuthorityKeyIdentifier | None = None,
) -> bytes:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC))
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca, None), critical=True)
    )
    if named:  # as the certificates of a home are
        own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        issuer = issuer or x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)
        builder = builder.add_extension(own, False).add_extension(issuer, False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def make_device(folder: Path, name: str, end: datetime.datetime = FOREVER, ca: bool = False) -> Device:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = self_signed(name, key, end=end, ca=ca)
    pem = x509.load_der_x509_certificate(certificate).public_bytes(Encoding.PEM)
    path = folder / f"{name}.pem"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + pem)
    return Device(name, path, certificate)


@dataclass(eq=False)
class Clock:
    """Stands still until it is moved."""

    time_s: float = 1000.0

    def __call__(self) -> float:
        return self.time_s


@dataclass(eq=False)
class Primary:
    """A primary that keeps what it hears."""

    device: Device
    listener: Listener
    copied: list[str]
    refusals: dict[str, str] = field(default_factory=dict)
    links: list[Link] = field(default_factory=list)
    heard: list[bytes | str] = field(default_factory=list)
    ended: list[tuple[Link, str]] = field(default_factory=list)

    @property
    def address(self) -> str:
        return "{}:{}".format(*self.listener.address)

    async def on_link(self, link: Link) -> None:
        self.links.append(link)
        try:
            while True:
                self.heard.append(await link.receive())
        except Exception as error:
            self.ended.append((link, getattr(error, "code", type(error).__name__)))
            raise

    async def dialed_by(self, device: Device, limits: Limits = LIMITS, instance: str = INSTANCE) -> Link:
        """``instance``: another one stands for another machine with the same identity."""
        return await dial(device.identity, self.address, self.device.certificate, limits, instance)


@contextlib.asynccontextmanager
async def primary_that_knows(
    device: Device, *known: Device, limits: Limits = LIMITS, on_link: Callable[..., object] | None = None
) -> AsyncIterator[Primary]:
    copied: list[str] = []
    trust = Trust(device.identity, [one.certificate for one in known])

    async def hold(link: Link) -> None:
        await (on_link or primary.on_link)(link)  # type: ignore[misc]

    async def keep(device: str) -> None:
        copied.append(device)

    async def let_in(device: str) -> str:
        return primary.refusals.get(device, "")

    listener = Listener("127.0.0.1", 0, trust, limits, hold, let_in, keep)
    primary = Primary(device, listener, copied)
    async with listener:
        yield primary


@contextlib.asynccontextmanager
async def cutting_proxy(target: tuple[str, int], towards_client: int, towards_server: int) -> AsyncIterator[str]:
    """Passes so many bytes each way, then breaks the connection off. Yields its address."""
    tasks: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, allowed: int) -> None:
        while allowed > 0 and (some := await reader.read(min(allowed, 65536))):
            allowed -= len(some)
            writer.write(some)
            await writer.drain()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        far_reader, far_writer = await asyncio.open_connection(*target)
        pumps = [
            asyncio.create_task(pump(far_reader, writer, towards_client)),
            asyncio.create_task(pump(reader, far_writer, towards_server)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in pumps:
                one.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            for each in (writer, far_writer):
                each.close()
                with contextlib.suppress(OSError):
                    await each.wait_closed()
            tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield "{}:{}".format(*server.sockets[0].getsockname())
    finally:
        server.close()
        if tasks:
            await asyncio.wait(tasks, timeout=30.0)
        await server.wait_closed()


def tcp(address: tuple[str, int]) -> socket.socket:
    """A connection that says nothing."""
    return socket.create_connection(address, timeout=30.0)


async def dial_or_none(primary: Primary, device: Device) -> Link | None:
    try:
        return await primary.dialed_by(device, LIMITS)
    except (LinkLost, Refused):
        return None
