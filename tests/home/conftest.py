"""A home directory for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncd.home.paths import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    made.create()
    return made
