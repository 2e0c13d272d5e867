"""The upload queue in SQLite against its twin in memory, by chance: devices that lose their links and send again,
a primary that crashes before, between and after everything it does (R6)."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import pytest
import pytest_asyncio

from syncd.core.edits import EditGroup, Ruling, Written
from syncd.core.messages import Upload
from syncd.core.settings import Limits
from syncd.core.upward_ports import UploadQueue
from syncd.store.memory_uploads import MemoryUploadQueue
from syncd.store.uploads import SqliteUploadQueue
from tests.contract.uploads_kit import NAME, NOW_US, Rows, all_of, decode, rows_of, side, stage, upload

pytestmark = pytest.mark.asyncio

STEPS = 400
LIMITS = Limits(uploads_bytes_max=1_500)
Name = tuple[str, str, int]  # device, outbox, number


class Pair:
    """Both queues; each call must have the same outcome in both. The one in SQLite can be opened again."""

    def __init__(self, path: Path) -> None:
        self.twin = MemoryUploadQueue(LIMITS)
        self.arrived: list[Name] = []
        self._path = path
        self._real: SqliteUploadQueue | None = None

    async def real(self) -> SqliteUploadQueue:
        if self._real is None:
            self._real = await SqliteUploadQueue.open(self._path, decode, LIMITS)
        return self._real

    async def crash(self) -> None:
        if self._real is not None:
            await self._real.close()
        self._real = None

    async def stage(self, device: str, uploads: list[Upload]) -> int:
        whole = await stage(await self.real(), *uploads, device=device)
        assert whole == await stage(self.twin, *uploads, device=device)
        return whole

    async def next(self, after: int, groups_max: int) -> tuple[int, tuple[EditGroup, ...]]:
        found = await (await self.real()).next(NAME, after, groups_max)
        assert found == await self.twin.next(NAME, after, groups_max)
        return found

    async def settle(self, written: list[Written]) -> None:
        both: list[UploadQueue] = [await self.real(), self.twin]
        one, other = [await queue.settle(NAME, written, 70, "primary", NOW_US) for queue in both]
        assert one == other

    async def verdicts(self, device: str, outbox: str, first: int) -> list[int]:
        verdicts = await (await self.real()).verdicts(device, NAME, outbox, first)
        assert verdicts == await self.twin.verdicts(device, NAME, outbox, first)
        return [verdict.number for verdict in verdicts]

    async def received(self, device: str, outbox: str) -> int:
        number = await (await self.real()).received(device, NAME, outbox)
        assert number == await self.twin.received(device, NAME, outbox)
        return number


@pytest_asyncio.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    made = Pair(tmp_path / "uploads.db")
    yield made
    await made.crash()


@dataclass
class Device:
    """An auxiliary: groups that have no verdict, and how far this link has sent them."""

    name: str
    chance: random.Random
    outbox: str = "o1"
    last: int = 0
    waits: dict[int, Rows] = field(default_factory=dict)
    frames: Iterator[Upload] | None = None

    def make(self, made: dict[Name, Rows]) -> None:
        for _ in range(self.chance.randrange(5)):
            self.last += self.chance.choice((1, 1, 1, 4))
            rows = {f"{self.last}-{i}": "x" * self.chance.randrange(80) for i in range(self.chance.choice((1, 1, 9)))}
            self.waits[self.last] = made[self.name, self.outbox, self.last] = rows

    async def meet(self, pair: Pair) -> None:
        """A new link: verdicts, and what is taken."""
        first = min(self.waits, default=self.last + 1)
        for number in await pair.verdicts(self.name, self.outbox, first):
            del self.waits[number]
        taken = await pair.received(self.name, self.outbox)
        self.frames = iter(list(self._cut([(n, rows) for n, rows in self.waits.items() if n > taken])))

    def _cut(self, groups: list[tuple[int, Rows]]) -> Iterator[Upload]:
        """Groups in frames that end anywhere, also inside a group."""
        rows = [(number, row) for number, group in groups for row in group.items()]
        while rows:
            size = self.chance.randrange(1, 12)
            of_frame, rows = rows[:size], rows[size:]
            frame: dict[int, dict[str, str | None]] = {}
            for number, (key, fields) in of_frame:
                frame.setdefault(number, {})[key] = fields
            yield upload(frame, cut=bool(rows) and rows[0][0] in frame, outbox=self.outbox)

    async def send(self, pair: Pair) -> None:
        if self.frames is None:
            await self.meet(pair)
        assert self.frames is not None
        sent = list(islice(self.frames, self.chance.randrange(1, 4)))
        if not sent:
            self.frames = None
            return
        before = await pair.received(self.name, self.outbox)
        whole = await pair.stage(self.name, sent)
        pair.arrived += [(self.name, self.outbox, number) for number in sorted(self.waits) if before < number <= whole]
        if self.chance.random() < 0.1:
            again = [frame for frame in sent if _ends(frame)]
            assert await pair.stage(self.name, again) in (0, whole)

    def renumber(self, made: dict[Name, Rows]) -> None:
        """It was put back from an older copy: all that waits gets other numbers."""
        self.outbox, self.frames = f"o{int(self.outbox[1:]) + 1}", None
        self.waits = dict(enumerate(self.waits.values(), 1))
        self.last = len(self.waits)
        made |= {(self.name, self.outbox, number): rows for number, rows in self.waits.items()}


def _ends(frame: Upload) -> bool:
    """Whether a frame may come twice: nothing of it is a part of a group."""
    return all(made.whole for made in frame.runs)


@dataclass
class Intake:
    """The primary: it executes what comes out, and settles it. A crash forgets the cursor, not what was executed."""

    chance: random.Random
    cursor: int = 0
    handed: list[Name] = field(default_factory=list)  # in this life
    executed: list[EditGroup] = field(default_factory=list)  # and not settled
    settled: Counter[Name] = field(default_factory=Counter)

    async def execute(self, pair: Pair) -> None:
        self.cursor, groups = await pair.next(self.cursor, self.chance.randrange(1, 8))
        for group in groups:
            assert _name(group) not in self.handed, "handed out twice in one life of the cursor"
            assert not self.settled[_name(group)], "it was settled"
            self.handed.append(_name(group))
            self.executed.append(group)

    async def settle(self, pair: Pair) -> None:
        count = self.chance.randrange(1, 10)
        settled, self.executed = self.executed[:count], self.executed[count:]
        await pair.settle([self._verdict(group) for group in settled])
        self.settled.update(map(_name, settled))

    def _verdict(self, group: EditGroup) -> Written:
        ruling = self.chance.choice(list(Ruling))
        sides = [side(f"{group.number}")] if ruling is Ruling.MERGED or self.chance.random() < 0.3 else []
        return Written(group.device, group.outbox, group.number, ruling, 0, "", None, tuple(sides))

    def crash(self) -> None:
        self.cursor, self.handed, self.executed = 0, [], []


def _name(group: EditGroup) -> Name:
    return (group.device, group.outbox, group.number)


@pytest.mark.parametrize("attempt", range(4))
async def test_every_group_is_settled_once_whatever_is_cut_and_repeated(pair: Pair, seed: int, attempt: int) -> None:
    chance = random.Random(seed + attempt)
    devices = [Device(name, chance) for name in ("laptop", "tablet", "till")]
    intake, made = Intake(chance), dict[Name, Rows]()
    for _ in range(STEPS):
        device = chance.choice(devices)
        match chance.choices(
            ("make", "send", "execute", "settle", "cut", "crash", "renumber"), (9, 9, 7, 6, 2, 1, 0.3)
        ):
            case ["make"]:
                device.make(made)
            case ["send"]:
                await device.send(pair)
            case ["execute"]:
                await intake.execute(pair)
            case ["settle"]:
                await intake.settle(pair)
            case ["cut"]:
                device.frames = None
            case ["crash"]:
                await pair.crash()
                intake.crash()
                for one in devices:
                    one.frames = None
            case _:
                await device.meet(pair)
                device.renumber(made)
        waiting = await all_of(pair.twin)
        for group in waiting:
            assert rows_of(group) == made[_name(group)]
            assert len(group.edits) == len(made[_name(group)]), "no row is there twice"
        assert [_name(group) for group in waiting] == [name for name in pair.arrived if not intake.settled[name]]
    await _drain(pair, devices, intake)
    assert set(intake.settled.values()) <= {1}
    for one in devices:
        assert not one.waits, "each group got its verdict"
    real = await pair.real()
    assert await real.conflicts("", True) == await pair.twin.conflicts("", True)
    for conflict in await real.conflicts("", True):
        assert await real.conflict(conflict.id) == await pair.twin.conflict(conflict.id)


async def _drain(pair: Pair, devices: list[Device], intake: Intake) -> None:
    """All links hold, all is executed and settled, all verdicts are told."""
    for _ in range(1_000):
        if not any(device.waits for device in devices) and not intake.executed:
            return
        for device in devices:
            await device.send(pair)
        await intake.execute(pair)
        await intake.settle(pair)
    pytest.fail("it does not end")
