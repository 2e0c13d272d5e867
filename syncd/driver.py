"""The one loop: event -> ``engine.step`` -> commit -> send. Owns every task between the engine and the edges.

Effects of one collection's inbound side are performed in order, adjacent frames in one commit; all others run beside
each other, the engine has at most one of a kind in flight for a collection. Sends leave in order through one bounded
queue for each link. An error that no port maps to an event is a fault of ours and stops the daemon.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from syncd.adapters.base import Adapter
from syncd.adapters.registry import ADAPTERS, adapter
from syncd.core import effects as fx
from syncd.core import events as ev
from syncd.core.effects import Effect
from syncd.core.engine import Engine, refuse
from syncd.core.errors import FrameError, LinkLost, OrderError
from syncd.core.messages import Credit, Objects, Refusal, Upload, Welcome
from syncd.core.settings import Limits
from syncd.core.upward_effects import StageUpload
from syncd.outside import Ports
from syncd.perform import Inbound, Staging, chunk_at_hand, perform, stage, together

log = logging.getLogger("syncd")


class DuplexLink(Protocol):
    """What the driver needs of a link (``transport.link.Link``)."""

    device: str
    refusal: str

    def send_at_once(self, frame: bytes | str) -> bool: ...

    async def send(self, frame: bytes | str) -> None: ...

    async def receive(self) -> bytes | str: ...

    async def close(self, reason: str = "") -> None: ...

    def abort(self) -> None: ...


class _Closing(Exception):
    """The link was closed on our order."""


class Outlet:
    """One link's way out: frames in order, then perhaps the close. Bounded by ``outlet_frames_max``, frames of Objects
    by the credit windows, all others by ``outlet_bytes_max``; a peer that lets it fill has stopped reading, and its
    link is aborted. ``sent_bytes``: of Objects that began to leave, by collection."""

    def __init__(self, link: DuplexLink, limits: Limits) -> None:
        self.link = link
        self.adapter: Adapter = adapter("msgpack")
        self.sent_bytes: Counter[str] = Counter()
        self._queue: asyncio.Queue[tuple[bytes | str, str] | None] = asyncio.Queue(limits.outlet_frames_max)
        self._bytes_max = limits.outlet_bytes_max
        self._bytes = 0
        self._sends = False  # a frame is being sent
        self.closing = ""
        self._code = ""

    def put(self, frame: bytes | str, collection: str = "") -> None:
        """``collection``: whose credit window bounds the frame; empty: no one's does."""
        if self.closing:
            return
        if self._queue.empty() and not self._sends and self.link.send_at_once(frame):
            if collection:
                self.sent_bytes[collection] += _size_bytes(frame)
            return
        self._bytes += 0 if collection else _size_bytes(frame)
        try:
            if self._bytes > self._bytes_max:
                raise asyncio.QueueFull
            self._queue.put_nowait((frame, collection))
        except asyncio.QueueFull:
            self.closing = "the peer does not read"
            self.link.abort()

    def close(self, code: str, text: str, at_once: bool = False) -> None:
        """After what was put before, or without what of it waits. ``code``: of a refusal, empty where there is no
        fault."""
        while at_once and not self._queue.empty():
            if self._queue.get_nowait() is None:  # it is closing already
                self._queue.put_nowait(None)
                break
        if not self.closing:
            self.closing, self._code = text or "closed", code
            try:
                self._queue.put_nowait(None)
            except asyncio.QueueFull:
                self.link.abort()

    async def run(self) -> None:
        while (waiting := await self._queue.get()) is not None:
            frame, collection = waiting
            if collection:
                self.sent_bytes[collection] += _size_bytes(frame)  # before: the peer may credit it at once
            self._sends = True
            await self.link.send(frame)
            self._sends = False
            self._bytes -= 0 if collection else _size_bytes(frame)
        await self.link.close(self._code)
        raise _Closing


