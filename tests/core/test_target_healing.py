"""Checksums that do not agree (R14): count again, then fetch everything again, then say so."""

from __future__ import annotations

from dataclasses import replace

from syncd.core import target as targets
from syncd.core.effects import BeginTransfer, Effect, Execute, LookAtTarget, Recount
from syncd.core.events import LookedAtTarget, Recounted, ReportsJoined, TargetFailed, Tick
from syncd.core.messages import Begin, Cut, Follow, Report
from syncd.core.ports import Transfer
from syncd.core.target_state import Heal
from tests.core.kit import EPOCH, LIMITS, NAME, digest_at, frame, of_kind, target_state
from tests.core.target_play import Play, begin, catching_up, done, opened, proven, staged, told, transfer_at

WRONG = digest_at(999)


def recounted(position: int, digest: bytes | None = None) -> Recounted:
    return Recounted(NAME, target_state(position, digest=digest))


def asked_again(effects: list[Effect]) -> list[bool]:
    """Of each Follow, whether it asks for everything."""
    return [one.again for one in told(effects, Follow) if isinstance(one, Follow)]


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


def test_the_snapshot_is_asked_for_on_each_link_until_frames_of_it_are_kept() -> None:
    play = catching_up(12)
    play.hears(done(12, WRONG), recounted(12, WRONG))
    again = []
    for _ in range(2):
        play.unlinked()
        again += told(play.linked(), Follow)
    play.hears(begin(0, snapshot=True, head=15, floor=15))
    play.unlinked()
    again += told(play.linked(), Follow)
    part = frame(0, 5, cut=False)
    play.hears(begin(0, snapshot=True, head=15, floor=15), part, staged(part))
    play.unlinked()
    again += told(play.linked(), Follow)
    asked = [(one.snapshot, one.cursor, one.again) for one in again if isinstance(one, Follow)]
    assert asked == [(False, 12, True), (False, 12, True), (False, 12, True), (True, 5, False)]


def test_a_snapshot_for_the_position_that_is_held_is_executed_after_the_application_was_away() -> None:
    play = catching_up(12)
    play.hears(done(12, WRONG), recounted(12, WRONG))
    snapshot = frame(0, 12)
    play.hears(begin(0, snapshot=True, head=12, floor=12), snapshot, staged(snapshot))
    play.hears(TargetFailed(NAME, "another program holds the lock"))
    play.now += 100.0
    play.hears(Tick())
    waiting = Transfer(EPOCH, True, 12, 0, 12, 12)
    assert of_kind(play.hears(opened(target_state(12, digest=WRONG), waiting)), Execute) != []
    play.hears(done(12))
    assert play.target.match


def test_a_cut_that_comes_while_the_target_is_looked_at_is_compared_afterwards() -> None:
    play = proven(10)
    play.now += LIMITS.target_look_s
    assert of_kind(play.hears(Tick()), LookAtTarget) != []
    other = replace(frame(10, 10), cut=Cut(10, WRONG, 10))
    assert of_kind(play.hears(other), Recount) == []
    assert of_kind(play.hears(LookedAtTarget(NAME)), Recount) == [Recount(NAME)]


def test_what_fetching_did_not_settle_is_treated_anew_after_a_pause() -> None:
    play = fetched(15, WRONG)
    play.now += LIMITS.heal_s - 1
    assert of_kind(play.hears(Tick()), Recount) == []
    play.hears(LookedAtTarget(NAME))
    play.now += 1
    assert of_kind(play.hears(Tick()), Recount) == [Recount(NAME)]


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
    (report,) = told(play.hears(ReportsJoined(NAME)), Report)
    assert isinstance(report, Report)
    assert (report.match, report.offline) == (False, ""), "it can be written"


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


def test_a_look_that_finds_something_else_has_counted_and_everything_is_fetched() -> None:
    play = proven(10)
    play.now += LIMITS.target_look_s
    assert of_kind(play.hears(Tick()), LookAtTarget) != []
    effects = play.hears(LookedAtTarget(NAME, target_state(10, digest=WRONG)))
    assert of_kind(effects, Recount) == []
    (asked,) = told(effects, Follow)
    assert isinstance(asked, Follow)
    assert (asked.position, asked.again) == (10, True)
    (report,) = told(effects, Report)
    assert isinstance(report, Report)
    assert not report.match


def test_the_answer_to_what_was_asked_before_everything_was_wanted_is_passed_over() -> None:
    play = Play()
    play.hears(opened(target_state(3), transfer_at(3)))
    assert asked_again(play.linked()) == [False]
    play.target, effects = targets.fetch_again(play.target, play.now)
    assert asked_again(effects) == [], "one question at a time"
    assert asked_again(play.hears(begin(3))) == [True]
    assert of_kind(play.hears(begin(5, snapshot=True)), BeginTransfer) != []
