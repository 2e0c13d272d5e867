"""Many rows of one table by one statement: entering a statement costs as much as what it does to a row."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Sequence

from syncd.adapters.canonical import Value
from syncd.applications.sqlite_definition import Shape

_ROWS = 256  # rows looked up or inserted by one statement
_VALUES = 8_192  # values given to it: SQLite takes 32,766


def insert_all(
    connection: sqlite3.Connection, shape: Shape, keys: list[list[Value]], fields: list[list[Value]]
) -> None:
    """Inserts rows that are not there, in their order. Raises sqlite3.Error; which row it was is not known then."""
    most = max(1, min(_ROWS, _VALUES // len(shape.columns)))
    even = len(keys) - len(keys) % most
    flat = itertools.chain.from_iterable
    for at in range(0, even, most):
        part = zip(keys[at : at + most], fields[at : at + most], strict=True)
        connection.execute(shape.insert_listed(most), list(flat(flat(part))))
    connection.executemany(shape.insert, map(list.__add__, keys[even:], fields[even:]))


def delete_all(connection: sqlite3.Connection, shape: Shape, keys: list[list[Value]]) -> None:
    """Removes rows. With a key of several columns one by one: an IN of row values reads the whole table."""
    even = len(keys) - len(keys) % _ROWS if shape.width == 1 else 0
    for at in range(0, even, _ROWS):
        connection.execute(shape.delete_listed(_ROWS), list(itertools.chain.from_iterable(keys[at : at + _ROWS])))
    connection.executemany(shape.delete, keys[even:])


def held_rows(
    connection: sqlite3.Connection, shape: Shape, keys: list[list[Value]], with_rowid: bool = False
) -> dict[tuple[Value, ...], Sequence[Value]]:
    """The rows that are there, by their keys. ``shape.table.exact``: equal keys are the same. ``with_rowid``:
    it is the last value of each."""
    width, held = shape.width, {}
    most = max(1, min(_ROWS, _VALUES // width))
    for at in range(0, len(keys), most):
        asked = keys[at : at + most]
        size = min(most, 1 << (len(asked) - 1).bit_length())  # few sizes: each is one prepared statement
        asked += [asked[-1]] * (size - len(asked))
        select = shape.select_listed(size, with_rowid)
        for row in connection.execute(select, list(itertools.chain.from_iterable(asked))):
            held[row[:width]] = row
    return held
