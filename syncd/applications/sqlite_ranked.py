"""Rows of a table that refers to itself, parents before the rows that refer to them: so they are offered, a part at a
time, and each part finds its parents where those before it were executed.

They are ranked in passes, in a temporary table: in each those whose parents are ranked. What is left then follows in
the order of the keys: rows that refer to each other in a ring, and of a chain against that order what is over
``_PASSES_MAX``. In the database's thread, inside a transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence

from syncd.adapters.canonical import Value, pack_values
from syncd.applications.sqlite_common import fold, name
from syncd.applications.sqlite_foreign_keys import ForeignKey, ForeignKeys
from syncd.applications.sqlite_read import Reader, size_bytes
from syncd.applications.sqlite_schema import Table
from syncd.core.model import Observed
from syncd.core.settings import Limits

_PASSES_MAX = 50  # each reads all of the table
_RANKED = "temp._syncd_ranked"


class Ranked:
    """The rows of one table. ``foreign_keys``: all of its schema."""

    def __init__(self, connection: sqlite3.Connection, reader: Reader, foreign_keys: ForeignKeys) -> None:
        self._reader = reader
        self._run = connection.execute
        self._connection = connection
        self._table = table = reader.table
        self._own = [fk for fk in foreign_keys.to_itself(table.name) if _is_key(fk, table)]
        self._order = ", ".join(table.key_order("c."))
        self._filled = " AND ".join(f"c.{name(key)} IS NOT NULL" for key in table.key)

    def _is_needed(self) -> bool:
        """Whether a row refers to one that follows it in the order of the keys."""
        return any(
            self._run(
                f"SELECT 1 FROM {name(self._table.name)} AS c CROSS JOIN {name(self._table.name)} AS p"
                f" WHERE {fk.naming_parent()} AND ({', '.join(self._table.key_order('p.'))}) > ({self._order}) LIMIT 1"
            ).fetchone()
            for fk in self._own
        )

    def rank(self) -> bool:
        """Ranks the rows as they are. False: it is not needed."""
        if not self._is_needed():
            return False
        keys = [f"k{at}" for at in range(len(self._table.key))]
        self._run(f"DROP TABLE IF EXISTS {_RANKED}")
        columns = ", ".join(keys)
        self._run(f"CREATE TEMP TABLE _syncd_ranked(n INTEGER PRIMARY KEY, {columns}, UNIQUE({columns}))")
        free = " AND ".join(f"NOT EXISTS ({self._unranked_parent(fk)})" for fk in self._own)
        for _ in range(_PASSES_MAX):
            if not self._rank_where(free):
                break
        self._rank_where("1")
        return True

    def page(self, after: int, limit: int, limits: Limits) -> tuple[list[Observed], int | None]:
        """Those that follow the rank, and where the next page begins (None: it was the last)."""
        observed: list[Observed] = []
        size = 0
        asked = self._run(f"SELECT * FROM {_RANKED} WHERE n > ? ORDER BY n LIMIT ?", (after, limit)).fetchall()
        for at, (rank, *key) in enumerate(asked, 1):
            found = list(self._object(key))
            observed += found
            size += sum(map(size_bytes, found))
            if at == limit or size >= limits.scan_bytes_max:
                return observed, rank
        return observed, None

    def _object(self, key: Sequence[Value]) -> Iterator[Observed]:
        """The row with the key, if it is there yet."""
        packed = pack_values(key)
        for one in self._reader.one(self._connection, key, packed):
            if one.key == packed and (one.fields is not None or one.fault):
                yield one

    def _rank_where(self, condition: str) -> int:
        """How many more are ranked."""
        columns = ", ".join(f"c.{name(key)}" for key in self._table.key)
        given = ", ".join(f"k{at}" for at in range(len(self._table.key)))
        ranked = self._is_ranked("c")
        return self._run(
            f"INSERT INTO {_RANKED}({given}) SELECT {columns} FROM {name(self._table.name)} AS c"
            f" WHERE {self._filled} AND NOT {ranked} AND {condition} ORDER BY {self._order}"
        ).rowcount

    def _unranked_parent(self, fk: ForeignKey) -> str:
        same = " AND ".join(f"p.{name(key)} IS c.{name(key)}" for key in self._table.key)
        return (
            f"SELECT 1 FROM {name(self._table.name)} AS p WHERE {fk.naming_parent()} AND NOT ({same})"
            f" AND NOT {self._is_ranked('p')}"
        )

    def _is_ranked(self, row: str) -> str:
        equal = " AND ".join(f"r.k{at} = {row}.{name(key)}" for at, key in enumerate(self._table.key))
        return f"EXISTS (SELECT 1 FROM {_RANKED} AS r WHERE {equal})"


def _is_key(fk: ForeignKey, table: Table) -> bool:
    """Whether a parent is found by an index; else it is no foreign key that SQLite takes."""
    named = {fold(column) for column in fk.parent_columns}
    keys = [table.key, *(tuple(part.column or "" for part in one.parts) for one in table.unique if not one.condition)]
    return any(named == set(map(fold, key)) for key in keys)
