"""Capture: triggers in the application's database that log the keys of touched rows, and the tables they use.

They run in the application's process, inside its transactions, and use built-in functions only. What they log is
*that* a row was touched; its state is read back later. They are silent while syncd itself writes (R12) and while the
log is at its bound (R15; then a comparison replaces it).

INSERT and UPDATE log the new key, UPDATE and DELETE the old one. REPLACE removes the rows that are in its way without
a word to DELETE triggers: so BEFORE triggers log the rows that equal the new one in a unique index. The log never
loses its last row, so its numbers only grow. Each row has a random nonce, which tells one history of the database
from another after a backup was put back. A key that is too long is logged as NULL: it could never be read.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from syncd.applications.sqlite_common import name
from syncd.applications.sqlite_replace import ROW, in_the_way
from syncd.applications.sqlite_schema import Table
from syncd.core.settings import Limits

LOG, CONTROL, TABLES, SOURCE = "_syncd_log", "_syncd_control", "_syncd_tables", "_syncd_source"
_LOG_FIRST = ["n", "t", "r"]  # its first columns: number, number of the table, nonce; the key follows


def install(connection: sqlite3.Connection, tables: Iterable[Table], limits: Limits) -> dict[str, int]:
    """Makes the capture as it should be; call it inside a transaction. Returns the number of each table.

    If any trigger was not as it should be, changes may have passed unseen: the log counts as lost.
    """
    tables = list(tables)
    log_is_whole = {LOG, CONTROL, TABLES} <= _ours(connection)
    _side_tables(connection, max((len(table.key) for table in tables), default=1))
    numbers = _numbers(connection, tables)
    wanted = {trigger: sql for table in tables for trigger, sql in triggers(table, numbers[table.name], limits)}
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
    numbers: dict[str, int] = dict(connection.execute(f"SELECT name, t FROM {TABLES}").fetchall())
    if columns[:3] != _LOG_FIRST or any(
        table.name not in numbers or len(table.key) + 3 > len(columns) for table in tables
    ):
        return None
    if connection.execute(f"SELECT count(*) FROM {CONTROL}").fetchone()[0] != 1:
        return None
    wanted = {trigger: sql for table in tables for trigger, sql in triggers(table, numbers[table.name], limits)}
    return numbers if _installed(connection) == wanted else None


def triggers(table: Table, number: int, limits: Limits) -> list[tuple[str, str]]:
    """The triggers of one table: name, SQL."""
    on = f" ON {name(table.name)}"
    when = (
        f"(SELECT applying FROM {CONTROL}) IS NOT 1"
        f" AND ifnull((SELECT max(n) FROM {LOG}) - (SELECT min(n) FROM {LOG}), 0) < {limits.log_rows_max - 1}"
    )
    into = f"INSERT INTO {LOG}(t, r, {', '.join(f'k{i}' for i in range(len(table.key)))}) SELECT {number}, random(), "
    new, old = (_key_of(table, row, limits) for row in ("NEW", "OLD"))
    moved = " OR ".join(
        f"OLD.{name(column)} COLLATE BINARY IS NOT NEW.{name(column)} OR typeof(OLD.{name(column)}) <>"
        f" typeof(NEW.{name(column)})"
        for column in table.key
    )
    bodies = [
        ("insert", "AFTER INSERT", when, f"{into}{new};"),
        ("update", "AFTER UPDATE", when, f"{into}{new}; {into}{old} WHERE {moved};"),
        ("delete", "AFTER DELETE", when, f"{into}{old};"),
    ]
    found = in_the_way(table)
    if found.removed:
        its_key = _key_of(table, ROW, limits)
        removed = " ".join(f"{into}{its_key} {rest};" for rest in found.removed)
        bodies.append(("before_insert", "BEFORE INSERT", when, removed))
        bodies.append(("before_update", "BEFORE UPDATE", f"{when} AND {found.changed}", removed))
    return [
        (trigger, f"CREATE TRIGGER {name(trigger)} {event}{on} WHEN {condition} BEGIN {body} END")
        for trigger, (_, event, condition, body) in ((f"_syncd_{number}_{one[0]}", one) for one in bodies)
    ]


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


def _numbers(connection: sqlite3.Connection, tables: list[Table]) -> dict[str, int]:
    """A table keeps its number for ever, so that rows of the log stay readable."""
    for table in tables:
        connection.execute(f"INSERT INTO {TABLES}(name) VALUES(?) ON CONFLICT(name) DO NOTHING", (table.name,))
    return dict(connection.execute(f"SELECT name, t FROM {TABLES}").fetchall())


def _installed(connection: sqlite3.Connection) -> dict[str, str]:
    rows = connection.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND name LIKE '\\_syncd\\_%' ESCAPE '\\'"
    )
    return dict(rows.fetchall())


def _ours(connection: sqlite3.Connection) -> set[str]:
    rows = connection.execute("SELECT name FROM sqlite_master WHERE name LIKE '\\_syncd\\_%' ESCAPE '\\'")
    return {row[0] for row in rows.fetchall()}
