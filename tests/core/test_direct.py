"""The short road: small groups are executed as they come, and everything that is not that simple is staged first."""

from __future__ import annotations

import pytest

from syncd.core.effects import BeginTransfer, Execute, ExecuteNow, LookAtTarget, Send, Stage
from syncd.core.events import LookedAtTarget, StageFailed, TargetFailed, Tick, WorkDone
from syncd.core.messages import Credit, Types
from syncd.core.model import DataType, Failure, OutcomeKind
from syncd.core.ports import Part, TargetState, Unexecuted
from tests.core.kit import NAME, frame, of_kind, part, proof_at, target_state
from tests.core.target_play import (
    FRAME_BYTES,
    KNOWN,
    Play,
    begin,
    done,
    following,
    opened,
    proven,
    retried,
    staged,
    transfer_at,
)

FAILED = Unexecuted((Part(frozenset({11}), frozenset(), Failure(OutcomeKind.ROLLED_BACK, "CHECK", None)),))


def test_types_that_were_described_a_moment_ago_go_with_the_group() -> None:
    play = proven(10)
    river = DataType(9, "river", ("id",), ("name",))
    play.hears(Types(NAME, (river,)))
    (now,) = of_kind(play.hears(frame(10, 11, type_id=9)), ExecuteNow)
    assert now.types == {**KNOWN, 9: river}


def test_a_small_group_that_follows_is_executed_at_once_and_not_staged() -> None:
    play = proven(10)
    group = frame(10, 12)
    assert play.hears(group) == [ExecuteNow(NAME, (group,), target_state(10), KNOWN, lazily=True)]


def test_it_is_credited_only_when_the_application_has_it() -> None:
    play = proven(10, credit_bytes=FRAME_BYTES)
    assert of_kind(play.hears(frame(10, 12)), Send) == []
    (credit,) = [one.message for one in of_kind(play.hears(done(12)), Send) if isinstance(one.message, Credit)]
    assert credit.received_bytes == 2 * FRAME_BYTES


def test_what_arrives_while_a_group_is_executed_is_executed_joined() -> None:
    play = proven(10)
    later = frame(11, 12), frame(12, 15)
    play.hears(frame(10, 11))
    assert play.hears(later[0]) == []
    assert play.hears(later[1]) == []
    (now,) = of_kind(play.hears(done(11)), ExecuteNow)
    assert now.frames == later
    assert now.held == target_state(11)
    play.hears(done(15))
    assert play.target.match


def looking() -> Play:
    """A target that is being looked at."""
    play = proven(10)
    play.now += play.target.limits.target_look_s
    assert of_kind(play.hears(Tick()), LookAtTarget)
    return play


@pytest.mark.parametrize("state", [None, target_state(10)], ids=["nothing", "a count"])
def test_what_arrives_while_the_target_is_looked_at_is_executed_joined_after_it(state: TargetState | None) -> None:
    play = looking()
    groups = frame(10, 11), frame(11, 12)
    assert play.hears(groups[0]) == []
    assert play.hears(groups[1]) == []
    (now,) = of_kind(play.hears(LookedAtTarget(NAME, state)), ExecuteNow)
    assert now.frames == groups
    play.hears(done(12))
    assert play.target.match


def test_what_arrives_while_the_target_is_looked_at_is_staged_where_the_look_fails() -> None:
    play = looking()
    play.hears(frame(10, 11))
    staging = of_kind(play.hears(TargetFailed(NAME, "it was replaced")), Stage)
    assert [one.frame for one in staging] == [frame(10, 11)]


