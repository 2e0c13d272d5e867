"""Groups that come down just as they were made, told by sums instead of object by object (R7, R14).

A group is *plain* while no other edit stands of any of its objects and nothing of it came down apart from the rest. Its
row then has the sum of the hashes of what was made in it; a work that brings plain groups and nothing else has the same
sum. That is the proof that R14 trusts, and spares a look at each object.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from syncd.core.digest import DIGEST_BYTES, EMPTY, add, object_hash, type_prefix
from syncd.core.edits import Edit
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
    None: it is not known to consist of any."""
    waiting = connection.execute(f"SELECT id, {COLUMNS} {_WAITING} ORDER BY number", (box.id,))
    first = waiting.fetchone()
    if work.skip is not None or first is None or Sums.of(*first[1:]) is None:
        return None
    (edits_max,) = connection.execute(f"SELECT sum(edits) {_WAITING}", (box.id,)).fetchone()
    if (made := _made(work, edits_max)) is None:
        return None
    groups, total = list[int](), Sums()
    for group, *kept in itertools.chain((first,), waiting):
        if total.edits >= made.edits or (sums := Sums.of(*kept)) is None:
            break
        if len(groups) == _GROUPS_MAX:
            return None
        groups.append(group)
        total.join(sums)
    same = total.edits == made.edits and (total.made - made.made) % _MODULUS == 0
    return (groups, total) if groups and same else None


# Groups that stand, may have been sent and may have been accepted.
_WAITING = "FROM groups WHERE box = ? AND number > 0 AND sealed = 1 AND stands = 1 AND ruling <> 'refused'"


def _made(work: Work, edits_max: int) -> Sums | None:
    """Sums of the versions that a work brings; None where it brings more objects than that, or withholds one."""
    prefixes = {number: type_prefix(type_.name) for number, type_ in work.types.items()}
    sums = Sums()
    for frame in work.frames():
        if sums.edits + len(frame) > edits_max:
            return None
        for kind, type_, key, fields in zip(frame.kinds, frame.types, frame.keys, frame.fields, strict=True):
            if kind == _WITHHELD:
                return None
            made = object_hash(prefixes[type_], key, _DELETED if kind == _DELETE else fields)
            sums.made += made * _times(type_)
        sums.edits += len(frame)
    return sums
