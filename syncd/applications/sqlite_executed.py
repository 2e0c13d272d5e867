"""What became of groups of edits, kept in the application's database in the commit that wrote them (exactly once, R6):
after a crash before anybody knew, it is told again. Forgotten once it is durable elsewhere."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence

from syncd.adapters.canonical import Value, pack_values, unpack_values
from syncd.core.edits import EditGroup, Ruling, Side, Written
from syncd.core.model import ObjectId

EXECUTED = "_syncd_executed"
Outbox = tuple[str, str]  # device, outbox
Name = tuple[str, str, int]  # the same, and number
_SIDE = 8  # values of one side
_OF_OUTBOX = f" FROM {EXECUTED} WHERE device = ? AND outbox = ? AND number"
_KEEP = f"INSERT INTO {EXECUTED} VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)"
_KNOWN = f"SELECT number, mark, ruling, cause, type, key, sides{_OF_OUTBOX} BETWEEN ? AND ?"
_NEWEST = f"SELECT max(number) FROM {EXECUTED} WHERE device = ? AND outbox = ?"
_FORGET = f"DELETE{_OF_OUTBOX} = ?"
_FORGET_BEFORE = f"DELETE{_OF_OUTBOX} < ?"


def make(connection: sqlite3.Connection) -> None:
    connection.execute(
        f"CREATE TABLE IF NOT EXISTS {EXECUTED}(device TEXT NOT NULL, outbox TEXT NOT NULL, number INTEGER NOT NULL,"
        " mark INTEGER NOT NULL, ruling TEXT NOT NULL, cause TEXT NOT NULL, type TEXT NOT NULL, key BLOB,"
        " sides BLOB NOT NULL, PRIMARY KEY(device, outbox, number)) WITHOUT ROWID"
    )


def keep(connection: sqlite3.Connection, written: Iterable[Written]) -> None:
    rows = (
        (
            one.device,
            one.outbox,
            one.number,
            one.mark,
            one.ruling.value,
            one.cause,
            one.guilty.type if one.guilty else "",
            one.guilty.key if one.guilty else None,
            _packed(one.sides) if one.sides else b"",
        )
        for one in written
    )
    connection.executemany(_KEEP, rows)


def newest(connection: sqlite3.Connection, outbox: Outbox) -> int:
    """The greatest number of which is kept what became of it; 0: of none."""
    number: int = connection.execute(_NEWEST, outbox).fetchone()[0] or 0
    return number


def known(connection: sqlite3.Connection, asked: Mapping[Outbox, Sequence[int]]) -> dict[Name, Written]:
    """Those of the groups that were executed."""
    found: dict[Name, Written] = {}
    for (device, outbox), numbers in asked.items():
        rows = connection.execute(_KNOWN, (device, outbox, min(numbers), max(numbers)))
        for number, mark, ruling, cause, type_name, key, sides in rows.fetchall():
            guilty = None if key is None else ObjectId(type_name, key)
            told = Written(device, outbox, number, Ruling(ruling), mark, cause, guilty, _unpacked(sides))
            found[device, outbox, number] = told
    return found


def forget(connection: sqlite3.Connection, settled: Sequence[Name]) -> None:
    connection.executemany(_FORGET, settled)


def forget_before(connection: sqlite3.Connection, outbox: Outbox, number: int) -> None:
    """What nobody says to be settled after a crash: groups of an outbox come in order, and the oldest that is not
    settled comes first."""
    connection.execute(_FORGET_BEFORE, (*outbox, number))


def name_of(group: EditGroup) -> Name:
    return group.device, group.outbox, group.number


def numbers_of(groups: Sequence[EditGroup]) -> dict[Outbox, list[int]]:
    """By their outboxes."""
    numbers: dict[Outbox, list[int]] = {}
    for group in groups:
        numbers.setdefault((group.device, group.outbox), []).append(group.number)
    return numbers


def _packed(sides: Iterable[Side]) -> bytes:
    values: list[Value] = []
    for (type_name, key), base, ours, theirs, result, contested, copy in sides:
        values += (type_name, key, base, ours, theirs, result, int(contested), copy)
    return pack_values(values)


def _unpacked(raw: bytes) -> tuple[Side, ...]:
    if not raw:
        return ()
    values = iter(unpack_values(raw))
    return tuple(
        Side(ObjectId(type_name, key), base, ours, theirs, result, bool(contested), copy)
        for type_name, key, base, ours, theirs, result, contested, copy in zip(*[values] * _SIDE, strict=True)
    )
