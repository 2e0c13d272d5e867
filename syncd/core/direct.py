"""The short road of small groups: executed as they come, without the inbound queue between (R2, R6, R15).

A group that follows on what the target holds, in one small frame, is executed at once; it is durable where it
matters, in the application, and acknowledged only then. What arrives meanwhile, or while the target is looked at,
waits in memory, bounded by the credit window, and is executed joined. Whatever is not that simple (a transfer of many
frames, objects that are parked, a failure, an application that is offline) takes the long road through the inbound
queue.
"""

from __future__ import annotations

from syncd.core.effects import BeginTransfer, Effect, ExecuteNow, Stage
from syncd.core.frozen import replace
from syncd.core.messages import Begin, Objects
from syncd.core.target_state import Arrived, Step, Target, TargetPhase


def _bytes(frames: tuple[Arrived, ...]) -> int:
    return sum(len(one.raw) for one in frames)


def _fits(target: Target, frames: tuple[Arrived, ...], phase: TargetPhase = TargetPhase.READY) -> bool:
    """Whether these frames, the next ones, can be executed at once, or as soon as that phase is over."""
    state, transfer = target.state, target.transfer
    return (
        target.phase is phase
        and state is not None
        and transfer is not None
        and transfer.cut > 0
        and not transfer.snapshot
        and transfer.epoch == state.epoch
        and frames[0].frame.first == state.position
        and frames[-1].frame.cut is not None
        and _bytes(frames) <= target.limits.direct_bytes_max
        and not (target.staging or target.cuts or target.cautious)
    )


def take(target: Target, frame: Objects, raw: bytes) -> Step:
    """The next frame of the transfer."""
    target = replace(target, received=frame.last, head=max(target.head, frame.last))
    arrived = Arrived(frame, raw)
    if target.direct or target.buffer or _fits(target, (arrived,), TargetPhase.LOOKING):
        return replace(target, buffer=(*target.buffer, arrived)), []
    return execute_or_stage(target, (arrived,))


def execute_or_stage(target: Target, frames: tuple[Arrived, ...]) -> Step:
    """The short road if it is open, else the long one."""
    if _fits(target, frames) and target.state is not None:
        parked = target.parked.parts > 0
        arrived = tuple(one.frame for one in frames)
        # Where its report waits for others it need not be durable before.
        effect = ExecuteNow(target.name, arrived, target.state, target.types, parked, lazily=target.joining)
        return replace(target, phase=TargetPhase.EXECUTING, direct=frames), [effect]
    return stage_all(target, frames)


def stage_all(target: Target, frames: tuple[Arrived, ...]) -> Step:
    """Into the inbound queue, which is told first where the transfer stands if it was passed by."""
    effects: list[Effect] = []
    transfer, first = target.transfer, frames[0].frame.first
    if transfer is not None and not target.staging and transfer.cursor != first:
        begin = Begin(target.name, transfer.epoch, False, first, 0, first, target.head)
        transfer = replace(transfer, snapshot=False, base=first, floor=0, cursor=first)
        effects.append(BeginTransfer(target.name, begin))
    effects += [Stage(target.name, one.frame, one.raw) for one in frames]
    staging_bytes = target.staging_bytes + _bytes(frames)
    return replace(
        target, transfer=transfer, staging=target.staging + len(frames), staging_bytes=staging_bytes
    ), effects


def done(target: Target) -> tuple[Target, list[Effect]]:
    """What was executed at once is settled; what arrived meanwhile goes on. The target is ready."""
    settled_bytes = target.settled_bytes + _bytes(target.direct)
    return go_on(replace(target, direct=(), settled_bytes=settled_bytes))


def go_on(target: Target) -> tuple[Target, list[Effect]]:
    """What arrived meanwhile goes on. The target is ready."""
    arrived = target.buffer
    return execute_or_stage(replace(target, buffer=()), arrived) if arrived else (target, [])


def failed(target: Target) -> tuple[Target, list[Effect]]:
    """It could not be executed: all of it takes the long road, where failures are divided and parked."""
    frames = target.direct + target.buffer
    return stage_all(replace(target, direct=(), buffer=(), cautious=True), frames)
