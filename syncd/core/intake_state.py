"""What the primary holds in memory of a collection's changes that come from auxiliaries (``core.intake``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from syncd.core.edits import Policy, Written
from syncd.core.effects import Effect
from syncd.core.frozen import replace
from syncd.core.messages import Upload
from syncd.core.ports import CollectionState
from syncd.core.selection import Selection
from syncd.core.settings import Limits

NONE_SELECTED: Mapping[str, Selection] = {}


class Ground(NamedTuple):
    """What an intake stands on: the terms of its collection, the devices that may have it (R9), the ``silent`` of which
    nothing is taken, and what the store holds of it, None while its application cannot be written. ``selected``: what
    devices take that do not take everything (R8)."""

    silent: frozenset[str]
    policy: Policy
    devices: frozenset[str]
    state: CollectionState | None
    published: bool
    selected: Mapping[str, Selection] = NONE_SELECTED


class Frame(NamedTuple):
    """An Upload that is executed as it comes. ``counts``: the link on which it came stands yet."""

    device: str
    upload: Upload
    raw: bytes
    counts: bool = True

    @property
    def first(self) -> int:
        return self.upload.runs[0].number

    @property
    def last(self) -> int:
        return self.upload.runs[-1].number


class Known(NamedTuple):
    """Groups of a device that took any road since the intake began, and may be on it yet: those of ``outbox`` up to
    ``number``, on whatever link they came. ``sure``: there are no others of it, of which the queue may not say yet that
    they came."""

    outbox: str
    number: int = 0
    sure: bool = True


class IntakePhase(Enum):
    """Of the executing: of what is in the queue, or of frames as they come."""

    RESTING = "resting"
    WRITING = "writing"
    DIRECT = "direct"
    PAUSED = "paused"


@dataclass(frozen=True)  # no slots, for ``frozen.replace``
class Sender:
    """A linked device that offered its groups. ``outbox``: whose numbers they have; ``number``: up to which all are in
    the queue, or were. ``arrived_bytes``, ``staged_bytes``: came on this link and are durable; ``told_bytes``: as it
    was told. ``waiting_bytes``: staged since the queue was last empty; ``owed``: it was not told what is staged.
    ``first``: of its last offer; ``reading``: what it is answered is being read; ``again``: it offered once more
    meanwhile. ``half``: the group that came last goes on."""

    outbox: str
    number: int = 0
    first: int = 1
    reading: bool = False
    again: bool = False
    arrived_bytes: int = 0
    staged_bytes: int = 0
    told_bytes: int = 0
    waiting_bytes: int = 0
    owed: bool = False
    half: bool = False


@dataclass(frozen=True)  # no slots, for ``frozen.replace``
class Intake:
    """``cursor``: groups of the queue up to it were executed; ``more``: others may wait after it; ``counted``: none but
    those that the senders count. ``written``: executed and not settled, in order; ``settling``: how many of them are
    being settled. ``void``: what is being executed counts for nothing. ``reason``, ``no_room``: why nothing can be
    executed, and why nothing can be staged; empty if it can. ``attempt``, ``retry_at``: of executing;
    ``settle_attempt``, ``settle_at``: of settling.

    ``staging_bytes``: on their way into the queue. ``kept``: frames that the writer has, or had and that are not
    settled; ``buffer``: those that came while it has some; ``direct_bytes``: of both. ``twice``: what is in the queue
    may be in ``written`` as well. ``known``: by device, for as long as the intake lasts.
    """

    name: str
    limits: Limits
    phase: IntakePhase = IntakePhase.RESTING
    senders: Mapping[str, Sender] = field(default_factory=dict)
    cursor: int = 0
    more: bool = True
    counted: bool = False
    void: bool = False
    written: tuple[Written, ...] = ()
    settling: int = 0
    reason: str = ""
    no_room: str = ""
    staging_bytes: int = 0
    kept: tuple[Frame, ...] = ()
    buffer: tuple[Frame, ...] = ()
    direct_bytes: int = 0
    twice: bool = False
    known: Mapping[str, Known] = field(default_factory=dict)
    attempt: int = 0
    retry_at: float = 0.0
    settle_attempt: int = 0
    settle_at: float = 0.0


Step = tuple[Intake, list[Effect]]


def with_sender(intake: Intake, device: str, sender: Sender) -> Intake:
    return replace(intake, senders={**intake.senders, device: sender})


def with_known(intake: Intake, device: str, outbox: str, number: int) -> Intake:
    """Groups of the outbox up to the number came."""
    known = intake.known.get(device)
    if known is None or known.outbox != outbox or number <= known.number:
        return intake
    return replace(intake, known={**intake.known, device: known._replace(number=number)})


def full(intake: Intake) -> bool:
    """Whether enough waits to be published already (R15)."""
    limits = intake.limits
    kept_bytes = sum(_size_bytes(one) for one in intake.written if one.sides)
    return len(intake.written) >= limits.written_max or kept_bytes > 4 * limits.uploads_bytes_max


def _size_bytes(written: Written) -> int:
    versions = (version for side in written.sides for version in (side.base, side.ours, side.theirs, side.result))
    return sum(len(version) for version in versions if version)
