"""Rows of ``outbox.db`` that all parts of the outbox share: the row of a collection, sealing, and how groups go.

A function of these runs in a transaction of the writer; ``Box`` is read at its beginning and saved at its end.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from syncd.core.digest import add, object_hash, type_prefix
from syncd.core.edits import OutboxState, Overlay
from syncd.core.errors import InvariantBroken

GONE = "stands = 0 AND (ruling IN ('accepted', 'merged') OR hidden = 1)"
NO_END = 2**63 - 1
_GROUP_BITS = 32  # of a plan's id
GROUPS_MAX = (1 << _GROUP_BITS) - 1
_KEYS_TOGETHER = 500  # objects looked up by one statement

Row = tuple[Any, ...]


def new_identity() -> str:
    return secrets.token_hex(8)


@dataclass(slots=True)
class Box:
    """The row of a collection."""

    id: int
    outbox: str
    mark: int
    high: int
    position: int
    plans: int
    digest: bytes
    objects: int

    def stood(self, change: int, objects: int) -> None:
        """What stands is another: the sums gain so much."""
        self.digest, self.objects = add(self.digest, change), self.objects + objects

    def overlay(self) -> Overlay:
        return Overlay(self.mark, int.from_bytes(self.digest, "big"), self.objects)


def next_plan(plans: int, group: int = 0) -> int:
    """The id of a plan after others: a greater number, and the group that it names (``outbox_echo``)."""
    return ((plans >> _GROUP_BITS) + 1) << _GROUP_BITS | group


def find_box(connection: sqlite3.Connection, collection: str) -> Box | None:
    query = "SELECT id, outbox, mark, high, position, plans, digest, objects FROM outboxes WHERE collection = ?"
    row = connection.execute(query, (collection,)).fetchone()
    return None if row is None else Box(*row)


def box_of(connection: sqlite3.Connection, collection: str) -> Box:
    """The row, made where there is none."""
    if (box := find_box(connection, collection)) is not None:
        return box
    connection.execute("INSERT INTO outboxes (collection, outbox) VALUES (?, ?)", (collection, new_identity()))
    made = find_box(connection, collection)
    assert made is not None
    return made


def save(connection: sqlite3.Connection, box: Box) -> None:
    connection.execute(
        "UPDATE outboxes SET outbox = ?, mark = ?, high = ?, position = ?, plans = ?, digest = ?, objects = ?"
        " WHERE id = ?",
        (box.outbox, box.mark, box.high, box.position, box.plans, box.digest, box.objects, box.id),
    )


def state_of(connection: sqlite3.Connection, box: Box) -> OutboxState:
    last = last_number(connection, box)
    first, undo, pending, refused = connection.execute(
        "SELECT (SELECT min(number) FROM groups WHERE box = :box AND ruling = ''),"
        " EXISTS (SELECT 1 FROM groups WHERE box = :box AND stands = 1 AND ruling <> '' AND seq <= :position),"
        " pending, refused FROM outboxes WHERE id = :box",
        {"box": box.id, "position": box.position},
    ).fetchone()
    return OutboxState(
        outbox=box.outbox,
        mark=box.mark,
        first=last + 1 if first is None else first,
        last=last,
        pending=pending,
        refused=refused,
        undo=bool(undo),
        sealed=box.high,
    )


def last_number(connection: sqlite3.Connection, box: Box) -> int:
    (number,) = connection.execute("SELECT max(number) FROM groups WHERE box = ?", (box.id,)).fetchone()
    return max(box.high, number or 0)


def type_name(connection: sqlite3.Connection, box: Box, type_id: int) -> str:
    row = connection.execute("SELECT name FROM types WHERE box = ? AND id = ?", (box.id, type_id)).fetchone()
    if row is None:
        raise InvariantBroken(f"an edit of type {type_id}, which was not described")
    return str(row[0])


def hash_of(type_: str, key: bytes, fields: bytes | None) -> int:
    return 0 if fields is None else object_hash(type_prefix(type_), key, fields)


def lookup(
    connection: sqlite3.Connection, query: str, box: int, values: Mapping[str, Iterable[bytes]]
) -> Iterator[tuple[str, list[Row]]]:
    """Rows of the query for many objects, with the name of their type; ``query`` has the keys at ``{}``."""
    for type_, keys in values.items():
        of_type = list(keys)
        for at in range(0, len(of_type), _KEYS_TOGETHER):
            asked = of_type[at : at + _KEYS_TOGETHER]
            marks = ", ".join("?" * len(asked))
            yield type_, connection.execute(query.format(marks), (box, type_, *asked)).fetchall()


def seal(connection: sqlite3.Connection, box: Box, number: int, offered: bool = True) -> None:
    """From now on groups up to the number are as they are; what was ``offered`` may be left out."""
    only = "" if offered else " AND NOT offered"
    (highest,) = connection.execute(
        f"SELECT max(number) FROM groups WHERE box = ? AND sealed = 0 AND number <= ?{only}", (box.id, number)
    ).fetchone()
    if highest is not None:
        box.high = max(box.high, highest)
        connection.execute(
            f"UPDATE groups SET sealed = 1 WHERE box = ? AND sealed = 0 AND number <= ?{only}", (box.id, highest)
        )


def hide_old(connection: sqlite3.Connection, box: Box, oldest_us: int) -> None:
    """Groups refused before then need no keeping."""
    connection.execute(
        "UPDATE groups SET hidden = 1 WHERE box = ? AND ruling = 'refused' AND hidden = 0 AND settled_us < ?",
        (box.id, oldest_us),
    )


def let_go(connection: sqlite3.Connection, box: Box) -> None:
    """Groups that need no keeping go: accepted ones that the target holds, refused ones that are put back."""
    query = f"SELECT 1 FROM groups WHERE box = ? AND {GONE} LIMIT 1"
    if connection.execute(query, (box.id,)).fetchone():
        drop(connection, f"SELECT id FROM groups WHERE box = ? AND {GONE}", (box.id,))


def drop(connection: sqlite3.Connection, groups: str, values: tuple[object, ...]) -> None:
    """Removes the groups of the query with their edits, and objects of which no edit is left."""
    connection.execute("CREATE TEMP TABLE IF NOT EXISTS gone (grp INTEGER PRIMARY KEY)")
    connection.execute("CREATE TEMP TABLE IF NOT EXISTS freed (object INTEGER PRIMARY KEY)")
    connection.execute("DELETE FROM temp.gone")
    connection.execute("DELETE FROM temp.freed")
    connection.execute(f"INSERT INTO temp.gone {groups}", values)
    if not connection.execute("SELECT 1 FROM groups WHERE id NOT IN (SELECT grp FROM gone) LIMIT 1").fetchone():
        for table in ("groups", "edits", "objects"):  # all, which SQLite removes without a look at the rows
            connection.execute(f"DELETE FROM {table}")
        return
    connection.execute("INSERT OR IGNORE INTO temp.freed SELECT object FROM edits WHERE grp IN (SELECT grp FROM gone)")
    connection.execute("DELETE FROM edits WHERE grp IN (SELECT grp FROM gone)")
    connection.execute("DELETE FROM groups WHERE id IN (SELECT grp FROM gone)")
    connection.execute(
        "DELETE FROM objects WHERE id IN (SELECT object FROM freed)"
        " AND NOT EXISTS (SELECT 1 FROM edits WHERE object = objects.id)"
    )


def free(connection: sqlite3.Connection, object_: int) -> None:
    """Removes the object if no edit of it is left; it stands no longer if none of those that are left does."""
    connection.execute(
        "DELETE FROM objects WHERE id = ? AND NOT EXISTS (SELECT 1 FROM edits WHERE object = objects.id)", (object_,)
    )
    connection.execute(
        "UPDATE objects SET stands = 0, base = NULL WHERE id = ? AND stands = 1"
        " AND NOT EXISTS (SELECT 1 FROM edits WHERE object = objects.id AND stands = 1)",
        (object_,),
    )
