"""References that lead out of a selection: an object that it takes may name one by a foreign key that it does not take,
and a device whose application keeps foreign keys then refuses the group (R7, R8).

Known from the collection's types and the selection alone, before any object is looked at: it says what may happen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from syncd.core.model import DataType, Reference
from syncd.core.selection import ALL, Selection, chooser

_REFUSES = "a device refuses what references"


class Unfollowed(NamedTuple):
    """A foreign key of a type that is taken. ``some``: of what it leads to some objects are taken, else none."""

    type: str
    reference: Reference
    some: bool

    @property
    def column(self) -> str:
        """As ``follow`` names it."""
        return f"{self.type}.{self.reference.columns[0]}"


def unfollowed(selection: Selection, types: Sequence[DataType]) -> list[Unfollowed]:
    """Those that lead out of a selection that fits the types, in their order."""
    return [] if selection == ALL else list(_unfollowed(selection, tuple(types)))


def _unfollowed(selection: Selection, types: tuple[DataType, ...]) -> Iterator[Unfollowed]:
    chosen, ids = chooser(selection, types), {one.name: one.id for one in types}
    told = {one.name: {*one.key, *one.fields} for one in chosen.types}
    for one in types:
        columns = (*one.key, *one.fields)
        followed = {(tuple(columns[at] for at in key.places), key.type) for key in chosen.follows.get(one.id, ())}
        for reference in one.references:
            to = ids.get(reference.type)
            if to is None or not told.get(one.name, set()).issuperset(reference.columns):
                continue  # what is not shared a device's table does not name either; nor what is left out
            if chosen.answer(to) is not True and (reference.columns, to) not in followed:
                yield Unfollowed(one.name, reference, reference.type in told)


def warning(collection: str, one: Unfollowed) -> str:
    """For people: what may happen, and what to choose instead."""
    to, advice = one.reference.type, f"add `follow {one.column}` at the end, or take all of {one.reference.type}"
    if one.some:
        what = f"just some are taken: unless these are all that are referenced, {_REFUSES} another"
    else:
        what = f"none is taken: {_REFUSES} one"
    return f"{collection}: {one.column} references {to}, of which {what}, and what came with it; {advice}"
