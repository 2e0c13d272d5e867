"""How groups of edits are settled: verdicts, conflicts, and frames that are no longer needed. For functions that run in
the writer's thread of ``uploads.db``."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence

from syncd.core.edits import Written
from syncd.core.messages import Verdict
from syncd.core.settings import Limits
from syncd.store import conflicts
from syncd.store.database import give_back
from syncd.store.uploads_rules import ANY, Begun, Kept, told, verdict_of

_VERDICT = "number, ruling, seq, cause, type, key, conflict"
_OF_STREAM = ("groups", "halves", "frames", "verdicts")


def stream_of(connection: sqlite3.Connection, name: tuple[str, str, str]) -> int | None:
    """``name``: device, collection, outbox."""
    query = "SELECT id FROM streams WHERE device = ? AND collection = ? AND outbox = ?"
    found: tuple[int] | None = connection.execute(query, name).fetchone()
    return found[0] if found else None


class _Settling:
    """The groups of one outbox that are settled together. ``_waiting``: id and time by number. ``_whole``: up to which
    number all are there, or were; those above it were executed without being staged."""

    def __init__(self, connection: sqlite3.Connection, kept: Kept, name: tuple[str, str], numbers: list[int]) -> None:
        """``name``: device and outbox."""
        device, outbox = name
        self._connection = connection
        self._kept = kept
        query = "SELECT id, whole FROM streams WHERE device = ? AND collection = ? AND outbox = ?"
        found = connection.execute(query, (device, kept.collection, outbox)).fetchone()
        self._stream: int | None = found[0] if found else None
        self._whole: int = found[1] if found else 0
        self._staged = self._whole
        query = "SELECT number, id, time_us FROM groups WHERE stream = ? AND number BETWEEN ? AND ?"
        found = connection.execute(query, (self._stream, min(numbers), max(numbers)))
        self._waiting: dict[int, tuple[int, int]] = {number: (id_, time_us) for number, id_, time_us in found}
        self._fresh: dict[int, Verdict] = {}
        self._gone: list[tuple[int]] = []

    def settle(self, written: Written, limits: Limits) -> Verdict | None:
        """The verdict as it is told to the device; None where it was told before and is known there."""
        number = written.number
        id_, time_us = self._waiting.pop(number, (0, written.time_us))
        conflict = conflicts.keep(self._connection, self._kept, written, time_us, limits) if written.sides else 0
        verdict = verdict_of(written, self._kept.seq, conflict, limits)
        if self._stream is None:
            return verdict
        if id_:
            self._gone.append((id_,))
        elif number <= self._whole:
            return self._fresh.get(number) or _verdict(self._connection, self._stream, number)
        self._whole = max(self._whole, number)
        self._fresh[number] = verdict
        return verdict

    def close(self, limits: Limits) -> None:
        if self._stream is None:
            return
        halves = 0
        if self._whole > self._staged:
            self._connection.execute("UPDATE streams SET whole = ? WHERE id = ?", (self._whole, self._stream))
            query = "DELETE FROM halves WHERE stream = ? AND number <= ?"
            halves = self._connection.execute(query, (self._stream, self._whole)).rowcount
        add_verdicts(self._connection, self._stream, self._fresh.values())
        _forget_verdicts(self._connection, self._stream, limits.kept_verdicts_max)
        if self._gone or halves:
            self._connection.executemany("DELETE FROM groups WHERE id = ?", self._gone)
            _forget_frames(self._connection, self._stream)


def _verdict(connection: sqlite3.Connection, stream: int, number: int) -> Verdict | None:
    """What was said of a group that is settled already."""
    query = f"SELECT {_VERDICT} FROM verdicts WHERE stream = ? AND number = ?"
    found = connection.execute(query, (stream, number)).fetchone()
    return Verdict(*found) if found else None


def settle(
    connection: sqlite3.Connection, kept: Kept, written: Sequence[Written], limits: Limits
) -> dict[str, tuple[Verdict, ...]]:
    numbers: dict[tuple[str, str], list[int]] = {}
    for one in written:
        numbers.setdefault((one.device, one.outbox), []).append(one.number)
    settling = {name: _Settling(connection, kept, name, numbers[name]) for name in numbers}
    verdicts = [(one, settling[one.device, one.outbox].settle(one, limits)) for one in written]
    for of_outbox in settling.values():
        of_outbox.close(limits)
    give_back(connection)
    return told(verdicts)


def add_verdicts(connection: sqlite3.Connection, stream: int, verdicts: Collection[Verdict]) -> None:
    rows = ((stream, one.number, one.ruling, one.seq, one.cause, one.type, one.key, one.conflict) for one in verdicts)
    connection.executemany(f"INSERT INTO verdicts (stream, {_VERDICT}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
    connection.execute("UPDATE streams SET verdicts = verdicts + ? WHERE id = ?", (len(verdicts), stream))


def verdicts_from(
    connection: sqlite3.Connection, stream: int, from_: tuple[int, int], most: int
) -> tuple[Verdict, ...]:
    """``from_``: number of the first, and the one after which they are."""
    query = f"SELECT {_VERDICT} FROM verdicts WHERE stream = ? AND number >= ? AND number > ? ORDER BY number LIMIT ?"
    return tuple(Verdict(*row) for row in connection.execute(query, (stream, *from_, most)))


def forget_verdicts_before(connection: sqlite3.Connection, stream: int, first: int) -> None:
    gone = connection.execute("DELETE FROM verdicts WHERE stream = ? AND number < ?", (stream, first)).rowcount
    connection.execute("UPDATE streams SET verdicts = verdicts - ? WHERE id = ?", (gone, stream))
    give_back(connection)


def _forget_verdicts(connection: sqlite3.Connection, stream: int, count_max: int) -> None:
    (count,) = connection.execute("SELECT verdicts FROM streams WHERE id = ?", (stream,)).fetchone()
    if count > count_max:
        query = "SELECT number FROM verdicts WHERE stream = ? ORDER BY number LIMIT 1 OFFSET ?"
        (first,) = connection.execute(query, (stream, count - count_max)).fetchone()
        forget_verdicts_before(connection, stream, first)


def _forget_frames(connection: sqlite3.Connection, stream: int) -> None:
    """Those before the first that holds a group which waits, whole or half."""
    connection.execute(
        "DELETE FROM frames WHERE stream = ?1 AND id < coalesce("
        " (SELECT first FROM groups WHERE stream = ?1 ORDER BY number LIMIT 1),"
        " (SELECT first FROM halves WHERE stream = ?1), ?2)",
        (stream, 2**63 - 1),
    )


def forget_stream(connection: sqlite3.Connection, stream: int) -> None:
    for table in _OF_STREAM:
        connection.execute(f"DELETE FROM {table} WHERE stream = ?", (stream,))
    connection.execute("DELETE FROM streams WHERE id = ?", (stream,))


def forget_waiting(connection: sqlite3.Connection, device: str) -> dict[tuple[str, str, str], list[Begun]]:
    """What a device sent and is not settled goes, and is sent again if the device is paired again. What became of all
    else stays: the device may not have heard of it, and would send that again as well (R6). Returns what is missing
    from here on, by device, collection and outbox."""
    missing: dict[tuple[str, str, str], list[Begun]] = {}
    query = (
        "SELECT s.id, s.collection, s.outbox, (SELECT min(number) FROM groups WHERE stream = s.id),"
        " h.number, h.type, h.key FROM streams s LEFT JOIN halves h ON h.stream = s.id WHERE s.device = ?"
    )
    for stream, collection, outbox, first, half, type_, key in connection.execute(query, (device,)).fetchall():
        if first is not None:
            missing[device, collection, outbox] = [(first, ANY)]
            _forget_from(connection, stream, first)
        elif half is not None:
            missing[device, collection, outbox] = [(half, None if key is None else (type_, key))]
        for table in ("groups", "halves", "frames"):
            connection.execute(f"DELETE FROM {table} WHERE stream = ?", (stream,))
    give_back(connection)
    return missing


def _forget_from(connection: sqlite3.Connection, stream: int, number: int) -> None:
    """As if no group from the number on had come."""
    gone = connection.execute("DELETE FROM verdicts WHERE stream = ? AND number >= ?", (stream, number)).rowcount
    change = "UPDATE streams SET whole = ?, verdicts = verdicts - ? WHERE id = ?"
    connection.execute(change, (number - 1, gone, stream))
