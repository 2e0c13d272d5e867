"""How changes of an auxiliary's application are performed on it: what is in the way is read first, an error is an event
(R6, R9, R11)."""

from __future__ import annotations

import asyncio

import pytest

from syncd.adapters.registry import ADAPTERS
from syncd.applications.memory_target import MemoryTarget
from syncd.core import events as ev
from syncd.core import upward_effects as fx
from syncd.core import upward_events as up
from syncd.core.edits import LocalChanges, Ruling
from syncd.core.effects import Effect, LookAtTarget, OpenTarget, Recount
from syncd.core.messages import Upload, Verdict
from syncd.core.ports import Executed
from syncd.core.settings import Limits
from syncd.outside import Ahead
from syncd.perform_up import read_changes
from tests.perform_up_kit import LIMITS, Auxiliary, opened
from tests.two_way_kit import NAME, note, text

pytestmark = pytest.mark.asyncio


async def test_what_the_application_changes_is_read_to_its_end_in_pages() -> None:
    auxiliary = await opened()
    auxiliary.target.commit({note(number): text(f"{number}") for number in range(2, 5)})
    assert ((await auxiliary.reads()).more, (await auxiliary.reads()).more) == (True, False)
    assert (await auxiliary.reads()).outbox.pending == 1


async def test_an_edit_that_nobody_has_read_is_read_before_its_object_is_written() -> None:
    auxiliary = await opened()
    auxiliary.target.commit({note(1): text("one", "edited"), note(2): text("two")})
    done = await auxiliary.executes(1, 2, {note(1): text("one", "the primary's")})
    assert isinstance(done, ev.WorkDone)
    assert isinstance(done.result, Executed)
    assert auxiliary.target.rows == {note(1): text("one", "the primary's")}, "the group is put back whole"
    assert done.outbox is not None
    assert done.outbox.pending == 1, "it travels all the same"


async def test_what_is_found_after_a_wait_is_kept_once_although_others_read_meanwhile() -> None:
    auxiliary = await opened()
    before = await auxiliary.outbox.load(NAME)
    late = asyncio.Event()

    class Slow(MemoryTarget):
        async def changes(self, mark: int, limit: int, wait_s: float | None = None) -> LocalChanges:
            found = await super().changes(mark, limit, wait_s)
            if wait_s is not None:
                late.set()
                await asyncio.sleep(0)  # a work is executed between this and what is kept of it
                await executed
            return found

    auxiliary.target.__class__ = Slow
    auxiliary.target.commit({note(1): text("one", "edited")})
    waiting = asyncio.create_task(auxiliary.does(fx.WaitLocal(NAME)))
    executed = asyncio.create_task(auxiliary.executes(1, 2, {note(1): text("one", "the primary's")}))
    await late.wait()
    done, read = await executed, await waiting
    assert isinstance(done, ev.WorkDone)
    assert isinstance(read, up.LocalRead)
    assert (read.outbox.pending, read.outbox.last, read.more) == (1, before.last + 1, False)
    assert auxiliary.target.rows[note(1)] == text("one", "the primary's"), "and nothing is found in it that was undone"


async def test_an_edit_found_beside_a_work_that_does_not_touch_it_stands_above_it() -> None:
    auxiliary = await opened()
    auxiliary.target.commit({note(1): text("one", "edited")})
    found = await auxiliary.target.changes(0, 10, wait_s=0.0)
    await auxiliary.executes(1, 2, {note(2): text("two")})
    read = await read_changes(auxiliary.ports, NAME, found=Ahead(0, found))
    assert (read.outbox.pending, read.more) == (1, False)
    assert (await auxiliary.reads()).outbox == read.outbox


async def test_an_application_that_never_rests_is_busy() -> None:
    auxiliary = await opened()

    auxiliary.target.commit({note(1): text("one", "edited")})

    class Restless(MemoryTarget):
        async def discard(self, mark: int) -> None:
            await super().discard(mark)
            self.commit({note(1): text("one", f"after {mark}")})

    auxiliary.target.__class__ = Restless
    failed = await auxiliary.executes(1, 2, {note(1): text("one", "the primary's")})
    assert isinstance(failed, ev.TargetFailed)
    assert not failed.held


async def test_nothing_is_read_before_the_outbox_was_told_what_was_carried_out() -> None:
    auxiliary = await opened()
    auxiliary.target.commit({note(1): text("one", "edited")})
    await auxiliary.reads()
    auxiliary.outbox.full = True
    assert isinstance(await auxiliary.executes(1, 2, {note(1): text("x")}), ev.TargetFailed)
    auxiliary.outbox.full = False
    assert isinstance(await auxiliary.does(fx.ReadLocal(NAME)), up.LocalFailed)
    assert isinstance(await auxiliary.does(OpenTarget(NAME)), ev.TargetOpened)
    assert isinstance(await auxiliary.does(fx.ReadLocal(NAME)), up.LocalRead)


