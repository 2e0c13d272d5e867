"""Capture: triggers in the application's database that log the keys of touched rows, and the tables they use.

They run in the application's process, inside its transactions, and use built-in functions only. What they log is
*that* a row was touched; its state is read back later. They are silent while syncd itself writes (R12) and while the
log is at its bound (R15; then a comparison replaces it).

INSERT and UPDATE log the new key, UPDATE and DELETE the old one. REPLACE removes the rows that are in its way without
a word to DELETE triggers: so BEFORE triggers log the rows that equal the new one in a unique index. The log never
loses its last row, so its numbers only grow.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from syncd.applications.sqlite_common import name
from syncd.applications.sqlite_schema import Table
from syncd.core.settings import Limits

LOG, CONTROL, TABLES, SOURCE = "_syncd_log", "_syncd_control", "_syncd_tables", "_syncd_source"


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
    columns = connection.execute("SELECT count(*) FROM pragma_table_info(?)", (LOG,)).fetchone()[0]
    numbers: dict[str, int] = dict(connection.execute(f"SELECT name, t FROM {TABLES}").fetchall())
    if any(table.name not in numbers or len(table.key) + 2 > columns for table in tables):
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
    into = f"INSERT INTO {LOG}(t, {', '.join(f'k{i}' for i in range(len(table.key)))}) SELECT {number}, "
    new, old = (", ".join(f"{row}.{name(column)}" for column in table.key) for row in ("NEW", "OLD"))
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
    in_the_way = _in_the_way(table)
    if in_the_way:
        its_key = ", ".join(f"{name(table.name)}.{name(column)}" for column in table.key)
        removed = [f"{into}{its_key} FROM {name(table.name)} WHERE {equal};" for equal, _ in in_the_way]
        changed = " OR ".join(different for _, different in in_the_way)
        bodies.append(("before_insert", "BEFORE INSERT", when, " ".join(removed)))
        bodies.append(("before_update", "BEFORE UPDATE", f"{when} AND ({changed})", " ".join(removed)))
    return [
        (trigger, f"CREATE TRIGGER {name(trigger)} {event}{on} WHEN {condition} BEGIN {body} END")
        for trigger, (_, event, condition, body) in ((f"_syncd_{number}_{one[0]}", one) for one in bodies)
    ]


def _in_the_way(table: Table) -> list[tuple[str, str]]:
    """For each unique index that can tell: "this row equals NEW in it" and "OLD differs from NEW in it"."""
    sets = [
        [(column, collation) for column, collation in index.columns if column is not None]
        for index in table.unique
        if all(column is not None for column, _ in index.columns)
    ]
    if not table.exact:
        sets.append(list(zip(table.key, table.key_collations, strict=True)))
    table_name = name(table.name)
    return [
        (
            " AND ".join(f"{table_name}.{name(column)} = NEW.{name(column)}{_collate(at)}" for column, at in columns),
            " OR ".join(f"OLD.{name(column)} COLLATE BINARY IS NOT NEW.{name(column)}" for column, _ in columns),
        )
        for columns in sets
    ]


def _collate(collation: str) -> str:
    return f" COLLATE {name(collation)}" if collation else ""


def _side_tables(connection: sqlite3.Connection, width: int) -> None:
    columns = ", ".join(f"k{i}" for i in range(width))
    connection.execute(f"CREATE TABLE IF NOT EXISTS {LOG}(n INTEGER PRIMARY KEY, t INTEGER, {columns})")
    there = connection.execute("SELECT count(*) FROM pragma_table_info(?)", (LOG,)).fetchone()[0] - 2
    for i in range(there, width):
        connection.execute(f"ALTER TABLE {LOG} ADD COLUMN k{i}")
    connection.execute(f"CREATE TABLE IF NOT EXISTS {TABLES}(t INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)")
    connection.execute(f"CREATE TABLE IF NOT EXISTS {CONTROL}(applying INTEGER NOT NULL, lost INTEGER NOT NULL)")
    if connection.execute(f"SELECT count(*) FROM {CONTROL}").fetchone()[0] != 1:
        connection.execute(f"DELETE FROM {CONTROL}")
        connection.execute(f"INSERT INTO {CONTROL} VALUES(0, 1)")


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
