"""What the engine is told: what peers sent, and what came of the effects it ordered (``effects.py``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from syncd.core.edits import OutboxState
from syncd.core.messages import Wire
from syncd.core.model import DataType, Proof
from syncd.core.ports import (
    ChunkRequest,
    CollectionState,
    Executed,
    Parking,
    SourceState,
    TargetState,
    Transfer,
    Unexecuted,
)
from syncd.core.selection import Selection
from syncd.core.upward_events import UpwardEvent

# ---------------------------------------------------------------- events of links


@dataclass(frozen=True, slots=True)
class LinkUp:
    """A link to a paired device stands; its id comes from TLS."""

    device: str


@dataclass(frozen=True, slots=True)
class LinkDown:
    device: str
    reason: str


@dataclass(frozen=True, slots=True)
class Received:
    """A message came. ``raw``: the frame's bytes, kept for the inbound queue."""

    device: str
    message: Wire
    raw: bytes


@dataclass(frozen=True, slots=True)
class AdapterSaved:
    """The sync database says which adapter a device speaks. ``failure``: why it could not be written."""

    device: str
    adapter: str
    failure: str = ""


@dataclass(frozen=True, slots=True)
class NameSaved:
    """The sync database says what a device calls itself."""

    device: str
    name: str


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed."""


# ---------------------------------------------------------------- events of a source


@dataclass(frozen=True, slots=True)
class SourceOpened:
    """``changed``: the source or its types are not those of the last time, a comparison is needed."""

    collection: str
    source: SourceState
    state: CollectionState
    changed: bool


@dataclass(frozen=True, slots=True)
class SourceFailed:
    """The source or the store could not do it; tried again later. ``state``: what the store holds all the same."""

    collection: str
    reason: str
    state: CollectionState | None = None


@dataclass(frozen=True, slots=True)
class Scanned:
    """A page was kept. ``type``: index of the type it is of; ``after``: where its next page begins, None at its end."""

    collection: str
    type: int
    after: tuple[object, ...] | None
    state: CollectionState


@dataclass(frozen=True, slots=True)
class Swept:
    """Objects that the scan had not seen were looked at again and kept. ``count`` 0: none was left."""

    collection: str
    count: int
    state: CollectionState


@dataclass(frozen=True, slots=True)
class SourceRead:
    """What was touched is kept. ``more``: not all of it was read yet."""

    collection: str
    state: CollectionState
    more: bool
    lost: bool
    reshaped: bool


@dataclass(frozen=True, slots=True)
class ChunkRead:
    """Changes were read, built and encoded once for all devices that wait for them.

    ``proof``: of the cut in the frame. ``version``, ``horizon``: of the store when it was read. ``frame``: encoded by
    the adapter.
    """

    request: ChunkRequest
    adapter: str
    last: int
    proof: Proof | None
    version: int
    horizon: int
    frame: bytes | str


@dataclass(frozen=True, slots=True)
class ChunkFailed:
    request: ChunkRequest
    adapter: str
    reason: str


@dataclass(frozen=True, slots=True)
class StoreMoved:
    """The store of a collection was pruned: its horizon moved."""

    state: CollectionState


@dataclass(frozen=True, slots=True)
class EpochMoved:
    """The store, with all of its collections, got a new epoch."""

    epoch: str


@dataclass(frozen=True, slots=True)
class EpochFailed:
    """No new epoch could be written."""

    collection: str
    reason: str


@dataclass(frozen=True, slots=True)
class ClassOpened:
    """The class of a selection is there, ready or on its way to be. ``state``: of the store after that."""

    collection: str
    selection: Selection
    state: CollectionState


@dataclass(frozen=True, slots=True)
class ClassDropped:
    collection: str
    selection: Selection
    state: CollectionState


@dataclass(frozen=True, slots=True)
class ClassFailed:
    """The store could not open it, or not drop it; tried again later."""

    collection: str
    selection: Selection
    reason: str


# ---------------------------------------------------------------- events of a target


@dataclass(frozen=True, slots=True)
class TargetOpened:
    """``types``: those described, by id, as the inbound queue has them. ``outbox``: what it holds, where edits are
    captured."""

    collection: str
    state: TargetState
    transfer: Transfer | None
    types: Mapping[int, DataType]
    parked: Parking
    outbox: OutboxState | None = None


@dataclass(frozen=True, slots=True)
class TargetFailed:
    """``held``: a person must decide (R13), else tried again. ``parked``: as the inbound queue has them, where it could
    be asked and the target not be opened."""

    collection: str
    reason: str
    held: bool = False
    parked: Parking | None = None


@dataclass(frozen=True, slots=True)
class Staged:
    """``frames`` frames, up to ``cursor``, are durable. ``cuts``: complete cuts among them."""

    collection: str
    frames: int
    cursor: int
    cuts: tuple[Proof, ...]
    staged_bytes: int


@dataclass(frozen=True, slots=True)
class StageFailed:
    collection: str
    frames: int
    reason: str


@dataclass(frozen=True, slots=True)
class WorkDone:
    """Waiting cuts were executed. ``proof``: of the last of them; None: there was nothing to do. ``outbox``: what it
    holds after it, where that changed."""

    collection: str
    proof: Proof | None
    result: Executed | Unexecuted
    outbox: OutboxState | None = None


@dataclass(frozen=True, slots=True)
class WorkVoid:
    """What waited does not begin where the target is (it was restored from a copy), or it is not known what was edited
    here (``lost``); the inbound queue was cleared."""

    collection: str
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Parked:
    collection: str
    parked: Parking


@dataclass(frozen=True, slots=True)
class Retried:
    """So many parked parts were tried again; ``state`` is None where none could be."""

    collection: str
    state: TargetState | None
    tried: int
    parked: Parking


@dataclass(frozen=True, slots=True)
class Recounted:
    collection: str
    state: TargetState


@dataclass(frozen=True, slots=True)
class LookedAtTarget:
    """``state``: what the target was found to hold, where that is not what it was taken to hold."""

    collection: str
    state: TargetState | None = None


@dataclass(frozen=True, slots=True)
class ReportsJoined:
    collection: str


@dataclass(frozen=True, slots=True)
class TargetSynced:
    """``failed``: why it could not be; empty: what was executed before it was asked for is durable."""

    collection: str
    failed: str = ""


@dataclass(frozen=True, slots=True)
class RetryAsked:
    """A person asks for parked parts to be tried at once. ``seq`` None: all."""

    collection: str
    seq: int | None


Event = (
    LinkUp
    | LinkDown
    | Received
    | AdapterSaved
    | NameSaved
    | Tick
    | SourceOpened
    | SourceFailed
    | Scanned
    | Swept
    | SourceRead
    | ChunkRead
    | ChunkFailed
    | StoreMoved
    | EpochMoved
    | EpochFailed
    | ClassOpened
    | ClassDropped
    | ClassFailed
    | TargetOpened
    | TargetFailed
    | Staged
    | StageFailed
    | WorkDone
    | WorkVoid
    | Parked
    | Retried
    | Recounted
    | LookedAtTarget
    | ReportsJoined
    | TargetSynced
    | RetryAsked
    | UpwardEvent
)
