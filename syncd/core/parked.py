"""Parked parts of a target: when they are tried again, and when that is told (R7, R15).

The inbound queue knows them all; a target knows how many there are, when the first is due, and the oldest by name.
"""

from __future__ import annotations

from syncd.core.effects import RetryParked
from syncd.core.events import Retried
from syncd.core.frozen import replace
from syncd.core.ports import TargetState
from syncd.core.target_state import Step, Target, TargetPhase


def retry(target: Target, state: TargetState, now: float) -> Step:
    """A ready target with nothing else to do tries parts that are due, some at a time."""
    parking, transfer = target.parked, target.transfer
    # What was parked beyond what the application holds (it is an older copy) waits for the changes before it.
    due = parking.due_us is not None and parking.due_us <= int(now * 1e6) and target.barren != state.position
    same = transfer is not None and transfer.epoch == state.epoch
    if not (parking.parts and same and (due or target.asked) and (target.begun or not target.peer)):
        return target, []
    effect = RetryParked(target.name, target.asked, state.position)
    return replace(target, phase=TargetPhase.RETRYING, asked=frozenset()), [effect]


def retried(target: Target, event: Retried) -> Target:
    """Some were tried."""
    state = event.state or target.state
    return replace(
        target,
        phase=TargetPhase.READY,
        state=state,
        parked=event.parked,
        tried=target.tried + event.tried,
        barren=-1 if event.tried or state is None else state.position,
    )


def tell(target: Target, now: float) -> bool:
    """Whether it is time to report how far the tries have come."""
    return now >= target.reported_at + target.limits.retry_report_s


def waits(target: Target) -> bool:
    """Whether parts that are due at once, because a person asked, are still to be tried."""
    position = target.state.position if target.state else 0
    asked = target.asked or target.phase is TargetPhase.RETRYING
    return bool(target.parked.parts) and (bool(asked) or (target.parked.due_us == 0 and target.barren != position))
