"""How many objects leave a device when its selection becomes another one (R8, R13). Runs in the reader's thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from syncd.core.loss import Leaving
from syncd.core.selection import ALL, Selection
from syncd.store.class_choice import Choice, ObjectRow, portions, values_of
from syncd.store.store_classes import ClassRow, find
from syncd.store.store_collections import CollectionRow, get
from syncd.store.store_read import TypesOf

NONE_LEAVE = Leaving(0, 0, 0)
_LOOK_UP_COSTS = 3  # times as much as reading the next object


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
    former = find(connection, row, shift[0]) if shift[0] != ALL else None
    if former is not None and (not former.ready or former.broken):
        former = None
    objects = of = count = last = 0
    for rows in portions(connection.execute(_read(row, former), page)):
        count, last = count + len(rows), rows[-1][0]
        together = after.takes_each(rows)
        if together is not None and last <= row.head:
            after.answered.note([one[0] for one in rows], together)
        stays = _one_by_one(after, rows) if together is None else together
        if former is not None:
            was = [bool(one[-1]) for one in rows]
        else:
            was = [True] * len(rows) if before.broken else _taken(before, rows)
        of += sum(was)
        objects += sum(one and not stay for one, stay in zip(was, stays, strict=True))
    return Leaving(objects, of, last if count == page[1] else 0)


def _read(row: CollectionRow, former: ClassRow | None) -> str:
    """Objects, and whether each is in the former class. The members alone where they are few: each is looked up."""
    columns = "one.change, one.type, one.key, one.fields, one.fault"
    if former is None:
        return f"SELECT {columns} FROM {row.table} AS one WHERE change > ? AND hash IS NOT NULL ORDER BY change LIMIT ?"
    if former.objects * _LOOK_UP_COSTS < row.objects:
        return (
            f"SELECT {columns}, 1 FROM {former.table} AS member JOIN {row.table} AS one ON one.change = member.change"
            " WHERE member.change > ? AND member.type IS NULL ORDER BY member.change LIMIT ?"
        )
    return (
        f"SELECT {columns}, member.change IS NOT NULL FROM {row.table} AS one LEFT JOIN {former.table} AS member"
        " ON member.change = one.change AND member.type IS NULL"
        " WHERE one.change > ? AND one.hash IS NOT NULL ORDER BY one.change LIMIT ?"
    )


def _taken(choice: Choice, rows: Sequence[ObjectRow]) -> list[bool]:
    together = choice.takes_each(rows)
    return _one_by_one(choice, rows) if together is None else together


def _one_by_one(choice: Choice, rows: Sequence[ObjectRow]) -> list[bool]:
    answers = (choice.answers.get(row[1], False) for row in rows)
    return [
        answer if answer is not None else choice.takes(row[1], values_of(*row[2:5]), False)
        for row, answer in zip(rows, answers, strict=True)
    ]
