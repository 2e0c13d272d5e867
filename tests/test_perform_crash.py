"""What a crash or a full disk between two commits of the store leaves, and that it is taken up (R1, R14)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from syncd.applications.memory import MemorySource
from syncd.core import effects as fx
from syncd.core import events as ev
from syncd.core import source as sources
from syncd.core.effects import BeginScan
from syncd.core.holding import Batch
from syncd.core.messages import Begin
from syncd.core.model import State
from syncd.core.ports import Executed
from syncd.core.status import source_state
from tests.core.kit import EPOCH, NAME, frame
from tests.perform_kit import LIMITS, TYPES, Auxiliary, Primary, city, name

pytestmark = pytest.mark.asyncio


async def test_what_was_kept_and_not_published_is_published_although_nothing_was_touched_since() -> None:
    primary = Primary(cities=2)
    await primary.imported()
    changes = {city(9): name("late")}
    primary.source.commit(changes)
    seen = await primary.source.changes((await primary.store.open_collection(NAME)).mark, 10)
    await primary.store.keep(NAME, Batch(seen.observed, publish=False, loose=False, mark=seen.mark), 1)
    read = await primary.does(fx.ReadSource(NAME, seen.mark))
    assert isinstance(read, ev.SourceRead)
    assert (read.state.published, read.state.head, read.state.objects) == (True, 3, 3)


async def test_a_collection_with_unpublished_rows_is_not_called_up_to_date() -> None:
    primary = Primary(cities=2)
    read = await primary.imported()
    source, _ = sources.start(NAME, LIMITS)
    opened = await primary.does(fx.OpenSource(NAME))
    assert isinstance(opened, ev.SourceOpened)
    source, _ = sources.step(source, opened, 0.0)
    assert source_state(sources.step(source, read, 0.0)[0]) is State.IDENTICAL
    unpublished = replace(read, state=replace(read.state, published=False))
    assert source_state(sources.step(source, unpublished, 0.0)[0]) is State.SYNCING


async def test_a_type_that_changed_is_compared_although_the_daemon_ended_before_the_comparison_began() -> None:
    primary = Primary(cities=2)
    await primary.imported()
    wider = (replace(TYPES[0], fields=("name", "people")), TYPES[1])
    primary.ports.sources[NAME] = MemorySource(wider)
    first = await primary.does(fx.OpenSource(NAME))
    again = await primary.does(fx.OpenSource(NAME))
    for opened in (first, again):
        assert isinstance(opened, ev.SourceOpened)
        source, _ = sources.start(NAME, LIMITS)
        assert sources.step(source, opened, 0.0)[1] == [BeginScan(NAME)]


async def executed_before_a_crash(begin: Begin) -> tuple[Auxiliary, ev.TargetOpened]:
    """The cut is in the application, and the daemon ends before the inbound queue knows."""
    auxiliary = Auxiliary()
    await auxiliary.begins(begin)
    await auxiliary.stages(frame(begin.cursor, begin.cursor + 3))
    work = await auxiliary.queue.work(NAME)
    assert work is not None
    await auxiliary.target.execute(work)
    return auxiliary, await auxiliary.opens()


async def test_changes_that_were_executed_before_a_crash_are_dropped_at_the_next_start() -> None:
    auxiliary, _ = await executed_before_a_crash(Begin(NAME, EPOCH, True, 0, 0, 0, 3))
    await auxiliary.executes()
    await auxiliary.does(fx.BeginTransfer(NAME, Begin(NAME, EPOCH, False, 3, 0, 3, 6)))
    await auxiliary.stages(frame(3, 6))
    work = await auxiliary.queue.work(NAME)
    assert work is not None
    await auxiliary.target.execute(work)
    opened = await auxiliary.opens()
    assert opened.state.position == 6
    assert await auxiliary.queue.work(NAME) is None


async def test_a_snapshot_that_was_executed_before_a_crash_changes_nothing_the_second_time() -> None:
    """It cannot be dropped: one for the same position may be there to repair it (R14)."""
    auxiliary, opened = await executed_before_a_crash(Begin(NAME, EPOCH, True, 0, 0, 0, 3))
    before = dict(auxiliary.target.rows)
    done = await auxiliary.executes(opened.state)
    assert isinstance(done, ev.WorkDone)
    assert isinstance(done.result, Executed)
    assert (done.result.state, auxiliary.target.rows) == (opened.state, before)
    assert await auxiliary.queue.work(NAME) is None
