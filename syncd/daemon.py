"""Builds every room, runs them in one TaskGroup, stops them in order. The only place, with the two role files, that
knows all rooms."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from syncd.adapters.registry import ADAPTERS
from syncd.auxiliary import Auxiliary
from syncd.control.notify import Notifier
from syncd.control.server import ControlServer
from syncd.core.errors import DiskFull, HomeError, InvariantBroken, SyncdError
from syncd.core.model import Role
from syncd.core.settings import Limits
from syncd.discovery.mdns import MdnsDiscovery
from syncd.discovery.network import watched
from syncd.home import config as configuration
from syncd.home import identity
from syncd.home.paths import Home
from syncd.outside import Ports, kept_meanwhile
from syncd.primary import Primary
from syncd.rooms import Rooms
from syncd.store.sync_database import SqliteSyncDatabase

log = logging.getLogger("syncd")
STOP_S_MAX = 10.0  # for closing everything; then the process ends as it is
SWITCH_S = 0.0005  # threads hand over the interpreter ten times as often: the database threads work in short pieces
ROOM_S = 1.0  # a daemon that found no room on its disk begins again after so long
ROOM_LOG_S = 60.0  # and says so in the log not more often than this
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
LAG_S_MAX = 10.0  # a loop that has not turned for so long gets no watchdog sign


class _Stopped(Exception):
    """A signal asks the daemon to stop."""


def run(path: Path) -> int:
    """The daemon, in the foreground, until a signal; its exit code. Raises SyncdError before it runs. Who calls holds
    the home's lock."""
    home = Home(path)
    config = configuration.load(home)
    _log_to_stderr(config.log_level)
    sys.setswitchinterval(SWITCH_S)
    gc.freeze()  # what was imported stays. To look for cycles less often costs 30 MiB where much is parked
    try:
        return asyncio.run(_main(home))
    except Exception as error:
        return _say_why(error)


def _say_why(error: Exception) -> int:
    """What ended the daemon: one line where it is somebody's to settle, all of it where it is a fault of ours."""
    causes = _causes(error)
    if all(isinstance(one, SyncdError) and not isinstance(one, InvariantBroken) for one in causes):
        for one in causes:
            print(f"syncd: {one.line() if isinstance(one, SyncdError) else one}", file=sys.stderr)
    else:
        log.critical("the daemon ends, by a fault of its own", exc_info=error)
    return 1


def _causes(error: Exception) -> list[Exception]:
    """What was raised by the tasks of all groups."""
    causes = [error]
    while any(isinstance(one, ExceptionGroup) for one in causes):
        causes = [leaf for one in causes for leaf in (one.exceptions if isinstance(one, ExceptionGroup) else (one,))]
    return causes


