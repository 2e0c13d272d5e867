"""What travels from an auxiliary and when: what rests, runs and is paused there, and how fast (R10, R15)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from syncd.core.auxiliary_engine import AuxiliaryEngine
from syncd.core.auxiliary_pace import OwnPause
from syncd.core.conversation import Phase
from syncd.core.edits import OutboxState
from syncd.core.effects import Effect, Send, SendFrame
from syncd.core.events import Event, LinkDown, LinkUp, Received, TargetOpened, Tick
from syncd.core.messages import Begin, Offer, Pace, Rest, Taken, Terms, Welcome, Wire
from syncd.core.ports import Parking
from syncd.core.status import DeviceLine, primary_line, rested, target_line
from syncd.core.upward_effects import HoldUploads, ReadLocal, TakeUploads
from syncd.core.upward_events import LocalRead, UploadsTaken
from tests.core.kit import EPOCH, LIMITS, NAME, frame, of_kind, target_state
from tests.core.target_play import KNOWN, PRIMARY, transfer_at

OTHER = "others"
RESTS = Pace((Rest(NAME, "its schedule is manual", 0),))
RUNS = Pace((), (NAME,))
GOES_ON = Pace(())
BOTH = Terms(NAME, "both", "primary")


def held(last: int, first: int = 1) -> OutboxState:
    return OutboxState("box", 5, first, last, last - first + 1, 0, False, last)


class Play:
    """An auxiliary whose target holds something, at 10; groups up to ``last`` wait."""

    def __init__(self, last: int = 0) -> None:
        self.now = 100.0
        self.engine = AuxiliaryEngine("laptop", "msgpack", replace(LIMITS, target_look_s=1e9))
        for name in (NAME, OTHER):
            self.engine.accept(name, self.now, edits=True)
            self.hears(TargetOpened(name, target_state(10), transfer_at(10), KNOWN, Parking()))
            self.hears(LocalRead(name, held(last if name == NAME else 0), more=False))

    def hears(self, *events: Event) -> list[Effect]:
        effects: list[Effect] = []
        for event in events:
            effects = self.engine.step(event, self.now)
        return effects

    def says(self, *messages: Wire) -> list[Effect]:
        """All that these messages make it order."""
        return [one for message in messages for one in self.hears(Received(PRIMARY, message, b"." * 40))]

    def linked(self, *messages: Wire) -> list[Effect]:
        effects = self.hears(LinkUp(PRIMARY))
        return effects + self.says(Welcome(1, "desk", "ada", "msgpack", 1_000, (NAME, OTHER)), *messages)

    def later(self, seconds: float) -> list[Effect]:
        self.now += seconds
        return self.hears(Tick())

    def pauses(self, own: OwnPause) -> list[Effect]:
        return self.engine.pause(own, self.engine.phase is Phase.OPEN, self.now)

    def state(self, name: str = NAME) -> str:
        device = DeviceLine(PRIMARY, "desk", self.engine.phase is Phase.OPEN, "")
        lines = primary_line(self.engine, device, self.now, lambda key: "", str)["collections"]
        assert isinstance(lines, list)
        (state,) = [one["state"] for one in lines if one["name"] == name]
        return str(state)


def offers(effects: list[Effect], name: str = NAME) -> list[Offer]:
    sent = [one.message for one in of_kind(effects, Send)]
    return [one for one in sent if isinstance(one, Offer) and one.collection == name]


def takes(effects: list[Effect]) -> list[TakeUploads]:
    return [one for one in of_kind(effects, TakeUploads) if one.collection == NAME]


def frames(effects: list[Effect]) -> list[SendFrame]:
    return of_kind(effects, SendFrame)


# ---------------------------------------------------------------- what rests


def test_of_what_rests_nothing_is_offered_and_all_of_it_when_it_goes_on() -> None:
    play = Play(last=2)
    effects = play.linked(RESTS, BOTH, Terms(OTHER, "both", "primary"))
    assert (offers(effects), len(offers(effects, OTHER))) == ([], 1)
    assert not offers(play.later(100.0))
    assert play.state() == "paused"
    assert offers(play.says(GOES_ON)) == [Offer(NAME, "box", 1, 2)]
    assert play.state() != "paused"


def test_what_was_taken_for_sending_does_not_leave_and_is_taken_again() -> None:
    play = Play(last=2)
    play.linked(BOTH, Taken(NAME, "box", 0, 0))
    assert of_kind(play.says(RESTS), HoldUploads) == [HoldUploads(NAME, play.engine.uplinks[NAME].links)]
    assert not frames(play.hears(UploadsTaken(NAME, 0, 2, (b"frame",))))
    play.says(GOES_ON)
    (take,) = takes(play.says(Taken(NAME, "box", 0, 0)))
    assert take.after == 0
    assert frames(play.hears(UploadsTaken(NAME, 0, 2, (b"frame",))))


def test_what_is_changed_while_it_rests_is_not_sealed() -> None:
    play = Play()
    play.linked(BOTH, Taken(NAME, "box", 0, 0), RESTS)
    (read,) = of_kind(play.hears(LocalRead(NAME, held(1), more=True)), ReadLocal)
    assert read.take is None


def test_what_comes_down_all_the_same_is_executed() -> None:
    play = Play()
    play.linked(RESTS, BOTH)
    play.says(Begin(NAME, EPOCH, False, 10, 0, 10, 12))
    assert play.says(frame(10, 12)), "it is executed or staged"
    assert play.state() == "paused"


def test_a_rest_is_of_the_link() -> None:
    play = Play()
    play.linked(RESTS, BOTH)
    play.hears(LinkDown(PRIMARY, "away"))
    assert play.engine.rest_of(NAME) is None
    assert offers(play.linked(BOTH)) == [Offer(NAME, "box", 1, 0)]


def test_nothing_is_stalled_that_rests_or_rested() -> None:
    play = Play()
    play.linked(BOTH)
    play.says(Begin(NAME, EPOCH, False, 10, 0, 10, 12), RESTS)
    play.later(1_000.0)
    assert play.state() == "paused"
    play.says(GOES_ON)
    assert play.state() == "syncing"
    play.later(LIMITS.stalled_s + 1)
    assert play.state() == "stalled"


def test_at_a_low_rate_it_takes_longer_until_it_is_stalled() -> None:
    play = Play()
    play.linked(Pace((), (), LIMITS.frame_bytes // 100), BOTH)
    play.says(Begin(NAME, EPOCH, False, 10, 0, 10, 12))
    play.later(LIMITS.stalled_s + 150)
    assert play.state() == "syncing"
    play.later(100)
    assert play.state() == "stalled"


def test_the_line_says_why_and_when_it_goes_on() -> None:
    target = Play().engine.targets[NAME]
    line = target_line(target, "sqlite:x", None, 0.0)
    assert rested(line, Rest(NAME, "by night", 7), str) == line | {
        "state": "paused",
        "reason": "by night",
        "resumes": "7",
    }
    assert rested(line, None, str) == line | {"resumes": ""}
    needs = line | {"state": "parked", "reason": "see there"}
    assert rested(needs, Rest(NAME, "by night", 7), str) == needs | {"resumes": "7"}


# ---------------------------------------------------------------- runs


def test_in_a_run_it_is_said_once_more_when_nothing_waits() -> None:
    play = Play()
    play.linked(RESTS, BOTH)
    assert offers(play.says(RUNS)) == [Offer(NAME, "box", 1, 0)]
    play.says(Taken(NAME, "box", 0, 0))
    assert not offers(play.later(LIMITS.offer_again_s - 0.1))
    assert offers(play.later(0.2)) == [Offer(NAME, "box", 1, 0)]
    play.says(Taken(NAME, "box", 0, 0))
    assert not offers(play.later(100.0)), "it was said"


def test_groups_that_wait_when_it_is_looked_at_have_their_verdicts_first() -> None:
    play = Play()
    play.linked(RESTS, BOTH)
    play.says(RUNS, Taken(NAME, "box", 0, 0))
    play.hears(LocalRead(NAME, held(3), more=False))
    assert not offers(play.later(10.0))
    play.hears(LocalRead(NAME, held(9, first=3), more=False))
    assert not offers(play.later(1.0)), "of 3, which waited, nothing is known"
    assert offers(play.hears(LocalRead(NAME, held(9, first=4), more=False))) == [Offer(NAME, "box", 4, 9)], (
        "no more is waited for"
    )


def test_nothing_is_said_while_what_was_changed_is_not_read() -> None:
    play = Play()
    play.linked(RESTS, BOTH)
    play.says(RUNS, Taken(NAME, "box", 0, 0))
    play.hears(LocalRead(NAME, held(0), more=True))
    assert not offers(play.later(10.0))
    assert offers(play.hears(LocalRead(NAME, held(0), more=False)))


def test_a_run_begins_with_an_offer_on_a_link_that_never_rested() -> None:
    play = Play()
    play.linked(BOTH, Taken(NAME, "box", 0, 0))
    assert offers(play.says(RUNS)) == [Offer(NAME, "box", 1, 0)]
    assert not offers(play.says(RUNS)), "it is the same run"


# ---------------------------------------------------------------- what is paused here


def test_what_is_paused_here_is_told_before_anything_else_and_rests() -> None:
    play = Play(last=1)
    play.pauses(OwnPause(False, {NAME: True}))
    assert (play.state(), play.state(OTHER)) == ("paused", "behind")
    sent = [one.message for one in of_kind(play.linked(BOTH), Send)]
    assert Pace((Rest(NAME, "", 0),)) in sent
    assert not any(isinstance(one, Offer) for one in sent)
    effects = play.pauses(OwnPause())
    assert [type(one.message) for one in of_kind(effects, Send)] == [Pace, Offer], "first it is told that it goes on"


def test_what_is_paused_here_stays_so_whatever_the_primary_says() -> None:
    play = Play(last=1)
    play.linked(BOTH)
    play.pauses(OwnPause(True))
    assert not offers(play.says(RESTS, RUNS, GOES_ON))
    assert not offers(play.later(10.0))
    assert play.state() == "paused"


def test_where_everything_is_paused_a_collection_may_go_on_and_another_that_comes_does_not() -> None:
    play = Play()
    play.linked(BOTH)
    play.pauses(OwnPause(True, {NAME: False}))
    assert play.engine.rest_of(NAME) is None
    assert play.engine.rest_of(OTHER) is not None
    effects = play.engine.accept("more", play.now, edits=True)
    told = [one.message for one in of_kind(effects, Send) if isinstance(one.message, Pace)]
    assert [one.collection for one in told[0].resting] == ["more", OTHER]


# ---------------------------------------------------------------- the rate


def test_no_more_is_taken_and_sent_than_the_rate_allows() -> None:
    play = Play(last=5)
    play.linked(Pace((), (), 100), BOTH)
    (take,) = takes(play.says(Taken(NAME, "box", 0, 0)))
    assert take.bytes_max == 100
    play.hears(UploadsTaken(NAME, 0, 2, (b"." * 350,)))
    assert play.engine.uplinks[NAME].sent == 2
    assert not takes(play.later(2.4)), "250 bytes are not paid"
    (take,) = takes(play.later(0.6))
    assert take.bytes_max == pytest.approx(50, abs=1)


def test_a_large_group_leaves_a_frame_at_a_time() -> None:
    play = Play(last=5)
    play.linked(Pace((), (), 100), BOTH, Taken(NAME, "box", 0, 0))
    group = tuple(b"%d" % number * 200 for number in range(3))
    assert [one.frame for one in frames(play.hears(UploadsTaken(NAME, 0, 1, group)))] == [group[0]]
    assert not frames(play.later(0.9))
    assert [one.frame for one in frames(play.later(0.2))] == [group[1]]
    assert not takes(play.later(1.0)), "nothing more is taken while frames wait"
    assert [one.frame for one in frames(play.says(GOES_ON))] == [group[2]], "without a rate all of it leaves"


def test_frames_that_wait_are_made_again_where_edits_are_offered_anew_and_do_not_leave_while_they_rest() -> None:
    play = Play(last=5)
    play.linked(Pace((), (), 100), BOTH, Taken(NAME, "box", 0, 0))
    group = (b"." * 200, b"." * 200)
    play.hears(UploadsTaken(NAME, 0, 1, group))
    play.says(replace(RESTS, rate_bytes_s=100))
    assert not frames(play.later(100.0))
    assert offers(play.says(Pace((), (), 100))) == [Offer(NAME, "box", 1, 5)]
    assert not frames(play.later(100.0))
    (take,) = takes(play.says(Taken(NAME, "box", 0, 0)))
    assert take.after == 0
    play.hears(LinkDown(PRIMARY, "away"))
    assert not frames(play.linked(BOTH))


def test_what_was_to_be_taken_with_the_next_edit_is_held_back_by_a_rate_that_comes_meanwhile() -> None:
    play = Play()
    play.linked(BOTH, Taken(NAME, "box", 0, 0))
    effects = play.says(Pace((), (), 1_000))
    assert [one for one in of_kind(effects, HoldUploads) if one.collection == NAME]
    assert offers(effects), "what waits then is offered anew"
    assert not of_kind(play.says(Pace((), (), 2_000)), HoldUploads), "a greater rate lets more through"


def test_without_a_rate_all_that_waits_is_taken_at_once() -> None:
    play = Play(last=5)
    play.linked(Pace((), (), 100), BOTH, Taken(NAME, "box", 0, 0))
    play.hears(UploadsTaken(NAME, 0, 2, (b"." * 5_000,)))
    assert not takes(play.says(GOES_ON))
    (take,) = takes(play.later(0.1))
    assert take.bytes_max > 100


def test_a_rate_is_of_the_link() -> None:
    play = Play(last=5)
    play.linked(Pace((), (), 100), BOTH)
    play.hears(LinkDown(PRIMARY, "away"))
    play.linked(BOTH)
    (take,) = takes(play.says(Taken(NAME, "box", 0, 0)))
    assert take.bytes_max > 100
