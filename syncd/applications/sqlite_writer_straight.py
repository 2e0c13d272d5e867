"""Rows written as they were just found (R11, R16): the short road of edits on the primary's tables.

For tables of which each row stands for itself and that no foreign key concerns. What is there was read under the lock
that is still held, so nothing is looked at again, and without a savepoint, which copies each page that is changed after
it: what does not go in undoes the whole transaction, which is then executed on the other roads, one object at a time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Container, Mapping, Sequence
from itertools import groupby
from operator import attrgetter

from syncd.adapters.canonical import Value, unpack_many
from syncd.applications.sqlite_common import primary_code
from syncd.applications.sqlite_definition import Shape
from syncd.applications.sqlite_tables import NOT_THE_ROWS
from syncd.core.conflict import Change

_NO_FIELDS = b"\x90"


class NotStraight(Exception):
    """A row did not go in; the transaction must be given up."""


def write_straight(
    connection: sqlite3.Connection,
    shapes: Mapping[int, Shape],
    changes: Sequence[Change],
    there: Container[tuple[int, bytes]],
) -> None:
    """Changes of different objects. ``there``: type and key of those that exist. In the order of their keys, so that
    pages of a table are visited once. Raises NotStraight."""
    try:
        if len(changes) == 1:
            _write(connection, shapes[changes[0].type], changes, there)
            return
        for type_id, of_type in groupby(sorted(changes, key=attrgetter("type", "key")), attrgetter("type")):
            _write(connection, shapes[type_id], list(of_type), there)
    except (sqlite3.Error, OverflowError, UnicodeError) as error:
        if isinstance(error, sqlite3.Error) and primary_code(error) in NOT_THE_ROWS:
            raise
        raise NotStraight from error


def _write(
    connection: sqlite3.Connection, shape: Shape, changes: Sequence[Change], there: Container[tuple[int, bytes]]
) -> None:
    deleted: list[list[Value]] = []
    updated: list[list[Value]] = []
    inserted: list[list[Value]] = []
    keys = unpack_many([change.key for change in changes])
    rows = unpack_many([change.fields or _NO_FIELDS for change in changes])
    for (type_id, packed, fields), key, row in zip(changes, keys, rows, strict=True):
        if fields is None:
            deleted.append(key)
        elif (type_id, packed) in there:
            updated.append(row + key)
        else:
            inserted.append(key + row)
    for sql, values in ((shape.delete, deleted), (shape.update, updated), (shape.insert, inserted)):
        if values:  # what goes away makes room first
            connection.executemany(sql, values)
