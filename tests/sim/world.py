"""A world in memory: one primary and several auxiliaries, each the real engine on the real ``perform`` with twins of
the ports; links that break; daemons that crash between any two effects, or inside one between any two calls of a port.

Everything that happens is chosen by one seeded generator. ``World.step`` does one thing; the invariants are looked at
after each.
"""

from __future__ import annotations

import itertools
import random
from collections import deque
from collections.abc import Awaitable, Coroutine
from typing import Any, TypeVar

from syncd.adapters.registry import ADAPTERS
from syncd.applications.memory import MemorySource, MemoryTarget
from syncd.core import effects as fx
from syncd.core import events as ev
from syncd.core.auxiliary_engine import AuxiliaryEngine
from syncd.core.primary_engine import PrimaryEngine
from syncd.core.settings import Limits
from syncd.perform import FrameCache, Ports, perform, stage
from syncd.store.memory import MemorySyncStore
from syncd.store.memory_inbound_queue import MemoryInboundQueue
from syncd.store.memory_sync_database import MemorySyncDatabase

Result = TypeVar("Result")
COLLECTION = "things"
PRIMARY = "P" * 52


class Crashed(Exception):
    """The daemon died inside an effect."""


class Fuse:
    """Stands before a port and blows after some calls."""

    def __init__(self, port: object) -> None:
        self._port = port
        self.left = -1

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._port, name)
        if not callable(attribute):
            return attribute

        def call(*args: Any) -> Any:
            if self.left == 0:
                raise Crashed
            self.left -= self.left > 0
            return attribute(*args)

        return call


def finish(work: Coroutine[Any, Any, Result] | Awaitable[Result]) -> Result:
    """Runs a coroutine that never really waits."""
    coroutine = work.__await__()
    try:
        next(coroutine)
    except StopIteration as stop:
        result: Result = stop.value
        return result
    raise AssertionError("a twin in memory waited")


