"""The token line that a person copies from the primary to an auxiliary, and what is proven with it. Pure.

``syncd1-CODE@host:port,host:port``: CODE is base32 of the primary's fingerprint (32 bytes), a one-time secret (16) and
a checksum (2) over both and the addresses, so that a line that was cut or mistyped is noticed before anything is sent.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from syncd.core.errors import UserError
from syncd.transport.address import parse_address

SECRET_BYTES = 16
_FINGERPRINT_BYTES = 32
_SUM_BYTES = 2
_PREFIX = "syncd1-"
_CODE_LETTERS = (_FINGERPRINT_BYTES + SECRET_BYTES + _SUM_BYTES) * 8 // 5  # divides: base32 needs no padding

_AGAIN = "copy the whole line that `syncd pair --token` printed on the primary"


@dataclass(frozen=True, slots=True)
class Token:
    fingerprint: bytes
    secret: bytes = field(repr=False)
    addresses: tuple[str, ...]

    def at(self, *addresses: str) -> Token:
        """The same token for a primary that is reached elsewhere."""
        return replace(self, addresses=addresses)


def make(fingerprint: bytes, secret: bytes, addresses: Sequence[str]) -> str:
    """The line to show."""
    where = ",".join(addresses).lower()
    code = base64.b32encode(fingerprint + secret + _checksum(fingerprint + secret, where)).decode().lower()
    return f"{_PREFIX}{code}@{where}"


def parse(text: str) -> Token:
    """The token in a line that a person pasted or typed. Raises UserError."""
    line = "".join(text.split()).lower()
    if not line.startswith(_PREFIX):
        raise UserError("this is no token: it does not begin with `syncd1-`", _AGAIN)
    code, at, where = line.removeprefix(_PREFIX).partition("@")
    code = code.replace("-", "")
    if len(code) < _CODE_LETTERS or not at:
        raise UserError("the token is cut short", _AGAIN)
    if len(code) > _CODE_LETTERS:
        raise UserError("the token is too long", _AGAIN)
    try:
        raw = base64.b32decode(code.upper())
    except (binascii.Error, ValueError) as error:
        raise UserError("the token is mistyped: it has a character that no token has", _AGAIN) from error
    body, checksum = raw[:-_SUM_BYTES], raw[-_SUM_BYTES:]
    if checksum != _checksum(body, where):
        raise UserError("the token is mistyped, or its end is missing: it does not add up", _AGAIN)
    addresses = tuple(filter(None, where.split(",")))
    for address in addresses:
        parse_address(address)
    return Token(body[:_FINGERPRINT_BYTES], body[_FINGERPRINT_BYTES:], addresses)


def looks_like_token(text: str) -> bool:
    """Whether a person who pasted this meant a token, be it cut short."""
    return "".join(text.split()).lower().startswith("syncd")


def prove(secret: bytes, role: str, primary: bytes, auxiliary: bytes) -> bytes:
    """What shows that ``role`` knows the secret, for these two fingerprints and no others."""
    return hmac.digest(secret, b"syncd pair 1 " + role.encode() + primary + auxiliary, "sha256")


def _checksum(body: bytes, where: str) -> bytes:
    return hashlib.sha256(body + where.encode()).digest()[:_SUM_BYTES]
