"""The default adapter: each message is one msgpack map. Columns of Objects are arrays of opaque canonical bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgpack

from syncd.adapters.shape import from_tree, to_tree, typed
from syncd.core.errors import FrameError
from syncd.core.messages import Wire
from syncd.core.settings import Limits

_MAP_ITEMS_MAX = 32
# All arrays and maps of a frame together, in items, as a multiple of what one array may have: a byte on the wire can
# cost seventy in memory, so the size of a frame alone bounds nothing.
_ITEMS_FACTOR = 16


class MsgpackAdapter:
    """Frames are bytes."""

    name = "msgpack"

    def encode(self, message: Wire) -> bytes:
        frame: bytes = msgpack.packb(to_tree(message), use_bin_type=True)
        return frame

    def decode(self, frame: bytes | str, limits: Limits) -> Wire:
        """Raises FrameError for whatever is not exactly a message."""
        if not isinstance(frame, bytes):
            raise FrameError("a frame is text where bytes were agreed")
        if len(frame) > limits.message_bytes_max:
            raise FrameError(f"a frame of {len(frame)} bytes is over the limit", code="too-large")
        try:
            return from_tree(_unpack(frame, limits), limits)
        except FrameError:
            raise
        except Exception as error:  # the codec and msgspec raise many classes on hostile bytes
            raise FrameError(f"a frame is no message: {type(error).__name__}: {str(error)[:120]}") from None

    def restore(self, kept: bytes) -> Wire:
        """The message of a frame that ``decode`` accepted before: its sense is not checked a second time."""
        return typed(msgpack.unpackb(kept, raw=False, strict_map_key=True))


def _unpack(frame: bytes, limits: Limits) -> object:
    """The tree of an untrusted frame: no field twice, no extension type, not more items than a message can have."""
    left = _ITEMS_FACTOR * limits.array_items_max

    def spend(items: int) -> None:
        nonlocal left
        left -= items + 1
        if left < 0:
            raise FrameError("a frame holds too many items", code="too-large")

    def array(items: list[Any]) -> list[Any]:
        spend(len(items))
        return items

    def pairs(items: Sequence[tuple[object, Any]]) -> dict[object, Any]:
        spend(len(items))
        tree = dict(items)
        if len(tree) != len(items):
            raise FrameError("a map names a field twice")
        return tree

    return msgpack.unpackb(
        frame,
        raw=False,
        strict_map_key=True,
        list_hook=array,
        object_pairs_hook=pairs,
        ext_hook=_no_extension,
        max_ext_len=0,
        max_array_len=min(limits.array_items_max, len(frame)),
        max_map_len=_MAP_ITEMS_MAX,
    )


def _no_extension(code: int, data: bytes) -> object:
    raise FrameError("a frame holds an extension type")
