"""Two SQLite databases compared row by row: values with their types, in constant memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import zip_longest
from pathlib import Path

Row = tuple[object, ...]
_SHOWN_MAX = 5


def tables(connection: sqlite3.Connection) -> dict[str, list[str]]:
    """The application's own tables with their columns, the key's first."""
    sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
    names = [name for (name,) in connection.execute(sql) if not name.startswith("_syncd_")]
    return {name: _columns(connection, name) for name in names}


def differences(one: Path, other: Path, only: tuple[str, ...] = ()) -> list[str]:
    """What differs, a few lines at most; empty: the databases are equal. ``only``: these tables, not all."""
    with closing(_open(one)) as left, closing(_open(other)) as right:
        mine, theirs = tables(left), tables(right)
        names = only or tuple(sorted(mine.keys() | theirs.keys()))
        found = [
            f"table {name} is not in {other if name in mine else one}"
            for name in names
            if name not in mine or name not in theirs
        ]
        for name in names:
            if name in mine and name in theirs:
                found += _rows_that_differ(left, right, name, mine[name])
        return found[:_SHOWN_MAX]


def count(database: Path, table: str) -> int:
    """How many rows a table has; 0 where there is no table or no database."""
    if not database.exists():
        return 0
    with closing(_open(database)) as connection:
        if table not in tables(connection):
            return 0
        found: int = connection.execute(f"SELECT count(*) FROM {_name(table)}").fetchone()[0]
        return found


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=30.0, isolation_level=None)
    try:
        connection.execute("PRAGMA query_only = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("BEGIN")
    except BaseException:
        connection.close()
        raise
    return connection


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    rows = connection.execute("SELECT name, pk FROM pragma_table_info(?)", (table,)).fetchall()
    key = [name for name, place in sorted(rows, key=lambda row: row[1]) if place]
    return key + [name for name, place in rows if not place]


def _rows_that_differ(left: sqlite3.Connection, right: sqlite3.Connection, table: str, columns: list[str]) -> list[str]:
    found: list[str] = []
    for mine, theirs in zip_longest(_rows(left, table, columns), _rows(right, table, columns)):
        if mine is None or theirs is None or list(map(_exact, mine)) != list(map(_exact, theirs)):
            found.append(f"table {table}: {_short(mine)} and {_short(theirs)}")
            if len(found) == _SHOWN_MAX:
                break
    return found


def _rows(connection: sqlite3.Connection, table: str, columns: list[str]) -> Iterator[Row]:
    names = ", ".join(map(_name, columns))
    connection.text_factory = lambda raw: ("text", raw)  # a text never equals a blob, and need not be UTF-8
    yield from connection.execute(f"SELECT {names} FROM {_name(table)} ORDER BY {names}")


def _exact(value: object) -> object:
    """1 and 1.0, 0.0 and -0.0 are different values."""
    return value.hex() if isinstance(value, float) else value


def _short(row: Row | None) -> str:
    text = "no row" if row is None else repr(row)
    return text if len(text) <= 200 else text[:200] + "..."


def _name(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'
