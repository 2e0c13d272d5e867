"""What the suites of the upload queue share: frames of edits by short names, how they become bytes and back, and what
a writer says of groups."""

from __future__ import annotations

import pickle
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from syncd.core.edits import EditGroup, Ruling, Side, Written
from syncd.core.messages import Made, Upload
from syncd.core.model import Kind, ObjectId
from syncd.core.settings import Limits
from syncd.core.upward_ports import UploadQueue
from syncd.store.memory_uploads import MemoryUploadQueue
from syncd.store.uploads import SqliteUploadQueue

NAME = "notes"
OUTBOX = "0a0a"
DEVICE = "laptop"
NOTE = 5  # id of the type
NOW_US = 1_700_000_000_000_000


@asynccontextmanager
async def open_queue(what: str, directory: Path, limits: Limits) -> AsyncIterator[UploadQueue]:
    """``what``: "sqlite" or "memory"."""
    if what == "memory":
        yield MemoryUploadQueue(limits)
        return
    queue = await SqliteUploadQueue.open(directory / "uploads.db", decode, limits)
    try:
        yield queue
    finally:
        await queue.close()


# Key -> fields, None where the object is deleted. Bases are as before, see ``rows_of``.
Rows = Mapping[str, str | None]


def encode(upload: Upload) -> bytes:
    return pickle.dumps(upload)


def decode(raw: bytes) -> Upload:
    upload = pickle.loads(raw)
    assert isinstance(upload, Upload)
    return upload


def run(number: int, rows: int, whole: bool = True, offered: bool = False) -> Made:
    return Made(number, NOW_US - 1_000_000 + number, rows, whole, offered)


def upload(
    groups: Mapping[int, Rows],
    *,
    cut: bool = False,
    outbox: str = OUTBOX,
    collection: str = NAME,
    offered: bool = False,
    clock_us: int = NOW_US,
) -> Upload:
    """``groups``: by number. ``cut``: the last goes on in the next frame. An object whose key begins with "+" is added;
    the base of others is "was " and the key."""
    last = max(groups, default=0)
    rows = [row for group in groups.values() for row in group.items()]
    return Upload(
        collection,
        outbox,
        clock_us,
        tuple(run(number, len(group), not cut or number != last, offered) for number, group in groups.items()),
        bytes(Kind.DELETE if fields is None else Kind.ADD if key[0] == "+" else Kind.MODIFY for key, fields in rows),
        [NOTE] * len(rows),
        [key.encode() for key, _ in rows],
        [b"" if key[0] == "+" else f"was {key}".encode() for key, _ in rows],
        [b"" if fields is None else fields.encode() for _, fields in rows],
    )


async def stage(queue: UploadQueue, *uploads: Upload, device: str = DEVICE, now_us: int = NOW_US) -> int:
    return await queue.stage(device, [(one, encode(one)) for one in uploads], now_us)


def rows_of(group: EditGroup) -> dict[str, str | None]:
    return {edit.key.decode(): None if edit.fields is None else edit.fields.decode() for edit in group.edits}


async def all_of(queue: UploadQueue, collection: str = NAME) -> list[EditGroup]:
    """All groups that wait, in order."""
    found: list[EditGroup] = []
    cursor = 0
    while True:
        cursor, groups = await queue.next(collection, cursor, 1_000_000)
        if not groups:
            return found
        found += groups


async def waiting(queue: UploadQueue, collection: str = NAME) -> list[tuple[str, int, dict[str, str | None]]]:
    return [(group.device, group.number, rows_of(group)) for group in await all_of(queue, collection)]


def note(key: str) -> ObjectId:
    return ObjectId("note", key.encode())


def side(key: str, result: str | None = "ours", contested: bool = True, copy: str = "") -> Side:
    made = None if result is None else result.encode()
    return Side(note(key), b"base", b"ours", b"theirs", made, contested, copy.encode())


def written(
    number: int,
    ruling: Ruling = Ruling.ACCEPTED,
    *sides: Side,
    cause: str = "",
    guilty: ObjectId | None = None,
    outbox: str = OUTBOX,
    device: str = DEVICE,
) -> Written:
    return Written(device, outbox, number, ruling, 0, cause, guilty, sides)


async def settle(queue: UploadQueue, *ones: Written, seq: int = 70, now_us: int = NOW_US) -> dict[str, list[int]]:
    """The numbers of the verdicts that came of it, by device."""
    verdicts = await queue.settle(NAME, ones, seq, "primary", now_us)
    return {device: [verdict.number for verdict in of_device] for device, of_device in verdicts.items()}


async def numbers(queue: UploadQueue, first: int = 0, device: str = DEVICE, outbox: str = OUTBOX) -> Sequence[int]:
    """Of the verdicts that are kept from ``first`` on."""
    return [verdict.number for verdict in await queue.verdicts(device, NAME, outbox, first)]
