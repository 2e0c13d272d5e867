"""Building, watching and stopping a daemon: it ends in time, whatever an application does, and shows life only where
there is some."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from syncd import daemon
from syncd.auxiliary import Auxiliary
from syncd.control.notify import Notifier
from syncd.control.protocol import encode_request, parse_answer
from syncd.core.errors import DiskFull, SyncdError
from syncd.core.model import Role
from syncd.home import config
from syncd.home.config import Config
from syncd.home.paths import Home
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


FULL = DiskFull("no room to write store.db", "free some space")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    made = Home(tmp_path / "home")
    made.create()
    config.save(made, Config(role=Role.AUXILIARY, name="laptop"))
    return made


def lives(monkeypatch: pytest.MonkeyPatch, *ends: Exception) -> list[Exception]:
    """The daemon's lives end one after the other with these errors, the one after them in order. What is left."""
    left = list(ends)

    async def live(home: Home, notifier: Notifier) -> None:
        if left:
            raise left.pop(0)

    monkeypatch.setattr(daemon, "_live", live)
    return left


async def test_a_daemon_without_room_says_so_and_begins_again_until_there_is_room(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = lives(monkeypatch, FULL, ExceptionGroup("while it ran", [ExceptionGroup("", [FULL]), FULL]))
    monkeypatch.setattr(daemon, "ROOM_S", 0.3)
    main = asyncio.create_task(daemon._main(home))
    await eventually(home.socket.exists)
    reader, writer = await asyncio.open_unix_connection(home.socket)
    writer.write(encode_request("status", {}))
    with pytest.raises(SyncdError, match="no room to write") as caught:
        parse_answer(await reader.readline())
    writer.close()
    await writer.wait_closed()
    assert (caught.value.code, caught.value.advice) == ("disk-full", "free some space")
    assert await main == 0
    assert left == []
    assert not home.socket.exists()


async def test_the_log_is_not_filled_by_a_full_disk(
    home: Home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lives(monkeypatch, FULL, FULL, FULL)
    monkeypatch.setattr(daemon, "ROOM_S", 0.0)
    assert await daemon._main(home) == 0
    assert [record.getMessage() for record in caplog.records] == [FULL.line()]


async def test_a_daemon_without_room_stops_at_a_signal(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    left = lives(monkeypatch, FULL, ValueError("it is not to begin again"))
    main = asyncio.create_task(daemon._main(home))
    await eventually(home.socket.exists)
    os.kill(os.getpid(), signal.SIGTERM)
    assert await main == 0
    assert len(left) == 1


async def test_another_fault_beside_a_full_disk_ends_the_daemon(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    lives(monkeypatch, ExceptionGroup("", [FULL, ValueError("ours")]))
    with pytest.raises(ExceptionGroup):
        await daemon._main(home)


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
