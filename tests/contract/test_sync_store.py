"""The contract of the sync store, for the one in SQLite and its twin in memory (R1-R5, R7, R14; claims 21a, 24h)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from syncd.core import digest
from syncd.core.holding import Batch
from syncd.core.model import Observed, Proof, Tie
from syncd.core.ports import ChunkRequest, SyncStore
from syncd.core.query_builder import build
from syncd.core.selection import ALL
from syncd.core.settings import Limits
from tests.contract.sync_store_kit import NAME, TYPE, Follower, Writer, chunk_of, keys, opened, prepare

pytestmark = pytest.mark.asyncio

LIMITS = Limits(ties_max=3, groups_max=4)


@pytest_asyncio.fixture(params=["sqlite", "memory"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SyncStore]:
    async with opened(request.param, tmp_path, LIMITS) as made:
        yield made


@pytest_asyncio.fixture
async def writer(store: SyncStore) -> Writer:
    return Writer(store, await prepare(store))


async def test_a_collection_begins_empty(store: SyncStore) -> None:
    state = await store.open_collection(NAME)
    assert (state.head, state.horizon, state.digest, state.objects) == (0, 0, digest.EMPTY, 0)
    assert state.published
    assert (state.imported, state.scanning, state.source, state.types, state.mark) == (False, False, "", (), 0)
    assert len(bytes.fromhex(state.epoch)) == 8
    assert await store.open_collection(NAME) == state


async def test_what_is_at_hand_is_what_is_read(writer: Writer) -> None:
    await writer.keep({"a": "1"})
    await writer.keep({"a": "2", "b": "1"})
    after = ChunkRequest(NAME, ALL, 1, 0, 1)
    assert writer.store.at_hand(after, 10, 1_000) == await writer.store.read(after, 10, 1_000)
    assert writer.store.at_hand(ChunkRequest(NAME, ALL, 0, 0, 0), 10, 1_000) is None, "more than the newest group"


async def test_a_new_epoch_is_one_for_all_collections(store: SyncStore) -> None:
    before = (await store.open_collection(NAME)).epoch
    epoch = await store.new_epoch()
    assert epoch != before
    assert {(await store.open_collection(name)).epoch for name in (NAME, "other")} == {epoch}


async def test_changes_come_in_sequence_order_each_object_once(writer: Writer) -> None:
    await writer.keep({"a": "1", "b": "1"})
    await writer.keep({"c": "1"})
    await writer.keep({"a": "2"})
    chunk = await chunk_of(writer.store, 0, 0)
    assert keys(chunk) == ["b", "c", "a"]
    assert [row.change for row in chunk.rows] == sorted(row.change for row in chunk.rows)
    assert [group.seq for group in chunk.groups] == [2, 3, 4]
    assert chunk.proof is not None
    assert (chunk.last, chunk.proof.seq, chunk.proof.objects) == (4, 4, 3)


async def test_what_did_not_change_makes_no_group(writer: Writer) -> None:
    first = await writer.keep({"a": "1", "b": "1"})
    again = await writer.keep({"b": "1", "a": "1", "z": None})
    assert (again.head, again.digest, again.objects) == (first.head, first.digest, first.objects)
    assert len(await writer.store.groups(NAME, 10)) == 1


async def test_rows_are_not_read_before_their_group_is_published(writer: Writer) -> None:
    published = await writer.keep({"b": "1", "a": "1"})
    state = await writer.keep({"a": "2", "c": "1"}, publish=False)
    assert not state.published
    assert state.head == published.head
    chunk = await chunk_of(writer.store, 0, 0)
    assert (keys(chunk), chunk.last, chunk.proof) == (["b"], published.head - 1, None)
    state = await writer.keep({"d": "1"})
    assert state.published
    chunk = await chunk_of(writer.store, published.head, published.head)
    assert keys(chunk) == ["a", "c", "d"]
    assert [(group.seq, group.objects) for group in chunk.groups] == [(state.head, 3)]
    assert chunk.proof == Proof(state.head, state.digest, 4)


async def test_an_object_that_changed_twice_in_a_group_counts_once(writer: Writer) -> None:
    await writer.keep({"a": "1"}, publish=False)
    state = await writer.keep({"a": "2"})
    group = (await writer.store.groups(NAME, 1))[0]
    assert (group.first, group.seq, group.objects) == (1, state.head, 1)


async def test_of_an_object_that_comes_twice_in_a_batch_the_later_counts(writer: Writer) -> None:
    twice = [Observed(writer.type, b"a", b"1"), Observed(writer.type, b"b", b"1"), Observed(writer.type, b"a", b"2")]
    state = await writer.store.keep(NAME, Batch(twice, publish=True, loose=False), 1)
    chunk = await chunk_of(writer.store, 0, 0)
    assert {row.key: row.fields for row in chunk.rows} == {b"a": b"2", b"b": b"1"}
    assert state.objects == 2


async def test_a_deleted_object_leaves_a_tombstone_that_knows_since_when_it_was_there(writer: Writer) -> None:
    await writer.keep({"a": "1"})
    await writer.keep({"a": "2"})
    state = await writer.keep({"a": None})
    (row,) = (await chunk_of(writer.store, 0, 0)).rows
    assert (row.fields, row.born, row.change) == (None, 1, state.head)
    assert (state.objects, state.digest) == (0, digest.EMPTY)


async def test_an_object_that_came_back_and_went_again_is_deleted_where_it_was_held_before(writer: Writer) -> None:
    follower = Follower(writer.store)
    await writer.keep({"a": "1", "b": "1"})
    await follower.catch_up()
    for value in (None, "2", None):
        await writer.keep({"a": value})
    await follower.catch_up()
    assert follower.objects == {b"b": b"1"}


async def test_an_object_that_comes_back_after_its_tombstone_was_forgotten_is_born_again(writer: Writer) -> None:
    await writer.keep({"a": "1"})
    passed = (await writer.keep({"a": None})).head
    await writer.store.prune(NAME, passed, 0)
    state = await writer.keep({"a": "1"})
    (row,) = (await chunk_of(writer.store, 0, 0)).rows
    assert (row.born, row.change, row.fields) == (state.head, state.head, b"1")


async def test_an_object_that_cannot_be_built_is_kept_with_its_reason(writer: Writer) -> None:
    fault = [Observed(writer.type, b"a", b"", "text is not UTF-8")]
    first = await writer.store.keep(NAME, Batch(fault, publish=True, loose=False), 1)
    again = await writer.store.keep(NAME, Batch(fault, publish=True, loose=False), 2)
    assert again.head == first.head
    (row,) = (await chunk_of(writer.store, 0, 0)).rows
    assert (row.fields, row.fault) == (b"", "text is not UTF-8")
    follower = Follower(writer.store)
    assert (await follower.catch_up()).objects == 1
    other = [Observed(writer.type, b"a", b"", "too large")]
    assert (await writer.store.keep(NAME, Batch(other, publish=True, loose=False), 3)).head > first.head
    assert (await writer.keep({"a": "1"})).objects == 1


async def test_the_read_mark_moves_with_the_batch(writer: Writer) -> None:
    await writer.keep({"a": "1"}, mark=7)
    await writer.keep({"b": "1"})
    assert (await writer.store.open_collection(NAME)).mark == 7


async def test_a_read_ends_at_its_bounds_and_goes_on_from_there(writer: Writer) -> None:
    await writer.keep({f"{i:03}": "x" * 100 for i in range(10)})
    few = await chunk_of(writer.store, 0, 0, rows_max=4)
    assert (len(few.rows), few.last, few.proof) == (4, 4, None)
    assert few.groups[0].seq == 10
    rest = await chunk_of(writer.store, 0, few.last)
    assert len(rest.rows) == 6
    assert rest.proof is not None
    small = await chunk_of(writer.store, 0, 0, bytes_max=250)
    assert len(small.rows) == 2
    tiny = await chunk_of(writer.store, 0, 0, bytes_max=1)
    assert len(tiny.rows) == 1


async def test_a_read_at_the_head_proves_it(writer: Writer) -> None:
    state = await writer.keep({"a": "1"})
    chunk = await chunk_of(writer.store, state.head, state.head)
    assert (chunk.rows, chunk.last, chunk.proof) == ([], state.head, Proof(state.head, state.digest, 1))


async def test_the_version_grows_with_each_change(writer: Writer) -> None:
    versions = [(await chunk_of(writer.store, 0, 0)).version]
    for values, publish in (({"a": "1"}, False), ({}, True), ({"a": "2"}, True)):
        await writer.keep(values, publish=publish)
        versions.append((await chunk_of(writer.store, 0, 0)).version)
    assert versions == sorted(set(versions))


# ---------------------------------------------------------------- groups and ties


async def test_groups_that_share_an_object_are_tied(writer: Writer) -> None:
    one = (await writer.keep({"a": "1", "b": "1"})).head
    two = (await writer.keep({"b": "2", "c": "2"})).head
    await writer.keep({"x": "3"})
    assert set((await chunk_of(writer.store, 0, 0)).ties) == {Tie(one, two)}


async def test_a_tie_is_named_with_the_change_that_made_it_however_old_the_older_group_is(writer: Writer) -> None:
    one = (await writer.keep({"a": "1", "x": "1"})).head
    two = (await writer.keep({"a": "2", "b": "2"})).head
    three = (await writer.keep({"b": "3"})).head
    assert set((await chunk_of(writer.store, one, one)).ties) == {Tie(one, two), Tie(two, three)}
    assert set((await chunk_of(writer.store, one, two)).ties) == {Tie(two, three)}


async def test_a_group_of_which_nothing_is_left_is_in_no_tie(writer: Writer) -> None:
    for i in range(20):
        await writer.keep({"counter": f"{i}", "last seen": f"{i}"})
    assert (await chunk_of(writer.store, 0, 0)).ties == ()
    one = (await writer.keep({"a": "1", "counter": "20"})).head
    for i in range(20):
        head = (await writer.keep({"a": f"again {i}"})).head
    assert Tie(one, head) in set((await chunk_of(writer.store, 0, 0)).ties)
    assert len((await chunk_of(writer.store, 0, 0)).ties) == 2


async def test_a_deletion_ties_too(writer: Writer) -> None:
    one = (await writer.keep({"a": "1", "b": "1"})).head
    two = (await writer.keep({"a": None, "c": "2"})).head
    assert set((await chunk_of(writer.store, 0, 0)).ties) == {Tie(one, two)}


async def test_a_group_of_several_batches_is_tied_by_its_own_number(writer: Writer) -> None:
    one = (await writer.keep({"a": "1", "b": "1"})).head
    two = (await writer.keep({"c": "1", "d": "1"})).head
    await writer.keep({"a": "2"}, publish=False)
    await writer.keep({"b": "2"}, publish=False)
    three = (await writer.keep({"c": "2", "a": "3"})).head
    assert set((await chunk_of(writer.store, 0, 0)).ties) == {Tie(one, three), Tie(two, three)}


async def test_loose_groups_tie_nothing(writer: Writer) -> None:
    await writer.keep({"a": "1", "b": "1"}, loose=True)
    await writer.keep({"a": "2", "c": "2"})
    await writer.keep({"c": "3"}, loose=True)
    await writer.keep({"a": "4"}, publish=False)
    await writer.keep({"d": "4"}, loose=True)
    chunk = await chunk_of(writer.store, 0, 0)
    assert chunk.ties == ()
    assert [group.loose for group in chunk.groups] == [True, True, True]
    assert [group.loose for group in await writer.store.groups(NAME, 9)] == [True, True, False, True]


async def test_a_loose_batch_that_changed_nothing_does_not_make_the_group_loose(writer: Writer) -> None:
    await writer.keep({"a": "1"})
    await writer.keep({"a": "1"}, publish=False, loose=True)
    await writer.keep({"a": "2"})
    assert not (await writer.store.groups(NAME, 1))[0].loose


async def test_a_read_ends_early_rather_than_name_too_many_ties(writer: Writer) -> None:
    for i in range(8):
        await writer.keep({f"{i}": "1", f"side {i}": "1"})
    head = (await writer.keep({f"{i}": "2" for i in range(8)})).head
    ties: set[Tie] = set()
    cursor = reads = 0
    while cursor < head:
        chunk = await chunk_of(writer.store, 0, cursor)
        assert len(chunk.ties) <= LIMITS.ties_max
        assert chunk.last > cursor
        assert (chunk.proof is not None) == (chunk.last == head)
        ties |= set(chunk.ties)
        cursor, reads = chunk.last, reads + 1
    assert ties == {Tie(2 * i + 2, head) for i in range(8)}
    assert reads > 2


async def test_groups_are_named_newest_first(writer: Writer) -> None:
    for i in range(5):
        await writer.keep({f"{i}": "1"})
    assert [group.seq for group in await writer.store.groups(NAME, 3)] == [5, 4, 3]
    assert (await writer.store.groups(NAME, 1))[0].time_us == writer.now_us


# ---------------------------------------------------------------- forgetting


async def test_tombstones_that_every_device_passed_are_forgotten(writer: Writer) -> None:
    await writer.keep({"a": "1", "b": "1", "c": "1"})
    passed = (await writer.keep({"a": None})).head
    late = (await writer.keep({"b": None})).head
    assert await writer.store.prune(NAME, passed, 0) == 1
    state = await writer.store.open_collection(NAME)
    assert (state.horizon, state.objects) == (passed, 1)
    chunk = await chunk_of(writer.store, passed, 0)
    assert keys(chunk) == ["c", "b"]
    assert [group.seq for group in chunk.groups] == [3, late]
    assert chunk.proof == Proof(late, state.digest, 1)
    assert await writer.store.prune(NAME, 0, 0) == 0
    assert (await writer.store.open_collection(NAME)).horizon == passed


async def test_tombstones_that_are_too_old_are_forgotten(writer: Writer) -> None:
    await writer.keep({"a": "1", "b": "1"})
    old = (await writer.keep({"a": None})).head
    await writer.keep({"b": None})
    assert await writer.store.prune(NAME, 0, writer.now_us) == 1
    assert (await writer.store.open_collection(NAME)).horizon == old
    assert len(await writer.store.groups(NAME, 9)) == 1


async def test_groups_are_remembered_for_longer_than_tombstones_where_that_is_asked(writer: Writer) -> None:
    await writer.keep({"a": "1"})
    began_us = writer.now_us
    old = (await writer.keep({"a": None})).head
    await writer.keep({"b": "1"})
    assert await writer.store.prune(NAME, 0, writer.now_us, began_us) == 1
    assert (await writer.store.open_collection(NAME)).horizon == old
    assert len(await writer.store.groups(NAME, 9)) == 3
    assert await writer.store.prune(NAME, 0, writer.now_us, writer.now_us + 9) == 0
    assert len(await writer.store.groups(NAME, 9)) == 1, "never for a shorter time"


async def test_groups_beyond_the_bound_are_forgotten_and_their_objects_stand_alone(writer: Writer) -> None:
    heads = [(await writer.keep({name: "1"})).head for name in "abcdef"]
    assert await writer.store.prune(NAME, 0, 0) == 0
    assert [group.seq for group in await writer.store.groups(NAME, 9)] == heads[: -LIMITS.groups_max - 1 : -1]
    chunk = await chunk_of(writer.store, 0, 0)
    assert keys(chunk) == list("abcdef")
    runs = build(ChunkRequest(NAME, ALL, 0, 0, 0), chunk).runs
    assert [run.loose for run in runs] == [True, True, False, False, False, False]


async def test_what_is_not_published_is_not_forgotten(writer: Writer) -> None:
    head = (await writer.keep({"a": "1"})).head
    await writer.keep({"a": None}, publish=False)
    assert await writer.store.prune(NAME, head + 9, writer.now_us + 9) == 0
    assert (await writer.store.open_collection(NAME)).horizon == head
    await writer.keep({})
    assert [row.fields for row in (await chunk_of(writer.store, head, head)).rows] == [None]


async def test_collections_do_not_meet(store: SyncStore) -> None:
    first = Writer(store, await prepare(store))
    await first.keep({"a": "1"})
    await store.open_collection("other")
    (type_,) = await store.set_source("other", "s", (TYPE,))
    await store.keep("other", Batch([Observed(type_.id, b"a", None)], publish=True, loose=False), 1)
    assert (await store.open_collection("other")).head == 0
    assert (await store.open_collection(NAME)).objects == 1
