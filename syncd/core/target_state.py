"""What an auxiliary knows of one of its collections, and what it tells the primary of it (R7, R14, R15)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from syncd.core.effects import Effect, JoinReports, Send, SyncTarget
from syncd.core.frozen import replace
from syncd.core.messages import Credit, Failed, Follow, Objects, Report
from syncd.core.model import DataType, ObjectId, Proof
from syncd.core.ports import Executed, Parking, TargetState, Transfer
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
    """How far a checksum that does not agree has been treated (R14). ``FETCHED``: everything was fetched and executed
    again, in vain; after a pause it begins anew."""

    NONE = "none"
    RECOUNTED = "recounted"
    FETCHING = "fetching"
    FETCHED = "fetched"


class Arrived(NamedTuple):
    """A frame with its bytes as they came."""

    frame: Objects
    raw: bytes


class Told(NamedTuple):
    """What a report says beside the position: whoever is told of it is told at once."""

    epoch: str
    match: bool
    parked: Parking
    offline: str
    held: bool


_NONE_PARKED = Parking()


@dataclass(frozen=True)  # no slots, for ``frozen.replace``
class Target:
    """``peer``: the primary's device while its link is open. ``types``: those described, by id;
    ``named``: in the primary's latest description.

    ``received``: end of the frames handed to staging; ``staging``, ``staging_bytes``: number and size of those that are
    not durable yet. ``direct``: frames that are executed without staging; ``buffer``: those that arrived meanwhile;
    ``cautious``: no more of that before the long road has worked again. ``head``: the primary's, as far as known.
    ``cuts``: complete cuts that wait; ``aim``: the last when execution began; ``settled``: up to here what touches
    parked objects was parked. ``asked``: parked groups to be tried at once, None for all; ``tried``: how many parts
    were tried; ``barren``: the position at which none of those that are due could be; ``reported_at``: when the primary
    was last told what came of them. ``proof``: what the primary says of the last
    cut that was executed. ``following``: Follow was sent on this link; ``begun``: it was answered. ``arrived_bytes``:
    of frames that came on this link; ``durable_bytes``: of those that are settled; ``credit_bytes``: how much of it
    the primary was told.
    ``overtaken``: frames became durable since the target was to be opened. ``healed_at``: when it was last fetched in
    vain. ``fetching``: why the primary sends everything, while it does. ``told``: what it was last told beside the
    position, None for nothing on this link; ``joining``: reports of a position alone wait for one another; ``untold``:
    one does. ``unsynced``: what was executed last may not be durable, so that it is synced before it is told;
    ``syncing``: it is, and ``saying`` is sent then. ``moved_at``: when anything last went on;
    ``looked_at``: when it was last seen that the target is in its place. ``stuck``: it was held when it was last tried
    to execute what waits.
    """

    name: str
    limits: Limits
    phase: TargetPhase = TargetPhase.OPENING
    peer: str = ""
    state: TargetState | None = None
    transfer: Transfer | None = None
    types: Mapping[int, DataType] = field(default_factory=dict)
    named: frozenset[int] = frozenset()
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
    parked: Parking = _NONE_PARKED
    asked: frozenset[int | None] = frozenset()
    tried: int = 0
    barren: int = -1
    reported_at: float = 0.0
    proof: Proof | None = None
    heal: Heal = Heal.NONE
    following: bool = False
    begun: bool = False
    overtaken: bool = False
    healed_at: float = 0.0
    arrived_bytes: int = 0
    durable_bytes: int = 0
    credit_bytes: int = 0
    reason: str = ""
    fetching: str = ""
    told: Told | None = None
    joining: bool = False
    untold: bool = False
    unsynced: bool = False
    syncing: bool = False
    saying: Report | None = None
    stuck: bool = False
    attempt: int = 0
    retry_at: float = 0.0
    moved_at: float = 0.0
    looked_at: float = 0.0

    @property
    def match(self) -> bool:
        """Both ends agree on what is held at this position (R14)."""
        state, proof = self.state, self.proof
        agree = state is not None and proof is not None and (state.position, state.digest) == (proof.seq, proof.digest)
        return agree and not self.parked.parts

    @property
    def failed(self) -> tuple[Failed, ...]:
        """The failed groups that are parked, at most ``failed_max``."""
        failed = []
        for part in self.parked.oldest:
            guilty = part.failure.guilty or ObjectId("", b"")
            outcome, cause = part.failure.outcome.value, part.failure.cause
            failed += [Failed(seq, outcome, cause, guilty.type, guilty.key) for seq in part.seqs]
            if len(failed) >= self.limits.failed_max:
                break
        return tuple(failed[: self.limits.failed_max])


Step = tuple[Target, list[Effect]]


def epoch(target: Target) -> str:
    return target.transfer.epoch if target.transfer else ""


def executed(transfer: Transfer, state: TargetState) -> bool:
    """Whether the last cut that was received is in the application. A snapshot may be for the position that it has
    already: where the checksums did not agree."""
    return transfer.epoch == state.epoch and transfer.cut <= state.position and not transfer.snapshot


def differs(target: Target) -> bool:
    """Whether the application holds something else than the primary says of this position."""
    state, proof = target.state, target.proof
    if target.match or target.parked.parts or target.cuts or state is None or proof is None:
        return False
    return state.position == proof.seq and state.epoch == epoch(target)


def left_behind(target: Target, state: TargetState) -> bool:
    """Nothing waits, and what was received is not what the target holds."""
    transfer = target.transfer
    if transfer is None or transfer.snapshot or transfer.cursor > max(transfer.base, transfer.cut):
        return False
    return state.epoch != transfer.epoch or state.position < target.received


def settled(target: Target, frames: int, staged_bytes: int) -> Target:
    """Frames handed to staging are durable, or void: the window is free of them either way, as soon as that is known
    of all."""
    staging, waiting_bytes = target.staging - frames, max(0, target.staging_bytes - staged_bytes)
    void_bytes = 0 if staging else waiting_bytes
    return replace(
        target,
        staging=staging,
        staging_bytes=waiting_bytes - void_bytes,
        durable_bytes=target.durable_bytes + staged_bytes + void_bytes,
    )


_NOWHERE = TargetState("", 0, bytes(16), 0)


def report(target: Target) -> Step:
    """Where the collection stands, for the primary; nothing before that is known. Reports of a position alone, which
    come with each cut, are joined."""
    if not target.peer or (target.state is None and target.phase is TargetPhase.OPENING):
        return target, []
    state, held = target.state or _NOWHERE, target.phase is TargetPhase.HELD
    offline = target.reason if held or target.phase is TargetPhase.OFFLINE else ""
    told = Told(state.epoch, target.match, target.parked, offline, held)
    if target.syncing or (target.joining and told == target.told):
        return (target if target.untold else replace(target, untold=True)), []
    message = Report(
        target.name,
        state.epoch,
        state.position,
        state.digest,
        state.objects,
        told.match,
        target.parked.parts,
        offline,
        held,
        target.failed,
    )
    join: list[Effect] = [] if target.joining else [JoinReports(target.name)]
    target = replace(target, told=told, joining=True, untold=False)
    if target.unsynced:
        return replace(target, unsynced=False, syncing=True, saying=message), [SyncTarget(target.name), *join]
    return target, [Send(target.peer, message), *join]


def synced(target: Target, durable: bool) -> Step:
    """What was to be durable is, or could not become so: then it is not known where the collection stands."""
    message, target = target.saying, replace(target, syncing=False, saying=None)
    if not durable:
        target = replace(target, unsynced=True)
        if message is not None:
            nowhere = _NOWHERE
            message = replace(message, epoch=nowhere.epoch, position=nowhere.position, digest=nowhere.digest)
            message = replace(message, objects=nowhere.objects, match=False)
    said: list[Effect] = [Send(target.peer, message)] if message is not None else []
    target, more = report(target) if target.untold and durable else (target, [])
    return target, said + more


def leaves_unsynced(target: Target, result: Executed) -> bool:
    """Whether what was executed may not be durable after a work. One that was executed before writes nothing, and makes
    nothing durable that was not."""
    return not result.durable or (target.unsynced and result.state == target.state)


def silenced(target: Target) -> Target:
    """The link is down: what was about to be said is not, nor is it known to be durable."""
    return replace(target, saying=None, unsynced=target.unsynced or target.syncing)


def joined(target: Target) -> Step:
    """The time is over for which reports were joined."""
    target = replace(target, joining=False)
    return report(target) if target.untold else (target, [])


def outlived(target: Target) -> bool:
    """A snapshot that waits cannot be executed, and may be of a selection that the device no longer has."""
    return target.stuck and bool(target.cuts) and target.transfer is not None and target.transfer.snapshot


def follow(target: Target) -> Follow:
    """Sent when no complete cut waits: the transfer is unfinished, or there is none; or when what waits is outlived, of
    which the same begins anew if it is not."""
    if outlived(target) and target.transfer is not None:
        return Follow(target.name, target.transfer.epoch, 0, True, 0, target.transfer.floor, 0)
    state, transfer, again = target.state, target.transfer, target.heal is Heal.FETCHING
    assert state is not None
    if transfer is not None and transfer.cursor > max(transfer.base, transfer.cut):
        if transfer.snapshot:
            begin = transfer.base, transfer.floor, transfer.cursor
            return Follow(target.name, transfer.epoch, 0, True, *begin)
        if (transfer.epoch, transfer.base) == (state.epoch, state.position):
            return Follow(target.name, state.epoch, state.position, False, state.position, 0, transfer.cursor, again)
    position = state.position
    return Follow(target.name, state.epoch, position, False, position, 0, position, again)


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
