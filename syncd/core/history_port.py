"""What the core asks of the history that the sync store keeps (typing.Protocol): a part of ``ports.SyncStore``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from syncd.core.edits import Edit, Fact, Version


class StoreHistory(Protocol):
    """Former versions, what undoes a group, and forgetting (R11, R15)."""

    async def facts(self, name: str, edits: Sequence[Edit]) -> Sequence[Fact]:
        """What is known of the objects that are edited, in their order. Of an object with many versions at least the
        newest ``history_versions_max`` are compared."""
        ...

    async def history(self, name: str, type_id: int, key: bytes, limit: int) -> Sequence[Version]:
        """The published versions of an object that are remembered, newest first; those from before its type got
        another id are left out. Of a group that is forgotten the number of the change and no time are told."""
        ...

    async def inverse(self, name: str, seq: int) -> tuple[Edit, ...]:
        """What undoes the published group that ends at ``seq``: for each object the version that the group made as
        base, the one before as fields; in the reverse order of its changes, without objects that it left as they were.
        What changed since is in it as the group made it. Raises UserError where there is no such group, where versions
        before it are forgotten, had other columns or could not be read, and where it is larger than
        ``edit_group_bytes_max``."""
        ...

    async def forget_history(self, name: str, older_than_us: int, bytes_max: int) -> int:
        """Removes versions that were replaced before that time, and the oldest beyond ``bytes_max`` of keys and fields,
        in many commits where they are many. Returns how many."""
        ...
