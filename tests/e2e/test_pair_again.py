"""An auxiliary that is paired with another primary belongs to that one, and loses nothing unasked (R13)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e import shop
from tests.e2e.compare import differences
from tests.e2e.harness import Fleet, Machine

EVERYTHING = "SELECT * FROM goods ORDER BY id"

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
        before = shop.ask(target, EVERYTHING)
        token = second.cli("pair", "--token").strip()
        said = auxiliary.cli("pair", token, code=1)
        assert "this device holds the data of primary: shop: add --replace" in said
        assert shop.ask(target, EVERYTHING) == before
        told = auxiliary.cli_json("pair", token, "--replace")
        auxiliary.primary = second
        backups = told["backups"]
        assert isinstance(backups, list)
        assert [shop.ask(Path(backup), EVERYTHING) for backup in backups] == [before]
        auxiliary.wait(lambda: auxiliary.collection("shop").get("objects") == 30, "takes the second one's objects")
        auxiliary.wait_identical("shop")
        assert differences(source, target) == []
        former.wait(lambda: not former.status()["devices"][0]["connected"], "knows that it left")  # type: ignore[index]
