"""What an auxiliary knows of one of its collections, and what it tells the primary of it (R7, R14, R15)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import NamedTuple

from syncd.core.effects import Effect, Send
from syncd.core.messages import Credit, Failed, Follow, Objects, Report
from syncd.core.model import DataType, ObjectId, Proof
from syncd.core.ports import ParkedPart, TargetState, Transfer
from syncd.core.settings import Limits


class TargetPhase(Enum):
    OPENING = "opening"
    READY = "ready"
    EXECUTING = "executing"
    PARKING = "parking"
    RETRYING = "retrying"
    RECOUNTING = "recounting"
    LOOKING = "looking"
    OFFLINE = "offline"
    HELD = "held"


class Heal(Enum):
    """How far a checksum that does not agree has been treated (R14)."""

    NONE = "none"
    RECOUNTED = "recounted"
    FETCHED = "fetched"


class Arrived(NamedTuple):
    """A frame with its bytes as they came."""

    frame: Objects
    raw: bytes


@dataclass(frozen=True, slots=True)
class Target:
    """``peer``: the primary's device while its link is open. ``types``: those described, by id.

    ``received``: end of the frames handed to staging; ``staging``, ``staging_bytes``: number and size of those that are
    not durable yet. ``direct``: frames that are executed without staging; ``buffer``: those that arrived meanwhile;
    ``cautious``: no more of that before the long road has worked again. ``head``: the primary's, as far as known.
    ``cuts``: complete cuts that wait; ``aim``: the last when execution began; ``settled``: up to here what touches
    parked objects was parked. ``asked``: parked parts to be tried at once. ``proof``: what the primary says of the last
    cut that was executed. ``following``: Follow was sent on this link; ``begun``: it was answered. ``arrived_bytes``:
    of frames that came on this link; ``durable_bytes``: of those that are settled; ``credit_bytes``: how much of it
    the primary was told.
    ``moved_at``: when anything last went on; ``looked_at``: when it was last seen that the target is in its place.
    """

    name: str
    limits: Limits
    phase: TargetPhase = TargetPhase.OPENING
    peer: str = ""
    state: TargetState | None = None
    transfer: Transfer | None = None
    types: Mapping[int, DataType] = field(default_factory=dict)
    received: int = 0
    staging: int = 0
    staging_bytes: int = 0
    direct: tuple[Arrived, ...] = ()
    buffer: tuple[Arrived, ...] = ()
    cautious: bool = False
    head: int = 0
    cuts: tuple[Proof, ...] = ()
    aim: int = 0
    settled: int = 0
    parked: tuple[ParkedPart, ...] = ()
    asked: frozenset[int] = frozenset()
    proof: Proof | None = None
    heal: Heal = Heal.NONE
    following: bool = False
    begun: bool = False
    again: bool = False
    arrived_bytes: int = 0
    durable_bytes: int = 0
    credit_bytes: int = 0
    reason: str = ""
    attempt: int = 0
    retry_at: float = 0.0
    moved_at: float = 0.0
    looked_at: float = 0.0

    @property
    def match(self) -> bool:
        """Both ends agree on what is held at this position (R14)."""
        state, proof = self.state, self.proof
        agree = state is not None and proof is not None and (state.position, state.digest) == (proof.seq, proof.digest)
        return agree and not self.parked

    @property
    def differs(self) -> bool:
        """The checksums at the cut do not agree."""
        state, proof = self.state, self.proof
        if self.match or self.parked or self.cuts or state is None or proof is None:
            return False
        return state.position == proof.seq

    @property
    def failed(self) -> tuple[Failed, ...]:
        """The failed groups that are parked, at most ``failed_max``."""
        failed = []
        for part in self.parked:
            guilty = part.failure.guilty or ObjectId("", b"")
            outcome, cause = part.failure.outcome.value, part.failure.cause
            failed += [Failed(seq, outcome, cause, guilty.type, guilty.key) for seq in part.seqs]
            if len(failed) >= self.limits.failed_max:
                break
        return tuple(failed[: self.limits.failed_max])


Step = tuple[Target, list[Effect]]


def report(target: Target) -> list[Effect]:
    """Where the collection stands, for the primary; nothing before that is known."""
    if not target.peer or (target.state is None and target.phase is TargetPhase.OPENING):
        return []
    state = target.state or TargetState("", 0, bytes(16), 0)
    message = Report(
        target.name,
        state.epoch,
        state.position,
        state.digest,
        state.objects,
        target.match,
        len(target.parked),
        target.reason,
        target.phase is TargetPhase.HELD,
        target.failed,
    )
    return [Send(target.peer, message)]


def left_behind(target: Target, state: TargetState) -> bool:
    """Nothing waits, and what was received is not what the target holds."""
    transfer = target.transfer
    if transfer is None or transfer.snapshot or transfer.cursor > max(transfer.base, transfer.cut):
        return False
    return state.epoch != transfer.epoch or state.position < target.received


def follow(target: Target) -> Follow:
    """Sent when no complete cut waits: the transfer is unfinished, or there is none."""
    state, transfer = target.state, target.transfer
    assert state is not None
    if transfer is not None and transfer.cursor > max(transfer.base, transfer.cut):
        if transfer.snapshot:
            begin = transfer.base, transfer.floor, transfer.cursor
            return Follow(target.name, transfer.epoch, 0, True, *begin, target.again)
        if (transfer.epoch, transfer.base) == (state.epoch, state.position):
            return Follow(
                target.name, state.epoch, state.position, False, state.position, 0, transfer.cursor, target.again
            )
    position = state.position
    return Follow(target.name, state.epoch, position, False, position, 0, position, target.again)


def credit(target: Target) -> Step:
    """Credit is withheld while too many cuts wait: then the primary waits too, and sends the net change later."""
    owed_bytes = target.durable_bytes - target.credit_bytes
    if (
        not target.following
        or owed_bytes < target.limits.credit_bytes
        or len(target.cuts) > target.limits.waiting_cuts_max
    ):
        return target, []
    credit = Credit(target.name, target.durable_bytes)
    return replace(target, credit_bytes=target.durable_bytes), [Send(target.peer, credit)]
