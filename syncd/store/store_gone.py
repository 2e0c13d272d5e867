"""Forgetting tombstones that no device needs, wherever they are in the order (R5, R8, R15).

``prune`` forgets those that every device has passed. What comes and goes while one device is away for long is of use to
nobody: it never held those objects. Runs in the writer's thread, some at a time, so that no commit waits for it.
"""

from __future__ import annotations

import sqlite3
from functools import partial
from typing import NamedTuple

from syncd.core.model import Spans
from syncd.core.selection import ALL, Selection
from syncd.store.database import give_back
from syncd.store.stays import unpacked
from syncd.store.store_classes import ClassRow, find
from syncd.store.store_collections import CollectionRow, get

_TOGETHER = 5_000  # tombstones that are looked at in one commit
_Tombstone = tuple[int, int, int, bytes, str | None]  # change, born, type, key, earlier stays


class At(NamedTuple):
    """The tombstone that was looked at last: by its change, in a class by type and key."""

    change: int = 0
    type: int = -1
    key: bytes = b""


def forget_gone(
    connection: sqlite3.Connection, name: str, selection: Selection, spans: Spans, between: tuple[At, int]
) -> tuple[int, At | None]:
    """How many were removed, and where to go on. ``between``: where to begin, and the last change."""
    row, (at, upto) = get(connection, name), between
    one = None if selection == ALL else find(connection, row, selection)
    if selection != ALL and one is None:
        return 0, None
    found = (_of_all if one is None else partial(_of_class, one))(connection, row, at)
    limit = min(upto, row.head)
    gone = [(one[0],) for one in found if one[0] <= limit and not _may_be_held(one, spans)]
    if gone:
        if one is None:
            _to_history(connection, row, gone)
        connection.executemany(f"DELETE FROM {(one or row).table} WHERE change = ?", gone)
        connection.execute("UPDATE collections SET version = version + 1 WHERE id = ?", (row.id,))
        give_back(connection)
    return len(gone), At(found[-1][0], *found[-1][2:4]) if len(found) == _TOGETHER else None


def _may_be_held(one: _Tombstone, spans: Spans) -> bool:
    change, born, _, _, stays = one
    return spans.may_hold(born, change) or any(spans.may_hold(*stay) for stay in unpacked(stays))


def _of_all(connection: sqlite3.Connection, row: CollectionRow, at: At) -> list[_Tombstone]:
    return connection.execute(
        f"SELECT change, born, type, key, NULL FROM {row.table} WHERE hash IS NULL AND change > ?"
        " ORDER BY change LIMIT ?",
        (at.change, _TOGETHER),
    ).fetchall()


def _of_class(one: ClassRow, connection: sqlite3.Connection, row: CollectionRow, at: At) -> list[_Tombstone]:
    return connection.execute(
        f"SELECT change, born, type, key, stays FROM {one.table} INDEXED BY left_{one.id:d} WHERE type IS NOT NULL"
        " AND (type, key) > (?, ?) ORDER BY type, key LIMIT ?",
        (at.type, at.key, _TOGETHER),
    ).fetchall()


def _to_history(connection: sqlite3.Connection, row: CollectionRow, gone: list[tuple[int]]) -> None:
    """It tells of them still."""
    connection.executemany(
        f"INSERT INTO {row.versions} (until, change, type, author, key, fields)"
        " SELECT -change, change, type, author, key, NULL"
        f" FROM {row.table} WHERE change = ? AND change > {row.history:d}",
        gone,
    )
