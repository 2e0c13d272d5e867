"""What verbs ask of settings: what their arguments name, a place, a setting, a text, and what `syncd share` chooses.
Raises UserError."""

from __future__ import annotations

from typing import Protocol

from syncd.core.errors import UserError
from syncd.core.preferences import Setting, split
from syncd.core.settings_file import Entry
from syncd.core.status import Json


class Asked(Protocol):
    """By `syncd share`, of its collection."""

    @property
    def direction(self) -> str: ...

    @property
    def conflicts(self) -> str: ...


def entry_of(args: Json) -> Entry:
    return Entry(text_of(args, "user"), text_of(args, "device"), text_of(args, "collection"), {})


def asked_of(args: Json) -> tuple[Entry, Setting]:
    collection, one = split(text_of(args, "name"))
    return Entry(text_of(args, "user"), text_of(args, "device"), collection, {}), one


def text_of(args: Json, name: str) -> str:
    given = args.get(name)
    if given is not None and not isinstance(given, str):
        raise UserError(f"the argument {name!r} is no text", "see `syncd settings --help`")
    return given or ""
