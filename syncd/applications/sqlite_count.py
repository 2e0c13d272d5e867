"""Counting what the tables hold (R14), and when that is due unasked.

The application may write the tables of a collection on the auxiliary. SQLite tells that another connection wrote
(``PRAGMA data_version``), not what: it may have been other tables. So an idle target that somebody wrote to is counted:
at once, then with pauses that double while the writes go on, and that are long against what a count takes (R16).
Until then the checksum kept is taken for true, for the longest of these pauses at most.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from syncd.adapters.canonical import pack_values
from syncd.applications.sqlite_common import name, names
from syncd.applications.sqlite_definition import Shape
from syncd.applications.sqlite_read import RawRow, RawText, plain, unreadable
from syncd.applications.sqlite_tables import Tables
from syncd.core import digest
from syncd.core.settings import Limits

_ROWS_BETWEEN = 200  # rows counted between two questions whether to give up
GiveUp = Callable[[], bool]


class GivenUp(Exception):
    """A count was given up: there is something else to do."""


def count(
    connection: sqlite3.Connection, tables: Tables, give_up: GiveUp = lambda: False, edited: bool = False
) -> tuple[int, int]:
    """What the tables hold: sum of the hashes of the objects, and their number. Raises GivenUp. ``edited``: what cannot
    be turned into fields counts as an edit of it does: without fields; a row without a key is no object."""
    change, objects = 0, 0
    for shape in tables.current:
        keyed = " AND ".join(f"{name(key)} IS NOT NULL" for key in shape.type.key)
        rows = f"SELECT {names(shape.columns)} FROM {name(shape.table.name)}"
        rows += f" WHERE {keyed}" if edited and shape.table.nullable else ""
        try:
            found = _count_table(connection, shape, rows, give_up, _packed)
        except (sqlite3.Error, UnicodeError) as error:
            if not unreadable(error):
                raise
            connection.text_factory = RawText
            try:
                found = _count_table(connection, shape, rows, give_up, _untold if edited else _stood_in)
            finally:
                connection.text_factory = str
        change, objects = change + found[0], objects + found[1]
    return change, objects


_Pack = Callable[[RawRow, int], tuple[bytes, bytes]]


def _count_table(
    connection: sqlite3.Connection, shape: Shape, sql: str, give_up: GiveUp, pack: _Pack
) -> tuple[int, int]:
    change, objects, width, prefix = 0, 0, shape.width, shape.prefix
    rows = connection.execute(sql)
    while page := rows.fetchmany(_ROWS_BETWEEN):
        for row in page:
            change += digest.object_hash(prefix, *pack(row, width))
        objects += len(page)
        if give_up():
            rows.close()
            raise GivenUp
    return change, objects


def _packed(row: RawRow, width: int) -> tuple[bytes, bytes]:
    """Key and fields."""
    return pack_values(row[:width]), pack_values(row[width:])


def _stood_in(row: RawRow, width: int) -> tuple[bytes, bytes]:
    """The same with a stand-in for what cannot be decoded."""
    values = [bytes(one).decode(errors="replace") if isinstance(one, RawText) else one for one in row]
    return pack_values(values[:width]), pack_values(values[width:])


def _untold(row: RawRow, width: int) -> tuple[bytes, bytes]:
    """The same without fields where they cannot be decoded."""
    try:
        return pack_values(plain(row[:width])), pack_values(plain(row[width:]))
    except UnicodeDecodeError:
        return _stood_in(row, width)[0], b""


class Pace:
    """When the next count is due. Outlives the connection."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._pause_s = limits.count_s_first
        self._next_at = 0.0
        self._since: float | None = None

    def quiet(self, now: float) -> None:
        """Nobody else wrote since the last count."""
        self._since = None
        if now >= self._next_at:
            self._pause_s = self._limits.count_s_first

    def due(self, now: float) -> bool:
        """Somebody else wrote: whether to count."""
        if self._since is None:
            self._since = now
        return now >= self._next_at

    def may_give_up(self, now: float) -> bool:
        """Whether a count may make room for work; not when it has been waited for so long."""
        return self._since is None or now - self._since < self._limits.count_s_max

    def counted(self, now: float, took_s: float) -> None:
        """A count ended."""
        self._since = None
        self._next_at = now + max(self._pause_s, took_s * self._limits.count_pauses_min)
        self._pause_s = min(2 * self._pause_s, self._limits.count_s_max)
