"""The whole chain in one process, without a network: the real engines, adapters, stores and SQLite applications of one
primary and its auxiliaries. Frames pass through lists, so that a test can look at what was sent."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Sequence
from contextlib import AsyncExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Self

from syncd.adapters.base import Adapter
from syncd.adapters.registry import ADAPTERS, DEFAULT, adapter, restore, restore_upload
from syncd.applications.sqlite import SqliteSource, SqliteTarget, SqliteWriter
from syncd.core import effects as fx
from syncd.core import events as ev
from syncd.core.auxiliary_engine import AuxiliaryEngine
from syncd.core.devices import Device
from syncd.core.edits import Direction, Policy
from syncd.core.messages import Objects, Wire
from syncd.core.primary_engine import PrimaryEngine
from syncd.core.settings import Limits
from syncd.core.source import SourcePhase
from syncd.core.upward_effects import StageUpload, WaitLocal
from syncd.core.upward_ports import Outbox
from syncd.outside import Ports
from syncd.perform import perform, stage
from syncd.perform_intake import stage_uploads
from syncd.store.inbound import SqliteInboundQueue
from syncd.store.outbox import SqliteOutbox
from syncd.store.sync_database import SqliteSyncDatabase
from syncd.store.sync_store import SqliteSyncStore
from syncd.store.uploads import SqliteUploadQueue

COLLECTION = "shop"
PRIMARY = "P" * 52
STEPS_MAX = 20_000


def execute(path: Path, *statements: str) -> None:
    """One transaction of an application."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def rows(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


class Node:
    """One device: its engine and what it still has to perform."""

    def __init__(self, engine: PrimaryEngine | AuxiliaryEngine, limits: Limits, clock: list[float]) -> None:
        self.engine = engine
        self.ports = Ports(limits, ADAPTERS, lambda: clock[0], lambda: int(clock[0] * 1e6))
        self.effects: deque[fx.Effect] = deque()
        self.adapters: dict[str, Adapter] = {}
        self.waits: WaitLocal | None = None


