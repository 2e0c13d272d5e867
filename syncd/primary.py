"""The primary's daemon: sync store, sources, listener, and the verbs of a primary. Built and run by ``daemon.py``."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from pathlib import Path

from syncd import arrange
from syncd.adapters.registry import DEFAULT
from syncd.applications.sqlite import SqliteSource
from syncd.core import effects as fx
from syncd.core import status, transactions
from syncd.core.devices import Device, passed_by_all
from syncd.core.errors import DiskError, UserError
from syncd.core.events import StoreMoved
from syncd.core.messages import Report
from syncd.core.model import Role, device_id
from syncd.core.primary_engine import PrimaryEngine, Standing
from syncd.core.source import SourcePhase
from syncd.core.status import Json
from syncd.driver import Driver
from syncd.home.config import Collection, split_address
from syncd.rooms import TRANSACTIONS_MAX, Rooms, iso_time, show_key, transactions_asked
from syncd.store.sync_store import SqliteSyncStore
from syncd.transport.address import addresses
from syncd.transport.certificate import fingerprint
from syncd.transport.link import Link
from syncd.transport.listener import Listener
from syncd.transport.pairing import PairedInfo, Pairing
from syncd.transport.tls import Trust
from syncd.transport.token import make

log = logging.getLogger("syncd")
PRUNE_S = 60.0
_UNOPENED = (SourcePhase.OPENING, SourcePhase.OFFLINE)


class Primary:
    """``open`` builds it, ``run`` carries it until it is cancelled, ``answer`` serves the control socket."""

    def __init__(self, rooms: Rooms, stack: AsyncExitStack) -> None:
        self.rooms = rooms
        self._stack = stack
        self._reports: dict[tuple[str, str], Report] = {}
        self._devices: dict[str, Device] = {}
        self._arranging = asyncio.Lock()
        self.engine = PrimaryEngine(rooms.config.name, rooms.config.user, tuple(rooms.ports.adapters), rooms.limits)
        self.driver = Driver(self.engine, rooms.ports, self._notify)
        self.store: SqliteSyncStore
        self.listener: Listener
        self.user = 0

    async def open(self) -> None:
        rooms = self.rooms
        self.store = await SqliteSyncStore.open(rooms.home.sync_store, rooms.limits)
        self._stack.push_async_callback(self.store.close)
        rooms.ports.store = self.store
        self.user = await rooms.database.ensure_user(rooms.config.user)
        for device in await rooms.database.devices_of(self.user):  # R9: nobody else is let in
            self._devices[device.id] = device
        await self._recall()
        await self._check_epoch()
        trust = Trust(rooms.home.identity, [device.certificate for device in self._devices.values()])
        host, port = split_address(rooms.config.listen)
        self.pairing = Pairing(rooms.identity.fingerprint, rooms.limits, self._paired)
        listener = Listener(host, port, trust, self.pairing, rooms.limits, self._serve)
        self.listener = await self._stack.enter_async_context(listener)

    async def _recall(self) -> None:
        """What each device reported last, for the status before it reports again, and which adapter it speaks."""
        self.engine.speaks = {device.id: device.adapter for device in self._devices.values()}
        for device, report in await self.rooms.database.reports():
            self.engine.standings[device, report.collection] = Standing(report, self.rooms.ports.now())

    async def _check_epoch(self) -> None:
        """R4: a device that reported more than the store holds proves that the store is an older copy."""
        for (_, name), standing in sorted(self.engine.standings.items()):
            state = await self.store.open_collection(name)
            if standing.report.epoch == state.epoch and standing.report.position > state.head:
                epoch = await self.store.new_epoch()
                log.warning("the sync store is older than what devices hold: it begins epoch %s", epoch)
                return

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.driver.run(), name="driver")
            await self.driver.started.wait()
            for entry in self.rooms.config.collections:
                self._share(entry)
            group.create_task(self._housekeeping(), name="housekeeping")
            group.create_task(self.listener.wait(), name="listener")

    def _share(self, entry: Collection) -> None:
        source = SqliteSource(Path(entry.path), entry.tables, self.rooms.limits)
        self.rooms.ports.sources[entry.name] = source
        self._stack.push_async_callback(source.close)
        self.driver.order(self.engine.share(entry.name))

    async def _serve(self, link: Link) -> None:
        name = self._devices[link.device].name if link.device in self._devices else ""
        await self.rooms.seen(link.device)
        log.info("linked with %s (%s) at %s", name, link.device[:8], link.address)
        reason = await self.driver.serve(link)
        log.info("unlinked from %s (%s): %s", name, link.device[:8], reason)
        await self.rooms.seen(link.device)
        await self._know(link.device)

    async def _know(self, device: str) -> None:
        record = await self.rooms.database.device(device)
        if record is not None:
            self._devices[device] = record

    async def _paired(self, certificate: bytes, name: str) -> PairedInfo:
        """A device proved the token's secret: it is linked with the user, durably, before it is told."""
        rooms, now_us = self.rooms, self.rooms.ports.wall_us()
        device = device_id(fingerprint(certificate))
        speaks = self.engine.speaks.setdefault(device, DEFAULT)
        record = Device(device, name, Role.AUXILIARY.value, certificate, speaks, (), now_us, 0)
        await rooms.database.link(self.user, record)
        await self._know(device)
        return PairedInfo(rooms.config.name, rooms.config.user)

    # ------------------------------------------------------------ the sync database, a little late

    def _notify(self, effect: fx.SaveReport) -> None:
        self._reports[effect.device, effect.report.collection] = effect.report

    async def _housekeeping(self) -> None:
        """Reports once a second, what can be forgotten once a minute."""
        prune_at = self.rooms.ports.now() + PRUNE_S
        while True:
            await asyncio.sleep(1.0)
            try:
                await self.save()
                if self.rooms.ports.now() >= prune_at:
                    prune_at = self.rooms.ports.now() + PRUNE_S
                    await self.prune()
            except DiskError as error:
                log.warning("%s", error.line())

    async def save(self) -> None:
        """What was reported since the last time; what cannot be written, or comes meanwhile, is written the next."""
        reports = dict(self._reports)
        if not reports:
            return
        await self.rooms.database.save_reports([(device, one) for (device, _), one in sorted(reports.items())])
        self._reports = {at: one for at, one in self._reports.items() if reports.get(at) is not one}

    async def prune(self) -> None:
        """R5: tombstones live until every linked device has passed them, or for 90 days."""
        older_than_us = self.rooms.ports.wall_us() - int(self.rooms.limits.tombstone_s_max * 1e6)
        for name, source in sorted(self.engine.sources.items()):
            if source.state is None or not source.state.imported:
                continue
            standings = self.engine.standings.items()
            reports = {device: one.report for (device, of), one in standings if of == name}
            passed = passed_by_all(self._devices, reports, source.state.epoch)
            await self.store.prune(name, passed, older_than_us)
            await self.driver.tell(StoreMoved(await self.store.open_collection(name)))

    # ------------------------------------------------------------ verbs

    async def answer(self, verb: str, args: Json) -> Json:
        match verb:
            case "status":
                return self._status()
            case "share":
                async with self._arranging:
                    return await self._verb_share(args)
            case "pair_open":
                return self._pair_open()
            case "transactions":
                return await self._transactions(args)
            case "retry":
                raise UserError(
                    "failed groups are parked on the auxiliaries", "run `syncd retry` there, or change the object here"
                )
            case "pair":
                raise UserError(
                    "`syncd pair TOKEN` is for an auxiliary, this device is the primary",
                    "run it there, and `syncd pair --token` here",
                )
            case _:
                raise UserError(f"`syncd {verb}` is for an auxiliary, this device is the primary", "run it there")

    def _status(self) -> Json:
        rooms = self.rooms
        applications = {entry.name: f"{entry.kind}:{entry.path}" for entry in rooms.config.collections}
        epochs = [source.state.epoch for source in self.engine.sources.values() if source.state]
        devices = [
            status.DeviceLine(one.id, one.name, self.engine.connected(one.id), iso_time(self._last_seen(one)))
            for one in self._devices.values()
        ]
        return rooms.about() | {
            "user": rooms.config.user,
            "epoch": epochs[0] if epochs else "",
            "address": rooms.config.listen,
            "collections": [
                status.source_line(source, applications.get(name, "")) | {"problems": self._problems(name)}
                for name, source in sorted(self.engine.sources.items())
            ],
            "devices": status.primary_devices(self.engine, devices, rooms.ports.now(), show_key),
        }

    def _problems(self, name: str) -> list[str]:
        """What cannot be captured, as found until this moment."""
        source = self.rooms.ports.sources.get(name)
        return list(source.problems) if isinstance(source, SqliteSource) else []

    def _last_seen(self, device: Device) -> int:
        return self.rooms.ports.wall_us() if self.engine.connected(device.id) else device.last_seen_us

    async def _verb_share(self, args: Json) -> Json:
        rooms = self.rooms
        tables = args.get("tables") or ()
        asked = (str(args.get("name")), str(args.get("kind")), str(args.get("path")))
        names = tuple(str(table) for table in tables) if isinstance(tables, list | tuple) else ()
        problems = await asyncio.to_thread(arrange.share, rooms.home, *asked, names)
        rooms.reload()
        entry = rooms.config.collection(asked[0])
        if entry is not None and asked[0] not in self.engine.sources:
            self._share(entry)
        elif entry is not None and (phase := self.engine.sources[asked[0]].phase) in _UNOPENED:
            rooms.ports.shared_again.add(asked[0])  # what is gone from it may be deleted: a person says so
            if phase is SourcePhase.OFFLINE:
                old = rooms.ports.sources[asked[0]]
                self._share(entry)
                await old.close()
        return {"problems": list(problems), "backup": None}

    def _pair_open(self) -> Json:
        host, port = self.listener.address
        places = addresses(split_address(self.rooms.config.listen)[0] or host, port)
        token = make(self.rooms.identity.fingerprint, self.pairing.open(), places)
        return {"token": token, "expires_s": self.rooms.limits.pairing_s_max, "addresses": places}

    async def _transactions(self, args: Json) -> Json:
        asked = transactions_asked(args, Role.PRIMARY)
        if asked.device and all(asked.device not in (one.id, one.name) for one in self._devices.values()):
            raise UserError(f"no device {asked.device!r} is linked", "`syncd status` names those that are")
        rows: list[transactions.Row] = []
        for name, source in sorted(self.engine.sources.items()):
            if source.state is None:
                continue
            # An outcome may be far back: then all groups that are listed at most are looked at.
            groups = await self.store.groups(name, TRANSACTIONS_MAX if asked.outcome else asked.limit)
            for device in self._devices.values():
                if asked.device in ("", device.id, device.name):
                    standing = self.engine.standings.get((device.id, name))
                    rows += transactions.of_device(source.state, groups, (device.id, device.name), standing)
        found = transactions.chosen(rows, asked.outcome, asked.limit)
        return {"transactions": [row.line(show_key, iso_time) for row in found], "note": "" if found else "no groups"}
