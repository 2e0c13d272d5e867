"""What a person asks of the primary about people and their devices: the verbs on users, devices and pairing.

The settings side of claims 20b, 21c and 24c: users, devices and their links, seen and changed. Each change is durable
in the sync database before anything else learns of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from syncd import arrange
from syncd.admission import Admission
from syncd.core.devices import Device, User, unknown_user
from syncd.core.errors import UserError
from syncd.core.messages import Report
from syncd.core.primary_engine import PrimaryEngine
from syncd.core.status import Json
from syncd.rooms import Rooms, device_record
from syncd.transport.pairing_listener import Opened
from syncd.transport.pairing_window import Over
from syncd.transport.token import make

ARRIVAL_S_MAX = 10.0  # a device that has the right code dials at once
_WHY_OVER = {
    Over.EXPIRED: "nobody used it in time: run `syncd pair` again",
    Over.CLOSED: "pairing was closed, by a person or after too many wrong tries: see the log of `syncd run`",
    Over.WRONG: "somebody typed a wrong code: run `syncd pair` again for another one",
    Over.FAILED: "the device could not be accepted: see the log of `syncd run`",
}

Verb = Callable[[Json], Awaitable[Json]]


class People:
    """``verbs``: name -> what answers it."""

    def __init__(self, rooms: Rooms, engine: PrimaryEngine, admission: Admission) -> None:
        self._rooms = rooms
        self._engine = engine
        self._admission = admission
        self._opened: dict[str, Opened] = {}
        self.changing = asyncio.Lock()
        self.verbs: dict[str, Verb] = {
            "pair_open": self._pair_open,
            "pair_wait": self._pair_wait,
            "pair_close": self._pair_close,
            "users": self._users,
            "user_add": self._one_by_one(self._user_add),
            "user_rename": self._one_by_one(self._user_rename),
            "devices": self._devices,
            "device_rename": self._one_by_one(self._device_rename),
            "device_link": self._one_by_one(self.link),
            "device_unlink": self._one_by_one(self._device_unlink),
            "device_allow": self._one_by_one(self._device_allow),
            "revoke": self._one_by_one(self._revoke),
        }

    def _one_by_one(self, verb: Verb) -> Verb:
        async def alone(args: Json) -> Json:
            async with self.changing:
                return await verb(args)

        return alone

    # ------------------------------------------------------------ pairing

    async def _pair_open(self, args: Json) -> Json:
        """A code, or with ``token`` a token, that links one device with the user."""
        admission, limits = self._admission, self._rooms.limits
        user = (await admission.pairing_user(str(args.get("user") or ""))).name
        by_token = bool(args.get("token"))
        opened = await (admission.desk.open_token(user) if by_token else admission.desk.open_code(user))
        places = admission.pairing_addresses(opened.port)
        shown = make(self._rooms.identity.fingerprint, opened.secret, places) if by_token else opened.code
        self._opened = {one: known for one, known in self._opened.items() if known.over is None} | {shown: opened}
        kind = "token" if by_token else "code"
        return {kind: shown, "expires_s": limits.pairing_s_max, "addresses": places, "user": user}

    async def _pair_wait(self, args: Json) -> Json:
        """Who came with a code or token; the answer comes when it was used or is over."""
        shown = _given(args, "shown")
        opened = self._opened.get(shown)
        if opened is None:
            raise UserError("there is no such code or token", "`syncd pair` makes one")
        stranger = await self._admission.desk.outcome(opened)
        if stranger is None:
            reason = _WHY_OVER.get(opened.over or Over.CLOSED, "pairing is closed")
            return {"device": "", "name": "", "user": opened.ticket.user, "linked": False, "reason": reason}
        linked = await self._admission.arrival(stranger.device, ARRIVAL_S_MAX)
        reason = "" if linked else "it had the right code and did not come: run `syncd pair` again"
        return {
            "device": stranger.device,
            "name": stranger.name,
            "user": stranger.user,
            "linked": linked,
            "reason": reason,
        }

    async def _pair_close(self, args: Json) -> Json:
        """A person waits no more for who comes with this code or token; without one, all are void."""
        shown = str(args.get("shown") or "")
        if not shown:
            await self._admission.desk.close()
        elif (opened := self._opened.get(shown)) is not None:
            self._admission.desk.void(opened)
        return {}

    # ------------------------------------------------------------ users

    async def _users(self, args: Json) -> Json:
        rooms, admission = self._rooms, self._admission
        links = await rooms.database.links()
        owners = self._engine.owners
        return {
            "users": [
                {
                    "name": user.name,
                    "devices": [
                        {"id": device, "name": admission.shown(device)}
                        for owner, device in links
                        if owner == user.id and device in admission.devices
                    ],
                    "collections": sorted(name for name, owner in owners.items() if owner == user.name),
                }
                for user in await rooms.database.users()
            ]
        }

    async def _user_add(self, args: Json) -> Json:
        name = _given(args, "user")
        await self._rooms.database.add_user(name)
        return {"user": name}

    async def _user_rename(self, args: Json) -> Json:
        """The sync database first: it remembers the former name until config.toml has the other one, be it at the next
        start."""
        rooms, old, new = self._rooms, _given(args, "user"), _given(args, "name")
        await rooms.database.rename_user(old, new)
        self._engine.rename_user(old, new)
        await asyncio.to_thread(arrange.rename_user, rooms.home, old, new)
        rooms.reload()
        return {"user": new}

    async def _user(self, name: str) -> User:
        found = [user for user in await self._rooms.database.users() if user.name == name]
        if not found:
            raise unknown_user(name)
        return found[0]

    # ------------------------------------------------------------ devices

    async def _devices(self, args: Json) -> Json:
        return {"devices": [self._device(one) for one in self._admission.records()]}

    def _device(self, one: Device) -> Json:
        connected = self._engine.connected(one.id)
        seen_us = self._rooms.ports.wall_us() if connected else one.last_seen_us
        users = self._engine.users.get(one.id, ())
        return device_record(one, users, connected, seen_us) | {"collections": self._held(one.id)}

    def _held(self, device: str) -> list[Json]:
        """What the device said last that it holds."""
        reports: list[Report] = [
            standing.report for (owner, _), standing in sorted(self._engine.standings.items()) if owner == device
        ]
        return [{"name": one.collection, "objects": one.objects, "position": one.position} for one in reports]

    async def _device_rename(self, args: Json) -> Json:
        device = self._admission.find(_given(args, "device"))
        await self._rooms.database.set_label(device.id, _given(args, "name"))
        await self._admission.know(device.id)
        return {"device": device.id, "name": self._admission.shown(device.id)}

    async def link(self, args: Json) -> Json:
        """The caller holds ``changing``."""
        return await self._relink(args, self._rooms.database.link_user)

    async def _device_unlink(self, args: Json) -> Json:
        return await self._relink(args, self._rooms.database.unlink_user)

    async def _relink(self, args: Json, change: Callable[[int, str], Awaitable[None]]) -> Json:
        device = self._admission.find(_given(args, "device"))
        user = await self._user(_given(args, "user"))
        if device.revoked_us:
            raise UserError(f"{device.shown} is revoked", "pair it again: `syncd pair --user NAME`")
        await change(user.id, device.id)
        await self._admission.relink(device.id)
        users = [one.name for one in await self._rooms.database.users_of(device.id)]
        return {"device": device.id, "name": device.shown, "users": users}

    async def _device_allow(self, args: Json) -> Json:
        device = self._admission.find(_given(args, "device"))
        if not device.copied_us:
            raise UserError(f"{device.shown} is not held back", "`syncd devices` shows which are")
        await self._admission.allow(device.id)
        return {"device": device.id, "name": device.shown}

    async def _revoke(self, args: Json) -> Json:
        device = self._admission.find(_given(args, "device"))
        told = self._device(device)
        if device.revoked_us:
            raise UserError(f"{device.shown} was revoked on {told['revoked']}", "it is cut off already")
        await self._admission.revoke(device.id)
        await self._rooms.ports.upload_queue.drop(device.id)
        shown = ("id", "name", "users", "connected", "last_seen", "collections")
        return {key: told[key] for key in shown}


def _given(args: Json, name: str) -> str:
    """An argument that the verb cannot do without. Raises UserError."""
    given = args.get(name)
    if not isinstance(given, str):
        raise UserError(f"the argument {name!r} is missing, or is no text", "see `syncd --help`")
    return given
