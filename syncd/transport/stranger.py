"""A connection to this end of somebody who has not shown who it is: it may send so much, then it is cut (R15)."""

from __future__ import annotations

from asyncio import BaseTransport
from typing import ClassVar

from websockets.asyncio.server import ServerConnection

from syncd.core.settings import Limits


class Guarded(ServerConnection):
    """``trusted``: it has shown who it is, and may send on. What TLS itself takes is bounded by TLS. ``guests``: those
    of one listener that are connected."""

    bytes_max: ClassVar[int]
    guests: ClassVar[set[Guarded]]
    trusted = False
    _came_bytes = 0

    @classmethod
    def within(cls, limits: Limits, guests: set[Guarded]) -> type[Guarded]:
        """The class for a listener with these limits."""
        return type("Guarded", (cls,), {"bytes_max": limits.stranger_bytes_max, "guests": guests})

    def connection_made(self, transport: BaseTransport) -> None:
        self.guests.add(self)
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.guests.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self.trusted:
            self._came_bytes += len(data)
            if self._came_bytes > self.bytes_max:
                self.transport.abort()
                return
        super().data_received(data)
