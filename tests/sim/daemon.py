"""A daemon in memory: the real engine on the real ``perform``, with twins of the ports, that can die at any point."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, replace
from typing import Any, Protocol

from syncd.adapters.registry import ADAPTERS
from syncd.core import effects as fx
from syncd.core import events as ev
from syncd.core.auxiliary_engine import AuxiliaryEngine
from syncd.core.messages import Wire as Message
from syncd.core.model import ObjectId
from syncd.core.ports import SyncStore
from syncd.core.primary_engine import PrimaryEngine
from syncd.core.settings import Limits
from syncd.core.upward_effects import StageUpload, WaitLocal
from syncd.outside import Ports
from syncd.perform import Inbound, Staging, perform, stage, together
from tests.sim.network import PRIMARY, Crashed, Frame, Heard, Port, Wire, finish


def approve_held(ports: Ports, name: str) -> int:
    """A person lets through what is held of a collection. Returns the number of the group, 0: nothing is."""
    store = ports.sync_store
    held = finish(store.open_collection(name)).held
    if held is None or not finish(store.release(name, held.number)):
        return 0
    ports.releasing.add(name)
    return held.number


def held_objects(store: SyncStore, name: str) -> set[ObjectId]:
    """Those of the held group of a collection."""
    names = {one.id: one.name for one in finish(store.open_collection(name)).types}
    return {ObjectId(names[one.type], one.key) for one in finish(store.held_objects(name, 1_000))}


class Observer:
    """Is told what happens in the world. This one does not listen."""

    def primary_ports(self) -> dict[str, Heard]:
        """What to do after a call of a port of the primary."""
        return {}

    def auxiliary_ports(self, device: str) -> dict[str, Heard]:
        return {}

    def port(self, device: str, name: str) -> dict[str, Heard]:
        """The same for a port of one name, where several have calls of the same name."""
        return {}

    def chunk(self, chunk: ev.ChunkRead) -> None:
        """The primary read and encoded changes."""

    def sent(self, sender: str, device: str, message: Message) -> None:
        """A daemon sends a message; ``device`` is the auxiliary's."""

    def leaves(self, device: str, message: Message) -> None:
        """The primary hands a message to a device's link."""

    def arrives(self, device: str, message: Message, frame: Frame) -> None:
        """A message is about to arrive at an auxiliary."""

    def repeated(self) -> None:
        """A frame comes again."""

    def asked(self, device: str, message: Message) -> None:
        """A message of an auxiliary is about to arrive at the primary."""

    def says(self, device: str, collection: str) -> None:
        """An auxiliary has a Report for its primary, which leaves once what it tells of is durable."""

    def fell_back(self, device: str) -> None:
        """The power of an auxiliary was cut, and what its disks hold is what it was at some time before."""


class Around(Protocol):
    """What a daemon needs of its world."""

    now: float
    rng: random.Random
    limits: Limits
    observer: Observer

    def note(self, text: str) -> None: ...

    def speak(self, device: str, message: Message) -> None: ...

    def keep(self, device: str, message: Message, frame: Frame) -> None: ...


@dataclass
class End:
    """A daemon's end of a link, with the adapter that it speaks."""

    wire: Wire
    adapter: str = "msgpack"


