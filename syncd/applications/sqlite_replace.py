"""Rows that REPLACE removes: the parts of BEFORE triggers that find them, by the unique index they are in the way of.

The application may drop such an index and then a column of it, which SQLite refuses while a trigger names a column that
is not there (R16: its migration comes first). So each column is named where, once it is gone, its name means a NULL of
a surrounding ``SELECT NULL AS column``: SQLite looks a name up from the inside out, and finds NEW and OLD themselves
before it looks there. A trigger that outlives its columns finds nothing until it is installed as it should be.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from syncd.applications.sqlite_common import name
from syncd.applications.sqlite_schema import Table

_HERE, _THERE = "_syncd_here", "_syncd_there"  # the table inside and outside; "new" may be the table's own name


class InTheWay(NamedTuple):
    """What a table's BEFORE triggers need. ``removed``: for each unique index the rest of a SELECT that finds the row
    which equals NEW in it, as ``ROW``. ``changed``: whether an UPDATE may bring a row in the way of another."""

    removed: tuple[str, ...]
    changed: str


ROW = _THERE


def in_the_way(table: Table) -> InTheWay:
    """For the secondary unique indexes that can be told, and the key where equal keys are not the same."""
    sets = [(index.named(), index.condition or "") for index in table.unique if index.told]
    if not table.exact:
        sets.append((tuple(zip(table.key, table.key_collations, strict=True)), ""))
    defaults = dict(table.defaults)
    removed = tuple(_removed(table, columns, condition, defaults) for columns, condition in sets)
    named = [column for columns, _ in sets for column, _ in columns]
    different = " OR ".join(f"OLD.{name(one)} COLLATE BINARY IS NOT NEW.{name(one)}" for one in dict.fromkeys(named))
    changed = f"(SELECT (SELECT {different}) FROM {_nulls(named)} AS new, {_nulls(named)} AS old)"
    # What else a condition looks at is not told here: any UPDATE may make it true.
    return InTheWay(removed, "1" if any(condition for _, condition in sets) else changed)


def _removed(table: Table, columns: tuple[tuple[str, str], ...], condition: str, defaults: dict[str, str]) -> str:
    equal = [
        f"{name(column)} = {_new(column, defaults)}{f' COLLATE {name(collation)}' if collation else ''}"
        for column, collation in columns
    ]
    if condition:
        equal.append(f"({condition})")
    here, there = (", ".join(f"{side}.{name(key)}" for key in table.key) for side in (_HERE, _THERE))
    gone = [*(column for column, _ in columns), *(table.fields if condition else ())]
    return (
        f"FROM {_nulls(gone)} AS new, {name(table.name)} AS {_THERE} WHERE ({there}) ="
        f" (SELECT {here} FROM {name(table.name)} AS {_HERE} WHERE {' AND '.join(equal)})"
    )


def _new(column: str, defaults: dict[str, str]) -> str:
    """REPLACE writes the default where NEW, before that, still says NULL."""
    default = defaults.get(column)
    return f"ifnull(NEW.{name(column)}, ({default}))" if default else f"NEW.{name(column)}"


def _nulls(columns: Iterable[str]) -> str:
    return f"(SELECT {', '.join(f'NULL AS {name(column)}' for column in dict.fromkeys(columns))})"
