"""A collection on an auxiliary: what it asks for, what it stages, executes and credits (R3, R4, R6, R15)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from syncd.core.effects import BeginTransfer, Execute, OpenTarget, SaveTypes, Send, Stage
from syncd.core.errors import InvariantBroken, OrderError
from syncd.core.events import (
    Event,
    Recounted,
    Staged,
    StageFailed,
    TargetFailed,
    Tick,
    WorkDone,
    WorkVoid,
)
from syncd.core.messages import Begin, Credit, Follow, Report, Types
from syncd.core.ports import Executed
from syncd.core.target_state import TargetPhase
from tests.core.kit import (
    CITY,
    COUNTRY,
    EPOCH,
    NAME,
    NOTHING_HELD,
    digest_at,
    frame,
    of_kind,
    part,
    proof_at,
    target_state,
)
from tests.core.target_play import (
    FRAME_BYTES,
    Play,
    begin,
    catching_up,
    done,
    following,
    opened,
    parked,
    proven,
    report_of,
    retried,
    staged,
    told,
    transfer_at,
)

# ---------------------------------------------------------------- what it asks for


def test_a_target_is_opened_before_anything_is_asked_for() -> None:
    play = Play()
    assert play.first == [OpenTarget(NAME)]
    assert told(play.linked(), Follow) == []
    assert told(play.hears(opened(NOTHING_HELD)), Follow) == [Follow(NAME, "", 0, False, 0, 0, 0)]


def test_without_a_link_nothing_is_asked_for() -> None:
    play = Play()
    assert play.hears(opened(target_state(10))) == []
    assert told(play.linked(), Follow) == [Follow(NAME, EPOCH, 10, False, 10, 0, 10)]


def test_it_asks_once_on_each_link() -> None:
    play = Play()
    play.hears(opened(target_state(10)))
    play.linked()
    assert play.hears(Tick()) == []
    play.unlinked()
    assert len(told(play.linked(), Follow)) == 1


def test_a_link_that_broke_in_mid_transfer_is_resumed_from_the_staged_cursor() -> None:
    play = following(10)
    play.hears(frame(10, 20, cut=False), frame(20, 30, cut=False))
    play.hears(staged(frame(10, 20, cut=False)))
    play.unlinked()
    assert told(play.linked(), Follow) == [], "frames are on their way to the disk"
    assert told(play.hears(staged(frame(20, 30, cut=False))), Follow) == [Follow(NAME, EPOCH, 10, False, 10, 0, 30)]


def test_a_restarted_daemon_goes_on_after_the_frames_that_were_staged() -> None:
    play = Play()
    play.hears(opened(target_state(10), transfer_at(30, base=10)))
    assert told(play.linked(), Follow) == [Follow(NAME, EPOCH, 10, False, 10, 0, 30)]


def test_a_snapshot_is_resumed_with_its_own_base_and_floor() -> None:
    play = Play()
    play.hears(opened(NOTHING_HELD))
    play.linked()
    snapshot = begin(0, snapshot=True, floor=50, head=50)
    play.hears(snapshot, frame(0, 20, cut=False), staged(frame(0, 20, cut=False)))
    play.unlinked()
    assert told(play.linked(), Follow) == [Follow(NAME, EPOCH, 0, True, 0, 50, 20)]


def test_what_was_staged_for_another_position_is_not_resumed() -> None:
    play = Play()
    play.hears(opened(target_state(4), transfer_at(30, base=10, cut=10)))
    play.hears(WorkVoid(NAME), opened(target_state(4)))
    assert told(play.linked(), Follow) == [Follow(NAME, EPOCH, 4, False, 4, 0, 4)]


def test_complete_cuts_are_executed_before_more_is_asked_for() -> None:
    play = Play()
    assert play.hears(opened(target_state(10), transfer_at(30, cut=30))) == [Execute(NAME, 0, target_state(10))]
    assert told(play.linked(), Follow) == []
    assert told(play.hears(done(30)), Follow) == [Follow(NAME, EPOCH, 30, False, 30, 0, 30)]


# ---------------------------------------------------------------- what arrives


def test_begin_and_types_are_kept_before_frames_that_need_them() -> None:
    play = Play()
    play.hears(opened(NOTHING_HELD))
    play.linked()
    types, answer = Types(NAME, (CITY,)), begin(0, snapshot=True, head=5, floor=5)
    group = frame(0, 5, cut=False)
    assert play.hears(types) == [SaveTypes(NAME, (CITY,))]
    kept = frozenset({CITY.id, COUNTRY.id})  # a table that is named no more: all of it is to go
    assert play.hears(answer) == [BeginTransfer(NAME, answer, kept)]
    assert of_kind(play.hears(group), Stage) == [Stage(NAME, group, b"." * FRAME_BYTES)]


def test_a_primary_that_names_more_types_than_there_may_be_is_refused() -> None:
    play = Play()
    play.hears(opened(NOTHING_HELD))
    play.linked()
    many = [replace(CITY, id=number, name=f"t{number}") for number in range(1, play.target.limits.types_max + 2)]
    with pytest.raises(OrderError, match="more than 10000 types"):
        play.hears(Types(NAME, tuple(many)))
    assert play.hears(Types(NAME, tuple(many[:-2])))


def test_a_begin_that_was_not_asked_for_closes_the_link() -> None:
    play = Play()
    play.hears(opened(target_state(10)))
    with pytest.raises(OrderError, match="not asked for"):
        play.hears(begin(10))


def test_a_second_begin_closes_the_link_so_that_nothing_is_dropped_under_what_is_executed() -> None:
    play = catching_up(12)
    with pytest.raises(OrderError, match="not asked for"):
        play.hears(begin(0, snapshot=True, head=12))


def test_a_gap_closes_the_link() -> None:
    play = following(10)
    with pytest.raises(OrderError, match="begin at 11, expected 10"):
        play.hears(frame(11, 12))


def test_objects_of_a_type_that_was_not_described_close_the_link() -> None:
    with pytest.raises(OrderError, match="not described"):
        following(10).hears(frame(10, 11, type_id=77))


def test_repeated_frames_change_nothing_but_what_is_credited() -> None:
    play = following(10, direct_bytes_max=0)
    groups = frame(10, 12, cut=False), frame(12, 15, cut=False)
    play.hears(*groups)
    received = play.target.received
    for one in groups:
        assert [effect for effect in play.hears(one) if not isinstance(effect, Send)] == []
    assert play.target.received == received
    assert play.target.staging == 2


def test_repeated_frames_are_credited_like_any_other() -> None:
    play = following(10, direct_bytes_max=0, credit_bytes=FRAME_BYTES)
    group = frame(10, 12, cut=False)
    play.hears(group, staged(group))
    assert told(play.hears(group), Credit) == [Credit(NAME, 2 * FRAME_BYTES)]


def test_frames_of_a_transfer_that_a_later_follow_ended_are_ignored_and_credited() -> None:
    play = proven(10, credit_bytes=FRAME_BYTES)
    play.hears(frame(10, 12, cut=False), StageFailed(NAME, 1, "no room"))
    play.now += 10.0
    play.hears(Tick(), opened(target_state(10), transfer_at(10)))
    effects = play.hears(frame(12, 14, cut=False))
    assert of_kind(effects, Stage) == []
    assert len(told(effects, Credit)) == 1


def test_a_snapshot_that_begins_makes_void_what_was_staged_and_parked() -> None:
    play = proven(10)
    play.hears(frame(10, 12, cut=False), staged(frame(10, 12, cut=False)))
    play.unlinked()
    play.linked()
    play.hears(begin(0, snapshot=True, head=20, floor=20))
    assert not play.target.cuts
    assert play.target.proof is None
    assert play.target.received == 0


# ---------------------------------------------------------------- executing


def test_frames_are_executed_at_a_complete_cut_and_not_before() -> None:
    play = following(10, direct_bytes_max=0)
    first, last = frame(10, 12, cut=False), frame(12, 15)
    assert play.hears(first, staged(first)) == []
    play.hears(last)
    assert of_kind(play.hears(staged(last)), Execute) == [Execute(NAME, 0, target_state(10))]


def test_cuts_that_are_staged_while_one_is_executed_are_executed_joined_after_it() -> None:
    play = catching_up(12)
    play.hears(frame(12, 15), frame(15, 19), staged(frame(12, 15), frame(15, 19)))
    assert len(play.target.cuts) == 3
    assert of_kind(play.hears(done(12)), Execute) == [Execute(NAME, 0, target_state(12))]
    play.hears(done(19))
    assert play.target.match
    assert not play.target.cuts


def test_a_cut_without_rows_proves_what_is_held() -> None:
    play = following(10)
    assert not play.target.match
    assert report_of(play.hears(frame(10, 10))).match


def test_a_report_says_a_position_only_when_the_application_holds_it() -> None:
    play = following(10, direct_bytes_max=0)
    group = frame(10, 12)
    said = [told(play.hears(event), Report) for event in (group, staged(group))]
    assert said == [[], []]
    report = report_of(play.hears(done(12)))
    assert (report.position, report.digest, report.match) == (12, digest_at(12), True)


def test_work_that_does_not_begin_where_the_target_is_is_void_and_the_target_opened_again() -> None:
    play = catching_up(12)
    assert play.hears(WorkVoid(NAME)) == [OpenTarget(NAME)]
    effects = play.hears(opened(target_state(5)))
    assert told(effects, Follow) == [Follow(NAME, EPOCH, 5, False, 5, 0, 5)]


# ---------------------------------------------------------------- credit


def test_frames_are_credited_when_they_are_durable() -> None:
    play = following(10, direct_bytes_max=0, credit_bytes=2 * FRAME_BYTES)
    frames = [frame(at, at + 1, cut=False) for at in (10, 11, 12)]
    assert told(play.hears(*frames), Credit) == []
    assert told(play.hears(staged(frames[0])), Credit) == []
    assert told(play.hears(staged(*frames[1:])), Credit) == [Credit(NAME, 3 * FRAME_BYTES)]


def test_credit_is_withheld_while_too_many_cuts_wait_and_given_when_they_are_executed() -> None:
    play = catching_up(11, credit_bytes=FRAME_BYTES, waiting_cuts_max=2)
    given = []
    for at in (11, 12, 13):
        group = frame(at, at + 1)
        play.hears(group)
        given.append(len(told(play.hears(staged(group)), Credit)))
    assert given == [1, 0, 0]
    assert told(play.hears(done(14)), Credit) == [Credit(NAME, 4 * FRAME_BYTES)]


def test_frames_far_beyond_the_window_close_the_link() -> None:
    play = following(10, direct_bytes_max=0, unsettled_bytes_max=3 * FRAME_BYTES)
    frames = [frame(at, at + 1, cut=False) for at in range(10, 15)]
    play.hears(*frames[:3], staged(frames[0]), frames[3])
    with pytest.raises(OrderError, match="faster than they were credited"):
        play.hears(frames[4])


def test_frames_that_could_not_be_staged_leave_the_window_free_for_those_asked_for_again() -> None:
    play = following(10, direct_bytes_max=0, credit_bytes=FRAME_BYTES)
    frames = [frame(at, at + 1, cut=False) for at in (10, 11, 12)]
    play.hears(*frames, staged(frames[0]))
    play.hears(StageFailed(NAME, 1, "no room"), StageFailed(NAME, 1, "no room"))
    play.now += 1.0
    play.hears(Tick())
    effects = play.hears(opened(target_state(10), transfer_at(10)))
    assert [type(effect.message) for effect in of_kind(effects, Send)] == [Report, Follow, Credit]
    assert told(effects, Credit) == [Credit(NAME, 3 * FRAME_BYTES)]


def test_each_link_counts_its_bytes_from_nothing() -> None:
    play = catching_up(12, credit_bytes=FRAME_BYTES)
    play.hears(done(12))
    play.unlinked()
    play.linked()
    play.hears(begin(12))
    group = frame(12, 13)
    play.hears(group)
    assert told(play.hears(staged(group)), Credit) == [Credit(NAME, FRAME_BYTES)]


# ---------------------------------------------------------------- the table


@pytest.mark.parametrize(
    "event",
    [
        opened(target_state(10)),
        WorkDone(NAME, proof_at(12), Executed(target_state(12))),
        WorkVoid(NAME),
        parked(),
        retried(part(1, 11)),
        Recounted(NAME, target_state(10)),
        TargetFailed(NAME, "?"),
    ],
)
def test_a_missing_pair_of_phase_and_event_is_an_error(event: Event) -> None:
    with pytest.raises(InvariantBroken, match=f"phase ready got {type(event).__name__}"):
        proven(10).hears(event)


def test_time_alone_orders_nothing_while_a_target_works() -> None:
    play = catching_up(12)
    assert play.target.phase is TargetPhase.EXECUTING
    assert play.hears(Tick()) == []


def test_what_is_said_is_said_to_the_primary_only_while_it_is_linked() -> None:
    play = catching_up(12)
    play.unlinked()
    assert of_kind(play.hears(done(12)), Send) == []


def test_staged_frames_are_a_matter_of_the_transfer_that_they_are_of() -> None:
    play = catching_up(12)
    play.hears(frame(12, 13), WorkVoid(NAME))
    assert play.hears(staged(frame(12, 13))) == []
    assert (play.target.cuts, play.target.staging) == ((), 0)


def test_begin_says_how_far_the_primary_is() -> None:
    play = following(10)
    assert play.target.head == 10
    play.unlinked()
    play.linked()
    play.hears(Begin(NAME, EPOCH, False, 10, 0, 10, 99))
    assert play.target.head == 99


def test_staged_events_name_each_cut_among_the_frames() -> None:
    play = following(10, direct_bytes_max=0)
    groups = frame(10, 11), frame(11, 12, cut=False), frame(12, 13)
    play.hears(*groups, Staged(NAME, 3, 13, (proof_at(11), proof_at(13)), 3 * FRAME_BYTES))
    assert play.target.aim == 13
