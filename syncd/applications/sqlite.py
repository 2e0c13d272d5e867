"""The SQLite application: what `syncd share` and `syncd accept` check before anything is configured (R13)."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from syncd.applications.sqlite_common import connect, file_id, is_ours, mapped, name
from syncd.applications.sqlite_execute import POSITION
from syncd.applications.sqlite_schema import shareable
from syncd.applications.sqlite_source import SqliteSource
from syncd.applications.sqlite_target import SqliteTarget
from syncd.core.errors import ApplicationOffline, UserError
from syncd.core.settings import Limits

__all__ = ["SqliteSource", "SqliteTarget", "backup", "check_source", "check_target", "forget"]


def check_source(path: Path, tables: Sequence[str]) -> list[str]:
    """Whether the database can be shared: what cannot be captured, in words. Raises UserError."""
    if not _there(path):
        raise UserError(f"{path} does not exist", "give the path of the application's database")
    with _opened(path) as connection:
        found, problems = shareable(connection, tuple(tables))
    names = {table.name for table in found}
    for wanted in tables:
        if wanted not in names:
            raise UserError(
                f"{path} has no table {wanted} that can be shared",
                "; ".join(problems) or "give the name of a table with a primary key",
            )
    if not found:
        raise UserError(f"{path} has no table with a primary key", "share a database that has one")
    return problems


def check_target(path: Path, replace: bool) -> None:
    """Whether the collection may be written into the database. Raises UserError."""
    directory = path.absolute().parent
    if not (_there(directory) and directory.is_dir()):
        raise UserError(f"the directory {directory} does not exist", "make it first, or correct the path")
    if not _there(path):
        return
    with _opened(path) as connection:
        own = 0 if replace else _rows(connection)
    if own:
        raise UserError(
            f"{path} holds {own} objects of its own", "use --replace to have them replaced; a backup copy is made first"
        )


def backup(path: Path) -> Path:
    """A copy of the database beside it, sound even while it is being written. Raises UserError."""
    number = 1
    while (copy := path.with_name(f"{path.name}.syncd-backup-{number}")).exists():
        number += 1
    with _opened(path) as connection:
        connection.execute("VACUUM INTO ?", (str(copy),))
    return copy


def forget(path: Path) -> None:
    """The database holds no collection any more: the next one that comes into it begins with a snapshot. The rows
    stay as they are. Raises UserError."""
    if not _there(path):
        return
    with _opened(path) as connection:
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (POSITION,)).fetchone():
            connection.execute(f"DELETE FROM {POSITION}")


def _there(path: Path) -> bool:
    try:
        return file_id(path) is not None
    except ApplicationOffline as error:
        raise UserError(error.text, error.advice) from error


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    if not path.is_file():
        raise UserError(f"{path} is not a file", "give the path of an SQLite database")
    try:
        with contextlib.closing(connect(path, Limits())) as connection:
            yield connection
    except sqlite3.Error as error:
        reason = mapped(error, path)
        raise UserError(reason.text, reason.advice) from error


def _rows(connection: sqlite3.Connection) -> int:
    """Rows of all tables of the application."""
    listed = connection.execute(
        "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'virtual')"
    ).fetchall()
    tables = [one for (one,) in listed if not is_ours(one)]
    return sum(connection.execute(f"SELECT count(*) FROM {name(one)}").fetchone()[0] for one in tables)
