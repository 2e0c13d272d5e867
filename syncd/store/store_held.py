"""The held group of a collection in the sync store (R13): what joins it, what is let through, and what it gives back.

Plain functions that run in a database thread; those that ``store_keep`` calls in its transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from syncd.core import digest
from syncd.core.edits import Edit
from syncd.core.guard import Guard
from syncd.core.holding import Held, HeldObject
from syncd.core.model import Observed
from syncd.store.store_collections import CollectionRow, TypeSet, get

_QUARTER_US = 900 * 1_000_000
_GONE = "SELECT gone FROM held_objects WHERE collection = ? AND type = ? AND key = ?"

# change, type, key, born, hash, author, fields
Former = tuple[int, int, bytes, int, bytes | None, int, bytes | None]


class Back(NamedTuple):
    """What was kept above the head and is taken back: the objects as they were last observed, the rows that stand
    again, and what that takes from checksum and count."""

    observed: list[Observed]
    former: list[Former]
    weight: int
    objects: int
    history_bytes: int


def state(connection: sqlite3.Connection, row: CollectionRow) -> Held | None:
    if not row.held:
        return None
    columns = "SELECT objects, gone, of_, since_us, released, open_ FROM held WHERE collection = ?"
    objects, gone, of, since_us, released, open_ = connection.execute(columns, (row.id,)).fetchone()
    return Held(row.held, objects, gone, of, since_us, bool(released), bool(open_))


def is_open(connection: sqlite3.Connection, row: CollectionRow) -> bool:
    """Whether the read that is held goes on."""
    return bool(connection.execute("SELECT open_ FROM held WHERE collection = ?", (row.id,)).fetchone()[0])


def among(connection: sqlite3.Connection, row: CollectionRow, observed: Iterable[Observed]) -> set[tuple[int, bytes]]:
    """Those that are of the held group."""
    find = "SELECT 1 FROM held_objects WHERE collection = ? AND type = ? AND key = ?"
    look_up = connection.cursor()
    return {
        (one.type, one.key)
        for one in observed
        if look_up.execute(find, (row.id, one.type, one.key)).fetchone() is not None
    }


def gone_among(connection: sqlite3.Connection, row: CollectionRow, observed: Iterable[Observed]) -> int:
    """How many of them are deleted, and were so when they joined the held group."""
    find = f"""SELECT 1 FROM held_objects AS held JOIN {row.table} AS one ON one.type = held.type AND one.key = held.key
        WHERE held.collection = ? AND held.type = ? AND held.key = ? AND gone AND one.hash IS NOT NULL"""
    look_up = connection.cursor()
    named = {(one.type, one.key) for one in observed if one.fields is None}
    return sum(look_up.execute(find, (row.id, *at)).fetchone() is not None for at in named)


# ---------------------------------------------------------------- what joins


def join(
    connection: sqlite3.Connection, row: CollectionRow, observed: Sequence[Observed], since_us: int
) -> CollectionRow:
    """These objects, as they were observed, are of the held group, which is made where there is none."""
    goes_on = bool(row.held) and is_open(connection, row)
    if not row.held:
        connection.execute("INSERT INTO held VALUES (?, 0, 0, ?, ?, 0, 0)", (row.id, row.objects, since_us))
    added, gone, grown = 0, 0, False
    there = f"SELECT 1 FROM {row.table} WHERE type = ? AND key = ? AND hash IS NOT NULL"
    look_up = connection.cursor()
    for one in {(one.type, one.key): one for one in observed}.values():
        at = (one.type, one.key)
        lost = int(one.fields is None and look_up.execute(there, at).fetchone() is not None)
        before = look_up.execute(_GONE, (row.id, *at)).fetchone()
        added += before is None
        gone += lost - (before[0] if before else 0)
        grown = grown or bool(lost and not (before and before[0]))
        look_up.execute("INSERT OR REPLACE INTO held_objects VALUES (?, ?, ?, ?)", (row.id, *at, lost))
    update = (
        "UPDATE held SET objects = objects + ?, gone = gone + ?, released = released AND NOT ? WHERE collection = ?"
    )
    connection.execute(update, (added, gone, grown, row.id))
    if (grown and not goes_on) or not row.held:
        row = row._replace(held=row.held_last + 1, held_last=row.held_last + 1)
    return row


def join_whole(
    connection: sqlite3.Connection,
    row: CollectionRow,
    back: Sequence[Observed],
    observed: Sequence[Observed],
    now_us: int,
) -> CollectionRow:
    """``back``: what was taken back, as it was observed before; ``observed``: at this moment. What of it is of the held
    group already was observed later, by a comparison."""
    seen: list[Observed] = []
    for one in back:
        was = connection.execute(_GONE, (row.id, one.type, one.key)).fetchone()
        seen.append(one if was is None else one._replace(fields=None if was[0] else b""))
    row = join(connection, row, [*seen, *observed], now_us)
    if back:
        connection.execute("UPDATE held SET of_ = max(of_, ?) WHERE collection = ?", (row.objects, row.id))
    return row


def close(connection: sqlite3.Connection, row: CollectionRow, open_: bool) -> None:
    """The read that was held is complete, or is not. A group of which nothing is gone any more is held no longer."""
    connection.execute(
        "UPDATE held SET open_ = ?, released = released OR (gone = 0 AND NOT ?) WHERE collection = ?",
        (open_, open_, row.id),
    )


def leave(connection: sqlite3.Connection, row: CollectionRow, observed: Sequence[Observed]) -> CollectionRow:
    """These objects are of the held group no more; after the last of them there is none."""
    if not row.held:
        return row
    remove, left, gone = "DELETE FROM held_objects WHERE collection = ? AND type = ? AND key = ? RETURNING gone", 0, 0
    for one in observed:
        for (was_gone,) in connection.execute(remove, (row.id, one.type, one.key)).fetchall():
            left, gone = left + 1, gone + was_gone
    connection.execute(
        "UPDATE held SET objects = objects - ?, gone = gone - ? WHERE collection = ?", (left, gone, row.id)
    )
    if connection.execute("SELECT 1 FROM held_objects WHERE collection = ? LIMIT 1", (row.id,)).fetchone():
        return row
    connection.execute("DELETE FROM held WHERE collection = ?", (row.id,))
    return row._replace(held=0)


def take_back(connection: sqlite3.Connection, row: CollectionRow, types: TypeSet) -> Back:
    """What was kept and not published: the store is as it was when it last published. Only where no comparison runs."""
    found = connection.execute(
        f"SELECT now.change, now.type, now.key, now.born, now.hash, old.change, old.author, old.fields"
        f" FROM {row.table} AS now LEFT JOIN {row.versions} AS old ON old.until = now.change"
        " WHERE now.change > ? ORDER BY now.change",
        (row.head,),
    ).fetchall()
    observed: list[Observed] = []
    former: list[Former] = []
    weight = objects = 0
    for _, type_, key, born, hash_, change, author, fields in found:
        observed.append(Observed(type_, key, None if hash_ is None else b""))
        before = None
        if change is not None:
            before = None if fields is None else digest.object_hash_bytes(types.prefixes[type_], key, fields)
            former.append((change, type_, key, born, before, author, fields))
        for hashed, sign in ((hash_, -1), (before, +1)):
            if hashed is not None:
                weight, objects = weight + sign * int.from_bytes(hashed, "big"), objects + sign
    size = f"SELECT ifnull(sum(length(key) + ifnull(length(fields), 0)), 0) FROM {row.versions} WHERE until > ?"
    size_bytes = connection.execute(size, (row.head,)).fetchone()[0]
    connection.execute(f"DELETE FROM {row.table} WHERE change > ?", (row.head,))
    connection.execute(f"DELETE FROM {row.versions} WHERE until > ?", (row.head,))
    connection.execute("DELETE FROM ties WHERE collection = ? AND at > ?", (row.id, row.head))
    connection.executemany(
        f"INSERT INTO {row.table} (change, type, key, born, hash, fault, author, fields)"
        " VALUES (?, ?, ?, ?, ?, CASE WHEN ?7 = x'' THEN 'it could not be read' ELSE '' END, ?6, ?7)",
        former,
    )
    return Back(observed, former, weight, objects, size_bytes)


# ---------------------------------------------------------------- what is let through


def spent(connection: sqlite3.Connection, row: CollectionRow, guard: Guard, now_us: int) -> int:
    """How many deletions were let through in the guard's window."""
    begin = (now_us - int(guard.window_s * 1e6)) // _QUARTER_US
    where = "FROM deletions WHERE collection = ? AND source = ? AND quarter >= ?"
    found = connection.execute(f"SELECT sum(objects) {where}", (row.id, row.source, begin)).fetchone()
    return int(found[0] or 0)


