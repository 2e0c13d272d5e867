"""An auxiliary's application database is missing, replaced, locked or an older copy: the collection is offline with
the reason, what arrives meanwhile waits, and it goes on by itself (R4, R13)."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.e2e import shop
from tests.e2e.harness import Fleet, limited

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

GOODS = 300


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """One fleet for all; each test leaves it identical."""
    directory = tmp_path_factory.mktemp("target")
    disk = directory / "disk"
    disk.mkdir()
    with Fleet(directory, launcher=limited(offline_retry_s_max=1.0)) as fleet:
        fleet.primary.share("shop", source := shop.make(directory / "shop.db", GOODS))
        # From the primary only: what else writes the auxiliary's application is undone there, and does not travel.
        fleet.primary.cli("share", "shop", "--from", f"sqlite:{source}", "--direction", "out")
        fleet.auxiliary.accept("shop", disk / "target.db")
        fleet.auxiliary.wait_identical("shop")
        yield fleet


@pytest.fixture
def fleet(shared: Fleet) -> Fleet:
    if not shared.auxiliary.running:
        shared.auxiliary.start()
    shared.auxiliary.wait_identical("shop")
    return shared


def change(fleet: Fleet) -> None:
    shop.execute(
        fleet.primary.databases["shop"],
        "UPDATE goods SET stock = stock + 1",
        "INSERT INTO orders VALUES (NULL, 'c', 0)",
    )


@contextmanager
def offline(fleet: Fleet, *reason: str) -> Iterator[None]:
    """Both ends say offline, and why, although the primary goes on; after the block all arrives by itself."""
    primary, auxiliary = fleet.primary, fleet.auxiliary
    auxiliary.wait_state("shop", "offline", *reason)

    def told() -> bool:
        """The same reason at both ends; it may be another one a moment later."""
        there, here = primary.collection("shop", auxiliary.name), auxiliary.collection("shop")
        return there.get("state") == "offline" and there.get("reason") == here.get("reason")

    primary.wait(told, "knows that it is offline, and why")
    change(fleet)
    primary.wait_state("shop", "identical")
    yield
    auxiliary.wait_identical("shop")


def disk_and_away(fleet: Fleet) -> tuple[Path, Path]:
    disk = fleet.auxiliary.databases["shop"].parent
    return disk, disk.with_name("away")


@pytest.mark.parametrize("when", ["running", "running and changed", "at start"])
def test_the_disk_of_the_database_is_away(fleet: Fleet, when: str) -> None:
    disk, away = disk_and_away(fleet)
    if when == "at start":
        fleet.auxiliary.stop()
    disk.rename(away)
    if when == "running and changed":
        change(fleet)
    if when == "at start":
        fleet.auxiliary.start()
    with offline(fleet, "disk"):
        assert not disk.exists()  # nothing was made in its place
        away.rename(disk)


@pytest.mark.parametrize("what", ["nothing", "directory", "garbage", "another database"])
@pytest.mark.parametrize("at_start", [False, True])
def test_something_else_is_in_the_place_of_the_database(fleet: Fleet, what: str, at_start: bool) -> None:
    disk, away = disk_and_away(fleet)
    target = fleet.auxiliary.databases["shop"]
    if at_start:
        fleet.auxiliary.stop()
    disk.rename(away)
    disk.mkdir()
    match what:
        case "directory":
            target.mkdir()
        case "garbage":
            target.write_bytes(b"no database " * 1000)
        case "another database":
            shop.make(target, 3)
    before = target.read_bytes() if target.is_file() else b""
    if at_start:
        fleet.auxiliary.start()
    with offline(fleet, str(target)):
        if target.is_file():
            assert target.read_bytes() == before
        shutil.rmtree(disk)
        away.rename(disk)


def test_an_older_copy_is_put_in_its_place(fleet: Fleet, tmp_path: Path) -> None:
    """Its position came with it: what it lacks is sent again."""
    auxiliary, target = fleet.auxiliary, fleet.auxiliary.databases["shop"]
    copy = tmp_path / "copy.db"
    with closing(sqlite3.connect(target)) as connection:
        connection.execute("VACUUM INTO ?", (str(copy),))
    for at_start in (False, True):
        change(fleet)
        shop.execute(fleet.primary.databases["shop"], f"DELETE FROM goods WHERE id = {50 + at_start}")
        auxiliary.wait_identical("shop")
        if at_start:
            auxiliary.stop()
        for name in ("target.db", "target.db-wal", "target.db-shm"):
            target.with_name(name).unlink(missing_ok=True)
        shutil.copyfile(copy, target)
        if at_start:
            auxiliary.start()
        auxiliary.wait_identical("shop")


def test_another_program_holds_the_lock(fleet: Fleet) -> None:
    target = fleet.auxiliary.databases["shop"]
    with closing(sqlite3.connect(target, isolation_level=None, timeout=20.0)) as lock:
        lock.execute("BEGIN EXCLUSIVE")
        change(fleet)
        with offline(fleet, "lock"):
            lock.execute("COMMIT")


def test_rows_that_another_program_changed_are_found_and_put_right(fleet: Fleet) -> None:
    """A group comes over an object that differs here: the checksums disagree, and everything is fetched again."""
    target = fleet.auxiliary.databases["shop"]
    shop.execute(target, "UPDATE goods SET name = 'changed here' WHERE id IN (5, 6)", "DELETE FROM goods WHERE id = 8")
    change(fleet)
    shop.execute(fleet.primary.databases["shop"], "UPDATE goods SET name = 'changed there' WHERE id IN (5, 8)")
    fleet.auxiliary.wait_identical("shop")


@pytest.mark.parametrize("deed", ["DELETE FROM goods", "UPDATE goods SET stock = -1", "DROP TABLE goods"])
@pytest.mark.parametrize("goes_on", [True, False], ids=["the primary goes on", "the primary rests"])
def test_what_the_auxiliarys_application_does_to_shared_tables_is_found_and_repaired(
    fleet: Fleet, deed: str, goes_on: bool
) -> None:
    shop.execute(fleet.auxiliary.databases["shop"], deed)
    if goes_on:
        change(fleet)
    fleet.auxiliary.wait_identical("shop")
    assert [line["problems"] for line in fleet.auxiliary.status()["collections"]] == [[]]  # type: ignore[attr-defined]
