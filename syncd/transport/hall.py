"""A listening port and everybody who came in by it: when it has been cleared, nothing of it is open (R15).

asyncio and websockets forget some of those who come at the moment of the close: whoever is accepted in the very turn of
the loop in which asyncio's server closes is dropped with an open socket, which the garbage collector finds much later;
and before Python 3.12 nobody waits for a TLS handshake that was under way, nor for the handler that comes of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

from syncd.core.settings import Limits
from syncd.transport.door import Door
from syncd.transport.link import CLOSE_S_MAX, websocket_settings
from syncd.transport.stranger import Guarded
from syncd.transport.websocket import PAIR_BYTES_MAX

BACKLOG = 1_024  # connections that wait to be taken: a device that is not among them waits for a second
_LOOK_S = 0.005  # between looks whether all are gone
_LOOKS_MAX = 200  # each is a turn of the loop at least, and all who can go are gone after a few

Handle = Callable[[ServerConnection], Awaitable[None]]
Admit = Callable[[ServerConnection, Request], Awaitable[Response | None] | Response | None]


class Hall:
    """``is_shut``: nobody comes in any more."""

    def __init__(self, door: Door, limits: Limits) -> None:
        self.door = door
        self.is_shut = False
        self._limits = limits
        self._guests: set[Guarded] = set()  # who are through the TLS handshake
        self._server: Server

    async def open(self, context: ssl.SSLContext, handle: Handle, admit: Admit) -> None:
        """``admit`` may answer a request in place of a websocket; ``handle`` holds a websocket for as long as it
        lives."""
        self._server = await serve(
            handle,
            sock=self.door,
            ssl=context,
            process_request=admit,
            origins=[None],  # browsers name an origin, devices do not
            server_header=None,
            create_connection=Guarded.within(self._limits, self._guests),
            backlog=BACKLOG,
            max_size=PAIR_BYTES_MAX,  # a stranger's; raised for a device
            **websocket_settings(self._limits),
        )

    @property
    def _is_empty(self) -> bool:
        return not self._guests and not self.door.has_strangers

    @property
    def is_over(self) -> bool:
        """It is shut, nobody is inside, and no handler is at work."""
        return self.is_shut and self._is_empty and not self._server.handler_tasks

    def shut(self) -> None:
        """The port is gone in the next turn of the loop; who is inside may stay."""
        self.is_shut = True
        self.door.shut()  # first: see above. Whoever was accepted before is asyncio's by then
        self._server.close(close_connections=False)

    async def clear(self) -> None:
        """Everybody goes, and at once. Returns when they are gone and their handlers have ended, or after a while."""
        self.shut()
        for _ in range(_LOOKS_MAX):  # again and again: who is out of the door may have become a guest on the way
            self.door.put_all_out()
            for one in self._guests:
                one.transport.abort()
            if self._is_empty:
                break
            await asyncio.sleep(_LOOK_S)
        await asyncio.sleep(0)  # asyncio's tasks that let them in end as well
        with contextlib.suppress(TimeoutError):  # a handler that does not end; the process does
            async with asyncio.timeout(self._limits.open_s_max + CLOSE_S_MAX):
                await self._server.wait_closed()
                if self._server.handler_tasks:  # which began after the close
                    await asyncio.wait(self._server.handler_tasks)
