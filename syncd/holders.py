"""What a person asks of the primary about who holds what: the devices that hold an object, the objects on a device.

It goes by what devices reported and by what they were sent (R4). Devices that are away, were cut off or unlinked count
as they were then; only those that were linked with a collection's user are ever named (R9).
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from syncd.core.devices import Device
from syncd.core.errors import UserError
from syncd.core.foreseen import Part
from syncd.core.messages import Report
from syncd.core.model import ObjectId, group_id
from syncd.core.reach import Held
from syncd.core.status import Json
from syncd.past import Past, words_of
from syncd.rooms import iso_time, show_key
from syncd.whereabouts import ANYWHERE, BEGINNING, Cursor, Ground, Page, Sight, Whereabouts, lent_there, reaches_of

Verb = Callable[[Json], Awaitable[Json]]
Reports = Mapping[tuple[str, str], Report]
WALKS_MAX = 16  # lists that are being read; of one more the oldest ends
_MAYBE = "what it said last of where it stands, and what it was sent since, do not tell"


class Devices(Protocol):
    """What the primary knows of devices."""

    def all(self) -> Sequence[Device]:
        """Also those that were cut off."""
        ...

    def find(self, asked: str) -> Device: ...

    def may(self, device: str, collection: str) -> bool: ...

    def sends(self, device: str, collection: str) -> bool:
        """Whether it is sent anything of it."""
        ...

    def connected(self, device: str) -> bool: ...

    async def reports(self) -> Reports:
        """What each said last of which collection, also of those that it may not have any more."""
        ...


@dataclass
class _Walk:
    """A device and a collection of which the objects are read."""

    whereabouts: Whereabouts
    names: Mapping[int, str]
    cursor: Cursor | None = BEGINNING

    async def page(self) -> Page:
        assert self.cursor is not None
        page = await self.whereabouts.page(self.cursor)
        self.cursor = page.after
        return page


class Asked(NamedTuple):
    device: Device
    collection: str


class Holders:
    """``verbs``: name -> what answers it. ``collections``: all that are shared here."""

    def __init__(self, past: Past, on: Sight, devices: Devices, collections: Callable[[], Iterable[str]]) -> None:
        self._past = past
        self._on = on
        self._devices = devices
        self._collections = collections
        self._walks: dict[str, _Walk] = {}
        self.verbs: dict[str, Verb] = {
            "holds": self._object,
            "holds_device": self._device,
            "holds_objects": self._objects,
        }

    async def _ground(self, name: str) -> Ground:
        return Ground(await self._on.store.open_collection(name), await self._on.store.columns_since(name), {})

    async def _whereabouts(self, asked: Asked, reports: Reports, ground: Ground) -> Whereabouts:
        report, state = reports.get((asked.device.id, asked.collection)), ground.state
        reaches = await reaches_of(self._on, asked.device.id, state, report)
        if not self._devices.sends(asked.device.id, asked.collection):
            reaches = [ANYWHERE]  # what it holds is its own
        return Whereabouts(self._on, ground, reaches, await lent_there(self._on, ground, reaches))

    async def _walk(self, asked: Asked, reports: Reports) -> _Walk:
        ground = await self._ground(asked.collection)
        names = {one.id: one.name for one in ground.state.types}
        return _Walk(await self._whereabouts(asked, reports, ground), names)

    def _had(self, asked: Asked, reports: Reports) -> bool:
        return (asked.device.id, asked.collection) in reports or self._devices.may(asked.device.id, asked.collection)

    # ------------------------------------------------------------ an object

    async def _object(self, args: Json) -> Json:
        name, reports = _text(args, "collection"), await self._devices.reports()
        found = await self._past.find(name, words_of(args), 1)
        ground, past, lines = await self._ground(name), None, list[Json]()
        for asked in (Asked(device, name) for device in self._devices.all()):
            if not self._had(asked, reports):
                continue
            whereabouts = await self._whereabouts(asked, reports, ground)
            past = past or await whereabouts.past(found.type.id, found.key)
            held, which = whereabouts.held(past, found.type.id, found.key)
            if held is not Held.NO:
                note = _MAYBE if held is Held.MAYBE else ""
                about = {"holds": held.value, "version": which.value, "note": note}
                lines.append(self._standing(asked, reports) | about)
        newest = found.versions[0]
        return {
            "collection": name,
            "type": found.type.name,
            "key": show_key(found.key),
            "there": newest.fields is not None,
            "newest": group_id(name, newest.seq),
            "time": iso_time(newest.time_us),
            "devices": lines,
        }

    def _standing(self, asked: Asked, reports: Reports) -> Json:
        """How the device stands to this primary, and since when as far as that is known."""
        device, since_us = asked.device, 0
        if device.revoked_us:
            standing, since_us = "revoked", device.revoked_us
        elif not self._devices.may(device.id, asked.collection):
            standing = "unlinked"
        elif self._devices.connected(device.id):
            standing = "connected"
        else:
            standing, since_us = "away", device.last_seen_us
        report = reports.get((device.id, asked.collection))
        return {
            "device": device.id,
            "device_name": device.shown,
            "standing": standing,
            "since": iso_time(since_us),
            "position": report.position if report is not None else 0,
        }

    # ------------------------------------------------------------ a device

    async def _device(self, args: Json) -> Json:
        """How much it holds of each collection, or of one, and the first objects."""
        device, name = self._devices.find(_text(args, "device")), _text(args, "collection")
        reports = await self._devices.reports()
        names = [name] if name else sorted(self._collections())
        asked = [one for one in (Asked(device, each) for each in names) if self._had(one, reports)]
        if name and not asked:
            raise _never(device, name)
        lines = [await self._counts(one, reports) for one in asked]
        return {"device": device.id, "device_name": device.shown, "collections": lines}

    async def _counts(self, asked: Asked, reports: Reports) -> Json:
        walk, whole = await self._walk(asked, reports), True
        parts = {Held.YES: Part(), Held.MAYBE: Part()}
        while walk.cursor is not None:
            page = await walk.page()
            for one in page.objects:
                parts[one.held].add(ObjectId(walk.names.get(one.type, ""), one.key), one.size_bytes)
            whole = whole and page.whole
        about = self._standing(asked, reports)
        return {
            "name": asked.collection,
            "standing": about["standing"],
            "since": about["since"],
            "position": about["position"],
            "holds": _part(parts[Held.YES]),
            "maybe": _part(parts[Held.MAYBE]),
            "whole": whole,
        }

    async def _objects(self, args: Json) -> Json:
        """All of a collection on a device, a page at a time. ``after``: as the answer before says."""
        token = _text(args, "after")
        walk = self._walks.pop(token, None) if token else await self._begun(args)
        if walk is None:
            raise UserError("this list is not being read any more", "ask again from its beginning")
        page = await walk.page()
        after = secrets.token_hex(8) if walk.cursor is not None else ""
        if after:
            self._walks = dict([*self._walks.items(), (after, walk)][-WALKS_MAX:])
        lines = [
            {
                "type": walk.names.get(one.type, ""),
                "key": show_key(one.key),
                "holds": one.held.value,
                "version": one.which.value,
            }
            for one in page.objects
        ]
        return {"objects": lines, "after": after, "whole": page.whole}

    async def _begun(self, args: Json) -> _Walk:
        asked = Asked(self._devices.find(_text(args, "device")), _text(args, "collection"))
        reports = await self._devices.reports()
        if not self._had(asked, reports):
            raise _never(*asked)
        return await self._walk(asked, reports)


def _never(device: Device, name: str) -> UserError:
    return UserError(f"{device.shown} never had collection {name!r}", "`syncd status` names what devices have")


def _part(part: Part) -> Json:
    first = [{"type": one.type, "key": show_key(one.key)} for one in part.first]
    return {"objects": part.objects, "bytes": part.bytes, "first": first}


def _text(args: Json, name: str) -> str:
    """Raises UserError."""
    given = args.get(name) or ""
    if not isinstance(given, str):
        raise UserError(f"the argument {name!r} is no text", "see `syncd holds --help`")
    return given
