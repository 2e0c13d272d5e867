"""Who gets in, and who does not (DESIGN §7)."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import InvalidHandshake, InvalidStatus
from websockets.http11 import Request, Response

from syncd.core.errors import HomeError, InvariantBroken, LinkLost, Refused
from syncd.core.settings import Limits
from syncd.transport.link import Link
from syncd.transport.listener import Listener
from syncd.transport.tls import Trust, client_context, stranger_context
from syncd.transport.websocket import INSTANCE_HEADER
from tests.transport.peers import LIMITS, Device, Primary, dial_or_none, make_device, primary_that_knows, tcp
from tests.wait import eventually

pytestmark = pytest.mark.asyncio


@contextlib.asynccontextmanager
async def raw_websocket(
    primary: Primary, path: str, context: ssl.SSLContext, origin: str | None = None
) -> AsyncIterator[ClientConnection]:
    """A websocket of somebody who does not keep to our client."""
    host, port = primary.listener.address
    headers = {"Origin": origin} if origin else None
    async with connect(
        f"wss://syncd{path}", host=host, port=port, ssl=context, proxy=None, additional_headers=headers
    ) as websocket:
        yield websocket


async def test_a_paired_device_gets_in(shop: Device, till: Device) -> None:
    async with primary_that_knows(shop, till) as primary:
        link = await primary.dialed_by(till)
        await eventually(lambda: [one.device for one in primary.links] == [till.id])
        await link.close()


async def test_a_device_that_was_never_paired_is_told_to_pair(shop: Device, till: Device, other: Device) -> None:
    async with primary_that_knows(shop, till) as primary:
        with pytest.raises(Refused) as caught:
            await primary.dialed_by(other)
        assert caught.value.code == "unknown-device"
        assert "syncd pair" in caught.value.advice
        assert primary.links == []


async def test_where_no_device_is_paired_nobody_gets_in(shop: Device, till: Device) -> None:
    async with primary_that_knows(shop) as primary:
        with pytest.raises(Refused, match="does not know this device"):
            await primary.dialed_by(till)
        with pytest.raises(InvalidHandshake):
            async with raw_websocket(primary, "/sync", stranger_context()):
                pass


async def test_without_a_certificate_nothing_is_answered(shop: Device, till: Device) -> None:
    async with primary_that_knows(shop, till) as primary:
        for path in ("/sync", "/pair"):
            with pytest.raises(InvalidHandshake) as caught:
                async with raw_websocket(primary, path, stranger_context()):
                    pass
            assert not isinstance(caught.value, InvalidStatus)
        assert primary.links == []


@pytest.mark.parametrize("path", ["/", "/sync/", "/sync?x", "/pair", "/metrics", "/../sync"])
async def test_other_paths_do_not_exist(shop: Device, till: Device, path: str) -> None:
    async with primary_that_knows(shop, till) as primary:
        with pytest.raises(InvalidStatus) as caught:
            async with raw_websocket(primary, path, client_context(till.identity, shop.certificate)):
                pass
        assert caught.value.response.status_code == 404
        assert "Server" not in caught.value.response.headers


async def test_a_browser_page_does_not_get_in(shop: Device, till: Device) -> None:
    async with primary_that_knows(shop, till) as primary:
        with pytest.raises(InvalidStatus) as caught:
            async with raw_websocket(
                primary, "/sync", client_context(till.identity, shop.certificate), origin="https://example.org"
            ):
                pass
        assert caught.value.response.status_code == 403


async def test_a_device_paired_meanwhile_gets_in_without_a_restart(shop: Device, till: Device, other: Device) -> None:
    async with primary_that_knows(shop, till) as primary:
        with pytest.raises(Refused):
            await primary.dialed_by(other)
        assert primary.listener.trust.admit(other.certificate) == other.id
        link = await primary.dialed_by(other)
        await eventually(lambda: [one.device for one in primary.links] == [other.id])
        await link.close()


@pytest.mark.parametrize("code", ["revoked", "copied"])
async def test_a_refused_device_is_cut_at_once_and_told_why_until_it_is_admitted(
    shop: Device, till: Device, code: str
) -> None:
    async with primary_that_knows(shop, till) as primary:
        link = await primary.dialed_by(till)
        await eventually(lambda: primary.links)
        refusing = asyncio.create_task(primary.listener.refuse(till.id, code))
        with pytest.raises(LinkLost):
            await link.receive()
        await refusing
        assert link.refusal == code
        for _ in range(2):
            with pytest.raises(Refused) as caught:
                await primary.dialed_by(till)
            assert caught.value.code == code
        primary.listener.trust.admit(till.certificate)
        await (await primary.dialed_by(till)).close()


async def test_a_device_may_be_refused_before_it_is_answered(shop: Device, till: Device) -> None:
    async with primary_that_knows(shop, till) as primary:
        primary.refusals[till.id] = "disk"
        with pytest.raises(Refused) as caught:
            await primary.dialed_by(till)
        assert caught.value.code == "disk"
        assert primary.links == []
        primary.refusals.clear()
        await (await primary.dialed_by(till)).close()


async def test_a_device_that_reads_nothing_is_cut_all_the_same(shop: Device, till: Device) -> None:
    async with primary_that_knows(shop, till) as primary:
        link = await primary.dialed_by(till)
        await eventually(lambda: primary.links)
        link._websocket.transport.pause_reading()
        filling = asyncio.create_task(_fill(primary.links[0]))
        async with asyncio.timeout(LIMITS.send_s_max / 2):
            await primary.listener.refuse(till.id, "revoked")
            await eventually(lambda: primary.ended)
        with pytest.raises(LinkLost):
            await filling
        link.abort()


async def test_a_forgotten_device_is_unknown(shop: Device, till: Device) -> None:
    async with primary_that_knows(shop, till) as primary:
        primary.listener.trust.forget(till.id)
        with pytest.raises(Refused, match="does not know this device"):
            await primary.dialed_by(till)
        primary.listener.trust.admit(till.certificate)
        await (await primary.dialed_by(till)).close()


async def test_nothing_older_than_tls_1_3_is_spoken(shop: Device, till: Device) -> None:
    context = client_context(till.identity, shop.certificate)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with primary_that_knows(shop, till) as primary:
        with pytest.raises(OSError):  # an alert or a reset, whichever comes first
            async with raw_websocket(primary, "/sync", context):
                pass
        context.maximum_version = ssl.TLSVersion.TLSv1_3
        async with raw_websocket(primary, "/sync", context) as websocket:
            assert websocket.transport.get_extra_info("ssl_object").version() == "TLSv1.3"


async def test_no_handshake_is_shortened_by_an_earlier_one(shop: Device, till: Device) -> None:
    """A resumed session would not show the certificate again."""
    context = client_context(till.identity, shop.certificate)
    async with primary_that_knows(shop, till) as primary, raw_websocket(primary, "/sync", context) as websocket:
        await eventually(lambda: primary.links)
        await primary.links[0].send("after the handshake, where tickets would come")
        await websocket.recv()
        tls = websocket.transport.get_extra_info("ssl_object")
        assert tls.session is None or not tls.session.has_ticket


@pytest.mark.parametrize("method", ["POST", "HEAD", "CONNECT"])
async def test_other_methods_than_get_are_refused(shop: Device, till: Device, method: str) -> None:
    async with primary_that_knows(shop, till) as primary:
        host, port = primary.listener.address
        context = client_context(till.identity, shop.certificate)
        reader, writer = await asyncio.open_connection(host, port, ssl=context)
        writer.write(f"{method} /sync HTTP/1.1\r\nHost: syncd\r\n\r\n".encode())
        async with asyncio.timeout(30):
            assert (await reader.readline()).split()[1] in (b"400", b"405")
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        assert primary.links == []


async def test_devices_of_the_same_name_all_get_in(shop: Device, till: Device, tmp_path: Path) -> None:
    namesake = make_device(tmp_path, till.name)
    async with primary_that_knows(shop, till, namesake) as primary:
        for device in (till, namesake):
            link = await primary.dialed_by(device)
            assert link.is_open
            await link.close()
        await eventually(lambda: len(primary.ended) == 2)
        assert [one.device for one in primary.links] == [till.id, namesake.id]


async def test_the_dates_in_a_certificate_do_not_matter(shop: Device, tmp_path: Path) -> None:
    old = make_device(tmp_path, "old", end=datetime.datetime(1971, 1, 1, tzinfo=datetime.UTC))
    async with primary_that_knows(old, old) as primary:
        link = await primary.dialed_by(old)
        await eventually(lambda: primary.links)
        await link.close()


async def test_a_connection_that_is_lost_in_the_handshake_is_no_fault(
    shop: Device, till: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """asyncio knows neither socket nor peer of a TLS connection any more, once it is lost."""
    admit = Listener._admit

    async def lost(self: Listener, websocket: ServerConnection, request: Request) -> Response | None:
        known = websocket.transport.get_extra_info
        only = {"ssl_object": known("ssl_object")}
        monkeypatch.setattr(websocket.transport, "get_extra_info", only.get)
        return await admit(self, websocket, request)

    monkeypatch.setattr(Listener, "_admit", lost)
    async with primary_that_knows(shop, till) as primary:
        link = await primary.dialed_by(till)
        await eventually(lambda: primary.links)
        assert not primary.listener._failure.done()
        link.abort()


async def test_a_header_that_is_said_twice_is_no_fault(shop: Device, till: Device) -> None:
    context = client_context(till.identity, shop.certificate)
    async with primary_that_knows(shop, till) as primary:
        host, port = primary.listener.address
        headers = [(INSTANCE_HEADER, "one"), (INSTANCE_HEADER, "two")]
        async with connect(
            "wss://syncd/sync", host=host, port=port, ssl=context, proxy=None, additional_headers=headers
        ):
            await eventually(lambda: primary.links)
        assert not primary.listener._failure.done()


async def test_devices_do_not_disturb_each_other(shop: Device, till: Device, other: Device) -> None:
    async with primary_that_knows(shop, till, other) as primary:
        links = [await primary.dialed_by(till), await primary.dialed_by(other)]
        await eventually(lambda: {one.device for one in primary.links} == {till.id, other.id})
        assert all(link.is_open for link in links)
        for link in links:
            await link.close()


async def test_a_stranger_who_says_nothing_is_put_out_at_the_deadline(shop: Device, till: Device) -> None:
    limits = Limits(strangers_max=1, open_s_max=0.2)
    async with primary_that_knows(shop, till, limits=limits) as primary:
        with tcp(primary.listener.address):
            link = await eventually(lambda: dial_or_none(primary, till))
            assert link is not None
            await link.close()


async def test_a_listener_that_stops_leaves_no_stranger_in_the_handshake(shop: Device, till: Device) -> None:
    with contextlib.ExitStack() as silent:
        async with primary_that_knows(shop, till) as primary:
            strangers = [silent.enter_context(tcp(primary.listener.address)) for _ in range(3)]
            await eventually(lambda: len(primary.listener._hall.door._strangers) == 3)
            inside = [one.connection for one in primary.listener._hall.door._strangers]
        assert all(one.fileno() < 0 for one in inside)
        for stranger in strangers:
            stranger.setblocking(False)
            assert _is_over(stranger)


async def test_a_stranger_who_says_no_tls_is_put_out(shop: Device, till: Device) -> None:
    async with primary_that_knows(shop, till) as primary:
        with tcp(primary.listener.address) as stranger:
            stranger.sendall(b"GET /sync HTTP/1.1\r\n\r\n")
            stranger.setblocking(False)
            await eventually(lambda: _is_over(stranger))


async def test_paired_devices_take_no_strangers_place(shop: Device, till: Device, other: Device) -> None:
    async with primary_that_knows(shop, till, other, limits=Limits(strangers_max=1)) as primary:
        links = [await primary.dialed_by(till), await primary.dialed_by(other)]
        for link in links:
            await link.close()


async def test_a_devices_message_may_be_large(shop: Device, till: Device) -> None:
    async with primary_that_knows(shop, till) as primary:
        link = await primary.dialed_by(till)
        await link.send(bytes(1_000_000))
        await eventually(lambda: primary.heard == [bytes(1_000_000)])
        await link.close()


async def test_a_primary_that_stops_says_so(shop: Device, till: Device) -> None:
    async with primary_that_knows(shop, till) as primary:
        link = await primary.dialed_by(till)
        await eventually(lambda: primary.links)
        last_words = asyncio.create_task(link.receive())
        await asyncio.wait([last_words], timeout=0)
    with pytest.raises(LinkLost):
        await last_words
    assert link.refusal == "stopping"


async def test_a_fault_of_ours_in_a_handler_comes_out_of_wait(shop: Device, till: Device) -> None:
    async def broken(link: Link) -> None:
        raise InvariantBroken("the program contradicts itself")

    async with primary_that_knows(shop, till, on_link=broken) as primary:
        link = await primary.dialed_by(till)
        with pytest.raises(InvariantBroken):
            async with asyncio.timeout(30):
                await primary.listener.wait()
        await link.close()


async def test_a_handler_that_does_not_end_with_its_link_is_ended(shop: Device, till: Device) -> None:
    ended = asyncio.Event()

    async def stubborn(link: Link) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    limits = Limits(hello_s_max=0.1)
    async with primary_that_knows(shop, till, limits=limits, on_link=stubborn) as primary:
        link = await primary.dialed_by(till)
        ending = asyncio.create_task(link.close())
    await ending
    assert ended.is_set()


async def test_an_identity_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(HomeError, match=r"identity\.pem cannot be used"):
        Trust(tmp_path / "identity.pem")


async def _fill(link: Link) -> None:
    while True:
        await link.send(bytes(100_000))


def _is_over(connection: object) -> bool:
    try:
        return connection.recv(100) == b""  # type: ignore[attr-defined, no-any-return]
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True
