"""Changes that come from an auxiliary, as values: how they are read, queued, executed, and what becomes of them.

An *edit* is one object as it was changed on an auxiliary. It names the version that it changed, its *base*, by that
version's content (R11): the same content is the same version. Edits that were made together are a *group of edits*;
a group is accepted, merged or refused as a whole (R7, R11). What was edited and is not settled stands in the
application above what the primary sent: the target's checksum is of the bases (R14).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from syncd.core.model import ObjectId

EVER = 2**62  # position of a target that is never sent anything: what was made there counts as the primary's


class Direction(StrEnum):
    """Which way a collection's changes travel. ``OUT``: from the primary only."""

    OUT = "out"
    IN = "in"
    BOTH = "both"


class Policy(StrEnum):
    """Who wins where an object was changed on both sides (R11)."""

    PRIMARY = "primary"
    AUXILIARY = "auxiliary"
    NEWEST = "newest"
    BOTH = "both"
    MERGE = "merge"


class Ruling(StrEnum):
    """What became of a group of edits. ``MERGED``: what came of it is not just what was sent."""

    ACCEPTED = "accepted"
    MERGED = "merged"
    REFUSED = "refused"


class Edit(NamedTuple):
    """``base``: fields of the version that was changed, None where there was no object. ``fields``: as it is since
    then, None where it was deleted. ``fault``: why what is there cannot be turned into fields (then ``fields`` is
    ``b""``, and the group is refused where it was made)."""

    type: int
    key: bytes
    base: bytes | None
    fields: bytes | None
    fault: str = ""


# ---------------------------------------------------------------- on the auxiliary


@dataclass(frozen=True, slots=True)
class LocalChanges:
    """What the application changed after a mark, read in one transaction of its data.

    ``edits``: one for each object, base as before the first of the changes, fields as they are. ``drained``: nothing
    remains, so that with this the reader has seen one state. ``lost``: the log does not reach back to the mark; what
    was changed is not known. ``mark``: from where to read on.
    """

    edits: tuple[Edit, ...]
    mark: int
    drained: bool
    lost: bool = False


@dataclass(frozen=True, slots=True)
class LocalBatch:
    """Edits for the outbox. ``close``: with them the group is whole. ``offered``: their bases are not known (R13): each
    is a group of its own. ``mark``: None leaves it."""

    edits: tuple[Edit, ...]
    close: bool
    mark: int | None
    time_us: int
    offered: bool = False


@dataclass(frozen=True, slots=True)
class OutboxState:
    """What the outbox holds of a collection.

    ``outbox``: its identity; numbers of another outbox mean nothing. ``mark``: how far the application's log was read.
    ``first``: the oldest group that waits for its verdict, ``last + 1`` if none does; ``last``: the newest closed.
    ``pending``: groups that wait for their verdict, or were accepted and have not come down yet. ``refused``: groups
    kept for a person to read. ``undo``: some still stand in the application that were refused, or that were accepted
    although the target, past their sequence number, holds another version. ``sealed``: the highest number that may have
    been sent.
    """

    outbox: str
    mark: int
    first: int
    last: int
    pending: int
    refused: int
    undo: bool
    sealed: int = 0


