"""What the sync store in memory tells of the past; see ``memory`` and ``core.history_port``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager

from syncd.core import digest
from syncd.core.edits import Edit, Fact, Version
from syncd.core.history_port import StoodPage
from syncd.core.model import ObjectId
from syncd.core.ports import StoredRow
from syncd.core.selection import Selection
from syncd.core.settings import Limits
from syncd.store.memory_collection import MemoryCollection
from syncd.store.memory_gathered import MemoryGathered, gather
from syncd.store.memory_history import group_at, undoing_of
from syncd.store.store_standing import StoodRequest


class MemoryPast:
    """A part of ``MemorySyncStore``."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._collections: dict[str, MemoryCollection] = {}

    def gather(self) -> AbstractAsyncContextManager[MemoryGathered]:
        return gather()

    async def facts(self, name: str, edits: Sequence[Edit]) -> Sequence[Fact]:
        collection = self._collections[name]
        known: list[Fact] = []
        for edit in edits:
            row, hashed = _row(collection, edit.type, edit.key), None
            if row is not None and row.fields is not None:
                prefix = digest.type_prefix(collection.names()[row.type])
                hashed = digest.object_hash_bytes(prefix, row.key, row.fields)
            known.append(collection.history.fact(edit, row, hashed, collection.groups, collection.head))
        return known

    async def history(self, name: str, type_id: int, key: bytes, limit: int) -> Sequence[Version]:
        collection = self._collections[name]
        row = _row(collection, type_id, key)
        published = row if row is not None and row.change <= collection.head else None
        return collection.history.versions(type_id, key, published, collection.groups, limit)

    async def inverse(self, name: str, seq: int) -> tuple[Edit, ...]:
        collection = self._collections[name]
        group = group_at(name, seq, collection.groups)
        since = {type_.id: collection.history.since[type_.id] for type_ in collection.types}
        undoing = undoing_of(name, seq, since, self._limits.edit_group_bytes_max)
        return collection.history.inverse(undoing, group, collection.rows.values())

    async def stood(self, name: str, at: int, cursor: int, rows_max: int, bytes_max: int) -> StoodPage:
        collection = self._collections[name]
        return collection.history.stood(collection.rows.values(), StoodRequest(at, cursor, rows_max, bytes_max))

    async def class_numbered(self, name: str, number: int) -> Selection | None:
        return self._collections[name].classes.numbered.get(number)

    async def columns_since(self, name: str) -> Mapping[int, int]:
        collection = self._collections[name]
        return {one.id: collection.history.since[one.id] for one in collection.types}

    async def forget_history(self, name: str, older_than_us: int, bytes_max: int) -> int:
        collection = self._collections[name]
        return collection.history.forget(collection.groups, older_than_us, bytes_max, collection.head)


def _row(collection: MemoryCollection, type_id: int, key: bytes) -> StoredRow | None:
    """The row of an object of this type. None: there is none."""
    name = collection.names().get(type_id)
    row = None if name is None else collection.rows.get(ObjectId(name, key))
    return row if row is not None and row.type == type_id else None
