"""The contract of the inbound queue, for the one in SQLite and its twin in memory (R3, R6; claim 24k)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from syncd.core.errors import InvariantBroken
from syncd.core.inbound_port import InboundQueue
from syncd.core.messages import Begin
from syncd.core.model import DataType, Proof
from syncd.core.ports import Parking, Part, Transfer
from syncd.store.inbound import SqliteInboundQueue
from syncd.store.memory_inbound_queue import MemoryInboundQueue
from tests.contract.inbound_kit import EPOCH, NAME, NOTE, begin, decode, failure, frame, note, rows_of, stage, work_of

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture(params=["sqlite", "memory"])
async def queue(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[InboundQueue]:
    if request.param == "memory":
        memory = MemoryInboundQueue()
        await memory.types(NAME, [NOTE])
        yield memory
        return
    real = await SqliteInboundQueue.open(tmp_path / "inbound.db", decode)
    await real.types(NAME, [NOTE])
    yield real
    await real.close()


async def transfer(queue: InboundQueue) -> Transfer | None:
    return (await queue.load(NAME))[0]


async def test_a_queue_begins_empty(queue: InboundQueue) -> None:
    assert await queue.load("other") == (None, (), Parking())
    assert await queue.work("other") is None


async def test_types_are_known_by_id(queue: InboundQueue) -> None:
    other = DataType(2, "other", ("a", "b"), ())
    changed = replace(NOTE, definition=("CREATE TABLE note (id, text)",))
    await queue.types(NAME, [other, changed])
    assert (await queue.load(NAME))[1] == (other, changed)


async def test_a_transfer_is_as_its_begin_said(queue: InboundQueue) -> None:
    await begin(queue, snapshot=True)
    assert await transfer(queue) == Transfer(EPOCH, True, 0, 9, 0, 0)
    await begin(queue, base=40)
    assert await transfer(queue) == Transfer(EPOCH, False, 40, 0, 40, 0)


async def test_frames_wait_for_their_cut(queue: InboundQueue) -> None:
    await begin(queue)
    await stage(queue, frame(0, 3, {3: {"a": "1"}}))
    assert await queue.work(NAME) is None
    assert await transfer(queue) == Transfer(EPOCH, False, 0, 0, 3, 0)
    await stage(queue, frame(3, 5, {5: {"b": "1"}}, cut=True))
    assert await transfer(queue) == Transfer(EPOCH, False, 5, 0, 5, 5)
    work = await work_of(queue)
    assert (work.collection, work.epoch, work.snapshot) == (NAME, EPOCH, False)
    assert work.proof == Proof(5, bytes([5]) * 16, 1)
    assert (work.types, work.skip) == ({NOTE.id: NOTE}, None)


async def test_frames_come_back_as_they_came_in_order_as_often_as_asked(queue: InboundQueue) -> None:
    frames = [frame(i, i + 1, {i + 1: {f"{i}": "x", "deleted": None}}, cut=i == 4) for i in range(5)]
    await begin(queue)
    await stage(queue, *frames[:2])
    await stage(queue, *frames[2:])
    work = await work_of(queue)
    assert list(work.frames()) == frames
    assert list(work.frames()) == frames


async def test_frames_can_be_read_in_any_thread(queue: InboundQueue) -> None:
    await begin(queue)
    await stage(queue, frame(0, 1, {1: {"a": "1"}}, cut=True))
    work = await work_of(queue)
    with ThreadPoolExecutor(1) as other:
        assert await asyncio.wrap_future(other.submit(rows_of, work)) == {"a": "1"}


async def test_frames_that_nobody_finished_reading_do_no_harm(queue: InboundQueue) -> None:
    await begin(queue)
    await stage(queue, frame(0, 1, {1: {"a": "1"}}), frame(1, 2, {2: {"a": "2"}}, cut=True))
    frames = (await work_of(queue)).frames()
    next(frames)
    await queue.executed(NAME, 2)
    del frames
    assert await queue.work(NAME) is None


async def test_complete_cuts_are_joined_and_what_follows_waits(queue: InboundQueue) -> None:
    await begin(queue)
    await stage(queue, frame(0, 1, {1: {"a": "1"}}, cut=True), frame(1, 2, {2: {"b": "1"}}, cut=True))
    await stage(queue, frame(2, 3, {3: {"c": "1"}}))
    work = await work_of(queue)
    assert rows_of(work) == {"a": "1", "b": "1"}
    assert work.proof is not None
    assert work.proof.seq == 2
    assert await transfer(queue) == Transfer(EPOCH, False, 2, 0, 3, 2)


async def test_a_target_is_filled_from_the_first_cut_that_was_executed_until_it_is_cleared(queue: InboundQueue) -> None:
    assert not await queue.filled(NAME)
    await begin(queue)
    await stage(queue, frame(0, 2, {2: {"a": "1", "b": "1"}}, cut=True))
    assert not await queue.filled(NAME), "it waits"
    await queue.executed(NAME, 2)
    assert await queue.filled(NAME)
    await queue.begin(NAME, Begin(NAME, EPOCH, True, 0, 9, 0, 9))
    assert await queue.filled(NAME), "a snapshot that begins takes nothing away"
    await queue.clear(NAME)
    assert not await queue.filled(NAME)


async def test_executed_frames_are_dropped(queue: InboundQueue) -> None:
    await begin(queue)
    await stage(queue, frame(0, 1, {1: {"a": "1"}}, cut=True))
    await stage(queue, frame(1, 2, {2: {"b": "1"}}, cut=True), frame(2, 3, {3: {"c": "1"}}))
    await queue.executed(NAME, 1)
    assert rows_of(await work_of(queue)) == {"b": "1"}
    await queue.executed(NAME, 2)
    await queue.executed(NAME, 2)
    assert await queue.work(NAME) is None
    await stage(queue, frame(3, 4, {4: {"d": "1"}}, cut=True))
    assert rows_of(await work_of(queue)) == {"c": "1", "d": "1"}


async def test_executing_drops_nothing_of_an_unfinished_transfer(queue: InboundQueue) -> None:
    await begin(queue)
    await stage(queue, frame(0, 1, {1: {"a": "1"}}))
    await queue.executed(NAME, 50)
    await stage(queue, frame(1, 2, {2: {"b": "1"}}, cut=True))
    assert rows_of(await work_of(queue)) == {"a": "1", "b": "1"}


async def test_a_frame_that_was_staged_before_changes_nothing(queue: InboundQueue) -> None:
    first, second = frame(0, 1, {1: {"a": "1"}}), frame(1, 2, {2: {"b": "1"}}, cut=True)
    await begin(queue)
    await stage(queue, first, second)
    await stage(queue, first)
    await stage(queue, second)
    assert list((await work_of(queue)).frames()) == [first, second]


async def test_a_gap_is_never_staged(queue: InboundQueue) -> None:
    await begin(queue)
    with pytest.raises(InvariantBroken):
        await stage(queue, frame(0, 1, {1: {"a": "1"}}), frame(2, 3, {3: {"b": "1"}}))
    with pytest.raises(InvariantBroken):
        await queue.stage([(replace(frame(0, 1, {}), collection="other"), b"")])


async def test_a_dropped_link_loses_no_staged_frame(queue: InboundQueue) -> None:
    await begin(queue, snapshot=True)
    await stage(queue, frame(0, 1, {1: {"a": "1"}}), frame(1, 2, {2: {"b": "1"}}))
    await begin(queue, cursor=2, snapshot=True)
    assert await transfer(queue) == Transfer(EPOCH, True, 0, 9, 2, 0)
    await stage(queue, frame(2, 3, {3: {"c": "1"}}, cut=True))
    work = await work_of(queue)
    assert (work.snapshot, rows_of(work)) == (True, {"a": "1", "b": "1", "c": "1"})


async def test_frames_after_the_cursor_of_a_begin_are_dropped(queue: InboundQueue) -> None:
    await begin(queue)
    await stage(queue, frame(0, 1, {1: {"a": "1"}}), frame(1, 2, {2: {"b": "1"}}))
    await begin(queue, cursor=1)
    await stage(queue, frame(1, 3, {3: {"c": "1"}}, cut=True))
    assert rows_of(await work_of(queue)) == {"a": "1", "c": "1"}


async def test_a_begin_at_its_base_voids_the_unfinished_transfer_and_keeps_complete_cuts(queue: InboundQueue) -> None:
    await begin(queue)
    await stage(queue, frame(0, 1, {1: {"a": "1"}}, cut=True), frame(1, 2, {2: {"b": "1"}}))
    await begin(queue, base=1)
    assert await transfer(queue) == Transfer(EPOCH, False, 1, 0, 1, 1)
    assert rows_of(await work_of(queue)) == {"a": "1"}
    await stage(queue, frame(1, 3, {3: {"c": "1"}}, cut=True))
    assert rows_of(await work_of(queue)) == {"a": "1", "c": "1"}


async def test_an_unfinished_snapshot_is_void_when_changes_follow_instead(queue: InboundQueue) -> None:
    await begin(queue, snapshot=True)
    await stage(queue, frame(0, 3, {3: {"a": "1"}}))
    await begin(queue, base=7)
    await stage(queue, frame(7, 8, {8: {"b": "1"}}, cut=True))
    work = await work_of(queue)
    assert (work.snapshot, rows_of(work)) == (False, {"b": "1"})


async def test_a_snapshot_from_its_start_drops_everything_staged_and_parked(queue: InboundQueue) -> None:
    await begin(queue)
    await stage(queue, frame(0, 1, {1: {"a": "1"}}, cut=True), frame(1, 2, {2: {"b": "1"}}))
    await queue.park(await work_of(queue), [Part(frozenset((1,)), frozenset(), failure())], 5)
    await queue.begin(NAME, Begin(NAME, "00000000000000bb", True, 0, 30, 0, 30))
    assert await queue.load(NAME) == (Transfer("00000000000000bb", True, 0, 30, 0, 0), (NOTE,), Parking())
    assert await queue.work(NAME) is None
    await stage(queue, frame(0, 30, {1: {"x": "1"}}, cut=True))
    work = await work_of(queue)
    assert (work.epoch, work.snapshot, work.skip, rows_of(work)) == ("00000000000000bb", True, None, {"x": "1"})


async def test_a_snapshot_from_its_start_forgets_what_the_tables_were_called_before(queue: InboundQueue) -> None:
    narrow = replace(NOTE, id=99, fields=())
    await queue.types(NAME, [narrow])
    await queue.begin(NAME, Begin(NAME, EPOCH, False, 3, 0, 3, 9), [narrow.id])
    assert (await queue.load(NAME))[1] == (NOTE, narrow)
    await queue.begin(NAME, Begin(NAME, EPOCH, True, 0, 30, 0, 30), [narrow.id])
    assert (await queue.load(NAME))[1] == (narrow,)


async def test_what_waits_begins_with_a_snapshot_until_that_was_executed(queue: InboundQueue) -> None:
    await begin(queue, snapshot=True)
    await stage(queue, frame(0, 1, {1: {"a": "1"}}, cut=True))
    await begin(queue, base=1)
    await stage(queue, frame(1, 2, {2: {"b": "1"}}, cut=True))
    assert (await work_of(queue)).snapshot
    await queue.executed(NAME, 1)
    assert not (await work_of(queue)).snapshot


async def test_a_cut_without_changes_is_work_too(queue: InboundQueue) -> None:
    await begin(queue, base=4)
    await stage(queue, frame(4, 4, {}, cut=True))
    work = await work_of(queue)
    assert (rows_of(work), work.proof) == ({}, Proof(4, bytes([4]) * 16, 0))


async def test_clearing_forgets_one_collection(queue: InboundQueue) -> None:
    await begin(queue)
    await queue.begin("other", Begin("other", EPOCH, False, 3, 0, 3, 3))
    await stage(queue, frame(0, 1, {1: {"a": "1"}}, cut=True))
    await queue.park(await work_of(queue), [Part(frozenset(), frozenset((note("a"),)), failure())], 5)
    await queue.clear(NAME)
    assert await queue.load(NAME) == (None, (), Parking())
    assert await queue.work(NAME) is None
    assert (await queue.load("other"))[0] == Transfer(EPOCH, False, 3, 0, 3, 0)
