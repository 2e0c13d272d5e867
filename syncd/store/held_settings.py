"""Changes of settings that are held, and what settings took away, in the sync database (R13). Plain functions that run
in a database thread.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

from syncd.core.devices import too_many
from syncd.core.loss import HeldSettings, Loss, Weighed
from syncd.core.preferences import Chosen, Place
from syncd.core.settings import Limits
from syncd.store.chosen_settings import Door

_QUARTER_US = 900 * 1_000_000


def all_held(connection: sqlite3.Connection) -> list[HeldSettings]:
    found = connection.execute("SELECT id, since_us, who, chosen, losses FROM held_settings ORDER BY id")
    return [
        HeldSettings(number, since_us, who, _read_chosen(chosen), tuple(Loss(*one) for one in json.loads(losses)))
        for number, since_us, who, chosen, losses in found
    ]


def _read_chosen(written: str) -> tuple[Chosen, ...]:
    return tuple(Chosen(Place(*place), name, value) for *place, name, value in json.loads(written))


def hold(
    connection: sqlite3.Connection, chosen: Sequence[Chosen], losses: Sequence[Loss], door: Door, limits: Limits
) -> HeldSettings:
    """See ``core.devices.SyncDatabase``."""
    give_way(connection, chosen)
    (count,) = connection.execute("SELECT count(*) FROM held_settings").fetchone()
    if count >= limits.held_settings_max:
        raise too_many("held changes of settings", limits.held_settings_max)
    written = json.dumps([(*one.place, one.name, one.value) for one in chosen]), json.dumps(losses)
    number = connection.execute(
        "INSERT INTO held_settings (since_us, who, chosen, losses) VALUES (?, ?, ?, ?)",
        (door.when_us, door.who, *written),
    ).lastrowid
    assert number is not None
    return HeldSettings(number, door.when_us, door.who, tuple(chosen), tuple(losses))


def give_way(connection: sqlite3.Connection, chosen: Sequence[Chosen]) -> None:
    """Held changes of any of these values are held no longer: what was said later counts."""
    said = {(one.place, one.name) for one in chosen}
    for held in all_held(connection):
        if any((one.place, one.name) in said for one in held.chosen):
            drop(connection, held.number)


def drop(connection: sqlite3.Connection, number: int) -> bool:
    return connection.execute("DELETE FROM held_settings WHERE id = ?", (number,)).rowcount > 0


def note(connection: sqlite3.Connection, weighed: Weighed, when_us: int) -> None:
    """What a change that was made takes away."""
    drop(connection, weighed.held)
    begin = (when_us - weighed.window_us) // _QUARTER_US
    connection.execute("DELETE FROM taken_away WHERE quarter < ?", (begin,))
    if weighed.approved:
        forget = "DELETE FROM taken_away WHERE device = ? AND collection = ?"
        connection.executemany(forget, [(one.device, one.collection) for one in weighed.losses])
        return
    connection.executemany(
        "INSERT INTO taken_away SELECT id, ?, ?, ? FROM devices WHERE id = ?"
        " ON CONFLICT (device, collection, quarter) DO UPDATE SET objects = objects + excluded.objects",
        [(one.collection, when_us // _QUARTER_US, one.objects, one.device) for one in weighed.losses],
    )


def taken_away(connection: sqlite3.Connection, since_us: int) -> dict[tuple[str, str], int]:
    found = connection.execute(
        "SELECT device, collection, sum(objects) FROM taken_away WHERE quarter >= ? GROUP BY device, collection",
        (since_us // _QUARTER_US,),
    )
    return {(device, collection): objects for device, collection, objects in found}
