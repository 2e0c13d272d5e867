"""An auxiliary's daemon: inbound queue, targets, dialer, and the verbs of an auxiliary. Built by ``daemon.py``."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from pathlib import Path

from syncd import arrange
from syncd.adapters.registry import restore
from syncd.applications.sqlite import SqliteTarget
from syncd.core import effects as fx
from syncd.core import status, transactions
from syncd.core.auxiliary_engine import AuxiliaryEngine
from syncd.core.conversation import Phase
from syncd.core.devices import Device
from syncd.core.errors import REFUSALS, UserError
from syncd.core.events import RetryAsked
from syncd.core.model import Role, group_id
from syncd.core.ports import ParkedPart
from syncd.core.status import Json
from syncd.driver import Driver
from syncd.home.config import Collection
from syncd.rooms import Rooms, iso_time, show_key, transactions_asked
from syncd.store.inbound import SqliteInboundQueue
from syncd.transport.dialer import Dialer, dial
from syncd.transport.link import Link
from syncd.transport.pairing import pair
from syncd.transport.token import parse

RETRY_S_MAX = 30.0


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
        primaries = [one for one in await self.rooms.database.all_devices() if one.role == Role.PRIMARY]
        if primaries:
            self.primary = max(primaries, key=lambda one: one.paired_us)
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
        transfer, _, _ = await self.queue.load(entry.name)
        # A snapshot that waits to be executed may be the first: then the target is not filled yet.
        established = transfer is not None and transfer.cut > 0 and not transfer.snapshot
        target = SqliteTarget(Path(entry.path), entry.name, entry.replace, established, self.rooms.limits)
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
            await self.driver.serve(link)
            await self.rooms.seen(link.device)
            await self._know_primary()

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
                return await self._verb_pair(args)
            case "transactions":
                return self._transactions(args)
            case "retry":
                return await self._verb_retry(args)
            case _:
                raise UserError(f"`{verb}` is for the primary, this device is an auxiliary", "run it there")

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
        if self._connected:
            return ""
        if refusal := self.engine.refusal:
            return f"{refusal.text}: {REFUSALS.get(refusal.code, '')}"
        return self._dialer.failure.line() if self._dialer.failure else ""

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
        paired = await pair(rooms.identity.certificate_der, rooms.config.name, token, rooms.limits)
        user = await rooms.database.ensure_user(paired.user)
        places = tuple(dict.fromkeys((paired.address, *token.addresses)))
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
        self._dialer.wake()
        return {"device": paired.device, "name": paired.name, "user": paired.user}

    def _transactions(self, args: Json) -> Json:
        asked = transactions_asked(args, Role.AUXILIARY)
        device = (self.rooms.identity.device_id, self.rooms.config.name)
        rows: list[transactions.Row] = []
        if asked.device in ("", *device):
            for _, target in sorted(self.engine.targets.items()):
                rows += transactions.of_target(target, device)
        found = transactions.chosen(rows, asked.outcome, asked.limit)
        return {"transactions": [row.line(show_key, iso_time) for row in found]}

    async def _verb_retry(self, args: Json) -> Json:
        """Tries parked groups at once and waits for what comes of it."""
        asked = str(args.get("group") or "")
        chosen: dict[tuple[str, int], ParkedPart] = {}
        for name, target in self.engine.targets.items():
            for part in target.parked:
                if not asked or asked in [group_id(name, seq) for seq in part.seqs]:
                    chosen[name, part.id] = part
        if asked and not chosen:
            raise UserError(f"no failed group {asked!r} is parked here", "`syncd transactions` lists those that are")
        for name, part_id in sorted(chosen):
            await self.driver.tell(RetryAsked(name, chosen[name, part_id].seqs[-1]))
        try:
            async with asyncio.timeout(RETRY_S_MAX):
                while not all(self._was_tried(name, part) for (name, _), part in chosen.items()):
                    self.driver.changed.clear()
                    await self.driver.changed.wait()
        except TimeoutError:
            raise UserError(
                "the groups were not tried in time", "see `syncd status`: the application may be offline"
            ) from None
        groups = {key: group_id(key[0], part.seqs[-1]) for key, part in sorted(chosen.items())}
        still = {(name, part.id): part for name, target in self.engine.targets.items() for part in target.parked}
        return {
            "retried": list(groups.values()),
            "applied": [group for key, group in groups.items() if key not in still],
            "failed": [
                {"group": group, "cause": still[key].failure.cause} for key, group in groups.items() if key in still
            ],
        }

    def _was_tried(self, name: str, before: ParkedPart) -> bool:
        now = [part for part in self.engine.targets[name].parked if part.id == before.id]
        return not now or now[0].attempts > before.attempts
