"""Parked groups in the inbound queue, for the one in SQLite and its twin in memory (R7)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path

import pytest
import pytest_asyncio

from syncd.core.model import Failure, Kind
from syncd.core.ports import InboundQueue, ParkedPart, Part
from syncd.store.inbound import SqliteInboundQueue
from syncd.store.memory import MemoryInboundQueue
from syncd.store.parking import SEQS_MAX
from tests.contract.inbound_kit import EPOCH, NAME, NOTE, begin, decode, failure, frame, note, rows_of, stage, work_of

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture(params=["sqlite", "memory"])
async def queue(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[InboundQueue]:
    if request.param == "memory":
        memory = MemoryInboundQueue()
        await memory.types(NAME, [NOTE])
        await begin(memory)
        yield memory
        return
    real = await SqliteInboundQueue.open(tmp_path / "inbound.db", decode)
    await real.types(NAME, [NOTE])
    await begin(real)
    yield real
    await real.close()


def part(*seqs: int, objects: Iterable[str] = (), why: Failure | None = None) -> Part:
    return Part(frozenset(seqs), frozenset(map(note, objects)), why or failure())


async def park(
    queue: InboundQueue, groups: Mapping[int, Mapping[str, str | None]], *parts: Part, loose: bool = False, at: int = 50
) -> tuple[ParkedPart, ...]:
    """Stages a cut of the groups, parks parts of it, and has it executed without them."""
    last = max(groups)
    await begin(queue, base=last - 1 if len(groups) == 1 else min(groups) - 1)
    await stage(queue, frame(last - 1 if len(groups) == 1 else min(groups) - 1, last, groups, cut=True, loose=loose))
    await queue.park(await work_of(queue), parts, at)
    await queue.executed(NAME, last)
    return (await queue.load(NAME))[2]


async def test_the_rows_of_a_failed_group_are_parked_whole(queue: InboundQueue) -> None:
    (parked,) = await park(queue, {1: {"a": "1"}, 2: {"b": "1", "c": None}, 3: {"d": "1"}}, part(2))
    assert (parked.seqs, parked.objects, parked.failure) == ((2,), 2, failure())
    assert (parked.attempts, parked.retry_at_us) == (0, 50)
    work = await queue.parked_work(NAME, parked.id)
    assert work is not None
    assert (work.epoch, work.snapshot, work.proof, work.skip) == (EPOCH, False, None, frozenset())
    assert rows_of(work) == {"b": "1", "c": None}
    (one,) = work.frames()
    assert (one.first, one.last, one.cut) == (0, 0, None)
    assert [(run.seq, run.loose, run.rows) for run in one.runs] == [(2, False, 2)]
    assert one.kinds == bytes((Kind.MODIFY, Kind.DELETE))


async def test_parked_objects_are_skipped_by_the_work_that_waits(queue: InboundQueue) -> None:
    await park(queue, {2: {"b": "1", "c": None}}, part(2))
    await stage(queue, frame(2, 3, {3: {"x": "1"}}, cut=True))
    assert (await work_of(queue)).skip == {note("b"), note("c")}


async def test_of_a_loose_group_only_the_guilty_objects_are_parked(queue: InboundQueue) -> None:
    groups = {5: {"a": "1", "b": "1", "c": "1"}}
    parked = await park(queue, groups, part(objects=["a"]), part(objects=["c"]), loose=True)
    assert [(one.seqs, one.objects) for one in parked] == [((5,), 1), ((5,), 1)]
    assert [rows_of(await queue.parked_work(NAME, one.id)) for one in parked] == [{"a": "1"}, {"c": "1"}]


async def test_the_number_of_a_loose_group_parks_nothing_by_itself(queue: InboundQueue) -> None:
    assert await park(queue, {5: {"a": "1"}}, part(5), loose=True) == ()


async def test_a_part_may_have_groups_and_single_objects(queue: InboundQueue) -> None:
    (parked,) = await park(queue, {2: {"b": "1"}, 4: {"d": "1", "e": "1"}}, part(2, objects=["d"]))
    assert (parked.seqs, rows_of(await queue.parked_work(NAME, parked.id))) == ((2, 4), {"b": "1", "d": "1"})


async def test_of_an_object_that_comes_twice_the_newest_version_is_parked(queue: InboundQueue) -> None:
    (parked,) = await park(queue, {1: {"a": "1"}, 2: {"a": "2", "b": "2"}}, part(1, 2))
    assert (parked.objects, parked.seqs) == (2, (1, 2))
    assert rows_of(await queue.parked_work(NAME, parked.id)) == {"a": "2", "b": "2"}


async def test_a_group_that_touches_a_parked_object_joins_its_part(queue: InboundQueue) -> None:
    (first,) = await park(queue, {1: {"a": "1", "b": "1"}}, part(1, why=failure(guilty="a")))
    (joined,) = await park(queue, {2: {"b": "2", "c": "2"}}, part(2, why=failure("it touches them")), at=90)
    assert (joined.id, joined.seqs, joined.objects) == (first.id, (1, 2), 3)
    assert (joined.failure, joined.attempts, joined.retry_at_us) == (failure(guilty="a"), 0, 50)
    assert rows_of(await queue.parked_work(NAME, joined.id)) == {"a": "1", "b": "2", "c": "2"}


async def test_a_group_that_touches_two_parts_joins_them_to_one(queue: InboundQueue) -> None:
    first, second = await park(queue, {1: {"a": "1"}, 2: {"b": "1"}}, part(1), part(2, why=failure("other")))
    (joined,) = await park(queue, {3: {"a": "3", "b": "3", "c": "3"}}, part(3))
    assert (joined.id, joined.seqs, joined.objects) == (first.id, (1, 2, 3), 3)
    assert await queue.parked_work(NAME, second.id) is None
    assert rows_of(await queue.parked_work(NAME, first.id)) == {"a": "3", "b": "3", "c": "3"}


async def test_parts_that_share_nothing_stay_apart(queue: InboundQueue) -> None:
    await park(queue, {1: {"a": "1"}}, part(1))
    parked = await park(queue, {2: {"b": "1"}}, part(2))
    assert [one.seqs for one in parked] == [(1,), (2,)]


async def test_a_newer_version_of_the_guilty_object_makes_its_part_due_at_once(queue: InboundQueue) -> None:
    (first,) = await park(queue, {1: {"a": "1", "b": "1"}}, part(1, why=failure(guilty="a")))
    await queue.reparked(NAME, first.id, failure("again", "a"), 70)
    (joined,) = await park(queue, {2: {"a": "2"}}, part(2, why=failure("behind")), at=90)
    assert (joined.id, joined.attempts, joined.retry_at_us, joined.failure) == (first.id, 0, 0, failure("behind"))


async def test_parking_the_same_work_again_changes_nothing(queue: InboundQueue) -> None:
    await stage(queue, frame(0, 3, {1: {"a": "1"}, 3: {"b": "1", "c": "1"}}, cut=True))
    parts = [part(1, why=failure(guilty="a")), part(3, why=failure(guilty="b"))]
    await queue.park(await work_of(queue), parts, 50)
    before = (await queue.load(NAME))[2]
    await queue.reparked(NAME, before[0].id, failure("again", "a"), 60)
    before = (await queue.load(NAME))[2]
    await queue.park(await work_of(queue), parts, 99)
    assert (await queue.load(NAME))[2] == before


async def test_an_older_version_on_the_way_does_not_make_a_part_due(queue: InboundQueue) -> None:
    await stage(queue, frame(0, 1, {1: {"a": "1", "b": "1"}}), frame(1, 2, {2: {"a": "2"}}, cut=True))
    await queue.park(await work_of(queue), [part(1, 2, why=failure(guilty="a"))], 50)
    before = (await queue.load(NAME))[2]
    await queue.park(await work_of(queue), [part(1, 2, why=failure("it touches them"))], 99)
    assert (await queue.load(NAME))[2] == before


async def test_a_part_that_failed_again_waits_longer(queue: InboundQueue) -> None:
    (parked,) = await park(queue, {1: {"a": "1"}}, part(1))
    await queue.reparked(NAME, parked.id, failure("other", "a"), 70)
    await queue.reparked(NAME, parked.id, failure("third"), 80)
    ((again),) = (await queue.load(NAME))[2]
    assert (again.attempts, again.retry_at_us, again.failure) == (2, 80, failure("third"))


async def test_a_part_that_was_applied_is_forgotten_and_its_id_never_used_again(queue: InboundQueue) -> None:
    (parked,) = await park(queue, {1: {"a": "1"}}, part(1))
    await queue.unpark(NAME, parked.id)
    assert (await queue.load(NAME))[2] == ()
    assert await queue.parked_work(NAME, parked.id) is None
    (other,) = await park(queue, {2: {"a": "2"}}, part(2))
    assert other.id > parked.id
    await queue.reparked(NAME, parked.id, failure("late"), 70)
    assert (await queue.load(NAME))[2] == (other,)


async def test_a_part_with_thousands_of_rows_comes_in_frames(queue: InboundQueue) -> None:
    rows = {f"{i:05}": "x" for i in range(2_345)}
    (parked,) = await park(queue, {1: rows}, part(1))
    work = await queue.parked_work(NAME, parked.id)
    assert parked.objects == len(rows)
    assert rows_of(work) == rows
    assert work is not None
    assert all(run.seq == 1 for one in work.frames() for run in one.runs)


async def test_of_very_many_groups_the_newest_are_named(queue: InboundQueue) -> None:
    groups = {seq: {f"{seq}": "1"} for seq in range(1, SEQS_MAX + 50)}
    (parked,) = await park(queue, groups, part(*groups))
    assert parked.seqs == tuple(range(50, SEQS_MAX + 50))
    assert parked.objects == len(groups)
