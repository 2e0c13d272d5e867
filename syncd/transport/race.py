"""Several addresses of one device: who answers first, without a flock of connections where the first one answers.

The idea of RFC 8305 (Happy Eyeballs): an address that has not answered for a moment goes on beside the next one. One
that becomes known meanwhile takes part, and one where nobody was is asked again: who keeps silent at one address must
not delay what begins to answer at another. Those that were known at the beginning have every other try at least:
whoever announces ever other addresses must not keep them from being dialed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Generic, TypeVar

from syncd.core.errors import SyncdError

Won = TypeVar("Won")
TRIES_MAX = 16  # of one race, where not more addresses are known from the beginning: others may come without end


@dataclass(frozen=True, slots=True)
class Race(Generic[Won]):
    """``attempt`` tries one address, ``drop`` undoes what a second winner got. ``is_final`` says which failure makes
    all other addresses useless, ``may_pass`` after which one the same address is worth another try."""

    attempt: Callable[[str], Awaitable[Won]]
    drop: Callable[[Won], None]
    next_s: float
    is_final: Callable[[SyncdError], bool] = lambda error: False
    may_pass: Callable[[SyncdError], bool] = lambda error: False

    async def run(self, addresses: Callable[[], Sequence[str]]) -> tuple[str, Won] | list[SyncdError]:
        """The address that won and what it gave, or why each address failed, in the order of the tries; a final failure
        alone. ``addresses`` is asked before each try."""
        running, failures = dict[asyncio.Task[Won], str](), dict[str, SyncdError]()
        order: list[str] = []
        silence, first = False, frozenset(addresses())
        try:
            while (address := self._next(addresses(), first, order, failures if silence else {})) or running:
                if address:
                    order.append(address)
                    failures.pop(address, None)
                    running[asyncio.create_task(self._try(address), name=f"try {address}")] = address
                done, _ = await asyncio.wait(running, timeout=self.next_s, return_when=asyncio.FIRST_COMPLETED)
                silence = not done
                for task in [one for one in running if one in done]:
                    error = task.exception()
                    if error is None:
                        return running.pop(task), task.result()
                    if not isinstance(error, SyncdError):
                        raise error
                    if self.is_final(error):
                        return [error]
                    failures[running.pop(task)] = error
        finally:
            await self._give_up(list(running))
        return [failures[address] for address in dict.fromkeys(order)]

    def _next(
        self, addresses: Sequence[str], first: Set[str], tried: Sequence[str], failed: Mapping[str, SyncdError]
    ) -> str:
        """The best address that was not tried, after one that came meanwhile the best of the ``first``; else of those
        that ``failed`` the one that did so first. Empty if there is none, or none is tried any more."""
        others = [one for one in addresses if one not in tried]
        known = [one for one in others if one in first]
        if len(tried) >= TRIES_MAX or (known and tried and tried[-1] not in first):
            return next(iter(known), "")
        again = (one for one, error in failed.items() if one in addresses and self.may_pass(error))
        return next(iter(others), next(again, ""))

    async def _try(self, address: str) -> Won:
        return await self.attempt(address)

    async def _give_up(self, tasks: list[asyncio.Task[Won]]) -> None:
        for task in tasks:
            task.cancel()
        for end in await asyncio.gather(*tasks, return_exceptions=True):
            if not isinstance(end, BaseException):
                self.drop(end)
