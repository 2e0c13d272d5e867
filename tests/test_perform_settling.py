"""What goes first on an auxiliary whose edits wait: verdicts before what comes down, edits before a count (R6, R14)."""

from __future__ import annotations

import asyncio

import pytest

from syncd.core import events as ev
from syncd.core import upward_effects as fx
from syncd.core import upward_events as up
from syncd.core.edits import Ruling
from syncd.core.effects import Execute, LookAtTarget
from syncd.core.messages import Begin, Verdict
from tests.perform_up_kit import EPOCH, LIMITS, NUMBERED, frame, opened
from tests.two_way_kit import NAME, note, text

pytestmark = pytest.mark.asyncio


async def test_nothing_is_counted_while_edits_wait_but_not_for_ever() -> None:
    auxiliary, now = await opened(), 100.0
    auxiliary.ports.now = lambda: now
    auxiliary.target.rows[note(3)] = text("nobody sent it")  # what only a count finds
    auxiliary.target.commit({note(2): text("two")})
    await auxiliary.reads()
    assert await auxiliary.does(LookAtTarget(NAME)) == ev.LookedAtTarget(NAME)
    now += LIMITS.count_s_max
    looked = await auxiliary.does(LookAtTarget(NAME))
    assert isinstance(looked, ev.LookedAtTarget)
    assert looked.state is not None
    assert looked.state.objects == 2


async def test_verdicts_that_wait_to_be_kept_are_kept_before_what_came_down_is_executed() -> None:
    auxiliary, enough = await opened(), asyncio.Event()

    async def pause(_: float) -> None:
        await enough.wait()

    auxiliary.ports.pause = pause
    auxiliary.target.commit({note(1): text("one", "edited")})
    await auxiliary.reads()
    await auxiliary.does(fx.TakeUploads(NAME, 0, "msgpack", 1_000))
    told = fx.SettleUploads(NAME, (Verdict(1, Ruling.ACCEPTED, 2, "", "", b"", 0),), 1)
    settling = asyncio.create_task(auxiliary.does(told))
    await asyncio.sleep(0)
    queue = auxiliary.ports.queue
    await queue.types(NAME, tuple(NUMBERED.values()))
    await queue.begin(NAME, Begin(NAME, EPOCH, False, 1, 0, 1, 2), [1])
    came = frame(1, 2, {note(1): text("one", "edited")})
    await queue.stage([(came, b"....")])
    done = await auxiliary.does(Execute(NAME, 0, auxiliary.target.state))
    assert isinstance(done, ev.WorkDone)
    assert done.outbox is not None
    assert done.outbox.pending == 0
    enough.set()
    settled = await settling
    assert isinstance(settled, up.UploadsSettled)
    assert settled.outbox.pending == 0
