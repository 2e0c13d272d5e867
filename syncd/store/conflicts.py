"""Conflicts with all their versions, kept for a person (R11): tables of ``uploads.db``, for functions that run in the
database's threads. Of one group there is one conflict, however often its settlement is repeated (R6)."""

from __future__ import annotations

import sqlite3
from typing import Any

from syncd.core.edits import Conflict, Side, Written
from syncd.core.model import ObjectId
from syncd.core.settings import Limits
from syncd.store.uploads_rules import Kept, sides_size, verdict_of, winner

_COLUMNS = "id, collection, device, number, time_us, policy, winner, seq, resolved"
_AT_ONCE = 100  # conflicts that go in one step when there is no room


def keep(connection: sqlite3.Connection, kept: Kept, written: Written, time_us: int, limits: Limits) -> int:
    """The id of the group's conflict. ``time_us``: when the group was made, 0 if that is not known."""
    name = (kept.collection, written.device, written.outbox, written.number)
    if written.device:
        query = "SELECT id FROM conflicts WHERE collection = ? AND device = ? AND outbox = ? AND number = ?"
        found: tuple[int] | None = connection.execute(f"{query} AND device != ''", name).fetchone()
        if found:
            return found[0]
    seq = verdict_of(written, kept.seq, 0, limits).seq
    size = sides_size(written.sides)
    row = (*name, time_us or kept.now_us, kept.policy, winner(written), seq, kept.now_us, size)
    id_ = connection.execute(
        "INSERT INTO conflicts (collection, device, outbox, number, time_us, policy, winner, seq, kept_us, bytes)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        row,
    ).lastrowid
    assert id_ is not None
    connection.executemany(
        "INSERT INTO conflict_sides (conflict, type, key, base, ours, theirs, result, contested, copy)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        ((id_, *side.object, *side[1:]) for side in written.sides),
    )
    _make_room(connection, kept.collection, id_, limits.conflict_bytes_max)
    return id_


def _make_room(connection: sqlite3.Connection, collection: str, newest: int, bytes_max: int) -> None:
    """Those resolved go first, then the oldest; the newest stays."""
    query = "SELECT bytes FROM conflict_totals WHERE collection = ?"
    (size,) = connection.execute(query, (collection,)).fetchone()
    while size > bytes_max:
        oldest = connection.execute(
            "SELECT id, bytes FROM conflicts WHERE collection = ? AND id < ? ORDER BY resolved = '', id LIMIT ?",
            (collection, newest, _AT_ONCE),
        ).fetchall()
        if not oldest:
            return
        for id_, bytes_ in oldest:
            if size <= bytes_max:
                return
            connection.execute("DELETE FROM conflicts WHERE id = ?", (id_,))
            size -= bytes_


def listed(connection: sqlite3.Connection, collection: str, resolved: bool) -> list[Conflict]:
    query = (
        f"SELECT {_COLUMNS} FROM conflicts WHERE (?1 = '' OR collection = ?1) AND (?2 OR resolved = '')"
        " ORDER BY id DESC"
    )
    return [_conflict(row, ()) for row in connection.execute(query, (collection, resolved))]


def one(connection: sqlite3.Connection, id_: int) -> Conflict | None:
    row = connection.execute(f"SELECT {_COLUMNS} FROM conflicts WHERE id = ?", (id_,)).fetchone()
    if row is None:
        return None
    sides = connection.execute(
        "SELECT type, key, base, ours, theirs, result, contested, copy FROM conflict_sides WHERE conflict = ?"
        " ORDER BY id",
        (id_,),
    )
    return _conflict(row, tuple(_side(*side) for side in sides))


def _conflict(row: tuple[Any, ...], sides: tuple[Side, ...]) -> Conflict:
    id_, collection, device, number, time_us, policy, who, seq, resolved = row
    return Conflict(id_, collection, device, number, time_us, policy, who, seq, resolved, sides)


def _side(type_: str, key: bytes, *rest: Any) -> Side:
    base, ours, theirs, result, contested, copy = rest
    return Side(ObjectId(type_, key), base, ours, theirs, result, bool(contested), copy)


def resolve(connection: sqlite3.Connection, id_: int, how: str) -> None:
    connection.execute("UPDATE conflicts SET resolved = ? WHERE id = ?", (how, id_))


def unresolved(connection: sqlite3.Connection) -> dict[str, int]:
    return dict(connection.execute("SELECT collection, open FROM conflict_totals WHERE open > 0").fetchall())


def prune(connection: sqlite3.Connection, collection: str, older_than_us: int) -> int:
    of_it = (collection, older_than_us)
    return connection.execute("DELETE FROM conflicts WHERE collection = ? AND kept_us < ?", of_it).rowcount
