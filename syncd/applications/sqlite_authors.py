"""Who made which rows of the log: ranges of its numbers, noted in the transaction that made them, cut back with it.

What no range covers was written by the application itself.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from syncd.applications.sqlite_capture import LOG
from syncd.applications.sqlite_common import is_there
from syncd.applications.sqlite_read import Named, RawRow
from syncd.core.model import Observed

AUTHORS = "_syncd_authors"
_EXTEND = (
    f"UPDATE {AUTHORS} SET last = ?1 WHERE first = (SELECT max(first) FROM {AUTHORS}) AND last = ?2 AND author = ?3"
)
_NOTE = f"INSERT INTO {AUTHORS} VALUES(?, ?, ?)"


class Span(NamedTuple):
    """Rows of the log with these numbers, both included, are of one author."""

    first: int
    last: int
    author: str


def make(connection: sqlite3.Connection) -> None:
    connection.execute(
        f"CREATE TABLE IF NOT EXISTS {AUTHORS}(first INTEGER PRIMARY KEY, last INTEGER NOT NULL, author TEXT NOT NULL)"
    )


def are_noted(connection: sqlite3.Connection) -> bool:
    """Whether any author ever was."""
    return is_there(connection, AUTHORS)


def between(connection: sqlite3.Connection, first: int, last: int) -> list[Span]:
    """Those of rows in a range, in order."""
    rows = connection.execute(
        f"SELECT first, last, author FROM {AUTHORS} WHERE last >= ?1 AND first <= ?2"
        f" AND first >= ifnull((SELECT max(first) FROM {AUTHORS} WHERE first <= ?1), ?1) ORDER BY first",
        (first, last),
    )
    return [Span(*row) for row in rows.fetchall()]


def signed(
    connection: sqlite3.Connection, rows: Sequence[RawRow], named: Sequence[Named | None], observed: list[Observed]
) -> list[Observed]:
    """The objects with the author of the last of the rows of the log that name them. ``named``: by the rows, and maybe
    by others after them."""
    spans = between(connection, int(rows[0][0] or 0), int(rows[-1][0] or 0))
    if not spans:
        return observed
    exact = all(reader.table.exact for reader in {one[0] for one in named if one is not None})
    if exact and spans[0].first <= int(rows[0][0] or 0) and spans[0].last >= int(rows[-1][0] or 0):
        author = spans[0].author  # of all: no row answers to the key of another
        return [Observed(type_id, key, fields, fault, author) for type_id, key, fields, fault, _ in observed]
    authors: dict[tuple[int, bytes], str] = {}
    at = 0
    for row, one in zip(rows, named, strict=False):
        number = int(row[0] or 0)
        while at < len(spans) and spans[at].last < number:
            at += 1
        if one is not None:
            authors[one[0].type_id, one[2]] = spans[at].author if at < len(spans) and spans[at].first <= number else ""
    return [
        Observed(type_id, key, fields, fault, authors.get((type_id, key), ""))
        for type_id, key, fields, fault, _ in observed
    ]


def cut_back(connection: sqlite3.Connection, number: int) -> None:
    """Forgets those of rows before ``number``."""
    if are_noted(connection):
        connection.execute(f"DELETE FROM {AUTHORS} WHERE first < ?1 AND last < ?1", (number,))


def keep_within_log(connection: sqlite3.Connection) -> None:
    """Forgets those of rows that are not in the log, which may begin anew with the same numbers."""
    if are_noted(connection):
        connection.execute(
            f"DELETE FROM {AUTHORS} WHERE last > ifnull((SELECT max(n) FROM {LOG}), 0)"
            f" OR last < ifnull((SELECT min(n) FROM {LOG}), 0)"
        )


class Signing:
    """Notes the authors of what is written in one transaction. ``last``: number of the log's last row at its begin."""

    def __init__(self, connection: sqlite3.Connection, last: int) -> None:
        self._connection = connection
        self._author: str | None = None  # nothing is written yet
        self._signed = last

    def next(self, author: str) -> None:
        """What is written from here on is of this author."""
        if author == self._author:
            return
        if self._author is not None:
            self.end(self._last())
        self._author = author

    def end(self, last: int) -> None:
        """What was written so far, up to a row of the log, is signed. Neighbouring rows of one author are one range."""
        if self._author and last > self._signed:
            extended = self._connection.execute(_EXTEND, (last, self._signed, self._author))
            if not extended.rowcount:
                self._connection.execute(_NOTE, (self._signed + 1, last, self._author))
        self._signed = last

    def _last(self) -> int:
        last: int = self._connection.execute(f"SELECT ifnull(max(n), 0) FROM {LOG}").fetchone()[0]
        return last
