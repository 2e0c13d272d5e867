"""The pairing listener: a port of its own, which exists only while a code or token is open (DESIGN §7, R15).

It shows the primary's certificate and asks for none. Whoever comes is a stranger to the end: few at a time, few bytes,
a deadline for each step. When nothing is open any more, or a person closes pairing, the port is gone at once, and so is
every connection except those that wait for the answer to a code or token.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Self

from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from syncd.core.errors import PeerError, UserError
from syncd.core.settings import Limits
from syncd.transport.certificate import fingerprint, identity_certificate
from syncd.transport.code import make
from syncd.transport.door import Door, bind
from syncd.transport.hall import Hall
from syncd.transport.link import Link
from syncd.transport.pairing import PairedInfo, Stranger
from syncd.transport.pairing_exchange import Exchange
from syncd.transport.pairing_window import Over, Ticket, Window
from syncd.transport.tls import server_context
from syncd.transport.token import SECRET_BYTES
from syncd.transport.websocket import PAIR_PATH

log = logging.getLogger("syncd.transport")
_PORTS = 65536


@dataclass(eq=False)
class Opened:
    """A code to show, or the secret to make a token of; ``port``: of the pairing listener."""

    ticket: Ticket = field(repr=False)
    port: int
    expires_s: float  # it works for so long
    code: str = field(default="", repr=False)
    stranger: Stranger | None = None
    done: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    @property
    def secret(self) -> bytes:
        """Of a token."""
        return b"" if self.code else self.ticket.secret

    @property
    def over(self) -> Over | None:
        """Why it works no more; None: it works."""
        return self.ticket.over


def _nobody(port: int) -> None:
    """Nobody is told which port pairing has."""


@dataclass(eq=False)
class PairingDesk:
    """``port``: of the main listener; the next one is taken if it is free, else any. ``accept`` keeps a device that has
    proven its code or token. ``on_change`` is told the pairing port when it opens, and 0 when it is gone. ``run`` must
    be running."""

    host: str
    port: int
    identity: Path
    limits: Limits
    accept: Callable[[Stranger], Awaitable[PairedInfo]]
    now: Callable[[], float] = time.monotonic
    on_change: Callable[[int], None] = _nobody

    def __post_init__(self) -> None:
        self._window = Window(self.limits)
        self._opened: list[Opened] = []  # and not over
        self._links: dict[Link, ServerConnection] = {}
        self._begun: set[Link] = set()  # of those, which get their answer whatever happens
        self._hall: Hall | None = None
        self._shut: list[Hall] = []  # those in which somebody may still be
        self._exchange: Exchange
        self._opening = asyncio.Lock()
        self._moved = asyncio.Event()
        self._fault: Exception | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # ------------------------------------------------------------ what a person does

    async def open_code(self, user: str) -> Opened:
        """One more code, for a device of the user. Raises UserError, HomeError where nothing can listen."""
        code = make(secrets.randbelow)
        while self._window.knows(code.number):
            code = make(secrets.randbelow)
        return await self._open(self._window.open(code.secret, user, self.now(), code.number), code.text)

    async def open_token(self, user: str) -> Opened:
        """One more token, for a device of the user. Raises as ``open_code``."""
        return await self._open(self._window.open(secrets.token_bytes(SECRET_BYTES), user, self.now()))

    async def outcome(self, opened: Opened) -> Stranger | None:
        """Waits until the code or token is over. Returns who used it; None: nobody, and ``opened.over`` says why."""
        await opened.done.wait()
        return opened.stranger

    def void(self, opened: Opened) -> None:
        """This code or token works no longer: nobody waits for it any more."""
        opened.ticket.void(Over.CLOSED)
        self._settle()

    async def close(self) -> None:
        """Nothing works any longer, nobody is connected, the port is gone."""
        self._window.close()
        async with self._opening:
            self._settle()
        for link in self._links:
            link.abort()
        await asyncio.gather(*(hall.clear() for hall in self._shut))
        self._shut = [one for one in self._shut if not one.is_over]  # one may have been opened and shut meanwhile

    async def run(self) -> None:
        """Closes what has expired; raises what went wrong in an exchange that is not the peer's fault."""
        while self._fault is None:
            self._settle()
            self._moved.clear()
            next_s = self._window.expires_s()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if next_s is None else max(0.0, next_s - self.now())):
                    await self._moved.wait()
        raise self._fault

    # ------------------------------------------------------------ the port

    async def _open(self, ticket: Ticket, code: str = "") -> Opened:
        try:
            async with self._opening:
                port = await self._listen()
        except BaseException:
            ticket.void(Over.CLOSED)
            raise
        opened = Opened(ticket, port, self.limits.pairing_s_max, code)
        self._opened.append(opened)
        self._settle()  # it may be over: closed, or pushed out by many others
        return opened

    async def _listen(self) -> int:
        if self._hall is None:
            primary = fingerprint(identity_certificate(self.identity))
            self._exchange = Exchange(
                primary, self._window, self.limits, self.now, self.accept, self._begin, self._settle, self._used
            )
            context = server_context(self.identity)
            hall = Hall(Door(_bind_next(self.host, self.port), self.limits), self.limits)
            await hall.open(context, self._handle, self._admit)
            self._hall = hall
            log.info("pairing is open, at port %d", _port(self._hall))
            self.on_change(_port(self._hall))
        return _port(self._hall)

    def _settle(self) -> None:
        """Follows the window: tells who waits, closes the port when nothing is open."""
        self._window.expire(self.now())
        for opened in [one for one in self._opened if one.over is not None]:
            self._opened.remove(opened)
            opened.done.set()
        if self._hall is not None and not self._window.is_open(self.now()):
            self._hall.shut()
            self._shut = [*(one for one in self._shut if not one.is_over), self._hall]
            self._hall = None
            for link in self._links.keys() - self._begun:
                link.abort()
            log.info("pairing is closed")
            self.on_change(0)
        self._moved.set()

    # ------------------------------------------------------------ who comes

    def _admit(self, websocket: ServerConnection, request: Request) -> Response | None:
        if request.path == PAIR_PATH and self._window.is_open(self.now()):
            return None
        return websocket.respond(HTTPStatus.NOT_FOUND, "")

    async def _handle(self, websocket: ServerConnection) -> None:
        link = Link(websocket, "", self.limits)
        self._links[link] = websocket
        try:
            await self._exchange.serve(link)
        except PeerError:
            pass  # it is gone
        except Exception as error:
            self._fault = self._fault or error
            self._moved.set()
        finally:
            await link.close()
            del self._links[link]
            self._begun.discard(link)

    def _begin(self, link: Link) -> None:
        """The link keeps its place whoever else comes, and outlives the port: of such links there are few."""
        self._begun.add(link)
        if self._hall is not None:
            self._hall.door.recognize(self._links[link])

    def _used(self, ticket: Ticket, stranger: Stranger) -> None:
        for opened in self._opened:
            if opened.ticket is ticket:
                opened.stranger = stranger


def _port(hall: Hall) -> int:
    return int(hall.door.getsockname()[1])


def _bind_next(host: str, port: int) -> socket.socket:
    """The port after ``port`` if it is free, else any free one."""
    if port + 1 < _PORTS:
        with contextlib.suppress(UserError):
            return bind(host, port + 1)
    return bind(host, 0)
