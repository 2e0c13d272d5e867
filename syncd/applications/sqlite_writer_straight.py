"""Rows written as they were just found (R11, R16): the short road of edits on the primary's tables.

For tables of which each row stands for itself and that no foreign key concerns. What is there was read under the lock
that is still held, so nothing is looked at again, and without a savepoint, which copies each page that is changed after
it: what does not go in undoes the whole transaction, which is then executed on the other roads, one object at a time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Container, Iterable, Sequence
from itertools import chain, groupby
from operator import add, attrgetter
from typing import NamedTuple

from syncd.adapters.canonical import unpack_many
from syncd.applications.sqlite_common import primary_code
from syncd.applications.sqlite_definition import Shape
from syncd.applications.sqlite_handed import Stored
from syncd.applications.sqlite_tables import NOT_THE_ROWS
from syncd.applications.sqlite_writer_look import Look
from syncd.core.conflict import Change


class NotStraight(Exception):
    """A row did not go in; the transaction must be given up."""


class _Order(NamedTuple):
    """Changes of one type, in the order in which they are written."""

    deleted: list[Change]
    updated: list[Change]
    inserted: list[Change]


def write_straight(
    connection: sqlite3.Connection, look: Look, changes: Sequence[Change], there: Container[tuple[int, bytes]]
) -> list[Change] | None:
    """Changes of different objects, in the order in which they were written, that of their keys, so that pages of a
    table are visited once. None: a value may be stored otherwise than it was given. ``there``: type and key of those
    that exist. Raises NotStraight."""
    written: list[Change] = []
    exact = True
    try:
        for type_id, of_type in _by_type(changes):
            order = _order(of_type, there)
            exact = _write(connection, look.shapes[type_id], order, look.stored[type_id]) and exact
            written += chain.from_iterable(order)
    except (sqlite3.Error, OverflowError, UnicodeError) as error:
        if isinstance(error, sqlite3.Error) and primary_code(error) in NOT_THE_ROWS:
            raise
        raise NotStraight from error
    return written if exact else None


def _by_type(changes: Sequence[Change]) -> Iterable[tuple[int, Iterable[Change]]]:
    if len(changes) == 1:
        return ((changes[0].type, changes),)
    return groupby(sorted(changes, key=attrgetter("type", "key")), attrgetter("type"))


def _order(changes: Iterable[Change], there: Container[tuple[int, bytes]]) -> _Order:
    """What goes away makes room first."""
    order = _Order([], [], [])
    for change in changes:
        if change.fields is None:
            order.deleted.append(change)
        elif change[:2] in there:
            order.updated.append(change)
        else:
            order.inserted.append(change)
    return order


def _write(connection: sqlite3.Connection, shape: Shape, order: _Order, stored: Stored) -> bool:
    """Whether all is stored as it was given."""
    rows = unpack_many([change.key for change in order.deleted])
    if rows:
        connection.executemany(shape.delete, rows)
    exact = all(map(stored.as_given, rows))
    for changes, sql, key_first in ((order.updated, shape.update, False), (order.inserted, shape.insert, True)):
        if changes:
            keys = unpack_many([change.key for change in changes])
            fields = unpack_many([change.fields or b"" for change in changes])
            rows = list(map(add, keys, fields))
            connection.executemany(sql, rows if key_first else map(add, fields, keys))
            exact = exact and all(map(stored.as_given, rows))
    return exact
