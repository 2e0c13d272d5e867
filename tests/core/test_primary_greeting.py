"""Greetings: who is let in, in which adapter it is spoken to, and who is let go."""

from __future__ import annotations

import pytest

from syncd.core.edits import Direction, Policy
from syncd.core.effects import (
    CloseLink,
    SaveAdapter,
    Send,
    UseAdapter,
)
from syncd.core.events import (
    AdapterSaved,
    LinkDown,
    LinkUp,
    Received,
    Tick,
)
from syncd.core.messages import Credit, Hello, Refusal, Terms, Types, Welcome, Wire
from syncd.core.model import Role
from tests.core.kit import LIMITS, NAME, of_kind
from tests.core.primary_play import A, B, Play, asked, hello, reported, sent_to


def test_a_device_that_greets_is_welcomed_and_its_adapter_is_spoken_from_then_on() -> None:
    play = Play()
    effects = play.greets(A, "json")
    assert effects == [
        Send(A, Welcome(1, "desk", "ada", "json", LIMITS.window_bytes_max, (NAME,))),
        UseAdapter(A, "json"),
        Send(A, Terms(NAME, "out", "primary")),
    ]


def test_an_adapter_is_spoken_once_the_sync_database_says_that_the_device_speaks_it() -> None:
    play = Play()
    assert play.hears(LinkUp(A), Received(A, hello("json"), b"")) == [SaveAdapter(A, "json")]
    effects = play.hears(AdapterSaved(A, "json"))
    assert [type(effect) for effect in effects] == [Send, UseAdapter, Send]
    play.hears(LinkDown(A, ""))
    again = play.hears(LinkUp(A), Received(A, hello("json"), b""))
    assert of_kind(again, UseAdapter) == [UseAdapter(A, "json")]


def test_a_device_whose_adapter_cannot_be_noted_comes_again() -> None:
    play = Play()
    play.hears(LinkUp(A), Received(A, hello("json"), b""))
    assert play.hears(AdapterSaved(A, "json", "no room")) == [CloseLink(A, "disk", "no room")]
    assert play.engine.speaks[A] == "msgpack"


def test_a_device_that_left_before_its_adapter_was_noted_is_not_welcomed() -> None:
    play = Play()
    play.hears(LinkUp(A), Received(A, hello("json"), b""), LinkDown(A, ""))
    assert play.hears(AdapterSaved(A, "json")) == []


def test_a_device_speaks_the_adapter_that_a_person_chose_from_its_next_link_on() -> None:
    play = Play()
    play.greets(A, "json")
    play.greets(B, "json")
    (close,) = play.engine.bid({A: "msgpack", B: "json"})
    assert isinstance(close, CloseLink)
    assert (close.device, close.code) == (A, ""), "it comes again at once; of B it is no other one"
    play.hears(LinkDown(A, ""))
    assert play.hears(LinkUp(A), Received(A, hello("json"), b"")) == [SaveAdapter(A, "msgpack")]
    effects = play.hears(AdapterSaved(A, "msgpack"))
    assert effects[:2] == [
        Send(A, Welcome(1, "desk", "ada", "msgpack", LIMITS.window_bytes_max, (NAME,))),
        UseAdapter(A, "msgpack"),
    ]
    assert play.engine.bid({A: "msgpack", B: "json"}) == []
    (close,) = play.engine.bid({})
    assert isinstance(close, CloseLink)
    assert close.device == A, "it asks for another one by itself"


def test_a_choice_made_while_a_device_is_being_welcomed_counts() -> None:
    play = Play()
    play.hears(LinkUp(A), Received(A, hello("json"), b""))
    (close,) = play.engine.bid({A: "msgpack"})
    assert isinstance(close, CloseLink)
    assert play.hears(AdapterSaved(A, "json")) == []


def test_a_choice_that_is_taken_back_while_a_device_is_being_welcomed_does_not_leave_it_waiting() -> None:
    play = Play()
    play.engine.bid({A: "msgpack"})
    play.engine.speaks[A] = "json"
    assert play.hears(LinkUp(A), Received(A, hello("json"), b"")) == [SaveAdapter(A, "msgpack")]
    assert play.engine.bid({}) == []
    assert play.hears(AdapterSaved(A, "msgpack")) == [SaveAdapter(A, "json")]
    assert UseAdapter(A, "json") in play.hears(AdapterSaved(A, "json"))


def test_whoever_asks_before_it_is_welcomed_breaks_the_order() -> None:
    play = Play()
    play.hears(LinkUp(A), Received(A, hello("json"), b""))
    told, close = play.says(A, asked(10))
    assert isinstance(told, Send)
    assert isinstance(told.message, Refusal)
    assert "before it was welcomed" in told.message.text
    assert isinstance(close, CloseLink)
    assert close.code == "bad-order"
    assert play.hears(AdapterSaved(A, "json")) == []


def test_a_device_that_does_not_greet_in_time_is_let_go() -> None:
    play = Play()
    play.hears(LinkUp(A))
    play.greets(B)
    play.now += LIMITS.hello_s_max
    assert play.hears(Tick()) == []
    play.now += 0.1
    told, close = play.hears(Tick())
    assert told == Send(A, Refusal("bad-order", "no Hello came for 5 s"))
    assert isinstance(close, CloseLink)
    assert play.hears(Tick()) == []


@pytest.mark.parametrize(
    ("greeting", "code"),
    [
        (hello(role=Role.PRIMARY), "role"),
        (hello("carrier pigeon"), "adapter"),
        (hello(versions=(99,)), "version"),
    ],
)
def test_a_device_that_does_not_fit_is_told_why_and_its_link_closed(greeting: Hello, code: str) -> None:
    play = Play()
    refusal, close = play.hears(LinkUp(A), Received(A, greeting, b""))
    assert isinstance(refusal, Send)
    assert isinstance(refusal.message, Refusal)
    assert refusal.message.code == code
    assert close == CloseLink(A, code, refusal.message.text)
    assert play.says(A, hello()) == [], "it is not heard any more"


@pytest.mark.parametrize("message", [asked(10), Credit(NAME, 1), reported(3)])
def test_a_device_that_does_not_greet_first_is_refused(message: Wire) -> None:
    effects = Play().hears(LinkUp(A), Received(A, message, b""))
    assert [close.code for close in of_kind(effects, CloseLink)] == ["bad-order"]


def test_a_device_that_takes_leave_is_let_go() -> None:
    play = Play()
    play.greets(A)
    assert play.says(A, Refusal("stopping", "bye")) == [CloseLink(A, "", "")]


def test_what_comes_of_a_link_that_is_gone_is_not_heard() -> None:
    play = Play()
    play.follows(A)
    play.hears(LinkDown(A, "torn"))
    assert play.says(A, Credit(NAME, 10)) == []


def test_a_device_that_accepts_while_linked_what_only_comes_from_it_gets_the_types() -> None:
    play = Play()
    play.engine.set_terms(NAME, Direction.IN, Policy.PRIMARY)
    play.greets(A)
    (types,) = sent_to(A, play.says(A, asked(0)))
    assert isinstance(types, Types)
    assert sent_to(A, play.grows(21)) == [], "and nothing of what it holds"


def test_a_device_of_another_user_is_told_no_types() -> None:
    play = Play()
    play.engine.set_terms(NAME, Direction.IN, Policy.PRIMARY)
    play.engine.users[B] = ("grace",)
    play.greets(B)
    assert sent_to(B, play.says(B, asked(0))) == []
