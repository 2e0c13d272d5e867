"""Nothing that the application may lose at a power cut is told to the primary (DESIGN 3, R4, R6)."""

from __future__ import annotations

import pytest

from syncd.core.effects import Effect, ExecuteNow, JoinReports, LookAtTarget, OpenTarget, Send, SyncTarget
from syncd.core.events import LookedAtTarget, Recounted, ReportsJoined, TargetFailed, TargetSynced, Tick, WorkDone
from syncd.core.messages import Follow
from syncd.core.ports import Executed, Unexecuted
from tests.core.kit import EPOCH, NAME, digest_at, frame, of_kind, target_state
from tests.core.target_play import (
    Play,
    done,
    done_lazily,
    opened,
    proven,
    report_of,
    reports_of,
    staged,
    told,
    transfer_at,
)

WRONG = b"w" * 16
SYNCED, UNSYNCED = TargetSynced(NAME), TargetSynced(NAME, "its disk is broken")


def joining(position: int = 10) -> Play:
    """A target that told the primary a moment ago where it is."""
    play = proven(position)
    while play.target.joining:
        play.hears(ReportsJoined(NAME))
    play.hears(frame(position, position + 1))
    assert report_of(play.hears(done(position + 1))).position == position + 1
    return play


def lazily(play: Play, first: int, last: int) -> list[Effect]:
    """Groups are executed one by one, and are not durable."""
    effects: list[Effect] = []
    for at in range(first, last):
        (now,) = of_kind(play.hears(frame(at, at + 1)), ExecuteNow)
        assert now.lazily
        effects += play.hears(done_lazily(at + 1))
    return effects


def syncs(effects: list[Effect]) -> int:
    return len(of_kind(effects, SyncTarget))


def test_a_group_that_is_told_at_once_is_durable_at_once() -> None:
    play = proven(10)
    while play.target.joining:
        play.hears(ReportsJoined(NAME))
    (now,) = of_kind(play.hears(frame(10, 11)), ExecuteNow)
    assert not now.lazily
    effects = play.hears(done(11))
    assert report_of(effects).position == 11
    assert syncs(effects) == 0


def test_groups_that_are_told_later_become_durable_together_and_then_are_told() -> None:
    play = joining()
    effects = lazily(play, 11, 20)
    assert (reports_of(effects), syncs(effects)) == ([], 0)
    assert play.hears(ReportsJoined(NAME)) == [SyncTarget(NAME), JoinReports(NAME)]
    report = report_of(play.hears(SYNCED))
    assert (report.position, report.digest, report.match) == (20, digest_at(20), True)
    assert play.hears(ReportsJoined(NAME)) == []


def test_what_is_executed_meanwhile_is_told_after_the_next_sync() -> None:
    play = joining()
    lazily(play, 11, 12)
    play.hears(ReportsJoined(NAME))
    assert reports_of(lazily(play, 12, 14)) == []
    assert report_of(play.hears(SYNCED)).position == 12
    assert syncs(play.hears(ReportsJoined(NAME))) == 1
    assert report_of(play.hears(SYNCED)).position == 14


def test_one_sync_runs_at_a_time() -> None:
    play = joining()
    lazily(play, 11, 12)
    play.hears(ReportsJoined(NAME))
    lazily(play, 12, 13)
    assert play.hears(ReportsJoined(NAME)) == []
    effects = play.hears(SYNCED)
    assert report_of(effects).position == 12
    assert syncs(effects) == 1, "what came while the first took so long is not told for as long again"
    assert report_of(play.hears(SYNCED)).position == 13


def test_what_is_told_at_once_is_synced_at_once() -> None:
    play = joining()
    lazily(play, 11, 12)
    play.hears(frame(12, 13), done_lazily(13, WRONG))
    effects = play.hears(Recounted(NAME, target_state(13, digest=WRONG)))
    assert (reports_of(effects), syncs(effects)) == ([], 1)
    report = report_of(play.hears(SYNCED))
    assert (report.position, report.match) == (13, False)


def test_a_group_that_is_durable_makes_those_before_it_durable() -> None:
    play = joining()
    lazily(play, 11, 12)
    play.hears(frame(12, 13), done(13))
    effects = play.hears(ReportsJoined(NAME))
    assert report_of(effects).position == 13
    assert syncs(effects) == 0


def test_a_work_that_did_nothing_makes_nothing_durable() -> None:
    """A frame that only proves, while what it proves is executed."""
    play = joining()
    play.hears(frame(11, 12), ReportsJoined(NAME), frame(12, 12))
    effects = play.hears(done_lazily(12))
    assert (syncs(effects), len(of_kind(effects, ExecuteNow))) == (1, 1)
    play.hears(UNSYNCED)
    effects = play.hears(done(12), ReportsJoined(NAME))
    assert (reports_of(effects), syncs(effects)) == ([], 1)


