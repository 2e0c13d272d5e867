"""The golden vectors, and how their notation becomes messages. Vectors are added to, never changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple, get_args

import msgspec

from syncd.core.messages import Wire

DIRECTORY = Path(__file__).resolve().parent.parent / "vectors"
CLASSES: dict[str, type[Wire]] = {cls.__name__.lower(): cls for cls in get_args(Wire)}


class Vector(NamedTuple):
    """One message and its frame in each adapter."""

    name: str
    message: Wire
    frames: dict[str, bytes | str]


def load(name: str) -> Any:
    return json.loads((DIRECTORY / name).read_text(encoding="utf-8"))


def _plain(note: Any) -> Any:
    """``{"hex": ...}`` stands for bytes."""
    if isinstance(note, dict):
        return bytes.fromhex(note["hex"]) if note.keys() == {"hex"} else {k: _plain(v) for k, v in note.items()}
    return [_plain(item) for item in note] if isinstance(note, list) else note


def _frame(note: dict[str, str]) -> bytes | str:
    return bytes.fromhex(note["hex"]) if "hex" in note else note["text"]


def _vector(note: dict[str, Any]) -> Vector:
    message: Wire = msgspec.convert(_plain(note["message"]), CLASSES[note["kind"]])
    return Vector(note["name"], message, {name: _frame(note[name]) for name in ("msgpack", "json")})


MESSAGES = tuple(_vector(note) for note in load("messages.json"))
BY_NAME = {vector.name: vector for vector in MESSAGES}
