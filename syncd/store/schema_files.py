"""Numbered schema files, and how a database of ours gets from its number to the newest.

``PRAGMA user_version`` is the number. A database written by a newer syncd is refused; a copy is made before an older
one is migrated, and all its migrations are one transaction.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from syncd.core.errors import InvariantBroken, SchemaTooNew, StoreBroken

SCHEMA_DIRECTORY = Path(__file__).parent / "schema"


@dataclass(frozen=True, slots=True)
class Schema:
    """One kind of database: ``name`` begins its schema files' names, ``application_id`` marks its files."""

    name: str
    application_id: int
    directory: Path = SCHEMA_DIRECTORY

    def scripts(self) -> list[str]:
        """The scripts in order; the first makes number 1 out of nothing."""
        files = sorted(self.directory.glob(f"{self.name}_[0-9][0-9][0-9][0-9].sql"))
        expected = [f"{self.name}_{number:04}.sql" for number in range(1, len(files) + 1)]
        if not files or [file.name for file in files] != expected:
            raise InvariantBroken(f"schema files of {self.name} are not numbered from 0001 without a gap")
        return [file.read_text(encoding="utf-8") for file in files]


def check(connection: sqlite3.Connection, path: Path, schema: Schema) -> int:
    """The file's schema number, 0 if it is empty. Raises before anything of a file that is not ours is changed."""
    newest = len(schema.scripts())
    mark = connection.execute("PRAGMA application_id").fetchone()[0]
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if mark != schema.application_id and (mark or version or tables):
        raise StoreBroken(
            f"{path} is not a {schema.name} database of syncd",
            "it was left as it is; move it away or correct the home directory",
        )
    if version > newest:
        raise SchemaTooNew(
            f"{path} has schema number {version}, this syncd knows numbers up to {newest}",
            "install the syncd version that wrote it, or a newer one; the file was left as it is",
        )
    return version


def bring_up_to_date(connection: sqlite3.Connection, path: Path, schema: Schema, version: int) -> None:
    """Creates the tables in an empty file, or migrates an older one."""
    scripts = schema.scripts()
    if version == len(scripts):
        return
    if version:
        _copy(connection, path, version)
    _migrate(connection, scripts[version:], schema.application_id, len(scripts))


def _copy(connection: sqlite3.Connection, path: Path, version: int) -> None:
    """A whole copy beside the file, under its name only when it is durable."""
    copy = path.with_name(f"{path.name}.v{version}-backup")
    unfinished = copy.with_name(f"{copy.name}.part")
    unfinished.unlink(missing_ok=True)
    connection.execute("VACUUM INTO ?", (str(unfinished),))
    for name in (unfinished, unfinished.parent):
        descriptor = os.open(name, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    os.replace(unfinished, copy)


def _migrate(connection: sqlite3.Connection, scripts: list[str], application_id: int, number: int) -> None:
    marks = f"PRAGMA application_id = {application_id:d}; PRAGMA user_version = {number:d};"
    try:
        connection.executescript("\n".join(["BEGIN IMMEDIATE;", *scripts, ";", marks, "COMMIT;"]))
    except sqlite3.Error:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
