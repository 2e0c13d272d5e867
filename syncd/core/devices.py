"""Users and devices as the sync database knows them: the values, the port, and what all devices have passed.

Claims 20b, 21c and 24c: which devices are linked with which users, and which adapter each of them speaks (20c). Keeps
R5 (tombstones live until every linked device has passed them) and R9 (a user's objects go to devices linked with that
user only).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from syncd.core.errors import UserError
from syncd.core.loss import NOTHING_LOST, HeldSettings, Loss, Weighed
from syncd.core.messages import Report
from syncd.core.model import Span
from syncd.core.preferences import Changed, Chosen
from syncd.core.settings import check_name

ID_CHARS_MIN = 4  # of the beginning of a device id that names the device


class User(NamedTuple):
    """Whose data it is. The id stays, the name can be changed."""

    id: int
    name: str


@dataclass(frozen=True, slots=True)
class Device:
    """A paired device. ``name``: what it calls itself; ``label``: what a person calls it on this machine, empty if
    nobody did. ``certificate``: DER. ``adapter``: which it speaks. ``addresses``: where it was reached, or where it
    came from, HOST:PORT, the best first. ``revoked_us``: when a person cut it off; ``copied_us``: when two machines
    were found to use its identity. Times in microseconds UTC, 0: never."""

    id: str
    name: str
    role: str
    certificate: bytes
    adapter: str
    addresses: tuple[str, ...]
    paired_us: int
    last_seen_us: int
    label: str = ""
    revoked_us: int = 0
    copied_us: int = 0

    @property
    def shown(self) -> str:
        """What people read."""
        return self.label or self.name


class Sent(NamedTuple):
    """Where a device may stand in an epoch of a collection by what it was sent."""

    device: str
    collection: str
    epoch: str
    span: Span


class SyncDatabase(Protocol):
    """The sync database. Whatever writes is durable when it returns. Raises UserError where a person asked for what
    cannot be, also at ``users_max`` and ``devices_max``."""

    # ------------------------------------------------------------ users

    async def ensure_user(self, name: str) -> int:
        """The id of the user of this name; else of the one who had it before a change of name; else of one who is
        added."""
        ...

    async def users(self) -> list[User]:
        """In the order of their ids."""
        ...

    async def user_name(self, user: int) -> str:
        """UserError for an unknown one."""
        ...

    async def add_user(self, name: str) -> int:
        """UserError if there is one of this name."""
        ...

    async def rename_user(self, old: str, new: str) -> None:
        """The former name is kept for ``ensure_user``: config.toml is written anew after this, and a crash between the
        two must not make a second user."""
        ...

    # ------------------------------------------------------------ links

    async def link(self, user: int, device: Device) -> None:
        """Pairing: adds the device, or takes over what changed of it, and links it with the user. It is neither revoked
        nor copied any more, its label stays; one that was revoked is linked with this user alone. A primary is the one
        that this device follows from then on: in the same commit."""
        ...

    async def forget(self, device: str) -> None:
        """Removes the device with its links and reports. If it was the primary that is followed, the one before is
        followed again. An unknown device is forgotten already."""
        ...

    async def link_user(self, user: int, device: str) -> None:
        """Links a paired device with one more user. UserError for an unknown user or device."""
        ...

    async def unlink_user(self, user: int, device: str) -> None:
        """UserError for an unknown user or device; without a link there is nothing to do."""
        ...

    async def links(self) -> list[tuple[int, str]]:
        """All entries of the first table (claim 21c), sorted: user id, device id."""
        ...

    async def users_of(self, device: str) -> list[User]:
        """The users that the device is linked with, in the order of linking."""
        ...

    async def users_of_all(self) -> dict[str, tuple[str, ...]]:
        """The same by name for each device that is linked with any."""
        ...

    # ------------------------------------------------------------ devices

    async def device(self, id: str) -> Device | None: ...

    async def all_devices(self) -> list[Device]:
        """In the order of their pairing."""
        ...

    async def primary(self) -> Device | None:
        """The primary that was linked last, whatever the clocks said (R1); None on a primary."""
        ...

    async def set_label(self, device: str, label: str) -> None:
        """What a person calls it; empty: as it calls itself. UserError for an unknown device."""
        ...

    async def revoke(self, device: str, when_us: int) -> None:
        """The device is cut off; its record stays, with its links. UserError for an unknown device."""
        ...

    async def set_copied(self, device: str, when_us: int) -> None:
        """Two machines use its identity; 0: a person decided. Unknown devices are left out."""
        ...

    async def set_name(self, device: str, name: str) -> None:
        """What the device calls itself from here on. Unknown devices are left out."""
        ...

    async def set_addresses(self, device: str, addresses: Sequence[str]) -> None:
        """Where the device is reached from here on, the best first. Unknown devices are left out."""
        ...

    async def set_adapter(self, device: str, adapter: str) -> None:
        """Which adapter the device speaks from here on (claim 20c). Unknown devices are left out."""
        ...

    async def seen(self, device: str, when_us: int) -> None:
        """The device was connected at this time. Unknown devices are left out."""
        ...

    async def claim(self, device: str) -> str:
        """The device that this database belongs to: the one that claimed it first."""
        ...

    # ------------------------------------------------------------ settings

    async def settings(self) -> list[Chosen]:
        """All that was set, by place and name."""
        ...

    async def change_settings(
        self, chosen: Sequence[Chosen], who: str, when_us: int, weighed: Weighed = NOTHING_LOST
    ) -> list[Changed]:
        """Sets these values, all or none, and notes in the journal which are other ones. Returns those. In the same
        commit what it takes away is noted, and held changes of any of the same values are held no longer. UserError for
        an unknown user or device, and at ``settings_max``."""
        ...

    async def hold_settings(
        self, chosen: Sequence[Chosen], losses: Sequence[Loss], who: str, when_us: int
    ) -> HeldSettings:
        """Keeps a change that is held, under a number that was never given before. Held changes of any of the same
        values are held no longer. UserError at ``held_settings_max``."""
        ...

    async def held_settings(self) -> list[HeldSettings]:
        """By their numbers."""
        ...

    async def drop_held_settings(self, number: int) -> bool:
        """It is held no longer, and nothing comes of it. False: it was not held."""
        ...

    async def taken_away(self, since_us: int) -> Mapping[tuple[str, str], int]:
        """How many objects changes of settings took away since this time, by device and collection, but for those that
        a person approved and what was before them."""
        ...

    async def settings_journal(self, limit: int) -> list[Changed]:
        """The newest first; not more than ``settings_journal_max`` are remembered."""
        ...

    # ------------------------------------------------------------ how far each device has come

    async def save_reports(self, reports: Sequence[tuple[str, Report]]) -> None:
        """What devices reported last, by device and collection. Unknown devices are left out."""
        ...

    async def reports(self) -> list[tuple[str, Report]]:
        """The last report of each device and collection, in their order."""
        ...

    async def begin_sending(self, device: str) -> None:
        """It is not known from here on what the device is sent, until ``end_sending``. Unknown devices are left out."""
        ...

    async def end_sending(self, device: str, sent: Sequence[Sent]) -> None:
        """All that the device may have beyond what it reported. Unknown devices are left out."""
        ...

    async def sent(self) -> tuple[list[str], list[Sent]]:
        """Devices of which that is not known, and what all others were sent, the newest epochs last."""
        ...


def find_device(known: Iterable[Device], asked: str) -> Device:
    """The device of this name, label or id, or whose id begins so. Raises UserError for none and for several."""
    plain, devices = asked.replace("-", "").upper(), list(known)
    found = [one for one in devices if asked in (one.id, one.shown, one.name)] or [
        one for one in devices if len(plain) >= ID_CHARS_MIN and one.id.startswith(plain)
    ]
    if not found:
        raise unknown_device(asked)
    if len(found) > 1:
        ids = ", ".join(one.id[:8] for one in found)
        raise UserError(f"{len(found)} devices are called {asked!r}: {ids}", "give the beginning of the id instead")
    return found[0]


def checked_name(what: str, name: str) -> str:
    """``name`` if it can name a user or a device, else UserError."""
    try:
        return check_name(what, name)
    except ValueError as error:
        said, _, allowed = str(error).rpartition(": ")
        raise UserError(f"{said} is no name", f"use {allowed}") from error


def unknown_user(user: int | str) -> UserError:
    return UserError(f"there is no user {user!r}", "`syncd users` names those that there are")


def unknown_device(device: str) -> UserError:
    return UserError(f"there is no device {device!r}", "`syncd devices` names those that there are")


def name_taken(name: str) -> UserError:
    return UserError(f"there is a user {name!r} already", "choose another name")


def too_many(what: str, most: int) -> UserError:
    return UserError(f"there are {most:,} {what}, which is the most", f"no more {what} can be added to this primary")


def passed_by_all(devices: Iterable[str], reports: Mapping[str, Report], epoch: str) -> int:
    """The sequence number of one collection that every device has passed in this epoch (R5); 0 if any has not said
    so, or if there is no device. ``reports``: the last of each device."""
    said = [reports.get(device) for device in devices]
    passed = [report.position for report in said if report is not None and report.epoch == epoch]
    return min(passed) if passed and len(passed) == len(said) else 0
