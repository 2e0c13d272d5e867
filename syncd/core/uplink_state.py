"""What an auxiliary knows of the changes made in one of its collections, and of their way to the primary."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from syncd.core.edits import Direction, OutboxState
from syncd.core.effects import Effect
from syncd.core.frozen import replace
from syncd.core.messages import Verdict
from syncd.core.model import DataType
from syncd.core.settings import Limits, back_off


class UplinkPhase(Enum):
    """Of the reading. ``RESTING``: the target holds nothing yet."""

    RESTING = "resting"
    OFFERING = "offering"
    READING = "reading"
    WAITING = "waiting"
    OFFLINE = "offline"


class Errand(Enum):
    """What of the outbox is under way beside the reading."""

    NONE = "none"
    SETTLING = "settling"
    RENUMBERING = "renumbering"
    UNDOING = "undoing"


@dataclass(frozen=True, slots=True)
class Pause:
    """Tries that failed in a row, and when the next is due."""

    attempt: int = 0
    until: float = 0.0


NO_PAUSE = Pause()


class Mode(Enum):
    """Whether edits travel at this time. ``RUNNING``: until all that waits has, which the primary is to be told."""

    FREE = "free"
    RUNNING = "running"
    RESTING = "resting"


@dataclass(frozen=True)  # no slots, for ``frozen.replace``
class Uplink:
    """``keep_edits``: edits that may not travel stay as they are. ``adapter``: which this device speaks.

    ``direction``: as the primary said last, None before. ``outbox``: as last heard of, None until it was read;
    ``sealed``: of its groups those up to this number may have been sent.
    ``holding``, ``position``: whether the target holds anything, and where it is; ``told``: the types, where nothing is
    followed; ``anew``: they are others than those by which edits are read.
    ``lost``: what was edited is not known until the target fetched everything. ``unread``: there may be edits that the
    outbox does not have.

    ``links``: how many are over. Of the link: ``peer``, empty without one; ``agreed``: Terms came; ``offered``,
    ``answered``: an Offer was sent, and what has come there is known; ``sent``: groups up to this number are there or
    on their way; ``sent_bytes``, ``settled_bytes``: handed to it and durable there. ``taking``: the newest group when
    frames were ordered, None if they are not.

    ``verdicts``: that came and are not settled, ``settling``, ``settling_to``: how many of them are being settled, and
    for which position; ``settled_to``, ``settled_at``: that for which it was done last, and when. ``renumber``: what
    the primary has beyond this outbox. ``reason``: why reading fails.

    ``mode``: see there; ``running_at``: since when it runs, None where the primary was told that nothing waits any
    more; ``aim``: newest group that waited. ``allowance_bytes``: how much may leave at this moment, None: as much as
    the window has room for.
    """

    name: str
    limits: Limits
    adapter: str
    keep_edits: bool = False
    phase: UplinkPhase = UplinkPhase.RESTING
    direction: Direction | None = None
    outbox: OutboxState | None = None
    sealed: int = 0
    holding: bool = False
    position: int = 0
    told: tuple[DataType, ...] = ()
    anew: bool = False
    lost: bool = False
    unread: bool = True
    peer: str = ""
    links: int = 0
    agreed: bool = False
    offered: bool = False
    answered: bool = False
    sent: int = 0
    sent_bytes: int = 0
    settled_bytes: int = 0
    taking: int | None = None
    taking_pause: Pause = NO_PAUSE
    errand: Errand = Errand.NONE
    errand_pause: Pause = NO_PAUSE
    verdicts: tuple[Verdict, ...] = ()
    settling: int = 0
    settling_to: int = 0
    settled_to: int = 0
    settled_at: float = 0.0
    renumber: int | None = None
    reason: str = ""
    reading_pause: Pause = NO_PAUSE
    mode: Mode = Mode.FREE
    running_at: float | None = None
    aim: int | None = None
    allowance_bytes: int | None = None

    @property
    def pending(self) -> int:
        """Groups that wait for their verdict."""
        return self.outbox.pending if self.outbox else 0

    @property
    def refused(self) -> int:
        """Refused groups that are kept."""
        return self.outbox.refused if self.outbox else 0

    @property
    def sends(self) -> bool:
        """Whether edits may travel."""
        return self.direction in (Direction.IN, Direction.BOTH) and self.mode is not Mode.RESTING

    @property
    def room_bytes(self) -> int:
        room_bytes = self.limits.upload_window_bytes_max - (self.sent_bytes - self.settled_bytes)
        return room_bytes if self.allowance_bytes is None else min(room_bytes, self.allowance_bytes)

    @property
    def follows(self) -> bool:
        """Whether a group that closes can be sent at once, or after those that are being taken."""
        newest = self.outbox.last if self.outbox else 0
        reached = self.sent if self.taking is None else self.taking
        return self.sends and self.answered and reached >= newest and self.room_bytes > 0


Step = tuple[Uplink, list[Effect]]


def heard(uplink: Uplink, outbox: OutboxState) -> Uplink:
    """How the outbox stands."""
    return replace(uplink, outbox=outbox, sealed=sealed_to(uplink, outbox))


def sealed_to(uplink: Uplink, outbox: OutboxState) -> int:
    """What was sealed counts, whichever of two answers came last."""
    same = uplink.outbox is not None and uplink.outbox.outbox == outbox.outbox
    return max(outbox.sealed, uplink.sealed if same else 0)


def later(uplink: Uplink, pause: Pause, now: float) -> Pause:
    """After one more try that failed."""
    limits = uplink.limits
    pause_s = back_off(pause.attempt, limits.offline_retry_s_first, limits.offline_retry_s_max)
    return Pause(pause.attempt + 1, now + pause_s)
