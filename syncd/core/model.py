"""The words as values: types of data objects, what was observed, outcomes, states.

Key and fields of a data object are *canonical bytes*: the msgpack array of their values (see
``adapters/canonical.py``), one encoding per value, the same on every platform. The core compares, orders, hashes and
passes them on; it never looks inside.
"""

from __future__ import annotations

import base64
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import NamedTuple


class Kind(IntEnum):
    """What a generic message does to its data object.

    ``WITHHELD`` stands where an add or a modify could not be built (R7: the error cancels the whole group on the
    device): its fields are the reason, in UTF-8.
    """

    ADD = 1
    MODIFY = 2
    DELETE = 3
    WITHHELD = 4


class OutcomeKind(StrEnum):
    """What became of a group on a device."""

    PENDING = "pending"
    STAGED = "staged"
    APPLIED = "applied"
    CANCELLED = "cancelled"
    ROLLED_BACK = "rolled-back"
    HELD = "held"


class State(StrEnum):
    """State of a collection on a device (DESIGN §6)."""

    IDENTICAL = "identical"
    SYNCING = "syncing"
    BEHIND = "behind"
    PARKED = "parked"
    HELD = "held"
    PAUSED = "paused"
    OFFLINE = "offline"
    STALLED = "stalled"


class Role(StrEnum):
    PRIMARY = "primary"
    AUXILIARY = "auxiliary"


class Reference(NamedTuple):
    """A foreign key of a type: ``columns`` hold the key of an object of the type named ``type``, in its order."""

    columns: tuple[str, ...]
    type: str


@dataclass(frozen=True, slots=True)
class DataType:
    """One type of a collection's data objects: for SQLite, a table.

    ``id`` is given by the sync store and unique in it; a type whose names change gets another id, and where a selection
    leaves fields out its devices know the type by one of its own (``Selection.told_id``). ``key`` and ``fields`` name
    the values in the order in which they are packed. ``definition`` is how the primary's application
    declares the type (for SQLite: CREATE TABLE, then its CREATE INDEX statements); an application of the same kind
    may create a missing type from it. ``references``: its foreign keys whose values are keys as they are; known where
    the collection is shared only.
    """

    id: int
    name: str
    key: tuple[str, ...]
    fields: tuple[str, ...]
    definition: tuple[str, ...] = ()
    references: tuple[Reference, ...] = ()


class ObjectId(NamedTuple):
    """Identity of a data object within a collection, the same on each device: name of its type, canonical key."""

    type: str
    key: bytes


class Observed(NamedTuple):
    """A data object as the application interface read it; ``fields`` is None where the object is gone.

    ``fault`` says why an object that is there cannot be turned into fields (then ``fields`` is ``b""``). ``author``:
    who changed it last, see ``edits.EditGroup``; empty for the application itself.
    """

    type: int
    key: bytes
    fields: bytes | None
    fault: str = ""
    author: str = ""


class Span(NamedTuple):
    """Sequence numbers at any of which a device may stand, the last included."""

    first: int
    last: int


class Spans:
    """Where all devices may stand that take the same: which of them may hold an object that is gone."""

    def __init__(self, spans: Iterable[Span]) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []  # the greatest until there
        for first, last in sorted(spans):
            self._firsts.append(first)
            self._lasts.append(max(last, self._lasts[-1]) if self._lasts else last)

    def may_hold(self, born: int, gone: int) -> bool:
        """Whether any may stand after the object came and before it went."""
        before = bisect_left(self._firsts, gone)
        return before > 0 and born < gone and self._lasts[before - 1] >= born


class Tie(NamedTuple):
    """Two groups that share a data object: ``newer`` changed again what ``older`` had changed."""

    older: int
    newer: int


@dataclass(frozen=True, slots=True)
class Proof:
    """What a device holds at a sequence number: the set checksum (16 bytes) and the number of objects (R14)."""

    seq: int
    digest: bytes
    objects: int


@dataclass(frozen=True, slots=True)
class Failure:
    """First cause of a failed group: the outcome, the reason in words and the guilty object."""

    outcome: OutcomeKind
    cause: str
    guilty: ObjectId | None


def show_device(device: str) -> str:
    """Device id (52 base32 letters) in groups of four, for people."""
    return "-".join(device[i : i + 4] for i in range(0, len(device), 4))


def device_id(fingerprint: bytes) -> str:
    """SHA-256 of a certificate (32 bytes) -> device id: base32 (RFC 4648) without padding."""
    return base64.b32encode(fingerprint).decode().rstrip("=")


def group_id(collection: str, seq: int) -> str:
    """Group id that people see and type: ``collection:sequence``."""
    return f"{collection}:{seq}"
