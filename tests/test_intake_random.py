"""Uploads of devices go the short road and the long one, in any order of what is performed and what is heard of it, on
links that break, past a writer, a disk and a daemon that fail: each group is executed once, in its turn, and has the
one verdict (R6, R7, R15)."""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pytest

from syncd.adapters.canonical import pack_values
from syncd.adapters.registry import ADAPTERS
from syncd.applications.memory import MemorySource
from syncd.applications.memory_writer import MemoryWriter
from syncd.core import intake as intakes
from syncd.core.edits import EditGroup, Fact, Policy, Written
from syncd.core.effects import CloseLink, Effect, Send
from syncd.core.errors import ApplicationOffline, DiskFull
from syncd.core.events import Event, Tick
from syncd.core.intake_state import Frame, Ground, Intake
from syncd.core.messages import Made, Offer, Taken, Upload, Verdict, Verdicts
from syncd.core.model import Kind
from syncd.core.settings import Limits
from syncd.core.upward_effects import StageUpload, WriteNow
from syncd.outside import Ports
from syncd.perform import perform, stage
from syncd.store.memory_uploads import MemoryUploadQueue
from tests.core.kit import store_state
from tests.sim.network import finish
from tests.two_way_kit import NAME, TYPES, A, B

LIMITS = Limits(
    upload_window_bytes_max=600,
    upload_direct_bytes_max=100,
    unstaged_bytes_max=300,
    upload_bytes_max=900,
    uploads_together_max=4,
    written_max=6,
    verdicts_max=3,
    offline_retry_s_first=0.1,
    offline_retry_s_max=1.0,
)
FRAME_BYTES = 300  # at most
Name = tuple[str, str, int]


class Queue(MemoryUploadQueue):
    """One whose disk is full now and then. After frames that it did not keep it keeps none before those come again."""

    full = False

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self._missing: dict[tuple[str, str], tuple[int, bytes]] = {}

    async def stage(self, device: str, uploads: Sequence[tuple[Upload, bytes]], now_us: int) -> int:
        first = uploads[0][0]
        name, begins = (device, first.outbox), (first.runs[0].number, first.keys[0])
        whole = await self.received(device, NAME, first.outbox)
        due = self._missing.get(name, begins)
        due = begins if due[0] <= whole else due
        if self.full or begins > due:
            self._missing[name] = due
            raise DiskFull("no room in the home")
        self._missing.pop(name, None)
        return await super().stage(device, uploads, now_us)

    async def settle(
        self, collection: str, written: Sequence[Written], seq: int, policy: str, now_us: int
    ) -> Mapping[str, tuple[Verdict, ...]]:
        if self.full:
            raise DiskFull("no room in the home")
        return await super().settle(collection, written, seq, policy, now_us)


class Writer(MemoryWriter):
    """Tells which groups it executes, in their order."""

    def __init__(self, house: Primary) -> None:
        super().__init__(house.source)
        self._house = house

    async def write(
        self, groups: Sequence[EditGroup], policy: Policy | None, facts: Mapping[tuple[int, bytes], Fact]
    ) -> Sequence[Written]:
        if self._house.locked:
            raise ApplicationOffline("it is locked")
        return await super().write(groups, policy, facts)

    def _group(self, group: EditGroup, policy: Policy | None, facts: Mapping[tuple[int, bytes], Fact]) -> Written:
        self._house.executed.append((group.device, group.outbox, group.number))
        assert len(group.edits) == self._house.rows[group.device, group.outbox, group.number], "all of it"
        return super()._group(group, policy, facts)


class Device:
    """Sends its groups as the protocol says. ``up``, ``down``: what is on the way on its link."""

    def __init__(self, name: str) -> None:
        self.name, self.outbox, self.outboxes = name, f"{name[0]}1", 1
        self.waits: dict[int, int] = {}  # number -> rows
        self.last = self.sent = self.sent_bytes = self.received_bytes = 0
        self.linked = self.answered = False
        self.up: deque[Offer | Upload] = deque()
        self.down: deque[Taken | Verdicts] = deque()
        self.told: dict[Name, Verdict] = {}

    def offer(self) -> None:
        self.answered = False
        self.up.append(Offer(NAME, self.outbox, min(self.waits, default=self.last + 1), self.last))

    def renumber(self) -> None:
        """It becomes another outbox: what waits has other numbers."""
        self.outboxes += 1
        self.outbox, rows = f"{self.name[0]}{self.outboxes}", list(self.waits.values())
        self.waits, self.last = dict(enumerate(rows, 1)), len(rows)
        if self.linked:
            gone = [one for one in self.up if isinstance(one, Upload)]  # so that none follows the offer
            self.sent_bytes -= sum(len(raw(one)) for one in gone)
            self.up.clear()
            self.offer()

    def hears(self, message: Taken | Verdicts) -> None:
        if message.outbox != self.outbox:
            return
        if isinstance(message, Verdicts):
            for verdict in message.verdicts:
                known = self.told.setdefault((self.name, self.outbox, verdict.number), verdict)
                assert known.ruling == verdict.ruling, "it was told otherwise"
                self.waits.pop(verdict.number, None)
            return
        assert message.number <= self.last
        assert message.received_bytes <= self.sent_bytes
        self.received_bytes = max(self.received_bytes, message.received_bytes)
        if not self.answered:
            self.answered, self.sent = True, message.number

    def send(self, frames: Callable[[Device, int], list[Upload]]) -> None:
        due = [number for number in sorted(self.waits) if number > self.sent]
        if not (self.linked and self.answered and due):
            return
        if self.sent_bytes - self.received_bytes >= LIMITS.upload_window_bytes_max:
            return
        made = frames(self, due[0])
        self.sent = made[-1].runs[-1].number
        self.sent_bytes += sum(len(raw(one)) for one in made)
        self.up.extend(made)


