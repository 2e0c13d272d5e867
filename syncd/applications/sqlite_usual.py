"""What stands in columns of which nothing is said, and which columns cannot be left out (R8)."""

from __future__ import annotations

import sqlite3

from syncd.adapters.canonical import Value
from syncd.applications.sqlite_definition import Shape, in_reference
from syncd.applications.sqlite_text import default_expression
from syncd.core.model import DataType

_COLUMNS = 'SELECT name, "notnull", dflt_value FROM pragma_table_xinfo(?) WHERE hidden = 0'


def usual_values(connection: sqlite3.Connection, shape: Shape) -> list[Value]:
    """Of the fields of a type: the defaults of its table, else NULL."""
    defaults = {column: default for column, _, default in connection.execute(_COLUMNS, (shape.table.name,)).fetchall()}
    told = [defaults.get(column) for column in shape.type.fields]
    asked = ", ".join("NULL" if one is None else f"({default_expression(one)})" for one in told)
    return list(connection.execute(f"SELECT {asked}").fetchone()) if told else []


def required(type_: DataType) -> frozenset[str]:
    """Columns without which no row can be: NOT NULL and without a default. None where the type is not declared."""
    if not type_.definition:
        return frozenset()

    def look(reference: sqlite3.Connection) -> frozenset[str]:
        rows = reference.execute(_COLUMNS, (type_.name,)).fetchall()
        return frozenset(column for column, not_null, default in rows if not_null and _is_null(reference, default))

    try:
        return in_reference(type_, look)
    except (sqlite3.Error, ValueError):
        return frozenset()  # a table that needs what only its application knows


def _is_null(reference: sqlite3.Connection, default: str | None) -> bool:
    if default is None:
        return True
    value = reference.execute(f"SELECT ({default_expression(default)})").fetchone()[0]
    return value is None
