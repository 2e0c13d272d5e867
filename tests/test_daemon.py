"""Building and stopping a daemon: it ends in time, whatever an application does."""

from __future__ import annotations

import asyncio
import os

import pytest

from syncd import daemon

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
