"""A listener that stops while others come in: whatever the moment, nothing of it stays open (R15)."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial

import pytest
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from syncd.transport.door import Door
from syncd.transport.hall import Hall
from syncd.transport.link import Link
from syncd.transport.tls import client_context, stranger_context
from tests.transport.desks import desk_of, stranger_at
from tests.transport.peers import Device, dial_or_none, primary_that_knows, tcp
from tests.wait import eventually

pytestmark = pytest.mark.asyncio

_STOPS = 60
_TURNS_MAX = 20  # of the loop; after so many whoever came is in
_COMERS_MAX = 4
_FRAMES = 80  # more than a websocket takes before anybody reads

Come = Callable[[], Awaitable[object]]


class Watch:
    """Every port that was closed, and every connection that was let in."""

    def __init__(self) -> None:
        self.halls: list[Hall] = []
        self.came: list[socket.socket] = []

    def check(self) -> None:
        """All is over. What comes from here on is watched anew."""
        assert self.halls
        assert [one for one in self.came if one.fileno() >= 0] == []
        assert all(one.is_over for one in self.halls)
        self.halls.clear()
        self.came.clear()


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    watch = Watch()
    accept, shut = Door.accept, Hall.shut

    def watched_accept(self: Door) -> tuple[socket.socket, object]:
        connection, address = accept(self)
        watch.came.append(connection)
        return connection, address

    def watched_shut(self: Hall) -> None:
        watch.halls.append(self)
        shut(self)

    monkeypatch.setattr(Door, "accept", watched_accept)
    monkeypatch.setattr(Hall, "shut", watched_shut)
    yield watch
    gc.collect()  # what nobody closed fails this test, and no later one


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def coming(rand: random.Random, *ways: Come) -> AsyncIterator[None]:
    """Some come at any moment, in any way; they end when the block has ended."""

    async def come(way: Come, after: int) -> None:
        await turns(after)
        with contextlib.suppress(OSError, ConnectionClosed, InvalidHandshake, EOFError):
            await way()

    async with asyncio.TaskGroup() as group:
        for _ in range(rand.randint(1, _COMERS_MAX)):
            group.create_task(come(rand.choice(ways), rand.randrange(_TURNS_MAX)))
        yield


async def say_nothing(address: tuple[str, int]) -> None:
    with tcp(address):
        await turns(_TURNS_MAX)


async def say_no_more_than(context: ssl.SSLContext, address: tuple[str, int]) -> None:
    """The handshake of TLS, and nothing after it."""
    reader, writer = await asyncio.open_connection(*address, ssl=context, server_hostname="syncd")
    try:
        await reader.read()
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def test_a_listener_that_stops_while_others_come_leaves_nothing_open(
    shop: Device, till: Device, other: Device, seed: int, watch: Watch
) -> None:
    rand = random.Random(seed)
    silent = client_context(till.identity, shop.certificate)
    for _ in range(_STOPS):
        listening = contextlib.AsyncExitStack()
        primary = await listening.enter_async_context(primary_that_knows(shop, till))
        address = primary.listener.address
        async with coming(
            rand,
            partial(dial_or_none, primary, till),
            partial(dial_or_none, primary, other),
            partial(say_nothing, address),
            partial(say_no_more_than, silent, address),
        ):
            await turns(rand.randrange(_TURNS_MAX))
            await listening.aclose()
            watch.check()


async def test_a_desk_that_closes_while_strangers_come_leaves_nothing_open(
    shop: Device, seed: int, watch: Watch
) -> None:
    rand = random.Random(seed)
    silent = stranger_context()

    async def talk(address: tuple[str, int]) -> None:
        async with stranger_at("{}:{}".format(*address), context=silent) as websocket:
            for _ in range(_FRAMES):
                await websocket.send("")

    for _ in range(_STOPS):
        closing = contextlib.AsyncExitStack()
        desk = await closing.enter_async_context(desk_of(shop))
        opened = await desk.pairing.open_token("anna")
        address = ("127.0.0.1", opened.port)
        async with coming(
            rand, partial(talk, address), partial(say_nothing, address), partial(say_no_more_than, silent, address)
        ):
            for _ in range(rand.randrange(4)):  # the port goes and comes while some are in
                await turns(rand.randrange(_TURNS_MAX))
                desk.pairing.void(opened)
                opened = await desk.pairing.open_token("anna")
            await turns(rand.randrange(_TURNS_MAX))
            await closing.aclose()
            watch.check()


async def test_whoever_waits_at_the_door_in_the_turn_of_the_stop_is_not_left_inside(shop: Device, watch: Watch) -> None:
    async with primary_that_knows(shop) as primary:
        late = tcp(primary.listener.address)
        await turns(1)  # in the next one the loop knows of it, and takes it after this task
    watch.check()
    late.close()


async def test_a_device_that_is_let_in_in_the_turn_of_the_stop_begins_no_link(
    shop: Device, till: Device, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, asked = asyncio.Event(), asyncio.Event()

    async def let_in(device: str) -> str:
        asked.set()
        await gate.wait()
        return ""

    async with primary_that_knows(shop, till) as primary:
        monkeypatch.setattr(primary.listener, "on_device", let_in)
        dialing = asyncio.create_task(dial_or_none(primary, till))
        await asked.wait()
        gate.set()
    watch.check()
    assert primary.links == []
    if link := await dialing:
        await link.close()


async def test_a_stop_that_is_cancelled_in_its_goodbyes_leaves_nothing_open(
    shop: Device, till: Device, watch: Watch
) -> None:
    async def stop_when_told(told: asyncio.Event) -> None:
        async with primary_that_knows(shop, till) as primary:
            link = await primary.dialed_by(till)
            await eventually(lambda: primary.links)
            link._websocket.transport.pause_reading()  # it will not hear the goodbye
            links.append(link)
            await told.wait()

    links: list[Link] = []
    told = asyncio.Event()
    stopping = asyncio.create_task(stop_when_told(told))
    await eventually(lambda: links)
    told.set()
    await eventually(lambda: watch.halls)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    watch.check()
    links[0].abort()
