"""What a batch of observed objects changes in a collection of the sync store (R1, R14): each is compared with its row.

Runs in the writer's thread, within the transaction of ``store_keep``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from syncd.core import digest
from syncd.core.model import Observed
from syncd.store.history import numbers_of_authors
from syncd.store.listed import insert_rows
from syncd.store.store_collections import CollectionRow, TypeSet

# change, type, key, born, hash, fault, author, fields
New = tuple[int, int, bytes, int, bytes, str, int, bytes]
Stored = tuple[int, int, bytes, int, bytes | None, str, int, bytes | None]  # the same, of a tombstone too
Named = tuple[int, bytes]  # type, key
Held = tuple[int, int, bytes | None, str]  # change, born, hash, fault
# change, born, hash, fault, author, fields, change before
Moved = tuple[int, int, bytes | None, str, int, bytes | None, int]

_TOGETHER = 256  # objects that one statement looks up


@dataclass(slots=True)
class Changes:
    """What a batch changes. ``weight``: what it adds to the checksum. ``equal``: change numbers of rows found equal.
    ``named``: type and key of each of ``moved``, ``before``: its hash as it was. ``ties``: that were made, as change
    and older group. ``gone``: how many deletions count for the guard: those that no person made on purpose."""

    last: int
    new: list[New] = field(default_factory=list)
    moved: list[Moved] = field(default_factory=list)
    named: list[Named] = field(default_factory=list)
    before: list[bytes | None] = field(default_factory=list)
    equal: list[int] = field(default_factory=list)
    ties: list[tuple[int, int]] = field(default_factory=list)
    weight: int = 0
    objects: int = 0
    gone: int = 0


def first_import(
    connection: sqlite3.Connection, row: CollectionRow, types: TypeSet, observed: Sequence[Observed]
) -> Changes | None:
    """Writes objects of which none is held yet, without looking each up. None: one is, nothing was written."""
    changes = Changes(row.last)
    new, prefixes, hash_of = changes.new, types.prefixes, digest.object_hash_bytes
    change, authors = row.last, numbers_of_authors(connection, observed)
    for type_, key, fields, fault, author in observed:
        if fields is None:
            return None
        change += 1
        hashed = hash_of(prefixes[type_], key, fields)
        new.append((change, type_, key, change, hashed, fault, authors[author], fields))
    connection.execute("SAVEPOINT first_import")
    try:
        insert(connection, row, new)
    except sqlite3.IntegrityError:
        connection.execute("ROLLBACK TO first_import")
        connection.execute("RELEASE first_import")
        return None
    connection.execute("RELEASE first_import")
    changes.last, changes.objects = change, len(new)
    changes.weight = sum(int.from_bytes(one[4], "big") for one in new)
    return changes


def compare(
    connection: sqlite3.Connection, row: CollectionRow, types: TypeSet, observed: Sequence[Observed]
) -> Changes:
    """Looks each object up; what is equal changes nothing. Of one that comes twice the later counts."""
    changes, authors = Changes(row.last), numbers_of_authors(connection, observed)
    prefixes, hash_of, number = types.prefixes, digest.object_hash_bytes, int.from_bytes
    latest = {(one.type, one.key): one for one in observed}
    there = _held(connection, row, latest)
    for (type_, key), one in latest.items():
        _, _, fields, fault, author = one
        held = there.get((type_, key))
        hashed = None if fields is None else hash_of(prefixes[type_], key, fields)
        if held is None:
            if fields is None or hashed is None:
                continue
            changes.last += 1
            changes.new.append((changes.last, type_, key, changes.last, hashed, fault, authors[author], fields))
        else:
            change, born, before, fault_before = held
            if before == hashed and (hashed is None or fault_before == fault):
                changes.equal.append(change)
                continue
            changes.last += 1
            if hashed is None:
                changes.gone += " " not in author  # a deed of a person is named so, see ``deeds``
            elif before is None and change > row.head:
                changes.gone -= 1
            if before is not None:
                changes.weight -= number(before, "big")
                changes.objects -= 1
            # born stays when a deleted object comes back: a device may hold it from before
            changes.named.append((type_, key))
            changes.before.append(before)
            changes.moved.append((changes.last, born, hashed, fault, authors[author], fields, change))
        if hashed is not None:
            changes.weight += number(hashed, "big")
            changes.objects += 1
    return changes


def _held(connection: sqlite3.Connection, row: CollectionRow, objects: Iterable[Named]) -> dict[Named, Held]:
    """What is held of the objects. Many are looked up together: a statement for each costs more than its row."""
    keys: dict[int, list[bytes]] = {}
    for type_, key in objects:
        keys.setdefault(type_, []).append(key)
    held: dict[Named, Held] = {}
    for type_, of_type in keys.items():
        for at in range(0, len(of_type), _TOGETHER):
            asked = of_type[at : at + _TOGETHER]
            size = 1 << (len(asked) - 1).bit_length()  # few sizes: each is one prepared statement
            asked += [asked[-1]] * (size - len(asked))
            marks = ", ".join("?" * size)
            query = f"SELECT key, change, born, hash, fault FROM {row.table} WHERE type = ? AND key IN ({marks})"
            for key, change, born, hashed, fault in connection.execute(query, (type_, *asked)):
                held[type_, key] = change, born, hashed, fault
    return held


def insert(connection: sqlite3.Connection, row: CollectionRow, rows: Sequence[Stored]) -> None:
    insert_rows(connection, f"INSERT INTO {row.table} (change, type, key, born, hash, fault, author, fields)", rows)
