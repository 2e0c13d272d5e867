"""kill -9 of a process that commits: nothing acknowledged is lost, no half group is there (R2, R4; DESIGN §5)."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from syncd.core.settings import Limits
from syncd.store.inbound import SqliteInboundQueue
from syncd.store.sync_store import SqliteSyncStore
from tests.contract.inbound_kit import NAME as INBOUND_NAME
from tests.contract.inbound_kit import decode, rows_of, work_of
from tests.contract.sync_store_kit import NAME, Follower, Writer
from tests.store.committer import ROWS, group

pytestmark = pytest.mark.asyncio

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 3


def killed(what: str, path: Path, chance: random.Random) -> int:
    """Lets a process commit and kills it. The number of the last commit that it knew of."""
    read = chance.randrange(20, 120)
    command = [sys.executable, "-m", "tests.store.committer", what, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        try:
            for _ in range(read):
                assert process.stdout.readline()
        finally:
            process.kill()
        rest = process.stdout.read().split("\n")[:-1]
        return int(rest[-1]) if rest else read - 1


@pytest.mark.parametrize("attempt", range(ROUNDS))
async def test_a_killed_primary_loses_no_group_that_was_acknowledged(tmp_path: Path, seed: int, attempt: int) -> None:
    path = tmp_path / "store.db"
    acknowledged = killed("store", path, random.Random(seed + attempt))
    store = await SqliteSyncStore.open(path, Limits())
    try:
        follower = Follower(store)
        proof = await follower.catch_up()
        groups = (proof.objects - 1) // (ROWS - 1)
        assert groups >= acknowledged + 1
        expected = {key: value for number in range(groups) for key, value in group(number).items()}
        assert follower.objects == {key.encode(): (value or "").encode() for key, value in expected.items()}
        state = await store.open_collection(NAME)
        assert (state.published, state.head) == (True, groups * ROWS)
        await Writer(store, state.types[0].id).keep(group(groups))
    finally:
        await store.close()


@pytest.mark.parametrize("attempt", range(ROUNDS))
async def test_a_killed_auxiliary_loses_no_frame_that_was_acknowledged(tmp_path: Path, seed: int, attempt: int) -> None:
    path = tmp_path / "inbound.db"
    acknowledged = killed("inbound", path, random.Random(seed + attempt))
    queue = await SqliteInboundQueue.open(path, decode)
    try:
        transfer = (await queue.load(INBOUND_NAME))[0]
        assert transfer is not None
        assert transfer.cursor == transfer.cut >= acknowledged + 1
        work = await work_of(queue)
        assert len(list(work.frames())) == transfer.cut
        assert rows_of(work) == {key: value for number in range(transfer.cut) for key, value in group(number).items()}
    finally:
        await queue.close()
