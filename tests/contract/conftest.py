"""The sync store under its contract, in SQLite and in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from syncd.core.ports import SyncStore
from tests.contract.sync_store_kit import opened


@pytest_asyncio.fixture(params=["sqlite", "memory"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SyncStore]:
    async with opened(request.param, tmp_path) as made:
        yield made
