"""Pairing by token, both ends over TLS on loopback, and the messages of both exchanges."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection

from syncd.core.errors import DiskFull, FrameError, InvariantBroken, LinkLost, Refused, UserError
from syncd.core.model import show_device
from syncd.transport import pairing_message as message
from syncd.transport import token
from syncd.transport.pairing import Paired
from syncd.transport.pairing_window import Over
from syncd.transport.token import Token, prove
from tests.transport.desks import asking, by_token, desk_of, false_primary, refusal, say, stranger_at
from tests.transport.peers import LIMITS, Device, cutting_proxy


@pytest.mark.asyncio
async def test_a_token_pins_each_others_certificate(shop: Device, till: Device) -> None:
    async with desk_of(shop) as desk:
        opened = await desk.pairing.open_token("anna")
        line = token.make(shop.fingerprint, opened.secret, [f"127.0.0.1:{opened.port}"])
        result = await by_token(till, token.parse(line))
        assert result == Paired(shop.certificate, shop.id, "shop", "anna", (f"127.0.0.1:{desk.port}",))
        assert await desk.pairing.outcome(opened) == desk.accepted[0]
        assert (desk.accepted[0].certificate, desk.accepted[0].device) == (till.certificate, till.id)
        assert opened.over is Over.USED


@pytest.mark.asyncio
async def test_the_log_says_who_paired_and_who_tried(
    shop: Device, till: Device, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "syncd")
    async with desk_of(shop) as desk:
        await by_token(till, desk.token(await desk.pairing.open_token("anna")))
        told = [line for line in caplog.messages if line.startswith("paired with")]
        assert told == [f"paired with till ({show_device(till.id)}), which came from {desk.accepted[0].address}"]
        right = desk.token(await desk.pairing.open_token("anna"))
        for number in (1, 2, 3):
            assert await refusal(by_token(till, replace(right, secret=bytes(16)))) == "token-wrong"
            assert f"failed ({number} of 3)" in "\n".join(caplog.messages)
        assert await refusal(by_token(till, right)) == "pairing-closed"


@pytest.mark.asyncio
async def test_a_token_works_once(shop: Device, till: Device, other: Device) -> None:
    async with desk_of(shop) as desk:
        used = desk.token(await desk.pairing.open_token("anna"))
        await desk.pairing.open_token("anna")  # the port stays
        await by_token(till, used)
        assert await refusal(by_token(other, used)) == "token-used"
        assert [one.name for one in desk.accepted] == ["till"]


@pytest.mark.asyncio
async def test_the_last_token_that_is_used_closes_the_port(shop: Device, till: Device) -> None:
    async with desk_of(shop) as desk:
        used = desk.token(await desk.pairing.open_token("anna"))
        await by_token(till, used)
        assert desk.ports[-1] == 0
        assert await refusal(by_token(till, used)) == "pairing-closed"


@pytest.mark.asyncio
async def test_a_token_expires(shop: Device, till: Device) -> None:
    async with desk_of(shop) as desk:
        expired = desk.token(await desk.pairing.open_token("anna"))
        desk.clock.time_s += LIMITS.pairing_s_max
        await desk.pairing.open_token("anna")
        assert await refusal(by_token(till, expired)) == "token-expired"
        assert desk.accepted == []


@pytest.mark.asyncio
async def test_another_primary_at_the_address_is_told_nothing(shop: Device, till: Device, other: Device) -> None:
    async def answer(websocket: ServerConnection) -> None:
        raise AssertionError("it was sent something")

    async with false_primary(other, answer) as place:
        with pytest.raises(Refused, match="is not the primary that made the token"):
            await by_token(till, Token(shop.fingerprint, bytes(16), (place,)))


@pytest.mark.asyncio
async def test_each_address_of_the_token_is_tried(shop: Device, till: Device, other: Device) -> None:
    async with desk_of(shop) as desk, desk_of(other) as impostor:
        await impostor.pairing.open_token("ben")
        wanted = desk.token(await desk.pairing.open_token("anna")).at("127.0.0.1:1", impostor.place, desk.place)
        assert (await by_token(till, wanted)).addresses == (f"127.0.0.1:{desk.port}",)


@pytest.mark.asyncio
async def test_the_other_addresses_of_the_token_are_kept_with_the_port_of_links(shop: Device, till: Device) -> None:
    async with desk_of(shop) as desk:
        opened = await desk.pairing.open_token("anna")
        wanted = desk.token(opened).at(desk.place, f"192.0.2.7:{opened.port}", f"[2001:db8::1]:{opened.port}")
        kept = (await by_token(till, wanted)).addresses
        assert kept == tuple(f"{host}:{desk.port}" for host in ("127.0.0.1", "192.0.2.7", "[2001:db8::1]"))


@pytest.mark.asyncio
async def test_a_token_without_address_asks_for_one(shop: Device, till: Device) -> None:
    with pytest.raises(UserError, match="no address") as caught:
        await by_token(till, Token(shop.fingerprint, bytes(16), ()))
    assert "--address" in caught.value.advice


@pytest.mark.asyncio
async def test_an_answer_that_was_lost_can_be_asked_for_again_while_pairing_is_open(shop: Device, till: Device) -> None:
    patient = replace(LIMITS, stranger_tries_max=1_000, strangers_per_s_max=1_000.0)
    async with desk_of(shop, limits=patient) as desk:
        used = desk.token(await desk.pairing.open_token("anna"))
        await desk.pairing.open_token("anna")
        host, _, port = desk.place.rpartition(":")
        for cut in range(500, 4000, 20):  # the answer is cut off somewhere
            async with cutting_proxy((host, int(port)), towards_client=cut, towards_server=1 << 30) as address:
                with pytest.raises((LinkLost, Refused)):
                    await by_token(till, used.at(address))
            if desk.accepted:
                break
        assert (await by_token(till, used)).user == "anna"
        assert {one.certificate for one in desk.accepted} == {till.certificate}


@pytest.mark.asyncio
async def test_a_device_that_cannot_be_kept_is_told_and_the_token_still_works(shop: Device, till: Device) -> None:
    async with desk_of(shop) as desk:
        waiting = desk.token(await desk.pairing.open_token("anna"))
        desk.fails.append(DiskFull("no room"))
        assert await refusal(by_token(till, waiting)) == "disk"
        await by_token(till, waiting)


@pytest.mark.asyncio
async def test_a_fault_of_ours_while_pairing_comes_out_of_run(shop: Device, till: Device) -> None:
    async with desk_of(shop) as desk:
        desk.fails.append(InvariantBroken("the program contradicts itself"))
        waiting = desk.token(await desk.pairing.open_token("anna"))
        with pytest.raises(LinkLost):
            await by_token(till, waiting)
        with pytest.raises(InvariantBroken):
            async with asyncio.timeout(30):
                await desk.running


@pytest.mark.asyncio
async def test_messages_that_make_no_sense_are_refused_and_cost_no_try(
    shop: Device, till: Device, authority: Device
) -> None:
    certificate, proof = message.put_bytes(till.certificate), message.put_bytes(bytes(32))
    async with desk_of(shop) as desk:
        right = desk.token(await desk.pairing.open_token("anna"))
        for text in (
            "",
            b"{}",
            "{}",
            "[]",
            "null",
            "[" * 5000,
            '{"name": 1}',
            '{"name": {"name": "till"}}',
            '{"name": "till", "name": "till"}',
            asking(till),
            json.dumps({"name": "\x7f" * 3000, "certificate": certificate, "proof": proof}, ensure_ascii=False),
            json.dumps({"name": "../till", "certificate": certificate, "proof": proof}),
            json.dumps({"name": "till", "certificate": "*", "proof": proof}),
            json.dumps({"name": "till", "certificate": proof, "proof": proof}),
            asking(authority, proof=proof),
        ):
            answer = await say(desk.place, text)
            assert answer["refused"] == "bad-frame", text
        await by_token(till, right)


@pytest.mark.asyncio
async def test_a_proof_made_for_another_certificate_is_wrong(shop: Device, till: Device, other: Device) -> None:
    async with desk_of(shop) as desk:
        opened = await desk.pairing.open_token("anna")
        overheard = prove(opened.secret, "auxiliary", shop.fingerprint, till.fingerprint)
        answer = await say(desk.place, asking(other, proof=message.put_bytes(overheard)))
        assert answer["refused"] == "token-wrong"
        assert desk.accepted == []


@pytest.mark.asyncio
async def test_a_primary_that_does_not_prove_the_token_is_not_believed(shop: Device, till: Device) -> None:
    async def answer(websocket: ServerConnection) -> None:
        sent = json.loads(await websocket.recv(decode=True))  # its proof comes back
        await websocket.send(message.encode({"name": "shop", "user": "anna", "port": "1", "proof": sent["proof"]}))

    async with false_primary(shop, answer) as place:
        with pytest.raises(FrameError, match="did not prove"):
            await by_token(till, Token(shop.fingerprint, bytes(16), (place,)))


@pytest.mark.asyncio
async def test_a_token_does_not_pass_for_a_code(shop: Device, till: Device) -> None:
    async with desk_of(shop) as desk:
        await desk.pairing.open_token("anna")
        pake = message.put_bytes(bytes(33))
        assert (await say(desk.place, asking(till, number="", pake=pake)))["refused"] == "code-other"


@pytest.mark.asyncio
async def test_a_stranger_who_says_nothing_is_put_out(shop: Device) -> None:
    async with desk_of(shop, replace(LIMITS, hello_s_max=0.1)) as desk:
        opened = await desk.pairing.open_token("anna")
        async with stranger_at(desk.place) as websocket:
            await websocket.wait_closed()
        assert opened.over is None


@given(st.text() | st.binary())
def test_any_pairing_message_is_a_flat_object_of_strings_or_refused(frame: str | bytes) -> None:
    try:
        read = message.decode(frame)
    except FrameError:
        return
    assert read == json.loads(frame)
    assert all(isinstance(value, str) for value in read.values())


@pytest.mark.parametrize("frame", ["[]", '[["name", "till"]]', '[{"name": "till"}]', '"till"', "NaN", b"{}"])
def test_what_is_no_object_of_strings_is_refused(frame: str | bytes) -> None:
    with pytest.raises(FrameError):
        message.decode(frame)


@given(st.dictionaries(st.text(), st.text(), max_size=5))
def test_a_flat_object_of_strings_is_read_as_it_was_written(written: dict[str, str]) -> None:
    assert message.decode(message.encode(written)) == written
