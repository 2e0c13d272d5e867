"""What a change of settings takes away from devices (R8, R13): values, and the sync store's part in it as a port.

A device loses what its selection took before and takes no more. One that is sent nothing (direction ``in``) loses
nothing as long as that is so; when it is sent something again, it is as if it held everything, because nobody knows
what it held when that began. A selection that does not fit the collection's types takes nothing away.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from syncd.core.edits import Direction
from syncd.core.guard import guard_of_groups
from syncd.core.preferences import Chosen, Place, Preferences
from syncd.core.selection import ALL, Selection


class Holder(NamedTuple):
    """A device that holds objects of a collection of this user."""

    device: str
    collection: str
    user: int


class Shift(NamedTuple):
    """A device takes other objects of a collection than before."""

    device: str
    collection: str
    before: Selection
    after: Selection


class Leaving(NamedTuple):
    """How many of ``of`` objects that one selection takes another does not. ``cursor``: where to go on, 0: it is all
    of them."""

    objects: int
    of: int
    cursor: int


class Loss(NamedTuple):
    """A device loses ``objects`` of the ``of`` objects of a collection that it holds."""

    device: str
    collection: str
    objects: int
    of: int


class Weighed(NamedTuple):
    """What the guard thought of a change of settings. ``losses``: what it takes away. ``approved``: a person has seen
    that: it does not count, and what is taken away after it begins anew. ``held``: the held change that it is, which
    is held no longer; 0: none. ``window_us``: losses of so long before it count with it."""

    losses: tuple[Loss, ...] = ()
    approved: bool = False
    held: int = 0
    window_us: int = 0


NOTHING_LOST = Weighed()


class HeldSettings(NamedTuple):
    """A change of settings that is held until a person decides (R13)."""

    number: int
    since_us: int
    who: str
    chosen: tuple[Chosen, ...]
    losses: tuple[Loss, ...]

    @property
    def id(self) -> str:
        """What people see and type."""
        return f"settings-{self.number}"


class Losing(Protocol):
    """The sync store's part in it."""

    async def leaving(self, name: str, shift: tuple[Selection, Selection], cursor: int, rows_max: int) -> Leaving:
        """Of the objects after this change that the first of two selections takes: how many there are, and how many
        the second does not take; ``rows_max`` are looked at. One that changes meanwhile may be counted twice. What
        the second takes because something references it is not known here: see ``gathering``."""
        ...


def shifts(before: Preferences, after: Preferences, holders: Iterable[Holder]) -> list[Shift]:
    """Where devices may lose something."""
    found: list[Shift] = []
    for device, collection, user in holders:
        at = Place(user, device, collection)
        if after.direction(at) is Direction.IN:
            continue
        unknown = before.direction(at) is Direction.IN
        if not unknown and before.value("selection", at) == after.value("selection", at):
            continue  # reading a selection is dearer
        had, takes = ALL if unknown else before.selection(at), after.selection(at)
        if takes not in (had, ALL):
            found.append(Shift(device, collection, had, takes))
    return found


def too_much(chosen: Preferences, user: int, loss: Loss, spent: int) -> bool:
    """Whether the guard of the collection holds it. ``spent``: what was taken away in the guard's window before."""
    guard = guard_of_groups(chosen.limits_at(Place(user, "", loss.collection)))
    return guard is not None and guard.holds(loss.objects, spent, loss.of)
