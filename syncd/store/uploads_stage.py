"""How frames of edits join what is there of their outbox (R6), inside the transaction that keeps them.

A frame is kept as it came if any group of it is. What a frame holds of groups that were here before stays in it unseen:
a group names its frames, from the first to the last.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from syncd.core.messages import Upload
from syncd.core.pieces import made_us, pieces
from syncd.core.settings import Limits
from syncd.store.uploads_rules import Begun, Came, Half, came, grown, still_missing, too_large
from syncd.store.uploads_settle import add_verdicts, forget_stream

_NO_END = 2**63 - 1
_STREAMS = (
    "SELECT s.id, s.outbox, s.whole, h.number, h.first, h.type, h.key, h.time_us, h.offered, h.rows, h.bytes"
    " FROM streams s LEFT JOIN halves h ON h.stream = s.id WHERE s.device = ? AND s.collection = ? ORDER BY s.id"
)


@dataclass
class _Stream:
    id: int
    outbox: str
    whole: int
    half: Half | None

    @classmethod
    def of(cls, id_: int, outbox: str, whole: int, *half: object) -> _Stream:
        number, frame, type_, key, *rest = half
        if number is None:
            return cls(id_, outbox, whole, None)
        first = None if key is None else (type_, key)
        return cls(id_, outbox, whole, Half(number, frame, first, *rest))  # type: ignore[arg-type]


class Stager:
    """Frames of one outbox of a device, in the order in which they came; ``close`` when they are all there.

    ``missing``: see ``still_missing``.
    """

    def __init__(
        self, connection: sqlite3.Connection, name: tuple[str, str, str], limits: Limits, missing: Sequence[Begun] = ()
    ) -> None:
        """``name``: device, collection, outbox."""
        self.missing = missing
        self._connection = connection
        self._limits = limits
        self._collection = name[1]
        self._fresh: list[tuple[object, ...]] = []  # rows of groups
        self._stream = self._begin(*name)

    def _begin(self, device: str, collection: str, outbox: str) -> _Stream:
        """The stream of the outbox. Those of the device's other outboxes end."""
        execute = self._connection.execute
        streams = [_Stream.of(*row) for row in execute(_STREAMS, (device, collection)).fetchall()]
        own = None
        for stream in streams:
            if stream.outbox == outbox:
                own = stream
            elif stream.half:
                execute("DELETE FROM halves WHERE stream = ?", (stream.id,))
                self._forget_frames(stream.id, _NO_END)
        if own is None:
            self._forget_oldest(streams)
            add = "INSERT INTO streams (device, collection, outbox) VALUES (?, ?, ?)"
            id_ = execute(add, (device, collection, outbox)).lastrowid
            assert id_ is not None
            own = _Stream(id_, outbox, 0, None)
        return own

    def _forget_oldest(self, streams: list[_Stream]) -> None:
        too_many = len(streams) + 1 - self._limits.outboxes_max
        for stream in streams:
            query = "SELECT 1 FROM groups WHERE stream = ? LIMIT 1"
            if too_many > 0 and self._connection.execute(query, (stream.id,)).fetchone() is None:
                forget_stream(self._connection, stream.id)
                too_many -= 1

    def add(self, upload: Upload, raw: bytes, now_us: int) -> None:
        stream, frame, large = self._stream, 0, False
        if self.missing:
            self.missing = still_missing(self.missing, stream.whole, stream.half, upload)
        for piece in pieces(upload):
            what = came(stream.whole, stream.half, upload, piece)
            if what is Came.REPEAT:
                continue
            if not frame:
                frame = self._keep(raw)
            if what is Came.BEGINS and stream.half:
                self._forget_frames(stream.id, frame)
                stream.half = None
            time_us = made_us(piece.made, upload.clock_us, now_us, self._limits)
            half = stream.half = grown(stream.half, upload, piece, frame, time_us)
            large = large or self._too_large(half)
            if piece.made.whole:
                self._complete(half, frame)
        if large:
            keeps = stream.half is not None and not self._too_large(stream.half)
            self._forget_frames(stream.id, stream.half.frame if stream.half and keeps else _NO_END)

    def _keep(self, raw: bytes) -> int:
        add = "INSERT INTO frames (stream, frame) VALUES (?, ?)"
        id_ = self._connection.execute(add, (self._stream.id, raw)).lastrowid
        assert id_ is not None
        return id_

    def _too_large(self, half: Half) -> bool:
        return half.bytes > self._limits.edit_group_bytes_max

    def _complete(self, half: Half, last: int) -> None:
        stream = self._stream
        if self._too_large(half):
            add_verdicts(self._connection, stream.id, [too_large(half.number, self._limits)])
        else:
            named = (stream.id, self._collection, half.number, half.frame, last)
            self._fresh.append((*named, half.time_us, half.offered, half.rows, half.bytes))
        stream.whole, stream.half = half.number, None

    def _forget_frames(self, stream: int, before: int) -> None:
        """The frames before this one that came after those of the last whole group."""
        self._flush()
        self._connection.execute(
            "DELETE FROM frames WHERE stream = ?1 AND id < ?2 AND id >"
            " coalesce((SELECT last FROM groups WHERE stream = ?1 ORDER BY number DESC LIMIT 1), 0)",
            (stream, before),
        )

    def _flush(self) -> None:
        if self._fresh:
            self._connection.executemany(
                "INSERT INTO groups (stream, collection, number, first, last, time_us, offered, rows, bytes)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                self._fresh,
            )
            self._fresh.clear()

    def close(self) -> int:
        """Returns the number of the last whole group."""
        self._flush()
        stream, half = self._stream, self._stream.half
        self._connection.execute("UPDATE streams SET whole = ? WHERE id = ?", (stream.whole, stream.id))
        if half is None:
            self._connection.execute("DELETE FROM halves WHERE stream = ?", (stream.id,))
        else:
            first = half.first or (None, None)
            row = (stream.id, half.number, half.frame, *first, half.time_us, half.offered, half.rows, half.bytes)
            self._connection.execute("INSERT OR REPLACE INTO halves VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        return stream.whole
