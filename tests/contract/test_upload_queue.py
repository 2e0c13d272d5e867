"""The contract of the upload queue, for the one in SQLite and its twin in memory: frames and groups (R6; claim 24k)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from syncd.core.edits import Edit, EditGroup
from syncd.core.settings import Limits
from syncd.core.upward_ports import UploadQueue
from tests.contract.uploads_kit import (
    DEVICE,
    NAME,
    NOTE,
    NOW_US,
    OUTBOX,
    all_of,
    numbers,
    open_queue,
    run,
    settle,
    stage,
    upload,
    waiting,
    written,
)

pytestmark = pytest.mark.asyncio

SECOND_US = 1_000_000
LIMITS = Limits(uploads_bytes_max=2_000, edit_group_bytes_max=10_000)


@pytest_asyncio.fixture(params=["sqlite", "memory"])
async def queue(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[UploadQueue]:
    async with open_queue(request.param, tmp_path, LIMITS) as opened:
        yield opened


async def test_a_queue_begins_empty(queue: UploadQueue) -> None:
    assert await queue.next(NAME, 0, 10) == (0, ())
    assert await queue.received(DEVICE, NAME, OUTBOX) == 0
    assert await queue.verdicts(DEVICE, NAME, OUTBOX, 0) == ()
    assert await queue.stage(DEVICE, [], NOW_US) == 0


async def test_a_group_comes_out_as_it_was_made(queue: UploadQueue) -> None:
    assert await stage(queue, upload({1: {"a": "1", "+b": "2", "c": None}})) == 1
    edits = (Edit(NOTE, b"a", b"was a", b"1"), Edit(NOTE, b"+b", None, b"2"), Edit(NOTE, b"c", b"was c", None))
    group = EditGroup(DEVICE, OUTBOX, 1, NOW_US - SECOND_US + 1, edits, False, DEVICE)
    assert await queue.next(NAME, 0, 10) == (1, (group,))


async def test_an_offered_group_says_so(queue: UploadQueue) -> None:
    await stage(queue, upload({1: {"+a": "1"}}, offered=True), upload({2: {"a": "2"}}))
    assert [group.offered for group in await all_of(queue)] == [True, False]


async def test_fields_that_are_empty_are_not_a_deletion(queue: UploadQueue) -> None:
    await stage(queue, upload({1: {"a": "", "b": None}}))
    (group,) = await all_of(queue)
    assert [edit.fields for edit in group.edits] == [b"", None]


async def test_groups_of_many_frames_come_out_in_order(queue: UploadQueue) -> None:
    await stage(queue, upload({1: {"a": "1"}, 2: {"b": "1"}}), upload({3: {"c": "1"}}))
    await stage(queue, upload({4: {"d": "1"}}))
    assert await waiting(queue) == [(DEVICE, n, {key: "1"}) for n, key in zip(range(1, 5), "abcd", strict=True)]
    assert await queue.received(DEVICE, NAME, OUTBOX) == 4


async def test_numbers_may_be_missing(queue: UploadQueue) -> None:
    assert await stage(queue, upload({3: {"a": "1"}, 7: {"b": "1"}})) == 7
    assert await stage(queue, upload({12: {"c": "1"}})) == 12
    assert [number for _, number, _ in await waiting(queue)] == [3, 7, 12]


# ---------------------------------------------------------------- groups of several frames


async def test_a_group_waits_for_its_last_frame(queue: UploadQueue) -> None:
    assert await stage(queue, upload({1: {"a": "1"}, 2: {"b": "1"}}, cut=True)) == 1
    assert await stage(queue, upload({2: {"c": "1"}}, cut=True), upload({2: {"d": "1"}}, cut=True)) == 1
    assert await waiting(queue) == [(DEVICE, 1, {"a": "1"})]
    assert await stage(queue, upload({2: {"e": "1"}, 3: {"f": "1"}})) == 3
    assert await waiting(queue) == [
        (DEVICE, 1, {"a": "1"}),
        (DEVICE, 2, {"b": "1", "c": "1", "d": "1", "e": "1"}),
        (DEVICE, 3, {"f": "1"}),
    ]


async def test_a_last_frame_may_hold_nothing_more_of_its_group(queue: UploadQueue) -> None:
    await stage(queue, upload({1: {"a": "1"}}, cut=True), upload({1: {}}))
    assert await waiting(queue) == [(DEVICE, 1, {"a": "1"})]


async def test_a_group_without_edits_is_one(queue: UploadQueue) -> None:
    assert await stage(queue, upload({1: {}})) == 1
    assert await waiting(queue) == [(DEVICE, 1, {})]


async def test_a_half_group_that_is_sent_again_from_its_beginning_is_there_once(queue: UploadQueue) -> None:
    first = upload({1: {"x": "1"}, 2: {"a": "1", "b": "1"}}, cut=True)
    await stage(queue, first, upload({2: {"c": "1"}}, cut=True))
    assert await stage(queue, upload({2: {"a": "1"}}, cut=True), upload({2: {"b": "1", "c": "1"}}, cut=True)) == 1
    assert await stage(queue, upload({2: {"d": "1"}})) == 2
    assert (await waiting(queue))[1] == (DEVICE, 2, {"a": "1", "b": "1", "c": "1", "d": "1"})
    assert len((await all_of(queue))[1].edits) == 4


async def test_a_half_group_that_is_sent_again_in_one_piece_is_there_once(queue: UploadQueue) -> None:
    await stage(queue, upload({2: {"a": "1"}}, cut=True), upload({2: {"b": "1"}}, cut=True))
    assert await stage(queue, upload({2: {"a": "1", "b": "1", "c": "1"}, 3: {"d": "1"}})) == 3
    assert await waiting(queue) == [(DEVICE, 2, {"a": "1", "b": "1", "c": "1"}), (DEVICE, 3, {"d": "1"})]


async def test_a_half_group_sent_again_together_with_groups_that_are_there(queue: UploadQueue) -> None:
    both = upload({1: {"x": "1"}, 2: {"a": "1"}}, cut=True)
    await stage(queue, both)
    assert await stage(queue, both, upload({2: {"b": "1"}})) == 2
    assert await waiting(queue) == [(DEVICE, 1, {"x": "1"}), (DEVICE, 2, {"a": "1", "b": "1"})]


async def test_an_object_that_two_frames_of_a_group_edit_is_edited_once(queue: UploadQueue) -> None:
    await stage(queue, upload({1: {"a": "1", "b": "1"}}, cut=True), upload({1: {"c": "1", "b": "2"}}))
    (group,) = await all_of(queue)
    assert [(edit.key, edit.base, edit.fields) for edit in group.edits] == [
        (b"a", b"was a", b"1"),
        (b"b", b"was b", b"2"),
        (b"c", b"was c", b"1"),
    ]


async def test_a_half_group_whose_rest_never_comes_gives_way_to_the_next(queue: UploadQueue) -> None:
    await stage(queue, upload({2: {"a": "1"}}, cut=True))
    assert await stage(queue, upload({3: {"b": "1"}})) == 3
    assert await waiting(queue) == [(DEVICE, 3, {"b": "1"})]


# ---------------------------------------------------------------- repeats


async def test_groups_that_came_before_are_passed_over(queue: UploadQueue) -> None:
    frames = upload({1: {"a": "1"}}), upload({2: {"b": "1"}, 3: {"c": "1"}})
    assert await stage(queue, *frames) == 3
    assert await stage(queue, *frames) == 3
    assert await stage(queue, upload({3: {"c": "1"}, 4: {"d": "1"}})) == 4
    assert [number for _, number, _ in await waiting(queue)] == [1, 2, 3, 4]


async def test_a_large_group_that_came_before_is_passed_over_piece_by_piece(queue: UploadQueue) -> None:
    frames = upload({1: {"a": "1"}}, cut=True), upload({1: {"b": "1"}}, cut=True), upload({1: {"c": "1"}})
    assert await stage(queue, *frames) == 1
    for frame in frames:
        assert await stage(queue, frame) == 1
    assert await waiting(queue) == [(DEVICE, 1, {"a": "1", "b": "1", "c": "1"})]


async def test_groups_that_are_settled_are_passed_over(queue: UploadQueue) -> None:
    frame = upload({1: {"a": "1"}, 2: {"b": "1"}})
    await stage(queue, frame)
    await settle(queue, written(1), written(2))
    assert await stage(queue, frame) == 2
    assert await waiting(queue) == []
    await queue.verdicts(DEVICE, NAME, OUTBOX, 3)
    assert await stage(queue, frame) == 2
    assert await waiting(queue) == []


async def test_it_says_how_much_of_a_device_waits(queue: UploadQueue) -> None:
    await stage(queue, upload({1: {"a": "1"}}, outbox="0b0b"))
    await stage(queue, upload({1: {"a": "1"}, 2: {"b": "1"}}, cut=True))
    assert await queue.waiting_bytes("phone", NAME) == await queue.waiting_bytes(DEVICE, "other") == 0
    await settle(queue, written(1))
    assert await queue.waiting_bytes(DEVICE, NAME) > 0
    await settle(queue, written(1, outbox="0b0b"))
    assert await queue.waiting_bytes(DEVICE, NAME) > 0, "half a group"
    await stage(queue, upload({2: {"c": "1"}}))
    await settle(queue, written(2))
    assert await queue.waiting_bytes(DEVICE, NAME) == 0


@pytest.mark.parametrize("what", ["sqlite", "memory"])
async def test_very_many_verdicts_are_read_in_parts(what: str, tmp_path: Path) -> None:
    async with open_queue(what, tmp_path, replace(LIMITS, verdicts_read_max=2)) as queue:
        await stage(queue, upload({number: {"a": "1"} for number in range(1, 6)}))
        await settle(queue, *(written(number) for number in range(1, 6)))
        parts = [await queue.verdicts(DEVICE, NAME, OUTBOX, 2, after) for after in (0, 3, 5)]
        assert [[verdict.number for verdict in part] for part in parts] == [[2, 3], [4, 5], []]
        assert await numbers(queue, 2) == [2, 3], "they are kept until they are known there"


async def test_a_group_named_twice_in_a_frame_is_taken_once(queue: UploadQueue) -> None:
    twice = replace(upload({1: {"a": "1", "b": "2"}, 2: {"c": "3"}}), runs=(run(1, 1), run(1, 1), run(2, 1)))
    assert await stage(queue, twice) == 2
    assert await waiting(queue) == [(DEVICE, 1, {"a": "1"}), (DEVICE, 2, {"c": "3"})]


# ---------------------------------------------------------------- devices, collections, outboxes


async def test_devices_and_collections_stand_apart(queue: UploadQueue) -> None:
    await stage(queue, upload({1: {"a": "1"}}))
    await stage(queue, upload({5: {"b": "1"}}), device="tablet")
    await stage(queue, upload({9: {"c": "1"}}, collection="other"))
    assert await waiting(queue) == [(DEVICE, 1, {"a": "1"}), ("tablet", 5, {"b": "1"})]
    assert await waiting(queue, "other") == [(DEVICE, 9, {"c": "1"})]
    assert await queue.received("tablet", NAME, OUTBOX) == 5
    assert await queue.received(DEVICE, "other", OUTBOX) == 9


async def test_groups_come_out_in_the_order_in_which_their_last_frames_came(queue: UploadQueue) -> None:
    await stage(queue, upload({1: {"a": "1"}}, cut=True))
    await stage(queue, upload({1: {"b": "1"}}), device="tablet")
    await stage(queue, upload({1: {"c": "1"}}))
    await stage(queue, upload({2: {"d": "1"}}), device="tablet")
    assert [(device, number) for device, number, _ in await waiting(queue)] == [
        ("tablet", 1),
        (DEVICE, 1),
        ("tablet", 2),
    ]


async def test_whole_groups_of_a_former_outbox_are_executed_and_half_ones_are_not(queue: UploadQueue) -> None:
    await stage(queue, upload({4: {"a": "1"}, 5: {"b": "1"}}, cut=True))
    assert await stage(queue, upload({1: {"a": "1"}}, outbox="other")) == 1
    assert [(group.outbox, group.number) for group in await all_of(queue)] == [(OUTBOX, 4), ("other", 1)]
    assert await queue.received(DEVICE, NAME, OUTBOX) == 4
    assert await settle(queue, written(4)) == {DEVICE: [4]}
    assert await numbers(queue) == [4]
    assert await stage(queue, upload({5: {"c": "1"}})) == 5
    assert [(group.outbox, group.number) for group in await all_of(queue)] == [("other", 1), (OUTBOX, 5)]
    assert [edit.key for edit in (await all_of(queue))[1].edits] == [b"c"]


async def test_another_outbox_ends_nothing_of_other_devices_and_collections(queue: UploadQueue) -> None:
    await stage(queue, upload({1: {"a": "1"}}, cut=True), device="tablet")
    await stage(queue, upload({1: {"a": "1"}}, collection="other", cut=True))
    await stage(queue, upload({1: {"b": "1"}}, outbox="other"))
    await stage(queue, upload({1: {"c": "1"}}), device="tablet")
    await stage(queue, upload({1: {"c": "1"}}, collection="other"))
    assert await waiting(queue) == [(DEVICE, 1, {"b": "1"}), ("tablet", 1, {"a": "1", "c": "1"})]
    assert await waiting(queue, "other") == [(DEVICE, 1, {"a": "1", "c": "1"})]


async def test_of_very_many_outboxes_the_oldest_that_wait_for_nothing_are_forgotten(queue: UploadQueue) -> None:
    for number in range(40):
        await stage(queue, upload({7: {"a": "1"}}, outbox=f"{number}"))
        if number:
            await settle(queue, written(7, outbox=f"{number}"))
    known = [number for number in range(40) if await queue.received(DEVICE, NAME, f"{number}")]
    assert (known[0], known[-1]) == (0, 39), "group 7 of the first one waits"
    assert len(known) == 16
    assert known[1:] == list(range(25, 40))


# ---------------------------------------------------------------- time


@pytest.mark.parametrize(
    ("ahead_s", "made_us"),
    [
        (0, NOW_US - SECOND_US + 1),
        (-100, NOW_US - SECOND_US + 1),
        (119, NOW_US - SECOND_US + 1),
        (121, 0),
        (-121, 0),
        (1e9, 0),
    ],
)
async def test_a_group_is_dated_by_the_clock_of_the_primary(queue: UploadQueue, ahead_s: float, made_us: int) -> None:
    ahead_us = int(ahead_s * SECOND_US)
    frame = upload({1: {"a": "1"}}, clock_us=NOW_US + ahead_us)
    made = replace(frame, runs=(frame.runs[0]._replace(time_us=frame.runs[0].time_us + ahead_us),))
    await stage(queue, made)
    assert [group.time_us for group in await all_of(queue)] == [made_us]


async def test_no_group_is_dated_after_it_came(queue: UploadQueue) -> None:
    frame = upload({1: {"a": "1"}})
    await stage(queue, replace(frame, runs=(frame.runs[0]._replace(time_us=NOW_US + 10**15),)))
    assert [group.time_us for group in await all_of(queue)] == [NOW_US]


# ---------------------------------------------------------------- next


async def test_a_cursor_goes_on_after_what_was_handed_out(queue: UploadQueue) -> None:
    await stage(queue, upload({n: {"a": f"{n}"} for n in range(1, 6)}))
    cursor, groups = await queue.next(NAME, 0, 2)
    assert [group.number for group in groups] == [1, 2]
    await stage(queue, upload({6: {"a": "6"}}))
    cursor, groups = await queue.next(NAME, cursor, 3)
    assert [group.number for group in groups] == [3, 4, 5]
    cursor, groups = await queue.next(NAME, cursor, 3)
    assert [group.number for group in groups] == [6]
    assert await queue.next(NAME, cursor, 3) == (cursor, ())


async def test_a_cursor_stays_good_when_all_groups_are_settled(queue: UploadQueue) -> None:
    await stage(queue, upload({1: {"a": "1"}, 2: {"b": "1"}}))
    cursor, _ = await queue.next(NAME, 0, 10)
    await settle(queue, written(1), written(2))
    await stage(queue, upload({3: {"c": "1"}}))
    assert [group.number for group in (await queue.next(NAME, cursor, 10))[1]] == [3]


async def test_what_was_handed_out_and_not_settled_is_handed_out_to_a_new_cursor(queue: UploadQueue) -> None:
    await stage(queue, upload({n: {"a": f"{n}"} for n in range(1, 5)}))
    assert len(await all_of(queue)) == 4
    await settle(queue, written(2), written(3))
    assert [number for _, number, _ in await waiting(queue)] == [1, 4]


async def test_groups_are_handed_out_up_to_a_bound_in_bytes(queue: UploadQueue) -> None:
    await stage(queue, upload({n: {"a": "x" * 700} for n in range(1, 6)}))
    cursor, seen = 0, []
    while True:
        cursor, groups = await queue.next(NAME, cursor, 100)
        if not groups:
            break
        seen.append([group.number for group in groups])
    assert seen == [[1, 2], [3, 4], [5]]


async def test_a_group_that_is_larger_than_the_bound_is_handed_out_alone(queue: UploadQueue) -> None:
    await stage(queue, upload({1: {"a": "x"}, 2: {"b": "x" * 5_000}, 3: {"c": "x"}}))
    cursor, groups = await queue.next(NAME, 0, 100)
    assert [group.number for group in groups] == [1]
    cursor, groups = await queue.next(NAME, cursor, 100)
    assert [group.number for group in groups] == [2]
    cursor, groups = await queue.next(NAME, cursor, 100)
    assert [group.number for group in groups] == [3]


async def test_a_group_that_is_too_large_to_be_executed_is_refused_and_nothing_of_it_is_kept(
    queue: UploadQueue,
) -> None:
    for part in "abcd":
        assert await stage(queue, upload({2: {part: "x" * 4_000}}, cut=True)) == 0
    assert await stage(queue, upload({2: {"e": "x"}, 3: {"f": "1"}})) == 3
    assert await waiting(queue) == [(DEVICE, 3, {"f": "1"})]
    (verdict,) = await queue.verdicts(DEVICE, NAME, OUTBOX, 0)
    assert (verdict.number, verdict.ruling, verdict.seq, verdict.conflict) == (2, "refused", 0, 0)
    assert verdict.cause == "the group has more than 10,000 bytes"
