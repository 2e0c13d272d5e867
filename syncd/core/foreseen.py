"""What a decision would do, before it is made: values, counts and the hash that stands for them.

An *outcome* is what would come of one collection on one device, or in this primary's application. Its counts cost the
same however many objects move (R15); its checksum covers each of them with both of its versions, so that the hash of a
preview stands for exactly these objects and no other ones.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

from syncd.core import digest
from syncd.core.model import Kind, ObjectId
from syncd.core.selection import Selection

FIRST_MAX = 5  # objects of each kind that are named
_KINDS = (Kind.ADD, Kind.MODIFY, Kind.DELETE)


class Shift(NamedTuple):
    """What a device takes of a collection, before and after a decision; None: it is sent nothing. ``unknown``: nobody
    knows what it holds before."""

    device: str
    collection: str
    before: Selection | None
    after: Selection | None
    unknown: bool = False


@dataclass
class Part:
    """Objects of one kind, of which the first by table and key are named."""

    objects: int = 0
    bytes: int = 0
    first: list[ObjectId] = field(default_factory=list)

    def add(self, one: ObjectId, size_bytes: int) -> None:
        self.objects += 1
        self.bytes += size_bytes
        if len(self.first) < FIRST_MAX:
            insort(self.first, one)
        elif one < self.first[-1]:
            insort(self.first, one)
            self.first.pop()


class Tally:
    """Counts what becomes of the objects of a collection on devices that are alike."""

    def __init__(self) -> None:
        self.parts = {kind: Part() for kind in _KINDS}
        self._checksum = digest.EMPTY

    def count(self, one: ObjectId, before: bytes | None, after: bytes | None) -> None:
        """One object as it is held before and after; None: it is not held."""
        if before == after:
            return
        kind = Kind.ADD if before is None else Kind.DELETE if after is None else Kind.MODIFY
        self.parts[kind].add(one, len(one.key) + len(before or b"" if after is None else after))
        prefix, marks = digest.type_prefix(one.type), bytes((kind,))
        hashes = (digest.object_hash_bytes(prefix, one.key, each or b"") for each in (before, after))
        moved = blake2b(marks + b"".join(hashes), digest_size=digest.DIGEST_BYTES).digest()
        self._checksum = digest.add(self._checksum, int.from_bytes(moved, "big"))

    @property
    def moves(self) -> int:
        """How many objects move."""
        return sum(part.objects for part in self.parts.values())

    @property
    def checksum(self) -> bytes:
        return self._checksum


class Outcome(NamedTuple):
    """``device`` empty: this primary's application."""

    device: str
    collection: str
    tally: Tally
    note: str = ""


def seal(change: str, outcomes: Iterable[Outcome]) -> str:
    """The hash of a preview: of the decision, and of each object that moves with where it does."""
    hashed = blake2b(digest_size=8)
    lines = [change.encode()]
    for one in sorted(outcomes, key=lambda each: each[:2]):
        lines += [one.device.encode(), one.collection.encode(), one.tally.checksum]
    for line in lines:
        hashed.update(len(line).to_bytes(4, "big") + line)
    return hashed.hexdigest()
