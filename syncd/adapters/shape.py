"""Messages as trees of plain values, which every encoding shares, and back.

A tree is a map with ``kind`` and *all* fields of the message's class, no other; tuples of names and numbers are lists.
Only the encoding of bytes and numbers is an adapter's own. What comes back is typed (msgspec, strict) and its
sense is checked (``checks``): a tree that is not exactly a message raises FrameError, whatever it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any, TypeVar

import msgspec

from syncd.adapters import checks
from syncd.core.errors import FrameError
from syncd.core.messages import (
    Begin,
    Credit,
    Cut,
    Failed,
    Follow,
    Hello,
    Objects,
    Offer,
    Refusal,
    Report,
    Taken,
    Terms,
    Types,
    Upload,
    Verdict,
    Verdicts,
    Welcome,
    Wire,
)
from syncd.core.model import DataType
from syncd.core.settings import Limits

Guilty = TypeVar("Guilty", Failed, Verdict)
# Any: a tree holds whatever a frame held until msgspec has typed it.
Tree = dict[str, Any]

KINDS: dict[str, type[Wire]] = {
    "hello": Hello,
    "welcome": Welcome,
    "refusal": Refusal,
    "follow": Follow,
    "types": Types,
    "begin": Begin,
    "objects": Objects,
    "credit": Credit,
    "report": Report,
    "terms": Terms,
    "offer": Offer,
    "upload": Upload,
    "taken": Taken,
    "verdicts": Verdicts,
}
NAMES: Mapping[type[Wire], str] = {cls: name for name, cls in KINDS.items()}
HANDSHAKE = (Hello, Welcome, Refusal)

_TEXT_CHARS = Limits().text_chars_max


def to_tree(message: Wire) -> Tree:
    """The message as a tree. Bytes stay bytes; what is there for people (a reason, a cause, the key of a guilty object)
    is cut to what a peer accepts."""
    if type(message) is Objects:
        return _objects_tree(message)
    if type(message) is Upload:
        return _upload_tree(message)
    tree: Tree = {"kind": NAMES[type(message)]}
    tree.update(msgspec.to_builtins(_clipped(message), builtin_types=(bytes,)))
    if type(message) is Types:
        for one in tree["types"]:
            del one[_UNTOLD]
    return tree


def _objects_tree(message: Objects) -> Tree:
    """The hot path: columns are passed on, not copied."""
    cut = message.cut
    return {
        "kind": "objects",
        "collection": message.collection,
        "first": message.first,
        "last": message.last,
        "runs": message.runs,
        "kinds": message.kinds,
        "types": message.types,
        "keys": message.keys,
        "fields": message.fields,
        "ties": message.ties,
        "cut": None if cut is None else {"seq": cut.seq, "digest": cut.digest, "objects": cut.objects},
    }


def _upload_tree(message: Upload) -> Tree:
    """The same for edits."""
    return {
        "kind": "upload",
        "collection": message.collection,
        "outbox": message.outbox,
        "clock_us": message.clock_us,
        "runs": message.runs,
        "kinds": message.kinds,
        "types": message.types,
        "keys": message.keys,
        "bases": message.bases,
        "fields": message.fields,
    }


def from_tree(tree: object, limits: Limits) -> Wire:
    """The message that an untrusted tree is. Raises FrameError."""
    message = typed(tree)
    checks.check(message, limits)
    return message


def typed(tree: object) -> Wire:
    """The message with each value of its type, its sense not checked. Raises FrameError or a msgspec error."""
    if type(tree) is not dict:
        raise FrameError("a frame holds no map")
    kind = tree.get("kind")
    cls = KINDS.get(kind) if type(kind) is str else None
    if cls is None:
        raise FrameError(f"a frame is of the unknown kind {_show(kind)}")
    del tree["kind"]
    _exact(tree, cls)
    message: Wire = msgspec.convert(tree, cls)
    return message


def _exact(tree: object, cls: type) -> None:
    """All fields, no other, and bytes where bytes belong: msgspec would fill in defaults and take text for base64."""
    if type(tree) is not dict or tree.keys() != _FIELDS[cls]:
        raise FrameError(f"a {cls.__name__} does not have exactly its fields")
    for name in _BYTES.get(cls, ()):
        if type(tree[name]) is not bytes:
            raise FrameError(f"{name} of a {cls.__name__} is not bytes")
    for name in _COLUMNS.get(cls, ()):
        if type(tree[name]) is not list or not {bytes}.issuperset(map(type, tree[name])):
            raise FrameError(f"{name} of {cls.__name__} is no list of bytes")
    if cls is Objects:
        if tree["cut"] is not None:
            _exact(tree["cut"], Cut)
    elif cls in _PARTS:
        name, part = _PARTS[cls]
        if type(tree[name]) is not list:
            raise FrameError(f"{name} of a {cls.__name__} is no list")
        for item in tree[name]:
            _exact(item, part)


_UNTOLD = "references"  # of a DataType: they may lead to tables that a device does not take
_FIELDS: dict[type, frozenset[str]] = {
    cls: frozenset(field.name for field in fields(cls)) - {_UNTOLD}
    for cls in (*KINDS.values(), Cut, DataType, Failed, Verdict)
}
_BYTES: dict[type, tuple[str, ...]] = {
    Objects: ("kinds",),
    Upload: ("kinds",),
    Cut: ("digest",),
    Report: ("digest",),
    Failed: ("key",),
    Verdict: ("key",),
}
_COLUMNS: dict[type, tuple[str, ...]] = {Objects: ("keys", "fields"), Upload: ("keys", "bases", "fields")}
_PARTS: dict[type, tuple[str, type]] = {
    Types: ("types", DataType),
    Report: ("failed", Failed),
    Verdicts: ("verdicts", Verdict),
}


def clip(text: str) -> str:
    """A text for people as it may travel: not longer than a peer accepts, and UTF-8 whatever it was made of."""
    return text[:_TEXT_CHARS].encode("utf-8", "replace").decode()


def _clipped(message: Wire) -> Wire:
    clipper: Callable[[Any], Wire] | None = _CLIPPERS.get(type(message))
    return clipper(message) if clipper else message


def _clip_report(report: Report) -> Report:
    return replace(report, offline=clip(report.offline), failed=tuple(map(_clip_guilty, report.failed)))


def _clip_verdicts(verdicts: Verdicts) -> Verdicts:
    return replace(verdicts, verdicts=tuple(map(_clip_guilty, verdicts.verdicts)))


def _clip_guilty(one: Guilty) -> Guilty:
    """A cause with its object: of a key that is too long nothing is told, as part of it would be another key."""
    key = one.key if len(one.key) <= _TEXT_CHARS else b""
    return replace(one, cause=clip(one.cause), type=clip(one.type), key=key)


_CLIPPERS: dict[type[Wire], Callable[[Any], Wire]] = {
    Refusal: lambda message: replace(message, text=clip(message.text)),
    Begin: lambda message: replace(message, reason=clip(message.reason)),
    Report: _clip_report,
    Verdicts: _clip_verdicts,
}


def _show(value: object) -> str:
    """A hostile value in few characters."""
    return repr(value)[:40] if isinstance(value, str | int | float | None) else type(value).__name__
