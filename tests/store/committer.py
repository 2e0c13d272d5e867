"""A process that commits without end and says after each commit what was acknowledged; a test kills it.

Arguments: what ("store", "inbound" or "uploads"), path. Each line on standard output is the number of a
commit that returned.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from syncd.core.messages import Begin, Upload
from syncd.core.settings import Limits
from syncd.store.inbound import SqliteInboundQueue
from syncd.store.sync_store import SqliteSyncStore
from syncd.store.uploads import SqliteUploadQueue
from tests.contract.inbound_kit import EPOCH, NAME, decode, frame, stage
from tests.contract.sync_store_kit import Writer, prepare
from tests.contract.uploads_kit import decode as decode_upload
from tests.contract.uploads_kit import settle, upload, written
from tests.contract.uploads_kit import stage as stage_uploads

ROWS = 5  # of one group


def group(number: int) -> dict[str, str | None]:
    """Some objects are added, one changes with each group."""
    return {"each": f"{number}", **{f"{number:06}-{i}": "x" * 300 for i in range(ROWS - 1)}}


async def commit_store(path: Path) -> None:
    store = await SqliteSyncStore.open(path, Limits())
    writer = Writer(store, await prepare(store))
    for number in range(1_000_000):
        await writer.keep(group(number))
        print(number, flush=True)


async def commit_inbound(path: Path) -> None:
    queue = await SqliteInboundQueue.open(path, decode)
    await queue.begin(NAME, Begin(NAME, EPOCH, False, 0, 0, 0, 0))
    for number in range(1_000_000):
        await stage(queue, frame(number, number + 1, {number + 1: group(number)}, cut=True))
        print(number, flush=True)


def upload_of(number: int) -> tuple[Upload, Upload]:
    """The group of that number, in two frames."""
    rows = list(group(number).items())
    return upload({number: dict(rows[:2])}, cut=True), upload({number: dict(rows[2:])})


async def commit_uploads(path: Path) -> None:
    """Every third group is settled when it is there."""
    queue = await SqliteUploadQueue.open(path, decode_upload)
    for number in range(1, 1_000_000):
        for part in upload_of(number):
            await stage_uploads(queue, part)
        if number % 3 == 0:
            await settle(queue, written(number))
        print(number - 1, flush=True)


if __name__ == "__main__":
    commit = {"store": commit_store, "inbound": commit_inbound, "uploads": commit_uploads}[sys.argv[1]]
    asyncio.run(commit(Path(sys.argv[2])))
