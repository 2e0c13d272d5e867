"""Very many parked parts in the inbound queue: named within bounds, taken some at a time (R7, R15)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from syncd.core.inbound_port import InboundQueue
from syncd.core.ports import Part
from syncd.store.inbound import SqliteInboundQueue
from syncd.store.memory_inbound_queue import MemoryInboundQueue
from syncd.store.parking import RETRY_OBJECTS_MAX, RETRY_PARTS_MAX
from tests.contract.inbound_kit import NAME, NOTE, begin, decode, failure, frame, rows_of, stage, work_of

pytestmark = pytest.mark.asyncio

NAMED = 3
ALL = 10**9


@pytest_asyncio.fixture(params=["sqlite", "memory"])
async def queue(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[InboundQueue]:
    real = await SqliteInboundQueue.open(tmp_path / "inbound.db", decode, NAMED)
    queue: InboundQueue = real if request.param == "sqlite" else MemoryInboundQueue(NAMED)
    await queue.types(NAME, [NOTE])
    await begin(queue)
    yield queue
    await real.close()


async def park(queue: InboundQueue, count: int, rows: int = 1, at: int = 50) -> None:
    """So many groups came and failed, each of ``rows`` objects; their numbers begin at 1."""
    groups: dict[int, dict[str, str | None]] = {
        seq: {f"{seq}-{row}": "x" for row in range(rows)} for seq in range(1, count + 1)
    }
    await stage(queue, frame(0, count, groups, cut=True))
    parts = [Part(frozenset((seq,)), frozenset(), failure()) for seq in groups]
    await queue.park(await work_of(queue), parts, at)
    await queue.executed(NAME, count)


async def ids_due(queue: InboundQueue, now: int = ALL, position: int = ALL) -> list[int]:
    return [part.id for part in await queue.due(NAME, now, position)]


async def test_all_parts_are_counted_and_the_oldest_named(queue: InboundQueue) -> None:
    await park(queue, 10)
    parking = await queue.parking(NAME)
    assert (parking.parts, parking.due_us) == (10, 50)
    assert [part.seqs for part in parking.oldest] == [(1,), (2,), (3,)]
    assert (await queue.load(NAME))[2] == parking
    await queue.retried(NAME, [part.id for part in parking.oldest], {})
    parking = await queue.parking(NAME)
    assert (parking.parts, [part.seqs for part in parking.oldest]) == (7, [(4,), (5,), (6,)])


async def test_of_one_group_its_parts_are_counted_and_named(queue: InboundQueue) -> None:
    await park(queue, 10)
    parking = await queue.parking(NAME, 7)
    assert (parking.parts, [part.seqs for part in parking.oldest]) == (1, [(7,)])
    assert (await queue.parking(NAME, 99)).parts == 0
    assert (await queue.parking("other")).parts == 0


async def test_the_first_that_is_due_says_when_the_next_try_is(queue: InboundQueue) -> None:
    await park(queue, 3)
    first, second, third = (await queue.parking(NAME)).oldest
    await queue.retried(NAME, [first.id], {second.id: (failure(), 90), third.id: (failure(), 70)})
    assert (await queue.parking(NAME)).due_us == 70
    await queue.retried(NAME, [second.id, third.id], {})
    assert (await queue.parking(NAME)).due_us is None


async def test_parts_are_due_at_their_time_those_that_wait_longest_first(queue: InboundQueue) -> None:
    await park(queue, 3)
    first, second, third = (await queue.parking(NAME)).oldest
    await queue.retried(NAME, [], {first.id: (failure(), 90), third.id: (failure(), 20)})
    assert await ids_due(queue, now=19) == []
    assert await ids_due(queue, now=50) == [third.id, second.id]
    assert await ids_due(queue, now=90) == [third.id, second.id, first.id]


async def test_parts_of_groups_beyond_a_position_are_not_due(queue: InboundQueue) -> None:
    await park(queue, 3)
    first, second, _ = (await queue.parking(NAME)).oldest
    assert await ids_due(queue, position=2) == [first.id, second.id]


async def test_all_parts_or_those_of_a_group_can_be_made_due_at_once(queue: InboundQueue) -> None:
    await park(queue, 3)
    first, second, third = (await queue.parking(NAME)).oldest
    await queue.make_due(NAME, {2, 77})
    assert await ids_due(queue, now=0) == [second.id]
    await queue.make_due(NAME, None)
    assert await ids_due(queue, now=0) == [first.id, second.id, third.id]
    assert (await queue.parking(NAME)).due_us == 0


async def test_so_many_parts_are_due_as_are_tried_in_one_transaction(queue: InboundQueue) -> None:
    await park(queue, RETRY_PARTS_MAX + 10)
    assert await ids_due(queue) == list(range(1, RETRY_PARTS_MAX + 1))


async def test_so_many_objects_are_due_as_are_tried_in_one_transaction(queue: InboundQueue) -> None:
    await park(queue, 4, RETRY_OBJECTS_MAX // 2 - 1)
    assert await ids_due(queue) == [1, 2]


async def test_a_part_of_very_many_objects_is_due_alone(queue: InboundQueue) -> None:
    await park(queue, 2, RETRY_OBJECTS_MAX + 1)
    assert await ids_due(queue) == [1]


async def test_parts_that_are_tried_together_come_each_as_its_own_work(queue: InboundQueue) -> None:
    await park(queue, 3, 2)
    works = await queue.parked_works(NAME, [3, 1])
    assert [rows_of(work) for work in works] == [{"3-0": "x", "3-1": "x"}, {"1-0": "x", "1-1": "x"}]
    assert [rows_of(work) for work in works] == [{"3-0": "x", "3-1": "x"}, {"1-0": "x", "1-1": "x"}]


async def test_parts_are_found_by_their_ids_while_they_are_parked(queue: InboundQueue) -> None:
    await park(queue, 3)
    await queue.retried(NAME, [2], {})
    assert [part.id for part in await queue.parts(NAME, [1, 2, 3])] == [1, 3]