class Restored(NamedTuple):
    """An object as it is put back: as the primary's version was. ``fields`` None: there is none."""

    type: int
    key: bytes
    fields: bytes | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a target does about edits that are not settled, in the transaction that executes a work or puts back what
    was refused.

    ``id``: 0 where there is nothing to do, else greater than that of any that may have been carried out; the target
    keeps it in the same commit (``TargetState.plan``), which says whether the plan was. ``mark``: of the application's
    log; where what was logged after it touches an object of the work or of the plan, nothing is executed
    (``EditsUnread``).
    ``digest``, ``objects``: what to add to checksum and count: objects that the work writes over count as their bases
    until then. ``leave``: which of some objects stay as they are, although the work names them: the primary's version
    is an earlier one of those made here. ``restore``: what is put back first; it changes neither checksum nor count.
    Both may be called from any thread. ``stays``: all that the work names was read from the application just as it
    comes; not said of each work of which it is so.
    """

    id: int
    mark: int
    digest: int = 0
    objects: int = 0
    leave: Callable[[Iterable[ObjectId]], frozenset[ObjectId]] | None = None
    restore: Callable[[], Iterator[Restored]] | None = None
    stays: bool = False


@dataclass(frozen=True, slots=True)
class Overlay:
    """What counts what the application holds as what the primary sent: for all edits read up to ``mark``, what to add
    to the checksum (hashes of the bases less those of what stands there) and to the number of objects."""

    mark: int
    digest: int = 0
    objects: int = 0


@dataclass(frozen=True, slots=True)
class RefusedGroup:
    """A group of edits that was refused, kept on the auxiliary for a person (30 days). ``conflict``: its id on the
    primary, 0 if it was refused for another reason."""

    number: int
    time_us: int
    cause: str
    guilty: ObjectId | None
    conflict: int
    objects: int


# ---------------------------------------------------------------- on the primary


@dataclass(frozen=True, slots=True)
class EditGroup:
    """A group of edits to be executed on the primary's application.

    ``device``, ``outbox``, ``number`` name it; ``device`` is empty where a person at the primary makes it (undo,
    resolve). ``time_us``: when it was made, by the primary's clock; 0 where the clocks differ too much to tell.
    ``offered``: bases are not known. ``author``: who made it and how, for the history. ``silent``: by type, places of
    fields that the device does not have: the edits say nothing of them, whatever stands there.
    ``exact``: a person has seen what it does, and nothing else is done.
    """

    device: str
    outbox: str
    number: int
    time_us: int
    edits: tuple[Edit, ...]
    offered: bool = False
    author: str = ""
    silent: Mapping[int, frozenset[int]] = field(default_factory=dict, hash=False)
    exact: bool = False


class Fact(NamedTuple):
    """What the sync store knows of an object that is edited. ``hash``: of the version that it holds (None: none);
    ``changed_us``: when that came to be (``JUST_NOW_US``: so lately that no time is known). ``stale``: the edit has no
    base, and its fields are those of an earlier version."""

    hash: bytes | None
    changed_us: int
    stale: bool


JUST_NOW_US = 2**63 - 1  # later than any time
NOTHING_KNOWN = Fact(None, 0, False)


class Side(NamedTuple):
    """One object of a group in conflict: the version that was changed, the primary's, the auxiliary's, and what came of
    it; each None where there is no object. ``contested``: it is one of those in conflict. ``copy``: key of the second
    object that keeps the auxiliary's version (policy both), else empty."""

    object: ObjectId
    base: bytes | None
    ours: bytes | None
    theirs: bytes | None
    result: bytes | None
    contested: bool
    copy: bytes = b""


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a group of edits in the primary's application.

    ``mark``: of the application's log; once the source was read up to it, the group has its place in the order (R1).
    ``cause``, ``guilty``: why it was refused. ``sides``: its objects, where any of them was in conflict, whoever won;
    ``time_us`` of the group goes with them. ``edits``: how many it has, where that was counted.
    """

    device: str
    outbox: str
    number: int
    ruling: Ruling
    mark: int
    cause: str = ""
    guilty: ObjectId | None = None
    sides: tuple[Side, ...] = ()
    time_us: int = 0
    edits: int = 0


@dataclass(frozen=True, slots=True)
class Conflict:
    """A conflict as it is kept for a person, with the versions of all objects of its group.

    ``winner``: primary, auxiliary, both or merge. ``resolved``: what a person did about it, empty while nobody did.
    ``seq``: of the group that came of it.
    """

    id: int
    collection: str
    device: str
    number: int
    time_us: int
    policy: str
    winner: str
    seq: int
    resolved: str
    sides: tuple[Side, ...]


class Version(NamedTuple):
    """One version of an object, for its history. ``seq``: the group that made it; ``fields`` None: it was deleted.
    ``author``: who made it, see ``EditGroup``; empty for the primary's application."""

    seq: int
    time_us: int
    fields: bytes | None
    author: str
