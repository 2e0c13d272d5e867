"""Pairing by code, both ends over TLS on loopback: who gets in, and every way in which nobody does."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import replace

import pytest

from syncd.core.errors import DiskFull, Refused, UserError
from syncd.core.model import Role, show_device
from syncd.transport import code
from syncd.transport import pairing_message as message
from syncd.transport.door import bind
from syncd.transport.pairing import Paired, Stranger
from syncd.transport.pairing_window import Over
from syncd.transport.pake import Ends, Pake, confirm
from tests.transport.desks import (
    asking,
    by_code,
    by_token,
    desk_of,
    nobody_came,
    other_words,
    refusal,
    say,
    stranger_at,
)
from tests.transport.peers import LIMITS, Device

pytestmark = pytest.mark.asyncio


def offer(device: Device, typed: str, primary: Device) -> tuple[Pake, str]:
    """An honest first message."""
    known = code.parse(typed)
    pake = Pake(Role.AUXILIARY, known.secret, Ends(device.fingerprint, primary.fingerprint))
    return pake, asking(device, number=known.number, pake=message.put_bytes(pake.message))


# ---------------------------------------------------------------- who gets in


async def test_a_code_pins_each_others_certificate(shop: Device, till: Device) -> None:
    async with desk_of(shop) as desk:
        opened = await desk.pairing.open_code("anna")
        told = await by_code(till, opened.code, desk.place)
        assert told == Paired(shop.certificate, shop.id, "shop", "anna", (f"127.0.0.1:{desk.port}",))
        came = await desk.pairing.outcome(opened)
        assert came == desk.accepted[0]
        assert came == Stranger(till.certificate, "till", "anna", till.id, came.address)
        assert came.address.startswith("127.0.0.1:")
        assert opened.over is Over.USED


async def test_a_code_works_however_it_is_typed(shop: Device, till: Device) -> None:
    async with desk_of(shop) as desk:
        opened = await desk.pairing.open_code("anna")
        await by_code(till, opened.code.upper().replace("-", " "), desk.place)


async def test_each_code_is_for_the_user_for_whom_it_was_opened(shop: Device, till: Device, other: Device) -> None:
    async with desk_of(shop) as desk:
        anna, ben = await desk.pairing.open_code("anna"), await desk.pairing.open_code("ben")
        assert (await by_code(till, ben.code, desk.place)).user == "ben"
        assert (await by_code(other, anna.code, desk.place)).user == "anna"
        assert [(one.name, one.user) for one in desk.accepted] == [("till", "ben"), ("other", "anna")]


async def test_the_primary_that_shows_the_code_is_found_among_others(shop: Device, till: Device, other: Device) -> None:
    async with desk_of(shop) as desk, desk_of(other) as neighbour:
        opened, theirs = await desk.pairing.open_code("anna"), await neighbour.pairing.open_code("ben")
        places = ("127.0.0.1:1", neighbour.place, "nonsense", desk.place)
        told = await by_code(till, opened.code, *places)
        assert told.device == shop.id
        assert told.addresses == (f"127.0.0.1:{desk.port}",)
        assert neighbour.accepted == []
        await by_code(till, theirs.code, *places)  # it lost no try


async def test_a_place_that_does_not_answer_does_not_hold_pairing_up(shop: Device, till: Device) -> None:
    limits = replace(LIMITS, dial_next_s=0.05, open_s_max=60.0)
    with bind("127.0.0.1", 0) as silent:  # the kernel takes the connection, nobody answers
        async with desk_of(shop) as desk:
            opened = await desk.pairing.open_code("anna")
            place = f"127.0.0.1:{silent.getsockname()[1]}"
            async with asyncio.timeout(30):
                told = await by_code(till, opened.code, place, desk.place, limits=limits)
    assert told.addresses[0] == f"127.0.0.1:{desk.port}"


async def test_the_log_says_who_paired(shop: Device, till: Device, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "syncd")
    async with desk_of(shop) as desk:
        opened = await desk.pairing.open_code("anna")
        await by_code(till, opened.code, desk.place)
    told = [line for line in caplog.messages if line.startswith("paired with")]
    assert told == [f"paired with till ({show_device(till.id)}), which came from {desk.accepted[0].address}"]
    assert not any(word in line for line in caplog.messages for word in code.parse(opened.code).words)


# ---------------------------------------------------------------- who does not


async def test_a_wrong_word_burns_the_code(shop: Device, till: Device) -> None:
    async with desk_of(shop) as desk:
        opened, second = await desk.pairing.open_code("anna"), await desk.pairing.open_code("anna")
        assert await refusal(by_code(till, other_words(opened.code), desk.place)) == "code-wrong"
        await nobody_came(desk, opened, Over.WRONG)
        assert await refusal(by_code(till, opened.code, desk.place)) == "code-other"
        await by_code(till, second.code, desk.place)


async def test_the_number_of_no_open_code_costs_nothing(shop: Device, till: Device) -> None:
    async with desk_of(shop) as desk:
        opened = await desk.pairing.open_code("anna")
        known = code.parse(opened.code)
        wrong = known._replace(number="1000" if known.number != "1000" else "1001").text
        for _ in range(5):
            assert await refusal(by_code(till, wrong, desk.place)) == "code-other"
        await by_code(till, opened.code, desk.place)


async def test_a_code_works_once(shop: Device, till: Device, other: Device) -> None:
    async with desk_of(shop) as desk:
        opened = await desk.pairing.open_code("anna")
        await desk.pairing.open_token("anna")  # the port stays
        await by_code(till, opened.code, desk.place)
        for device in (till, other):
            assert await refusal(by_code(device, opened.code, desk.place)) == "code-other"


async def test_three_failed_exchanges_close_pairing(
    shop: Device, till: Device, caplog: pytest.LogCaptureFixture
) -> None:
    async with desk_of(shop) as desk:
        codes = [await desk.pairing.open_code("anna") for _ in range(4)]
        waiting = await desk.pairing.open_token("anna")
        for number, opened in enumerate(codes[:3], 1):
            assert await refusal(by_code(till, other_words(opened.code), desk.place)) == "code-wrong"
            assert f"({number} of 3)" in "\n".join(caplog.messages)
        await nobody_came(desk, codes[3], Over.CLOSED)
        await nobody_came(desk, waiting, Over.CLOSED)
        closing = next(line for line in caplog.messages if line.startswith("pairing is closed after 3"))
        assert closing.count("127.0.0.1:") == 3
        assert desk.ports[-1] == 0
        assert await refusal(by_code(till, codes[3].code, desk.place)) == "pairing-closed"
        assert await refusal(by_token(till, desk.token(waiting))) == "pairing-closed"


async def test_pairing_that_was_never_opened_is_closed(shop: Device, till: Device) -> None:
    async with desk_of(shop) as desk:
        assert await refusal(by_code(till, "4821-otter-lamp", f"127.0.0.1:{desk.port + 1}")) == "pairing-closed"


async def test_where_nobody_pairs_the_address_may_be_another_one(shop: Device, till: Device) -> None:
    """It is easily taken for that of the main listener, which is in more places."""
    async with desk_of(shop) as desk:
        with pytest.raises(Refused, match="pairing is closed") as caught:
            await by_code(till, "4821-otter-lamp", f"127.0.0.1:{desk.port + 1}")
        assert "the address" in caught.value.advice


async def test_without_a_place_one_is_asked_for(till: Device) -> None:
    with pytest.raises(UserError, match="no address") as caught:
        await by_code(till, "4821-otter-lamp")
    assert "--address" in caught.value.advice


async def test_a_place_that_is_no_address_is_named(till: Device) -> None:
    with pytest.raises(UserError, match="'nonsense' is no address"):
        await by_code(till, "4821-otter-lamp", "nonsense")


async def test_what_says_most_is_what_is_told(shop: Device, till: Device) -> None:
    async with desk_of(shop) as desk:
        opened = await desk.pairing.open_code("anna")
        wrong = other_words(opened.code)
        assert await refusal(by_code(till, wrong, "127.0.0.1:1", desk.place, "nonsense")) == "code-wrong"


async def test_a_code_expires(shop: Device, till: Device) -> None:
    async with desk_of(shop) as desk:
        opened = await desk.pairing.open_code("anna")
        async with stranger_at(desk.place) as early:
            desk.clock.time_s += LIMITS.pairing_s_max
            _, asked = offer(till, opened.code, shop)
            await early.send(asked)
            assert json.loads(await early.recv())["refused"] == "code-other"
        assert desk.accepted == []


@pytest.mark.parametrize("course", ["breaks off", "keeps silent", "sends what is no message"])
async def test_an_exchange_that_does_not_come_to_its_end_has_failed(shop: Device, till: Device, course: str) -> None:
    limits = replace(LIMITS, hello_s_max=0.1 if course == "keeps silent" else 5.0)
    async with desk_of(shop, limits) as desk:
        opened = await desk.pairing.open_code("anna")
        async with stranger_at(desk.place) as websocket:
            _, asked = offer(till, opened.code, shop)
            await websocket.send(asked)
            assert "pake" in json.loads(await websocket.recv())
            if course == "keeps silent":
                await websocket.wait_closed()
            elif course == "sends what is no message":
                await websocket.send("{}")
                assert json.loads(await websocket.recv())["refused"] == "bad-frame"
        await nobody_came(desk, opened, Over.WRONG)


async def test_an_invalid_point_burns_the_code_that_it_names(shop: Device, till: Device) -> None:
    async with desk_of(shop) as desk:
        opened, _ = await desk.pairing.open_code("anna"), await desk.pairing.open_token("anna")
        number = code.parse(opened.code).number
        for pake in (b"A" + (1).to_bytes(32, "little"), b""):
            answer = await say(desk.place, asking(till, number=number, pake=message.put_bytes(pake)))
            assert answer["refused"] == ("bad-frame" if pake else "code-other")
        await nobody_came(desk, opened, Over.WRONG)


async def test_messages_that_make_no_sense_are_refused_and_cost_no_try(shop: Device, till: Device) -> None:
    pake = message.put_bytes(bytes(33))
    async with desk_of(shop) as desk:
        opened = await desk.pairing.open_code("anna")
        number = code.parse(opened.code).number
        for frame in (
            asking(till, number=number),
            asking(till, number=number, pake="*"),
            message.encode({"number": number, "pake": pake}),
            message.encode({"number": number, "pake": pake, "name": "till"}),
            message.encode({"number": number, "pake": pake, "name": "till", "certificate": pake}),
            message.encode(json.loads(asking(till, number=number, pake=pake)) | {"name": "../till"}),
            asking(till, number=number, pake=pake).encode(),
            asking(till, number=number, pake=pake)[:-1] + f', "number": "{number}"}}',
        ):
            assert (await say(desk.place, frame))["refused"] == "bad-frame", frame
        await by_code(till, opened.code, desk.place)


async def test_a_device_that_cannot_be_kept_is_told_and_its_code_is_burnt(shop: Device, till: Device) -> None:
    async with desk_of(shop) as desk:
        opened = await desk.pairing.open_code("anna")
        desk.fails.append(DiskFull("no room"))
        assert await refusal(by_code(till, opened.code, desk.place)) == "disk"
        await nobody_came(desk, opened, Over.FAILED)


async def test_a_code_that_others_closed_pairing_under_lets_nobody_in(shop: Device, till: Device) -> None:
    async with desk_of(shop) as desk:
        opened, _ = await desk.pairing.open_code("anna"), await desk.pairing.open_token("anna")
        async with stranger_at(desk.place) as websocket:
            pake, asked = offer(till, opened.code, shop)
            await websocket.send(asked)
            answer = str(await websocket.recv())
            desk.pairing._window.close()
            desk.pairing._settle()
            ends = Ends(till.fingerprint, shop.fingerprint)
            key = pake.key(message.get_bytes(json.loads(answer), "pake"))
            proof = confirm(key, Role.AUXILIARY, ends, [asked, answer])
            await websocket.send(message.encode({"confirm": message.put_bytes(proof)}))
            assert json.loads(await websocket.recv())["refused"] == "pairing-closed"
        await nobody_came(desk, opened, Over.CLOSED)
