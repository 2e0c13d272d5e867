"""Links between paired devices: whole frames, deadlines, whose fault an end is."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from syncd.core.errors import FrameError, LinkLost, PeerError
from syncd.core.settings import Limits
from syncd.transport.dialer import dial
from syncd.transport.link import Link
from tests.transport.peers import LIMITS, Device, cutting_proxy, primary_that_knows
from tests.wait import eventually

pytestmark = pytest.mark.asyncio


async def test_both_ends_know_each_other_by_the_certificate(shop: Device, till: Device) -> None:
    async with primary_that_knows(shop, till) as primary:
        link = await primary.dialed_by(till)
        await eventually(lambda: primary.links)
        assert primary.links[0].device == till.id
        assert link.device == shop.id
        assert link.address == primary.address
        await link.close()


async def test_frames_arrive_as_they_were_sent_text_and_binary(shop: Device, till: Device) -> None:
    frames: list[bytes | str] = ["", b"", "größer", bytes(range(256)) * 1024, "x" * 200_000, b"last"]
    async with primary_that_knows(shop, till) as primary:
        link = await primary.dialed_by(till)
        for frame in frames:
            await link.send(frame)
        await eventually(lambda: len(primary.heard) == len(frames))
        assert primary.heard == frames
        for frame in frames:
            await primary.links[0].send(frame)
        assert [await link.receive() for _ in frames] == frames
        await link.close()


async def test_a_frame_is_sent_at_once_where_no_other_waits(shop: Device, till: Device) -> None:
    frames: list[bytes | str] = ["größer", b"", bytes(range(256)) * 1024]
    async with primary_that_knows(shop, till) as primary:
        link = await primary.dialed_by(till)
        for number, frame in enumerate(frames, 1):
            await eventually(lambda: link.send_at_once(frame))  # noqa: B023
            await eventually(lambda: len(primary.heard) == number)  # noqa: B023
        assert primary.heard == frames
        await link.close()
        assert not link.send_at_once(b"late")


async def test_a_frame_is_not_sent_at_once_where_the_peer_takes_none(shop: Device, till: Device) -> None:
    async with primary_that_knows(shop, till) as primary:
        link = await primary.dialed_by(till)
        await eventually(lambda: primary.links)
        most = 1_000
        sent = 0
        while sent < most and link.send_at_once(bytes(64 * 1024)):  # nothing is read while this runs
            sent += 1
        assert 0 < sent < most
        link.abort()


async def test_each_socket_sends_small_frames_at_once_and_gives_up_on_a_dead_peer(shop: Device, till: Device) -> None:
    async with primary_that_knows(shop, till) as primary:
        link = await primary.dialed_by(till)
        await eventually(lambda: primary.links)
        for one in (link, primary.links[0]):
            raw = one._websocket.transport.get_extra_info("socket")
            assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
            assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == LIMITS.send_s_max * 1000
        await link.close()


async def test_a_peer_that_never_reads_costs_the_sender_no_more_than_its_deadline(shop: Device, till: Device) -> None:
    limits = Limits(send_s_max=0.3)
    outcome: asyncio.Future[tuple[float, LinkLost]] = asyncio.get_running_loop().create_future()

    broken_off = asyncio.Event()

    async def flood(link: Link) -> None:
        began = time.monotonic()
        raw = link._websocket.transport.get_extra_info("socket")
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 60_000)  # the kernel's deadline would be as good
        try:
            while True:
                began = time.monotonic()
                await link.send(bytes(1_000_000))
        except LinkLost as error:
            outcome.set_result((time.monotonic() - began, error))
            await eventually(lambda: not link.is_open)
            broken_off.set()

    async with primary_that_knows(shop, till, limits=limits, on_link=flood) as primary:
        link = await primary.dialed_by(till)
        link._websocket.transport.pause_reading()
        async with asyncio.timeout(30):
            waited_s, error = await outcome
            await broken_off.wait()
        assert 0.25 < waited_s < 2.0
        assert "took nothing for 0.3 s" in error.text
        link.abort()


async def test_a_frame_over_the_limit_ends_the_link_and_is_the_senders_fault(shop: Device, till: Device) -> None:
    limits = Limits(message_bytes_max=10_000)
    async with primary_that_knows(shop, till, limits=limits) as primary:
        link = await primary.dialed_by(till)
        await link.send(bytes(10_000))
        await link.send(bytes(10_001))
        await eventually(lambda: primary.ended)
        assert primary.heard == [bytes(10_000)]
        assert primary.ended[0][1] == "too-large"
        with pytest.raises(LinkLost) as caught:
            await link.receive()
        assert caught.value.code == "too-large"


async def test_the_peers_breach_is_told_by_receive_and_a_send_after_it_finds_the_link_lost(
    shop: Device, till: Device
) -> None:
    told: list[type[PeerError]] = []

    async def answer(link: Link) -> None:
        with pytest.raises(PeerError) as received:
            await link.receive()
        with pytest.raises(PeerError) as sent:
            await link.send("refused")
        told.extend((received.type, sent.type))

    limits = Limits(message_bytes_max=10_000)
    async with primary_that_knows(shop, till, limits=limits, on_link=answer) as primary:
        link = await primary.dialed_by(till)
        await link.send(bytes(10_001))
        await eventually(lambda: told)
        assert told == [FrameError, LinkLost]
        link.abort()


async def test_what_is_no_websocket_frame_ends_the_link_as_the_peers_fault(shop: Device, till: Device) -> None:
    async with primary_that_knows(shop, till) as primary:
        link = await primary.dialed_by(till)
        link._websocket.transport.write(b"\xff\xff\xff\xff no frame at all")
        await eventually(lambda: primary.ended)
        assert primary.ended[0][1] == FrameError.code
        link.abort()


async def test_the_reason_of_a_close_reaches_the_peer(shop: Device, till: Device) -> None:
    async with primary_that_knows(shop, till) as primary:
        link = await primary.dialed_by(till)
        await eventually(lambda: primary.links)
        closing = asyncio.create_task(primary.links[0].close("version"))
        with pytest.raises(LinkLost) as caught:
            await link.receive()
        await closing
        assert caught.value.code == link.refusal == "version"
        assert "install the same syncd version" in caught.value.advice


async def test_a_reason_that_is_no_code_of_ours_is_not_repeated(shop: Device, till: Device) -> None:
    async with primary_that_knows(shop, till) as primary:
        link = await primary.dialed_by(till)
        await eventually(lambda: primary.links)
        closing = asyncio.create_task(primary.links[0].close("\x1b[31m" + "ü" * 200))
        with pytest.raises(LinkLost) as caught:
            await link.receive()
        await closing
        assert "\x1b" not in caught.value.line()
        assert (link.refusal, caught.value.code) == ("", "link-lost")


async def test_what_was_sent_before_a_close_arrives(shop: Device, till: Device) -> None:
    async with primary_that_knows(shop, till) as primary:
        link = await primary.dialed_by(till)
        for number in range(50):
            await link.send(f"{number}")
        await link.close()
        await eventually(lambda: primary.ended)
        assert primary.heard == [f"{number}" for number in range(50)]


async def test_an_ended_link_says_so_each_time_it_is_used(shop: Device, till: Device) -> None:
    async with primary_that_knows(shop, till) as primary:
        link = await primary.dialed_by(till)
        await link.close()
        assert not link.is_open
        for _ in range(2):
            with pytest.raises(LinkLost):
                await link.receive()
            with pytest.raises(LinkLost):
                await link.send(b"late")
            await link.close()


async def test_a_link_torn_at_any_byte_never_delivers_part_of_a_frame(shop: Device, till: Device) -> None:
    frames = [bytes([number]) * (number * 97 % 1500) for number in range(1, 40)]

    async def talk(link: Link) -> None:
        for frame in frames:
            await link.send(frame)
        await link.receive()

    delivered: set[int] = set()
    async with primary_that_knows(shop, till, on_link=talk) as primary:
        for cut in [*range(0, 3000, 100), *range(3000, 30_000, 997), 10_000_000]:
            async with cutting_proxy(primary.listener.address, towards_client=cut, towards_server=1 << 30) as address:
                got = await _receive_all(till, shop, address, len(frames))
            assert got == frames[: len(got)]
            delivered.add(len(got))
    assert {0, len(frames)} < delivered  # it was torn in the handshake, between, and not at all


async def test_a_link_torn_at_any_byte_is_heard_as_whole_frames_or_not(shop: Device, till: Device) -> None:
    frames = [bytes([number]) * (number * 97 % 1500) for number in range(1, 20)]
    heard: set[int] = set()
    async with primary_that_knows(shop, till) as primary:
        for cut in [*range(0, 2400, 150), *range(2400, 18_000, 1499)]:
            primary.heard.clear()
            async with cutting_proxy(primary.listener.address, towards_client=1 << 30, towards_server=cut) as address:
                try:
                    link = await dial(till.identity, address, shop.certificate, LIMITS)
                    for frame in frames:
                        await link.send(frame)
                    await link.close()
                except PeerError:
                    pass
            await eventually(lambda: len(primary.ended) == len(primary.links))
            assert primary.heard == frames[: len(primary.heard)]
            heard.add(len(primary.heard))
    assert {0, len(frames)} < heard


async def _receive_all(till: Device, shop: Device, address: str, count: int) -> list[bytes | str]:
    got: list[bytes | str] = []
    try:
        link = await dial(till.identity, address, shop.certificate, LIMITS)
    except PeerError:
        return got
    try:
        while len(got) < count:
            got.append(await link.receive())
    except LinkLost:
        pass
    link.abort()
    return got
