"""What the core asks of the edges (typing.Protocol), with the values that pass between them.

Each port has a real edge and an in-memory twin that pass the same contract suite (``tests/contract/``). Every method
that says *durable* returns only when what it did survives a power cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

from syncd.core.edits import Overlay, Plan
from syncd.core.gathered import Gathering
from syncd.core.history_port import StoreHistory
from syncd.core.holding import Batch, Held, Holding
from syncd.core.loss import Losing
from syncd.core.messages import Objects
from syncd.core.model import DataType, Failure, ObjectId, Observed, Proof, Spans, Tie
from syncd.core.references import Object
from syncd.core.selection import ALL, Selection

# ---------------------------------------------------------------- sync store (primary)


class ClassState(NamedTuple):
    """What the sync store knows of a selection class: its own order of the changes of its objects (R8).

    ``epoch``: of the class and of nothing else ever. ``head``: number of the published group that last changed anything
    in it, or a later one. ``ready``: it is filled. ``broken``: why it cannot be applied to the collection's types.
    """

    selection: Selection
    epoch: str
    head: int
    horizon: int
    digest: bytes
    objects: int
    ready: bool
    broken: str = ""


@dataclass(frozen=True, slots=True)
class CollectionState:
    """What the sync store knows of one collection.

    ``head``: sequence number of the newest published group. ``published``: no rows wait above the head.
    ``horizon``: tombstones up to here are gone; a position before it needs a snapshot. ``source``: identity of the
    application's data ("" before the first import). ``mark``: how far the application's log of touched keys has been
    read; 0 is its beginning, any other is for the source alone to read. ``imported``: the first import was completed
    once; ``scanning``: a comparison was begun and not finished. ``classes``: in the order of their canonical forms.
    ``remembers``: all versions that changes after this one replaced are there.
    """

    name: str
    epoch: str
    head: int
    horizon: int
    digest: bytes
    objects: int
    published: bool
    source: str
    mark: int
    imported: bool
    scanning: bool
    types: tuple[DataType, ...]
    classes: tuple[ClassState, ...] = ()
    held: Held | None = None
    remembers: int = 0

    def of(self, selection: Selection) -> CollectionState | None:
        """What devices of the class see of it. None: the class is not there, not ready or broken."""
        if selection == ALL:
            return self
        found = next((one for one in self.classes if one.selection == selection), None)
        if found is None or not found.ready or found.broken:
            return None
        _, epoch, head, horizon, digest, objects, _, _ = found
        own: dict[str, Any] = {"head": head, "horizon": horizon, "digest": digest, "objects": objects}
        return replace(self, epoch=epoch, types=selection.of_types(self.types), classes=(), **own)


@dataclass(frozen=True, slots=True)
class ChunkRequest:
    """Which changes to read: those after ``cursor``, for devices that were at ``base`` when the transfer began."""

    collection: str
    selection: Selection
    base: int
    floor: int
    cursor: int


class StoredRow(NamedTuple):
    """One row of the store in sequence order. ``fields`` None: tombstone. ``born``: since when a device may hold the
    object; of a class, a device that stands where the request says. Of all objects, one that is deleted and comes back
    keeps it until its tombstone is forgotten."""

    change: int
    born: int
    type: int
    key: bytes
    fields: bytes | None
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """A transaction group: its rows have change numbers in (previous group's seq, ``seq``]; ``seq`` is its own."""

    seq: int
    first: int
    loose: bool
    time_us: int
    objects: int


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """Rows of one read, all of one consistent state of the store.

    ``last``: the cursor after it. ``groups``: those that the rows belong to, in order (rows of a group that is no
    longer remembered count as loose). ``proof``: set when the read reached the head of a published store.
    ``ties``: pairs of groups that share an object, which the newer one changed in (``cursor``, ``last``], however old
    the older one; a read ends early rather than return more than ``ties_max``. ``version``: grows with each change of
    the store, published or not. ``horizon``: tombstones up to here were gone; a chunk is no use to a device before it.
    """

    rows: Sequence[StoredRow]
    last: int
    groups: tuple[Group, ...]
    proof: Proof | None
    ties: tuple[Tie, ...]
    version: int
    horizon: int = 0


class SyncStore(StoreHistory, Holding, Losing, Gathering, Protocol):
    """The sync store (claims 24d, 24h): a copy of the data objects and the order of their changes (R1, R3-R5)."""

    async def open_collection(self, name: str) -> CollectionState: ...

    async def new_epoch(self) -> str:
        """Durable. Every position held by a device becomes one of another epoch."""
        ...

    async def set_source(self, name: str, source: str, types: Sequence[DataType]) -> tuple[DataType, ...]:
        """Durable. Registers the types (their ids are ignored and given here; a type with the same names keeps its
        id) and the identity of the source. Returns the types with their ids. A type whose key or fields changed gets
        another id, and the objects of its old id with it, in the same commit. Where the source or a type is not what
        it was, a comparison is due from here on (``scanning``)."""
        ...

    async def begin_scan(self, name: str) -> None:
        """Durable. A comparison begins: every object not seen until its end will count as gone."""
        ...

    async def keep(self, name: str, batch: Batch, now_us: int) -> CollectionState:
        """Durable, one commit. Objects that did not change are not counted as changes. During a scan, objects of
        the batch count as seen."""
        ...

    async def unseen(self, name: str, limit: int) -> Sequence[Observed]:
        """Objects of the store that the running scan has not seen (fields None), at most ``limit``. Once they were
        given to ``keep`` as gone or as they are, they are seen."""
        ...

    async def holds(self, name: str, type_id: int) -> bool:
        """Whether any object of the type is there."""
        ...

    async def read(self, request: ChunkRequest, rows_max: int, bytes_max: int) -> StoredChunk: ...

    def at_hand(self, request: ChunkRequest, rows_max: int, bytes_max: int) -> StoredChunk | None:
        """What ``read`` returns, where it need not be read for that: a small group that was just published."""
        ...

    async def groups(self, name: str, limit: int) -> Sequence[Group]:
        """The newest groups, newest first."""
        ...

    async def prune(self, name: str, passed: int, older_than_us: int, groups_us: int | None = None) -> int:
        """Removes tombstones up to ``passed``, tombstones of a time before ``older_than_us``, groups of a time before
        that and before ``groups_us``, and groups beyond ``groups_max``; moves the horizon (R5). Returns the number of
        tombstones removed."""
        ...

    # ------------------------------------------------------------ selection classes

    async def open_class(self, name: str, selection: Selection, rows_max: int) -> CollectionState:
        """Durable. The class is made, or filled on with at most ``rows_max`` objects; to be called until it is ready
        or broken. Does nothing where it is, and for all objects, which are no class. A class that is broken is filled
        anew, as another one, once it can be applied again."""
        ...

    async def in_class(
        self, name: str, selection: Selection, objects: Sequence[Object]
    ) -> tuple[set[Object], set[Object]]:
        """Those of the objects that are in the class, and those that have left it, as far as that is remembered."""
        ...

    async def drop_class(self, name: str, selection: Selection) -> CollectionState:
        """Durable. The class's order is forgotten."""
        ...

    async def prune_class(self, name: str, selection: Selection, passed: int, older_than_us: int) -> int:
        """As ``prune``, which leaves them, for the tombstones of a class and its horizon."""
        ...

    async def forget_gone(self, name: str, selection: Selection, spans: Spans, upto: int) -> int:
        """Removes those tombstones up to ``upto`` of objects that no device can hold: the devices of the class stand in
        these spans. The horizon stays. In many commits where they are many; returns how many."""
        ...


# ---------------------------------------------------------------- inbound queue


@dataclass(frozen=True, slots=True)
class Transfer:
    """What the inbound queue holds of a collection.

    ``cut``: sequence number of the last complete cut (0: none). ``base``, ``floor``, ``cursor``: the transfer that is
    being received. ``snapshot``: the frames that wait begin with a snapshot.
    """

    epoch: str
    snapshot: bool
    base: int
    floor: int
    cursor: int
    cut: int


@dataclass(frozen=True, slots=True)
class ParkedPart:
    """A failed group (or groups joined by a shared object) that waits (R7). ``seqs``: newest last, bounded."""

    id: int
    seqs: tuple[int, ...]
    objects: int
    failure: Failure
    attempts: int
    retry_at_us: int


@dataclass(frozen=True, slots=True)
class Parking:
    """What is parked of a collection, in short (R15): how many parts, the oldest of them (bounded), and when the first
    is due, None if none is parked."""

    parts: int = 0
    oldest: tuple[ParkedPart, ...] = ()
    due_us: int | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a transfer: all rows of the groups ``seqs`` that are not loose, the loose objects ``objects``, and all
    loose rows of the ``types``. ``behind``: each loose object that is parked already, which stays in its part."""

    seqs: frozenset[int]
    objects: frozenset[ObjectId]
    failure: Failure
    types: frozenset[int] = frozenset()
    behind: bool = False


Skip = Callable[[Iterable[ObjectId]], frozenset[ObjectId]]  # those of the objects that are parked


@dataclass(frozen=True, slots=True)
class Work:
    """What a target executes in one transaction.

    ``frames`` may be called repeatedly, from any thread, and gives them in order (``at_hand``: from memory). ``proof``:
    the state after it, None when parked objects are tried again. ``skip``: says which objects are parked, perhaps very
    many. ``types``: by id. ``plan``: what to do about edits made here; None where none are looked for. ``lazily``: it
    need not be durable before ``Target.sync``.
    """

    collection: str
    epoch: str
    snapshot: bool
    frames: Callable[[], Iterator[Objects]]
    types: dict[int, DataType]
    proof: Proof | None
    skip: Skip | None = None
    plan: Plan | None = None
    at_hand: bool = False
    lazily: bool = False


# ---------------------------------------------------------------- application interface


@dataclass(frozen=True, slots=True)
class SourceState:
    """An open source: its identity, its types (ids are 0) and what cannot be captured, in words.

    ``renamed``: former name of a type -> the name it has, where that is known for certain.
    """

    identity: str
    types: tuple[DataType, ...]
    problems: tuple[str, ...]
    renamed: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ScanPage:
    """Objects of one type in key order. ``after``: pass it on to get the next page; None: that was the last."""

    observed: Sequence[Observed]
    after: tuple[object, ...] | None


@dataclass(frozen=True, slots=True)
class SourceChanges:
    """Objects touched after a mark, read in one transaction of the application's data.

    ``drained``: nothing touched remains, so that with this the reader has seen one state. ``lost``: the log does not
    reach back to the mark, or did not give it (a backup was put back): a comparison is needed. ``reshaped``: types or
    capture changed, open the source again.
    """

    observed: Sequence[Observed]
    mark: int
    drained: bool
    lost: bool = False
    reshaped: bool = False


@dataclass(frozen=True, slots=True)
class TargetState:
    """An open target: what it holds of which epoch. ``epoch`` empty: nothing yet. ``plan``: the last plan about edits
    made here that was carried out. Checksum and count are of what the primary sent, without those edits."""

    epoch: str
    position: int
    digest: bytes
    objects: int
    plan: int = 0


@dataclass(frozen=True, slots=True)
class Executed:
    """The work was committed, position and data together (R4). ``durable``: it survives a power cut, and so does what
    was executed before it, unless there was nothing to do."""

    state: TargetState
    durable: bool = True


@dataclass(frozen=True, slots=True)
class Unexecuted:
    """Nothing was changed: these parts of the work fail."""

    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of parked parts that were tried in one transaction: why each failed, None where it was applied."""

    state: TargetState
    failures: tuple[Failure | None, ...]


class Target(Protocol):
    """The application on an auxiliary, written (claims 20f, 24e). Raises ApplicationOffline, TargetHeld, DiskFull, and
    EditsUnread where a work has a plan. ``overlay``: the edits that stand above what is counted; raises EditsUnread
    where more of them were logged than can be counted in. ``upward_ports.Local`` is the rest of it."""

    async def open(self) -> TargetState: ...

    async def execute(self, work: Work) -> Executed | Unexecuted:
        """One transaction: all of the work except what it skips, or nothing (R2, R4, R6, R7)."""
        ...

    async def sync(self) -> None:
        """What was executed until now survives a power cut."""
        ...

    async def retry(self, works: Sequence[Work]) -> Tried:
        """Works without proof, one transaction: each of them whole or not at all (R7)."""
        ...

    async def recount(self, overlay: Overlay | None = None) -> TargetState:
        """Counts checksum and objects again from what the application holds, and keeps the result (R14)."""
        ...

    async def look(self, overlay: Overlay | None = None) -> TargetState | None:
        """What the application holds, where that was found not to be what was kept; it is kept (R14). Raises
        ApplicationOffline if what was opened is not in its place any more."""
        ...

    async def close(self) -> None: ...
