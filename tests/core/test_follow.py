"""One device that follows one collection: when it is sent more, from where, and when only a snapshot helps."""

from __future__ import annotations

from dataclasses import replace

import pytest

from syncd.core.follow import Following, begin, restored, why_snapshot
from syncd.core.messages import Follow
from tests.core.kit import EPOCH, NAME, chunk, store_state

WINDOW_BYTES = 1_000


def asked(position: int, **changes: object) -> Follow:
    """A device that holds everything up to its position."""
    plain = Follow(NAME, EPOCH, position, False, position, 0, position)
    return replace(plain, **changes)  # type: ignore[arg-type]


def at(cursor: int, **changes: object) -> Following:
    """A device that was sent everything up to the cursor."""
    return replace(Following(epoch=EPOCH, base=cursor, cursor=cursor), **changes)  # type: ignore[arg-type]


# ---------------------------------------------------------------- when it is sent more


def test_a_device_behind_the_head_wants_what_is_after_its_cursor() -> None:
    assert at(3).wants(store_state(5), WINDOW_BYTES)
    assert at(3).request(NAME).cursor == 3
    assert not at(5).wants(store_state(5), WINDOW_BYTES)


def test_a_device_that_was_not_answered_yet_or_waits_for_a_chunk_is_not_sent_another() -> None:
    assert not at(3, asked=asked(3)).wants(store_state(5), WINDOW_BYTES)
    assert not at(3, epoch="").wants(store_state(5), WINDOW_BYTES)
    assert not at(3, reading=True).wants(store_state(5), WINDOW_BYTES)


def test_a_full_window_waits_for_credit() -> None:
    full = at(3, sent_bytes=WINDOW_BYTES)
    assert not full.wants(store_state(5), WINDOW_BYTES)
    assert full.credited(1).wants(store_state(5), WINDOW_BYTES)


def test_credit_is_never_more_than_was_sent_and_never_shrinks() -> None:
    sent = at(3, sent_bytes=500)
    assert sent.credited(9_999).credited_bytes == 500
    assert sent.credited(300).credited(100).credited_bytes == 300


def test_at_the_head_a_cut_is_owed_until_it_was_sent_and_only_when_the_store_is_published() -> None:
    owing = at(5, owes_cut=True)
    assert owing.wants(store_state(5), WINDOW_BYTES)
    assert not owing.wants(store_state(5, published=False), WINDOW_BYTES)
    assert not owing.sent(chunk(5, 5)).wants(store_state(5), WINDOW_BYTES)


def test_a_frame_moves_the_cursor_and_a_cut_moves_the_base() -> None:
    middle = at(3, reading=True).sent(chunk(3, 4, cut=False, size=50))
    assert (middle.base, middle.cursor, middle.owes_cut, middle.reading) == (3, 4, True, False)
    end = middle.sent(chunk(4, 6, base=3, size=70))
    assert (end.base, end.floor, end.cursor, end.owes_cut) == (6, 0, 6, False)
    assert end.sent_bytes == 120


def test_a_text_frame_counts_in_bytes_not_in_letters() -> None:
    text = replace(chunk(3, 4), frame="ä" * 10)
    assert at(3).sent(text).sent_bytes == 20


def test_a_cut_read_from_an_older_state_than_a_frame_before_it_proves_nothing() -> None:
    fresh = at(3).sent(chunk(3, 4, cut=False, version=8))
    assert not fresh.usable(chunk(4, 4, version=7))
    assert fresh.usable(chunk(4, 4, version=8))
    assert fresh.usable(chunk(4, 5, cut=False, version=7))


def test_tombstones_that_the_device_would_need_are_forgotten_or_not() -> None:
    assert at(3).forgotten(4)
    assert not at(3).forgotten(3)
    assert not at(3, floor=6).forgotten(6), "a snapshot needs no tombstones up to its floor"


# ---------------------------------------------------------------- changes or a snapshot


