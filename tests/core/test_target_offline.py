"""An application on an auxiliary that cannot be written, and frames that cannot be kept: offline with the reason, and
tried again; what arrives meanwhile is staged (R13, R15)."""

from __future__ import annotations

import pytest

from syncd.core.effects import Execute, ExecuteNow, LookAtTarget, OpenTarget, Stage
from syncd.core.events import Event, StageFailed, TargetFailed, Tick, WorkDone, WorkVoid
from syncd.core.messages import Credit, Follow
from syncd.core.ports import Executed, Transfer
from syncd.core.target_state import TargetPhase
from tests.core.kit import EPOCH, NAME, NOTHING_HELD, frame, of_kind, target_state
from tests.core.target_play import (
    FRAME_BYTES,
    Play,
    begin,
    catching_up,
    done,
    following,
    opened,
    proven,
    report_of,
    staged,
    told,
    transfer_at,
)

WORK: dict[TargetPhase, list[Event]] = {
    TargetPhase.EXECUTING: [],
    TargetPhase.OPENING: [WorkVoid(NAME)],
}


@pytest.mark.parametrize("phase", list(WORK))
def test_an_application_that_fails_is_offline_and_the_primary_is_told_why(phase: TargetPhase) -> None:
    play = catching_up(12)
    play.hears(*WORK[phase])
    report = report_of(play.hears(TargetFailed(NAME, "the file is gone")))
    assert play.target.phase is TargetPhase.OFFLINE
    assert (report.offline, report.held, report.position) == ("the file is gone", False, 10)


def test_an_application_that_is_offline_is_opened_again_with_growing_pauses() -> None:
    play = catching_up(12)
    pauses = []
    for _ in range(5):
        play.hears(TargetFailed(NAME, "locked"))
        since = play.now
        while not play.hears(Tick()):
            play.now += 0.25
        pauses.append(play.now - since)
    assert pauses == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_frames_are_staged_on_while_the_application_is_offline_and_executed_when_it_is_back() -> None:
    play = catching_up(12)
    play.hears(TargetFailed(NAME, "locked"))
    group = frame(12, 15)
    assert of_kind(play.hears(group), Stage)
    play.hears(staged(group))
    play.now += 1.0
    assert play.hears(Tick()) == [OpenTarget(NAME)]
    effects = play.hears(opened(target_state(10), transfer_at(15, cut=15)))
    assert of_kind(effects, Execute)
    assert report_of(effects).offline == ""


def test_an_application_that_is_back_before_the_beginning_of_a_transfer_is_durable_goes_on_with_it() -> None:
    play = Play()
    play.hears(opened(NOTHING_HELD))
    play.linked()
    play.now += 1.0
    play.hears(Tick(), TargetFailed(NAME, "it was moved away"))
    play.hears(begin(0, snapshot=True, floor=5, head=5))
    play.now += 1.0
    play.hears(Tick(), opened(NOTHING_HELD, None))  # what the inbound queue said before it knew of the beginning
    snapshot = frame(0, 5)
    play.hears(snapshot)
    assert of_kind(play.hears(staged(snapshot)), Execute) == [Execute(NAME, 0, NOTHING_HELD)]


def looked_at(play: Play) -> None:
    """The idle target was found away from its place, and is opened again."""
    play.now += 1.0
    assert LookAtTarget(NAME) in play.hears(Tick())
    play.hears(TargetFailed(NAME, "it was replaced"))
    play.now += 1.0
    assert play.hears(Tick()) == [OpenTarget(NAME)]


def test_an_older_copy_that_took_its_place_is_brought_up_from_where_it_is() -> None:
    play = proven(10)
    play.hears(frame(10, 12), done(12))
    looked_at(play)
    assert of_kind(play.hears(opened(target_state(5), transfer_at(10))), Execute), "a cut may wait"
    effects = play.hears(WorkDone(NAME, None, Executed(target_state(5))))
    assert told(effects, Follow) == [Follow(NAME, EPOCH, 5, False, 5, 0, 5)]
    assert of_kind(play.hears(frame(12, 13)), Stage) == [], "what is on its way does not begin there"
    play.hears(begin(5, head=13))
    assert play.target.received == 5


def test_an_older_copy_does_not_ask_again_before_it_has_the_cut_of_what_it_asked_for() -> None:
    play = proven(10)
    looked_at(play)
    play.hears(opened(target_state(5), transfer_at(10)), WorkDone(NAME, None, Executed(target_state(5))))
    play.hears(begin(5, head=13))
    part = frame(5, 9, cut=False)
    play.hears(part)
    assert told(play.hears(staged(part)), Follow) == []


def test_a_target_that_is_back_as_it_was_goes_on_without_asking_again() -> None:
    play = proven(10)
    play.hears(frame(10, 12), done(12))
    looked_at(play)
    assert told(play.hears(opened(target_state(12), transfer_at(10))), Follow) == []
    assert of_kind(play.hears(frame(12, 13)), ExecuteNow)


