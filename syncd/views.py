"""What a device that takes a selection holds of an object, for objects as the sync store keeps them (R8)."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from syncd.adapters.canonical import Value, pack_values, unpack_values
from syncd.core.errors import ExpressionError
from syncd.core.model import DataType
from syncd.core.references import Object
from syncd.core.selection import ALL, Selection, chooser


class Seen:
    """One object in one version; its values are unpacked once, and only where somebody asks. ``fields`` empty: it could
    not be built."""

    __slots__ = ("_values", "fields", "key", "type")

    def __init__(self, type_: int, key: bytes, fields: bytes) -> None:
        self.type, self.key, self.fields = type_, key, fields
        self._values: tuple[Sequence[Value], Sequence[Value]] | None = None

    @property
    def values(self) -> tuple[Sequence[Value], Sequence[Value]]:
        if self._values is None:
            self._values = unpack_values(self.key), unpack_values(self.fields)
        return self._values


def fits(selection: Selection | None, types: Sequence[DataType]) -> bool:
    """Where it does not, its devices keep what they hold."""
    try:
        if selection is not None:
            selection.check(types)
    except ExpressionError:
        return False
    return True


class View:
    """``selection`` None: nothing is held. ``lent``: what is held by references alone; None: that is not known."""

    def __init__(
        self, selection: Selection | None, types: Sequence[DataType], lent: Collection[Object] | None = None
    ) -> None:
        self._all = selection == ALL
        self._chooser = None if selection is None or self._all else chooser(selection, tuple(types))
        self._widths = {one.id: (len(one.key), len(one.fields)) for one in types}
        self._lent = lent
        follows = self._chooser.follows.values() if self._chooser is not None else ()
        self._referenced = {one.type for of_type in follows for one in of_type}

    def held(self, seen: Seen) -> bytes | None:
        """The object's fields as they are held; None: it is not held."""
        if self._all:
            return seen.fields
        taken = self.takes(seen)
        if not taken or self._chooser is None:
            return None
        if seen.fields and self._chooser.leaves_out(seen.type):
            return pack_values(self._chooser.project(seen.type, seen.values[1]))
        return seen.fields

    def takes(self, seen: Seen) -> bool | None:
        """Whether the object is held; None: that is not known (``takes_itself``), nor by what it is referenced."""
        taken = self.takes_itself(seen)
        if taken or seen.type not in self._referenced:
            return taken
        if self._lent is None:
            return None
        return (seen.type, seen.key) in self._lent or taken

    def takes_itself(self, seen: Seen) -> bool | None:
        """Whether the object is held whatever references it; None: it has other columns than its table has by now, or
        could not be built."""
        if self._all:
            return True
        if self._chooser is None:
            return False
        answer = self._chooser.answer(seen.type)
        if answer is not None:
            return answer
        if not self.reads(seen):
            return None
        key, fields = seen.values
        return self._chooser.takes(seen.type, key, fields)

    def reads(self, seen: Seen) -> bool:
        """Whether it could be built, and has the columns that its table has."""
        return bool(seen.fields) and tuple(map(len, seen.values)) == self._widths.get(seen.type)