@pytest.mark.parametrize(
    ("effect", "event"),
    [
        (fx.ReadLocal(NAME), up.LocalFailed),
        (fx.SettleUploads(NAME, (), 1), up.SettleFailed),
    ],
)
async def test_a_full_disk_of_the_home_is_an_event(effect: Effect, event: type[ev.Event]) -> None:
    auxiliary = await opened()
    auxiliary.target.commit({note(1): text("one", "edited")})
    auxiliary.outbox.full = True
    assert isinstance(await auxiliary.does(effect), event)
    assert auxiliary.target.rows[note(1)] == text("one", "edited")


async def test_an_application_that_is_away_cannot_be_read() -> None:
    auxiliary = await opened()
    auxiliary.target.offline = "its disk is not mounted"
    failed = await auxiliary.does(fx.ReadLocal(NAME))
    assert failed == up.LocalFailed(NAME, "its disk is not mounted")


async def test_groups_are_encoded_with_the_time_at_which_they_are_sent() -> None:
    auxiliary = await opened()
    auxiliary.target.commit({note(2): text("two")})
    await auxiliary.reads()
    taken = await auxiliary.does(fx.TakeUploads(NAME, 0, "msgpack", 1_000))
    assert isinstance(taken, up.UploadsTaken)
    (sent,) = [ADAPTERS["msgpack"].decode(one, LIMITS) for one in taken.frames]
    assert isinstance(sent, Upload)
    assert (sent.clock_us, taken.last, sent.keys) == (5, 1, [note(2).key])


async def test_where_nothing_is_to_be_taken_the_last_number_is_told() -> None:
    auxiliary = await opened()
    assert await auxiliary.does(fx.TakeUploads(NAME, 0, "msgpack", 1_000)) == up.UploadsTaken(NAME, 0, 0, ())
    auxiliary.target.commit({note(2): text("two")})
    await auxiliary.reads()
    auxiliary.target.commit({note(2): None})
    await auxiliary.reads()
    assert await auxiliary.does(fx.TakeUploads(NAME, 0, "msgpack", 1_000)) == up.UploadsTaken(NAME, 0, 0, ())


async def test_what_is_counted_is_what_the_primary_sent_whatever_was_edited_since() -> None:
    auxiliary = await opened()
    before = auxiliary.target.state
    auxiliary.target.commit({note(1): text("one", "edited")})
    await auxiliary.reads()
    auxiliary.target.commit({note(1): text("one", "edited again"), note(2): text("two")})
    assert await auxiliary.does(Recount(NAME)) == ev.Recounted(NAME, before)
    assert await auxiliary.does(LookAtTarget(NAME)) == ev.LookedAtTarget(NAME)


async def test_a_target_of_which_edits_are_unread_is_looked_at_all_the_same() -> None:
    auxiliary = await opened()
    auxiliary.target.commit({note(number): text(f"{number}") for number in range(2, 5)})
    assert (await auxiliary.reads()).more
    auxiliary.target.offline = "its disk is away"
    assert await auxiliary.does(LookAtTarget(NAME)) == ev.TargetFailed(NAME, "its disk is away", False)


async def test_where_the_log_is_lost_changes_wait_for_a_snapshot() -> None:
    auxiliary = await opened()
    auxiliary.target.lose_log()
    done = await auxiliary.executes(1, 2, {note(1): text("x")})
    assert isinstance(done, ev.WorkDone)
    assert not isinstance(done.result, Executed)
    assert auxiliary.target.rows == {note(1): text("one")}
    assert await auxiliary.does(LookAtTarget(NAME)) == ev.LookedAtTarget(NAME)
    assert (await auxiliary.reads()).lost


async def test_what_was_refused_is_put_back() -> None:
    auxiliary = await opened()
    auxiliary.target.commit({note(1): text("one", "edited")})
    await auxiliary.reads()
    refusal = Verdict(1, Ruling.REFUSED, 0, "no", "note", note(1).key, 0)
    settled = await auxiliary.does(fx.SettleUploads(NAME, (refusal,), 1))
    assert isinstance(settled, up.UploadsSettled)
    assert settled.outbox.undo
    auxiliary.target.commit({note(1): text("one", "edited meanwhile")})
    undone = await auxiliary.does(fx.UndoEdits(NAME))
    assert isinstance(undone, up.EditsUndone)
    assert auxiliary.target.rows == {note(1): text("one")}


async def test_reading_waits_while_something_is_executed() -> None:
    auxiliary = await opened()
    async with auxiliary.ports.alone(NAME):
        reading = asyncio.create_task(auxiliary.reads())
        await asyncio.sleep(0)
        assert not reading.done()
    assert not (await reading).more


@pytest.mark.parametrize(("count", "pauses"), [(1, [0.7]), (2, [0.7]), (3, [])])
async def test_verdicts_are_kept_after_a_pause_unless_they_are_many(count: int, pauses: list[float]) -> None:
    auxiliary, seen = Auxiliary(), list[float]()

    async def pause(seconds: float) -> None:
        seen.append(seconds)

    auxiliary.ports.limits = Limits(settle_together=3, settle_join_s=0.7)
    auxiliary.ports.pause = pause
    verdicts = tuple(Verdict(number, Ruling.REFUSED, 0, "", "", b"", 0) for number in range(1, count + 1))
    assert isinstance(await auxiliary.does(fx.SettleUploads(NAME, verdicts, 1)), up.UploadsSettled)
    assert seen == pauses
