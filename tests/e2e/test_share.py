"""Verbs that come at once do not undo one another."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from syncd.home import config
from syncd.home.paths import Home
from tests.e2e import shop
from tests.e2e.harness import Machine

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_collections_that_are_shared_at_once_are_all_kept(tmp_path: Path) -> None:
    names = [f"shop-{number}" for number in range(8)]
    for name in names:
        shop.make(tmp_path / name, 3)

    with Machine(tmp_path / "primary") as primary, ThreadPoolExecutor(len(names)) as together:
        primary.init("primary")
        primary.start()

        def share(name: str) -> None:
            primary.ask("share", name=name, kind="sqlite", path=str(tmp_path / name), tables=[])

        list(together.map(share, names))
        assert sorted(one.name for one in config.load(Home(primary.home)).collections) == names
        collections = primary.status()["collections"]
        assert isinstance(collections, list)
        assert [one["name"] for one in collections] == names
