"""Past states of the sync store: what stood at a sequence number, page by page, while commits go on."""

from __future__ import annotations

import random

import pytest
import pytest_asyncio

from syncd.core.ports import SyncStore
from tests.contract.sync_store_kit import BYTES_MAX, NAME, Writer, prepare

pytestmark = pytest.mark.asyncio
FOREVER = 2**62


@pytest_asyncio.fixture
async def writer(store: SyncStore) -> Writer:
    writer = Writer(store, await prepare(store))
    await writer.imported({"a": "1", "b": "1", "c": "1"})
    return writer


async def state(store: SyncStore, at: int, rows_max: int = 100) -> dict[str, str]:
    """All objects of that state, each once."""
    found: dict[str, str] = {}
    cursor = 0
    while cursor < at:
        page = await store.stood(NAME, at, cursor, rows_max, BYTES_MAX)
        assert page.whole
        assert cursor < page.last <= at
        for one in page.rows:
            assert one.key.decode() not in found
            found[one.key.decode()] = one.fields.decode()
        cursor = page.last
    return found


async def test_a_past_state_is_read_as_it_was(writer: Writer) -> None:
    store, states = writer.store, dict[int, dict[str, str]]()
    held = {"a": "1", "b": "1", "c": "1"}
    for change in ({"a": "2"}, {"b": None}, {"d": "1", "a": "3"}, {"b": "again"}, {"a": None, "c": None}):
        states[(await store.open_collection(NAME)).head] = dict(held)
        await writer.keep(change)
        held = {key: value for key, value in (held | change).items() if value is not None}
    states[(await store.open_collection(NAME)).head] = held
    for at, objects in states.items():
        assert await state(store, at) == await state(store, at, rows_max=1) == objects


async def test_what_is_not_published_stands_in_no_state(writer: Writer) -> None:
    head = (await writer.store.open_collection(NAME)).head
    await writer.keep({"a": "2", "d": "1"}, publish=False)
    (first, second, third) = (await writer.store.stood(NAME, head, 0, 100, BYTES_MAX)).rows
    assert (first.key, first.fields, first.until > head) == (b"a", b"1", True)
    assert (second.until, third.until) == (0, 0)
    assert await state(writer.store, head) == {"a": "1", "b": "1", "c": "1"}


async def test_a_tombstone_that_was_forgotten_stands_nowhere(writer: Writer) -> None:
    before = (await writer.store.open_collection(NAME)).head
    after = (await writer.keep({"b": None})).head
    await writer.store.prune(NAME, FOREVER, 0)
    assert await state(writer.store, before) == {"a": "1", "b": "1", "c": "1"}
    assert await state(writer.store, after) == {"a": "1", "c": "1"}


async def test_a_state_of_which_something_is_forgotten_says_so(writer: Writer) -> None:
    before = (await writer.store.open_collection(NAME)).head
    await writer.keep({"b": None})
    await writer.store.forget_history(NAME, FOREVER, 0)
    page = await writer.store.stood(NAME, before, 0, 100, BYTES_MAX)
    assert ([one.key for one in page.rows], page.whole) == ([b"a", b"c"], False)
    now = await writer.store.open_collection(NAME)
    assert now.remembers == now.head
    assert await state(writer.store, now.head) == {"a": "1", "c": "1"}


async def test_pages_end_at_their_bounds(writer: Writer) -> None:
    head = (await writer.keep({"d": "x" * 1_000})).head
    page = await writer.store.stood(NAME, head, 0, 100, 100)
    assert ([one.key for one in page.rows], page.last) == ([b"a", b"b", b"c"], page.rows[-1].change)
    page = await writer.store.stood(NAME, head, page.last, 100, 100)
    assert ([one.key for one in page.rows], page.last) == ([b"d"], head)


@pytest.mark.parametrize("seed", range(20))
async def test_pages_are_of_one_state_while_commits_go_on(writer: Writer, seed: int) -> None:
    print("seed", seed)
    chance, store = random.Random(seed), writer.store
    held = {"a": "1", "b": "1", "c": "1"}
    for _ in range(8):
        head = (await store.open_collection(NAME)).head
        expected, found, cursor = dict(held), dict[str, str](), 0
        while cursor < head:
            if chance.random() < 0.7:
                change = {chance.choice("abcdefg"): chance.choice(["1", "2", "3", None]) for _ in range(3)}
                await writer.keep(change, publish=chance.random() < 0.8)
                held = {key: value for key, value in (held | change).items() if value is not None}
            page = await store.stood(NAME, head, cursor, 2, BYTES_MAX)
            found |= {one.key.decode(): one.fields.decode() for one in page.rows}
            cursor = page.last
        assert found == expected
        await writer.keep({})
