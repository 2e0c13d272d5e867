"""What rests, what runs, and in which order and how fast devices are sent: the primary's engine (R10, R15)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from syncd.core.edits import Direction, Policy
from syncd.core.effects import CloseLink, Effect, ReadChunk, Send, SendFrame
from syncd.core.events import LinkDown, SourceOpened, SourceRead, Tick
from syncd.core.messages import Begin, Credit, Offer, Pace, Report, Rest, Taken
from syncd.core.model import State
from syncd.core.pace import USUAL, Paced
from syncd.core.pacing import ON_DEVICE
from syncd.core.ports import ChunkRequest, SourceState
from syncd.core.schedule import DAY_MIN, Clock, read_schedule
from syncd.core.status import DeviceLine, primary_devices
from tests.core.kit import LIMITS, NAME, chunk, of_kind, store_state
from tests.core.primary_play import OTHER, A, B, Play, asked, reported, sent_to

MANUAL, PAUSED = Paced(read_schedule("manual")), Paced(paused=True)
MON_9, MON_23 = 9 * 60, 23 * 60
HIGH, LOW = Paced(rank=0), Paced(rank=2)


def clock(minute: int, at: float = 100.0) -> Clock:
    return Clock(minute, 1_000_000_000 + minute * 60_000_000, at)


def paced(text: str) -> Paced:
    return Paced(read_schedule(text))


class Paces(Play):
    """A primary whose A follows at 20 and whose collection is taken both ways; ``paces``: how it is paced."""

    def __init__(self, pace: Paced = USUAL) -> None:
        super().__init__()
        self.engine.set_terms(NAME, Direction.BOTH, Policy.PRIMARY)
        self.engine.set_clock(clock(MON_9))
        self.engine.set_paces(NAME, pace)

    def identical(self) -> Paces:
        """A holds what there is, and a cut proved it."""
        self.follows(A, 20)
        self.hears(chunk(20, 20, base=20))
        self.says(A, reported(20))
        return self

    def later(self, seconds: float) -> list[Effect]:
        self.now += seconds
        return self.hears(Tick())

    def reads(self, effects: list[Effect]) -> list[str]:
        return [one.request.collection for one in of_kind(effects, ReadChunk)]

    def line(self, device: str = A) -> dict[str, object]:
        """What the status says of the collection there."""
        devices = [DeviceLine(device, "till", self.engine.connected(device), "")]
        (told,) = primary_devices(self.engine, devices, self.now, lambda key: "", str)
        lines = told["collections"]
        assert isinstance(lines, list)
        return dict(lines[0])


def paces_to(device: str, effects: list[Effect]) -> list[Pace]:
    return [one for one in sent_to(device, effects) if isinstance(one, Pace)]


def resting(effects: list[Effect], device: str = A) -> list[str] | None:
    """What the device is told that rests, None: it is told nothing."""
    told = paces_to(device, effects)
    return [one.collection for one in told[-1].resting] if told else None


# ---------------------------------------------------------------- what rests


def test_a_device_hears_what_rests_before_the_terms_and_nothing_where_nothing_does() -> None:
    told = sent_to(A, Paces(MANUAL).greets(A))
    assert [type(one).__name__ for one in told] == ["Welcome", "Pace", "Terms"]
    reason = f"its schedule is manual: `syncd now {NAME}` on the primary"
    assert told[1] == Pace((Rest(NAME, reason, 0),))
    assert paces_to(A, Paces().greets(A)) == []


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


def finished(play: Paces, seconds: float = 2.0) -> list[Effect]:
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
    assert resting(finished(play)) == [NAME]
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


# ---------------------------------------------------------------- priority


class TwoCollections(Paces):
    """A follows both at 20, and has room; the other one goes first."""

    def __init__(self, other: Paced = HIGH) -> None:
        super().__init__()
        self.engine.set_paces(OTHER, other)
        self.engine.share(OTHER)
        self.store_other(20)
        self.greets(A)
        for name in (NAME, OTHER):
            self.says(A, asked(20, collection=name))
        for name in (OTHER, NAME, OTHER):  # one of them waited for the other
            self.sent(name, 20, 20)

    def store_other(self, head: int) -> list[Effect]:
        state = replace(store_state(head), name=OTHER)
        if OTHER not in self.engine.sources or self.engine.sources[OTHER].state is None:
            self.hears(SourceOpened(OTHER, SourceState("the application", (), ()), state, False))
        return self.hears(SourceRead(OTHER, state, False, False, False))

    def sent(self, name: str, cursor: int, last: int, size: int = 10, cut: bool = True) -> list[Effect]:
        """The chunk was read."""
        one = chunk(cursor, last, base=20, size=size, cut=cut)
        request = ChunkRequest(name, one.request.selection, 20, 0, cursor)
        return self.hears(replace(one, request=request))


def test_the_higher_goes_first_chunk_by_chunk() -> None:
    play = TwoCollections()
    assert play.reads(play.store_other(40)) == [OTHER]
    assert play.reads(play.grows(40)) == [], "it waits for its turn"
    assert play.reads(play.sent(OTHER, 20, 30, cut=False)) == [OTHER]
    assert play.reads(play.sent(OTHER, 30, 40)) == [NAME], "nothing of the higher is left"
    assert play.reads(play.store_other(50)) == [OTHER]
    assert play.reads(play.sent(NAME, 20, 30, cut=False)) == []


def test_what_is_lower_waits_and_what_is_alike_does_not() -> None:
    play = TwoCollections(LOW)
    assert play.reads(play.grows(40)) == [NAME]
    assert play.reads(play.store_other(40)) == []
    assert play.reads(play.sent(NAME, 20, 40)) == [OTHER]
    alike = TwoCollections(USUAL)
    assert alike.reads(alike.grows(40)) == [NAME]
    assert alike.reads(alike.store_other(40)) == [OTHER]


def test_what_is_higher_and_cannot_go_on_holds_up_no_other() -> None:
    full = TwoCollections()
    full.store_other(40)
    full.grows(40)
    assert full.reads(full.sent(OTHER, 20, 30, size=LIMITS.window_bytes_max, cut=False)) == [NAME]
    assert full.reads(full.says(A, Credit(OTHER, LIMITS.window_bytes_max))) == [OTHER]
    rests = TwoCollections()
    rests.engine.set_paces(OTHER, replace(HIGH, paused=True))
    rests.store_other(40)
    assert rests.reads(rests.grows(40)) == [NAME]
    inward = TwoCollections()
    inward.engine.set_terms(OTHER, Direction.IN, Policy.PRIMARY)
    inward.store_other(40)
    assert inward.reads(inward.grows(40)) == [NAME]


# ---------------------------------------------------------------- rates


def test_a_device_with_a_rate_is_told_and_sent_a_frame_when_the_one_before_is_paid() -> None:
    play = Paces()
    play.engine.set_rates({A: 100})
    assert paces_to(A, play.greets(A)) == [Pace((), (), 100)]
    play.says(A, asked(20))
    play.hears(chunk(20, 20, base=20))
    play.grows(50)
    effects = play.hears(chunk(20, 30, base=20, cut=False, size=390))
    assert of_kind(effects, SendFrame)
    assert play.reads(effects) == [], "300 bytes are to be paid"
    assert play.reads(play.later(2.8)) == []
    assert play.reads(play.later(0.4)) == [NAME]
    play.hears(chunk(30, 40, base=20, cut=False, size=1_000))
    assert play.reads(play.says(A, Credit(NAME, 1_400))) == []
    assert play.reads(play.engine.set_rates({})) == [NAME], "no rate, no debt"


def test_a_slow_device_delays_no_other() -> None:
    play = Paces()
    play.engine.set_rates({A: 100})
    for device in (A, B):
        play.follows(device, 20)
    play.hears(chunk(20, 20, base=20, size=500))
    (read,) = of_kind(play.grows(30), ReadChunk)
    effects = play.hears(chunk(20, 30, base=20, cut=False))
    assert [one.device for one in of_kind(effects, SendFrame)] == [B]
    assert read.request.cursor == 20


def test_what_is_slow_by_its_rate_is_not_stalled_before_two_frames_could_have_come() -> None:
    play = Paces().identical()
    play.engine.set_rates({A: LIMITS.frame_bytes // 100})
    play.grows(50)
    play.later(LIMITS.stalled_s + 150)
    assert play.line()["state"] == State.SYNCING.value
    play.later(100)
    assert play.line()["state"] == State.STALLED.value


def test_rates_that_stay_keep_their_accounts() -> None:
    play = Paces().identical()
    play.engine.set_rates({A: 100})
    play.engine.spend(A, b"." * 500)
    play.engine.set_rates({A: 100, B: 100})
    assert not play.engine.has_room(A)
    assert play.engine.has_room(B)
    play.engine.set_rates({A: 200, B: 100})
    assert play.engine.has_room(A)


def test_a_report_of_one_who_may_not_have_it_begins_no_run() -> None:
    play = Paces(paced("every 60s"))
    play.engine.users[B] = ("bob",)
    play.greets(B)
    play.says(B, Report(NAME, "", 0, bytes(16), 0, False, 0, ""), Offer(NAME, "box", 1, 0))
    play.later(1.0)
    assert play.engine.runs == {}
    assert not of_kind(play.says(B, Pace((Rest(NAME, "", 0),))), Send)
    assert Taken not in {type(one) for one in sent_to(B, play.later(1.0))}
