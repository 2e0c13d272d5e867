"""What the tests of the driver share: links without a network, an engine by script, a driver that runs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence

from syncd.adapters.registry import ADAPTERS, adapter
from syncd.core import events as ev
from syncd.core.effects import Effect
from syncd.core.engine import Engine
from syncd.core.errors import LinkLost
from syncd.core.messages import Objects, Wire
from syncd.core.settings import Limits
from syncd.driver import Driver
from syncd.outside import Ports
from syncd.store.memory_inbound_queue import MemoryInboundQueue
from syncd.store.memory_sync_database import MemorySyncDatabase
from tests.wait import eventually

LIMITS = Limits(tick_s=0.02, outlet_frames_max=5, stage_frames_max=4, source_wait_s_max=0.5)


class FakeLink:
    """One end of a link. ``says`` puts a frame in; ``sent`` is what came out; ``reads`` off: the peer takes nothing.
    ``full``: others wait to leave, so that nothing does at once."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.refusal = ""
        self.reads = True
        self.full = False
        self.sent: list[bytes | str] = []
        self.closed: str | None = None
        self.aborted = asyncio.Event()
        self._frames: asyncio.Queue[bytes | str] = asyncio.Queue()

    def says(self, *messages: Wire, name: str = "msgpack") -> None:
        for message in messages:
            self.throws(adapter(name).encode(message))

    def throws(self, frame: bytes | str) -> None:
        """Whatever it is."""
        self._frames.put_nowait(frame)

    def heard(self) -> list[Wire]:
        """What was sent, as messages."""
        return [adapter("json" if isinstance(frame, str) else "msgpack").decode(frame, Limits()) for frame in self.sent]

    def send_at_once(self, frame: bytes | str) -> bool:
        free = self.reads and not self.full and not self.aborted.is_set()
        if free:
            self.sent.append(frame)
        return free

    async def send(self, frame: bytes | str) -> None:
        if not self.reads:
            await self.aborted.wait()
        if self.aborted.is_set():
            raise LinkLost("the link is over")
        self.sent.append(frame)

    async def receive(self) -> bytes | str:
        """What came before the end is still given out after it, as a websocket does."""
        if not self._frames.empty():
            return self._frames.get_nowait()
        came = asyncio.create_task(self._frames.get())
        over = asyncio.create_task(self.aborted.wait())
        try:
            await asyncio.wait((came, over), return_when=asyncio.FIRST_COMPLETED)
            if came.done():
                return came.result()
        finally:
            came.cancel()
            over.cancel()
        raise LinkLost("the link is over")

    async def close(self, reason: str = "") -> None:
        self.closed = reason
        self.aborted.set()

    def abort(self) -> None:
        self.aborted.set()


class Script:
    """An engine that notes what it hears and orders what the test has written for that kind of event."""

    def __init__(self) -> None:
        self.heard: list[ev.Event] = []
        self.orders: dict[type[ev.Event], Callable[[], list[Effect]]] = {}

    def step(self, event: ev.Event, now: float) -> list[Effect]:
        if not isinstance(event, ev.Tick):
            self.heard.append(event)
        orders = self.orders.get(type(event))
        return orders() if orders else []


class GatedQueue(MemoryInboundQueue):
    """An inbound queue whose commits wait at a gate. ``commits``: ends of the frames of each; ``order``: all calls."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()
        self.commits: list[list[int]] = []

    async def stage(self, frames: Sequence[tuple[Objects, bytes]]) -> None:
        self.commits.append([frame.last for frame, _ in frames])
        await self.gate.wait()
        await super().stage(frames)


def ports(limits: Limits = LIMITS) -> Ports:
    loop = asyncio.get_running_loop()
    database = MemorySyncDatabase()
    return Ports(limits, ADAPTERS, loop.time, lambda: int(loop.time() * 1e6), database=database)


@contextlib.asynccontextmanager
async def running(engine: Engine, given: Ports) -> AsyncIterator[Driver]:
    """A driver with its engine; it ends with the block."""
    driver = Driver(engine, given, lambda effect: None)
    task = asyncio.create_task(driver.run())
    try:
        await driver.started.wait()
        yield driver
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@contextlib.asynccontextmanager
async def served(driver: Driver, link: FakeLink) -> AsyncIterator[asyncio.Task[str]]:
    """The link is carried; it is over after the block at the latest."""
    task = asyncio.create_task(driver.serve(link))
    try:
        yield task
    finally:
        link.abort()
        await asyncio.wait_for(task, 30.0)


async def over(task: asyncio.Task[str]) -> str:
    """Why the link ended."""
    return await asyncio.wait_for(asyncio.shield(task), 30.0)


async def until(condition: Callable[[], object]) -> None:
    await eventually(condition)


async def pipe(one: FakeLink, other: FakeLink) -> None:
    """Carries what each end sends to the other, in order, until it is cancelled."""
    done = [0, 0]
    while not (one.aborted.is_set() or other.aborted.is_set()):
        for at, (here, there) in enumerate(((one, other), (other, one))):
            for frame in here.sent[done[at] :]:
                there.throws(frame)
            done[at] = len(here.sent)
        await asyncio.sleep(0)
