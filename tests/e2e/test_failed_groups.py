"""Failed groups with real daemons (R7): one bad object parks its own part only, is reported, and heals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import shop
from tests.e2e.compare import differences
from tests.e2e.harness import Fleet, Json, Machine, limited

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

GOODS = 20_000
GUILTY = 7_777
RULE = "CREATE UNIQUE INDEX own_rule ON goods(name) WHERE name LIKE 'twin%'"
NO_RULE = "DROP INDEX own_rule"
GIVEN = "UPDATE goods SET name = 'twin', stock = stock + 1 WHERE id = {}"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    directory = tmp_path_factory.mktemp("failed")
    with Fleet(directory, auxiliaries=2, launcher=limited(park_retry_s_first=600.0)) as fleet:  # just when asked for
        fleet.primary.share("shop", shop.make(directory / "shop.db", GOODS))
        for auxiliary in fleet.auxiliaries:
            auxiliary.accept("shop")
        yield fleet


@pytest.fixture
def fleet(shared: Fleet) -> Fleet:
    """All machines hold the goods as they were at first, and no rule of their own."""
    shop.execute(
        shared.primary.databases["shop"],
        f"DELETE FROM goods WHERE id >= {GOODS}",
        "UPDATE goods SET name = 'goods ' || id, stock = id % 7 WHERE name <> 'goods ' || id OR stock <> id % 7",
    )
    for auxiliary in shared.auxiliaries:
        if not auxiliary.running:
            auxiliary.start()
        if auxiliary.databases["shop"].exists():
            shop.execute(auxiliary.databases["shop"], "DROP INDEX IF EXISTS own_rule")
        auxiliary.wait_identical("shop")
    return shared


def of_device(primary: Machine, device: Machine, outcome: str) -> list[Json]:
    told = primary.cli_json("transactions", "--device", device.name, "--outcome", outcome)
    rows = told["transactions"]
    assert isinstance(rows, list)
    return rows


def wait_told(primary: Machine, device: Machine) -> list[Json]:
    """Until the primary knows of groups that were rolled back there."""
    primary.wait(lambda: bool(of_device(primary, device, "rolled-back")), "knows what was rolled back")
    return of_device(primary, device, "rolled-back")


def commit(witness: Machine, *statements: str) -> None:
    """One transaction that is a group of its own: a device that follows closely has all before it, and then has it."""
    assert witness.primary is not None
    witness.wait_identical("shop")
    shop.execute(witness.primary.databases["shop"], *statements)
    witness.wait_identical("shop")


def rows_but(database: Path, *guilty: int) -> list[shop.Row]:
    marks = ", ".join("?" * len(guilty))
    return shop.ask(database, f"SELECT *, typeof(name) FROM goods WHERE id NOT IN ({marks}) ORDER BY id", guilty)


def wait_parked(primary: Machine, auxiliary: Machine, name: str = "shop") -> Json:
    """Until the auxiliary has everything but what is parked, and the primary knows."""
    auxiliary.wait_state(name, "parked")
    auxiliary.wait(lambda: auxiliary.collection(name)["position"] == primary.collection(name)["head"], "is at the head")
    primary.wait(lambda: primary.collection(name, auxiliary.name).get("state") == "parked", "knows what is parked")
    return auxiliary.collection(name)


def test_one_bad_object_in_a_catch_up_of_20_000_parks_its_own_group_only(fleet: Fleet) -> None:
    primary, (good, bad) = fleet.primary, fleet.auxiliaries
    source = primary.databases["shop"]
    shop.execute(bad.databases["shop"], RULE)
    commit(good, GIVEN.format(1))
    bad.wait_identical("shop")
    bad.stop()
    others = f"UPDATE goods SET stock = stock + 10 WHERE id <> {GUILTY} AND id BETWEEN {{}} AND {{}}"
    for first in range(0, GOODS // 2, 100):  # a hundred transactions
        shop.execute(source, others.format(first, first + 99))
    commit(good, GIVEN.format(GUILTY), f"INSERT INTO goods VALUES ({GOODS + 1}, 'with it', 0)")
    shop.execute(source, others.format(GOODS // 2, GOODS), f"INSERT INTO goods VALUES ({GOODS + 2}, 'after it', 0)")
    bad.start()

    good.wait_identical("shop")
    line = wait_parked(primary, bad)
    assert line["parked"] == 1
    theirs, ours = bad.databases["shop"], source
    assert rows_but(theirs, GUILTY, GOODS + 1) == rows_but(ours, GUILTY, GOODS + 1)
    assert shop.ask(theirs, "SELECT name FROM goods WHERE id >= ?", (GOODS,)) == [("after it",)]

    (told,) = wait_told(primary, bad)
    assert told["key"] == f"[{GUILTY}]"
    assert told["type"] == "goods"
    assert "UNIQUE" in str(told["cause"])
    assert of_device(primary, good, "rolled-back") == []

    refused = bad.cli("retry", code=1)
    assert "failed again" in refused
    shop.execute(theirs, NO_RULE)
    assert "applied" in bad.cli("retry", str(told["group"]))
    bad.wait_identical("shop")
    primary.wait(lambda: of_device(primary, bad, "rolled-back") == [], "has no failed group left")


def test_one_bad_object_in_a_bootstrap_of_20_000_parks_itself_only(fleet: Fleet, tmp_path: Path) -> None:
    primary, (good, bad) = fleet.primary, fleet.auxiliaries
    source, own = shop.make(tmp_path / "fresh.db", GOODS), shop.make(tmp_path / "own-rule.db")
    shop.execute(source, GIVEN.format(1), GIVEN.format(GUILTY))
    shop.execute(own, RULE)
    primary.share("fresh", source)
    bad.accept("fresh", own)
    good.accept("fresh")

    good.wait_identical("fresh")
    line = wait_parked(primary, bad, "fresh")
    assert line["parked"] == 1
    assert line["objects"] == GOODS - 1
    assert rows_but(own, 1, GUILTY) == rows_but(source, 1, GUILTY)
    (told,) = wait_told(primary, bad)
    assert told["key"] in (f"[{GUILTY}]", "[1]")

    shop.execute(source, f"UPDATE goods SET name = 'single' WHERE id = {GUILTY}")
    shop.execute(source, "UPDATE goods SET name = 'single too' WHERE id = 1")
    bad.wait_identical("fresh")  # a later version of the guilty object heals it
    good.wait_identical("fresh")


def test_groups_that_touch_a_failed_one_wait_behind_it_and_all_others_go_on(fleet: Fleet) -> None:
    primary, (good, bad) = fleet.primary, fleet.auxiliaries
    source, theirs = primary.databases["shop"], fleet.auxiliaries[1].databases
    shop.execute(theirs["shop"], RULE)
    commit(good, GIVEN.format(1))
    commit(good, GIVEN.format(2), "INSERT INTO goods VALUES (90001, 'with it', 0)")
    wait_parked(primary, bad)
    commit(good, "UPDATE goods SET stock = 77 WHERE id IN (90001, 5)")  # touches an object of it
    commit(good, "UPDATE goods SET stock = 88 WHERE id = 6")
    wait_parked(primary, bad)
    assert shop.ask(theirs["shop"], "SELECT id, stock FROM goods WHERE id IN (5, 6, 90001) ORDER BY id") == [
        (5, 5),
        (6, 88),
    ]
    primary.wait(
        lambda: bool(of_device(primary, bad, "rolled-back") or of_device(primary, bad, "cancelled")),
        "knows of the failed groups",
    )

    bad.kill()  # what is parked is durable
    bad.start()
    wait_parked(primary, bad)
    shop.execute(source, "UPDATE goods SET name = 'no twin' WHERE id = 2")
    bad.wait_identical("shop")
    assert differences(source, good.databases["shop"]) == []


def test_a_failure_on_one_device_never_delays_another(fleet: Fleet) -> None:
    primary, (good, bad) = fleet.primary, fleet.auxiliaries
    source = primary.databases["shop"]
    shop.execute(bad.databases["shop"], RULE)
    shop.execute(source, GIVEN.format(1))
    for number in range(2, 12):  # each of them fails on one machine, and is parked there
        commit(good, GIVEN.format(number))
    line = wait_parked(primary, bad)
    assert line["parked"] == 10
    shop.execute(source, "INSERT INTO goods VALUES (90001, 'after all of them', 0)")
    good.wait_identical("shop")
    assert wait_parked(primary, bad)["parked"] == 10, "it did not wait for what failed there"
    shop.execute(bad.databases["shop"], NO_RULE)
    bad.cli("retry")
    bad.wait_identical("shop")
