"""Dialing the primary, again and again (R15).

The first retry is at once, so that a short break costs nothing; then the pauses double, with jitter, so that many
auxiliaries do not return in step. What only a person can settle is tried again at the longest pause.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from syncd.core.errors import REFUSALS, LinkLost, PeerError, Refused, SyncdError, UserError
from syncd.core.model import device_id
from syncd.core.settings import Limits, back_off
from syncd.transport.certificate import fingerprint
from syncd.transport.link import Link
from syncd.transport.tls import client_context
from syncd.transport.websocket import SYNC_PATH, Call, open_websocket

log = logging.getLogger("syncd.transport")
STEADY_S = 5.0  # a link that lived longer was good: the pauses begin anew
_PASSING = frozenset(("stopping", "disk", "bad-frame", "bad-order"))  # refusals that settle by themselves
_PAIR_AGAIN = "`syncd pair --token` on the primary, `syncd pair TOKEN` here"
_SIGNS = 3  # times in a row until "unknown-device" is believed: a link that breaks in the handshake looks the same


async def dial(identity: Path, address: str, primary_certificate: bytes, limits: Limits) -> Link:
    """A link to the paired primary. Raises LinkLost, or Refused where a person must settle it."""
    pinned = fingerprint(primary_certificate)

    def is_right(shown: bytes | None) -> bool:
        return shown is not None and hmac.compare_digest(fingerprint(shown), pinned)

    call = Call(address, SYNC_PATH, client_context(identity, primary_certificate), is_right)
    return Link(await open_websocket(call, limits), device_id(pinned), limits)


async def pause_or_wake(pause_s: float, wake: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(pause_s):
            await wake.wait()


@dataclass(eq=False)
class Dialer:
    """Keeps one link to the primary. ``failure``: why there is no link, for ``status``; None while linked. The
    consumer of ``links`` says there why one ended.

    ``dial`` opens a link to one address; ``addresses`` is asked before each round, in order of preference.
    """

    dial: Callable[[str], Awaitable[Link]]
    addresses: Callable[[], Sequence[str]]
    limits: Limits
    rand: random.Random
    now: Callable[[], float] = time.monotonic
    pause: Callable[[float, asyncio.Event], Awaitable[None]] = pause_or_wake
    failure: SyncdError | None = None
    _failures: int = 0
    _refusals: int = 0
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def wake(self) -> None:
        """Dial at once: something changed (paired, another address, a person asked)."""
        self._failures = self._refusals = 0
        self.failure = None
        self._wake.set()

    async def links(self) -> AsyncGenerator[Link, None]:
        """Connected links, one after the other, for ever. The consumer is done with one when it asks for the next."""
        while True:
            self._wake.clear()
            link = await self._round()
            if link is not None:
                began = self.now()
                try:
                    yield link
                finally:
                    link.abort()
                self._count(self.now() - began, link.refusal)
            await self._rest()

    async def _round(self) -> Link | None:
        """Tries each address, the best first, whose failure says most. A refusal counts only if nothing else went wrong
        anywhere."""
        lost: SyncdError | None = None
        refused: SyncdError | None = None
        before = self.failure.text if self.failure else ""
        for address in self.addresses():
            try:
                link = await self.dial(address)
            except (Refused, UserError) as error:  # UserError: what is written there is no address
                refused = refused or error
            except PeerError as error:
                lost = lost or error
            else:
                self.failure = None
                return link
        self.failure = lost or refused or LinkLost("no address of the primary is known", _PAIR_AGAIN)
        if self.failure.text != before:
            log.warning("%s", self.failure.line())
        self._failures += 1
        self._refusals = self._refusals + 1 if self.failure is refused else 0
        return None

    def _count(self, lived_s: float, refusal: str) -> None:
        self._failures = 1 if lived_s > STEADY_S else self._failures + 1
        self._refusals = _SIGNS if refusal else 0  # this one was said, and no accident
        if refusal and not isinstance(self.failure, Refused):
            self.failure = Refused(f"the primary closed the link ({refusal})", REFUSALS.get(refusal, ""), refusal)

    async def _rest(self) -> None:
        pause_s = self._pause_s()
        if pause_s > 0:
            await self.pause(pause_s * self.rand.uniform(0.5, 1.0), self._wake)

    def _pause_s(self) -> float:
        if self._failures <= 1:
            return 0.0
        if isinstance(self.failure, Refused | UserError) and self._settled_by_a_person(self.failure.code):
            return self.limits.retry_s_max
        return back_off(self._failures - 2, self.limits.retry_s_first, self.limits.retry_s_max)

    def _settled_by_a_person(self, code: str) -> bool:
        return code not in _PASSING and (code != "unknown-device" or self._refusals >= _SIGNS)
