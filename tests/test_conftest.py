"""The tests of the tests: what is left running fails, a seed is shown, waiting has a deadline."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.wait import eventually, eventually_blocking

pytestmark = pytest.mark.slow  # each is a run of pytest

ROOT = Path(__file__).resolve().parent.parent

LEAKED_TASK = """
import asyncio, pytest

@pytest.mark.asyncio
async def test_it():
    global task
    task = asyncio.create_task(asyncio.Event().wait(), name="left behind")
"""

ENDED_TASK = """
import asyncio, pytest, pytest_asyncio

@pytest_asyncio.fixture
async def room():
    async with asyncio.TaskGroup() as group:
        task = group.create_task(asyncio.Event().wait())
        yield
        task.cancel()

@pytest.mark.asyncio
async def test_it(room):
    await asyncio.sleep(0)
"""

LEAKED_DATABASE = """
import aiosqlite, pytest

pytestmark = pytest.mark.slow

@pytest.mark.asyncio
async def test_it():
    global database
    database = await aiosqlite.connect(":memory:")

def test_other():
    database.stop()
"""

SHOWN_SEED = """
def test_it(seed):
    assert seed == 0
"""


def run(tmp_path: Path, text: str, seed: str = "") -> subprocess.CompletedProcess[str]:
    """Runs a file of tests under the same configuration and fixtures as these tests."""
    (tmp_path / "test_it.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-p", "no:cacheprovider"]
    return subprocess.run(
        [*command, "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(tmp_path), str(tmp_path / "test_it.py")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "SYNCD_TEST_SEED": seed},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def test_a_task_that_outlives_its_test_fails_it(tmp_path: Path) -> None:
    done = run(tmp_path, LEAKED_TASK)
    assert done.returncode == 1
    assert "tasks outlived the test" in done.stdout
    assert "left behind" in done.stdout


def test_a_task_that_a_fixture_ends_is_no_leak(tmp_path: Path) -> None:
    done = run(tmp_path, ENDED_TASK)
    assert done.returncode == 0, done.stdout


def test_a_database_that_stays_open_fails_its_test(tmp_path: Path) -> None:
    done = run(tmp_path, LEAKED_DATABASE)
    assert done.returncode == 1
    assert "threads outlived the test" in done.stdout


def test_a_failure_shows_the_seed_that_repeats_it(tmp_path: Path) -> None:
    assert "SYNCD_TEST_SEED=77" in run(tmp_path, SHOWN_SEED, "77").stdout
    assert run(tmp_path, SHOWN_SEED, "0").returncode == 0


@pytest.mark.asyncio
async def test_waiting_ends_with_the_answer_or_at_the_deadline() -> None:
    answers = iter([0, 0, 7])
    assert await eventually(lambda: next(answers)) == 7

    async def asked() -> str:
        return "yes"

    assert await eventually(asked) == "yes"
    with pytest.raises(AssertionError, match=r"not within 0\.01 s: the moon"):
        await eventually(lambda: False, deadline_s=0.01, what="the moon")


def test_waiting_without_a_loop_does_the_same() -> None:
    answers = iter([0, 7])
    assert eventually_blocking(lambda: next(answers)) == 7
    with pytest.raises(AssertionError, match=r"not within 0\.01 s: the moon"):
        eventually_blocking(lambda: False, deadline_s=0.01, what="the moon")
