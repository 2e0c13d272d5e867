"""Discovery in tests: on loopback, probing for a name in tenths of a second."""

from __future__ import annotations

import pytest

from tests.discovery.kit import quick_probing


@pytest.fixture(autouse=True)
def _quick_probing(monkeypatch: pytest.MonkeyPatch) -> None:
    quick_probing(monkeypatch)
