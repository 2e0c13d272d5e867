"""What was heard of the primaries on the network, until it expires. Pure.

Records are kept by the id in their names, and only so many of them (R15): thousands of instances, made-up addresses
and names of others cost nothing. A primary is found once its three records agree: the instance, its port and text,
and at least one address. What was heard last counts: an address that a primary has left goes as it tells the next.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Interface, IPv6Interface, ip_address
from typing import NamedTuple

from syncd.core.found import Found
from syncd.discovery.record import Text

Near = tuple[IPv4Interface | IPv6Interface, ...]

_UNANSWERED_S_MAX = 5.0  # for the rest of what an instance says; then it makes room for others
_SAME_S = 1.0  # records that come so close together replace nothing (RFC 6762, 10.2): a list may come in pieces
_TTL_S_MAX = 120.0 * 60  # what is told for longer is asked for again long before


class Kind(Enum):
    INSTANCE = "instance"
    PORT = "port"
    TEXT = "text"
    ADDRESS = "address"


class Heard(NamedTuple):
    """One record. ``value``: the port, the text, or the host. ``ttl_s`` 0: it is taken back. ``alone``: whoever says
    it says all there is of its kind (the cache-flush bit). ``family``: of an address, 4 or 6."""

    kind: Kind
    id8: str
    value: int | str | Text | None
    ttl_s: float
    alone: bool = False
    family: int = 0


class _Address(NamedTuple):
    heard_s: float
    until_s: float
    family: int


@dataclass(slots=True)
class _Primary:
    """Times are seconds of one clock; what has not been heard is valid until 0."""

    since_s: float
    instance_until_s: float = 0.0
    port: int = 0
    port_until_s: float = 0.0
    text: Text | None = None
    text_until_s: float = 0.0
    addresses: dict[str, _Address] = field(default_factory=dict)

    def complete(self, now_s: float) -> bool:
        return bool(
            min(self.instance_until_s, self.port_until_s, self.text_until_s) > now_s
            and self.text
            and any(address.until_s > now_s for address in self.addresses.values())
        )


class Seen:
    """``own``: id of this device, which is never found. ``wanted``: ids that have room however many others there
    are."""

    def __init__(self, found_max: int, addresses_max: int) -> None:
        self._found_max = found_max
        self._addresses_max = addresses_max
        self._primaries: dict[str, _Primary] = {}
        self.own = ""
        self.wanted: frozenset[str] = frozenset()

    def hear(self, records: Iterable[Heard], now_s: float) -> None:
        """The records of one packet."""
        for record in records:
            primary = self._primary(record, now_s)
            if primary is None:
                continue
            until_s = now_s + min(record.ttl_s, _TTL_S_MAX)
            if record.kind is Kind.INSTANCE:
                primary.instance_until_s = until_s
                if not record.ttl_s:  # it has gone, with all it said
                    del self._primaries[record.id8]
            elif record.kind is Kind.ADDRESS:
                self._hear_address(primary, record, now_s)
            elif record.kind is Kind.PORT and isinstance(record.value, int):
                primary.port, primary.port_until_s = record.value, until_s
            elif record.kind is Kind.TEXT:
                text = record.value if isinstance(record.value, Text) and record.value.id8 == record.id8 else None
                primary.text, primary.text_until_s = text, until_s

    def _primary(self, record: Heard, now_s: float) -> _Primary | None:
        """The primary that a record belongs to; None where there is no room for another. Only an instance makes one:
        its other records are asked for if they came first."""
        known = self._primaries.get(record.id8)
        if known or record.kind is not Kind.INSTANCE or not record.ttl_s:
            return known
        if len(self._primaries) >= self._found_max:
            other = next((id8 for id8 in self._primaries if id8 not in self.wanted), "")
            if record.id8 not in self.wanted or not other:
                return None
            del self._primaries[other]
        return self._primaries.setdefault(record.id8, _Primary(now_s))

    def _hear_address(self, primary: _Primary, record: Heard, now_s: float) -> None:
        addresses, host = primary.addresses, str(record.value)
        if record.alone and record.ttl_s:
            for other, known in list(addresses.items()):
                if known.family == record.family and other != host and known.heard_s < now_s - _SAME_S:
                    del addresses[other]
        addresses.pop(host, None)
        if not record.ttl_s:
            return
        addresses[host] = _Address(now_s, now_s + min(record.ttl_s, _TTL_S_MAX), record.family)
        if len(addresses) > self._addresses_max:
            del addresses[min(addresses, key=lambda each: addresses[each].heard_s)]

    def doubt(self, now_s: float, within_s: float) -> None:
        """The network is another one: what is not heard again within so many seconds has gone."""
        latest_s = now_s + within_s
        for primary in self._primaries.values():
            primary.instance_until_s = min(primary.instance_until_s, latest_s)
            primary.port_until_s = min(primary.port_until_s, latest_s)
            primary.addresses = {
                host: known._replace(until_s=min(known.until_s, latest_s)) for host, known in primary.addresses.items()
            }

    def expire(self, now_s: float) -> None:
        for id8, primary in list(self._primaries.items()):
            primary.addresses = {host: known for host, known in primary.addresses.items() if known.until_s > now_s}
            if primary.complete(now_s):
                primary.since_s = now_s
            elif primary.since_s < now_s - _UNANSWERED_S_MAX or primary.instance_until_s <= now_s:
                del self._primaries[id8]

    def incomplete(self, now_s: float) -> list[str]:
        """Those that have not said all."""
        return [id8 for id8, primary in self._primaries.items() if not primary.complete(now_s)]

    def found(self, now_s: float, near: Near) -> tuple[Found, ...]:
        """``near``: the addresses of this machine with their networks; what is on one of them is better to dial."""
        found = []
        for id8, primary in sorted(self._primaries.items()):
            if id8 != self.own and primary.complete(now_s) and primary.text:
                hosts = _best_first(primary.addresses, now_s, near)
                pair = primary.text.pairing_port
                found.append(
                    Found(id8, _with_port(hosts, primary.port), _with_port(hosts, pair) if pair else ()),
                )
        return tuple(found)


def _best_first(addresses: dict[str, _Address], now_s: float, near: Near) -> list[str]:
    """Hosts on a network of ours before others, those heard last before older ones, IPv4 before IPv6. An address
    that is our own as well comes last: each machine with containers may have that one."""
    own = {interface.ip for interface in near if not interface.is_loopback}

    def rank(host: str) -> tuple[bool, bool, float, int, str]:
        address = ip_address(host)
        plain = ip_address(host.partition("%")[0])
        on_link = address.is_link_local or any(plain in interface.network for interface in near)
        return plain in own, not on_link, -addresses[host].heard_s, address.version, host

    return sorted((host for host, known in addresses.items() if known.until_s > now_s), key=rank)


def _with_port(hosts: list[str], port: int) -> tuple[str, ...]:
    return tuple(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host in hosts)
