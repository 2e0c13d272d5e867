"""What a snapshot brought to tables that held rows before (R5, R14).

Of a table in which each row is known to be one that was sent, as it was sent, nothing need be read a second time: not
to find what goes, and not to count. That is so where every row was written, or read and found equal, in this try, and
the table holds no others; whatever is less plain is looked through.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence

from syncd.adapters.canonical import Value, pack_values
from syncd.applications.sqlite_bulk import held_rows
from syncd.applications.sqlite_common import name
from syncd.applications.sqlite_definition import Shape
from syncd.applications.sqlite_tables import Columns
from syncd.core.digest import object_hash


def hashes_of(shape: Shape, piece: Columns) -> Iterator[int]:
    """Of objects with fields, in their order."""
    return map(object_hash, itertools.repeat(shape.prefix), piece.keys, piece.fields)


class Sent:
    """Of one try. ``plain``: all that was done so far is in the account, and no object came twice."""

    def __init__(self, plain: bool) -> None:
        self.plain = plain
        self._rows: Counter[int] = Counter()  # by name id
        self._sums: Counter[int] = Counter()  # of their hashes

    def holds(self, shape: Shape, rows: int, hashes: int) -> None:
        """The table holds these rows, all of other objects than those before; the sum of their hashes."""
        self._rows[shape.name_id] += rows
        self._sums[shape.name_id] += hashes

    def look_again(
        self, connection: sqlite3.Connection, shape: Shape, keys: Sequence[list[Value]], fields: Sequence[bytes]
    ) -> None:
        """Rows that were something else before: the table may keep them as something else again (R14)."""
        if not (keys and self.plain and shape.table.exact):
            return
        held = held_rows(connection, shape, [*keys])
        found = (held.get(tuple(key)) for key in keys)
        self.plain = all(
            row is not None and pack_values(row[shape.width :]) == packed
            for row, packed in zip(found, fields, strict=True)
        )

    def nothing_else(self, connection: sqlite3.Connection, shape: Shape) -> bool:
        """Whether the table holds what was sent, and no other row."""
        if not (self.plain and shape.table.exact):
            return False
        rows: int = connection.execute(f"SELECT count(*) FROM {name(shape.table.name)}").fetchone()[0]
        return rows == self._rows[shape.name_id]

    def total(self, connection: sqlite3.Connection, shapes: Sequence[Shape]) -> tuple[int, int] | None:
        """The sum of the hashes of all that the tables hold, and its number; None where that must be counted."""
        if not all(self.nothing_else(connection, shape) for shape in shapes):
            return None
        return self._sums.total(), self._rows.total()
