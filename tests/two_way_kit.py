"""A primary and its auxiliaries in one process, on the twins of all ports, whose users change the same collection.

``House.rest`` runs until nothing is left to do. Everything that is chosen is chosen by one seeded generator.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from syncd.adapters.canonical import pack_values, unpack_values
from syncd.adapters.references import referenced
from syncd.adapters.registry import ADAPTERS
from syncd.applications.memory import MemorySource
from syncd.applications.memory_target import MemoryTarget
from syncd.applications.memory_writer import MemoryWriter
from syncd.core.auxiliary_engine import AuxiliaryEngine
from syncd.core.edits import Conflict, Direction, EditGroup, Fact, Policy, RefusedGroup, Ruling, Written
from syncd.core.errors import ApplicationOffline
from syncd.core.messages import Objects, Upload
from syncd.core.messages import Wire as Message
from syncd.core.model import DataType, Kind, ObjectId, Reference
from syncd.core.primary_engine import PrimaryEngine
from syncd.core.selection import ALL, Selection, chooser
from syncd.core.settings import Limits
from syncd.core.target_state import Target
from syncd.core.uplink_state import Uplink
from syncd.outside import Ports
from syncd.store.memory import MemorySyncStore
from syncd.store.memory_inbound_queue import MemoryInboundQueue
from syncd.store.memory_outbox import MemoryOutbox
from syncd.store.memory_sync_database import MemorySyncDatabase
from syncd.store.memory_uploads import MemoryUploadQueue
from tests.sim.daemon import Node, Observer
from tests.sim.network import PRIMARY, Crashed, Frame, Port, Wire, finish

NAME = "notes"
TYPES = (
    DataType(0, "note", ("id",), ("title", "text"), references=(Reference(("title",), "tag"),)),
    DataType(0, "tag", ("id",), ("name",), references=(Reference(("name",), "tag"),)),
)
A, B, C = "A" * 52, "B" * 52, "C" * 52
LIMITS = Limits(
    scan_rows_max=3,
    hello_s_max=1e9,
    stalled_s=1e9,
    offline_retry_s_first=0.5,
    target_look_s=1e9,
    frame_bytes=400,
    credit_bytes=1,
)


def note(number: int) -> ObjectId:
    return ObjectId("note", pack_values([number]))


def text(title: str, body: str = "") -> bytes:
    return pack_values([title, body])


def taken(selection: Selection, rows: Mapping[ObjectId, bytes]) -> dict[ObjectId, bytes]:
    """The objects that a selection takes, with the fields that it takes, and what these reference."""
    types = tuple(replace(one, id=number) for number, one in enumerate(TYPES, 1))
    chosen, ids = chooser(selection, types), {one.name: one.id for one in types}
    values = {one: (unpack_values(one.key), unpack_values(fields)) for one, fields in rows.items()}
    queue = [one for one, (key, fields) in values.items() if chosen.takes(ids[one.type], key, fields)]
    found: set[ObjectId] = set()
    while queue:
        one = queue.pop()
        if one in rows and one not in found:
            found.add(one)
            key, fields = values[one]
            references = referenced(chosen.follows.get(ids[one.type], ()), (*key, *fields))
            queue += [ObjectId(types[to - 1].name, of) for to, of in references]
    return {
        one: pack_values(chosen.project(ids[one.type], fields)) for one, (_, fields) in values.items() if one in found
    }


class Ears(Observer):
    """``rows``: how many rows of objects left for each device; ``edits``: how many came from each; ``versions``: which
    those were, by device, outbox and number."""

    def __init__(self) -> None:
        self.rows: Counter[str] = Counter()
        self.edits: Counter[str] = Counter()
        self.versions: dict[tuple[str, str, int], dict[bytes, bytes | None]] = {}

    def leaves(self, device: str, message: Message) -> None:
        if isinstance(message, Objects):
            self.rows[device] += len(message)

    def asked(self, device: str, message: Message) -> None:
        if isinstance(message, Upload):
            self.edits[device] += len(message)
            at = 0
            for made in message.runs:
                group = self.versions.setdefault((device, message.outbox, made.number), {})
                for row in range(at, at + made.rows):
                    group[message.keys[row]] = None if message.kinds[row] == Kind.DELETE else message.fields[row]
                at += made.rows


class House:
    """``direction``, ``policy``: of the collection. ``merge``, ``keep``: devices that accepted it so."""

    def __init__(
        self,
        direction: Direction = Direction.BOTH,
        policy: Policy = Policy.PRIMARY,
        limits: Limits = LIMITS,
        seed: int = 1,
    ) -> None:
        self.rng = random.Random(seed)
        self.now = 1000.0
        self.limits = limits
        self.observer: Observer = Ears()
        self.log: deque[str] = deque(maxlen=80)
        self.terms = direction, policy
        self.selected: dict[str, Selection] = {}
        self.merge: set[str] = set()
        self.failing: dict[ObjectId, str] = {}
        self.offline_writer = False
        self.accepted: set[tuple[str, str, int]] = set()  # groups that were executed as they were sent
        self.keep_edits: set[str] = set()
        self.source = MemorySource(TYPES)
        self.epochs: list[str] = []  # all that the store ever had
        self.store = MemorySyncStore(self._epoch, limits)
        self.uploads = MemoryUploadQueue(limits)
        self.targets: dict[str, MemoryTarget] = {}
        self.queues: dict[str, MemoryInboundQueue] = {}
        self.outboxes: dict[str, MemoryOutbox] = {}
        self.nodes: dict[str, Node] = {}

    def _epoch(self) -> str:
        self.epochs.append(f"epoch{len(self.epochs) + 1}")
        return self.epochs[-1]

    @property
    def ears(self) -> Ears:
        assert isinstance(self.observer, Ears)
        return self.observer

    def note(self, text: str) -> None:
        self.log.append(f"{self.now:9.2f} {text}")

    def speak(self, device: str, message: Message) -> None:
        return

    def keep(self, device: str, message: Message, frame: Frame) -> None:
        return

    # ------------------------------------------------------------ daemons

    def new_target(self, rows: Mapping[ObjectId, bytes]) -> MemoryTarget:
        """One that holds objects of its own."""
        return MemoryTarget(replace=True, rows=rows, captures=True)

    def new_outbox(self, device: str) -> MemoryOutbox:
        identities = itertools.count(1)
        return MemoryOutbox(self.limits, lambda: f"{device[0]}{next(identities)}")

    def open(self, *devices: str) -> House:
        """All daemons run, are linked, and came to rest."""
        self.begin(*devices or (A, B))
        self.rest()
        return self

    def begin(self, *devices: str) -> None:
        """All daemons run."""
        for device in devices:
            self.targets.setdefault(device, MemoryTarget(captures=True))
            self.queues[device] = MemoryInboundQueue()
            self.outboxes[device] = self.new_outbox(device)
        self.start(PRIMARY)
        for device in self.targets:
            self.start(device)

    def start(self, device: str) -> None:
        ports = Ports(self.limits, ADAPTERS, lambda: self.now, lambda: int(self.now * 1e6))
        ports.database = MemorySyncDatabase()
        engine = self._primary(ports) if device == PRIMARY else self._auxiliary(device, ports)
        node = self.nodes[device] = Node(self, device, engine, ports)
        if isinstance(engine, PrimaryEngine):
            node.order(engine.set_terms(NAME, *self.terms))
            node.order(engine.set_selections(NAME, ALL, self.selected))
            node.order(engine.share(NAME))
        else:
            node.order(engine.accept(NAME, self.now, edits=True, keep_edits=device in self.keep_edits))

    def _primary(self, ports: Ports) -> PrimaryEngine:
        port = partial(self.observer.port, PRIMARY)
        ports.store, ports.uploads = Port(self.store, port("store")), Port(self.uploads, port("uploads"))
        ports.sources[NAME] = Port(self.source, port("source"))
        ports.writers[NAME] = Port(self._writer(), port("writer"))
        engine = PrimaryEngine("desk", "ada", tuple(ADAPTERS), self.limits)
        engine.users = dict.fromkeys(self.targets, ("ada",))
        return engine

    def _writer(self) -> MemoryWriter:
        house = self

        class Writer(MemoryWriter):
            """One that cannot write while ``House.offline_writer``."""

            async def write(
                self, groups: Sequence[EditGroup], policy: Policy | None, facts: Mapping[tuple[int, bytes], Fact]
            ) -> Sequence[Written]:
                if house.offline_writer:
                    raise ApplicationOffline("it is locked")
                written = await super().write(groups, policy, facts)
                done = [one for one in written if one.ruling is Ruling.ACCEPTED]
                house.accepted.update((one.device, one.outbox, one.number) for one in done)
                return written

        writer = Writer(self.source, ["note"])
        writer.failing = self.failing
        return writer

    def _auxiliary(self, device: str, ports: Ports) -> AuxiliaryEngine:
        port = partial(self.observer.port, device)
        ports.inbound, ports.outbox = Port(self.queues[device], {}), Port(self.outboxes[device], port("outbox"))
        ports.targets[NAME] = ports.locals[NAME] = Port(self.targets[device], port("target"))
        if device in self.merge:
            ports.merging.add(NAME)
        return AuxiliaryEngine(device[:4], "json" if device == B else "msgpack", self.limits)

    def crash(self, device: str) -> None:
        self.note(f"{device[:4]} crashes")
        for end in self.nodes[device].ends.values():
            end.wire.cut(self.rng)
        if device == PRIMARY:
            self.store.crash()
        self.start(device)

    # ------------------------------------------------------------ selections

    def select(self, device: str, selection: Selection | str) -> None:
        """A person says which objects a device takes."""
        made = Selection(selection) if isinstance(selection, str) else selection
        self.note(f"{device[0]} takes {made.canonical}")
        self.selected = {**self.selected, device: made}
        if PRIMARY in self.nodes:
            self.nodes[PRIMARY].order(self.primary.set_selections(NAME, ALL, self.selected))

    def chosen(self, device: str, rows: Mapping[ObjectId, bytes]) -> dict[ObjectId, bytes]:
        """Those that the device takes."""
        return taken(self.selected.get(device, ALL), rows)

    # ------------------------------------------------------------ links

    def connect(self, device: str) -> None:
        if PRIMARY not in self.nodes[device].ends:
            wire = Wire(device)
            self.nodes[PRIMARY].link(device, wire)
            self.nodes[device].link(PRIMARY, wire)

    def cut(self, device: str) -> None:
        if end := self.nodes[device].ends.get(PRIMARY):
            end.wire.cut(self.rng)

    def _deliver(self, device: str) -> bool:
        ways = [(PRIMARY, device), (device, PRIMARY)]
        self.rng.shuffle(ways)
        for receiver, sender in ways:
            end = self.nodes[receiver].ends.get(sender)
            if end is not None and end.wire.waits(receiver):
                self.nodes[receiver].hear(sender)
                return True
        return False

    # ------------------------------------------------------------ one thing after the other

    def work(self, fuse: int = -1, whose: str = "") -> bool:
        """One daemon performs one effect, or one frame arrives. ``fuse``: one of ``whose`` dies after so many calls."""
        devices = list(self.nodes)
        self.rng.shuffle(devices)
        for device in devices:
            if self.rng.random() < 0.5 and device != PRIMARY and self._deliver(device):
                return True
            try:
                if self.nodes[device].perform_one(self.rng, fuse if whose in ("", device) else -1):
                    return True
            except Crashed:
                self.crash(device)
                return True
        return any(self._deliver(device) for device in devices if device != PRIMARY)

    def run(self, steps: int = 20_000) -> None:
        """Until nothing is left to do at this time."""
        for _ in range(steps):
            if not self.work():
                return
        raise AssertionError("the daemons never come to rest")

    def wake(self) -> None:
        """All who wait look at what they wait for."""
        for node in self.nodes.values():
            node.wake()

    def tick(self) -> None:
        self.now += 2.0
        for node in self.nodes.values():
            node.take_tick()

    def rest(self, apart: tuple[str, ...] = (), rounds: int = 40) -> None:
        """Faults end; the house runs until nothing changes any more. ``apart``: devices without a link."""
        for _ in range(rounds):
            for device in self.targets:
                if device not in apart:
                    self.connect(device)
            before = self.held()
            self.wake()
            self.run()
            self.tick()
            self.run()
            if before == self.held() and all(self.quiet(one) for one in self.targets if one not in apart):
                return
        raise AssertionError("the devices never agree:\n" + "\n".join(self.log))

    def held(self) -> list[dict[ObjectId, bytes]]:
        return [dict(self.source.rows), *(dict(target.rows) for target in self.targets.values())]

    def quiet(self, device: str) -> bool:
        """It is proven identical, and nothing waits that could travel."""
        if self.terms[0] is Direction.IN:
            return not self.uplink(device).pending
        waits = self.uplink(device).pending and device not in self.keep_edits
        target, stored = self.target(device), self.primary.state_of(device, NAME)
        if target.state is None or stored is None or target.state.epoch != stored.epoch:
            return False
        return target.match and target.state.position >= stored.head and not waits

    # ------------------------------------------------------------ what there is

    def anyone(self) -> MemorySource | MemoryTarget:
        """The application of some device."""
        everyone: list[MemorySource | MemoryTarget] = [self.source, *self.targets.values()]
        return self.rng.choice(everyone)

    @property
    def primary(self) -> PrimaryEngine:
        engine = self.nodes[PRIMARY].engine
        assert isinstance(engine, PrimaryEngine)
        return engine

    def auxiliary(self, device: str) -> AuxiliaryEngine:
        engine = self.nodes[device].engine
        assert isinstance(engine, AuxiliaryEngine)
        return engine

    def target(self, device: str) -> Target:
        return self.auxiliary(device).targets[NAME]

    def uplink(self, device: str) -> Uplink:
        return self.auxiliary(device).uplinks[NAME]

    def refused(self, device: str) -> list[RefusedGroup]:
        return list(finish(self.outboxes[device].refused(NAME)))

    def conflicts(self) -> list[Conflict]:
        found = [finish(self.uploads.conflict(one.id)) for one in finish(self.uploads.conflicts(NAME, True))]
        return [one for one in found if one is not None]

    def kept(self) -> set[tuple[bytes, bytes | None]]:
        """Keys with each version of them that a person can have back: of the history, of conflicts, refused."""
        sides = [side for one in self.conflicts() for side in one.sides]
        found = {(side.object.key, version) for side in sides for version in (side.ours, side.theirs, side.result)}
        keys = {key for group in self.ears.versions.values() for key in group}
        for key in keys:
            found |= {(key, one.fields) for one in finish(self.store.history(NAME, 1, key, 1_000))}
        for device, outbox in self.outboxes.items():
            for group in self.refused(device):
                found |= {(edit.key, edit.fields) for edit in finish(outbox.edits(NAME, group.number))}
        return found

    def all_hold(self, rows: Mapping[ObjectId, bytes]) -> bool:
        return all(held == dict(rows) for held in self.held())
