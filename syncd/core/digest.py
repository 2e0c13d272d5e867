"""Set checksum of what a device holds (R14).

AdHash (Bellare and Micciancio, 1997): the sum modulo 2^128 of a 16-byte BLAKE2b of each object. Order does not
matter, an object can be taken out again, and two different sets agree by accident with a chance of 2^-128. It proves
faults, not malice: both ends are trusted devices.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

DIGEST_BYTES = 16
_MODULUS = 1 << (8 * DIGEST_BYTES)
EMPTY = bytes(DIGEST_BYTES)


def type_prefix(name: str) -> bytes:
    """What stands before key and fields of an object of the type ``name``: length (4 bytes) and UTF-8."""
    raw = name.encode()
    return len(raw).to_bytes(4, "big") + raw


def object_hash(prefix: bytes, key: bytes, fields: bytes) -> int:
    """Hash of one object; ``key`` and ``fields`` are self-delimiting, so their concatenation is unambiguous."""
    return int.from_bytes(blake2b(prefix + key + fields, digest_size=DIGEST_BYTES).digest(), "big")


def object_hash_bytes(prefix: bytes, key: bytes, fields: bytes) -> bytes:
    """The same as 16 bytes, as the sync store keeps it."""
    return blake2b(prefix + key + fields, digest_size=DIGEST_BYTES).digest()


def add(digest: bytes, change: int) -> bytes:
    """Digest after hashes that sum up to ``change`` came (positive) or went (negative)."""
    return ((int.from_bytes(digest, "big") + change) % _MODULUS).to_bytes(DIGEST_BYTES, "big")


def of(hashes: Iterable[int]) -> bytes:
    """Digest of a whole set."""
    return (sum(hashes) % _MODULUS).to_bytes(DIGEST_BYTES, "big")
