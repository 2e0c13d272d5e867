"""Failed groups on an auxiliary (R7): parked before the rest goes on, tried again, reported until they are applied."""

from __future__ import annotations

from dataclasses import replace

import pytest

from syncd.core import parked as parked_parts
from syncd.core.effects import Execute, Park, RetryParked
from syncd.core.events import ReportsJoined, RetryAsked, TargetFailed, Tick, WorkDone
from syncd.core.model import Failure, ObjectId, OutcomeKind
from syncd.core.ports import ParkedPart, Parking, Part, Unexecuted
from syncd.core.target_state import TargetPhase
from tests.core.kit import NAME, digest_at, frame, of_kind, part, proof_at, target_state
from tests.core.target_play import (
    Play,
    begin,
    catching_up,
    done,
    opened,
    parked,
    parking,
    report_of,
    reports_of,
    retried,
    transfer_at,
)

BAD = Part(frozenset({11}), frozenset(), Failure(OutcomeKind.ROLLED_BACK, "CHECK constraint failed", None))
REFUSED = WorkDone(NAME, proof_at(12), Unexecuted((BAD,)))


def resting(*parts: ParkedPart) -> Play:
    """A target at 12 with these parts parked, none of them due."""
    play = Play()
    play.hears(opened(target_state(12), transfer_at(12), parts))
    if parts:
        play.hears(retried(*parts))
    play.linked()
    play.hears(begin(12))
    assert play.target.phase is TargetPhase.READY
    return play


# ---------------------------------------------------------------- a group fails


def test_a_group_that_fails_is_parked_first_and_the_rest_is_executed_then() -> None:
    play = catching_up(12)
    assert play.hears(REFUSED) == [Park(NAME, (BAD,))]
    assert play.hears(parked(part(1, 11))) == [Execute(NAME, 12, target_state(10))]


def test_a_group_that_fails_is_reported_with_its_cause_and_guilty_object() -> None:
    play = catching_up(12)
    play.hears(REFUSED, parked(part(1, 11, guilty=ObjectId("city", b"key 11"))))
    report = report_of(play.hears(done(12)))
    assert (report.position, report.match, report.parked) == (12, False, 1)
    (failed,) = report.failed
    assert (failed.seq, failed.outcome, failed.cause) == (11, "rolled-back", "CHECK constraint failed")
    assert (failed.type, failed.key) == ("city", b"key 11")


def test_a_report_names_so_many_failed_groups_and_counts_all_parts() -> None:
    report = report_of(resting(part(1, 1, 2), part(2, 3, 4), part(3, 5)).linked())
    assert [one.seq for one in report.failed] == [1, 2, 3]
    assert report.parked == 3


def test_work_that_fails_again_without_what_was_parked_parks_that_too() -> None:
    play = catching_up(12)
    play.hears(REFUSED, parked(part(1, 11)))
    assert of_kind(play.hears(REFUSED), Park)
    play.hears(parked(part(1, 11), part(2, 12)))
    assert play.target.parked.parts == 2


def test_a_collection_with_parked_groups_is_never_called_identical() -> None:
    play = resting(part(1, 11))
    play.hears(frame(12, 12))
    assert not play.target.match


def test_checksums_are_not_compared_while_groups_are_parked() -> None:
    play = catching_up(12)
    play.hears(REFUSED, parked(part(1, 11)))
    play.hears(done(12, digest=digest_at(999)))
    assert play.target.phase is TargetPhase.READY


def test_a_new_snapshot_voids_what_was_parked() -> None:
    play = resting(part(1, 11))
    play.unlinked()
    play.linked()
    play.hears(begin(0, snapshot=True, head=20, floor=20))
    assert play.target.parked == Parking()


# ---------------------------------------------------------------- tried again


def test_parked_groups_are_tried_again_when_their_time_has_come() -> None:
    play = resting(part(1, 11, retry_at=200.0), part(2, 9, retry_at=300.0, attempts=4))
    assert of_kind(play.hears(Tick()), RetryParked) == []
    play.now = 200.0
    assert of_kind(play.hears(Tick()), RetryParked) == [RetryParked(NAME, frozenset(), 12)]
    assert of_kind(play.hears(retried(part(2, 9, retry_at=300.0))), RetryParked) == []
    play.now = 300.0
    assert of_kind(play.hears(Tick()), RetryParked) == [RetryParked(NAME, frozenset(), 12)]


def test_parked_groups_that_are_due_are_tried_some_at_a_time_until_none_is() -> None:
    play = resting(part(1, 11))
    due, later = part(2, 9, retry_at=0.0), part(2, 9)
    assert of_kind(play.hears(RetryAsked(NAME, None)), RetryParked) == [RetryParked(NAME, frozenset((None,)), 12)]
    assert of_kind(play.hears(retried(due)), RetryParked) == [RetryParked(NAME, frozenset(), 12)]
    assert of_kind(play.hears(retried(later)), RetryParked) == []
    assert play.target.tried == 3


