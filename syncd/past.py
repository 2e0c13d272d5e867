"""What a person asks of the primary about the past: who changed an object, and to undo a group."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import NamedTuple

from syncd import versions
from syncd.adapters.canonical import Value, pack_values
from syncd.core.edits import Version
from syncd.core.errors import UserError
from syncd.core.model import DataType, group_id
from syncd.core.settings import Limits
from syncd.core.status import Json
from syncd.deeds import Deed, Deeds
from syncd.rooms import iso_time, show_key

Verb = Callable[[Json], Awaitable[Json]]
LEFT_MAX = 1_000  # objects that an undo left and that are named; the conflict has all of them
VALUE_MAX = 1_000  # characters or bytes of a value in a history


class Found(NamedTuple):
    """An object with the versions of it that are remembered, the newest first."""

    type: DataType
    key: bytes
    versions: Sequence[Version]


class Past:
    """``verbs``: name -> what answers it. ``shown``: the name of a device, by its id."""

    def __init__(self, deeds: Deeds, shown: Callable[[str], str], limits: Limits) -> None:
        self._deeds = deeds
        self._shown = shown
        self._limits = limits
        self.verbs: dict[str, Verb] = {"undo": self._undo, "history": self._history}

    # ------------------------------------------------------------ undo

    async def _undo(self, args: Json) -> Json:
        """The inverse of a group, except of the objects that were changed since."""
        asked, name, seq = group_asked(args)
        await self._deeds.collection(name)
        edits = await self._deeds.store.inverse(name, seq)
        done = await self._deeds.do(Deed(name, edits, f"undo {asked}", kept=True))
        left = [{"type": one.object.type, "key": show_key(one.object.key)} for one in done.left[:LEFT_MAX]]
        return {
            "group": asked,
            "undone_by": done.group,
            "objects": len(edits) - len(done.left),
            "left": left,
            "more": len(done.left) - len(left),
            "conflict": done.conflict,
        }

    # ------------------------------------------------------------ history

    async def _history(self, args: Json) -> Json:
        name, limit = str(args.get("collection") or ""), args.get("limit")
        most = self._limits.history_versions_max
        if isinstance(limit, int) and not isinstance(limit, bool) and limit > 0:
            most = min(most, limit)
        found = await self.find(name, words_of(args), most + 1)
        # One more than is told: what was there before the oldest.
        lines = versions.fitting(
            self._line(name, found.type, one, before)
            for one, before in zip(found.versions[:most], [*found.versions[1:], None], strict=False)
        )
        return {
            "collection": name,
            "type": found.type.name,
            "key": show_key(found.key),
            "versions": lines,
            "more": len(found.versions) > len(lines),
        }

    async def find(self, name: str, words: list[str], most: int) -> Found:
        """The one object that the words may mean. Raises UserError where there is none, or more of them."""
        state = await self._deeds.collection(name)
        found: list[Found] = []
        for type_, columns in meant(state.types, words):
            for key in keys(columns):
                if known := await self._deeds.store.history(name, type_.id, key, most):
                    found.append(Found(type_, key, known))
        if not found:
            wants = "; ".join(f"{one.name} {' '.join(one.key)}" for one in state.types[:10])
            raise UserError(
                f"nothing is known of {' '.join(words)!r} in {name}", f"give the key as one of: {wants or 'no table'}"
            )
        if len({one.type.name for one in found}) > 1:
            names = ", ".join(sorted({one.type.name for one in found}))
            raise UserError(
                f"{name} has objects with this key in {names}", f"say which: `syncd history {name} TABLE KEY`"
            )
        return found[0]

    def _line(self, name: str, type_: DataType, one: Version, before: Version | None) -> Json:
        device, _, deed = one.author.partition(" ")
        earlier = before.fields if before is not None else None
        return {
            "group": group_id(name, one.seq),
            "time": iso_time(one.time_us),
            "device": device,
            "device_name": self._shown(device) if device else "",
            "deed": deed,
            "change": _change(one, before),
            "fields": versions.differences(type_, earlier, one.fields, VALUE_MAX),
        }


def words_of(args: Json) -> list[str]:
    """The words that name an object. Raises UserError."""
    words = args.get("words")
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        raise UserError("the key is missing", "name the collection and the key")
    return [str(word) for word in words]


def group_asked(args: Json) -> tuple[str, str, int]:
    """The group that is named: as it is, its collection and its number. Raises UserError."""
    asked = str(args.get("group") or "")
    name, _, number = asked.rpartition(":")
    if not name or not (number.isascii() and number.isdigit()):
        raise UserError(f"{asked!r} is no group", "name it as `syncd history` does, as notes:912")
    return asked, name, int(number)


def _change(one: Version, before: Version | None) -> str:
    if one.fields is None:
        return "deleted"
    if before is None:
        return "known"  # nothing older is remembered: it was added, or what was before is forgotten
    return "added" if before.fields is None else "changed"


def meant(types: Sequence[DataType], words: list[str]) -> Iterator[tuple[DataType, list[str]]]:
    """The types that the words may name an object of, each with the words that are its key. A first word that is a
    type's name, and leaves as many words as its key has columns, is that."""
    named = [one for one in types if one.name == words[0] and len(one.key) == len(words) - 1]
    if named:
        yield named[0], words[1:]
        return
    for one in types:
        if len(one.key) == len(words):
            yield one, words


def keys(words: list[str]) -> Iterator[bytes]:
    """The keys that the words may be: each as JSON if it is a value, and as the text that it is."""
    readings: list[list[Value]] = [[]]
    for word in words:
        readings = [[*begun, value] for begun in readings for value in _values(word)]
    for reading in readings:
        yield pack_values(reading)


def _values(word: str) -> list[Value]:
    try:
        value = versions.read(json.loads(word), "the key")
    except (ValueError, RecursionError, UserError):
        return [word]
    return [value] if value == word else [value, word]
