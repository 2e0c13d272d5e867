"""Homes and daemons for the command line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from syncd.cli import call
from syncd.home.paths import Home
from tests.cli.fake import STATUS, FakeDaemon, make_home


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    made = make_home(tmp_path / "home")
    monkeypatch.setenv("SYNCD_HOME", str(made.path))
    monkeypatch.delenv("SYNCD_DEBUG", raising=False)
    monkeypatch.delenv("SYNCD_SOCKET", raising=False)
    monkeypatch.setattr(call, "_EXPECTED_S", {})  # nobody starts a daemon beside a test
    return made


@pytest.fixture
def daemon(home: Home) -> Iterator[FakeDaemon]:
    with FakeDaemon({"status": STATUS}).running(home) as running:
        yield running
