"""The store to devices (R3, R8, R9): who follows what, and which chunks are read for whom.

Devices of one selection class that want the same chunk share its reading, building and encoding. A device that asks
for another user's collection waits for it as for one that is not shared, and nothing of it passes this file (R9). One
whose collection comes from auxiliaries only, or from that device only, waits in the same way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from syncd.core.conversation import Phase
from syncd.core.edits import Direction, Policy
from syncd.core.effects import CloseLink, Effect, NewEpoch, ReadChunk, SaveReport, Send, SendFrame
from syncd.core.engine import refuse
from syncd.core.errors import OrderError, Refused
from syncd.core.events import ChunkFailed, ChunkRead
from syncd.core.follow import Following, begin, restored
from syncd.core.frozen import replace
from syncd.core.messages import Credit, Follow, Report, Types
from syncd.core.model import Span
from syncd.core.pacing import Pacing
from syncd.core.ports import ChunkRequest, CollectionState
from syncd.core.reach import Reaches
from syncd.core.selection import ALL, Selection
from syncd.core.settings import Limits
from syncd.core.source import Source

Agreed = tuple[Direction, Policy]
_ONE_WAY: Agreed = (Direction.OUT, Policy.PRIMARY)


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


class Sending(Pacing):
    """``terms``: of each collection; one that has none goes out only. ``apart``: by collection and device, which way
    its changes travel where that is another way than elsewhere. ``selections``, ``selected_apart``: in the same way,
    which objects devices take; all where nothing is said. ``reaches``: what devices were sent."""

    def __init__(self, name: str, user: str, adapters: Sequence[str], limits: Limits) -> None:
        super().__init__(name, user, adapters, limits)
        self.sources: dict[str, Source] = {}
        self.terms: dict[str, Agreed] = {}
        self.apart: dict[str, Mapping[str, Direction]] = {}
        self.selections: dict[str, Selection] = {}
        self.selected_apart: dict[str, Mapping[str, Selection]] = {}
        self.follows: dict[tuple[str, str], Following] = {}
        self.standings: dict[tuple[str, str], Standing] = {}
        self.reaches = Reaches()
        self.reads: dict[tuple[ChunkRequest, str], Read] = {}
        self.renewing = ""  # the device for which a new epoch was ordered
        self.claims: dict[str, float] = {}  # when a device last said that it is ahead of the store

    def terms_of(self, collection: str, device: str = "") -> Agreed:
        """Which way its changes travel, to and from a device or in general, and what decides a conflict."""
        direction, policy = self.terms.get(collection, _ONE_WAY)
        return self.apart.get(collection, {}).get(device, direction), policy

    def selection_of(self, device: str, collection: str) -> Selection:
        """Which of its objects the device takes (R8)."""
        return self.selected_apart.get(collection, {}).get(device, self.selections.get(collection, ALL))

    def state_of(self, device: str, collection: str) -> CollectionState | None:
        """The collection as the device sees it; None while its class cannot be sent."""
        source = self.sources.get(collection)
        if source is None or source.state is None:
            return None
        return source.state.of(self.selection_of(device, collection))

    def spans_of(self, device: str, collection: str) -> list[Span]:
        """Where the device may stand, of what it takes: it may be told what is gone since. Nothing where it never took
        anything of it, or is sent a snapshot when it comes. A chunk that is being read may be sent to its end."""
        at, state = (device, collection), self.state_of(device, collection)
        if state is None:
            return []
        standing, follow = self.standings.get(at), self.follows.get(at)
        sent = self.reaches.spans.get(at, {}).get(state.epoch)
        stands = standing is not None and standing.report.epoch == state.epoch
        if not stands and sent is None and follow is None:
            return []
        first = standing.report.position if standing is not None and stands else 0
        last = first if sent is None else max(first, sent.last)
        is_read = follow is not None and (follow.reading or follow.asked is not None)
        return [Span(first, max(last, state.head) if is_read else last)]

    def _forget_follows(self, device: str) -> None:
        for key in [key for key in self.follows if key[0] == device]:
            del self.follows[key]
        for read in self.reads.values():
            read.devices.discard(device)

    def _follow(self, device: str, asked: Follow) -> list[Effect]:
        others = sum(owner == device and name != asked.collection for owner, name in self.follows)
        if others >= self.limits.follows_max:
            raise Refused(f"more than {self.limits.follows_max} collections are asked for", code="too-large")
        old = self.follows.get((device, asked.collection), Following())
        selection = self.selection_of(device, asked.collection)
        self.follows[device, asked.collection] = replace(old, asked=asked, selection=selection, epoch="")
        return self._pump(device, asked.collection)

    def _credit(self, device: str, credit: Credit) -> list[Effect]:
        follow = self.follows.get((device, credit.collection))
        if follow is None:
            raise OrderError(f"credit for {credit.collection!r}, which the device does not follow")
        self.follows[device, credit.collection] = follow.credited(credit.received_bytes)
        if (standing := self.standings.get((device, credit.collection))) is not None:
            self.standings[device, credit.collection] = replace(standing, moved_at=self.now)
        return self._pump_on(device, credit.collection)

    def _report(self, device: str, report: Report, now: float) -> list[Effect]:
        if not self.may(device, report.collection):
            return []  # it waits for what is not shared, not with it, or makes it up
        self.standings[device, report.collection] = Standing(report, now)
        self.reaches.reported(device, report.collection, report.epoch)
        return [SaveReport(device, report)]

    def _pump_all(self, name: str) -> list[Effect]:
        effects: list[Effect] = []
        for device, collection in sorted(self.follows):
            if collection == name:
                effects += self._pump(device, name)
        return effects

    def _pump_on(self, device: str, name: str) -> list[Effect]:
        """The same, where others of the device may have waited for this one."""
        return self._pump_device(device) if self.is_ordered(device) else self._pump(device, name)

    def _pump_device(self, device: str) -> list[Effect]:
        names = [name for name in self.by_rank(device) if (device, name) in self.follows]
        return [effect for name in names for effect in self._pump(device, name)]

    def _may_read(self, device: str, name: str) -> bool:
        """Whether it is this collection's turn, and the rate of the device leaves room. What has no room in its window
        holds up no other."""
        if not self.is_ordered(device):
            return True
        rank, limited = self.pace_of(device, name).rank, device in self.rates
        for other in self.collections_of(device):
            follow = self.follows.get((device, other))
            if follow is None or other == name:
                continue
            before = self.pace_of(device, other).rank < rank
            if follow.reading and (limited or before):
                return False
            if before and self._waits(device, other):
                return False
        return self.has_room(device)

    def _waits(self, device: str, name: str) -> bool:
        """Whether there is something to be sent, and the device has room for it."""
        source, state = self.sources.get(name), self.state_of(device, name)
        if source is None or state is None or not source.sendable or self.rest_of(device, name) is not None:
            return False
        if self.terms_of(name, device)[0] is Direction.IN:
            return False
        return self.follows[device, name].wants(state, self.limits.window_bytes_max)

    def _pump(self, device: str, name: str) -> list[Effect]:
        """Answers a Follow once the collection is ready; orders the next chunk if the device has room."""
        source = self.sources.get(name) if self.may(device, name) else None
        follow, state = self.follows[device, name], self.state_of(device, name)
        if follow.reading or source is None or source.state is None or state is None or not source.sendable:
            return []  # a device has one read at a time, however often it asks
        if self.terms_of(name, device)[0] is Direction.IN:
            return []  # nothing of it goes to devices
        if self.rest_of(device, name) is not None:
            return []
        effects: list[Effect] = []
        if follow.asked is not None:
            if restored(follow.asked, state, source.state.head):
                return self._restored(device, name)
            asked = follow.asked
            follow, answer = begin(follow, asked, state)
            self.reaches.began(device, asked, answer)
            effects = [Send(device, Types(name, state.types)), Send(device, answer)]
        elif follow.of_another_class(state):
            del self.follows[device, name]
            return [CloseLink(device, "", f"the selection of {name} was applied anew")]
        if follow.wants(state, self.limits.window_bytes_max) and self._may_read(device, name):
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
        """Devices for which the chunk is still what they wait for, and may have."""
        name = request.collection
        for device in sorted(read.devices):
            follow = self.follows.get((device, name))
            if follow and follow.reading and follow.request(name) == request and self.may(device, name):
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
                reads += self._pump_on(device, name)
                continue
            if self.rest_of(device, name) is not None:
                self.follows[device, name] = replace(follow, reading=False)
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
                self.reaches.sent(device, name, follow.epoch, chunk.last)
                self.follows[device, name] = follow.sent(chunk)
                self.spend(device, chunk.frame)
            else:
                self.follows[device, name] = replace(follow, reading=False)
            reads += self._pump_on(device, name)
        return sends + reads

    def _chunk_failed(self, failed: ChunkFailed) -> list[Effect]:
        """The store could not be read: the devices' links close, they come again after a pause."""
        read = self.reads.pop((failed.request, failed.adapter), Read(set(), None))
        return [CloseLink(device, "disk", failed.reason) for device in self._waiting(read, failed.request)]
