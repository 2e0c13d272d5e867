"""Capture: triggers in the application's database that log the keys of touched rows, and the tables they use.

They run in the application's process, inside its transactions, and use built-in functions only. What they log is
*that* a row was touched; its state is read back later. They are silent while syncd itself writes (R12) and while the
log is at its bound (R15; then a comparison replaces it).

INSERT and UPDATE log the new key, UPDATE and DELETE the old one. REPLACE removes the rows that are in its way without
a word to DELETE triggers: so BEFORE triggers log the rows that equal the new one in a unique index. The log never
loses its last row, so its numbers only grow. Each row has a random nonce, which tells one history of the database
from another after a backup was put back. A key that is too long is logged as NULL: it could never be read.

A row is logged by VALUES wherever it can be: for INSERT ... SELECT into a table that the trigger's condition reads,
SQLite builds a temporary table each time, which costs the application more than all else that a trigger does. So
what is in the way is looked for in the condition first.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from syncd.applications.sqlite_common import is_ours, is_there, name
from syncd.applications.sqlite_replace import ROW, in_the_way
from syncd.applications.sqlite_schema import Table
from syncd.core.settings import Limits

LOG, CONTROL, TABLES, SOURCE = "_syncd_log", "_syncd_control", "_syncd_tables", "_syncd_source"
RENAMED = "_syncd_renamed"
_LOG_FIRST = ["n", "t", "r"]  # its first columns: number, number of the table, nonce; the key follows


def install(connection: sqlite3.Connection, tables: Iterable[Table], limits: Limits) -> dict[str, int]:
    """Makes the capture as it should be; call it inside a transaction. Returns the number of each table.

    If any trigger was not as it should be, changes may have passed unseen: the log counts as lost.
    """
    tables = list(tables)
    log_is_whole = {LOG, CONTROL, TABLES} <= _ours(connection)
    _side_tables(connection, max((len(table.key) for table in tables), default=1))
    for table in tables:  # a table keeps its number for ever, so that rows of the log stay readable
        connection.execute(f"INSERT INTO {TABLES}(name) VALUES(?) ON CONFLICT(name) DO NOTHING", (table.name,))
    numbers = _numbers(connection)
    wanted = _wanted(tables, numbers, limits)
    there = _installed(connection)
    if there == wanted and log_is_whole:
        return numbers
    for trigger in there:
        if there[trigger] != wanted.get(trigger):
            connection.execute(f"DROP TRIGGER {name(trigger)}")
    for trigger, sql in wanted.items():
        if there.get(trigger) != sql:
            connection.execute(sql)
    connection.execute(f"UPDATE {CONTROL} SET lost = 1")
    return numbers


def complete(connection: sqlite3.Connection, tables: Iterable[Table], limits: Limits) -> dict[str, int] | None:
    """The number of each table if the capture is as it should be, else None. Reads only."""
    tables = list(tables)
    if not {LOG, CONTROL, TABLES, SOURCE} <= _ours(connection):
        return None
    columns = _log_columns(connection)
    numbers = _numbers(connection)
    if columns[:3] != _LOG_FIRST or any(
        table.name not in numbers or len(table.key) + 3 > len(columns) for table in tables
    ):
        return None
    if connection.execute(f"SELECT count(*) FROM {CONTROL}").fetchone()[0] != 1:
        return None
    return numbers if _installed(connection) == _wanted(tables, numbers, limits) else None


def _wanted(tables: Iterable[Table], numbers: dict[str, int], limits: Limits) -> dict[str, str]:
    """All triggers: name -> SQL."""
    return {trigger: sql for table in tables for trigger, sql in triggers(table, numbers[table.name], limits)}


def renamed(connection: sqlite3.Connection) -> tuple[tuple[str, str], ...]:
    """Former name -> name of tables that were captured and renamed, as ``note_renamed`` found."""
    if not is_there(connection, RENAMED):
        return ()
    rows = connection.execute(f"SELECT former, current FROM {RENAMED} ORDER BY former")
    return tuple((str(former), str(current)) for former, current in rows.fetchall())


def note_renamed(connection: sqlite3.Connection, tables: Iterable[Table]) -> None:
    """Call it before ``install``, in its transaction: a table's triggers go with it, and are made anew. The note stays,
    because the store may come to know of it only after a crash, until a table has the former name."""
    if not is_there(connection, TABLES):
        return
    found = connection.execute(
        f"SELECT known.name, trigger.tbl_name FROM {TABLES} AS known JOIN sqlite_master AS trigger"
        " ON trigger.type = 'trigger' AND trigger.name = '_syncd_' || known.t || '_insert'"
        " WHERE trigger.tbl_name <> known.name"
    ).fetchall()
    connection.execute(f"CREATE TABLE IF NOT EXISTS {RENAMED}(former TEXT PRIMARY KEY, current TEXT NOT NULL)")
    connection.executemany(
        f"INSERT INTO {RENAMED} VALUES(?, ?) ON CONFLICT(former) DO UPDATE SET current = excluded.current", found
    )
    there = [(table.name,) for table in tables]
    connection.executemany(f"DELETE FROM {RENAMED} WHERE former = ?", there)


def triggers(table: Table, number: int, limits: Limits) -> list[tuple[str, str]]:
    """The triggers of one table: name, SQL."""
    on = f" ON {name(table.name)}"
    when = (
        f"(SELECT applying FROM {CONTROL}) IS NOT 1"
        f" AND ifnull((SELECT max(n) FROM {LOG}) - (SELECT min(n) FROM {LOG}), 0) < {limits.log_rows_max - 1}"
    )
    into = f"INSERT INTO {LOG}(t, r, {', '.join(f'k{i}' for i in range(len(table.key)))}) "
    new, old = (f"{into}VALUES({number}, random(), {_key_of(table, row, limits)});" for row in ("NEW", "OLD"))
    bodies = [
        ("insert", "AFTER INSERT", when, new),
        ("update", "AFTER UPDATE", when, new),
        ("moved", "AFTER UPDATE", f"({key_moved(table.key)}) AND {when}", old),
        ("delete", "AFTER DELETE", when, old),
    ]
    found = in_the_way(table)
    if found.removed:
        its_key = _key_of(table, ROW, limits)
        removed = " ".join(f"{into}SELECT {number}, random(), {its_key} {rest};" for rest in found.removed)
        any_there = " OR ".join(f"EXISTS (SELECT 1 {rest})" for rest in found.removed)
        bodies.append(("before_insert", "BEFORE INSERT", f"{when} AND ({any_there})", removed))
        bodies.append(("before_update", "BEFORE UPDATE", f"{when} AND {found.changed} AND ({any_there})", removed))
    return [
        (trigger, f"CREATE TRIGGER {name(trigger)} {event}{on} WHEN {condition} BEGIN {body} END")
        for trigger, (_, event, condition, body) in ((f"_syncd_{number}_{one[0]}", one) for one in bodies)
    ]


def key_moved(key: Iterable[str]) -> str:
    """SQL: an UPDATE gives the row another key."""
    return " OR ".join(
        f"OLD.{name(column)} COLLATE BINARY IS NOT NEW.{name(column)} OR typeof(OLD.{name(column)}) <>"
        f" typeof(NEW.{name(column)})"
        for column in key
    )


def _key_of(table: Table, row: str, limits: Limits) -> str:
    """The key of a row as it is logged. An integer that is the rowid is never too long."""
    columns = [f"{row}.{name(column)}" for column in table.key]
    if table.key_collations == ("",):
        return columns[0]
    length = " + ".join(f"length(CAST({column} AS BLOB))" for column in columns)
    return ", ".join(f"CASE WHEN {length} <= {limits.object_bytes_max} THEN {column} END" for column in columns)


def _side_tables(connection: sqlite3.Connection, width: int) -> None:
    columns = ", ".join(f"k{i}" for i in range(width))
    if _log_columns(connection)[:3] != _LOG_FIRST:
        connection.execute(f"DROP TABLE IF EXISTS {LOG}")
    connection.execute(f"CREATE TABLE IF NOT EXISTS {LOG}(n INTEGER PRIMARY KEY, t INTEGER, r INTEGER, {columns})")
    for i in range(len(_log_columns(connection)) - 3, width):
        connection.execute(f"ALTER TABLE {LOG} ADD COLUMN k{i}")
    connection.execute(f"CREATE TABLE IF NOT EXISTS {TABLES}(t INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)")
    connection.execute(f"CREATE TABLE IF NOT EXISTS {CONTROL}(applying INTEGER NOT NULL, lost INTEGER NOT NULL)")
    if connection.execute(f"SELECT count(*) FROM {CONTROL}").fetchone()[0] != 1:
        connection.execute(f"DELETE FROM {CONTROL}")
        connection.execute(f"INSERT INTO {CONTROL} VALUES(0, 1)")


def _log_columns(connection: sqlite3.Connection) -> list[str]:
    return [column for (column,) in connection.execute("SELECT name FROM pragma_table_info(?)", (LOG,)).fetchall()]


def _numbers(connection: sqlite3.Connection) -> dict[str, int]:
    """Name of a table -> its number in the log."""
    return dict(connection.execute(f"SELECT name, t FROM {TABLES}").fetchall())


def _installed(connection: sqlite3.Connection) -> dict[str, str]:
    rows = connection.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND name GLOB '_syncd_[0-9]*'"
    )
    return {trigger: sql for trigger, sql in rows.fetchall() if is_ours(trigger)}


def _ours(connection: sqlite3.Connection) -> set[str]:
    rows = connection.execute("SELECT name FROM sqlite_master WHERE name LIKE '\\_syncd\\_%' ESCAPE '\\'")
    return {row[0] for row in rows.fetchall()}
