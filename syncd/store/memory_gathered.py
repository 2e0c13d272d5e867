"""What selections that follow references take, gathered in memory: twin of ``store_gathered``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from syncd.core.gathered import Met
from syncd.core.references import Object


class MemoryGathered:
    """See ``core.gathered.Gathered``."""

    def __init__(self) -> None:
        self._taken: dict[int, set[Object]] = {}
        self._leads: dict[tuple[int, Object], set[Object]] = {}

    async def add(self, of: int, met: Iterable[Met]) -> None:
        for one in met:
            if one.own:
                self._taken.setdefault(of, set()).add(one.object)
            self._leads.setdefault((of, one.object), set()).update(one.targets)

    async def spread(self) -> None:
        for of, taken in self._taken.items():
            queue = [*taken]
            while queue:
                more = self._leads.get((of, queue.pop()), set()) - taken
                taken.update(more)
                queue += more

    async def among(self, of: int, objects: Iterable[Object]) -> set[Object]:
        return self._taken.get(of, set()) & {*objects}

    async def led_from(self, of: int, one: Object) -> set[Object]:
        return {*self._leads.get((of, one), ())}


@asynccontextmanager
async def gather() -> AsyncIterator[MemoryGathered]:
    yield MemoryGathered()
