"""Rows that REPLACE removes: the parts of BEFORE triggers that find them, by the unique index they are in the way of.

The application may drop such an index and then a column of it, which SQLite refuses while a trigger names a column that
is not there (R16: its migration comes first). So each column is named where, once it is gone, its name means a NULL of
a surrounding ``SELECT NULL AS column``: SQLite looks a name up from the inside out, and finds NEW and OLD themselves
before it looks there. A trigger that outlives its columns finds nothing until it is installed as it should be.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from syncd.applications.sqlite_common import collated, name
from syncd.applications.sqlite_schema import Part, Table

_HERE, _THERE = "_syncd_here", "_syncd_there"  # the table inside and outside; "new" may be the table's own name


class InTheWay(NamedTuple):
    """What a table's BEFORE triggers need. ``removed``: for each unique index the rest of a SELECT that finds the row
    which equals NEW in it, as ``ROW``. ``changed``: whether an UPDATE may bring a row in the way of another."""

    removed: tuple[str, ...]
    changed: str


ROW = _THERE


def in_the_way(table: Table, images: bool = False) -> InTheWay:
    """For the secondary unique indexes that can be told, and the key where equal keys are not the same. ``images``:
    what is removed is kept, so that the key counts always, and any column may be asked for by its plain name."""
    sets = [(index.parts, index.condition or "") for index in table.unique if index.told]
    if images or not table.exact:
        sets.append((tuple(map(Part, table.key, table.key_collations)), ""))
    asked = (*table.key, *table.fields) if images else ()
    removed = tuple(_removed(table, parts, condition, asked) for parts, condition in sets)
    named = [part.column for parts, _ in sets for part in parts if part.column]
    different = " OR ".join(f"OLD.{name(one)} COLLATE BINARY IS NOT NEW.{name(one)}" for one in dict.fromkeys(named))
    changed = f"(SELECT (SELECT {different}) FROM {nulls(named)} AS new, {nulls(named)} AS old)"
    # What else a condition or an expression looks at is not told here: any UPDATE may make it true.
    return InTheWay(removed, "1" if any(_further(table, *one) for one in sets) else changed)


def _further(table: Table, parts: tuple[Part, ...], condition: str) -> tuple[str, ...]:
    """The columns that may decide, beside those of the index, which rows are equal in it."""
    return (*table.key, *table.fields) if condition or any(part.expression for part in parts) else ()


def _removed(table: Table, parts: tuple[Part, ...], condition: str, asked: tuple[str, ...]) -> str:
    defaults = dict(table.defaults)
    new_row = ", ".join(f"{new_value(column, defaults)} AS {name(column)}" for column in (*table.key, *table.fields))
    equal: list[str] = []
    for part in parts:
        old = name(part.column) if part.column else f"({part.expression})"
        new = new_value(part.column, defaults) if part.column else f"(SELECT {part.expression} FROM (SELECT {new_row}))"
        equal.append(f"{old} = {collated(new, part.collation)}")
    if condition:
        equal.append(f"({condition})")
    here, there = (", ".join(f"{side}.{name(key)}" for key in table.key) for side in (_HERE, _THERE))
    gone = [*(part.column for part in parts if part.column), *_further(table, parts, condition), *asked]
    return (
        f"FROM {nulls(gone)} AS new, {name(table.name)} AS {_THERE} WHERE ({there}) ="
        f" (SELECT {here} FROM {name(table.name)} AS {_HERE} WHERE {' AND '.join(equal)})"
    )


def new_value(column: str, defaults: dict[str, str]) -> str:
    """REPLACE writes the default where NEW, before that, still says NULL."""
    default = defaults.get(column)
    return f"ifnull(NEW.{name(column)}, ({default}))" if default else f"NEW.{name(column)}"


def nulls(columns: Iterable[str]) -> str:
    """SQL: what the names of columns mean that are gone."""
    return f"(SELECT {', '.join(f'NULL AS {name(column)}' for column in dict.fromkeys(columns))})"
