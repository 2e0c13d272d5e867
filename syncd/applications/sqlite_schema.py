"""What an SQLite database holds: its tables as types of data objects, and what cannot be a data object, in words."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from syncd.applications.sqlite_common import collated, fold, is_ours, name, primary_code
from syncd.applications.sqlite_text import default_expression, index_condition, index_terms
from syncd.core.model import DataType

_GENERATED = (2, 3)  # values of ``hidden`` in pragma_table_xinfo


class Part(NamedTuple):
    """What one place of an index is on: a column, or the text of an expression; neither where that cannot be told."""

    column: str | None
    collation: str
    expression: str | None = None


@dataclass(frozen=True, slots=True)
class UniqueIndex:
    """A unique index. ``condition``: of a partial index, else empty; None where it could not be read."""

    name: str
    parts: tuple[Part, ...]
    condition: str | None = ""

    @property
    def told(self) -> bool:
        """Whether a trigger can tell which rows are equal in it."""
        return self.condition is not None and all(part.column or part.expression for part in self.parts)


@dataclass(frozen=True, slots=True)
class Table:
    """An ordinary table. ``key`` is empty where it has no primary key.

    ``key_collations``: of the primary key ("" where the key is the rowid). ``nullable``: a key may hold NULL.
    ``exact``: two keys that SQLite calls equal are the same values (not so without affinity, where 1 = 1.0, nor under
    NOCASE). ``affinities``: of key and fields, in their order. ``unique``: the secondary unique indexes.
    ``defaults``: what REPLACE writes for NULL, by column. ``triggers``: the application has triggers on it. ``rowid``:
    what its rowid is called, the key where that is the same; empty: it has none.
    """

    name: str
    key: tuple[str, ...]
    key_collations: tuple[str, ...]
    fields: tuple[str, ...]
    affinities: tuple[str, ...]
    definition: tuple[str, ...]
    unique: tuple[UniqueIndex, ...]
    defaults: tuple[tuple[str, str], ...]
    nullable: bool
    exact: bool
    triggers: bool
    rowid: str

    def key_equal(self, prefix: str, values: Sequence[str]) -> str:
        """SQL: the key is equal to these, as the primary key compares, which may be another way than its columns."""
        keys = zip(self.key, self.key_collations, values, strict=True)
        return " AND ".join(
            f"{collated(f'{prefix}{name(key)}', collation)} = {value}" for key, collation, value in keys
        )

    def key_order(self, prefix: str = "") -> list[str]:
        """SQL: what puts rows into the order of the primary key."""
        keys = zip(self.key, self.key_collations, strict=True)
        return [collated(f"{prefix}{name(key)}", collation) for key, collation in keys]

    def data_type(self) -> DataType:
        """The table as a type of data objects, without an id."""
        return DataType(0, self.name, self.key, self.fields, self.definition)


def affinity(declared: str, strict: bool) -> str:
    """Affinity of a column with the declared type, by SQLite's rules."""
    folded = fold(declared)
    if strict and folded == "any":
        return "BLOB"
    if "int" in folded:
        return "INTEGER"
    if any(part in folded for part in ("char", "clob", "text")):
        return "TEXT"
    if not folded or "blob" in folded:
        return "BLOB"
    return "REAL" if any(part in folded for part in ("real", "floa", "doub")) else "NUMERIC"


def table_names(connection: sqlite3.Connection) -> dict[str, str]:
    """All tables and views of the application -> what they are: table, view, virtual or shadow."""
    rows = connection.execute("SELECT name, type FROM pragma_table_list WHERE schema = 'main' ORDER BY name")
    return {found: kind for found, kind in rows.fetchall() if not is_ours(found)}


def inspect(connection: sqlite3.Connection, table: str) -> Table:
    """One ordinary table. Reads the schema only."""
    listed = connection.execute(
        "SELECT wr, strict FROM pragma_table_list WHERE schema = 'main' AND name = ?", (table,)
    ).fetchone()
    without_rowid, strict = listed or (0, 0)
    columns = connection.execute(
        'SELECT name, type, pk, hidden, "notnull", dflt_value FROM pragma_table_xinfo(?) ORDER BY cid', (table,)
    ).fetchall()
    keyed = sorted((column for column in columns if column[2]), key=lambda column: int(column[2]))
    others = [column for column in columns if not column[2] and column[3] not in _GENERATED]
    affinities = tuple(affinity(column[1], bool(strict)) for column in (*keyed, *others))
    primary, unique = _indexes(connection, table, [column[0] for column in (*keyed, *others)])
    rowid_alias = primary is None and not without_rowid
    collations = tuple(part.collation for part in primary.parts) if primary else ("",) * len(keyed)
    exact = all(one in ("", "BINARY") for one in collations) and all(one != "BLOB" for one in affinities[: len(keyed)])
    definition, triggers = _definition(connection, table)
    return Table(
        name=table,
        key=tuple(column[0] for column in keyed),
        key_collations=collations[: len(keyed)],
        fields=tuple(column[0] for column in others),
        affinities=affinities,
        definition=definition,
        unique=unique,
        defaults=tuple((column[0], default_expression(column[5])) for column in columns if column[4] and column[5]),
        nullable=not without_rowid and not rowid_alias and not all(column[4] for column in keyed),
        exact=exact,
        triggers=triggers,
        rowid=keyed[0][0]
        if keyed and rowid_alias
        else ""
        if without_rowid
        else _rowid([column[0] for column in columns]),
    )


