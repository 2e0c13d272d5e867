"""What goes first on an auxiliary whose edits wait: verdicts before what comes down, edits before a count (R6, R14)."""

from __future__ import annotations

import asyncio

import pytest

from syncd.applications.memory_target import MemoryTarget
from syncd.core import events as ev
from syncd.core import upward_effects as fx
from syncd.core import upward_events as up
from syncd.core.edits import Ruling
from syncd.core.effects import Execute, LookAtTarget
from syncd.core.messages import Begin, Verdict
from syncd.core.ports import Executed, Unexecuted, Work
from tests.perform_up_kit import EPOCH, LIMITS, NUMBERED, Auxiliary, frame, opened
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


TOLD = fx.SettleUploads(NAME, (Verdict(1, Ruling.ACCEPTED, 2, "", "", b"", 0),), 1)


async def edited() -> tuple[Auxiliary, asyncio.Event]:
    """Note 1 was edited and sent. Verdicts are kept after a pause, which lasts until the event."""
    auxiliary, enough = await opened(), asyncio.Event()

    async def pause(_: float) -> None:
        await enough.wait()

    auxiliary.ports.pause = pause
    auxiliary.target.commit({note(1): text("one", "edited")})
    await auxiliary.reads()
    await auxiliary.does(fx.TakeUploads(NAME, 0, "msgpack", 1_000))
    return auxiliary, enough


async def work_comes(auxiliary: Auxiliary, last: int, fields: bytes) -> ev.WorkDone:
    """Note 1 comes down like this."""
    queue = auxiliary.ports.queue
    await queue.types(NAME, tuple(NUMBERED.values()))
    await queue.begin(NAME, Begin(NAME, EPOCH, False, 1, 0, 1, last), [1])
    await queue.stage([(frame(1, last, {note(1): fields}), b"....")])
    done = await auxiliary.does(Execute(NAME, 0, auxiliary.target.state))
    assert isinstance(done, ev.WorkDone)
    return done


async def nothing_waits_after_the_work(auxiliary: Auxiliary) -> None:
    """Note 1 comes down as it was edited."""
    done = await work_comes(auxiliary, 2, text("one", "edited"))
    assert done.outbox is not None
    assert done.outbox.pending == 0


def told_meanwhile(auxiliary: Auxiliary) -> list[asyncio.Task[ev.Event | None]]:
    """The verdict comes while what came down is executed; the task that keeps it."""
    settling: list[asyncio.Task[ev.Event | None]] = []

    class Told(MemoryTarget):
        async def execute(self, work: Work) -> Executed | Unexecuted:
            settling.append(asyncio.create_task(auxiliary.does(TOLD)))
            await asyncio.sleep(0)
            return await super().execute(work)

    auxiliary.target.__class__ = Told
    return settling


async def test_verdicts_that_wait_to_be_kept_are_kept_before_what_came_down_is_executed() -> None:
    auxiliary, enough = await edited()
    settling = asyncio.create_task(auxiliary.does(TOLD))
    await asyncio.sleep(0)
    await nothing_waits_after_the_work(auxiliary)
    enough.set()
    settled = await settling
    assert isinstance(settled, up.UploadsSettled)
    assert settled.outbox.pending == 0


async def test_verdicts_that_come_while_what_came_down_is_executed_are_kept_right_after_it() -> None:
    auxiliary, enough = await edited()
    settling = told_meanwhile(auxiliary)
    await nothing_waits_after_the_work(auxiliary)
    enough.set()
    settled = await settling[0]
    assert isinstance(settled, up.UploadsSettled)
    assert settled.outbox.pending == 0


async def test_they_are_kept_with_the_position_that_the_work_brought() -> None:
    """What was accepted and is the primary's version no longer is put back, and waits for nothing else."""
    auxiliary, enough = await edited()
    settling = told_meanwhile(auxiliary)
    done = await work_comes(auxiliary, 3, text("one"))
    enough.set()
    await settling[0]
    assert done.outbox is not None
    assert done.outbox.undo
