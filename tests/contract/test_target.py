"""The contract of ``ports.Target``, on an SQLite database and on the twin in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from syncd.core.edits import Plan
from syncd.core.errors import ApplicationOffline, TargetHeld
from syncd.core.model import ObjectId, OutcomeKind
from syncd.core.ports import Executed, Part, TargetState, Unexecuted, Work
from tests.contract.application_kit import (
    NOTES,
    MemoryTargetBench,
    SqliteTargetBench,
    TargetBench,
    WorkMaker,
    body,
    digest_of,
    gone,
    looked,
    note,
    put,
    tag,
    withheld,
)

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture(params=["sqlite", "memory"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[TargetBench]:
    made = SqliteTargetBench(tmp_path / "app.db") if request.param == "sqlite" else MemoryTargetBench()
    yield made
    await made.target.close()


async def done(bench: TargetBench, work: Work) -> TargetState:
    """The work is executed; what the target says that it holds is what it holds."""
    result = await bench.target.execute(work)
    assert isinstance(result, Executed), result
    rows = bench.rows()
    assert (result.state.digest, result.state.objects) == (digest_of(rows), len(rows))
    return result.state


async def failed(bench: TargetBench, work: Work) -> tuple[Part, ...]:
    """The work fails and leaves no trace."""
    before, state = bench.rows(), await bench.target.recount()
    result = await bench.target.execute(work)
    assert isinstance(result, Unexecuted), result
    assert bench.rows() == before
    assert await bench.target.recount() == state
    return result.parts


async def begun(bench: TargetBench, *notes: str) -> WorkMaker:
    """Open, with a first snapshot of some notes."""
    await bench.target.open()
    make = WorkMaker()
    make.group(*(put(note(key), "first") for key in notes), loose=True)
    await done(bench, make.work(snapshot=True))
    return make


async def test_a_target_that_holds_nothing_says_so(bench: TargetBench) -> None:
    state = await bench.target.open()
    assert (state.epoch, state.position, state.objects) == ("", 0, 0)


async def test_a_snapshot_then_changes_give_the_state_of_the_primary(bench: TargetBench) -> None:
    make = await begun(bench, "a", "b", "c")
    make.group(put(note("a"), "second"), gone(note("b")), put(tag("t"), "x"))
    state = await done(bench, make.work())
    assert (state.epoch, state.position) == ("e1", make.seq)
    assert bench.rows() == {note("a"): body("second"), note("c"): body("first"), tag("t"): body("x")}


async def test_position_and_checksum_outlive_the_daemon(bench: TargetBench) -> None:
    make = await begun(bench, "a")
    make.group(put(note("a"), "second"))
    state = await done(bench, make.work())
    await bench.crash()
    assert await bench.target.open() == state
    assert await bench.target.recount() == state


async def test_executing_again_changes_nothing(bench: TargetBench) -> None:
    make = await begun(bench, "a")
    make.group(put(note("a"), "second"), gone(note("missing")))
    work = make.work()
    state = await done(bench, work)
    bench.write(note("a"), "touched here")
    assert await bench.target.execute(work) == Executed(state)
    assert bench.rows() == {note("a"): body("touched here")}


async def test_a_group_that_fails_leaves_no_trace_and_names_its_cause(bench: TargetBench) -> None:
    make = await begun(bench, "a", "b")
    bench.refuse(note("b"), "it is not wanted here")
    bad = make.group(put(note("a"), "second"), put(note("b"), "second"))
    (part,) = await failed(bench, make.work())
    assert (part.seqs, part.objects) == (frozenset((bad,)), frozenset())
    assert part.failure.outcome is OutcomeKind.ROLLED_BACK
    assert part.failure.guilty == note("b")
    assert "it is not wanted here" in part.failure.cause


async def test_groups_that_share_no_object_with_a_failed_one_go_on(bench: TargetBench) -> None:
    make = await begun(bench, "a", "b", "c")
    bench.refuse(note("b"), "no")
    make.group(put(note("a"), "second"))
    bad = make.group(put(note("b"), "second"), put(tag("with-b"), "x"))
    make.group(put(note("c"), "second"))
    work = make.work()
    (part,) = await failed(bench, work)
    assert part.seqs == {bad}
    await done(bench, replace(work, skip=frozenset((note("b"), tag("with-b"))).intersection))
    assert bench.rows() == {note("a"): body("second"), note("b"): body("first"), note("c"): body("second")}


async def test_tied_groups_fail_together(bench: TargetBench) -> None:
    make = await begun(bench, "a", "b", "c")
    bench.refuse(note("c"), "no")
    first = make.group(put(note("a"), "second"))
    make.group(put(note("b"), "second"))
    last = make.group(put(note("c"), "second"), ties=(first,))
    (part,) = await failed(bench, make.work())
    assert part.seqs == {first, last}


async def test_loose_objects_stand_alone(bench: TargetBench) -> None:
    make = await begun(bench, "a")
    bench.refuse(note("bad"), "no")
    bench.refuse(tag("bad"), "no")
    make.group(put(note("b"), "x"), put(note("bad"), "x"), put(tag("bad"), "x"), put(tag("good"), "x"), loose=True)
    work = make.work()
    parts = await failed(bench, work)
    assert sorted(one for part in parts for one in part.objects) == [note("bad"), tag("bad")]
    assert [len(part.objects) for part in parts] == [1, 1]
    await done(bench, replace(work, skip=frozenset((note("bad"), tag("bad"))).intersection))
    assert set(bench.rows()) == {note("a"), note("b"), tag("good")}


async def test_an_object_that_could_not_be_built_cancels_its_group(bench: TargetBench) -> None:
    make = await begun(bench, "a", "b")
    bad = make.group(put(note("a"), "second"), withheld(note("b"), "too large"))
    make.group(put(tag("t"), "x"))
    (part,) = await failed(bench, make.work())
    assert part.seqs == {bad}
    assert (part.failure.outcome, part.failure.cause) == (OutcomeKind.CANCELLED, "too large")
    assert part.failure.guilty == note("b")


async def test_an_object_that_a_work_brings_twice_fails_with_all_that_bring_it(bench: TargetBench) -> None:
    make = await begun(bench, "a")
    bench.refuse(note("bad"), "no")
    first = make.group(put(note("a"), "second"))
    last = make.group(put(note("a"), "third"), put(note("bad"), "x"))
    make.group(put(note("a"), "fourth"), loose=True)
    (part,) = await failed(bench, make.work())
    assert (part.seqs, part.objects) == (frozenset((first, last)), frozenset((note("a"),)))


async def test_of_an_object_that_a_work_brings_twice_the_last_version_stays(bench: TargetBench) -> None:
    make = await begun(bench)
    make.group(put(note("a"), "1"), put(note("b"), "1"), loose=True)
    make.group(put(note("a"), "2"))
    make.group(gone(note("b")))
    await done(bench, make.work())
    assert bench.rows() == {note("a"): body("2")}


async def test_a_parked_part_is_executed_whole_or_not_at_all(bench: TargetBench) -> None:
    make = await begun(bench, "a")
    before = await bench.target.recount()
    bench.refuse(note("bad"), "no")
    make.group(put(note("a"), "second"))
    make.group(put(note("bad"), "x"))
    work = make.parked()
    tried = await bench.target.retry([work])
    assert [one.guilty for one in tried.failures if one] == [note("bad")]
    assert (tried.state, bench.rows()) == (before, {note("a"): body("first")})
    bench.accept_all()
    tried = await bench.target.retry([work])
    assert (tried.state.epoch, tried.state.position) == (before.epoch, before.position)
    assert (tried.failures, await bench.target.recount()) == ((None,), tried.state)
    assert bench.rows() == {note("a"): body("second"), note("bad"): body("x")}


async def test_of_parked_parts_that_are_tried_together_each_stands_or_falls_alone(bench: TargetBench) -> None:
    make = await begun(bench, "a")
    bench.refuse(note("bad"), "no")
    works = []
    for name in ("b", "bad", "c"):
        make.group(put(note(f"with-{name}"), "x"), put(note(name), "x"))
        works.append(make.parked())
    tried = await bench.target.retry(works)
    assert [None if one is None else one.guilty for one in tried.failures] == [None, note("bad"), None]
    assert bench.rows().keys() == set(map(note, ("a", "b", "c", "with-b", "with-c")))
    assert await bench.target.recount() == tried.state


async def test_a_later_snapshot_removes_what_is_beyond_it_and_keeps_what_is_parked(bench: TargetBench) -> None:
    make = await begun(bench, "a", "b", "parked")
    make.group(put(note("a"), "second"), loose=True)
    await done(bench, make.work(snapshot=True, skip=(note("parked"),)))
    assert bench.rows() == {note("a"): body("second"), note("parked"): body("first")}


async def test_an_empty_snapshot_leaves_nothing(bench: TargetBench) -> None:
    make = await begun(bench, "a", "b")
    make.group()
    state = await done(bench, make.work(snapshot=True, epoch="e2"))
    assert bench.rows() == {}
    assert (state.epoch, state.objects) == ("e2", 0)


async def test_a_snapshot_at_the_same_position_repairs_what_was_changed_here(bench: TargetBench) -> None:
    make = await begun(bench, "a")
    bench.write(note("a"), "touched here")
    bench.write(note("own"), "of its own")
    await bench.target.recount()
    make.seq = 0
    make.group(put(note("a"), "first"), loose=True)
    await done(bench, make.work(snapshot=True, holds={note("a"): body("first")}))
    assert bench.rows() == {note("a"): body("first")}


async def test_objects_of_its_own_are_not_touched_unasked(bench: TargetBench) -> None:
    bench.write(note("a"), "of its own")
    bench.write(note("b"), "of its own")
    bench.write(note("same"), "first")
    await bench.target.open()
    make = WorkMaker()
    make.group(put(note("a"), "first"), put(note("same"), "first"), loose=True)
    work = make.work(snapshot=True)
    with pytest.raises(TargetHeld, match="2 objects of its own"):
        await bench.target.execute(work)
    assert bench.rows() == {note("a"): body("of its own"), note("b"): body("of its own"), note("same"): body("first")}
    await bench.crash(replace_own=True)
    await bench.target.open()
    await done(bench, work)
    assert bench.rows() == {note("a"): body("first"), note("same"): body("first")}


async def test_objects_that_are_equal_already_count_as_synchronized(bench: TargetBench) -> None:
    bench.write(note("a"), "first")
    await begun(bench, "a", "b")
    assert set(bench.rows()) == {note("a"), note("b")}


async def test_a_deletion_of_what_is_not_there_is_done(bench: TargetBench) -> None:
    make = await begun(bench, "a")
    make.group(gone(note("never")))
    await done(bench, make.work())
    assert set(bench.rows()) == {note("a")}


async def test_what_does_not_follow_on_what_the_application_holds_is_not_executed(bench: TargetBench) -> None:
    """Its data was reset, or an older copy of itself came into its place."""
    make = await begun(bench, "a")
    make.group(put(note("a"), "second"))
    other = make.work(epoch="e2")
    make.group(put(note("a"), "third"))
    late = make.work()
    for work in (other, replace(other, proof=None), late, replace(late, proof=None)):
        with pytest.raises(ApplicationOffline, match="is not what it was"):
            await bench.target.execute(work)
    assert bench.rows() == {note("a"): body("first")}


async def test_a_type_that_came_back_under_another_id_keeps_its_objects(bench: TargetBench) -> None:
    make = await begun(bench, "a", "b")
    make.types = {**make.types, 3: replace(NOTES, id=3)}
    make.group(put(note("a"), "second"), loose=True, type_id=3)
    make.group(gone(note("a")), gone(note("b")), loose=True, type_id=1)
    await done(bench, make.work())
    assert bench.rows() == {note("a"): body("second")}


async def test_many_failing_objects_are_all_named_and_nothing_else(bench: TargetBench) -> None:
    make = await begun(bench)
    bad: set[ObjectId] = set()
    for i in range(5):
        bench.refuse(note(f"bad{i}"), "no")
        bad.add(note(f"bad{i}"))
    for i in range(10):
        make.group(*(put(note(f"{kind}{i}"), "x") for kind in ("good", "bad") if i % 2 or kind == "good"), loose=True)
    bad = {note(f"bad{i}") for i in (1, 3)}
    parts = await failed(bench, make.work())
    assert {one for part in parts for one in part.objects} == bad


async def test_a_target_that_is_gone_is_offline(bench: TargetBench) -> None:
    make = await begun(bench, "a")
    make.group(put(note("a"), "second"))
    work = make.work()
    bench.take_away()
    with pytest.raises(ApplicationOffline):
        await bench.target.execute(work)
    with pytest.raises(ApplicationOffline):
        await bench.target.open()


async def test_an_idle_target_that_is_gone_is_noticed_by_looking(bench: TargetBench) -> None:
    await begun(bench, "a")
    await looked(bench.target)
    bench.take_away()
    with pytest.raises(ApplicationOffline):
        await looked(bench.target)


async def test_what_the_application_changed_here_is_noticed_by_looking(bench: TargetBench) -> None:
    make = await begun(bench, "a", "b")
    assert await looked(bench.target) is None
    bench.write(note("a"), "touched here")
    state = await looked(bench.target)
    assert state is not None
    assert (state.epoch, state.position) == ("e1", make.seq)
    assert state.digest == digest_of({note("a"): body("touched here"), note("b"): body("first")})
    assert await looked(bench.target) is None
    assert await bench.target.recount() == state


async def test_what_the_application_changed_while_no_daemon_ran_is_noticed_by_looking(bench: TargetBench) -> None:
    await begun(bench, "a", "b")
    await bench.crash()
    bench.write(note("a"), "touched here")
    await bench.target.open()
    state = await looked(bench.target)
    assert state is not None
    assert state.digest == digest_of(bench.rows())


async def test_what_is_executed_lazily_is_there_at_once_and_durable_after_a_sync(bench: TargetBench) -> None:
    make = await begun(bench, "a")
    make.group(put(note("a"), "second"))
    result = await bench.target.execute(replace(make.work(), lazily=True))
    assert isinstance(result, Executed)
    assert not result.durable
    assert bench.rows() == {note("a"): body("second")}
    await bench.target.sync()
    make.group(put(note("a"), "third"))
    state = await done(bench, make.work())
    assert await bench.target.recount() == state


async def test_what_has_a_plan_is_never_executed_lazily(bench: TargetBench) -> None:
    """The outbox is told that it was carried out, and must not be ahead of the application."""
    make = await begun(bench, "a")
    make.group(put(note("a"), "second"))
    result = await bench.target.execute(replace(make.work(), lazily=True, plan=Plan(7, 0)))
    assert isinstance(result, Executed)
    assert (result.durable, result.state.plan) == (True, 7)
