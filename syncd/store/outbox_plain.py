"""Groups that come down just as they were made, told by sums instead of object by object (R7, R14).

A group is *plain* while no other edit stands of any of its objects and nothing of it came down apart from the rest. Its
row then has the sum of the hashes of what was made in it; a work that brings plain groups and nothing else has the same
sum. That is the proof that R14 trusts, and spares a look at each object.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from syncd.core.digest import DIGEST_BYTES, EMPTY, add, object_hash, type_prefix
from syncd.core.edits import Edit
from syncd.core.messages import Objects
from syncd.core.model import Kind
from syncd.core.ports import Work
from syncd.store.outbox_rows import Box

COLUMNS = "edits, made, gain, more"
_DELETED = b"\xc1"  # in place of fields, which never begin so
_DELETE, _WITHHELD = int(Kind.DELETE), int(Kind.WITHHELD)
_GROUPS_MAX = 50_000  # of which a work may consist; of more nothing is told here (R15)
_MODULUS = 1 << (8 * DIGEST_BYTES)

Stored = tuple[int, bytes | None, bytes, int]


@dataclass(slots=True)
class Sums:
    """``made``: of the hashes of what was made in so many ``edits``, each times a number for the id of its type: the
    same fields under another description are another version. ``gain``, ``more``: what checksum and count gain where
    that takes the place of the bases."""

    edits: int = 0
    made: int = 0
    gain: int = 0
    more: int = 0

    @classmethod
    def of(cls, edits: int, made: bytes | None, gain: bytes, more: int) -> Sums | None:
        """As they are kept; None where the group is not plain."""
        return None if made is None else cls(edits, int.from_bytes(made, "big"), int.from_bytes(gain, "big"), more)

    def count(self, edit: Edit, prefix: bytes) -> None:
        """One more edit. ``prefix``: of its type."""
        type_, key, base, fields, _ = edit
        self.edits += 1
        if base is not None:
            self.gain -= object_hash(prefix, key, base)
            self.more -= 1
        made = object_hash(prefix, key, _DELETED if fields is None else fields)
        self.made += made * _times(type_)
        if fields is not None:
            self.gain += made
            self.more += 1

    def join(self, other: Sums) -> None:
        self.edits += other.edits
        self.made += other.made
        self.gain += other.gain
        self.more += other.more


def _times(type_: int) -> int:
    return 2 * type_ + 1  # odd: no bit of the hash is lost


def stored(sums: Sums | None) -> Stored:
    """As it is kept, in the order of ``COLUMNS``."""
    if sums is None:
        return 0, None, EMPTY, 0
    return sums.edits, add(EMPTY, sums.made), add(EMPTY, sums.gain), sums.more


def mix(connection: sqlite3.Connection, groups: str, values: Sequence[object]) -> None:
    """The groups of the query are not plain any more."""
    connection.execute(f"UPDATE groups SET made = NULL WHERE id IN ({groups})", values)


def brought(connection: sqlite3.Connection, box: Box, work: Work) -> tuple[list[int], Sums] | None:
    """The groups of which the work consists, with the sums of all: the oldest that wait, as they come down in order.
    None: it is not known to consist of any. As many of them are looked at as the work may have, and of the work no more
    than they have."""
    if work.skip is not None:
        return None
    waiting = connection.execute(f"SELECT id, {COLUMNS} {_WAITING} ORDER BY number", (box.id,))
    prefixes = {number: type_prefix(type_.name) for number, type_ in work.types.items()}
    groups, total, made = list[int](), Sums(), Sums()
    for frame in work.frames():
        made.edits += len(frame)
        while total.edits < made.edits:
            group, *kept = waiting.fetchone() or (0, 0, None, EMPTY, 0)
            if (sums := Sums.of(*kept)) is None or len(groups) == _GROUPS_MAX:
                return None
            groups.append(group)
            total.join(sums)
        if not _add(made, frame, prefixes):
            return None
    same = total.edits == made.edits and (total.made - made.made) % _MODULUS == 0
    return (groups, total) if groups and same else None


# Groups that stand, may have been sent and may have been accepted.
_WAITING = "FROM groups WHERE box = ? AND number > 0 AND sealed = 1 AND stands = 1 AND ruling <> 'refused'"


def _add(made: Sums, frame: Objects, prefixes: Mapping[int, bytes]) -> bool:
    """The versions that a frame brings. False: it withholds one."""
    for kind, type_, key, fields in zip(frame.kinds, frame.types, frame.keys, frame.fields, strict=True):
        if kind == _WITHHELD:
            return False
        version = object_hash(prefixes[type_], key, _DELETED if kind == _DELETE else fields)
        made.made += version * _times(type_)
    return True
