"""The sync database in memory, for simulations and tests. Passes the contract suite of the real one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from syncd.core.devices import Device, Sent, User, checked_name, name_taken, too_many, unknown_device, unknown_user
from syncd.core.errors import InvariantBroken
from syncd.core.loss import NOTHING_LOST, HeldSettings, Loss, Weighed
from syncd.core.messages import Report
from syncd.core.model import Role
from syncd.core.preferences import Changed, Chosen, Place
from syncd.core.settings import Limits

USUAL = Limits()
_QUARTER_US = 900 * 1_000_000


class MemorySyncDatabase:
    """See ``core.devices.SyncDatabase``."""

    def __init__(self, limits: Limits = USUAL) -> None:
        self._limits = limits
        self._names: dict[int, str] = {}
        self._former: dict[str, int] = {}  # a name before it was changed -> whose it was
        self._devices: dict[str, Device] = {}
        self._links: dict[tuple[int, str], None] = {}  # in the order of linking
        self._followed: list[str] = []  # primaries that were linked, the last at the end
        self._owner = ""
        self._reports: dict[tuple[str, str], Report] = {}
        self._sent: dict[str, list[Sent] | None] = {}  # None: it is not known
        self._settings: dict[tuple[Place, str], str] = {}
        self._changes: list[Changed] = []  # the newest at the end
        self._held: dict[int, HeldSettings] = {}
        self._last_held = 0
        self._taken: dict[tuple[str, str, int], int] = {}  # by device, collection and quarter of an hour

    # ------------------------------------------------------------ users

    async def ensure_user(self, name: str) -> int:
        found = self._user(name) or self._former.get(name)
        return found or await self.add_user(name)

    def _user(self, name: str) -> int | None:
        return next((user for user, known in self._names.items() if known == name), None)

    async def users(self) -> list[User]:
        return [User(*one) for one in sorted(self._names.items())]

    async def user_name(self, user: int) -> str:
        if user not in self._names:
            raise unknown_user(user)
        return self._names[user]

    async def add_user(self, name: str) -> int:
        self._check_free(name)
        if len(self._names) >= self._limits.users_max:
            raise too_many("users", self._limits.users_max)
        self._former.pop(name, None)
        user = len(self._names) + 1
        self._names[user] = name
        return user

    async def rename_user(self, old: str, new: str) -> None:
        user = self._user(old)
        if user is None:
            raise unknown_user(old)
        self._check_free(new)
        others = {name: one for name, one in self._former.items() if one != user and name not in (old, new)}
        self._former = {**others, old: user}
        self._names[user] = new

    def _check_free(self, name: str) -> None:
        if self._user(checked_name("user", name)) is not None:
            raise name_taken(name)

    # ------------------------------------------------------------ links

    async def link(self, user: int, device: Device) -> None:
        if not device.id:
            raise InvariantBroken("a device without an id cannot be linked")
        if device.id not in self._devices and len(self._devices) >= self._limits.devices_max:
            raise too_many("devices", self._limits.devices_max)
        before = self._devices.get(device.id, replace(device, label=""))
        if before.revoked_us:
            self._links = {link: None for link in self._links if link[1] != device.id}
        seen_us = max(before.last_seen_us, device.last_seen_us)
        self._devices[device.id] = replace(device, last_seen_us=seen_us, label=before.label, revoked_us=0, copied_us=0)
        self._links.setdefault((user, device.id))
        if device.role == Role.PRIMARY:
            self._followed = [*(one for one in self._followed if one != device.id), device.id]

    async def forget(self, device: str) -> None:
        self._devices.pop(device, None)
        self._links = {link: None for link in self._links if link[1] != device}
        self._followed = [one for one in self._followed if one != device]
        self._reports = {at: report for at, report in self._reports.items() if at[0] != device}
        self._sent.pop(device, None)
        self._settings = {at: value for at, value in self._settings.items() if at[0].device != device}
        self._taken = {at: objects for at, objects in self._taken.items() if at[0] != device}

    async def link_user(self, user: int, device: str) -> None:
        self._check_known(user, device)
        self._links.setdefault((user, device))

    async def unlink_user(self, user: int, device: str) -> None:
        self._check_known(user, device)
        self._links.pop((user, device), None)

    def _check_known(self, user: int, device: str) -> None:
        if user not in self._names:
            raise unknown_user(user)
        if device not in self._devices:
            raise unknown_device(device)

    async def links(self) -> list[tuple[int, str]]:
        return sorted(self._links)

    async def users_of(self, device: str) -> list[User]:
        return [User(user, self._names[user]) for user, linked in self._links if linked == device]

    async def users_of_all(self) -> dict[str, tuple[str, ...]]:
        devices = dict.fromkeys(device for _, device in self._links)
        return {device: tuple(user.name for user in await self.users_of(device)) for device in devices}

    # ------------------------------------------------------------ devices

    async def device(self, id: str) -> Device | None:
        return self._devices.get(id)

    async def all_devices(self) -> list[Device]:
        return sorted(self._devices.values(), key=lambda one: (one.paired_us, one.id))

    async def primary(self) -> Device | None:
        return self._devices[self._followed[-1]] if self._followed else None

    async def set_label(self, device: str, label: str) -> None:
        if label:
            checked_name("device", label)
        if not self._change(device, label=label):
            raise unknown_device(device)

    async def revoke(self, device: str, when_us: int) -> None:
        if not self._change(device, revoked_us=when_us):
            raise unknown_device(device)

    async def set_copied(self, device: str, when_us: int) -> None:
        self._change(device, copied_us=when_us)

    async def set_name(self, device: str, name: str) -> None:
        self._change(device, name=checked_name("device", name))

    async def set_addresses(self, device: str, addresses: Sequence[str]) -> None:
        self._change(device, addresses=tuple(addresses))

    async def set_adapter(self, device: str, adapter: str) -> None:
        self._change(device, adapter=adapter)

    async def seen(self, device: str, when_us: int) -> None:
        if device in self._devices:
            self._change(device, last_seen_us=max(self._devices[device].last_seen_us, when_us))

    def _change(self, device: str, **changes: object) -> bool:
        """Whether the device is known."""
        if device in self._devices:
            self._devices[device] = replace(self._devices[device], **changes)  # type: ignore[arg-type]
        return device in self._devices

    async def claim(self, device: str) -> str:
        self._owner = self._owner or device
        return self._owner

    # ------------------------------------------------------------ settings

    async def settings(self) -> list[Chosen]:
        return [Chosen(*at, value) for at, value in sorted(self._settings.items())]

    async def change_settings(
        self, chosen: Sequence[Chosen], who: str, when_us: int, weighed: Weighed = NOTHING_LOST
    ) -> list[Changed]:
        after = dict(self._settings)
        for place, name, value in chosen:
            if place.user and place.user not in self._names:
                raise unknown_user(place.user)
            if place.device and place.device not in self._devices:
                raise unknown_device(place.device)
            after[place, name] = value
        after = {at: value for at, value in after.items() if value}
        if len(after) > self._limits.settings_max:
            raise too_many("settings", self._limits.settings_max)
        changed: list[Changed] = []
        for place, name in dict.fromkeys((one.place, one.name) for one in chosen):
            was, is_ = self._settings.get((place, name), ""), after.get((place, name), "")
            if was != is_:
                changed.append(Changed(when_us, who, place, name, was, is_))
        self._settings = after
        self._give_way(chosen)
        self._note(weighed, when_us)
        self._changes = [*self._changes, *changed][-self._limits.settings_journal_max :]
        return changed

    async def hold_settings(
        self, chosen: Sequence[Chosen], losses: Sequence[Loss], who: str, when_us: int
    ) -> HeldSettings:
        left = self._others(chosen)
        if len(left) >= self._limits.held_settings_max:
            raise too_many("held changes of settings", self._limits.held_settings_max)
        self._last_held += 1
        held = HeldSettings(self._last_held, when_us, who, tuple(chosen), tuple(losses))
        self._held = {**left, held.number: held}
        return held

    def _others(self, chosen: Sequence[Chosen]) -> dict[int, HeldSettings]:
        """Held changes of none of these values."""
        said = {(one.place, one.name) for one in chosen}
        return {
            number: held
            for number, held in self._held.items()
            if said.isdisjoint((one.place, one.name) for one in held.chosen)
        }

    def _give_way(self, chosen: Sequence[Chosen]) -> None:
        self._held = self._others(chosen)

    def _note(self, weighed: Weighed, when_us: int) -> None:
        self._held.pop(weighed.held, None)
        begin, now = (when_us - weighed.window_us) // _QUARTER_US, when_us // _QUARTER_US
        seen = {(one.device, one.collection) for one in weighed.losses} if weighed.approved else set()
        self._taken = {
            at: objects for at, objects in self._taken.items() if at[2] >= begin and (at[0], at[1]) not in seen
        }
        for one in () if weighed.approved else weighed.losses:
            if one.device not in self._devices:
                continue
            at = one.device, one.collection, now
            self._taken[at] = self._taken.get(at, 0) + one.objects

    async def held_settings(self) -> list[HeldSettings]:
        return list(self._held.values())

    async def drop_held_settings(self, number: int) -> bool:
        return self._held.pop(number, None) is not None

    async def taken_away(self, since_us: int) -> Mapping[tuple[str, str], int]:
        found: dict[tuple[str, str], int] = {}
        for (device, collection, quarter), objects in self._taken.items():
            if quarter >= since_us // _QUARTER_US:
                found[device, collection] = found.get((device, collection), 0) + objects
        return found

    async def settings_journal(self, limit: int) -> list[Changed]:
        return self._changes[::-1][:limit]

    # ------------------------------------------------------------ how far each device has come

    async def save_reports(self, reports: Sequence[tuple[str, Report]]) -> None:
        for device, report in reports:
            if device in self._devices:
                self._reports[device, report.collection] = report

    async def reports(self) -> list[tuple[str, Report]]:
        return [(device, report) for (device, _), report in sorted(self._reports.items(), key=lambda one: one[0])]

    async def begin_sending(self, device: str) -> None:
        if device in self._devices:
            self._sent[device] = None

    async def end_sending(self, device: str, sent: Sequence[Sent]) -> None:
        if device in self._devices:
            self._sent[device] = list(sent)

    async def sent(self) -> tuple[list[str], list[Sent]]:
        unknown = sorted(device for device, sent in self._sent.items() if sent is None)
        return unknown, [one for sent in self._sent.values() for one in sent or ()]
