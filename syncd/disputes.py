"""Conflicts on the primary, for a person: which there are, all versions of one, and settling one by hand (R11)."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable

from syncd import versions
from syncd.adapters.canonical import unpack_values
from syncd.core.edits import Conflict, Edit, Policy, Side
from syncd.core.errors import UserError
from syncd.core.model import DataType
from syncd.core.status import Json
from syncd.deeds import Deed, Deeds, Done
from syncd.rooms import iso_time, show_key

Verb = Callable[[Json], Awaitable[Json]]
LISTED_MAX = 100  # conflicts of one answer; the count goes on
OBJECTS_MAX = 200  # objects of one conflict that are shown; the contested first
SHOWN_MAX = 1_000  # conflicts of which it is remembered what a person saw
TAKES = ("ours", "theirs", "both")


Held = dict[tuple[int, bytes], bytes | None]  # by type and key, what the application holds at a moment


class Disputes:
    """``verbs``: name -> what answers it. ``shown``: the name of a device, by its id."""

    def __init__(self, deeds: Deeds, shown: Callable[[str], str]) -> None:
        self._deeds = deeds
        self._shown = shown
        # By conflict: of objects that were something else than what came of it when a person looked, a hash of that.
        self._seen: dict[int, dict[tuple[int, bytes], bytes]] = {}
        self.verbs: dict[str, Verb] = {
            "conflicts": self._conflicts,
            "conflict": self._conflict,
            "resolve": self._resolve,
        }

    async def _conflicts(self, args: Json) -> Json:
        name = str(args.get("collection") or "")
        if name:
            await self._deeds.collection(name)
        found = await self._deeds.uploads.conflicts(name, bool(args.get("all")))
        rows = [self._line(await self._deeds.uploads.conflict(one.id) or one) for one in found[:LISTED_MAX]]
        return {"conflicts": rows, "more": max(0, len(found) - LISTED_MAX)}

    def _line(self, one: Conflict) -> Json:
        guilty = next((side.object for side in one.sides if side.contested), None)
        return {
            "id": one.id,
            "collection": one.collection,
            "time": iso_time(one.time_us),
            "device": one.device,
            "device_name": self._shown(one.device) if one.device else "",
            "policy": one.policy,
            "winner": one.winner,
            "group": f"{one.collection}:{one.seq}" if one.seq else "",
            "objects": len(one.sides),
            "contested": sum(side.contested for side in one.sides),
            "type": guilty.type if guilty else "",
            "key": show_key(guilty.key) if guilty else "",
            "resolved": one.resolved,
        }

    async def _conflict(self, args: Json) -> Json:
        """All versions, and what the application holds at the moment: a person decides about that."""
        one = await self._known(args)
        types = await self._deeds.types(one.collection)
        held = await self._held(one, types)
        self._remember(one, types, held)
        sides = sorted(one.sides, key=lambda side: not side.contested)  # stable: else in their order
        shown = versions.fitting(_side(side, types.get(side.object.type), held) for side in sides[:OBJECTS_MAX])
        return self._line(one) | {"sides": shown, "more": len(sides) - len(shown)}

    def _remember(self, one: Conflict, types: dict[str, DataType], held: Held) -> None:
        """What a person saw."""
        known = [side for side in one.sides if side.object.type in types]
        at = {(types[side.object.type].id, side.object.key): side for side in known}
        self._seen.pop(one.id, None)
        self._seen[one.id] = {name: _hash(held[name]) for name, side in at.items() if held[name] != side.result}
        while len(self._seen) > SHOWN_MAX:
            del self._seen[next(iter(self._seen))]

    async def _known(self, args: Json) -> Conflict:
        asked = str(args.get("id") or "")
        if not (asked.isascii() and asked.isdigit() and len(asked) < 19):
            raise UserError(f"{asked!r} is no id of a conflict", "`syncd conflicts` lists them")
        one = await self._deeds.uploads.conflict(int(asked))
        if one is None:
            raise UserError(f"there is no conflict {asked}", "`syncd conflicts --all` lists them, for 30 days")
        await self._deeds.collection(one.collection)
        return one

    async def _held(self, one: Conflict, types: dict[str, DataType]) -> Held:
        known = [(types[at.type].id, at.key) for at in (side.object for side in one.sides) if at.type in types]
        return await self._deeds.held(one.collection, known)

    # ------------------------------------------------------------ resolve

    async def _resolve(self, args: Json) -> Json:
        """A group of edits of what was seen. An object that has changed since is a person's to look at again."""
        one, take = await self._known(args), str(args.get("take") or "")
        types = await self._deeds.types(one.collection)
        _check_columns(one, types)
        held = await self._held(one, types)
        self._check_unchanged(one, types, held)
        if take == "both":
            done = await self._both(one, types, held)
        else:
            wanted = _edited(one, types, args.get("sides")) if take == "file" else _taken(one, take)
            edits = [
                Edit(*at, held[at], fields)
                for side, fields in wanted
                if held[at := (types[side.object.type].id, side.object.key)] != fields
            ]
            done = await self._do(one, tuple(edits), Policy.PRIMARY)  # all of it, or nothing (R2)
        if done is not None and done.left:
            raise self._changed(one, [_named(side) for side in done.left])
        await self._deeds.uploads.resolve(one.id, take if not done or not done.group else f"{take} ({done.group})")
        return {"id": one.id, "take": take, "group": done.group if done else "", "written": done is not None}

    async def _do(self, one: Conflict, edits: tuple[Edit, ...], policy: Policy) -> Done | None:
        """None: the application holds what was chosen already."""
        if not edits:
            return None
        return await self._deeds.do(Deed(one.collection, edits, f"resolve {one.id}", policy))

    def _check_unchanged(self, one: Conflict, types: dict[str, DataType], held: Held) -> None:
        """Against what was seen last; where nobody looked, against what came of the conflict."""
        seen = self._seen.get(one.id, {})
        changed: list[str] = []
        for side in one.sides:
            at = types[side.object.type].id, side.object.key
            if _hash(held[at]) != seen[at] if at in seen else held[at] != side.result:
                changed.append(_named(side))
        if changed:
            raise self._changed(one, changed)

    def _changed(self, one: Conflict, changed: list[str]) -> UserError:
        more = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
        return UserError(
            f"changed since then: {', '.join(changed[:5])}{more}",
            f"look again, `syncd conflicts show {one.id}`, then say it again",
        )

    async def _both(self, one: Conflict, types: dict[str, DataType], held: Held) -> Done | None:
        """What is there stays; the other version of what is contested becomes a second object, if its key can be one
        that means nothing."""
        edits: list[Edit] = []
        for side in one.sides:
            at = types[side.object.type].id, side.object.key
            other = side.theirs if held[at] != side.theirs else side.ours
            if side.contested and other is not None and held[at] is not None and not side.copy:
                edits.append(Edit(*at, None if side.base == held[at] else side.base, other))
            elif not side.contested and held[at] != side.theirs:
                edits.append(Edit(*at, held[at], side.theirs))
        done = await self._do(one, tuple(edits), Policy.BOTH)
        if done is not None and done.left:
            raise UserError(
                f"{done.left[0].object.type} has a key with a meaning: there cannot be a second object",
                "take ours, theirs, or a FILE",
            )
        return done