class Node:
    """A daemon that can die: its engine, its ends of links and what it was doing go, what its ports hold stays."""

    def __init__(self, world: Around, device: str, engine: PrimaryEngine | AuxiliaryEngine, ports: Ports) -> None:
        self.world = world
        self.device = device
        self.engine = engine
        self.ports = ports
        ports.limits = replace(ports.limits, source_wait_s_max=0.0)  # who waits is woken
        self.ends: dict[str, End] = {}
        self.pending: list[fx.Effect] = []
        self.woken: list[fx.Effect] = []
        self.inbound: deque[Inbound] = deque()
        self.slow: tuple[type[fx.Effect], ...] = ()  # effects that come to nothing for the time being
        upward = (ports.outbox, ports.uploads, *ports.locals.values(), *ports.writers.values())
        downward = (ports.store, ports.inbound, *ports.sources.values(), *ports.targets.values())
        self._fuses = [one for one in (*downward, *upward) if isinstance(one, Port)]

    def take(self, event: ev.Event) -> None:
        self.order(self.engine.step(event, self.world.now))

    def order(self, effects: list[fx.Effect]) -> None:
        for effect in effects:
            match effect:
                case fx.Send(device, message):
                    self._send(device, message)
                case fx.SendFrame(device, frame):
                    if end := self.ends.get(device):
                        self.world.observer.leaves(device, self._decode(end, frame))
                        end.wire.put(device, frame)
                case fx.UseAdapter(device, name):
                    if end := self.ends.get(device):
                        end.adapter = name
                case fx.CloseLink(device, code, text):
                    self.world.note(f"{self.device[:4]} closes: {code} {text}")
                    assert not code, f"a link was closed for {code}: {text}"
                    if end := self.ends.get(device):
                        end.wire.close(self.device, self.world.rng)
                case fx.SaveReport():
                    pass
                case fx.Stage() | fx.SaveTypes() | fx.BeginTransfer() | StageUpload():
                    self.inbound.append(effect)
                case _:
                    self.pending.append(effect)
        self._tell_of(effects)

    def _tell_of(self, effects: list[fx.Effect]) -> None:
        for effect in effects:
            if isinstance(effect, fx.SyncTarget):
                self.world.observer.says(self.device, effect.collection)

    # ------------------------------------------------------------ links

    def link(self, peer: str, wire: Wire) -> None:
        """A link stands; a newer one takes over."""
        if self.ends.pop(peer, None) is not None:
            self.take(ev.LinkDown(peer, "a newer link took over"))
        self.ends[peer] = End(wire)
        self.take(ev.LinkUp(peer))

    def hear(self, peer: str) -> None:
        """The next frame of a peer arrives, or the news that its link is down."""
        end = self.ends[peer]
        frame = end.wire.take(self.device)
        if frame is None:
            del self.ends[peer]
            self.take(ev.LinkDown(peer, "cut"))
            return
        message = self._decode(end, frame)
        if self.device == PRIMARY:
            self.world.speak(peer, message)
            self.world.observer.asked(peer, message)
        else:
            self.world.keep(self.device, message, frame)
            self.world.observer.arrives(self.device, message, frame)
        self.take(received(peer, message, frame))

    def _send(self, peer: str, message: Message) -> None:
        if end := self.ends.get(peer):
            self.world.observer.sent(self.device, end.wire.device, message)
            if self.device == PRIMARY:
                self.world.observer.leaves(peer, message)
            end.wire.put(peer, ADAPTERS[end.adapter].encode(message))

    def _decode(self, end: End, frame: Frame) -> Message:
        return ADAPTERS[end.adapter].decode(frame, self.world.limits)

    # ------------------------------------------------------------ effects

    def perform_one(self, rng: random.Random, fuse: int = -1) -> bool:
        """Performs one pending effect: the first of the inbound side, or any other. ``fuse``: after so many calls of a
        port it dies, at the latest when the effect is done and before the engine knows."""
        choices: list[str] = ["inbound"] * bool(self.inbound) + ["other"] * len(self._ready())
        if not choices:
            return False
        self._burn(fuse)
        try:
            event = self._perform_inbound(rng) if rng.choice(choices) == "inbound" else self._perform_other(rng)
        finally:
            self._burn(-1)
        if fuse >= 0:
            raise Crashed
        if event is not None:
            self.take(event)
        return True

    def _burn(self, left: int) -> None:
        for one in self._fuses:
            one.left = left

    def _perform_inbound(self, rng: random.Random) -> ev.Event | None:
        effect = self.inbound[0]
        if not isinstance(effect, fx.Stage | StageUpload):
            event = finish(perform(self.ports, effect))
            self.inbound.popleft()
            return event
        frames: list[Staging] = [effect]
        while len(frames) < rng.randint(1, 4) and len(self.inbound) > len(frames):
            following = self.inbound[len(frames)]
            if not together(following, effect):
                break
            frames.append(following)
        event = finish(stage(self.ports, frames))
        for _ in frames:
            self.inbound.popleft()
        return event

    def _ready(self) -> list[fx.Effect]:
        """Reads of the store run in order; a source is woken when it has something to tell. Reports are joined until
        time has passed."""
        reads: list[fx.Effect] = []
        reads += [effect for effect in self.pending if isinstance(effect, fx.ReadChunk)][:1]
        waits = (fx.ReadChunk, fx.WaitSource, WaitLocal, fx.JoinReports, *self.slow)
        return reads + [effect for effect in self.pending if not isinstance(effect, waits) or effect in self.woken]

    def _perform_other(self, rng: random.Random) -> ev.Event | None:
        effect = rng.choice(self._ready())
        self.pending.remove(effect)
        self.woken = [one for one in self.woken if one != effect]
        event = finish(perform(self.ports, effect))
        if isinstance(event, ev.ChunkRead):
            self.world.observer.chunk(event)
        return event

    def take_tick(self) -> None:
        self.woken = [one for one in self.pending if isinstance(one, fx.JoinReports) or one in self.woken]
        self.take(ev.Tick())

    def wake(self) -> None:
        self.woken = [one for one in self.pending if isinstance(one, WaitLocal) or one in self.woken]
        for effect in [effect for effect in self.pending if isinstance(effect, fx.WaitSource)]:
            self.pending.remove(effect)
            self.pending.append(fx.ReadSource(effect.collection, effect.mark))  # what it waits for is there


def received(peer: str, message: Message, frame: Frame) -> Any:
    return ev.Received(peer, message, frame.encode() if isinstance(frame, str) else frame)
