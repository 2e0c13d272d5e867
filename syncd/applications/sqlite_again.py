"""Makes edits in an application's database once more, as its application would: in one plain transaction, which is
captured like any other. For groups that were refused and that a person sends again.

Two who are apart take the same next number for what they add. The one who comes second finds an object of somebody
else's under it, which is never written over: it may be added under another key, and what was made with it goes with it.
"""

from __future__ import annotations

import contextlib
import sqlite3
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from syncd.adapters.canonical import Value, pack_values, unpack_values
from syncd.applications.sqlite_common import connect, fold, mapped, name, primary_code, transaction
from syncd.core.edits import Edit
from syncd.core.errors import UserError
from syncd.core.model import DataType, ObjectId
from syncd.core.settings import Limits

Seconds = dict[ObjectId, bytes]  # the key that an added object has instead of its own; types by their folded names


def write_again(
    path: Path, types: Mapping[int, DataType], edits: Sequence[Edit], limits: Limits, new_keys: bool = False
) -> int:
    """Durable, all of them or none; how many changed anything. Foreign keys hold in the end. ``new_keys``: what was
    added and whose key is taken gets another. Raises UserError where the application's own rules refuse one or a key is
    taken, ApplicationOffline where its data cannot be written."""
    try:
        with contextlib.closing(connect(path, limits)) as connection:
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA foreign_keys=ON")
            with transaction(connection, "IMMEDIATE"):
                connection.execute("PRAGMA defer_foreign_keys=ON")
                if new_keys and (seconds := _seconds(connection, types, edits)):
                    edits = [_moved(connection, types, edit, seconds) for edit in edits]
                for edit in edits:
                    _check_free(connection, types[edit.type], edit, new_keys)
                return sum(_write(connection, types[edit.type], edit) for edit in edits)
    except sqlite3.Error as error:
        if primary_code(error) == sqlite3.SQLITE_CONSTRAINT:
            raise _refused(str(error)) from error
        raise mapped(error, path) from error


def _write(connection: sqlite3.Connection, type_: DataType, edit: Edit) -> bool:
    """Whether that changed anything: a row that is so already is not touched."""
    key = unpack_values(edit.key)
    try:
        held = _held(connection, type_, key)
        if held == edit.fields:
            return False
        if edit.fields is None:
            connection.execute(f"DELETE FROM {name(type_.name)} WHERE {_found(type_)}", key)
        elif held is None:
            columns = ", ".join(name(column) for column in (*type_.key, *type_.fields))
            row = [*key, *unpack_values(edit.fields)]
            places = ", ".join("?" * len(row))
            connection.execute(f"INSERT INTO {name(type_.name)}({columns}) VALUES({places})", row)
        else:
            columns = ", ".join(f"{name(column)} = ?" for column in type_.fields)
            row = [*unpack_values(edit.fields), *key]
            connection.execute(f"UPDATE {name(type_.name)} SET {columns} WHERE {_found(type_)}", row)
    except sqlite3.Error as error:
        if primary_code(error) not in (sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_ERROR):
            raise
        raise _refused(f"{type_.name} {key}: {error}") from error
    return True


# ---------------------------------------------------------------- keys that are taken


def _taken(connection: sqlite3.Connection, type_: DataType, edit: Edit) -> bool:
    """Whether the key of what was added is that of another object."""
    if edit.base is not None or edit.fields is None:
        return False
    held = _held(connection, type_, unpack_values(edit.key))
    return held is not None and held != edit.fields


def _check_free(connection: sqlite3.Connection, type_: DataType, edit: Edit, new_keys: bool) -> None:
    if not _taken(connection, type_, edit):
        return
    what = f"{type_.name} {unpack_values(edit.key)}"
    if new_keys:
        raise _refused(f"{what}: another object has its key by now, which cannot be just any other")
    raise UserError(
        f"{what}: another object has its key by now, and is not written over",
        "`syncd resend NUMBER --new-keys` adds it under another key, with what was made with it",
    )


def _seconds(connection: sqlite3.Connection, types: Mapping[int, DataType], edits: Sequence[Edit]) -> Seconds:
    """For keys that are taken and carry no meaning: a number, a UUID."""
    seconds: Seconds = {}
    greatest: dict[str, int] = {}
    for edit in edits:
        type_, key = types[edit.type], unpack_values(edit.key)
        if len(key) != 1 or not _taken(connection, type_, edit):
            continue
        table, second = fold(type_.name), key[0]
        if isinstance(second, int):
            if table not in greatest:
                (held,) = connection.execute(f"SELECT max({name(type_.key[0])}) FROM {name(type_.name)}").fetchone()
                keys = [held, *(unpack_values(one.key)[0] for one in edits if one.type == edit.type)]
                greatest[table] = max(one for one in keys if isinstance(one, int))
            greatest[table] += 1
            second = greatest[table]
        elif isinstance(second, str) and _is_uuid(second):
            second = str(uuid.uuid4())
        if second != key[0]:
            seconds[ObjectId(table, edit.key)] = pack_values((second,))
    return seconds


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False


def _moved(connection: sqlite3.Connection, types: Mapping[int, DataType], edit: Edit, seconds: Seconds) -> Edit:
    """What was added, under its second key, and naming others by theirs where it names them by a foreign key."""
    type_ = types[edit.type]
    if edit.base is not None or edit.fields is None:
        return edit
    key = unpack_values(seconds.get(ObjectId(fold(type_.name), edit.key), edit.key))
    row = [*key, *unpack_values(edit.fields)]
    columns = [fold(one) for one in (*type_.key, *type_.fields)]
    keyed = {fold(one.name): fold(one.key[0]) for one in types.values() if len(one.key) == 1}
    found = connection.execute(
        'SELECT max("table"), max("from"), max("to") FROM pragma_foreign_key_list(?) GROUP BY id HAVING count(*) = 1',
        (type_.name,),
    )
    for parent, column, theirs in found.fetchall():
        if fold(column) in columns and (theirs is None or keyed.get(fold(parent)) == fold(theirs)):
            at = columns.index(fold(column))
            second = seconds.get(ObjectId(fold(parent), pack_values((row[at],))))
            row[at] = row[at] if second is None else unpack_values(second)[0]
    width = len(type_.key)
    return edit._replace(key=pack_values(row[:width]), fields=pack_values(row[width:]))


def _held(connection: sqlite3.Connection, type_: DataType, key: Sequence[Value]) -> bytes | None:
    columns = ", ".join(name(column) for column in type_.fields) or "NULL"
    row = connection.execute(f"SELECT {columns} FROM {name(type_.name)} WHERE {_found(type_)}", key).fetchone()
    return None if row is None else pack_values(row[: len(type_.fields)])


def _found(type_: DataType) -> str:
    return " AND ".join(f"{name(column)} IS ?" for column in type_.key)


def _refused(cause: str) -> UserError:
    return UserError(f"the application here refuses it: {cause}", "edit the file, or remove the cause")