def _named(side: Side) -> str:
    return f"{side.object.type} {show_key(side.object.key)}"


def _check_columns(one: Conflict, types: dict[str, DataType]) -> None:
    """A version of other columns cannot be written."""
    for side in one.sides:
        type_, kept = types.get(side.object.type), (side.ours, side.theirs, side.result)
        if type_ is None or any(len(unpack_values(one)) != len(type_.fields) for one in kept if one is not None):
            raise UserError(
                f"the table {side.object.type} has other columns since then, or is gone", "change it in the application"
            )


def _hash(fields: bytes | None) -> bytes:
    return b"" if fields is None else hashlib.blake2b(fields, digest_size=16).digest()


def _side(side: Side, type_: DataType | None, held: Held) -> Json:
    now = held.get((type_.id, side.object.key)) if type_ is not None else None
    shown = {"base": side.base, "ours": side.ours, "theirs": side.theirs, "result": side.result, "now": now}
    return versions.line(type_, side.object, shown) | {
        "contested": side.contested,
        "copy": show_key(side.copy),
    }


def _taken(one: Conflict, take: str) -> list[tuple[Side, bytes | None]]:
    """The chosen version of each object: a group is chosen whole (R2)."""
    if take not in ("ours", "theirs"):
        raise UserError(f"{take!r} cannot be taken", f"take {', '.join(TAKES)}, or a FILE")
    return [(side, side.ours if take == "ours" else side.theirs) for side in one.sides]


def _edited(one: Conflict, types: dict[str, DataType], given: object) -> list[tuple[Side, bytes | None]]:
    """The results that a person edited; what they left as it was stays as the application holds it."""
    if not isinstance(given, list) or not all(isinstance(each, dict) for each in given):
        raise UserError("the file holds no list `sides`", "edit what `syncd conflicts show ID --json` printed")
    sides = {(side.object.type, show_key(side.object.key)): side for side in one.sides}
    wanted: list[tuple[Side, bytes | None]] = []
    for number, each in enumerate(given):
        at, where = (str(each.get("type")), str(each.get("key"))), f"sides[{number}]"
        if (side := sides.get(at)) is None:
            raise UserError(
                f"{where}: {at[0]} {at[1]} is no object of this conflict", "`syncd conflicts show` lists them"
            )
        fields = versions.edited(types[at[0]], each, "result", side.result, where)
        if fields != side.result:
            wanted.append((side, fields))
    return wanted