def let_through(
    connection: sqlite3.Connection, row: CollectionRow, guard: Guard | None, now_us: int, added: int
) -> None:
    """What is above the head is about to be published. ``added``: objects that came with it; each makes up for one that
    was deleted in the same quarter of an hour: what an application replaces all the time is no loss."""
    if row.held:
        close(connection, row, open_=False)
    if guard is None or not row.imported:
        return
    quarter = now_us // _QUARTER_US
    if row.gone > 0:
        begin = (now_us - int(guard.window_s * 1e6)) // _QUARTER_US
        connection.execute("DELETE FROM deletions WHERE collection = ? AND quarter < ?", (row.id, begin))
        connection.execute(
            "INSERT INTO deletions VALUES (?, ?, ?, ?)"
            " ON CONFLICT (collection, source, quarter) DO UPDATE SET objects = objects + excluded.objects",
            (row.id, row.source, quarter, row.gone),
        )
    if added > 0:
        connection.execute(
            "UPDATE deletions SET objects = max(objects - ?, 0) WHERE collection = ? AND source = ? AND quarter = ?",
            (added, row.id, row.source, quarter),
        )


# ---------------------------------------------------------------- what a person decides


def release(connection: sqlite3.Connection, name: str, number: int) -> bool:
    """What a person let through does not count: they have seen it, and what comes after it begins anew."""
    row = get(connection, name)
    if not number or row.held != number or is_open(connection, row):
        return False
    connection.execute("UPDATE held SET released = 1 WHERE collection = ?", (row.id,))
    connection.execute("DELETE FROM deletions WHERE collection = ?", (row.id,))
    return True