def raw(upload: Upload) -> bytes:
    return b"." * (30 * len(upload))


class Primary:
    """An intake on the twins of its ports. ``ordered``: effects to be performed; ``heard``: events to be told of."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.now = 100.0
        self.locked = False
        self.source, self.queue = MemorySource(TYPES), Queue(LIMITS)
        finish(self.source.number([replace(one, id=id_) for id_, one in enumerate(TYPES, 1)]))
        self.devices = {one: Device(one) for one in (A, B)}
        self.executed: list[Name] = []
        self.rows: dict[Name, int] = {}
        self.met: Counter[str] = Counter()
        self.begin()

    def begin(self) -> None:
        """The daemon begins, with what is durable."""
        self.intake, self.mark = Intake(NAME, LIMITS), 0
        self.ordered: list[Effect] = []
        self.staging: deque[StageUpload] = deque()
        self.heard: deque[Event] = deque()
        self.ports = Ports(LIMITS, ADAPTERS, lambda: self.now, lambda: int(self.now * 1e6))
        self.ports.uploads, self.ports.writers[NAME] = self.queue, Writer(self)
        for device in self.devices.values():
            self.cut(device)

    @property
    def ground(self) -> Ground:
        state = None if self.mark < 0 else store_state(20 + self.mark, mark=self.mark)
        return Ground(frozenset(), Policy.AUXILIARY, frozenset(self.devices), state, True)

    def takes(self, step: tuple[Intake, list[Effect]]) -> None:
        self.intake, effects = step
        for effect in effects:
            match effect:
                case Send(device, Taken() | Verdicts() as message):
                    self.devices[device].down.append(message)
                case StageUpload():
                    self.staging.append(effect)
                case CloseLink(device):
                    self.cut(self.devices[device])
                case _:
                    self.met[type(effect).__name__] += 1
                    self.met["joined"] += isinstance(effect, WriteNow) and len(effect.frames) > 1
                    self.ordered.append(effect)

    # ------------------------------------------------------------ links

    def connect(self, device: Device) -> None:
        if not device.linked:
            device.linked = True
            device.offer()

    def cut(self, device: Device) -> None:
        """What is on its way may arrive yet, or not."""
        self.intake = intakes.link_down(self.intake, device.name)
        device.linked = device.answered = False
        device.sent_bytes = device.received_bytes = 0
        device.up.clear()
        device.down.clear()

    def deliver(self, device: Device) -> None:
        if device.up and self.rng.random() < 0.7:
            message = device.up.popleft()
            if isinstance(message, Offer):
                self.takes(intakes.offered(self.intake, device.name, message))
            elif device.name in self.intake.senders and message.outbox == device.outbox:
                frame = Frame(device.name, message, raw(message))
                self.takes(intakes.uploaded(self.intake, frame, self.ground))
        elif device.down:
            device.hears(device.down.popleft())

    def edit(self, device: Device) -> None:
        device.last += self.rng.choice((1, 1, 1, 2))
        device.waits[device.last] = self.rng.choice((1, 1, 1, 2, 5))

    def frames(self, device: Device, number: int) -> list[Upload]:
        """The next group or the next few, in one frame or, one of many rows, in two."""
        count = device.waits[number]
        self.rows.update({(device.name, device.outbox, one): rows for one, rows in device.waits.items()})
        if count > 3 and self.rng.random() < 0.5:
            return [upload(device.outbox, {number: (0, 2)}, cut=True), upload(device.outbox, {number: (2, count)})]
        due = [one for one in sorted(device.waits) if one >= number]
        return [upload(device.outbox, {one: (0, device.waits[one]) for one in due[: self.rng.choice((1, 1, 2))]})]

    # ------------------------------------------------------------ what is performed

    def perform(self) -> None:
        if self.staging and (not self.ordered or self.rng.random() < 0.5):
            frames = [self.staging.popleft()]
            while self.staging and self.rng.random() < 0.5 and _stream(self.staging[0]) == _stream(frames[0]):
                frames.append(self.staging.popleft())
            self.heard.append(finish(stage(self.ports, frames)))
        elif self.ordered:
            effect = self.ordered.pop(self.rng.randrange(len(self.ordered)))
            event = finish(perform(self.ports, effect))
            assert event is not None
            self.heard.append(event)

    def hear(self) -> None:
        if self.heard:
            self.takes(intakes.step(self.intake, self.heard.popleft(), self.ground, self.now))

    def publish(self) -> None:
        if self.mark >= 0:
            self.mark = self.source.end_mark()
            self.takes(intakes.proceed(self.intake, self.ground, self.now))

    def tick(self) -> None:
        self.now += 1.0
        self.takes(intakes.step(self.intake, Tick(), self.ground, self.now))

    def away(self) -> None:
        """The source is offline, or there again."""
        self.mark = -1 if self.mark >= 0 else 0

    def lose(self) -> None:
        self.takes(intakes.lost(self.intake))

    def lock(self) -> None:
        self.locked = not self.locked

    def fill(self) -> None:
        self.queue.full = not self.queue.full


def upload(outbox: str, groups: Mapping[int, tuple[int, int]], cut: bool = False) -> Upload:
    """``groups``: number -> which of its rows. ``cut``: it goes on."""
    runs = tuple(Made(number, 0, end - begin, not cut, False) for number, (begin, end) in groups.items())
    rows = [(number, row) for number, (begin, end) in groups.items() for row in range(begin, end)]
    keys = [pack_values([row]) for _, row in rows]
    fields = [pack_values([f"{outbox} {number}", "text"]) for number, _ in rows]
    kinds = bytes([Kind.MODIFY]) * len(rows)
    return Upload(NAME, outbox, 0, runs, kinds, [1] * len(rows), keys, [pack_values(["?", "?"])] * len(rows), fields)


def _stream(effect: StageUpload) -> tuple[str, str]:
    return effect.device, effect.upload.outbox


def day(house: Primary, steps: int) -> None:
    busy, bad = house.rng.choice((1.0, 2.0, 6.0)), house.rng.choice((0.1, 0.3, 1.0))
    plan: list[tuple[float, Callable[[Device], object]]] = [
        (busy, house.edit),
        (16, lambda device: device.send(house.frames)),
        (25, house.deliver),
        (4, house.connect),
        (bad * 0.7, house.cut),
        (bad * 0.2, lambda device: device.renumber()),
        (14, lambda device: house.perform()),
        (16, lambda device: house.hear()),
        (3, lambda device: house.publish()),
        (1, lambda device: house.tick()),
        (bad * 0.3, lambda device: house.away()),
        (bad * 0.15, lambda device: house.lose()),
        (bad * 0.3, lambda device: house.lock()),
        (bad * 0.15, lambda device: house.fill()),
        (bad * 0.2, lambda device: house.begin()),
    ]
    weights = [weight for weight, _ in plan]
    for _ in range(steps):
        act = house.rng.choices(plan, weights)[0][1]
        act(house.rng.choice(list(house.devices.values())))


def peace(house: Primary) -> None:
    """The faults end, and all is done that is left to do."""
    house.locked = house.queue.full = False
    house.mark = max(house.mark, 0)
    for _ in range(4_000):
        for device in house.devices.values():
            house.connect(device)
            device.send(house.frames)
            house.deliver(device)
        house.perform()
        house.hear()
        if house.rng.random() < 0.1:
            house.publish()
            house.tick()
        if not any(device.waits for device in house.devices.values()) and not house.ordered:
            return
    raise AssertionError(f"groups wait for ever: {[device.waits for device in house.devices.values()]}")


def lived(seed: int) -> Counter[str]:
    house = Primary(seed)
    day(house, 1_500)
    peace(house)
    assert max(Counter(house.executed).values(), default=1) == 1, "each once"
    for device in house.devices.values():
        of_outbox: dict[str, list[int]] = {}
        for name, outbox, number in house.executed:
            if name == device.name:
                of_outbox.setdefault(outbox, []).append(number)
        assert all(numbers == sorted(numbers) for numbers in of_outbox.values()), "each in its turn"
        assert set(device.told) <= set(house.executed)
        assert device.sent_bytes - device.received_bytes < LIMITS.upload_window_bytes_max + FRAME_BYTES
    return house.met


@pytest.mark.parametrize("portion", range(4))
def test_each_group_is_executed_once_and_in_its_turn(portion: int) -> None:
    met: Counter[str] = Counter()
    for seed in range(portion, 60, 4):
        met += lived(seed)
    assert min(met["WriteNow"], met["WriteUploads"], met["joined"], met["SettleWritten"]) > 5
