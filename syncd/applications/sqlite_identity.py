"""What tells a shared database from another one (R13): an identity inside of it, and the place where it was."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from syncd.applications.sqlite_capture import SOURCE
from syncd.applications.sqlite_common import is_there
from syncd.core.errors import ApplicationOffline


def identity(connection: sqlite3.Connection) -> tuple[str, str]:
    """Identity and place as they are kept; empty where the database was never shared."""
    row = connection.execute(f"SELECT id, place FROM {SOURCE}").fetchone() if is_there(connection, SOURCE) else None
    return (str(row[0]), str(row[1])) if row else ("", "")


def set_identity(connection: sqlite3.Connection, identity: str, place: str) -> None:
    """Keeps them; in the transaction that makes the capture."""
    connection.execute(f"CREATE TABLE IF NOT EXISTS {SOURCE}(id TEXT NOT NULL, place TEXT NOT NULL)")
    connection.execute(f"DELETE FROM {SOURCE}")
    connection.execute(f"INSERT INTO {SOURCE} VALUES(?, ?)", (identity, place))


def place_of(path: Path) -> str:
    """Where the file is: a copy that was put in its place has another, and its log cannot be trusted."""
    try:
        found = os.stat(path)
    except FileNotFoundError as error:  # it was there when it was opened
        raise ApplicationOffline(f"the database {path} is missing", "it is opened again when it is back") from error
    return f"{found.st_dev}:{found.st_ino}"
