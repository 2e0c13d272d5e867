"""What a person asks of the primary about settings: the verbs of the settings module (claim 24f).

Each change is checked whole, then durable in the sync database with its journal, then in force. It works on the sync
database alone, so that it can be asked with the daemon stopped as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from syncd.choices_asked import Asked, asked_of, entry_of, text_of
from syncd.choices_checked import check_few, check_left_out, led_out
from syncd.core.devices import Device, SyncDatabase, find_device
from syncd.core.edits import Direction, Policy
from syncd.core.errors import UserError
from syncd.core.loss import HeldSettings, Loss, Weighed
from syncd.core.model import DataType, Role
from syncd.core.preferences import TABLE, Changed, Chosen, Place, Preferences, Setting, split, with_chosen
from syncd.core.selection import read_chosen
from syncd.core.settings import Limits
from syncd.core.settings_file import Entry, read_entries, written
from syncd.core.status import Json
from syncd.known import (
    Known,
    chain_line,
    change_line,
    held_advice,
    held_line,
    held_reason,
    setting_line,
    step_words,
)
from syncd.rooms import iso_time
from syncd.settings_guard import Counting, SettingsGuard

Verb = Callable[[Json], Awaitable[Json]]
JOURNAL_USUAL = 50


@dataclass(frozen=True, slots=True)
class Standpoint:
    """What choices stand on. ``owners``: whose each collection is, by name; ``user``: the usual one. ``who``: through
    which door the change at hand comes. ``types``: of a collection, empty where it was never read. ``in_force``: called
    with all that holds from then on. ``holding``, ``counting``: see ``settings_guard``. ``required``: columns of a type
    without which its application can have no row. ``held_moved``: called when other changes are held than before."""

    database: SyncDatabase
    limits: Limits
    owners: Callable[[], Mapping[str, str]]
    user: Callable[[], str]
    wall_us: Callable[[], int]
    who: Callable[[], str]
    types: Callable[[str], Awaitable[Sequence[DataType]]]
    in_force: Callable[[Preferences], Awaitable[None]]
    holding: Callable[[], Awaitable[Iterable[tuple[str, str]]]]
    counting: Counting
    required: Callable[[DataType], frozenset[str]]
    held_moved: Callable[[], None] = lambda: None


class Made(NamedTuple):
    """What came of a change: which values are other ones, or that it is held."""

    changed: list[Changed]
    held: HeldSettings | None = None


class Choices:
    """``verbs``: name -> what answers it."""

    def __init__(self, standpoint: Standpoint) -> None:
        self._on = standpoint
        self.guard = SettingsGuard(
            standpoint.database, standpoint.limits, standpoint.owners, standpoint.holding, standpoint.counting
        )
        self.changing = asyncio.Lock()  # one change after the other
        self.verbs: dict[str, Verb] = {
            "settings": self._list,
            "settings_set": self._set,
            "settings_unset": self._unset,
            "settings_explain": self._explain,
            "settings_journal": self._journal,
            "settings_export": self._export,
            "settings_import": self._import,
        }

    @property
    def owners(self) -> Mapping[str, str]:
        """Whose each collection is."""
        return self._on.owners()

    @property
    def user(self) -> str:
        """The usual one."""
        return self._on.user()

    async def kept(self) -> list[Chosen]:
        """All that was set."""
        return await self._on.database.settings()

    async def load(self) -> Preferences:
        """All that holds."""
        return Preferences.of(self._on.limits, await self._on.database.settings())

    async def agree(self, collection: str, user: str, asked: Asked) -> tuple[Direction, Policy, bool]:
        """The terms of a user's collection that is shared, and whether they are others than before; what is left open
        is as it was."""
        at, place = Place(await self._on.database.ensure_user(user), "", collection), Place(collection=collection)
        wanted = {"direction": asked.direction, "conflicts": asked.conflicts}
        chosen = [Chosen(place, name, TABLE[name].canonical(text)) for name, text in wanted.items() if text]
        before = await self.load()
        if chosen and (held := (await self.make(chosen)).held) is not None:
            raise UserError(await self.reason(held), held_advice(held.id))
        after = await self.load()
        terms = after.direction(at), after.policy(at)
        return *terms, terms != (before.direction(at), before.policy(at))

    async def known(self) -> Known:
        database = self._on.database
        devices = [one for one in await database.all_devices() if one.role == Role.AUXILIARY]
        users = {user.name: user.id for user in await database.users()}
        return Known(users, devices, frozenset(await database.links()))

    # ------------------------------------------------------------ places

    def _place(self, known: Known, entry: Entry) -> Place:
        """The place that a person names. Raises UserError."""
        user, device, collection = entry.user, entry.device, entry.collection
        if user and (device or collection):
            raise UserError(
                "a setting of a user names no device and no collection", "leave out the user, or what else is named"
            )
        record = find_device(known.devices, device) if device else None
        if collection:
            self._check_collection(known, collection, record)
            return Place(0, record.id if record else "", collection)
        if record:
            return Place(0, record.id)
        return Place(known.user(user or self._on.user()))

    def _check_collection(self, known: Known, collection: str, device: Device | None) -> None:
        owner = self._on.owners().get(collection)
        if owner is None:
            raise UserError(f"no collection {collection!r} is shared", "`syncd status` names those that are")
        if device is not None and (known.user(owner), device.id) not in known.links:
            raise UserError(
                f"{device.shown} is not linked with user {owner}, whose {collection} is",
                f"`syncd devices link {device.shown} {owner}`, or name another device",
            )

    def _at(self, known: Known, place: Place) -> Place:
        """The same with the user whose values count there, where nothing more specific was set: of a device, the first
        that it is linked with."""
        linked = [user for user, device in known.links if device == place.device and not place.collection]
        if linked and not place.user:
            return place._replace(user=min(linked))
        owner = self._on.owners().get(place.collection, self._on.user())
        return place._replace(user=place.user or known.users.get(owner, 0))

    # ------------------------------------------------------------ changes

    async def wanted(self, verb: str, args: Json) -> list[Chosen]:
        """What a verb is to set, or to set no more, checked."""
        if verb == "settings_import":
            return await self._of_file(args)
        entry, one = asked_of(args)
        return [
            await self._one_wanted(entry, one, await self._value(entry, one, args) if verb == "settings_set" else "")
        ]

    async def _set(self, args: Json) -> Json:
        """One value."""
        entry, one = asked_of(args)
        return await self._chosen(entry, one, await self._value(entry, one, args))

    async def _value(self, entry: Entry, one: Setting, args: Json) -> str:
        value = one.canonical(text_of(args, "value"))
        if not value:
            raise UserError(f"{one.name} cannot be empty", f"use {one.kind.allowed}, or `syncd settings unset`")
        await self._check(await self.known(), entry, one, text_of(args, "value"))
        return value

    async def _check(self, known: Known, entry: Entry, one: Setting, text: str) -> None:
        """A selection fits each collection for which it is chosen."""
        if one.name != "selection":
            return
        for collection in self._reached(known, self._place(known, entry)):
            types = await self._on.types(collection)
            check_left_out(read_chosen(text, types), types, self._on.required)

    def _reached(self, known: Known, place: Place) -> list[str]:
        """The collections for which a selection is chosen there."""
        found = []
        for collection, owner in sorted(self._on.owners().items()):
            user = known.users.get(owner, 0)
            linked = not place.device or (user, place.device) in known.links
            if place.collection in ("", collection) and place.user in (0, user) and linked:
                found.append(collection)
        return found

    async def warnings(self, chosen: Sequence[Chosen]) -> list[str]:
        """What selections among these leave out that what they take may reference."""
        known, found = await self.known(), dict[str, None]()
        for one in chosen:
            if one.name == "selection" and one.value:
                for name in self._reached(known, one.place):
                    found |= dict.fromkeys(led_out(name, one.value, await self._on.types(name)))
        return list(found)[: self._on.limits.selection_warnings_max]

    async def _unset(self, args: Json) -> Json:
        entry, one = asked_of(args)
        return await self._chosen(entry, one, "")

    async def _one_wanted(self, entry: Entry, one: Setting, value: str) -> Chosen:
        place = self._place(await self.known(), entry)
        one.check_scope(place.scope)
        return Chosen(place, one.name, value)

    async def _chosen(self, entry: Entry, one: Setting, value: str) -> Json:
        wanted = await self._one_wanted(entry, one, value)
        made, known = await self.make([wanted]), await self.known()
        at, chosen = self._at(known, wanted.place), await self.load()
        return {
            **await self._made_line(made, [wanted]),
            "value": one.kind.show(chosen.value(one.name, at)),
            "from": step_words(known, chosen.decides(one.name, at)),
        }

    async def named(self, args: Json) -> tuple[Known, Place, Place]:
        """The place that a person names, and the same with the user whose values count there."""
        known = await self.known()
        place = self._place(known, entry_of(args))
        return known, place, self._at(known, place)

    async def keep(self, chosen: Sequence[Chosen]) -> list[Json]:
        """Sets values that are known to fit; what changed."""
        made, known = await self.make(chosen), await self.known()
        return [change_line(known, one) for one in made.changed]

    def owner_of(self, known: Known, collection: str) -> int:
        """Whose a collection is, 0 where it is not shared."""
        return known.users.get(self._on.owners().get(collection, ""), 0)

    async def _import(self, args: Json) -> Json:
        """All values of a file, or none."""
        wanted = await self._of_file(args)
        return await self._made_line(await self.make(wanted, "import"), wanted)

    async def _of_file(self, args: Json) -> list[Chosen]:
        known = await self.known()
        chosen: list[Chosen] = []
        for entry in read_entries(text_of(args, "toml")):
            place = self._place(known, entry)
            for name, text in entry.values.items():
                one = split(name)[1]
                if name != one.name:
                    raise UserError(f"{name!r} is no setting", f"name it {one.name!r}, its collection by `collection`")
                one.check_scope(place.scope)
                await self._check(known, entry, one, text)
                chosen.append(Chosen(place, name, one.canonical(text)))
        return chosen

    async def make(self, chosen: Sequence[Chosen], door: str = "") -> Made:
        """Sets these values, or keeps them as held (R13)."""
        async with self.changing:
            lost, now_us = await self.guard.losses(chosen), self._on.wall_us()
            if await self.guard.holds(lost, now_us):
                await self._check_selections(chosen)
                held = await self._held_so(chosen, lost)
                return Made([], held or await self._hold(chosen, lost, self._who(door), now_us))
            return Made(await self.change(chosen, door, Weighed(lost, window_us=self.guard.window_us)))

    async def _held_so(self, chosen: Sequence[Chosen], lost: Sequence[Loss]) -> HeldSettings | None:
        """The same change, if it is held already: who asks again and again is told of one."""
        found = next((one for one in await self._on.database.held_settings() if one.chosen == tuple(chosen)), None)
        more = found is not None and await self.guard.holds(lost, self._on.wall_us(), found.losses)
        return None if more else found

    async def _hold(self, chosen: Sequence[Chosen], lost: Sequence[Loss], who: str, now_us: int) -> HeldSettings:
        held = await self._on.database.hold_settings(chosen, lost, who, now_us)
        self._on.held_moved()
        return held

    def _who(self, door: str) -> str:
        return ", ".join(one for one in (self._on.who(), door) if one)

    async def change(self, chosen: Sequence[Chosen], door: str, weighed: Weighed) -> list[Changed]:
        """Durable, then in force; the guard was asked. The caller holds ``changing``. ``door``: how it came, for the
        journal."""
        await self._check_selections(chosen)
        changed = await self._on.database.change_settings(chosen, self._who(door), self._on.wall_us(), weighed)
        self._on.held_moved()
        if changed:
            await self._on.in_force(await self.load())
        return changed

    async def _check_selections(self, chosen: Sequence[Chosen]) -> None:
        """Each different selection costs with each commit, and is kept by itself (R15)."""
        if all(one.name != "selection" for one in chosen):
            return
        after = Preferences.of(self._on.limits, with_chosen(await self._on.database.settings(), chosen))
        known = await self.known()
        places = {name: self._at(known, Place(collection=name)) for name in self._on.owners()}
        check_few(after, places, self._on.limits.selections_max)

    # ------------------------------------------------------------ what is held

    async def held(self) -> list[Json]:
        """Changes that are held until a person decides."""
        known = await self.known()
        return [held_line(known, one) for one in await self._on.database.held_settings()]

    async def reason(self, held: HeldSettings) -> str:
        return held_reason(await self.known(), held)

    async def approve(self, number: int) -> Json:
        """The change is made, unless it would take away much more than a person has seen: then that is held."""
        async with self.changing:
            held = await self.held_as(number)
            lost, now_us = await self.guard.losses(held.chosen), self._on.wall_us()
            if await self.guard.holds(lost, now_us, held.losses):
                again = await self._hold(held.chosen, lost, held.who, now_us)
                raise UserError(
                    f"{held.id} would take away more than it did: it is {again.id} from here on",
                    f"look at {again.id} with `syncd held`, then approve or reject that",
                )
            weighed = Weighed(lost, True, held.number, self.guard.window_us)
            changed = await self.change(held.chosen, f"approve {held.id}", weighed)
        known = await self.known()
        return {"group": held.id, "changed": [change_line(known, one) for one in changed]}

    async def reject(self, number: int) -> Json:
        """Nothing comes of the change."""
        async with self.changing:
            held = await self.held_as(number)
            await self._on.database.drop_held_settings(number)
            self._on.held_moved()
        return {"group": held.id}

    async def held_as(self, number: int) -> HeldSettings:
        """Raises UserError where it is not held."""
        found = next((one for one in await self._on.database.held_settings() if one.number == number), None)
        if found is None:
            raise UserError(f"settings-{number} is not held", "`syncd held` names what is")
        return found

    async def _made_line(self, made: Made, wanted: Sequence[Chosen]) -> Json:
        known = await self.known()
        held = [made.held] if made.held is not None else []
        return {
            "changed": [change_line(known, change) for change in made.changed],
            "held": [{"group": one.id, "reason": held_line(known, one)["reason"]} for one in held],
            "warnings": await self.warnings(wanted),
        }

    # ------------------------------------------------------------ what there is

    async def _list(self, args: Json) -> Json:
        """What counts in general, for a collection, on a device; and all that was set."""
        known, chosen = await self.known(), await self.load()
        place = self._place(known, entry_of(args))
        at = self._at(known, place)
        kept = await self._on.database.settings()
        return {
            **known.line(at),
            "settings": [setting_line(known, one, chosen.decides(one.name, at)) for one in TABLE.values()],
            "set": [known.line(one.place) | {"name": one.name, "value": one.value} for one in kept],
        }

    async def _explain(self, args: Json) -> Json:
        entry, one = asked_of(args)
        known, chosen = await self.known(), await self.load()
        at = self._at(known, self._place(known, entry))
        decides = chosen.decides(one.name, at)
        chain = [chain_line(known, one, step, step == decides) for step in chosen.chain(one.name, at)]
        return setting_line(known, one, decides) | {"chain": chain}

    async def _journal(self, args: Json) -> Json:
        known, limit = await self.known(), args.get("limit") or JOURNAL_USUAL
        if not isinstance(limit, int) or limit < 1:
            raise UserError("the limit is no number above 0", "give another one")
        lines = await self._on.database.settings_journal(min(limit, self._on.limits.settings_journal_max))
        return {"journal": [{"time": iso_time(one.when_us), "who": one.who} | change_line(known, one) for one in lines]}

    async def _export(self, args: Json) -> Json:
        known, entries = await self.known(), dict[Place, Entry]()
        for place, name, value in await self._on.database.settings():
            user, device = known.user_name(place.user), place.device
            entry = entries.setdefault(place, Entry(user, device, place.collection, {}, known.device_name(device)))
            entry.values[name] = value
        return {"toml": written(entries.values())}
