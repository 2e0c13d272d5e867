"""Where a device may stand, and what follows for an object (R4, R8): it holds it, it does not, or that is not known.

A device stands at the position that it reported last, or at any later one up to what it was sent since then. Of a
transfer from another epoch it has either all up to a cut or nothing. So an object is held for certain if each state in
which the device may be has it; where only some have, nobody here knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from syncd.core.edits import Version
from syncd.core.messages import Begin, Follow
from syncd.core.model import Span
from syncd.core.selection import Selection

NOTHING_FAILED: frozenset[int] = frozenset()


class Held(StrEnum):
    """Whether a device holds an object."""

    YES = "yes"
    MAYBE = "maybe"
    NO = "no"


class Which(StrEnum):
    """Which version of it."""

    CURRENT = "current"
    OLDER = "older"
    UNKNOWN = "unknown"


@dataclass
class Reaches:
    """What devices were sent, and may have beyond what they reported: by device and collection, of each epoch, the
    newest last."""

    spans: dict[tuple[str, str], dict[str, Span]] = field(default_factory=dict)

    def began(self, device: str, asked: Follow, answer: Begin) -> None:
        """A transfer begins, or goes on from what the device has."""
        of_device = self.spans.setdefault((device, answer.collection), {})
        goes_on = not answer.reason
        before = of_device.pop(answer.epoch, Span(asked.position if goes_on else answer.head, 0))
        last = max(asked.cursor, asked.position) if goes_on else 0
        of_device[answer.epoch] = Span(before.first, max(before.last, last))

    def sent(self, device: str, collection: str, epoch: str, last: int) -> None:
        """A frame that ends there was handed to the link, or what came of the device's own changes is there."""
        of_device = self.spans.setdefault((device, collection), {})
        before = of_device.get(epoch, Span(0, 0))
        of_device[epoch] = Span(before.first, max(before.last, last))

    def reported(self, device: str, collection: str, epoch: str) -> None:
        """What it was sent of epochs before this one is gone from it."""
        of_device = self.spans.get((device, collection), {})
        if epoch in of_device:
            older = list(of_device)[: list(of_device).index(epoch)]
            for each in older:
                del of_device[each]


@dataclass(frozen=True, slots=True)
class Reach:
    """States in which a device may be: what ``selection`` takes at any sequence number from ``first`` to ``last``.
    ``selection`` None: not known. ``failed``: groups that may be missing there; None: it is not known which.
    ``nothing``: it holds nothing. ``epoch``: of its positions, where that is known."""

    selection: Selection | None
    first: int
    last: int
    failed: frozenset[int] | None = NOTHING_FAILED
    nothing: bool = False
    epoch: str = ""


NOTHING = Reach(None, 0, 0, nothing=True)
Takes = Callable[[Selection, bytes], bool | None]  # whether a selection takes a version with these fields, if known


@dataclass(frozen=True, slots=True)
class Past:
    """What is known of an object: its versions, newest first, and of states from ``since`` on all of them."""

    versions: Sequence[Version]
    since: int

    def at(self, reach: Reach) -> Iterator[Version | None]:
        """The versions that stood in any of the states; None: it is not known what stood there."""
        for one in self.versions:
            if one.seq <= reach.last:
                yield one
            if one.seq <= reach.first:
                return
        yield Version(0, 0, None, "") if self.since <= reach.first else None


def held(reaches: Sequence[Reach], past: Past, takes: Takes) -> tuple[Held, Which]:
    """Whether a device in one of these states holds the object, and in which version."""
    found: set[bool | None] = set()
    newest, current = past.versions[0].seq if past.versions else 0, set[bool]()
    for reach in reaches:
        if reach.nothing:
            found.add(False)
            continue
        for version in past.at(reach):
            taken = _taken(reach, version, takes)
            found.add(taken)
            if taken is not False:
                current.add(version is not None and version.seq == newest)
    if found <= {False}:
        return Held.NO, Which.UNKNOWN
    which = Which.UNKNOWN if len(current) > 1 or None in found else Which.CURRENT if True in current else Which.OLDER
    return (Held.YES if found == {True} else Held.MAYBE), which


def _taken(reach: Reach, version: Version | None, takes: Takes) -> bool | None:
    if version is None:
        return None
    if reach.failed is None or version.seq in reach.failed:
        return None
    if version.fields is None:
        return False
    return None if reach.selection is None else takes(reach.selection, version.fields)
