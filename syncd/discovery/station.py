"""One Zeroconf on a fixed set of addresses: hears, asks, announces. The only file that speaks to the package's sockets.

It is closed and another one opened whenever the network changes, by the same road as at the start and after a fault.
``async_update_interfaces()`` of the package does nothing where the interfaces look as before (a flap, sleep), keeps to
itself what it could not join, and announces again the addresses of before. A second opening asks nobody for the name
and takes milliseconds.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import struct
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from zeroconf import (  # type: ignore[attr-defined]  # the package uses its records in its interface, unexported
    DNSAddress,
    DNSOutgoing,
    DNSPointer,
    DNSQuestion,
    DNSRecord,
    DNSService,
    DNSText,
    IPVersion,
    RecordUpdate,
    RecordUpdateListener,
    ServiceInfo,
    Zeroconf,
)
from zeroconf.asyncio import AsyncZeroconf

from syncd.discovery import record as form
from syncd.discovery.interfaces import Address, Interface, sockets_for
from syncd.discovery.seen import Heard, Kind

Hear = Callable[[list[Heard]], None]

_log = logging.getLogger(__name__)
_PORT = 5353
_GROUP4, _GROUP6 = "224.0.0.251", "ff02::fb"
_NOT_JOINED = "no network interface that discovery may use lets us join its multicast group: name another one"
_CLOSE_S_MAX = 2.0
_REPEAT_S = 2.0
_TTL_S, _CHANGES_APART = 120, 8
_A, _PTR, _TXT, _AAAA, _SRV = 1, 12, 16, 28, 33
_IN, _UNICAST, _QUERY = 1, 0x8000, 0
_ORDER = list(Kind)


class Silent(OSError):
    """Nothing can be said or heard; the text tells people why."""


class Advertisement(NamedTuple):
    id8: str
    port: int
    pairing_port: int
    addresses: tuple[Address, ...]


class Station:
    """``hear`` gets the records of each packet that concern us. ``said``: what is announced."""

    def __init__(self, interfaces: Sequence[Interface], hear: Hear, loopback: bool) -> None:
        """Opens the sockets. Raises OSError."""
        self._zeroconf = _open(interfaces)
        self._ear = Ear(hear, loopback)
        self._info: ServiceInfo | None = None
        self._speaking: set[asyncio.Future[None]] = set()
        self._changes = 0
        self.said: Advertisement | None = None

    async def start(self) -> None:
        """Raises OSError where no interface could be joined."""
        zeroconf = self._zeroconf.zeroconf
        await zeroconf.async_wait_for_start()
        zeroconf.async_add_listener(self._ear, None)
        if not zeroconf.engine.senders:
            raise Silent(_NOT_JOINED)

    async def announce(self, advertisement: Advertisement, probe: bool) -> None:
        """Announces it, or in place of what was announced before. ``probe``: asks first whether another machine has
        our name, for a second. Raises NonUniqueNameException."""
        info = ServiceInfo(
            form.SERVICE,
            form.instance_name(advertisement.id8),
            port=advertisement.port,
            properties=form.text_of(form.Text(advertisement.id8, advertisement.pairing_port)),
            server=form.server_name(advertisement.id8),
            host_ttl=_TTL_S - self._changes % _CHANGES_APART,  # who hears the bytes of a second ago passes them over
            addresses=[address.packed for address in advertisement.addresses],
        )
        self._changes += 1
        if self._info is None:
            said = await self._zeroconf.async_register_service(info, cooperating_responders=not probe)
        else:
            await self._hush()
            said = await self._zeroconf.async_update_service(info)
        self._info, self.said = info, advertisement
        self._speak(asyncio.ensure_future(said))
        self._speak(asyncio.create_task(self._repeat(info), name="announcing"))

    def _speak(self, speaking: asyncio.Future[None]) -> None:
        self._speaking.add(speaking)
        speaking.add_done_callback(self._speaking.discard)

    async def _repeat(self, info: ServiceInfo) -> None:
        """The package says it three times in a row; once more a moment later reaches who was not there yet."""
        await asyncio.sleep(_REPEAT_S)
        zeroconf = self._zeroconf.zeroconf
        zeroconf.async_send(zeroconf.generate_service_broadcast(info, None))

    async def withdraw(self) -> None:
        info, self._info, self.said = self._info, None, None
        if info is not None:
            await self._hush()
            await (await self._zeroconf.async_unregister_service(info))

    def ask_all(self, at_once: bool = False) -> None:
        """Who is there? Without telling what we know: each answer carries all that there is of a primary, so that
        asking now and then keeps everything fresh. ``at_once``: it may be answered to us alone, too, which is sooner,
        but another program on this machine may get that answer."""
        self._ask([(form.SERVICE, _PTR)], at_once)

    def ask_about(self, ids: Iterable[str]) -> None:
        for id8 in ids:
            instance, server = form.instance_name(id8), form.server_name(id8)
            self._ask([(instance, _SRV), (instance, _TXT), (server, _A), (server, _AAAA)])

    def _ask(self, questions: Sequence[tuple[str, int]], at_once: bool = False) -> None:
        out = DNSOutgoing(_QUERY)
        for name, kind in questions:
            if at_once:
                out.add_question(DNSQuestion(name, kind, _IN | _UNICAST))
            out.add_question(DNSQuestion(name, kind, _IN))
        self._zeroconf.zeroconf.async_send(out)

    async def close(self, goodbye: bool) -> None:
        """Ends it within a bounded time. ``goodbye``: tells others that what was announced has gone."""
        await self._hush()
        zeroconf = self._zeroconf.zeroconf
        if not goodbye:
            zeroconf.registry.async_remove(zeroconf.registry.async_get_service_infos())
        try:
            async with asyncio.timeout(_CLOSE_S_MAX):
                await self._zeroconf.async_close()
        except TimeoutError:
            zeroconf.close()

    async def _hush(self) -> None:
        """Stops saying again what was announced."""
        for speaking in self._speaking:
            speaking.cancel()
        await asyncio.gather(*self._speaking, return_exceptions=True)


class Ear(RecordUpdateListener):
    """Hands on the records that concern us. Nothing that a packet holds raises into the package."""

    def __init__(self, hear: Hear, loopback: bool) -> None:
        self._hear = hear
        self._loopback = loopback
        self._told = False

    def async_update_records(self, zc: Zeroconf, now: float, records: list[RecordUpdate]) -> None:
        try:
            heard = [one for update in records if (one := self._read(update.new, now)) is not None]
            if heard:
                self._hear(sorted(heard, key=lambda one: _ORDER.index(one.kind)))
        except Exception:
            if not self._told:
                self._told = True
                _log.exception("a packet was not understood; others like it are passed over quietly")

    def async_update_records_complete(self) -> None:
        """What was heard is handed on already."""

    def _read(self, record: DNSRecord, now: float) -> Heard | None:
        ttl_s = 0.0 if record.is_expired(now) else float(record.get_remaining_ttl(now))
        if isinstance(record, DNSPointer):
            id8 = form.id8_of_instance(record.alias) if record.name.lower() == form.SERVICE else ""
            return Heard(Kind.INSTANCE, id8, None, ttl_s) if id8 else None
        if isinstance(record, DNSService):
            id8 = form.id8_of_instance(record.name)
            if id8 and form.id8_of_server(record.server) == id8 and form.good_port(record.port):
                return Heard(Kind.PORT, id8, record.port, ttl_s)
        elif isinstance(record, DNSText):
            id8 = form.id8_of_instance(record.name)
            return Heard(Kind.TEXT, id8, form.read_text(record.text), ttl_s) if id8 else None
        elif isinstance(record, DNSAddress) and (id8 := form.id8_of_server(record.name)):
            host = form.good_host(record.address, _scope(record.scope_id), self._loopback)
            family = 4 if len(record.address) == 4 else 6
            return Heard(Kind.ADDRESS, id8, host, ttl_s, record.unique, family) if host else None
        return None


def _scope(index: int | None) -> str:
    if not index:
        return ""
    try:
        return socket.if_indextoname(index)
    except OSError:
        return ""  # the interface went


def _open(interfaces: Sequence[Interface]) -> AsyncZeroconf:
    """A Zeroconf on the addresses of those families whose port can be had; IPv4 alone where IPv6 cannot."""
    logging.getLogger("zeroconf").setLevel(logging.CRITICAL)  # what a person should know is in ``problem``
    addresses = [each for interface in interfaces for each in sockets_for(interface) if _joins(each, interface.index)]
    failed: OSError = Silent(_NOT_JOINED)
    for family, versions in ((socket.AF_INET6, (4, 6)), (socket.AF_INET, (4,)), (socket.AF_INET6, (6,))):
        chosen = [str(address.ip) for address in addresses if address.version in versions]
        present = {address.version for address in addresses if address.version in versions}
        if present != set(versions):
            continue
        try:
            _try_port(family, dual=len(versions) == 2)
            return AsyncZeroconf(interfaces=chosen, ip_version=_VERSIONS[versions])
        except OSError as error:
            failed = error
        except RuntimeError as error:  # an address went while it was opened
            failed = OSError(errno.EADDRNOTAVAIL, str(error))
    raise failed


def _joins(address: Address, index: int) -> bool:
    """Whether the group can be joined there. An interface where it cannot would keep the package from all others."""
    try:
        if address.version == 4:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                member = socket.inet_aton(_GROUP4) + address.packed
                probe.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        else:
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
                member = socket.inet_pton(socket.AF_INET6, _GROUP6) + struct.pack("@I", index)
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, member)
    except OSError:
        return False
    return True


_VERSIONS = {(4, 6): IPVersion.All, (4,): IPVersion.V4Only, (6,): IPVersion.V6Only}


def _try_port(family: socket.AddressFamily, dual: bool) -> None:
    """Raises OSError where the port of mDNS cannot be shared: the package would leave its socket open."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not dual)
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        probe.bind(("", _PORT))
