"""What a primary says of itself by mDNS: names and the TXT record, written and read. Pure.

Nothing in it is secret or names a user. What is read comes from anybody on the network: whatever does not have the
one form is no record of ours and is passed over without a word.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from syncd.core.found import ID_CHARS

SERVICE = "_syncd._tcp.local."

_VERSION = b"1"
_ROLE = b"primary"
_INSTANCE = re.compile(rf"syncd-([a-z2-7]{{{ID_CHARS}}})\._syncd\._tcp\.local\.", re.IGNORECASE | re.ASCII)
_SERVER = re.compile(rf"syncd-([a-z2-7]{{{ID_CHARS}}})\.local\.", re.IGNORECASE | re.ASCII)
_ID = re.compile(rf"[A-Z2-7]{{{ID_CHARS}}}")
_PORT = re.compile(rb"[1-9][0-9]{0,4}")
_TEXT_BYTES_MAX = 400


class Text(NamedTuple):
    """What the TXT record says. ``pairing_port`` 0: pairing is not open."""

    id8: str
    pairing_port: int


def id8_of(device_id: str) -> str:
    """The part of a device id that is told to the network. Raises ValueError where it is no device id."""
    id8 = device_id[:ID_CHARS]
    if not _ID.fullmatch(id8):
        raise ValueError(f"{device_id!r} is no device id")
    return id8


def instance_name(id8: str) -> str:
    return f"syncd-{id8.lower()}.{SERVICE}"


def server_name(id8: str) -> str:
    """The host name that the addresses are told under: never the machine's own, which avahi may keep."""
    return f"syncd-{id8.lower()}.local."


def id8_of_instance(name: str) -> str:
    """The id in the name of an instance; empty where it is none of ours."""
    return _id8(_INSTANCE.fullmatch(name))


def id8_of_server(name: str) -> str:
    return _id8(_SERVER.fullmatch(name))


def _id8(match: re.Match[str] | None) -> str:
    return match[1].upper() if match else ""


def text_of(text: Text) -> dict[bytes, bytes]:
    """The pairs of the TXT record."""
    pairs = {b"v": _VERSION, b"id": text.id8.lower().encode(), b"role": _ROLE}
    if text.pairing_port:
        pairs[b"pair"] = b"%d" % text.pairing_port
    return pairs


def read_text(raw: bytes) -> Text | None:
    """What a TXT record says, or None if it is none of a primary. A pairing port that is no port counts as none."""
    pairs = _pairs(raw)
    if pairs is None or pairs.get(b"v") != _VERSION or pairs.get(b"role") != _ROLE:
        return None
    id8 = pairs.get(b"id", b"").decode("ascii", "replace").upper()
    if not _ID.fullmatch(id8):
        return None
    pair = pairs.get(b"pair", b"")
    port = int(pair) if _PORT.fullmatch(pair) else 0
    return Text(id8, port if good_port(port) else 0)


def _pairs(raw: bytes) -> dict[bytes, bytes] | None:
    """Key and value of each string of a TXT record: the first of a key counts (RFC 6763, 6.4), whatever its case."""
    if len(raw) > _TEXT_BYTES_MAX:
        return None
    pairs: dict[bytes, bytes] = {}
    at = 0
    while at < len(raw):
        end = at + 1 + raw[at]
        if end > len(raw):
            return None
        key, _, value = raw[at + 1 : end].partition(b"=")
        pairs.setdefault(key.lower(), value)
        at = end
    return pairs


def good_port(port: int) -> bool:
    return 0 < port < 65536


def good_host(packed: bytes, scope: str, loopback: bool) -> str:
    """The address of an A or AAAA record as a host to dial; empty where it is none.

    ``scope``: the interface on which it was heard, needed for a link-local address. ``loopback``: such addresses
    are taken.
    """
    try:
        address = ip_address(packed)
    except ValueError:
        return ""
    if address.is_loopback:
        return str(address) if loopback else ""
    if address.is_unspecified or address.is_multicast or address.is_reserved:
        return ""
    if isinstance(address, IPv4Address):
        return str(address) if packed[0] else ""  # 0.0.0.0/8 is this machine
    return _good_host6(address, scope)


def _good_host6(address: IPv6Address, scope: str) -> str:
    if not address.is_link_local:
        return str(address)
    return f"{address}%{scope}" if scope else ""