def _rowid(columns: Sequence[str]) -> str:
    """A name of the rowid that no column has."""
    taken = set(map(fold, columns))
    return next((one for one in ("rowid", "_rowid_", "oid") if one not in taken), "")


def _indexes(
    connection: sqlite3.Connection, table: str, columns: Sequence[str]
) -> tuple[UniqueIndex | None, tuple[UniqueIndex, ...]]:
    """The index of the primary key, if it has one, and the other unique indexes."""
    primary: UniqueIndex | None = None
    unique: list[UniqueIndex] = []
    listed = connection.execute(
        "SELECT name, origin, partial, (SELECT sql FROM sqlite_master WHERE type = 'index' AND name = listed.name)"
        ' FROM pragma_index_list(?) AS listed WHERE "unique" ORDER BY name',
        (table,),
    ).fetchall()
    for index, origin, partial, sql in listed:
        keyed = connection.execute(
            "SELECT CASE WHEN cid >= 0 THEN name END, coll FROM pragma_index_xinfo(?) WHERE key ORDER BY seqno",
            (index,),
        ).fetchall()
        parts = [Part(column, collation) for column, collation in keyed]
        terms = index_terms(sql or "")
        if len(terms) == len(parts):
            parts = [
                part if part.column or not _computes(connection, term, columns) else part._replace(expression=term)
                for part, term in zip(parts, terms, strict=True)
            ]
        found = UniqueIndex(index, tuple(parts), index_condition(sql or "") if partial else "")
        if origin == "pk":
            primary = found
        else:
            unique.append(found)
    return primary, tuple(unique)


def _computes(connection: sqlite3.Connection, expression: str | None, columns: Sequence[str]) -> bool:
    """Whether the value of an expression follows from these columns by SQLite's own functions."""
    if expression is None:
        return False
    try:
        connection.execute(
            f"SELECT ({expression}) FROM (SELECT {', '.join(f'1 AS {name(one)}' for one in columns)}) LIMIT 0"
        )
    except sqlite3.OperationalError as error:
        if primary_code(error) != sqlite3.SQLITE_ERROR:
            raise
        return False
    return True


def _definition(connection: sqlite3.Connection, table: str) -> tuple[tuple[str, ...], bool]:
    """CREATE TABLE and its CREATE INDEX statements; whether the application has triggers on the table. A trigger keeps
    the spelling of the table's name that it was made with."""
    rows = connection.execute(
        "SELECT type, name, sql FROM sqlite_master WHERE tbl_name = ? COLLATE NOCASE AND sql IS NOT NULL"
        " ORDER BY type <> 'table', name",
        (table,),
    ).fetchall()
    statements = tuple(sql for kind, _, sql in rows if kind in ("table", "index"))
    return statements, any(kind == "trigger" and not is_ours(trigger) for kind, trigger, _ in rows)


def shareable(connection: sqlite3.Connection, wanted: tuple[str, ...]) -> tuple[list[Table], list[str]]:
    """The tables that can be shared, of the wanted ones or of all, and what cannot be captured, in words."""
    tables: list[Table] = []
    problems: list[str] = []
    for found, kind in table_names(connection).items():
        if wanted and found not in wanted:
            continue
        if kind == "view":
            problems.append(f"view {found}: not captured, what it shows comes from its tables")
        elif kind == "virtual":
            problems.append(f"virtual table {found}: not captured, nor the tables that it keeps its data in")
        elif kind == "table":
            table = inspect(connection, found)
            foreign = _foreign_collations(table)
            if foreign:
                problems.append(f"table {found}: not captured, only its application knows the collation {foreign[0]}")
            elif table.key:
                tables.append(table)
            else:
                problems.append(f"table {found}: not captured, it has no primary key")
    for table in tables:
        problems += [
            f"table {table.name}: a row that REPLACE removes through index {index.name} is not noticed until the next"
            " comparison of the whole database (what the index is on cannot be told)"
            for index in table.unique
            if not index.told
        ]
    return tables, problems


def _foreign_collations(table: Table) -> list[str]:
    used = [*table.key_collations, *(part.collation for index in table.unique for part in index.parts)]
    return [one for one in used if one.upper() not in ("", "BINARY", "NOCASE", "RTRIM")]
