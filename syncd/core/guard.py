"""Guard (R13): what would delete so much that a person decides first."""

from __future__ import annotations

from typing import NamedTuple

from syncd.core.settings import Limits


class Guard(NamedTuple):
    """What a group is held against: deletions of ``window_s`` before it count with its own."""

    objects_min: int
    percent_min: int
    window_s: float

    def holds(self, gone: int, spent: int, objects: int) -> bool:
        """Whether a group that deletes ``gone`` of ``objects`` objects is held. ``spent``: deletions let through in the
        window: a program that deletes a little again and again is held as well."""
        if not gone:
            return False
        both, before = gone + spent, objects + spent
        return gone >= objects or (both >= self.objects_min and 100 * both >= self.percent_min * before)


def guard_of_groups(limits: Limits) -> Guard | None:
    """None: groups are not held."""
    if not limits.guard_s:
        return None
    return Guard(limits.guard_objects_min, limits.guard_percent_min, limits.guard_s)


def guard_of_comparisons(limits: Limits) -> Guard:
    """They are held always, by themselves where groups are not held."""
    return guard_of_groups(limits) or Guard(limits.guard_objects_min, limits.guard_percent_min, 0.0)
