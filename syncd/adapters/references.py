"""What an object references: its foreign keys as the keys of other objects."""

from __future__ import annotations

from collections.abc import Sequence

from syncd.adapters.canonical import Value, pack_values
from syncd.core.references import Followed, Object


def referenced(foreign_keys: Sequence[Followed], values: Sequence[Value]) -> tuple[Object, ...]:
    """``values``: of key and fields. A foreign key with a NULL in it references nothing."""
    keys = ((one.type, [values[place] for place in one.places]) for one in foreign_keys)
    return tuple((type_, pack_values(key)) for type_, key in keys if None not in key)
