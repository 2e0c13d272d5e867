"""The primary's end of all links: one port for ``/sync`` and ``/pair`` (DESIGN §7, R15).

``/sync`` takes paired devices only; ``/pair`` takes strangers, and only while a pairing window is open. A device has
one link: a later one takes over, and its ``on_link`` begins after that of the earlier one has returned.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Self

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

from syncd.core.errors import PeerError
from syncd.core.settings import Limits
from syncd.transport.door import Door, bind
from syncd.transport.link import CLOSE_S_MAX, Link, peer_certificate, websocket_settings
from syncd.transport.pairing import Pairing
from syncd.transport.tls import Trust
from syncd.transport.websocket import PAIR_BYTES_MAX, PAIR_PATH, SYNC_PATH

_TAKEOVER_S_MAX = 0.5  # for the earlier link's goodbye: most often its peer is gone


@dataclass(eq=False, slots=True)
class _Live:
    link: Link
    task: asyncio.Task[object]


@dataclass(eq=False)
class Listener:
    """``on_link`` holds a link for as long as it lives; what it raises that is no PeerError comes out of ``wait``."""

    host: str
    port: int
    trust: Trust
    pairing: Pairing
    limits: Limits
    on_link: Callable[[Link], Awaitable[None]]

    async def __aenter__(self) -> Self:
        self._live: dict[str, _Live] = {}
        self._strangers: set[Link] = set()
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._door = Door(bind(self.host, self.port), self.limits.strangers_max, self._before_each)
        self.address: tuple[str, int] = self._door.getsockname()[:2]
        self._server: Server = await serve(
            self._handle,
            sock=self._door,
            ssl=self.trust.context,
            process_request=self._admit,
            origins=[None],  # browsers name an origin, devices do not
            server_header=None,
            max_size=PAIR_BYTES_MAX,  # a stranger's; raised for a device
            **websocket_settings(self.limits),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close(close_connections=False)
        for link in self._strangers:
            link.abort()
        live = list(self._live.values())
        await asyncio.gather(*(one.link.close("stopping") for one in live))
        await self._end([one.task for one in live])
        try:
            async with asyncio.timeout(self.limits.open_s_max + CLOSE_S_MAX):
                await self._server.wait_closed()
        except TimeoutError:
            pass  # a stranger in mid-handshake; its own deadline ends it
        self._failure.cancel()

    async def wait(self) -> None:
        """Waits for ever; raises what a handler raised that is not the peer's fault."""
        await asyncio.shield(self._failure)

    async def revoke(self, device: str) -> None:
        """The device is unknown from here on; its link is cut at once."""
        self.trust.revoke(device)
        live = self._live.get(device)
        if live is not None:
            await live.link.close("unknown-device", _TAKEOVER_S_MAX)

    # ------------------------------------------------------------ who comes in

    def _before_each(self) -> None:
        self.trust.let_strangers_in(self.pairing.answers())

    def _admit(self, websocket: ServerConnection, request: Request) -> Response | None:
        if request.path == SYNC_PATH:
            if self.trust.device_of(peer_certificate(websocket)) is None:
                return websocket.respond(HTTPStatus.FORBIDDEN, "")
            self._door.recognize(websocket.transport.get_extra_info("socket").fileno())
            websocket.protocol.max_message_size = self.limits.message_bytes_max
            return None
        if request.path == PAIR_PATH and self.pairing.answers():
            return None
        return websocket.respond(HTTPStatus.NOT_FOUND, "")

    async def _handle(self, websocket: ServerConnection) -> None:
        device = self.trust.device_of(peer_certificate(websocket))
        try:
            if websocket.request is not None and websocket.request.path == PAIR_PATH:
                await self._pair(Link(websocket, "", self.limits))
            elif device is not None:  # revoked since ``_admit``, otherwise
                await self._sync(Link(websocket, device, self.limits))
        except PeerError:
            pass  # whoever held the link knows; the link is closed
        except Exception as error:
            if not self._failure.done():
                self._failure.set_exception(error)

    async def _pair(self, link: Link) -> None:
        self._strangers.add(link)
        try:
            await self.pairing.serve(link, self.trust.admit)
        finally:
            self._strangers.discard(link)
            await link.close()

    async def _sync(self, link: Link) -> None:
        task = asyncio.current_task()
        assert task is not None  # a handler runs in a task
        task.set_name(f"link {link.device}")
        earlier, live = self._live.get(link.device), _Live(link, task)
        self._live[link.device] = live
        try:
            if earlier is not None:
                await earlier.link.close("duplicate", _TAKEOVER_S_MAX)
                await self._end([earlier.task])
            if link.is_open:
                await self.on_link(link)
        finally:
            if self._live.get(link.device) is live:
                del self._live[link.device]
            await link.close()

    async def _end(self, tasks: list[asyncio.Task[object]]) -> None:
        """Waits for handlers whose link is closed; cancels those that do not end."""
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=self.limits.hello_s_max)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=self.limits.hello_s_max)
