"""The pairing listener: when it is there, who reaches it, and how much a stranger may do."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
from dataclasses import replace

import pytest
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

from syncd.core.errors import HomeError, PeerError, UserError
from syncd.core.settings import Limits
from syncd.transport.pairing import PairedInfo, Stranger
from syncd.transport.pairing_listener import PairingDesk
from syncd.transport.pairing_window import Over
from syncd.transport.tls import client_context, stranger_context
from tests.ports import free_port, two_listening
from tests.transport.desks import by_code, by_token, desk_of, refusal, stranger_at
from tests.transport.peers import LIMITS, Device, tcp
from tests.wait import eventually

pytestmark = pytest.mark.asyncio


def answers(place: str) -> bool:
    """Whether a connection to the place is taken."""
    host, _, port = place.rpartition(":")
    try:
        tcp((host, int(port))).close()
    except ConnectionRefusedError:
        return False
    return True


async def nobody(stranger: Stranger) -> PairedInfo:
    raise AssertionError("nobody pairs here")


# ---------------------------------------------------------------- when it is there


async def test_there_is_no_port_before_pairing_is_opened(shop: Device) -> None:
    async with desk_of(shop) as desk:
        assert desk.ports == []
        assert not answers(f"127.0.0.1:{desk.port + 1}")


async def test_the_port_is_there_from_the_first_code_to_the_last(shop: Device, till: Device, other: Device) -> None:
    async with desk_of(shop) as desk:
        codes = [await desk.pairing.open_code("anna"), await desk.pairing.open_code("anna")]
        assert desk.ports == [codes[0].port] == [codes[1].port]
        await by_code(till, codes[0].code, desk.place)
        assert answers(desk.place)
        await by_code(other, codes[1].code, desk.place)
        assert desk.ports == [codes[0].port, 0]
        assert not answers(desk.place)


async def test_it_is_the_port_after_the_main_listeners(shop: Device) -> None:
    async with desk_of(shop) as desk:
        assert (await desk.pairing.open_code("anna")).port == desk.port + 1


async def test_where_that_is_taken_it_is_any_other(shop: Device) -> None:
    main, taken = two_listening()
    port = main.getsockname()[1]
    with main, taken:
        async with PairingDesk("127.0.0.1", port, shop.identity, LIMITS, nobody) as pairing:
            assert (await pairing.open_code("anna")).port not in (0, port, port + 1)


async def test_the_last_port_has_none_after_it(shop: Device) -> None:
    async with PairingDesk("127.0.0.1", 65535, shop.identity, LIMITS, nobody) as pairing:
        assert (await pairing.open_code("anna")).port > 0


async def test_pairing_that_was_closed_is_gone_at_once(shop: Device, till: Device) -> None:
    async with desk_of(shop) as desk:
        opened, token = await desk.pairing.open_code("anna"), await desk.pairing.open_token("anna")
        async with stranger_at(desk.place) as stranger:
            await desk.pairing.close()
            assert not answers(desk.place)
            with pytest.raises(ConnectionClosed):
                await stranger.recv()
        assert await desk.pairing.outcome(opened) is None
        assert await desk.pairing.outcome(token) is None
        assert (opened.over, token.over) == (Over.CLOSED, Over.CLOSED)
        assert await refusal(by_code(till, opened.code, desk.place)) == "pairing-closed"


async def test_pairing_may_be_opened_again(shop: Device, till: Device) -> None:
    async with desk_of(shop) as desk:
        await desk.pairing.open_code("anna")
        await desk.pairing.close()
        await by_code(till, (await desk.pairing.open_code("anna")).code, desk.place)
        assert [port > 0 for port in desk.ports] == [True, False, True, False]


async def test_when_time_is_up_the_port_is_gone_and_who_waits_is_told(shop: Device) -> None:
    ports: list[int] = []
    limits = replace(LIMITS, pairing_s_max=0.1)
    async with PairingDesk("127.0.0.1", free_port(), shop.identity, limits, nobody, on_change=ports.append) as pairing:
        running = asyncio.create_task(pairing.run())
        opened = await pairing.open_code("anna")
        assert opened.expires_s == 0.1
        async with asyncio.timeout(30):
            assert await pairing.outcome(opened) is None
        assert opened.over is Over.EXPIRED
        assert ports == [opened.port, 0]
        await eventually(lambda: not answers(f"127.0.0.1:{opened.port}"))
        running.cancel()
        await asyncio.wait([running])


async def test_many_who_open_pairing_at_once_get_one_port(shop: Device) -> None:
    async with desk_of(shop) as desk:
        opened = await asyncio.gather(*(desk.pairing.open_code("anna") for _ in range(5)))
        assert len({one.port for one in opened}) == 1
        assert len({one.code for one in opened}) == 5
        assert len(desk.ports) == 1


async def test_of_very_many_codes_the_oldest_is_void(shop: Device) -> None:
    async with desk_of(shop) as desk:
        opened = [await desk.pairing.open_code("anna") for _ in range(17)]
        assert await desk.pairing.outcome(opened[0]) is None
        assert [one.over for one in opened[1:]] == [None] * 16


async def test_where_nothing_can_listen_that_is_said_and_nothing_is_open(shop: Device, till: Device) -> None:
    async with PairingDesk("192.0.2.7", 8765, shop.identity, LIMITS, nobody) as pairing:
        with pytest.raises(UserError, match=r"cannot listen on 192\.0\.2\.7"):
            await pairing.open_code("anna")
    missing = shop.identity.with_name("missing.pem")
    async with PairingDesk("127.0.0.1", 8765, missing, LIMITS, nobody) as pairing:
        with pytest.raises(HomeError, match=r"missing\.pem cannot be used"):
            await pairing.open_token("anna")


# ---------------------------------------------------------------- who reaches it


@pytest.mark.parametrize("path", ["/", "/sync", "/pair/", "/pair?x", "/../pair"])
async def test_other_paths_do_not_exist(shop: Device, path: str) -> None:
    async with desk_of(shop) as desk:
        await desk.pairing.open_code("anna")
        with pytest.raises(InvalidStatus) as caught:
            async with stranger_at(desk.place, path):
                pass
        assert caught.value.response.status_code == 404
        assert "Server" not in caught.value.response.headers


async def test_a_browser_page_does_not_get_in(shop: Device) -> None:
    async with desk_of(shop) as desk:
        await desk.pairing.open_code("anna")
        with pytest.raises(InvalidStatus) as caught:
            async with stranger_at(desk.place, origin="https://example.org"):
                pass
        assert caught.value.response.status_code == 403


async def test_nothing_older_than_tls_1_3_is_spoken(shop: Device) -> None:
    context = stranger_context()
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with desk_of(shop) as desk:
        await desk.pairing.open_code("anna")
        with pytest.raises(OSError):  # an alert or a reset, whichever comes first
            async with stranger_at(desk.place, context=context):
                pass


async def test_no_certificate_is_asked_for_and_no_handshake_is_shortened(shop: Device, till: Device) -> None:
    context = client_context(till.identity, shop.certificate)
    async with desk_of(shop) as desk:
        await desk.pairing.open_code("anna")
        async with stranger_at(desk.place, context=context) as websocket:
            await websocket.send("{}")
            await websocket.recv()
            tls = websocket.transport.get_extra_info("ssl_object")
            assert tls.version() == "TLSv1.3"
            assert tls.session is None or not tls.session.has_ticket


# ---------------------------------------------------------------- how much a stranger may do


async def test_a_message_that_is_too_large_ends_the_connection(shop: Device) -> None:
    async with desk_of(shop) as desk:
        opened = await desk.pairing.open_code("anna")
        async with stranger_at(desk.place) as stranger:
            await stranger.send(json.dumps({"name": "x" * 9000}))
            await stranger.wait_closed()
            assert stranger.close_code == 1009
        assert opened.over is None


async def test_a_stranger_who_sends_and_sends_is_cut(shop: Device) -> None:
    async with desk_of(shop, replace(LIMITS, stranger_bytes_max=4000)) as desk:
        await desk.pairing.open_code("anna")
        async with stranger_at(desk.place) as stranger:
            with contextlib.suppress(ConnectionClosed, OSError):
                for number in range(100):
                    await stranger.ping(b"%100d" % number)
            await stranger.wait_closed()
            assert stranger.close_code == 1006


async def test_a_stranger_who_sends_headers_without_end_is_cut(shop: Device) -> None:
    async with desk_of(shop, replace(LIMITS, stranger_bytes_max=1000)) as desk:
        await desk.pairing.open_code("anna")
        with pytest.raises((InvalidMessage, OSError)):
            async with stranger_at(desk.place, origin="x" * 2000):
                pass


async def test_strangers_who_say_nothing_keep_nobody_out(shop: Device, till: Device) -> None:
    limits = Limits(strangers_of_address_max=3, open_s_max=30.0)
    async with desk_of(shop, limits) as desk:
        opened = await desk.pairing.open_code("anna")
        host, _, port = desk.place.rpartition(":")
        with contextlib.ExitStack() as silent:
            for number in range(3):
                one = socket.create_connection((host, int(port)), 5.0, (f"127.0.0.{9 + number}", 0))
                silent.enter_context(one)

            async def has_paired() -> bool:
                with contextlib.suppress(PeerError):  # it was turned away, and comes again
                    await by_code(till, opened.code, desk.place)
                return bool(desk.accepted)

            await eventually(has_paired)


async def test_an_exchange_under_way_is_not_put_out_by_a_crowd(shop: Device, till: Device) -> None:
    async with desk_of(shop, Limits(strangers_of_address_max=1)) as desk:
        opened, _ = await desk.pairing.open_token("anna"), await desk.pairing.open_code("anna")
        accepting, go_on = asyncio.Event(), asyncio.Event()

        async def accept(stranger: Stranger) -> PairedInfo:
            accepting.set()
            await go_on.wait()
            return PairedInfo("shop", "anna", desk.port)

        desk.pairing._exchange = replace(desk.pairing._exchange, accept=accept)
        pairing = asyncio.create_task(by_token(till, desk.token(opened)))
        await accepting.wait()
        host, _, port = desk.place.rpartition(":")
        for number in range(3):
            with socket.create_connection((host, int(port)), 5.0, (f"127.0.0.{9 + number}", 0)):
                await asyncio.sleep(0)
        go_on.set()
        assert (await pairing).device == shop.id


async def test_a_primary_that_stops_ends_every_exchange(shop: Device) -> None:
    async with desk_of(shop) as desk:
        opened = await desk.pairing.open_code("anna")
        async with contextlib.AsyncExitStack() as stack:
            strangers = [await stack.enter_async_context(stranger_at(desk.place)) for _ in range(3)]
            await desk.pairing.close()
            for stranger in strangers:
                with pytest.raises(ConnectionClosed):
                    await stranger.recv()
        assert opened.over is Over.CLOSED
