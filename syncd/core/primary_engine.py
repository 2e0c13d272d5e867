"""The primary's engine (claims 20a, 20c, 24i): sources into the store, the store to devices (R3, R8, R9).

Devices of one selection class that want the same chunk share its reading, building and encoding.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from syncd.core import source as sources
from syncd.core.conversation import Phase, advance, choose_version
from syncd.core.effects import (
    CloseLink,
    Effect,
    NewEpoch,
    ReadChunk,
    SaveAdapter,
    SaveReport,
    Send,
    SendFrame,
    UseAdapter,
)
from syncd.core.engine import refuse
from syncd.core.errors import OrderError, Refused
from syncd.core.events import (
    AdapterSaved,
    ChunkFailed,
    ChunkRead,
    EpochFailed,
    EpochMoved,
    Event,
    LinkDown,
    LinkUp,
    Received,
    SourceOpened,
    StoreMoved,
    Tick,
)
from syncd.core.follow import Following, begin, restored
from syncd.core.messages import (
    Credit,
    Follow,
    Hello,
    Refusal,
    Report,
    Types,
    Welcome,
)
from syncd.core.model import Role
from syncd.core.ports import ChunkRequest, CollectionState
from syncd.core.settings import Limits
from syncd.core.source import Source


@dataclass(frozen=True, slots=True)
class Peer:
    """A linked device: the phase of its conversation, since when, and its greeting. ``adapter``: which it speaks, as
    the sync database says; empty until it is welcomed."""

    since: float
    phase: Phase = Phase.GREETING
    hello: Hello | None = None
    adapter: str = ""


@dataclass(frozen=True, slots=True)
class Read:
    """A chunk that was ordered: the devices that wait for it, and the state of the store that was known then."""

    devices: set[str]
    state: CollectionState | None


@dataclass(frozen=True, slots=True)
class Standing:
    """What a device last reported of a collection. ``moved_at``: when it last showed that it goes on, or fell behind: a
    device reports when something changes and, while it executes, now and then."""

    report: Report
    moved_at: float


class PrimaryEngine:
    """``adapters``: those that can be spoken. ``speaks``: which of them each device does, as the sync database says."""

    def __init__(self, name: str, user: str, adapters: Sequence[str], limits: Limits) -> None:
        self.name = name
        self.user = user
        self.adapters = tuple(adapters)
        self.limits = limits
        self.sources: dict[str, Source] = {}
        self.peers: dict[str, Peer] = {}
        self.speaks: dict[str, str] = {}
        self.follows: dict[tuple[str, str], Following] = {}
        self.standings: dict[tuple[str, str], Standing] = {}
        self.reads: dict[tuple[ChunkRequest, str], Read] = {}
        self.epoch = ""
        self.renewing = ""  # the device for which a new epoch was ordered
        self.claims: dict[str, float] = {}  # when a device last said that it is ahead of the store
        self.now = 0.0

    def connected(self, device: str) -> bool:
        """Whether the device was welcomed and its link is open."""
        peer = self.peers.get(device)
        return peer is not None and bool(peer.adapter) and peer.phase is Phase.OPEN

    def share(self, collection: str) -> list[Effect]:
        """A collection comes in; devices that asked for it already are answered when it is ready."""
        self.sources[collection], effects = sources.start(collection, self.limits)
        return effects

    def step(self, event: Event, now: float) -> list[Effect]:
        self.now = now
        match event:
            case Received():
                return self._received(event, now)
            case ChunkRead():
                return self._chunk(event)
            case ChunkFailed():
                return self._chunk_failed(event)
            case EpochFailed():
                return self._epoch_failed(event)
            case EpochMoved():
                return self._new_epoch(event.epoch)
            case LinkUp():
                self.peers[event.device] = Peer(now)
                return []
            case AdapterSaved():
                return self._adapter_saved(event)
            case LinkDown():
                return self._down(event.device)
            case Tick():
                return self._tick(now)
            case _:
                return self._source(event.collection if hasattr(event, "collection") else "", event, now)

    # ------------------------------------------------------------ sources

    def _source(self, name: str, event: Event, now: float) -> list[Effect]:
        if isinstance(event, StoreMoved):
            name = event.state.name
        if name not in self.sources:
            return []
        before = self.sources[name]
        after, effects = sources.step(before, event, now)
        self.sources[name] = after
        if isinstance(event, SourceOpened):
            effects = effects + self._types(name)
        self._same_epoch()
        if after.state is before.state:
            return effects
        self._fall_behind(name, before.state)
        return effects + self._pump_all(name)

    def _fall_behind(self, name: str, before: CollectionState | None) -> None:
        """Devices that were at the head have something to do from here on."""
        state = self.sources[name].state
        if before is None or state is None or before.head == state.head:
            return
        for (device, collection), standing in self.standings.items():
            if collection == name and standing.report.position == before.head:
                self.standings[device, name] = replace(standing, moved_at=self.now)

    def _same_epoch(self) -> None:
        """The epoch is the whole store's. What was read of it before or after it got another one says so at any time;
        it counts when ``EpochMoved`` says so."""
        for name, source in self.sources.items():
            if source.state is not None and source.state.epoch != self.epoch:
                self.epoch = self.epoch or source.state.epoch
                self.sources[name] = replace(source, state=replace(source.state, epoch=self.epoch))

    def _types(self, name: str) -> list[Effect]:
        """All who follow are told the types before objects that use them."""
        state = self.sources[name].state
        assert state is not None
        return [
            Send(device, Types(name, follow.selection.of_types(state.types)))
            for (device, collection), follow in sorted(self.follows.items())
            if collection == name and follow.epoch
        ]

    def _new_epoch(self, epoch: str) -> list[Effect]:
        """Each device that follows anything comes again, and begins with a snapshot."""
        if self.renewing:
            self.claims[self.renewing] = self.now
        self.epoch, self.renewing = epoch, ""
        self._same_epoch()
        devices = sorted({device for (device, _), follow in self.follows.items() if follow.epoch})
        closes: list[Effect] = [CloseLink(device, "", "the store has a new epoch") for device in devices]
        return closes + [effect for name in sorted(self.sources) for effect in self._pump_all(name)]

    def _epoch_failed(self, failed: EpochFailed) -> list[Effect]:
        """The devices that wait for a new epoch come again after a pause."""
        self.renewing = ""
        return [
            CloseLink(device, "disk", failed.reason)
            for (device, collection), follow in sorted(self.follows.items())
            if collection == failed.collection and follow.asked is not None
        ]

    # ------------------------------------------------------------ devices

    def _received(self, event: Received, now: float) -> list[Effect]:
        device, message = event.device, event.message
        peer = self.peers.get(device)
        if peer is None or peer.phase is Phase.CLOSED:
            return []
        try:
            self.peers[device] = peer = replace(peer, phase=advance(Role.PRIMARY, peer.phase, message))
            if peer.hello is not None and not peer.adapter and not isinstance(message, Refusal):
                raise OrderError(f"the device sent {type(message).__name__} before it was welcomed")
            match message:
                case Hello():
                    return self._hello(device, message)
                case Follow():
                    return self._follow(device, message)
                case Credit():
                    return self._credit(device, message)
                case Report():
                    return self._report(device, message, now)
                case _:
                    return [CloseLink(device, "", "")]
        except (Refused, OrderError) as error:
            self.peers[device] = replace(peer, phase=Phase.CLOSED)
            return refuse(device, error)

    def _hello(self, device: str, hello: Hello) -> list[Effect]:
        choose_version(hello.versions)
        if hello.role != Role.AUXILIARY:
            raise Refused(f"this device is a primary, and so is {hello.name}", code="role")
        if hello.adapter not in self.adapters:
            raise Refused(f"this device does not speak the adapter {hello.adapter!r}", code="adapter")
        self.peers[device] = replace(self.peers[device], hello=hello)
        if self.speaks.get(device) != hello.adapter:
            return [SaveAdapter(device, hello.adapter)]
        return self._welcome(device, hello)

    def _adapter_saved(self, saved: AdapterSaved) -> list[Effect]:
        device, peer = saved.device, self.peers.get(saved.device)
        if not saved.failure:
            self.speaks[device] = saved.adapter
        if peer is None or peer.hello is None or peer.adapter or peer.phase is Phase.CLOSED:
            return []
        if saved.failure:
            return [CloseLink(device, "disk", saved.failure)]
        return self._welcome(device, peer.hello) if peer.hello.adapter == saved.adapter else []

    def _welcome(self, device: str, hello: Hello) -> list[Effect]:
        self.peers[device] = replace(self.peers[device], adapter=hello.adapter)
        names, window_bytes = tuple(sorted(self.sources)), self.limits.window_bytes_max
        version = choose_version(hello.versions)
        welcome = Welcome(version, self.name, self.user, hello.adapter, window_bytes, names)
        return [Send(device, welcome), UseAdapter(device, hello.adapter)]

    def _follow(self, device: str, asked: Follow) -> list[Effect]:
        others = sum(owner == device and name != asked.collection for owner, name in self.follows)
        if others >= self.limits.follows_max:
            raise Refused(f"more than {self.limits.follows_max} collections are asked for", code="too-large")
        old = self.follows.get((device, asked.collection), Following())
        self.follows[device, asked.collection] = replace(old, asked=asked, epoch="")
        return self._pump(device, asked.collection)

    def _credit(self, device: str, credit: Credit) -> list[Effect]:
        follow = self.follows.get((device, credit.collection))
        if follow is None:
            raise OrderError(f"credit for {credit.collection!r}, which the device does not follow")
        self.follows[device, credit.collection] = follow.credited(credit.received_bytes)
        if (standing := self.standings.get((device, credit.collection))) is not None:
            self.standings[device, credit.collection] = replace(standing, moved_at=self.now)
        return self._pump(device, credit.collection)

    def _report(self, device: str, report: Report, now: float) -> list[Effect]:
        if report.collection not in self.sources:
            return []  # it waits for what is not shared, or makes it up
        self.standings[device, report.collection] = Standing(report, now)
        return [SaveReport(device, report)]

    def _down(self, device: str) -> list[Effect]:
        self.peers.pop(device, None)
        for key in [key for key in self.follows if key[0] == device]:
            del self.follows[key]
        for read in self.reads.values():
            read.devices.discard(device)
        return []

    def _tick(self, now: float) -> list[Effect]:
        effects: list[Effect] = []
        for name in sorted(self.sources):
            self.sources[name], more = sources.step(self.sources[name], Tick(), now)
            effects += more
        for device, peer in sorted(self.peers.items()):
            if peer.phase is Phase.GREETING and now - peer.since > self.limits.hello_s_max:
                self.peers[device] = replace(peer, phase=Phase.CLOSED)
                effects += refuse(device, OrderError(f"no Hello came for {self.limits.hello_s_max:g} s"))
        return effects

    # ------------------------------------------------------------ sending

    def _pump_all(self, name: str) -> list[Effect]:
        effects: list[Effect] = []
        for device, collection in sorted(self.follows):
            if collection == name:
                effects += self._pump(device, name)
        return effects

    def _pump(self, device: str, name: str) -> list[Effect]:
        """Answers a Follow once the collection is ready; orders the next chunk if the device has room."""
        source, follow = self.sources.get(name), self.follows[device, name]
        if follow.reading or source is None or source.state is None or not source.sendable:
            return []  # a device has one read at a time, however often it asks
        effects: list[Effect] = []
        if follow.asked is not None:
            if restored(follow.asked, source.state):
                return self._restored(device, name)
            follow, answer = begin(follow, follow.asked, source.state)
            types = follow.selection.of_types(source.state.types)
            effects = [Send(device, Types(name, types)), Send(device, answer)]
        if follow.wants(source.state, self.limits.window_bytes_max):
            follow = replace(follow, reading=True)
            effects += self._read(device, follow.request(name))
        self.follows[device, name] = follow
        return effects

    def _restored(self, device: str, name: str) -> list[Effect]:
        """A device is ahead of the store. One that says so again and again must not make all others begin anew."""
        if self.renewing:
            return []
        claimed_at = self.claims.get(device)
        if claimed_at is not None and self.now - claimed_at < self.limits.epoch_claim_s:
            self.peers[device] = replace(self.peers[device], phase=Phase.CLOSED)
            return refuse(device, OrderError(f"the device says again that it is ahead of the store of {name}"))
        self.renewing = device
        return [NewEpoch(name)]

    def _read(self, device: str, request: ChunkRequest) -> list[Effect]:
        """Devices that want the same chunk by the same adapter wait for one read."""
        adapter = self.peers[device].adapter
        read = self.reads.get((request, adapter))
        if read is not None:
            read.devices.add(device)
            return []
        self.reads[request, adapter] = Read({device}, self.sources[request.collection].state)
        return [ReadChunk(request, adapter)]

    def _waiting(self, read: Read, request: ChunkRequest) -> Iterable[str]:
        """Devices for which the chunk is still what they wait for."""
        for device in sorted(read.devices):
            follow = self.follows.get((device, request.collection))
            if follow and follow.reading and follow.request(request.collection) == request:
                yield device

    def _chunk(self, chunk: ChunkRead) -> list[Effect]:
        name = chunk.request.collection
        sends: list[Effect] = []
        reads: list[Effect] = []
        read = self.reads.pop((chunk.request, chunk.adapter), Read(set(), None))
        for device in self._waiting(read, chunk.request):
            follow = self.follows[device, name]
            if follow.asked is not None:  # it asked anew meanwhile
                self.follows[device, name] = replace(follow, reading=False)
                reads += self._pump(device, name)
                continue
            if follow.forgotten(chunk.horizon):
                sends.append(CloseLink(device, "", "deleted objects that it has not seen are forgotten"))
                continue
            if chunk.proof is None and chunk.last == follow.cursor and read.state is self.sources[name].state:
                # The store holds rows that are not published: what comes of them wakes this device.
                self.follows[device, name] = replace(follow, reading=False)
                continue
            if follow.usable(chunk) and (chunk.proof is not None or chunk.last > follow.cursor):
                sends.append(SendFrame(device, chunk.frame, name))
                self.follows[device, name] = follow.sent(chunk)
            else:
                self.follows[device, name] = replace(follow, reading=False)
            reads += self._pump(device, name)
        return sends + reads

    def _chunk_failed(self, failed: ChunkFailed) -> list[Effect]:
        """The store could not be read: the devices' links close, they come again after a pause."""
        read = self.reads.pop((failed.request, failed.adapter), Read(set(), None))
        return [CloseLink(device, "disk", failed.reason) for device in self._waiting(read, failed.request)]
