"""Synchronization engine (claim 24i): ``step(event, now) -> effects``, for a primary and for an auxiliary.

The engine decides and orders; the driver performs. ``now`` is monotonic seconds. Nothing here waits, reads a clock or
touches the outside, so that a simulation can run it under any order of events and stop it between any two effects.
"""

from __future__ import annotations

from typing import Protocol

from syncd.core.effects import CloseLink, Effect, Send
from syncd.core.errors import FrameError, OrderError, Refused
from syncd.core.events import Event
from syncd.core.messages import Refusal


class Engine(Protocol):
    """``core.primary_engine`` and ``core.auxiliary_engine``."""

    def step(self, event: Event, now: float) -> list[Effect]: ...


def refuse(device: str, error: Refused | OrderError | FrameError) -> list[Effect]:
    """Tells the peer why, then closes."""
    return [Send(device, Refusal(error.code, error.text)), CloseLink(device, error.code, error.text)]
