"""Canonical bytes: the one encoding of a list of values, the same on every platform.

A value is what SQLite knows: NULL, a 64-bit integer, a real (never NaN), text (UTF-8), a blob. The encoding is the
msgpack array of the values with each integer, string and array header in its shortest form and each real as a float 64
(so 1 and 1.0 stay different). Keys and fields of data objects are kept, compared, hashed and sent as these bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from math import isnan

import msgpack

from syncd.core.errors import FrameError

Value = None | int | float | str | bytes

_packer = msgpack.Packer(use_bin_type=True, strict_types=True, autoreset=True)
_pack = _packer.pack
_SCALARS = frozenset((type(None), int, float, str, bytes))
WIDTH_MAX = 2_100  # values in one object; SQLite allows 2000 columns
INTEGER_MAX = 2**63 - 1
# Untrusted bytes are decoded in portions of this size, because a hostile byte can cost 64 bytes of memory.
PORTION_BYTES = 256 * 1024
_UNSIGNED_64 = b"\xcf"  # the only header under which an integer over INTEGER_MAX can stand
_REAL = b"\xcb"  # the only header under which NaN can stand


def pack_values(values: Sequence[Value]) -> bytes:
    """Canonical bytes of a list or tuple of values. Raises UnicodeEncodeError for text that is not UTF-8."""
    packed: bytes = _pack(list(values))
    return packed


def unpack_values(raw: bytes) -> list[Value]:
    """The values of trusted canonical bytes (those that were checked or packed here)."""
    values: list[Value] = msgpack.unpackb(raw, strict_map_key=True)
    return values


def unpack_many(rows: Sequence[bytes]) -> list[list[Value]]:
    """The values of many trusted canonical bytes: one call of the codec instead of one for each."""
    return _unpack_joined(b"".join(rows), len(rows))


def _unpack_joined(joined: bytes, count: int) -> list[list[Value]]:
    values: list[list[Value]] = msgpack.unpackb(
        b"\xdd" + count.to_bytes(4, "big") + joined, strict_map_key=True, max_array_len=max(count, WIDTH_MAX)
    )
    return values


def check_many(rows: Sequence[bytes]) -> list[list[Value]]:
    """The values of untrusted bytes. Raises FrameError unless each is canonical: a flat list of plain values."""
    lists: list[list[Value]] = []
    try:
        for portion in _portions(rows):
            lists += _check_portion(portion)
    except FrameError:
        raise
    except Exception as error:  # the codec raises many classes on hostile bytes
        raise FrameError(f"an object cannot be decoded: {type(error).__name__}") from error
    return lists


def _portions(rows: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """The rows in order, in slices of at most PORTION_BYTES; a larger row stands alone."""
    if sum(map(len, rows)) <= PORTION_BYTES:
        yield rows
        return
    begin = size = 0
    for end, length in enumerate(map(len, rows)):
        if size + length > PORTION_BYTES and end > begin:
            yield rows[begin:end]
            begin, size = end, 0
        size += length
    yield rows[begin:]


def _check_portion(rows: Sequence[bytes]) -> list[list[Value]]:
    joined = b"".join(rows)
    small = len(joined) <= PORTION_BYTES
    lists = _unpack_joined(joined, len(rows)) if small else [_unpack_large(joined)]
    if not {list}.issuperset(map(type, lists)) or not _SCALARS.issuperset(map(type, chain.from_iterable(lists))):
        raise FrameError("an object holds what is no list of plain values")
    if max(map(len, lists), default=0) > WIDTH_MAX:
        raise FrameError("an object holds more values than any has")
    # Each alone, not joined: the borders between the rows must be right as well.
    if list(map(_pack, lists)) != list(rows):
        raise FrameError("an object is not in canonical form")
    if _UNSIGNED_64 in joined and any(type(v) is int and v > INTEGER_MAX for v in chain.from_iterable(lists)):
        raise FrameError("an object holds an integer of more than 64 bits with sign")
    if _REAL in joined and any(type(v) is float and isnan(v) for v in chain.from_iterable(lists)):
        raise FrameError("an object holds a real that is not a number")
    return lists


def _unpack_large(raw: bytes) -> list[Value]:
    """One large row: an array or a map inside it ends the decoding at once."""
    lists = 0

    def count(values: list[Value]) -> list[Value]:
        nonlocal lists
        lists += 1
        if lists > 1:
            raise FrameError("an object holds a list in a list")
        return values

    def refuse(*_: object) -> None:
        raise FrameError("an object holds what is no plain value")

    values: list[Value] = msgpack.unpackb(
        raw,
        strict_map_key=True,
        max_array_len=WIDTH_MAX,
        list_hook=count,
        object_pairs_hook=refuse,
        max_ext_len=0,
        ext_hook=refuse,
    )
    return values
