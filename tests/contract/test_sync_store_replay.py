"""Changes since a position, replayed by devices, against a plain dict; chance picks what happens (R1-R3, R5, R7)."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest

from syncd.core.inbound_queue import divide
from syncd.core.model import Tie
from syncd.core.ports import SyncStore
from syncd.core.settings import Limits
from syncd.store.memory import MemorySyncStore
from syncd.store.sync_store import SqliteSyncStore
from tests.contract.sync_store_kit import NAME, Follower, Writer, chunk_of, prepare

pytestmark = pytest.mark.asyncio

KEYS = [f"{i:02}" for i in range(24)]
STEPS = 250


@dataclass
class Application:
    """The primary's application by chance. ``touched``: object -> its groups that are not loose, in order, since the
    last that was. ``shared``: all pairs of such groups that ever changed one object one after the other."""

    chance: random.Random
    writer: Writer
    holds: dict[str, str] = field(default_factory=dict)
    waiting: set[str] = field(default_factory=set)
    waiting_loose: bool = False
    touched: dict[str, list[int]] = field(default_factory=dict)
    shared: set[Tie] = field(default_factory=set)
    head: int = 0

    def change(self, count: int) -> dict[str, str | None]:
        changes: dict[str, str | None] = {}
        for key in self.chance.sample(KEYS, count):
            changes[key] = None if self.chance.random() < 0.3 else str(self.chance.randrange(3))
        return changes

    async def keep(self, changes: dict[str, str | None], publish: bool, loose: bool) -> None:
        different = {key for key, value in changes.items() if self.holds.get(key) != value}
        for key, value in changes.items():
            self.holds.pop(key, None)
            if value is not None:
                self.holds[key] = value
        self.waiting |= different
        self.waiting_loose |= loose and bool(different)
        state = await self.writer.keep(changes, publish, loose)
        if publish and state.head > self.head:
            self.head = state.head
            for key in self.waiting:
                self._touch(key, state.head)
        if publish:
            self.waiting, self.waiting_loose = set(), False
        assert state.objects == len(self.holds)

    def _touch(self, key: str, seq: int) -> None:
        groups = self.touched.setdefault(key, [])
        if self.waiting_loose:
            groups.clear()
            return
        if groups:
            self.shared.add(Tie(groups[-1], seq))
        groups.append(seq)

    async def compare(self) -> None:
        """What vanished without notice is found."""
        await self.keep({}, True, False)
        for key in self.chance.sample(KEYS, 5):
            self.holds.pop(key, None)
        await self.writer.imported(dict(self.holds))
        state = await self.writer.store.open_collection(NAME)
        assert (state.objects, state.imported) == (len(self.holds), True)
        if state.head > self.head:
            chunk = await chunk_of(self.writer.store, self.head, self.head)
            for row in chunk.rows:
                self.touched[row.key.decode()] = []
        self.head = state.head


async def check_ties(application: Application, device: Follower, base: int, seq: int) -> None:
    """Groups of the transfer that share an object, directly or through others, are joined as far as they have objects
    left and none of them was forgotten; groups that never shared one are not."""
    forgotten = max(base, (await device.store.open_collection(NAME)).horizon)
    chains = [[group for group in groups if forgotten < group <= seq] for groups in application.touched.values()]
    expected = divide(Tie(*pair) for chain in chains for pair in pairwise(chain))
    joined, shared = device.together(), divide(application.shared)
    chunk = await chunk_of(device.store, forgotten, forgotten)
    left = [group.seq for group in chunk.groups if not group.loose]
    for one in left:
        for other in left:
            if expected.get(one, one) == expected.get(other, other):
                assert joined.get(one, one) == joined.get(other, other)
    for older, newer in device.ties:
        assert shared[older] == shared[newer]


async def follow(application: Application, device: Follower, rows_max: int) -> None:
    base = device.base
    proof = await device.take(rows_max)
    if proof is not None:
        assert device.objects == {key.encode(): value.encode() for key, value in application.holds.items()}
        await check_ties(application, device, base, proof.seq)


async def begin_anew(store: SyncStore, device: Follower) -> Follower:
    """A snapshot, if the device is older than the tombstones kept (R5)."""
    state = await store.open_collection(NAME)
    if max(device.base, device.floor) >= state.horizon:
        return device
    return Follower(store, floor=state.head)


@pytest.mark.parametrize("attempt", range(3))
async def test_devices_that_replay_changes_hold_what_the_application_holds(
    store: SyncStore, seed: int, attempt: int
) -> None:
    chance = random.Random(seed + attempt)
    application = Application(chance, Writer(store, await prepare(store)))
    devices = [Follower(store) for _ in range(3)]
    for _ in range(STEPS):
        step = chance.random()
        if step < 0.45:
            await application.keep(application.change(chance.randrange(4)), chance.random() < 0.7, False)
        elif step < 0.5:
            await application.keep(application.change(6), chance.random() < 0.7, True)
        elif step < 0.53:
            await application.compare()
        elif step < 0.56:
            await store.prune(NAME, chance.choice(devices).base, 0)
        else:
            at = chance.randrange(3)
            devices[at] = await begin_anew(store, devices[at])
            await follow(application, devices[at], chance.randrange(1, 9))
    await application.keep({}, True, False)
    for device in [await begin_anew(store, device) for device in devices]:
        await device.catch_up(3)
        assert device.objects == {key.encode(): value.encode() for key, value in application.holds.items()}


async def test_the_twin_answers_as_the_real_store(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    real, twin = await SqliteSyncStore.open(tmp_path / "store.db", Limits()), MemorySyncStore()
    try:
        writers = [Writer(real, await prepare(real)), Writer(twin, await prepare(twin))]
        for _ in range(STEPS):
            step, publish, loose = chance.random(), chance.random() < 0.6, chance.random() < 0.2
            changes = Application(chance, writers[0]).change(chance.randrange(5))
            passed = chance.randrange(1 + (await twin.open_collection(NAME)).head)
            cursor, rows_max = chance.randrange(1 + passed), chance.randrange(1, 12)
            answers = []
            for writer in writers:
                if step < 0.6:
                    await writer.keep(changes, publish, loose)
                elif step < 0.63:
                    await writer.imported({key: value for key, value in changes.items() if value is not None})
                elif step < 0.66:
                    await writer.store.prune(NAME, passed, writer.now_us - 100)
                state = await writer.store.open_collection(NAME)
                chunk = await chunk_of(writer.store, 0, cursor, rows_max)
                answers.append(
                    (
                        (state.head, state.horizon, state.digest, state.objects, state.published, state.imported),
                        (list(chunk.rows), chunk.last, chunk.groups, chunk.proof),
                        list(await writer.store.groups(NAME, 5)),
                        set((await chunk_of(writer.store, 0, 0)).ties),
                    )
                )
            assert answers[0] == answers[1]
    finally:
        await real.close()
