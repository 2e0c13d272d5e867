"""A comparison that finds much of a collection gone deletes nothing before a person has said so (R13)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from syncd.core import effects as fx
from syncd.core import events as ev
from syncd.core.ports import CollectionState
from tests.core.kit import NAME
from tests.perform_kit import Primary, city

pytestmark = pytest.mark.asyncio


async def compared(primary: Primary) -> CollectionState:
    """The whole application is compared with the store."""
    await primary.does(fx.OpenSource(NAME))
    event = await primary.does(fx.BeginScan(NAME))
    while isinstance(event, ev.Scanned) and event.after is not None:
        event = await primary.does(fx.ScanSource(NAME, event.type, event.after))
    await primary.does(fx.ScanSource(NAME, 1, None))
    event = await primary.does(fx.SweepSource(NAME))
    while isinstance(event, ev.Swept) and event.count:
        event = await primary.does(fx.SweepSource(NAME))
    assert isinstance(event, ev.Swept)
    read = await primary.does(fx.ReadSource(NAME, event.state.mark, end_scan=True, loose=True))
    assert isinstance(read, ev.SourceRead)
    return await read_on(primary, read.state, range(0))


async def lost(primary: Primary, cities: range) -> CollectionState:
    """The application lost these without a word, and a comparison finds that."""
    primary.source.commit({city(number): None for number in cities})
    return await compared(primary)


async def without(cities: range) -> CollectionState:
    """A primary that had 20 cities, whose application lost some of them."""
    primary = Primary(20)
    await primary.imported()
    return await lost(primary, cities)


async def test_much_that_vanished_is_held() -> None:
    state = await without(range(10))
    assert state.held is not None
    assert (state.held.gone, state.objects) == (10, 20)


async def test_little_that_vanished_is_deleted() -> None:
    state = await without(range(9))
    assert (state.held, state.objects) == (None, 11)


async def test_that_a_collection_is_shared_again_approves_nothing() -> None:
    primary = Primary(20)
    await primary.imported()
    primary.ports.shared_again.add(NAME)
    state = await lost(primary, range(20))
    assert state.held is not None
    assert (state.held.gone, state.objects) == (20, 20)


async def test_a_first_import_that_was_broken_off_deletes_what_vanished() -> None:
    primary = Primary(20)
    await primary.does(fx.OpenSource(NAME))
    await primary.does(fx.BeginScan(NAME))
    state = await lost(primary, range(20))
    assert (state.held, state.objects) == (None, 0)


async def test_comparisons_are_held_where_groups_are_not() -> None:
    primary = Primary(20)
    primary.ports.limits = replace(primary.ports.limits, guard_s=0.0)
    await primary.imported()
    state = await lost(primary, range(10))
    assert state.held is not None
    state = await read_on(primary, state, range(10, 20))
    assert (state.held.gone if state.held else 0, state.objects) == (10, 10)


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
    state = await lost(primary, range(7, 10))
    assert state.held is not None
    assert (state.held.gone, state.held.of) == (3, 33)


async def test_what_a_comparison_let_through_counts_with_what_is_deleted_after_it() -> None:
    primary = Primary(40)
    await primary.imported()
    state = await lost(primary, range(7))
    assert (state.held, state.objects) == (None, 33)
    state = await read_on(primary, state, range(7, 10))
    assert state.held is not None
    assert (state.held.gone, state.objects) == (3, 33)
