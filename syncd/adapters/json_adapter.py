"""The adapter for a platform whose software speaks JSON: each message is one JSON object, frames are text.

The handshake (Hello, Welcome, Refusal) is msgpack whatever adapter is chosen. Keys and fields are arrays of values
(``json_values``), digests hexadecimal text. What cannot be adapted is withheld, which cancels its group (R7).
"""

from __future__ import annotations

import re
from collections.abc import Callable

from syncd.adapters.canonical import pack_values, unpack_many, unpack_values
from syncd.adapters.json_values import Json, dumps, loads, to_json
from syncd.adapters.msgpack_adapter import MsgpackAdapter
from syncd.adapters.shape import HANDSHAKE, Tree, from_tree, to_tree, typed
from syncd.core.errors import FrameError
from syncd.core.messages import Wire
from syncd.core.model import Kind
from syncd.core.settings import Limits

_NESTING_MAX = 8  # the deepest message, Report, has 5 levels
_ITEMS_FACTOR = 20  # items of one text, as a multiple of what one array may have
_GROWTH_MAX = 6  # bytes of JSON for one canonical byte: "\\u0001" for a control character
_ARRAY_BYTES_MAX = 32 * 1024  # canonical bytes of an edit that are told as an array of values
_DIGEST = re.compile("[0-9a-f]{32}")
_OBJECT_BYTES_MAX = Limits().object_bytes_max
_handshake = MsgpackAdapter()


class JsonAdapter:
    """Frames are text, but for the handshake."""

    name = "json"

    def encode(self, message: Wire) -> bytes | str:
        if isinstance(message, HANDSHAKE):
            return _handshake.encode(message)
        tree = to_tree(message)
        kind = tree["kind"]
        if kind in _OUT:
            _OUT[kind](tree)
        return dumps(tree if kind in ("objects", "upload") else to_json(tree))

    def decode(self, frame: bytes | str, limits: Limits) -> Wire:
        """Raises FrameError for whatever is not exactly a message."""
        if isinstance(frame, bytes):
            message = _handshake.decode(frame, limits)
            if not isinstance(message, HANDSHAKE):
                raise FrameError("a frame is bytes where text was agreed")
            return message
        try:
            size = len(frame.encode())
            if size > limits.message_bytes_max:
                raise FrameError(f"a frame of {size} bytes is over the limit", code="too-large")
            message = from_tree(_tree(frame, limits), limits)
        except FrameError:
            raise
        except Exception as error:  # json, base64 and msgspec raise many classes on hostile text
            raise FrameError(f"a frame is no message: {type(error).__name__}: {str(error)[:120]}") from None
        if isinstance(message, HANDSHAKE):
            raise FrameError("a message of the handshake is text")
        return message

    def restore(self, kept: bytes) -> Wire:
        """The message of a frame that ``decode`` accepted before, kept as UTF-8; its sense is not checked again."""
        return typed(_tree(kept.decode(), Limits()))


def _tree(text: str, limits: Limits) -> object:
    """The tree with bytes where the message has bytes."""
    tree = loads(text, _NESTING_MAX, _ITEMS_FACTOR * limits.array_items_max)
    kind = tree.get("kind") if type(tree) is dict else None
    if type(kind) is str and kind in _IN:
        _IN[kind](tree)
    return tree


# ---------------------------------------------------------------- out


def _objects_out(tree: Tree) -> None:
    kinds: list[int] = list(tree["kinds"])
    fields: list[Json] = []
    for row, raw in enumerate(tree["fields"]):
        if kinds[row] == Kind.DELETE:
            fields.append(None)
        elif kinds[row] == Kind.WITHHELD:
            fields.append(raw.decode())
        else:
            values = to_json(unpack_values(raw))
            if reason := _too_large(raw, values):
                kinds[row], values = int(Kind.WITHHELD), reason
            fields.append(values)
    keys = to_json(unpack_many(tree["keys"]))
    cut = tree["cut"]
    if cut is not None:
        cut["digest"] = cut["digest"].hex()
    for name in ("first", "last", "runs", "types", "ties", "cut"):
        tree[name] = to_json(tree[name])
    tree["keys"], tree["kinds"], tree["fields"] = keys, kinds, fields


def _too_large(raw: bytes, values: Json) -> str:
    """Why an object cannot travel as JSON; empty: it can."""
    if len(raw) <= _OBJECT_BYTES_MAX // _GROWTH_MAX or (size := len(dumps(values).encode())) <= _OBJECT_BYTES_MAX:
        return ""
    return f"the object is too large as JSON: {size} bytes, {_OBJECT_BYTES_MAX} are allowed"


