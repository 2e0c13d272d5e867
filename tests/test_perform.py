"""How effects are performed: durable work first, then the event that says so; an error is an event too."""

from __future__ import annotations

from dataclasses import replace

import pytest

from syncd.adapters.registry import ADAPTERS
from syncd.core import effects as fx
from syncd.core import events as ev
from syncd.core.devices import Device
from syncd.core.errors import DiskError, DiskFull
from syncd.core.model import DataType
from syncd.core.ports import ChunkRequest, Executed, Parking, TargetState
from syncd.core.selection import ALL
from syncd.outside import FrameCache, Ports
from syncd.store.memory_sync_database import MemorySyncDatabase
from tests.core.kit import CITY, EPOCH, NAME, chunk, frame
from tests.perform_kit import LIMITS, NOTHING, SNAPSHOT, TYPES, Auxiliary, Primary, city, name

pytestmark = pytest.mark.asyncio

# ---------------------------------------------------------------- the primary's side


async def test_an_import_ends_with_one_published_state_of_the_application() -> None:
    primary = Primary(5)
    read = await primary.imported()
    assert (read.state.objects, read.state.published, read.state.imported) == (5, True, True)


async def test_an_application_that_nobody_touches_is_published_when_its_import_is_complete() -> None:
    primary = Primary(0)
    primary.source.rows = {city(number): name("there before") for number in range(5)}
    read = await primary.imported()
    assert (read.state.objects, read.state.published, read.state.imported) == (5, True, True)


async def test_an_application_that_was_not_read_before_is_changed() -> None:
    primary = Primary()
    opened = await primary.does(fx.OpenSource(NAME))
    assert isinstance(opened, ev.SourceOpened)
    assert opened.changed
    await primary.imported()
    again = await primary.does(fx.OpenSource(NAME))
    assert isinstance(again, ev.SourceOpened)
    assert not again.changed


async def test_the_name_of_a_device_is_written_or_said_again_another_time(monkeypatch: pytest.MonkeyPatch) -> None:
    primary, database = Primary(), MemorySyncDatabase()
    primary.ports.database = database
    device = Device("A", "laptop", "auxiliary", b"", "msgpack", (), 1, 0)
    await database.link(await database.add_user("ada"), device)
    assert await primary.does(fx.SaveName("A", "tablet")) == ev.NameSaved("A", "tablet")
    assert await database.all_devices() == [replace(device, name="tablet")]

    async def full(device: str, name: str) -> None:
        raise DiskFull("no room", "make room")

    monkeypatch.setattr(database, "set_name", full)
    assert await primary.does(fx.SaveName("A", "till")) is None


@pytest.mark.parametrize(
    "effect",
    [
        fx.OpenSource(NAME),
        fx.BeginScan(NAME),
        fx.ScanSource(NAME, 0, None),
        fx.ReadSource(NAME, 0),
    ],
)
async def test_an_application_that_cannot_be_read_is_a_source_that_failed(effect: fx.Effect) -> None:
    primary = Primary()
    await primary.imported()
    primary.source.offline = "the disk is not mounted"
    failed = await primary.does(effect)
    assert isinstance(failed, ev.SourceFailed)
    assert "the disk is not mounted" in failed.reason
    assert (await primary.store.open_collection(NAME)).objects == 5


async def test_a_source_that_cannot_be_opened_tells_what_the_store_holds() -> None:
    primary = Primary()
    await primary.imported()
    primary.source.offline = "the disk is not mounted"
    failed = await primary.does(fx.OpenSource(NAME))
    assert isinstance(failed, ev.SourceFailed)
    assert failed.state is not None
    assert failed.state.imported


async def test_a_full_disk_of_the_home_is_a_source_that_failed_and_loses_no_change() -> None:
    primary = Primary()
    mark = (await primary.imported()).state.mark
    primary.source.commit({city(0): name("new")})
    primary.store.full = True
    failed = await primary.does(fx.ReadSource(NAME, mark))
    assert isinstance(failed, ev.SourceFailed)
    assert "make room" in failed.reason
    primary.store.full = False
    read = await primary.does(fx.ReadSource(NAME, mark))
    assert isinstance(read, ev.SourceRead)
    assert read.state.mark > mark


