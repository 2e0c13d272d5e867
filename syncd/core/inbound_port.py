"""What the core asks of the inbound queue; see ``core.ports`` for the other edges and the values that pass."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol

from syncd.core.messages import Begin, Objects
from syncd.core.model import DataType, Failure, ObjectId
from syncd.core.ports import ParkedPart, Parking, Part, Transfer, Work


class InboundQueue(Protocol):
    """The durable inbound queue (claim 24k): frames received and not yet executed, and parked groups."""

    async def load(self, collection: str) -> tuple[Transfer | None, tuple[DataType, ...], Parking]: ...

    async def types(self, collection: str, types: Sequence[DataType]) -> None:
        """Durable. Adds to the types known (by id)."""
        ...

    async def begin(self, collection: str, begin: Begin, types: Collection[int] = ()) -> None:
        """Durable. A transfer begins or goes on; frames after ``begin.cursor`` are dropped, and with a snapshot from
        its start everything staged and parked, and of the types all but ``types``, if any are given: another selection
        may have called the same tables otherwise."""
        ...

    async def stage(self, frames: Sequence[tuple[Objects, bytes]]) -> None:
        """Durable, one commit. Each frame with its bytes as they came; moves ``cursor`` and, with a cut, ``cut``."""
        ...

    async def work(self, collection: str) -> Work | None:
        """All complete cuts that wait, joined; None if there is none. It skips the parked objects."""
        ...

    async def executed(self, collection: str, seq: int) -> None:
        """Drops the frames up to ``seq``."""
        ...

    async def filled(self, collection: str) -> bool:
        """Whether a cut was ever executed since the collection was cleared: its target holds what came from here."""
        ...

    async def park(self, work: Work, parts: Sequence[Part], retry_at_us: int) -> None:
        """Durable. Copies the rows of the parts out of the work. An object that is parked already joins its parts
        to one; the newest version of each object stays."""
        ...

    async def parking(self, collection: str, seq: int | None = None) -> Parking:
        """What is parked; with ``seq``, of the parts that name this group."""
        ...

    async def parts(self, collection: str, ids: Sequence[int]) -> tuple[ParkedPart, ...]:
        """Those of these parts that are parked."""
        ...

    async def any_parked(self, collection: str, objects: Iterable[ObjectId]) -> bool:
        """Whether any of these objects is parked."""
        ...

    async def make_due(self, collection: str, seqs: Collection[int] | None) -> None:
        """Durable. The parts that name one of these groups are due at once; None: all parts."""
        ...

    async def due(self, collection: str, now_us: int, position: int) -> tuple[ParkedPart, ...]:
        """Parts of groups up to ``position`` that are due, those that wait longest first; as many as may be tried in
        one transaction."""
        ...

    async def parked_works(self, collection: str, parts: Sequence[int]) -> tuple[Work, ...]:
        """The rows of each of these parts, which are parked, as work without proof."""
        ...

    async def retried(
        self, collection: str, applied: Collection[int], failed: Mapping[int, tuple[Failure, int]]
    ) -> None:
        """Durable, one commit. Parts that were tried again: those applied are parked no longer; those that failed
        again, with why and when they are due."""
        ...

    async def clear(self, collection: str) -> None:
        """Durable. Forgets everything of the collection: its target begins anew."""
        ...
