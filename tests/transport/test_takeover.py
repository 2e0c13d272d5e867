"""Two links of one device: which of them stays, and when neither does (R15)."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from syncd.core.errors import LinkLost, Refused
from syncd.core.settings import Limits
from syncd.transport.dialer import INSTANCE
from syncd.transport.link import Link
from syncd.transport.tls import client_context
from syncd.transport.websocket import INSTANCE_HEADER
from tests.transport.peers import LIMITS, Device, Primary, primary_that_knows
from tests.wait import eventually

pytestmark = pytest.mark.asyncio


async def test_of_two_links_of_one_device_the_later_one_stays(shop: Device, till: Device) -> None:
    async with primary_that_knows(shop, till) as primary:
        first = await primary.dialed_by(till)
        await eventually(lambda: len(primary.links) == 1)
        second = await primary.dialed_by(till)
        with pytest.raises(LinkLost):
            await first.receive()
        assert first.refusal == "duplicate"
        await eventually(lambda: len(primary.links) == 2)
        assert primary.ended[0][0] is primary.links[0]  # the first was over before the second began
        await second.send("still here")
        await eventually(lambda: primary.heard == ["still here"])
        await second.close()


async def test_the_later_link_takes_over_from_a_peer_that_is_gone_without_a_word(shop: Device, till: Device) -> None:
    async with primary_that_knows(shop, till) as primary:
        first = await primary.dialed_by(till)
        await eventually(lambda: len(primary.links) == 1)
        first._websocket.transport.pause_reading()
        second = await primary.dialed_by(till)
        await eventually(lambda: len(primary.links) == 2, deadline_s=LIMITS.send_s_max / 2)
        first.abort()
        await second.close()


async def test_two_living_daemons_of_one_identity_are_both_refused(shop: Device, till: Device) -> None:
    async with primary_that_knows(shop, till) as primary:
        links = [await primary.dialed_by(till)]
        await eventually(lambda: len(primary.links) == 1)
        links.append(await primary.dialed_by(till, instance="copy"))
        for link in links:
            with pytest.raises(LinkLost):
                await link.receive()
            assert link.refusal == "copied"
        assert primary.copied == [till.id]
        assert len(primary.links) == 1  # the second was never carried
        with pytest.raises(Refused) as caught:
            await primary.dialed_by(till)
        assert caught.value.code == "copied"


async def test_a_daemon_that_was_started_anew_takes_over_from_what_it_left(shop: Device, till: Device) -> None:
    limits = Limits(alive_s_max=0.1)
    async with primary_that_knows(shop, till, limits=limits) as primary:
        first = await primary.dialed_by(till)
        await eventually(lambda: len(primary.links) == 1)
        first._websocket.transport.pause_reading()  # as a machine that was switched off
        second = await primary.dialed_by(till, instance="after the restart")
        await eventually(lambda: len(primary.links) == 2)
        assert primary.copied == []
        first.abort()
        await second.close()


async def test_a_dial_that_was_given_up_is_no_second_machine(shop: Device, till: Device) -> None:
    """It is upgraded, and answers no ping."""
    async with primary_that_knows(shop, till, limits=Limits(alive_s_max=0.5)) as primary:
        first = await primary.dialed_by(till)
        await eventually(lambda: len(primary.links) == 1)
        host, port = primary.listener.address
        context = client_context(till.identity, shop.certificate)
        reader, writer = await asyncio.open_connection(host, port, ssl=context)
        writer.write(
            b"GET /sync HTTP/1.1\r\nHost: syncd\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        assert b" 101 " in await reader.readline()
        with pytest.raises(LinkLost):
            await first.receive()
        assert first.refusal == "duplicate"
        assert primary.copied == []
        writer.transport.abort()


async def test_a_later_link_waits_until_the_earlier_one_has_been_put_away(shop: Device, till: Device) -> None:
    events: list[str] = []
    put_away = asyncio.Event()

    async def hold(link: Link) -> None:
        events.append("begin")
        with contextlib.suppress(LinkLost):
            await link.receive()
        events.append("over")
        await put_away.wait()
        events.append("end")

    async with primary_that_knows(shop, till, on_link=hold) as primary:
        first = await primary.dialed_by(till)
        await eventually(lambda: events == ["begin"])
        second = await primary.dialed_by(till)
        with pytest.raises(LinkLost):
            await first.receive()
        await eventually(lambda: events == ["begin", "over"])
        put_away.set()
        await eventually(lambda: events == ["begin", "over", "end", "begin"])
        await second.close()


async def test_of_many_links_at_once_exactly_one_stays(shop: Device, till: Device) -> None:
    serving: set[Link] = set()
    most = 0

    async def hold(link: Link) -> None:
        nonlocal most
        serving.add(link)
        most = max(most, len(serving))
        try:
            await link.receive()
        finally:
            serving.discard(link)

    async with primary_that_knows(shop, till, on_link=hold) as primary:
        links = await asyncio.gather(*(primary.dialed_by(till) for _ in range(6)))
        await eventually(lambda: sum(link.is_open for link in links) == 1)
        assert most == 1
        await eventually(lambda: len(serving) == 1)
        for link in links:
            link.abort()


async def test_a_link_that_was_given_up_while_it_opened_takes_over_from_none(shop: Device, till: Device) -> None:
    """A device that dials several addresses of its primary at once gives up all but the first that answers."""
    async with primary_that_knows(shop, till) as primary:
        first = await primary.dialed_by(till)
        await eventually(lambda: len(primary.links) == 1)
        for instance in (INSTANCE, "another"):
            await _given_up(primary, till, instance)
            assert await first.answers(5.0)
        assert len(primary.links) == 1
        refusing = asyncio.create_task(primary.listener.refuse(till.id, "revoked"))
        with pytest.raises(LinkLost):
            await first.receive()
        assert first.refusal == "revoked"  # it is still the one that is cut
        await refusing


async def test_links_that_come_at_once_are_carried_one_after_the_other(shop: Device, till: Device) -> None:
    async with primary_that_knows(shop, till) as primary:
        links = await asyncio.gather(*(primary.dialed_by(till) for _ in range(6)))
        await eventually(lambda: len(primary.links) - len(primary.ended) == 1 and len(_open(links)) == 1)
        assert [link for link, _ in primary.ended] == primary.links[:-1]
        (left,) = _open(links)
        assert await left.answers(5.0)
        for link in links:
            link.abort()


def _open(links: list[Link]) -> list[Link]:
    return [link for link in links if link.is_open]


async def _given_up(primary: Primary, device: Device, instance: str) -> None:
    """Goes as far as the primary's answer, and no further."""
    host, port = primary.listener.address
    context = client_context(device.identity, primary.device.certificate)
    reader, writer = await asyncio.open_connection(host, port, ssl=context)
    writer.write(
        b"GET /sync HTTP/1.1\r\nHost: syncd\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
        + f"{INSTANCE_HEADER}: {instance}\r\n\r\n".encode()
    )
    assert b"101" in await reader.readline()
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
