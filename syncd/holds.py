"""What a person asks of the primary about what is held, groups and changes of settings (R13): what it is, to approve
it, to reject it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import NamedTuple, Protocol

from syncd.core.edits import Side
from syncd.core.errors import UserError
from syncd.core.holding import Held, held_id, held_reason
from syncd.core.settings import Limits
from syncd.core.status import Json
from syncd.deeds import Barred, Deed, Deeds, Done
from syncd.rooms import iso_time, show_key

Verb = Callable[[Json], Awaitable[Json]]
NAMED_MAX = 1_000  # objects that are named
DIGITS_MAX = 15  # of the number of what is held


class Asked(NamedTuple):
    id: str
    collection: str
    number: int
    held: Held


class HeldChanges(Protocol):
    """Changes of settings that are held, by their numbers; ``choices.Choices``."""

    async def held(self) -> list[Json]: ...

    async def approve(self, number: int) -> Json: ...

    async def reject(self, number: int) -> Json: ...


class Holds:
    """``collections``: those shared here. ``releasing``: where it is said that one has a held group that goes into the
    order."""

    def __init__(
        self,
        deeds: Deeds,
        settings: HeldChanges,
        collections: Callable[[], Iterable[str]],
        releasing: set[str],
        limits: Limits,
    ) -> None:
        self._deeds = deeds
        self._settings = settings
        self._collections = collections
        self._releasing = releasing
        self._limits = limits
        self.verbs: dict[str, Verb] = {"held": self._held, "approve": self._approve, "reject": self._reject}

    async def _held(self, args: Json) -> Json:
        lines: list[Json] = []
        for name in sorted(self._collections()):
            state = await self._deeds.collection(name)
            if state.held is None:
                continue
            types = {one.id: one.name for one in state.types}
            some = await self._deeds.store.held_objects(name, NAMED_MAX)
            lines.append(
                self._line(name, state.held)
                | {
                    "named": [
                        {"type": types.get(one.type, ""), "key": show_key(one.key), "gone": one.gone} for one in some
                    ]
                }
            )
        return {"held": lines, "settings": await self._settings.held()}

    def _line(self, name: str, held: Held) -> Json:
        return {
            "group": held_id(name, held.number),
            "collection": name,
            "since": iso_time(held.since_us),
            "objects": held.objects,
            "gone": held.gone,
            "of": held.of,
            "released": held.released,
            "reading": held.reading,
            "reason": held_reason(name, held),
        }

    async def asked(self, args: Json) -> Asked:
        """The held group that is named. Raises UserError."""
        asked = str(args.get("group") or "")
        name, _, number = asked.rpartition(":held-")
        if not name or not _is_number(number):
            raise UserError(
                f"{asked!r} is no held group", "name it as `syncd held` does, as notes:held-1 or settings-1"
            )
        held = (await self._deeds.collection(name)).held
        if held is None:
            raise UserError(f"nothing of {name} is held", "`syncd held` names what is")
        if held.number != int(number):
            raise UserError(
                f"{asked} is not what is held of {name} any more: it was decided, or more was deleted since",
                f"look at {held_id(name, held.number)} with `syncd held`",
            )
        return Asked(asked, name, held.number, held)

    async def _approve(self, args: Json) -> Json:
        """The group goes into the order with what is read next, its objects as they are then."""
        if number := of_settings(args):
            return await self._settings.approve(number)
        asked = await self.asked(args)
        if not await self._deeds.store.release(asked.collection, asked.number):
            raise _being_read(asked)
        self._releasing.add(asked.collection)
        return self._line(asked.collection, asked.held)

    async def _reject(self, args: Json) -> Json:
        """The application gets back what was deleted, when all of that was read. What is there again since stays as it
        is; what else is in the group deletes nothing, and goes into the order."""
        if number := of_settings(args):
            return await self._settings.reject(number)
        asked = await self.asked(args)
        await self._is_read(asked)
        after, count, left, conflicts = 0, 0, list[Side](), list[int]()
        while (given := await self._give_back(asked, after)) is not None:
            edits, after, done = given
            count += edits - len(done.left)
            left += done.left
            conflicts += [done.conflict] if done.conflict else []
        return {
            "group": asked.id,
            "objects": count,
            "left": [{"type": one.object.type, "key": show_key(one.object.key)} for one in left[:NAMED_MAX]],
            "more": max(0, len(left) - NAMED_MAX),
            "conflicts": [{"id": one} for one in conflicts],
        }

    async def _give_back(self, asked: Asked, after: int) -> tuple[int, int, Done] | None:
        """Some of what was deleted: how many, up to which change. None: nothing is left. Where the application refuses
        it, it may lack what comes later, as the rows that its rows refer to: then more at once, up to all of it."""
        bytes_max, lost = self._limits.lost_bytes_max, self._deeds.store.lost
        while True:
            edits, last = await lost(asked.collection, after, bytes_max)
            if not edits:
                return None
            try:
                deed = Deed(asked.collection, tuple(edits), f"reject {asked.id}", kept=True)
                return len(edits), last, await self._deeds.do(deed)
            except Barred:
                if not (await lost(asked.collection, last, 1))[0]:
                    raise
                bytes_max *= 2

    async def _is_read(self, asked: Asked) -> None:
        """Raises UserError where the application cannot be read just now."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.held_read_s_max):
                while True:
                    self._deeds.changed.clear()
                    held = (await self._deeds.collection(asked.collection)).held
                    if held is None or not held.reading:
                        return
                    await self._deeds.changed.wait()
        raise _being_read(asked)


def _being_read(asked: Asked) -> UserError:
    return UserError(f"{asked.id} is still being read", "look again with `syncd held`, then say it again")


def of_settings(args: Json) -> int:
    """The number of a change of settings, if one is named; of a collection a group would be named."""
    name, _, number = str(args.get("group") or "").partition("-")
    return int(number) if name == "settings" and _is_number(number) else 0


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX
