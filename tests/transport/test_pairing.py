"""Pairing by token, both ends over TLS on loopback."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import cast

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import connect

from syncd.core.errors import DiskFull, FrameError, InvariantBroken, LinkLost, Refused, UserError
from syncd.core.model import show_device
from syncd.core.settings import Limits
from syncd.transport import pairing_message as message
from syncd.transport import token
from syncd.transport.link import Link
from syncd.transport.pairing import Paired, PairedInfo, pair
from syncd.transport.tls import stranger_context
from syncd.transport.token import Token, prove
from syncd.transport.websocket import PAIR_BYTES_MAX
from tests.transport.peers import LIMITS, Device, Primary, cutting_proxy, primary_that_knows, self_signed
from tests.wait import eventually


async def paired(device: Device, with_token: Token) -> Paired:
    return await pair(device.certificate, device.name, with_token, LIMITS)


async def refusal(device: Device, with_token: Token) -> str:
    with pytest.raises(Refused) as caught:
        await paired(device, with_token)
    assert caught.value.advice
    return caught.value.code


async def say(primary: Primary, text: str | bytes) -> dict[str, str]:
    """Sends one message of a stranger's making and returns the answer."""
    host, port = primary.listener.address
    async with connect("wss://syncd/pair", host=host, port=port, ssl=stranger_context(), proxy=None) as websocket:
        await websocket.send(text)
        answer = await websocket.recv(decode=True)
        assert len(answer) <= PAIR_BYTES_MAX
        return cast(dict[str, str], json.loads(answer))


@pytest.mark.asyncio
async def test_pairing_pins_each_others_certificate_and_the_link_works_at_once(shop: Device, till: Device) -> None:
    async with primary_that_knows(shop) as primary:
        line = token.make(shop.fingerprint, primary.pairing.open(), [primary.address])
        result = await paired(till, token.parse(line))
        assert result == Paired(shop.certificate, shop.id, "shop", "anna", primary.address)
        assert primary.accepted == [(till.certificate, "till")]
        link = await primary.dialed_by(till)
        await eventually(lambda: [one.device for one in primary.links] == [till.id])
        await link.close()


@pytest.mark.asyncio
async def test_the_log_says_who_paired_and_who_tried(
    shop: Device, till: Device, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "syncd")
    async with primary_that_knows(shop) as primary:
        await paired(till, primary.token)
        (told,) = caplog.messages
        assert told.startswith(f"paired with till ({show_device(till.id)}), which came from 127.0.0.1:")
        caplog.clear()
        wrong = replace(primary.token, secret=bytes(16))
        for number in (1, 2, 3):
            assert await refusal(till, wrong) == "token-wrong"
            assert "a wrong proof from 127.0.0.1:" in caplog.messages[-1 if number < 3 else -2]
            assert f"({number} of 3)" in caplog.messages[-1 if number < 3 else -2]
        assert "pairing is closed after 3 wrong proofs" in caplog.messages[-1]


@pytest.mark.asyncio
async def test_a_token_works_once(shop: Device, till: Device, other: Device) -> None:
    async with primary_that_knows(shop) as primary:
        used = primary.token
        await paired(till, used)
        assert await refusal(other, used) == "token-used"
        assert primary.pairing.open()  # another token works, this one does not
        assert await refusal(other, used) == "token-used"
        assert [name for _, name in primary.accepted] == ["till"]


@pytest.mark.asyncio
async def test_a_token_expires(shop: Device, till: Device) -> None:
    async with primary_that_knows(shop) as primary:
        expired = primary.token
        primary.clock.time_s += LIMITS.pairing_s_max
        assert await refusal(till, expired) == "token-expired"
        primary.clock.time_s += LIMITS.pairing_s_max  # told for as long as it worked, then nobody is answered
        assert await refusal(till, expired) == "pairing-closed"
        primary.pairing.open()
        assert await refusal(till, expired) == "token-expired"
        assert primary.accepted == []


@pytest.mark.asyncio
async def test_a_wrong_secret_is_refused_and_the_third_closes_pairing(shop: Device, till: Device) -> None:
    async with primary_that_knows(shop) as primary:
        right = primary.token
        wrong = Token(shop.fingerprint, bytes(16), right.addresses)
        assert [await refusal(till, wrong) for _ in range(3)] == ["token-wrong"] * 3
        assert await refusal(till, right) == "pairing-closed"
        primary.pairing.open()
        assert await refusal(till, right) == "token-expired"
        assert primary.accepted == []


@pytest.mark.asyncio
async def test_pairing_that_was_never_opened_is_closed(shop: Device, till: Device) -> None:
    async with primary_that_knows(shop) as primary:
        assert await refusal(till, Token(shop.fingerprint, bytes(16), (primary.address,))) == "pairing-closed"


@pytest.mark.asyncio
async def test_another_primary_at_the_address_is_told_nothing(shop: Device, till: Device, other: Device) -> None:
    async with primary_that_knows(other) as impostor:
        impostor.pairing.open()
        wanted = Token(shop.fingerprint, bytes(16), (impostor.address,))
        with pytest.raises(Refused, match="is not the primary that made the token"):
            await paired(till, wanted)
        assert impostor.accepted == []
        assert impostor.pairing.is_open()


