"""What a device that takes a selection holds of an object, for objects as the sync store keeps them (R8)."""

from __future__ import annotations

from collections.abc import Sequence

from syncd.adapters.canonical import Value, pack_values, unpack_values
from syncd.core.model import DataType
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


class View:
    """``selection`` None: nothing is held."""

    def __init__(self, selection: Selection | None, types: Sequence[DataType]) -> None:
        self._all = selection == ALL
        self._chooser = None if selection is None or self._all else chooser(selection, tuple(types))
        self._widths = {one.id: (len(one.key), len(one.fields)) for one in types}

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
        """Whether the object is held; None: it has other columns than its table has by now, or could not be built."""
        if self._all:
            return True
        if self._chooser is None:
            return False
        answer = self._chooser.answer(seen.type)
        if answer is not None:
            return answer
        if not seen.fields:
            return None
        key, fields = seen.values
        if (len(key), len(fields)) != self._widths.get(seen.type):
            return None
        return self._chooser.takes(seen.type, key, fields)
