"""What persons set as text of TOML, written and read: one ``[[settings]]`` for each place, with its values."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from syncd.core.errors import UserError

_HEAD = """\
# Settings of syncd, as `syncd settings export` wrote them. `syncd settings import` sets what is in this file, all of it
# or nothing, and leaves all else as it is. Each [[settings]] names its place: a user, a device, a collection, or a
# collection on one device.
"""
_PLACE = ("user", "device", "collection")
_ADVICE = "`syncd settings export` shows how it is written"


class Entry(NamedTuple):
    """A place as a person names it, and the values that are set there. ``known_as``: what the device is called."""

    user: str
    device: str
    collection: str
    values: dict[str, str]
    known_as: str = ""


def written(entries: Iterable[Entry]) -> str:
    """The whole file."""
    lines = [_HEAD]
    for entry in entries:
        lines.append("[[settings]]")
        for key, value in zip(_PLACE, entry[:3], strict=True):
            comment = f"  # {entry.known_as}" if key == "device" and entry.known_as else ""
            lines += [f"{key} = {_string(value)}{comment}"] if value else []
        lines += [
            f"{_string(name) if '.' in name else name} = {_string(value)}" for name, value in entry.values.items()
        ]
        lines.append("")
    return "\n".join(lines)


def _string(text: str) -> str:
    """A TOML basic string. JSON's escapes are among TOML's; DEL must be escaped in TOML only."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def read_entries(text: str) -> list[Entry]:
    """Raises UserError for what is no such file."""
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UserError(f"the file is not TOML: {error}", _ADVICE) from error
    tables = document.pop("settings", [])
    if document or not isinstance(tables, list) or not all(isinstance(one, dict) for one in tables):
        raise UserError("the file holds something else than [[settings]]", _ADVICE)
    return [_entry(one) for one in tables]


def _entry(table: Mapping[str, object]) -> Entry:
    place: list[str] = []
    for key in _PLACE:
        named = table.get(key, "")
        if not isinstance(named, str):
            raise UserError(f"{key} is no text in the file", _ADVICE)
        place.append(named)
    user, device, collection = place
    if not any(place):
        raise UserError("a [[settings]] in the file names no place", "give it a user, a device or a collection")
    values = dict(_values({key: value for key, value in table.items() if key not in _PLACE}, ""))
    return Entry(user, device, collection, values)


def _values(table: Mapping[str, object], above: str) -> Iterator[tuple[str, str]]:
    """Names with their values; ``a.b = 1`` without quotes is a table in TOML."""
    for key, value in table.items():
        name = f"{above}{key}"
        if isinstance(value, dict):
            yield from _values(value, f"{name}.")
        elif isinstance(value, str) and value:
            yield name, value
        elif isinstance(value, int) and not isinstance(value, bool):
            yield name, str(value)
        else:
            raise UserError(f"{name} is neither a text nor a whole number in the file", _ADVICE)
