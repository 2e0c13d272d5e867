"""An auxiliary that is paired with another primary belongs to that one from then on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e import shop
from tests.e2e.compare import differences
from tests.e2e.harness import Fleet, Machine

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_the_link_to_the_former_primary_ends_at_once(tmp_path: Path) -> None:
    with Fleet(tmp_path) as fleet, Machine(tmp_path / "second") as second:
        former, auxiliary = fleet.primary, fleet.auxiliary
        former.share("shop", shop.make(tmp_path / "shop.db", 20))
        target = auxiliary.accept("shop")
        auxiliary.wait_identical("shop")

        source = shop.make(tmp_path / "other.db", 30)
        second.init("primary")
        second.start()
        second.share("shop", source)
        auxiliary.pair(second)
        auxiliary.wait(lambda: auxiliary.collection("shop").get("objects") == 30, "takes the second one's objects")
        auxiliary.wait_identical("shop")
        assert differences(source, target) == []
        former.wait(lambda: not former.status()["devices"][0]["connected"], "knows that it left")  # type: ignore[index]
