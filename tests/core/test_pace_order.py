"""In which order and how fast devices are sent: the primary's engine (R10, R15)."""

from __future__ import annotations

from dataclasses import replace

from syncd.core.edits import Direction, Policy
from syncd.core.effects import Effect, ReadChunk, SendFrame
from syncd.core.events import SourceOpened, SourceRead
from syncd.core.messages import Credit, Pace
from syncd.core.model import State
from syncd.core.pace import USUAL, Paced
from syncd.core.ports import ChunkRequest, SourceState
from tests.core.kit import LIMITS, NAME, chunk, of_kind, store_state
from tests.core.pace_play import HIGH, LOW, Paces, paces_to
from tests.core.primary_play import OTHER, A, B, asked

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
