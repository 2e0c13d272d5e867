"""The contract of the outbox, in SQLite and its twin in memory: what a download means for edits that are not settled,
and putting back what was refused (R7, R14)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from syncd.core.edits import Plan
from syncd.core.errors import EditsUnread
from syncd.core.upward_ports import Outbox
from tests.contract.outbox_kit import (
    NAME,
    NEXT,
    NOTE,
    Change,
    S,
    accepted,
    at,
    difference,
    left,
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


def gains(plan: Plan, **changes: Change) -> bool:
    """The checksum and the count gain what these changes of objects make."""
    objects = sum((new is not None) - (old is not None) for old, new in changes.values())
    return (plan.digest % (1 << 128), plan.objects) == (difference(changes), objects)


async def overlaid(outbox: Outbox, **changes: Change) -> bool:
    """What stands in the application are these changes of what the primary sent."""
    overlay = await outbox.overlay(NAME)
    objects = sum((old is not None) - (new is not None) for old, new in changes.values())
    back = {key: (new, old) for key, (old, new) in changes.items()}
    return (overlay.digest % (1 << 128), overlay.objects) == (difference(back), objects)


async def test_where_no_edit_is_concerned_there_is_nothing_to_do(outbox: Outbox) -> None:
    assert await outbox.plan(NAME, work({"a": "1"})) == Plan(0, 0)
    await make(outbox, {"b": ("1", "2")}, mark=6)
    plan = await outbox.plan(NAME, work({"a": "1"}))
    assert (plan.id, plan.mark, plan.digest, plan.objects) == (0, 6, 0, 0)
    assert (await outbox.plan(NAME, None)).id == 0
    assert not await outbox.touches(NAME, work({"a": "1"}))
    assert await outbox.touches(NAME, work({"a": "1", "b": "1"}))
    assert not await outbox.touches(NAME, work({"a": "1", "b": "1"}, skip=frozenset([note("b")])))


async def test_a_plan_is_of_what_was_done_before_it_however_often_one_was_asked_for(outbox: Outbox) -> None:
    async def planned() -> tuple[int, int]:
        plans = [await outbox.plan(NAME, work({"a": "3"})) for _ in range(2)]
        assert plans[0].mark == plans[1].mark
        return plans[1].mark, plans[1].id

    assert await planned() == (0, 0)
    await make(outbox, {}, mark=3)
    assert await planned() == (3, 0)
    await make(outbox, {"a": ("1", "2")}, mark=6)
    mark, first = await planned()
    assert mark == 6
    assert first
    await outbox.take(NAME, 0, 1000)
    await outbox.settle(NAME, [accepted(1, 8)], 7, S)
    assert (await planned())[1] > 0
    plan = await outbox.plan(NAME, work({"a": "2"}))
    await outbox.carried_out(NAME, at(8, plan.id))
    assert await planned() == (6, 0)
    await make(outbox, {"a": ("2", "4")}, mark=9)
    assert (await planned())[1] > plan.id
    await outbox.clear(NAME)
    assert await planned() == (0, 0)


async def test_what_comes_back_as_it_was_made_is_the_base_from_then_on(outbox: Outbox) -> None:
    await make(outbox, {"a": ("1", "2"), "b": (None, "1"), "c": ("1", None)}, seal=True)
    plan = await outbox.plan(NAME, work({"a": "2", "b": "1", "c": None, "d": "5"}))
    assert plan.id
    assert gains(plan, a=("1", "2"), b=(None, "1"), c=("1", None))
    assert left(plan, "a", "b", "c", "d") == set()
    assert put_back(plan) == {}
    await outbox.carried_out(NAME, at(9, plan.id))
    assert await overlaid(outbox)
    assert (await outbox.plan(NAME, work({"a": "2"}))).id == 0


async def test_what_is_as_below_all_that_was_made_here_need_not_be_left_where_the_application_holds_it(
    outbox: Outbox,
) -> None:
    await make(outbox, {"a": (None, "1"), "b": (None, "1")}, seal=True)
    await make(outbox, {"a": ("1", None)}, seal=True)
    plan = await outbox.plan(NAME, work({"a": None}))  # without b it is not known to be ours
    assert (left(plan, "a", "b"), put_back(plan)) == (set(), {})
    await make(outbox, {"a": (None, "2")}, seal=True)
    plan = await outbox.plan(NAME, work({"a": None}))
    assert (left(plan, "a", "b"), put_back(plan)) == ({"a"}, {})


async def test_an_earlier_version_made_here_becomes_the_base_and_what_was_made_above_it_stays(outbox: Outbox) -> None:
    await make(outbox, {"a": ("1", "2")}, seal=True)
    await make(outbox, {"a": ("2", "3")}, seal=True)
    await make(outbox, {"a": ("3", None)})
    plan = await outbox.plan(NAME, work({"a": "2", "x": "1"}))
    assert gains(plan, a=("1", "2"))
    assert left(plan, "a", "x") == {"a"}
    await outbox.carried_out(NAME, at(9, plan.id))
    assert await overlaid(outbox, a=("2", None))
    await outbox.settle(NAME, [accepted(1, 9)], 9, S)
    plan = await outbox.plan(NAME, work({"a": "3"}))
    assert gains(plan, a=("2", "3"))
    assert left(plan, "a") == {"a"}
    await outbox.carried_out(NAME, at(10, plan.id))
    assert await overlaid(outbox, a=("3", None))
    assert (await outbox.load(NAME)).pending == 2


async def test_an_object_that_comes_as_below_all_edits_stays_as_it_is(outbox: Outbox) -> None:
    await make(outbox, {"a": ("1", "2"), "b": (None, "1")})
    plan = await outbox.plan(NAME, work({"a": "1", "b": None}))
    assert plan.id
    assert gains(plan)
    assert left(plan, "a", "b") == {"a", "b"}
    await outbox.carried_out(NAME, at(9, plan.id))
    assert await overlaid(outbox, a=("1", "2"), b=(None, "1"))


async def test_a_version_made_elsewhere_is_not_taken_for_what_was_there_before_where_a_group_in_between_came_down(
    outbox: Outbox,
) -> None:
    """It is the same by chance as the base, and as a later version made here whose group did not come down."""
    await make(outbox, {"a": ("1", "2"), "b": (None, "1")}, seal=True)
    await make(outbox, {"a": ("2", "1"), "c": (None, "1")}, seal=True)
    await make(outbox, {"a": ("1", "3"), "d": (None, "1")}, seal=True)
    plan = await outbox.plan(NAME, work({"a": "1", "b": "1", "x": "1"}))
    assert left(plan, "a", "b", "c", "d", "x") == set()
    assert put_back(plan) == {"c": None, "d": None}
    assert gains(plan, a=("1", "3"), b=(None, "1"))


async def test_where_another_version_comes_the_group_is_put_back_whole_with_all_joined_to_it(outbox: Outbox) -> None:
    await make(outbox, {"a": ("1", "2"), "b": ("1", "2"), "c": ("1", "2")}, seal=True)
    await make(outbox, {"c": ("2", "3"), "d": (None, "1")}, seal=True)
    await make(outbox, {"d": ("1", "2"), "e": ("1", None)}, seal=True)
    await make(outbox, {"f": ("1", "2")}, mark=8)
    plan = await outbox.plan(NAME, work({"a": "9", "c": "2", "f": "1"}))
    assert plan.mark == 8
    assert gains(plan, a=("1", "2"), c=("1", "3"))
    assert left(plan, "a", "c", "f") == {"f"}
    assert put_back(plan) == {"b": "1", "d": None, "e": "1"}
    state = await outbox.carried_out(NAME, at(9, plan.id))
    assert (state.pending, state.undo) == (4, False)
    assert await overlaid(outbox, f=("1", "2"))
    assert len(await sent(outbox)) == 4


async def test_an_undone_group_is_no_concern_of_later_downloads_and_gets_its_verdict(outbox: Outbox) -> None:
    await make(outbox, {"a": ("1", "2")})
    plan = await outbox.plan(NAME, work({"a": "9"}))
    await outbox.carried_out(NAME, at(9, plan.id))
    await make(outbox, {"a": ("9", "10")})
    assert await overlaid(outbox, a=("9", "10"))
    assert await sent(outbox) == {1: {"a": ("1", "2")}, 2: {"a": ("9", "10")}}
    state = await outbox.settle(NAME, [refused(1), accepted(2, 10)], 9, S)
    assert (state.pending, state.refused, state.undo) == (1, 1, False)


async def test_the_last_of_several_versions_in_a_work_counts(outbox: Outbox) -> None:
    await make(outbox, {"a": ("1", "2"), "b": ("1", "2")})
    first, last = work({"a": "9", "b": "2"}), work({"a": "2", "b": "9"})
    both = replace(last, frames=lambda: iter([*first.frames(), *last.frames()]))
    await make(outbox, {"c": ("1", "2")})
    plan = await outbox.plan(NAME, both)
    assert gains(plan, a=("1", "2"), b=("1", "2"))
    assert left(plan, "a", "b") == set()


async def test_objects_that_are_parked_are_left_out(outbox: Outbox) -> None:
    await make(outbox, {"a": ("1", "2"), "b": ("1", "2")})
    skip = frozenset([note("b")])
    assert (await outbox.plan(NAME, work({"b": "9"}, skip=skip))).id == 0
    plan = await outbox.plan(NAME, work({"a": "9", "b": "9"}, skip=skip))
    assert gains(plan, a=("1", "2"))
    assert put_back(plan) == {"b": "1"}


async def test_what_was_refused_is_put_back_with_all_joined_to_it(outbox: Outbox) -> None:
    await make(outbox, {"a": ("1", "2"), "b": (None, "1")}, seal=True)
    await make(outbox, {"b": ("1", "2")}, seal=True)
    await make(outbox, {"c": ("1", "2")}, mark=4)
    assert (await outbox.settle(NAME, [refused(1)], 9, S)).undo
    plan = await outbox.plan(NAME, None)
    assert (plan.mark, plan.digest, plan.objects) == (4, 0, 0)
    assert put_back(plan) == {"a": "1", "b": None}
    state = await outbox.carried_out(NAME, at(9, plan.id))
    assert (state.pending, state.undo) == (2, False)
    assert await overlaid(outbox, c=("1", "2"))
    assert (await outbox.plan(NAME, None)).id == 0


async def test_an_accepted_group_that_is_not_what_came_down_is_put_back(outbox: Outbox) -> None:
    await make(outbox, {"a": ("1", "2")}, seal=True)
    plan = await outbox.plan(NAME, work({"a": "1"}))
    assert not (await outbox.carried_out(NAME, at(12, plan.id))).undo
    state = await outbox.settle(NAME, [accepted(1, 11)], 12, S)
    assert (state.pending, state.undo) == (1, True)
    plan = await outbox.plan(NAME, None)
    assert put_back(plan) == {"a": "1"}
    state = await outbox.carried_out(NAME, at(12, plan.id))
    assert (state.pending, state.undo) == (0, False)
    assert await overlaid(outbox)


async def test_a_snapshot_puts_back_all_and_settles_what_was_offered_and_is_in_it(outbox: Outbox) -> None:
    await offer(outbox, {"a": "1", "b": "2", "c": "1"})
    await make(outbox, {"x": ("1", "2")}, mark=3)
    plan = await outbox.plan(NAME, work({"a": "1", "b": "1", "x": "2", "y": "1"}, snapshot=True))
    assert (plan.mark, plan.digest, plan.objects) == (3, 0, 0)
    assert left(plan, "a", "b", "c", "x", "y") == set()
    assert put_back(plan) == {}
    state = await outbox.carried_out(NAME, at(9, plan.id))
    assert (state.first, state.last, state.pending) == (2, 4, 3)
    assert await overlaid(outbox)
    assert await sent(outbox) == {2: {"b": (None, "2")}, 3: {"c": (None, "1")}, 4: {"x": ("1", "2")}}


async def test_a_snapshot_without_edits_needs_no_plan(outbox: Outbox) -> None:
    assert (await outbox.plan(NAME, work({"a": "1"}, snapshot=True))).id == 0


async def test_accepted_groups_leave_with_a_snapshot_of_another_epoch(outbox: Outbox) -> None:
    await make(outbox, {"a": ("1", "2")}, seal=True)
    await outbox.settle(NAME, [accepted(1, 5_000)], 4_000, S)
    plan = await outbox.plan(NAME, work({"a": "1"}, snapshot=True, seq=3))
    state = await outbox.carried_out(NAME, replace(at(3, plan.id), epoch="00000000000000bb"))
    assert (state.pending, state.undo) == (0, False)


async def test_a_group_that_is_still_open_is_read_before_it_is_put_back(outbox: Outbox) -> None:
    await make(outbox, {"a": ("1", "2")}, close=False)
    for what in (work({"a": "9"}), work({}, snapshot=True)):
        with pytest.raises(EditsUnread):
            await outbox.plan(NAME, what)
    assert left(await outbox.plan(NAME, work({"a": "1"})), "a") == {"a"}
    plan = await outbox.plan(NAME, work({"a": "2"}))
    await outbox.carried_out(NAME, at(9, plan.id))
    assert await overlaid(outbox)
    assert (await make(outbox, {"b": ("1", "2")})).pending == 1
    assert await sent(outbox) == {1: {"b": ("1", "2")}}


async def test_a_plan_takes_effect_if_the_target_says_so(outbox: Outbox) -> None:
    await make(outbox, {"a": ("1", "2")})
    plan = await outbox.plan(NAME, work({"a": "9"}))
    await outbox.carried_out(NAME, at(8, plan.id - 1))
    assert await overlaid(outbox, a=("1", "2"))
    await outbox.carried_out(NAME, at(9, plan.id))
    assert await overlaid(outbox, a=("1", "2"))
    second = await outbox.plan(NAME, work({"a": "9"}))
    third = await outbox.plan(NAME, work({"a": "2"}))
    assert plan.id < second.id < third.id
    await outbox.carried_out(NAME, at(9, third.id))
    assert await overlaid(outbox)
    assert await outbox.carried_out(NAME, at(9, third.id)) == await outbox.load(NAME)


async def test_the_ids_of_plans_are_beyond_those_the_target_has_seen(outbox: Outbox) -> None:
    await outbox.carried_out(NAME, at(9, 70))
    await make(outbox, {"a": ("1", "2")})
    assert (await outbox.plan(NAME, work({"a": "9"}))).id > 70


async def test_a_plan_is_read_from_any_thread_as_often_as_asked(outbox: Outbox) -> None:
    await make(outbox, {"a": ("1", "2"), "b": ("1", "2")})
    await make(outbox, {"c": ("1", "2")})
    plan = await outbox.plan(NAME, work({"a": "9", "c": "1"}))
    with ThreadPoolExecutor(2) as pool:
        for _ in range(2):
            assert pool.submit(put_back, plan).result() == {"b": "1"}
            assert pool.submit(left, plan, "a", "b", "c").result() == {"c"}


async def test_objects_are_the_same_whatever_the_id_of_their_type(outbox: Outbox) -> None:
    await make(outbox, {"a": ("1", "2")})
    await outbox.types(NAME, [NEXT])
    one = work({"a": "9"})
    frames = [replace(frame, types=[NEXT.id] * len(frame.types)) for frame in one.frames()]
    plan = await outbox.plan(NAME, replace(one, frames=lambda: iter(frames), types={NEXT.id: NEXT, NOTE.id: NOTE}))
    assert gains(plan, a=("1", "2"))


async def test_a_part_of_a_group_that_came_down_was_made_elsewhere_and_is_the_same_by_chance(outbox: Outbox) -> None:
    """Two people may take the same amount from one account: what is made of it here is not what was made there."""
    await make(outbox, {"a": ("1", "2"), "b": ("1", "2")}, seal=True)
    plan = await outbox.plan(NAME, work({"a": "2"}))
    assert gains(plan, a=("1", "2"))
    assert put_back(plan) == {"b": "1"}
    await outbox.carried_out(NAME, at(9, plan.id))
    assert await overlaid(outbox)


async def test_what_stands_above_a_part_that_came_down_by_chance_is_put_back_with_it(outbox: Outbox) -> None:
    await make(outbox, {"a": ("1", "2"), "b": ("1", "2")}, seal=True)
    await make(outbox, {"a": ("2", "3"), "c": ("1", "2")})
    plan = await outbox.plan(NAME, work({"a": "2"}))
    assert put_back(plan) == {"b": "1", "c": "1"}
    assert left(plan, "a") == set()


async def test_a_part_that_came_down_as_below_all_that_was_made_here_changes_nothing(outbox: Outbox) -> None:
    await make(outbox, {"a": ("1", "2"), "b": ("1", "2")}, seal=True)
    await make(outbox, {"a": ("2", "1")})
    plan = await outbox.plan(NAME, work({"a": "1"}))
    assert gains(plan)
    assert put_back(plan) == {}


async def test_an_object_that_comes_in_two_frames_makes_no_group_whole(outbox: Outbox) -> None:
    """The work has the group's version of one object twice, and another object of the group not at all."""
    await make(outbox, {"a": ("1", "2"), "b": ("1", "2")}, seal=True)
    once = work({"a": "2"})
    frames = [*once.frames(), *once.frames()]
    plan = await outbox.plan(NAME, replace(once, frames=lambda: iter(frames)))
    assert gains(plan, a=("1", "2"))
    assert set(put_back(plan)) == {"b"}


