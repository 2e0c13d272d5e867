"""What our writer wrote, handed to the source of the same database: it need not be read again, and waits a moment for
more, so that devices are sent one work where there would be several (R10, R16).

Only what is known exactly is handed over: rows that were written as they were decided, one row of the log for each, in
tables that store each value as it is given. Everything else, and what finds no room, is read from the database. The
rows of the log decide what counts: what is handed over is left where they are not the ones that were written.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from syncd.adapters.canonical import Value
from syncd.applications import sqlite_log as log
from syncd.applications.sqlite_common import data_version, schema_version
from syncd.applications.sqlite_definition import Shape
from syncd.applications.sqlite_read import size_bytes
from syncd.applications.sqlite_wait import Waiter
from syncd.core.model import Observed
from syncd.core.settings import Limits

_OBJECT_BYTES = 160  # what an object takes in memory beside key and fields, about
_STORED_AS_GIVEN: dict[str, frozenset[type]] = {
    "TEXT": frozenset((str, bytes)),
    "NUMERIC": frozenset((int, bytes)),
    "INTEGER": frozenset((int, bytes)),
    "REAL": frozenset((float, bytes)),
    "BLOB": frozenset((str, int, float, bytes)),
}


class Stored:
    """Whether the values of a row are stored as they are given: SQLite converts by the affinity of a column
    (https://sqlite.org/datatype3.html), and what a conflict clause does instead is not looked at."""

    def __init__(self, shape: Shape, encoding: str) -> None:
        table = shape.table
        filled = {column for column, _ in table.defaults}
        self._types = [
            _STORED_AS_GIVEN[affinity] | (frozenset() if column in filled else {type(None)})
            for column, affinity in zip(shape.columns, table.affinities, strict=False)
        ]
        self._never = (
            encoding != "UTF-8"
            or shape.columns != (*table.key, *table.fields)
            or any("conflict" in sql.lower() for sql in table.definition)
        )
        self._known: dict[tuple[type, ...], bool] = {}

    def as_given(self, row: Sequence[Value]) -> bool:
        """``row``: key, then fields, or the key alone."""
        types = tuple(map(type, row))
        known = self._known.get(types)
        if known is None:
            known = not self._never and all(one in stored for one, stored in zip(types, self._types, strict=False))
            self._known[types] = known
        return known and (float not in types or all(map(_keeps, row)))


def _keeps(value: Value) -> bool:
    """Zero may lose its sign, and what is no number becomes NULL."""
    return not isinstance(value, float) or value > 0.0 or value < 0.0


class Handed(NamedTuple):
    """Rows of the log with numbers from ``first`` to ``last``, the mark of the last, and for each row what its object
    was written as. ``version``: of the schema then."""

    first: int
    last: int
    mark: int
    version: int
    observed: Sequence[Observed]


class HandOver:
    """From the writer's thread to the source's. Of more than ``handed_bytes_max`` the oldest is forgotten. ``hush``:
    tells the source that a write begins (True), or is over. ``read_at``: when the source last read of a change."""

    def __init__(self, limits: Limits, hush: Callable[[bool], None] = lambda _: None) -> None:
        self.hush = hush
        self.read_at = -limits.written_join_s
        self._limits = limits
        self._lock = threading.Lock()
        self._spans: deque[tuple[Handed, int]] = deque()
        self._bytes = 0

    def put(self, handed: Handed) -> None:
        size = sum(_OBJECT_BYTES + size_bytes(one) for one in handed.observed)
        with self._lock:
            self._spans.append((handed, size))
            self._bytes += size
            while self._bytes > self._limits.handed_bytes_max:
                self._forget()

    def await_more(self, connection: sqlite3.Connection, waiter: Waiter, mark: int, wanted: Callable[[], bool]) -> None:
        """Where nothing but our writer's work follows a mark, and something was read just before, that waits: for a
        commit of the application, and not for long. Not with a rollback journal: there is read where the application
        rests. In the source's thread."""
        if waiter.rollback:
            return
        until = self.read_at + self._limits.written_join_s
        with contextlib.suppress(sqlite3.OperationalError):  # what is wrong is found by reading
            while (left_s := until - time.monotonic()) > 0.0 and self._is_all(connection, mark):
                waiter.seen(data_version(connection), time.monotonic())
                if waiter.wait(connection, left_s, wanted):
                    return

    def _is_all(self, connection: sqlite3.Connection, mark: int) -> bool:
        spans = self._after(log.number_of(mark))
        return bool(spans) and spans[-1].last == log.bounds(connection)[1]

    def take(self, connection: sqlite3.Connection, mark: int, limit: int) -> tuple[list[Observed], int, int]:
        """What was written next after a mark where the log goes on, at most ``limit`` rows of the log, up to the one
        that reaches ``scan_bytes_max``; the mark of the last of them, and how many more may be read. In the source's
        thread, inside a transaction."""
        observed: list[Observed] = []
        left_bytes = self._limits.scan_bytes_max
        for span in self._after(log.number_of(mark)):
            if span.version != schema_version(connection) or log.mark_at(connection, span.last) != span.mark:
                self.clear()  # of tables that may be others, or of a log that is gone
                break
            begin = log.number_of(mark) + 1 - span.first
            some, left_bytes = _within(span.observed[begin : begin + limit - len(observed)], left_bytes)
            observed += some
            mark = log.mark_at(connection, span.first + begin + len(some) - 1)
            if len(observed) == limit or left_bytes <= 0:
                return observed, mark, 0
        return observed, mark, limit - len(observed)

    def _after(self, number: int) -> list[Handed]:
        """Without a gap from a row of the log on. What is before it is forgotten."""
        with self._lock:
            while self._spans and self._spans[0][0].last <= number:
                self._forget()
            found: list[Handed] = []
            for handed, _ in self._spans:
                if handed.first > number + 1:
                    break
                found.append(handed)
                number = handed.last
            return found

    def clear(self) -> None:
        with self._lock:
            while self._spans:
                self._forget()

    def _forget(self) -> None:
        self._bytes -= self._spans.popleft()[1]


def _within(observed: Sequence[Observed], bytes_max: int) -> tuple[Sequence[Observed], int]:
    """Those up to the one that reaches so many bytes, and how many are left of them."""
    for at, one in enumerate(observed, 1):
        bytes_max -= size_bytes(one)
        if bytes_max <= 0:
            return observed[:at], bytes_max
    return observed, bytes_max