class Wire:
    """One link of an auxiliary: frames in order, both ways, until it breaks."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.down: deque[bytes | str] = deque()  # to the auxiliary
        self.up: deque[bytes | str] = deque()
        self.adapter_up = self.adapter_down = "msgpack"


class Node:
    """A daemon that can die: its engine and what it was doing go, what its ports hold stays."""

    def __init__(self, world: World, device: str) -> None:
        self.world = world
        self.device = device
        self.pending: list[fx.Effect] = []
        self.inbound: deque[fx.SaveTypes | fx.BeginTransfer | fx.Stage] = deque()
        self.ports: Ports
        self.fuses: list[Fuse] = []
        self.engine: PrimaryEngine | AuxiliaryEngine

    def take(self, event: ev.Event) -> None:
        self.order(self.engine.step(event, self.world.now))

    def order(self, effects: list[fx.Effect]) -> None:
        for effect in effects:
            match effect:
                case fx.Send(device, message):
                    self._send(device, message)
                case fx.SendFrame(device, frame):
                    if wire := self.world.wire_of(self.device, device):
                        wire.down.append(frame)
                case fx.UseAdapter(device, name):
                    if wire := self.world.wire_of(self.device, device):
                        if self.device == PRIMARY:
                            wire.adapter_down = name
                        else:
                            wire.adapter_up = name
                case fx.CloseLink(device, code, text):
                    self.world.note(f"{self.device[:4]} closes: {code} {text}")
                    assert not code, f"a link was closed for {code}: {text}"
                    self.world.cut(device if self.device == PRIMARY else self.device)
                case fx.SaveReport():
                    pass
                case fx.Stage() | fx.SaveTypes() | fx.BeginTransfer():
                    self.inbound.append(effect)
                case _:
                    self.pending.append(effect)

    def _send(self, device: str, message: Any) -> None:
        wire = self.world.wire_of(self.device, device)
        if wire is None:
            return
        if self.device == PRIMARY:
            wire.down.append(ADAPTERS[wire.adapter_down].encode(message))
        else:
            wire.up.append(ADAPTERS[wire.adapter_up].encode(message))

    def perform_one(self, rng: random.Random, fuse: int = -1) -> bool:
        """Performs one pending effect: the first of the inbound side, or any other. ``fuse``: calls until it dies."""
        choices: list[str] = ["inbound"] * bool(self.inbound) + ["other"] * len(self._ready())
        if not choices:
            return False
        for one in self.fuses:
            one.left = fuse
        try:
            event = self._perform_inbound(rng) if rng.choice(choices) == "inbound" else self._perform_other(rng)
        finally:
            for one in self.fuses:
                one.left = -1
        if event is not None:
            self.take(event)
        return True

    def _perform_inbound(self, rng: random.Random) -> ev.Event | None:
        effect = self.inbound[0]
        if not isinstance(effect, fx.Stage):
            event = finish(perform(self.ports, effect))
            self.inbound.popleft()
            return event
        frames = [effect]
        while len(frames) < rng.randint(1, 4) and len(self.inbound) > len(frames):
            following = self.inbound[len(frames)]
            if not isinstance(following, fx.Stage):
                break
            frames.append(following)
        event = finish(stage(self.ports, frames))
        for _ in frames:
            self.inbound.popleft()
        return event

    def _ready(self) -> list[fx.Effect]:
        """Reads of the store run in order; a source is woken when it has something to tell."""
        reads: list[fx.Effect] = []
        reads += [effect for effect in self.pending if isinstance(effect, fx.ReadChunk)][:1]
        return reads + [effect for effect in self.pending if not isinstance(effect, fx.ReadChunk | fx.WaitSource)]

    def _perform_other(self, rng: random.Random) -> ev.Event | None:
        effect = rng.choice(self._ready())
        self.pending.remove(effect)
        return finish(perform(self.ports, effect))

    def take_tick(self) -> None:
        self.take(ev.Tick())

    def wake(self) -> None:
        waits = [effect for effect in self.pending if isinstance(effect, fx.WaitSource)]
        for effect in waits:
            self.pending.remove(effect)
            self.take(ev.SourceWoken(effect.collection))


class World:
    """``log`` says what happened, newest last, for a failure's report."""

    def __init__(self, seed: int, auxiliaries: int, limits: Limits, source: MemorySource) -> None:
        self.rng = random.Random(seed)
        self.limits = limits
        self.now = 1000.0
        self.log: deque[str] = deque(maxlen=60)
        self.source = source
        epochs = itertools.count(1)
        self.store = MemorySyncStore(lambda: f"epoch{next(epochs)}", limits)
        self.wires: dict[str, Wire] = {}
        self.nodes: dict[str, Node] = {}
        self.targets: dict[str, MemoryTarget] = {}
        self.queues: dict[str, MemoryInboundQueue] = {}
        self.start_primary()
        for number in range(auxiliaries):
            device = chr(ord("A") + number) * 52
            self.targets[device] = MemoryTarget()
            self.queues[device] = MemoryInboundQueue()
            self.start_auxiliary(device)

    def note(self, text: str) -> None:
        self.log.append(f"{self.now:9.2f} {text}")

    # ------------------------------------------------------------ daemons

    def _ports(self, node: Node) -> Ports:
        ports = Ports(self.limits, ADAPTERS, lambda: self.now, lambda: int(self.now * 1e6))
        ports.database = MemorySyncDatabase()
        ports.cache = FrameCache(4096)
        return ports

    def start_primary(self) -> None:
        node = Node(self, PRIMARY)
        store, source = Fuse(self.store), Fuse(self.source)
        node.fuses = [store, source]
        node.ports = self._ports(node)
        node.ports.store = store
        node.ports.sources[COLLECTION] = source
        node.engine = PrimaryEngine("desk", "ada", tuple(ADAPTERS), self.limits)
        self.nodes[PRIMARY] = node
        node.order(node.engine.share(COLLECTION))

    def start_auxiliary(self, device: str) -> None:
        node = Node(self, device)
        queue, target = Fuse(self.queues[device]), Fuse(self.targets[device])
        node.fuses = [queue, target]
        node.ports = self._ports(node)
        node.ports.inbound = queue
        node.ports.targets[COLLECTION] = target
        adapter = "json" if device.startswith("B") else "msgpack"
        engine = node.engine = AuxiliaryEngine(device[:4], adapter, self.limits)
        self.nodes[device] = node
        node.order(engine.accept(COLLECTION, self.now))

    def crash(self, device: str) -> None:
        self.note(f"{device[:4]} crashes")
        for other in list(self.wires):
            if device in (PRIMARY, other):
                self.cut(other, but=device)
        if device == PRIMARY:
            self.store.crash()
            self.start_primary()
        else:
            self.start_auxiliary(device)

    # ------------------------------------------------------------ links

    def wire_of(self, sender: str, device: str) -> Wire | None:
        return self.wires.get(device if sender == PRIMARY else sender)

    def connect(self, device: str) -> None:
        if device in self.wires:
            return
        self.wires[device] = Wire(device)
        self.nodes[PRIMARY].take(ev.LinkUp(device))
        self.nodes[device].take(ev.LinkUp(PRIMARY))

    def cut(self, device: str, but: str = "") -> None:
        """The link breaks; what was on it is lost. ``but``: this end is dead and hears nothing."""
        if self.wires.pop(device, None) is None:
            return
        if but != PRIMARY:
            self.nodes[PRIMARY].take(ev.LinkDown(device, "cut"))
        if but != device:
            self.nodes[device].take(ev.LinkDown(PRIMARY, "cut"))

    def deliver(self, device: str) -> bool:
        """One frame of one direction arrives."""
        wire = self.wires.get(device)
        if wire is None or not (wire.up or wire.down):
            return False
        if wire.up and (not wire.down or self.rng.random() < 0.5):
            frame, receiver, sender, name = wire.up.popleft(), PRIMARY, device, wire.adapter_down
        else:
            frame, receiver, sender, name = wire.down.popleft(), device, PRIMARY, wire.adapter_up
        message = ADAPTERS[name].decode(frame, self.limits)
        raw = frame.encode() if isinstance(frame, str) else frame
        self.nodes[receiver].take(ev.Received(sender, message, raw))
        return True

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
            for _ in range(steps):
                if not self.work():
                    break
            else:
                raise AssertionError("the daemons never come to rest")
            self.now += 5.0
            for node in self.nodes.values():
                node.take(ev.Tick())
            if self.at_rest():
                return
        raise AssertionError("the devices never agree")

    def at_rest(self) -> bool:
        engines = [self.nodes[device].engine for device in self.targets]
        return all(
            isinstance(engine, AuxiliaryEngine)
            and engine.targets[COLLECTION].match
            and engine.targets[COLLECTION].state is not None
            and self.targets[device].rows == self.source.rows
            for device, engine in zip(self.targets, engines, strict=True)
        )
