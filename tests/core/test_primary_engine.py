"""The primary's engine: what each device is sent, and that devices share the work (R3, R4, R5, R8)."""

from __future__ import annotations

from dataclasses import replace

from syncd.core.effects import (
    BeginScan,
    CloseLink,
    NewEpoch,
    OpenSource,
    ReadChunk,
    SaveReport,
    Send,
    SendFrame,
)
from syncd.core.events import (
    ChunkFailed,
    EpochFailed,
    EpochMoved,
    LinkDown,
    SourceFailed,
    SourceOpened,
    SourceRead,
    StoreMoved,
    Tick,
)
from syncd.core.messages import Begin, Credit, Refusal, Types
from syncd.core.ports import ChunkRequest, SourceState
from syncd.core.selection import ALL
from tests.core.kit import CITY, EPOCH, LIMITS, NAME, chunk, of_kind, store_state
from tests.core.primary_play import OTHER, A, B, C, Play, asked, reported, sent_to

# ---------------------------------------------------------------- a device follows


def test_a_follow_is_answered_with_the_types_and_where_the_transfer_goes_on() -> None:
    effects = Play().follows(A, 10)
    assert sent_to(A, effects) == [
        Types(NAME, store_state().types),
        Begin(NAME, EPOCH, False, 10, 0, 10, 20),
    ]
    (read,) = of_kind(effects, ReadChunk)
    assert (read.request.base, read.request.cursor, read.adapter) == (10, 10, "msgpack")


def test_a_device_that_comes_before_the_first_import_waits_for_its_end() -> None:
    play = Play(head=None)
    assert play.first == [OpenSource(NAME)]
    assert play.follows(A, 0, epoch="") == []
    effects = play.store(store_state(5))
    (begin,) = [message for message in sent_to(A, effects) if isinstance(message, Begin)]
    assert (begin.snapshot, begin.floor, begin.reason) == (True, 5, "the device holds nothing yet")


def test_a_device_that_asks_for_what_is_not_shared_waits_until_it_is() -> None:
    play = Play()
    play.greets(A)
    assert play.says(A, asked(0, collection=OTHER, epoch="")) == []
    play.engine.share(OTHER)
    effects = play.store(replace(store_state(5), name=OTHER), OTHER)
    assert [message.collection for message in sent_to(A, effects) if isinstance(message, Begin)] == [OTHER]


def test_a_frame_is_sent_and_the_next_one_read_until_the_head_is_reached() -> None:
    play = Play(20)
    play.follows(A, 10)
    first, second = chunk(10, 15, base=10, cut=False), chunk(15, 20, base=10)
    effects = play.hears(first)
    assert of_kind(effects, SendFrame) == [SendFrame(A, first.frame, NAME)]
    assert [one.request for one in of_kind(effects, ReadChunk)] == [second.request]
    assert play.hears(second) == [SendFrame(A, second.frame, NAME)]


def test_a_commit_reaches_each_device_that_follows() -> None:
    play = Play(20)
    play.follows(A, 20)
    play.hears(chunk(20, 20, base=20))
    (read,) = of_kind(play.grows(23), ReadChunk)
    assert (read.request.base, read.request.cursor) == (20, 20)


def test_devices_that_want_the_same_chunk_share_one_read() -> None:
    play = Play(20)
    orders = [of_kind(play.follows(device, 10), ReadChunk) for device in (A, B, C)]
    assert [len(one) for one in orders] == [1, 0, 0]
    frame = chunk(10, 20, base=10)
    assert play.hears(frame) == [SendFrame(device, frame.frame, NAME) for device in (A, B, C)]


def test_each_adapter_is_read_for_once() -> None:
    play = Play(20)
    orders = [
        read.adapter
        for device, adapter in ((A, "msgpack"), (B, "json"), (C, "json"))
        for read in of_kind(play.follows(device, 10, adapter=adapter), ReadChunk)
    ]
    assert orders == ["msgpack", "json"]
    text = replace(chunk(10, 20, base=10, adapter="json"), frame="text")
    assert play.hears(text) == [SendFrame(B, "text", NAME), SendFrame(C, "text", NAME)]


