"""Checksums that do not agree (R14): count again, then fetch everything again, then say so."""

from __future__ import annotations

from syncd.core.effects import LookAtTarget, OpenTarget, Recount
from syncd.core.events import LookedAtTarget, Recounted, TargetFailed, Tick
from syncd.core.messages import Begin, Follow, Report
from syncd.core.target_state import Heal
from tests.core.kit import EPOCH, NAME, digest_at, frame, of_kind, target_state
from tests.core.target_play import Play, begin, catching_up, done, opened, staged, told, transfer_at

WRONG = digest_at(999)


def recounted(position: int, digest: bytes | None = None) -> Recounted:
    return Recounted(NAME, target_state(position, digest=digest))


def fetched(position: int, digest: bytes | None = None) -> Play:
    """A target that differed, counted again and fetched everything; what it then holds."""
    play = catching_up(12)
    play.hears(done(12, WRONG), recounted(12, WRONG))
    snapshot = frame(0, position)
    play.hears(Begin(NAME, EPOCH, True, 0, position, 0, position), snapshot, staged(snapshot))
    play.hears(done(position, digest))
    return play


def test_checksums_that_agree_prove_it_and_nothing_else_is_done() -> None:
    play = catching_up(12)
    assert of_kind(play.hears(done(12)), Recount) == []
    assert play.target.match


def test_a_checksum_that_does_not_agree_is_counted_again_first() -> None:
    assert catching_up(12).hears(done(12, WRONG)) == [Recount(NAME)]


def test_counting_again_may_be_all_that_was_needed() -> None:
    play = catching_up(12)
    play.hears(done(12, WRONG))
    effects = play.hears(recounted(12))
    assert told(effects, Follow) == []
    assert play.target.match
    assert play.target.heal is Heal.NONE


def test_what_differs_after_counting_is_fetched_again_whole() -> None:
    play = catching_up(12)
    play.hears(done(12, WRONG))
    (asked,) = told(play.hears(recounted(12, WRONG)), Follow)
    assert isinstance(asked, Follow)
    assert (asked.position, asked.again) == (12, True)


def test_the_snapshot_is_asked_for_on_each_link_until_some_of_it_is_kept_and_no_longer() -> None:
    play = catching_up(12)
    play.hears(done(12, WRONG), recounted(12, WRONG))
    again = []
    for _ in range(2):
        play.unlinked()
        again += told(play.linked(), Follow)
        play.hears(begin(0, snapshot=True, head=15, floor=15))
    snapshot = frame(0, 13, cut=False)
    play.hears(snapshot, staged(snapshot))
    play.unlinked()
    again += told(play.linked(), Follow)
    assert [asked.again for asked in again if isinstance(asked, Follow)] == [True, True, False]


def test_after_everything_was_fetched_both_ends_agree() -> None:
    play = fetched(15)
    assert play.target.match
    assert (play.target.heal, play.target.reason) == (Heal.NONE, "")


def test_what_differs_even_then_is_said_and_not_fetched_for_ever() -> None:
    play = fetched(15, WRONG)
    assert "its own triggers or programs" in play.target.reason
    play.hears(frame(15, 16), staged(frame(15, 16)))
    effects = play.hears(done(16, WRONG))
    assert of_kind(effects, Recount) == []
    assert told(effects, Follow) == []
    (report,) = told(effects, Report)
    assert isinstance(report, Report)
    assert "its own triggers or programs" in report.offline


def test_what_agrees_again_is_no_fault_any_more_and_healed_afresh_the_next_time() -> None:
    play = fetched(15, WRONG)
    group, later = frame(15, 16), frame(16, 17)
    play.hears(group, staged(group), done(16))
    assert play.target.match
    assert play.target.reason == ""
    play.hears(later, staged(later))
    assert of_kind(play.hears(done(17, WRONG)), Recount) == [Recount(NAME)]


def test_checksums_are_compared_only_at_the_position_of_the_cut() -> None:
    play = catching_up(12)
    group = frame(12, 15)
    play.hears(group, staged(group))
    assert of_kind(play.hears(done(12, WRONG)), Recount) == [], "the next cut waits already"


def test_a_cut_without_rows_is_compared_like_any_other() -> None:
    play = Play()
    play.hears(opened(target_state(10, digest=WRONG), transfer_at(10)))
    play.linked()
    play.hears(begin(10))
    assert play.hears(frame(10, 10)) == [Recount(NAME)]


def looking() -> Play:
    """A target that holds something else than it should, and is being looked at."""
    play = Play()
    play.hears(opened(target_state(10, digest=WRONG), transfer_at(10)))
    play.linked()
    play.hears(begin(10))
    play.now += 1.0
    assert of_kind(play.hears(Tick()), LookAtTarget)
    return play


def test_a_cut_that_comes_while_the_target_is_looked_at_is_compared_after_that() -> None:
    play = looking()
    assert of_kind(play.hears(frame(10, 10)), Recount) == []
    assert play.hears(LookedAtTarget(NAME)) == [Recount(NAME)]


def test_a_cut_that_comes_while_the_target_is_away_is_compared_when_it_is_back() -> None:
    play = looking()
    play.hears(TargetFailed(NAME, "locked"), frame(10, 10))
    play.now += 1.0
    assert play.hears(Tick()) == [OpenTarget(NAME)]
    assert of_kind(play.hears(opened(target_state(10, digest=WRONG), transfer_at(10))), Recount) == [Recount(NAME)]


def test_frames_that_arrive_while_it_counts_are_kept() -> None:
    play = catching_up(12)
    play.hears(done(12, WRONG))
    group = frame(12, 15)
    play.hears(group, staged(group), recounted(12))
    assert play.target.aim == 15


def test_a_begin_for_the_snapshot_drops_what_came_before_it() -> None:
    play = catching_up(12)
    play.hears(done(12, WRONG), recounted(12, WRONG))
    assert play.hears(frame(12, 13)) == []
    play.hears(begin(0, snapshot=True, head=13, floor=13))
    assert play.target.received == 0
