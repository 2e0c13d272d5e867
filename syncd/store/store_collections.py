"""The sync store's collections, types and comparisons: plain functions that run in a database thread.

One file holds all collections; each has an own table of objects. In it the rowid is the change number, so that reading
in sequence order is reading the table in its own order; a changed object moves to the end. The only other order is the
unique index of (type, key), and a partial one over tombstones.

Published versions that were replaced are in a table of their own, in the order in which they were: its rowid is the
change that replaced the version, so that remembering is appending, and who knows a version finds the one before it.
Its other order is the change of the version, for what a group made. A tombstone that was forgotten is there with its
own change negated; a partial index finds those of an object.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from syncd.core import digest
from syncd.core.errors import InvariantBroken
from syncd.core.holding import Held
from syncd.core.model import DataType, Observed
from syncd.core.ports import ClassState, CollectionState
from syncd.core.selection import read_selection
from syncd.store.class_choice import Choice
from syncd.store.type_rows import COLUMNS, TypeRow, type_of, type_row

_CHOICES_MAX = 256  # selections that stay compiled


class CollectionRow(NamedTuple):
    """A row of the table ``collections``, as its columns are described in the schema."""

    id: int
    name: str
    head: int
    last: int
    horizon: int
    version: int
    digest: bytes
    objects: int
    source: str
    shape: int
    mark: int
    loose: int
    scanning: int
    scanned: int
    scan_start: int
    imported: int
    history: int
    history_bytes: int
    held: int
    held_last: int
    gone: int

    @property
    def table(self) -> str:
        return f"objects_{self.id:d}"

    @property
    def versions(self) -> str:
        """Former versions."""
        return f"versions_{self.id:d}"

    @property
    def seen(self) -> str:
        """Change numbers of older rows that the running comparison has seen; negated, those of newer rows that it has
        not. Lives as long as the connection."""
        return f"temp.seen_{self.id:d}"


_SELECT = f"SELECT {', '.join(CollectionRow._fields)} FROM collections WHERE name = ?"
_CREATE = """
CREATE TABLE objects_{0} (
    change INTEGER PRIMARY KEY,
    type INTEGER NOT NULL,
    key BLOB NOT NULL,
    born INTEGER NOT NULL,
    hash BLOB,
    fault TEXT NOT NULL,
    author INTEGER NOT NULL,
    fields BLOB
) STRICT;
CREATE UNIQUE INDEX object_{0} ON objects_{0} (type, key);
CREATE INDEX tombstone_{0} ON objects_{0} (change) WHERE hash IS NULL;
CREATE TABLE versions_{0} (
    until INTEGER PRIMARY KEY,
    change INTEGER NOT NULL,
    type INTEGER NOT NULL,
    author INTEGER NOT NULL,
    key BLOB NOT NULL,
    fields BLOB
) STRICT;
CREATE INDEX made_{0} ON versions_{0} (change);
CREATE INDEX gone_{0} ON versions_{0} (type, key, change) WHERE until < 0;
"""


@dataclass(frozen=True, slots=True)
class TypeSet:
    """The types of a collection at one shape. ``prefixes``: for hashing, by id, those of former types too.
    ``choices``: selections compiled for them, by canonical form."""

    shape: int
    current: tuple[DataType, ...]
    prefixes: dict[int, bytes]
    choices: dict[str, Choice] = field(default_factory=dict)

    def choice(self, canonical: str) -> Choice:
        """Asked for by both threads."""
        found = self.choices.get(canonical)
        if found is None:
            if len(self.choices) >= _CHOICES_MAX:
                self.choices.clear()
            found = self.choices[canonical] = Choice(read_selection(canonical), self.current)
        return found


def find(connection: sqlite3.Connection, name: str) -> CollectionRow | None:
    row = connection.execute(_SELECT, (name,)).fetchone()
    return None if row is None else CollectionRow(*row)


def get(connection: sqlite3.Connection, name: str) -> CollectionRow:
    row = find(connection, name)
    if row is None:
        raise InvariantBroken(f"the collection {name} was never opened in the sync store")
    return row


def create(connection: sqlite3.Connection, name: str) -> None:
    """Does nothing if it is there."""
    if find(connection, name) is None:
        number = connection.execute("INSERT INTO collections (name) VALUES (?)", (name,)).lastrowid
        for statement in _CREATE.format(number).split(";"):
            connection.execute(statement)


def epoch(connection: sqlite3.Connection) -> str:
    row = connection.execute("SELECT epoch FROM meta").fetchone()
    return "" if row is None else str(row[0])


def set_epoch(connection: sqlite3.Connection, value: str) -> None:
    connection.execute("DELETE FROM meta")
    connection.execute("INSERT INTO meta VALUES (?)", (value,))


def state(
    row: CollectionRow, types: TypeSet, epoch_: str, classes: tuple[ClassState, ...], held: Held | None
) -> CollectionState:
    return CollectionState(
        name=row.name,
        epoch=epoch_,
        head=row.head,
        horizon=row.horizon,
        digest=row.digest,
        objects=row.objects,
        published=row.last == row.head,
        source=row.source,
        mark=row.mark,
        imported=bool(row.imported),
        scanning=bool(row.scanning),
        types=types.current,
        classes=classes,
        held=held,
        remembers=row.history,
    )


# ---------------------------------------------------------------- types


def load_types(connection: sqlite3.Connection, row: CollectionRow) -> TypeSet:
    found: list[TypeRow] = connection.execute(
        f"SELECT {COLUMNS} FROM types WHERE collection = ? ORDER BY place", (row.id,)
    ).fetchall()
    former = connection.execute("SELECT count(*) FROM types WHERE collection = ? AND place IS NULL", (row.id,))
    types = [type_of(columns) for columns in found]
    prefixes = {type_.id: digest.type_prefix(type_.name) for type_ in types}
    return TypeSet(row.shape, tuple(types[former.fetchone()[0] :]), prefixes)


def set_source(
    connection: sqlite3.Connection, name: str, source: str, types: Sequence[DataType]
) -> tuple[DataType, ...]:
    """See ``core.ports.SyncStore``. Objects of a type that got another id go with it."""
    row = get(connection, name)
    found = connection.execute(f"SELECT {COLUMNS} FROM types WHERE collection = ?", (row.id,)).fetchall()
    before = {type_.name: type_ for type_ in map(type_of, found)}
    former = load_types(connection, row).current
    connection.execute("UPDATE types SET place = NULL WHERE collection = ?", (row.id,))
    numbered = tuple(
        _number_type(connection, row, place, type_, before.get(type_.name)) for place, type_ in enumerate(types)
    )
    same = (row.source, former) == (source, numbered)
    connection.execute(
        "UPDATE collections SET source = ?, shape = shape + 1, version = version + 1, scanning = ? WHERE id = ?",
        (source, row.scanning if same else 1, row.id),
    )
    return numbered


def _number_type(
    connection: sqlite3.Connection, row: CollectionRow, place: int, type_: DataType, before: DataType | None
) -> DataType:
    same = before is not None and (before.key, before.fields) == (type_.key, type_.fields)
    number, *columns = type_row(replace(type_, id=before.id if same and before is not None else 0))
    since = connection.execute("SELECT since FROM types WHERE id = ?", (number,)).fetchone()[0] if same else row.last
    if before is not None:
        connection.execute("DELETE FROM types WHERE id = ?", (before.id,))
    written = connection.execute(
        f"INSERT INTO types (collection, place, since, {COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (row.id, place, since, number or None, *columns),
    ).lastrowid
    if written is None:
        raise InvariantBroken(f"no id was given to the type {type_.name}")
    if before is not None and not same:
        connection.execute(f"UPDATE {row.table} SET type = ? WHERE type = ?", (written, before.id))
        moved = (written, row.id, before.id)
        connection.execute("UPDATE held_objects SET type = ? WHERE collection = ? AND type = ?", moved)
    return replace(type_, id=written)


def holds(connection: sqlite3.Connection, name: str, type_id: int) -> bool:
    row = get(connection, name)
    found = connection.execute(f"SELECT 1 FROM {row.table} WHERE type = ? AND hash IS NOT NULL LIMIT 1", (type_id,))
    return found.fetchone() is not None


# ---------------------------------------------------------------- comparison


def begin_scan(connection: sqlite3.Connection, name: str) -> None:
    row = get(connection, name)
    connection.execute(f"DROP TABLE IF EXISTS {row.seen}")
    connection.execute(f"CREATE TABLE {row.seen} (change INTEGER PRIMARY KEY)")
    connection.execute(
        "UPDATE collections SET scanning = 1, scanned = 0, scan_start = last WHERE id = ?",
        (row.id,),
    )
    if row.held:  # what is held is not the comparison's to delete
        connection.execute(
            f"INSERT OR IGNORE INTO {row.seen} SELECT change FROM {row.table} AS one WHERE EXISTS (SELECT 1 FROM"
            " held_objects AS held WHERE collection = ? AND held.type = one.type AND held.key = one.key)",
            (row.id,),
        )


def stays_unseen(connection: sqlite3.Connection, row: CollectionRow, former: int, change: int) -> None:
    """A row got another change without being seen."""
    seen = connection.execute(f"SELECT 1 FROM {row.seen} WHERE change = ?", (former,)).fetchone()
    if (former <= row.scan_start and not seen) or connection.execute(
        f"DELETE FROM {row.seen} WHERE change = ?", (-former,)
    ).rowcount:
        connection.execute(f"INSERT INTO {row.seen} VALUES (?)", (-change,))


def are_seen(connection: sqlite3.Connection, row: CollectionRow, equal: Iterable[int], moved: Iterable[int]) -> None:
    """Rows that the comparison found equal, and those that it found changed, by the change that they had."""
    marks = ((change,) for change in equal if change <= row.scan_start)
    connection.executemany(f"INSERT OR IGNORE INTO {row.seen} VALUES (?)", marks)
    newer = ((-change,) for part in (equal, moved) for change in part if change > row.scan_start)
    connection.executemany(f"DELETE FROM {row.seen} WHERE change = ?", newer)


def forget_seen(connection: sqlite3.Connection, row: CollectionRow) -> None:
    """The comparison is complete."""
    connection.execute(f"DROP TABLE IF EXISTS {row.seen}")


def scan_runs(connection: sqlite3.Connection, row: CollectionRow) -> bool:
    """Whether a comparison was begun on this connection; one of an earlier run is begun again by the engine."""
    if not row.scanning:
        return False
    found = connection.execute("SELECT 1 FROM temp.sqlite_master WHERE name = ?", (row.seen.removeprefix("temp."),))
    return found.fetchone() is not None


def unseen(connection: sqlite3.Connection, name: str, limit: int) -> Sequence[Observed]:
    row = get(connection, name)
    if not scan_runs(connection, row):
        raise InvariantBroken(f"no comparison of {name} runs")
    found = connection.execute(
        f"SELECT type, key, change {_unseen(row)} UNION ALL SELECT type, key, change {_touched(row)}"
        " ORDER BY change LIMIT ?",
        (row.scan_start, limit),
    )
    return [Observed(type_, key, None) for type_, key, _ in found]


def see(connection: sqlite3.Connection, row: CollectionRow, objects: Sequence[Observed]) -> None:
    """The running comparison is done with these."""
    connection.executemany(
        f"INSERT OR IGNORE INTO {row.seen} SELECT change FROM {row.table} WHERE type = ? AND key = ?",
        [(one.type, one.key) for one in objects],
    )


def count_unseen(connection: sqlite3.Connection, row: CollectionRow) -> int:
    """Of types that the application has: of one that is gone as such a person was asked before."""
    there = "type IN (SELECT id FROM types WHERE collection = ? AND place IS NOT NULL)"
    query = f"SELECT (SELECT count(*) {_unseen(row)} AND {there}) + (SELECT count(*) {_touched(row)} AND {there})"
    count: int = connection.execute(query, (row.scan_start, row.id, row.id)).fetchone()[0]
    return count


def _touched(row: CollectionRow) -> str:
    """Rows that have another change since the comparison began, and were not seen by it."""
    return f"FROM {row.table} WHERE change IN (SELECT -change FROM {row.seen} WHERE change < 0) AND hash IS NOT NULL"


def _unseen(row: CollectionRow) -> str:
    return (
        f"FROM {row.table} AS held WHERE change <= ? AND hash IS NOT NULL"
        f" AND NOT EXISTS (SELECT 1 FROM {row.seen} AS seen WHERE seen.change = held.change)"
    )
