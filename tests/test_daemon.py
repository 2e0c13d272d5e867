"""Building, watching and stopping a daemon: it ends in time, whatever an application does, and shows life only where
there is some."""

from __future__ import annotations

import asyncio
import os
import time
from types import SimpleNamespace
from typing import cast

import pytest

from syncd import daemon
from syncd.auxiliary import Auxiliary
from syncd.control.notify import Notifier
from tests.wait import eventually

pytestmark = pytest.mark.asyncio


class Ended(BaseException):
    """The process would have ended here."""


async def test_what_is_closed_in_time_is_closed_in_order() -> None:
    closed: list[int] = []
    async with daemon._closed_in_time() as stack:
        for number in range(3):
            stack.callback(closed.append, number)
    assert closed == [2, 1, 0]


async def test_an_error_comes_out_after_everything_was_closed() -> None:
    closed: list[str] = []

    async def fails() -> None:
        async with daemon._closed_in_time() as stack:
            stack.callback(closed.append, "database")
            raise ValueError("why")

    with pytest.raises(ValueError, match="why"):
        await fails()
    assert closed == ["database"]


async def test_closing_that_takes_too_long_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[int] = []

    def ends(code: int) -> None:
        codes.append(code)
        raise Ended

    monkeypatch.setattr(daemon, "STOP_S_MAX", 0.01)
    monkeypatch.setattr(os, "_exit", ends)
    busy = asyncio.Event()

    async def hangs() -> None:
        async with daemon._closed_in_time() as stack:
            stack.push_async_callback(busy.wait)

    with pytest.raises(Ended):
        await hangs()
    assert codes == [0]
    busy.set()
    (closing,) = [task for task in asyncio.all_tasks() if task.get_name() == "closing"]
    await closing


class Loop:
    """A driver whose loop last turned so long ago. ``looks``: how often that was asked."""

    def __init__(self, idle_s: float) -> None:
        self.idle_s = idle_s
        self.looks = 0

    @property
    def beat(self) -> float:
        self.looks += 1
        return time.monotonic() - self.idle_s


class Manager(Notifier):
    """Counts the signs of life."""

    def __init__(self) -> None:
        super().__init__({"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "2000"})
        self.signs = 0

    def watchdog(self) -> None:
        self.signs += 1


async def test_a_driver_that_does_not_turn_gets_no_sign_of_life_until_it_turns_again() -> None:
    loop, manager = Loop(daemon.LAG_S_MAX + 0.1), Manager()
    task = asyncio.create_task(daemon._watchdog(cast(Auxiliary, SimpleNamespace(driver=loop)), manager))
    await eventually(lambda: loop.looks > 3)
    assert manager.signs == 0
    loop.idle_s = daemon.LAG_S_MAX - 5.0
    await eventually(lambda: manager.signs > 3)
    loop.idle_s = daemon.LAG_S_MAX + 0.1
    looks, signs = loop.looks, manager.signs
    await eventually(lambda: loop.looks > looks + 3)
    assert manager.signs == signs
    task.cancel()
    await asyncio.wait((task,))


async def test_a_manager_that_asks_for_no_sign_of_life_gets_none() -> None:
    await daemon._watchdog(cast(Auxiliary, SimpleNamespace(driver=Loop(0.0))), Notifier({}))
