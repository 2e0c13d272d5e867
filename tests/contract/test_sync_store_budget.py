"""What was let through counts with what is deleted after it, and an approval covers what a person has seen: the guard's
budget in the sync store, for the one in SQLite and its twin in memory (R13)."""

from __future__ import annotations

import pytest

from syncd.core.holding import Batch
from syncd.core.ports import CollectionState, SyncStore
from tests.contract.sync_store_kit import NAME, TYPE, observed
from tests.contract.test_sync_store_held import GUARD, Application, begun, gone

pytestmark = pytest.mark.asyncio


async def test_what_was_not_gone_when_it_was_approved_is_held_again_if_it_is_much(store: SyncStore) -> None:
    """As where another copy of the data took the place of the one that a person has seen."""
    application = await begun(store)
    before = await store.open_collection(NAME)
    await application.keep(gone(*range(20)) | {str(number): "2" for number in range(50, 90)})
    assert await store.release(NAME, 1)
    state = await application.releases({str(number): "2" for number in range(50, 52)})
    assert state.held is not None
    assert (state.held.number, state.held.released) == (2, False)
    assert 40 <= state.held.gone <= 58, "as far as it was looked at"
    assert (state.objects, state.digest, state.head) == (100, before.digest, before.head)


async def test_a_little_that_was_not_gone_when_it_was_approved_counts_and_goes_with_it(store: SyncStore) -> None:
    application = await begun(store)
    await application.keep(gone(*range(20)) | {str(number): "2" for number in range(50, 60)})
    assert await store.release(NAME, 1)
    state = await application.releases({str(number): "2" for number in range(54, 60)})
    assert (state.held, state.objects) == (None, 76)
    assert await store.spent(NAME, GUARD, application.now_us) == 4


async def swept(application: Application, *numbers: int) -> CollectionState:
    """A comparison finds these gone, and lets them through."""
    left = {str(number): "1" for number in range(100) if number not in numbers}
    for values in (left, gone(*numbers)):
        batch = Batch(observed(application.type, values), False, loose=True, guard=application.guard, sweep=True)
        await application.store.keep(NAME, batch, application.now_us)
    end = Batch((), publish=True, loose=True, end_scan=True, guard=application.guard)
    return await application.store.keep(NAME, end, application.now_us)


async def test_what_a_comparison_let_through_counts_with_what_is_deleted_after_it(store: SyncStore) -> None:
    application = await begun(store)
    await store.begin_scan(NAME)
    state = await swept(application, *range(15))
    assert (state.objects, state.held) == (85, None)
    assert await store.spent(NAME, GUARD, application.now_us) == 15
    assert (await application.keep(gone(*range(15, 25)))).held is not None


async def test_what_other_data_lost_does_not_count_and_is_not_forgotten(store: SyncStore) -> None:
    """What was let through is counted for the identity of the data, wherever it lies."""
    application = await begun(store)
    await application.keep(gone(*range(15)))
    await store.set_source(NAME, "source 2", [TYPE])
    assert await store.spent(NAME, GUARD, application.now_us) == 0
    await store.set_source(NAME, "source 1", [TYPE])
    assert await store.spent(NAME, GUARD, application.now_us) == 15
