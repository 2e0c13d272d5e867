"""Decisions that can be foreseen: settings, a device that is linked or paired, a held group, an undo.

Each says what it would do, whether that is still so, and does it. The last two are asked while nothing comes between
(``previews``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Protocol

from syncd.choices import Choices
from syncd.core.devices import Device, find_device
from syncd.core.edits import Edit, Ruling
from syncd.core.errors import UserError
from syncd.core.foreseen import Outcome, Shift, seal
from syncd.core.holding import Held
from syncd.core.loss import Weighed
from syncd.core.model import ObjectId, Role
from syncd.core.ports import CollectionState
from syncd.core.preferences import Chosen, Preferences, with_chosen
from syncd.core.settings import Limits
from syncd.core.status import Json
from syncd.deeds import Deed, Deeds
from syncd.foresight import Access, Change, Counting, Moving, access, check, shifts
from syncd.holds import Asked, Holds
from syncd.holds import of_settings as of_settings_held
from syncd.known import Known
from syncd.past import group_asked

NEW_DEVICE = "(new device)"  # stands for one that is not paired yet


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What a decision would do. ``left``: objects that it names and that stay as they are. ``applies``: it can be made
    by its hash. ``warnings``: of what devices may refuse."""

    change: str
    outcomes: tuple[Outcome, ...]
    left: tuple[ObjectId, ...] = ()
    applies: bool = True
    warnings: tuple[str, ...] = ()

    @property
    def hash(self) -> str:
        return seal(self.change, self.outcomes) if self.applies else ""


class Linking(Protocol):
    """What links devices; ``changing`` is held meanwhile."""

    changing: asyncio.Lock

    async def link(self, args: Json) -> Json: ...


@dataclass(frozen=True, slots=True)
class Grounds:
    """What decisions stand on. ``alone``: held while a collection's changes are kept."""

    deeds: Deeds
    choices: Choices
    people: Linking
    holds: Holds
    alone: Callable[[str], asyncio.Lock]
    limits: Limits

    async def access(self) -> Access:
        """What all devices take at this moment."""
        return self.access_of(await self.choices.known(), await self.choices.kept())

    def access_of(self, known: Known, kept: Sequence[Chosen]) -> Access:
        return access(known, self.choices.owners, Preferences.of(self.limits, kept))


class Decision(Protocol):
    """``collections``: those that nothing is kept of while it is made; known once it was foreseen."""

    collections: tuple[str, ...]

    async def foresee(self) -> Foreseen: ...

    async def still(self) -> bool:
        """Whether what was foreseen last is so at this moment."""
        ...

    async def make(self) -> str:
        """Returns the group that came of it, empty where none did or it is not known. Raises Moved."""
        ...

    async def close(self) -> None:
        """Nothing is asked of it any more."""
        ...


class Moved(UserError):
    """What is to be done is not what was foreseen any more. Nothing was done."""

    code = "moved"


# ---------------------------------------------------------------- what devices take


class Shifting:
    """Devices take other objects. ``after``: what all take then, of what is known and holds at the moment. ``make``
    None: it is made elsewhere. ``wanted``: the settings that are to be made so."""

    def __init__(
        self,
        grounds: Grounds,
        change: str,
        after: Callable[[Known, Sequence[Chosen]], Access],
        make: Callable[[], Awaitable[object]] | None,
        wanted: Sequence[Chosen] = (),
    ) -> None:
        self._on = grounds
        self._change = change
        self._after = after
        self._make = make
        self._wanted = wanted
        self._shifts: tuple[Shift, ...] = ()
        self._moving: dict[str, Moving] = {}
        self.collections: tuple[str, ...] = ()

    async def foresee(self) -> Foreseen:
        self._shifts, store = await self._shifted(), self._on.deeds.store
        self.collections = tuple(sorted({one.collection for one in self._shifts}))
        outcomes: list[Outcome] = []
        await self.close()
        for name in self.collections:
            state = check(await self._on.deeds.collection(name))
            self._moving[name] = Moving(state, [one for one in self._shifts if one.collection == name])
            outcomes += await self._moving[name].look(store)
        warnings = tuple(await self._on.choices.warnings(self._wanted))
        return Foreseen(self._change, tuple(outcomes), applies=self._make is not None, warnings=warnings)

    async def _shifted(self) -> tuple[Shift, ...]:
        known, kept = await self._on.choices.known(), await self._on.choices.kept()
        return shifts(self._on.access_of(known, kept), self._after(known, kept))

    async def still(self) -> bool:
        """What is committed meanwhile and moves nothing else than before is taken over as it goes."""
        if await self._shifted() != self._shifts:
            return False
        for name, moving in self._moving.items():
            now = await self._on.deeds.collection(name)
            if now.scanning or await moving.moved(self._on.deeds.store, now):
                return False
        return True

    async def make(self) -> str:
        if self._make is not None:
            await self._make()
        return ""

    async def close(self) -> None:
        for moving in self._moving.values():
            await moving.close()
        self._moving = {}


