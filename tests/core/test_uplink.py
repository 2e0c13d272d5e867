"""What leaves an auxiliary: read, offered, sent within a window, settled, put back; beside what comes (R10)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from syncd.core import uplink as uplinks
from syncd.core.edits import EVER, Direction, OutboxState, Ruling
from syncd.core.effects import Send, SendFrame
from syncd.core.errors import InvariantBroken, OrderError
from syncd.core.events import Tick
from syncd.core.messages import Offer, Taken, Verdicts
from syncd.core.uplink_state import UplinkPhase
from syncd.core.upward_effects import (
    OfferLocal,
    ReadLocal,
    RenumberOutbox,
    SettleUploads,
    TakeUploads,
    UndoEdits,
    WaitLocal,
)
from syncd.core.upward_events import (
    EditsUndone,
    LocalFailed,
    LocalOffered,
    LocalRead,
    OutboxRenumbered,
    SettleFailed,
    TakeFailed,
    UploadsSettled,
    UploadsTaken,
)
from tests.core.kit import CITY, COUNTRY, NAME, of_kind
from tests.core.target_play import PRIMARY
from tests.core.uplink_play import BOTH, FRAME, IN, OUT, ROOM, Play, answered, held, read, verdict

TYPES = (CITY, COUNTRY)

# ---------------------------------------------------------------- reading


def test_nothing_is_read_before_the_target_holds_something() -> None:
    play = Play()
    assert play.hears(Tick()) == []
    assert play.begins() == [ReadLocal(NAME)]


def test_changes_are_read_to_their_end_then_waited_for() -> None:
    play = Play()
    play.begins()
    assert play.hears(read(held(0), more=True)) == [ReadLocal(NAME)]
    assert play.hears(read(held(1))) == [WaitLocal(NAME)]
    assert play.hears(read(held(2), more=True)) == [ReadLocal(NAME)]


def test_an_application_that_is_away_is_read_again_after_growing_pauses() -> None:
    play = Play()
    play.begins()
    for pause_s in (1.0, 2.0, 4.0, 5.0, 5.0):
        assert play.hears(LocalFailed(NAME, "it is locked")) == []
        assert play.uplink.reason == "it is locked"
        assert play.later(pause_s - 0.1) == []
        assert play.later(0.2) == [ReadLocal(NAME)]
    play.hears(read(held(0)))
    assert (play.uplink.reason, play.uplink.phase) == ("", UplinkPhase.WAITING)


def test_a_lost_log_is_read_again_when_everything_was_fetched() -> None:
    play = Play()
    play.begins()
    assert play.hears(LocalRead(NAME, held(0), more=False, lost=True)) == []
    assert (play.moves(20, held(3)), play.uplink.pending) == ([], 3)
    assert play.hears(Tick()) == [ReadLocal(NAME)]
    play.hears(read(held(3)))
    assert not play.uplink.lost


# ---------------------------------------------------------------- sending


def test_what_waits_is_offered_once_the_terms_are_known() -> None:
    play = Play()
    play.begins()
    play.linked()
    play.hears(read(held(4, first=3)))
    assert play.says(BOTH) == [Send(PRIMARY, Offer(NAME, "box", 3, 4))]
    assert play.says(BOTH) == [], "once for each link"


def test_an_outbox_that_was_not_read_yet_is_offered_when_it_was() -> None:
    play = Play()
    play.linked()
    assert play.says(BOTH) == []
    play.begins()
    assert play.hears(read(held(0)))[0] == Send(PRIMARY, Offer(NAME, "box", 1, 0))


def test_groups_that_are_not_there_are_taken_and_sent() -> None:
    play = answered(last=4, number=2)
    assert play.uplink.taking == 4
    frames = play.hears(UploadsTaken(NAME, 2, 4, (FRAME,)))
    assert frames == [SendFrame(PRIMARY, FRAME, NAME)]


def test_no_more_is_taken_than_the_window_lets_pass() -> None:
    play = Play()
    play.begins()
    play.hears(read(held(4)))
    play.linked()
    assert play.says(BOTH, Taken(NAME, "box", 0, 0)) == [TakeUploads(NAME, 0, "msgpack", ROOM)]
    more = play.hears(UploadsTaken(NAME, 0, 1, (FRAME,)))
    assert more == [SendFrame(PRIMARY, FRAME, NAME), TakeUploads(NAME, 1, "msgpack", ROOM - 60)]
    assert play.hears(UploadsTaken(NAME, 1, 2, (FRAME,))) == [SendFrame(PRIMARY, FRAME, NAME)]
    assert play.says(Taken(NAME, "box", 1, 60)) == [TakeUploads(NAME, 2, "msgpack", ROOM - 60)]


def test_a_primary_that_says_it_took_more_than_was_sent_gets_no_more_for_it() -> None:
    play = answered(last=1)
    play.hears(UploadsTaken(NAME, 0, 1, (FRAME,)))
    play.says(Taken(NAME, "box", 1, 10_000))
    assert play.uplink.room_bytes == ROOM


def test_numbers_without_groups_are_passed_over() -> None:
    play = answered(last=3)
    assert play.hears(UploadsTaken(NAME, 0, 3, ())) == []
    assert play.uplink.sent == 3
    assert play.hears(read(held(4)))[0] == TakeUploads(NAME, 3, "msgpack", ROOM)


def test_a_number_that_is_given_again_is_not_passed_over() -> None:
    play = answered(last=1)
    assert TakeUploads(NAME, 0, "msgpack", ROOM) in play.hears(UploadsTaken(NAME, 0, 0, ())), (
        "the group of it is no more"
    )
    play.hears(read(held(0)))
    play.hears(UploadsTaken(NAME, 0, 0, ()))
    assert TakeUploads(NAME, 0, "msgpack", ROOM) in play.hears(read(held(1)))


def test_frames_of_a_link_that_is_over_are_made_again_for_the_next() -> None:
    play = answered(last=4, number=2)
    play.uplink = uplinks.link_down(play.uplink)
    assert play.hears(UploadsTaken(NAME, 2, 4, (FRAME,))) == []
    play.linked()
    play.says(BOTH)
    assert play.says(Taken(NAME, "box", 1, 0)) == [TakeUploads(NAME, 1, "msgpack", ROOM)]


def test_frames_that_cannot_be_taken_are_tried_again_after_a_pause() -> None:
    play = answered(last=1)
    assert play.hears(TakeFailed(NAME, "no room")) == []
    assert play.later(0.5) == []
    assert play.later(0.6) == [TakeUploads(NAME, 0, "msgpack", ROOM)]


def test_a_group_that_left_before_the_uplink_heard_of_it_is_no_sign_of_an_older_copy() -> None:
    """It became whole while the target was executed, not while changes were read."""
    play = answered(last=1)
    assert play.hears(UploadsTaken(NAME, 0, 2, (FRAME,))) == [SendFrame(PRIMARY, FRAME, NAME)]
    play.linked()
    assert play.says(BOTH, Taken(NAME, "box", 2, 0)) == []


def test_an_outbox_that_is_an_older_copy_of_itself_is_numbered_anew_and_offered_again() -> None:
    play = Play()
    play.begins()
    play.hears(read(held(4)))
    play.linked()
    assert play.says(BOTH, Taken(NAME, "box", 9, 0)) == [RenumberOutbox(NAME, 9)]
    fresh = OutboxState("other", 5, 10, 13, 4, 0, False)
    assert play.hears(OutboxRenumbered(NAME, fresh)) == [Send(PRIMARY, Offer(NAME, "other", 10, 13))]
    assert play.says(Taken(NAME, "box", 4, 0)) == [], "of the former numbers"
    assert play.says(Taken(NAME, "other", 0, 0)) == [TakeUploads(NAME, 0, "msgpack", ROOM)]


def test_an_older_copy_in_which_more_was_made_since_is_known_by_what_it_never_sent() -> None:
    play = Play()
    play.begins()
    play.hears(read(held(8, first=6, sealed=5)))
    play.linked()
    assert play.says(BOTH, Verdicts(NAME, "box", (verdict(6), verdict(7)))) == [], "of groups that are not here"
    assert play.uplink.verdicts == ()
    assert play.says(Taken(NAME, "box", 7, 0)) == [RenumberOutbox(NAME, 7)]


def test_a_primary_that_knows_a_group_of_an_impossible_number_breaks_the_order() -> None:
    play = Play()
    play.begins()
    play.hears(read(held(4)))
    play.linked()
    with pytest.raises(OrderError, match="no outbox"):
        play.says(BOTH, Taken(NAME, "box", 2**63 - 1, 0))


def test_what_was_sent_is_known_before_the_outbox_is_read_again() -> None:
    play = Play()
    play.begins()
    play.hears(read(held(2, sealed=0)))
    play.linked()
    play.says(BOTH, Taken(NAME, "box", 0, 0))
    play.hears(UploadsTaken(NAME, 0, 2, (FRAME,)))
    play.hears(read(held(3, sealed=0)))  # it was read before they were taken
    play.linked()
    play.says(BOTH, Taken(NAME, "box", 2, 0))
    assert (play.uplink.renumber, play.uplink.sent) == (None, 2)


# ---------------------------------------------------------------- settling


def test_verdicts_are_settled_one_commit_after_the_other() -> None:
    play = answered(last=3, number=3)
    play.hears(UploadsTaken(NAME, 3, 3, ()))
    first, second = verdict(1), verdict(2)
    assert play.says(Verdicts(NAME, "box", (first,))) == [SettleUploads(NAME, (first,), 10)]
    assert play.says(Verdicts(NAME, "box", (second,))) == []
    settled = play.hears(UploadsSettled(NAME, held(3, first=2)))
    assert settled == [SettleUploads(NAME, (second,), 10)]


def test_verdicts_that_could_not_be_kept_are_kept_after_a_pause() -> None:
    play = answered(last=1, number=1)
    play.says(Verdicts(NAME, "box", (verdict(1),)))
    assert play.hears(SettleFailed(NAME, "no room")) == []
    assert play.later(1.1) == [SettleUploads(NAME, (verdict(1),), 10)]


def test_verdicts_of_another_outbox_mean_nothing() -> None:
    play = answered(last=1, number=1)
    assert play.says(Verdicts(NAME, "former", (verdict(1),))) == []


def test_more_verdicts_than_can_wait_close_the_link() -> None:
    play = answered(last=1, number=1)
    play.says(Verdicts(NAME, "box", (verdict(1),) * 6))
    with pytest.raises(OrderError, match="faster"):
        play.says(Verdicts(NAME, "box", (verdict(1),)))


def test_what_was_refused_is_put_back() -> None:
    play = answered(last=1, number=1)
    play.says(Verdicts(NAME, "box", (verdict(1, Ruling.REFUSED),)))
    assert play.hears(UploadsSettled(NAME, held(1, first=2, undo=True))) == [UndoEdits(NAME)]
    assert play.hears(EditsUndone(NAME, held(1, first=2))) == []


def test_what_cannot_be_put_back_yet_is_tried_again_after_a_pause() -> None:
    play = answered(last=1, number=1)
    play.hears(read(held(1, undo=True)))
    assert play.hears(SettleFailed(NAME, "a unique value is in the way")) == []
    assert play.later(1.1) == [UndoEdits(NAME)]
    assert play.hears(EditsUndone(NAME, held(1, undo=True))) == [], "something is still to be put back"
    assert play.later(2.1) == [UndoEdits(NAME)]


def test_where_the_target_moves_while_verdicts_are_settled_they_are_settled_for_that_position_too() -> None:
    """The outbox may have been told of the new position first, and of that for which they were ordered then."""
    play = answered(1, 1)
    assert play.says(Verdicts(NAME, "box", (verdict(1),))) == [SettleUploads(NAME, (verdict(1),), 10)]
    play.moves(20, held(1))
    play.hears(UploadsSettled(NAME, held(1, first=2, pending=1)))
    assert play.later(1.1) == [SettleUploads(NAME, (), 20)]
    play.hears(UploadsSettled(NAME, held(1, first=2, pending=1)))
    assert play.later(1.1) == []


def test_groups_that_wait_for_the_targets_position_are_looked_at_when_it_moved() -> None:
    play = answered(last=1, number=1)
    play.says(Verdicts(NAME, "box", (verdict(1, seq=20),)))
    play.hears(UploadsSettled(NAME, held(1)))
    assert play.later(5.0) == [], "it did not move"
    assert play.moves(20) == [SettleUploads(NAME, (), 20)]


def test_and_again_where_that_could_not_be_kept() -> None:
    play = answered(last=1, number=1)
    play.says(Verdicts(NAME, "box", (verdict(1, seq=20),)))
    play.hears(UploadsSettled(NAME, held(1)))
    play.now += 5.0
    assert play.moves(20) == [SettleUploads(NAME, (), 20)]
    play.hears(SettleFailed(NAME, "no room"))
    assert play.later(5.0) == [SettleUploads(NAME, (), 20)]


def test_or_not_if_the_outbox_was_told_of_it() -> None:
    play = answered(last=1, number=1)
    play.now += 5.0
    assert play.moves(20, held(1)) == []


# ---------------------------------------------------------------- directions


def test_where_nothing_may_leave_the_device_refuses_its_edits_itself() -> None:
    play = answered(last=4, terms=OUT)
    own = play.uplink.verdicts
    assert (play.uplink.settling, [(one.number, one.ruling) for one in own]) == (
        3,
        [(1, "refused"), (2, "refused"), (3, "refused")],
    )
    assert "from the primary only" in own[0].cause
    assert not play.uplink.offered
    assert of_kind(play.hears(UploadsSettled(NAME, held(4, first=4))), SettleUploads) != []


def test_or_leaves_them_if_a_person_chose_that() -> None:
    play = Play(keep_edits=True)
    play.begins()
    play.hears(read(held(4)))
    play.linked()
    assert of_kind(play.says(OUT), SettleUploads | Send) == []  # type: ignore[arg-type]


def test_and_what_was_refused_meanwhile_stays_until_edits_travel_again() -> None:
    play = answered(1)
    play.uplink = replace(play.uplink, keep_edits=True)
    play.says(OUT)
    play.says(Verdicts(NAME, "box", (verdict(1, Ruling.REFUSED),)))
    assert of_kind(play.hears(UploadsSettled(NAME, held(1, first=2, undo=True))), UndoEdits) == []
    assert of_kind(play.says(BOTH), UndoEdits) == [UndoEdits(NAME)]


def test_where_all_comes_from_here_everything_is_offered_first() -> None:
    play = Play()
    play.linked()
    assert play.says(IN) == []
    play.uplink, effects = uplinks.described(play.uplink, TYPES, play.now)
    assert effects == [OfferLocal(NAME, TYPES)]
    offered = play.hears(LocalOffered(NAME, held(3)))
    assert offered == [ReadLocal(NAME), Send(PRIMARY, Offer(NAME, "box", 1, 3))]


def test_what_is_told_by_other_types_is_offered_anew_with_them() -> None:
    play = Play()
    play.linked()
    play.says(IN)
    uplinks.described(play.uplink, TYPES, play.now)
    play.uplink, _ = uplinks.described(play.uplink, TYPES, play.now)
    play.hears(LocalOffered(NAME, held(3)), read(held(3)))
    play.uplink, effects = uplinks.described(play.uplink, TYPES, play.now)
    assert (effects, play.uplink.anew) == ([], False)
    play.uplink, effects = uplinks.described(play.uplink, (CITY,), play.now)
    assert effects == [], "it is being waited for what is edited"
    assert play.hears(read(held(3))) == [OfferLocal(NAME, (CITY,))]
    assert ReadLocal(NAME) in play.hears(LocalOffered(NAME, held(4)))
    assert not play.uplink.anew


def test_and_what_is_refused_stays() -> None:
    play = Play(direction=Direction.IN, told=TYPES)
    play.hears(Tick(), LocalOffered(NAME, held(1, undo=True)))
    play.linked()
    assert of_kind(play.says(IN), UndoEdits) == []
    settled = play.says(Verdicts(NAME, "box", (verdict(1),)))
    assert of_kind(settled, SettleUploads)[0].position == EVER


def test_an_event_that_nothing_was_ordered_for_is_a_fault_of_ours() -> None:
    with pytest.raises(InvariantBroken, match="resting got LocalRead"):
        Play().hears(read(held(0)))
