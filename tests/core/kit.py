"""What the tests of the engines share: short makers of states, frames and events of one collection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from syncd.core.events import ChunkRead
from syncd.core.messages import Cut, Objects, Run
from syncd.core.model import DataType, Failure, Kind, ObjectId, OutcomeKind, Proof
from syncd.core.ports import ChunkRequest, CollectionState, ParkedPart, TargetState
from syncd.core.selection import ALL
from syncd.core.settings import Limits

T = TypeVar("T")
NAME = "things"
EPOCH = "epoch-1"
CITY = DataType(1, "city", ("id",), ("name",))
COUNTRY = DataType(2, "country", ("id",), ("name",))
LIMITS = Limits(
    window_bytes_max=1_000,
    credit_bytes=100,
    direct_bytes_max=300,
    waiting_cuts_max=2,
    failed_max=3,
    follows_max=4,
    offline_retry_s_first=1.0,
    offline_retry_s_max=5.0,
    stalled_s=30.0,
)


def digest_at(seq: int) -> bytes:
    """The checksum that both ends have at this sequence number when all is well."""
    return seq.to_bytes(16, "big")


def store_state(
    head: int = 0,
    *,
    epoch: str = EPOCH,
    horizon: int = 0,
    published: bool = True,
    mark: int = 0,
    imported: bool = True,
    scanning: bool = False,
    types: tuple[DataType, ...] = (CITY, COUNTRY),
) -> CollectionState:
    """What the store holds: by default, a collection that was imported whole."""
    return CollectionState(
        name=NAME,
        epoch=epoch,
        head=head,
        horizon=horizon,
        digest=digest_at(head),
        objects=head,
        published=published,
        source="the application",
        mark=mark,
        imported=imported,
        scanning=scanning,
        types=types,
    )


def target_state(position: int, *, epoch: str = EPOCH, digest: bytes | None = None) -> TargetState:
    """What a target holds, identical with the primary unless another checksum is given."""
    return TargetState(epoch, position, digest_at(position) if digest is None else digest, position)


NOTHING_HELD = TargetState("", 0, bytes(16), 0)


def proof_at(seq: int) -> Proof:
    return Proof(seq, digest_at(seq), seq)


def frame(
    first: int, last: int, *, cut: bool = True, rows: int | None = None, type_id: int = CITY.id, collection: str = NAME
) -> Objects:
    """A group of the sequence numbers (first, last], one row for each unless ``rows`` says otherwise."""
    count = last - first if rows is None else rows
    return Objects(
        collection,
        first,
        last,
        (Run(last, False, count),) if count else (),
        bytes([Kind.MODIFY]) * count,
        [type_id] * count,
        [b"key %d" % (first + i + 1) for i in range(count)],
        [b"fields"] * count,
        (),
        Cut(last, digest_at(last), last) if cut else None,
    )


def chunk(
    cursor: int,
    last: int,
    *,
    base: int = 0,
    floor: int = 0,
    cut: bool = True,
    version: int = 1,
    horizon: int = 0,
    size: int = 10,
    adapter: str = "msgpack",
) -> ChunkRead:
    """Changes after ``cursor`` as they were read and encoded, in a frame of ``size`` bytes."""
    request = ChunkRequest(NAME, ALL, base, floor, cursor)
    encoded = b"%d-%d;" % (cursor, last)
    return ChunkRead(
        request, adapter, last, proof_at(last) if cut else None, version, horizon, encoded.ljust(size, b".")
    )


def part(
    number: int, *seqs: int, retry_at: float = 1e9, attempts: int = 1, guilty: ObjectId | None = None
) -> ParkedPart:
    """A parked part; by default it is not due for a long time."""
    failure = Failure(OutcomeKind.ROLLED_BACK, "CHECK constraint failed", guilty)
    return ParkedPart(number, seqs, len(seqs), failure, attempts, int(retry_at * 1e6))


def of_kind(effects: Sequence[object], kind: type[T]) -> list[T]:
    """Those effects, in order."""
    return [effect for effect in effects if isinstance(effect, kind)]
