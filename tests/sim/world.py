"""A world in memory: one primary and several auxiliaries (``daemon.py``) on links that break (``network.py``).

Two users share the primary: ada has the collection that the rules are held against, bob another one. Each device is
linked with some of them, and accepts both collections whosever it is (R9).

Everything that happens is chosen by one seeded generator. ``World.work`` does one thing; an observer is told of it.
"""

from __future__ import annotations

import itertools
import random
from collections import deque
from dataclasses import replace

from syncd.adapters.registry import ADAPTERS
from syncd.applications.memory import MemorySource
from syncd.core import effects as fx
from syncd.core import events as ev
from syncd.core.auxiliary_engine import AuxiliaryEngine
from syncd.core.conversation import Phase
from syncd.core.messages import Credit, Objects, Report
from syncd.core.messages import Wire as Message
from syncd.core.model import DataType
from syncd.core.primary_engine import PrimaryEngine
from syncd.core.settings import Limits
from syncd.core.target_state import Target
from syncd.outside import FrameCache, Ports
from syncd.store.memory import MemorySyncStore
from syncd.store.memory_inbound_queue import MemoryInboundQueue
from syncd.store.memory_sync_database import MemorySyncDatabase
from syncd.store.memory_uploads import MemoryUploadQueue
from tests.sim.contents import COLLECTION
from tests.sim.daemon import Node, Observer, approve_held, received
from tests.sim.history import Mine
from tests.sim.invariants import r6_once, r6_repeat
from tests.sim.network import PRIMARY, Crashed, Frame, Port, Wire, finish
from tests.sim.power import PoweredTarget

OTHER = "vault"  # bob's
OWNERS = {COLLECTION: "ada", OTHER: "bob"}
OTHER_TYPES = (DataType(0, "secret", ("id",), ("name",)),)
LINKS: tuple[tuple[str, ...], ...] = (("ada",), ("ada",), ("ada", "bob"), ("bob", "ada"), ("bob",))
_KEPT = 12  # frames of a device that may come again


