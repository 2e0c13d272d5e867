"""The guard on groups in the sync store, for the one in SQLite and its twin in memory (R2, R13)."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from syncd.core.edits import Edit
from syncd.core.guard import Guard
from syncd.core.holding import Batch, HeldObject
from syncd.core.model import DataType
from syncd.core.ports import CollectionState, SyncStore
from syncd.core.settings import Limits
from syncd.store.memory import MemorySyncStore
from syncd.store.sync_store import SqliteSyncStore
from tests.contract.sync_store_kit import NAME, TYPE, Follower, Writer, chunk_of, observed, prepare

pytestmark = pytest.mark.asyncio

DAY_US = 86_400 * 1_000_000
GUARD = Guard(10, 20, 86_400.0)
SMALL = Guard(3, 20, 86_400.0)
Values = Mapping[str, str | None]


@dataclass
class Application:
    """``objects``: those that were there in the beginning, named by their number."""

    store: SyncStore
    type: int
    guard: Guard = GUARD
    now_us: int = 10 * DAY_US

    async def keep(self, values: Values, publish: bool = True, author: str = "") -> CollectionState:
        """One read."""
        seen = [one._replace(author=author) for one in observed(self.type, values)]
        return await self.store.keep(NAME, Batch(seen, publish, False, guard=self.guard), self.now_us)

    async def releases(self, values: Values) -> CollectionState:
        """What a person let through is read and published."""
        state = await self.store.open_collection(NAME)
        while state.held is not None and state.held.released:
            some = await self.store.held_objects(NAME, 7)
            there = {one.key.decode(): values.get(one.key.decode()) for one in some}
            seen = observed(self.type, there)
            batch = Batch(seen, False, False, guard=self.guard, release=True)
            state = await self.store.keep(NAME, batch, self.now_us)
        return await self.keep({})


def gone(*numbers: int) -> dict[str, str | None]:
    return {str(number): None for number in numbers}


async def begun(store: SyncStore, objects: int = 100) -> Application:
    writer = Writer(store, await prepare(store))
    await writer.imported({str(number): "1" for number in range(objects)})
    return Application(store, writer.type)


async def test_objects_of_a_held_group_are_read_in_pages(store: SyncStore) -> None:
    application = await begun(store, 20)
    await application.keep(gone(*range(17)))
    found: list[HeldObject] = []
    while some := await store.held_objects(NAME, 3, found[-1] if found else None):
        found += some
    assert found == list(await store.held_objects(NAME, 100))
    assert len(found) == 17


async def test_a_group_that_deletes_much_changes_nothing_that_devices_see(store: SyncStore) -> None:
    application, device = await begun(store), Follower(store)
    await device.catch_up()
    before = await store.open_collection(NAME)
    state = await application.keep(gone(*range(20)) | {"new": "1"})
    assert (state.head, state.digest, state.objects, state.published) == (before.head, before.digest, 100, True)
    assert state.held is not None
    assert (state.held.number, state.held.objects, state.held.gone, state.held.of) == (1, 21, 20, 100)
    assert not state.held.released
    await device.catch_up()
    assert len(device.objects) == 100
    fresh = Follower(store, floor=state.head)
    await fresh.catch_up()
    assert fresh.objects == device.objects, "nor does a snapshot"


@pytest.mark.parametrize(("objects", "deleted"), [(100, 19), (30, 9), (100, 1)])
async def test_a_group_that_deletes_little_goes_on(store: SyncStore, objects: int, deleted: int) -> None:
    state = await (await begun(store, objects)).keep(gone(*range(deleted)))
    assert (state.held, state.objects) == (None, objects - deleted)


async def test_a_group_that_leaves_nothing_is_held_however_small(store: SyncStore) -> None:
    state = await (await begun(store, 2)).keep(gone(0, 1))
    assert state.held is not None


async def test_other_groups_go_on(store: SyncStore) -> None:
    application = await begun(store)
    before = await application.keep(gone(*range(20)))
    state = await application.keep({"50": "2", "new": "1", "51": None})
    assert (state.head, state.objects) == (before.head + 3, 100)
    assert state.held == before.held


async def test_a_group_that_touches_what_is_held_waits_behind_it_whole(store: SyncStore) -> None:
    application = await begun(store)
    await application.keep(gone(*range(20)) | {"50": "2"})
    state = await application.keep({"50": "3", "60": "2"})
    assert state.held is not None
    assert (state.held.number, state.held.objects, state.held.gone) == (1, 22, 20)
    rows = {row.key: row.fields for row in (await chunk_of(store, 0, 0)).rows}
    assert (rows[b"50"], rows[b"60"]) == (b"1", b"1")


async def test_all_parts_of_a_read_are_held_with_the_one_that_is_too_much(store: SyncStore) -> None:
    application = await begun(store)
    before = await store.open_collection(NAME)
    await application.keep(gone(*range(15)) | {"new": "1", "50": "2"}, publish=False)
    state = await application.keep(gone(*range(15, 25)), publish=False)
    assert (state.objects, state.digest, state.published) == (100, before.digest, True)
    state = await application.keep({"70": "2"}, publish=True)
    assert (state.head, state.digest, state.objects) == (before.head, before.digest, 100)
    assert state.held is not None
    assert (state.held.objects, state.held.gone) == (28, 25)
    state = await application.keep({"71": "2"})
    assert state.head == before.head + 1


async def test_what_is_taken_back_has_its_history_and_its_place(store: SyncStore) -> None:
    application = await begun(store)
    await application.keep({"50": "2"})
    before = await chunk_of(store, 0, 0)
    versions = await store.history(NAME, application.type, b"50", 10)
    await application.keep({"50": None, "51": "2", "new": "1"}, publish=False)
    await application.keep({"50": "3"}, publish=False)
    await application.keep(gone(*range(21)))
    after = await chunk_of(store, 0, 0)
    assert (list(after.rows), after.proof, after.ties) == (list(before.rows), before.proof, before.ties)
    assert await store.history(NAME, application.type, b"50", 10) == versions


async def test_a_device_that_reads_meanwhile_has_all_when_the_group_is_taken_back(store: SyncStore) -> None:
    application, device = await begun(store), Follower(store)
    await application.keep({"50": "2", "51": "2"})
    await device.catch_up()
    await application.keep({"51": "3", "52": "3"})
    await application.keep({"53": None, "54": "3"})
    await application.keep({"51": "4", "54": None, "new": "1"}, publish=False)
    assert await device.take() is None
    await application.keep({"53": "5", "50": None}, publish=False)
    assert await device.take() is None
    assert (await application.keep(gone(*range(21)))).held is not None
    await device.catch_up()
    assert (device.objects[b"51"], device.objects[b"54"], len(device.objects)) == (b"3", b"3", 99)


async def test_a_little_again_and_again_is_held_when_it_has_become_much(store: SyncStore) -> None:
    application = await begun(store)
    for begin in (0, 9):
        assert (await application.keep(gone(*range(begin, begin + 9)))).held is None
    state = await application.keep(gone(*range(18, 27)))
    assert state.held is not None
    assert (state.objects, state.held.gone) == (82, 9)


async def test_what_is_replaced_all_the_time_is_not_lost(store: SyncStore) -> None:
    application = await begun(store)
    for number in range(100):
        state = await application.keep({str(number): None, f"next {number}": "1"})
        application.now_us += 60_000_000
        assert state.held is None


async def test_after_a_day_a_little_may_be_deleted_again_and_what_is_held_stays(store: SyncStore) -> None:
    application = await begun(store)
    await application.keep(gone(*range(15)))
    held = (await application.keep(gone(*range(15, 30)))).held
    assert held is not None
    application.now_us += 2 * DAY_US
    state = await application.keep(gone(*range(30, 45)))
    assert (state.objects, state.held) == (70, held)


async def test_more_that_is_too_much_joins_under_another_number(store: SyncStore) -> None:
    application = await begun(store)
    await application.keep(gone(*range(20)))
    state = await application.keep(gone(*range(20, 50)))
    assert state.held is not None
    assert (state.held.number, state.held.gone, state.held.of) == (2, 50, 100)
    assert not await store.release(NAME, 1), "nobody has seen all that it would delete"
    assert await store.release(NAME, 2)


async def test_what_is_released_is_one_group_as_the_application_is_then(store: SyncStore) -> None:
    application, device = await begun(store), Follower(store)
    await application.keep(gone(*range(20)) | {"new": "1"})
    await device.catch_up()
    groups = len(await store.groups(NAME, 10))
    assert await store.release(NAME, 1)
    state = await application.releases({"new": "2", "3": "9"})
    assert (state.held, state.objects) == (None, 82)
    assert len(await store.groups(NAME, 10)) == groups + 1
    await device.catch_up()
    assert (device.objects[b"new"], device.objects[b"3"], len(device.objects)) == (b"2", b"9", 82)


async def test_what_a_person_let_through_does_not_count(store: SyncStore) -> None:
    application = await begun(store)
    await application.keep(gone(*range(50)))
    await store.release(NAME, 1)
    await application.releases({})
    assert (await application.keep(gone(*range(50, 55)))).held is None


async def test_more_that_was_deleted_before_it_was_read_is_not_let_through_with_it(store: SyncStore) -> None:
    application = await begun(store)
    await application.keep(gone(*range(20)))
    await store.release(NAME, 1)
    state = await application.keep(gone(*range(10, 40)))
    assert state.held is not None
    assert (state.held.number, state.held.gone, state.held.released) == (2, 40, False)


async def test_a_group_of_which_all_is_there_again_is_held_no_longer(store: SyncStore) -> None:
    application = await begun(store)
    await application.keep(gone(*range(20)))
    state = await application.keep({str(number): "1" for number in range(19)})
    assert state.held is not None
    assert (state.held.gone, state.held.released) == (1, False)
    state = await application.keep({"19": "2"})
    assert state.held is not None
    assert (state.held.gone, state.held.released) == (0, True)
    state = await application.releases({str(number): "1" for number in range(19)} | {"19": "2"})
    assert (state.objects, state.held) == (100, None)


async def test_what_a_person_undid_on_purpose_is_not_held(store: SyncStore) -> None:
    state = await (await begun(store)).keep(gone(*range(90)), author=f"{'D' * 52} undo notes:12")
    assert (state.held, state.objects) == (None, 10)


async def test_what_is_lost_comes_as_the_store_has_it_in_parts(store: SyncStore) -> None:
    application = await begun(store)
    await application.keep(gone(*range(20)) | {"50": "2"})
    await application.keep({"3": "9"})
    found: list[Edit] = []
    after = 0
    while (part := await store.lost(NAME, after, 9))[0]:
        assert len(part[0]) <= 5
        found += part[0]
        after = part[1]
    assert {one.key for one in found} == {str(number).encode() for number in range(20) if number != 3}
    assert all((one.base, one.fields) == (None, b"1") for one in found)


async def test_a_type_whose_columns_change_keeps_what_is_held_of_it(store: SyncStore) -> None:
    application = await begun(store)
    await application.keep(gone(*range(20)))
    wider = DataType(0, TYPE.name, TYPE.key, ("text", "more"), TYPE.definition)
    (numbered,) = await store.set_source(NAME, "source 1", [wider])
    assert await store.held_objects(NAME, 1) == [HeldObject(numbered.id, b"0", True)]


async def test_what_is_held_and_what_was_let_through_outlive_the_daemon(tmp_path: Path) -> None:
    real = await SqliteSyncStore.open(tmp_path / "store.db", Limits())
    application = await begun(real)
    await application.keep(gone(*range(15)))
    before = await application.keep(gone(*range(15, 30)))
    await real.close()
    again = await SqliteSyncStore.open(tmp_path / "store.db", Limits())
    try:
        assert await again.open_collection(NAME) == before
        application.store = again
        state = await application.keep(gone(*range(30, 40)))
        assert state.held is not None
        assert (state.objects, state.held.gone) == (85, 25)
    finally:
        await again.close()


async def test_the_twin_holds_what_the_real_store_holds(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    real, twin = await SqliteSyncStore.open(tmp_path / "store.db", Limits()), MemorySyncStore()
    try:
        both = [Application(one, await prepare(one), SMALL) for one in (real, twin)]
        for one in both:
            await Writer(one.store, one.type).imported({str(number): "1" for number in range(12)})
        holds: dict[str, str | None] = {str(number): "1" for number in range(12)}
        seen = 0
        for _ in range(400):
            values = {
                str(chance.randrange(14)): chance.choice((None, None, "2", str(chance.randrange(9))))
                for _ in range(chance.randrange(4))
            }
            step, publish, later_us = chance.random(), chance.random() < 0.6, chance.randrange(DAY_US // 20)
            answers = []
            holds |= values
            for one in both:
                one.now_us += later_us
                state = await one.store.open_collection(NAME)
                if step < 0.8:
                    state = await one.keep(values, publish)
                elif step < 0.85 and state.held is not None:
                    await one.store.release(NAME, state.held.number)
                    await one.releases(holds)
                elif step < 0.88:
                    await one.store.prune(NAME, state.head, one.now_us - DAY_US)
                elif step < 0.9:
                    await one.store.forget_history(NAME, 0, 40)
                state = await one.store.open_collection(NAME)
                chunk = await chunk_of(one.store, 0, 0)
                answers.append(
                    (
                        (state.held, state.head, state.digest, state.objects, state.published),
                        (list(chunk.rows), chunk.proof, chunk.groups, set(chunk.ties)),
                        list(await one.store.held_objects(NAME, 100)),
                        await one.store.lost(NAME, 0, 10),
                        [list(await one.store.history(NAME, one.type, str(n).encode(), 9)) for n in range(14)],
                    )
                )
                seen += state.held is not None
            assert answers[0] == answers[1]
        assert seen
    finally:
        await real.close()
