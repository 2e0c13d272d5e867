"""Selection classes when what was kept and not published is taken back (R2, R8, R13): each is as it was before.

Runs in the writer's thread, within the transaction of ``store_keep``. While a group is read in parts, what its changes
replace in a class is remembered (``replaced_members``): a tombstone does not say where it was once its object is back.
A class may have been filled meanwhile past objects that stood above the head: they are met where they are again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from syncd.core import digest
from syncd.store.class_choice import Choice, values_of
from syncd.store.store_classes import ClassRow, classes_of, renew, save
from syncd.store.store_collections import CollectionRow, TypeSet
from syncd.store.store_held import Former


def forget(connection: sqlite3.Connection, row: CollectionRow) -> None:
    """What is above the head is about to be published: it is never taken back."""
    of_collection = "class IN (SELECT id FROM classes WHERE collection = ?)"
    connection.execute(f"DELETE FROM replaced_members WHERE {of_collection}", (row.id,))


def leave(connection: sqlite3.Connection, row: CollectionRow) -> list[ClassRow]:
    """All classes without what stands above the head; called before it is taken out of the collection."""
    return [one if one.broken else _left(connection, row, one) for one in classes_of(connection, row.id)]


def come_back(
    connection: sqlite3.Connection,
    row: CollectionRow,
    types: TypeSet,
    classes: Sequence[ClassRow],
    formers: Sequence[Former],
) -> list[ClassRow]:
    """The same with all that they had before. ``formers``: what stands in the collection again. A class that follows
    references is filled anew where anything was taken back."""
    after = []
    for left in classes:
        one = left
        choice = types.choice(left.canonical)
        if not left.broken and choice.follows and row.last > row.head:  # what its members reference is not remembered
            one = renew(connection, row, left, choice)
        elif not left.broken:
            one = _met(connection, _restored(connection, row, left), choice, formers)
            save(connection, one)
        after.append(one)
    forget(connection, row)
    return after


def _left(connection: sqlite3.Connection, row: CollectionRow, one: ClassRow) -> ClassRow:
    hashes = connection.execute(
        f"SELECT ifnull(member.hash, held.hash) FROM {one.table} AS member JOIN {row.table} AS held"
        " ON held.change = member.change WHERE member.change > ? AND member.type IS NULL",
        (row.head,),
    ).fetchall()
    connection.execute(f"DELETE FROM {one.table} WHERE change > ?", (row.head,))
    head, filled = (one.head, one.filled) if one.ready else (row.head, min(one.filled, row.head))
    return _counted(one._replace(last=min(one.last, head), filled=filled), hashes, -1)


def _restored(connection: sqlite3.Connection, row: CollectionRow, one: ClassRow) -> ClassRow:
    connection.execute(
        f"INSERT INTO {one.table} (change, born, hash, type, key, stays)"
        " SELECT change, born, hash, type, key, stays FROM replaced_members WHERE class = ?",
        (one.id,),
    )
    hashes = connection.execute(
        f"SELECT ifnull(before.hash, held.hash) FROM replaced_members AS before JOIN {row.table} AS held"
        " ON held.change = before.change WHERE before.class = ? AND before.type IS NULL",
        (one.id,),
    ).fetchall()
    return _counted(one, hashes, +1)


def _met(connection: sqlite3.Connection, one: ClassRow, choice: Choice, formers: Sequence[Former]) -> ClassRow:
    """With those that the filling has passed by: they stood above the head, and are below it again."""
    members, hashes = list[tuple[int, int, bytes | None]](), list[tuple[bytes]]()
    find = f"SELECT 1 FROM {one.table} WHERE change = ?"
    for change, type_, key, _, hashed, _, fields in formers:
        if fields is None or hashed is None or not (one.ready or change <= one.filled):
            continue
        if connection.execute(find, (change,)).fetchone():
            continue
        fault = "" if fields else "it could not be read"
        if not choice.takes(type_, values_of(key, fields, fault), False):
            continue
        own = choice.hash(type_, key, fields, fault)
        members.append((change, change, own))
        hashes.append((own or hashed,))
    connection.executemany(f"INSERT INTO {one.table} (change, born, hash) VALUES (?, ?, ?)", members)
    return _counted(one, hashes, +1)


def _counted(one: ClassRow, hashes: Sequence[tuple[bytes]], sign: int) -> ClassRow:
    weight = sign * sum(int.from_bytes(hashed, "big") for (hashed,) in hashes)
    return one._replace(digest=digest.add(one.digest, weight), objects=one.objects + sign * len(hashes))
