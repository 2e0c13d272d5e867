"""The upload queue on a full disk, and after kill -9: nothing said to be taken is lost, no half group is executed (R2,
R6; DESIGN §5)."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from syncd.core.edits import Ruling
from syncd.core.errors import DiskError, DiskFull
from syncd.core.messages import Upload
from syncd.core.settings import Limits
from syncd.store.database import Database
from syncd.store.uploads import SCHEMA, SqliteUploadQueue
from tests.contract.uploads_kit import (
    DEVICE,
    NAME,
    OUTBOX,
    all_of,
    decode,
    numbers,
    rows_of,
    settle,
    side,
    stage,
    upload,
    waiting,
    written,
)
from tests.store.committer import group, upload_of
from tests.store.test_kill import ROUNDS, killed

pytestmark = pytest.mark.asyncio

LARGE = "x" * 500_000


@pytest_asyncio.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await Database.open(tmp_path / "uploads.db", SCHEMA)
    yield opened
    await opened.close()


@pytest.fixture
def queue(database: Database) -> SqliteUploadQueue:
    return SqliteUploadQueue(database, decode, Limits())


async def fill(database: Database) -> None:
    """There is room for small things only."""
    pages = await database.write(lambda connection: connection.execute("PRAGMA page_count").fetchone()[0])
    await database.write(lambda connection: connection.execute(f"PRAGMA max_page_count = {pages + 10}").fetchone())


async def make_room(database: Database) -> None:
    await database.write(lambda connection: connection.execute("PRAGMA max_page_count = 1000000").fetchone())


async def test_a_full_disk_takes_nothing_of_what_came_and_all_of_it_later(
    database: Database, queue: SqliteUploadQueue
) -> None:
    await stage(queue, upload({1: {"a": "1"}}))
    await fill(database)
    frames = upload({2: {"b": "1"}}), upload({3: {"c": LARGE}})
    with pytest.raises(DiskFull):
        await stage(queue, *frames)
    assert await queue.received(DEVICE, NAME, OUTBOX) == 1
    assert [number for _, number, _ in await waiting(queue)] == [1]
    await make_room(database)
    assert await stage(queue, *frames) == 3
    assert [number for _, number, _ in await waiting(queue)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("lost", "later"),
    [
        (upload({2: {"b": LARGE}}), upload({3: {"c": "1"}})),
        (upload({2: {"b": LARGE}}, cut=True), upload({2: {"c": "1"}})),
        (upload({1: {"a": "1"}, 2: {"b": LARGE, "c": "1"}}, cut=True), upload({2: {"d": "1"}, 3: {"e": "1"}})),
    ],
    ids=["the group before", "the beginning of its group", "together with what was there"],
)
async def test_a_frame_is_not_taken_when_the_one_before_it_was_not(
    database: Database, queue: SqliteUploadQueue, lost: Upload, later: Upload
) -> None:
    await stage(queue, upload({1: {"a": "1"}}))
    await fill(database)
    with pytest.raises(DiskFull):
        await stage(queue, lost)
    for _ in range(2):
        with pytest.raises(DiskError):
            await stage(queue, later)
    await make_room(database)
    with pytest.raises(DiskError):
        await stage(queue, later)
    assert await queue.received(DEVICE, NAME, OUTBOX) == 1
    assert await stage(queue, upload({7: {"x": "1"}}), device="tablet") == 7
    assert await stage(queue, upload({7: {"x": "1"}}, collection="other")) == 7
    assert await stage(queue, lost, later) == later.runs[-1].number
    assert await stage(queue, later) == later.runs[-1].number


async def test_a_half_group_of_which_a_frame_was_not_taken_comes_again_from_its_beginning(
    database: Database, queue: SqliteUploadQueue
) -> None:
    await stage(queue, upload({1: {"a": "1"}}, cut=True))
    await fill(database)
    with pytest.raises(DiskFull):
        await stage(queue, upload({1: {"b": LARGE}}, cut=True))
    await make_room(database)
    with pytest.raises(DiskError):
        await stage(queue, upload({1: {"c": "1"}}))
    assert await stage(queue, upload({1: {"a": "1"}}, cut=True)) == 0
    assert await stage(queue, upload({1: {"b": "1", "c": "1"}})) == 1
    assert await waiting(queue) == [(DEVICE, 1, {"a": "1", "b": "1", "c": "1"})]


async def test_a_full_disk_settles_nothing_and_all_of_it_later(database: Database, queue: SqliteUploadQueue) -> None:
    await stage(queue, upload({1: {"a": "1"}, 2: {"b": "1"}}))
    await fill(database)
    settled = written(1), written(2, Ruling.REFUSED, side("b")._replace(theirs=LARGE.encode()))
    with pytest.raises(DiskFull):
        await settle(queue, *settled)
    assert await numbers(queue) == []
    assert await queue.conflicts("", True) == []
    assert [number for _, number, _ in await waiting(queue)] == [1, 2]
    await make_room(database)
    await settle(queue, *settled)
    assert await numbers(queue) == [1, 2]
    assert [one.number for one in await queue.conflicts("", True)] == [2]


@pytest.mark.parametrize("attempt", range(ROUNDS))
async def test_a_killed_primary_loses_no_group_that_was_said_to_be_taken(
    tmp_path: Path, seed: int, attempt: int
) -> None:
    """A process stages groups of two frames each, settles every third, and is killed."""
    path = tmp_path / "uploads.db"
    acknowledged = killed("uploads", path, random.Random(seed + attempt))
    queue = await SqliteUploadQueue.open(path, decode)
    try:
        taken = await queue.received(DEVICE, NAME, OUTBOX)
        assert taken >= acknowledged + 1
        settled = set(await numbers(queue))
        assert settled >= {number for number in range(1, acknowledged + 1) if number % 3 == 0}
        found = {one.number: rows_of(one) for one in await all_of(queue)}
        assert found == {number: group(number) for number in range(1, taken + 1) if number not in settled}
        assert await stage(queue, *upload_of(taken + 1)) == taken + 1
        assert rows_of((await all_of(queue))[-1]) == group(taken + 1)
    finally:
        await queue.close()
