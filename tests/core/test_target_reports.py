"""What a target tells the primary of where it stands, and when: what changes at once, a position soon (R7, R14)."""

from __future__ import annotations

from syncd.core.effects import JoinReports, Send
from syncd.core.events import Recounted, ReportsJoined, TargetFailed, Tick, WorkDone
from syncd.core.model import Failure, OutcomeKind
from syncd.core.ports import Part, Unexecuted
from tests.core.kit import NAME, digest_at, frame, of_kind, part, proof_at, target_state
from tests.core.target_play import Play, done, parked, proven, report_of, reports_of, staged

WRONG = b"w" * 16
FAILED = Unexecuted((Part(frozenset({12}), frozenset(), Failure(OutcomeKind.ROLLED_BACK, "CHECK", None)),))


def executes(play: Play, first: int, last: int, digest: bytes | None = None) -> list[int]:
    """Positions that the primary is told while a group is executed for each number."""
    told: list[int] = []
    for at in range(first, last):
        play.hears(frame(at, at + 1))
        told += [report.position for report in reports_of(play.hears(done(at + 1, digest)))]
    return told


def quiet(position: int = 10) -> Play:
    """A target that has told the primary where it is, a while ago."""
    play = proven(position)
    while play.target.joining:
        play.hears(ReportsJoined(NAME))
    return play


def test_the_first_position_after_a_quiet_time_is_told_at_once() -> None:
    assert executes(quiet(), 10, 11) == [11]


def test_positions_that_follow_one_another_closely_are_joined() -> None:
    play = quiet()
    assert executes(play, 10, 20) == [11]
    report = report_of(play.hears(ReportsJoined(NAME)))
    assert (report.position, report.digest, report.match) == (20, digest_at(20), True)


def test_the_last_position_is_told_whenever_it_was_reached() -> None:
    play = quiet()
    executes(play, 10, 12)
    assert report_of(play.hears(ReportsJoined(NAME))).position == 12
    assert executes(play, 12, 13) == []
    assert report_of(play.hears(ReportsJoined(NAME))).position == 13
    assert play.hears(ReportsJoined(NAME)) == []
    assert executes(play, 13, 14) == [14]


def test_reports_are_joined_by_one_wait_at_a_time() -> None:
    play = quiet()
    play.hears(frame(10, 11))
    assert of_kind(play.hears(done(11)), JoinReports) == [JoinReports(NAME)]
    play.hears(frame(11, 12))
    assert of_kind(play.hears(done(12)), JoinReports) == []
    assert of_kind(play.hears(ReportsJoined(NAME)), JoinReports) == [JoinReports(NAME)]


def test_a_checksum_that_does_not_agree_any_more_is_told_at_once() -> None:
    play = quiet()
    executes(play, 10, 11)
    play.hears(frame(11, 12), done(12, WRONG))
    report = report_of(play.hears(Recounted(NAME, target_state(12, digest=WRONG))))
    assert (report.position, report.match) == (12, False)


def test_a_group_that_fails_is_told_at_once() -> None:
    play = quiet()
    executes(play, 10, 11)
    group = frame(11, 12)
    play.hears(group, WorkDone(NAME, proof_at(12), FAILED), staged(group))
    play.hears(WorkDone(NAME, proof_at(12), FAILED), parked(part(1, 12)))
    assert report_of(play.hears(done(12))).parked == 1


def test_an_application_that_is_away_is_told_at_once() -> None:
    play = quiet()
    executes(play, 10, 11)
    play.hears(frame(11, 12))
    assert report_of(play.hears(TargetFailed(NAME, "locked"))).offline == "locked"


def test_a_target_that_is_long_at_work_says_that_it_goes_on() -> None:
    """``report_s``"""
    play = quiet()
    play.hears(frame(10, 11))
    play.now += play.target.limits.report_s - 0.01
    assert of_kind(play.hears(Tick()), Send) == []
    play.now += 0.01
    assert report_of(play.hears(Tick())).position == 10


def test_a_new_link_is_told_at_once() -> None:
    play = quiet()
    executes(play, 10, 12)
    play.unlinked()
    assert report_of(play.linked()).position == 12


def test_nothing_is_told_without_a_link_nor_after_it() -> None:
    play = quiet()
    executes(play, 10, 12)
    play.unlinked()
    assert play.hears(ReportsJoined(NAME)) == []
    report_of(play.linked())
    assert of_kind(play.hears(ReportsJoined(NAME)), Send) == []
