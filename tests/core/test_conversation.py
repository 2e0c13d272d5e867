"""One peer's conversation: what may come in which phase, and which version is spoken."""

from __future__ import annotations

import itertools

import pytest

from syncd.core.conversation import TABLE, Phase, advance, choose_version
from syncd.core.errors import OrderError, Refused
from syncd.core.messages import (
    PROTOCOL_VERSIONS,
    Begin,
    Credit,
    Follow,
    Hello,
    Made,
    Offer,
    Pace,
    Refusal,
    Report,
    Rest,
    Taken,
    Terms,
    Types,
    Upload,
    Verdicts,
    Welcome,
    Wire,
)
from syncd.core.model import Role
from tests.core.kit import NAME, frame

MESSAGES: tuple[Wire, ...] = (
    Hello((1,), Role.AUXILIARY, "laptop", "msgpack"),
    Welcome(1, "desk", "ada", "msgpack", 1_000, (NAME,)),
    Refusal("version", "no"),
    Follow(NAME, "", 0, False, 0, 0, 0),
    Types(NAME, ()),
    Begin(NAME, "e", True, 0, 5, 0, 5),
    frame(0, 1),
    Credit(NAME, 10),
    Report(NAME, "e", 0, bytes(16), 0, False, 0, ""),
    Terms(NAME, "both", "primary"),
    Pace((Rest(NAME, "", 0),)),
    Offer(NAME, "box", 1, 1),
    Upload(NAME, "box", 0, (Made(1, 0, 1, True, False),), b"\1", [1], [b"k"], [b""], [b"f"]),
    Taken(NAME, "box", 1, 10),
    Verdicts(NAME, "box", ()),
)
SAID: dict[tuple[Role, Phase], set[type[Wire]]] = {
    (Role.PRIMARY, Phase.GREETING): {Hello, Refusal},
    (Role.PRIMARY, Phase.OPEN): {Follow, Credit, Report, Pace, Offer, Upload, Refusal},
    (Role.PRIMARY, Phase.CLOSED): set(),
    (Role.AUXILIARY, Phase.GREETING): {Welcome, Refusal},
    (Role.AUXILIARY, Phase.OPEN): {Types, Begin, type(frame(0, 1)), Terms, Pace, Taken, Verdicts, Refusal},
    (Role.AUXILIARY, Phase.CLOSED): set(),
}


@pytest.mark.parametrize(("role", "phase"), list(itertools.product(Role, Phase)))
def test_each_message_is_allowed_in_its_phase_or_closes_the_link(role: Role, phase: Phase) -> None:
    for message in MESSAGES:
        if type(message) in SAID[role, phase]:
            assert advance(role, phase, message) in Phase
        else:
            with pytest.raises(OrderError, match=f"sent {type(message).__name__} to a {role} in phase {phase.value}"):
                advance(role, phase, message)


def test_greetings_open_the_conversation_and_a_refusal_ends_it() -> None:
    assert advance(Role.PRIMARY, Phase.GREETING, MESSAGES[0]) is Phase.OPEN
    assert advance(Role.AUXILIARY, Phase.GREETING, MESSAGES[1]) is Phase.OPEN
    for role, phase in itertools.product(Role, (Phase.GREETING, Phase.OPEN)):
        assert advance(role, phase, MESSAGES[2]) is Phase.CLOSED


def test_nobody_greets_twice() -> None:
    with pytest.raises(OrderError):
        advance(Role.PRIMARY, advance(Role.PRIMARY, Phase.GREETING, MESSAGES[0]), MESSAGES[0])


def test_the_table_speaks_of_every_message_that_there_is() -> None:
    assert {message for _, _, message in TABLE} == {type(message) for message in MESSAGES}


def test_the_highest_version_that_both_speak_is_chosen() -> None:
    assert choose_version((*PROTOCOL_VERSIONS, 98, 99)) == max(PROTOCOL_VERSIONS)


@pytest.mark.parametrize(("offered", "words"), [((98, 99), "the peer 98, 99"), ((), "the peer none")])
def test_without_a_common_version_the_peer_is_refused_in_words(offered: tuple[int, ...], words: str) -> None:
    with pytest.raises(Refused, match=words) as caught:
        choose_version(offered)
    assert caught.value.code == "version"
