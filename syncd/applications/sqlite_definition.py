"""Tables on the auxiliary: created from the primary's definition, or checked against it.

A definition is another machine's text. It runs under an authorizer that allows only to create that table and indexes
on it, with SQLite's own functions; anything else is refused. Indexes are created together with their table only: to a
table that the application made itself nothing is added. A table may have more columns than the type: those that are
left out for this device (R8), and its own. They keep what they hold, which at first is their default.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from syncd.applications.sqlite_common import fold, is_ours, name, names
from syncd.applications.sqlite_schema import Table, inspect, table_names
from syncd.core.digest import type_prefix
from syncd.core.model import DataType

Result = TypeVar("Result")
_FUNCTIONS = frozenset(
    "abs char coalesce concat concat_ws date datetime format glob hex ifnull iif instr json json_array"
    " json_array_length json_extract json_object json_quote json_type json_valid julianday length like likelihood"
    " likely lower ltrim max min nullif octet_length printf quote random randomblob replace round rtrim sign strftime"
    " substr substring time total_changes trim typeof unicode unixepoch unlikely upper zeroblob"
    " acos asin atan atan2 ceil ceiling cos degrees exp floor ln log log10 log2 mod pi pow power radians sin sqrt tan"
    " trunc current_date current_time current_timestamp -> ->>".split()
)
_QUIET = frozenset((sqlite3.SQLITE_READ, sqlite3.SQLITE_REINDEX))
_MASTER = frozenset(("sqlite_master", "sqlite_schema", "sqlite_sequence"))
_ON_CONFLICT = re.compile(r"\bON\s+CONFLICT\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Shape:
    """A type as the table here holds it, with the SQL that reads and writes it.

    ``extra``: columns that exist on this machine only; ``name_id``: the same for all types of one table. ``created``:
    the table was missing and was made for this.
    """

    type: DataType
    table: Table
    prefix: bytes
    name_id: int
    created: bool
    width: int
    columns: tuple[str, ...]
    extra: tuple[str, ...]
    select: str = field(repr=False)
    select_extra: str = field(repr=False)
    insert: str = field(repr=False)
    insert_all: str = field(repr=False)
    update: str = field(repr=False)
    move: str = field(repr=False)
    delete: str = field(repr=False)
    set: str = field(repr=False)
    where: str = field(repr=False)

    def update_only(self, columns: Sequence[str]) -> str:
        """SQL: changes these columns of the row with a key."""
        return f"{self.set}{', '.join(f'{name(one)} = ?' for one in columns)}{self.where}"

    def insert_listed(self, rows: int) -> str:
        """SQL: inserts so many rows."""
        head, _, one = self.insert.rpartition(" VALUES")
        return f"{head} VALUES{', '.join([one] * rows)}"

    def delete_listed(self, rows: int) -> str:
        """SQL: removes the rows with so many keys, which are of one column."""
        return f"{self.delete.removesuffix('= ?')}IN ({', '.join('?' * rows)})"

    def select_listed(self, rows: int, with_rowid: bool = False) -> str:
        """SQL: the rows with the keys of a list of this length, perhaps with their rowids. As a join, which takes the
        index of a key of several columns; an IN of row values reads the whole table."""
        rowid = (self.table.rowid,) if with_rowid else ()
        columns = ", ".join(f"_syncd_row.{name(column)}" for column in (*self.columns, *rowid))
        keys = ", ".join([f"({', '.join('?' * self.width)})"] * rows)
        marks = [f"_syncd_key.column{at}" for at in range(1, self.width + 1)]
        equal = self.table.key_equal("_syncd_row.", marks)
        table = f"{name(self.table.name)} AS _syncd_row"
        return f"SELECT {columns} FROM (VALUES {keys}) AS _syncd_key CROSS JOIN {table} WHERE {equal}"


def shape(connection: sqlite3.Connection, wanted: DataType, name_id: int, create: bool) -> Shape | str:
    """The type as it can be written here, or why it cannot. ``create``: its table is made where it is missing."""
    if not wanted.key or is_ours(wanted.name):
        return f"table {wanted.name}: it has no key or a name that is not the application's"
    try:
        there = {fold(found): (found, kind) for found, kind in table_names(connection).items()}
        found, kind = there.get(fold(wanted.name), ("", ""))
        if not kind:
            return _created(connection, wanted, name_id) if create else f"table {wanted.name} is missing here"
        if kind != "table":
            return f"{wanted.name} is a {kind} here, not a table"
        table = inspect(connection, found)
        reason = _difference(wanted, table)
        return reason or _shape(wanted, table, name_id, created=False)
    except (sqlite3.Error, ValueError) as error:
        return f"table {wanted.name}: {error}"


def _created(connection: sqlite3.Connection, wanted: DataType, name_id: int) -> Shape | str:
    if not wanted.definition:
        return f"table {wanted.name} is missing here and the primary does not say how to create it"
    connection.execute("SAVEPOINT creation")
    try:
        _run_definition(connection, wanted)
        table = inspect(connection, wanted.name)
        if table.key != wanted.key or not set(table.fields).issuperset(wanted.fields):
            raise ValueError("its definition does not give the columns that it names")
    except (sqlite3.Error, ValueError) as error:
        connection.execute("ROLLBACK TO creation")
        return f"table {wanted.name} cannot be created here: {error}"
    finally:
        if connection.in_transaction:
            connection.execute("RELEASE creation")
    return _shape(wanted, table, name_id, created=True)


def _run_definition(connection: sqlite3.Connection, wanted: DataType) -> None:
    """Runs the statements under the authorizer; raises sqlite3.Error for what is more than they may be."""
    own = fold(wanted.name)

    def allowed(action: int, first: str | None, second: str | None, schema: str | None, _trigger: str | None) -> int:
        subject, other = fold(first or ""), fold(second or "")
        if schema not in (None, "main"):
            return sqlite3.SQLITE_DENY
        fine = (
            action in _QUIET
            or (action == sqlite3.SQLITE_CREATE_TABLE and subject in (own, "sqlite_sequence"))
            or (action == sqlite3.SQLITE_CREATE_INDEX and other == own)
            or (action in (sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE) and subject in _MASTER)
            or (action == sqlite3.SQLITE_FUNCTION and other in _FUNCTIONS)
        )
        return sqlite3.SQLITE_OK if fine else sqlite3.SQLITE_DENY

    connection.set_authorizer(allowed)
    try:
        for statement in wanted.definition:
            connection.execute(statement)
    finally:
        connection.set_authorizer(None)


def _difference(wanted: DataType, table: Table) -> str:
    """Why the table here cannot hold the type, or ""."""
    told = set(map(fold, (*wanted.key, *wanted.fields)))
    here = {fold(column): at for at, column in enumerate((*table.key, *table.fields))}
    for column in (*wanted.key, *wanted.fields):
        if fold(column) not in here:
            return f"table {wanted.name} has no column {column} here"
    if list(map(fold, wanted.key)) != list(map(fold, table.key)):
        return f"table {wanted.name} has another primary key here: {', '.join(table.key) or 'none'}"
    if not wanted.definition:
        return ""
    with_definition = _reference(wanted)
    if list(map(fold, with_definition.key_collations)) != list(map(fold, table.key_collations)):
        return f"table {wanted.name} compares its primary key in another way here"
    for at, column in enumerate((*with_definition.key, *with_definition.fields)):
        local = here.get(fold(column)) if fold(column) in told else None
        if local is not None and table.affinities[local] != with_definition.affinities[at]:
            return (
                f"table {wanted.name}: column {column} is {table.affinities[local]} here and"
                f" {with_definition.affinities[at]} on the primary"
            )
    return ""


def _reference(wanted: DataType) -> Table:
    """The table as the definition makes it."""
    return in_reference(wanted, lambda reference: inspect(reference, wanted.name))


def in_reference(wanted: DataType, look: Callable[[sqlite3.Connection], Result]) -> Result:
    """Looks at the table as the definition makes it, in a database of its own. Raises sqlite3.Error."""
    reference = sqlite3.connect(":memory:", isolation_level=None)
    try:
        _run_definition(reference, wanted)
        return look(reference)
    finally:
        reference.close()


def _shape(wanted: DataType, table: Table, name_id: int, created: bool) -> Shape:
    columns = (*wanted.key, *wanted.fields)
    known = set(map(fold, columns))
    extra = tuple(column for column in table.fields if fold(column) not in known)
    into = name(table.name)
    where = table.key_equal("", ["?"] * len(table.key))
    # Triggers of the application keep their own conflict clauses only if ours is silent; a constraint of the table
    # that says REPLACE would remove rows unasked.
    silent = table.triggers and not any(_ON_CONFLICT.search(sql) for sql in table.definition)
    policy = "" if silent else " OR ABORT"
    verb = f"UPDATE{policy} {into} SET "

    def sets(changed: tuple[str, ...]) -> str:
        return f"{verb}{', '.join(f'{name(one)} = ?' for one in changed)} WHERE {where}"

    def insert(given: tuple[str, ...]) -> str:
        return f"INSERT{policy} INTO {into}({names(given)}) VALUES({', '.join('?' * len(given))})"

    return Shape(
        type=wanted,
        table=table,
        prefix=type_prefix(wanted.name),
        name_id=name_id,
        created=created,
        width=len(wanted.key),
        columns=columns,
        extra=extra,
        select=f"SELECT {names(columns)} FROM {into} WHERE {where}",
        select_extra=f"SELECT {names(extra) or 'NULL'} FROM {into} WHERE {where}",
        insert=insert(columns),
        insert_all=insert((*columns, *extra)),
        update=sets(wanted.fields) if wanted.fields else "",
        move=sets(columns),
        delete=f"DELETE FROM {into} WHERE {where}",
        set=verb,
        where=f" WHERE {where}",
    )
