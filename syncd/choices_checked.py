"""What a chosen selection must keep to beside its own words: the application's columns, and their number (R8, R15); and
what a person is warned of, because a device may refuse it.

Raises UserError, which says what else to choose.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from syncd.core.errors import ExpressionError, UserError
from syncd.core.model import DataType
from syncd.core.preferences import Place, Preferences
from syncd.core.selection import Selection, read_selection
from syncd.core.unfollowed import unfollowed, warning


def check_left_out(
    selection: Selection, types: Sequence[DataType], required: Callable[[DataType], frozenset[str]]
) -> None:
    """What is left out a device's application must be able to do without."""
    for one in types if selection.without else ():
        for column in sorted(required(one)) if selection.takes(one.name) else ():
            if not {column, f"{one.name}.{column}"}.isdisjoint(selection.without):
                raise UserError(
                    f"{one.name}.{column} cannot be left out: it is NOT NULL and has no default",
                    "leave out other fields, or give it a default in the application",
                )


def led_out(collection: str, canonical: str, types: Sequence[DataType]) -> list[str]:
    """Warnings of a selection that takes objects and not what they may reference."""
    selection = read_selection(canonical)
    try:
        selection.check(types)
    except ExpressionError:
        return []  # its devices are held, and get nothing by it
    return [warning(collection, one) for one in unfollowed(selection, types)]


def check_few(chosen: Preferences, places: Mapping[str, Place], most: int) -> None:
    """Each different selection costs with each commit, and is kept by itself. ``places``: of each collection."""
    for collection, place in sorted(places.items()):
        count = chosen.selections_count(place)
        if count > most:
            raise UserError(
                f"devices would take {count:,} different selections of {collection}, there may be {most:,}",
                "give devices that need the same the same selection",
            )
