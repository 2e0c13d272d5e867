"""How fast and when something travels (R10, R15): the values that the settings give, and the account of bytes.

Rates bound each direction of a link by itself: what is sent is paid for afterwards, so that a frame leaves whole, and
nothing more leaves before it is paid.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from syncd.core.quantities import BYTES, Amount, Value
from syncd.core.schedule import CONTINUOUS, Schedule

BURST_S = 1.0  # what was not sent in this time is not made up for
UNLIMITED = "unlimited"
RANKS = ("high", "usual", "low")
_PER_S = tuple((f"{unit}/s", factor) for unit, factor in BYTES)


class Rates:
    """Bytes per second, 0: without a limit."""

    _amount = Amount(_PER_S, 1 << 10, 1 << 40)
    allowed = f"{UNLIMITED}, or a value {_amount.allowed}"

    def parse(self, text: str) -> Value:
        if text.strip() == UNLIMITED:
            return 0
        try:
            return self._amount.parse(text)
        except ValueError:
            raise ValueError(f"{text[:100]!r}: use {self.allowed}") from None

    def show(self, value: Value) -> str:
        return self._amount.show(value) if value else UNLIMITED


@dataclass(frozen=True, slots=True)
class Paced:
    """What was chosen for a collection, or for one on a device. ``rank``: the smaller goes first."""

    schedule: Schedule = CONTINUOUS
    paused: bool = False
    rank: int = RANKS.index("usual")


USUAL = Paced()


@dataclass(frozen=True, slots=True)
class Bucket:
    """What may be sent. ``bytes``: at the time ``at``; below 0 where it is not paid yet."""

    rate_bytes_s: int
    bytes: float = 0.0
    at: float = 0.0

    def now(self, now: float) -> Bucket:
        came = max(0.0, now - self.at) * self.rate_bytes_s
        return replace(self, bytes=min(self.bytes + came, self.rate_bytes_s * BURST_S), at=max(now, self.at))

    def ready(self, now: float) -> bool:
        return self.now(now).bytes > 0

    def spent(self, sent_bytes: int, now: float) -> Bucket:
        after = self.now(now)
        return replace(after, bytes=after.bytes - sent_bytes)


def bucket(rate_bytes_s: int, now: float) -> Bucket:
    """A full one."""
    return Bucket(rate_bytes_s, rate_bytes_s * BURST_S, now)
