"""The network of the simulation, and the ports as a daemon that may die sees them.

What can really happen on a websocket over TLS, and is modelled here:

- Within a link the frames of a direction arrive in order and whole. A cut at any byte loses the frame it falls into and
  all after it: what arrives is a beginning of what was sent, another one for each direction.
- The two ends learn of a cut at different times, each after the last frame that arrives there. What is sent meanwhile
  is lost. An auxiliary dials again as soon as it knows; the primary may still hold the old link and lets the newer one
  take over.
- A daemon that dies takes its ends with it; what it had sent may arrive or not.
- A machine that is off long enough for its data to be restored from a copy has nothing left on the wire.

What TLS rules out is loss, repeats and another order within a link, and frames of one link on another. The rules speak
of repeats all the same (R6), so a peer that follows the protocol and sends too much is modelled too: ``World.repeat``
brings a frame that came before, of this link or an earlier one, wherever PROTOCOL.md §5 calls it a repeat, and a
Report or Credit a second time. A frame that would be a gap or of another order is a fault of the peer's and closes the
link (``tests/core/test_target.py``); the simulation has no such peer.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from inspect import iscoroutinefunction
from typing import Any, TypeVar

Result = TypeVar("Result")
Frame = bytes | str
Heard = Callable[[tuple[Any, ...], Any], None]
PRIMARY = "P" * 52


def finish(work: Coroutine[Any, Any, Result] | Awaitable[Result]) -> Result:
    """Runs a coroutine that never really waits."""
    coroutine = work.__await__()
    try:
        next(coroutine)
    except StopIteration as stop:
        result: Result = stop.value
        return result
    raise AssertionError("a twin in memory waited")


class Wire:
    """One link: frames on their way to each end. ``broken``: nothing is added any more; an end that has taken all that
    is left knows that it is down."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.broken = False
        self._toward: dict[str, deque[Frame]] = {PRIMARY: deque(), device: deque()}

    def put(self, receiver: str, frame: Frame) -> None:
        if not self.broken:
            self._toward[receiver].append(frame)

    def waits(self, receiver: str) -> bool:
        """Whether an end has a frame to take, or the news that the link is down."""
        return self.broken or bool(self._toward[receiver])

    def take(self, receiver: str) -> Frame | None:
        """The next frame; None: the link is down."""
        waiting = self._toward[receiver]
        return waiting.popleft() if waiting else None

    def cut(self, rng: random.Random) -> None:
        """At any byte of either direction."""
        for waiting in self._toward.values() if not self.broken else ():
            for _ in range(rng.randint(0, len(waiting))):
                waiting.pop()
        self.broken = True

    def close(self, sender: str, rng: random.Random) -> None:
        """In order: all that one end sent before arrives."""
        sent = next(waiting.copy() for receiver, waiting in self._toward.items() if receiver != sender)
        self.cut(rng)
        for receiver in self._toward:
            if receiver != sender:
                self._toward[receiver] = sent

    def drop(self) -> None:
        """Nothing of it arrives."""
        self.broken = True
        for waiting in self._toward.values():
            waiting.clear()


class Crashed(Exception):
    """The daemon died inside an effect, or after it and before it knew."""


class Port:
    """Stands before a port: the daemon dies after ``left`` calls (-1: never). ``heard``: who is told of calls, by name,
    with their arguments and what came of them."""

    def __init__(self, port: object, heard: Mapping[str, Heard]) -> None:
        self._port = port
        self._heard = heard
        self.left = -1

    def __getattr__(self, name: str) -> Any:
        attribute, heard = getattr(self._port, name), self._heard.get(name)
        if callable(attribute) and not iscoroutinefunction(attribute):
            return attribute

        async def call(*args: Any) -> Any:
            if self.left == 0:
                raise Crashed
            self.left -= self.left > 0
            result = await attribute(*args)
            if heard is not None:
                heard(args, result)
            return result

        return call if callable(attribute) else attribute
