"""Dialing: typed failures, and how long until the next try."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from syncd.core.errors import LinkLost, PeerError, Refused, SyncdError
from syncd.core.settings import Limits
from syncd.transport.dialer import Dialer, dial
from syncd.transport.door import bind
from syncd.transport.link import Link
from syncd.transport.tls import Trust
from tests.ports import free_port
from tests.transport.peers import LIMITS, Clock, Device, primary_that_knows
from tests.wait import eventually

pytestmark = pytest.mark.asyncio

REFUSED_CONNECTION = LinkLost("cannot connect")
NOT_PAIRED = Refused("not paired", code="unknown-device")


class FixedRandom(random.Random):
    def uniform(self, a: float, b: float) -> float:
        return b


@dataclass(eq=False)
class FakeLink:
    lives_s: float
    refusal: str = ""
    aborted: bool = False

    def abort(self) -> None:
        self.aborted = True


class _Enough(Exception):
    pass


@dataclass(eq=False)
class Road:
    """What each dial meets, in order; pauses are noted, not slept."""

    meets: Sequence[PeerError | FakeLink]
    addresses: Sequence[str] = ("a:1",)
    events: list[object] = field(default_factory=list)
    clock: Clock = field(default_factory=Clock)

    async def dial(self, address: str) -> Link:
        if not self.meets:
            raise _Enough
        met, *self.meets = self.meets
        self.events.append(f"dial {address}")
        if isinstance(met, PeerError):
            raise met
        return met  # type: ignore[return-value]

    async def pause(self, pause_s: float, wake: asyncio.Event) -> None:
        self.events.append(pause_s)

    def dialer(self, rand: random.Random | None = None) -> Dialer:
        return Dialer(
            self.dial,
            lambda: self.addresses,
            Limits(retry_s_first=0.2, retry_s_max=30.0),
            rand or FixedRandom(),
            now=self.clock,
            pause=self.pause,
        )

    async def travel(self, dialer: Dialer | None = None) -> list[object]:
        with contextlib.suppress(_Enough):
            async for link in (dialer or self.dialer()).links():
                assert isinstance(link, FakeLink)
                self.events.append("link")
                self.clock.time_s += link.lives_s
        return self.events

    @property
    def pauses(self) -> list[object]:
        return [event for event in self.events if isinstance(event, float)]


async def test_the_first_retry_is_at_once_then_the_pauses_double_up_to_the_limit() -> None:
    road = Road([REFUSED_CONNECTION] * 12)
    events = await road.travel()
    assert events[:4] == ["dial a:1", "dial a:1", 0.2, "dial a:1"]
    assert road.pauses == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0, 30.0])


async def test_after_a_good_link_the_retry_is_at_once_and_the_pauses_begin_anew() -> None:
    road = Road([*[REFUSED_CONNECTION] * 4, FakeLink(lives_s=60.0), REFUSED_CONNECTION, REFUSED_CONNECTION])
    events = await road.travel()
    after = events[events.index("link") + 1 :]
    assert after == ["dial a:1", 0.2, "dial a:1", 0.4]


async def test_links_that_break_soon_count_as_failures() -> None:
    road = Road([FakeLink(lives_s=1.0) for _ in range(4)])
    await road.travel()
    assert road.pauses == pytest.approx([0.2, 0.4, 0.8])


async def test_what_a_person_must_settle_is_tried_again_at_the_longest_pause() -> None:
    road = Road([NOT_PAIRED] * 5)
    await road.travel()
    assert road.pauses == [0.2, 30.0, 30.0, 30.0]  # the link may have broken in the handshake, which looks the same


async def test_a_break_in_the_handshake_among_links_that_break_soon_is_no_refusal() -> None:
    road = Road([FakeLink(1.0), FakeLink(1.0), NOT_PAIRED, FakeLink(1.0), NOT_PAIRED, NOT_PAIRED, FakeLink(1.0)])
    await road.travel()
    assert road.pauses == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, 6.4])


async def test_a_link_that_the_primary_closed_for_good_counts_as_a_refusal() -> None:
    road = Road([FakeLink(1.0, refusal="duplicate"), FakeLink(1.0, refusal="duplicate")])
    dialer = road.dialer()
    await road.travel(dialer)
    assert road.pauses == [30.0]
    assert dialer.failure is not None
    assert dialer.failure.code == "duplicate"


async def test_the_log_says_once_why_the_primary_is_not_reached(caplog: pytest.LogCaptureFixture) -> None:
    road = Road([*[REFUSED_CONNECTION] * 3, LinkLost("no route"), FakeLink(1.0), LinkLost("no route")])
    await road.travel()
    assert caplog.messages == ["cannot connect", "no route", "no route"]


async def test_what_the_consumer_says_of_a_link_stays_where_the_primary_refused_it() -> None:
    road = Road([FakeLink(1.0, refusal="version")])
    dialer = road.dialer()
    with contextlib.suppress(_Enough):
        async for _ in dialer.links():
            dialer.failure = Refused("this device speaks 9", code="version")
    assert dialer.failure is not None
    assert dialer.failure.text == "this device speaks 9"


async def test_of_all_addresses_the_failure_of_the_first_is_told_until_it_is_dialed_anew() -> None:
    road = Road([LinkLost("no route"), REFUSED_CONNECTION], addresses=("primary:1", "127.0.0.1:1"))
    dialer = road.dialer()
    await road.travel(dialer)
    assert dialer.failure is not None
    assert dialer.failure.text == "no route"
    dialer.wake()
    assert dialer.failure is None


async def test_a_primary_that_stops_is_dialed_again_soon() -> None:
    road = Road([FakeLink(60.0, refusal="stopping"), REFUSED_CONNECTION])
    await road.travel()
    assert road.pauses == [0.2]


async def test_all_addresses_are_tried_before_a_pause_and_asked_for_again_after_it() -> None:
    road = Road([REFUSED_CONNECTION] * 4 + [FakeLink(1.0)], addresses=("a:1", "b:2"))
    events = await road.travel()
    assert events == ["dial a:1", "dial b:2", "dial a:1", "dial b:2", 0.2, "dial a:1", "link", 0.4]


async def test_a_stranger_at_an_old_address_does_not_slow_the_way_to_the_primary() -> None:
    road = Road([NOT_PAIRED, REFUSED_CONNECTION] * 2, addresses=("old:1", "primary:2"))
    await road.travel()
    assert road.pauses == [0.2]


async def test_pauses_are_shortened_by_chance_so_that_devices_do_not_return_in_step() -> None:
    first, second = Road([REFUSED_CONNECTION] * 8), Road([REFUSED_CONNECTION] * 8)
    await first.travel(first.dialer(random.Random(1)))
    await second.travel(second.dialer(random.Random(2)))
    assert first.pauses != second.pauses
    for pauses in (first.pauses, second.pauses):
        for pause_s, full_s in zip(pauses, [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8], strict=True):
            assert isinstance(pause_s, float)
            assert full_s / 2 <= pause_s <= full_s


async def test_a_link_is_over_when_the_next_is_asked_for() -> None:
    link = FakeLink(1.0)
    await Road([link]).travel()
    assert link.aborted


async def test_without_an_address_the_dialer_says_so_and_goes_on_asking() -> None:
    road = Road([FakeLink(1.0)], addresses=())
    dialer = road.dialer()
    failures: list[SyncdError | None] = []

    async def address_appears(pause_s: float, wake: asyncio.Event) -> None:
        failures.append(dialer.failure)
        road.addresses = ("a:1",)

    dialer.pause = address_appears
    assert "link" in await road.travel(dialer)
    assert failures[0] is not None
    assert "no address" in failures[0].text


async def test_what_is_no_address_does_not_end_the_dialing(shop: Device, till: Device) -> None:
    road = Road([FakeLink(1.0)])
    dialer = road.dialer()

    async def call(address: str) -> Link:
        if address == "nonsense":
            return await dial(till.identity, address, shop.certificate, LIMITS)
        return await road.dial(address)

    dialer.dial = call
    road.addresses = ("nonsense", "a:1")
    assert "link" in await road.travel(dialer)
    road.meets, road.addresses = [FakeLink(1.0)], ("nonsense",)

    async def address_is_corrected(pause_s: float, wake: asyncio.Event) -> None:
        if dialer.failure is not None:
            assert "'nonsense' is no address" in dialer.failure.text
            assert pause_s == 30.0
            road.addresses = ("a:1",)

    dialer.pause = address_is_corrected
    assert (await road.travel(dialer)).count("link") == 2
    assert road.addresses == ("a:1",)


async def test_waking_ends_a_pause() -> None:
    tried = asyncio.Event()

    async def refuse(address: str) -> Link:
        tried.set()
        raise NOT_PAIRED

    dialer = Dialer(refuse, lambda: ["a:1"], Limits(retry_s_max=3600.0), random.Random(0))

    async def travel() -> None:
        async for _ in dialer.links():
            raise AssertionError("nobody answers")

    travelling = asyncio.create_task(travel())
    async with asyncio.timeout(30):
        for _ in range(3):
            await tried.wait()
            tried.clear()
            dialer.wake()
    travelling.cancel()
    await asyncio.wait([travelling])


async def test_a_real_link_is_dialed_again_after_it_broke(shop: Device, till: Device) -> None:
    async with primary_that_knows(shop, till) as primary:

        async def call(address: str) -> Link:
            return await dial(till.identity, address, shop.certificate, LIMITS)

        dialer = Dialer(call, lambda: [primary.address], Limits(retry_s_first=0.01), random.Random(0))
        async with contextlib.aclosing(dialer.links()) as links:
            for _ in range(3):
                link = await anext(links)
                await eventually(lambda: primary.links)
                primary.links.pop().abort()
                with pytest.raises(LinkLost):
                    await link.receive()


# ---------------------------------------------------------------- failures of one dial


async def test_a_device_that_is_not_the_pinned_primary_is_refused_before_a_word(
    shop: Device, till: Device, other: Device
) -> None:
    async with primary_that_knows(other, till) as impostor:
        with pytest.raises(Refused) as caught:
            await dial(till.identity, impostor.address, shop.certificate, LIMITS)
        assert f"the device at {impostor.address} is not the primary that was paired" in caught.value.text
        assert impostor.links == []


async def test_nobody_at_the_address_is_a_lost_link(shop: Device, till: Device) -> None:
    with pytest.raises(LinkLost, match="cannot connect"):
        await dial(till.identity, f"127.0.0.1:{free_port()}", shop.certificate, LIMITS)


async def test_a_name_that_does_not_exist_is_a_lost_link(shop: Device, till: Device) -> None:
    for name in ("no-such-host.invalid", "x" * 70, "a..b"):
        with pytest.raises(LinkLost):
            await dial(till.identity, f"{name}:1", shop.certificate, LIMITS)
    await asyncio.get_running_loop().shutdown_default_executor()  # the thread that asked for the name


async def test_a_peer_that_accepts_and_says_nothing_is_given_up_at_the_deadline(shop: Device, till: Device) -> None:
    with bind("127.0.0.1", 0) as silent, pytest.raises(LinkLost, match=r"within 0\.2 s"):
        await dial(till.identity, "{}:{}".format(*silent.getsockname()), shop.certificate, Limits(open_s_max=0.2))


async def test_a_primary_that_sends_us_elsewhere_is_not_followed(shop: Device, till: Device) -> None:
    def redirect(websocket: ServerConnection, request: Request) -> Response:
        response = websocket.respond(HTTPStatus.FOUND, "")
        response.headers["Location"] = f"wss://127.0.0.1:{port}/elsewhere"
        asked.append(request.path)
        return response

    asked: list[str] = []
    context = Trust(shop.identity, [till.certificate]).context
    async with serve(lambda websocket: websocket.close(), "127.0.0.1", 0, ssl=context, process_request=redirect) as one:
        port = one.sockets[0].getsockname()[1]
        with pytest.raises(LinkLost, match="302"):
            await dial(till.identity, f"127.0.0.1:{port}", shop.certificate, LIMITS)
    assert asked == ["/sync"]


@pytest.mark.parametrize("greeting", [b"SSH-2.0-OpenSSH\r\n", b""])
async def test_another_service_at_the_address_is_a_lost_link(shop: Device, till: Device, greeting: bytes) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        address = "{}:{}".format(*server.sockets[0].getsockname())
        with pytest.raises(LinkLost):
            await dial(till.identity, address, shop.certificate, LIMITS)
