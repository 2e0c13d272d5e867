"""The contract of the outbox, in SQLite and its twin in memory: keeping, sending, settling (R6, R7, R11)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from syncd.core.edits import EVER, LocalBatch, OutboxState, Overlay, RefusedGroup
from syncd.core.errors import InvariantBroken
from syncd.core.upward_ports import Outbox
from tests.contract.outbox_kit import (
    NAME,
    NEXT,
    NOTE,
    S,
    accepted,
    at,
    difference,
    edit,
    edits,
    groups_of,
    make,
    note,
    offer,
    outbox_of,
    put_back,
    refused,
    sent,
    work,
)

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture(params=["sqlite", "memory"])
async def outbox(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Outbox]:
    async with outbox_of(request.param, tmp_path) as one:
        yield one


async def test_an_outbox_begins_empty_with_an_identity_of_its_own(outbox: Outbox) -> None:
    state = await outbox.load("other")
    assert state == OutboxState(state.outbox, 0, 1, 0, 0, 0, False)
    assert state.outbox
    assert state == await outbox.load("other")
    assert state.outbox != (await outbox.load(NAME)).outbox
    assert await outbox.take("other", 0, 1_000) == ()
    assert await outbox.overlay("other") == Overlay(0)


async def test_a_group_waits_once_it_is_whole(outbox: Outbox) -> None:
    state = await make(outbox, {"a": ("1", "2")}, mark=4, close=False)
    assert (state.mark, state.last, state.pending) == (4, 0, 0)
    assert await sent(outbox) == {}
    state = await make(outbox, {"b": (None, "1"), "a": ("2", "3")}, mark=6)
    assert (state.mark, state.first, state.last, state.pending) == (6, 1, 1, 1)
    assert await sent(outbox) == {1: {"a": ("1", "3"), "b": (None, "1")}}


async def test_an_edit_of_a_type_that_was_not_described_is_a_fault_of_ours(outbox: Outbox) -> None:
    with pytest.raises(InvariantBroken):
        await outbox.keep(NAME, LocalBatch((edit("a", "1", "2")._replace(type=77),), True, 3, S))
    assert (await outbox.load(NAME)).mark == 0


async def test_groups_travel_in_order_with_their_kinds(outbox: Outbox) -> None:
    await make(outbox, {"a": (None, "1")})
    await make(outbox, {"b": ("1", "2"), "c": ("1", None)})
    assert await sent(outbox) == {1: {"a": (None, "1")}, 2: {"b": ("1", "2"), "c": ("1", None)}}
    assert await sent(outbox, after=1) == {2: {"b": ("1", "2"), "c": ("1", None)}}
    (upload,) = await outbox.take(NAME, 1, 1_000)
    assert (upload.collection, upload.outbox, upload.clock_us) == (NAME, (await outbox.load(NAME)).outbox, 0)
    assert [(run.number, run.time_us, run.rows, run.whole, run.offered) for run in upload.runs] == [
        (2, 7 * S, 2, True, False)
    ]
    assert upload.types == [NOTE.id, NOTE.id]


async def test_groups_that_share_an_object_are_joined_while_they_are_not_sealed(outbox: Outbox) -> None:
    await make(outbox, {"a": ("1", "2")})
    await make(outbox, {"b": ("1", "2")})
    await make(outbox, {"c": ("1", "2")})
    state = await make(outbox, {"a": ("2", "3"), "c": ("2", None), "d": (None, "1")})
    assert (state.first, state.last, state.pending) == (1, 2, 2)
    assert await sent(outbox) == {
        1: {"a": ("1", "3"), "c": ("1", None), "d": (None, "1")},
        2: {"b": ("1", "2")},
    }


async def test_what_was_changed_back_is_no_edit_and_an_empty_group_is_none(outbox: Outbox) -> None:
    await make(outbox, {"a": ("1", "2"), "b": (None, "1")})
    assert (await make(outbox, {"a": ("2", "1")})).pending == 1
    state = await make(outbox, {"b": ("1", None)})
    assert (state.first, state.last, state.pending) == (1, 0, 0)
    assert await outbox.overlay(NAME) == Overlay(0)
    state = await make(outbox, {"a": ("1", "1")}, mark=9)
    assert (state.mark, state.pending) == (9, 0)


async def test_a_sealed_group_never_changes(outbox: Outbox) -> None:
    await make(outbox, {"a": ("1", "2")})
    first = await sent(outbox)
    await make(outbox, {"a": ("2", "3")})
    await make(outbox, {"a": ("3", "4")}, seal=True)
    await make(outbox, {"a": ("4", "5")})
    assert await sent(outbox) == first | {2: {"a": ("2", "4")}, 3: {"a": ("4", "5")}}


async def test_what_was_changed_back_above_a_sealed_group_travels(outbox: Outbox) -> None:
    await make(outbox, {"a": ("1", "2")}, seal=True)
    await make(outbox, {"a": ("2", "1")})
    assert await sent(outbox, after=1) == {2: {"a": ("2", "1")}}


async def test_the_state_says_up_to_which_group_any_may_have_been_sent(outbox: Outbox) -> None:
    await make(outbox, {"a": ("1", "2")})
    state = await make(outbox, {"b": ("1", "2")})
    assert (state.last, state.sealed) == (2, 0)
    await outbox.take(NAME, 0, 1)
    assert (await outbox.load(NAME)).sealed == 1


async def test_a_group_that_is_sealed_seals_all_before_it(outbox: Outbox) -> None:
    await make(outbox, {"a": ("1", "2")})
    await make(outbox, {"b": ("1", "2")}, seal=True)
    await make(outbox, {"a": ("2", "3"), "b": ("2", "3")})
    assert list(await sent(outbox)) == [1, 2, 3]


async def test_as_many_groups_are_taken_as_fit_but_one_at_least_and_whole(outbox: Outbox) -> None:
    for at_ in range(6):
        await make(outbox, {f"{at_}": (None, "x" * 300)})
    assert list(await sent(outbox, bytes_max=10)) == [1]
    assert list(await sent(outbox, after=1, bytes_max=700)) == [2, 3]
    await make(outbox, {f"large {at_}": (None, "x" * 150) for at_ in range(10)})
    frames = await outbox.take(NAME, 6, 10)
    assert [[(run.number, run.rows, run.whole) for run in frame.runs] for frame in frames] == [
        [(7, 2, False)],
        [(7, 2, False)],
        [(7, 2, False)],
        [(7, 2, False)],
        [(7, 2, True)],
    ]
    assert len(groups_of(frames)[7]) == 10


async def test_small_groups_share_a_frame(outbox: Outbox) -> None:
    for at_ in range(40):
        await make(outbox, {f"{at_:02}": ("1", "2")})
    frames = await outbox.take(NAME, 0, 100_000)
    assert [len(frame) for frame in frames] == [40]
    assert len(frames[0].runs) == 40


async def test_what_closes_is_taken_in_the_same_commit(outbox: Outbox) -> None:
    await make(outbox, {"a": ("1", "2")})
    batch = LocalBatch((edit("b", "1", "2"),), True, 4, 7 * S)
    state, frames = await outbox.keep_and_take(NAME, batch, 1, 1_000)
    assert (state.mark, state.last, state.sealed) == (4, 2, 2)
    assert groups_of(frames) == {2: {"b": ("1", "2")}}
    assert await outbox.load(NAME) == state
    assert (await outbox.keep_and_take(NAME, LocalBatch((), True, 5, 7 * S), 2, 1_000))[1] == ()


@pytest.mark.parametrize(
    ("changes", "cause", "guilty"),
    [
        ((edit("a", "1", "2"), edit("b", "1", "", "it is no UTF-8")), "it is no UTF-8", "b"),
        ((edit("a", "1", "x" * 1_000),), "1001 bytes; the limit is 1000", "a"),
        (tuple(edit(f"{at_}", None, "x" * 900) for at_ in range(5)), "4505 bytes were changed together", None),
    ],
)
async def test_a_group_that_cannot_travel_is_refused_here_and_put_back(
    outbox: Outbox, changes: tuple[object, ...], cause: str, guilty: str | None
) -> None:
    await make(outbox, {"z": ("1", "2")})
    state = await outbox.keep(NAME, LocalBatch(changes, True, 3, 5 * S))  # type: ignore[arg-type]
    assert (state.first, state.last, state.pending, state.refused, state.undo) == (1, 2, 1, 1, True)
    (group,) = await outbox.refused(NAME)
    assert cause in group.cause
    assert group == RefusedGroup(2, 5 * S, group.cause, note(guilty) if guilty else None, 0, len(changes))
    assert set(await outbox.edits(NAME, 2)) == set(changes)
    assert list(await sent(outbox)) == [1]
    plan = await outbox.plan(NAME, None)
    assert len(put_back(plan)) == len(changes)
    assert not (await outbox.carried_out(NAME, at(1, plan.id))).undo


async def test_groups_that_would_be_too_large_together_are_not_joined(outbox: Outbox) -> None:
    for key in "abcd":
        await make(outbox, {key: (None, "x" * 900), "hot": ("1", "2") if key == "a" else ("2", "2" + key)})
    await make(outbox, {"e": (None, "x" * 900), "hot": ("2d", "3")})
    await make(outbox, {"hot": ("3", "4")})
    found = await sent(outbox)
    assert [len(group) for group in found.values()] == [5, 2]
    assert found[2]["hot"] == ("2d", "4")
    assert (await outbox.load(NAME)).refused == 0


async def test_a_group_leaves_when_it_was_accepted_and_has_come_down(outbox: Outbox) -> None:
    await make(outbox, {"a": ("1", "2")}, mark=5, seal=True)
    assert (await outbox.overlay(NAME)).digest % (1 << 128) == difference({"a": ("2", "1")})
    state = await outbox.settle(NAME, [accepted(1, 9)], 8, S)
    assert (state.first, state.last, state.pending, state.undo) == (2, 1, 1, False)
    assert await sent(outbox) == {}
    plan = await outbox.plan(NAME, work({"a": "2"}))
    state = await outbox.carried_out(NAME, at(9, plan.id))
    assert (state.first, state.last, state.pending, state.undo) == (2, 1, 0, False)
    assert await outbox.overlay(NAME) == Overlay(5)


async def test_a_group_that_came_down_leaves_with_its_verdict(outbox: Outbox) -> None:
    await make(outbox, {"a": ("1", "2")}, seal=True)
    plan = await outbox.plan(NAME, work({"a": "2"}))
    assert (await outbox.carried_out(NAME, at(9, plan.id))).pending == 1
    assert await outbox.overlay(NAME) == Overlay(0)
    state = await outbox.settle(NAME, [accepted(1, 9)], 9, S)
    assert (state.first, state.last, state.pending) == (2, 1, 0)


async def test_verdicts_that_come_again_and_of_nobody_change_nothing(outbox: Outbox) -> None:
    await make(outbox, {"a": ("1", "2")}, seal=True)
    state = await outbox.settle(NAME, [refused(1), accepted(77, 3)], 9, S)
    assert await outbox.settle(NAME, [accepted(1, 9), refused(1, "other")], 9, S) == state
    assert [group.cause for group in await outbox.refused(NAME)] == ["no"]


async def test_a_refused_group_can_be_read_until_its_time_is_over(outbox: Outbox) -> None:
    await make(outbox, {"a": ("1", "2"), "b": (None, "1")}, seal=True)
    await make(outbox, {"c": ("1", None)}, seal=True)
    state = await outbox.settle(NAME, [refused(1, "CHECK failed", "b", 4), refused(2)], 9, 50 * S)
    assert (state.pending, state.refused, state.undo) == (0, 2, True)
    assert await outbox.refused(NAME) == [
        RefusedGroup(2, 7 * S, "no", None, 0, 1),
        RefusedGroup(1, 7 * S, "CHECK failed", note("b"), 4, 2),
    ]
    assert set(await outbox.edits(NAME, 1)) == set(edits({"a": ("1", "2"), "b": (None, "1")}))
    assert list(await outbox.edits(NAME, 3)) == []
    plan = await outbox.plan(NAME, None)
    await outbox.carried_out(NAME, at(9, plan.id))
    assert (await outbox.settle(NAME, [], 9, 149 * S)).refused == 2
    assert (await outbox.settle(NAME, [], 9, 151 * S)).refused == 0
    assert list(await outbox.edits(NAME, 1)) == []
    assert (await make(outbox, {"d": ("1", "2")})).last == 3


async def test_a_refused_group_that_nobody_needs_to_read_is_put_back_all_the_same(outbox: Outbox) -> None:
    await make(outbox, {"a": ("1", "2")}, seal=True)
    await outbox.settle(NAME, [refused(1)], 9, S)
    await outbox.forget(NAME, 1)
    state = await outbox.load(NAME)
    assert (state.refused, state.undo) == (0, True)
    assert await outbox.refused(NAME) == []
    assert put_back(await outbox.plan(NAME, None)) == {"a": "1"}


async def test_an_outbox_that_is_an_older_copy_gets_another_identity_and_other_numbers(outbox: Outbox) -> None:
    for key in "abc":
        await make(outbox, {key: ("1", "2")}, seal=True)
    await outbox.settle(NAME, [refused(1)], 0, S)
    before = await outbox.load(NAME)
    state = await outbox.renumber(NAME, 40)
    assert state == replace(before, outbox=state.outbox, first=41, last=42, sealed=42)
    assert state.outbox != before.outbox
    assert await sent(outbox) == {41: {"b": ("1", "2")}, 42: {"c": ("1", "2")}}
    assert [group.number for group in await outbox.refused(NAME)] == [1]
    assert (await make(outbox, {"d": ("1", "2")})).last == 43


async def test_renumbering_an_outbox_in_which_nothing_waits_goes_on_after_what_the_primary_knows(
    outbox: Outbox,
) -> None:
    state = await outbox.renumber(NAME, 40)
    assert (state.first, state.last) == (41, 40)


async def test_each_object_that_is_offered_is_a_group_of_its_own_that_does_not_stand(outbox: Outbox) -> None:
    state = await offer(outbox, {"a": "1", "b": "1"}, mark=3)
    assert (state.mark, state.first, state.last, state.pending) == (3, 1, 2, 2)
    assert await outbox.overlay(NAME) == Overlay(3)
    (upload,) = await outbox.take(NAME, 0, 1_000)
    assert [(run.number, run.rows, run.offered) for run in upload.runs] == [(1, 1, True), (2, 1, True)]
    assert not await outbox.touches(NAME, work({"a": "7"}))


async def test_what_is_offered_again_after_a_crash_takes_the_place_of_what_was_offered(outbox: Outbox) -> None:
    await offer(outbox, {"a": "1", "b": "1"})
    state = await offer(outbox, {"a": "2", "b": "1", "c": "1"})
    assert (state.first, state.last) == (1, 3)
    assert await sent(outbox) == {1: {"a": (None, "2")}, 2: {"b": (None, "1")}, 3: {"c": (None, "1")}}
    assert (await offer(outbox, {"a": "2", "b": "1"})).last == 3


async def test_what_is_offered_and_waits_already_is_not_offered_again_unless_it_changed(outbox: Outbox) -> None:
    await make(outbox, {"a": ("1", "2"), "b": ("1", "2")})
    state = await offer(outbox, {"a": "2", "b": "3"})
    assert (state.first, state.last, state.pending) == (1, 2, 2)
    assert await sent(outbox) == {1: {"a": ("1", "2"), "b": ("1", "2")}, 2: {"b": ("2", "3")}}


async def test_what_is_offered_ends_the_open_group(outbox: Outbox) -> None:
    await make(outbox, {"a": ("1", "2")}, close=False)
    state = await offer(outbox, {"b": "1"})
    assert (state.first, state.last, state.pending) == (1, 2, 2)
    await make(outbox, {"a": ("2", "3"), "b": ("1", "2")})
    assert await sent(outbox) == {1: {"a": ("1", "2")}, 2: {"b": (None, "1")}, 3: {"a": ("2", "3"), "b": ("1", "2")}}


async def test_where_nothing_is_sent_down_groups_leave_with_their_verdicts(outbox: Outbox) -> None:
    await make(outbox, {"a": ("1", "2")}, seal=True)
    await make(outbox, {"a": ("2", "3")}, seal=True)
    await make(outbox, {"a": ("3", "4")}, seal=True)
    state = await outbox.settle(NAME, [accepted(1, 9), refused(2)], EVER, S)
    assert (state.first, state.pending, state.refused, state.undo) == (3, 1, 1, False)
    assert (await outbox.overlay(NAME)).digest % (1 << 128) == difference({"a": ("4", "3")})


async def test_a_collection_that_is_cleared_begins_anew(outbox: Outbox) -> None:
    before = await make(outbox, {"a": ("1", "2")}, mark=4, seal=True)
    await outbox.settle(NAME, [refused(1)], 9, S)
    await outbox.clear(NAME)
    state = await outbox.load(NAME)
    assert state == OutboxState(state.outbox, 0, 1, 0, 0, 0, False)
    assert state.outbox != before.outbox
    assert await outbox.refused(NAME) == []


async def test_types_that_were_described_once_are_known(outbox: Outbox) -> None:
    await outbox.types(NAME, [NEXT, replace(NOTE, definition=("CREATE TABLE note",))])
    await outbox.types("other", [NEXT])
    assert list(await outbox.known_types(NAME)) == [NOTE, NEXT]
    assert list(await outbox.known_types("third")) == []


async def test_collections_have_nothing_to_do_with_each_other(outbox: Outbox) -> None:
    await outbox.types("other", [NOTE])
    await make(outbox, {"a": ("1", "2")}, mark=3)
    await outbox.keep("other", LocalBatch((edit("a", "1", "3"),), True, 8, S))
    assert await sent(outbox) == {1: {"a": ("1", "2")}}
    await outbox.clear(NAME)
    assert groups_of(await outbox.take("other", 0, 1_000)) == {1: {"a": ("1", "3")}}