async def test_groups_that_come_down_whole_before_and_after_their_verdicts_leave_nothing(outbox: Outbox) -> None:
    await make(outbox, {"a": ("1", "2"), "b": (None, "1")}, seal=True)
    await make(outbox, {"c": ("1", None)}, seal=True)
    await outbox.settle(NAME, [accepted(1, 9)], 7, S)
    plan = await outbox.plan(NAME, work({"a": "2", "b": "1", "c": None}))
    assert gains(plan, a=("1", "2"), b=(None, "1"), c=("1", None))
    state = await outbox.carried_out(NAME, at(9, plan.id))
    assert (state.first, state.pending) == (2, 1)
    assert await overlaid(outbox)
    state = await outbox.settle(NAME, [accepted(2, 9)], 9, S)
    assert (state.first, state.pending) == (3, 0)
    assert not await outbox.touches(NAME, work({"a": "3", "b": "3", "c": "3"}))


async def test_a_whole_group_beside_others_that_stand_is_counted_for_itself(outbox: Outbox) -> None:
    await make(outbox, {"a": ("1", "2")}, seal=True)
    await make(outbox, {"b": ("1", "2")}, seal=True)
    plan = await outbox.plan(NAME, work({"a": "2"}))
    assert gains(plan, a=("1", "2"))
    await outbox.carried_out(NAME, at(9, plan.id))
    assert await overlaid(outbox, b=("1", "2"))
