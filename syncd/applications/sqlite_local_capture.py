"""Capture in a target's database: triggers that log which rows the application changed, and what they were before.

As the primary's (``sqlite_capture``), by VALUES where it can be, with the row as it was in the log (its *image*), and
for each collection with tables of its own. The first image of a row after a mark is what the row was at the mark, so
nothing may be done to a row before it is logged: our triggers are made last, because SQLite runs the newest first; and
a row that changes, goes or is replaced is logged before, because foreign keys act on rows before any AFTER trigger
does. A column that is not of the key may be dropped by the application: it is named as ``sqlite_replace`` says.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Sequence

from syncd.applications.sqlite_capture import key_moved
from syncd.applications.sqlite_common import fold, is_there, name, schema_version
from syncd.applications.sqlite_definition import Shape
from syncd.applications.sqlite_replace import ROW, in_the_way, new_value, nulls
from syncd.core.settings import Limits

LOCALS, CAPTURED = (
    "_syncd_locals",
    "_syncd_captured",
)  # number of a collection; of a table with its columns and triggers
IMAGE_AT = 4  # where the row begins in the log: n (number), t (of the table), r (nonce), w (with an image), c0, ...


class LocalCapture:
    """The capture of one collection. Call what changes it inside a transaction, and ``there`` before all else."""

    def __init__(self, connection: sqlite3.Connection, collection: str, limits: Limits) -> None:
        self._connection = connection
        self._run = connection.execute
        self._collection = collection
        self._limits = limits
        self._number = 0
        self.there_at = -1  # schema_version at which it was found to be there
        self._tables: dict[int, tuple[str, tuple[str, ...]]] | None = None  # those known then

    @property
    def log(self) -> str:
        return f"_syncd_local_{self._number}_log"

    @property
    def control(self) -> str:
        return f"_syncd_local_{self._number}_control"

    def there(self) -> bool:
        """Whether it was installed once."""
        version = schema_version(self._connection)
        if version == self.there_at:
            return True
        self._tables = None
        self._number = self._numbered() if is_there(self._connection, LOCALS) else 0
        found = self._number != 0 and all(is_there(self._connection, one) for one in (self.log, self.control))
        self.there_at = version if found else -1
        return found

    def intact(self) -> bool:
        """Whether nothing passed unseen: the triggers are as they were made."""
        return self._made() == self._installed()

    def fits(self, shapes: Sequence[Shape]) -> bool:
        """Whether the triggers are as the tables need them, and run before those of the application."""
        numbers = {(table, columns): number for number, (table, columns) in self.known().items()}
        wanted = [(fold(shape.table.name), shape.columns) for shape in shapes]
        if not all(one in numbers for one in wanted):
            return False
        triggers = {
            trigger: sql
            for shape, one in zip(shapes, wanted, strict=True)
            for trigger, sql in self._triggers(shape, numbers[one])
        }
        return triggers == self._made() and not self._late(triggers)

    def install(self, shapes: Sequence[Shape], lost: bool) -> None:
        """Makes it as the tables need it. ``lost``: changes may have passed unseen."""
        self._side_tables(max((len(shape.columns) for shape in shapes), default=1))
        self.remove_triggers()
        for shape in shapes:  # a number stands for these columns for ever, so that rows of the log stay readable
            row = (self._number, fold(shape.table.name), json.dumps(shape.columns))
            self._run(f"INSERT INTO {CAPTURED}(c, name, columns) VALUES(?, ?, ?) ON CONFLICT DO NOTHING", row)
        numbers = {known: number for number, known in self.known().items()}
        self._run(f"UPDATE {CAPTURED} SET made = '{{}}' WHERE c = ?", (self._number,))
        for shape in shapes:
            number = numbers[fold(shape.table.name), shape.columns]
            made = dict(self._triggers(shape, number))
            for sql in made.values():
                self._run(sql)
            self._run(f"UPDATE {CAPTURED} SET made = ? WHERE t = ?", (json.dumps(made), number))
        self._run(f"UPDATE {self.control} SET lost = max(lost, ?)", (lost,))

    def remove(self) -> None:
        """As if it had never been."""
        self.remove_triggers()
        for table in (self.log, self.control):
            self._run(f"DROP TABLE IF EXISTS {table}")
        self._run(f"DELETE FROM {CAPTURED} WHERE c = ?", (self._number,))
        self._run(f"DELETE FROM {LOCALS} WHERE c = ?", (self._number,))
        self._number, self.there_at = 0, -1

    def remove_triggers(self) -> None:
        for trigger in self._installed():
            self._run(f"DROP TRIGGER {name(trigger)}")

    @contextlib.contextmanager
    def silent(self, without: bool) -> Iterator[None]:
        """Nothing of what is written meanwhile is logged (R12). ``without``: very much is written, so that there are no
        triggers meanwhile: asking each whether it is silent costs more. Call it where the capture is there."""
        made = self._made() if without else {}
        for trigger in made:
            self._run(f"DROP TRIGGER IF EXISTS {name(trigger)}")
        self._run(f"UPDATE {self.control} SET applying = 1")
        yield  # after an error the transaction is rolled back, and this with it
        self._run(f"UPDATE {self.control} SET applying = 0")
        for sql in made.values():
            self._run(sql)

    def known(self) -> dict[int, tuple[str, tuple[str, ...]]]:
        """Number of a table in the log -> its folded name, and the columns of its images."""
        rows = self._run(f"SELECT t, name, columns FROM {CAPTURED} WHERE c = ?", (self._number,)).fetchall()
        return {number: (table, tuple(json.loads(columns))) for number, table, columns in rows}

    def tables(self) -> dict[int, tuple[str, tuple[str, ...]]]:
        """Those known, looked up once while it is there: another is made known with other triggers."""
        if self._tables is None:
            self._tables = self.known()
        return self._tables

    def _numbered(self) -> int:
        row = self._run(f"SELECT c FROM {LOCALS} WHERE collection = ?", (self._collection,)).fetchone()
        return row[0] if row else 0

    def _made(self) -> dict[str, str]:
        """Our triggers as they were made."""
        made: dict[str, str] = {}
        for (one,) in self._run(f"SELECT made FROM {CAPTURED} WHERE c = ?", (self._number,)).fetchall():
            made |= json.loads(one)
        return made

    def _installed(self) -> dict[str, str]:
        """Our triggers for tables that this collection has or had."""
        numbers = ", ".join(map(str, self.known()))
        rows = self._run(
            "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND name GLOB '_syncd_local_[0-9]*'"
            f" AND CAST(substr(name, {len('_syncd_local_') + 1}) AS INTEGER) IN ({numbers})"
        )
        return dict(rows.fetchall())

    def _late(self, ours: dict[str, str]) -> bool:
        """Whether a trigger of the application was made after one of ours on its table."""
        rows = self._run("SELECT tbl_name, name FROM sqlite_master WHERE type = 'trigger' ORDER BY rowid").fetchall()
        seen: set[str] = set()
        for table, trigger in rows:
            if trigger in ours:
                seen.add(fold(table))
            elif fold(table) in seen and not trigger.startswith("_syncd_"):
                return True
        return False

    def _side_tables(self, width: int) -> None:
        run = self._run
        run(f"CREATE TABLE IF NOT EXISTS {LOCALS}(c INTEGER PRIMARY KEY, collection TEXT NOT NULL UNIQUE)")
        run(
            f"CREATE TABLE IF NOT EXISTS {CAPTURED}(t INTEGER PRIMARY KEY, c INTEGER NOT NULL, name TEXT NOT NULL,"
            " columns TEXT NOT NULL, made TEXT NOT NULL DEFAULT '{}', UNIQUE(c, name, columns))"
        )
        run(f"INSERT INTO {LOCALS}(collection) VALUES(?) ON CONFLICT DO NOTHING", (self._collection,))
        self._number = self._numbered()
        columns = ", ".join(f"c{at}" for at in range(width))  # without types, so that values stay what they are
        run(f"CREATE TABLE IF NOT EXISTS {self.log}(n INTEGER PRIMARY KEY, t INTEGER, r INTEGER, w INTEGER, {columns})")
        held: int = run("SELECT count(*) FROM pragma_table_info(?)", (self.log,)).fetchone()[0]
        for at in range(held - IMAGE_AT, width):
            run(f"ALTER TABLE {self.log} ADD COLUMN c{at}")
        run(f"CREATE TABLE IF NOT EXISTS {self.control}(applying INTEGER NOT NULL, lost INTEGER NOT NULL)")
        if run(f"SELECT count(*) FROM {self.control}").fetchone()[0] != 1:
            run(f"DELETE FROM {self.control}")
            run(f"INSERT INTO {self.control} VALUES(0, 0)")

    def _triggers(self, shape: Shape, number: int) -> list[tuple[str, str]]:
        """The triggers of one table: name, SQL."""
        table, keys, fields = name(shape.table.name), shape.type.key, shape.type.fields
        when = (
            f"(SELECT applying FROM {self.control}) IS NOT 1 AND ifnull((SELECT max(n) FROM {self.log})"
            f" - (SELECT min(n) FROM {self.log}), 0) < {self._limits.log_rows_max - 1}"
        )
        into_columns = [f"c{at}" for at in range(len(shape.columns))]
        into_key = f"INSERT INTO {self.log}(t, r, w, {', '.join(into_columns[: shape.width])})"
        into_image = f"INSERT INTO {self.log}(t, r, w, {', '.join(into_columns)})"
        new_key = f"{into_key} VALUES({number}, random(), 0, {', '.join(f'NEW.{name(one)}' for one in keys)})"
        to_be = ", ".join(new_value(one, dict(shape.table.defaults)) for one in keys)
        to_be_key = f"{into_key} SELECT {number}, random(), 0, {to_be}"
        image = ", ".join([f"OLD.{name(one)}" for one in keys] + [_of_old(one) for one in fields])
        old_image = f"{into_image} VALUES({number}, random(), 1, {image})"
        bodies = [
            ("insert", "AFTER INSERT", when, f"{new_key};"),
            ("update", "BEFORE UPDATE", when, f"{old_image};"),
            ("delete", "BEFORE DELETE", when, f"{old_image};"),
        ]
        found = in_the_way(shape.table, images=True)
        row_image = ", ".join([f"{ROW}.{name(one)}" for one in keys] + [_of_row(shape, one) for one in fields])
        removed = " ".join(f"{into_image} SELECT {number}, random(), 1, {row_image} {rest};" for rest in found.removed)
        any_there = " OR ".join(f"EXISTS (SELECT 1 {rest})" for rest in found.removed)
        bodies.append(("before_insert", "BEFORE INSERT", f"{when} AND ({any_there})", removed))
        moved = key_moved(keys)
        changed = f"{when} AND ({found.changed} OR {moved})"
        bodies.append(("before_update", "BEFORE UPDATE", changed, f"{removed} {to_be_key} WHERE {moved};"))
        return [
            (trigger, f"CREATE TRIGGER {name(trigger)} {event} ON {table} WHEN {condition} BEGIN {body} END")
            for trigger, (_, event, condition, body) in ((f"_syncd_local_{number}_{one[0]}", one) for one in bodies)
        ]


def _of_old(column: str) -> str:
    """SQL: a column of the row that changes or goes; NULL once the column is gone."""
    return f"(SELECT (SELECT OLD.{name(column)}) FROM {nulls((column,))} AS old)"


def _of_row(shape: Shape, column: str) -> str:
    """SQL: a column of the row that is in the way; NULL once the column is gone."""
    equal = shape.table.key_equal("_syncd_it.", [f"{ROW}.{name(key)}" for key in shape.table.key])
    return f"(SELECT {name(column)} FROM {name(shape.table.name)} AS _syncd_it WHERE {equal})"
