"""Refused groups of edits on an auxiliary, for a person: which there are, what they changed, and making one again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

from syncd import versions
from syncd.core.edits import Edit, RefusedGroup
from syncd.core.errors import UserError
from syncd.core.model import DataType, ObjectId
from syncd.core.status import Json
from syncd.core.upward_ports import Outbox
from syncd.rooms import iso_time, show_key

Verb = Callable[[Json], Awaitable[Json]]
LISTED_MAX = 500  # groups of one answer; the count goes on
OBJECTS_MAX = 200  # objects of one group that are shown


class Here(Protocol):
    """The collections that this device accepts."""

    def names(self) -> Iterable[str]: ...

    async def types(self, collection: str) -> Sequence[DataType]: ...

    async def write_again(self, collection: str, edits: Sequence[Edit], new_keys: bool) -> int:
        """In one transaction of the application, as if it made them; how many changed anything. ``new_keys``: what was
        added and whose key another object has by now gets another. Raises UserError if it refuses."""
        ...


class Named(NamedTuple):
    """A refused group and the collection that it is of."""

    collection: str
    group: RefusedGroup


class RefusedEdits:
    """``verbs``: name -> what answers it."""

    def __init__(self, outbox: Outbox, here: Here) -> None:
        self._outbox = outbox
        self._here = here
        self.verbs: dict[str, Verb] = {
            "conflicts": self._conflicts,
            "conflict": self._conflict,
            "resend": self._resend,
        }

    async def _conflicts(self, args: Json) -> Json:
        name = str(args.get("collection") or "")
        if name and name not in self._here.names():
            raise UserError(f"no collection {name!r} is accepted here", "`syncd status` names those that are")
        found = await self._all([name] if name else self._here.names())
        found.sort(key=lambda one: -one.group.time_us)
        return {"refused": [_line(one) for one in found[:LISTED_MAX]], "more": max(0, len(found) - LISTED_MAX)}

    async def _all(self, names: Iterable[str]) -> list[Named]:
        return [Named(name, group) for name in sorted(names) for group in await self._outbox.refused(name)]

    async def _named(self, asked: str) -> Named:
        """NUMBER, or COLLECTION:NUMBER where two collections have groups of that number. Raises UserError."""
        name, _, number = asked.rpartition(":")
        found = [
            one
            for one in await self._all(self._here.names())
            if str(one.group.number) == number and name in ("", one.collection)
        ]
        if not found:
            raise UserError(f"no group {asked!r} was refused", "`syncd conflicts` lists those that were, for 30 days")
        if len(found) > 1:
            either = " or ".join(f"{one.collection}:{number}" for one in found)
            raise UserError(f"{number} is a group of several collections", f"say {either}")
        return found[0]

    async def _conflict(self, args: Json) -> Json:
        one = await self._named(str(args.get("id") or ""))
        types = {each.id: each for each in await self._outbox.known_types(one.collection)}
        edits = await self._outbox.edits(one.collection, one.group.number)
        return _line(one) | {
            "edits": (shown := versions.fitting(_edit(types.get(edit.type), edit) for edit in edits[:OBJECTS_MAX])),
            "more": len(edits) - len(shown),
        }

    async def _resend(self, args: Json) -> Json:
        """The edits become changes of the application's that are made at this moment, so that their bases are what it
        holds; the refused group is forgotten."""
        one = await self._named(str(args.get("number") or ""))
        types = {each.id: each for each in await self._here.types(one.collection)}
        edits = await self._outbox.edits(one.collection, one.group.number)
        gone = sorted({edit.type for edit in edits} - types.keys())
        if gone or any(edit.fault for edit in edits):
            raise UserError(
                "its table has changed since, or it holds what cannot be sent", "make it in the application"
            )
        if (given := args.get("edits")) is not None:
            edits = _edited(edits, types, given)
        if not await self._here.write_again(one.collection, edits, bool(args.get("new_keys"))):
            raise UserError(
                "the application here holds all of it so already: nothing would be sent",
                "change it there, or send it edited with --from FILE",
            )
        await self._outbox.forget(one.collection, one.group.number)
        return {"collection": one.collection, "number": one.group.number, "objects": len(edits)}


def _line(one: Named) -> Json:
    group = one.group
    return {
        "number": group.number,
        "collection": one.collection,
        "time": iso_time(group.time_us),
        "cause": group.cause,
        "type": group.guilty.type if group.guilty else "",
        "key": show_key(group.guilty.key) if group.guilty else "",
        "conflict": group.conflict,
        "objects": group.objects,
    }


def _edit(type_: DataType | None, edit: Edit) -> Json:
    name = type_.name if type_ else f"type {edit.type}"
    fields = None if edit.fault else edit.fields
    shown = {"base": edit.base, "edited": fields}
    return versions.line(type_, ObjectId(name, edit.key), shown) | {"fault": edit.fault}


def _edited(edits: Sequence[Edit], types: dict[int, DataType], given: object) -> list[Edit]:
    """The edits as a person edited them; objects that are not named stay as they are."""
    if not isinstance(given, list) or not all(isinstance(each, dict) for each in given):
        raise UserError("the file holds no list `edits`", "edit what `syncd conflicts show NUMBER --json` printed")
    found = {(types[edit.type].name, show_key(edit.key)): edit for edit in edits}
    for number, each in enumerate(given):
        at, where = (str(each.get("type")), str(each.get("key"))), f"edits[{number}]"
        if at not in found:
            raise UserError(f"{where}: {at[0]} {at[1]} is no object of this group", "`syncd conflicts show` lists them")
        edit = found[at]
        fields = versions.edited(types[edit.type], each, "edited", edit.fields, where)
        found[at] = edit._replace(fields=fields)
    return list(found.values())
