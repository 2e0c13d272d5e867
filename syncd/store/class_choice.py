"""What a selection class takes of a collection, for objects as the sync store holds them (R8).

The decisions that the store and its twin share. An object that cannot be built, or that has other columns than its
type, cannot be asked: it stays what it was, so that nothing is lost where it was held, or named where it was not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from syncd.adapters.canonical import Value, pack_values, unpack_many, unpack_values
from syncd.adapters.references import referenced
from syncd.core import digest
from syncd.core.errors import ExpressionError
from syncd.core.model import DataType
from syncd.core.ports import StoredRow
from syncd.core.references import Followed, Object
from syncd.core.selection import Chooser, Selection
from syncd.store.answered import Answered

Values = tuple[Sequence[Value], Sequence[Value]]  # of key and fields
ObjectRow = tuple[int, int, bytes, bytes, str]  # change, type, key, fields, fault
HashedRow = tuple[int, int, bytes, bytes, str, bytes]  # and its hash
Row = TypeVar("Row", ObjectRow, HashedRow)
_TOGETHER_BYTES_MAX = 256 * 1024  # of objects that are unpacked together, but for the last of them
OTHER_COLUMNS = "its table has other columns since it was read"  # why one cannot be built
NOT_COMPARED = "the tables have other columns since their objects were read"  # why a class cannot be filled


def portions(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """The rows in their order, as many together as there is memory for (R15)."""
    held: list[Row] = []
    size_bytes = 0
    for row in rows:
        held.append(row)
        size_bytes += len(row[2]) + len(row[3] or b"")
        if size_bytes >= _TOGETHER_BYTES_MAX:
            yield held
            held, size_bytes = [], 0
    if held:
        yield held


def values_of(key: bytes, fields: bytes | None, fault: str) -> Values | None:
    """None: it is gone or cannot be built."""
    return None if fields is None or fault else (unpack_values(key), unpack_values(fields))


def renamed(selection: Selection, before: Sequence[DataType], after: Sequence[DataType]) -> bool:
    """Whether objects that stay equal may come or go: as many values as before have other names."""
    known = {one.name: one for one in before}
    for one in after:
        was = known.get(one.name, one)
        if selection.follow and (was.key, was.fields, was.references) != (one.key, one.fields, one.references):
            return True
        same_width = (len(was.key), len(was.fields)) == (len(one.key), len(one.fields))
        if same_width and (was.key, was.fields) != (one.key, one.fields) and selection.takes(one.name):
            return True
    return False


class Choice:
    """A class's selection for the types of a collection. ``broken``: why it does not fit them. ``answers``: by type,
    whether all its objects are taken by themselves, or none; None: it depends on the object. ``projects``: types with
    fewer fields. ``follows``: types with foreign keys that are followed. ``answered``: what was asked lately.
    """

    def __init__(self, selection: Selection, types: Sequence[DataType]) -> None:
        self.selection = selection
        self.answered = Answered()
        self.projects: frozenset[int] = frozenset()
        self.follows: Mapping[int, Sequence[Followed]] = {}
        self.answers: dict[int, bool | None] = {}
        self._widths = {one.id: (len(one.key), len(one.fields)) for one in types}
        self._prefixes = {one.id: digest.type_prefix(one.name) for one in types}
        self._chooser: Chooser | None = None
        self.broken = ""
        try:
            selection.check(types)
        except ExpressionError as error:
            self.broken = error.text
            return
        self._chooser = made = Chooser(selection, types)
        self.answers = {one.id: made.answer(one.id) for one in types}
        self.follows = made.follows
        self.projects = frozenset(one.id for one in types if self._chooser.leaves_out(one.id))

    def _fits(self, type_id: int, values: Values) -> bool:
        return self._widths.get(type_id) == (len(values[0]), len(values[1]))

    def takes(self, type_id: int, values: Values | None, was: bool) -> bool:
        """Whether an object that is there is in the class. ``was``: whether it has been."""
        answer = self.answers.get(type_id, False)
        if answer is not None:
            return answer
        if values is None or not self._fits(type_id, values):
            return was
        assert self._chooser is not None
        return self._chooser.takes(type_id, *values)

    def takes_each(self, rows: Sequence[Row]) -> list[bool] | None:
        """The same of many objects that are there and have not been in it; None where one of them must be looked at
        alone: it cannot be built, or has other columns than its type."""
        by_type: dict[int, list[int]] = {}
        for at, row in enumerate(rows):
            by_type.setdefault(row[1], []).append(at)
        taken = [False] * len(rows)
        for type_id, places in by_type.items():
            answer = self.answers.get(type_id, False)
            if answer is not None:
                answers = [answer] * len(places)
            elif any(rows[at][4] for at in places):
                return None
            else:
                keys: list[list[Value]] = unpack_many([rows[at][2] for at in places])
                fields: list[list[Value]] = unpack_many([rows[at][3] for at in places])
                if ({*map(len, keys)}, {*map(len, fields)}) != tuple({one} for one in self._widths[type_id]):
                    return None
                assert self._chooser is not None
                answers = self._chooser.takes_each(type_id, keys, fields)
            if len(by_type) == 1:
                return answers
            for at, one in zip(places, answers, strict=True):
                taken[at] = one
        return taken

    def asks_in_vain(self, type_id: int, values: Values | None) -> bool:
        """Whether an object that can be built cannot be asked, or not told, before its columns are read again."""
        asked = self.answers.get(type_id, False) is None or type_id in self.projects or type_id in self.follows
        return asked and values is not None and not self._fits(type_id, values)

    def targets(self, type_id: int, values: Values | None) -> tuple[Object, ...] | None:
        """What an object references by foreign keys that are followed; None: that cannot be told."""
        if values is None or (type_id in self.follows and not self._fits(type_id, values)):
            return None
        return referenced(self.follows.get(type_id, ()), (*values[0], *values[1]))

    def hash(self, type_id: int, key: bytes, fields: bytes, fault: str) -> bytes | None:
        """Of an object that is in the class with fewer fields; None: it is the object's own."""
        if fault or type_id not in self.projects:
            return None
        projected = self._project(type_id, fields)
        return digest.object_hash_bytes(self._prefixes[type_id], key, fields if projected is None else projected)

    def _project(self, type_id: int, fields: bytes) -> bytes | None:
        assert self._chooser is not None
        values = unpack_values(fields)
        if len(values) != self._widths[type_id][1]:
            return None
        return pack_values(self._chooser.project(type_id, values))

    def row(self, row: StoredRow) -> StoredRow:
        """As devices of the class see it."""
        if row.type not in self.projects:
            return row
        assert self._chooser is not None
        told = self._chooser.told(row.type)
        if row.fields is None or row.fault:
            return row._replace(type=told)
        projected = self._project(row.type, row.fields)
        if projected is None:
            return row._replace(type=told, fields=b"", fault=OTHER_COLUMNS)
        return row._replace(type=told, fields=projected)
