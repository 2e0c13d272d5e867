"""The sync store in SQLite (claims 20a, 21a, 24d, 24h): a copy of the data objects and the order of their changes.

Owns ``store.db``. Keeps R1, R3, R4 (the epoch is one for the file), R5, R7 (ties), R11 (former versions) and R14.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

from syncd.core.edits import Edit, Fact, Version
from syncd.core.guard import Guard
from syncd.core.history_port import StoodPage
from syncd.core.holding import Batch, HeldObject
from syncd.core.loss import Leaving
from syncd.core.model import DataType, Observed, Spans
from syncd.core.ports import ChunkRequest, CollectionState, Group, StoredChunk
from syncd.core.references import Object
from syncd.core.selection import Selection
from syncd.core.settings import Limits
from syncd.store import history, store_gone, store_held, store_read, store_standing
from syncd.store import store_classes as classes
from syncd.store import store_collections as collections
from syncd.store.database import Database
from syncd.store.schema_files import Schema
from syncd.store.store_collections import CollectionRow, TypeSet
from syncd.store.store_gathered import StoreGathered, gather
from syncd.store.store_keep import AtHand, keep
from syncd.store.store_leaving import leaving
from syncd.store.store_read import Most, Past

SCHEMA = Schema("sync_store", 0x53594E01)


class SqliteSyncStore:
    """See ``core.ports.SyncStore``. Open with ``open``, close with ``close``."""

    def __init__(self, database: Database, limits: Limits) -> None:
        self._database = database
        self._limits = limits
        self._types: dict[int, TypeSet] = {}  # by collection id
        self._at_hand: dict[str, dict[Selection, AtHand]] = {}  # the newest group of each, by class, where it is small
        self._turns: Counter[str] = Counter()  # what may change what is read of each collection

    @classmethod
    async def open(cls, path: Path, limits: Limits) -> SqliteSyncStore:
        """Creates the file if it is missing; a new file has a new epoch (R4)."""
        database = await Database.open(path, SCHEMA)
        try:
            await database.write(_ensure_epoch)
        except BaseException:
            await database.close()
            raise
        return cls(database, limits)

    async def close(self) -> None:
        await self._database.close()

    async def open_collection(self, name: str) -> CollectionState:
        state = await self._database.read(lambda connection: self._state(connection, name))
        if state is None:
            await self._database.write(lambda connection: collections.create(connection, name))
            state = await self._database.read(lambda connection: self._state(connection, name))
        assert state is not None
        return state

    async def new_epoch(self) -> str:
        epoch = secrets.token_hex(8)
        await self._database.write(lambda connection: collections.set_epoch(connection, epoch))
        return epoch

    async def set_source(self, name: str, source: str, types: Sequence[DataType]) -> tuple[DataType, ...]:
        self._turn(name)
        return await self._database.write(lambda connection: classes.set_source(connection, name, source, types))

    async def begin_scan(self, name: str) -> None:
        await self._database.write(lambda connection: collections.begin_scan(connection, name))

    async def keep(self, name: str, batch: Batch, now_us: int) -> CollectionState:
        def commit(connection: sqlite3.Connection) -> tuple[CollectionState, dict[Selection, AtHand]]:
            row = collections.get(connection, name)
            types = self._types_of(connection, row)
            kept = keep(connection, row, types, batch, now_us)
            return classes.state(connection, kept.row, types, kept.classes), kept.at_hand

        turn = self._turn(name)
        state, at_hand = await self._database.write(commit)
        if turn == self._turns[name]:
            self._at_hand[name] = at_hand
        return state

    async def unseen(self, name: str, limit: int) -> Sequence[Observed]:
        # by the writer: the marks of what was seen are in its temporary tables
        return await self._database.write(lambda connection: collections.unseen(connection, name, limit))

    async def holds(self, name: str, type_id: int) -> bool:
        return await self._database.read(lambda connection: collections.holds(connection, name, type_id))

    def at_hand(self, request: ChunkRequest, rows_max: int, bytes_max: int) -> StoredChunk | None:
        held = self._at_hand.get(request.collection, {}).get(request.selection)
        if (
            held is None
            or not held.first <= request.cursor <= held.cursor
            or len(held.chunk.ties) > self._limits.ties_max
        ):
            return None
        rows = len(held.chunk.rows)
        return held.chunk if rows == 1 or (rows <= rows_max and held.size_bytes <= bytes_max) else None

    async def read(self, request: ChunkRequest, rows_max: int, bytes_max: int) -> StoredChunk:
        if (held := self.at_hand(request, rows_max, bytes_max)) is not None:
            return held
        most = Most(rows_max, bytes_max, self._limits.ties_max)
        return await self._database.read(lambda connection: store_read.read(connection, request, self._types_of, most))

    async def groups(self, name: str, limit: int) -> Sequence[Group]:
        return await self._database.read(lambda connection: store_read.newest_groups(connection, name, limit))

    async def prune(self, name: str, passed: int, older_than_us: int, groups_us: int | None = None) -> int:
        self._turn(name)
        groups_us = older_than_us if groups_us is None else min(groups_us, older_than_us)
        past = Past(passed, older_than_us, groups_us, self._limits.groups_max)
        return await self._database.write(lambda connection: store_read.prune(connection, name, past))

    # ------------------------------------------------------------ selection classes

    async def open_class(self, name: str, selection: Selection, rows_max: int) -> CollectionState:
        def open_(connection: sqlite3.Connection) -> CollectionState:
            row = collections.get(connection, name)
            classes.open_class(connection, row, self._types_of(connection, row), selection, rows_max)
            return classes.state(connection, row, self._types_of(connection, row))

        self._turn(name)
        return await self._database.write(open_)

    async def in_class(
        self, name: str, selection: Selection, objects: Sequence[Object]
    ) -> tuple[set[Object], set[Object]]:
        return await self._database.read(lambda connection: classes.in_class(connection, name, selection, objects))

    async def drop_class(self, name: str, selection: Selection) -> CollectionState:
        def drop(connection: sqlite3.Connection) -> CollectionState:
            row = collections.get(connection, name)
            classes.drop_class(connection, row, selection)
            return classes.state(connection, row, self._types_of(connection, row))

        self._turn(name)
        return await self._database.write(drop)

    async def prune_class(self, name: str, selection: Selection, passed: int, older_than_us: int) -> int:
        def prune(connection: sqlite3.Connection) -> int:
            row = collections.get(connection, name)
            limit = store_read.passed_by_class(connection, row, passed, older_than_us)
            return classes.prune_class(connection, row, selection, limit)

        self._turn(name)
        return await self._database.write(prune)

    async def forget_gone(self, name: str, selection: Selection, spans: Spans, upto: int) -> int:
        forgotten, at = 0, store_gone.At()
        self._turn(name)
        while True:
            forget = partial(store_gone.forget_gone, name=name, selection=selection, spans=spans, between=(at, upto))
            some, after = await self._database.write(forget)
            forgotten += some
            if after is None:
                return forgotten
            at = after

    # ------------------------------------------------------------ what is held

    async def spent(self, name: str, guard: Guard, now_us: int) -> int:
        def look(connection: sqlite3.Connection) -> int:
            return store_held.spent(connection, collections.get(connection, name), guard, now_us)

        return await self._database.read(look)

    async def release(self, name: str, number: int) -> bool:
        return await self._database.write(lambda connection: store_held.release(connection, name, number))

    async def held_objects(self, name: str, limit: int, after: HeldObject | None = None) -> Sequence[HeldObject]:
        return await self._database.read(lambda connection: store_held.objects(connection, name, limit, after))

    async def lost(self, name: str, after: int, bytes_max: int) -> tuple[Sequence[Edit], int]:
        return await self._database.read(lambda connection: store_held.lost(connection, name, after, bytes_max))

    async def leaving(self, name: str, shift: tuple[Selection, Selection], cursor: int, rows_max: int) -> Leaving:
        page = cursor, rows_max
        return await self._database.read(lambda connection: leaving(connection, name, shift, page, self._types_of))

    def gather(self) -> AbstractAsyncContextManager[StoreGathered]:
        return gather()

    # ------------------------------------------------------------ history

    async def facts(self, name: str, edits: Sequence[Edit]) -> Sequence[Fact]:
        most = self._limits.history_versions_max
        return await self._database.read(lambda connection: history.facts(connection, name, edits, most))

    async def history(self, name: str, type_id: int, key: bytes, limit: int) -> Sequence[Version]:
        return await self._database.read(lambda connection: history.history(connection, name, type_id, key, limit))

    async def inverse(self, name: str, seq: int) -> tuple[Edit, ...]:
        return await self._database.read(lambda connection: history.inverse(connection, name, seq, self._limits))

    async def stood(self, name: str, at: int, cursor: int, rows_max: int, bytes_max: int) -> StoodPage:
        asked = store_standing.StoodRequest(at, cursor, rows_max, bytes_max)
        return await self._database.read(lambda connection: store_standing.stood(connection, name, asked))

    async def class_numbered(self, name: str, number: int) -> Selection | None:
        return await self._database.read(lambda connection: classes.selection_of(connection, name, number))

    async def columns_since(self, name: str) -> Mapping[int, int]:
        return await self._database.read(lambda connection: history.columns_since(connection, name))

    async def forget_history(self, name: str, older_than_us: int, bytes_max: int) -> int:
        forgotten, complete = 0, False
        while not complete:  # in parts, so that no commit waits for all of it
            some, complete = await self._database.write(
                lambda connection: history.forget(connection, name, older_than_us, bytes_max)
            )
            forgotten += some
        return forgotten

    def _turn(self, name: str) -> int:
        """What is read of the collection may be another from here on: what was at hand is forgotten."""
        self._at_hand.pop(name, None)
        self._turns[name] += 1
        return self._turns[name]

    def _state(self, connection: sqlite3.Connection, name: str) -> CollectionState | None:
        row = collections.find(connection, name)
        return None if row is None else classes.state(connection, row, self._types_of(connection, row))

    def _types_of(self, connection: sqlite3.Connection, row: CollectionRow) -> TypeSet:
        """Read once for each shape; asked for by both threads."""
        types = self._types.get(row.id)
        if types is None or types.shape != row.shape:
            types = self._types[row.id] = collections.load_types(connection, row)
        return types


def _ensure_epoch(connection: sqlite3.Connection) -> None:
    if not collections.epoch(connection):
        collections.set_epoch(connection, secrets.token_hex(8))
