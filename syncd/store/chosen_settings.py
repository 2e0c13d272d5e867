"""What persons set, in the sync database, and the journal of it. Plain functions that run in a database thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from syncd.core.devices import too_many, unknown_device, unknown_user
from syncd.core.preferences import Changed, Chosen, Place
from syncd.core.settings import Limits

_PLACE = "ifnull(user, 0), ifnull(device, ''), ifnull(collection, '')"
_AT = "ifnull(user, 0) = ? AND ifnull(device, '') = ? AND ifnull(collection, '') = ? AND name = ?"
_JOURNAL = "when_us, who, user, device, collection, name, before, after"


class Door(NamedTuple):
    """Who changes something, and when."""

    who: str
    when_us: int


def all_chosen(connection: sqlite3.Connection) -> list[Chosen]:
    rows = connection.execute(f"SELECT {_PLACE}, name, value FROM settings ORDER BY 1, 2, 3, name")
    return [Chosen(Place(*place), name, value) for *place, name, value in rows]


def change(connection: sqlite3.Connection, chosen: Sequence[Chosen], door: Door, limits: Limits) -> list[Changed]:
    """See ``core.devices.SyncDatabase``."""
    before: dict[tuple[Place, str], str] = {}
    for one in chosen:
        _check_known(connection, one.place)
        at = (*one.place, one.name)
        found = connection.execute(f"SELECT value FROM settings WHERE {_AT}", at).fetchone()
        before.setdefault((one.place, one.name), found[0] if found else "")
        connection.execute(f"DELETE FROM settings WHERE {_AT}", at)
        if one.value:
            columns = (
                "(user, device, collection, name, value) VALUES (nullif(?, 0), nullif(?, ''), nullif(?, ''), ?, ?)"
            )
            connection.execute(f"INSERT INTO settings {columns}", (*at, one.value))
    (count,) = connection.execute("SELECT count(*) FROM settings").fetchone()
    if count > limits.settings_max:
        raise too_many("settings", limits.settings_max)
    after = {(one.place, one.name): one.value for one in chosen}
    changed = [Changed(door.when_us, door.who, *at, was, after[at]) for at, was in before.items() if was != after[at]]
    _note(connection, changed, limits.settings_journal_max)
    return changed


def _check_known(connection: sqlite3.Connection, place: Place) -> None:
    if place.user and not connection.execute("SELECT 1 FROM users WHERE id = ?", (place.user,)).fetchone():
        raise unknown_user(place.user)
    if place.device and not connection.execute("SELECT 1 FROM devices WHERE id = ?", (place.device,)).fetchone():
        raise unknown_device(place.device)


def _note(connection: sqlite3.Connection, changed: Sequence[Changed], most: int) -> None:
    connection.executemany(
        f"INSERT INTO settings_journal ({_JOURNAL}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        ((one.when_us, one.who, *one.place, one.name, one.before, one.after) for one in changed),
    )
    connection.execute(
        "DELETE FROM settings_journal WHERE id <= (SELECT id FROM settings_journal ORDER BY id DESC LIMIT 1 OFFSET ?)",
        (most,),
    )


def journal(connection: sqlite3.Connection, limit: int) -> list[Changed]:
    rows = connection.execute(f"SELECT {_JOURNAL} FROM settings_journal ORDER BY id DESC LIMIT ?", (limit,))
    return [
        Changed(when_us, who, Place(user, device, collection), name, before, after)
        for when_us, who, user, device, collection, name, before, after in rows
    ]
