"""The auxiliary's engine: greeting, what is passed on to which target, and what closes the link."""

from __future__ import annotations

from dataclasses import replace

import pytest

from syncd.core.auxiliary_engine import AuxiliaryEngine
from syncd.core.conversation import Phase
from syncd.core.edits import Direction, OutboxState
from syncd.core.effects import CloseLink, Effect, OpenTarget, SaveTypes, Send, UseAdapter
from syncd.core.events import Event, LinkDown, LinkUp, Received, RetryAsked, TargetFailed, TargetOpened, Tick, WorkDone
from syncd.core.messages import (
    PROTOCOL_VERSIONS,
    Begin,
    Credit,
    Follow,
    Hello,
    Offer,
    Refusal,
    Taken,
    Terms,
    Types,
    Welcome,
    Wire,
)
from syncd.core.model import Role
from syncd.core.ports import Executed, Parking
from syncd.core.upward_events import LocalFailed, LocalRead
from tests.core.kit import CITY, EPOCH, LIMITS, NAME, NOTHING_HELD, frame, of_kind, proof_at, target_state
from tests.core.target_play import KNOWN, PRIMARY, opened, transfer_at

OTHER = "others"
WELCOME = Welcome(1, "desk", "ada", "json", 1_000, (NAME,))


class Play:
    """An auxiliary that is told what happens; it speaks JSON and accepts one collection, of which it is at 10."""

    def __init__(self) -> None:
        self.engine = AuxiliaryEngine("laptop", "json", LIMITS)
        self.now = 100.0
        self.first = self.engine.accept(NAME, self.now)
        self.hears(opened(target_state(10), transfer_at(10)))

    def hears(self, *events: Event) -> list[Effect]:
        """What the last of the events makes it order."""
        effects: list[Effect] = []
        for event in events:
            effects = self.engine.step(event, self.now)
        return effects

    def says(self, *messages: Wire, raw: bytes = b"....") -> list[Effect]:
        """The primary says this."""
        return self.hears(*(Received(PRIMARY, message, raw) for message in messages))

    def welcomed(self) -> list[Effect]:
        return self.hears(LinkUp(PRIMARY), Received(PRIMARY, WELCOME, b""))


def refused(effects: list[Effect]) -> str:
    """The code with which the link is closed; the peer was told before."""
    told, close = effects
    assert isinstance(told, Send)
    assert isinstance(told.message, Refusal)
    assert isinstance(close, CloseLink)
    assert told.message.code == close.code
    return close.code


def test_it_greets_first_with_its_name_and_the_adapter_that_it_speaks() -> None:
    play = Play()
    assert play.hears(LinkUp(PRIMARY)) == [Send(PRIMARY, Hello(PROTOCOL_VERSIONS, Role.AUXILIARY, "laptop", "json"))]


def test_once_welcomed_it_speaks_its_adapter_and_follows_what_it_accepted() -> None:
    play = Play()
    effects = play.welcomed()
    assert effects[0] == UseAdapter(PRIMARY, "json")
    follows = [one.message for one in of_kind(effects, Send) if isinstance(one.message, Follow)]
    assert follows == [Follow(NAME, EPOCH, 10, False, 10, 0, 10)]


@pytest.mark.parametrize(
    ("welcome", "code"),
    [
        (Welcome(99, "desk", "ada", "json", 1_000, ()), "version"),
        (Welcome(1, "desk", "ada", "carrier pigeon", 1_000, ()), "adapter"),
    ],
)
def test_a_welcome_to_something_that_it_does_not_speak_is_refused(welcome: Welcome, code: str) -> None:
    play = Play()
    play.hears(LinkUp(PRIMARY))
    assert refused(play.says(welcome)) == code
    assert play.says(WELCOME) == [], "it is not heard any more"


def test_it_speaks_another_adapter_that_it_can_when_the_primary_says_so() -> None:
    play = Play()
    play.engine = AuxiliaryEngine("till", "json", LIMITS, ("msgpack",))
    play.engine.accept(NAME, 0.0, edits=True)
    play.hears(LinkUp(PRIMARY))
    effects = play.says(Welcome(1, "desk", "ada", "msgpack", 1_000, ()))
    assert UseAdapter(PRIMARY, "msgpack") in effects
    assert play.engine.uplinks[NAME].adapter == "msgpack", "changes made here go up in it as well"