async def test_a_chunk_that_cannot_be_read_is_told_as_such() -> None:
    primary = Primary()
    await primary.imported()
    mark = (await primary.store.open_collection(NAME)).mark
    primary.source.commit({city(1): name("other")})
    await primary.does(fx.ReadSource(NAME, mark))
    primary.store.full = True
    request = ChunkRequest(NAME, ALL, 0, 0, 0)
    failed = await primary.does(fx.ReadChunk(request, "msgpack"))
    assert failed == ev.ChunkFailed(request, "msgpack", "no room in the home: make room")


async def test_an_epoch_that_cannot_be_written_does_not_end_the_daemon() -> None:
    primary = Primary()
    await primary.imported()
    primary.store.full = True
    assert await primary.does(fx.NewEpoch(NAME)) == ev.EpochFailed(NAME, "no room in the home: make room")


async def test_nothing_of_a_comparison_is_published_before_it_is_complete() -> None:
    primary = Primary(5)
    head = (await primary.imported()).state.head
    primary.source.commit({city(0): None, city(1): name("new")})
    event = await primary.does(fx.BeginScan(NAME))
    while isinstance(event, ev.Scanned) and event.after is not None:
        event = await primary.does(fx.ScanSource(NAME, event.type, event.after))
    swept = await primary.does(fx.SweepSource(NAME))
    assert isinstance(swept, ev.Swept)
    assert (swept.count, swept.state.head, swept.state.published) == (1, head, False)


async def test_a_lost_log_publishes_nothing_and_a_crash_does_not_lose_the_comparison() -> None:
    primary = Primary(5)
    before = (await primary.imported()).state
    primary.source.commit({city(1): name("new")})
    primary.source.lose_log()
    lost = await primary.does(fx.ReadSource(NAME, before.mark))
    assert isinstance(lost, ev.SourceRead)
    assert lost.lost
    assert (lost.state.head, lost.state.scanning) == (before.head, True)
    primary.store.crash()
    opened = await primary.does(fx.OpenSource(NAME))
    assert isinstance(opened, ev.SourceOpened)
    assert opened.state.scanning


async def test_half_a_state_that_was_kept_is_not_published_by_a_lost_log() -> None:
    primary = Primary(5)
    before = (await primary.imported()).state
    primary.source.commit({city(number): name("new") for number in range(5)})
    half = await primary.does(fx.ReadSource(NAME, before.mark))
    assert isinstance(half, ev.SourceRead)
    assert half.more
    primary.source.lose_log()
    lost = half
    while not lost.lost:  # what was read ahead comes first
        read = await primary.does(fx.ReadSource(NAME, lost.state.mark))
        assert isinstance(read, ev.SourceRead)
        lost = read
    assert (lost.lost, lost.state.head, lost.state.published) == (True, before.head, False)


# ---------------------------------------------------------------- frames for many devices


def middle(cursor: int, size: int = 10) -> tuple[fx.ReadChunk, ev.ChunkRead]:
    """A frame without a cut, and the read that it came of."""
    read = chunk(cursor, cursor + 1, cut=False, size=size)
    return fx.ReadChunk(read.request, "msgpack"), read


async def test_frames_in_the_midst_of_a_transfer_are_kept_for_the_next_device() -> None:
    cache = FrameCache(100)
    cache.put(*middle(0))
    assert cache.get(middle(0)[0]) == middle(0)[1]


async def test_frames_with_a_cut_or_without_rows_are_not_kept() -> None:
    cache = FrameCache(100)
    for read in (chunk(0, 1), chunk(0, 0, cut=False)):
        cache.put(fx.ReadChunk(read.request, "msgpack"), read)
        assert cache.get(fx.ReadChunk(read.request, "msgpack")) is None


async def test_the_oldest_frames_make_room() -> None:
    cache = FrameCache(100)
    for cursor in range(4):
        cache.put(*middle(cursor, size=40))
    assert [cache.get(middle(cursor)[0]) is not None for cursor in range(4)] == [False, False, True, True]