def test_an_older_copy_is_found_out_by_what_waits_for_it_too() -> None:
    play = catching_up(12)
    play.hears(TargetFailed(NAME, "it was replaced"))
    play.now += 1.0
    play.hears(Tick())
    effects = play.hears(opened(target_state(5), transfer_at(12, base=10, cut=12)))
    assert of_kind(effects, Execute) == [Execute(NAME, 0, target_state(5))]
    assert told(effects, Follow) == []


def test_frames_that_come_after_one_that_could_not_be_kept_are_not_taken() -> None:
    play = following(10, direct_bytes_max=0)
    play.hears(frame(10, 12, cut=False), StageFailed(NAME, 1, "no room"))
    assert of_kind(play.hears(frame(12, 13)), Stage) == []


def test_a_target_with_objects_of_its_own_is_held_and_tried_again() -> None:
    play = catching_up(12)
    report = report_of(play.hears(TargetFailed(NAME, "it holds 3 objects of its own", held=True)))
    assert play.target.phase is TargetPhase.HELD
    assert report.held
    play.now += 1.0
    assert play.hears(Tick()) == [OpenTarget(NAME)]


def test_frames_that_cannot_be_staged_are_asked_for_again_after_a_pause() -> None:
    play = following(10, direct_bytes_max=0)
    play.hears(frame(10, 12, cut=False))
    assert report_of(play.hears(StageFailed(NAME, 1, "no room"))).offline == "no room"
    play.now += 1.0
    play.hears(Tick())
    effects = play.hears(opened(target_state(10), transfer_at(10)))
    assert told(effects, Follow) == [Follow(NAME, EPOCH, 10, False, 10, 0, 10)]


def test_frames_that_cannot_be_staged_while_others_are_executed_are_asked_for_after_that() -> None:
    play = catching_up(12)
    play.hears(frame(12, 15, cut=False))
    assert play.hears(StageFailed(NAME, 1, "no room")) == []
    assert told(play.hears(done(12)), Follow) == [Follow(NAME, EPOCH, 12, False, 12, 0, 12)]


def test_frames_that_could_not_be_kept_are_no_burden_on_the_window() -> None:
    play = following(10, direct_bytes_max=0, credit_bytes=1)
    play.hears(frame(10, 12, cut=False), frame(12, 13, cut=False), StageFailed(NAME, 1, "no room"))
    play.hears(StageFailed(NAME, 1, "no room"))
    play.now += 1.0
    play.hears(Tick())
    effects = play.hears(opened(target_state(10), transfer_at(10)))
    assert told(effects, Credit) == [Credit(NAME, 2 * FRAME_BYTES)]


# ---------------------------------------------------------------- a snapshot that cannot be executed


def stuck() -> Play:
    """A device at 10 whose snapshot for another selection is held, on a link that is new since."""
    play = Play()
    waits = Transfer(f"{EPOCH}.2", True, 12, 7, 12, 12)
    play.hears(opened(target_state(10), waits), TargetFailed(NAME, "1 is still named by 2", held=True))
    play.linked()
    play.now += 1.0
    play.hears(Tick())
    return play


def test_a_snapshot_that_is_held_is_asked_for_anew_for_it_may_be_of_a_former_selection() -> None:
    play = stuck()
    effects = play.hears(opened(target_state(10), Transfer(f"{EPOCH}.2", True, 12, 7, 12, 12)))
    assert told(effects, Follow) == [Follow(NAME, f"{EPOCH}.2", 0, True, 0, 7, 0)]
    assert of_kind(effects, Execute) == []
    assert play.hears(Tick()) == [], "the answer comes first"
    play.hears(begin(0, snapshot=True, floor=14, head=14))
    assert play.target.cuts == ()
    snapshot = frame(0, 14)
    play.hears(snapshot)
    assert of_kind(play.hears(staged(snapshot)), Execute)


def test_without_a_link_a_snapshot_that_is_held_is_tried_again() -> None:
    play = stuck()
    play.unlinked()
    waits = Transfer(f"{EPOCH}.2", True, 12, 7, 12, 12)
    assert of_kind(play.hears(opened(target_state(10), waits)), Execute)


def test_it_is_asked_for_once_on_a_link_and_tried_again_from_then_on() -> None:
    play = stuck()
    play.hears(opened(target_state(10), Transfer(f"{EPOCH}.2", True, 12, 7, 12, 12)))
    play.hears(begin(0, snapshot=True, floor=14, head=14))
    snapshot = frame(0, 14)
    play.hears(snapshot, staged(snapshot), TargetFailed(NAME, "still named", held=True))
    play.now += 5.0
    play.hears(Tick())
    effects = play.hears(opened(target_state(10), Transfer(EPOCH, True, 14, 14, 14, 14)))
    assert told(effects, Follow) == []
    assert of_kind(effects, Execute)
