"""How many objects leave a device when its selection becomes another one (R8, R13). Runs in the reader's thread."""

from __future__ import annotations

import sqlite3

from syncd.core.loss import Leaving
from syncd.core.selection import ALL, Selection
from syncd.store.class_choice import Choice, values_of
from syncd.store.store_classes import find
from syncd.store.store_collections import CollectionRow, get
from syncd.store.store_read import TypesOf

NONE_LEAVE = Leaving(0, 0, 0)


def leaving(
    connection: sqlite3.Connection,
    name: str,
    shift: tuple[Selection, Selection],
    page: tuple[int, int],
    types_of: TypesOf,
) -> Leaving:
    """See ``core.loss``. ``page``: the cursor, and how many objects are looked at. Where the class of the former
    selection is there, its members alone are read."""
    row = get(connection, name)
    types = types_of(connection, row)
    before, after = (types.choice(one.canonical) for one in shift)
    if after.broken or not row.imported:
        return NONE_LEAVE
    held = find(connection, row, shift[0]) if shift[0] != ALL else None
    of_class = f"members_{held.id:d}" if held is not None and held.ready and not held.broken else ""
    found = connection.execute(_read(row, of_class), page).fetchall()
    objects = of = 0
    for _, type_, key, fields, fault in found:
        if of_class or before.broken or _takes(before, type_, key, fields, fault):
            of += 1
            objects += not _takes(after, type_, key, fields, fault)
    return Leaving(objects, of, found[-1][0] if len(found) == page[1] else 0)


def _read(row: CollectionRow, of_class: str) -> str:
    columns = "one.change, one.type, one.key, one.fields, one.fault"
    if not of_class:
        return f"SELECT {columns} FROM {row.table} AS one WHERE change > ? AND hash IS NOT NULL ORDER BY change LIMIT ?"
    return (
        f"SELECT {columns} FROM {of_class} AS member JOIN {row.table} AS one ON one.change = member.change"
        " WHERE member.change > ? AND member.type IS NULL ORDER BY member.change LIMIT ?"
    )


def _takes(choice: Choice, type_: int, key: bytes, fields: bytes, fault: str) -> bool:
    answer = choice.answers.get(type_, False)
    return answer if answer is not None else choice.takes(type_, values_of(key, fields, fault), False)
