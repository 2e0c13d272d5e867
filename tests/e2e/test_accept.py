"""Nothing that an auxiliary's application holds is overwritten unasked (R13)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e import shop
from tests.e2e.compare import differences
from tests.e2e.harness import Fleet, Machine

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def backups(database: Path) -> list[Path]:
    return sorted(database.parent.glob(f"{database.name}.syncd-backup*"))


def test_a_target_with_objects_of_its_own_is_refused_and_replaced_after_a_backup(tmp_path: Path) -> None:
    with Fleet(tmp_path) as fleet:
        auxiliary = fleet.auxiliary
        fleet.primary.share("shop", shop.make(tmp_path / "shop.db", 50))
        own = shop.make(tmp_path / "own.db", 5)
        shop.execute(own, "UPDATE goods SET name = 'mine'", "INSERT INTO goods VALUES (777, 'mine only', 1)")
        before = shop.ask(own, "SELECT * FROM goods ORDER BY id")

        refused = auxiliary.cli("accept", "shop", "--into", f"sqlite:{own}", code=1)
        assert "6 objects of its own" in refused
        assert "--replace" in refused
        assert refused.count("\n") == 1
        assert shop.ask(own, "SELECT * FROM goods ORDER BY id") == before
        assert backups(own) == []
        assert auxiliary.status()["collections"] == []

        auxiliary.accept("shop", own, "--replace")
        auxiliary.wait_identical("shop")
        (backup,) = backups(own)
        assert shop.ask(backup, "SELECT * FROM goods ORDER BY id") == before


def test_objects_that_come_after_the_check_hold_the_collection(tmp_path: Path) -> None:
    with Fleet(tmp_path) as fleet:
        auxiliary = fleet.auxiliary
        own = shop.make(tmp_path / "own.db")
        auxiliary.accept("shop", own)
        shop.execute(own, "INSERT INTO goods VALUES (1, 'mine', 1)")
        fleet.primary.share("shop", shop.make(tmp_path / "shop.db", 50))
        auxiliary.wait_state("shop", "held", "--replace")
        fleet.primary.wait(
            lambda: fleet.primary.collection("shop", auxiliary.name).get("state") == "held", "knows that it is held"
        )
        assert shop.ask(own, "SELECT * FROM goods") == [(1, "mine", 1)]
        auxiliary.accept("shop", own, "--replace")
        auxiliary.wait_identical("shop")


def test_objects_that_are_equal_already_count_as_synchronized(tmp_path: Path) -> None:
    with Fleet(tmp_path) as fleet:
        auxiliary = fleet.auxiliary
        own = shop.make(tmp_path / "own.db")
        auxiliary.accept("shop", own)
        shop.execute(own, "INSERT INTO goods VALUES (1, 'goods 1', 1), (4, 'goods 4', 4)")
        fleet.primary.share("shop", shop.make(tmp_path / "shop.db", 50))
        auxiliary.wait_identical("shop")


def test_replacing_again_and_again_while_all_runs(tmp_path: Path) -> None:
    """More than the credit window passes on one link, and the target changes under the frames that arrive."""
    with Fleet(tmp_path) as fleet:
        primary, auxiliary = fleet.primary, fleet.auxiliary
        source = shop.make(tmp_path / "shop.db", 100)
        with shop.application(source) as connection:
            rows = ((1000 + number, "x" * 3000, number) for number in range(3_000))
            connection.executemany("INSERT INTO goods VALUES (?, ?, ?)", rows)
        primary.share("shop", source)
        first = auxiliary.accept("shop")
        auxiliary.wait_identical("shop")
        for number in range(3):
            elsewhere = auxiliary.directory / f"elsewhere-{number}.db"
            auxiliary.accept("shop", elsewhere, "--replace")
            if number != 1:  # the second time the transfer is broken off
                auxiliary.wait_identical("shop")
        assert differences(source, first) == []  # the old target is left as it was
        changed_under_way(primary, auxiliary, source)


def changed_under_way(primary: Machine, auxiliary: Machine, source: Path) -> None:
    shop.execute(source, "UPDATE goods SET stock = stock + 1", "DELETE FROM goods WHERE id = 7")
    primary.wait(lambda: primary.collection("shop").get("objects") == 3_099, "has read the transaction")
    auxiliary.wait_identical("shop")


def test_replacing_in_the_same_place_undoes_what_was_changed_there(tmp_path: Path) -> None:
    with Fleet(tmp_path) as fleet:
        fleet.primary.share("shop", shop.make(tmp_path / "shop.db", 500))
        auxiliary = fleet.auxiliary
        target = auxiliary.accept("shop")
        auxiliary.wait_identical("shop")
        shop.execute(target, "UPDATE goods SET name = 'changed here' WHERE id = 3", "DELETE FROM goods WHERE id > 400")
        auxiliary.accept("shop", target, "--replace")
        auxiliary.wait_identical("shop")
        (backup,) = backups(target)
        assert shop.ask(backup, "SELECT count(*) FROM goods") == [(401,)]

        for broken in ("gone", "replaced"):
            target.unlink()
            auxiliary.stop()
            if broken == "replaced":
                shop.make(target)
            auxiliary.start()
            auxiliary.wait_state("shop", "offline", "--replace")
            auxiliary.accept("shop", target, "--replace")
            auxiliary.wait_identical("shop")


def test_replacing_while_the_daemon_is_stopped_begins_anew_when_it_runs(tmp_path: Path) -> None:
    with Fleet(tmp_path) as fleet:
        source = shop.make(tmp_path / "shop.db", 50)
        fleet.primary.share("shop", source)
        auxiliary = fleet.auxiliary
        auxiliary.accept("shop")
        auxiliary.wait_identical("shop")
        auxiliary.stop()
        elsewhere = auxiliary.accept("shop", auxiliary.directory / "elsewhere.db", "--replace")
        auxiliary.start()
        auxiliary.wait_identical("shop")
        assert differences(source, elsewhere) == []