def test_what_arrives_while_the_target_is_looked_at_is_staged_where_it_is_too_much_together() -> None:
    play = looking()
    large = b"." * (play.target.limits.direct_bytes_max // 2 + 1)
    play.hears(frame(10, 11), raw=large)
    play.hears(frame(11, 12), raw=large)
    assert len(of_kind(play.hears(LookedAtTarget(NAME)), Stage)) == 2


def test_what_arrived_while_the_target_was_looked_at_is_dropped_with_its_link() -> None:
    play = looking()
    play.hears(frame(10, 11))
    play.unlinked()
    assert of_kind(play.hears(LookedAtTarget(NAME)), ExecuteNow) == []
    play.linked()
    play.hears(begin(10, head=11))
    assert of_kind(play.hears(frame(10, 11)), ExecuteNow)


def test_more_than_the_bound_goes_through_the_inbound_queue() -> None:
    play = proven(10)
    large = frame(10, 12)
    assert play.hears(large, raw=b"." * 301) == [Stage(NAME, large, b"." * 301)]


def test_what_arrived_meanwhile_and_is_too_much_together_is_staged() -> None:
    play = proven(10)
    first, second = frame(11, 12), frame(12, 13)
    play.hears(frame(10, 11))
    play.hears(first, second, raw=b"." * 200)
    effects = play.hears(done(11))
    assert of_kind(effects, ExecuteNow) == []
    (passed,) = of_kind(effects, BeginTransfer)
    assert (passed.begin.snapshot, passed.begin.base, passed.begin.cursor) == (False, 11, 11)
    assert [one.frame for one in of_kind(effects, Stage)] == [first, second]
    assert effects.index(passed) < effects.index(of_kind(effects, Stage)[0])


def test_a_group_of_several_frames_is_staged() -> None:
    play = proven(10)
    assert of_kind(play.hears(frame(10, 12, cut=False)), Stage)
    assert of_kind(play.hears(frame(12, 14)), Stage)


def test_while_frames_wait_for_staging_the_next_ones_wait_behind_them() -> None:
    play = proven(10)
    play.hears(frame(10, 12, cut=False))
    assert of_kind(play.hears(frame(12, 14)), ExecuteNow) == []


def test_a_snapshot_is_staged_however_small() -> None:
    play = Play()
    play.hears(opened(target_state(0, epoch="")))
    play.linked()
    play.hears(begin(0, snapshot=True, head=3, floor=3))
    assert of_kind(play.hears(frame(0, 3)), Stage)


def test_the_first_group_after_a_snapshot_takes_the_short_road() -> None:
    play = Play()
    play.hears(opened(target_state(0, epoch="")))
    play.linked()
    snapshot = frame(0, 3)
    play.hears(begin(0, snapshot=True, head=3, floor=3), snapshot, staged(snapshot), done(3))
    assert of_kind(play.hears(frame(3, 4)), ExecuteNow)


def test_with_objects_parked_a_group_takes_the_short_road_if_it_touches_none_of_them() -> None:
    play = Play()
    play.hears(opened(target_state(10), transfer_at(10), (part(1, 8),)), retried(part(1, 8)))
    play.linked()
    play.hears(begin(10))
    group = frame(10, 12)
    (now,) = of_kind(play.hears(group), ExecuteNow)
    assert now == ExecuteNow(NAME, (group,), target_state(10), KNOWN, parked=True, lazily=True)
    touches = WorkDone(NAME, proof_at(12), Unexecuted(()))
    assert of_kind(play.hears(touches), Stage) == [Stage(NAME, group, b"." * FRAME_BYTES)]


def test_while_the_application_is_offline_groups_are_staged() -> None:
    play = proven(10)
    play.hears(frame(10, 11), TargetFailed(NAME, "locked"))
    assert of_kind(play.hears(frame(11, 12)), Stage)


@pytest.mark.parametrize(
    "failed", [WorkDone(NAME, proof_at(11), FAILED), TargetFailed(NAME, "locked")], ids=["group", "application"]
)
def test_what_could_not_be_executed_at_once_is_staged_with_all_that_came_after(
    failed: WorkDone | TargetFailed,
) -> None:
    play = proven(10)
    play.hears(frame(10, 11), frame(11, 12))
    effects = play.hears(failed)
    assert [(one.frame.first, one.frame.last) for one in of_kind(effects, Stage)] == [(10, 11), (11, 12)]


def test_after_a_failure_the_long_road_must_work_once_before_the_short_one_is_open() -> None:
    play = proven(10)
    bad, later = frame(10, 11), frame(11, 12)
    play.hears(bad, WorkDone(NAME, proof_at(11), FAILED))
    play.hears(staged(bad))
    assert of_kind(play.hears(later), Stage)
    play.hears(staged(later))
    play.hears(done(12))
    assert of_kind(play.hears(frame(12, 13)), ExecuteNow)


def test_a_group_that_failed_at_once_and_could_not_be_kept_is_staged_when_it_comes_again() -> None:
    play = proven(10)
    bad = frame(10, 11)
    play.hears(bad, WorkDone(NAME, proof_at(11), FAILED), StageFailed(NAME, 1, "no room"))
    play.now += 1.0
    play.hears(Tick(), opened(target_state(10), transfer_at(10)), begin(10))
    assert of_kind(play.hears(bad), Stage)


def test_groups_of_the_short_road_leave_the_transfer_where_the_next_frame_begins() -> None:
    play = proven(10)
    play.hears(frame(10, 11), done(11))
    long = frame(11, 13, cut=False), frame(13, 14)
    effects = play.hears(long[0])
    (passed,) = of_kind(effects, BeginTransfer)
    assert passed.begin.base == 11
    assert of_kind(play.hears(long[1]), BeginTransfer) == []
    assert of_kind(play.hears(staged(*long)), Execute)


def test_a_link_that_breaks_takes_what_only_waited_in_memory_with_it() -> None:
    play = following(10)
    play.hears(frame(10, 10), frame(10, 11), frame(11, 12))
    play.unlinked()
    play.hears(done(11))
    assert play.target.state == target_state(11)
    assert play.target.buffer == ()
