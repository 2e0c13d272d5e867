"""Pairing by code where somebody stands between, plays back what was recorded, or pretends to be the primary."""

from __future__ import annotations

import json
import secrets

import pytest
from websockets.asyncio.server import ServerConnection

from syncd.core.errors import FrameError, LinkLost, Refused
from syncd.core.model import Role
from syncd.transport import code
from syncd.transport import pairing_message as message
from syncd.transport.pairing import Spent
from syncd.transport.pairing_window import Over
from syncd.transport.pake import Ends, Pake, confirm
from tests.transport.desks import (
    Message,
    between,
    by_code,
    desk_of,
    false_primary,
    nobody_came,
    other_words,
    refusal,
    say,
)
from tests.transport.peers import Device

pytestmark = pytest.mark.asyncio


# ---------------------------------------------------------------- who stands between


async def test_a_man_in_the_middle_with_a_certificate_of_his_own_gets_nothing(
    shop: Device, till: Device, other: Device
) -> None:
    async with desk_of(shop) as desk:
        opened = await desk.pairing.open_code("anna")
        async with between(other, desk.place) as place:
            assert await refusal(by_code(till, opened.code, place)) == "code-wrong"
        await nobody_came(desk, opened, Over.WRONG)


async def test_a_certificate_that_was_exchanged_on_the_way_is_not_accepted(
    shop: Device, till: Device, other: Device
) -> None:
    def exchange(sent: Message) -> Message:
        return sent | ({"certificate": message.put_bytes(other.certificate)} if "certificate" in sent else {})

    async with desk_of(shop) as desk:
        opened = await desk.pairing.open_code("anna")
        async with between(shop, desk.place, exchange) as place:  # even one who could show the primary's own
            assert await refusal(by_code(till, opened.code, place)) == "code-wrong"
        await nobody_came(desk, opened, Over.WRONG)


async def test_a_name_that_was_changed_on_the_way_is_not_accepted(shop: Device, till: Device) -> None:
    def exchange(sent: Message) -> Message:
        return sent | ({"name": "desk"} if "name" in sent else {})

    async with desk_of(shop) as desk:
        opened = await desk.pairing.open_code("anna")
        async with between(shop, desk.place, exchange) as place:
            assert await refusal(by_code(till, opened.code, place)) == "code-wrong"
        await nobody_came(desk, opened, Over.WRONG)