def test_a_device_that_left_does_not_keep_the_others_from_the_shared_chunk() -> None:
    play = Play(20)
    play.follows(A, 10)
    play.follows(B, 10)
    play.hears(LinkDown(A, "torn"))
    frame = chunk(10, 20, base=10)
    assert play.hears(frame) == [SendFrame(B, frame.frame, NAME)]


def test_a_chunk_that_nobody_waits_for_any_more_goes_nowhere() -> None:
    play = Play(20)
    play.follows(A, 10)
    play.hears(LinkDown(A, "torn"))
    assert play.hears(chunk(10, 20, base=10)) == []


def test_a_device_that_asks_again_and_again_has_one_read_at_a_time() -> None:
    """What one device asks for does not hold up the others (R7, R15)."""
    play = Play(20)
    play.follows(A, 5)
    assert [play.says(A, asked(at)) for at in (6, 7, 8)] == [[], [], []]
    effects = play.hears(chunk(5, 20, base=5))
    assert of_kind(effects, SendFrame) == []
    assert of_kind(effects, ReadChunk) == [ReadChunk(ChunkRequest(NAME, ALL, 8, 0, 8), "msgpack")]
    (begun,) = (one for one in sent_to(A, effects) if isinstance(one, Begin))
    assert (begun.base, begun.cursor) == (8, 8)


def test_a_device_with_a_full_window_waits_and_no_other_waits_with_it() -> None:
    play = Play(20)
    play.follows(A, 10)
    play.follows(B, 10)
    large = chunk(10, 15, base=10, cut=False, size=LIMITS.window_bytes_max)
    assert of_kind(play.hears(large), ReadChunk) == []
    (read,) = of_kind(play.says(B, Credit(NAME, 500)), ReadChunk)
    last = chunk(15, 20, base=10)
    assert read.request == last.request
    assert play.hears(last) == [SendFrame(B, last.frame, NAME)]
    assert of_kind(play.says(A, Credit(NAME, 500)), ReadChunk) == [read]


def test_credit_for_what_the_device_does_not_follow_closes_the_link() -> None:
    play = Play()
    play.greets(A)
    effects = play.says(A, Credit(NAME, 10))
    assert [close.code for close in of_kind(effects, CloseLink)] == ["bad-order"]


# ---------------------------------------------------------------- when nothing may be sent


def test_nothing_is_sent_while_a_comparison_runs_and_everybody_is_answered_after_it() -> None:
    play = Play(20)
    effects = play.hears(SourceRead(NAME, store_state(20, scanning=True), False, True, False))
    assert BeginScan(NAME) in effects
    assert play.follows(A, 10) == []


def test_devices_are_served_from_the_store_while_the_application_is_offline() -> None:
    play = Play(20)
    play.hears(SourceFailed(NAME, "the disk is not mounted"))
    assert of_kind(play.follows(A, 10), ReadChunk)


def test_rows_that_are_not_published_yet_give_no_empty_frames() -> None:
    play = Play(20)
    play.follows(A, 20)
    assert play.hears(chunk(20, 20, base=20, cut=False)) == []
    assert of_kind(play.grows(23), ReadChunk)


def test_a_cut_that_is_older_than_a_frame_before_it_is_read_again() -> None:
    play = Play(20)
    play.follows(A, 10)
    play.hears(chunk(10, 15, base=10, cut=False, version=8))
    effects = play.hears(chunk(15, 20, base=10, version=7))
    assert of_kind(effects, SendFrame) == []
    assert len(of_kind(effects, ReadChunk)) == 1


