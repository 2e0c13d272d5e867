from __future__ import annotations

from pathlib import Path

import pytest

from tests.transport.peers import Device, make_device


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("identities")


@pytest.fixture(scope="session")
def shop(folder: Path) -> Device:
    """The primary."""
    return make_device(folder, "shop")


@pytest.fixture(scope="session")
def till(folder: Path) -> Device:
    """An auxiliary."""
    return make_device(folder, "till")


@pytest.fixture(scope="session")
def other(folder: Path) -> Device:
    """A device that nobody paired."""
    return make_device(folder, "other")


@pytest.fixture(scope="session")
def authority(folder: Path) -> Device:
    """One whose certificate nobody may pin: it could vouch for others."""
    return make_device(folder, "authority", ca=True)
