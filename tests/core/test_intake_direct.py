"""The short road of uploads: small ones are executed as they come, and what is not that simple is staged first, in its
turn (R6, R7, R10, R15)."""

from __future__ import annotations

import pytest

from syncd.core import intake as intakes
from syncd.core.effects import CloseLink, Effect, Send
from syncd.core.events import Tick
from syncd.core.messages import Taken, Verdicts
from syncd.core.upward_effects import SettleWritten, StageUpload, WriteNow, WriteUploads
from syncd.core.upward_events import (
    UploadsWritten,
    UploadUnstaged,
    WriteFailed,
    WrittenNow,
    WrittenSettled,
)
from tests.core.intake_play import DEVICES, POLICY, WRITE, Play, empty, staged, upload, verdict, written
from tests.core.kit import NAME, of_kind
from tests.core.primary_play import A, B

LARGE = b"." * 60


def resting(number: int = 4) -> Play:
    """Nothing waits; a device was told that its groups up to the number are there."""
    play = Play(upload_window_bytes_max=1_000, unsettled_bytes_max=1_000, upload_bytes_max=1_000, **LIMITED)
    play.hears(Tick(), empty())
    play.offers(A, number)
    return play


LIMITED = {"upload_direct_bytes_max": 50, "unstaged_bytes_max": 100, "written_max": 10}


def now(*numbers: int, device: str = A) -> WriteNow:
    frames = tuple((device, upload(number)) for number in numbers)
    return WriteNow(NAME, frames, frozenset(), POLICY, DEVICES)


def done(*numbers: int, mark: int = 5) -> WrittenNow:
    return WrittenNow(NAME, tuple(written(number, mark) for number in numbers))


def told(*numbers: int) -> WrittenSettled:
    return WrittenSettled(NAME, {A: ("box", tuple(verdict(number) for number in numbers))})


def on_the_long_road(effects: list[Effect]) -> list[int]:
    return [one.upload.runs[0].number for one in of_kind(effects, StageUpload)]


def test_a_small_group_that_follows_is_executed_at_once_and_not_staged() -> None:
    assert resting().sends(number=5) == [now(5)]


def test_it_is_told_and_acknowledged_only_when_it_is_settled() -> None:
    play = resting()
    play.sends(number=5)
    assert play.hears(done(5)) == []
    assert of_kind(play.reads(5), SettleWritten) == [SettleWritten(NAME, (written(5, 5),), 25, POLICY)]
    assert play.hears(told(5)) == [
        Send(A, Verdicts(NAME, "box", (verdict(5),))),
        Send(A, Taken(NAME, "box", 5, 20)),
    ]


def test_what_comes_meanwhile_is_executed_together() -> None:
    play = resting()
    play.offers(B, 4)
    play.sends(number=5)
    assert [*play.sends(number=6), *play.sends(B, number=5)] == []
    both = ((A, upload(6)), (B, upload(5)))
    assert play.hears(done(5)) == [WriteNow(NAME, both, frozenset(), POLICY, DEVICES)]


def test_no_more_groups_are_executed_together_than_in_one_transaction_of_the_queue() -> None:
    play = Play(upload_window_bytes_max=1_000, unsettled_bytes_max=1_000, uploads_together_max=2, written_max=10)
    play.hears(Tick(), empty())
    play.offers(A, 4)
    for number in (5, 6, 7, 8):
        play.sends(number=number)
    assert play.hears(done(5)) == [now(6, 7)]
    assert play.hears(done(6, 7)) == [now(8)]


def test_the_first_group_of_an_outbox_makes_its_place_in_the_queue() -> None:
    play = resting(number=0)
    assert on_the_long_road(play.sends(number=1)) == [1]


def test_a_large_frame_is_staged_and_so_is_what_comes_after_half_a_group() -> None:
    play = resting()
    assert on_the_long_road(play.sends(number=5, raw=LARGE)) == [5]
    play = resting()
    assert on_the_long_road(play.sends(number=5, whole=False)) == [5]
    assert on_the_long_road(play.sends(number=5)) == [5]
    assert on_the_long_road(play.sends(number=6)) == [], "it waits for the queue"


def test_what_is_not_settled_goes_before_what_is_staged() -> None:
    """Else the queue would say that all is there up to a group before which one is missing."""
    play = resting()
    play.sends(number=5)
    play.hears(done(5))
    play.sends(number=6)
    play.sends(number=7)
    assert on_the_long_road(play.sends(number=8, raw=LARGE)) == [5, 6, 7, 8]


