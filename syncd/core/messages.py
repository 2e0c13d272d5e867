"""Messages between devices, independent of platform and of encoding.

A *generic message* (claims 20a, 24j) is an add, modify or delete of one data object. They travel in ``Objects``:
columns instead of one record each, because a hundred thousand of them must pass in a second. The other classes are
the conversation around them. Adapters turn each class into frames and back; PROTOCOL.md tells the same in prose.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from syncd.core.model import DataType, Kind, Proof, Tie

PROTOCOL_VERSIONS = (1,)


class Message(NamedTuple):
    """One generic message. ``fields``: canonical bytes; empty for a delete; the reason (UTF-8) when withheld."""

    kind: Kind
    type: int
    key: bytes
    fields: bytes


@dataclass(frozen=True, slots=True)
class Hello:
    """Auxiliary -> primary, first message of a link."""

    versions: tuple[int, ...]
    role: str
    name: str
    adapter: str


@dataclass(frozen=True, slots=True)
class Welcome:
    """Primary -> auxiliary, answer to Hello. ``window_bytes``: how much may be sent and not yet credited."""

    version: int
    name: str
    user: str
    adapter: str
    window_bytes: int
    collections: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Either way: why the link is about to close. ``code`` is one of ``errors.REFUSALS``."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Follow:
    """Auxiliary -> primary: send what changed in a collection.

    ``position``: applied (or durably complete in the inbound queue) up to here, of ``epoch`` (empty: holds nothing).
    ``snapshot``, ``base``, ``floor``, ``cursor``: the unfinished transfer of which frames up to ``cursor`` are staged
    (as its Begin said); false, ``position``, 0, ``position`` when there is none. ``again``: a snapshot is asked for
    whatever is held (R14).
    """

    collection: str
    epoch: str
    position: int
    snapshot: bool
    base: int
    floor: int
    cursor: int
    again: bool = False


@dataclass(frozen=True, slots=True)
class Types:
    """Primary -> auxiliary: the types that the following Objects use. Sent before them and after each change."""

    collection: str
    types: tuple[DataType, ...]


@dataclass(frozen=True, slots=True)
class Begin:
    """Primary -> auxiliary, answer to Follow: how the transfer goes on.

    ``base``: the changes after this sequence number follow (0 with ``snapshot``). ``floor``: tombstones up to here
    are left out (snapshot only). ``cursor``: the frames staged up to here stay valid; if it is ``base``, what was
    staged of an unfinished transfer is void. ``reason``: why a snapshot was chosen, for people.
    """

    collection: str
    epoch: str
    snapshot: bool
    base: int
    floor: int
    cursor: int
    head: int
    reason: str = ""


class Run(NamedTuple):
    """``rows`` consecutive rows of an Objects frame that belong to group ``seq``.

    ``loose``: the group came from an import, where transactions are not known: each of its objects stands alone when
    a failed transfer is divided (R7).
    """

    seq: int
    loose: bool
    rows: int


@dataclass(frozen=True, slots=True)
class Cut:
    """End of a transfer: with all frames up to here the device is at ``seq`` and holds what the proof says (R14)."""

    seq: int
    digest: bytes
    objects: int

    @property
    def proof(self) -> Proof:
        """What it proves."""
        return Proof(self.seq, self.digest, self.objects)


@dataclass(frozen=True, slots=True)
class Objects:
    """Primary -> auxiliary: generic messages in sequence order, columns of equal length.

    Covers the sequence numbers in (``first``, ``last``]. ``kinds``: one byte per row (``Kind``). ``ties``: pairs of
    groups that share an object, which the newer one changed within the frame's sequence numbers (R7).
    """

    collection: str
    first: int
    last: int
    runs: tuple[Run, ...]
    kinds: bytes
    types: list[int]
    keys: list[bytes]
    fields: list[bytes]
    ties: tuple[Tie, ...] = ()
    cut: Cut | None = None

    def __len__(self) -> int:
        return len(self.kinds)

    def messages(self) -> Iterator[Message]:
        """The generic messages, one by one."""
        for kind, type_, key, fields in zip(self.kinds, self.types, self.keys, self.fields, strict=True):
            yield Message(Kind(kind), type_, key, fields)


@dataclass(frozen=True, slots=True)
class Credit:
    """Auxiliary -> primary: frames of a collection's Objects that are settled there, in bytes since the link began."""

    collection: str
    received_bytes: int


