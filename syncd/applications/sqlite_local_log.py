"""What a target's capture logged: marks, whether it is whole, the rows of the log as objects with what they were.

Marks are as in ``sqlite_log``, and what was read stays until one after it was.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from syncd.adapters.canonical import pack_values
from syncd.applications.sqlite_common import fold
from syncd.applications.sqlite_definition import Shape
from syncd.applications.sqlite_local_capture import IMAGE_AT, LocalCapture
from syncd.applications.sqlite_log import mark_of, number_of
from syncd.applications.sqlite_read import RawRow, any_length, fetch, fetch_raw, plain, unreadable
from syncd.core.settings import Limits

_CUT = 2  # in the place of w: the image is not whole
_UNKNOWN: tuple[Shape | None, tuple[str, ...]] = (None, ())
UNTOLD = b""  # in place of fields: the row was there, and cannot be turned into fields


class Logged(NamedTuple):
    """A row of the log: the object that was touched (None: it cannot be named, or was before), with what it was before:
    None where there was none."""

    mark: int
    shape: Shape | None
    values: Sequence[object]
    key: bytes
    before: bytes | None


class LocalLog:
    """The log of one collection; ask only where its capture is there."""

    def __init__(self, connection: sqlite3.Connection, capture: LocalCapture, limits: Limits) -> None:
        self._connection = connection
        self._run = connection.execute
        self._capture = capture
        self._limits = limits

    def last_mark(self) -> int:
        """The mark at the end of the log."""
        row = self._run(f"SELECT n, r FROM {self._capture.log} ORDER BY n DESC LIMIT 1").fetchone()
        return mark_of(*row) if row else 0

    def since(self, mark: int) -> tuple[bool, bool]:
        """Whether it has all that was changed after the mark (it goes on where the mark was given, and misses nothing),
        and whether that is anything."""
        log, number = self._capture.log, number_of(mark)
        first, last, nonce, lost = self._run(
            f"SELECT (SELECT min(n) FROM {log}), (SELECT max(n) FROM {log}), (SELECT r FROM {log} WHERE n = ?),"
            f" (SELECT lost FROM {self._capture.control})",
            (number,),
        ).fetchone()
        first, last = (1, 0) if first is None else (first, last)
        follows = first == 1 if mark == 0 else nonce is not None and mark_of(number, nonce) == mark
        return follows and lost == 0 and last - first < self._limits.log_rows_max - 1, last > number

    def begin(self) -> None:
        """It is empty, and nothing is missed from its beginning."""
        self._run(f"DELETE FROM {self._capture.log}")
        self._run(f"UPDATE {self._capture.control} SET lost = 0")

    def begin_anew(self) -> int:
        """The same, and no mark from before is found in it; the mark at its beginning."""
        last: int = self._run(f"SELECT ifnull(max(n), 0) FROM {self._capture.log}").fetchone()[0]
        self.begin()
        self._run(f"INSERT INTO {self._capture.log}(n, t, r, w) VALUES(?, 0, random(), 0)", (last + 1,))
        return self.last_mark()

    def cut_back(self, number: int) -> None:
        """Forgets the rows before ``number``. What a power cut brings back is cut back again: no need to sync."""
        before = self._run("PRAGMA synchronous").fetchone()[0]
        self._run("PRAGMA synchronous=NORMAL")
        try:
            self._run(f"DELETE FROM {self._capture.log} WHERE n < ?", (number,))
        finally:
            self._run(f"PRAGMA synchronous={before}")

    def read(self, shapes: Sequence[Shape], mark: int, limit: int) -> Iterator[Logged]:
        """Rows after the mark, at most ``limit``, up to the one that reaches ``scan_bytes_max``. Of an object the first
        one tells of it: what it was."""
        by_table = {fold(shape.table.name): shape for shape in shapes}
        known: dict[int, tuple[Shape | None, tuple[str, ...]]] = {}
        for table, (folded, columns) in self._capture.tables().items():
            shape = by_table.get(folded)
            if shape is not None and list(map(fold, columns[: shape.width])) != list(map(fold, shape.type.key)):
                shape = None  # its key was another then
            known[table] = shape, columns
        seen: set[tuple[int, bytes]] = set()
        before_it: set[tuple[object, ...]] = set()  # the same as they are in the log
        for row in self._rows(mark, limit):
            number, table, nonce, with_image = [int(one or 0) for one in row[:IMAGE_AT]]
            (shape, columns), reached = known.get(table, _UNKNOWN), mark_of(number, nonce)
            raw = () if shape is None else row[IMAGE_AT : IMAGE_AT + shape.width]
            one = (table, raw, *map(type, raw))
            if shape is None or one in before_it:
                yield Logged(reached, None, (), b"", None)
                continue
            before_it.add(one)
            found = _key_of(raw)
            if found is None or (shape.name_id, found[1]) in seen:
                yield Logged(reached, None, (), b"", None)
                continue
            values, key = found
            seen.add((shape.name_id, key))
            before = _fields(shape, columns, row[IMAGE_AT:]) if with_image == 1 else None
            large = len(key) + len(before or b"") > self._limits.object_bytes_max
            yield Logged(reached, shape, values, key, UNTOLD if large or with_image == _CUT else before)

    def _rows(self, mark: int, limit: int) -> Sequence[RawRow]:
        sql = f"SELECT * FROM {self._capture.log} WHERE n > ? ORDER BY n LIMIT {int(limit)}"
        after = (number_of(mark),)
        try:
            return fetch(self._connection, sql, after, self._limits.scan_bytes_max)
        except (sqlite3.Error, OverflowError, MemoryError) as error:
            if not unreadable(error):
                raise
        try:
            return fetch_raw(self._connection, sql, after, self._limits.scan_bytes_max)
        except (sqlite3.Error, OverflowError, MemoryError) as error:
            if not unreadable(error):
                raise
        return list(self._slow_rows(number_of(mark), limit))

    def _slow_rows(self, number: int, limit: int) -> Iterator[RawRow]:
        """One by one; of a row with a value over the limit only what is not."""
        log, bytes_max = self._capture.log, self._limits.object_bytes_max
        columns = [one for (one,) in self._run("SELECT name FROM pragma_table_info(?)", (log,)).fetchall()]
        short = ", ".join(
            one if at < IMAGE_AT else f"CASE WHEN length(CAST({one} AS BLOB)) <= {bytes_max} THEN {one} END"
            for at, one in enumerate(columns)
        )
        size = 0
        for (one,) in self._run(f"SELECT n FROM {log} WHERE n > ? ORDER BY n LIMIT ?", (number, limit)).fetchall():
            try:
                row = fetch_raw(self._connection, f"SELECT * FROM {log} WHERE n = ?", (one,))[0]
            except (sqlite3.Error, OverflowError, MemoryError) as error:
                if not unreadable(error):
                    raise
                with any_length(self._connection):
                    row = fetch_raw(self._connection, f"SELECT {short} FROM {log} WHERE n = ?", (one,))[0]
                row = (*row[: IMAGE_AT - 1], _CUT, *row[IMAGE_AT:])
            size += sum(len(value) for value in row if isinstance(value, str | bytes))
            yield row
            if size >= self._limits.scan_bytes_max:
                return


def _key_of(raw: RawRow) -> tuple[Sequence[object], bytes] | None:
    """Values of the key and the key, None where there is none."""
    if None in raw:
        return None
    try:
        values = plain(raw)
        return values, pack_values(values)
    except UnicodeError:
        return None


def _fields(shape: Shape, columns: tuple[str, ...], row: RawRow) -> bytes:
    if columns != shape.columns:  # the type was another then
        at = {fold(column): place for place, column in enumerate(columns)}
        places = [at.get(fold(column)) for column in shape.columns]
        if None in places:
            return UNTOLD
        row = tuple(row[place] for place in places if place is not None)
    try:
        return pack_values(plain(row[shape.width : len(shape.columns)]))
    except UnicodeError:
        return UNTOLD
