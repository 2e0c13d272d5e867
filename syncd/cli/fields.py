"""Reads what the daemon told, field by field. Names and causes come from other machines: they are hostile."""

from __future__ import annotations

Json = dict[str, object]

_TEXT_MAX = 400  # characters of one value; more is cut


def clean(value: object, most: int = _TEXT_MAX) -> str:
    """The value as text of one line that cannot move a cursor, change a colour or turn the writing direction."""
    text = "" if value is None else str(value)
    shown = "".join(char if char.isprintable() else _escaped(char) for char in text[:most])
    return shown + "..." if len(text) > most else shown


def text(record: Json, key: str) -> str:
    """A text, clean; empty where there is none."""
    return clean(record.get(key))


def number(record: Json, key: str) -> int:
    """A number; 0 where there is none."""
    value = record.get(key)
    return int(value) if isinstance(value, int | float) else 0


def record(owner: Json, key: str) -> Json:
    value = owner.get(key)
    return value if isinstance(value, dict) else {}


def records(owner: Json, key: str) -> list[Json]:
    value = owner.get(key)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def texts(owner: Json, key: str) -> list[str]:
    value = owner.get(key)
    return [clean(item) for item in value] if isinstance(value, list) else []


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