def test_a_device_for_which_deleted_objects_are_forgotten_comes_again_for_a_snapshot() -> None:
    play = Play(20)
    play.follows(A, 10)
    (close,) = play.hears(chunk(10, 20, base=10, horizon=12))
    assert isinstance(close, CloseLink)
    assert "forgotten" in close.text


def test_a_store_that_cannot_be_read_closes_the_links_of_those_who_wait() -> None:
    play = Play(20)
    play.follows(A, 10)
    play.greets(B)
    request = chunk(10, 20, base=10).request
    assert play.hears(ChunkFailed(request, "msgpack", "no room")) == [CloseLink(A, "disk", "no room")]


# ---------------------------------------------------------------- types and epochs


def test_who_follows_is_told_other_types_before_objects_of_them() -> None:
    play = Play(20)
    play.follows(A, 20)
    play.greets(B)
    play.hears(SourceRead(NAME, store_state(20), False, False, True))
    state = store_state(20, types=(CITY,))
    effects = play.hears(SourceOpened(NAME, SourceState("the application", (), ()), state, False))
    assert sent_to(A, effects) == [Types(NAME, (CITY,))]
    assert sent_to(B, effects) == []


def test_a_device_ahead_of_the_store_makes_it_begin_a_new_epoch() -> None:
    play = Play(20)
    play.follows(B, 20)
    assert play.follows(A, 25) == [NewEpoch(NAME)]
    effects = play.hears(EpochMoved("epoch-2"))
    assert CloseLink(B, "", "the store has a new epoch") in effects
    (begin,) = [message for message in sent_to(A, effects) if isinstance(message, Begin)]
    assert (begin.epoch, begin.snapshot) == ("epoch-2", True)


def test_a_new_epoch_is_ordered_once_however_many_devices_ask_for_it() -> None:
    play = Play(20)
    assert play.follows(A, 25) == [NewEpoch(NAME)]
    assert play.follows(B, 26) == []
    assert of_kind(play.grows(21), NewEpoch) == []
    effects = play.hears(EpochMoved("epoch-2"))
    assert [message.snapshot for device in (A, B) for message in sent_to(device, effects) if isinstance(message, Begin)]


def test_a_new_epoch_is_one_of_all_collections() -> None:
    play = Play(20)
    play.engine.share(OTHER)
    play.store(replace(store_state(9), name=OTHER), OTHER)
    play.greets(B)
    play.says(B, asked(9, collection=OTHER))
    play.follows(A, 25)
    effects = play.hears(EpochMoved("epoch-2"))
    assert CloseLink(B, "", "the store has a new epoch") in effects
    play.hears(LinkDown(B, "closed"))
    play.greets(B)
    (_, begin) = sent_to(B, play.says(B, asked(9, collection=OTHER)))
    assert isinstance(begin, Begin)
    assert (begin.epoch, begin.snapshot) == ("epoch-2", True)


def test_what_was_read_of_the_store_around_its_new_epoch_does_not_hide_it() -> None:
    play = Play(20)
    play.follows(B, 20)
    play.follows(A, 25)
    play.grows(21, epoch="epoch-2")  # kept after the epoch was written, heard before
    effects = play.hears(EpochMoved("epoch-2"))
    assert CloseLink(B, "", "the store has a new epoch") in effects
    play.grows(22, epoch=EPOCH)  # kept before, heard after
    state = play.engine.sources[NAME].state
    assert state is not None
    assert (state.head, state.epoch) == (22, "epoch-2")


def test_an_epoch_that_cannot_be_written_is_asked_for_again_when_the_device_comes_again() -> None:
    play = Play(20)
    play.follows(B, 20)
    play.follows(A, 25)
    assert play.hears(EpochFailed(NAME, "no room")) == [CloseLink(A, "disk", "no room")]
    play.hears(LinkDown(A, "closed"))
    assert play.follows(A, 25) == [NewEpoch(NAME)]