@pytest.mark.parametrize(("more", "kept"), [(0, [True, True]), (1, [False, True])])
async def test_a_daemon_keeps_frames_up_to_its_limit_of_bytes(more: int, kept: list[bool]) -> None:
    """``cache_bytes_max``"""
    limits = replace(LIMITS, cache_bytes_max=80)
    cache = Ports(limits, ADAPTERS, lambda: 0.0, lambda: 0).cache
    cache.put(*middle(0, size=40))
    cache.put(*middle(1, size=40 + more))
    assert [cache.get(middle(cursor)[0]) is not None for cursor in range(2)] == kept


async def test_reports_of_a_position_alone_are_joined_for_so_long() -> None:
    """``report_join_s``"""
    auxiliary, waited = Auxiliary(), list[float]()

    async def pause(seconds: float) -> None:
        waited.append(seconds)

    auxiliary.ports.pause = pause
    assert await auxiliary.does(fx.JoinReports(NAME)) == ev.ReportsJoined(NAME)
    assert waited == [LIMITS.report_join_s]


async def test_frames_of_types_that_changed_are_not_sent_to_anybody_else() -> None:
    primary = Primary()
    await primary.imported()
    primary.ports.cache.put(*middle(0))
    await primary.does(fx.OpenSource(NAME))
    assert primary.ports.cache.get(middle(0)[0]) is not None
    primary.source.reshape((*TYPES, DataType(0, "river", ("id",), ("name",))))
    await primary.does(fx.OpenSource(NAME))
    assert primary.ports.cache.get(middle(0)[0]) is None


# ---------------------------------------------------------------- the auxiliary's side


async def test_frames_are_durable_when_they_are_said_to_be_staged() -> None:
    auxiliary = Auxiliary()
    await auxiliary.begins(SNAPSHOT)
    staged = await auxiliary.stages(frame(0, 1, cut=False), frame(1, 3))
    assert isinstance(staged, ev.Staged)
    assert (staged.frames, staged.cursor, [cut.seq for cut in staged.cuts], staged.staged_bytes) == (2, 3, [3], 6)
    transfer = (await auxiliary.queue.load(NAME))[0]
    assert transfer is not None
    assert (transfer.cursor, transfer.cut) == (3, 3)


async def test_a_cut_is_executed_and_its_frames_are_dropped_only_then() -> None:
    auxiliary = Auxiliary()
    await auxiliary.begins(SNAPSHOT)
    await auxiliary.stages(frame(0, 3))
    done = await auxiliary.executes()
    assert isinstance(done, ev.WorkDone)
    assert isinstance(done.result, Executed)
    assert done.result.state.position == 3
    assert await auxiliary.queue.work(NAME) is None


async def test_work_that_does_not_begin_where_the_target_is_is_cleared() -> None:
    auxiliary = Auxiliary()
    await auxiliary.begins(replace(SNAPSHOT, snapshot=False, base=10, cursor=10))
    await auxiliary.stages(frame(10, 12))
    assert await auxiliary.executes(TargetState(EPOCH, 5, bytes(16), 0)) == ev.WorkVoid(NAME)
    assert (await auxiliary.queue.load(NAME))[0] is None


async def test_with_nothing_to_execute_the_target_is_as_it_was() -> None:
    held = TargetState(EPOCH, 5, bytes(16), 0)
    assert await Auxiliary().executes(held) == ev.WorkDone(NAME, None, Executed(held))


@pytest.mark.parametrize(
    "effect",
    [
        fx.OpenTarget(NAME),
        fx.Execute(NAME, 0, NOTHING),
        fx.ExecuteNow(NAME, (frame(0, 3),), NOTHING, {CITY.id: CITY}),
        fx.Recount(NAME),
        fx.LookAtTarget(NAME),
    ],
)
async def test_an_application_that_cannot_be_written_is_a_target_that_failed(effect: fx.Effect) -> None:
    auxiliary = Auxiliary()
    await auxiliary.begins(SNAPSHOT)
    await auxiliary.stages(frame(0, 3))
    auxiliary.target.offline = "locked"
    failed = await auxiliary.does(effect)
    assert isinstance(failed, ev.TargetFailed)
    assert (failed.reason, failed.held) == ("locked", False)
    assert failed.parked == (Parking() if isinstance(effect, fx.OpenTarget) else None)
    assert await auxiliary.queue.work(NAME) is not None


