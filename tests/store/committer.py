"""A process that commits without end and says after each commit what was acknowledged; a test kills it.

Arguments: what ("store" or "inbound"), path. Each line on standard output is the number of a commit that returned.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from syncd.core.messages import Begin
from syncd.core.settings import Limits
from syncd.store.inbound import SqliteInboundQueue
from syncd.store.sync_store import SqliteSyncStore
from tests.contract.inbound_kit import EPOCH, NAME, decode, frame, stage
from tests.contract.sync_store_kit import Writer, prepare

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


if __name__ == "__main__":
    commit = {"store": commit_store, "inbound": commit_inbound}[sys.argv[1]]
    asyncio.run(commit(Path(sys.argv[2])))
