"""What a person asks of the primary about a decision before it is made: what it would do where, and to do exactly that.

What is applied by its hash does what was shown, or nothing: while it is looked at for the last time and made no commit,
no change of settings and no link of a device comes between (``Ports.alone``, ``changing``). One is answered at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from syncd.core.errors import UserError
from syncd.core.foreseen import Outcome, Part
from syncd.core.model import Kind, ObjectId
from syncd.core.status import Json
from syncd.decisions import NEW_DEVICE, Decision, Foreseen, Grounds, Moved, decision
from syncd.rooms import show_key

Verb = Callable[[Json], Awaitable[Json]]
OUTCOMES_MAX = 1_000  # outcomes that are told; the hash covers all
LEFT_MAX = 1_000  # objects that are named because they stay as they are
_MOVED = "the data moved, or this is no hash of this decision: nothing was done"


class Previews:
    """``shown``: the name of a device. ``accepted``: whether it has a collection, as far as it said."""

    def __init__(self, grounds: Grounds, shown: Callable[[str], str], accepted: Callable[[str, str], bool]) -> None:
        self._on = grounds
        self._shown = shown
        self._accepted = accepted
        self._one = asyncio.Lock()
        self.verbs: dict[str, Verb] = {"preview": self._preview}

    async def _preview(self, args: Json) -> Json:
        what, wanted, inner = args.get("what"), args.get("apply") or "", args.get("args")
        if not isinstance(what, str) or not isinstance(wanted, str) or not isinstance(inner, dict):
            raise UserError("there is nothing to preview", "see `syncd preview --help`")
        async with self._one:
            asked = await decision(self._on, what, inner, applies=bool(wanted))
            try:
                return await self._answer(asked, wanted)
            finally:
                await asked.close()

    async def _answer(self, asked: Decision, wanted: str) -> Json:
        foreseen = await asked.foresee()
        if not wanted:
            return self._told(foreseen)
        if not foreseen.applies or foreseen.hash != wanted:
            return self._told(foreseen, refused=_MOVED)
        try:
            group = await self._make(asked)
        except Moved:
            return self._told(await asked.foresee(), refused=_MOVED)
        return self._told(foreseen, applied=True, group=group)

    async def _make(self, asked: Decision) -> str:
        """What was foreseen, if it still is so. Raises Moved. Others wait for the last look alone, which has little to
        see after the one before."""
        if not await asked.still():
            raise Moved(_MOVED)
        async with AsyncExitStack() as locks:
            await locks.enter_async_context(self._on.choices.changing)
            await locks.enter_async_context(self._on.people.changing)
            for name in asked.collections:
                await locks.enter_async_context(self._on.alone(name))
            if not await asked.still():
                raise Moved(_MOVED)
            return await asked.make()

    # ------------------------------------------------------------ told

    def _told(self, foreseen: Foreseen, applied: bool = False, refused: str = "", group: str = "") -> Json:
        outcomes = [one for one in foreseen.outcomes if one.tally.moves or one.note]
        return {
            "change": foreseen.change,
            "hash": foreseen.hash,
            "applied": applied,
            "refused": refused,
            "group": group,
            "outcomes": [self._line(one) for one in outcomes[:OUTCOMES_MAX]],
            "more": max(0, len(outcomes) - OUTCOMES_MAX),
            "untouched": len(foreseen.outcomes) - len(outcomes),
            "left": [_named(one) for one in foreseen.left[:LEFT_MAX]],
            "left_more": max(0, len(foreseen.left) - LEFT_MAX),
            "warnings": list(foreseen.warnings),
        }

    def _line(self, one: Outcome) -> Json:
        device, parts = one.device, one.tally.parts
        return {
            "device": device,
            "device_name": device if device == NEW_DEVICE else self._shown(device) if device else "",
            "collection": one.collection,
            "accepted": not device or self._accepted(device, one.collection),
            "add": _part(parts[Kind.ADD]),
            "modify": _part(parts[Kind.MODIFY]),
            "delete": _part(parts[Kind.DELETE]),
            "note": one.note,
        }


def _part(part: Part) -> Json:
    return {"objects": part.objects, "bytes": part.bytes, "first": [_named(one) for one in part.first]}


def _named(one: ObjectId) -> Json:
    return {"type": one.type, "key": show_key(one.key)}
