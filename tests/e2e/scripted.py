"""Peers that a test plays by hand over the real transport: an auxiliary or a primary with a machine's own identity."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from syncd.adapters.msgpack_adapter import MsgpackAdapter
from syncd.core.errors import FrameError, LinkLost, PeerError
from syncd.core.messages import PROTOCOL_VERSIONS, Hello, Refusal, Welcome, Wire
from syncd.core.settings import Limits
from syncd.home import config, identity
from syncd.home.config import split_address
from syncd.home.paths import Home
from syncd.transport.dialer import dial
from syncd.transport.link import Link
from syncd.transport.listener import Listener
from syncd.transport.tls import Trust
from tests.e2e.harness import Machine

LIMITS = Limits()
SPOKEN = MsgpackAdapter()
HELLO = Hello(PROTOCOL_VERSIONS, "auxiliary", "scripted", "msgpack")
ANSWER_S_MAX = 30.0


@contextlib.asynccontextmanager
async def dialed(auxiliary: Machine, primary: Machine) -> AsyncIterator[Link]:
    """A link to the primary's daemon, as the auxiliary."""
    certificate = identity.load(Home(primary.home)).certificate_der
    address = config.load(Home(primary.home)).listen
    link = await dial(Home(auxiliary.home).identity, address, certificate, LIMITS)
    try:
        yield link
    finally:
        await link.close()


@contextlib.asynccontextmanager
async def listening(
    primary: Machine, auxiliary: Machine, address: str, script: Callable[[Link], Awaitable[None]]
) -> AsyncIterator[None]:
    """A primary at the address, with the machine's identity; its daemon is stopped. Each link is given to the
    script."""
    known = identity.load(Home(auxiliary.home)).certificate_der
    home = Home(primary.home)
    host, port = split_address(address)

    async def copied(device: str) -> None:
        raise AssertionError(f"{device} has one link")

    async def let_in(device: str) -> str:
        return ""

    async with Listener(host, port, Trust(home.identity, [known]), LIMITS, script, let_in, copied):
        yield


async def say(link: Link, *messages: Wire | bytes | str) -> None:
    for one in messages:
        await link.send(one if isinstance(one, bytes | str) else SPOKEN.encode(one))


async def hear(link: Link) -> Wire:
    async with asyncio.timeout(ANSWER_S_MAX):
        return SPOKEN.decode(await link.receive(), LIMITS)


async def hear_until(link: Link, kind: type[Wire]) -> Wire:
    """The next message of the kind; others are passed over."""
    while not isinstance(message := await hear(link), kind):
        pass
    return message


async def greeted(link: Link) -> Welcome:
    await say(link, HELLO)
    message = await hear(link)
    assert isinstance(message, Welcome), message
    return message


async def refusal(link: Link) -> str:
    """The peer closes the link: the code that it gives for it."""
    said = ""
    try:
        while True:
            message = await hear(link)
            if isinstance(message, Refusal):
                said = message.code
    except LinkLost as lost:
        return said or lost.code
    except (FrameError, PeerError) as error:
        return said or error.code
