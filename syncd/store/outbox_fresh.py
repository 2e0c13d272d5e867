"""Many edits at once, of objects of which the outbox keeps nothing: a statement for each costs more than the rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

from syncd.core.digest import type_prefix
from syncd.core.edits import Edit
from syncd.store.outbox_plain import Sums
from syncd.store.outbox_rows import Box, lookup

Names = Mapping[int, str]  # of types, by id


def known(connection: sqlite3.Connection, box: Box, edits: Sequence[Edit], names: Names) -> set[tuple[str, bytes]]:
    """Those of the objects of which something is kept."""
    keys: dict[str, list[bytes]] = {}
    for edit in edits:
        keys.setdefault(names[edit.type], []).append(edit.key)
    query = "SELECT key FROM objects WHERE box = ? AND type = ? AND key IN ({})"
    return {(type_, key) for type_, rows in lookup(connection, query, box.id, keys) for (key,) in rows}


def insert(connection: sqlite3.Connection, box: Box, group: int, edits: Sequence[Edit], names: Names) -> Sums:
    """Rows of different objects and of their edits in the group, which stand; in their order. Returns their sums."""
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'objects'").fetchone()
    first = (row[0] if row else 0) + 1
    connection.executemany(
        "INSERT INTO objects (id, box, type, key, type_id, stands, base) VALUES (?, ?, ?, ?, ?, 1, ?)",
        [(at, box.id, names[one.type], one.key, one.type, one.base) for at, one in enumerate(edits, first)],
    )
    connection.executemany(
        "INSERT INTO edits (grp, object, type_id, stands, fault, base, fields) VALUES (?, ?, ?, 1, ?, ?, ?)",
        [(group, at, one.type, one.fault, one.base, one.fields) for at, one in enumerate(edits, first)],
    )
    prefixes = {type_: type_prefix(name) for type_, name in names.items()}
    sums = Sums()
    for edit in edits:
        sums.count(edit, prefixes[edit.type])
    box.stood(-sums.gain, -sums.more)
    return sums
