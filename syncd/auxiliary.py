"""An auxiliary's daemon: inbound queue, targets, dialer, and the verbs of an auxiliary. Built by ``daemon.py``."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from pathlib import Path

from syncd import arrange, own_pause
from syncd.adapters.registry import restore
from syncd.applications.sqlite import SqliteTarget
from syncd.applications.sqlite_again import write_again
from syncd.core import effects as fx
from syncd.core import parked, status, transactions
from syncd.core.auxiliary_engine import AuxiliaryEngine
from syncd.core.conversation import Phase
from syncd.core.devices import Device
from syncd.core.edits import Direction, Edit
from syncd.core.errors import REFUSALS, LinkLost, Refused, UserError
from syncd.core.events import RetryAsked
from syncd.core.model import DataType, Role, group_id
from syncd.core.status import Json
from syncd.core.target_state import Target
from syncd.driver import Driver
from syncd.home.config import Asked, Collection
from syncd.primary_link import PrimaryLink
from syncd.refused import RefusedEdits
from syncd.retries import Retries, Round
from syncd.rooms import Rooms, device_record, iso_time, show_key, transactions_asked
from syncd.store.inbound import SqliteInboundQueue
from syncd.store.outbox import SqliteOutbox
from syncd.transport.link import Link

RETRY_S_MAX = 30.0  # then `syncd retry` says how far the tries have come; they go on


class Auxiliary:
    """``open`` builds it, ``run`` carries it until it is cancelled, ``answer`` serves the control socket."""

    def __init__(self, rooms: Rooms, stack: AsyncExitStack) -> None:
        self.rooms = rooms
        self._stack = stack
        self.engine = AuxiliaryEngine(
            rooms.config.name, rooms.config.adapter, rooms.limits, tuple(rooms.ports.adapters)
        )
        self.driver = Driver(self.engine, rooms.ports, self._notify)
        self.queue: SqliteInboundQueue
        self.outbox: SqliteOutbox
        self.refused: RefusedEdits
        self.link = PrimaryLink(rooms, self._carry)
        self._arranging = asyncio.Lock()

    async def open(self) -> None:
        rooms = self.rooms
        self.queue = await SqliteInboundQueue.open(rooms.home.inbound, restore)
        self._stack.push_async_callback(self.queue.close)
        rooms.ports.inbound = self.queue
        self.outbox = await SqliteOutbox.open(rooms.home.outbox, rooms.limits)
        self._stack.push_async_callback(self.outbox.close)
        rooms.ports.outbox = self.outbox
        self.refused = RefusedEdits(self.outbox, self)
        self.engine.own = await own_pause.load(rooms.database)
        await self.link.open(self._stack)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.driver.run(), name="driver")
            await self.driver.started.wait()
            for entry in self.rooms.config.collections:
                await self._accept(entry)
            group.create_task(self.link.run(), name="primary link")

    async def _accept(self, entry: Collection) -> None:
        """A target that was filled once must be there from then on: a missing file is offline, never empty (R13)."""
        name, ports, filled = entry.name, self.rooms.ports, await self.queue.filled(entry.name)
        may_write = entry.replace or entry.merge
        target = SqliteTarget(Path(entry.path), name, may_write, filled, self.rooms.limits, captures=True)
        ports.targets[name] = ports.locals[name] = target
        if entry.merge:
            ports.merging.add(name)
        self._stack.push_async_callback(target.close)
        self.driver.order(self.engine.accept(name, ports.now(), edits=True, keep_edits=entry.keep_edits))

    async def _carry(self, link: Link) -> str:
        """A link for as long as it lives; why it ended."""
        reason = await self.driver.serve(link)
        if refusal := self.engine.refusal:
            said = refusal.text or f"the primary refused this device ({refusal.code})"
            self.link.dialer.failure = Refused(said, REFUSALS.get(refusal.code, ""), refusal.code)
        else:
            self.link.dialer.failure = LinkLost(reason or "the link ended", "this device dials again")
        return reason

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
            case "devices":
                return {"devices": [self._primary_record(one)] if (one := self.link.primary) else []}
            case "retry":
                return await self._verb_retry(args)
            case "pause" | "resume":
                async with self._arranging:
                    return await self._pause(verb, args)
            case _ if verb in self.refused.verbs:
                return await self.refused.verbs[verb](args)
            case "pair_open":
                raise UserError(
                    "this device is an auxiliary: it shows no code",
                    "run `syncd pair` on the primary, and `syncd pair CODE` here",
                )
            case _ if verb.startswith("settings"):
                raise UserError(
                    "this device is an auxiliary: settings are made on the primary", "run `syncd settings` there"
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
        return rooms.about(self.link.discovery) | {
            "user": self.engine.welcome.user if self.engine.welcome else "",
            "epoch": epochs[0] if epochs else "",
            "address": ", ".join(self.link.addresses()),
            "collections": [
                self._line(target, applications.get(name, ""), now) | self._about(name)
                for name, target in sorted(self.engine.targets.items())
            ],
            "devices": [status.primary_line(self.engine, self._primary_line(), now, show_key, iso_time)]
            if self.link.primary
            else [],
        }

    def _line(self, target: Target, application: str, now: float) -> Json:
        shared, uplink = status.shared(self.engine), self.engine.uplinks.get(target.name)
        line = status.target_line(target, application, shared, now, uplink)
        line["state"] = status.slow_state(self.engine, target, shared is not None, now).value
        return status.rested(line, self.engine.rest_of(target.name), iso_time)

    def _about(self, name: str) -> Json:
        """Which way its changes travel, and what the application should see to."""
        target, uplink = self.rooms.ports.targets.get(name), self.engine.uplinks.get(name)
        problems = list(target.problems) if isinstance(target, SqliteTarget) else []
        if uplink and uplink.reason:
            problems.append(f"what is changed here cannot be read: {uplink.reason}")
        return {
            "direction": uplink.direction.value if uplink and uplink.direction else "",
            "problems": problems,
        }

    async def _pause(self, verb: str, args: Json) -> Json:
        rooms = self.rooms
        own, told = await own_pause.change(
            rooms.database, verb, args, sorted(self.engine.targets), rooms.ports.wall_us()
        )
        self.driver.order(self.engine.pause(own, self._connected, rooms.ports.now()))
        return told

    def _primary_line(self) -> status.DeviceLine:
        primary = self.link.primary
        assert primary is not None
        seen_us = self.rooms.ports.wall_us() if self._connected else primary.last_seen_us
        return status.DeviceLine(primary.id, primary.shown, self._connected, iso_time(seen_us), self._why_apart())

    def _why_apart(self) -> str:
        """What went wrong last: a refusal, a link that ended, or a dial that failed."""
        failure = self.link.dialer.failure
        return failure.line() if failure and not self._connected else ""

    async def _verb_accept(self, args: Json) -> Json:
        rooms, asked = self.rooms, arrange.asked_for(args)
        before = rooms.config.collection(asked.name)
        anew = before is not None and (asked.replace or asked.merge)
        if anew:
            await self._retire(asked.name)
        try:
            told = await asyncio.to_thread(arrange.take_in, rooms.home, asked)
            rooms.reload()
            if anew:
                await self._clear(asked.name)
                told["problems"] = await arrange.forget_edits(self.outbox, asked)
        finally:
            entry = rooms.config.collection(asked.name)
            if entry is not None and (before is None or anew):
                await self._accept(entry)
        if entry is not None and (uplink := self.engine.uplinks.get(entry.name)):
            self.engine.uplinks[entry.name] = replace(uplink, keep_edits=entry.keep_edits)
        return told

    async def _clear(self, name: str) -> None:
        """What was received for the former target is void."""
        await self.queue.clear(name)
        self.rooms.ports.known.pop(name, None)

    async def _retire(self, name: str) -> None:
        """Nothing of the collection is under way any more, and its target is closed."""
        self.driver.order(self.engine.retire(name))
        await self.driver.settled(name)
        ports = self.rooms.ports
        ports.locals.pop(name, None)
        ports.over.pop(name, None)
        ports.local_ahead.pop(name, None)
        for names in (ports.merging, ports.lost, ports.untold):
            names.discard(name)
        if target := ports.targets.pop(name, None):
            await target.close()

    # ------------------------------------------------------------ what was changed here and refused (refused.Here)

    def names(self) -> list[str]:
        return sorted(self.engine.targets)

    async def types(self, collection: str) -> Sequence[DataType]:
        return (await self.queue.load(collection))[1]

    async def write_again(self, collection: str, edits: Sequence[Edit], new_keys: bool) -> int:
        entry, uplink = self.rooms.config.collection(collection), self.engine.uplinks.get(collection)
        assert entry is not None
        if uplink is not None and uplink.direction is Direction.OUT:
            raise UserError(
                f"{collection} comes from the primary only", "`syncd share` it there with --direction both first"
            )
        types = {one.id: one for one in await self.types(collection)}
        return await asyncio.to_thread(write_again, Path(entry.path), types, edits, self.rooms.limits, new_keys)

    # ------------------------------------------------------------ pairing

    async def _verb_pair(self, args: Json) -> Json:
        filled = await self._filled()
        before, replaces = self.link.primary, bool(args.get("replace"))

        def may(device: str) -> None:
            """R13: what came from another primary is replaced only if a person says so."""
            if before is not None and before.id != device and filled and not replaces:
                raise UserError(
                    f"this device holds the data of {before.shown}: {', '.join(filled)}",
                    "add --replace to take those of the other primary instead, a backup copy of each is made first",
                )

        paired = await self.link.meet(str(args.get("shown")), str(args.get("address") or ""), may)
        filled = await self._filled()  # more may have come from the former primary meanwhile
        may(paired.device)
        former = filled if before is not None and before.id != paired.device else []
        backups = await self._give_up(former)
        if self.engine.primary not in ("", paired.device):
            self.driver.order([fx.CloseLink(self.engine.primary, "", f"{paired.name} is the primary from here on")])
        try:
            linked = await self.link.follow(paired)
        finally:
            await self._accept_all(former)
        told: Json = {"device": paired.device, "name": paired.name, "user": paired.user}
        return told | {"linked": linked, "backups": backups}

    async def _filled(self) -> list[str]:
        """Collections of which this device holds a primary's data."""
        return [one.name for one in self.rooms.config.collections if await self.queue.filled(one.name)]

    async def _accept_all(self, names: list[str]) -> None:
        for name in names:
            entry = self.rooms.config.collection(name)
            assert entry is not None
            await self._accept(entry)

    async def _give_up(self, names: list[str]) -> list[str]:
        """A backup copy of each collection's target, which holds none of it from then on. Returns the copies."""
        rooms, backups = self.rooms, []
        for name in names:
            await self._retire(name)
        try:
            for name in names:
                entry = rooms.config.collection(name)
                assert entry is not None
                asked = Asked(name, entry.kind, entry.path, replace=True)
                told = await asyncio.to_thread(arrange.take_in, rooms.home, asked)
                await self._clear(name)
                await arrange.forget_edits(self.outbox, asked)
                rooms.reload()
                backups.append(str(told["backup"]))
        except BaseException:
            await self._accept_all(names)
            raise
        return backups

    def _primary_record(self, primary: Device) -> Json:
        """As on the primary, for `syncd devices`."""
        user = self.engine.welcome.user if self.engine.welcome else ""
        seen_us = self.rooms.ports.wall_us() if self._connected else primary.last_seen_us
        return device_record(primary, (user,) if user else (), self._connected, seen_us) | {"collections": []}

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