@pytest.mark.parametrize(
    ("follow", "reason"),
    [
        (asked(5, again=True), "the checksums did not agree"),
        (asked(0, epoch=""), "the device holds nothing yet"),
        (asked(5, epoch="epoch-0"), "the primary's store was made anew, its positions are of another epoch"),
        (asked(5, epoch=f"{EPOCH}.3"), "the selection of this device changed"),
        (asked(5, epoch="epoch-0.3"), "the primary's store was made anew, its positions are of another epoch"),
        (asked(3), "the device was away longer than deleted objects are remembered"),
    ],
)
def test_a_snapshot_is_chosen_for_a_reason(follow: Follow, reason: str) -> None:
    state = store_state(9, horizon=4)
    assert why_snapshot(follow, state) == reason
    after, answer = begin(Following(asked=follow), follow, state)
    assert (answer.snapshot, answer.base, answer.floor, answer.cursor) == (True, 0, 9, 0)
    assert (answer.epoch, answer.head, answer.reason) == (EPOCH, 9, reason)
    assert (after.asked, after.epoch, after.owes_cut) == (None, EPOCH, True)


@pytest.mark.parametrize("position", [4, 5, 9])
def test_a_device_that_can_be_sent_changes_is_sent_changes(position: int) -> None:
    state = store_state(9, horizon=4)
    assert why_snapshot(asked(position), state) == ""
    after, answer = begin(Following(), asked(position), state)
    assert (answer.snapshot, answer.base, answer.cursor, answer.reason) == (False, position, position, "")
    assert after.request(NAME).cursor == position


def test_a_transfer_goes_on_after_the_frames_that_are_staged() -> None:
    follow = asked(3, cursor=7)
    after, answer = begin(Following(), follow, store_state(9))
    assert (answer.base, answer.cursor) == (3, 7)
    assert (after.request(NAME).base, after.request(NAME).cursor) == (3, 7)


def test_a_snapshot_that_broke_off_goes_on_with_its_own_floor() -> None:
    follow = asked(0, snapshot=True, base=0, floor=6, cursor=4)
    after, answer = begin(Following(), follow, store_state(9))
    assert (answer.snapshot, answer.base, answer.floor, answer.cursor) == (True, 0, 6, 4)
    assert (after.floor, after.cursor) == (6, 4)


def test_the_bytes_of_a_link_are_counted_on_over_transfers() -> None:
    before = at(3, sent_bytes=700, credited_bytes=300, version=12)
    after, _ = begin(before, asked(5), store_state(9))
    assert (after.sent_bytes, after.credited_bytes) == (700, 300)
    assert after.version == 0


@pytest.mark.parametrize(
    ("follow", "ahead"),
    [
        (asked(10), True),
        (asked(3, cursor=10), True),
        (asked(0, snapshot=True, base=0, floor=10, cursor=4), True),
        (asked(0, snapshot=True, base=0, floor=9, cursor=4), False),
        (asked(9), False),
        (asked(10, epoch="epoch-0"), False),
    ],
)
def test_a_device_ahead_of_the_store_proves_that_the_store_was_restored(follow: Follow, ahead: bool) -> None:
    assert restored(follow, store_state(9), 9) is ahead


def test_a_device_of_a_class_may_have_proven_more_than_the_class_has() -> None:
    follow = asked(12)
    assert not restored(follow, store_state(9), 12)
    after, answer = begin(Following(), follow, store_state(9))
    assert (answer.snapshot, answer.base, answer.cursor, answer.head) == (False, 12, 12, 12)
    assert not replace(after, owes_cut=False).wants(store_state(9), 1_000)
    assert replace(after, owes_cut=False).wants(store_state(13), 1_000)


def test_a_class_that_is_filled_anew_is_another_one() -> None:
    following = Following(epoch=f"{EPOCH}.3")
    assert not following.of_another_class(store_state(9, epoch="epoch-2.3"))  # the store's epoch is not the class's
    assert following.of_another_class(store_state(9, epoch=f"{EPOCH}.4"))
    assert not Following().of_another_class(store_state(9, epoch=f"{EPOCH}.4"))