class World:
    """``log`` says what happened, newest last, for a failure's report. ``captured``: the application of the first
    auxiliary as a source, which sees what is written there (R12). ``users``: those that each device is linked with."""

    def __init__(self, seed: int, auxiliaries: int, limits: Limits, source: MemorySource) -> None:
        self.rng = random.Random(seed)
        self.limits = limits
        self.now = 1000.0
        self.log: deque[str] = deque(maxlen=60)
        self.observer = Observer()
        self.source = source
        self.sources = {COLLECTION: source, OTHER: MemorySource(OTHER_TYPES)}
        self.keys: dict[str, set[bytes]] = {COLLECTION: set(), OTHER: set()}  # all that there ever were
        epochs = itertools.count(1)
        self.store = MemorySyncStore(lambda: f"epoch{next(epochs)}", limits)
        self.captured = MemorySource(source.types)
        self.devices = [chr(ord("A") + number) * 52 for number in range(auxiliaries)]
        self.targets = {
            device: PoweredTarget(captured=None if number else self.captured)
            for number, device in enumerate(self.devices)
        }
        self.others = {device: PoweredTarget() for device in self.devices}
        self.users: dict[str, tuple[str, ...]] = {device: self.rng.choice(LINKS) for device in self.devices}
        self.queues = {device: MemoryInboundQueue() for device in self.devices}
        self.came: dict[str, deque[tuple[Objects, Frame]]] = {one: deque(maxlen=_KEPT) for one in self.devices}
        self.spoken: dict[str, Message] = {}
        self.nodes: dict[str, Node] = {}

    def note(self, text: str) -> None:
        self.log.append(f"{self.now:9.2f} {text}")

    # ------------------------------------------------------------ daemons

    def start(self) -> None:
        self.start_primary()
        for device in self.devices:
            self.start_auxiliary(device)

    def _ports(self) -> Ports:
        ports = Ports(self.limits, ADAPTERS, lambda: self.now, lambda: int(self.now * 1e6))
        ports.database = MemorySyncDatabase()
        ports.cache = FrameCache(4096)
        return ports

    def start_primary(self) -> None:
        ports, heard = self._ports(), self.observer.primary_ports()
        ports.store, ports.sources[COLLECTION] = Port(self.store, heard), Port(self.source, heard)
        ports.sources[OTHER] = Port(self.sources[OTHER], {})
        ports.uploads = MemoryUploadQueue()
        engine = PrimaryEngine("desk", "ada", tuple(ADAPTERS), self.limits)
        engine.users = dict(self.users)
        node = self.nodes[PRIMARY] = Node(self, PRIMARY, engine, ports)
        for name, owner in OWNERS.items():
            node.order(engine.share(name, owner))

    def start_auxiliary(self, device: str) -> None:
        ports, heard = self._ports(), self.observer.auxiliary_ports(device)
        ports.inbound, ports.targets[COLLECTION] = Port(self.queues[device], heard), Port(self.targets[device], heard)
        ports.targets[OTHER] = Port(self.others[device], {})
        engine = AuxiliaryEngine(device[:4], "json" if device.startswith("B") else "msgpack", self.limits)
        node = self.nodes[device] = Node(self, device, engine, ports)
        for name in OWNERS:
            node.order(engine.accept(name, self.now))

    def crash(self, device: str) -> None:
        """At times its power is cut."""
        if device != PRIMARY and self.rng.random() < 0.5:
            self._cut_power(device)
        self.restart(device)

    def _cut_power(self, device: str) -> None:
        target = self.targets[device]
        gone = [one.cut_power(self.rng) for one in (target, self.others[device])]
        self.note(f"the power of {device[:4]} is cut: it is at {target.state.position}")
        if device == self.devices[0]:
            self.captured.rows = dict(target.rows)
        if any(gone):
            self.observer.fell_back(device)

    def restart(self, device: str) -> None:
        self.note(f"{device[:4]} crashes")
        for end in self.nodes[device].ends.values():
            end.wire.cut(self.rng)
        if device == PRIMARY:
            self.store.crash()
            self.start_primary()
        else:
            self.start_auxiliary(device)

    def target(self, device: str, collection: str = COLLECTION) -> Target:
        """What a device's engine knows."""
        engine = self.nodes[device].engine
        assert isinstance(engine, AuxiliaryEngine)
        return engine.targets[collection]

    @property
    def primary(self) -> PrimaryEngine:
        engine = self.nodes[PRIMARY].engine
        assert isinstance(engine, PrimaryEngine)
        return engine

    # ------------------------------------------------------------ users

    def relink(self, device: str, users: tuple[str, ...]) -> None:
        """A person links a device with other users."""
        self.note(f"{device[:4]} is linked with {users}")
        self.users[device] = users
        self.nodes[PRIMARY].order(self.primary.relink(device, users))

    def mine(self, device: str) -> Mine:
        """All that a device may be told of."""
        names = frozenset(name for name, owner in OWNERS.items() if owner in self.users[device])
        types = frozenset(one.name for name in names for one in self.sources[name].types)
        return Mine(self.users[device], names, types, frozenset().union(*(self.keys[name] for name in names)))

    # ------------------------------------------------------------ links

    def connect(self, device: str) -> None:
        """A device that has no link dials."""
        if PRIMARY not in self.nodes[device].ends:
            wire = Wire(device)
            self.spoken.pop(device, None)  # of another link
            self.nodes[PRIMARY].link(device, wire)
            self.nodes[device].link(PRIMARY, wire)

    def cut(self, device: str) -> None:
        if end := self.nodes[device].ends.get(PRIMARY):
            end.wire.cut(self.rng)

    def drop_all(self) -> None:
        """Nothing stays on the wire."""
        for node in self.nodes.values():
            for end in node.ends.values():
                end.wire.drop()

    def deliver(self, device: str) -> bool:
        """One frame of one direction arrives."""
        ways = [(PRIMARY, device), (device, PRIMARY)]
        if self.rng.random() < 0.5:
            ways.reverse()
        for receiver, sender in ways:
            end = self.nodes[receiver].ends.get(sender)
            if end is not None and end.wire.waits(receiver):
                self.nodes[receiver].hear(sender)
                return True
        return False

    def keep(self, device: str, message: Message, frame: Frame) -> None:
        """It may come again."""
        if isinstance(message, Objects) and message.collection == COLLECTION:
            self.came[device].append((message, frame))

    def repeat(self, device: str) -> None:
        """A frame that came before comes again, where the protocol calls it a repeat."""
        node, target = self.nodes[device], self.target(device)
        engine = node.engine
        assert isinstance(engine, AuxiliaryEngine)
        old = [
            (message, frame)
            for message, frame in self.came[device]
            if not target.begun or (message.first < target.received and message.last <= target.received)
            if target.types.keys() >= set(message.types)  # else it is of another epoch
        ]
        if PRIMARY not in node.ends or engine.phase is not Phase.OPEN or not old:
            return
        message, frame = self.rng.choice(old)
        self.observer.repeated()
        self.note(f"{device[:4]} hears ({message.first}, {message.last}] again")
        effects = engine.step(received(PRIMARY, message, frame), self.now)
        r6_repeat(f"a frame ({message.first}, {message.last}]", effects)
        r6_once("a frame", counted(target), counted(self.target(device)))
        node.order(effects)

    def say_again(self, device: str) -> None:
        """The last Report or Credit of a device comes to the primary again."""
        message, node = self.spoken.get(device), self.nodes[PRIMARY]
        if message is not None and device in node.ends and (device, COLLECTION) in self.primary.follows:
            effects = node.engine.step(ev.Received(device, message, b""), self.now)
            # Where it waits until all is published it may look once more.
            reads: list[fx.Effect] = [one for one in effects if isinstance(one, fx.ReadChunk)]
            r6_repeat(f"a {type(message).__name__}", [one for one in effects if one not in reads])
            node.order(reads)

    def speak(self, device: str, message: Message) -> None:
        if isinstance(message, Report | Credit) and message.collection == COLLECTION:
            self.spoken[device] = message
        else:
            self.spoken.pop(device, None)

    def prune(self, rng: random.Random) -> None:
        """Forgets tombstones and groups, too many of them at times: then devices need a snapshot (R5)."""
        passed = min(target.state.position for target in self.targets.values())
        state = finish(self.store.open_collection(COLLECTION))
        if rng.random() < 0.5 and state.head:
            passed = rng.randint(0, state.head)
        finish(self.store.prune(COLLECTION, passed, 0))
        self.note(f"pruned up to {passed}")
        self.nodes[PRIMARY].take(ev.StoreMoved(finish(self.store.open_collection(COLLECTION))))

    # ------------------------------------------------------------ one thing after the other

    def work(self, fuse: int = -1) -> bool:
        """One daemon performs one effect, or one frame arrives. False: nothing is left to do."""
        devices = list(self.nodes)
        self.rng.shuffle(devices)
        for device in devices:
            if self.rng.random() < 0.5 and device != PRIMARY and self.deliver(device):
                return True
            try:
                if self.nodes[device].perform_one(self.rng, fuse):
                    return True
            except Crashed:
                self.crash(device)
                return True
        return any(self.deliver(device) for device in devices if device != PRIMARY)

    def settle(self, steps: int = 20_000) -> None:
        """Faults end; the world runs until nothing is left to do."""
        for _ in range(200):
            for device in self.targets:
                self.connect(device)
            self.nodes[PRIMARY].wake()
            for name in self.sources:
                approve_held(self.nodes[PRIMARY].ports, name)
            for _ in range(steps):
                if not self.work():
                    break
            else:
                raise AssertionError("the daemons never come to rest")
            self.now += 5.0
            for node in self.nodes.values():
                node.take_tick()
            if self.at_rest():
                return
        raise AssertionError("the devices never agree")

    def at_rest(self) -> bool:
        """Each device holds what its users have."""
        held = {COLLECTION: self.targets, OTHER: self.others}
        return all(
            self.target(device, name).match and held[name][device].rows == self.sources[name].rows
            for device in self.devices
            for name in self.mine(device).collections
        )


def counted(target: Target) -> Target:
    """But for the bytes that came, which settle and are credited."""
    return replace(target, arrived_bytes=0, settled_bytes=0, credit_bytes=0)
