"""The log of touched keys as the source reads it: marks, whether it is whole, cutting it back.

A mark is the number of the last row of the log that was read, with some bits of that row's random nonce. The row stays
in the log until one after it was read, so a mark that is not found there was given by another history: a backup was
put back, and what follows the same number in it is not what follows the mark.
"""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from syncd.applications import sqlite_authors as authors
from syncd.applications.sqlite_capture import CONTROL, LOG
from syncd.applications.sqlite_common import transaction
from syncd.applications.sqlite_read import RawRow, fetch, fetch_raw, unreadable
from syncd.core.settings import Limits

KEY_AT = 3  # where the key begins in a row: n, t, r, k0, ...
_NONCE_BITS = 24
_LAST = f"SELECT n, r FROM {LOG} ORDER BY n DESC LIMIT 1"
_EXTENT = f"SELECT (SELECT lost FROM {CONTROL}), (SELECT min(n) FROM {LOG}), (SELECT max(n) FROM {LOG})"


class Extent(NamedTuple):
    """``lost``: capture was incomplete. Numbers of the first and the last row; an empty log is before 1."""

    lost: bool
    first: int
    last: int


def mark_of(number: int, nonce: int) -> int:
    """The mark of a row."""
    return number << _NONCE_BITS | nonce & (1 << _NONCE_BITS) - 1


def number_of(mark: int) -> int:
    """The number of a mark's row; 0: before the first."""
    return mark >> _NONCE_BITS


def bounds(connection: sqlite3.Connection) -> tuple[int, int]:
    """First and last number of the log; an empty log begins at 1."""
    row = connection.execute(f"SELECT (SELECT min(n) FROM {LOG}), (SELECT max(n) FROM {LOG})").fetchone()
    return (1, 0) if row[0] is None else (int(row[0]), int(row[1]))


def last_mark(connection: sqlite3.Connection) -> int:
    """The mark at the end of the log."""
    row = connection.execute(_LAST).fetchone()
    return mark_of(*row) if row else 0


def mark_at(connection: sqlite3.Connection, number: int) -> int:
    """The mark of a row; 0 where it is not there."""
    row = connection.execute(f"SELECT n, r FROM {LOG} WHERE n = ?", (number,)).fetchone()
    return mark_of(*row) if row else 0


def extent(connection: sqlite3.Connection) -> Extent:
    """At the beginning of a transaction that writes."""
    row = connection.execute(_EXTENT).fetchone()
    return Extent(row[0] != 0, 1 if row[1] is None else row[1], row[2] or 0)


def end_of(connection: sqlite3.Connection, begin: Extent, limits: Limits) -> tuple[int, int]:
    """Number of the last row, and the mark at which all that was written so far has been read. ``begin``: as the log
    was when the transaction began. Where it misses something, only a comparison reads that, which begins after the last
    row."""
    row = connection.execute(_LAST).fetchone()
    last = row[0] if row else 0
    if begin.lost or last - begin.first >= limits.log_rows_max - 1:
        return last, mark_of(last + 1, 0)
    return last, mark_of(*row) if row else 0


def follows(connection: sqlite3.Connection, mark: int) -> bool:
    """Whether the log goes on where the mark was given."""
    if mark == 0:
        return bounds(connection)[0] == 1
    return mark_at(connection, number_of(mark)) == mark


def lost(connection: sqlite3.Connection, limits: Limits) -> bool:
    """Whether the log misses something: capture was incomplete, or the log is at its bound."""
    first, last = bounds(connection)
    row = connection.execute(f"SELECT lost FROM {CONTROL}").fetchone()
    return row is None or row[0] != 0 or last - first >= limits.log_rows_max - 1


def begin_anew(connection: sqlite3.Connection) -> None:
    """Everything in it is replaced by a comparison; no mark from before is found in it."""
    with transaction(connection, "IMMEDIATE"):
        last = bounds(connection)[1]
        connection.execute(f"DELETE FROM {LOG}")
        connection.execute(f"INSERT INTO {LOG}(n, t, r) VALUES(?, 0, random())", (last + 1,))
        connection.execute(f"UPDATE {CONTROL} SET lost = 0")
        authors.cut_back(connection, last + 1)


def read(connection: sqlite3.Connection, mark: int, limit: int, bytes_max: int) -> list[RawRow]:
    """Rows after the mark, at most ``limit``, up to the one that reaches ``bytes_max``."""
    sql = f"SELECT * FROM {LOG} WHERE n > ? ORDER BY n LIMIT {int(limit)}"
    after = (number_of(mark),)
    try:
        return fetch(connection, sql, after, bytes_max)
    except sqlite3.Error as error:
        if not unreadable(error):
            raise
        return fetch_raw(connection, sql, after, bytes_max)


def cut_back(connection: sqlite3.Connection, number: int, limits: Limits) -> None:
    """Forgets the rows before ``number``. What a power cut brings back of them is cut back again: no need to sync.
    That the log was at its bound is not forgotten with them."""
    before = connection.execute("PRAGMA synchronous").fetchone()[0]
    connection.execute("PRAGMA synchronous=NORMAL")
    try:
        with transaction(connection, "IMMEDIATE"):
            if lost(connection, limits):
                connection.execute(f"UPDATE {CONTROL} SET lost = 1")
            connection.execute(f"DELETE FROM {LOG} WHERE n < ?", (number,))
            authors.cut_back(connection, number)
    finally:
        connection.execute(f"PRAGMA synchronous={before}")
