"""What is held is told to people on the primary (R13): each held group and each held change of settings is a line in
the log, once in a run of the daemon, and again when it has another number; ``status`` counts the changes.

Of groups the engine knows; changes of settings are in the sync database, which is asked when one of them moved.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from syncd.core.devices import SyncDatabase
from syncd.core.errors import DiskError
from syncd.core.holding import held_reason
from syncd.core.loss import HeldSettings
from syncd.core.source import Source

log = logging.getLogger("syncd")


class HeldNotice:
    """``reason``: what is held of a change of settings, and what to do, in words. ``moved``: what is held of them may
    be something else than when it was told last."""

    def __init__(
        self,
        database: SyncDatabase,
        sources: Callable[[], Mapping[str, Source]],
        reason: Callable[[HeldSettings], Awaitable[str]],
    ) -> None:
        self._database = database
        self._sources = sources
        self._reason = reason
        self._groups: dict[str, int] = {}  # number of what was told last, by collection
        self._changes: set[int] = set()
        self._count = 0
        self.moved = True

    def move(self) -> None:
        self.moved = True

    async def tell(self) -> None:
        for name, source in self._sources().items():
            self._tell_group(name, source)
        if self.moved:
            self.moved = False
            try:
                await self._tell_changes()
            except DiskError:
                self.moved = True
                raise

    async def _tell_changes(self) -> None:
        changes = await self._database.held_settings()
        for one in changes:
            if one.number not in self._changes:
                log.warning("a change of settings is held: %s", await self._reason(one))
        self._changes = {one.number for one in changes}

    def _tell_group(self, name: str, source: Source) -> None:
        state = source.state
        if state is not None and state.scanning:
            return  # a comparison still finds what belongs to it
        held = state.held if state is not None else None
        if held is not None and self._groups.get(name) != held.number:
            log.warning("collection %s is held: %s", name, held_reason(name, held))
        self._groups[name] = held.number if held else 0

    async def count(self) -> int:
        """Of held changes of settings; as last known where they cannot be read."""
        with suppress(DiskError):
            self._count = len(await self._database.held_settings())
        return self._count