@dataclass(frozen=True, slots=True)
class Failed:
    """One failed group in a Report. ``outcome``: cancelled, rolled-back or held; ``key`` canonical, empty if none."""

    seq: int
    outcome: str
    cause: str
    type: str
    key: bytes


@dataclass(frozen=True, slots=True)
class Report:
    """Auxiliary -> primary: where a collection stands. ``failed``: all groups parked there (bounded, R15).

    ``match``: the device's checksum equals the cut's at ``position`` (R14). ``offline``: why the application cannot
    be written, empty when it can; ``held``: a person must decide (R13).
    """

    collection: str
    epoch: str
    position: int
    digest: bytes
    objects: int
    match: bool
    parked: int
    offline: str
    held: bool = False
    failed: tuple[Failed, ...] = ()


@dataclass(frozen=True, slots=True)
class Terms:
    """Primary -> auxiliary, for each collection after Welcome and whenever they change: which way its changes travel
    (``edits.Direction``) and what decides a conflict (``edits.Policy``)."""

    collection: str
    direction: str
    policy: str


class Rest(NamedTuple):
    """A collection of which nothing travels. ``reason``: for people; ``until_us``: when it goes on, by the sender's
    clock in microseconds UTC, 0 where only a person can say."""

    collection: str
    reason: str
    until_us: int


@dataclass(frozen=True, slots=True)
class Pace:
    """Either way, whenever it changes: what rests by the sender's decision; all else goes on. From the primary besides
    that ``running``: what rests again when all that waits has travelled; and ``rate_bytes_s``: how much may come up in
    a second, 0: as much as there is."""

    resting: tuple[Rest, ...]
    running: tuple[str, ...] = ()
    rate_bytes_s: int = 0


@dataclass(frozen=True, slots=True)
class Offer:
    """Auxiliary -> primary: which groups of edits wait. ``outbox``: identity of their numbering. ``first``: the oldest
    that has no verdict, ``last + 1`` if none waits; verdicts of earlier ones are known. ``last``: the newest."""

    collection: str
    outbox: str
    first: int
    last: int


class Made(NamedTuple):
    """``rows`` consecutive rows of an Upload that belong to the group ``number``.

    ``time_us``: when it was made, by the auxiliary's clock. ``whole``: its rows end here; else they go on with the next
    Upload. ``offered``: the versions that were changed are not known (R13).
    """

    number: int
    time_us: int
    rows: int
    whole: bool
    offered: bool


@dataclass(frozen=True, slots=True)
class Upload:
    """Auxiliary -> primary: groups of edits in the order of their numbers, columns of equal length.

    ``clock_us``: the auxiliary's clock when it was sent. ``kinds``: one byte per row: add (there was no object), modify
    or delete. ``types``: as the primary's Types numbered them. ``bases``: fields of the version that was changed,
    empty for an add; ``fields``: empty for a delete.
    """

    collection: str
    outbox: str
    clock_us: int
    runs: tuple[Made, ...]
    kinds: bytes
    types: list[int]
    keys: list[bytes]
    bases: list[bytes]
    fields: list[bytes]

    def __len__(self) -> int:
        return len(self.kinds)


@dataclass(frozen=True, slots=True)
class Taken:
    """Primary -> auxiliary, answer to Offer and as Uploads become durable: all groups up to ``number`` are in the
    inbound queue, whole. ``received_bytes``: Uploads of the collection that are settled there, since the link began."""

    collection: str
    outbox: str
    number: int
    received_bytes: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of the group ``number``. ``ruling``: see ``edits.Ruling``. ``seq``: of the primary's group that came
    of it (0 where it was refused). ``cause``: why, with the guilty object (``type``, ``key``). ``conflict``: id of
    the conflict that is kept on the primary, 0 if there was none."""

    number: int
    ruling: str
    seq: int
    cause: str
    type: str
    key: bytes
    conflict: int


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Primary -> auxiliary, for groups of ``outbox``; each once they are durable there, again after each Offer."""

    collection: str
    outbox: str
    verdicts: tuple[Verdict, ...]


Wire = (
    Hello
    | Welcome
    | Refusal
    | Follow
    | Types
    | Begin
    | Objects
    | Credit
    | Report
    | Terms
    | Pace
    | Offer
    | Upload
    | Taken
    | Verdicts
)
