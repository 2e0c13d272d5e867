"""What the engine orders. The driver performs each effect; what comes of it returns as an event (``events.py``).

An effect that claims something to a peer (``Send``) is only ever a consequence of the event that says that it is
durable: commit, then send.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from syncd.core.messages import Begin, Objects, Report, Wire
from syncd.core.model import DataType
from syncd.core.ports import ChunkRequest, Part, TargetState
from syncd.core.selection import Selection
from syncd.core.upward_effects import UpwardEffect


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message, encoded by the peer's adapter."""

    device: str
    message: Wire


@dataclass(frozen=True, slots=True)
class SendFrame:
    """Send an encoded frame of Objects or an Upload. ``collection``: whose window it uses."""

    device: str
    frame: bytes | str
    collection: str


@dataclass(frozen=True, slots=True)
class CloseLink:
    """Close the link after what was sent before; ``code`` empty: no fault. ``at_once``: what has not left does not."""

    device: str
    code: str
    text: str
    at_once: bool = False


@dataclass(frozen=True, slots=True)
class UseAdapter:
    """From here on the link speaks this adapter."""

    device: str
    adapter: str


@dataclass(frozen=True, slots=True)
class SaveAdapter:
    """The sync database is to say which adapter a device speaks (claim 20c), before it is spoken."""

    device: str
    adapter: str


@dataclass(frozen=True, slots=True)
class SaveName:
    """The sync database is to say what a device calls itself. Where that fails the device says it again one day."""

    device: str
    name: str


@dataclass(frozen=True, slots=True)
class SaveReport:
    """Note in the sync database how far a device has come; may be late, the device itself knows better."""

    device: str
    report: Report


@dataclass(frozen=True, slots=True)
class OpenSource:
    collection: str


@dataclass(frozen=True, slots=True)
class BeginScan:
    """Begin a comparison, then scan the first page."""

    collection: str


@dataclass(frozen=True, slots=True)
class ScanSource:
    """Read one page and keep it. ``type`` is an index into the collection's types."""

    collection: str
    type: int
    after: tuple[object, ...] | None


@dataclass(frozen=True, slots=True)
class SweepSource:
    """Look at objects that the scan has not seen."""

    collection: str


@dataclass(frozen=True, slots=True)
class ReadSource:
    """Read what was touched after ``mark`` and keep it. ``end_scan``: the comparison is complete."""

    collection: str
    mark: int
    end_scan: bool = False
    loose: bool = False


@dataclass(frozen=True, slots=True)
class WaitSource:
    """Wait until something may have been touched after ``mark``, then do as ``ReadSource`` does."""

    collection: str
    mark: int


@dataclass(frozen=True, slots=True)
class ReadChunk:
    request: ChunkRequest
    adapter: str


@dataclass(frozen=True, slots=True)
class NewEpoch:
    """A device holds more than the store: the store was restored. Positions held anywhere become void (R4)."""

    collection: str


@dataclass(frozen=True, slots=True)
class OpenClass:
    """Create the class of a selection in the store, or go on filling it with some objects (R8)."""

    collection: str
    selection: Selection


@dataclass(frozen=True, slots=True)
class DropClass:
    """No device takes it any more."""

    collection: str
    selection: Selection


@dataclass(frozen=True, slots=True)
class OpenTarget:
    collection: str


@dataclass(frozen=True, slots=True)
class SaveTypes:
    collection: str
    types: tuple[DataType, ...]


@dataclass(frozen=True, slots=True)
class BeginTransfer:
    """``types``: all that the primary named before, see ``inbound_port``; empty where that is not known."""

    collection: str
    begin: Begin
    types: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Stage:
    collection: str
    frame: Objects
    raw: bytes


@dataclass(frozen=True, slots=True)
class Execute:
    """Execute all complete cuts that wait, after parking what touches parked objects (R7).

    ``settled``: up to this sequence number that was done already. ``held``: what the target holds; work that does not
    begin there is void (the target was restored).
    """

    collection: str
    settled: int
    held: TargetState


@dataclass(frozen=True, slots=True)
class ExecuteNow:
    """Execute these frames, which follow on what the target holds, without staging them. ``types``: by id.
    ``parked``: some objects are parked; then only if these frames touch none of them. ``lazily``: it need not be
    durable before the target is synced."""

    collection: str
    frames: tuple[Objects, ...]
    held: TargetState
    types: Mapping[int, DataType]
    parked: bool = False
    lazily: bool = False


@dataclass(frozen=True, slots=True)
class SyncTarget:
    """What was executed becomes durable, before the primary is told."""

    collection: str


@dataclass(frozen=True, slots=True)
class Park:
    collection: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class RetryParked:
    """Try parked parts of groups up to ``position`` again: some of those that are due. ``asked``: groups whose parts
    are due because a person asked, None for all."""

    collection: str
    asked: frozenset[int | None]
    position: int


@dataclass(frozen=True, slots=True)
class Recount:
    collection: str


@dataclass(frozen=True, slots=True)
class LookAtTarget:
    """Whether an idle target is still in its place (R13) and holds what it is taken to hold (R14)."""

    collection: str


@dataclass(frozen=True, slots=True)
class JoinReports:
    """Wait for further reports that tell of nothing but a position (``report_join_s``)."""

    collection: str


Effect = (
    Send
    | SendFrame
    | CloseLink
    | UseAdapter
    | SaveAdapter
    | SaveName
    | SaveReport
    | OpenSource
    | BeginScan
    | ScanSource
    | SweepSource
    | ReadSource
    | WaitSource
    | ReadChunk
    | NewEpoch
    | OpenClass
    | DropClass
    | OpenTarget
    | SaveTypes
    | BeginTransfer
    | Stage
    | Execute
    | ExecuteNow
    | SyncTarget
    | Park
    | RetryParked
    | Recount
    | LookAtTarget
    | JoinReports
    | UpwardEffect
)
