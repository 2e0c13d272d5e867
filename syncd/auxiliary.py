"""An auxiliary's daemon: inbound queue, targets, dialer, and the verbs of an auxiliary. Built by ``daemon.py``."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from syncd import arrange
from syncd.adapters.registry import restore
from syncd.applications.sqlite import SqliteTarget
from syncd.core import effects as fx
from syncd.core import parked, status, transactions
from syncd.core.auxiliary_engine import AuxiliaryEngine
from syncd.core.conversation import Phase
from syncd.core.devices import Device
from syncd.core.errors import REFUSALS, LinkLost, Refused, SyncdError, UserError
from syncd.core.events import RetryAsked
from syncd.core.model import Role, device_id, group_id, show_device
from syncd.core.ports import Parking
from syncd.core.status import Json
from syncd.driver import Driver
from syncd.home.config import Collection
from syncd.rooms import Rooms, iso_time, log, show_key, transactions_asked
from syncd.store.inbound import SqliteInboundQueue
from syncd.transport.address import kept
from syncd.transport.dialer import Dialer, dial
from syncd.transport.link import Link
from syncd.transport.pairing import pair
from syncd.transport.token import parse

RETRY_S_MAX = 30.0  # then `syncd retry` says how far the tries have come; they go on


class Round(NamedTuple):
    """What a person asked to have tried: the parts of one collection, or those of its group ``seq``, as they were
    ``before``. ``tried``: how many tries the target counted until then."""

    name: str
    seq: int | None
    before: Parking
    tried: int


@dataclass
class Retries:
    """What `syncd retry` tells. ``applied``, ``failed``: by name, of the oldest groups. ``asked``, ``tried``,
    ``gone``: how many parts were to be tried, were, and are parked no more."""

    applied: list[str] = field(default_factory=list)
    failed: list[Json] = field(default_factory=list)
    asked: int = 0
    tried: int = 0
    gone: int = 0

    def line(self) -> Json:
        """As JSON."""
        retried = self.applied + [str(one["group"]) for one in self.failed]
        parts = {"asked": self.asked, "tried": self.tried, "applied": self.gone}
        return {"retried": retried, "applied": self.applied, "failed": self.failed, "parts": parts}


class Auxiliary:
    """``open`` builds it, ``run`` carries it until it is cancelled, ``answer`` serves the control socket."""

    def __init__(self, rooms: Rooms, stack: AsyncExitStack) -> None:
        self.rooms = rooms
        self._stack = stack
        self.engine = AuxiliaryEngine(rooms.config.name, rooms.config.adapter, rooms.limits)
        self.driver = Driver(self.engine, rooms.ports, self._notify)
        self.queue: SqliteInboundQueue
        self.primary: Device | None = None
        self._dialer = Dialer(self._dial, self._addresses, rooms.limits, random.Random())  # noqa: S311 (jitter)
        self._known = asyncio.Event()
        self._arranging = asyncio.Lock()

    async def open(self) -> None:
        rooms = self.rooms
        self.queue = await SqliteInboundQueue.open(rooms.home.inbound, restore)
        self._stack.push_async_callback(self.queue.close)
        rooms.ports.inbound = self.queue
        await self._know_primary()

    async def _know_primary(self) -> None:
        self.primary = await self.rooms.database.primary()
        if self.primary:
            self._known.set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.driver.run(), name="driver")
            await self.driver.started.wait()
            for entry in self.rooms.config.collections:
                await self._accept(entry)
            group.create_task(self._keep_linked(), name="dialer")

    async def _accept(self, entry: Collection) -> None:
        """A target that was filled once must be there from then on: a missing file is offline, never empty (R13)."""
        filled = await self.queue.filled(entry.name)
        target = SqliteTarget(Path(entry.path), entry.name, entry.replace, filled, self.rooms.limits)
        self.rooms.ports.targets[entry.name] = target
        self._stack.push_async_callback(target.close)
        self.driver.order(self.engine.accept(entry.name, self.rooms.ports.now()))

    # ------------------------------------------------------------ the link

    async def _keep_linked(self) -> None:
        await self._known.wait()
        async for link in self._dialer.links():
            if self.primary is None or link.device != self.primary.id:
                continue  # paired with another one meanwhile
            await self.rooms.seen(link.device)
            name = self.primary.name
            log.info("linked with %s (%s) at %s", name, link.device[:8], link.address)
            reason = await self.driver.serve(link)
            log.info("unlinked from %s (%s): %s", name, link.device[:8], reason)
            await self.rooms.seen(link.device)
            await self._know_primary()
            self._dialer.failure = self._ended(reason)

    def _ended(self, reason: str) -> SyncdError:
        """Why a link is over."""
        if refusal := self.engine.refusal:
            said = refusal.text or f"the primary refused this device ({refusal.code})"
            return Refused(said, REFUSALS.get(refusal.code, ""), refusal.code)
        return LinkLost(reason or "the link ended", "this device dials again")

    async def _dial(self, address: str) -> Link:
        assert self.primary is not None
        return await dial(self.rooms.home.identity, address, self.primary.certificate, self.rooms.limits)

    def _addresses(self) -> tuple[str, ...]:
        return self.primary.addresses if self.primary else ()

    def _notify(self, effect: fx.SaveReport) -> None:
        """The primary keeps reports; an auxiliary's own positions are in its applications."""

    # ------------------------------------------------------------ verbs

    async def answer(self, verb: str, args: Json) -> Json:
        match verb:
            case "status":
                return self._status()
            case "accept":
                async with self._arranging:
                    return await self._verb_accept(args)
            case "pair":
                async with self._arranging:
                    return await self._verb_pair(args)
            case "transactions":
                return self._transactions(args)
            case "retry":
                return await self._verb_retry(args)
            case "pair_open":
                raise UserError(
                    "`syncd pair --token` is for the primary, this device is an auxiliary",
                    "run it there, and `syncd pair TOKEN` here",
                )
            case _:
                raise UserError(f"`syncd {verb}` is for the primary, this device is an auxiliary", "run it there")

    @property
    def _connected(self) -> bool:
        return self.engine.phase is Phase.OPEN

    def _status(self) -> Json:
        rooms, now = self.rooms, self.rooms.ports.now()
        applications = {entry.name: f"{entry.kind}:{entry.path}" for entry in rooms.config.collections}
        epochs = [target.state.epoch for target in self.engine.targets.values() if target.state]
        return rooms.about() | {
            "user": self.engine.welcome.user if self.engine.welcome else "",
            "epoch": epochs[0] if epochs else "",
            "address": ", ".join(self._addresses()),
            "collections": [
                status.target_line(target, applications.get(name, ""), status.shared(self.engine), now)
                | {"problems": self._problems(name)}
                for name, target in sorted(self.engine.targets.items())
            ],
            "devices": [status.primary_line(self.engine, self._primary_line(), now, show_key)] if self.primary else [],
        }

    def _problems(self, name: str) -> list[str]:
        """What the application should see to."""
        target = self.rooms.ports.targets.get(name)
        return list(target.problems) if isinstance(target, SqliteTarget) else []

    def _primary_line(self) -> status.DeviceLine:
        primary = self.primary
        assert primary is not None
        seen_us = self.rooms.ports.wall_us() if self._connected else primary.last_seen_us
        return status.DeviceLine(primary.id, primary.name, self._connected, iso_time(seen_us), self._why_apart())

    def _why_apart(self) -> str:
        """What went wrong last: a refusal, a link that ended, or a dial that failed."""
        return self._dialer.failure.line() if self._dialer.failure and not self._connected else ""

    async def _verb_accept(self, args: Json) -> Json:
        rooms, name = self.rooms, str(args.get("name"))
        before = rooms.config.collection(name)
        replace = bool(args.get("replace"))
        asked = (name, str(args.get("kind")), str(args.get("path")), replace)
        anew = before is not None and replace
        if anew:
            await self._retire(name)
        try:
            told = await asyncio.to_thread(arrange.take_in, rooms.home, *asked)
            rooms.reload()
            if anew:
                await self.queue.clear(name)
        finally:
            entry = rooms.config.collection(name)
            if entry is not None and (before is None or anew):
                await self._accept(entry)
        return told

    async def _retire(self, name: str) -> None:
        """Nothing of the collection is under way any more, and its target is closed."""
        self.driver.order(self.engine.retire(name))
        await self.driver.settled(name)
        if target := self.rooms.ports.targets.pop(name, None):
            await target.close()

    async def _verb_pair(self, args: Json) -> Json:
        token = parse(str(args.get("token")))
        if address := args.get("address"):
            token = token.at(str(address))
        rooms = self.rooms
        former = await self._of_another(device_id(token.fingerprint), bool(args.get("replace")))
        paired = await pair(rooms.identity.certificate_der, rooms.config.name, token, rooms.limits)
        backups = await self._give_up(former)
        user = await rooms.database.ensure_user(paired.user)
        places = kept(paired.address, token.addresses)
        now_us = rooms.ports.wall_us()
        record = Device(
            paired.device,
            paired.name,
            Role.PRIMARY.value,
            paired.primary_certificate,
            rooms.config.adapter,
            places,
            now_us,
            0,
        )
        await rooms.database.link(user, record)
        await self._know_primary()
        if self.engine.primary not in ("", paired.device):
            self.driver.order([fx.CloseLink(self.engine.primary, "", f"{paired.name} is the primary from now on")])
        for name in former:
            entry = rooms.config.collection(name)
            assert entry is not None
            await self._accept(entry)
        self._dialer.wake()
        log.info("paired with %s (%s), at %s", paired.name, show_device(paired.device), paired.address)
        return {"device": paired.device, "name": paired.name, "user": paired.user, "backups": backups}

    async def _of_another(self, device: str, replace: bool) -> list[str]:
        """The collections that hold what came from another primary than this device. Raises UserError unless they may
        be replaced (R13)."""
        primary = self.primary
        if primary is None or primary.id == device:
            return []
        filled = [one.name for one in self.rooms.config.collections if await self.queue.filled(one.name)]
        if filled and not replace:
            raise UserError(
                f"this device holds the data of {primary.name}: {', '.join(filled)}",
                "add --replace to take those of the other primary instead, a backup copy of each is made first",
            )
        return filled

    async def _give_up(self, names: list[str]) -> list[str]:
        """A backup copy of each collection's target, which holds none of it from then on. Returns the copies."""
        rooms, backups = self.rooms, []
        for name in names:
            await self._retire(name)
        try:
            for name in names:
                entry = rooms.config.collection(name)
                assert entry is not None
                asked = (rooms.home, name, entry.kind, entry.path, True)
                told = await asyncio.to_thread(arrange.take_in, *asked)
                await self.queue.clear(name)
                rooms.reload()
                backups.append(str(told["backup"]))
        except BaseException:
            for name in names:
                entry = rooms.config.collection(name)
                assert entry is not None
                await self._accept(entry)
            raise
        return backups

    def _transactions(self, args: Json) -> Json:
        asked = transactions_asked(args, Role.AUXILIARY)
        device = (self.rooms.identity.device_id, self.rooms.config.name)
        rows: list[transactions.Row] = []
        if asked.device not in ("", *device):
            raise UserError(f"this device is {device[1]}, and not {asked.device!r}", "the primary lists all devices")
        for _, target in sorted(self.engine.targets.items()):
            rows += transactions.of_target(target, device)
        found = transactions.chosen(rows, asked.outcome, asked.limit)
        note = "" if found else "no failed groups here; the primary lists all"
        return {"transactions": [row.line(show_key, iso_time) for row in found], "note": note}

    async def _verb_retry(self, args: Json) -> Json:
        """Tries parked groups at once and waits for what comes of it, but not for ever: they may be very many."""
        asked = str(args.get("group") or "")
        rounds = [one for name in sorted(self.engine.targets) if (one := await self._retry(name, asked)) is not None]
        if asked and not rounds:
            raise UserError(f"no failed group {asked!r} is parked here", "`syncd transactions` lists those that are")
        with suppress(TimeoutError):
            async with asyncio.timeout(RETRY_S_MAX):
                while any(parked.waits(self.engine.targets[one.name]) for one in rounds):
                    self.driver.changed.clear()
                    await self.driver.changed.wait()
        told = Retries()
        for one in rounds:
            await self._tell_retried(told, one)
        if rounds and not told.tried:
            reasons = [reason for one in rounds if (reason := self.engine.targets[one.name].reason)]
            why = f": {reasons[0]}" if reasons else ""
            raise UserError(f"nothing could be tried within {RETRY_S_MAX:g} s{why}", "see `syncd status`")
        return told.line()

    async def _retry(self, name: str, group: str) -> Round | None:
        """Asks for all parts of a collection, or those of a group; None if none is parked."""
        seq: int | None = None
        if group:
            collection, _, number = group.rpartition(":")
            if collection != name or not (number.isascii() and number.isdigit()):
                return None
            seq = int(number)
        before = await self.queue.parking(name, seq)
        if not before.parts:
            return None
        tried = self.engine.targets[name].tried
        self.driver.order(self.engine.step(RetryAsked(name, seq), self.rooms.ports.now()))
        return Round(name, seq, before, tried)

    async def _tell_retried(self, told: Retries, one: Round) -> None:
        """What became of a round: all of it in numbers, the oldest of its groups by name."""
        after = await self.queue.parking(one.name, one.seq)
        still = {part.id: part for part in await self.queue.parts(one.name, [part.id for part in one.before.oldest])}
        for part in one.before.oldest:
            group, left = group_id(one.name, part.seqs[-1]), still.get(part.id)
            if left is None:
                told.applied.append(group)
            elif left.attempts > part.attempts:
                told.failed.append({"group": group, "cause": left.failure.cause})
        asked, gone = one.before.parts, max(0, one.before.parts - after.parts)
        tried = self.engine.targets[one.name].tried - one.tried
        told.asked += asked
        told.tried += max(gone, min(asked, tried))
        told.gone += gone
