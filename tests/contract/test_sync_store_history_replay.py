"""The history of the sync store against a plain list of states; chance picks what happens."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from syncd.core.edits import Edit
from syncd.core.errors import UserError
from syncd.core.holding import Batch
from syncd.core.model import Observed
from syncd.core.ports import SyncStore
from syncd.core.settings import Limits
from syncd.store.memory import MemorySyncStore
from syncd.store.sync_store import SqliteSyncStore
from tests.contract.sync_store_kit import NAME, Writer, prepare

pytestmark = pytest.mark.asyncio

KEYS = [f"{i:02}".encode() for i in range(16)]
AUTHORS = ("", "laptop", "tablet", "desk undo notes:3")
STEPS = 200


State = dict[bytes, bytes]


@dataclass
class Made:
    """A published group: the state before and after it, its time, and who changed an object last in it."""

    before: State
    after: State
    time_us: int
    authors: dict[bytes, str]


@dataclass
class Model:
    """What the store should know. ``begin``: groups up to here are not remembered."""

    store: SyncStore
    type: int
    chance: random.Random
    holds: State = field(default_factory=dict)
    published: State = field(default_factory=dict)
    waiting: dict[bytes, str] = field(default_factory=dict)
    groups: dict[int, Made] = field(default_factory=dict)
    begin: int = 0
    now_us: int = 0

    async def change(self) -> None:
        observed = [self._observe(key) for key in self.chance.sample(KEYS, self.chance.randrange(1, 5))]
        await self.keep(observed, publish=self.chance.random() < 0.6)

    def _observe(self, key: bytes) -> Observed:
        fields = None if self.chance.random() < 0.3 else b"%d" % self.chance.randrange(3)
        return Observed(self.type, key, fields, "", self.chance.choice(AUTHORS))

    async def keep(self, observed: Sequence[Observed], publish: bool) -> None:
        self.now_us += 1
        for one in observed:
            if self.holds.get(one.key) != one.fields:
                self.waiting[one.key] = one.author
            self.holds.pop(one.key, None)
            if one.fields is not None:
                self.holds[one.key] = one.fields
        state = await self.store.keep(NAME, Batch(observed, publish, self.chance.random() < 0.2), self.now_us)
        if publish and self.waiting:
            self.groups[state.head] = Made(self.published, dict(self.holds), self.now_us, self.waiting)
            self.published, self.waiting = dict(self.holds), {}

    async def forget(self) -> None:
        time_us = self.now_us - self.chance.randrange(5, 60)
        await self.store.forget_history(NAME, time_us, 2**40)
        self.begin = max([self.begin, *(seq for seq, made in self.groups.items() if made.time_us < time_us)])

    async def prune(self) -> None:
        await self.store.prune(NAME, self.chance.choice([0, *self.groups]), 0)

    async def check_undo(self, seq: int) -> None:
        """The inverse, applied to the state after the group, gives the state before it."""
        made = self.groups[seq]
        if seq <= self.begin:
            with pytest.raises(UserError, match="not remembered"):
                await self.store.inverse(NAME, seq)
            return
        edits = await self.store.inverse(NAME, seq)
        assert apply(made.after, edits) == made.before
        assert {one.key for one in edits} <= made.authors.keys()

    async def check_history(self, key: bytes) -> None:
        """Newest first: what the published groups made of it, as far as it is remembered."""
        expected = [
            (seq, made.time_us, made.after.get(key), made.authors[key])
            for seq, made in sorted(self.groups.items(), reverse=True)
            if key in made.authors and (key in made.before or key in made.after)
        ]
        found = [tuple(one) for one in await self.store.history(NAME, self.type, key, 10_000)]
        told = [one for one in found if one[2] is not None or one in expected]  # an object may come and go in a group
        assert told == expected[: len(told)]
        assert len(told) >= len([one for one in expected if one[0] > self.begin])


def apply(state: Mapping[bytes, bytes], edits: Sequence[Edit]) -> State:
    """Each edit must find its base."""
    after = dict(state)
    for edit in edits:
        assert after.pop(edit.key, None) == edit.base
        if edit.fields is not None:
            after[edit.key] = edit.fields
    return after


@pytest.mark.parametrize("attempt", range(3))
async def test_undoing_a_group_gives_the_state_before_it(store: SyncStore, seed: int, attempt: int) -> None:
    chance = random.Random(seed + attempt)
    model = Model(store, await prepare(store), chance)
    for _ in range(STEPS):
        step = chance.random()
        if step < 0.6 or not model.groups:
            await model.change()
        elif step < 0.63:
            await model.forget()
        elif step < 0.68:
            await model.prune()
        elif step < 0.85:
            await model.check_undo(chance.choice([*model.groups]))
        else:
            await model.check_history(chance.choice(KEYS))
    for seq in model.groups:
        await model.check_undo(seq)
    for key in KEYS:
        await model.check_history(key)


async def test_the_twin_tells_the_same_history(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    real, twin = await SqliteSyncStore.open(tmp_path / "store.db", Limits()), MemorySyncStore()
    try:
        stores: tuple[SyncStore, ...] = (real, twin)
        type_id, same = [await prepare(store) for store in stores]
        assert type_id == same
        for now_us in range(1, STEPS):
            fields = [None if chance.random() < 0.3 else b"%d" % chance.randrange(3) for _ in range(4)]
            observed = [
                Observed(type_id, key, one, "", chance.choice(AUTHORS))
                for key, one in zip(chance.sample(KEYS, 4), fields, strict=True)
            ]
            batch = Batch(observed, chance.random() < 0.6, chance.random() < 0.2)
            act, passed, age, most = (
                chance.random(),
                chance.randrange(4 * now_us),
                chance.randrange(60),
                chance.random(),
            )
            asked = [Edit(type_id, key, chance.choice((None, b"1")), b"%d" % chance.randrange(3)) for key in KEYS]
            answers = []
            for store in stores:
                if now_us == STEPS // 4:
                    await Writer(store, type_id, now_us).imported({"00": "1", "01": "1"})
                await store.keep(NAME, batch, now_us)
                count = 0
                if act < 0.05:
                    count = await store.forget_history(NAME, now_us - age, int(200 * most))
                elif act < 0.1:
                    await store.prune(NAME, passed, 0)
                answers.append((count, await told(store, type_id), list(await store.facts(NAME, asked))))
            assert answers[0] == answers[1]
    finally:
        await real.close()


async def told(store: SyncStore, type_id: int) -> list[object]:
    """All histories, and the inverses of the newest groups or why there is none."""
    answers: list[object] = [list(await store.history(NAME, type_id, key, 5)) for key in KEYS]
    for group in await store.groups(NAME, 12):
        try:
            answers.append(await store.inverse(NAME, group.seq))
        except UserError as error:
            answers.append(error.text)
    return answers