def test_a_refusal_is_kept_for_the_person_and_ends_the_link() -> None:
    play = Play()
    play.hears(LinkUp(PRIMARY))
    assert play.says(Refusal("version", "this device speaks 9")) == [CloseLink(PRIMARY, "", "this device speaks 9")]
    assert play.engine.refusal == Refusal("version", "this device speaks 9")
    play.hears(LinkDown(PRIMARY, "closed"))
    assert play.engine.refusal is not None
    play.hears(LinkUp(PRIMARY))
    assert play.engine.refusal is None


@pytest.mark.parametrize(
    "message",
    [
        Hello((1,), Role.PRIMARY, "desk", "json"),
        Follow(NAME, "", 0, False, 0, 0, 0),
        Credit(NAME, 5),
        WELCOME,
        Begin("nobody's", EPOCH, False, 10, 0, 10, 10),
        frame(10, 12, collection="nobody's"),
        frame(11, 12),
        frame(10, 12, type_id=77),
    ],
    ids=["hello", "follow", "credit", "second welcome", "begin of another", "objects of another", "gap", "type"],
)
def test_what_does_not_belong_closes_the_link(message: Wire) -> None:
    play = Play()
    play.welcomed()
    play.says(Begin(NAME, EPOCH, False, 10, 0, 10, 10))
    before = play.engine.targets[NAME]
    assert refused(play.says(message)) == "bad-order"
    assert play.engine.targets[NAME] == before, "nothing of it is kept"
    assert play.says(frame(10, 12)) == []


def test_nothing_is_taken_before_the_welcome() -> None:
    play = Play()
    play.hears(LinkUp(PRIMARY))
    assert refused(play.says(Types(NAME, (CITY,)))) == "bad-order"


def test_a_primary_that_does_not_welcome_in_time_is_let_go() -> None:
    play = Play()
    play.hears(LinkUp(PRIMARY))
    play.now += LIMITS.hello_s_max
    assert of_kind(play.hears(Tick()), CloseLink) == []
    play.now += 0.1
    assert Send(PRIMARY, Refusal("bad-order", "no Welcome came for 5 s")) in play.hears(Tick())
    assert play.engine.phase is Phase.CLOSED
    assert of_kind(play.hears(Tick()), CloseLink) == []


def test_types_are_for_the_collection_that_they_are_of() -> None:
    play = Play()
    play.welcomed()
    assert play.says(Types(NAME, (CITY,))) == [SaveTypes(NAME, (CITY,))]
    assert play.says(Types("nobody's", (CITY,))) == []


def test_nobody_but_the_primary_is_heard() -> None:
    play = Play()
    play.welcomed()
    assert play.hears(Received("X" * 52, Refusal("version", "no"), b"")) == []
    assert play.hears(LinkDown("X" * 52, "torn")) == []
    assert play.engine.phase is Phase.OPEN


def test_after_the_link_is_gone_its_messages_are_not_heard_and_the_next_link_begins_anew() -> None:
    play = Play()
    play.welcomed()
    play.hears(LinkDown(PRIMARY, "torn"))
    assert play.says(Begin(NAME, EPOCH, False, 10, 0, 10, 10)) == []
    follows = [one.message for one in of_kind(play.welcomed(), Send) if isinstance(one.message, Follow)]
    assert len(follows) == 1


def test_a_collection_that_is_accepted_while_linked_is_followed_at_once_when_it_is_open() -> None:
    play = Play()
    play.welcomed()
    assert OpenTarget(OTHER) in play.engine.accept(OTHER, play.now)
    effects = play.hears(TargetOpened(OTHER, NOTHING_HELD, None, KNOWN, Parking()))
    assert [one.message.collection for one in of_kind(effects, Send) if isinstance(one.message, Follow)] == [OTHER]


