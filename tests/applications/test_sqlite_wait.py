"""Waiting for what the application changes in a target's database."""

from __future__ import annotations

import asyncio
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
