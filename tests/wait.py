"""Waiting for a condition with a deadline: the only place where tests sleep. The usual deadline says that something
hangs; where the product promises a time, the test gives that time."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar, overload

T = TypeVar("T")

HANGS_S = 30.0  # however slow the machine, and however much it has to do besides
_PAUSE_S_FIRST = 0.001
_PAUSE_S_MAX = 0.02


@overload
async def eventually(condition: Callable[[], Awaitable[T]], deadline_s: float = HANGS_S, what: str = "") -> T: ...
@overload
async def eventually(condition: Callable[[], T], deadline_s: float = HANGS_S, what: str = "") -> T: ...
async def eventually(condition: Callable[[], object], deadline_s: float = HANGS_S, what: str = "") -> object:
    """Asks until the answer is true and returns it; fails the test after ``deadline_s``."""
    for pause_s in _pauses(condition, deadline_s, what):
        answer = condition()
        if inspect.isawaitable(answer):
            answer = await answer
        if answer:
            return answer
        await asyncio.sleep(pause_s)
    raise AssertionError("unreachable")


def eventually_blocking(condition: Callable[[], T], deadline_s: float = HANGS_S, what: str = "") -> T:
    """The same for tests without an event loop."""
    for pause_s in _pauses(condition, deadline_s, what):
        if value := condition():
            return value
        time.sleep(pause_s)
    raise AssertionError("unreachable")


def seconds_until(condition: Callable[[], object], deadline_s: float = HANGS_S, what: str = "") -> float:
    """How long it took from here until the condition held."""
    begin = time.monotonic()
    eventually_blocking(condition, deadline_s, what)
    return time.monotonic() - begin


def _pauses(condition: object, deadline_s: float, what: str) -> Iterator[float]:
    """Growing pauses until the deadline; the condition is asked once more after it."""
    end = time.monotonic() + deadline_s
    pause_s = _PAUSE_S_FIRST
    last = False
    while not last:
        last = time.monotonic() >= end
        yield pause_s
        pause_s = min(2 * pause_s, _PAUSE_S_MAX)
    raise AssertionError(f"not within {deadline_s} s: {what or condition}")