@pytest.mark.asyncio
async def test_each_address_of_the_token_is_tried(shop: Device, till: Device, other: Device) -> None:
    async with primary_that_knows(shop) as primary, primary_that_knows(other) as impostor:
        wanted = primary.token.at("127.0.0.1:1", impostor.address, primary.address)
        assert (await paired(till, wanted)).address == primary.address


@pytest.mark.asyncio
async def test_a_token_without_address_asks_for_one(shop: Device, till: Device) -> None:
    with pytest.raises(UserError, match="no address") as caught:
        await paired(till, Token(shop.fingerprint, bytes(16), ()))
    assert "--address" in caught.value.advice


@pytest.mark.asyncio
async def test_pairing_again_with_another_token_is_the_same_device(shop: Device, till: Device) -> None:
    async with primary_that_knows(shop, till) as primary:
        assert (await paired(till, primary.token)).device == shop.id
        link = await primary.dialed_by(till)
        await link.close()


@pytest.mark.asyncio
async def test_an_answer_that_was_lost_can_be_asked_for_again(shop: Device, till: Device) -> None:
    async with primary_that_knows(shop) as primary:
        used = primary.token
        primary.pairing.open()
        for cut in range(500, 4000, 20):  # the answer is cut off somewhere
            async with cutting_proxy(primary.listener.address, towards_client=cut, towards_server=1 << 30) as address:
                with pytest.raises((LinkLost, Refused)):
                    await paired(till, used.at(address))
            if primary.accepted:
                break
        assert (await paired(till, used)).user == "anna"
        assert {certificate for certificate, _ in primary.accepted} == {till.certificate}


@pytest.mark.asyncio
async def test_a_primary_that_cannot_keep_the_device_says_so_and_the_token_still_works(
    shop: Device, till: Device
) -> None:
    async with primary_that_knows(shop) as primary:
        keep = primary.pairing._accept

        async def full(certificate: bytes, name: str) -> PairedInfo:
            raise DiskFull("no room")

        primary.pairing._accept = full
        waiting = primary.token
        assert await refusal(till, waiting) == "disk"
        with pytest.raises(Refused, match="does not know this device"):
            await primary.dialed_by(till)
        primary.pairing._accept = keep
        await paired(till, waiting)


@pytest.mark.asyncio
async def test_a_fault_of_ours_while_pairing_stops_the_listener(shop: Device, till: Device) -> None:
    async with primary_that_knows(shop) as primary:

        async def broken(certificate: bytes, name: str) -> PairedInfo:
            raise InvariantBroken("the program contradicts itself")

        primary.pairing._accept = broken
        with pytest.raises(LinkLost):
            await paired(till, primary.token)
        with pytest.raises(InvariantBroken):
            await primary.listener.wait()


@pytest.mark.asyncio
async def test_a_stranger_who_says_nothing_is_put_out(shop: Device) -> None:
    limits = Limits(hello_s_max=0.1)
    async with primary_that_knows(shop, limits=limits) as primary:
        primary.pairing.open()
        host, port = primary.listener.address
        async with connect("wss://syncd/pair", host=host, port=port, ssl=stranger_context(), proxy=None) as websocket:
            await websocket.wait_closed()
        assert primary.pairing.is_open()


@pytest.mark.asyncio
async def test_messages_that_make_no_sense_are_refused_and_cost_no_try(shop: Device, till: Device) -> None:
    certificate, proof = message.put_bytes(till.certificate), message.put_bytes(bytes(32))
    authority = message.put_bytes(self_signed("authority", ec.generate_private_key(ec.SECP256R1()), ca=True))
    async with primary_that_knows(shop) as primary:
        primary.pairing.open()
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
            json.dumps({"name": "till", "certificate": certificate}),
            json.dumps({"name": "\x7f" * 3000, "certificate": certificate, "proof": proof}, ensure_ascii=False),
            json.dumps({"name": "../till", "certificate": certificate, "proof": proof}),
            json.dumps({"name": "till", "certificate": "*", "proof": proof}),
            json.dumps({"name": "till", "certificate": proof, "proof": proof}),
            json.dumps({"name": "till", "certificate": authority, "proof": proof}),
        ):
            answer = await say(primary, text)
            assert answer["refused"] == "bad-frame", text
        assert primary.pairing.is_open()
        assert primary.accepted == []


@pytest.mark.asyncio
async def test_a_proof_made_for_another_certificate_is_wrong(shop: Device, till: Device, other: Device) -> None:
    async with primary_that_knows(shop) as primary:
        overheard = prove(primary.token.secret, "auxiliary", shop.fingerprint, till.fingerprint)
        certificate = message.put_bytes(other.certificate)
        text = message.encode({"name": "other", "certificate": certificate, "proof": message.put_bytes(overheard)})
        assert (await say(primary, text))["refused"] == "token-wrong"
        assert primary.accepted == []


@pytest.mark.asyncio
async def test_a_primary_that_does_not_prove_the_token_is_not_believed(
    shop: Device, till: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with primary_that_knows(shop) as primary:

        async def unproven(link: Link, admit: object) -> dict[str, str]:
            await link.receive()
            return {"name": "shop", "user": "anna", "proof": message.put_bytes(bytes(32))}

        monkeypatch.setattr(primary.pairing, "_answer", unproven)
        with pytest.raises(FrameError, match="did not prove"):
            await paired(till, primary.token)


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
