"""What comes from auxiliaries: staged, acknowledged, executed, published, settled, told (R6, R9-R11, R15)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from syncd.core import intake as intakes
from syncd.core.edits import Ruling
from syncd.core.effects import CloseLink, Send
from syncd.core.errors import InvariantBroken, OrderError
from syncd.core.events import Tick
from syncd.core.messages import Offer, Taken, Verdicts
from syncd.core.upward_effects import ReadVerdicts, SettleWritten, StageUpload, WriteUploads
from syncd.core.upward_events import (
    UnsettledWritten,
    UploadsWritten,
    UploadUnstaged,
    VerdictsRead,
    VerdictsUnread,
    WriteFailed,
    WrittenSettled,
)
from tests.core.intake_play import POLICY, WRITE, Play, empty, staged, upload, verdict, written
from tests.core.kit import NAME, of_kind
from tests.core.primary_play import A, B

# ---------------------------------------------------------------- the link


def test_an_offer_is_answered_with_verdicts_and_what_is_there() -> None:
    play = Play()
    play.intake, asked = intakes.offered(play.intake, A, Offer(NAME, "box", 3, 7))
    assert asked == [ReadVerdicts(A, NAME, "box", 3)]
    known = tuple(verdict(number) for number in (3, 4, 5))
    assert play.hears(VerdictsRead(A, NAME, "box", 6, known)) == [
        Send(A, Verdicts(NAME, "box", known[:2])),
        Send(A, Verdicts(NAME, "box", known[2:])),
        Send(A, Taken(NAME, "box", 6, 0)),
    ]


def test_very_many_verdicts_are_read_and_told_one_part_after_the_other() -> None:
    play = Play()
    play.intake, _ = intakes.offered(play.intake, A, Offer(NAME, "box", 3, 7))
    assert play.hears(VerdictsRead(A, NAME, "box", 6, (verdict(3), verdict(4)), more=True)) == [
        Send(A, Verdicts(NAME, "box", (verdict(3), verdict(4)))),
        ReadVerdicts(A, NAME, "box", 3, after=4),
    ]
    assert play.hears(VerdictsRead(A, NAME, "box", 6, (verdict(5),))) == [
        Send(A, Verdicts(NAME, "box", (verdict(5),))),
        Send(A, Taken(NAME, "box", 6, 0)),
    ]


def test_a_device_that_offers_again_and_again_is_answered_once_at_a_time() -> None:
    play = Play()
    play.intake, _ = intakes.offered(play.intake, A, Offer(NAME, "box", 1, 7))
    for number in range(2, 50):
        play.intake, asked = intakes.offered(play.intake, A, Offer(NAME, "other", number, 70))
        assert asked == []
    assert play.hears(VerdictsRead(A, NAME, "box", 6, (verdict(1),))) == [ReadVerdicts(A, NAME, "other", 49)]
    assert play.hears(VerdictsRead(A, NAME, "other", 0, ())) == [Send(A, Taken(NAME, "other", 0, 0))]


def test_what_waits_of_a_device_counts_on_its_next_link_as_well() -> None:
    play = Play()
    play.intake, _ = intakes.offered(play.intake, A, Offer(NAME, "box", 1, 7))
    assert play.hears(VerdictsRead(A, NAME, "box", 6, (verdict(1),), waiting_bytes=51)) == [
        Send(A, Verdicts(NAME, "box", (verdict(1),)))
    ]
    assert play.later(0.1) == [WRITE]
    assert play.hears(empty()) == [Send(A, Taken(NAME, "box", 6, 0))]


def test_a_device_that_goes_on_although_nothing_more_is_taken_is_cut_off() -> None:
    play = Play()
    play.ground = play.ground._replace(state=None)
    play.offers()
    for number in range(1, 14):  # 250 bytes, and the frame that goes over them
        play.sends()
        play.hears(staged(number))
    with pytest.raises(OrderError, match="although"):
        play.sends()


def test_an_answer_that_cannot_be_read_lets_the_device_come_again() -> None:
    play = Play()
    play.intake, _ = intakes.offered(play.intake, A, Offer(NAME, "box", 1, 1))
    assert play.hears(VerdictsUnread(A, NAME, "no room")) == [CloseLink(A, "disk", "no room")]


def test_a_device_that_may_not_have_the_collection_any_more_is_not_answered() -> None:
    play = Play()
    play.intake, _ = intakes.offered(play.intake, A, Offer(NAME, "box", 1, 1))
    play.ground = play.ground._replace(devices=frozenset((B,)))
    assert play.hears(VerdictsRead(A, NAME, "box", 6, (verdict(1),))) == []


def test_frames_are_staged_then_acknowledged() -> None:
    play = Play()
    play.offers()
    assert play.sends() == [StageUpload(A, NAME, upload(), b"." * 20)]
    assert play.hears(staged(1))[0] == Send(A, Taken(NAME, "box", 1, 20))


def test_what_was_not_offered_breaks_the_order() -> None:
    play = Play()
    with pytest.raises(OrderError, match="not offered"):
        play.sends()
    play.offers()
    with pytest.raises(OrderError, match="not offered"):
        play.sends(outbox="other")


def test_a_device_that_does_not_heed_the_window_is_cut_off() -> None:
    play = Play()
    play.offers()
    for _ in range(5):
        play.sends()
    with pytest.raises(OrderError, match="faster"):
        play.sends()


def test_frames_that_cannot_be_kept_let_the_device_come_again() -> None:
    play = Play()
    play.offers()
    play.sends()
    assert play.hears(UploadUnstaged(A, NAME, "no room", 20)) == [CloseLink(A, "disk", "no room")]
    assert play.intake.no_room == "no room"
    play.offers()
    play.sends()
    play.hears(staged(1))
    assert play.intake.no_room == ""


def test_small_frames_are_acknowledged_with_their_verdicts() -> None:
    play = Play(upload_window_bytes_max=1_000)
    play.offers()
    play.sends()
    assert of_kind(play.hears(staged(1)), Send) == []
    play.hears(UploadsWritten(NAME, 1, (written(1, 7),)))
    play.reads(7)
    assert of_kind(play.hears(WrittenSettled(NAME, {A: ("box", (verdict(1),))})), Send) == [
        Send(A, Verdicts(NAME, "box", (verdict(1),))),
        Send(A, Taken(NAME, "box", 1, 20)),
    ]


def test_a_queue_that_was_empty_is_looked_into_once_for_what_came() -> None:
    play = Play(upload_window_bytes_max=1_000)
    play.offers()
    play.hears(Tick(), empty())
    play.sends()
    assert play.hears(staged(1)) == [WRITE]
    assert play.hears(UploadsWritten(NAME, 1, (written(1, 7),))) == []
    play.sends()
    assert play.hears(staged(2)) == [replace(WRITE, after=1)]
    play.sends()
    assert play.hears(staged(3)) == []
    again = replace(WRITE, after=2)
    assert play.hears(UploadsWritten(NAME, 2, (written(2, 8),))) == [again], "it came meanwhile"


def test_what_a_device_that_is_gone_left_waiting_is_looked_for() -> None:
    play = Play(upload_window_bytes_max=1_000)
    play.offers()
    play.hears(Tick(), empty())
    play.sends()
    play.hears(staged(1))
    play.intake = intakes.link_down(play.intake, A)
    assert play.hears(UploadsWritten(NAME, 1, (written(1, 7),))) == [replace(WRITE, after=1)]


def test_nothing_is_acknowledged_while_too_much_of_a_device_waits() -> None:
    play = Play()
    play.ground = play.ground._replace(state=None)
    play.offers()
    told = 0
    for number in range(1, 5):
        play.sends()
        told += len(of_kind(play.hears(staged(number)), Send))
    assert told == 2, "40 of 50 bytes"
    assert play.reads(0) == [WRITE]
    assert play.hears(empty()) == [Send(A, Taken(NAME, "box", 4, 80))]


# ---------------------------------------------------------------- executing


def test_what_was_staged_before_the_daemon_ended_is_executed_at_once() -> None:
    assert Play().hears(Tick()) == [WRITE]


def test_an_application_that_is_away_is_waited_for() -> None:
    play = Play(mark=None)
    assert play.hears(Tick()) == []
    assert play.reads(0) == [WRITE]


def test_one_transaction_runs_at_a_time_and_all_that_waits_goes_into_the_next() -> None:
    play = Play()
    play.offers()
    play.hears(Tick())
    assert of_kind(play.hears(staged(1), staged(2)), WriteUploads) == []
    assert play.hears(empty()) == [WRITE]
    assert play.hears(empty()) == []
    assert of_kind(play.hears(staged(3)), WriteUploads) == [WRITE]


def test_a_failure_is_tried_again_after_growing_pauses() -> None:
    play = Play()
    play.hears(Tick())
    for pause_s in (1.0, 2.0, 4.0):
        assert play.hears(WriteFailed(NAME, "it is locked")) == []
        assert play.later(pause_s - 0.1) == []
        assert play.later(0.2) == [WRITE]
    assert play.intake.reason == "it is locked"


def test_more_is_executed_while_the_first_is_published() -> None:
    play = Play()
    play.hears(Tick())
    assert play.hears(UploadsWritten(NAME, 7, (written(1, 5),))) == [replace(WRITE, after=7)]
    assert play.hears(UploadsWritten(NAME, 8, (written(2, 9),))) == [replace(WRITE, after=8)]


@pytest.mark.parametrize("size", [0, 40_000_000])
def test_until_so_much_waits_for_it_that_the_memory_would_not_do(size: int) -> None:
    play = Play()
    play.hears(Tick())
    groups = tuple(written(number, 5, size=size) for number in (1,) * (1 if size else 3))
    assert play.hears(UploadsWritten(NAME, 7, groups)) == []
    assert of_kind(play.reads(5), SettleWritten) != []
    assert play.hears(WrittenSettled(NAME, {})) == [replace(WRITE, after=7)]


# ---------------------------------------------------------------- settling


def test_groups_are_settled_when_what_they_wrote_is_published() -> None:
    play = Play()
    play.offers(A)
    play.offers(B)
    first, second = written(1, 5), written(1, 9, B)
    play.hears(Tick(), UploadsWritten(NAME, 7, (first, second)), empty())
    assert play.reads(4) == []
    assert play.reads(5, published=False) == []
    assert play.reads(6) == [SettleWritten(NAME, (first,), 26, POLICY)]
    settled = play.hears(WrittenSettled(NAME, {A: ("box", (verdict(1),))}))
    assert settled == [Send(A, Verdicts(NAME, "box", (verdict(1),)))]
    assert play.reads(9) == [SettleWritten(NAME, (second,), 29, POLICY)]


def test_what_was_refused_waits_for_nothing_but_its_turn() -> None:
    play = Play()
    refused = replace(written(1, 0), ruling=Ruling.REFUSED)
    play.hears(Tick())
    assert of_kind(play.hears(UploadsWritten(NAME, 7, (refused,))), SettleWritten) != []


def test_verdicts_go_to_devices_that_are_linked_and_offered_this_outbox() -> None:
    play = Play()
    play.offers(A, outbox="newer")
    play.hears(Tick(), UploadsWritten(NAME, 7, (written(1, 0), written(1, 0, B))))
    told = {A: ("box", (verdict(1),)), B: ("box", (verdict(1),))}
    assert of_kind(play.hears(WrittenSettled(NAME, told)), Send) == []


def test_what_could_not_be_settled_is_settled_after_a_pause() -> None:
    play = Play()
    play.hears(Tick(), UploadsWritten(NAME, 7, (written(1, 0),)), empty())
    assert play.hears(UnsettledWritten(NAME, "no room")) == []
    assert play.later(0.5) == []
    assert of_kind(play.later(0.6), SettleWritten) != []


def test_an_application_whose_log_is_lost_is_asked_again_what_was_done() -> None:
    play = Play()
    play.hears(Tick(), UploadsWritten(NAME, 7, (written(1, 5),)))
    play.intake, _ = intakes.lost(play.intake)
    assert play.hears(UploadsWritten(NAME, 9, (written(2, 6),))) == [WRITE], "from the first that is not settled"
    assert play.intake.written == ()


def test_an_event_that_nothing_was_ordered_for_is_a_fault_of_ours() -> None:
    with pytest.raises(InvariantBroken, match="resting got UploadsWritten"):
        Play().hears(empty())


def test_what_was_being_settled_when_the_log_was_lost_is_settled_whatever_the_marks_of_the_next_log_are() -> None:
    play = Play()
    play.hears(Tick(), empty())
    play.offers()
    play.sends()
    play.hears(staged(1))
    play.hears(UploadsWritten(NAME, 1, (written(1, 500),)))
    assert of_kind(play.reads(500), SettleWritten)
    play.takes(intakes.lost(play.intake))
    play.reads(3)
    play.hears(UnsettledWritten(NAME, "no room"))
    (again,) = of_kind(play.later(60.0), SettleWritten)
    assert [one.number for one in again.written] == [1]


def test_what_was_staged_after_its_link_ended_is_not_taken_for_all_that_waits() -> None:
    play = Play(written_max=10)
    play.hears(Tick(), empty())
    play.offers()
    play.sends()
    play.intake = intakes.link_down(play.intake, A)
    assert play.hears(staged(2)) == [WRITE]
    assert play.hears(UploadsWritten(NAME, 1, (written(1, 5),))) == [replace(WRITE, after=1)], "nobody counted it"