def test_a_collection_that_is_accepted_anew_closes_the_link_and_hears_nothing_of_what_was() -> None:
    play = Play()
    play.welcomed()
    assert play.engine.retire(NAME) == [CloseLink(PRIMARY, "", f"{NAME} is accepted anew")]
    assert play.hears(WorkDone(NAME, proof_at(12), Executed(target_state(12)))) == []
    assert play.says(frame(10, 12)) == []


def test_without_a_link_there_is_none_to_close() -> None:
    assert Play().engine.retire(NAME) == []


def test_time_passes_for_each_collection() -> None:
    play = Play()
    play.engine.accept(OTHER, play.now)
    play.hears(TargetFailed(OTHER, "locked"))
    play.now += 10.0
    assert OpenTarget(OTHER) in play.hears(Tick())


def test_a_person_may_ask_for_a_collection_that_is_not_accepted_and_nothing_happens() -> None:
    assert Play().hears(RetryAsked("nobody's", None)) == []


# ---------------------------------------------------------------- terms


def test_the_terms_of_a_collection_that_is_accepted_while_linked_count_from_then_on() -> None:
    play = Play()
    play.welcomed()
    play.says(Terms(OTHER, "in", "primary"))
    play.engine.accept(OTHER, play.now, edits=True)
    assert play.engine.uplinks[OTHER].direction is Direction.IN
    play.hears(LinkDown(PRIMARY, ""), LinkUp(PRIMARY))
    assert play.engine.terms == {}, "they are told anew"


def test_terms_of_very_many_collections_close_the_link() -> None:
    play = Play()
    play.engine.limits = replace(LIMITS, follows_max=2)
    play.welcomed()
    for name in ("a", "b", "a"):
        play.says(Terms(name, "both", "primary"))
    assert refused(play.says(Terms("c", "both", "primary"))) == "bad-order"


# ---------------------------------------------------------------- changes that are made here


def two_way(terms: Terms) -> Play:
    """A collection whose edits are captured; nothing was edited yet."""
    play = Play()
    play.engine.accept(OTHER, play.now, edits=True)
    play.hears(TargetOpened(OTHER, target_state(10), transfer_at(10), KNOWN, Parking()))
    play.hears(LocalRead(OTHER, OutboxState("box", 0, 1, 0, 0, 0, False), more=False))
    play.welcomed()
    play.says(terms)
    return play


def test_what_is_edited_is_offered_once_the_terms_say_that_it_may_travel() -> None:
    play = two_way(Terms(OTHER, "out", "primary"))
    assert not play.engine.uplinks[OTHER].offered
    assert play.says(Terms(OTHER, "both", "primary")) == [Send(PRIMARY, Offer(OTHER, "box", 1, 0))]


def test_what_only_comes_from_here_is_not_followed_again() -> None:
    play = two_way(Terms(OTHER, "in", "primary"))
    assert play.says(Types(OTHER, (CITY,))) == [SaveTypes(OTHER, (CITY,))]
    play.hears(LinkDown(PRIMARY, ""))
    follows = [one.message for one in of_kind(play.welcomed(), Send) if isinstance(one.message, Follow)]
    assert [one.collection for one in follows] == [NAME]
    turned = play.says(Terms(OTHER, "both", "primary"))
    assert any(isinstance(one.message, Follow) for one in of_kind(turned, Send)), "changes come down again"


def test_a_log_that_was_lost_makes_the_target_fetch_everything() -> None:
    play = two_way(Terms(OTHER, "both", "primary"))
    play.says(Begin(OTHER, EPOCH, False, 10, 0, 10, 10))
    held = play.engine.uplinks[OTHER].outbox
    assert held is not None
    effects = play.hears(LocalRead(OTHER, held, more=False, lost=True))
    (follow,) = [one.message for one in of_kind(effects, Send) if isinstance(one.message, Follow)]
    assert follow.again


def test_what_comes_of_effects_for_a_collection_that_went_is_not_heard() -> None:
    play = two_way(Terms(OTHER, "both", "primary"))
    play.engine.retire(OTHER)
    assert play.hears(LocalFailed(OTHER, "it is locked")) == []
    assert play.says(Taken(OTHER, "box", 0, 0)) == []