def objects(
    connection: sqlite3.Connection, name: str, limit: int, after: HeldObject | None = None
) -> Sequence[HeldObject]:
    row, (type_, key) = get(connection, name), (0, b"") if after is None else (after.type, after.key)
    found = connection.execute(
        "SELECT type, key, gone FROM held_objects WHERE collection = ? AND (type, key) > (?, ?)"
        " ORDER BY type, key LIMIT ?",
        (row.id, type_, key, limit),
    )
    return [HeldObject(type_, key, bool(gone)) for type_, key, gone in found]


def lost(connection: sqlite3.Connection, name: str, after: int, bytes_max: int) -> tuple[Sequence[Edit], int]:
    """See ``core.holding``."""
    row = get(connection, name)
    found = connection.execute(
        f"SELECT change, type, key, fields FROM {row.table} AS one WHERE change > ? AND hash IS NOT NULL AND EXISTS"
        " (SELECT 1 FROM held_objects AS held WHERE collection = ? AND held.type = one.type AND held.key = one.key"
        " AND gone) ORDER BY change",
        (after, row.id),
    )
    edits: list[Edit] = []
    size, last = 0, 0
    for change, type_, key, fields in found:
        size += len(key) + len(fields)
        if edits and size > bytes_max:
            break
        edits.append(Edit(type_, key, None, fields))
        last = change
    return edits, last
