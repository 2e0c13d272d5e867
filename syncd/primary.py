"""The primary's daemon: sync store, sources, listener, and the verbs of a primary. Built and run by ``daemon.py``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from syncd import arrange
from syncd.adapters.registry import restore_upload
from syncd.admission import Admission
from syncd.applications.sqlite import SqliteSource, SqliteWriter
from syncd.applications.sqlite_usual import required
from syncd.choices import Choices, Standpoint
from syncd.control.server import ASKER
from syncd.core import effects as fx
from syncd.core import status, transactions
from syncd.core.devices import Device, User, passed_by_all
from syncd.core.edits import Direction
from syncd.core.errors import DiskError, UserError
from syncd.core.events import StoreMoved
from syncd.core.follow import store_epoch
from syncd.core.loss import HeldSettings
from syncd.core.messages import Report
from syncd.core.model import DataType, Role
from syncd.core.preferences import Place, Preferences
from syncd.core.primary_engine import PrimaryEngine
from syncd.core.selection import ALL, Selection
from syncd.core.sending import Standing
from syncd.core.source import SourcePhase
from syncd.core.status import Json
from syncd.deed_verbs import deed_verbs, deeds_of
from syncd.driver import Driver
from syncd.held_notice import HeldNotice
from syncd.home.config import Collection
from syncd.knowledge import Knowledge
from syncd.pauses import Pauses
from syncd.people import People, Verb
from syncd.rooms import TRANSACTIONS_MAX, Rooms, iso_time, show_key, transactions_asked
from syncd.sent import SentRecord
from syncd.settings_guard import counted
from syncd.store.sync_store import SqliteSyncStore
from syncd.store.uploads import SqliteUploadQueue
from syncd.transport.link import Link
from syncd.turns import Turns

log = logging.getLogger("syncd")
PRUNE_S = 60.0
_UNOPENED = (SourcePhase.OPENING, SourcePhase.OFFLINE)


class Primary:
    """``open`` builds it, ``run`` carries it until it is cancelled, ``answer`` serves the control socket."""

    def __init__(self, rooms: Rooms, stack: AsyncExitStack) -> None:
        self.rooms = rooms
        self._stack = stack
        self._reports: dict[tuple[str, str], Report] = {}
        self._arranging = asyncio.Lock()
        self.engine = PrimaryEngine(rooms.config.name, rooms.config.user, tuple(rooms.ports.adapters), rooms.limits)
        self.driver = Driver(self.engine, rooms.ports, self._notify)
        self.admission = Admission(rooms, self.engine, self.driver, self._serve)
        self.people = People(rooms, self.engine, self.admission)
        self.sent = SentRecord(rooms.database, self.engine.reaches)
        self.knowledge = Knowledge(rooms, self.admission, self.engine)
        self._verbs: dict[str, Verb] = dict(self.people.verbs)
        self._conflicts: Mapping[str, int] = {}  # by collection, those that nobody resolved
        self.store: SqliteSyncStore
        self.uploads: SqliteUploadQueue
        self._owners: dict[str, User] = {}  # whose each collection of config.toml is
        self._chosen = Preferences(rooms.limits)
        self._prune_at = 0.0
        self.notice = HeldNotice(rooms.database, lambda: self.engine.sources, self._held_reason)
        self.choices = Choices(self._standpoint())
        self.turns = Turns(rooms, self.engine, self.driver, self.admission)
        self._verbs |= self.choices.verbs | Pauses(self.choices).verbs | self.turns.verbs

    async def open(self) -> None:
        rooms = self.rooms
        self.store = await SqliteSyncStore.open(rooms.home.sync_store, rooms.limits)
        self._stack.push_async_callback(self.store.close)
        rooms.ports.store = self.store
        self.uploads = await SqliteUploadQueue.open(rooms.home.uploads, restore_upload, rooms.limits)
        self._stack.push_async_callback(self.uploads.close)
        rooms.ports.uploads = self.uploads
        self._offer_deeds()
        self.engine.user = (await self._owner("")).name
        if self.engine.user != rooms.config.user:  # its change of name was broken off
            arrange.rename_user(rooms.home, rooms.config.user, self.engine.user)
            rooms.reload()
        self._owners = {entry.name: await self._owner(entry.user) for entry in rooms.config.collections}
        await self.admission.recall()
        self._chosen = self.turns.chosen = await self.choices.load()
        self.engine.bidden = self._chosen.adapters()
        for device, report in await rooms.database.reports():
            self.engine.standings[device, report.collection] = Standing(report, rooms.ports.now())
        await self._check_epoch()
        await self.sent.recall(self.store, self._owners)
        self._stack.push_async_callback(self._save_last)
        await self.admission.open(self._stack)

    def _offer_deeds(self) -> None:
        """The verbs about changes of both sides."""
        rooms, deeds = self.rooms, deeds_of(self.rooms, self.store, self.uploads, self.driver.changed)
        self._verbs |= deed_verbs(deeds, rooms, self.knowledge, self.choices, self.people)

    def _standpoint(self) -> Standpoint:
        return Standpoint(
            database=self.rooms.database,
            limits=self.rooms.limits,
            owners=lambda: self.engine.owners,
            user=lambda: self.engine.user,
            wall_us=self.rooms.ports.wall_us,
            who=lambda: f"uid {ASKER.get()}" if ASKER.get() >= 0 else "",
            types=self._types_of,
            in_force=self._choose,
            holding=self._holding,
            counting=lambda name, shift: counted(self.store, self.rooms.limits.scan_rows_max, name, shift),
            required=required,
            held_moved=self.notice.move,
        )

    async def _held_reason(self, held: HeldSettings) -> str:
        return await self.choices.reason(held)

    async def _types_of(self, name: str) -> Sequence[DataType]:
        """Those of a collection, empty until it was imported."""
        source = self.engine.sources.get(name)
        return source.state.types if source is not None and source.state is not None else ()

    async def _holding(self) -> Sequence[tuple[str, str]]:
        return list(self.engine.standings)

    async def _choose(self, chosen: Preferences) -> None:
        """What a person set is in force from here on."""
        self._chosen = self.turns.chosen = chosen
        self._prune_at = 0.0
        for name in self.engine.owners:
            self._set_terms(name)
        await self.turns.look()
        self.driver.order(self.engine.bid(chosen.adapters()))

    async def _owner(self, user: str) -> User:
        """Whose a collection is, by the name that counts: config.toml may hold a former one, or none."""
        database = self.rooms.database
        id_ = await database.ensure_user(user or self.rooms.config.user)
        return User(id_, await database.user_name(id_))

    async def _check_epoch(self) -> None:
        """R4: a device that reported more than the store holds proves that the store is an older copy."""
        for (_, name), standing in sorted(self.engine.standings.items()):
            state = await self.store.open_collection(name)
            if store_epoch(standing.report.epoch) == state.epoch and standing.report.position > state.head:
                epoch = await self.store.new_epoch()
                log.warning("the sync store is older than what devices hold: it begins epoch %s", epoch)
                return

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.driver.run(), name="driver")
            await self.driver.started.wait()
            await self.turns.look()
            for entry in self.rooms.config.collections:
                self._share(entry, self._owners[entry.name])
            group.create_task(self._housekeeping(), name="housekeeping")
            group.create_task(self.admission.run(), name="admission")

    def _share(self, entry: Collection, owner: User) -> None:
        self._owners[entry.name] = owner
        ports, limits = self.rooms.ports, self.rooms.limits
        source = SqliteSource(Path(entry.path), entry.tables, limits)
        writer = SqliteWriter(Path(entry.path), limits, source.hand_over)
        ports.sources[entry.name], ports.writers[entry.name] = source, writer
        self._stack.push_async_callback(source.close)
        self._stack.push_async_callback(writer.close)
        self._set_terms(entry.name)
        self.driver.order(self.engine.share(entry.name, owner.name))

    def _at(self, name: str) -> Place:
        """Where settings of a collection are looked for."""
        return Place(self._owners[name].id if name in self._owners else 0, "", name)

    def _set_terms(self, name: str) -> None:
        """Which way its changes travel, what decides a conflict, and which limits it has."""
        chosen, ports, at = self._chosen, self.rooms.ports, self._at(name)
        ports.limits_by[name] = chosen.limits_at(at)
        terms = chosen.direction(at), chosen.policy(at), chosen.apart(at)
        self.driver.order(self.engine.set_terms(name, *terms))
        self.turns.set_paces(name, at)
        self.driver.order(self.engine.set_selections(name, chosen.selection(at), chosen.selections_apart(at)))

    async def _serve(self, link: Link) -> None:
        async with self.sent.link(link.device):
            await self._serve_known(link)

    async def _serve_known(self, link: Link) -> None:
        name = self.admission.shown(link.device)
        await self.rooms.seen(link.device)
        await self.admission.came(link)
        log.info("linked with %s (%s) at %s", name, link.device[:8], link.address)
        reason = await self.driver.serve(link)
        log.info("unlinked from %s (%s): %s", name, link.device[:8], reason)
        await self.rooms.seen(link.device)
        try:
            await self.admission.know(link.device)
        except DiskError as error:
            log.warning("%s", error.line())

    # ------------------------------------------------------------ the sync database, a little late

    def _notify(self, effect: fx.SaveReport) -> None:
        self._reports[effect.device, effect.report.collection] = effect.report

    async def _housekeeping(self) -> None:
        """Reports once a second, what can be forgotten once a minute and when a person changed a setting."""
        self._prune_at = self.rooms.ports.now() + PRUNE_S
        while True:
            await asyncio.sleep(1.0)
            try:
                await self.notice.tell()
                await self.turns.look()
                await self.save()
                if self.rooms.ports.now() >= self._prune_at:
                    self._prune_at = self.rooms.ports.now() + PRUNE_S
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

    async def _save_last(self) -> None:
        with suppress(DiskError):
            await self.save()

    async def prune(self) -> None:
        """R5: tombstones live until every device of the collection's user has passed them, or for 90 days. A device
        that was cut off comes back with a snapshot, if it does. Of the rest of the past what is not kept any longer
        goes (R15)."""
        now_us = self.rooms.ports.wall_us()
        for name, source in sorted(self.engine.sources.items()):
            if source.state is None or not source.state.imported:
                continue
            limits = self.rooms.ports.limits_of(name)
            tombstones_us, history_us = (now_us - int(s * 1e6) for s in (limits.tombstone_s_max, limits.history_s_max))
            await self.store.prune(name, self._passed(name, ALL), tombstones_us, history_us)
            await self.store.forget_gone(name, ALL, self.knowledge.spans(name, ALL), source.state.head)
            for each in [one.selection for one in source.state.classes if one.ready and not one.broken]:
                await self.store.prune_class(name, each, self._passed(name, each), tombstones_us)
                await self.store.forget_gone(name, each, self.knowledge.spans(name, each), source.state.head)
            await self.store.forget_history(name, history_us, limits.history_bytes_max)
            await self.uploads.prune(name, now_us - int(limits.conflict_s_max * 1e6))
            await self.driver.tell(StoreMoved(await self.store.open_collection(name)))

    def _passed(self, name: str, selection: Selection) -> int:
        """What all devices that take this much of a collection have passed."""
        source, standings = self.engine.sources[name], self.engine.standings.items()
        seen = source.state.of(selection) if source.state is not None else None
        reports = {device: one.report for (device, of), one in standings if of == name}
        linked = [
            one.id
            for one in self.admission.devices.values()
            if not one.revoked_us and self._sends(one.id, name) and self.engine.selection_of(one.id, name) == selection
        ]
        return passed_by_all(linked, reports, seen.epoch) if seen is not None else 0

    def _sends(self, device: str, name: str) -> bool:
        """Whether the device may have the collection, and is sent it."""
        return self.engine.may(device, name) and self.engine.terms_of(name, device)[0] is not Direction.IN

    # ------------------------------------------------------------ verbs

    async def answer(self, verb: str, args: Json) -> Json:
        match verb:
            case "status":
                return await self._status()
            case "share":
                async with self._arranging:
                    return await self._verb_share(args)
            case "transactions":
                return await self._transactions(args)
            case "retry":
                raise UserError(
                    "failed groups are parked on the auxiliaries", "run `syncd retry` there, or change the object here"
                )
            case "pair":
                raise UserError(
                    "this device is the primary: it takes no code",
                    "run `syncd pair` here, and `syncd pair CODE` on the auxiliary",
                )
            case _ if verb in self._verbs:
                return await self._verbs[verb](args)
            case _:
                raise UserError(f"`syncd {verb}` is for an auxiliary, this device is the primary", "run it there")

    async def _status(self) -> Json:
        rooms = self.rooms
        with suppress(DiskError):
            self._conflicts = await self.uploads.unresolved()
        applications = {entry.name: f"{entry.kind}:{entry.path}" for entry in rooms.config.collections}
        epochs = [source.state.epoch for source in self.engine.sources.values() if source.state]
        devices = [
            status.DeviceLine(
                id=one.id,
                name=self.admission.shown(one.id),
                connected=self.engine.connected(one.id),
                last_seen=iso_time(self._last_seen(one)),
                users=self.engine.users.get(one.id, ()),
                revoked=iso_time(one.revoked_us),
                copied=iso_time(one.copied_us),
            )
            for one in self.admission.devices.values()
        ]
        return rooms.about(self.admission.discovery) | {
            "user": self.engine.user,
            "epoch": epochs[0] if epochs else "",
            "address": rooms.config.listen,
            "held_settings": await self.notice.count(),
            "collections": [
                status.source_line(source, applications.get(name, ""), self.engine.owners[name]) | self._about(name)
                for name, source in sorted(self.engine.sources.items())
            ],
            "devices": status.primary_devices(self.engine, devices, rooms.ports.now(), show_key, iso_time),
        }

    def _about(self, name: str) -> Json:
        """How changes of a collection are treated, and what cannot be captured or done, as found until this moment."""
        direction, policy = self.engine.terms_of(name)
        source, intake = self.rooms.ports.sources.get(name), self.engine.intakes.get(name)
        problems = list(source.problems) if isinstance(source, SqliteSource) else []
        if intake and intake.reason:
            problems.append(f"changes of auxiliaries cannot be written: {intake.reason}")
        if intake and intake.no_room:
            problems.append(f"changes of auxiliaries cannot be kept: {intake.no_room}")
        return {
            "direction": direction.value,
            "policy": policy.value,
            "conflicts": self._conflicts.get(name, 0),
            "problems": problems,
        }

    def _last_seen(self, device: Device) -> int:
        return self.rooms.ports.wall_us() if self.engine.connected(device.id) else device.last_seen_us

    async def _verb_share(self, args: Json) -> Json:
        rooms, asked = self.rooms, arrange.asked_for(args)
        # First: a name that cannot be, or a user too many, is not written to the file.
        owner = await self._owner(asked.user)
        one = await asyncio.to_thread(arrange.sharing, rooms.home, asked)
        told = arrange.told(one, await self.choices.agree(asked.name, owner.name, asked))
        await asyncio.to_thread(arrange.keep, rooms.home, one)
        rooms.reload()
        entry = one.entry
        if entry.name not in self.engine.sources:
            self._share(entry, owner)
        elif (phase := self.engine.sources[entry.name].phase) in _UNOPENED:
            rooms.ports.shared_again.add(entry.name)  # tables that are gone from it are meant to be: a person says so
            if phase is not SourcePhase.OPENING:
                old, writer = rooms.ports.sources[entry.name], rooms.ports.writers[entry.name]
                self._share(entry, owner)
                await old.close()
                await writer.close()
        return told

    async def _transactions(self, args: Json) -> Json:
        asked = transactions_asked(args, Role.PRIMARY)
        devices = [(one, self.admission.shown(one)) for one in self.admission.devices]
        if asked.device and all(asked.device not in device for device in devices):
            raise UserError(f"no device {asked.device!r} is linked", "`syncd status` names those that are")
        rows: list[transactions.Row] = []
        for name, source in sorted(self.engine.sources.items()):
            if source.state is None:
                continue
            # An outcome may be far back: then all groups that are listed at most are looked at.
            groups = await self.store.groups(name, TRANSACTIONS_MAX if asked.outcome else asked.limit)
            for device in devices:
                if asked.device in ("", *device) and self.engine.may(device[0], name):
                    standing = self.engine.standings.get((device[0], name))
                    seen = self.engine.state_of(device[0], name)
                    if seen is not None:
                        rows += transactions.of_device(seen, groups, device, standing)
        found = transactions.chosen(rows, asked.outcome, asked.limit)
        return {"transactions": [row.line(show_key, iso_time) for row in found], "note": "" if found else "no groups"}
