"""The sync store's ways out: changes since a position, the newest groups, and forgetting (R3, R5, R7, R14)."""

from __future__ import annotations

import sqlite3
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import NamedTuple

from syncd.core.model import Proof, Tie
from syncd.core.ports import ChunkRequest, Group, StoredChunk, StoredRow
from syncd.core.selection import ALL
from syncd.store.store_classes import ClassRow, find
from syncd.store.store_collections import CollectionRow, TypeSet, get

_GROUP = "SELECT seq, first, loose, time_us, objects FROM groups_ WHERE collection = ?"

# Since when a device that stands at ? or later may hold a member of a class; as ``stays.since``.
_SINCE = """CASE WHEN member.stays IS NULL THEN member.born ELSE ifnull(
    (SELECT min(json_extract(value, '$[0]')) FROM json_each(member.stays) WHERE json_extract(value, '$[1]') > ?),
    member.born) END"""

_PASSED_OVER_MAX = 16  # groups in sequence; looking for one costs about as much as reading these
_PASSED_OVER_BY_CLASS_MAX = 1  # the same where most groups have nothing to do with what is read


class Most(NamedTuple):
    """Bounds of one read."""

    rows: int
    bytes: int
    ties: int


_change_of = itemgetter(0)
TypesOf = Callable[[sqlite3.Connection, CollectionRow], TypeSet]


def read(connection: sqlite3.Connection, request: ChunkRequest, types_of: TypesOf, most: Most) -> StoredChunk:
    """See ``core.ports.SyncStore``. One read transaction, so all of it is of one state; rows above the head, which
    are part of no group yet, are never read."""
    row = get(connection, request.collection)
    held, horizon = Proof(row.head, row.digest, row.objects), row.horizon
    if request.selection == ALL:
        end = _end(connection, row, request.cursor)
        found, passed_over_max = _all(connection, row, (request.cursor, end, most.rows + 1)), _PASSED_OVER_MAX
    else:
        one = find(connection, row, request.selection)
        if one is None or not one.ready or one.broken:  # no use to any device
            return StoredChunk((), request.cursor, (), None, (), row.version, row.last + 1)
        held, horizon = Proof(row.head, one.digest, one.objects), one.horizon
        choice = types_of(connection, row).choice(one.canonical)
        end = _end(connection, row, request.cursor, one)
        base = max(request.base, request.floor)
        found = _of_class(connection, row, one, (request.cursor, end, most.rows + 1), base)
        if choice.projects:
            found = map(choice.row, found)
        passed_over_max = _PASSED_OVER_BY_CLASS_MAX
    rows, last = _bounded(found, end, most)
    ties, last = _ties(connection, row, request.cursor, last, most.ties)
    while rows and rows[-1].change > last:
        rows.pop()
    proof = held if last == row.head == row.last else None
    groups = _groups_of(connection, row, rows, passed_over_max)
    return StoredChunk(rows, last, groups, proof, ties, row.version, horizon)


def _end(connection: sqlite3.Connection, row: CollectionRow, cursor: int, one: ClassRow | None = None) -> int:
    """Up to where rows stand for good: what the waiting rows replaced stands below the head again if they are taken
    back (R13), and whoever had read past it would never get it. ``one``: as devices of this class see it."""
    if row.last == row.head or row.loose:  # a comparison is not taken back
        return row.head
    query = f"SELECT min(change) FROM {row.versions} WHERE until > ?"
    replaced: list[int | None] = [connection.execute(query, (row.head,)).fetchone()[0]]
    if one is not None:
        query = "SELECT min(change) FROM replaced_members WHERE class = ?"
        replaced.append(connection.execute(query, (one.id,)).fetchone()[0])
    return max(cursor, min([row.head, *(change - 1 for change in replaced if change is not None)]))


def _all(connection: sqlite3.Connection, row: CollectionRow, between: tuple[int, int, int]) -> Iterator[StoredRow]:
    """``between``: a cursor, where to end, and at most how many."""
    found = connection.execute(
        f"SELECT change, born, type, key, fields, fault FROM {row.table} WHERE change > ? AND change <= ?"
        " ORDER BY change LIMIT ?",
        between,
    )
    return map(StoredRow._make, found)


