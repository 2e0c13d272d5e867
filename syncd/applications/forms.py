"""What conflict rules need to know of the insides of data objects (``core.conflict.Forms``): canonical bytes apart and
together again, and second keys where a key has no meaning: the next number, or a UUID that follows from the edit."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from syncd.adapters.canonical import INTEGER_MAX, Value, pack_values, unpack_values
from syncd.core.edits import Edit, EditGroup

Greatest = Callable[[int], int | None]


class Reference(NamedTuple):
    """The value at this place of key and fields names an object of the type ``parent`` by its key."""

    parent: int
    at: int


References = Callable[[int], Sequence[Reference]]
Usual = Callable[[int], Sequence[Value]]
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32}", re.IGNORECASE)


class CanonicalForms:
    """For one group. ``greatest``: the greatest number that is a key of a type, at least 0; None where numbers have a
    meaning there. ``references``: those of the objects of a type. ``usual``: the fields of one of which nothing is
    said."""

    def __init__(self, greatest: Greatest, references: References = lambda _: (), usual: Usual = lambda _: ()) -> None:
        self._greatest = greatest
        self._references = references
        self._usual = usual
        self._given: dict[int, int] = {}

    def split(self, fields: bytes) -> Sequence[bytes]:
        return [pack_values((value,)) for value in unpack_values(fields)]

    def join(self, parts: Sequence[bytes]) -> bytes:
        return pack_values([unpack_values(part)[0] for part in parts])

    def second_key(self, group: EditGroup, edit: Edit) -> bytes | None:
        key = unpack_values(edit.key)
        if len(key) != 1:
            return None
        if isinstance(key[0], str) and _UUID.fullmatch(key[0]):
            return pack_values((_derived(group, edit, key[0]),))
        if isinstance(key[0], int):
            return self._next(group, edit.type)
        return None

    def follow(self, edit: Edit, moved: Mapping[tuple[int, bytes], bytes]) -> bytes | None:
        key = unpack_values(edit.key)
        values = [*key, *unpack_values(edit.fields or b"\x90")]
        before = None if edit.base is None else [*key, *unpack_values(edit.base)]
        for parent, at in self._references(edit.type):
            if at >= len(values) or (before is not None and at < len(before) and before[at] == values[at]):
                continue
            second = moved.get((parent, pack_values((values[at],))))
            if second is not None and at < len(key):
                return None
            if second is not None:
                values[at] = unpack_values(second)[0]
        return pack_values(values[len(key) :])

    def usual(self, type: int) -> Sequence[bytes]:
        return [pack_values((value,)) for value in self._usual(type)]

    def _next(self, group: EditGroup, type_id: int) -> bytes | None:
        greatest = self._greatest(type_id)
        if greatest is None:
            return None
        coming = [_number(unpack_values(one.key)) for one in group.edits if one.type == type_id]
        number = max(greatest, self._given.get(type_id, 0), *coming) + 1
        self._given[type_id] = number
        return pack_values((number,)) if number <= INTEGER_MAX else None


def _number(key: Sequence[Value]) -> int:
    return key[0] if isinstance(key[0], int) else 0


def _derived(group: EditGroup, edit: Edit, like: str) -> str:
    """The same for the same edit, and written as the other is."""
    seed = pack_values((group.device, group.outbox, group.number, edit.key))
    derived = uuid.UUID(bytes=hashlib.sha256(seed).digest()[:16], version=5)
    text = str(derived) if "-" in like else derived.hex
    return text.upper() if like == like.upper() else text