async def test_a_target_that_cannot_be_synced_hides_no_failed_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken() -> TargetState:
        raise DiskError("its log cannot be written")

    auxiliary = Auxiliary()
    monkeypatch.setattr(auxiliary.target, "open", broken)
    failed = await auxiliary.does(fx.OpenTarget(NAME))
    assert failed == ev.TargetFailed(NAME, "its log cannot be written", False, Parking())


async def test_a_target_with_objects_of_its_own_is_held() -> None:
    auxiliary = Auxiliary()
    auxiliary.target.rows[city(99)] = name("my own")
    await auxiliary.begins(SNAPSHOT)
    await auxiliary.stages(frame(0, 3))
    held = await auxiliary.executes()
    assert isinstance(held, ev.TargetFailed)
    assert held.held
    assert auxiliary.target.rows == {city(99): name("my own")}


# ---------------------------------------------------------------- a full disk of the auxiliary's home


async def test_frames_that_find_no_room_are_said_to_have_failed() -> None:
    auxiliary = Auxiliary()
    await auxiliary.begins(SNAPSHOT)
    auxiliary.queue.full = True
    failed = await auxiliary.stages(frame(0, 1, cut=False), frame(1, 3))
    assert failed == ev.StageFailed(NAME, 2, "no room in the home: make room")


async def test_frames_after_those_that_found_no_room_fail_too_until_a_transfer_begins_again() -> None:
    auxiliary = Auxiliary()
    await auxiliary.begins(SNAPSHOT)
    auxiliary.queue.full = True
    await auxiliary.stages(frame(0, 1, cut=False))
    auxiliary.queue.full = False
    assert await auxiliary.stages(frame(1, 3)) == ev.StageFailed(NAME, 1, "no room in the home: make room")
    await auxiliary.begins(SNAPSHOT)
    assert isinstance(await auxiliary.stages(frame(0, 1, cut=False), frame(1, 3)), ev.Staged)


@pytest.mark.parametrize("effect", [fx.SaveTypes(NAME, (CITY,)), fx.BeginTransfer(NAME, SNAPSHOT)])
async def test_frames_whose_types_or_beginning_found_no_room_are_not_staged(
    effect: fx.SaveTypes | fx.BeginTransfer,
) -> None:
    auxiliary = Auxiliary()
    await auxiliary.begins(replace(SNAPSHOT, snapshot=False, base=7, cursor=7))
    auxiliary.queue.full = True
    assert await auxiliary.does(effect) == ev.StageFailed(NAME, 0, "no room in the home: make room")
    auxiliary.queue.full = False
    if isinstance(effect, fx.SaveTypes):
        await auxiliary.does(fx.BeginTransfer(NAME, SNAPSHOT))
    assert isinstance(await auxiliary.stages(frame(0, 3)), ev.StageFailed)
    await auxiliary.begins(SNAPSHOT)
    assert isinstance(await auxiliary.stages(frame(0, 3)), ev.Staged)


async def test_frames_that_were_on_their_way_when_the_queue_was_cleared_are_not_staged() -> None:
    auxiliary = Auxiliary()
    await auxiliary.begins(replace(SNAPSHOT, snapshot=False, base=10, cursor=10))
    await auxiliary.stages(frame(10, 12))
    await auxiliary.executes(TargetState(EPOCH, 5, bytes(16), 0))
    assert isinstance(await auxiliary.stages(frame(12, 13)), ev.StageFailed)


async def test_an_error_that_belongs_to_nobody_outside_is_ours_and_is_not_hidden() -> None:
    with pytest.raises(KeyError):
        await Auxiliary().does(fx.Recount("another collection"))
