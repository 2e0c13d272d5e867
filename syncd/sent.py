"""What devices were sent is known after a restart as well: kept while no link of theirs is open (R4).

While one is open it changes with each frame. If the daemon dies meanwhile, the device may have all there was until it
began again.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from syncd.core.devices import Sent, SyncDatabase
from syncd.core.errors import DiskError
from syncd.core.model import Span
from syncd.core.ports import SyncStore
from syncd.core.reach import Reaches

log = logging.getLogger("syncd")


class SentRecord:
    """``reaches``: what the engine notes."""

    def __init__(self, database: SyncDatabase, reaches: Reaches) -> None:
        self._database = database
        self._reaches = reaches
        self._links: Counter[str] = Counter()

    async def recall(self, store: SyncStore, collections: Iterable[str]) -> None:
        """Before any link is open."""
        unknown, sent = await self._database.sent()
        for device, collection, epoch, span in sent:
            self._reaches.spans.setdefault((device, collection), {})[epoch] = span
        if not unknown:
            return
        states = [await store.open_collection(name) for name in collections]
        for device in unknown:
            for state in states:
                epochs = [state.epoch, *(one.epoch for one in state.classes)]
                self._reaches.spans[device, state.name] = {epoch: Span(0, state.head) for epoch in epochs}
            await self._database.end_sending(device, self._of(device))

    def _of(self, device: str) -> list[Sent]:
        return [
            Sent(device, collection, epoch, span)
            for (owner, collection), spans in self._reaches.spans.items()
            if owner == device
            for epoch, span in spans.items()
        ]

    @asynccontextmanager
    async def link(self, device: str) -> AsyncIterator[None]:
        """One link of a device, from before anything is sent until nothing more is."""
        self._links[device] += 1
        try:
            await self._keep(device)
            yield
        finally:
            self._links[device] -= 1
            await self._keep(device)

    async def _keep(self, device: str) -> None:
        """A full disk is no reason to refuse a device."""
        try:
            if self._links[device]:
                await self._database.begin_sending(device)
            else:
                await self._database.end_sending(device, self._of(device))
        except DiskError as error:
            log.warning("%s", error.line())
