"""R13 about groups that are held, each rule a function of what was seen; as in ``invariants.py``.

``test_guard_rules.py`` shows that each fails where it is broken.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from syncd.core.model import ObjectId
from tests.sim.history import State
from tests.sim.invariants import Broken

Standing = Mapping[ObjectId, bytes | None]  # objects of the held group, as they were before it


def r13_as_before(standing: Standing, published: State) -> None:
    """What is published, and so what any device may execute, has nothing of the held group."""
    for one, fields in standing.items():
        if published.get(one) != fields:
            raise Broken(f"R13 guard: {one} is held at {fields!r} and {published.get(one)!r} is published")


def r13_taken_back(before: State, published: State) -> None:
    """Where nothing was published, what is published is what was: a group that is held leaves no trace."""
    if before != published:
        raise Broken(f"R13 guard: {published} is published where {before} was, at the same number")


def r13_shown(standing: Standing, taken: Collection[ObjectId], rows: State) -> None:
    """A device that holds what is published shows the held objects that it takes as they were before."""
    for one, fields in standing.items():
        if one in taken and rows.get(one) != fields:
            raise Broken(f"R13 guard: {one} is held at {fields!r}, a device shows {rows.get(one)!r}")


def r13_not_named(standing: Standing, taken: Collection[ObjectId], deleted: ObjectId) -> None:
    """No device is told to delete what is held and what it takes."""
    if deleted in taken and standing.get(deleted) is not None:
        raise Broken(f"R13 guard: {deleted} is held, and a device is told to delete it")


def r13_decided(number: int, gone: int, approved: Collection[int]) -> None:
    """A held group is let through because a person approved what it is, or because nothing of it is gone any more."""
    if gone and number not in approved:
        raise Broken(f"R13 guard: held group {number} is let through with {gone} objects gone, and nobody approved it")


def r13_not_forgotten(standing: Standing, let_through: bool) -> None:
    """A group is held until it is let through."""
    if standing and not let_through:
        raise Broken(f"R13 guard: {sorted(standing)} were held and are no more, and nobody decided that")
