"""Parking and trying again, performed on ports in memory (R7)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from syncd.core import effects as fx
from syncd.core import events as ev
from syncd.core.model import ObjectId, OutcomeKind
from syncd.core.ports import Executed, Parking, Unexecuted
from tests.core.kit import CITY, NAME, frame
from tests.perform_kit import LIMITS, SNAPSHOT, Auxiliary

pytestmark = pytest.mark.asyncio


async def parked(auxiliary: Auxiliary) -> ev.Parked:
    """Groups 1, 2 and 3 came; 2 was refused and is parked, the others are executed."""
    auxiliary.target.failing[ObjectId("city", b"key 2")] = "CHECK constraint failed"
    await auxiliary.begins(SNAPSHOT)
    await auxiliary.stages(frame(0, 1), frame(1, 2), frame(2, 3))
    failed = await auxiliary.executes()
    assert isinstance(failed, ev.WorkDone)
    assert isinstance(failed.result, Unexecuted)
    event = await auxiliary.does(fx.Park(NAME, failed.result.parts))
    assert isinstance(event, ev.Parked)
    done = await auxiliary.executes(settled=3)
    assert isinstance(done, ev.WorkDone)
    assert isinstance(done.result, Executed)
    return event


async def test_a_group_that_fails_is_parked_before_the_rest_is_executed() -> None:
    auxiliary = Auxiliary()
    (part,) = (await parked(auxiliary)).parked.oldest
    assert (part.seqs, part.failure.cause, part.failure.guilty) == (
        (2,),
        "CHECK constraint failed",
        ObjectId("city", b"key 2"),
    )
    assert part.retry_at_us == 105_000_000
    assert {one.key for one in auxiliary.target.rows} == {b"key 1", b"key 3"}


async def test_what_touches_a_parked_object_parks_behind_it_without_being_executed() -> None:
    auxiliary = Auxiliary()
    await parked(auxiliary)
    state = auxiliary.target.state
    again = replace(frame(3, 5), keys=[b"key 2", b"key 5"])
    await auxiliary.stages(again)
    behind = await auxiliary.executes(state)
    assert isinstance(behind, ev.WorkDone)
    assert isinstance(behind.result, Unexecuted)
    assert behind.result.parts[0].seqs == {5}
    assert behind.result.parts[0].failure.outcome is OutcomeKind.CANCELLED


async def test_the_short_road_is_closed_to_what_touches_a_parked_object() -> None:
    auxiliary = Auxiliary()
    await parked(auxiliary)
    held = auxiliary.target.state
    touches = replace(frame(3, 5), keys=[b"key 2", b"key 5"])
    refused = await auxiliary.does(fx.ExecuteNow(NAME, (touches,), held, {CITY.id: CITY}, parked=True))
    assert isinstance(refused, ev.WorkDone)
    assert (refused.result, auxiliary.target.state) == (Unexecuted(()), held)
    done = await auxiliary.does(fx.ExecuteNow(NAME, (frame(3, 5),), held, {CITY.id: CITY}, parked=True))
    assert isinstance(done, ev.WorkDone)
    assert isinstance(done.result, Executed)


async def test_a_parked_group_that_fails_again_waits_twice_as_long_each_time() -> None:
    auxiliary = Auxiliary()
    (part,) = (await parked(auxiliary)).parked.oldest
    pauses = []
    for _ in range(4):
        event = await auxiliary.does(fx.RetryParked(NAME, frozenset((None,)), 3))
        assert isinstance(event, ev.Retried)
        assert (event.state, event.tried) == (auxiliary.target.state, 1)
        (part,) = event.parked.oldest
        pauses.append(part.retry_at_us / 1e6 - auxiliary.now)
    assert pauses == sorted(pauses)
    assert pauses[0] > LIMITS.park_retry_s_first
    assert pauses[-1] == LIMITS.park_retry_s_max


async def test_a_parked_group_that_is_applied_is_parked_no_longer() -> None:
    auxiliary = Auxiliary()
    await parked(auxiliary)
    auxiliary.target.failing.clear()
    event = await auxiliary.does(fx.RetryParked(NAME, frozenset((None,)), 3))
    assert isinstance(event, ev.Retried)
    assert event.state == auxiliary.target.state
    assert event.parked == Parking()
    assert len(auxiliary.target.rows) == 3
