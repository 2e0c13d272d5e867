"""What rests and what runs: the primary's engine (R10)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from syncd.core.edits import Direction, Policy
from syncd.core.effects import CloseLink, Effect, ReadChunk, Send, SendFrame
from syncd.core.events import LinkDown
from syncd.core.messages import Begin, Credit, Offer, Pace, Report, Rest, Taken
from syncd.core.pace import USUAL, Paced
from syncd.core.pacing import ON_DEVICE
from syncd.core.schedule import DAY_MIN
from tests.core.kit import LIMITS, NAME, chunk, of_kind
from tests.core.pace_play import MANUAL, MON_9, MON_23, PAUSED, Paces, clock, paced, paces_to, resting
from tests.core.primary_play import OTHER, A, B, Play, reported, sent_to

# ---------------------------------------------------------------- what rests


def test_a_device_hears_what_rests_before_the_terms_and_nothing_where_nothing_does() -> None:
    told = sent_to(A, Paces(MANUAL).greets(A))
    assert [type(one).__name__ for one in told] == ["Welcome", "Pace", "Terms"]
    reason = f"its schedule is manual: `syncd now {NAME}` on the primary"
    assert told[1] == Pace((Rest(NAME, reason, 0),))
    assert paces_to(A, Paces().greets(A)) == []


def test_what_is_shared_while_a_device_is_linked_rests_before_its_terms_are_told() -> None:
    play = Paces()
    play.greets(A)
    play.engine.set_paces(OTHER, PAUSED)
    told = [type(one).__name__ for one in sent_to(A, play.engine.share(OTHER))]
    assert told[:2] == ["Pace", "Terms"]


@pytest.mark.parametrize("pace", [MANUAL, PAUSED, paced("within 22:00-06:00")])
def test_of_what_rests_nothing_is_begun_read_or_sent(pace: Paced) -> None:
    play = Paces(pace)
    assert play.follows(A, 10) == []
    assert not of_kind(play.grows(30), ReadChunk)
    assert play.later(100.0) == []
    effects = play.engine.set_paces(NAME, USUAL)
    assert resting(effects) == []
    assert any(isinstance(one, Begin) for one in sent_to(A, effects))
    assert play.reads(effects) == [NAME]


def test_a_chunk_that_was_read_when_the_rest_began_is_not_sent_and_read_again_later() -> None:
    play = Paces().identical()
    assert play.reads(play.grows(30)) == [NAME]
    assert resting(play.engine.set_paces(NAME, PAUSED)) == [NAME]
    assert play.hears(chunk(20, 30, base=20)) == []
    effects = play.engine.set_paces(NAME, USUAL)
    assert play.reads(effects) == [NAME]
    assert of_kind(play.hears(chunk(20, 30, base=20)), SendFrame)


def test_one_device_rests_and_the_others_do_not() -> None:
    play = Paces()
    for device in (A, B):
        play.follows(device, 20)
    play.hears(chunk(20, 20, base=20))
    play.engine.set_paces(NAME, USUAL, {A: PAUSED})
    play.grows(30)
    assert [one.device for one in of_kind(play.hears(chunk(20, 30, base=20)), SendFrame)] == [B]


def test_credit_reports_offers_and_uploads_on_their_way_are_taken_all_the_same() -> None:
    play = Paces().identical()
    play.engine.set_paces(NAME, PAUSED)
    assert play.says(A, Credit(NAME, 10)) == []
    play.says(A, reported(20))
    assert not of_kind(play.says(A, Offer(NAME, "box", 1, 0)), CloseLink)
    assert of_kind(play.later(0.1), CloseLink) == []


def test_nothing_is_stalled_that_rests_or_rested() -> None:
    play = Paces().identical()
    play.engine.set_paces(NAME, PAUSED)
    play.grows(30)
    play.later(1_000.0)
    line = play.line()
    assert (line["state"], line["behind"], line["resumes"]) == ("paused", 10, "0")
    assert "syncd resume" in str(line["reason"])
    play.engine.set_paces(NAME, USUAL)
    assert play.line()["state"] == "syncing"
    play.later(LIMITS.stalled_s + 1)
    assert play.line()["state"] == "stalled"


def test_what_needs_a_person_is_said_of_what_rests_as_well() -> None:
    play = Paces(MANUAL)
    play.greets(A)
    play.says(A, replace(reported(20), offline="locked"))
    assert (play.line()["state"], play.line()["reason"]) == ("offline", "locked")


# ---------------------------------------------------------------- hours


def test_a_window_opens_and_closes_with_the_clock_and_it_is_said_when() -> None:
    play = Paces(paced("within 22:00-06:00")).identical()
    (rest,) = paces_to(A, [Send(A, play.engine.told[A])])[0].resting
    assert rest == Rest(NAME, "its schedule is within 22:00-06:00", clock(22 * 60).wall_us)
    assert resting(play.engine.set_clock(clock(MON_23))) == []
    play.hears(chunk(20, 20, base=20))
    assert play.reads(play.grows(30)) == [NAME]
    assert resting(play.engine.set_clock(clock(DAY_MIN + 6 * 60))) == [NAME]


def test_a_clock_that_jumps_back_closes_the_window_and_breaks_nothing() -> None:
    play = Paces(paced("within 22:00-06:00"))
    play.engine.set_clock(clock(MON_23))
    play.identical()
    for minute in (MON_9, MON_23, 3 * DAY_MIN, MON_9 - 5):
        play.engine.set_clock(clock(minute))
        play.later(1.0)
    assert play.line()["state"] == "paused"
    play.grows(30)
    assert play.reads(play.engine.set_clock(clock(MON_23))) == [NAME]


def test_before_the_clock_is_known_what_has_hours_rests() -> None:
    play = Play()
    play.engine.set_paces(NAME, paced("within 22:00-06:00"))
    assert play.engine.rest_of(A, NAME) is not None


# ---------------------------------------------------------------- runs


def finished(play: Paces, seconds: float = LIMITS.run_s) -> list[Effect]:
    """The device offers, uploads nothing, offers again and has come as far as there is."""
    play.says(A, Offer(NAME, "box", 1, 0))
    play.says(A, Offer(NAME, "box", 1, 0))
    play.says(A, reported(20))
    return play.later(seconds)


def test_a_person_lets_it_run_once_until_nothing_waits() -> None:
    play = Paces(MANUAL).identical()
    effects = play.engine.run_now([(A, NAME)])
    assert paces_to(A, effects) == [Pace((), (NAME,))]
    assert any(isinstance(one, Begin) for one in sent_to(A, effects))
    play.hears(chunk(20, 20, base=20))
    assert resting(finished(play, LIMITS.run_s - 0.1)) is None, "what changed just before may not be read"
    assert resting(play.later(0.1)) == [NAME]
    assert play.engine.runs == {}


def test_a_run_lasts_until_both_directions_are_done() -> None:
    play = Paces(MANUAL).identical()
    play.engine.run_now([(A, NAME)])
    play.hears(chunk(20, 20, base=20))
    assert play.later(100.0) == [], "the device has not offered"
    play.says(A, Offer(NAME, "box", 5, 7))
    play.says(A, Offer(NAME, "box", 7, 9))
    assert play.later(100.0) == [], "group 7 has no verdict"
    play.says(A, Offer(NAME, "box", 8, 9))
    play.grows(30)
    assert play.later(1.0) == [], "what came of it is not there"
    play.says(A, reported(29))
    assert resting(play.later(1.0)) is None
    play.grows(40)
    play.says(A, reported(30))
    assert resting(play.later(1.0)) == [NAME], "what comes later waits"


def test_a_run_ends_where_something_is_parked_and_goes_on_where_nothing_moves() -> None:
    play = Paces(MANUAL).identical()
    play.engine.run_now([(A, NAME)])
    play.says(A, replace(reported(20), match=False))
    assert resting(finished_but_for_the_report(play)) is None
    play.says(A, replace(reported(20), match=False, parked=1))
    assert resting(play.later(1.0)) == [NAME]


def finished_but_for_the_report(play: Paces) -> list[Effect]:
    play.says(A, Offer(NAME, "box", 1, 0))
    play.says(A, Offer(NAME, "box", 1, 0))
    return play.later(2.0)


def test_a_run_of_a_device_that_is_not_connected_waits_for_it() -> None:
    play = Paces(MANUAL).identical()
    play.hears(LinkDown(A, "away"))
    play.engine.run_now([(A, NAME)])
    play.later(100.0)
    assert paces_to(A, play.greets(A)) == [Pace((), (NAME,))]


def test_a_run_is_over_where_nothing_rests_any_more() -> None:
    play = Paces(MANUAL).identical()
    play.engine.run_now([(A, NAME)])
    assert paces_to(A, play.engine.set_paces(NAME, PAUSED)) == [], "it was asked for, and goes on"
    assert paces_to(A, play.engine.set_paces(NAME, USUAL)) == [Pace(())]
    assert play.engine.runs == {}


def test_only_what_rests_is_run() -> None:
    play = Paces().identical()
    assert play.engine.run_now([(A, NAME)]) == []
    assert play.engine.runs == {}


@pytest.mark.parametrize(("direction", "offers"), [(Direction.OUT, 0), (Direction.IN, 2)])
def test_a_run_of_one_direction_asks_for_that_alone(direction: Direction, offers: int) -> None:
    play = Paces(MANUAL).identical()
    play.engine.set_terms(NAME, direction, Policy.PRIMARY)
    play.engine.run_now([(A, NAME)])
    for _ in range(offers):
        assert resting(play.later(2.0)) is None
        play.says(A, Offer(NAME, "box", 1, 0))
    assert resting(play.later(2.0)) == [NAME]


def test_what_runs_every_so_often_begins_by_itself_and_it_is_said_when() -> None:
    play = Paces(paced("every 60s")).identical()
    assert play.engine.told == {}
    assert paces_to(A, play.later(0.2)) == [Pace((), (NAME,))]
    begun = play.now
    (pace,) = paces_to(A, finished(play))
    (rest,) = pace.resting
    assert rest == Rest(NAME, "its schedule is every 1min", rest.until_us)
    assert 0 <= rest.until_us - play.engine.clock.wall_at(begun + 60.0) < 1_000_000  # type: ignore[union-attr]
    assert resting(play.later(57.0)) is None
    assert paces_to(A, play.later(1.0)) == [Pace((), (NAME,))], "60 s after the last began"


def test_a_run_that_is_due_begins_within_the_hours_and_ends_with_them() -> None:
    play = Paces(paced("every 60s within 22:00-06:00")).identical()
    play.later(100.0)
    assert play.engine.runs == {}
    play.engine.set_clock(clock(MON_23))
    assert (A, NAME) in play.engine.runs
    assert resting(play.engine.set_clock(clock(MON_9))) == [NAME]
    assert play.engine.runs == {}


def test_another_schedule_counts_at_once() -> None:
    play = Paces(paced("every 1h")).identical()
    play.later(0.2)
    finished(play)
    assert play.line()["state"] == "paused"
    effects = play.engine.set_paces(NAME, paced("every 2h"))
    assert paces_to(A, effects) == [Pace((), (NAME,))], "it is not known to have run"
    assert play.engine.set_paces(NAME, paced("every 2h")) == []
    finished(play)
    play.engine.set_paces(NAME, paced("every 2h"), {B: PAUSED})
    assert play.line()["state"] == "paused", "another device's is not this one's"


# ---------------------------------------------------------------- what a device pauses itself


def test_a_device_pauses_by_itself() -> None:
    play = Paces().identical()
    assert play.says(A, Pace((Rest(NAME, "", 0), Rest("not shared", "", 0)))) == []
    assert not of_kind(play.grows(30), ReadChunk)
    assert (play.line()["state"], play.line()["reason"]) == ("paused", ON_DEVICE)
    assert play.engine.run_now([(A, NAME)]) == [], "it decides itself"
    assert play.reads(play.says(A, Pace(()))) == [NAME]
    play.says(A, Pace((Rest(NAME, "", 0),)))
    play.hears(LinkDown(A, "away"))
    assert play.line()["state"] == "paused"
    play.follows(A, 20)
    assert play.engine.rest_of(A, NAME) is None, "it would say so again"


def test_a_device_pauses_no_more_than_it_may_follow() -> None:
    play = Paces().identical()
    many = Pace(tuple(Rest(f"c{number}", "", 0) for number in range(LIMITS.follows_max)))
    assert not of_kind(play.says(A, many), CloseLink)
    more = Pace((*many.resting, Rest("one-more", "", 0)))
    (closed,) = of_kind(play.says(A, more), CloseLink)
    assert closed.code == "too-large"


def test_a_report_of_one_who_may_not_have_it_begins_no_run() -> None:
    play = Paces(paced("every 60s"))
    play.engine.users[B] = ("bob",)
    play.greets(B)
    play.says(B, Report(NAME, "", 0, bytes(16), 0, False, 0, ""), Offer(NAME, "box", 1, 0))
    play.later(1.0)
    assert play.engine.runs == {}
    assert not of_kind(play.says(B, Pace((Rest(NAME, "", 0),))), Send)
    assert Taken not in {type(one) for one in sent_to(B, play.later(1.0))}
