"""Comparisons and types in the sync store, for the one in SQLite and its twin in memory (R12, R13; claim 24h)."""

from __future__ import annotations

from dataclasses import replace

import pytest
import pytest_asyncio

from syncd.core.errors import InvariantBroken
from syncd.core.holding import Batch
from syncd.core.model import DataType, Proof
from syncd.core.ports import SyncStore
from tests.contract.sync_store_kit import NAME, TYPE, Follower, Writer, chunk_of, prepare

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def writer(store: SyncStore) -> Writer:
    return Writer(store, await prepare(store))


async def test_an_import_is_complete_with_the_batch_that_ends_and_publishes_it(writer: Writer) -> None:
    await writer.store.begin_scan(NAME)
    state = await writer.keep({"a": "1"}, publish=False, loose=True)
    assert (state.scanning, state.imported) == (True, False)
    state = await writer.end_scan()
    assert (state.scanning, state.imported, state.head, state.objects) == (False, True, 1, 1)


async def test_an_import_that_ends_while_more_was_touched_is_published_with_the_rest(writer: Writer) -> None:
    await writer.store.begin_scan(NAME)
    await writer.keep({"a": "1"}, publish=False, loose=True)
    state = await writer.store.keep(NAME, Batch((), publish=False, loose=True, end_scan=True), 1)
    assert (state.scanning, state.imported, state.published, state.head) == (False, False, False, 0)
    state = await writer.keep({"b": "1"})
    assert (state.imported, state.published, state.head, state.objects) == (True, True, 2, 2)
    assert [group.loose for group in await writer.store.groups(NAME, 9)] == [True]


async def test_a_comparison_is_due_with_the_commit_that_makes_the_source_or_a_type_another(writer: Writer) -> None:
    await writer.imported({"a": "1"})
    for source, type_, due in (
        ("source 1", TYPE, False),
        ("source 2", TYPE, True),
        ("source 2", replace(TYPE, fields=("text", "colour")), True),
        ("source 2", replace(TYPE, fields=("text", "colour"), definition=("CREATE TABLE other",)), True),
    ):
        await writer.store.set_source(NAME, source, (type_,))
        assert (await writer.store.open_collection(NAME)).scanning is due, (source, type_)
        await writer.store.begin_scan(NAME)
        await writer.end_scan()


async def test_the_import_of_nothing_is_an_import(writer: Writer) -> None:
    state = await writer.imported({})
    assert (state.imported, state.head, state.objects) == (True, 0, 0)


async def test_an_import_meets_changes_of_the_same_objects(writer: Writer) -> None:
    await writer.store.begin_scan(NAME)
    await writer.keep({"a": "1", "b": "1"}, publish=False, loose=True)
    await writer.keep({"b": "2", "c": "1"}, publish=False, loose=True)
    await writer.keep({"c": None, "a": "1"}, publish=False, loose=True)
    assert await writer.store.unseen(NAME, 9) == []
    await writer.end_scan()
    follower = Follower(writer.store)
    await follower.catch_up()
    assert follower.objects == {b"a": b"1", b"b": b"2"}


async def test_a_comparison_finds_what_vanished(writer: Writer) -> None:
    await writer.imported({f"{i}": "1" for i in range(8)})
    await writer.store.begin_scan(NAME)
    await writer.keep({"0": "1", "3": "2", "9": "1"}, publish=False, loose=True)
    gone = await writer.store.unseen(NAME, 4)
    assert [(one.type, one.fields) for one in gone] == [(writer.type, None)] * 4
    await writer.store.keep(NAME, Batch(gone, publish=False, loose=True), 1)
    rest = await writer.store.unseen(NAME, 9)
    assert {one.key for one in [*gone, *rest]} == {b"1", b"2", b"4", b"5", b"6", b"7"}
    await writer.keep({rest[0].key.decode(): "1"}, publish=False, loose=True)
    await writer.store.keep(NAME, Batch(rest[1:], publish=False, loose=True), 1)
    assert await writer.store.unseen(NAME, 9) == []
    state = await writer.end_scan()
    assert state.objects == 4


async def test_a_comparison_that_finds_everything_equal_changes_nothing(writer: Writer) -> None:
    values: dict[str, str | None] = {f"{i}": "1" for i in range(8)}
    before = await writer.imported(values)
    assert await writer.imported(values) == before


async def test_nothing_counts_as_vanished_without_a_comparison(writer: Writer) -> None:
    await writer.imported({"a": "1"})
    with pytest.raises(InvariantBroken):
        await writer.store.unseen(NAME, 9)


async def test_a_comparison_begun_again_has_seen_nothing(writer: Writer) -> None:
    await writer.imported({"a": "1", "b": "1"})
    await writer.store.begin_scan(NAME)
    await writer.keep({"a": "1"}, publish=False, loose=True)
    await writer.store.begin_scan(NAME)
    assert {one.key for one in await writer.store.unseen(NAME, 9)} == {b"a", b"b"}


async def test_types_keep_their_ids_while_their_names_stay(store: SyncStore) -> None:
    await store.open_collection(NAME)
    other = DataType(0, "other", ("id",), ())
    first = await store.set_source(NAME, "s", (TYPE, other))
    assert len({type_.id for type_ in first}) == 2
    again = await store.set_source(NAME, "s", (replace(other, definition=("CREATE TABLE other",)), TYPE))
    assert [type_.id for type_ in again] == [first[1].id, first[0].id]
    assert (await store.open_collection(NAME)).types == again


async def test_type_ids_are_unique_in_the_store(store: SyncStore) -> None:
    ids = []
    for name in ("one", "two"):
        await store.open_collection(name)
        ids += [type_.id for type_ in await store.set_source(name, "s", (TYPE,))]
    assert len(set(ids)) == 2


async def test_the_objects_of_a_type_that_changed_go_with_it(writer: Writer) -> None:
    await writer.imported({"a": "1", "b": "1"})
    (changed,) = await writer.store.set_source(NAME, "s", (replace(TYPE, fields=("text", "more")),))
    assert changed.id > writer.type
    assert {row.type for row in (await chunk_of(writer.store, 0, 0)).rows} == {changed.id}
    state = await Writer(writer.store, changed.id).imported({"a": "1, more", "b": "1"})
    chunk = await chunk_of(writer.store, 0, 0)
    assert {(row.key, row.fields) for row in chunk.rows} == {(b"a", b"1, more"), (b"b", b"1")}
    assert chunk.proof == Proof(state.head, state.digest, 2)
    (back,) = await writer.store.set_source(NAME, "s", (TYPE,))
    assert back.id > changed.id


async def test_the_objects_of_a_type_that_is_gone_are_found_by_the_comparison(store: SyncStore) -> None:
    other = DataType(0, "other", ("id",), ())
    writer = Writer(store, await prepare(store, TYPE, other))
    await writer.imported({"a": "1"})
    (left,) = await store.set_source(NAME, "s", (other,))
    assert (await store.open_collection(NAME)).types == (left,)
    state = await Writer(store, left.id).imported({"b": "1"})
    assert state.objects == 1
    rows = (await chunk_of(store, 0, 0)).rows
    assert [(row.type, row.fields) for row in rows] == [(left.id, b"1"), (writer.type, None)]


async def test_a_type_holds_objects_until_the_last_is_deleted(store: SyncStore) -> None:
    writer = Writer(store, await prepare(store))
    assert not await store.holds(NAME, writer.type)
    await writer.imported({"a": "1", "b": "2"})
    assert await store.holds(NAME, writer.type)
    await writer.keep({"a": None, "b": None})
    assert not await store.holds(NAME, writer.type)