async def of_settings(grounds: Grounds, verb: str, args: Json, applies: bool) -> Shifting:
    """`settings set`, `unset` or `import`."""
    wanted = await grounds.choices.wanted(verb, args)
    return await _of_chosen(grounds, wanted, "preview", 0, applies)


async def of_held_settings(grounds: Grounds, number: int, applies: bool) -> Shifting:
    """`approve` of a change of settings that is held."""
    held = await grounds.choices.held_as(number)
    return await _of_chosen(grounds, held.chosen, f"approve {held.id}, preview", number, applies)


async def _of_chosen(grounds: Grounds, wanted: Sequence[Chosen], door: str, held: int, applies: bool) -> Shifting:
    """A person has seen what it takes away: it counts as approved (R13). Where it applies, what is lost is counted
    before others have to wait; that says only from where the guard counts on."""
    choices, guard = grounds.choices, grounds.choices.guard
    kept, known = {(one.place, one.name): one.value for one in await choices.kept()}, await choices.known()
    lines = [_words(known, one, kept.get((one.place, one.name), "")) for one in wanted]
    lost = await guard.losses(wanted) if applies else ()
    weighed = Weighed(lost, approved=True, held=held, window_us=guard.window_us)

    def chosen_then(known: Known, kept: Sequence[Chosen]) -> Access:
        return access(known, choices.owners, Preferences.of(grounds.limits, with_chosen(kept, wanted)))

    change = "; ".join(line for line in lines if line) or "no setting changes"
    return Shifting(grounds, change, chosen_then, lambda: choices.change(wanted, door, weighed), wanted)


def _words(known: Known, one: Chosen, before: str) -> str:
    if one.value == before:
        return ""
    return f"{known.words(one.place)}: {one.name}: {before or 'not set'} -> {one.value or 'not set'}"


async def of_link(grounds: Grounds, args: Json) -> Shifting:
    """`devices link`."""
    known = await grounds.choices.known()
    device = find_device(known.devices, str(args.get("device") or ""))
    user = known.user(str(args.get("user") or ""))
    if device.revoked_us:
        raise UserError(f"{device.shown} is revoked", "pair it again: `syncd pair --user NAME`")

    def linked(known: Known, kept: Sequence[Chosen]) -> Access:
        return grounds.access_of(Known(known.users, known.devices, known.links | {(user, device.id)}), kept)

    change = f"device {device.shown} is linked with user {known.user_name(user)}"
    return Shifting(
        grounds, change, linked, lambda: grounds.people.link({"device": device.id, "user": args.get("user")})
    )


async def of_pairing(grounds: Grounds, args: Json) -> Shifting:
    """`pair`: what a device that comes for a user would get."""
    known = await grounds.choices.known()
    name = str(args.get("user") or "") or grounds.choices.user
    user, device = known.user(name), Device(NEW_DEVICE, NEW_DEVICE, Role.AUXILIARY, b"", "", (), 0, 0)

    def paired(known: Known, kept: Sequence[Chosen]) -> Access:
        more = Known(known.users, (*known.devices, device), known.links | {(user, device.id)})
        return grounds.access_of(more, kept)

    return Shifting(grounds, f"a device is paired for user {name}", paired, None)


# ---------------------------------------------------------------- held groups


