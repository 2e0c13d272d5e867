"""Staged frames and parked rows as a target reads them: an own read-only connection in the thread that iterates.

One read transaction a pass, so that a pass sees one state whatever is committed meanwhile; memory holds one frame.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from syncd.core.errors import InvariantBroken
from syncd.core.messages import Objects, Run
from syncd.core.model import ObjectId
from syncd.store.database import mapped

Decode = Callable[[bytes], Objects]
ParkedRow = tuple[int, int, bytes, bytes]  # kind, type, key, fields

PARKED_ROWS = "SELECT kind, type_id, key, fields FROM parked_objects WHERE part = ? ORDER BY id"
_IDS_TOGETHER = 500  # objects looked up by one statement
PARKED_ROWS_MAX = 1_000  # rows of one frame made of parked rows
PARKED_BYTES_MAX = 1024 * 1024  # and about its bytes


@dataclass(frozen=True, slots=True)
class StagedFrames:
    """The frames of a collection with ids up to ``last_id``; ``count`` of them."""

    path: Path
    collection: str
    last_id: int
    count: int
    decode: Decode

    def __call__(self) -> Iterator[Objects]:
        seen = 0
        query = "SELECT frame FROM staged WHERE collection = ? AND id <= ? ORDER BY id"
        for (frame,) in _rows(self.path, query, (self.collection, self.last_id)):
            seen += 1
            yield self.decode(frame)
        if seen != self.count:
            raise InvariantBroken(
                f"{self.count} frames of {self.collection} were to be executed, the inbound queue holds {seen} of them"
            )


@dataclass(frozen=True, slots=True)
class ParkedFrames:
    """The rows of one parked part, as frames of the group ``seq``."""

    path: Path
    collection: str
    part: int
    seq: int

    def __call__(self) -> Iterator[Objects]:
        return framed(self.collection, self.seq, _rows(self.path, PARKED_ROWS, (self.part,)))


def framed(collection: str, seq: int, rows: Iterable[ParkedRow]) -> Iterator[Objects]:
    """Parked rows as frames of the group ``seq``."""
    held: list[ParkedRow] = []
    size = 0
    for row in rows:
        size += len(row[2]) + len(row[3])
        if held and (len(held) == PARKED_ROWS_MAX or size > PARKED_BYTES_MAX):
            yield _frame(collection, seq, held)
            held, size = [], len(row[2]) + len(row[3])
        held.append(row)
    if held:
        yield _frame(collection, seq, held)


def _frame(collection: str, seq: int, rows: list[ParkedRow]) -> Objects:
    kinds, types, keys, fields = (list(column) for column in zip(*rows, strict=True))
    return Objects(collection, 0, 0, (Run(seq, False, len(rows)),), bytes(kinds), types, keys, fields)


@dataclass(frozen=True, slots=True)
class ParkedIds:
    """Says which objects are parked (``core.ports.Skip``). Asked for a frame at a time."""

    path: Path
    collection: str

    def __call__(self, objects: Iterable[ObjectId]) -> frozenset[ObjectId]:
        try:
            with closing(reader(self.path)) as own:
                return parked_among(own, self.collection, objects)
        except sqlite3.Error as error:
            raise mapped(error, self.path) from error


def parked_among(connection: sqlite3.Connection, collection: str, objects: Iterable[ObjectId]) -> frozenset[ObjectId]:
    keys: dict[str, list[bytes]] = {}
    for type_, key in objects:
        keys.setdefault(type_, []).append(key)
    found: set[ObjectId] = set()
    for type_, of_type in keys.items():
        for at in range(0, len(of_type), _IDS_TOGETHER):
            asked = of_type[at : at + _IDS_TOGETHER]
            marks = ", ".join("?" * len(asked))
            query = f"SELECT key FROM parked_objects WHERE collection = ? AND type = ? AND key IN ({marks})"
            found.update(ObjectId(type_, key) for (key,) in connection.execute(query, (collection, type_, *asked)))
    return frozenset(found)


def reader(path: Path) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode=ro"
    own = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    own.execute("PRAGMA trusted_schema = OFF")
    own.execute("PRAGMA cell_size_check = ON")
    own.execute("PRAGMA cache_size = -1024")
    return own


def _rows(path: Path, query: str, values: tuple[object, ...]) -> Iterator[tuple[Any, ...]]:
    try:
        with closing(reader(path)) as own:
            yield from own.execute(query, values)
    except sqlite3.Error as error:
        raise mapped(error, path) from error
