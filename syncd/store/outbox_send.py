"""Groups leave the outbox: as Uploads, with their verdicts, under other numbers (R6, R7)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence

from syncd.core.edits import EVER, Ruling
from syncd.core.messages import Upload, Verdict
from syncd.store.edit_groups import Packer, Row
from syncd.store.outbox_carry import pass_standing
from syncd.store.outbox_rows import Box, drop, last_number, new_identity, seal


def take(connection: sqlite3.Connection, box: Box, packer: Packer, after: int, bytes_max: int) -> tuple[Upload, ...]:
    """The frames of the next groups, which are sealed."""
    if not (last := _last_that_fits(connection, box, after, bytes_max)):
        return ()
    seal(connection, box, last)
    return packer.packed(_rows(connection, box, after, last))


def _last_that_fits(connection: sqlite3.Connection, box: Box, after: int, bytes_max: int) -> int:
    """Number of the last of the groups that are taken, 0 if there is none."""
    query = "SELECT number, bytes FROM groups WHERE box = ? AND ruling = '' AND number > ? ORDER BY number"
    last = total = 0
    for number, size in connection.execute(query, (box.id, after)):
        total += size
        if last and total > bytes_max:
            break
        last = number
    return last


def _rows(connection: sqlite3.Connection, box: Box, after: int, last: int) -> Iterator[Row]:
    rows = connection.execute(
        "SELECT g.number, g.time_us, g.offered, e.type_id, o.key, e.base, e.fields"
        " FROM groups g JOIN edits e ON e.grp = g.id JOIN objects o ON o.id = e.object"
        " WHERE g.box = ? AND g.ruling = '' AND g.number > ? AND g.number <= ? ORDER BY g.number, e.id",
        (box.id, after, last),
    )
    held = next(rows, None)
    while held is not None:
        number, time_us, offered, *edit = held
        held = next(rows, None)
        yield Row(number, time_us, bool(offered), held is None or held[0] != number, *edit)


def settle(connection: sqlite3.Connection, box: Box, verdicts: Sequence[Verdict], position: int, now_us: int) -> None:
    """Keeps verdicts of groups that wait for one."""
    box.position = position
    if verdicts:
        connection.execute("CREATE TEMP TABLE IF NOT EXISTS told (number INTEGER PRIMARY KEY, ruling TEXT)")
        connection.execute("DELETE FROM temp.told")
        connection.executemany(
            "INSERT OR IGNORE INTO temp.told VALUES (?, ?)", ((verdict.number, verdict.ruling) for verdict in verdicts)
        )
        (settled,) = connection.execute(
            "SELECT max(g.number) FROM temp.told t"
            " JOIN groups g ON g.box = ? AND g.number = t.number AND g.ruling = ''",
            (box.id,),
        ).fetchone()
        if settled is not None:
            seal(connection, box, settled)
        drop(connection, _HELD, (box.id,))
        connection.executemany(
            "UPDATE groups SET ruling = ?, seq = ?, cause = ?, guilty_type = ?, guilty_key = ?, conflict = ?,"
            " settled_us = ? WHERE box = ? AND number = ? AND ruling = ''",
            (_settled(verdict, box, now_us) for verdict in verdicts),
        )
    if position >= EVER:
        pass_standing(connection, box)


# What was accepted and stands no longer leaves at once.
_HELD = (
    "SELECT g.id FROM temp.told t JOIN groups g ON g.box = ? AND g.number = t.number AND g.ruling = ''"
    " WHERE t.ruling IN ('accepted', 'merged') AND g.stands = 0"
)


def _settled(verdict: Verdict, box: Box, now_us: int) -> tuple[object, ...]:
    refused = verdict.ruling == Ruling.REFUSED
    seq = 0 if refused else verdict.seq
    guilty = (verdict.type, verdict.key) if verdict.type else (None, None)
    return (verdict.ruling, seq, verdict.cause, *guilty, verdict.conflict, now_us, box.id, verdict.number)


def renumber(connection: sqlite3.Connection, box: Box, after: int) -> None:
    """Another identity, and numbers beyond those that the primary knows and those of refused groups."""
    start = max(after, last_number(connection, box))
    rows = connection.execute(
        "SELECT id FROM groups WHERE box = ? AND ruling = '' AND number > 0 ORDER BY number", (box.id,)
    ).fetchall()
    connection.executemany(
        "UPDATE groups SET number = ? WHERE id = ?", ((start + at, id_) for at, (id_,) in enumerate(rows, 1))
    )
    box.high, box.outbox = start + len(rows), new_identity()
