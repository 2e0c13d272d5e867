"""A comparison that finds much of a collection gone deletes nothing before a person has said so (R13)."""

from __future__ import annotations

import pytest

from syncd.core import effects as fx
from syncd.core import events as ev
from syncd.core.ports import CollectionState
from tests.core.kit import NAME
from tests.perform_kit import Primary, city

pytestmark = pytest.mark.asyncio


async def swept(primary: Primary) -> ev.Event | None:
    """What a comparison of the whole application comes to, before anything that vanished is kept as gone."""
    await primary.does(fx.OpenSource(NAME))
    event = await primary.does(fx.BeginScan(NAME))
    while isinstance(event, ev.Scanned) and event.after is not None:
        event = await primary.does(fx.ScanSource(NAME, event.type, event.after))
    await primary.does(fx.ScanSource(NAME, 1, None))
    return await primary.does(fx.SweepSource(NAME))


async def without(cities: range) -> Primary:
    """A primary that had 20 cities, whose application lost some of them without a word."""
    primary = Primary(20)
    await primary.imported()
    primary.source.commit({city(number): None for number in cities})
    return primary


async def test_much_that_vanished_is_held() -> None:
    primary = await without(range(10))
    event = await swept(primary)
    assert isinstance(event, ev.SourceHeld)
    assert "10 of 20 objects of collection" in event.reason
    assert (await primary.store.open_collection(NAME)).objects == 20


async def test_little_that_vanished_is_deleted() -> None:
    primary = await without(range(9))
    assert isinstance(await swept(primary), ev.Swept)


async def test_much_that_vanished_is_deleted_once_a_person_has_shared_it_again() -> None:
    primary = await without(range(20))
    assert isinstance(await swept(primary), ev.SourceHeld)
    primary.ports.shared_again.add(NAME)
    event = await swept(primary)
    while isinstance(event, ev.Swept) and event.count:
        event = await primary.does(fx.SweepSource(NAME))
    assert isinstance(event, ev.Swept)
    read = await primary.does(fx.ReadSource(NAME, event.state.mark, end_scan=True, loose=True))
    assert isinstance(read, ev.SourceRead)
    assert (read.state.objects, primary.ports.approved) == (0, set())


async def test_a_first_import_that_was_broken_off_deletes_what_vanished() -> None:
    primary = Primary(20)
    await primary.does(fx.OpenSource(NAME))
    await primary.does(fx.BeginScan(NAME))
    primary.source.commit({city(number): None for number in range(20)})
    assert isinstance(await swept(primary), ev.Swept)


async def lost(primary: Primary, cities: range) -> ev.Event | None:
    """The application loses these, and a comparison begins."""
    primary.source.commit({city(number): None for number in cities})
    return await swept(primary)


async def read_on(primary: Primary, state: CollectionState, cities: range) -> CollectionState:
    """These are deleted in one transaction, and read."""
    primary.source.commit({city(number): None for number in cities})
    while True:
        read = await primary.does(fx.ReadSource(NAME, state.mark))
        assert isinstance(read, ev.SourceRead)
        state = read.state
        if not read.more:
            return state


async def test_what_was_deleted_before_counts_with_what_a_comparison_finds_gone() -> None:
    primary = Primary(40)
    state = await read_on(primary, (await primary.imported()).state, range(7))
    assert (state.held, state.objects) == (None, 33)
    event = await lost(primary, range(7, 10))
    assert isinstance(event, ev.SourceHeld)
    assert "3 of 33 objects" in event.reason
    assert "7 were deleted in the last day" in event.reason


async def test_what_a_comparison_let_through_counts_with_what_is_deleted_after_it() -> None:
    primary = Primary(40)
    await primary.imported()
    event = await lost(primary, range(7))
    while isinstance(event, ev.Swept) and event.count:
        event = await primary.does(fx.SweepSource(NAME))
    assert isinstance(event, ev.Swept)
    read = await primary.does(fx.ReadSource(NAME, event.state.mark, end_scan=True, loose=True))
    assert isinstance(read, ev.SourceRead)
    state = await read_on(primary, read.state, range(0))
    assert (state.held, state.objects) == (None, 33)
    state = await read_on(primary, state, range(7, 10))
    assert state.held is not None
    assert (state.held.gone, state.objects) == (3, 33)
