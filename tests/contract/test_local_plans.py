"""The contract of works with plans, of what is put back and of counts without edits, on SQLite and in memory."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from syncd.core.edits import Overlay, Plan, Restored
from syncd.core.errors import EditsUnread
from syncd.core.model import ObjectId
from syncd.core.ports import TargetState, Unexecuted
from tests.contract.application_kit import WorkMaker, body, gone, looked, note, put, tag
from tests.contract.local_kit import (
    Bench,
    Fields,
    LocalTarget,
    Waiting,
    begun,
    bench_of,
    comes_back,
    executed,
    of,
    told,
    what,
)

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture(params=["sqlite", "memory"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    made = bench_of(request.param, tmp_path)
    yield made
    await made.target.close()


# ---------------------------------------------------------------- plans


async def test_edits_that_were_not_read_stop_a_work_that_touches_them(bench: Bench) -> None:
    make = await begun(bench, "a", "b", "c")
    bench.write(note("a"), "mine")
    make.group(put(note("a"), "second"))
    work = make.work()
    before = await bench.target.open()
    with pytest.raises(EditsUnread):
        await bench.target.execute(replace(work, plan=Plan(1, 0)))
    restores = Plan(1, 0, restore=lambda: iter((Restored(1, note("a").key, body("first")),)))
    make.seq = before.position
    make.group(put(note("b"), "second"))
    with pytest.raises(EditsUnread):
        await bench.target.execute(replace(make.work(), plan=restores))
    with pytest.raises(EditsUnread):
        await bench.target.restore(restores)
    make.group(put(note("a"), "second"))
    with pytest.raises(EditsUnread):
        await bench.target.retry([replace(make.parked(), plan=Plan(0, 0))])
    assert bench.rows()[note("a")] == body("mine")
    assert await bench.target.open() == before


async def test_edits_that_were_not_read_do_not_stop_a_work_that_touches_others(bench: Bench) -> None:
    make = await begun(bench, "a", "b")
    bench.write(note("a"), "mine")
    make.group(put(note("b"), "second"))
    state = await executed(bench, replace(make.work(), plan=Plan(0, 0)))
    assert bench.rows() == {note("a"): body("mine"), note("b"): body("second")}
    assert what(state) == of({note("a"): body("first"), note("b"): body("second")})
    assert await bench.target.recount(Overlay(0)) == state


async def test_of_what_stands_as_it_comes_only_the_position_moves(bench: Bench) -> None:
    waiting, work = await comes_back(bench)
    state = await executed(bench, work)
    assert work.proof
    assert work.plan
    assert (state.position, state.plan) == (work.proof.seq, work.plan.id)
    assert what(state) == of({note("a"): body("second"), note("b"): body("first")})
    assert await executed(bench, work) == state, "once is enough"
    bench.write(note("b"), "mine")
    assert await waiting.read(bench.target) == {note("b"): (body("first"), body("mine"))}


async def test_what_was_changed_since_it_was_read_is_not_taken_for_what_comes(bench: Bench) -> None:
    _, work = await comes_back(bench)
    bench.write(note("b"), "mine")
    bench.write(note("a"), "third")
    with pytest.raises(EditsUnread):
        await bench.target.execute(work)
    assert bench.rows() == {note("a"): body("third"), note("b"): body("mine")}


async def test_an_object_that_is_left_stays_and_counts_as_what_the_primary_sent(bench: Bench) -> None:
    make = await begun(bench, "a", "b")
    waiting = Waiting()
    for text in ("second", "third"):
        bench.write(note("a"), text)
        await waiting.read(bench.target)
    make.group(put(note("a"), "second"), put(note("b"), "second"))
    work = make.work()
    state = await executed(bench, replace(work, plan=waiting.plan(work)))
    assert bench.rows() == {note("a"): body("third"), note("b"): body("second")}
    assert what(state) == of({note("a"): body("second"), note("b"): body("second")})
    assert (state.plan, waiting.groups) == (1, [{note("a"): (body("second"), body("third"))}])
    assert await bench.target.recount(waiting.overlay()) == state


async def test_what_is_restored_is_not_counted_and_not_logged(bench: Bench) -> None:
    make = await begun(bench, "a", "b", "c")
    waiting = Waiting()
    bench.commit({note("a"): body("mine"), note("b"): None, tag("t"): body("mine")})
    await waiting.read(bench.target)
    make.group(put(note("a"), "foreign"))
    work = make.work()
    state = await executed(bench, replace(work, plan=waiting.plan(work)))
    holds = {note("a"): body("foreign"), note("b"): body("first"), note("c"): body("first")}
    assert (bench.rows(), what(state), state.plan) == (holds, of(holds), 1)
    assert await bench.target.recount(waiting.overlay()) == state
    assert (await bench.target.changes(waiting.mark, 100)).edits == ()


async def test_what_was_refused_is_put_back(bench: Bench) -> None:
    await begun(bench, "a", "b")
    waiting = Waiting()
    bench.commit({note("a"): body("mine"), note("b"): None, tag("t"): body("mine")})
    await waiting.read(bench.target)
    before = await bench.target.open()
    state = await bench.target.restore(waiting.refuse(note("a")))
    assert bench.rows() == {note("a"): body("first"), note("b"): body("first")}
    assert state == replace(before, plan=1)
    assert await bench.target.open() == state
    assert (await bench.target.changes(waiting.mark, 100)).edits == ()


async def test_values_may_be_swapped_back(bench: Bench) -> None:
    """The order in which objects are put back does not matter."""
    await begun(bench, "a", "b")
    bench.commit({note("a"): body("x"), note("b"): body("y")})
    mark = (await bench.target.changes(0, 100)).mark
    rows = [Restored(1, note("b").key, body("x")), Restored(1, note("a").key, body("y"))]
    await bench.target.restore(Plan(3, mark, restore=lambda: iter(rows)))
    assert bench.rows() == {note("a"): body("y"), note("b"): body("x")}


async def test_of_a_work_that_fails_nothing_of_its_plan_stays(bench: Bench) -> None:
    make = await begun(bench, "a", "b", "bad")
    waiting = Waiting()
    bench.commit({note("a"): body("mine"), note("b"): body("mine")})
    await waiting.read(bench.target)
    bench.refuse(note("bad"), "no")
    before, rows = await bench.target.open(), bench.rows()
    make.group(put(note("a"), "foreign"))
    make.group(put(note("bad"), "second"))
    work = make.work()
    work = replace(work, plan=waiting.plan(work))
    assert isinstance(await bench.target.execute(work), Unexecuted)
    assert (bench.rows(), await bench.target.open()) == (rows, before)
    bench.accept_all()
    state = await executed(bench, work)
    holds = {note("a"): body("foreign"), note("b"): body("first"), note("bad"): body("second")}
    assert (bench.rows(), what(state)) == (holds, of(holds))


async def test_a_snapshot_with_a_plan_replaces_what_was_edited(bench: Bench) -> None:
    make = await begun(bench, "a", "b")
    waiting = Waiting()
    bench.commit({note("a"): body("mine"), note("c"): body("mine")})
    await waiting.read(bench.target)
    make.group(put(note("a"), "second"), loose=True)
    work = make.work(snapshot=True, epoch="e2")
    state = await executed(bench, replace(work, plan=waiting.plan(work)))
    holds = {note("a"): body("second")}
    assert (bench.rows(), what(state), state.plan) == (holds, of(holds), 1)
    bench.write(note("a"), "mine")
    assert told(await bench.target.changes(waiting.mark, 100)) == {note("a"): (body("second"), body("mine"))}


async def test_a_plan_stays_known(bench: Bench) -> None:
    make = await begun(bench, "a")
    state = await bench.target.restore(Plan(7, 0))
    assert state.plan == 7
    make.group(put(note("a"), "second"))
    assert (await executed(bench, replace(make.work(), plan=Plan(0, 0)))).plan == 7
    await bench.crash()
    assert (await bench.target.open()).plan == 7
    assert (await bench.target.recount(Overlay(0))).plan == 7


# ---------------------------------------------------------------- what is counted


async def test_looking_finds_nothing_in_edits_that_were_captured(bench: Bench) -> None:
    await begun(bench, "a", "b")
    waiting = Waiting()
    assert await looked(bench.target, waiting.overlay()) is None
    bench.commit({note("a"): body("mine"), note("b"): None})
    await waiting.read(bench.target)
    bench.commit({note("a"): body("mine again"), note("c"): body("mine")})
    state = await bench.target.open()
    assert await looked(bench.target, waiting.overlay()) is None
    assert await bench.target.recount(waiting.overlay()) == state
    assert what(state) == of({note("a"): body("first"), note("b"): body("first")})


async def test_more_edits_than_can_be_counted_in_are_read_first(bench: Bench) -> None:
    await begun(bench, "a")
    bench.lose_log()
    with pytest.raises(EditsUnread):
        await bench.target.recount(Overlay(0))


# ---------------------------------------------------------------- at random


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_happens_what_is_kept_is_the_checksum_of_what_the_primary_sent(bench: Bench, seed: int) -> None:
    print(f"seed {seed}")
    play = _Play(bench, random.Random(seed))
    await play.begin()
    for _ in range(60):
        await play.step()
        await play.check()


class _Play:
    """A user, a primary and an outbox, all of them made of chance. ``sent``: what the primary sent."""

    def __init__(self, bench: Bench, rng: random.Random) -> None:
        self.bench = bench
        self.rng = rng
        self.make = WorkMaker()
        self.waiting = Waiting()
        self.sent: dict[ObjectId, bytes] = {}
        self.held: dict[ObjectId, bytes] = {}
        self.state = TargetState("", 0, b"", 0)
        self.objects = [*map(note, "abcde"), *map(tag, "xy")]

    @property
    def target(self) -> LocalTarget:
        return self.bench.target

    async def begin(self) -> None:
        await self.target.open()
        await self._execute({one: body("0") for one in self.objects[:4]}, snapshot=True)

    async def step(self) -> None:
        what = self.rng.random()
        if what < 0.35:
            edits = {one: self._value() for one in self._some()}
            self.bench.commit(edits)
            for one, fields in edits.items():
                self._put(self.held, one, fields)
        elif what < 0.5:
            await self.waiting.read(self.target, self.rng.choice((1, 3, 100)))
        elif what < 0.8:
            chains = self.waiting.chains()
            own = {one: self.rng.choice(chains[one]) for one in self._some() if one in chains}
            await self._execute(own or {one: self._value() for one in self._some()})
        elif what < 0.9 and self.waiting.groups:
            await self.waiting.read(self.target)
            chains = self.waiting.chains()
            if chains:
                plan = self.waiting.refuse(self.rng.choice(sorted(chains)))
                self._restored(plan)
                self.state = await self.target.restore(plan)
        elif what < 0.95:
            await self.target.discard(self.waiting.mark)
            await self.target.changes(self.waiting.mark, 100, wait_s=0.0)
        else:
            await self.bench.crash()
            assert await self.target.open() == self.state

    async def check(self) -> None:
        assert self.bench.rows() == self.held
        assert what(self.state) == of(self.sent)
        if self.rng.random() < 0.5:
            assert await self.target.recount(self.waiting.overlay()) == self.state
        else:
            assert await looked(self.target, self.waiting.overlay()) is None

    async def _execute(self, changes: dict[ObjectId, Fields], snapshot: bool = False) -> None:
        self.make.group(*(gone(one) if v is None else (put(one, "")[0], one, v) for one, v in changes.items()))
        work = self.make.work(snapshot=snapshot)
        while True:
            groups = [dict(group) for group in self.waiting.groups]
            plan = self.waiting.plan(work)
            try:
                self.state = await executed(self.bench, replace(work, plan=plan))
                break
            except EditsUnread:
                self.waiting.groups = groups
                mark = self.waiting.mark
                await self.waiting.read(self.target)
                assert self.waiting.mark != mark
        self._restored(plan)
        left = plan.leave(changes) if plan.leave else frozenset()
        for one, fields in changes.items():
            self._put(self.sent, one, fields)
            if one not in left:
                self._put(self.held, one, fields)

    def _restored(self, plan: Plan) -> None:
        for one in plan.restore() if plan.restore else ():
            self._put(self.held, ObjectId({1: "notes", 2: "tags"}[one.type], one.key), one.fields)

    def _some(self) -> list[ObjectId]:
        return self.rng.sample(self.objects, self.rng.randint(1, 3))

    def _value(self) -> Fields:
        return self.rng.choice((None, body("0"), body("1"), body("2")))

    def _put(self, rows: dict[ObjectId, bytes], one: ObjectId, fields: Fields) -> None:
        if fields is None:
            rows.pop(one, None)
        else:
            rows[one] = fields
