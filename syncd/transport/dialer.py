"""Dialing the primary, again and again (R15).

The first retry is at once, so that a short break costs nothing; then the pauses double, with jitter, so that many
auxiliaries do not return in step. What only a person can settle is tried again at the longest pause, or not at all
where the primary said that it is final. An address that does not answer soon gets company by the next one: where the
primary was last must not delay finding it where it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import random
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from syncd.core.errors import REFUSALS, LinkLost, Refused, SyncdError, UserError
from syncd.core.model import device_id
from syncd.core.settings import Limits, back_off
from syncd.transport.certificate import fingerprint
from syncd.transport.link import Link
from syncd.transport.race import Race
from syncd.transport.tls import client_context
from syncd.transport.websocket import SYNC_PATH, Call, open_websocket

log = logging.getLogger("syncd.transport")
STEADY_S = 2.0  # a link that lived longer was good: the pauses begin anew
_HINT_S = 1.0  # between rounds that hints begin: whoever announces whatever, nobody makes this device dial without end
_PASSING = frozenset(("stopping", "disk", "bad-frame", "bad-order"))  # refusals that settle by themselves
_FINAL = frozenset(("revoked",))  # nothing but pairing again changes it
_PAIR_AGAIN = "`syncd pair` on the primary, `syncd pair CODE` here"
_SIGNS = 3  # times in a row until "unknown-device" is believed: a link that breaks in the handshake looks the same
INSTANCE = secrets.token_hex(16)  # of this process: its links are never taken for those of two machines


async def dial(
    identity: Path, address: str, primary_certificate: bytes, limits: Limits, instance: str = INSTANCE
) -> Link:
    """A link to the paired primary. Raises LinkLost, or Refused where a person must settle it."""
    pinned = fingerprint(primary_certificate)

    def is_right(shown: bytes | None) -> bool:
        return shown is not None and hmac.compare_digest(fingerprint(shown), pinned)

    call = Call(address, SYNC_PATH, client_context(identity, primary_certificate), is_right, instance)
    return Link(await open_websocket(call, limits), device_id(pinned), limits)


async def pause_or_wake(pause_s: float, wake: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(pause_s):
            await wake.wait()


async def _nothing() -> None:
    pass


@dataclass(eq=False)
class Dialer:
    """Keeps one link to the primary. ``failure``: why there is no link, for ``status``; None while linked. The
    consumer of ``links`` says there why one ended.

    ``dial`` opens a link to one address; ``addresses`` is asked before each try, in order of preference. ``settle``
    is awaited whenever there is no link, before the pause. ``at``: the address that the latest link was opened to.
    """

    dial: Callable[[str], Awaitable[Link]]
    addresses: Callable[[], Sequence[str]]
    limits: Limits
    rand: random.Random
    now: Callable[[], float] = time.monotonic
    pause: Callable[[float, asyncio.Event], Awaitable[None]] = pause_or_wake
    settle: Callable[[], Awaitable[None]] = _nothing
    failure: SyncdError | None = None
    at: str = ""
    _failures: int = 0
    _refusals: int = 0
    _hinted: float = -_HINT_S  # when a hint began a round
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _hint: asyncio.Event = field(default_factory=asyncio.Event)

    def wake(self) -> None:
        """Dial at once: a person did something (paired, named another address)."""
        self._failures = self._refusals = 0
        self.failure = None
        self._wake.set()
        self._hint.set()

    def hint(self) -> None:
        """Dial soon: the network or what is found on it changed. What a person must settle stays as it is."""
        if not self.over:
            self._hint.set()

    @property
    def over(self) -> bool:
        """The primary said that it will not have this device any more: only ``wake`` begins anew."""
        return self.failure is not None and _is_final(self.failure)

    @property
    def unknown(self) -> bool:
        """The primary does not know this device, and that was no accident."""
        unknown = isinstance(self.failure, Refused) and self.failure.code == "unknown-device"
        return unknown and self._refusals >= _SIGNS

    async def links(self) -> AsyncGenerator[Link, None]:
        """Connected links, one after the other, for ever. The consumer is done with one when it asks for the next."""
        while True:
            if self.over:
                await self._wake.wait()
            self._wake.clear()
            self._hint.clear()
            link = await self._round()
            if link is not None:
                began = self.now()
                try:
                    yield link
                finally:
                    link.abort()
                self._count(self.now() - began, link.refusal)
            if self._wake.is_set():
                self.failure = None  # of what a person wants no more
            await self.settle()
            await self._rest()

    async def _round(self) -> Link | None:
        """Tries the addresses, the best first. Of the failures that of the best address says most, and a refusal counts
        only if nothing else went wrong anywhere."""
        before = self.failure.text if self.failure else ""
        told = await Race(self.dial, Link.abort, self.limits.dial_next_s, _is_final, _is_lost).run(self.addresses)
        if self._wake.is_set():  # a person did something meanwhile: it may be another primary that is followed
            if isinstance(told, tuple):
                told[1].abort()
            return None
        if isinstance(told, tuple):
            self.failure = None
            self.at, link = told
            return link
        lost = [one for one in told if not isinstance(one, Refused | UserError)]
        self.failure = next(iter((*lost, *told)), LinkLost("no address of the primary is known", _PAIR_AGAIN))
        if self.failure.text != before:
            log.warning("%s", self.failure.line())
        self._failures += 1
        self._refusals = self._refusals + 1 if isinstance(self.failure, Refused | UserError) else 0
        return None

    def _count(self, lived_s: float, refusal: str) -> None:
        self._failures = 1 if lived_s > STEADY_S else self._failures + 1
        self._refusals = _SIGNS if refusal else 0  # this one was said, and no accident
        if refusal and not isinstance(self.failure, Refused):
            self.failure = Refused(f"the primary closed the link ({refusal})", REFUSALS.get(refusal, ""), refusal)

    async def _rest(self) -> None:
        pause_s = self._pause_s()
        if pause_s == 0 or self.over:
            return
        await self.pause(pause_s * self.rand.uniform(0.5, 1.0), self._hint)
        if self._hint.is_set() and not self._wake.is_set():
            early_s = self._hinted + _HINT_S - self.now()
            if early_s > 0:
                await self.pause(early_s, self._wake)
            self._hinted = self.now()

    def _pause_s(self) -> float:
        if self._failures <= 1:
            return 0.0
        if isinstance(self.failure, Refused | UserError) and self._settled_by_a_person(self.failure.code):
            return self.limits.retry_s_max
        return back_off(self._failures - 2, self.limits.retry_s_first, self.limits.retry_s_max)

    def _settled_by_a_person(self, code: str) -> bool:
        return code not in _PASSING and (code != "unknown-device" or self._refusals >= _SIGNS)


def _is_lost(error: SyncdError) -> bool:
    return isinstance(error, LinkLost)


def _is_final(error: SyncdError) -> bool:
    return isinstance(error, Refused) and error.code in _FINAL