def test_while_parked_groups_are_tried_one_after_another_the_primary_is_told_about_once_a_second() -> None:
    play = resting(part(1, 11))
    due = part(2, 9, retry_at=0.0)
    play.hears(RetryAsked(NAME, None))
    told = []
    for _ in range(50):
        play.now += 0.1
        told += reports_of(play.hears(ReportsJoined(NAME))) + reports_of(play.hears(retried(due)))
    assert 4 <= len(told) <= 6
    assert reports_of(play.hears(retried(part(2, 9))))[-1].parked == 1


@pytest.mark.parametrize("seq", [None, 9])
def test_a_person_has_parked_groups_tried_at_once(seq: int | None) -> None:
    play = resting(part(1, 11), part(2, 8, 9))
    assert of_kind(play.hears(RetryAsked(NAME, seq)), RetryParked) == [RetryParked(NAME, frozenset((seq,)), 12)]


def test_what_a_person_asked_for_waits_until_it_was_tried() -> None:
    play = resting(part(1, 11))
    assert not parked_parts.waits(play.target)
    play.hears(RetryAsked(NAME, None))
    assert parked_parts.waits(play.target)
    play.hears(retried(part(1, 11, retry_at=0.0)))
    assert parked_parts.waits(play.target)
    play.hears(retried(part(1, 11)))
    assert not parked_parts.waits(play.target)


def test_with_nothing_parked_there_is_nothing_to_ask_for() -> None:
    play = resting()
    assert play.hears(RetryAsked(NAME, None)) == []
    assert not parked_parts.waits(play.target)


def test_a_person_who_asks_while_the_target_is_at_work_is_heard_after_it() -> None:
    play = resting(part(1, 11))
    group = frame(12, 13)
    play.hears(group)
    assert play.hears(RetryAsked(NAME, None)) == []
    assert of_kind(play.hears(done(13)), RetryParked) == [RetryParked(NAME, frozenset((None,)), 13)]


def test_parked_groups_are_tried_when_the_application_is_opened() -> None:
    play = Play()
    effects = play.hears(opened(target_state(12), transfer_at(12), (part(1, 11),)))
    assert of_kind(effects, RetryParked) == [RetryParked(NAME, frozenset((None,)), 12)]


def test_a_group_that_was_applied_is_reported_no_longer() -> None:
    play = resting(part(1, 11))
    play.hears(frame(12, 12), RetryAsked(NAME, None))
    report = report_of(play.hears(retried(state=target_state(12))))
    assert (report.parked, report.failed, report.match) == (0, (), True)


def test_groups_parked_beyond_what_an_older_copy_holds_wait_for_the_changes_before_them() -> None:
    play = Play()
    early = part(1, 11, retry_at=0.0)
    effects = play.hears(opened(target_state(5), transfer_at(5), (early,)))
    assert of_kind(effects, RetryParked) == [RetryParked(NAME, frozenset((None,)), 5)]
    assert of_kind(play.hears(retried(early, tried=0)), RetryParked) == []
    assert of_kind(play.hears(Tick()), RetryParked) == []
    play.linked()
    group = frame(5, 12)
    play.hears(begin(5), group)
    assert of_kind(play.hears(done(12)), RetryParked) == [RetryParked(NAME, frozenset(), 12)]


def test_an_application_that_goes_offline_while_groups_are_tried_keeps_them_parked() -> None:
    play = resting(part(1, 11))
    play.hears(RetryAsked(NAME, None))
    report = report_of(play.hears(TargetFailed(NAME, "locked")))
    assert (report.offline, report.parked) == ("locked", 1)


def test_an_application_that_cannot_be_opened_hides_no_parked_groups() -> None:
    play = Play()
    assert play.linked() == [], "nothing is known yet"
    report = report_of(play.hears(TargetFailed(NAME, "locked", parked=parking(part(1, 11)))))
    assert (report.offline, report.parked, [one.seq for one in report.failed]) == ("locked", 1, [11])


def test_parking_that_finds_no_room_loses_nothing() -> None:
    play = catching_up(12)
    play.hears(REFUSED)
    play.hears(TargetFailed(NAME, "no room in the home"))
    play.now += 1.0
    play.hears(Tick())
    effects = play.hears(opened(target_state(10), transfer_at(12, cut=12)))
    assert of_kind(effects, Execute) == [Execute(NAME, 0, target_state(10))]


def test_while_parts_are_tried_the_primary_is_told_at_its_time() -> None:
    """``retry_report_s``"""
    play = resting(part(1, 11), part(2, 12))
    play.hears(RetryAsked(NAME, None))
    left = part(2, 12, retry_at=0.0)
    play.target = replace(play.target, reported_at=play.now)
    play.now += play.target.limits.retry_report_s - 0.01
    assert reports_of(play.hears(retried(left))) == []
    play.now += 0.01
    assert [one.parked for one in reports_of(play.hears(retried(left)))] == [1]


def test_what_is_parked_is_what_the_inbound_queue_says() -> None:
    play = catching_up(12)
    play.hears(REFUSED)
    play.hears(parked(part(7, 11, 12)))
    assert [one.id for one in play.target.parked.oldest] == [7]
