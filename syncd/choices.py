"""What a person asks of the primary about settings: the verbs of the settings module (claim 24f).

Each change is checked whole, then durable in the sync database with its journal, then in force. It works on the sync
database alone, so that it can be asked with the daemon stopped as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from syncd.core.devices import Device, SyncDatabase, find_device, unknown_user
from syncd.core.edits import Direction, Policy
from syncd.core.errors import UserError
from syncd.core.model import DataType, Role
from syncd.core.preferences import TABLE, Changed, Chosen, Place, Preferences, Scope, Setting, Step, split
from syncd.core.selection import Selection, read_chosen
from syncd.core.settings import Limits
from syncd.core.settings_file import Entry, read_entries, written
from syncd.core.status import Json
from syncd.rooms import iso_time


class Asked(Protocol):
    """What `syncd share` asks for."""

    @property
    def direction(self) -> str: ...

    @property
    def conflicts(self) -> str: ...


Verb = Callable[[Json], Awaitable[Json]]
JOURNAL_USUAL = 50


@dataclass(frozen=True, slots=True)
class Standpoint:
    """What choices stand on. ``owners``: whose each collection is, by name; ``user``: the usual one. ``who``: through
    which door the change at hand comes. ``types``: of a collection, empty where it was never read. ``in_force``: called
    with all that holds from then on. ``required``: columns of a type without which its application can have no row.
    """

    database: SyncDatabase
    limits: Limits
    owners: Callable[[], Mapping[str, str]]
    user: Callable[[], str]
    wall_us: Callable[[], int]
    who: Callable[[], str]
    types: Callable[[str], Awaitable[Sequence[DataType]]]
    in_force: Callable[[Preferences], Awaitable[None]]
    required: Callable[[DataType], frozenset[str]]


@dataclass(frozen=True, slots=True)
class Known:
    """Users and devices at a moment: ids and names, and which device is linked with whom."""

    users: Mapping[str, int]
    devices: Sequence[Device]
    links: frozenset[tuple[int, str]]

    def user(self, name: str) -> int:
        if name not in self.users:
            raise unknown_user(name)
        return self.users[name]

    def user_name(self, user: int) -> str:
        return next((name for name, id_ in self.users.items() if id_ == user), "")

    def device_name(self, device: str) -> str:
        return next((one.shown for one in self.devices if one.id == device), "")

    def words(self, place: Place) -> str:
        """The place, for people."""
        device = self.device_name(place.device) or place.device
        match place.scope:
            case Scope.USER:
                return f"user {self.user_name(place.user)}"
            case Scope.DEVICE:
                return f"device {device}"
            case Scope.COLLECTION:
                return f"collection {place.collection}"
            case Scope.ON_DEVICE:
                return f"collection {place.collection} on {device}"

    def line(self, place: Place) -> Json:
        return {
            "user": self.user_name(place.user),
            "device": place.device,
            "device_name": self.device_name(place.device),
            "collection": place.collection,
        }


class Choices:
    """``verbs``: name -> what answers it."""

    def __init__(self, standpoint: Standpoint) -> None:
        self._on = standpoint
        self._changing = asyncio.Lock()
        self.verbs: dict[str, Verb] = {
            "settings": self._list,
            "settings_set": self._set,
            "settings_unset": self._unset,
            "settings_explain": self._explain,
            "settings_journal": self._journal,
            "settings_export": self._export,
            "settings_import": self._import,
        }

    async def load(self) -> Preferences:
        """All that holds."""
        return Preferences.of(self._on.limits, await self._on.database.settings())

    async def agree(self, collection: str, user: str, asked: Asked) -> tuple[Direction, Policy, bool]:
        """The terms of a user's collection that is shared, and whether they are others than before; what is left open
        is as it was."""
        at, place = Place(await self._on.database.ensure_user(user), "", collection), Place(collection=collection)
        wanted = {"direction": asked.direction, "conflicts": asked.conflicts}
        chosen = [Chosen(place, name, _canonical(TABLE[name], text)) for name, text in wanted.items() if text]
        before = await self.load()
        if chosen:
            await self._change(chosen)
        after = await self.load()
        terms = after.direction(at), after.policy(at)
        return *terms, terms != (before.direction(at), before.policy(at))

    async def _known(self) -> Known:
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
        """The same with the user whose values count there, where nothing more specific was set."""
        owner = self._on.owners().get(place.collection, self._on.user())
        return place._replace(user=place.user or known.users.get(owner, 0))

    # ------------------------------------------------------------ changes

    async def _set(self, args: Json) -> Json:
        """One value."""
        entry, one = _asked(args)
        value = _canonical(one, _text(args, "value"))
        if not value:
            raise UserError(f"{one.name} cannot be empty", f"use {one.kind.allowed}, or `syncd settings unset`")
        await self._check(entry, one, _text(args, "value"))
        return await self._chosen(entry, one, value)

    async def _check(self, entry: Entry, one: Setting, text: str) -> None:
        """A selection fits each collection for which it is chosen."""
        if one.name != "selection":
            return
        known = await self._known()
        place = self._place(known, entry)
        for collection, owner in sorted(self._on.owners().items()):
            user = known.users.get(owner, 0)
            linked = not place.device or (user, place.device) in known.links
            if place.collection in ("", collection) and place.user in (0, user) and linked:
                types = await self._on.types(collection)
                self._check_left_out(read_chosen(text, types), types)

    def _check_left_out(self, selection: Selection, types: Sequence[DataType]) -> None:
        """What is left out a device's application must be able to do without."""
        for one in types if selection.without else ():
            for column in sorted(self._on.required(one)) if selection.takes(one.name) else ():
                if not {column, f"{one.name}.{column}"}.isdisjoint(selection.without):
                    raise UserError(
                        f"{one.name}.{column} cannot be left out: it is NOT NULL and has no default",
                        "leave out other fields, or give it a default in the application",
                    )

    async def _unset(self, args: Json) -> Json:
        entry, one = _asked(args)
        return await self._chosen(entry, one, "")

    async def _chosen(self, entry: Entry, one: Setting, value: str) -> Json:
        known = await self._known()
        place = self._place(known, entry)
        one.check_scope(place.scope)
        changed = await self._change([Chosen(place, one.name, value)])
        at, chosen = self._at(known, place), await self.load()
        return {
            "changed": [_change_line(known, change) for change in changed],
            "value": one.kind.show(chosen.value(one.name, at)),
            "from": _from(known, chosen.decides(one.name, at)),
        }

    async def _import(self, args: Json) -> Json:
        """All values of a file, or none."""
        known = await self._known()
        chosen: list[Chosen] = []
        for entry in read_entries(_text(args, "toml")):
            place = self._place(known, entry)
            for name, text in entry.values.items():
                one = split(name)[1]
                if name != one.name:
                    raise UserError(f"{name!r} is no setting", f"name it {one.name!r}, its collection by `collection`")
                one.check_scope(place.scope)
                await self._check(entry, one, text)
                chosen.append(Chosen(place, name, _canonical(one, text)))
        changed = await self._change(chosen, door="import")
        return {"changed": [_change_line(known, change) for change in changed]}

    async def _change(self, chosen: Sequence[Chosen], door: str = "") -> list[Changed]:
        who = ", ".join(one for one in (self._on.who(), door) if one)
        async with self._changing:
            if any(one.name == "selection" for one in chosen):
                await self._check_selections(chosen)
            changed = await self._on.database.change_settings(chosen, who, self._on.wall_us())
            if changed:
                await self._on.in_force(await self.load())
        return changed

    async def _check_selections(self, chosen: Sequence[Chosen]) -> None:
        """Each different selection costs with each commit, and is kept by itself (R15)."""
        kept = {(one.place, one.name): one for one in await self._on.database.settings()}
        kept |= {(one.place, one.name): one for one in chosen}
        after = Preferences.of(self._on.limits, [one for one in kept.values() if one.value])
        known, most = await self._known(), self._on.limits.selections_max
        for collection in sorted(self._on.owners()):
            count = after.selections_count(self._at(known, Place(collection=collection)))
            if count > most:
                raise UserError(
                    f"devices would take {count:,} different selections of {collection}, there may be {most:,}",
                    "give devices that need the same the same selection",
                )

    # ------------------------------------------------------------ what there is

    async def _list(self, args: Json) -> Json:
        """What counts in general, for a collection, on a device; and all that was set."""
        known, chosen = await self._known(), await self.load()
        place = self._place(known, Entry(_text(args, "user"), _text(args, "device"), _text(args, "collection"), {}))
        at = self._at(known, place)
        kept = await self._on.database.settings()
        return {
            **known.line(at),
            "settings": [_setting_line(known, one, chosen.decides(one.name, at)) for one in TABLE.values()],
            "set": [known.line(one.place) | {"name": one.name, "value": one.value} for one in kept],
        }

    async def _explain(self, args: Json) -> Json:
        entry, one = _asked(args)
        known, chosen = await self._known(), await self.load()
        at = self._at(known, self._place(known, entry))
        decides = chosen.decides(one.name, at)
        chain = [
            {
                "from": _from(known, step),
                "value": "" if step.value is None else one.kind.show(step.value),
                "counts": step is decides or step == decides,
            }
            for step in chosen.chain(one.name, at)
        ]
        return _setting_line(known, one, decides) | {"chain": chain}

    async def _journal(self, args: Json) -> Json:
        known, limit = await self._known(), args.get("limit") or JOURNAL_USUAL
        if not isinstance(limit, int) or limit < 1:
            raise UserError("the limit is no number above 0", "give another one")
        lines = await self._on.database.settings_journal(min(limit, self._on.limits.settings_journal_max))
        return {
            "journal": [{"time": iso_time(one.when_us), "who": one.who} | _change_line(known, one) for one in lines]
        }

    async def _export(self, args: Json) -> Json:
        known, entries = await self._known(), dict[Place, Entry]()
        for place, name, value in await self._on.database.settings():
            user, device = known.user_name(place.user), place.device
            entry = entries.setdefault(place, Entry(user, device, place.collection, {}, known.device_name(device)))
            entry.values[name] = value
        return {"toml": written(entries.values())}


def _asked(args: Json) -> tuple[Entry, Setting]:
    collection, one = split(_text(args, "name"))
    return Entry(_text(args, "user"), _text(args, "device"), collection, {}), one


def _canonical(one: Setting, text: str) -> str:
    """The value as it is kept and shown. Raises UserError."""
    return one.kind.show(one.parse(text)) if text else ""


def _from(known: Known, step: Step) -> str:
    return "usual" if step.place is None else known.words(step.place)


def _setting_line(known: Known, one: Setting, decides: Step) -> Json:
    assert decides.value is not None
    return {
        "name": one.name,
        "value": one.kind.show(decides.value),
        "from": _from(known, decides),
        "allowed": one.kind.allowed,
        "scopes": [scope.value for scope in Scope if scope in one.scopes],
        "help": one.help,
    }


def _change_line(known: Known, change: Changed) -> Json:
    return known.line(change.place) | {"name": change.name, "before": change.before, "after": change.after}


def _text(args: Json, name: str) -> str:
    given = args.get(name)
    if given is not None and not isinstance(given, str):
        raise UserError(f"the argument {name!r} is no text", "see `syncd settings --help`")
    return given or ""
