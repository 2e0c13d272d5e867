"""What the engine orders for changes that come from auxiliaries; see ``core.effects`` for the others.

``ReadLocal`` to ``OfferLocal`` are an auxiliary's (``core.uplink``), the others a primary's (``core.intake``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from syncd.core.edits import Policy, Written
from syncd.core.messages import Upload, Verdict
from syncd.core.model import DataType
from syncd.core.selection import Selection

# ---------------------------------------------------------------- on the auxiliary


@dataclass(frozen=True, slots=True)
class TakeUploads:
    """Groups of edits after number ``after``, encoded by the adapter, about so many bytes of them."""

    collection: str
    after: int
    adapter: str
    bytes_max: int


@dataclass(frozen=True, slots=True)
class ReadLocal:
    """Read what the application changed and keep it. ``take``: it can be sent at once, it is sealed and taken."""

    collection: str
    take: TakeUploads | None = None


@dataclass(frozen=True, slots=True)
class WaitLocal:
    """Wait until the application may have changed something, then the same. ``link``: how many were over when it was
    ordered."""

    collection: str
    take: TakeUploads | None = None
    link: int = 0


@dataclass(frozen=True, slots=True)
class HoldUploads:
    """So many links are over: a wait that was ordered before takes nothing, so that groups can still be joined."""

    collection: str
    link: int


@dataclass(frozen=True, slots=True)
class OfferLocal:
    """Keep all that the application holds as edits whose bases are not known (R13), unless that was done before with
    the same types. ``types``: as the primary told them, where it did on this link."""

    collection: str
    types: tuple[DataType, ...] = ()


@dataclass(frozen=True, slots=True)
class SettleUploads:
    """Keep what became of groups of edits. ``position``: of the target; groups accepted up to it leave."""

    collection: str
    verdicts: tuple[Verdict, ...]
    position: int


@dataclass(frozen=True, slots=True)
class RenumberOutbox:
    """The primary knows groups up to ``after`` which this outbox, an older copy of itself, does not."""

    collection: str
    after: int


@dataclass(frozen=True, slots=True)
class UndoEdits:
    """Put back what was refused and still stands in the application (R7)."""

    collection: str


# ---------------------------------------------------------------- on the primary


@dataclass(frozen=True, slots=True)
class StageUpload:
    device: str
    collection: str
    upload: Upload
    raw: bytes


@dataclass(frozen=True, slots=True)
class WriteUploads:
    """Execute groups of edits that wait after the cursor ``after``: those of ``devices``; of others they are refused
    (R9), and of the ``silent``, whose changes are not taken. ``selected``: what those take that do not take everything;
    what is outside of it is refused."""

    collection: str
    after: int
    silent: frozenset[str]
    policy: Policy
    devices: frozenset[str]
    selected: Mapping[str, Selection] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WriteNow:
    """Execute the groups of frames that are not in the queue, each with the device that sent it; the others are as of
    ``WriteUploads``."""

    collection: str
    frames: tuple[tuple[str, Upload], ...]
    silent: frozenset[str]
    policy: Policy
    devices: frozenset[str]
    selected: Mapping[str, Selection] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SettleWritten:
    """Keep what became of groups whose rows have their place in the order: the newest of it is ``seq``."""

    collection: str
    written: tuple[Written, ...]
    seq: int
    policy: Policy


@dataclass(frozen=True, slots=True)
class ReadVerdicts:
    """What a device is answered that offers groups of ``outbox``, of which ``first`` is the oldest without a
    verdict. ``after``: those up to it are on their way."""

    device: str
    collection: str
    outbox: str
    first: int
    after: int = 0


UpwardEffect = (
    ReadLocal
    | WaitLocal
    | HoldUploads
    | OfferLocal
    | TakeUploads
    | SettleUploads
    | RenumberOutbox
    | UndoEdits
    | StageUpload
    | WriteUploads
    | WriteNow
    | SettleWritten
    | ReadVerdicts
)