async def test_a_recorded_exchange_cannot_be_played_again(
    shop: Device, till: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded: list[str] = []

    def record(sent: Message) -> Message:
        recorded.append(message.encode(sent))
        return sent

    monkeypatch.setattr(secrets, "randbelow", lambda n: n // 2)
    async with desk_of(shop) as desk:
        first = await desk.pairing.open_code("anna")
        async with between(shop, desk.place, record) as place:
            await by_code(till, first.code, place)
    assert len(recorded) == 2
    async with desk_of(shop) as desk:  # the same code once more
        again = await desk.pairing.open_code("anna")
        assert again.code == first.code
        assert (await say(desk.place, *recorded))["refused"] == "code-wrong"
        await nobody_came(desk, again, Over.WRONG)


# ---------------------------------------------------------------- who is no primary


async def meets(device: Device, shop: Device, answers: object) -> str:
    """What becomes of an auxiliary that meets a false primary with these answers."""

    async def answer(websocket: ServerConnection) -> None:
        said: list[str] = []
        assert callable(answers)
        while True:
            said.append(str(await websocket.recv(decode=True)))
            said.append(message.encode(answers(said)))
            await websocket.send(said[-1])

    async with false_primary(shop, answer) as place:
        return await refusal(by_code(device, "4821-otter-lamp", place))


async def test_a_primary_that_sends_the_auxiliarys_message_back_is_not_believed(shop: Device, till: Device) -> None:
    def reflected(said: list[str]) -> Message:
        sent = message.get_bytes(json.loads(said[0]), "pake")
        return {"pake": message.put_bytes(b"B" + sent[1:])}

    assert await meets(till, shop, reflected) == "bad-frame"
    assert await meets(till, shop, lambda said: json.loads(said[-1])) == "bad-frame"


@pytest.mark.parametrize("knows", [True, False])
async def test_a_primary_that_sends_the_auxiliarys_confirmation_back_is_not_believed(
    shop: Device, till: Device, knows: bool
) -> None:
    typed = "4821-otter-lamp" if knows else "4821-otter-otter"
    pake = Pake(Role.PRIMARY, typed.encode(), Ends(till.fingerprint, shop.fingerprint))

    def reflected(said: list[str]) -> Message:
        if len(said) == 1:
            return {"pake": message.put_bytes(pake.message)}
        back: Message = json.loads(said[-1])
        return back | {"name": "shop", "user": "anna", "port": "1"}

    assert await meets(till, shop, reflected) == "code-wrong"


async def test_a_primary_that_guesses_is_not_believed(shop: Device, till: Device) -> None:
    ends = Ends(till.fingerprint, shop.fingerprint)
    pake = Pake(Role.PRIMARY, b"4821-otter-otter", ends)

    def guessed(said: list[str]) -> Message:
        if len(said) == 1:
            return {"pake": message.put_bytes(pake.message)}
        key = pake.key(message.get_bytes(json.loads(said[0]), "pake"))
        proof = confirm(key, Role.PRIMARY, ends, said)
        return {"confirm": message.put_bytes(proof), "name": "shop", "user": "anna", "port": "1"}

    assert await meets(till, shop, guessed) == "code-wrong"


@pytest.mark.parametrize(
    "told",
    [
        {"port": "0"},
        {"port": "65536"},
        {"port": "-1"},
        {"port": "1" * 5000},
        {"port": ""},
        {"user": ""},
        {"name": "a/b"},
    ],
)
async def test_what_a_primary_tells_of_itself_is_checked(shop: Device, till: Device, told: Message) -> None:
    ends = Ends(till.fingerprint, shop.fingerprint)
    pake = Pake(Role.PRIMARY, b"4821-otter-lamp", ends)

    def telling(said: list[str]) -> Message:
        if len(said) == 1:
            return {"pake": message.put_bytes(pake.message)}
        key = pake.key(message.get_bytes(json.loads(said[0]), "pake"))
        proof = message.put_bytes(confirm(key, Role.PRIMARY, ends, said))
        return {"confirm": proof, "name": "shop", "user": "anna", "port": "1"} | told

    assert await meets(till, shop, telling) == "bad-frame"


async def test_a_refusal_that_is_not_known_is_shown_as_a_breach(shop: Device, till: Device) -> None:
    assert await meets(till, shop, lambda said: {"refused": "because", "text": "x"}) == "bad-frame"


async def test_a_certificate_that_cannot_be_pinned_is_not_taken(shop: Device, till: Device, authority: Device) -> None:
    async def answer(websocket: ServerConnection) -> None:
        raise AssertionError("it was sent something")

    async with false_primary(authority, answer) as place:
        with pytest.raises(FrameError, match="not that of a device"):
            await by_code(till, "4821-otter-lamp", place)


async def test_a_primary_that_breaks_off_is_named(shop: Device, till: Device) -> None:
    async def answer(websocket: ServerConnection) -> None:
        await websocket.recv()
        websocket.transport.abort()

    async with false_primary(shop, answer) as place:
        with pytest.raises(LinkLost, match=f"the exchange with {place} broke off"):
            await by_code(till, "4821-otter-lamp", place)


async def test_another_device_that_answers_first_does_not_keep_the_primary_from_pairing(
    shop: Device, till: Device, other: Device
) -> None:
    async def answer(websocket: ServerConnection) -> None:
        await websocket.recv()
        await websocket.send(message.encode({"refused": "code-wrong", "text": ""}))

    async with desk_of(shop) as desk, false_primary(other, answer) as place:
        opened = await desk.pairing.open_code("anna")
        assert (await by_code(till, opened.code, place, desk.place)).device == shop.id


async def test_one_guess_is_all_that_false_primaries_get_of_a_code(shop: Device, till: Device, other: Device) -> None:
    """Who has heard the auxiliary's confirmation can compare one guess with it, whatever it answers then."""
    guesses: list[str] = []

    async def guess(websocket: ServerConnection) -> None:
        said = json.loads(await websocket.recv())
        pake = Pake(Role.PRIMARY, b"4821-otter-otter", Ends(till.fingerprint, other.fingerprint))
        pake.key(message.get_bytes(said, "pake"))
        await websocket.send(message.encode({"pake": message.put_bytes(pake.message)}))
        guesses.append(json.loads(await websocket.recv())["confirm"])
        await answers[len(guesses) % len(answers)](websocket)

    async def deny(websocket: ServerConnection) -> None:
        await websocket.send(message.encode({"refused": "code-other", "text": ""}))

    async def hang_up(websocket: ServerConnection) -> None:
        websocket.transport.abort()

    async def babble(websocket: ServerConnection) -> None:
        await websocket.send("{}")

    answers = [deny, hang_up, babble]
    for count in range(len(answers)):
        async with false_primary(other, guess) as first, false_primary(other, guess) as second:
            with pytest.raises(Spent) as caught:
                await by_code(till, "4821-otter-lamp", first, second)
        assert len(guesses) == count + 1
        assert caught.value.advice


async def test_the_words_are_in_no_refusal(shop: Device, till: Device) -> None:
    async with desk_of(shop) as desk:
        opened = await desk.pairing.open_code("anna")
        with pytest.raises(Refused) as caught:
            await by_code(till, other_words(opened.code), desk.place)
        assert not any(word in repr(opened) for word in code.parse(opened.code).words)
        assert code.parse(opened.code).words[1] not in caught.value.line()
