"""What both roles share: the home, its config and identity, the sync database and the ports."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

from syncd import __version__
from syncd.adapters.canonical import unpack_values
from syncd.core import transactions
from syncd.core.devices import Device, SyncDatabase
from syncd.core.errors import DiskError, UserError
from syncd.core.found import Discovery
from syncd.core.model import OutcomeKind, Role
from syncd.core.settings import Limits
from syncd.core.status import Json
from syncd.home import config as configuration
from syncd.home.config import Config
from syncd.home.identity import Identity
from syncd.home.paths import Home
from syncd.outside import Ports

log = logging.getLogger("syncd")
TRANSACTIONS_MAX = 10_000  # rows of one answer


class Discover(Protocol):
    """Opens discovery for as long as the context lasts. ``on_change`` is called when what is found changed,
    ``on_network`` when the network of this machine did."""

    def __call__(
        self, on_change: Callable[[], None], on_network: Callable[[], None]
    ) -> AbstractAsyncContextManager[Discovery]: ...


@dataclass
class Rooms:
    """``discover``: None where a person wants no mDNS; then ``watch`` tells of changes of this machine's network."""

    home: Home
    config: Config
    identity: Identity
    limits: Limits
    database: SyncDatabase
    ports: Ports
    began: float
    discover: Discover | None = None
    watch: Callable[[Callable[[], None]], AbstractContextManager[None]] | None = None

    def reload(self) -> None:
        """Takes over what a verb wrote to config.toml."""
        self.config = configuration.load(self.home)

    async def seen(self, device: str) -> None:
        """Notes that a device was linked at this moment; a full disk is no reason to refuse it."""
        try:
            await self.database.seen(device, self.ports.wall_us())
        except DiskError as error:
            log.warning("%s", error.line())

    def about(self, discovery: Discovery | None) -> Json:
        """The head of a status."""
        device: Json = {"id": self.identity.device_id, "name": self.config.name, "role": self.config.role.value}
        return {
            "version": __version__,
            "device": device,
            "uptime_s": int(time.monotonic() - self.began),
            "discovery": {"on": discovery is not None, "problem": discovery.problem if discovery else ""},
        }


class TransactionsAsked(NamedTuple):
    """Which rows ``syncd transactions`` asks for; empty: all."""

    device: str
    outcome: str
    limit: int


def transactions_asked(args: Json, role: Role) -> TransactionsAsked:
    """Checked: it comes over the control socket. Raises UserError."""
    device, outcome, limit = args.get("device") or "", args.get("outcome") or "", args.get("limit") or TRANSACTIONS_MAX
    if not isinstance(limit, int) or limit < 1:
        raise UserError("the limit is no number above 0", f"give one from 1 to {TRANSACTIONS_MAX}")
    if outcome not in {one.value for one in OutcomeKind} | {""}:
        raise UserError(f"{outcome!r} is no outcome", f"they are {', '.join(one.value for one in OutcomeKind)}")
    transactions.check_outcome(role, str(outcome))
    return TransactionsAsked(str(device), str(outcome), min(limit, TRANSACTIONS_MAX))


def device_record(one: Device, users: Sequence[str], connected: bool, seen_us: int) -> Json:
    """A device for `syncd devices`."""
    return {
        "id": one.id,
        "name": one.shown,
        "own_name": one.name,
        "role": one.role,
        "users": list(users),
        "adapter": one.adapter,
        "connected": connected,
        "paired": iso_time(one.paired_us),
        "last_seen": iso_time(seen_us),
        "revoked": iso_time(one.revoked_us),
        "copied": iso_time(one.copied_us),
    }


def iso_time(time_us: int) -> str:
    """Microseconds UTC as ISO 8601; empty for never."""
    return datetime.fromtimestamp(time_us / 1e6, UTC).isoformat(timespec="seconds") if time_us else ""


def show_key(key: bytes) -> str:
    """A canonical key for people: JSON, blobs in hexadecimal."""
    if not key:
        return ""
    values = [value.hex() if isinstance(value, bytes) else value for value in unpack_values(key)]
    return json.dumps(values, ensure_ascii=False)
