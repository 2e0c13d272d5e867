"""The contract of ``upward_ports.Local``: what the application changes on a target, on SQLite and in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from syncd.core.edits import LocalChanges, Plan
from syncd.core.errors import EditsUnread
from syncd.core.model import ObjectId
from tests.contract.application_kit import WorkMaker, body, gone, note, put, tag
from tests.contract.local_kit import Bench, Fields, Waiting, begun, bench_of, executed, told

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture(params=["sqlite", "memory"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    made = bench_of(request.param, tmp_path)
    yield made
    await made.target.close()


# ---------------------------------------------------------------- what the application changes


async def test_a_target_that_holds_nothing_has_no_changes(bench: Bench) -> None:
    await bench.target.open()
    bench.write(note("own"), "x")
    assert await bench.target.changes(0, 100) == LocalChanges((), 0, True)


async def test_what_was_executed_is_no_change_of_the_applications(bench: Bench) -> None:
    make = await begun(bench, "a", "b")
    make.group(put(note("a"), "second"), gone(note("b")), put(tag("t"), "x"))
    await executed(bench, make.work())
    changes = await bench.target.changes(0, 100)
    assert (changes.edits, changes.drained, changes.lost) == ((), True, False)


async def test_changes_name_each_object_once_as_it_was_and_as_it_is(bench: Bench) -> None:
    await begun(bench, "a", "b", "c")
    bench.commit({note("a"): body("second"), tag("t"): body("x")})
    bench.commit({note("a"): body("third"), note("b"): None, tag("t"): body("y")})
    changes = await bench.target.changes(0, 100)
    assert told(changes) == {
        note("a"): (body("first"), body("third")),
        note("b"): (body("first"), None),
        tag("t"): (None, body("y")),
    }
    assert (changes.drained, changes.lost) == (True, False)
    bench.commit({note("a"): body("fourth")})
    after = await bench.target.changes(changes.mark, 100)
    assert told(after) == {note("a"): (body("third"), body("fourth"))}
    assert await bench.target.changes(after.mark, 100) == LocalChanges((), after.mark, True)


async def test_what_became_as_it_was_is_no_change(bench: Bench) -> None:
    await begun(bench, "a")
    bench.commit({note("a"): None, note("b"): body("x")})
    bench.commit({note("a"): body("first"), note("b"): None})
    changes = await bench.target.changes(0, 100)
    assert (changes.edits, changes.drained) == ((), True)


async def test_changes_are_read_in_pages(bench: Bench) -> None:
    await begun(bench, "a")
    for text in "xyz":
        bench.commit({note(text): body(text), note("a"): body(text)})
    waiting = Waiting()
    found = await waiting.read(bench.target, limit=2)
    assert found == {
        **{note(text): (None, body(text)) for text in "xyz"},
        note("a"): (body("first"), body("z")),
    }


async def test_an_object_that_is_back_where_it_was_is_told_in_a_page_that_is_not_all(bench: Bench) -> None:
    """A later page may tell of it as something else than it was before this one."""
    await begun(bench, "a")
    bench.commit({note("a"): body("second")})
    bench.commit({note("a"): body("first")})
    mark, pages = 0, list[LocalChanges]()
    while not pages or not pages[-1].drained:
        pages.append(await bench.target.changes(mark, 1))
        mark = pages[-1].mark
        await bench.crash()
        await bench.target.open()
    assert told(pages[0]) == {note("a"): (body("first"), body("first"))}
    assert told(pages[-1]) == {note("a"): (body("second"), body("first"))}


async def test_what_was_read_may_be_forgotten(bench: Bench) -> None:
    await begun(bench, "a")
    bench.commit({note("a"): body("second")})
    mark = (await bench.target.changes(0, 100)).mark
    await bench.target.discard(mark)
    await bench.target.changes(mark, 100, wait_s=0.01)
    bench.commit({note("b"): body("x")})
    assert told(await bench.target.changes(mark, 100)) == {note("b"): (None, body("x"))}


async def test_the_log_outlives_the_daemon(bench: Bench) -> None:
    await begun(bench, "a")
    bench.commit({note("a"): body("second")})
    await bench.crash()
    bench.commit({note("b"): body("x")})
    await bench.target.open()
    changes = await bench.target.changes(0, 100)
    assert told(changes) == {note("a"): (body("first"), body("second")), note("b"): (None, body("x"))}


async def test_an_object_that_cannot_be_told_says_why(bench: Bench) -> None:
    await begun(bench, "a")
    bench.spoil(note("a"))
    first = await bench.target.changes(0, 100)
    (edit,) = first.edits
    assert (edit.base, edit.fields, bool(edit.fault)) == (body("first"), b"", True)
    bench.commit({note("a"): body("second")})
    assert told(await bench.target.changes(first.mark, 100)) == {note("a"): (None, body("second"))}


async def test_a_log_that_was_lost_is_told_once(bench: Bench) -> None:
    await begun(bench, "a")
    mark = (await bench.target.changes(0, 100)).mark
    bench.lose_log()
    bench.commit({note("a"): body("second")})
    changes = await bench.target.changes(mark, 100)
    assert (changes.edits, changes.lost) == ((), True)
    bench.commit({note("a"): body("third")})
    after = await bench.target.changes(changes.mark, 100)
    assert (told(after), after.lost) == ({note("a"): (body("second"), body("third"))}, False)


async def test_a_mark_that_the_log_does_not_go_back_to_is_lost(bench: Bench) -> None:
    await begun(bench, "a")
    bench.commit({note("a"): body("second")})
    mark = (await bench.target.changes(0, 100)).mark
    bench.commit({note("a"): body("third")})
    later = (await bench.target.changes(mark, 100)).mark
    await bench.target.discard(later)
    await bench.target.changes(later, 100, wait_s=0.01)
    assert (await bench.target.changes(later + 1_000_000_000, 100)).lost


async def test_a_change_ends_a_wait_and_is_told(bench: Bench) -> None:
    await begun(bench, "a")
    mark = (await bench.target.changes(0, 100)).mark
    bench.commit({note("a"): body("second")})
    changes = await bench.target.changes(mark, 100, wait_s=60.0)
    assert (told(changes), changes.drained) == ({note("a"): (body("first"), body("second"))}, True)


async def test_a_wait_ends_without_a_change(bench: Bench) -> None:
    await begun(bench, "a")
    mark = (await bench.target.changes(0, 100)).mark
    assert await bench.target.changes(mark, 100, wait_s=0.01) == LocalChanges((), mark, True)


async def test_after_a_wait_nothing_is_put_right(bench: Bench) -> None:
    await begun(bench, "a")
    mark = (await bench.target.changes(0, 100)).mark
    bench.lose_log()
    bench.commit({note("a"): body("second")})
    assert await bench.target.changes(mark, 100, wait_s=60.0) == LocalChanges((), mark, False)
    assert (await bench.target.changes(mark, 100)).lost


# ---------------------------------------------------------------- what is there already


async def test_nothing_is_offered_while_types_are_not_known(bench: Bench) -> None:
    bench.write(note("a"), "x")
    await bench.target.open()
    page, after = await bench.target.offer(None, 10)
    assert (page.edits, page.drained, after) == ((), True, None)


async def test_all_objects_are_offered_in_pages_and_what_comes_after_is_logged(bench: Bench) -> None:
    bench.commit({note(key): body(key) for key in "abc"} | {tag("t"): body("t")})
    await bench.target.open()
    await bench.target.describe(WorkMaker().types)
    found: dict[ObjectId, tuple[Fields, Fields]] = {}
    after: tuple[object, ...] | None = None
    marks: set[int] = set()
    for count in range(10):
        page, after = await bench.target.offer(after, 2)
        found |= told(page)
        marks.add(page.mark)
        assert page.drained == (after is None)
        if after is None:
            break
        if not count:
            bench.commit({note("a"): body("after")})
    assert found == {**{note(key): (None, body(key)) for key in "abc"}, tag("t"): (None, body("t"))}
    (mark,) = marks
    assert told(await bench.target.changes(mark, 100)) == {note("a"): (body("a"), body("after"))}


async def test_what_is_logged_since_an_offer_is_in_the_log_after_the_snapshot(bench: Bench) -> None:
    bench.write(note("a"), "own")
    await bench.crash(replace_own=True)
    await bench.target.open()
    await bench.target.describe(WorkMaker().types)
    page, _ = await bench.target.offer(None, 10)
    make = WorkMaker()
    make.group(put(note("a"), "first"), loose=True)
    work = make.work(snapshot=True)
    bench.write(note("b"), "own")
    with pytest.raises(EditsUnread):
        await bench.target.execute(replace(work, plan=Plan(1, page.mark)))
    changes = await bench.target.changes(page.mark, 100)
    assert told(changes) == {note("b"): (None, body("own"))}
    state = await executed(bench, replace(work, plan=Plan(1, changes.mark)))
    assert (state.plan, bench.rows()) == (1, {note("a"): body("first")})
    bench.write(note("c"), "own")
    assert told(await bench.target.changes(changes.mark, 100)) == {note("c"): (None, body("own"))}


async def offered(bench: Bench) -> tuple[dict[ObjectId, tuple[Fields, Fields]], int]:
    """All of it, and the mark from which on it is logged."""
    page, after = await bench.target.offer(None, 10)
    found = told(page)
    while after is not None:
        page, after = await bench.target.offer(after, 10)
        found |= told(page)
    return found, page.mark


async def test_what_is_offered_by_other_types_is_read_by_them_from_then_on(bench: Bench) -> None:
    types = WorkMaker().types
    bench.commit({note("a"): body("a"), tag("t"): body("t")})
    await bench.target.open()
    assert not await bench.target.describe({1: types[1]})
    assert set((await offered(bench))[0]) == {note("a")}
    assert not await bench.target.describe({1: types[1]})
    assert await bench.target.describe(types)
    assert await bench.target.describe(types), "until it is offered"
    found, mark = await offered(bench)
    assert set(found) == {note("a"), tag("t")}
    assert not await bench.target.describe(types)
    bench.commit({tag("t"): body("after")})
    assert told(await bench.target.changes(mark, 10)) == {tag("t"): (body("t"), body("after"))}


async def test_types_that_a_work_brought_are_kept_unless_no_work_comes(bench: Bench) -> None:
    types = WorkMaker().types
    await begun(bench, "a")
    assert not await bench.target.describe({1: types[1]})
    assert set((await offered(bench))[0]) == {note("a")}
    bench.write(tag("t"), "own")
    assert set((await offered(bench))[0]) == {note("a"), tag("t")}
    assert await bench.target.describe({1: types[1]}, alone=True)
    found, mark = await offered(bench)
    assert set(found) == {note("a")}
    bench.commit({note("a"): body("after"), tag("t"): body("after")})
    assert set(told(await bench.target.changes(mark, 10))) == {note("a")}
