"""A local network for each test, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.network.lan import Lan, why_not


@pytest.fixture
def lan() -> Iterator[Lan]:
    if reason := why_not():
        pytest.skip(reason)
    with Lan() as made:
        yield made
