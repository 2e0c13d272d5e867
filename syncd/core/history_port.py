"""What the core asks of the history that the sync store keeps (typing.Protocol): a part of ``ports.SyncStore``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from syncd.core.edits import Edit, Fact, Version
from syncd.core.selection import Selection


class Stood(NamedTuple):
    """An object as it stood at a sequence number. ``until``: the change that replaced it since then, published or not;
    0: none. ``fields`` empty: it could not be built."""

    change: int
    until: int
    type: int
    key: bytes
    fields: bytes


class StoodPage(NamedTuple):
    """Some objects of a past state, in the order of their changes. ``last``: the cursor after them, which is the number
    of that state where there are no more. ``whole``: what was there and changed since then is remembered."""

    rows: Sequence[Stood]
    last: int
    whole: bool


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

    async def stood(self, name: str, at: int, cursor: int, rows_max: int, bytes_max: int) -> StoodPage:
        """The objects as they stood at the published sequence number ``at``, those whose change came after ``cursor``.
        Commits between two pages do not matter: all pages are of that state."""
        ...

    async def class_numbered(self, name: str, number: int) -> Selection | None:
        """What a class takes, or took, by the number in its epoch (``ports.ClassState``). None: it is not known any
        more."""
        ...

    async def columns_since(self, name: str) -> Mapping[int, int]:
        """For each type that the source has, the change up to which its versions had other fields."""
        ...

    async def forget_history(self, name: str, older_than_us: int, bytes_max: int) -> int:
        """Removes versions that were replaced before that time, and the oldest beyond ``bytes_max`` of keys and fields,
        in many commits where they are many. Returns how many."""
        ...