def test_nothing_of_the_queue_is_executed_while_some_of_it_was_and_is_not_settled() -> None:
    play = resting()
    play.sends(number=5)
    play.sends(number=6, raw=LARGE)
    assert play.hears(done(5)) == []
    assert play.hears(staged(6, size=80)) == []
    assert of_kind(play.reads(5), SettleWritten)
    assert of_kind(play.hears(told(5)), WriteUploads) == [WRITE]


def test_what_comes_while_the_queue_is_worked_off_is_executed_after_it() -> None:
    play = resting()
    play.sends(number=5, raw=LARGE)
    assert play.hears(staged(5, size=60)) == [WRITE]
    assert play.sends(number=6) == []
    assert play.hears(UploadsWritten(NAME, 1, (written(5, 5),))) == [now(6)]


def test_what_cannot_be_executed_is_staged_and_tried_again_from_there() -> None:
    play = resting()
    play.sends(number=5)
    play.sends(number=6)
    assert on_the_long_road(play.hears(WriteFailed(NAME, "it is locked"))) == [5, 6]
    assert on_the_long_road(play.sends(number=7)) == [7]
    play.hears(staged(7, size=60))
    assert play.later(5.0) == [WRITE]


def test_an_application_that_went_away_is_not_waited_for_in_memory() -> None:
    play = resting()
    play.sends(number=5)
    play.sends(number=6)
    play.ground = play.ground._replace(state=None)
    assert on_the_long_road(play.hears(done(5))) == [5, 6]


def test_what_is_not_settled_is_bounded() -> None:
    play = resting()
    for number in range(5, 10):  # 100 bytes
        assert on_the_long_road(play.sends(number=number)) == []
    assert on_the_long_road(play.sends(number=10)) == [5, 6, 7, 8, 9, 10]


def test_a_group_that_comes_again_on_the_next_link_is_not_executed_again() -> None:
    play = resting()
    play.sends(number=5)
    play.intake = intakes.link_down(play.intake, A)
    play.offers(A, 4)
    assert on_the_long_road(play.sends(number=5)) == [5, 5], "the queue passes over what is there"
    play.hears(done(5), staged(5, size=40))
    play.reads(5)
    assert Send(A, Verdicts(NAME, "box", (verdict(5),))) in play.hears(told(5))


def test_nor_one_that_is_on_its_way_to_the_queue_which_does_not_know_of_it() -> None:
    """What became of it may be settled and forgotten by the application before what comes again is executed."""
    play = resting()
    play.sends(number=5, raw=LARGE)
    play.intake = intakes.link_down(play.intake, A)
    play.offers(A, 4)
    assert on_the_long_road(play.sends(number=5)) == [5]


def test_nor_one_that_was_settled_after_the_queue_was_asked() -> None:
    play = resting()
    play.sends(number=5)
    play.hears(done(5))
    play.reads(5)
    play.intake = intakes.link_down(play.intake, A)
    play.hears(told(5))
    play.offers(A, 4)
    assert on_the_long_road(play.sends(number=5)) == [5]


def test_an_outbox_of_which_something_is_under_way_is_not_sure_before_it_is_offered_again() -> None:
    play = resting()
    play.sends(number=5)
    play.offers(A, 1, outbox="other")
    assert on_the_long_road(play.sends(number=2, outbox="other")) == [5, 2]
    play.hears(done(5), staged(5), staged(5))
    play.reads(5)
    play.hears(told(5), empty())
    play.offers(A, 2, outbox="other")
    assert on_the_long_road(play.sends(number=3, outbox="other")) == []


def test_bytes_of_a_former_link_do_not_count_on_the_next() -> None:
    play = resting()
    play.sends(number=5)
    play.intake = intakes.link_down(play.intake, A)
    play.offers(A, 4)
    play.hears(done(5))
    play.reads(5)
    assert [one.message for one in of_kind(play.hears(told(5)), Send)] == [Verdicts(NAME, "box", (verdict(5),))]


def test_what_follows_frames_that_could_not_be_kept_is_not_executed() -> None:
    play = resting()
    play.sends(number=5, raw=LARGE)
    play.sends(number=6)
    assert play.hears(UploadUnstaged(A, NAME, "no room", 60)) == [CloseLink(A, "disk", "no room")]
    assert play.later(1.0) == []


@pytest.mark.parametrize("lately", [False, True])
def test_where_the_log_is_lost_the_application_is_asked_again_from_the_queue(lately: bool) -> None:
    play = resting()
    play.sends(number=5)
    if not lately:
        play.hears(done(5))
    play.sends(number=6)
    assert on_the_long_road(play.takes(intakes.lost(play.intake))) == [5, 6]
    assert play.hears(WrittenNow(NAME, (written(5 if lately else 6, 5),))) == [WRITE]
    assert play.intake.written == (), "what the writer says of the former log does not count"
