"""For the tests of pairing: a primary's desk that keeps what it accepted, strangers who keep to nothing, and primaries
that are none."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve

from syncd.core.errors import PeerError, SyncdError
from syncd.core.settings import Limits
from syncd.transport import code
from syncd.transport import pairing_message as message
from syncd.transport.pairing import Own, Paired, PairedInfo, Stranger, pair_by_code, pair_by_token
from syncd.transport.pairing_listener import Opened, PairingDesk
from syncd.transport.pairing_window import Over
from syncd.transport.tls import server_context, stranger_context
from syncd.transport.token import Token
from tests.ports import two_listening
from tests.transport.peers import LIMITS, Clock, Device

Message = dict[str, str]


@dataclass(eq=False)
class Desk:
    """A primary at which pairing can be opened."""

    device: Device
    pairing: PairingDesk
    port: int  # of its main listener
    clock: Clock
    running: asyncio.Task[None]
    accepted: list[Stranger]
    ports: list[int]  # as told by ``on_change``
    fails: list[SyncdError] = field(default_factory=list)  # what accepting raises, each once

    @property
    def place(self) -> str:
        return f"127.0.0.1:{next(port for port in reversed(self.ports) if port)}"

    def token(self, opened: Opened) -> Token:
        return Token(self.device.fingerprint, opened.secret, (self.place,))


@contextlib.asynccontextmanager
async def desk_of(device: Device, limits: Limits = LIMITS) -> AsyncIterator[Desk]:
    """The port after its main listener's is free."""
    accepted: list[Stranger] = []
    ports: list[int] = []

    async def accept(stranger: Stranger) -> PairedInfo:
        if desk.fails:
            raise desk.fails.pop(0)
        accepted.append(stranger)
        return PairedInfo(device.name, stranger.user, desk.port)

    main, after = two_listening()
    after.close()
    with main:
        port, clock = main.getsockname()[1], Clock()
        async with PairingDesk("127.0.0.1", port, device.identity, limits, accept, clock, ports.append) as pairing:
            running = asyncio.create_task(pairing.run())
            desk = Desk(device, pairing, port, clock, running, accepted, ports)
            try:
                yield desk
            finally:
                running.cancel()
                await asyncio.wait([running])


async def by_code(device: Device, typed: str, *places: str, limits: Limits = LIMITS) -> Paired:
    return await pair_by_code(Own(device.certificate, device.name), code.parse(typed), places, limits)


async def by_token(device: Device, token: Token) -> Paired:
    return await pair_by_token(Own(device.certificate, device.name), token, LIMITS)


async def refusal(pairing: Awaitable[Paired]) -> str:
    """The code of what went wrong."""
    with pytest.raises(PeerError) as caught:
        await pairing
    assert caught.value.advice or caught.value.code == "bad-frame"
    return caught.value.code


async def nobody_came(desk: Desk, opened: Opened, why: Over) -> None:
    """Whoever waits is told so, and nothing is kept."""
    async with asyncio.timeout(30):
        assert await desk.pairing.outcome(opened) is None
    assert opened.over is why
    assert desk.accepted == []


def other_words(typed: str) -> str:
    """A code of the same number with another word."""
    known = code.parse(typed)
    first = next(word for word in code.words() if word != known.words[0])
    return known._replace(words=(first, known.words[1])).text


# ---------------------------------------------------------------- who keeps to nothing


@contextlib.asynccontextmanager
async def stranger_at(
    place: str, path: str = "/pair", context: ssl.SSLContext | None = None, origin: str = "", source: str = ""
) -> AsyncIterator[ClientConnection]:
    """``source``: the address that the stranger comes from."""
    host, _, port = place.rpartition(":")
    headers = {"Origin": origin} if origin else None
    where: dict[str, Any] = {"host": host, "port": int(port), "local_addr": (source, 0) if source else None}
    shown = context or stranger_context()
    uri = f"wss://syncd{path}"
    async with connect(uri, **where, ssl=shown, proxy=None, additional_headers=headers) as websocket:
        yield websocket


async def say(place: str, *frames: str | bytes) -> Message:
    """Sends what a stranger made up, one frame after each answer. Returns the last answer."""
    async with stranger_at(place) as websocket:
        answer = ""
        for frame in frames:
            await websocket.send(frame)
            answer = await websocket.recv(decode=True)
        return cast(Message, json.loads(answer))


def asking(device: Device, **parts: str) -> str:
    """A first message in the name of the device."""
    own = {"name": device.name, "certificate": message.put_bytes(device.certificate)}
    return message.encode(own | parts)


@contextlib.asynccontextmanager
async def false_primary(device: Device, answer: Callable[[ServerConnection], Awaitable[None]]) -> AsyncIterator[str]:
    """Answers strangers with the device's certificate, and as the test likes. Yields its place."""

    async def handle(websocket: ServerConnection) -> None:
        with contextlib.suppress(Exception):
            await answer(websocket)

    context = server_context(device.identity)
    async with serve(handle, "127.0.0.1", 0, ssl=context, origins=[None]) as server:
        yield "{}:{}".format(*next(iter(server.sockets)).getsockname()[:2])


@contextlib.asynccontextmanager
async def between(
    device: Device, place: str, towards_primary: Callable[[Message], Message] = dict
) -> AsyncIterator[str]:
    """A man in the middle with the device's certificate, who passes all on; the messages to the primary he may change.
    Yields the place where he stands."""

    async def answer(websocket: ServerConnection) -> None:
        async with stranger_at(place) as far:
            while True:
                await far.send(message.encode(towards_primary(json.loads(await websocket.recv(decode=True)))))
                await websocket.send(await far.recv(decode=True))

    async with false_primary(device, answer) as at:
        yield at
