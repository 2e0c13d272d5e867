"""What the application's own triggers do to a collection while a work is executed.

They fire for what is written and may write on: the same row, or rows of other tables of the collection. Where a table
has any, triggers of our connection alone (TEMP) note each row that is touched, with what it was before. From that note
the checksum follows what is there, not what was sent, and what is not as it was sent is written again.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence

from syncd.adapters.canonical import Value, pack_values
from syncd.applications.base import RowFailed
from syncd.applications.sqlite_apply import Applier
from syncd.applications.sqlite_common import collated, name, names
from syncd.applications.sqlite_definition import Shape
from syncd.applications.sqlite_noted import SEEN
from syncd.applications.sqlite_tables import Chunks, Tables, robust
from syncd.core import digest
from syncd.core.errors import TargetHeld

_PREFIX = "_syncd_touched_"
_PASSES = 3  # what a trigger changes again each time stays as the trigger has it, and differs
_UNTOLD_MAX = 10_000  # rows touched that no message names; more stay as a trigger has them, and differ
_REPLACES = re.compile(r"\b(OR\s+REPLACE|REPLACE\s+INTO|CONFLICT\s+REPLACE)\b", re.IGNORECASE)


class Touched:
    """The notes on one connection. ``replaces``: a trigger may remove rows by REPLACE, which no trigger sees."""

    def __init__(self, connection: sqlite3.Connection, shapes: Sequence[Shape]) -> None:
        self._connection = connection
        self._shapes = shapes
        triggers = connection.execute("SELECT sql FROM main.sqlite_master WHERE type = 'trigger'").fetchall()
        schema = [sql for shape in shapes for sql in shape.table.definition] + [sql for (sql,) in triggers]
        self.replaces = any(_REPLACES.search(sql) for sql in schema)
        for shape in shapes:
            for sql in _noting(shape):
                connection.execute(sql)

    def forget(self) -> None:
        """A try begins."""
        for shape in self._shapes:
            self._connection.execute(f"DELETE FROM temp.{_PREFIX}{shape.name_id}")

    def change(self) -> tuple[int, int]:
        """What the try did to the checksum and to the number of objects."""
        change, objects = 0, 0
        for shape in self._shapes:
            found = robust(self._connection, lambda: self._change(shape))  # noqa: B023
            change, objects = change + found[0], objects + found[1]
        return change, objects

    def _change(self, shape: Shape) -> tuple[int, int]:
        change, objects, width = 0, 0, shape.width
        for before, after in self._rows(shape):
            for row, sign in ((before, -1), (after, 1)):
                if row is not None:
                    change += sign * digest.object_hash(
                        shape.prefix, pack_values(row[:width]), pack_values(row[width:])
                    )
                    objects += sign
        return change, objects

    def restore_untold(self, applier: Applier) -> None:
        """What was touched and no message of the work names becomes what it was. Raises RowFailed."""
        for shape in self._shapes:
            for key, before in robust(self._connection, lambda: self._untold(shape)):  # noqa: B023
                packed = pack_values(key)
                if before is None:
                    applier.guarded(shape, packed, lambda: applier.delete(shape, packed, key))  # noqa: B023
                else:
                    fields = pack_values(before[shape.width :])
                    applier.guarded(shape, packed, lambda: applier.upsert(shape, packed, fields, before))  # noqa: B023

    def _untold(self, shape: Shape) -> list[tuple[Sequence[Value], Sequence[Value] | None]]:
        """Keys, each with the row that it was, of those that are not as they were."""
        found: list[tuple[Sequence[Value], Sequence[Value] | None]] = []
        for before, after in self._rows(shape):
            rows = [row for row in (before, after) if row is not None]
            if before != after and not any(self._told(shape, row) for row in rows):
                found.append((rows[0][: shape.width], before))
                if len(found) >= _UNTOLD_MAX:
                    break
        return found

    def _told(self, shape: Shape, row: Sequence[Value]) -> bool:
        return SEEN.has(self._connection, shape.name_id, pack_values(row[: shape.width]))

    def _rows(self, shape: Shape) -> Iterator[tuple[Sequence[Value] | None, Sequence[Value] | None]]:
        """Each row touched, as it was before and as it is."""
        collations = shape.table.key_collations
        keys = ", ".join(collated(f"c{at}", one) for at, one in enumerate(collations))
        noted = f"SELECT min(rowid), * FROM temp.{_PREFIX}{shape.name_id} GROUP BY {keys}"
        for _, was, *before in self._connection.execute(noted):
            after = self._connection.execute(shape.select, before[: shape.width]).fetchone()
            yield before if was else None, None if after is None else list(after)


def watch(connection: sqlite3.Connection, tables: Tables) -> Touched | None:
    """Notes on the tables as they are, if any of them has triggers of the application; else nothing is noted."""
    left = "SELECT type, name FROM temp.sqlite_master WHERE substr(name, 1, ?) = ? ORDER BY type DESC"
    for kind, one in connection.execute(left, (len(_PREFIX), _PREFIX)).fetchall():
        connection.execute(f"DROP {kind} temp.{name(one)}")
    if not any(shape.table.triggers for shape in tables.current):
        return None
    return Touched(connection, tables.current)


def settle(connection: sqlite3.Connection, applier: Applier, chunks: Chunks, beyond: Callable[[], None]) -> None:
    """Writes again what is not as it was sent, until all is or that is in vain. ``beyond``: puts right what the work
    does not name."""
    applier.mending = True
    for _ in range(_PASSES):
        applier.mended = False
        connection.execute("SAVEPOINT mending")
        try:
            applier.execute(chunks)
            beyond()
        except RowFailed as error:
            if not connection.in_transaction:
                raise TargetHeld(error.failure.cause, "change or remove what forbids it on this machine") from error
            connection.execute("ROLLBACK TO mending")
            applier.mended = False
        connection.execute("RELEASE mending")
        if not applier.mended:
            return


def _noting(shape: Shape) -> Iterator[str]:
    """SQL: a table for the notes and the triggers that make them. What a row was is noted before anything fires."""
    notes, table = f"{_PREFIX}{shape.name_id}", name(shape.table.name)
    columns = [f"c{at}" for at in range(len(shape.columns))]
    yield f"CREATE TEMP TABLE {notes}(was, {', '.join(columns)})"
    old = ", ".join(f"OLD.{name(one)}" for one in shape.columns)
    new = ", ".join(f"NEW.{name(one)}" for one in shape.type.key)
    same = " AND ".join(
        f"{collated(f'NEW.{name(key)}', collation)} IS OLD.{name(key)}"
        for key, collation in zip(shape.table.key, shape.table.key_collations, strict=True)
    )
    for_key = f"{notes}(was, {names(tuple(columns[: shape.width]))})"
    made = {
        "BEFORE UPDATE": f"INSERT INTO {notes} VALUES(1, {old})",
        "AFTER UPDATE": f"INSERT INTO {for_key} SELECT 0, {new} WHERE NOT ({same})",
        "BEFORE DELETE": f"INSERT INTO {notes} VALUES(1, {old})",
        "AFTER INSERT": f"INSERT INTO {for_key} VALUES(0, {new})",
    }
    for event, deed in made.items():
        trigger = f"{notes}_{event.lower().replace(' ', '_')}"
        yield f"CREATE TEMP TRIGGER {trigger} {event} ON main.{table} BEGIN {deed}; END"
