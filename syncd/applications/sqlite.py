"""The SQLite application: what `syncd share` and `syncd accept` check before anything is configured (R13)."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from syncd.applications.sqlite_common import connect, file_id, is_there, mapped, name, transaction
from syncd.applications.sqlite_local_capture import LOCALS, LocalCapture
from syncd.applications.sqlite_position import POSITION
from syncd.applications.sqlite_schema import shareable, table_names
from syncd.applications.sqlite_source import SqliteSource
from syncd.applications.sqlite_target import SqliteTarget
from syncd.applications.sqlite_writer import SqliteWriter
from syncd.core.errors import ApplicationOffline, UserError
from syncd.core.settings import Limits

__all__ = [
    "SqliteSource",
    "SqliteTarget",
    "SqliteWriter",
    "backup",
    "check_source",
    "check_target",
    "forget",
    "looked_at",
]


def check_source(path: Path, tables: Sequence[str]) -> list[str]:
    """Whether the database can be shared: what cannot be captured, in words. Raises UserError."""
    if looked_at(path) is None:
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
    """Whether the collection may be written into the database. ``replace``: a person said what becomes of objects that
    it holds of its own. Raises UserError."""
    directory = path.absolute().parent
    found = looked_at(directory)
    if found is None or not stat.S_ISDIR(found.st_mode):
        raise UserError(f"the directory {directory} does not exist", "make it first, or correct the path")
    for place in (directory, path) if looked_at(path) else (directory,):
        if not os.access(place, os.W_OK, effective_ids=True):
            raise UserError(
                f"{place} cannot be written", "give syncd the right to write it (SQLite needs its directory too)"
            )
    if looked_at(path) is None:
        return
    with _opened(path) as connection:
        own = 0 if replace else _rows(connection)
    if own:
        raise UserError(
            f"{path} holds {own} objects of its own",
            "use --merge to offer them to the primary, or --replace to have them replaced; a backup copy is made first",
        )


def backup(path: Path) -> Path:
    """A copy of the database beside it, sound even while it is being written, and as private as the database. Raises
    UserError; then there is no copy."""
    with _opened(path) as connection:
        copy, descriptor = _new_file(path)
        try:
            connection.execute("VACUUM INTO ?", (str(copy),))
            _share_alike(descriptor, path)
        except BaseException as error:
            copy.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise _no_copy(copy, error) from error
            raise
        finally:
            os.close(descriptor)
    return copy


def _new_file(path: Path) -> tuple[Path, int]:
    """An empty file for the copy, its owner's alone: it must not be open to others before it has the right mode."""
    number = 1
    while True:
        copy = path.with_name(f"{path.name}.syncd-backup-{number}")
        try:
            return copy, os.open(copy, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            number += 1
        except OSError as error:
            raise _no_copy(copy, error) from error


def _no_copy(copy: Path, error: OSError) -> UserError:
    return UserError(
        f"cannot make the backup copy {copy}: {error.strerror}",
        f"give syncd the right to write in {copy.parent}, and room there",
    )


def _share_alike(descriptor: int, original: Path) -> None:
    """Owner and mode of the original. Who may not give a file away keeps it, and gives nobody else a right to it."""
    wanted = original.stat()
    mode = stat.S_IMODE(wanted.st_mode)
    try:
        os.fchown(descriptor, wanted.st_uid, wanted.st_gid)
    except PermissionError:
        mode &= 0o700
    os.fchmod(descriptor, mode)


def forget(path: Path) -> None:
    """The database holds no collection any more: the next one that comes into it begins with a snapshot. What the
    application changes is not captured any more. The rows stay as they are. Raises UserError."""
    if looked_at(path) is None:
        return
    with _opened(path) as connection, transaction(connection, "IMMEDIATE"):
        if is_there(connection, POSITION):
            connection.execute(f"DELETE FROM {POSITION}")
        if is_there(connection, LOCALS):
            for (collection,) in connection.execute(f"SELECT collection FROM {LOCALS}").fetchall():
                capture = LocalCapture(connection, collection, Limits())
                if capture.there():
                    capture.remove()


def looked_at(path: Path) -> os.stat_result | None:
    """What is at the path; None where nothing is. Raises UserError where that cannot be told."""
    try:
        return path.stat() if file_id(path) else None
    except FileNotFoundError:  # it went just then
        return None
    except ApplicationOffline as error:
        raise UserError(error.text, f"{error.advice}, or choose another path") from error


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    found = looked_at(path)
    if found is None or not stat.S_ISREG(found.st_mode):
        raise UserError(f"{path} is not a file", "give the path of an SQLite database")
    try:
        with contextlib.closing(connect(path, Limits())) as connection:
            yield connection
    except sqlite3.Error as error:
        reason = mapped(error, path)
        raise UserError(reason.text, reason.advice) from error


def _rows(connection: sqlite3.Connection) -> int:
    """Rows of all tables of the application."""
    tables = [one for one, kind in table_names(connection).items() if kind in ("table", "virtual")]
    return sum(connection.execute(f"SELECT count(*) FROM {name(one)}").fetchone()[0] for one in tables)
