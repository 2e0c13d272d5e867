"""Parked groups in the inbound queue, for the one in SQLite and its twin in memory (R7)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from syncd.core.inbound_port import InboundQueue
from syncd.core.inbound_queue import BEHIND
from syncd.core.model import Failure, Kind
from syncd.core.ports import ParkedPart, Part
from syncd.store.inbound import SqliteInboundQueue
from syncd.store.memory_inbound_queue import MemoryInboundQueue
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
    return (await queue.parking(NAME)).oldest


async def retried(queue: InboundQueue, part: int, why: Failure, at: int) -> None:
    """The part was tried again and failed again."""
    await queue.retried(NAME, (), {part: (why, at)})


async def parked_rows(queue: InboundQueue, part: ParkedPart) -> dict[str, str | None]:
    return rows_of(*await queue.parked_works(NAME, [part.id]))


async def test_the_rows_of_a_failed_group_are_parked_whole(queue: InboundQueue) -> None:
    (parked,) = await park(queue, {1: {"a": "1"}, 2: {"b": "1", "c": None}, 3: {"d": "1"}}, part(2))
    assert (parked.seqs, parked.objects, parked.failure) == ((2,), 2, failure())
    assert (parked.attempts, parked.retry_at_us) == (0, 50)
    (work,) = await queue.parked_works(NAME, [parked.id])
    assert (work.epoch, work.snapshot, work.proof, work.skip) == (EPOCH, False, None, None)
    assert rows_of(work) == {"b": "1", "c": None}
    (one,) = work.frames()
    assert (one.first, one.last, one.cut) == (0, 0, None)
    assert [(run.seq, run.loose, run.rows) for run in one.runs] == [(2, False, 2)]
    assert one.kinds == bytes((Kind.MODIFY, Kind.DELETE))


async def test_parked_objects_are_skipped_by_the_work_that_waits(queue: InboundQueue) -> None:
    await park(queue, {2: {"b": "1", "c": None}}, part(2))
    await stage(queue, frame(2, 3, {3: {"x": "1"}}, cut=True))
    skip = (await work_of(queue)).skip
    assert skip is not None
    assert skip([note("a"), note("b"), note("c"), note("d")]) == {note("b"), note("c")}
    assert await queue.any_parked(NAME, [note("a"), note("c")])
    assert not await queue.any_parked(NAME, [note("a")])
    assert not await queue.any_parked("other", [note("b")])


async def test_of_a_loose_group_only_the_guilty_objects_are_parked(queue: InboundQueue) -> None:
    groups = {5: {"a": "1", "b": "1", "c": "1"}}
    parked = await park(queue, groups, part(objects=["a"]), part(objects=["c"]), loose=True)
    assert [(one.seqs, one.objects) for one in parked] == [((5,), 1), ((5,), 1)]
    assert [await parked_rows(queue, one) for one in parked] == [{"a": "1"}, {"c": "1"}]


async def test_the_number_of_a_loose_group_parks_nothing_by_itself(queue: InboundQueue) -> None:
    assert await park(queue, {5: {"a": "1"}}, part(5), loose=True) == ()


async def test_a_part_may_have_groups_and_single_objects(queue: InboundQueue) -> None:
    (parked,) = await park(queue, {2: {"b": "1"}, 4: {"d": "1", "e": "1"}}, part(2, objects=["d"]))
    assert (parked.seqs, await parked_rows(queue, parked)) == ((2, 4), {"b": "1", "d": "1"})


async def test_of_an_object_that_comes_twice_the_newest_version_is_parked(queue: InboundQueue) -> None:
    (parked,) = await park(queue, {1: {"a": "1"}, 2: {"a": "2", "b": "2"}}, part(1, 2))
    assert (parked.objects, parked.seqs) == (2, (1, 2))
    assert await parked_rows(queue, parked) == {"a": "2", "b": "2"}


async def test_a_group_that_touches_a_parked_object_joins_its_part(queue: InboundQueue) -> None:
    (first,) = await park(queue, {1: {"a": "1", "b": "1"}}, part(1, why=failure(guilty="a")))
    (joined,) = await park(queue, {2: {"b": "2", "c": "2"}}, part(2, why=failure("it touches them")), at=90)
    assert (joined.id, joined.seqs, joined.objects) == (first.id, (1, 2), 3)
    assert (joined.failure, joined.attempts, joined.retry_at_us) == (failure(guilty="a"), 0, 50)
    assert await parked_rows(queue, joined) == {"a": "1", "b": "2", "c": "2"}


async def test_a_group_that_touches_two_parts_joins_them_to_one(queue: InboundQueue) -> None:
    first, second = await park(queue, {1: {"a": "1"}, 2: {"b": "1"}}, part(1), part(2, why=failure("other")))
    (joined,) = await park(queue, {3: {"a": "3", "b": "3", "c": "3"}}, part(3))
    assert (joined.id, joined.seqs, joined.objects) == (first.id, (1, 2, 3), 3)
    assert await queue.parts(NAME, [second.id]) == ()
    assert await parked_rows(queue, first) == {"a": "3", "b": "3", "c": "3"}


async def test_parts_that_share_nothing_stay_apart(queue: InboundQueue) -> None:
    await park(queue, {1: {"a": "1"}}, part(1))
    parked = await park(queue, {2: {"b": "1"}}, part(2))
    assert [one.seqs for one in parked] == [(1,), (2,)]


async def test_a_newer_version_of_the_guilty_object_makes_its_part_due_at_once(queue: InboundQueue) -> None:
    (first,) = await park(queue, {1: {"a": "1", "b": "1"}}, part(1, why=failure(guilty="a")))
    await retried(queue, first.id, failure("again", "a"), 70)
    (joined,) = await park(queue, {2: {"a": "2"}}, part(2, why=failure("behind")), at=90)
    assert (joined.id, joined.attempts, joined.retry_at_us, joined.failure) == (first.id, 0, 0, failure("behind"))


async def test_parking_the_same_work_again_changes_nothing(queue: InboundQueue) -> None:
    await stage(queue, frame(0, 3, {1: {"a": "1"}, 3: {"b": "1", "c": "1"}}, cut=True))
    parts = [part(1, why=failure(guilty="a")), part(3, why=failure(guilty="b"))]
    await queue.park(await work_of(queue), parts, 50)
    before = (await queue.parking(NAME)).oldest
    await retried(queue, before[0].id, failure("again", "a"), 60)
    before = (await queue.parking(NAME)).oldest
    await queue.park(await work_of(queue), parts, 99)
    assert (await queue.parking(NAME)).oldest == before


async def test_an_older_version_on_the_way_does_not_make_a_part_due(queue: InboundQueue) -> None:
    await stage(queue, frame(0, 1, {1: {"a": "1", "b": "1"}}), frame(1, 2, {2: {"a": "2"}}, cut=True))
    await queue.park(await work_of(queue), [part(1, 2, why=failure(guilty="a"))], 50)
    before = (await queue.load(NAME))[2]
    await queue.park(await work_of(queue), [part(1, 2, why=failure("it touches them"))], 99)
    assert (await queue.load(NAME))[2] == before


async def test_a_part_that_failed_again_waits_longer(queue: InboundQueue) -> None:
    (parked,) = await park(queue, {1: {"a": "1"}}, part(1))
    await retried(queue, parked.id, failure("other", "a"), 70)
    await retried(queue, parked.id, failure("third"), 80)
    ((again),) = (await queue.parking(NAME)).oldest
    assert (again.attempts, again.retry_at_us, again.failure) == (2, 80, failure("third"))


async def test_a_part_that_was_applied_is_forgotten_and_its_id_never_used_again(queue: InboundQueue) -> None:
    (parked,) = await park(queue, {1: {"a": "1"}}, part(1))
    await queue.retried(NAME, [parked.id], {})
    assert (await queue.parking(NAME)).oldest == ()
    assert await queue.parts(NAME, [parked.id]) == ()
    (other,) = await park(queue, {2: {"a": "2"}}, part(2))
    assert other.id > parked.id
    await retried(queue, parked.id, failure("late"), 70)
    assert (await queue.parking(NAME)).oldest == (other,)


async def test_a_part_with_thousands_of_rows_comes_in_frames(queue: InboundQueue) -> None:
    rows = {f"{i:05}": "x" for i in range(2_345)}
    (parked,) = await park(queue, {1: rows}, part(1))
    (work,) = await queue.parked_works(NAME, [parked.id])
    assert parked.objects == len(rows)
    assert rows_of(work) == rows
    assert all(run.seq == 1 for one in work.frames() for run in one.runs)


async def test_of_very_many_groups_the_newest_are_named(queue: InboundQueue) -> None:
    groups = {seq: {f"{seq}": "1"} for seq in range(1, SEQS_MAX + 50)}
    (parked,) = await park(queue, groups, part(*groups))
    assert parked.seqs == tuple(range(50, SEQS_MAX + 50))
    assert parked.objects == len(groups)


# ---------------------------------------------------------------- by type, and behind

BEHIND_PART = Part(frozenset(), frozenset(), BEHIND, behind=True)


async def test_all_loose_objects_of_a_type_are_parked_by_its_name(queue: InboundQueue) -> None:
    whole = Part(frozenset(), frozenset(), failure("no such column"), frozenset((NOTE.id,)))
    (parked,) = await park(queue, {5: {"a": "1", "b": "1"}}, whole, loose=True)
    assert (parked.seqs, parked.objects, parked.failure) == ((5,), 2, failure("no such column"))
    assert await parked_rows(queue, parked) == {"a": "1", "b": "1"}


async def test_groups_that_are_not_loose_are_not_parked_by_type(queue: InboundQueue) -> None:
    whole = Part(frozenset(), frozenset(), failure("no such column"), frozenset((NOTE.id,)))
    assert await park(queue, {5: {"a": "1"}}, whole) == ()


async def test_a_loose_object_that_is_parked_stays_in_its_part(queue: InboundQueue) -> None:
    before = await park(queue, {1: {"a": "1"}, 2: {"b": "1"}}, part(1, why=failure(guilty="x")), part(2))
    after = await park(queue, {5: {"a": "5", "b": "1", "c": "5"}}, BEHIND_PART, loose=True)
    assert [one.id for one in after] == [one.id for one in before]
    assert [(one.seqs, one.objects, one.failure) for one in after] == [
        ((1, 5), 1, failure(guilty="x")),
        ((2, 5), 1, failure()),
    ]
    assert [await parked_rows(queue, one) for one in after] == [{"a": "5"}, {"b": "1"}]
    assert not await queue.any_parked(NAME, [note("c")])


async def test_a_newer_version_that_comes_loose_makes_the_part_of_its_guilty_object_due_at_once(
    queue: InboundQueue,
) -> None:
    (first,) = await park(queue, {1: {"a": "1", "b": "1"}}, part(1, why=failure(guilty="a")))
    await retried(queue, first.id, failure("again", "a"), 70)
    (after,) = await park(queue, {5: {"a": "5"}}, BEHIND_PART, loose=True)
    assert (after.id, after.seqs, after.objects) == (first.id, (1, 5), 2)
    assert (after.failure, after.attempts, after.retry_at_us) == (BEHIND, 0, 0)


async def test_the_same_version_that_comes_loose_again_changes_nothing_but_the_groups_named(
    queue: InboundQueue,
) -> None:
    (first,) = await park(queue, {1: {"a": "1"}}, part(1, why=failure(guilty="a")))
    (after,) = await park(queue, {5: {"a": "1"}}, BEHIND_PART, loose=True)
    assert after == replace(first, seqs=(1, 5))
