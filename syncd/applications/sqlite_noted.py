"""Sets of objects that a try takes note of: in temporary tables, because they may outgrow memory (R15)."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterable, Iterator, Sequence

_ROWS = 256  # added by one statement


class Noted:
    """A set of objects, each as the id of its name (``Tables.name_ids``) and its packed key. The table is of the
    connection, and made with ``table``."""

    def __init__(self, name: str) -> None:
        table = f"temp._syncd_{name}"
        self.table = f"CREATE TABLE {table}(name_id INTEGER, key BLOB, PRIMARY KEY(name_id, key)) WITHOUT ROWID"
        self._add = f"INSERT INTO {table} VALUES(?, ?) ON CONFLICT DO NOTHING"
        self._add_listed = self._add.replace("(?, ?)", ", ".join(["(?, ?)"] * _ROWS))
        self._has = f"SELECT 1 FROM {table} WHERE name_id = ? AND key = ?"
        self._among = f"SELECT key FROM {table} WHERE name_id = ? AND key IN ({{}})"
        self._all = f"SELECT name_id, key FROM {table}"
        self._count = f"SELECT count(*) FROM {table}"
        self._clear = f"DELETE FROM {table}"

    def clear(self, connection: sqlite3.Connection) -> None:
        connection.execute(self._clear)

    def add(self, connection: sqlite3.Connection, name_id: int, key: bytes) -> bool:
        """True the first time."""
        return connection.execute(self._add, (name_id, key)).rowcount == 1

    def add_all(self, connection: sqlite3.Connection, objects: Iterable[tuple[int, bytes]]) -> int:
        """How many were not in it."""
        before, left = connection.total_changes, iter(objects)
        while len(part := list(itertools.islice(left, _ROWS))) == _ROWS:
            connection.execute(self._add_listed, list(itertools.chain.from_iterable(part)))
        connection.executemany(self._add, part)
        return connection.total_changes - before

    def has(self, connection: sqlite3.Connection, name_id: int, key: bytes) -> bool:
        return connection.execute(self._has, (name_id, key)).fetchone() is not None

    def among(self, connection: sqlite3.Connection, name_id: int, keys: Sequence[bytes]) -> set[bytes]:
        """Those of the keys, few hundreds at most, that are in it."""
        size = 1 << max(0, len(keys) - 1).bit_length()  # few sizes: each is one prepared statement
        asked = [*keys, *[keys[-1]] * (size - len(keys))] if keys else []
        sql = self._among.format(", ".join("?" * len(asked)))
        return {key for (key,) in connection.execute(sql, (name_id, *asked))}

    def all(self, connection: sqlite3.Connection) -> Iterator[tuple[int, bytes]]:
        return iter(connection.execute(self._all).fetchall())

    def count(self, connection: sqlite3.Connection) -> int:
        found: int = connection.execute(self._count).fetchone()[0]
        return found


SEEN = Noted("seen")  # objects that the work names
BROUGHT = Noted("brought")  # objects of the frames read so far, to find what comes again
MADE = Noted("made")  # objects that were not there before this try
NEWEST = Noted("newest")  # objects that came under the newest name of their table
CHILDREN = Noted("child")  # rows that were written and may name a parent
ALL = (SEEN, BROUGHT, MADE, NEWEST, CHILDREN)
