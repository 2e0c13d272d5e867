"""The history of the sync store: former versions, who made them, what undoes a group, and forgetting (R11, R15).

Former versions are written by ``store_keep``. Plain functions that run in a database thread.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, takewhile

from syncd.core.edits import JUST_NOW_US, Edit, Fact, Version
from syncd.core.model import Observed, group_id
from syncd.core.settings import Limits
from syncd.store.database import give_back
from syncd.store.inverse import StoredVersion, Undoing, forgotten, inverse_of, no_group
from syncd.store.store_collections import CollectionRow, get

_FORGOTTEN_TOGETHER = 10_000  # versions that are forgotten in one commit


def numbers_of_authors(connection: sqlite3.Connection, observed: Sequence[Observed]) -> Mapping[str, int]:
    """Numbers of all who changed the objects; whoever was not seen before gets one."""
    numbers = {"": 0}
    for name in {one.author for one in observed} - numbers.keys():
        connection.execute("INSERT OR IGNORE INTO authors (name) VALUES (?)", (name,))
        numbers[name] = connection.execute("SELECT id FROM authors WHERE name = ?", (name,)).fetchone()[0]
    return numbers


# ---------------------------------------------------------------- what is known


class _Groups:
    """The group of a change number. The group that was found last is tried first: neighbours ask one after another."""

    def __init__(self, connection: sqlite3.Connection, row: CollectionRow) -> None:
        self._connection = connection
        self._row = row
        self._first = self._seq = self._time_us = 0

    def of(self, change: int) -> tuple[int, int]:
        """Sequence number and time; the change itself and 0 where the group is forgotten."""
        if not self._first <= change <= self._seq:
            query = "SELECT first, seq, time_us FROM groups_ WHERE collection = ? AND seq >= ? ORDER BY seq LIMIT 1"
            found = self._connection.execute(query, (self._row.id, change)).fetchone()
            if found is None or change < found[0]:
                return change, 0
            self._first, self._seq, self._time_us = found
        return self._seq, self._time_us


def facts(connection: sqlite3.Connection, name: str, edits: Sequence[Edit], versions_max: int) -> Sequence[Fact]:
    """See ``core.ports.SyncStore``. ``versions_max``: of one object, the newest, are compared with an edit."""
    row = get(connection, name)
    groups, look_up = _Groups(connection, row), connection.cursor()
    held = f"SELECT change, hash, author FROM {row.table} WHERE type = ? AND key = ?"
    known: list[Fact] = []
    for edit in edits:
        found = look_up.execute(held, (edit.type, edit.key)).fetchone()
        change, hashed, time_us = 0, None, 0
        if found is not None:
            change, hashed, author = found
            time_us = JUST_NOW_US
            if change <= row.head:
                made = _made(change, author, _former(look_up, row, edit.type, edit.key, change))
                time_us = groups.of(made)[1]
        stale = False
        if edit.base is None and edit.fields is not None:
            former = islice(_former(look_up, row, edit.type, edit.key, change), versions_max)
            stale = any(fields == edit.fields for _, fields, _ in former)
        known.append(Fact(hashed, time_us, stale))
    return known


def history(connection: sqlite3.Connection, name: str, type_id: int, key: bytes, limit: int) -> Sequence[Version]:
    """See ``core.ports.SyncStore``. Versions whose fields had other names are left out."""
    row = get(connection, name)
    since = _since(connection, row).get(type_id, 0)
    held = f"SELECT change, fields, author FROM {row.table} WHERE type = ? AND key = ?"
    current: _Version | None = connection.execute(held, (type_id, key)).fetchone()
    found = [] if current is None or current[0] > row.head else [current]
    former = _former(connection.cursor(), row, type_id, key, current[0] if current else 0)
    found += islice(takewhile(lambda one: one[0] > since, former), limit)
    found = found[:limit]
    found = [one for at, one in enumerate(found) if one[2] >= 0 or at + 1 == len(found)]
    found = [(change, fields, author_of(author)) for change, fields, author in found]
    groups, names = _Groups(connection, row), {0: ""}
    for number in {author for *_, author in found} - names.keys():
        names[number] = connection.execute("SELECT name FROM authors WHERE id = ?", (number,)).fetchone()[0]
    return [Version(*groups.of(change), fields, names[author]) for change, fields, author in found]


_Version = tuple[int, bytes | None, int]  # change, fields, author


def touched(author: int) -> int:
    """The author of a row that is put in the order anew as it is: negative, so that it is no version of its own."""
    return min(author, -1 - author)


def author_of(author: int) -> int:
    return max(author, -1 - author)


def _made(change: int, author: int, former: Iterator[_Version]) -> int:
    """The change that made what stands."""
    for before, _, by in former if author < 0 else ():
        change, author = before, by
        if author >= 0:
            break
    return change


def _former(look_up: sqlite3.Cursor, row: CollectionRow, type_id: int, key: bytes, change: int) -> Iterator[_Version]:
    """Versions before the one that ``change`` made (0: the object is not there), newest first. Where a tombstone was
    forgotten nothing was replaced, and the version before is that tombstone."""
    columns = f"SELECT change, fields, author FROM {row.versions}"
    at = change or JUST_NOW_US
    while True:
        found = look_up.execute(f"{columns} WHERE until = ? AND type = ?", (at, type_id)).fetchone()
        if found is None:
            gone = f"{columns} WHERE until < 0 AND type = ? AND key = ? AND change < ? ORDER BY change DESC LIMIT 1"
            found = look_up.execute(gone, (type_id, key, at)).fetchone()
        if found is None:
            return
        yield found
        at = found[0]


def columns_since(connection: sqlite3.Connection, name: str) -> Mapping[int, int]:
    """See ``core.history_port``."""
    return _since(connection, get(connection, name))


def _since(connection: sqlite3.Connection, row: CollectionRow) -> dict[int, int]:
    """Types that the source has -> the change up to which their versions had other fields."""
    return dict(
        connection.execute(
            "SELECT id, since FROM types WHERE collection = ? AND place IS NOT NULL", (row.id,)
        ).fetchall()
    )


# ---------------------------------------------------------------- undo


def inverse(connection: sqlite3.Connection, name: str, seq: int, limits: Limits) -> tuple[Edit, ...]:
    """See ``core.ports.SyncStore``."""
    row, group = get(connection, name), group_id(name, seq)
    found = connection.execute("SELECT first FROM groups_ WHERE collection = ? AND seq = ?", (row.id, seq)).fetchone()
    if found is None:
        raise no_group(group)
    first = found[0]
    if first <= row.history:
        raise forgotten(group)
    undoing = Undoing(group, _since(connection, row), limits.edit_group_bytes_max)
    columns, span = "SELECT change, type, key, fields", (first, seq)
    before = connection.execute(f"{columns} FROM {row.versions} WHERE until >= ? AND until <= ?", span)
    made = connection.execute(
        f"{columns} FROM {row.table} WHERE change >= ? AND change <= ?"
        f" UNION ALL {columns} FROM {row.versions} WHERE change >= ? AND change <= ?",
        (*span, *span),
    )
    return inverse_of(undoing, map(StoredVersion._make, before), map(StoredVersion._make, made))


# ---------------------------------------------------------------- forgetting


def forget(connection: sqlite3.Connection, name: str, older_than_us: int, bytes_max: int) -> tuple[int, bool]:
    """Forgets some versions, the oldest first; how many, and whether that was all there is to forget."""
    row = get(connection, name)
    old = _old(connection, row, older_than_us)
    last, size, count = row.history, row.history_bytes, 0
    for until, length in _oldest(connection, row):
        if until > row.head or (until > old and size <= bytes_max):  # what is not published may be taken back
            break
        last, size, count = until, size - length, count + 1
    complete = count < _FORGOTTEN_TOGETHER
    last = max(last, old) if complete else last
    gone = connection.execute(f"DELETE FROM {row.versions} WHERE until > 0 AND until <= ?", (last,)).rowcount
    gone += connection.execute(f"DELETE FROM {row.versions} WHERE until < 0 AND until >= ?", (-last,)).rowcount
    connection.execute("UPDATE collections SET history = ?, history_bytes = ? WHERE id = ?", (last, size, row.id))
    give_back(connection)
    return gone, complete


def _old(connection: sqlite3.Connection, row: CollectionRow, older_than_us: int) -> int:
    """The newest group of those whose history is remembered before which all are older; 0 if none is."""
    groups = "FROM groups_ WHERE collection = ? AND seq > ?"
    young = connection.execute(
        f"SELECT seq {groups} AND time_us >= ? ORDER BY seq LIMIT 1", (row.id, row.history, older_than_us)
    ).fetchone()
    below = young[0] if young is not None else row.head + 1
    found = connection.execute(f"SELECT max(seq) {groups} AND seq < ?", (row.id, row.history, below)).fetchone()
    return found[0] or 0


def _oldest(connection: sqlite3.Connection, row: CollectionRow) -> Iterator[tuple[int, int]]:
    """The oldest versions by what replaced them, with their bytes."""
    found: Iterator[tuple[int, int]] = connection.execute(
        f"SELECT until, length(key) + ifnull(length(fields), 0) FROM {row.versions} WHERE until > 0"
        " ORDER BY until LIMIT ?",
        (_FORGOTTEN_TOGETHER,),
    )
    return found
