"""Where the tests of a room's files have their database."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.applications.road import sql


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Nothing is there yet."""
    return tmp_path / "app.db"


@pytest.fixture
def wal(path: Path) -> None:
    """A database with a write-ahead log is there."""
    sql(path, "PRAGMA journal_mode=WAL")
