"""What a device that takes a selection holds of an object, for objects as the sync store keeps them (R8).

What a selection takes because something references it cannot be seen from the object itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from syncd.adapters.canonical import Value, pack_values, unpack_values
from syncd.adapters.references import referenced
from syncd.core.errors import UserError
from syncd.core.model import DataType
from syncd.core.references import Object
from syncd.core.selection import ALL, Chooser, Selection, chooser


class Seen:
    """One object in one version; its values are unpacked once, and only where somebody asks. ``fields`` empty: it could
    not be built."""

    __slots__ = ("_values", "fields", "key", "type")

    def __init__(self, type_: int, key: bytes, fields: bytes) -> None:
        self.type, self.key, self.fields = type_, key, fields
        self._values: tuple[Sequence[Value], Sequence[Value]] | None = None

    @property
    def object(self) -> Object:
        return self.type, self.key

    @property
    def values(self) -> tuple[Sequence[Value], Sequence[Value]]:
        if self._values is None:
            self._values = unpack_values(self.key), unpack_values(self.fields)
        return self._values


class View:
    """``selection`` None: nothing is held."""

    def __init__(self, selection: Selection | None, types: Sequence[DataType]) -> None:
        self._all = selection == ALL
        self._chooser = None if selection is None or self._all else chooser(selection, tuple(types))
        self._follows = () if selection is None else selection.follow
        followed = () if self._chooser is None else self._chooser.follows.values()
        self._lent = {reference.type for of_type in followed for reference in of_type}
        self._widths = {one.id: (len(one.key), len(one.fields)) for one in types}

    def held(self, seen: Seen, taken: bool | None = None) -> bytes | None:
        """The object's fields as they are held; None: it is not held. ``taken``: whether it is, where that was looked
        up. Raises UserError where it was not, and depends on what references it."""
        if self._all:
            return seen.fields
        if self._follows and taken is None:
            text = f"a device takes what {', '.join(self._follows)} references: that cannot be foreseen"
            raise UserError(text, "without `follow` in its selection it can")
        taken = self.takes(seen) if taken is None else taken
        if not taken or self._chooser is None:
            return None
        if seen.fields and self._chooser.leaves_out(seen.type):
            return pack_values(self._chooser.project(seen.type, seen.values[1]))
        return seen.fields

    def takes(self, seen: Seen) -> bool | None:
        """Whether the object is held; None: it has other columns than its table has by now, or could not be built, or
        depends on what references it."""
        if self._all:
            return True
        if self._chooser is None:
            return False
        taken = self._by_itself(self._chooser, seen)
        return None if taken is False and seen.type in self._lent else taken

    def takes_by_itself(self, seen: Seen) -> bool:
        return self._chooser is not None and self._by_itself(self._chooser, seen) is True

    def leads_to(self, seen: Seen) -> tuple[Object, ...]:
        """What the object references by foreign keys that are followed, as far as that can be read."""
        foreign_keys = () if self._chooser is None else self._chooser.follows.get(seen.type, ())
        if not foreign_keys or not self._fits(seen):
            return ()
        return referenced(foreign_keys, (*seen.values[0], *seen.values[1]))

    def _by_itself(self, chooser: Chooser, seen: Seen) -> bool | None:
        answer = chooser.answer(seen.type)
        if answer is not None:
            return answer
        return chooser.takes(seen.type, *seen.values) if self._fits(seen) else None

    def _fits(self, seen: Seen) -> bool:
        return bool(seen.fields) and tuple(map(len, seen.values)) == self._widths.get(seen.type)
