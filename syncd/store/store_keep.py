"""The sync store's one way in: a batch of observed objects becomes rows, and rows become a group (R1, R2, R7, R14).

Runs in the writer's thread, within its transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from syncd.core import digest
from syncd.core.model import Observed
from syncd.core.ports import Batch
from syncd.store.store_collections import CollectionRow, TypeSet, forget_seen, scan_runs
from syncd.store.ties import Owner, ties_of

# change, type, key, born, hash, fault, fields
_New = tuple[int, int, bytes, int, bytes, str, bytes]
# change, born, hash, fault, fields, change before
_Moved = tuple[int, int, bytes | None, str, bytes | None, int]


@dataclass(slots=True)
class _Changes:
    """What a batch changes. ``weight``: what it adds to the checksum. ``equal``: change numbers of rows found equal."""

    last: int
    new: list[_New] = field(default_factory=list)
    moved: list[_Moved] = field(default_factory=list)
    equal: list[int] = field(default_factory=list)
    weight: int = 0
    objects: int = 0


def keep(
    connection: sqlite3.Connection, row: CollectionRow, types: TypeSet, batch: Batch, now_us: int
) -> CollectionRow:
    """The collection after the batch."""
    scans = scan_runs(connection, row)
    changes = None
    if scans and not row.imported and not row.scan_start:
        changes = _first_import(connection, row, types, batch.observed)
    if changes is None:
        changes = _compare(connection, row, types, batch.observed)
        _write(connection, row, changes)
    if scans:
        marks = ((change,) for change in changes.equal if change <= row.scan_start)
        connection.executemany(f"INSERT OR IGNORE INTO {row.seen} VALUES (?)", marks)
    if changes.moved and not batch.loose and not row.loose:
        _tie(connection, row, changes.moved)
    after = row._replace(
        last=changes.last,
        version=row.version + 1,
        digest=digest.add(row.digest, changes.weight),
        objects=row.objects + changes.objects,
        mark=row.mark if batch.mark is None else batch.mark,
        loose=int(row.loose or (batch.loose and changes.last > row.last)),
    )
    if batch.end_scan:
        forget_seen(connection, row)
        after = after._replace(scanning=0, scanned=1)
    if batch.publish:
        after = _publish(connection, after, row.last == row.head, now_us)
    connection.execute(
        "UPDATE collections SET head = ?, last = ?, version = ?, digest = ?, objects = ?, mark = ?, loose = ?,"
        " scanning = ?, scanned = ?, imported = ? WHERE id = ?",
        (
            after.head,
            after.last,
            after.version,
            after.digest,
            after.objects,
            after.mark,
            after.loose,
            after.scanning,
            after.scanned,
            after.imported,
            after.id,
        ),
    )
    return after


def _first_import(
    connection: sqlite3.Connection, row: CollectionRow, types: TypeSet, observed: Sequence[Observed]
) -> _Changes | None:
    """Writes objects of which none is held yet, without looking each up. None: one is, nothing was written."""
    changes = _Changes(row.last)
    new, prefixes, hash_of = changes.new, types.prefixes, digest.object_hash_bytes
    change = row.last
    for type_, key, fields, fault in observed:
        if fields is None:
            return None
        change += 1
        new.append((change, type_, key, change, hash_of(prefixes[type_], key, fields), fault, fields))
    connection.execute("SAVEPOINT first_import")
    try:
        _insert(connection, row, new)
    except sqlite3.IntegrityError:
        connection.execute("ROLLBACK TO first_import")
        connection.execute("RELEASE first_import")
        return None
    connection.execute("RELEASE first_import")
    changes.last, changes.objects = change, len(new)
    changes.weight = sum(int.from_bytes(one[4], "big") for one in new)
    return changes


def _compare(
    connection: sqlite3.Connection, row: CollectionRow, types: TypeSet, observed: Sequence[Observed]
) -> _Changes:
    """Looks each object up; what is equal changes nothing. Of one that comes twice the later counts."""
    changes = _Changes(row.last)
    prefixes, hash_of, number = types.prefixes, digest.object_hash_bytes, int.from_bytes
    look_up = connection.cursor()
    find = f"SELECT change, born, hash, fault FROM {row.table} WHERE type = ? AND key = ?"
    for (type_, key), one in {(one.type, one.key): one for one in observed}.items():
        fields, fault = one.fields, one.fault
        held = look_up.execute(find, (type_, key)).fetchone()
        hashed = None if fields is None else hash_of(prefixes[type_], key, fields)
        if held is None:
            if fields is None or hashed is None:
                continue
            changes.last += 1
            changes.new.append((changes.last, type_, key, changes.last, hashed, fault, fields))
        else:
            change, born, before, fault_before = held
            if before == hashed and (hashed is None or fault_before == fault):
                changes.equal.append(change)
                continue
            changes.last += 1
            if before is not None:
                changes.weight -= number(before, "big")
                changes.objects -= 1
            # born stays when a deleted object comes back: a device may hold it from before
            changes.moved.append((changes.last, born, hashed, fault, fields, change))
        if hashed is not None:
            changes.weight += number(hashed, "big")
            changes.objects += 1
    return changes


def _insert(connection: sqlite3.Connection, row: CollectionRow, new: Iterable[_New]) -> None:
    connection.executemany(
        f"INSERT INTO {row.table} (change, type, key, born, hash, fault, fields) VALUES (?, ?, ?, ?, ?, ?, ?)", new
    )


def _write(connection: sqlite3.Connection, row: CollectionRow, changes: _Changes) -> None:
    connection.executemany(
        f"UPDATE {row.table} SET change = ?, born = ?, hash = ?, fault = ?, fields = ? WHERE change = ?", changes.moved
    )
    _insert(connection, row, changes.new)


def _tie(connection: sqlite3.Connection, row: CollectionRow, moved: Sequence[_Moved]) -> None:
    """Remembers which published groups share an object with the one that is being made."""
    tied: set[int] = set()
    if row.last > row.head:
        earlier = connection.execute("SELECT older FROM ties WHERE collection = ? AND at > ?", (row.id, row.head))
        tied = {older for (older,) in earlier}

    def owner_of(change: int) -> Owner | None:
        query = "SELECT seq, first, loose, objects FROM groups_ WHERE collection = ? AND seq >= ? ORDER BY seq LIMIT 1"
        found = connection.execute(query, (row.id, change)).fetchone()
        return None if found is None else Owner(*found)

    def ties_within(first: int, last: int) -> list[tuple[int, int]]:
        query = "SELECT at, older FROM ties WHERE collection = ? AND at >= ? AND at <= ? ORDER BY at"
        return connection.execute(query, (row.id, first, last)).fetchall()

    ties = ties_of([(one[-1], one[0]) for one in moved if one[-1] <= row.head], tied, owner_of, ties_within)
    delete = "DELETE FROM ties WHERE collection = ? AND at = ?"
    connection.executemany(delete, [(row.id, at) for at in ties.dropped])
    insert = "INSERT INTO ties (collection, at, older, newer) VALUES (?, ?, ?, 0)"
    connection.executemany(insert, [(row.id, at, older) for at, older in ties.made])


def _publish(connection: sqlite3.Connection, row: CollectionRow, at_once: bool, now_us: int) -> CollectionRow:
    """What waits becomes one group. ``at_once``: all of it came in one batch."""
    imported = int(row.imported or (row.scanned and not row.scanning))
    head, last = row.head, row.last
    if last == head:
        return row._replace(imported=imported)
    objects = last - head
    if not at_once:  # an object that changed twice left a gap
        count = f"SELECT count(*) FROM {row.table} WHERE change > ?"
        objects = connection.execute(count, (head,)).fetchone()[0]
    connection.execute(
        "INSERT INTO groups_ VALUES (?, ?, ?, ?, ?, ?)", (row.id, last, head + 1, row.loose, now_us, objects)
    )
    if row.loose:
        connection.execute("DELETE FROM ties WHERE collection = ? AND at > ?", (row.id, head))
    else:
        connection.execute("UPDATE ties SET newer = ? WHERE collection = ? AND at > ?", (last, row.id, head))
    return row._replace(head=last, loose=0, imported=imported)