class Deciding:
    """`approve` or `reject` of a held group. ``collections``: a rejected one is written into the application, which has
    to be read meanwhile."""

    def __init__(self, grounds: Grounds, asked: Asked, approves: bool) -> None:
        self._on, self._asked, self._approves = grounds, asked, approves
        self.collections: tuple[str, ...] = (asked.collection,) if approves else ()
        self._foreseen: tuple[object, ...] = ()

    async def foresee(self) -> Foreseen:
        on, name = self._on, self._asked.collection
        state, takers = check(await on.deeds.collection(name)), await on.access()
        counting, store, after = Counting(state, takers), on.deeds.store, 0
        while True:
            edits, after = await store.lost(name, after, on.limits.lost_bytes_max)
            if not edits:
                break
            gone = [Change(one.type, one.key, one.fields, None) for one in edits]
            if self._approves:
                counting.on_devices(gone)
            else:
                counting.in_application([Change(one.type, one.key, None, one.before) for one in gone])
            await asyncio.sleep(0)
        others = await self._others(state, counting)
        self._foreseen = (_size(state.held), others, takers)
        verb = "approve" if self._approves else "reject"
        return Foreseen(f"{verb} {self._asked.id}", tuple(counting.outcomes()), applies=counting.whole)

    async def _others(self, state: CollectionState, counting: Counting | None = None) -> bytes:
        """Objects of the group that are not gone, as the application has them: what that is, in short."""
        held, after, short = state.held, None, blake2b(digest_size=16)
        while held is not None and held.objects > held.gone:
            some = await self._on.deeds.store.held_objects(state.name, self._on.limits.scan_rows_max, after)
            if not some:
                break
            after = some[-1]
            there = [(one.type, one.key) for one in some if not one.gone]
            found = await self._on.deeds.held(state.name, there)
            changes = [Change(*at, await self._stored(state.name, *at), found[at]) for at in there]
            short.update(repr(changes).encode())
            if counting is not None:
                counting.on_devices(changes)
        return short.digest()

    async def _stored(self, name: str, type_: int, key: bytes) -> bytes | None:
        newest = await self._on.deeds.store.history(name, type_, key, 1)
        return newest[0].fields if newest else None

    async def still(self) -> bool:
        state = await self._on.deeds.collection(self._asked.collection)
        return (_size(state.held), await self._others(state), await self._on.access()) == self._foreseen

    async def make(self) -> str:
        verb = "approve" if self._approves else "reject"
        await self._on.holds.verbs[verb]({"group": self._asked.id})
        return ""

    async def close(self) -> None:
        """It keeps nothing."""


def _size(held: Held | None) -> tuple[int, int, int]:
    return (0, 0, 0) if held is None else (held.number, held.objects, held.gone)


# ---------------------------------------------------------------- undo


class Undoing:
    """`undo` of a group: the objects that are as it left them, and no other ones. That is looked at once more where it
    is written, in the transaction that writes it."""

    collections: tuple[str, ...] = ()

    def __init__(self, grounds: Grounds, asked: str, name: str, seq: int) -> None:
        self._on, self._asked, self._name, self._seq = grounds, asked, name, seq
        self._edits: tuple[Edit, ...] = ()
        self._takers: Access = {}

    async def foresee(self) -> Foreseen:
        deeds, name = self._on.deeds, self._name
        state, self._takers = check(await deeds.collection(name)), await self._on.access()
        edits = await deeds.store.inverse(name, self._seq)
        there = await deeds.held(name, [(one.type, one.key) for one in edits])
        self._edits = tuple(one for one in edits if there[one.type, one.key] == one.base)
        left = [one for one in edits if there[one.type, one.key] not in (one.base, one.fields)]
        changes = [Change(one.type, one.key, one.base, one.fields) for one in self._edits]
        counting = Counting(state, self._takers)
        counting.on_devices(changes)
        counting.in_application(changes)
        names = {one.id: one.name for one in state.types}
        objects = tuple(ObjectId(names.get(one.type, ""), one.key) for one in left)
        return Foreseen(f"undo {self._asked}", tuple(counting.outcomes()), objects, counting.whole)

    async def still(self) -> bool:
        return await self._on.access() == self._takers

    async def make(self) -> str:
        if not self._edits:
            return ""
        done = await self._on.deeds.do(Deed(self._name, self._edits, f"undo {self._asked}", exact=True))
        if done.written.ruling is Ruling.REFUSED:
            raise Moved("an object of the group was changed just now", "look at it again")
        return done.group

    async def close(self) -> None:
        """It keeps nothing."""


async def decision(grounds: Grounds, what: str, args: Json, applies: bool) -> Decision:
    """The decision that a verb would make. ``applies``: it is to be made, if it is what was seen. Raises UserError."""
    match what:
        case "settings_set" | "settings_unset" | "settings_import":
            return await of_settings(grounds, what, args, applies)
        case "device_link":
            return await of_link(grounds, args)
        case "pair":
            return await of_pairing(grounds, args)
        case "approve" if number := of_settings_held(args):
            return await of_held_settings(grounds, number, applies)
        case "reject" if of_settings_held(args):
            raise UserError("a change of settings that is rejected moves nothing", "reject it without a preview")
        case "approve" | "reject":
            return Deciding(grounds, await grounds.holds.asked(args), what == "approve")
        case "undo":
            asked, name, seq = group_asked(args)
            await grounds.deeds.collection(name)
            return Undoing(grounds, asked, name, seq)
        case _:
            raise UserError(f"{what!r} cannot be previewed", "see `syncd preview --help`")
