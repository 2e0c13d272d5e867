"""The contract of the upload queue, for the one in SQLite and its twin in memory: a device that is cut off, and may be
paired again (R2, R6)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from syncd.core.errors import DiskError
from syncd.core.settings import Limits
from syncd.core.upward_ports import UploadQueue
from tests.contract.uploads_kit import (
    DEVICE,
    NAME,
    OUTBOX,
    numbers,
    open_queue,
    settle,
    stage,
    upload,
    waiting,
    written,
)

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture(params=["sqlite", "memory"])
async def queue(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[UploadQueue]:
    async with open_queue(request.param, tmp_path, Limits(edit_group_bytes_max=10_000)) as opened:
        yield opened


async def test_a_device_that_is_cut_off_leaves_nothing_that_waits(queue: UploadQueue) -> None:
    await stage(queue, upload({1: {"a": "1"}, 2: {"b": "1"}, 3: {"c": "1"}}, cut=True))
    await stage(queue, upload({1: {"d": "1"}}, collection="other"))
    await stage(queue, upload({1: {"e": "1"}}), device="tablet")
    await settle(queue, written(1))
    await queue.drop(DEVICE)
    assert await waiting(queue) == [("tablet", 1, {"e": "1"})]
    assert await waiting(queue, "other") == []
    await queue.drop("nobody")
    assert await stage(queue, upload({2: {"b": "1"}})) == 2
    assert await waiting(queue) == [("tablet", 1, {"e": "1"}), (DEVICE, 2, {"b": "1"})]


async def test_what_is_settled_of_a_device_that_is_cut_off_does_not_come_again(queue: UploadQueue) -> None:
    """It may be paired again without having heard what became of it."""
    await stage(queue, upload({number: {f"{number}": "1"} for number in (1, 2, 4, 6)}))
    await settle(queue, written(1))
    await queue.drop(DEVICE)
    assert (await numbers(queue), await queue.received(DEVICE, NAME, OUTBOX)) == ([1], 1)
    await settle(queue, written(2))  # it was executed before
    assert (await numbers(queue), await queue.received(DEVICE, NAME, OUTBOX)) == ([1, 2], 2)
    assert await stage(queue, upload({number: {f"{number}": "1"} for number in (1, 2, 4, 6)})) == 6
    assert [number for _, number, _ in await waiting(queue)] == [4, 6]


async def test_what_was_under_way_when_a_device_was_cut_off_is_not_kept_without_what_came_before(
    queue: UploadQueue,
) -> None:
    await stage(queue, upload({1: {"a": "1"}, 2: {"b": "1"}}))
    await settle(queue, written(1))
    await queue.drop(DEVICE)
    for _ in range(2):
        with pytest.raises(DiskError):
            await stage(queue, upload({3: {"c": "1"}}))
    assert await stage(queue, upload({2: {"b": "1"}})) == 2
    assert await stage(queue, upload({3: {"c": "1"}})) == 3
    assert [number for _, number, _ in await waiting(queue)] == [2, 3]


async def test_the_end_of_a_group_whose_device_was_cut_off_is_not_taken_for_the_group(queue: UploadQueue) -> None:
    await stage(queue, upload({2: {"a": "1"}}, cut=True))
    await queue.drop(DEVICE)
    with pytest.raises(DiskError):
        await stage(queue, upload({2: {"b": "1"}}))
    await stage(queue, upload({2: {"a": "1"}}, cut=True))
    await stage(queue, upload({2: {"b": "1"}}))
    assert await waiting(queue) == [(DEVICE, 2, {"a": "1", "b": "1"})]


async def test_a_verdict_on_a_group_that_came_after_what_went_goes_with_it(queue: UploadQueue) -> None:
    await stage(queue, upload({1: {"a": "1"}, 2: {"b": "x" * 20_000}}))
    assert await numbers(queue) == [2]
    await queue.drop(DEVICE)
    assert await numbers(queue) == []
    assert await stage(queue, upload({1: {"a": "1"}, 2: {"b": "x" * 20_000}})) == 2
    assert await numbers(queue) == [2]
