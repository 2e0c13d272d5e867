"""What the core asks of an application that is read (typing.Protocol); its values are in ``ports``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from syncd.core.model import DataType, Observed
from syncd.core.ports import ScanPage, SourceChanges, SourceState


class Source(Protocol):
    """The application on the primary, read (claim 24e). Raises ApplicationOffline (R13)."""

    async def open(self, expected: str) -> SourceState:
        """``expected``: identity seen before ("" the first time). Another one is offline, never empty."""
        ...

    async def number(self, types: Sequence[DataType]) -> None:
        """The types with the ids that the store gave; later reads use them."""
        ...

    async def scan(self, type_id: int, after: tuple[object, ...] | None, limit: int) -> ScanPage: ...

    async def observe(self, objects: Sequence[tuple[int, bytes]]) -> Sequence[Observed]:
        """The objects with these types and keys as they are: the first of them at least, and those that fit in one
        short read."""
        ...

    async def changes(self, mark: int, limit: int, wait_s: float = 0.0) -> SourceChanges:
        """What was touched after ``mark``. ``wait_s``: first, until something may have been touched since everything
        was read, at the latest for so long; may return before with nothing."""
        ...

    async def discard(self, mark: int) -> None:
        """What was touched up to the mark is kept in the store and may be forgotten."""
        ...

    async def close(self) -> None: ...
