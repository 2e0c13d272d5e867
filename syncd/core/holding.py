"""What goes into the store, and what the guard keeps out of the order until a person decides (R13): values, and the
store's part in it as a port.

A collection has at most one held group: of a transaction, or of all that a comparison of the application finds gone. It
grows by what is held or touches it afterwards, and each time that it takes in deletions it gets another number, so that
a person approves what was shown and nothing else. Its objects are known by name: in the store, and on all devices, they
stand as they were before (R2), and when the group is released they are observed in the application as they are then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from syncd.core.edits import Edit
from syncd.core.guard import Guard
from syncd.core.model import Observed


@dataclass(frozen=True, slots=True)
class Held:
    """The held group of a collection. ``gone``: those of its ``objects`` that the application does not have any more
    and the store has; ``of``: how many objects there were when it began. ``released``: it goes into the order with what
    is read next. ``reading``: what it comes from is still being read."""

    number: int
    objects: int
    gone: int
    of: int
    since_us: int
    released: bool
    reading: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """Objects as observed in one short read of the application, in key order where it is an import.

    ``publish``: with this batch the store equals one state of the application: its rows, and those kept unpublished
    before, become one group. ``loose``: see ``messages.Run``. ``mark``: new read mark, or None to leave it.
    ``end_scan``: the running comparison is complete with it. ``guard``: what it, with those kept unpublished before, is
    held against (R13). ``sweep``: it is of what the running comparison did not see: that is judged as one, and held or
    let through as one, of however many batches.
    ``release``: its objects are of the held group no more; else those that are do not change. Of what it deletes only
    that counts which was not gone when a person let it through.
    """

    observed: Sequence[Observed]
    publish: bool
    loose: bool
    mark: int | None = None
    end_scan: bool = False
    guard: Guard | None = None
    sweep: bool = False
    release: bool = False


class HeldObject(NamedTuple):
    """An object of a held group. ``gone``: as when it was last observed."""

    type: int
    key: bytes
    gone: bool


def held_id(collection: str, number: int) -> str:
    """Id of a held group that people see and type."""
    return f"{collection}:held-{number}"


def held_reason(collection: str, held: Held) -> str:
    """What is held, and what to do."""
    id_ = held_id(collection, held.number)
    if held.released:
        return f"{id_} goes into the order with what is read next"
    more = " so far, and more is being read" if held.reading else ""
    return (
        f"{held.gone:,} of {held.of:,} objects are not in the application any more{more}: they stay everywhere else,"
        f" and so does what was changed with them ({held.objects:,} objects in all), until you say"
        f" `syncd approve {id_}`, or `syncd reject {id_}`: then the application gets them back"
    )


class Holding(Protocol):
    """The sync store's part in the guard."""

    async def spent(self, name: str, guard: Guard, now_us: int) -> int:
        """How many deletions of the application's data that it has at this time were let through in the guard's
        window; what was let through before a person decided does not count."""
        ...

    async def release(self, name: str, number: int) -> bool:
        """Durable. The held group goes into the order from here on. False: no held group has this number, or
        the read that it comes from goes on."""
        ...

    async def held_objects(self, name: str, limit: int, after: HeldObject | None = None) -> Sequence[HeldObject]:
        """Some objects of the held group, in the order of types and keys after this one. Those given to ``keep`` in a
        batch that releases are none of it any more."""
        ...

    async def lost(self, name: str, after: int, bytes_max: int) -> tuple[Sequence[Edit], int]:
        """What puts back objects of the held group that are gone, as the store has them, in the order of their changes
        after this one: as many as fit, one at least, and the change of the last, 0 where none is left."""
        ...
