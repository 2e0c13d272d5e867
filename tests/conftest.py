"""What every test gets: a check that it left nothing running, a seed that is printed, the shared data."""

from __future__ import annotations

import asyncio
import inspect
import os
import random
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

ROOT = Path(__file__).resolve().parent.parent
SHARED_DATA = ROOT.parent / "shared" / "data"

_END_S_MAX = 5.0  # a thread or task that was told to end may take this long, on a machine that has much to do


def pytest_configure() -> None:
    """A shell that runs the tests in the background ignores Ctrl-C for them, and so for the programs they start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest_asyncio.fixture
async def _no_task_outlives_its_test() -> AsyncIterator[None]:
    yield
    left = asyncio.all_tasks() - {asyncio.current_task()}
    if left:
        _, left = await asyncio.wait(left, timeout=_END_S_MAX)
    for task in left:
        task.cancel()
    if left:
        pytest.fail(f"tasks outlived the test: {', '.join(sorted(map(repr, left)))}")


@pytest.fixture(autouse=True)
def _nothing_outlives_its_test(request: pytest.FixtureRequest) -> Iterator[None]:
    """No task and no thread (an open aiosqlite connection is one) that the test or its fixtures began stays behind."""
    before = set(threading.enumerate())
    if inspect.iscoroutinefunction(getattr(request, "function", None)):
        request.getfixturevalue("_no_task_outlives_its_test")  # set up first, so torn down last
    yield
    left = [thread for thread in threading.enumerate() if thread not in before and not thread.daemon]
    for thread in left:
        thread.join(_END_S_MAX)
    if names := [thread.name for thread in left if thread.is_alive()]:
        pytest.fail(f"threads outlived the test: {', '.join(names)}")


@pytest.fixture
def seed() -> int:
    """A seed for everything by chance in the test. A failure shows it; SYNCD_TEST_SEED repeats it."""
    value = int(os.environ.get("SYNCD_TEST_SEED") or random.randrange(2**32))
    print(f"SYNCD_TEST_SEED={value}")
    return value


@pytest.fixture
def shared_data() -> Path:
    """The data sets beside the repository; a fresh clone does not have them."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the shared data is not there: ../shared/data beside the repository")
    return SHARED_DATA
