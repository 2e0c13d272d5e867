"""The contract of ``source_port.Source``, on an SQLite database and on the twin in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from syncd.core.errors import ApplicationOffline
from tests.contract.application_kit import (
    MemorySourceBench,
    SourceBench,
    SqliteSourceBench,
    body,
    keys_of,
    note,
    tag,
)
from tests.wait import eventually

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture(params=["sqlite", "memory"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SourceBench]:
    made = SqliteSourceBench(tmp_path / "app.db") if request.param == "sqlite" else MemorySourceBench()
    yield made
    await made.source.close()
    if isinstance(made, SqliteSourceBench):
        made.app.close()


async def begun(bench: SourceBench) -> int:
    """Open, compared once; returns the mark from which changes are read."""
    await bench.opened()
    await bench.scanned(1)
    await bench.scanned(2)
    return (await bench.source.changes(0, 1000)).mark


async def test_an_open_source_names_itself_and_its_types(bench: SourceBench) -> None:
    state = await bench.source.open("")
    assert state.identity
    assert [(one.name, one.key, one.fields) for one in state.types] == [
        ("notes", ("id",), ("body",)),
        ("tags", ("id",), ("body",)),
    ]


async def test_the_same_data_has_the_same_identity(bench: SourceBench) -> None:
    identity = await bench.opened()
    await bench.source.close()
    assert await bench.opened() == identity


async def test_other_data_than_what_was_shared_is_offline(bench: SourceBench) -> None:
    with pytest.raises(ApplicationOffline, match="was replaced"):
        await bench.source.open("an identity of something else")


async def test_a_scan_gives_each_object_once_in_key_order(bench: SourceBench) -> None:
    keys = [f"n{i:02}" for i in range(25)]
    bench.commit({note(key): body(key.upper()) for key in reversed(keys)})
    await bench.opened()
    assert await bench.scanned(1, limit=10) == [(note(key).key, body(key.upper())) for key in keys]
    assert await bench.scanned(1, limit=25) == await bench.scanned(1, limit=100)
    assert await bench.scanned(2) == []


async def test_changes_give_each_touched_object_once_as_it_is(bench: SourceBench) -> None:
    bench.commit({note("a"): body("1"), note("b"): body("1")})
    mark = await begun(bench)
    bench.commit({note("a"): body("2")})
    bench.commit({note("a"): body("3"), note("b"): None, tag("t"): body("x")})
    changes = await bench.source.changes(mark, 100)
    assert changes.drained
    assert keys_of(changes) == {note("a").key: body("3"), note("b").key: None, tag("t").key: body("x")}
    assert sorted((one.type, one.key) for one in changes.observed) == sorted(
        [(1, note("a").key), (1, note("b").key), (2, tag("t").key)]
    )


async def test_nothing_touched_is_drained_at_the_same_mark(bench: SourceBench) -> None:
    mark = await begun(bench)
    for _ in range(2):
        changes = await bench.source.changes(mark, 100)
        assert (list(changes.observed), changes.mark, changes.drained) == ([], mark, True)


async def test_many_changes_come_in_pieces_of_which_the_last_is_drained(bench: SourceBench) -> None:
    mark = await begun(bench)
    bench.commit({note(f"n{i:02}"): body(str(i)) for i in range(25)})
    found: dict[bytes, bytes | None] = {}
    pieces: list[bool] = []
    while not pieces or not pieces[-1]:
        changes = await bench.source.changes(mark, 10)
        found |= keys_of(changes)
        mark = changes.mark
        pieces.append(changes.drained)
    assert pieces == [False, False, True]
    assert len(found) == 25


async def test_reading_again_from_a_mark_gives_the_same(bench: SourceBench) -> None:
    mark = await begun(bench)
    bench.commit({note("a"): body("1")})
    first = await bench.source.changes(mark, 100)
    await bench.source.close()
    await bench.opened()
    again = await bench.source.changes(mark, 100)
    assert keys_of(again) == keys_of(first) == {note("a").key: body("1")}
    assert again.mark == first.mark


async def test_what_came_after_a_discarded_mark_is_still_there(bench: SourceBench) -> None:
    mark = await begun(bench)
    bench.commit({note("a"): body("1")})
    mark = (await bench.source.changes(mark, 100)).mark
    bench.commit({note("b"): body("1")})
    await bench.source.discard(mark)
    changes = await bench.source.changes(mark, 100)
    assert (changes.lost, keys_of(changes)) == (False, {note("b").key: body("1")})


async def test_a_log_that_was_lost_asks_for_a_comparison_and_goes_on_after_it(bench: SourceBench) -> None:
    mark = await begun(bench)
    bench.lose_log()
    bench.commit({note("unlogged"): body("1")})
    lost = await bench.source.changes(mark, 100)
    assert lost.lost
    assert not lost.drained
    assert (note("unlogged").key, body("1")) in await bench.scanned(1)
    bench.commit({note("logged"): body("1")})
    changes = await bench.source.changes(lost.mark, 100)
    assert (changes.lost, changes.drained) == (False, True)
    assert keys_of(changes) == {note("logged").key: body("1")}


async def test_a_lost_log_stays_lost_for_whoever_did_not_live_to_compare(bench: SourceBench) -> None:
    mark = await begun(bench)
    bench.lose_log()
    assert (await bench.source.changes(mark, 100)).lost
    await bench.source.close()
    await bench.opened()
    assert (await bench.source.changes(mark, 100)).lost


async def test_a_mark_ahead_of_the_log_is_a_restored_backup(bench: SourceBench) -> None:
    mark = await begun(bench)
    assert (await bench.source.changes(mark + 1000, 100)).lost


@pytest.mark.parametrize("running", [True, False])
async def test_data_put_back_in_its_place_asks_for_a_comparison(bench: SourceBench, running: bool) -> None:
    """Whatever follows: as many changes as were lost, more, or none."""
    await begun(bench)
    bench.commit({note(f"n{i}"): body("old") for i in range(10)})
    mark = (await bench.source.changes(0, 1000)).mark
    bench.back_up()
    for after in (0, 3, 5, 9):
        bench.commit({note(f"n{i}"): body("lost") for i in range(5)})
        changes = await bench.source.changes(mark, 1000)
        assert not changes.lost
        await bench.source.discard(changes.mark)
        if not running:
            await bench.source.close()
        bench.put_back()
        bench.commit({note(f"n{i}"): body("again") for i in range(after)})
        if not running:
            await bench.opened()
        assert (await bench.source.changes(changes.mark, 1000)).lost
        bench.put_back()


async def test_a_backup_that_holds_the_mark_goes_on_from_it(bench: SourceBench) -> None:
    await begun(bench)
    bench.commit({note("a"): body("1")})
    mark = (await bench.source.changes(0, 1000)).mark
    bench.commit({note("b"): body("2")})
    bench.back_up()
    bench.commit({note("c"): body("3")})
    bench.put_back()
    changes = await bench.source.changes(mark, 1000)
    assert (changes.lost, keys_of(changes)) == (False, {note("b").key: body("2")})


async def test_a_changed_schema_asks_to_open_again(bench: SourceBench) -> None:
    mark = await begun(bench)
    bench.reshape()
    assert (await bench.source.changes(mark, 100)).reshaped
    state = await bench.source.open("")
    assert "more" in {one.name for one in state.types}


async def test_an_object_that_cannot_be_read_carries_its_fault(bench: SourceBench) -> None:
    mark = await begun(bench)
    bench.spoil(note("bad"))
    bench.commit({note("good"): body("1")})
    changes = await bench.source.changes(mark, 100)
    by_key = {one.key: one for one in changes.observed}
    assert by_key[note("bad").key].fields == b""
    assert by_key[note("bad").key].fault
    assert by_key[note("good").key].fields == body("1")
    page = await bench.source.scan(1, None, 100)
    assert [bool(one.fault) for one in page.observed] == [True, False]


async def test_observed_objects_are_as_they_are(bench: SourceBench) -> None:
    bench.commit({note("a"): body("1")})
    await bench.opened()
    observed = await bench.source.observe([(1, note("a").key), (1, note("b").key)])
    assert [(one.type, one.key, one.fields) for one in observed] == [
        (1, note("a").key, body("1")),
        (1, note("b").key, None),
    ]


async def test_data_that_is_gone_is_offline_and_comes_back_whole(bench: SourceBench) -> None:
    bench.commit({note("a"): body("1")})
    identity = await bench.opened()
    await bench.source.close()
    bench.take_away()
    with pytest.raises(ApplicationOffline):
        await bench.source.open(identity)
    bench.bring_back()
    assert await bench.opened() == identity
    assert await bench.scanned(1) == [(note("a").key, body("1"))]


async def test_waiting_ends_with_a_commit(bench: SourceBench) -> None:
    mark = await begun(bench)
    waiting = asyncio.create_task(bench.source.changes(mark, 100, 30.0))
    bench.commit({note("a"): body("1")})
    await eventually(waiting.done)
    assert keys_of(await waiting) == {note("a").key: body("1")}


async def test_waiting_ends_at_its_deadline(bench: SourceBench) -> None:
    mark = await begun(bench)
    found = await asyncio.wait_for(bench.source.changes(mark, 10, 0.05), 30.0)
    assert (list(found.observed), found.mark, found.drained) == ([], mark, True)
