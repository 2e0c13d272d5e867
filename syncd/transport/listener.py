"""The primary's end of all links, at ``/sync``: paired devices only (DESIGN §7, R15).

A device has one link. A later one takes over from an earlier one of the same daemon, or of one that does not answer any
more; its ``on_link`` begins after that of the earlier one has returned. One that was given up while it opened takes
over from none: a device may dial several addresses at once, and keeps the one that answered first. Two daemons that
both answer and share one identity are refused, both of them: a home was copied, and only a person can say which of the
two is the device.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Self

from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from syncd.core.errors import PeerError
from syncd.core.settings import Limits
from syncd.transport.door import Door, bind
from syncd.transport.hall import Hall
from syncd.transport.link import Link, peer_certificate
from syncd.transport.stranger import Guarded
from syncd.transport.tls import Trust
from syncd.transport.websocket import INSTANCE_HEADER, REFUSAL_HEADER, SYNC_PATH

_TAKEOVER_S_MAX = 0.5  # for the earlier link's goodbye: most often its peer is gone


@dataclass(eq=False, slots=True)
class _Live:
    """``instance``: of the daemon at the other end, as it says; two links of one daemon never mean two machines."""

    link: Link
    task: asyncio.Task[object]
    instance: str


@dataclass(eq=False)
class Listener:
    """``on_link`` holds a link for as long as it lives; what it raises that is no PeerError comes out of ``wait``.
    ``on_device`` is asked before a device is answered: a code of REFUSALS refuses it. ``on_copied`` keeps durably that
    two machines use the identity of a device, before they are told. ``homes``: see ``Door``."""

    host: str
    port: int
    trust: Trust
    limits: Limits
    on_link: Callable[[Link], Awaitable[None]]
    on_device: Callable[[str], Awaitable[str]]
    on_copied: Callable[[str], Awaitable[None]]
    homes: Iterable[str] = ()

    async def __aenter__(self) -> Self:
        self._live: dict[str, _Live] = {}
        self._coming: set[_Live] = set()  # and wait for the earlier link of their device
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._hall = Hall(Door(bind(self.host, self.port), self.limits, self.homes), self.limits)
        await self._hall.open(self.trust.context, self._handle, self._admit)
        self.address: tuple[str, int] = self._hall.door.getsockname()[:2]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hall.shut()
        live = [*self._live.values(), *self._coming]
        try:
            await asyncio.gather(*(one.link.close("stopping") for one in live))
            await self._end([one.task for one in live])
        finally:
            await self._hall.clear()
            self._failure.cancel()

    async def wait(self) -> None:
        """Waits for ever; raises what a handler raised that is not the peer's fault."""
        await asyncio.shield(self._failure)

    def expect(self, host: str) -> None:
        """A device comes from there soon: it has a place before strangers."""
        self._hall.door.expect(host)

    async def refuse(self, device: str, code: str) -> None:
        """The device is refused from here on, with a code of REFUSALS; its link is cut at once."""
        self.trust.refuse(device, code)
        live = self._live.get(device)
        if live is not None:
            await live.link.close(code, _TAKEOVER_S_MAX)

    # ------------------------------------------------------------ who comes in

    async def _admit(self, websocket: ServerConnection, request: Request) -> Response | None:
        device = self.trust.device_of(peer_certificate(websocket))
        if device is None:
            return websocket.respond(HTTPStatus.FORBIDDEN, "")
        if code := self.trust.refusal_of(device) or await self.on_device(device):
            refused = websocket.respond(HTTPStatus.FORBIDDEN, "")
            refused.headers[REFUSAL_HEADER] = code
            return refused
        if request.path != SYNC_PATH:
            return websocket.respond(HTTPStatus.NOT_FOUND, "")
        self._hall.door.recognize(websocket)
        assert isinstance(websocket, Guarded)
        websocket.trusted = True
        websocket.protocol.max_message_size = self.limits.message_bytes_max
        return None

    async def _handle(self, websocket: ServerConnection) -> None:
        device = self.trust.device_of(peer_certificate(websocket))
        try:
            refused = device is None or self.trust.refusal_of(device)  # since ``_admit``
            if device is not None and not refused and not self._hall.is_shut:
                assert websocket.request is not None  # the handshake is complete
                instance = "".join(websocket.request.headers.get_all(INSTANCE_HEADER))
                await self._sync(Link(websocket, device, self.limits), instance)
        except PeerError:
            pass  # whoever held the link knows; the link is closed
        except Exception as error:
            if not self._failure.done():
                self._failure.set_exception(error)

    async def _sync(self, link: Link, instance: str) -> None:
        task = asyncio.current_task()
        assert task is not None  # a handler runs in a task
        task.set_name(f"link {link.device}")
        live = _Live(link, task, instance)
        try:
            if await self._has_place(live) and link.is_open and not self.trust.refusal_of(link.device):
                await self.on_link(link)
        finally:
            if self._live.get(link.device) is live:
                del self._live[link.device]
            await link.close()

    async def _has_place(self, later: _Live) -> bool:
        """Whether the link is the one of its device from here on."""
        device = later.link.device
        self._coming.add(later)
        try:
            while (earlier := self._live.get(device)) is not None:
                if not await self._takes_over(earlier, later):
                    return False
            self._live[device] = later
        finally:
            self._coming.discard(later)
        return True

    async def _takes_over(self, earlier: _Live, later: _Live) -> bool:
        """Ends the earlier link, and where both are those of living daemons the later one as well."""
        device, of_one = later.link.device, earlier.instance == later.instance
        asked = (later.link,) if of_one else (later.link, earlier.link)
        answers = await asyncio.gather(*(link.answers(self.limits.alive_s_max) for link in asked))
        if not later.link.is_open:
            return False
        if not of_one and all(answers):
            await self.on_copied(device)
            self.trust.refuse(device, "copied")
            await asyncio.gather(*(one.link.close("copied", _TAKEOVER_S_MAX) for one in (earlier, later)))
            return False
        await earlier.link.close("duplicate", _TAKEOVER_S_MAX)
        await self._end([earlier.task])
        return True

    async def _end(self, tasks: list[asyncio.Task[object]]) -> None:
        """Waits for handlers whose link is closed; cancels those that do not end."""
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=self.limits.hello_s_max)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=self.limits.hello_s_max)
