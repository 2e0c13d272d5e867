"""Values as JSON, exactly. Owns the tags and the strictness of parsing; knows nothing of messages.

JSON has one kind of number and no blobs, so what it cannot hold exactly is a tagged object of one field:
``{"b64": "..."}`` a blob, ``{"int": "..."}`` an integer of 2^53 or beyond, ``{"real": "..."}`` each real.
"""

from __future__ import annotations

import json
import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Sequence
from typing import Any

from syncd.core.errors import FrameError

SAFE_INTEGER_MAX = 2**53 - 1
_INTEGER_CHARS_MAX = 20
_REAL_CHARS_MAX = 40
_REAL = re.compile(r"-?(inf|[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?)")
_INTEGER = re.compile(r"-?[1-9][0-9]*")
_BRACKET = re.compile(r"[\[\]{}]")

# Any: a tree holds whatever a text held until its message is typed.
Json = Any


def to_json(value: object) -> Json:
    """A value, or a tree of lists and maps of values, as ``json.dumps`` takes it."""
    kind = type(value)
    if kind is str or value is None or kind is bool:
        return value
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, int):
        return value if -SAFE_INTEGER_MAX <= value <= SAFE_INTEGER_MAX else {"int": str(value)}
    if isinstance(value, float):
        return {"real": repr(value)}
    if isinstance(value, bytes):
        return {"b64": b2a_base64(value, newline=False).decode()}
    if isinstance(value, dict):
        return {name: to_json(item) for name, item in value.items()}
    raise TypeError(f"{kind.__name__} has no form in JSON")


def dumps(tree: Json) -> str:
    return json.dumps(tree, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def loads(text: str, nesting_max: int, items_max: int) -> Json:
    """The tree of an untrusted text, tagged values resolved. Raises FrameError, ValueError or RecursionError."""
    _measure(text, nesting_max, items_max)
    return json.loads(
        text, object_pairs_hook=_pairs, parse_int=_plain_integer, parse_float=_refuse, parse_constant=_refuse
    )


def _measure(text: str, nesting_max: int, items_max: int) -> None:
    """Refuses what nests too deep or holds too much, before anything of it is built: a bracket can cost fifty times
    its size. Sees valid JSON as the parser does, and the parser stops where a text stops being valid."""
    plain = text.replace("\\\\", "").replace('\\"', "")
    if plain.count('"') > 4 * items_max:
        raise FrameError("a frame holds too many texts", code="too-large")
    structure = "".join(plain.split('"')[::2])
    opened = structure.count("[") + structure.count("{")
    closed = structure.count("]") + structure.count("}")
    if opened + structure.count(",") > items_max or closed > opened:
        raise FrameError("a frame holds too many items", code="too-large")
    depth = 0
    for bracket in _BRACKET.findall(structure):
        depth += 1 if bracket in "[{" else -1
        if depth > nesting_max:
            raise FrameError("a frame nests too deep")


def _pairs(pairs: Sequence[tuple[str, Json]]) -> Json:
    if len(pairs) == 1:
        tag, text = pairs[0]
        if tag in _TAGS:
            if type(text) is not str:
                raise FrameError(f"a value tagged {tag} is no text")
            return _TAGS[tag](text)
    tree = dict(pairs)
    if len(tree) != len(pairs):
        raise FrameError("an object names a field twice")
    return tree


def _blob(text: str) -> bytes:
    raw = a2b_base64(text, strict_mode=True)
    if b2a_base64(raw, newline=False).decode() != text:
        raise FrameError("a blob is not in the one form that base64 gives it")
    return raw


def _large_integer(text: str) -> int:
    if len(text) > _INTEGER_CHARS_MAX or not _INTEGER.fullmatch(text):
        raise FrameError("a tagged integer has a form that is not known")
    number = int(text)
    if abs(number) <= SAFE_INTEGER_MAX:
        raise FrameError("an integer is tagged that JSON can hold")
    return number


def _real(text: str) -> float:
    """The nearest double. Digits that go beyond every double are refused, not taken for infinity."""
    if len(text) > _REAL_CHARS_MAX or not _REAL.fullmatch(text):
        raise FrameError("a real has a form that is not known")
    number = float(text)
    if abs(number) == float("inf") and not text.endswith("inf"):
        raise FrameError("a real is too large")
    return number


_TAGS: dict[str, Callable[[str], object]] = {"b64": _blob, "int": _large_integer, "real": _real}


def _plain_integer(text: str) -> int:
    if len(text) > _INTEGER_CHARS_MAX or text == "-0":
        raise FrameError("a number has a form that is not known")
    number = int(text)
    if abs(number) > SAFE_INTEGER_MAX:
        raise FrameError("an integer is not tagged that JSON libraries round")
    return number


def _refuse(text: str) -> Json:
    raise FrameError(f"a number is {text[:20]!r}: reals are tagged, integers are whole")
