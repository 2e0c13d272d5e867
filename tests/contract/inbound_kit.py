"""What the suites of the inbound queue share: frames by short names, and how they become bytes and back."""

from __future__ import annotations

from collections.abc import Mapping

from syncd.adapters.msgpack_adapter import MsgpackAdapter
from syncd.core.inbound_port import InboundQueue
from syncd.core.messages import Begin, Cut, Objects, Run
from syncd.core.model import DataType, Failure, Kind, ObjectId, OutcomeKind
from syncd.core.ports import Work

NAME = "notes"
EPOCH = "00000000000000aa"
NOTE = DataType(5, "note", ("id",), ("text",), ("CREATE TABLE note (id PRIMARY KEY, text)",))
_ADAPTER = MsgpackAdapter()


def decode(raw: bytes) -> Objects:
    message = _ADAPTER.restore(raw)
    assert isinstance(message, Objects)
    return message


def encode(frame: Objects) -> bytes:
    raw = _ADAPTER.encode(frame)
    assert isinstance(raw, bytes)
    return raw


def note(key: str) -> ObjectId:
    return ObjectId(NOTE.name, key.encode())


def failure(cause: str = "CHECK failed", guilty: str | None = None) -> Failure:
    return Failure(OutcomeKind.ROLLED_BACK, cause, None if guilty is None else note(guilty))


def frame(
    first: int, last: int, groups: Mapping[int, Mapping[str, str | None]], cut: bool = False, loose: bool = False
) -> Objects:
    """``groups``: sequence number -> key -> fields, None where the object is deleted."""
    rows = [(key, value) for group in groups.values() for key, value in group.items()]
    return Objects(
        NAME,
        first,
        last,
        tuple(Run(seq, loose, len(group)) for seq, group in groups.items()),
        bytes(Kind.DELETE if value is None else Kind.MODIFY for _, value in rows),
        [NOTE.id] * len(rows),
        [key.encode() for key, _ in rows],
        [b"" if value is None else value.encode() for _, value in rows],
        (),
        Cut(last, bytes([last % 256]) * 16, len(rows)) if cut else None,
    )


async def stage(queue: InboundQueue, *frames: Objects) -> None:
    await queue.stage([(one, encode(one)) for one in frames])


async def begin(queue: InboundQueue, base: int = 0, cursor: int = -1, snapshot: bool = False) -> None:
    """``cursor`` -1: at the base."""
    cursor = base if cursor < 0 else cursor
    await queue.begin(NAME, Begin(NAME, EPOCH, snapshot, base, 9 if snapshot else 0, cursor, 100))


async def work_of(queue: InboundQueue) -> Work:
    work = await queue.work(NAME)
    assert work is not None
    return work


def rows_of(work: Work | None) -> dict[str, str | None]:
    """Key -> fields of all rows, the newest where one comes twice."""
    assert work is not None
    return {
        message.key.decode(): None if message.kind is Kind.DELETE else message.fields.decode()
        for one in work.frames()
        for message in one.messages()
    }