def _let_out(outlet: Outlet, effect: fx.SendFrame | fx.Send | fx.CloseLink | fx.UseAdapter) -> None:
    match effect:
        case fx.SendFrame():
            outlet.put(effect.frame, effect.collection)
        case fx.Send():
            outlet.put(outlet.adapter.encode(effect.message))
        case fx.CloseLink(device, code, text, at_once):
            log.info("closing link of %s: %s %s", device[:8], code or "done", text)
            outlet.close(code, text, at_once)
        case fx.UseAdapter():
            outlet.adapter = adapter(effect.adapter)


def _size_bytes(frame: bytes | str) -> int:
    return len(frame) if isinstance(frame, bytes) else len(frame.encode())


class Driver:
    """``notify``: told what devices report, which may reach the sync database late."""

    def __init__(self, engine: Engine, ports: Ports, notify: Callable[[fx.SaveReport], None]) -> None:
        self.engine = engine
        self.ports = ports
        self._notify = notify
        self._events: asyncio.Queue[ev.Event | Exception] = asyncio.Queue(ports.limits.events_max)
        self._inbound: asyncio.Queue[Inbound] = asyncio.Queue()
        self._outlets: dict[str, Outlet] = {}
        self._in_hand: Counter[str] = Counter()  # effects of each collection that are not done
        self._group: asyncio.TaskGroup | None = None
        self._runs = False  # events are handed to the engine
        self.beat = 0.0  # when the loop last turned, for the watchdog
        self.changed = asyncio.Event()
        self.started = asyncio.Event()

    async def run(self) -> None:
        """Runs until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            self._spawn(self._inbound_loop(), "inbound")
            self._spawn(self._tick_loop(), "tick")
            self.started.set()
            try:
                await self._run()
            finally:
                self._runs = False

    async def _run(self) -> None:
        self._runs = True
        while True:
            event = await self._events.get()
            if isinstance(event, Exception):
                raise event
            self._step(event)
            self._events.task_done()

    def _step(self, event: ev.Event, further: bool = True) -> None:
        """``further``: chunks that are at hand then follow at once; those that follow on these wait their turn."""
        self.beat = self.ports.now()
        effects = self.engine.step(event, self.beat)
        self.order(effects, further)
        if effects or not isinstance(event, ev.Tick):
            self.changed.set()

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        assert self._group is not None
        self._group.create_task(work, name=name)

    async def tell(self, event: ev.Event) -> None:
        """Hands an event to the engine: at once where none waits, which spares a turn of the loop; else it waits its
        turn, and while too many do the caller waits."""
        if not (self._runs and self._events.empty()):
            await self._events.put(event)
            return
        try:
            self._step(event)
        except Exception as error:  # a fault of ours stops the daemon, whoever told the event
            await self._events.put(error)

    async def settled(self, collection: str) -> None:
        """Returns when nothing that was ordered for the collection is under way, and the engine knows what came of
        it."""
        while self._in_hand[collection]:
            self.changed.clear()
            await self.changed.wait()
        await self._events.join()

    def _done(self, effect: Effect, count: int = 1) -> None:
        self._in_hand[getattr(effect, "collection", "")] -= count
        self.changed.set()

    def order(self, effects: list[Effect], further: bool = False) -> None:
        """Sets effects going, in order."""
        chunks: list[ev.ChunkRead] = []
        for effect in effects:
            match effect:
                case fx.SendFrame() | fx.Send() | fx.CloseLink() | fx.UseAdapter():
                    if outlet := self._outlets.get(effect.device):
                        _let_out(outlet, effect)
                case fx.SaveReport():
                    self._notify(effect)
                case fx.Stage() | fx.SaveTypes() | fx.BeginTransfer() | StageUpload():
                    self._in_hand[effect.collection] += 1
                    self._inbound.put_nowait(effect)  # bounded: then ``_receive`` waits
                case fx.ReadChunk() if (chunk := self._at_hand(effect, len(chunks))) is not None:
                    chunks.append(chunk)
                case _:
                    self._in_hand[getattr(effect, "collection", "")] += 1
                    self._spawn(self._perform(effect), type(effect).__name__)
        for chunk in chunks:
            if further and self._events.empty():
                self._step(chunk, further=False)
            else:
                self._events.put_nowait(chunk)

    def _at_hand(self, effect: fx.ReadChunk, others: int) -> ev.ChunkRead | None:
        """The chunk, where there is no need of a task to read it. ``others``: those that are at hand before it."""
        full = self._events.qsize() + others >= self.ports.limits.events_max
        return None if full else chunk_at_hand(self.ports, effect)

    async def _perform(self, effect: Effect) -> None:
        event = await perform(self.ports, effect)
        if event is not None:
            await self.tell(event)
        self._done(effect)

    async def _inbound_loop(self) -> None:
        """In order; frames of one collection, or of one device's edits in it, that arrived meanwhile share a commit."""
        ahead: Inbound | None = None
        while True:
            effect = ahead or await self._inbound.get()
            ahead = None
            if not isinstance(effect, fx.Stage | StageUpload):
                await self._perform(effect)
                continue
            frames: list[Staging] = [effect]
            while not self._inbound.empty() and len(frames) < self.ports.limits.stage_frames_max:
                following = self._inbound.get_nowait()
                if not together(following, effect):
                    ahead = following
                    break
                frames.append(following)
            await self.tell(await stage(self.ports, frames))
            self._done(effect, len(frames))

    async def _tick_loop(self) -> None:
        while True:
            await asyncio.sleep(self.ports.limits.tick_s)
            await self.tell(ev.Tick())

    # ------------------------------------------------------------ links

    async def serve(self, link: DuplexLink) -> str:
        """Carries a link until it ends; returns why it did. Called by the listener and the dialer."""
        while old := self._outlets.get(link.device):  # another may come while this one waits
            old.close("duplicate", "a newer link of the same device took over")
            old.link.abort()
            await self._ended(link.device, old, "duplicate")
        outlet = self._outlets[link.device] = Outlet(link, self.ports.limits)
        await self.tell(ev.LinkUp(link.device))
        tasks = [
            asyncio.create_task(outlet.run(), name=f"send {link.device[:8]}"),
            asyncio.create_task(self._receive(link, outlet), name=f"receive {link.device[:8]}"),
        ]
        reason = ""
        try:
            # No TaskGroup: before Python 3.13 it forgets that this task was cancelled where the link broke just then.
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            link.abort()
            lost = [end for end in ends if isinstance(end, LinkLost | _Closing)]
            reason = outlet.closing or (str(lost[0]) if lost else "")
            await self._ended(link.device, outlet, reason)
        for end in ends:
            if isinstance(end, Exception) and not isinstance(end, LinkLost | _Closing):
                raise end
        return reason

    async def _ended(self, device: str, outlet: Outlet, reason: str) -> None:
        if self._outlets.get(device) is outlet:
            del self._outlets[device]
            await self.tell(ev.LinkDown(device, reason))

    async def _receive(self, link: DuplexLink, outlet: Outlet) -> None:
        """Decodes what comes. A frame that is no message closes the link with its reason; nothing of it is kept."""
        while True:
            try:
                frame = await link.receive()
                message = outlet.adapter.decode(frame, self.ports.limits)
                if isinstance(message, Credit) and message.received_bytes > outlet.sent_bytes[message.collection]:
                    raise OrderError(f"credit for more of {message.collection!r} than was sent")
            except (FrameError, OrderError) as error:
                log.warning("link of %s: %s", link.device[:8], error.line())
                if self._outlets.get(link.device) is outlet:
                    self.order(refuse(link.device, error))
                return
            if isinstance(message, Welcome) and message.adapter in ADAPTERS:
                outlet.adapter = adapter(message.adapter)  # what follows may come before the engine has heard of it
            if isinstance(message, Refusal):
                link.refusal = message.code  # the dialer waits longer where a person must settle it
            raw = frame.encode() if isinstance(frame, str) and isinstance(message, Objects | Upload) else frame
            if self._outlets.get(link.device) is not outlet:
                return
            while self._inbound.qsize() >= self.ports.limits.inbound_effects_max:  # Types need no credit
                self.changed.clear()
                await self.changed.wait()
            await self.tell(ev.Received(link.device, message, raw if isinstance(raw, bytes) else b""))
