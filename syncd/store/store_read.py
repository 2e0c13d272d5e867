"""The sync store's ways out: changes since a position, the newest groups, and forgetting (R3, R5, R7, R14)."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from syncd.core.model import Proof, Tie
from syncd.core.ports import ChunkRequest, Group, StoredChunk, StoredRow
from syncd.store.store_collections import CollectionRow, get

_GROUP = "SELECT seq, first, loose, time_us, objects FROM groups_ WHERE collection = ?"

_PASSED_OVER_MAX = 16  # groups in sequence; looking for one costs about as much as reading these


def read(
    connection: sqlite3.Connection, request: ChunkRequest, rows_max: int, bytes_max: int, ties_max: int
) -> StoredChunk:
    """See ``core.ports.SyncStore``. One read transaction, so all of it is of one state; rows above the head, which
    are part of no group yet, are never read."""
    row = get(connection, request.collection)
    rows, last = _rows(connection, row, request.cursor, rows_max, bytes_max)
    ties, last = _ties(connection, row, request.cursor, last, ties_max)
    while rows and rows[-1].change > last:
        rows.pop()
    proof = Proof(last, row.digest, row.objects) if last == row.head == row.last else None
    return StoredChunk(rows, last, _groups_of(connection, row, rows), proof, ties, row.version, row.horizon)


def _rows(
    connection: sqlite3.Connection, row: CollectionRow, cursor: int, rows_max: int, bytes_max: int
) -> tuple[list[StoredRow], int]:
    """Rows, at least one if there is one, and the cursor after them."""
    found = connection.execute(
        f"SELECT change, born, type, key, fields, fault FROM {row.table} WHERE change > ? AND change <= ?"
        " ORDER BY change LIMIT ?",
        (cursor, row.head, rows_max + 1),
    )
    rows: list[StoredRow] = []
    make, size = StoredRow._make, 0
    for values in found:
        one = make(values)
        size += len(one[3]) + len(one[4] or b"")
        if rows and (size > bytes_max or len(rows) == rows_max):
            found.close()
            return rows, rows[-1].change
        rows.append(one)
    return rows, row.head


def _ties(
    connection: sqlite3.Connection, row: CollectionRow, cursor: int, last: int, ties_max: int
) -> tuple[tuple[Tie, ...], int]:
    """Ties made by changes in (cursor, last], and where the read must end for them to be at most ``ties_max``. Each
    change makes at most one tie, so a read always goes on."""
    found = connection.execute(
        "SELECT at, older, newer FROM ties WHERE collection = ? AND at > ? AND at <= ? ORDER BY at LIMIT ?",
        (row.id, cursor, last, ties_max + 1),
    ).fetchall()
    if len(found) > ties_max:
        last = found.pop()[0] - 1
    return tuple(Tie(*pair) for _, *pair in found), last


def _groups_of(connection: sqlite3.Connection, row: CollectionRow, rows: Sequence[StoredRow]) -> tuple[Group, ...]:
    """The remembered groups that own the rows, in order. Groups without a row of theirs left are passed over: by
    reading on, and where there are many in sequence by looking for the group of the next row."""
    groups: list[Group] = []
    at = 0
    while at < len(rows):
        passed_over = 0
        found = connection.execute(
            f"{_GROUP} AND seq >= ? AND first <= ? ORDER BY seq", (row.id, rows[at].change, rows[-1].change)
        )
        for seq, first, loose, time_us, objects in found:
            while at < len(rows) and rows[at].change < first:
                at += 1
            if at < len(rows) and rows[at].change <= seq:
                groups.append(Group(seq, first, bool(loose), time_us, objects))
                while at < len(rows) and rows[at].change <= seq:
                    at += 1
                passed_over = 0
            elif (passed_over := passed_over + 1) > _PASSED_OVER_MAX:
                found.close()
                break
        else:
            break
    return tuple(groups)


def newest_groups(connection: sqlite3.Connection, name: str, limit: int) -> Sequence[Group]:
    row = get(connection, name)
    found = connection.execute(f"{_GROUP} ORDER BY seq DESC LIMIT ?", (row.id, limit))
    return [Group(seq, first, bool(loose), time_us, objects) for seq, first, loose, time_us, objects in found]


class Past(NamedTuple):
    """What may be forgotten: tombstones up to ``passed``, tombstones and groups from before ``older_than_us``, and
    groups beyond ``groups_max``."""

    passed: int
    older_than_us: int
    groups_max: int


def prune(connection: sqlite3.Connection, name: str, past: Past) -> int:
    """See ``core.ports.SyncStore``. Runs in the writer's transaction."""
    row = get(connection, name)
    young = connection.execute(
        "SELECT first FROM groups_ WHERE collection = ? AND time_us >= ? ORDER BY seq LIMIT 1",
        (row.id, past.older_than_us),
    ).fetchone()
    newest = connection.execute("SELECT max(seq) FROM groups_ WHERE collection = ?", (row.id,)).fetchone()[0]
    old = young[0] - 1 if young is not None else newest or 0
    limit = min(max(past.passed, old), row.head)
    gone = connection.execute(f"DELETE FROM {row.table} WHERE hash IS NULL AND change <= ?", (limit,)).rowcount
    # Groups and ties outlive tombstones: a device that is added later may need them to divide its snapshot (R7).
    over = connection.execute(f"{_GROUP} ORDER BY seq DESC LIMIT 1 OFFSET ?", (row.id, past.groups_max)).fetchone()
    forgotten = min(max(old, over[0] if over else 0), row.head)
    connection.execute("DELETE FROM groups_ WHERE collection = ? AND seq <= ?", (row.id, forgotten))
    connection.execute("DELETE FROM ties WHERE collection = ? AND at <= ?", (row.id, forgotten))
    connection.execute(
        "UPDATE collections SET horizon = max(horizon, ?), version = version + 1 WHERE id = ?", (limit, row.id)
    )
    return gone
