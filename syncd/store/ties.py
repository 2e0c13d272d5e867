"""Which published groups a group that is being made is tied to (R7): a decision that the store and its twin share.

A group that takes all objects of an older one leaves nothing of it to be sent, so it takes over the older one's ties
instead of being tied to it. Without this an object that changes with every commit would leave a tie for each of them,
and catching up would cost what happened meanwhile instead of what changed (R3).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class Owner(NamedTuple):
    """The remembered group that a row belonged to."""

    seq: int
    first: int
    loose: bool
    objects: int


@dataclass(slots=True)
class Ties:
    """``made``: (change that makes the tie, older group). ``dropped``: changes whose ties were taken over."""

    made: list[tuple[int, int]] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)


def ties_of(
    moved: Sequence[tuple[int, int]],
    tied: set[int],
    owner_of: Callable[[int], Owner | None],
    ties_within: Callable[[int, int], list[tuple[int, int]]],
) -> Ties:
    """``moved``: change numbers of published rows, before and after. ``tied``: older groups that the group being made
    is tied to; grows. ``owner_of``: the group of the change number, or the next newer one. ``ties_within``: (change,
    older group) of the ties that changes from a first to a last one made."""
    ties = Ties()
    owner: Owner | None = None
    changes: list[int] = []
    for before, after in sorted(moved):
        if owner is None or before > owner.seq:
            _tie(ties, tied, owner, changes, ties_within)
            owner, changes = owner_of(before), []
            if owner is None:
                break
        if before >= owner.first:
            changes.append(after)
    _tie(ties, tied, owner, changes, ties_within)
    return ties


def _tie(
    ties: Ties,
    tied: set[int],
    owner: Owner | None,
    changes: Sequence[int],
    ties_within: Callable[[int, int], list[tuple[int, int]]],
) -> None:
    """``changes``: those that took objects of the owner."""
    if owner is None or not changes or owner.loose or owner.seq in tied:
        return
    inherited = ties_within(owner.first, owner.seq) if len(changes) == owner.objects else []
    if len(changes) < owner.objects or len(inherited) > len(changes):
        tied.add(owner.seq)
        ties.made.append((changes[0], owner.seq))
        return
    for change, (at, older) in zip(changes, inherited, strict=False):
        ties.dropped.append(at)
        if older not in tied:
            tied.add(older)
            ties.made.append((change, older))
