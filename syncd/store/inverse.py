"""What undoes a published group: a decision that the sync store and its twin share (R11).

Whoever executes it compares each edit's base with what the application holds, so that an object which was changed since
is found out there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from syncd.core.edits import Edit
from syncd.core.errors import UserError


class StoredVersion(NamedTuple):
    """One version of an object. ``change`` that made it. ``fields`` None: it was deleted; empty: it was withheld."""

    change: int
    type: int
    key: bytes
    fields: bytes | None


@dataclass(frozen=True, slots=True)
class Undoing:
    """What an inverse depends on. ``group``: its id, for people. ``since``: for each type that the source has, the
    change up to which its versions had other fields. ``bytes_max``: of the inverse."""

    group: str
    since: Mapping[int, int]
    bytes_max: int


def inverse_of(undoing: Undoing, before: Iterable[StoredVersion], made: Iterable[StoredVersion]) -> tuple[Edit, ...]:
    """``before``: versions that the group replaced; ``made``: those that it made. In the reverse order of its changes.
    An object that the group left as it was is none of its own. Raises UserError."""
    replaced = {(one.type, one.key): one for one in before}
    left = {(one.type, one.key): one for one in made}
    order = sorted(left.keys() | replaced.keys(), key=lambda id_: _change(left.get(id_)), reverse=True)
    edits: list[Edit] = []
    size = 0
    for type_, key in order:
        one = Edit(type_, key, _fields(left.get((type_, key))), _fields(replaced.get((type_, key))))
        if one.base == one.fields:
            continue
        _check(undoing, type_, replaced.get((type_, key)))
        size += len(key) + len(one.base or b"") + len(one.fields or b"")
        if size > undoing.bytes_max:
            raise UserError(
                f"{undoing.group} is too large to undo: more than {undoing.bytes_max} bytes",
                "put a backup of the application's data in place; syncd compares it and carries on",
            )
        edits.append(one)
    return tuple(edits)


def forgotten(group: str) -> UserError:
    """Versions that are needed are no longer there, or never were."""
    return UserError(
        f"{group} cannot be undone: what its objects were before is not remembered",
        "history begins after the first import and ends after some time; change the objects by hand",
    )


def no_group(group: str) -> UserError:
    return UserError(f"there is no group {group}", "see `syncd transactions` for those there are")


def _change(one: StoredVersion | None) -> int:
    return 0 if one is None else one.change


def _fields(one: StoredVersion | None) -> bytes | None:
    return None if one is None else one.fields


def _check(undoing: Undoing, type_: int, replaced: StoredVersion | None) -> None:
    since = undoing.since.get(type_)
    restores = replaced is not None and replaced.fields is not None
    if since is None or (restores and replaced is not None and replaced.change <= since):
        raise UserError(
            f"{undoing.group} cannot be undone: a table of its objects has other columns since then, or is gone",
            "change the objects by hand",
        )
    if replaced is not None and replaced.fields == b"":
        raise UserError(
            f"{undoing.group} cannot be undone: an object of it could not be read before", "change the objects by hand"
        )
