"""A primary, an application that is edited, and what downloads do to it: a plain model around an outbox.

``base``: what the primary sent. ``app``: what the application holds. ``log``: transactions of the application that were
not read yet. The outbox is one in SQLite and its twin, which must say the same to everything.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from syncd.core.edits import Edit, LocalBatch, OutboxState, Plan
from syncd.core.errors import EditsUnread
from syncd.core.messages import Upload, Verdict
from syncd.core.model import ObjectId
from syncd.core.ports import Work
from syncd.core.upward_ports import Outbox
from syncd.store.memory_outbox import MemoryOutbox
from syncd.store.outbox import SqliteOutbox
from tests.contract.outbox_kit import (
    LIMITS,
    NAME,
    NOTE,
    Change,
    S,
    at,
    edit,
    groups_of,
    hashed,
    left,
    note,
    plain_groups,
    put_back,
    work,
)

KEYS = "abcdef"
Objects = dict[str, str | None]  # None: there is none
T = TypeVar("T")
MODULUS = 1 << 128


@dataclass
class World:
    random: random.Random
    path: Path
    real: SqliteOutbox
    twin: MemoryOutbox
    primary: list[Objects] = field(default_factory=lambda: [dict.fromkeys(KEYS)])  # by sequence number
    base: Objects = field(default_factory=lambda: dict.fromkeys(KEYS))
    app: Objects = field(default_factory=lambda: dict.fromkeys(KEYS))
    log: list[dict[str, Change]] = field(default_factory=list)
    mark: int = 0
    position: int = 0
    plan: tuple[int, int] = 0, 0  # that was carried out, by its id in the one in SQLite and in its twin
    digest: int = 0
    parked: set[str] = field(default_factory=set)
    sealed: dict[int, dict[str, Change]] = field(default_factory=dict)
    decided: dict[int, Verdict] = field(default_factory=dict)
    offered: set[int] = field(default_factory=set)
    gone: set[int] = field(default_factory=set)  # offered, and as in a snapshot
    told: int = 0  # verdicts that reached the outbox
    values: int = 0

    @classmethod
    async def begin(cls, path: Path, seed: int) -> World:
        world = cls(random.Random(seed), path, await SqliteOutbox.open(path, LIMITS), MemoryOutbox(LIMITS))
        for outbox in (world.real, world.twin):
            await outbox.types(NAME, [NOTE])
        return world

    async def both(self, act: Callable[[Outbox], Awaitable[T]], alike: Callable[[T, T], object]) -> T:
        """What the one in SQLite says, which is what its twin says."""
        one, other = await act(self.real), await act(self.twin)
        assert alike(one, other), (one, other)
        return one

    async def state(self, act: Callable[[Outbox], Awaitable[OutboxState]]) -> OutboxState:
        return await self.both(act, lambda one, other: one == replace(other, outbox=one.outbox))

    def value(self) -> str | None:
        """Another version, or one of a few that come again and again."""
        self.values += 1
        if self.random.random() < 0.06:  # groups become too large to be joined, or too large
            return f"v{self.values}" + "." * self.random.choice([400, 480, 1_200])
        return self.random.choice([f"v{self.values}", f"v{self.values}", "x", "y", None])

    # ------------------------------------------------------------ what happens

    async def edit(self) -> None:
        changes: dict[str, Change] = {}
        for key in self.random.sample(KEYS, self.random.choice([1, 1, 2, 3])):
            new = self.value()
            changes[key] = (self.app[key], new)
            self.app[key] = new
        self.log.append(changes)

    async def read(self, all_of_it: bool = False) -> None:
        """Net changes of some transactions become edits; where no more are there, the group is whole."""
        if all_of_it or self.random.random() < 0.7:
            part, self.log = self.log, []
        else:
            part, self.log = self.log[:1], self.log[1:]
        self.mark += len(part)
        net: dict[str, Change] = {}
        for changes in part:
            for key, (old, new) in changes.items():
                net[key] = (net[key][0] if key in net else old, new)
        edits = tuple(edit(key, old, new) for key, (old, new) in net.items() if old != new)
        batch = LocalBatch(edits, not self.log, self.mark, 7 * S)
        if self.random.random() < 0.7:
            await self.state(lambda outbox: outbox.keep(NAME, batch))
            return
        after, bytes_max = self._room()
        _, frames = await self.both(lambda outbox: outbox.keep_and_take(NAME, batch, after, bytes_max), _alike_kept)
        self.note(frames)

    async def take(self) -> None:
        after, bytes_max = self._room()
        self.note(await self.both(lambda outbox: outbox.take(NAME, after, bytes_max), _alike))

    def _room(self) -> tuple[int, int]:
        return self.random.choice([0, *self.sealed]), self.random.choice([1, 60, 10_000])

    async def decide(self) -> None:
        """The primary rules about the oldest group that it has not ruled about."""
        waiting = sorted(self.sealed.keys() - self.decided - self.gone)
        if not waiting:
            return
        number, now = waiting[0], dict(self.primary[-1])
        ruling = self.random.choice(["accepted", "accepted", "accepted", "merged", "refused"])
        if ruling == "refused":
            self.decided[number] = Verdict(number, ruling, 0, "no", "", b"", 0)
            return
        for key, (_, new) in self.sealed[number].items():
            now[key] = new if ruling == "accepted" else self.value()
        self.primary.append(now)
        self.decided[number] = Verdict(number, ruling, len(self.primary) - 1, "", "", b"", 0)

    async def others(self) -> None:
        now = dict(self.primary[-1])
        for key in self.random.sample(KEYS, self.random.choice([1, 2])):
            now[key] = self.value()
        self.primary.append(now)

    async def settle(self, all_of_it: bool = False) -> None:
        news = sorted(self.decided)[self.told :]
        if not all_of_it:
            news = news[: self.random.randint(0, len(news))]
        self.told += len(news)
        verdicts = [self.decided[number] for number in news]
        await self.state(lambda outbox: outbox.settle(NAME, verdicts, self.position, 9 * S))

    async def renumber(self) -> None:
        """The primary knows groups that this outbox never had."""
        await self.take_all()
        await self.settle(all_of_it=True)
        after = max(self.sealed, default=0) + self.random.randint(1, 9)
        await self.state(lambda outbox: outbox.renumber(NAME, after))
        refused = await self.both(lambda outbox: outbox.refused(NAME), lambda a, b: list(a) == list(b))
        after = max([after, *(group.number for group in refused)])  # those keep their numbers
        for at_, number in enumerate(sorted(self.sealed.keys() - self.decided - self.gone), 1):
            self.sealed[after + at_] = self.sealed.pop(number)
            if number in self.offered:
                self.offered.add(after + at_)

    async def take_all(self) -> None:
        self.note(await self.both(lambda outbox: outbox.take(NAME, 0, 1 << 20), _alike))

    def note(self, frames: tuple[Upload, ...]) -> None:
        for number, changes in groups_of(frames).items():
            assert self.sealed.setdefault(number, changes) == changes  # a sealed group never changes
        self.offered |= {run.number for frame in frames for run in frame.runs if run.offered}

    async def lose(self) -> None:
        """The log does not say what was changed: all that is there is offered, and replaced by a snapshot."""
        await self.edit()
        self.app = {key: fields if len(fields or "") < 1_000 else "x" for key, fields in self.app.items()}
        self.log.clear()
        there = {key: fields for key, fields in self.app.items() if fields is not None}
        pages = [dict(list(there.items())[:3]), dict(list(there.items())[3:])]
        if self.random.random() < 0.3:
            pages.insert(0, pages[0] | dict.fromkeys(pages[0], "as it was before a crash"))
        for page in pages:
            rows = tuple(edit(key, None, fields) for key, fields in page.items())
            batch = LocalBatch(rows, True, self.mark, 8 * S, offered=True)
            await self.state(lambda outbox: outbox.keep(NAME, batch))  # noqa: B023
        self.log.clear()
        while not await self.snapshot():
            pass
        await self.take_all()
        numbers = [group.number for group in await self.real.refused(NAME)]
        refused = [one for number in numbers for one in await self.real.edits(NAME, number)]
        for key, fields in there.items():
            kept = [group[key][1] for group in self.sealed.values() if key in group]
            kept += [one.fields.decode() for one in refused if one.key == key.encode() and one.fields is not None]
            assert self.app[key] == fields or fields in kept

    async def reopen(self) -> None:
        await self.real.close()
        self.real = await SqliteOutbox.open(self.path, LIMITS)
        await self.carry_out()

    async def carry_out(self) -> None:
        await self.state(lambda outbox: outbox.carried_out(NAME, at(self.position, self.plan[outbox is self.twin])))

    async def download(self, up_to: int | None = None) -> None:
        seq = self.random.randint(self.position, len(self.primary) - 1) if up_to is None else up_to
        if seq == self.position:
            return
        old, new = self.primary[self.position], self.primary[seq]
        touched = {k for at_ in range(self.position + 1, seq + 1) for k in KEYS if self.primary[at_][k] != old[k]}
        if up_to is None and self.random.random() < 0.2:
            self.parked |= set(self.random.sample(KEYS, 1))
        skip = frozenset(note(key) for key in self.parked)
        what = work({key: new[key] for key in touched}, skip=skip, seq=seq)
        if self.random.random() < 0.3:  # several cuts in one work
            between = self.primary[self.random.randint(self.position + 1, seq)]
            first = work({key: between[key] for key in touched}, skip=skip, seq=seq)
            frames = [*first.frames(), *what.frames()]
            what = replace(what, frames=lambda: iter(frames))
        if await self.execute(what):
            self.position = seq
            await self.carry_out()

    async def snapshot(self) -> bool:
        seq = len(self.primary) - 1
        there = {key: fields for key, fields in self.primary[seq].items() if fields is not None}
        if await self.execute(work(there, snapshot=True, seq=seq)):
            self.parked, self.position = set(), seq
            await self.carry_out()
            told = set(sorted(self.decided)[: self.told])
            for number in (self.offered & self.sealed.keys()) - told:
                if all(there.get(key) == new for key, (_, new) in self.sealed[number].items()):
                    self.gone.add(number)
            return True
        return False

    async def retry(self) -> None:
        """What is parked is executed after all."""
        there = self.primary[self.position]
        if self.parked and await self.execute(work({key: there[key] for key in self.parked}, seq=self.position)):
            self.parked = set()
            await self.carry_out()

    async def undo(self) -> None:
        if await self.execute(None):
            await self.carry_out()

    # ------------------------------------------------------------ as a target executes

    async def execute(self, what: Work | None) -> bool:
        """Whether it was done: it may be left undone, as after a crash."""
        at_hand = self.random.random() < 0.5
        for _ in range(3):
            try:
                plan, ids = await self.plan_of(replace(what, at_hand=at_hand) if what else None)
                break
            except EditsUnread:
                await self.read(all_of_it=True)
        rows = {} if what is None else rows_of(what)
        back = put_back(plan)
        unread = {key for changes in self.log for key in changes}
        snapshot = what is not None and what.snapshot
        if unread & (rows.keys() | back.keys()) or (snapshot and unread):
            await self.read(all_of_it=True)
            return await self.execute(what)
        if self.random.random() < 0.1:
            await self.carry_out()
            return False
        if what is None and not plan.id:
            return False
        assert not plan.stays or rows == {key: self.app[key] for key in rows}
        self.app |= back
        if snapshot:
            self.app = dict.fromkeys(KEYS) | rows
            self.base, self.digest = dict(self.app), digest_of(self.app)
        else:
            stays = left(plan, *KEYS)
            assert stays <= rows.keys()
            self.digest += plan.digest
            for key, new in rows.items():
                if key not in stays:
                    self.digest += hashed(key, new) - hashed(key, self.app[key])
                    self.app[key] = new
            self.base |= rows
        self.plan = ids if plan.id else self.plan
        return True

    async def plan_of(self, what: Work | None) -> tuple[Plan, tuple[int, int]]:
        """The plan, and its ids."""
        ids: list[int] = []

        async def act(outbox: Outbox) -> Plan | None:
            try:
                return await outbox.plan(NAME, what)
            except EditsUnread:
                return None

        def alike(one: Plan | None, other: Plan | None) -> bool:
            if one is None or other is None:
                return one is other
            ids.extend((one.id, other.id))
            told = [(p.mark, p.digest % MODULUS, p.objects, left(p, *KEYS), put_back(p)) for p in (one, other)]
            return told[0] == told[1] and bool(one.id) == bool(other.id)

        plan = await self.both(act, alike)
        if plan is None:
            raise EditsUnread("not all was read")
        return plan, (ids[0], ids[1])

    # ------------------------------------------------------------ what must be true

    async def check(self) -> None:
        assert self.digest % MODULUS == digest_of(self.base)
        read = dict(self.app)
        for changes in reversed(self.log):
            read |= {key: old for key, (old, _) in changes.items()}
        overlay = await self.both(
            lambda outbox: outbox.overlay(NAME),
            lambda a, b: (a.mark, a.digest % MODULUS, a.objects) == (b.mark, b.digest % MODULUS, b.objects),
        )
        assert (digest_of(read) + overlay.digest) % MODULUS == digest_of(self.base)
        assert count(read) + overlay.objects == count(self.base)
        await plain_groups(self.real)
        await self.check_nothing_is_lost()

    async def check_nothing_is_lost(self) -> None:
        def same(one: Sequence[Edit], other: Sequence[Edit]) -> bool:
            return set(one) == set(other)

        refused = await self.both(lambda outbox: outbox.refused(NAME), lambda a, b: list(a) == list(b))
        readable = {group.number for group in refused}
        told = set(sorted(self.decided)[: self.told])
        for number in sorted(self.sealed.keys() - self.gone):
            if number in told and self.decided[number].ruling == "refused":
                edits = await self.both(lambda outbox: outbox.edits(NAME, number), same)  # noqa: B023
                assert set(edits) == {edit(key, *change) for key, change in self.sealed[number].items()}
                readable.discard(number)
        for number in readable:  # refused by the device itself
            assert number not in self.sealed
            assert await self.both(lambda outbox: outbox.edits(NAME, number), same)  # noqa: B023
        for number in self.sealed.keys() - told - self.gone:
            found = await self.both(
                lambda outbox: outbox.take(NAME, number - 1, 1),  # noqa: B023
                _alike,
            )
            assert groups_of(found)[number] == self.sealed[number]

    async def come_to_rest(self) -> None:
        """Everything is sent, ruled about and executed: the application holds what the primary has."""
        for _ in range(30):
            await self.read(all_of_it=True)
            await self.take_all()
            while self.sealed.keys() - self.decided - self.gone:
                await self.decide()
            await self.settle(all_of_it=True)
            await self.retry()
            await self.download(len(self.primary) - 1)
            await self.undo()
            await self.check()
        state = await self.state(lambda outbox: outbox.load(NAME))
        assert (state.pending, state.undo, self.parked) == (0, False, set())
        assert self.app == self.base == self.primary[-1]


def _alike(one: tuple[Upload, ...], other: tuple[Upload, ...]) -> bool:
    """Into how many pieces a group is cut depends on the order of its rows, which is nobody's business."""
    ends = [[(run.number, run.offered) for at in frames for run in at.runs if run.whole] for frames in (one, other)]
    return groups_of(one) == groups_of(other) and ends[0] == ends[1]


def _alike_kept(one: tuple[OutboxState, tuple[Upload, ...]], other: tuple[OutboxState, tuple[Upload, ...]]) -> bool:
    return one[0] == replace(other[0], outbox=one[0].outbox) and _alike(one[1], other[1])


def rows_of(what: Work) -> Objects:
    skipped = what.skip([note(key) for key in KEYS]) if what.skip else frozenset[ObjectId]()
    return {
        message.key.decode(): None if message.kind == 3 else message.fields.decode()
        for frame in what.frames()
        for message in frame.messages()
        if note(message.key.decode()) not in skipped
    }


def digest_of(objects: Objects) -> int:
    return sum(hashed(key, fields) for key, fields in objects.items()) % MODULUS


def count(objects: Objects) -> int:
    return sum(fields is not None for fields in objects.values())