class Chain:
    """``adapters``: one for each auxiliary. ``tables``: those shared, empty for all. ``users``: those of each, ada for
    those that are not told; the collection is ada's. ``direction``: which way its changes travel. ``sent``: (from, to,
    frame) in order."""

    direction = Direction.OUT

    def __init__(
        self,
        directory: Path,
        adapters: Sequence[str] = ("msgpack",),
        tables: Sequence[str] = (),
        users: Sequence[Sequence[str]] = (),
    ) -> None:
        self.directory = directory
        self.tables = tuple(tables)
        self._users = {chr(ord("A") + at) * 52: names for at, names in enumerate(users)}
        self.source = directory / "source.db"
        self.limits = Limits()
        self.devices = {chr(ord("A") + at) * 52: name for at, name in enumerate(adapters)}
        self.sent: list[tuple[str, str, bytes | str]] = []
        self._wire: deque[tuple[str, str, bytes | str]] = deque()
        self._clock = [1000.0]
        self._nodes: dict[str, Node] = {}
        self._stack = AsyncExitStack()
        self.store: SqliteSyncStore
        self.database: SqliteSyncDatabase
        self.uploads: SqliteUploadQueue
        self.user = 0

    def target(self, device: str) -> Path:
        """The application's database on an auxiliary."""
        return self.directory / f"{device[0]}.db"

    async def __aenter__(self) -> Self:
        self.store = await SqliteSyncStore.open(self.directory / "store.db", Limits())
        self._stack.push_async_callback(self.store.close)
        self.database = await SqliteSyncDatabase.open(self.directory / "sync.db")
        self._stack.push_async_callback(self.database.close)
        self.user = await self.database.ensure_user("ada")
        primary = PrimaryEngine("desk", "ada", tuple(ADAPTERS), self.limits)
        node = self._nodes[PRIMARY] = Node(primary, self.limits, self._clock)
        source = SqliteSource(self.source, self.tables, self.limits)
        self._stack.push_async_callback(source.close)
        node.ports.database = self.database
        node.ports.store, node.ports.sources = self.store, {COLLECTION: source}
        self.uploads = await SqliteUploadQueue.open(self.directory / "uploads.db", restore_upload)
        self._stack.push_async_callback(self.uploads.close)
        writer = SqliteWriter(self.source, self.limits, source.hand_over)
        self._stack.push_async_callback(writer.close)
        node.ports.uploads, node.ports.writers = self.uploads, {COLLECTION: writer}
        node.effects += primary.set_terms(COLLECTION, self.direction, Policy.PRIMARY)
        node.effects += primary.share(COLLECTION)
        for device, name in self.devices.items():
            await self._add(device, name)
        primary.users = await self.database.users_of_all()
        return self

    async def _add(self, device: str, name: str) -> None:
        paired = Device(device, device[:4], "auxiliary", device.encode(), DEFAULT, (), 1, 0)
        first, *others = [await self.database.ensure_user(user) for user in self._users.get(device, ("ada",))]
        await self.database.link(first, paired)
        for user in others:
            await self.database.link_user(user, device)
        engine = AuxiliaryEngine(device[:4], name, self.limits)
        node = self._nodes[device] = Node(engine, self.limits, self._clock)
        queue = await SqliteInboundQueue.open(self.directory / f"{device[0]}-inbound.db", restore)
        self._stack.push_async_callback(queue.close)
        edits = self.direction is not Direction.OUT
        target = SqliteTarget(self.target(device), COLLECTION, False, False, self.limits, captures=edits)
        self._stack.push_async_callback(target.close)
        node.ports.inbound, node.ports.targets = queue, {COLLECTION: target}
        if edits:
            outbox = await SqliteOutbox.open(self.directory / f"{device[0]}-outbox.db")
            self._stack.push_async_callback(outbox.close)
            node.ports.outbox, node.ports.locals = outbox, {COLLECTION: target}
        node.effects += engine.accept(COLLECTION, self._clock[0], edits=edits)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def link(self, device: str) -> None:
        """The auxiliary and the primary meet."""
        for here, there in ((PRIMARY, device), (device, PRIMARY)):
            self._nodes[here].adapters[there] = adapter("msgpack")
            self._take(here, ev.LinkUp(there))
        await self.settle()

    async def unlink(self, device: str) -> None:
        """The link breaks; what was on it is lost."""
        self._wire = deque(one for one in self._wire if device not in one[:2])
        for here, there in ((PRIMARY, device), (device, PRIMARY)):
            self._take(here, ev.LinkDown(there, "torn"))
        await self.settle()

    def engine(self, device: str) -> AuxiliaryEngine:
        engine = self._nodes[device].engine
        assert isinstance(engine, AuxiliaryEngine)
        return engine

    @property
    def primary(self) -> PrimaryEngine:
        engine = self._nodes[PRIMARY].engine
        assert isinstance(engine, PrimaryEngine)
        return engine

    def objects(self, device: str) -> list[Objects]:
        """The frames of Objects that were sent to a device, as generic messages again."""
        found: list[Objects] = []
        for _, receiver, frame in self.sent:
            if receiver == device:
                message = self._decode(frame)
                if isinstance(message, Objects):
                    found.append(message)
        return found

    def _decode(self, frame: bytes | str) -> Wire:
        return adapter("json" if isinstance(frame, str) else "msgpack").decode(frame, self.limits)

    async def commit(self, *statements: str) -> None:
        """One transaction of the primary's application, and all that follows from it."""
        execute(self.source, *statements)
        self._look_at_source()
        await self.settle()

    async def edit(self, device: str, *statements: str) -> None:
        """One transaction of an auxiliary's application, and all that follows from it, on all devices."""
        execute(self.target(device), *statements)
        node = self._nodes[device]
        if node.waits is not None:
            effect, node.waits = node.waits, None
            event = await perform(node.ports, effect)
            assert event is not None
            self._take(device, event)
        await self.settle()
        await self._wake_source()

    async def _wake_source(self) -> None:
        """What came up is in the primary's application, if that can be reached."""
        if self.primary.sources[COLLECTION].phase is SourcePhase.WAITING:
            self._look_at_source()
            await self.settle()

    def _look_at_source(self) -> None:
        """What it waits for is there."""
        state = self.primary.sources[COLLECTION].state
        assert state is not None
        self._nodes[PRIMARY].effects.append(fx.ReadSource(COLLECTION, state.mark))

    def outbox(self, device: str) -> Outbox:
        return self._nodes[device].ports.edits

    async def pass_time(self, seconds: float) -> None:
        self._clock[0] += seconds
        for device in self._nodes:
            self._take(device, ev.Tick())
        await self.settle()
        await self._wake_source()

    async def settle(self) -> None:
        """Until nobody has anything to do."""
        for _ in range(STEPS_MAX):
            worked = False
            for device, node in self._nodes.items():
                if node.effects:
                    worked = True
                    await self._perform(device, node, node.effects.popleft())
            if self._wire:
                worked = True
                sender, receiver, frame = self._wire.popleft()
                message = self._nodes[receiver].adapters[sender].decode(frame, self.limits)
                raw = frame.encode() if isinstance(frame, str) else frame
                self._take(receiver, ev.Received(sender, message, raw))
            if not worked:
                return
        raise AssertionError("the chain never comes to rest")

    def _take(self, device: str, event: ev.Event) -> None:
        node = self._nodes[device]
        for effect in node.engine.step(event, self._clock[0]):
            match effect:
                case fx.Send(peer, message):
                    self._send(device, peer, node.adapters[peer].encode(message))
                case fx.SendFrame(peer, frame):
                    self._send(device, peer, frame)
                case fx.UseAdapter(peer, name):
                    node.adapters[peer] = adapter(name)
                case fx.CloseLink(_, code, text):
                    raise AssertionError(f"{device[0]} closes a link: {code} {text}")
                case fx.SaveReport():
                    pass
                case _:
                    node.effects.append(effect)

    def _send(self, sender: str, receiver: str, frame: bytes | str) -> None:
        self.sent.append((sender, receiver, frame))
        self._wire.append((sender, receiver, frame))

    async def _perform(self, device: str, node: Node, effect: fx.Effect) -> None:
        match effect:
            case fx.WaitSource():
                return  # ``commit`` wakes it
            case WaitLocal():
                node.waits = effect  # ``edit`` ends it
                return
            case fx.Stage():
                event: ev.Event | None = await stage(node.ports, [effect])
            case StageUpload():
                event = await stage_uploads(node.ports, [effect])
            case _:
                event = await perform(node.ports, effect)
        if event is not None:
            self._take(device, event)
