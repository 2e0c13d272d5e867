"""What the engine is told of changes that come from auxiliaries; see ``core.events`` for the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from syncd.core.edits import OutboxState, Written
from syncd.core.messages import Verdict

# ---------------------------------------------------------------- on the auxiliary


@dataclass(frozen=True, slots=True)
class UploadsTaken:
    """Frames of the groups after number ``after``, up to ``last``, made by ``adapter``; no frames: no number up to
    ``last`` is of a group."""

    collection: str
    after: int
    last: int
    frames: tuple[bytes | str, ...]
    adapter: str = "msgpack"


@dataclass(frozen=True, slots=True)
class LocalRead:
    """What the application changed is in the outbox. ``more``: not all of it. ``lost``: its log does not say what it
    changed. ``taken``: of it, if it can be sent at once."""

    collection: str
    outbox: OutboxState
    more: bool
    lost: bool = False
    taken: UploadsTaken | None = None


@dataclass(frozen=True, slots=True)
class LocalOffered:
    """All that the application holds is in the outbox."""

    collection: str
    outbox: OutboxState


@dataclass(frozen=True, slots=True)
class LocalFailed:
    """The application cannot be read, or the outbox not be written; tried again later."""

    collection: str
    reason: str


@dataclass(frozen=True, slots=True)
class TakeFailed:
    collection: str
    reason: str


@dataclass(frozen=True, slots=True)
class UploadsSettled:
    collection: str
    outbox: OutboxState


@dataclass(frozen=True, slots=True)
class OutboxRenumbered:
    collection: str
    outbox: OutboxState


@dataclass(frozen=True, slots=True)
class EditsUndone:
    collection: str
    outbox: OutboxState


@dataclass(frozen=True, slots=True)
class SettleFailed:
    """Settling, renumbering or undoing could not be done; tried again later."""

    collection: str
    reason: str


# ---------------------------------------------------------------- on the primary


@dataclass(frozen=True, slots=True)
class UploadStaged:
    """Frames are durable: all groups of the outbox up to ``number`` are there, whole. ``staged_bytes``: of those
    frames."""

    device: str
    collection: str
    outbox: str
    number: int
    staged_bytes: int


@dataclass(frozen=True, slots=True)
class UploadUnstaged:
    """Frames of so many bytes could not be kept."""

    device: str
    collection: str
    reason: str
    unstaged_bytes: int


@dataclass(frozen=True, slots=True)
class UploadsWritten:
    """Groups up to the cursor ``reached`` were executed or refused; none: no more wait."""

    collection: str
    reached: int
    written: tuple[Written, ...]


@dataclass(frozen=True, slots=True)
class WrittenNow:
    """The groups of frames that are not in the queue were executed or refused."""

    collection: str
    written: tuple[Written, ...]


@dataclass(frozen=True, slots=True)
class WriteFailed:
    """The application cannot be written, or the queue not be read; tried again later."""

    collection: str
    reason: str


@dataclass(frozen=True, slots=True)
class WrittenSettled:
    """``verdicts``: by device, with the outbox whose groups they are of."""

    collection: str
    verdicts: Mapping[str, tuple[str, tuple[Verdict, ...]]]


@dataclass(frozen=True, slots=True)
class UnsettledWritten:
    """What became of groups could not be kept; tried again later."""

    collection: str
    reason: str


@dataclass(frozen=True, slots=True)
class VerdictsRead:
    """``number``: all groups of the outbox up to it are in the queue, or were. ``waiting_bytes``: of what is there of
    the device and not settled. ``more``: these are not all."""

    device: str
    collection: str
    outbox: str
    number: int
    verdicts: tuple[Verdict, ...]
    waiting_bytes: int = 0
    more: bool = False


@dataclass(frozen=True, slots=True)
class VerdictsUnread:
    device: str
    collection: str
    reason: str


UplinkEvent = (
    LocalRead
    | LocalOffered
    | LocalFailed
    | UploadsTaken
    | TakeFailed
    | UploadsSettled
    | OutboxRenumbered
    | EditsUndone
    | SettleFailed
)
IntakeEvent = (
    UploadStaged
    | UploadUnstaged
    | UploadsWritten
    | WrittenNow
    | WriteFailed
    | WrittenSettled
    | UnsettledWritten
    | VerdictsRead
    | VerdictsUnread
)
UpwardEvent = UplinkEvent | IntakeEvent
