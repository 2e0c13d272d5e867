"""Waiting for what the application changes in a target's database."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from tests.applications.road import sql
from tests.applications.writing import local, table

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("wal")]
ONE = table(1, "t", "id INTEGER PRIMARY KEY, a", ("id",), ("a",))


async def test_who_looks_without_a_wait_is_not_kept_by_one_who_waits(path: Path) -> None:
    async with local(path, ONE) as here:
        mark = (await here.target.changes(0, 10)).mark
        await here.target.changes(mark, 10, 0.1)  # beyond what was noticed of the writing above
        waiting = asyncio.create_task(here.target.changes(mark, 10, 60.0))
        await asyncio.sleep(0)
        looked = await asyncio.wait_for(here.target.changes(mark, 10, 0.0), 30.0)
        assert (looked.edits, looked.drained, waiting.done()) == ((), True, False)
        sql(path, "INSERT INTO t VALUES(1, 'a')")
        assert len((await asyncio.wait_for(waiting, 30.0)).edits) == 1


async def test_a_file_that_was_away_for_a_moment_is_waited_for_as_before(path: Path) -> None:
    """What was looked for in that moment must not end every wait from then on."""
    async with local(path, ONE) as here:
        mark = (await here.target.changes(0, 10)).mark
        await here.target.changes(mark, 10, 0.1)
        waiter, database = here.target._waiter, here.target._database
        assert waiter is not None
        assert database is not None
        os.rename(path, f"{path}.away")
        assert not await database.run(lambda connection: waiter.in_place(connection, time.monotonic() + 60.0))
        os.rename(f"{path}.away", path)
        waiting = asyncio.create_task(here.target.changes(mark, 10, 60.0))
        await asyncio.sleep(0)
        await asyncio.wait_for(here.target.changes(mark, 10, 0.0), 30.0)
        assert not waiting.done()
        sql(path, "INSERT INTO t VALUES(1, 'a')")
        assert len((await asyncio.wait_for(waiting, 30.0)).edits) == 1
