"""What a comparison of the application finds gone is held as a group, in the sync store, for the one in SQLite and its
twin in memory (R13)."""

from __future__ import annotations

import pytest

from syncd.core.holding import Batch
from syncd.core.model import DataType, Observed
from syncd.core.ports import CollectionState, SyncStore
from tests.contract.sync_store_kit import NAME, TYPE, Follower, chunk_of, observed
from tests.contract.test_sync_store_held import GUARD, Application, Values, begun, gone

pytestmark = pytest.mark.asyncio


async def test_a_comparison_leaves_what_is_held_as_it_is(store: SyncStore) -> None:
    application = await begun(store)
    await application.keep(gone(*range(20)) | {"50": "2"})
    await store.begin_scan(NAME)
    there = observed(application.type, {str(number): "3" for number in range(20, 100)})
    await store.keep(NAME, Batch(there, publish=False, loose=True), application.now_us)
    assert await store.unseen(NAME, 200) == []
    end = Batch((), publish=True, loose=True, end_scan=True, guard=GUARD)
    state = await store.keep(NAME, end, application.now_us)
    rows = {row.key: row.fields for row in (await chunk_of(store, 0, 0)).rows}
    assert (rows[b"5"], rows[b"50"], rows[b"51"]) == (b"1", b"1", b"3")
    assert state.held is not None
    assert state.held.gone == 20


async def sweeps(application: Application, left: Values, page: int = 7) -> CollectionState:
    """A comparison finds these, and looks through the others page by page."""
    store = application.store
    await store.begin_scan(NAME)
    await store.keep(NAME, Batch(observed(application.type, left), publish=False, loose=True), application.now_us)
    while unseen := await store.unseen(NAME, page):
        batch = Batch(unseen, publish=False, loose=True, guard=application.guard, sweep=True)
        await store.keep(NAME, batch, application.now_us)
    end = Batch((), publish=True, loose=True, end_scan=True, guard=application.guard)
    return await store.keep(NAME, end, application.now_us)


async def test_what_a_comparison_finds_gone_is_one_held_group_and_the_rest_goes_on(store: SyncStore) -> None:
    application, device = await begun(store), Follower(store)
    state = await sweeps(application, {str(number): "3" for number in range(79)} | {"new": "1"})
    assert state.held is not None
    assert (state.held.number, state.held.gone, state.held.of, state.held.released) == (1, 21, 101, False)
    assert (state.objects, state.published, state.scanning) == (101, True, False)
    await device.catch_up()
    assert len(device.objects) == 101
    state = await application.keep({"0": "4"})
    assert state.held is not None
    assert await store.release(NAME, 1)
    state = await application.releases({})
    assert (state.held, state.objects) == (None, 80)


async def test_little_that_a_comparison_finds_gone_is_deleted(store: SyncStore) -> None:
    state = await sweeps(await begun(store), {str(number): "1" for number in range(81)})
    assert (state.held, state.objects) == (None, 81)


async def test_a_comparison_that_finds_nothing_leaves_all_there_however_little_it_is(store: SyncStore) -> None:
    state = await sweeps(await begun(store, 3), {}, page=1)
    assert state.held is not None
    assert (state.held.gone, state.objects) == (3, 3)


async def test_what_was_deleted_while_a_comparison_ran_is_held_and_the_rest_goes_on(store: SyncStore) -> None:
    application = await begun(store)
    await store.begin_scan(NAME)
    there = observed(application.type, {str(number): "3" for number in range(100)})
    await store.keep(NAME, Batch(there, publish=False, loose=True), application.now_us)
    tail = observed(application.type, gone(*range(30)) | {"new": "1"})
    end = Batch(tail, publish=True, loose=True, end_scan=True, guard=GUARD)
    state = await store.keep(NAME, end, application.now_us)
    assert state.held is not None
    assert (state.objects, state.held.gone, state.published) == (101, 30, True)


async def test_objects_of_a_type_that_is_gone_as_such_do_not_count_with_the_others(store: SyncStore) -> None:
    await begun(store)
    other = DataType(0, "other", ("id",), ())
    other_id = (await store.set_source(NAME, "source 1", (TYPE, other)))[1].id
    there = [Observed(other_id, str(number).encode(), b"1") for number in range(20)]
    await store.keep(NAME, Batch(there, publish=True, loose=False, guard=GUARD), 1)
    await store.set_source(NAME, "source 1", (other,))
    await store.begin_scan(NAME)
    await store.keep(NAME, Batch(there[1:], publish=False, loose=True), 1)
    unseen = await store.unseen(NAME, 200)
    for guard, those in ((GUARD, unseen[-1:]), (None, unseen[:-1])):
        state = await store.keep(NAME, Batch(those, publish=False, loose=True, guard=guard, sweep=True), 1)
    assert (state.held, state.objects) == (None, 19)


async def test_what_a_comparison_found_gone_is_gone_though_what_was_kept_before_it_is_taken_back(
    store: SyncStore,
) -> None:
    """A group was read in part when the log was lost; the comparison finds nothing but deletions, and what is read
    after it is held with that part."""
    application = await begun(store, 20)
    before = await store.open_collection(NAME)
    await application.keep({"0": "2", "1": "2", "19": None, "new": "1"}, publish=False)
    await store.begin_scan(NAME)
    there = observed(application.type, {"1": "2", "18": "1"})
    await store.keep(NAME, Batch(there, publish=False, loose=True), application.now_us)
    batch = Batch(await store.unseen(NAME, 100), publish=False, loose=True, guard=GUARD, sweep=True)
    await store.keep(NAME, batch, application.now_us)
    end = Batch((), publish=False, loose=True, end_scan=True, guard=GUARD)
    state = await store.keep(NAME, end, application.now_us)
    assert state.held is not None
    assert (state.held.gone, state.held.of) == (18, 20)
    state = await application.keep({"2": "3"})
    assert (state.head, state.digest, state.objects, state.published) == (before.head, before.digest, 20, True)
    assert state.held is not None
    lost = {one.key.decode() for one in await store.held_objects(NAME, 100) if one.gone}
    assert lost == {"0", "19", *(str(number) for number in range(3, 18))}
    assert (state.held.gone, state.held.of) == (17, 20)
