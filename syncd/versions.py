"""Versions of an object as JSON that a person reads, and edits: field by field, exact, of a bounded size.

A value is ``null``, a text, a number (with a point or an exponent it is a real), ``{"hex": "..."}`` for a blob,
``{"real": "inf"}`` for what JSON has no number for, or ``{"cut": "...", "bytes": N}`` for a long one of which this is
the beginning: where an edited version holds that, the value stays as it is (R15).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite

from syncd.adapters.canonical import INTEGER_MAX, Value, pack_values, unpack_values
from syncd.core.errors import UserError
from syncd.core.model import DataType, ObjectId
from syncd.core.status import Json
from syncd.rooms import show_key

LONG = 64 * 1024  # characters or bytes of a value; more is cut
SHORT = 64  # of a row that has very many columns
_ROW = 2 * 1024 * 1024  # of all versions of one object
_ANSWER = 8 * 1024 * 1024  # bytes of the objects of one answer; then it ends early
_REALS = {"inf": float("inf"), "-inf": float("-inf")}


def shown(value: Value, most: int = LONG) -> object:
    """A value as JSON."""
    match value:
        case str() if len(value) > most:
            return {"cut": value[:most], "bytes": len(value.encode(errors="replace"))}
        case bytes() if len(value) > most:
            return {"cut": value[: most // 2].hex(), "bytes": len(value)}
        case bytes():
            return {"hex": value.hex()}
        case float() if not isfinite(value):
            return {"real": "inf" if value > 0 else "-inf"}
        case _:
            return value


def is_cut(given: object) -> bool:
    return isinstance(given, dict) and "cut" in given


def read(given: object, where: str) -> Value:
    """The value that ``shown`` would show so. Raises UserError naming the place."""
    match given:
        case None | str() | float():
            return given
        case bool():
            pass
        case int() if -INTEGER_MAX - 1 <= given <= INTEGER_MAX:
            return given
        case {"hex": str(digits), **rest} if not rest:
            try:
                return bytes.fromhex(digits)
            except ValueError as error:
                raise UserError(f"{where}: {digits[:40]!r} is not hexadecimal", "give two digits a byte") from error
        case {"real": str(word), **rest} if not rest and word in _REALS:
            return _REALS[word]
    raise UserError(
        f"{where}: {json.dumps(given)[:60]} is no value",
        'give null, a text, a number of at most 64 bits, or {"hex": "..."} for a blob',
    )


def line(type_: DataType | None, id_: ObjectId, versions: Mapping[str, bytes | None]) -> Json:
    """An object with the versions of these names: which of them are there, and the values of each field."""
    rows = {name: None if packed is None else unpack_values(packed) for name, packed in versions.items()}
    names = field_names(type_, max((len(row) for row in rows.values() if row is not None), default=0))
    most = max(SHORT, min(LONG, _ROW // max(1, len(names) * len(rows))))
    fields: list[Json] = [
        {"name": column}
        | {name: shown(row[at], most) if row is not None and at < len(row) else None for name, row in rows.items()}
        for at, column in enumerate(names)
    ]
    there: Json = {name: row is not None for name, row in rows.items()}
    return {"type": id_.type, "key": show_key(id_.key), "there": there, "fields": fields}


def fitting(lines: Iterable[Json]) -> list[Json]:
    """As many of them, the first at least, as one answer can hold."""
    fit: list[Json] = []
    left = _ANSWER
    for one in lines:
        left -= len(json.dumps(one))
        if fit and left < 0:
            break
        fit.append(one)
    return fit


def field_names(type_: DataType | None, width: int) -> tuple[str, ...]:
    """The columns of a version; by number where its table has other columns since then, or is gone."""
    if type_ is not None and len(type_.fields) >= width:
        return type_.fields
    return tuple(f"column {at + 1}" for at in range(width))


def edited(type_: DataType, given: Json, name: str, usual: bytes | None, where: str) -> bytes | None:
    """The version ``name`` of an object as a person edited it; what they left out is as in ``usual``. Raises UserError
    naming the field that cannot be."""
    there, fields = given.get("there"), given.get("fields", [])
    if not isinstance(there, dict) or not isinstance(there.get(name, usual is not None), bool):
        raise UserError(f"{where}.there.{name} is no true or false", _FORM)
    if not isinstance(fields, list):
        raise UserError(f"{where}.fields is no list", _FORM)
    if not there.get(name, usual is not None):
        return None
    values: list[Value] = [None] * len(type_.fields) if usual is None else unpack_values(usual)
    if len(values) != len(type_.fields):
        raise UserError(f"{where}: the columns of {type_.name} have changed since then", "change it in the application")
    for at, one in enumerate(fields):
        place = f"{where}.fields[{at}]"
        if not isinstance(one, dict) or not isinstance(column := one.get("name"), str):
            raise UserError(f"{place} names no field", _FORM)
        if column not in type_.fields:
            raise UserError(f"{place}: {type_.name} has no column {column!r}", f"it has {', '.join(type_.fields)}")
        if name in one and not is_cut(one[name]):
            values[type_.fields.index(column)] = read(one[name], f"{place}.{name} ({column})")
    try:
        return pack_values(values)
    except UnicodeEncodeError as error:
        raise UserError(f"{where}: a text holds half a character", "correct it") from error


_FORM = "edit what `syncd conflicts show` printed with --json, and keep its form"


def differences(type_: DataType | None, before: bytes | None, after: bytes | None, most: int) -> list[Json]:
    """The fields that two versions do not have in common: name, before, after."""
    old, new = ([] if one is None else unpack_values(one) for one in (before, after))
    names = field_names(type_, max(len(old), len(new)))
    changed: list[Json] = []
    for at, column in enumerate(names[: max(len(old), len(new))]):
        one, other = _value(old, at), _value(new, at)
        if (type(one), one) != (type(other), other):
            changed.append({"name": column, "before": shown(one, most), "after": shown(other, most)})
    return changed


def _value(row: Sequence[Value], at: int) -> Value:
    return row[at] if at < len(row) else None
