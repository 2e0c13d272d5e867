"""What a target keeps in the application's database of the collection that it holds: position, types."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping

from syncd.applications.sqlite_common import is_there
from syncd.core import digest
from syncd.core.model import DataType
from syncd.core.ports import TargetState

POSITION, TYPES = "_syncd_position", "_syncd_types"
NOTHING = TargetState("", 0, digest.EMPTY, 0)


class Position:
    """Of one collection. What is kept is kept in the transaction of the caller (R4)."""

    def __init__(self, connection: sqlite3.Connection, collection: str) -> None:
        self._connection = connection
        self._run = connection.execute
        self._collection = collection
        self._types: dict[int, DataType] | None = None  # as they are kept, if that is known

    def forget(self) -> None:
        """A transaction failed: what is known may have been rolled back."""
        self._types = None

    def state(self) -> TargetState | None:
        """The position kept in the database; None if there is none."""
        sql = f"SELECT epoch, position, digest, objects, plan FROM {POSITION} WHERE collection = ?"
        try:
            row = self._run(sql, (self._collection,)).fetchone()
        except sqlite3.OperationalError:
            if is_there(self._connection, POSITION):
                raise
            return None
        return None if row is None else TargetState(*row)

    def make(self) -> None:
        """The tables that it is kept in."""
        self._run(
            f"CREATE TABLE IF NOT EXISTS {POSITION}(collection TEXT PRIMARY KEY, epoch TEXT NOT NULL,"
            " position INTEGER NOT NULL, digest BLOB NOT NULL, objects INTEGER NOT NULL, plan INTEGER NOT NULL)"
        )
        self._run(f"CREATE TABLE IF NOT EXISTS {TYPES}(collection TEXT PRIMARY KEY, types TEXT NOT NULL)")

    def keep(self, state: TargetState) -> None:
        self._run(
            f"INSERT INTO {POSITION} VALUES(?, ?, ?, ?, ?, ?) ON CONFLICT(collection) DO UPDATE SET"
            " epoch = excluded.epoch, position = excluded.position, digest = excluded.digest,"
            " objects = excluded.objects, plan = excluded.plan",
            (self._collection, state.epoch, state.position, state.digest, state.objects, state.plan),
        )

    def keep_types(self, types: Mapping[int, DataType]) -> None:
        """A recount needs the types before any work has come."""
        text = json.dumps([[one.id, one.name, one.key, one.fields, one.definition] for one in types.values()])
        self._run(
            f"INSERT INTO {TYPES} VALUES(?, ?) ON CONFLICT(collection) DO UPDATE SET types = excluded.types"
            " WHERE types <> excluded.types",
            (self._collection, text),
        )
        self._types = None

    def types(self) -> dict[int, DataType]:
        """Those that were kept; none before the first work."""
        if self._types is None:
            self._types = self._read_types()
        return self._types

    def _read_types(self) -> dict[int, DataType]:
        if not is_there(self._connection, TYPES):
            return {}
        row = self._run(f"SELECT types FROM {TYPES} WHERE collection = ?", (self._collection,)).fetchone()
        types: dict[int, DataType] = {}
        for number, type_name, key, fields, definition in json.loads(row[0]) if row else ():
            types[number] = DataType(number, type_name, tuple(key), tuple(fields), tuple(definition))
        return types
