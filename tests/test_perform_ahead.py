"""The next page of changes is read while one is kept: nothing is lost, and what is published is one state (R2)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from syncd.core import effects as fx
from syncd.core import events as ev
from syncd.core.edits import LocalBatch, LocalChanges, OutboxState
from syncd.outside import kept_meanwhile
from tests.core.kit import NAME as SOURCE
from tests.perform_kit import Primary, city, name
from tests.perform_up_kit import opened
from tests.two_way_kit import NAME, note, text

pytestmark = pytest.mark.asyncio


async def test_the_next_page_is_read_while_one_is_kept() -> None:
    auxiliary = await opened()
    auxiliary.ports.beside = kept_meanwhile
    asked: list[int] = []
    changes, keep = auxiliary.target.changes, auxiliary.outbox.keep
    both = asyncio.Event()

    async def reading(mark: int, limit: int, wait_s: float | None = None) -> LocalChanges:
        asked.append(mark)
        if len(asked) == 2:
            both.set()
        return await changes(mark, limit, wait_s)

    async def keeping(collection: str, batch: LocalBatch) -> OutboxState:
        async with asyncio.timeout(10.0):
            await both.wait()
        return await keep(collection, batch)

    auxiliary.target.changes, auxiliary.outbox.keep = reading, keeping  # type: ignore[method-assign]
    auxiliary.target.commit({note(number): text(f"{number}") for number in range(2, 6)})
    assert ((await auxiliary.reads()).more, (await auxiliary.reads()).more) == (True, False)
    assert len(asked) == 2


async def test_what_is_edited_after_a_page_was_read_ahead_is_not_lost() -> None:
    auxiliary = await opened()
    auxiliary.ports.beside = kept_meanwhile
    auxiliary.target.commit({note(number): text(f"{number}") for number in range(2, 6)})
    assert (await auxiliary.reads()).more
    auxiliary.target.commit({note(2): text("again"), note(5): text("again")})
    mark = 0
    while (read := await auxiliary.reads()).outbox.mark != mark:
        mark = read.outbox.mark
    sent = await auxiliary.outbox.take(NAME, 0, 1_000_000)
    newest = {key: fields for one in sent for key, fields in zip(one.keys, one.fields, strict=True)}
    expected = {note(2): "again", note(3): "3", note(4): "4", note(5): "again"}
    assert newest == {one.key: text(value) for one, value in expected.items()}


async def test_a_page_that_was_read_ahead_is_void_when_the_target_is_opened_again() -> None:
    auxiliary = await opened()
    auxiliary.ports.beside = kept_meanwhile
    auxiliary.target.commit({note(number): text(f"{number}") for number in range(2, 6)})
    assert (await auxiliary.reads()).more
    assert auxiliary.ports.local_ahead
    await auxiliary.does(fx.OpenTarget(NAME))
    assert not auxiliary.ports.local_ahead


async def test_what_was_read_ahead_is_published_as_it_was_when_it_was_read() -> None:
    """What is changed later comes with the next group."""
    primary = Primary(4)
    primary.ports.beside = kept_meanwhile
    before = (await primary.imported()).state
    primary.source.commit({city(number): name("new") for number in range(4)})
    half = await primary.does(fx.ReadSource(SOURCE, before.mark))
    assert isinstance(half, ev.SourceRead)
    assert half.more
    primary.source.commit({city(0): name("newest"), city(3): name("newest")})
    whole = await primary.does(fx.ReadSource(SOURCE, half.state.mark))
    assert isinstance(whole, ev.SourceRead)
    assert (whole.more, whole.state.published) == (False, True)
    rest = await primary.does(fx.WaitSource(SOURCE, whole.state.mark))
    assert isinstance(rest, ev.SourceRead)
    assert (rest.state.head, rest.state.published) == (whole.state.head + 2, True)


async def test_what_was_read_ahead_is_void_when_the_source_is_opened_again() -> None:
    primary = Primary(5)
    primary.ports.beside = kept_meanwhile
    before = (await primary.imported()).state
    primary.source.commit({city(number): name("new") for number in range(5)})
    await primary.does(fx.ReadSource(SOURCE, before.mark))
    assert primary.ports.ahead
    await primary.does(fx.OpenSource(SOURCE))
    assert not primary.ports.ahead


async def test_no_page_is_read_ahead_beside_a_large_one() -> None:
    """Memory is bounded by the page (R15), on either side."""
    primary, auxiliary = Primary(4), await opened()
    for ports in (primary.ports, auxiliary.ports):
        ports.beside = kept_meanwhile
    before = (await primary.imported()).state
    primary.source.commit({city(number): name("new") for number in range(4)})
    auxiliary.target.commit({note(number): text(f"{number}") for number in range(2, 6)})
    for ports in (primary.ports, auxiliary.ports):
        ports.limits = replace(ports.limits, scan_bytes_max=1)
    half = await primary.does(fx.ReadSource(SOURCE, before.mark))
    assert isinstance(half, ev.SourceRead)
    assert (half.more, (await auxiliary.reads()).more) == (True, True)
    assert (primary.ports.ahead, auxiliary.ports.local_ahead) == ({}, {})