def _log_to_stderr(level: str) -> None:
    """The journal reads levels from ``<N>`` before the line; control characters of remote text are escaped."""
    journal = bool(os.environ.get("JOURNAL_STREAM"))
    priorities = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}

    class Lines(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            text = super().format(record)
            if record.exc_info is None:
                text = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
            return f"<{priorities.get(record.levelno, 6)}>{text}" if journal else text

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines("%(message)s" if journal else "%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler])
    logging.getLogger("websockets").setLevel(logging.WARNING)
    logging.getLogger("aiosqlite").setLevel(logging.WARNING)


async def _main(home: Home) -> int:
    """A full disk ends nothing: the daemon begins again until there is room."""
    notifier, said_s = Notifier(os.environ), float("-inf")
    while True:
        try:
            await _live(home, notifier)
            return 0
        except Exception as error:
            causes = _causes(error)
            full = [one for one in causes if isinstance(one, DiskFull)]
            if len(full) < len(causes):
                raise
        if (now_s := time.monotonic()) - said_s >= ROOM_LOG_S:
            log.warning("%s", full[0].line())
            said_s = now_s
        try:
            await _without_room(home, notifier, full[0])
        except _Stopped:
            return 0


async def _without_room(home: Home, notifier: Notifier, full: DiskFull) -> None:
    """Tells why to whoever asks, for a while. Raises _Stopped at a signal."""

    async def refuse(verb: str, args: dict[str, object]) -> dict[str, object]:
        raise full

    notifier.status(full.line())
    notifier.watchdog()  # nothing hangs
    loop = asyncio.get_running_loop()
    async with ControlServer(home.socket, refuse, configuration.load(home).socket_group):
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ROOM_S):
                    await _until_signal()
        finally:
            for one in SIGNALS:
                loop.remove_signal_handler(one)


async def _live(home: Home, notifier: Notifier) -> None:
    """Everything is opened, runs until a signal, and is closed."""
    config = configuration.load(home)
    async with _closed_in_time() as stack:
        limits = Limits()
        database = await SqliteSyncDatabase.open(home.sync_database)
        stack.push_async_callback(database.close)
        ports = Ports(limits, ADAPTERS, time.monotonic, lambda: time.time_ns() // 1000)
        ports.aside = asyncio.to_thread
        ports.pause = asyncio.sleep
        ports.beside = kept_meanwhile
        ports.database = database
        own = identity.load(home)
        await _check_identity(home, own.device_id, database)
        rooms = Rooms(home, config, own, limits, database, ports, time.monotonic())
        if config.discovery:
            rooms.discover = functools.partial(
                MdnsDiscovery, interfaces=config.interfaces, exclude=config.interfaces_excluded, limits=limits
            )
        else:
            rooms.watch = functools.partial(watched, limits=limits)
        role = Primary(rooms, stack) if config.role is Role.PRIMARY else Auxiliary(rooms, stack)
        await role.open()
        await _run(role, rooms, notifier)
        notifier.stopping()
        log.info("stopping")


async def _check_identity(home: Home, device: str, database: SqliteSyncDatabase) -> None:
    """All that is paired knows this home by one certificate; with another one it would only be refused everywhere."""
    first = await database.claim(device)
    if first != device:
        raise HomeError(
            f"the identity in {home.identity} was replaced: it was {first[:8]}..., it is {device[:8]}...",
            "put the former file back, or begin with another home and pair anew",
        )


@asynccontextmanager
async def _closed_in_time() -> AsyncIterator[AsyncExitStack]:
    """What the stack holds is closed at the end, unless it takes too long: an application that keeps a transaction of
    ours busy does not keep the daemon. Whatever is cut off then is as after a crash."""
    stack = AsyncExitStack()
    try:
        yield stack
    finally:
        closing = asyncio.create_task(stack.aclose(), name="closing")
        done, _ = await asyncio.wait((closing,), timeout=STOP_S_MAX)
        if not done:
            log.warning("closing takes more than %g s: the process ends as it is", STOP_S_MAX)
            os._exit(1 if sys.exc_info()[0] else 0)
        closing.result()


async def _run(role: Primary | Auxiliary, rooms: Rooms, notifier: Notifier) -> None:
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_until_signal(), name="signals")
            group.create_task(role.run(), name="role")
            await role.driver.started.wait()
            server = ControlServer(rooms.home.socket, role.answer, rooms.config.socket_group, rooms.limits)
            async with server:
                group.create_task(_watchdog(role, notifier), name="watchdog")
                log.info("%s %s is ready, home %s", rooms.config.role.value, rooms.config.name, rooms.home.path)
                notifier.ready(f"{rooms.config.role.value} {rooms.config.name}")
                await asyncio.Event().wait()
    except* _Stopped:
        pass


async def _until_signal() -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for one in SIGNALS:
        loop.add_signal_handler(one, stop.set)
    await stop.wait()
    raise _Stopped


async def _watchdog(role: Primary | Auxiliary, notifier: Notifier) -> None:
    """A sign of life only while the driver's loop turns: it ticks by itself four times a second."""
    if notifier.watchdog_s is None:
        return
    while True:
        await asyncio.sleep(notifier.watchdog_s)
        if time.monotonic() - role.driver.beat < LAG_S_MAX:
            notifier.watchdog()