def _upload_out(tree: Tree) -> None:
    tree["kinds"] = list(tree["kinds"])
    for name in ("clock_us", "runs", "types"):
        tree[name] = to_json(tree[name])
    for name in ("keys", "bases", "fields"):
        column = tree[name]
        if len(b"".join(column)) > _ARRAY_BYTES_MAX or b"" in column:
            tree[name] = [_edited_out(raw) for raw in column]
        else:
            tree[name] = to_json(unpack_many(column))


def _edited_out(raw: bytes) -> Json:
    """Nothing as null; what is large as its canonical bytes, because as an array it may grow sixfold, and an edit that
    a frame cannot hold would wait for ever."""
    if not raw:
        return None
    return to_json(raw if len(raw) > _ARRAY_BYTES_MAX else unpack_values(raw))


def _report_out(tree: Tree) -> None:
    tree["digest"] = tree["digest"].hex()
    _guilty_out(tree["failed"])


def _verdicts_out(tree: Tree) -> None:
    _guilty_out(tree["verdicts"])


def _guilty_out(ones: list[Tree]) -> None:
    for one in ones:
        one["key"] = unpack_values(one["key"]) if one["key"] else None


_OUT: dict[str, Callable[[Tree], None]] = {
    "objects": _objects_out,
    "report": _report_out,
    "upload": _upload_out,
    "verdicts": _verdicts_out,
}


# ---------------------------------------------------------------- in


def _objects_in(tree: Tree) -> None:
    kinds, keys, fields = _columns(tree, "kinds", "keys", "fields")
    tree["kinds"] = _kinds(kinds)
    tree["keys"] = [_packed(key) for key in keys]
    tree["fields"] = [_fields(kind, values) for kind, values in zip(kinds, fields, strict=True)]
    if type(tree.get("cut")) is dict:
        _digest_in(tree["cut"])


def _columns(tree: Tree, *names: str) -> list[list[Json]]:
    columns = [tree.get(name) for name in names]
    lists = [column for column in columns if type(column) is list]
    if len(lists) < len(names) or len(set(map(len, lists))) > 1:
        raise FrameError("columns are no lists of one length")
    return lists


def _kinds(kinds: list[Json]) -> bytes:
    if not {int}.issuperset(map(type, kinds)):
        raise FrameError("a kind is no number")
    return bytes(kinds)


def _upload_in(tree: Tree) -> None:
    kinds, keys, bases, fields = _columns(tree, "kinds", "keys", "bases", "fields")
    tree["kinds"] = _kinds(kinds)
    tree["keys"] = list(map(_edited, keys))
    tree["bases"] = list(map(_edited, bases))
    tree["fields"] = list(map(_edited, fields))


def _edited(values: Json) -> bytes:
    """Whether what stands there fits the kind of its row is for ``checks`` to see, as canonical bytes are."""
    if values is None:
        return b""
    if type(values) is bytes:
        if not values:
            raise FrameError("canonical bytes that are none")
        return values
    return _packed(values)


def _fields(kind: int, values: object) -> bytes:
    if kind == Kind.DELETE and values is None:
        return b""
    if kind == Kind.WITHHELD and type(values) is str:
        return values.encode()
    if kind in (Kind.ADD, Kind.MODIFY):
        return _packed(values)
    raise FrameError("the fields of an object do not fit its kind")


def _packed(values: Json) -> bytes:
    """Canonical bytes, if the list is one of plain values: ``checks`` sees to that, as for every adapter."""
    if type(values) is not list:
        raise FrameError("a key or the fields of an object are no list")
    return pack_values(values)


def _report_in(tree: Tree) -> None:
    _digest_in(tree)
    _guilty_in(tree.get("failed"))


def _verdicts_in(tree: Tree) -> None:
    _guilty_in(tree.get("verdicts"))


def _guilty_in(ones: Json) -> None:
    for one in ones if type(ones) is list else ():
        if type(one) is dict and "key" in one:
            one["key"] = b"" if one["key"] is None else _packed(one["key"])


def _digest_in(tree: Tree) -> None:
    text = tree.get("digest")
    if type(text) is not str or not _DIGEST.fullmatch(text):
        raise FrameError("a digest is not 32 lower-case hexadecimal digits")
    tree["digest"] = bytes.fromhex(text)


_IN: dict[str, Callable[[Tree], None]] = {
    "objects": _objects_in,
    "report": _report_in,
    "upload": _upload_in,
    "verdicts": _verdicts_in,
}
