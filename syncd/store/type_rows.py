"""Types of data objects as rows of a table (sync store and inbound queue)."""

from __future__ import annotations

import json
from collections.abc import Sequence

from syncd.core.model import DataType, Reference

COLUMNS = "id, name, key_names, field_names, definition, foreign_keys"
TypeRow = tuple[int, str, str, str, str, str]


def names_text(names: Sequence[str]) -> str:
    """A list of names as one text."""
    return json.dumps(list(names), ensure_ascii=False, separators=(",", ":"))


def type_row(type_: DataType) -> TypeRow:
    """The values of ``COLUMNS``."""
    texts = names_text(type_.key), names_text(type_.fields), names_text(type_.definition)
    references = json.dumps(type_.references, ensure_ascii=False, separators=(",", ":"))
    return (type_.id, type_.name, *texts, references)


def type_of(row: TypeRow) -> DataType:
    """The type of a row of ``COLUMNS``."""
    number, name, *texts, foreign_keys = row
    key, fields, definition = (tuple(map(str, json.loads(text))) for text in texts)
    references = tuple(Reference(tuple(columns), of) for columns, of in json.loads(foreign_keys))
    return DataType(number, name, key, fields, definition, references)