def test_a_cut_that_comes_again_makes_nothing_durable() -> None:
    """It was executed before: nothing is written."""
    play = joining()
    lazily(play, 11, 12)
    play.hears(ReportsJoined(NAME), frame(12, 13), frame(13, 13), ReportsJoined(NAME))
    (again,) = of_kind(play.hears(done_lazily(13)), ExecuteNow)
    assert not again.lazily
    assert reports_of(play.hears(done(13))) == []
    effects = play.hears(SYNCED)
    assert report_of(effects).position == 12
    assert syncs(effects) == 1
    assert report_of(play.hears(SYNCED)).position == 13


def test_where_nothing_waited_to_be_executed_nothing_became_durable() -> None:
    play = joining()
    lazily(play, 11, 12)
    play.hears(frame(12, 13), WorkDone(NAME, None, Unexecuted(())), staged(frame(12, 13)))
    play.hears(WorkDone(NAME, None, Executed(target_state(12))))
    effects = play.hears(ReportsJoined(NAME))
    assert (reports_of(effects), syncs(effects)) == ([], 1)


def test_what_cannot_become_durable_is_not_told() -> None:
    """It is not known where the collection stands: it is offline until it was opened anew, which syncs it."""
    play = joining()
    lazily(play, 11, 12)
    play.hears(ReportsJoined(NAME))
    report = report_of(play.hears(UNSYNCED))
    assert (report.epoch, report.position, report.objects, report.match) == ("", 0, 0, False)
    assert report.offline == "its disk is broken"
    assert play.hears(ReportsJoined(NAME)) == []
    play.now += play.target.limits.offline_retry_s_max
    assert play.hears(Tick()) == [OpenTarget(NAME)]
    report = report_of(play.hears(opened(target_state(12), transfer_at(12))))
    assert (report.position, report.offline) == (12, "")


@pytest.mark.parametrize("link", ["of then", "new"])
def test_a_sync_that_fails_while_something_is_done_is_tried_again_after_it(link: str) -> None:
    play = joining()
    lazily(play, 11, 12)
    play.hears(ReportsJoined(NAME))
    play.now += play.target.limits.target_look_s
    assert play.hears(Tick()) == [LookAtTarget(NAME)]
    if link == "new":
        play.unlinked()
        play.linked()
    assert report_of(play.hears(UNSYNCED)).position == 0
    play.hears(ReportsJoined(NAME))
    assert syncs(play.hears(LookedAtTarget(NAME))) == 1
    assert report_of(play.hears(SYNCED)).position == 12


def test_a_sync_that_fails_without_a_link_is_tried_again_with_the_next() -> None:
    play = joining()
    lazily(play, 11, 12)
    play.hears(ReportsJoined(NAME), frame(12, 13))
    play.unlinked()
    assert play.hears(UNSYNCED) == []
    assert syncs(play.linked()) == 1
    assert report_of(play.hears(SYNCED)).position == 12


def test_nothing_is_asked_for_from_where_it_may_not_stand() -> None:
    """A Follow tells a position, too."""
    play = joining()
    lazily(play, 11, 12)
    play.unlinked()
    effects = play.linked()
    assert (syncs(effects), of_kind(effects, Send)) == (1, [])
    effects = play.hears(SYNCED)
    assert report_of(effects).position == 12
    (follow,) = told(effects, Follow)
    assert follow == Follow(NAME, EPOCH, 12, False, 12, 0, 12)


def test_an_application_that_is_away_is_told_although_what_it_holds_cannot_become_durable() -> None:
    play = joining()
    lazily(play, 11, 12)
    effects = play.hears(frame(12, 13), TargetFailed(NAME, "its disk is gone"))
    assert (reports_of(effects), syncs(effects)) == ([], 1)
    report = report_of(play.hears(UNSYNCED))
    assert (report.offline, report.position) == ("its disk is gone", 0)


def test_nothing_is_said_on_another_link_than_it_was_meant_for() -> None:
    play = joining()
    lazily(play, 11, 12)
    play.hears(ReportsJoined(NAME))
    play.unlinked()
    assert of_kind(play.linked(), SyncTarget) == [], "one runs"
    effects = play.hears(SYNCED)
    assert reports_of(effects) == []
    assert syncs(effects) == 1
    assert report_of(play.hears(SYNCED)).position == 12


def test_a_link_that_ends_while_nothing_is_said_leaves_nothing_to_be_said() -> None:
    play = joining()
    lazily(play, 11, 12)
    play.hears(ReportsJoined(NAME))
    play.unlinked()
    assert of_kind(play.hears(SYNCED), Send) == []


def test_what_was_opened_is_durable() -> None:
    play = joining()
    lazily(play, 11, 12)
    play.hears(frame(12, 13), TargetFailed(NAME, "locked"), UNSYNCED)
    play.now += play.target.limits.offline_retry_s_max
    play.hears(Tick())
    effects = play.hears(opened(target_state(12), transfer_at(12)))
    assert report_of(effects).position == 12
    assert syncs(effects) == 0
