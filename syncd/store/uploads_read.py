"""Groups of edits as they are read out of staged frames, in the reader's thread of ``uploads.db``."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from typing import NamedTuple

from syncd.core.edits import Edit, EditGroup
from syncd.core.errors import StoreBroken
from syncd.core.messages import Upload
from syncd.core.pieces import Piece, edits_of, pieces
from syncd.store.uploads_rules import once

Decode = Callable[[bytes], Upload]

_GROUPS = (
    "SELECT g.id, s.device, s.outbox, g.stream, g.number, g.first, g.last, g.time_us, g.offered, g.rows, g.bytes"
    " FROM groups g JOIN streams s ON s.id = g.stream WHERE g.collection = ? AND g.id > ? ORDER BY g.id LIMIT ?"
)


class _Row(NamedTuple):
    """A whole group that waits."""

    arrival: int
    device: str
    outbox: str
    stream: int
    number: int
    first: int
    last: int
    time_us: int
    offered: int
    rows: int
    bytes: int


class _Frame(NamedTuple):
    id: int
    upload: Upload
    pieces: dict[int, Piece]  # by number


class GroupReader:
    """Reads the groups that wait, each frame once as long as they are asked for in order: memory holds the frame that
    was not read to its end."""

    def __init__(self, decode: Decode, bytes_max: int) -> None:
        self._decode = decode
        self._bytes_max = bytes_max
        self._frame: _Frame | None = None

    def next(
        self, connection: sqlite3.Connection, collection: str, after: int, groups_max: int
    ) -> tuple[int, tuple[EditGroup, ...]]:
        groups: list[EditGroup] = []
        size, cursor = 0, after
        for row in map(_Row._make, connection.execute(_GROUPS, (collection, after, groups_max))):
            size += row.bytes
            if groups and size > self._bytes_max:
                break
            groups.append(self._group(connection, row))
            cursor = row.arrival
        if self._frame and groups and groups[-1].number == max(self._frame.pieces):
            self._frame = None
        return cursor, tuple(groups)

    def _group(self, connection: sqlite3.Connection, row: _Row) -> EditGroup:
        if row.first == row.last:
            frame = self._read(connection, row.first)
            edits = tuple(edits_of(frame.upload, frame.pieces[row.number]))
        else:
            edits = once(self._edits(connection, row))
        return EditGroup(row.device, row.outbox, row.number, row.time_us, edits, bool(row.offered), row.device)

    def _edits(self, connection: sqlite3.Connection, row: _Row) -> Iterator[Edit]:
        """Of a group of several frames."""
        query = "SELECT id FROM frames WHERE stream = ? AND id BETWEEN ? AND ? ORDER BY id"
        rows = 0
        for (id_,) in connection.execute(query, (row.stream, row.first, row.last)).fetchall():
            frame = self._read(connection, id_)
            piece = frame.pieces[row.number]
            rows += piece.end - piece.start
            yield from edits_of(frame.upload, piece)
        if rows != row.rows:
            raise StoreBroken(f"the upload queue lacks frames of group {row.number} of {row.device}")

    def _read(self, connection: sqlite3.Connection, id_: int) -> _Frame:
        if self._frame is None or self._frame.id != id_:
            found = connection.execute("SELECT frame FROM frames WHERE id = ?", (id_,)).fetchone()
            if found is None:
                raise StoreBroken("the upload queue lacks a frame of a group that waits")
            upload = self._decode(found[0])
            self._frame = _Frame(id_, upload, {piece.made.number: piece for piece in pieces(upload)})
        return self._frame
