"""What only the inbound queue in SQLite does: restarts, bounded files and memory, frames that are gone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from syncd.core.errors import FrameError, InvariantBroken, StoreBroken
from syncd.core.messages import Objects
from syncd.core.ports import Part
from syncd.store.inbound import SqliteInboundQueue
from tests.contract.inbound_kit import NAME, NOTE, begin, decode, failure, frame, note, rows_of, stage, work_of

pytestmark = pytest.mark.asyncio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "inbound.db"


@pytest_asyncio.fixture
async def queue(path: Path) -> AsyncIterator[SqliteInboundQueue]:
    opened = await SqliteInboundQueue.open(path, decode)
    await opened.types(NAME, [NOTE])
    await begin(opened)
    yield opened
    await opened.close()


async def test_a_queue_opened_again_is_as_it_was(path: Path) -> None:
    queue = await SqliteInboundQueue.open(path, decode)
    await queue.types(NAME, [NOTE])
    await begin(queue, snapshot=True)
    await stage(queue, frame(0, 2, {1: {"a": "1"}, 2: {"b": "1"}}, cut=True), frame(2, 3, {3: {"c": "1"}}))
    await queue.park(await work_of(queue), [Part(frozenset((1,)), frozenset(), failure(guilty="a"))], 7)
    before = await queue.load(NAME)
    await queue.close()
    queue = await SqliteInboundQueue.open(path, decode)
    try:
        assert await queue.load(NAME) == before
        work = await work_of(queue)
        assert rows_of(work) == {"a": "1", "b": "1"}
        assert work.skip is not None
        assert work.skip([note("a"), note("b")]) == {note("a")}
        assert work.snapshot
        assert rows_of(*await queue.parked_works(NAME, [before[2].oldest[0].id])) == {"a": "1"}
    finally:
        await queue.close()


async def test_the_bytes_of_a_frame_are_kept_as_they_came(path: Path) -> None:
    came: list[bytes] = []

    def remember(raw: bytes) -> Objects:
        came.append(raw)
        return frame(0, 1, {})

    queue = await SqliteInboundQueue.open(path, remember)
    try:
        await begin(queue)
        await queue.stage([(frame(0, 1, {}, cut=True), b"any bytes \x00\xff")])
        assert len(list((await work_of(queue)).frames())) == 1
        assert came == [b"any bytes \x00\xff"]
    finally:
        await queue.close()


async def test_a_frame_that_cannot_be_decoded_is_told(path: Path) -> None:
    def refuse(raw: bytes) -> Objects:
        raise FrameError("no message")

    queue = await SqliteInboundQueue.open(path, refuse)
    try:
        await begin(queue)
        await stage(queue, frame(0, 1, {}, cut=True))
        with pytest.raises(FrameError):
            list((await work_of(queue)).frames())
    finally:
        await queue.close()


async def test_a_work_whose_frames_are_gone_is_never_executed_in_part(queue: SqliteInboundQueue) -> None:
    await stage(queue, *(frame(i, i + 1, {i + 1: {f"{i}": "1"}}, cut=True) for i in range(3)))
    work = await work_of(queue)
    await queue.executed(NAME, 2)
    with pytest.raises(InvariantBroken):
        list(work.frames())
    await begin(queue, snapshot=True)
    await stage(queue, *(frame(i, i + 1, {i + 1: {f"{i}": "1"}}, cut=True) for i in range(3)))
    with pytest.raises(InvariantBroken):
        list(work.frames())


async def test_a_pass_over_the_frames_sees_one_state(queue: SqliteInboundQueue) -> None:
    await stage(queue, *(frame(i, i + 1, {i + 1: {f"{i}": "1"}}, cut=i == 2) for i in range(3)))
    frames = (await work_of(queue)).frames()
    first = next(frames)
    await queue.clear(NAME)
    assert [first.last, *(one.last for one in frames)] == [1, 2, 3]


@contextmanager
def away(path: Path) -> Iterator[None]:
    """The file is under another name meanwhile."""
    elsewhere = path.rename(path.with_name("moved.db"))
    yield
    elsewhere.rename(path)


def size(path: Path) -> int:
    return path.stat().st_size


async def test_a_queue_whose_file_is_gone_is_told(queue: SqliteInboundQueue, path: Path) -> None:
    await stage(queue, frame(0, 1, {1: {"a": "1"}}, cut=True))
    work = await work_of(queue)
    with away(path), pytest.raises(StoreBroken):
        list(work.frames())


async def test_the_file_of_a_large_transfer_becomes_small_again(path: Path) -> None:
    queue = await SqliteInboundQueue.open(path, decode)
    await begin(queue)
    bulk: dict[str, str | None] = {"a": "x" * 1_000_000}
    await stage(queue, *(frame(i, i + 1, {i + 1: bulk}, cut=i == 29) for i in range(30)))
    await queue.executed(NAME, 30)
    for i in range(30, 60):
        await stage(queue, frame(i, i + 1, {i + 1: {"a": "1"}}, cut=True))
        await queue.executed(NAME, i + 1)
    await queue.close()
    assert size(path) < 10_000_000
