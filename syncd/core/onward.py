"""What a target does next: it executes what waits, asks for more, tries parked parts, proves what it holds (R14)."""

from __future__ import annotations

from syncd.core import parked
from syncd.core.effects import Effect, Execute, Recount, Send
from syncd.core.frozen import replace
from syncd.core.target_state import (
    Heal,
    Step,
    Target,
    TargetPhase,
    credit,
    differs,
    follow,
    is_sure,
    left_behind,
    outlived,
    report,
)


def proceed(target: Target, now: float) -> Step:
    """What a ready target does next: execute what waits, ask for more, try parked parts again."""
    state = target.state
    if target.phase is not TargetPhase.READY or state is None:
        return target, []
    if target.unsynced and target.peer and not (target.syncing or target.joining):  # it could not be synced before
        target, said = report(target)
        return and_proceed(target, now, said)
    if differs(target) and target.heal in (Heal.NONE, Heal.RECOUNTED):
        return check(target, now, [])
    if outlived(target) and target.peer and not target.begun:
        return (target, []) if target.following or target.staging else _ask(target)
    if target.cuts:
        execute = Execute(target.name, 0, state)
        return replace(target, phase=TargetPhase.EXECUTING, aim=target.cuts[-1].seq), [execute]
    if target.begun and not target.staging and left_behind(target, state):
        target = replace(target, following=False, begun=False)  # an older copy is in its place: ask from there
    if target.peer and not target.following and not target.staging:
        return _ask(target)
    return parked.retry(target, state, now)


def _ask(target: Target) -> Step:
    """A Follow tells where the target stands, too: it waits until that is durable."""
    if not is_sure(target):
        return target, []
    ask: Effect = Send(target.peer, follow(target))
    asking, credits = credit(replace(target, following=True, begun=False))
    return asking, [ask, *credits]


def and_proceed(target: Target, now: float, effects: list[Effect]) -> Step:
    """The same, after other effects."""
    target, more = proceed(target, now)
    return target, effects + more


def and_report(target: Target, now: float, effects: list[Effect]) -> Step:
    """The same, after other effects and the report of where it stands."""
    target, said = report(target)
    return and_proceed(target, now, effects + said)


def check(target: Target, now: float, effects: list[Effect]) -> Step:
    """Compares the checksums at the cut (R14): first count again, then fetch everything again, then say so."""
    if target.match:
        target = replace(target, heal=Heal.NONE, reason="")
    if not differs(target) or target.phase is not TargetPhase.READY:
        return and_report(target, now, effects)
    if target.heal is Heal.NONE:
        target = replace(target, phase=TargetPhase.RECOUNTING, heal=Heal.RECOUNTED)
        return target, [*effects, Recount(target.name)]
    if target.heal is Heal.RECOUNTED:
        target = replace(target, heal=Heal.FETCHING, following=False, begun=False)
    if target.heal is Heal.FETCHED:
        reason = "what the application holds is not what was sent: its own triggers or programs change it"
        target = replace(target, reason=reason)
    return and_report(target, now, effects)