def test_a_device_that_says_again_and_again_that_it_is_ahead_is_refused_and_no_other_begins_anew() -> None:
    play = Play(20)
    play.follows(A, 25)
    play.hears(EpochMoved("epoch-2"), LinkDown(A, ""))
    play.follows(B, 20, epoch="epoch-2")
    told, close = play.follows(A, 2**60, epoch="epoch-2")
    assert isinstance(told, Send)
    assert isinstance(told.message, Refusal)
    assert close == CloseLink(A, "bad-order", "the device says again that it is ahead of the store of things")
    play.hears(LinkDown(A, ""))
    play.now += LIMITS.epoch_claim_s
    assert play.follows(A, 2**60, epoch="epoch-2") == [NewEpoch(NAME)]


def test_what_was_pruned_before_a_new_epoch_and_is_heard_after_it_does_not_bring_the_old_one_back() -> None:
    play = Play(20)
    play.follows(A, 25)
    play.hears(EpochMoved("epoch-2"), StoreMoved(store_state(20, horizon=5)))
    state = play.engine.sources[NAME].state
    assert state is not None
    assert (state.epoch, state.horizon) == ("epoch-2", 5)


def test_pruning_closes_no_link() -> None:
    play = Play(20)
    play.follows(A, 20)
    assert of_kind(play.hears(StoreMoved(store_state(20, horizon=5))), CloseLink) == []


# ---------------------------------------------------------------- reports


def test_a_report_or_credit_says_that_the_device_goes_on() -> None:
    play = Play(20)
    play.follows(A, 10)
    assert play.says(A, reported(10)) == [SaveReport(A, reported(10))]
    for now, said in ((150.0, Credit(NAME, 0)), (200.0, reported(10)), (250.0, reported(11))):
        play.now = now
        play.says(A, said)
        assert play.engine.standings[A, NAME].moved_at == now


def test_a_device_at_the_head_falls_behind_with_the_next_commit_and_not_before() -> None:
    play = Play(20)
    play.follows(A, 20)
    play.says(A, reported(20))
    play.follows(B, 10)
    play.says(B, reported(10))
    play.now = 500.0
    play.grows(21)
    assert play.engine.standings[A, NAME].moved_at == 500.0
    assert play.engine.standings[B, NAME].moved_at == 100.0


def test_what_a_device_says_of_a_collection_that_is_not_shared_is_not_noted() -> None:
    play = Play()
    play.greets(A)
    assert play.says(A, reported(7, collection="made up")) == []
    assert (A, "made up") not in play.engine.standings


def test_a_device_that_asks_for_more_collections_than_anybody_has_is_refused() -> None:
    play = Play()
    play.greets(A)
    for number in range(LIMITS.follows_max):
        play.says(A, asked(0, collection=f"made up {number}"))
    effects = play.says(A, asked(0, collection="one more"))
    assert [close.code for close in of_kind(effects, CloseLink)] == ["too-large"]


def test_a_device_that_follows_as_much_as_it_may_may_ask_again() -> None:
    play = Play()
    play.greets(A)
    for number in range(LIMITS.follows_max):
        play.says(A, asked(0, collection=f"c{number}"))
    assert of_kind(play.says(A, asked(0, collection="c0")), CloseLink) == []


def test_what_a_device_reported_is_known_after_its_link_is_gone() -> None:
    play = Play()
    play.greets(A)
    play.says(A, reported(7))
    play.hears(LinkDown(A, "torn"))
    assert play.engine.standings[A, NAME].report == reported(7)


def test_sources_that_are_offline_are_tried_again_as_time_passes() -> None:
    play = Play()
    play.hears(SourceFailed(NAME, "locked"))
    play.now += 10.0
    assert play.hears(Tick()) == [OpenSource(NAME)]


def test_what_is_told_of_a_collection_that_is_not_shared_is_nothing_to_do() -> None:
    assert Play().hears(SourceFailed("nobody's", "locked")) == []
