"""A source and a target on one application, in SQLite and in memory: what syncd writes is no change (R12)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from syncd.applications.memory_target import MemoryTarget
from syncd.applications.sqlite import SqliteTarget
from syncd.core.ports import Executed, Target
from tests.contract.application_kit import (
    LIMITS,
    MemorySourceBench,
    SourceBench,
    SqliteSourceBench,
    WorkMaker,
    body,
    gone,
    note,
    put,
)

pytestmark = pytest.mark.asyncio


class Both:
    """An application with both ends, opened."""

    def __init__(self, bench: SourceBench, target: Target) -> None:
        self.bench = bench
        self.target = target
        self.make = WorkMaker()
        self._mark = 0

    async def open(self) -> None:
        await self.bench.opened()
        await self.target.open()
        self._mark = (await self.bench.source.changes(0, 100)).mark

    async def executes(self, snapshot: bool = False) -> None:
        assert isinstance(await self.target.execute(self.make.work(snapshot=snapshot)), Executed)

    async def reported(self) -> list[bytes]:
        """Keys of what the source says was touched since it was last asked."""
        changes = await self.bench.source.changes(self._mark, 100)
        assert changes.drained
        self._mark = changes.mark
        return [one.key for one in changes.observed]


@pytest_asyncio.fixture(params=["sqlite", "memory"])
async def both(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Both]:
    if request.param == "sqlite":
        path = tmp_path / "app.db"
        made = Both(SqliteSourceBench(path), SqliteTarget(path, "c", False, False, LIMITS))
    else:
        bench = MemorySourceBench()
        made = Both(bench, MemoryTarget(captured=bench.source))
    await made.open()
    made.make.group(put(note("a"), "first"), put(note("b"), "first"), loose=True)
    await made.executes(snapshot=True)
    yield made
    await made.target.close()
    await made.bench.source.close()


async def test_what_a_target_wrote_is_not_reported_by_a_source(both: Both) -> None:
    assert await both.reported() == []
    both.make.group(put(note("a"), "second"), gone(note("b")), put(note("c"), "first"))
    await both.executes()
    assert await both.reported() == []


async def test_what_the_application_writes_before_and_after_is_reported(both: Both) -> None:
    both.bench.commit({note("a"): body("mine")})
    both.make.group(put(note("b"), "second"))
    await both.executes()
    both.bench.commit({note("c"): body("mine")})
    assert await both.reported() == [note("a").key, note("c").key]