def _of_class(
    connection: sqlite3.Connection, row: CollectionRow, one: ClassRow, between: tuple[int, int, int], base: int
) -> Iterator[StoredRow]:
    """Rows in the order of the class, with all their fields. ``between``: see ``_all``. ``base``: where the device
    stands at least; what it may hold of earlier stays counts from there (see ``stays``)."""
    born = _SINCE if one.again else "member.born"
    found = connection.execute(
        f"SELECT member.change, {born}, ifnull(member.type, held.type), ifnull(member.key, held.key), held.fields,"
        f" ifnull(held.fault, '') FROM {one.table} AS member LEFT JOIN {row.table} AS held"
        " ON member.type IS NULL AND held.change = member.change"
        " WHERE member.change > ? AND member.change <= ? ORDER BY member.change LIMIT ?",
        (base, *between) if one.again else between,
    )
    return map(StoredRow._make, found)


def _bounded(found: Iterator[StoredRow], end: int, most: Most) -> tuple[list[StoredRow], int]:
    """Rows, at least one if there is one, and the cursor after them."""
    rows: list[StoredRow] = []
    size, rows_max, bytes_max = 0, most.rows, most.bytes
    for one in found:
        size += len(one[3]) + len(one[4] or b"")
        if rows and (size > bytes_max or len(rows) == rows_max):
            return rows, rows[-1].change
        rows.append(one)
    return rows, end


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


def _groups_of(
    connection: sqlite3.Connection, row: CollectionRow, rows: Sequence[StoredRow], passed_over_max: int
) -> tuple[Group, ...]:
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
                at = bisect_right(rows, seq, lo=at, key=_change_of)
                passed_over = 0
            elif (passed_over := passed_over + 1) > passed_over_max:
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
    """What may be forgotten: tombstones up to ``passed`` and from before ``older_than_us``, groups from before
    ``groups_us`` and beyond ``groups_max``."""

    passed: int
    older_than_us: int
    groups_us: int
    groups_max: int


def _newest_before(connection: sqlite3.Connection, collection: int, older_than_us: int) -> int:
    """The newest group of those before which all are older; 0 if there is none."""
    young = connection.execute(
        "SELECT first FROM groups_ WHERE collection = ? AND time_us >= ? ORDER BY seq LIMIT 1",
        (collection, older_than_us),
    ).fetchone()
    if young is not None:
        return int(young[0]) - 1
    newest = connection.execute("SELECT max(seq) FROM groups_ WHERE collection = ?", (collection,)).fetchone()[0]
    return newest or 0


def passed_by_class(connection: sqlite3.Connection, row: CollectionRow, passed: int, older_than_us: int) -> int:
    """Up to where tombstones of a class may be forgotten."""
    return min(max(passed, _newest_before(connection, row.id, older_than_us)), row.head)


def prune(connection: sqlite3.Connection, name: str, past: Past) -> int:
    """See ``core.ports.SyncStore``. Runs in the writer's transaction."""
    row = get(connection, name)
    old = _newest_before(connection, row.id, past.older_than_us)
    old_groups = old if past.groups_us == past.older_than_us else _newest_before(connection, row.id, past.groups_us)
    limit = min(max(past.passed, old), row.head)
    connection.execute(  # the history tells of them still
        f"INSERT INTO {row.versions} (until, change, type, author, key, fields) SELECT -change, change, type, author,"
        f" key, NULL FROM {row.table} WHERE hash IS NULL AND change <= ? AND change > ?",
        (limit, row.history),
    )
    gone = connection.execute(f"DELETE FROM {row.table} WHERE hash IS NULL AND change <= ?", (limit,)).rowcount
    # Groups and ties outlive tombstones: a device that is added later may need them to divide its snapshot (R7).
    over = connection.execute(f"{_GROUP} ORDER BY seq DESC LIMIT 1 OFFSET ?", (row.id, past.groups_max)).fetchone()
    forgotten = min(max(old_groups, over[0] if over else 0), row.head)
    connection.execute("DELETE FROM groups_ WHERE collection = ? AND seq <= ?", (row.id, forgotten))
    connection.execute("DELETE FROM ties WHERE collection = ? AND at <= ?", (row.id, forgotten))
    connection.execute(
        "UPDATE collections SET horizon = max(horizon, ?), version = version + 1 WHERE id = ?", (limit, row.id)
    )
    return gone
