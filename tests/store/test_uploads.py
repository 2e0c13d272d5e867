"""What only the upload queue in SQLite does: restarts, small files, damaged frames, commits that are shared."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
import pytest_asyncio

from syncd.core.edits import Ruling
from syncd.core.errors import FrameError, StoreBroken
from syncd.core.messages import Upload
from syncd.core.settings import Limits
from syncd.store.database import Database
from syncd.store.uploads import SCHEMA, SqliteUploadQueue
from tests.contract.uploads_kit import (
    DEVICE,
    NAME,
    NOW_US,
    OUTBOX,
    all_of,
    decode,
    encode,
    numbers,
    settle,
    side,
    stage,
    upload,
    waiting,
    written,
)

pytestmark = pytest.mark.asyncio

LIMITS = Limits(edit_group_bytes_max=10_000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "uploads.db"


@pytest_asyncio.fixture
async def queue(path: Path) -> AsyncIterator[SqliteUploadQueue]:
    opened = await SqliteUploadQueue.open(path, decode, LIMITS)
    yield opened
    await opened.close()


def size(path: Path) -> int:
    return path.stat().st_size


def rows_in(path: Path, table: str) -> int:
    with closing(sqlite3.connect(path)) as own:
        count: int = own.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        return count


async def test_a_queue_opened_again_is_as_it_was(path: Path) -> None:
    queue = await SqliteUploadQueue.open(path, decode)
    await stage(queue, upload({1: {"a": "1"}, 2: {"b": "1"}, 3: {"c": "1"}}), upload({4: {"d": "1"}}, cut=True))
    await settle(queue, written(1), written(2, Ruling.REFUSED, side("b")))
    await queue.resolve(1, "took ours")
    before = await all_of(queue), await queue.conflict(1), await queue.verdicts(DEVICE, NAME, OUTBOX, 0)
    await queue.close()
    queue = await SqliteUploadQueue.open(path, decode)
    try:
        assert before == (await all_of(queue), await queue.conflict(1), await queue.verdicts(DEVICE, NAME, OUTBOX, 0))
        assert await queue.received(DEVICE, NAME, OUTBOX) == 3
        assert await stage(queue, upload({4: {"e": "1"}})) == 4
        assert await waiting(queue) == [(DEVICE, 3, {"c": "1"}), (DEVICE, 4, {"d": "1", "e": "1"})]
    finally:
        await queue.close()


async def test_the_bytes_of_a_frame_are_kept_as_they_came_and_read_once(path: Path) -> None:
    came: list[bytes] = []
    frame = upload({n: {"a": f"{n}"} for n in range(1, 101)})

    def remember(raw: bytes) -> Upload:
        came.append(raw)
        return frame

    queue = await SqliteUploadQueue.open(path, remember)
    try:
        await queue.stage(DEVICE, [(frame, b"any bytes \x00\xff")], NOW_US)
        cursor = 0
        for _ in range(10):
            cursor, groups = await queue.next(NAME, cursor, 10)
            assert len(groups) == 10
        assert came == [b"any bytes \x00\xff"]
    finally:
        await queue.close()


async def test_a_frame_that_cannot_be_decoded_is_told(path: Path) -> None:
    def refuse(raw: bytes) -> Upload:
        raise FrameError("no message")

    queue = await SqliteUploadQueue.open(path, refuse)
    try:
        await stage(queue, upload({1: {"a": "1"}}))
        with pytest.raises(FrameError):
            await queue.next(NAME, 0, 10)
    finally:
        await queue.close()


async def test_a_group_of_which_a_frame_is_gone_is_never_handed_out_in_part(path: Path) -> None:
    queue = await SqliteUploadQueue.open(path, decode)
    try:
        await stage(queue, *(upload({1: {key: "1"}}, cut=key != "c") for key in "abc"))
        with closing(sqlite3.connect(path)) as own, own:
            own.execute("DELETE FROM frames WHERE id = 2")
        with pytest.raises(StoreBroken):
            await queue.next(NAME, 0, 10)
        with closing(sqlite3.connect(path)) as own, own:
            own.execute("DELETE FROM frames")
        with pytest.raises(StoreBroken):
            await queue.next(NAME, 0, 10)
    finally:
        await queue.close()


async def test_frames_of_which_all_is_settled_go(queue: SqliteUploadQueue, path: Path) -> None:
    frames = upload({1: {"a": "1"}, 2: {"b": "1"}}), upload({3: {"c": "1"}}, cut=True), upload({3: {"d": "1"}})
    await stage(queue, *frames, upload({4: {"e": "1"}}, cut=True))
    await settle(queue, written(1))
    assert rows_in(path, "frames") == 4
    await settle(queue, written(2))
    assert rows_in(path, "frames") == 3
    await settle(queue, written(3))
    assert rows_in(path, "frames") == 1, "the half group is there"
    await stage(queue, upload({4: {"f": "1"}}))
    await settle(queue, written(4))
    assert rows_in(path, "frames") == 0
    assert await numbers(queue) == [1, 2, 3, 4]


async def test_frames_that_hold_nothing_fresh_are_not_kept(queue: SqliteUploadQueue, path: Path) -> None:
    frame = upload({1: {"a": "1"}})
    await stage(queue, frame, frame)
    await stage(queue, frame)
    assert rows_in(path, "frames") == 1


async def test_a_group_sent_again_and_again_takes_no_more_room(queue: SqliteUploadQueue, path: Path) -> None:
    await stage(queue, upload({1: {"x": "1"}}))
    for _ in range(20):
        await stage(queue, upload({2: {"a": "1"}}, cut=True), upload({2: {"b": "1"}}, cut=True))
    assert rows_in(path, "frames") == 3
    await stage(queue, upload({2: {"a": "1", "b": "1"}}))
    assert rows_in(path, "frames") == 2
    await stage(queue, upload({3: {"a": "1"}}, cut=True))
    await stage(queue, upload({1: {"a": "1"}}, outbox="other"))
    assert rows_in(path, "frames") == 3
    assert rows_in(path, "halves") == 0


async def test_a_group_that_is_too_large_takes_no_room(queue: SqliteUploadQueue, path: Path) -> None:
    await stage(queue, upload({1: {"x": "1"}}))
    for number in range(20):
        await stage(queue, upload({2: {f"{number}": "x" * 4_000}}, cut=True))
    assert rows_in(path, "frames") == 1
    await stage(queue, upload({2: {"last": "x"}, 3: {"y": "1"}}, cut=True))
    assert rows_in(path, "frames") == 2
    await stage(queue, upload({3: {"z": "1"}}))
    assert await waiting(queue) == [(DEVICE, 1, {"x": "1"}), (DEVICE, 3, {"y": "1", "z": "1"})]
    assert await numbers(queue) == [2]


async def test_a_device_that_is_cut_off_leaves_what_it_may_ask_for(queue: SqliteUploadQueue, path: Path) -> None:
    await stage(queue, upload({1: {"a": "1"}, 2: {"b": "1"}, 3: {"c": "1"}}, cut=True))
    await settle(queue, written(1, Ruling.REFUSED, side("a")))
    await queue.drop(DEVICE)
    for table, rows in {"streams": 1, "frames": 0, "groups": 0, "halves": 0, "verdicts": 1}.items():
        assert rows_in(path, table) == rows
    assert await queue.prune(NAME, NOW_US + 1) == 1
    assert rows_in(path, "conflict_sides") == 0


async def test_devices_that_send_at_the_same_time_share_a_commit(path: Path) -> None:
    database = await Database.open(path, SCHEMA)
    queue = SqliteUploadQueue(database, decode, LIMITS)
    try:
        frames = {device: [(one, encode(one)) for one in [upload({1: {"a": device}})]] for device in "abcdefgh"}
        before = database.commits
        await asyncio.gather(*(queue.stage(device, frames[device], NOW_US) for device in frames))
        assert database.commits - before <= 2
        assert len(await waiting(queue)) == 8
    finally:
        await queue.close()


async def test_the_file_of_a_large_upload_becomes_small_again(path: Path) -> None:
    queue = await SqliteUploadQueue.open(path, decode)
    await stage(queue, *(upload({n: {"a": "x" * 1_000_000}}) for n in range(1, 31)))
    await settle(queue, *(written(n) for n in range(1, 31)))
    for n in range(31, 61):
        await stage(queue, upload({n: {"a": "1"}}))
        await settle(queue, written(n))
    await queue.close()
    assert size(path) < 10_000_000
