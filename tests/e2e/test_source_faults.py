"""The primary's application database is missing, unreadable, locked or another one: the collection is offline with
the reason, never empty, and goes on by itself (R13)."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.e2e import shop
from tests.e2e.harness import Fleet, Machine, limited

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

GOODS = 300


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """One fleet for all; each test leaves it identical."""
    directory = tmp_path_factory.mktemp("source")
    disk = directory / "disk"
    disk.mkdir()
    with Fleet(directory, launcher=limited(offline_retry_s_max=1.0)) as fleet:
        fleet.primary.share("shop", shop.make(disk / "shop.db", GOODS))
        fleet.auxiliary.accept("shop")
        fleet.auxiliary.wait_identical("shop")
        yield fleet


@pytest.fixture
def fleet(shared: Fleet) -> Fleet:
    for machine in (shared.primary, shared.auxiliary):
        if not machine.running:
            machine.start()
    shared.auxiliary.wait_identical("shop")
    return shared


def source_of(fleet: Fleet) -> Path:
    return fleet.primary.databases["shop"]


@contextmanager
def offline(fleet: Fleet, *reason: str) -> Iterator[None]:
    """The primary's status says offline and why; the auxiliary keeps all; after the block both go on by themselves."""
    primary, auxiliary = fleet.primary, fleet.auxiliary
    before = held(auxiliary)
    primary.wait_state("shop", "offline", *reason)
    assert held(auxiliary) == before
    assert primary.collection("shop")["objects"] == before
    yield
    assert held(auxiliary) == before
    auxiliary.wait_identical("shop")


def held(machine: Machine) -> int:
    """How many goods the machine's database holds."""
    ((number,),) = shop.ask(machine.databases["shop"], "SELECT count(*) FROM goods")
    return int(str(number))


def restarted(machine: Machine, meanwhile: Callable[[], object]) -> None:
    machine.stop()
    meanwhile()
    machine.start()


def test_sharing_again_what_is_offline_is_tried_at_once(fleet: Fleet) -> None:
    source = source_of(fleet)
    disk, away = source.parent, source.parent.with_name("away")
    disk.rename(away)
    with offline(fleet, "missing"):
        refused = fleet.primary.cli("share", "shop", "--from", f"sqlite:{source}", code=1)
        assert "does not exist" in refused
        away.rename(disk)
        fleet.primary.cli("share", "shop", "--from", f"sqlite:{source}")


@pytest.mark.parametrize("at_start", [False, True])
def test_the_disk_of_the_database_is_away(fleet: Fleet, at_start: bool) -> None:
    source = source_of(fleet)
    disk, away = source.parent, source.parent.with_name("away")
    if at_start:
        restarted(fleet.primary, lambda: disk.rename(away))
    else:
        disk.rename(away)
    with offline(fleet, "missing"):
        shop.execute(away / source.name, "UPDATE goods SET stock = stock + 1000")  # it lives, elsewhere
        away.rename(disk)


@pytest.mark.parametrize("what", ["directory", "garbage", "empty file", "another database"])
@pytest.mark.parametrize("at_start", [False, True])
def test_something_else_is_in_the_place_of_the_database(
    fleet: Fleet, tmp_path: Path, what: str, at_start: bool
) -> None:
    source = source_of(fleet)
    disk, away = source.parent, source.parent.with_name("away")

    def replace() -> None:
        disk.rename(away)
        disk.mkdir()
        match what:
            case "directory":
                source.mkdir()
            case "garbage":
                source.write_bytes(b"no database " * 1000)
            case "empty file":
                source.touch()
            case _:
                shop.make(source, 3)

    if at_start:
        restarted(fleet.primary, replace)
    else:
        replace()
    with offline(fleet, str(source)):
        if what == "another database":  # it can be shared, but not as this collection
            fleet.primary.cli("share", "shop", "--from", f"sqlite:{source}")
            fleet.primary.wait_state("shop", "offline")
        shutil.rmtree(disk)
        away.rename(disk)


@pytest.mark.parametrize("removed", [("", "-wal", "-shm"), ("-wal", "-shm")], ids=["another file", "the same file"])
def test_an_older_copy_is_put_in_its_place(fleet: Fleet, tmp_path: Path, removed: Sequence[str]) -> None:
    """It is the same application's data as it was: the auxiliaries follow, deletes and all."""
    source = source_of(fleet)
    copy = tmp_path / "copy.db"
    with closing(sqlite3.connect(source)) as connection:
        connection.execute("VACUUM INTO ?", (str(copy),))
    for at_start in (False, True):
        shop.execute(source, "UPDATE goods SET name = 'changed after the copy' WHERE id < 9")
        shop.execute(
            source, "DELETE FROM goods WHERE id = 9", f"INSERT INTO goods VALUES ({GOODS + 1}, 'gone again', 0)"
        )
        fleet.auxiliary.wait_identical("shop")

        def put_back() -> None:
            for end in removed:
                source.with_name(f"shop.db{end}").unlink(missing_ok=True)
            shutil.copyfile(copy, source)

        if at_start:
            restarted(fleet.primary, put_back)
        else:
            put_back()
        theirs = fleet.auxiliary.databases["shop"]
        question = f"SELECT count(*) FROM goods WHERE id = {GOODS + 1} OR name LIKE 'changed%'"
        fleet.auxiliary.wait(lambda: shop.ask(theirs, question) == [(0,)], "is as the copy")  # noqa: B023
        fleet.auxiliary.wait_identical("shop")


def test_another_program_holds_the_lock(fleet: Fleet) -> None:
    source = source_of(fleet)
    restarted(fleet.primary, lambda: set_journal(source, "delete"))
    fleet.auxiliary.wait_identical("shop")
    with closing(sqlite3.connect(source, isolation_level=None, timeout=20.0)) as lock:
        lock.execute("BEGIN EXCLUSIVE")
        lock.execute("UPDATE goods SET stock = stock + 1")
        with offline(fleet, "lock"):
            lock.execute("COMMIT")
    restarted(fleet.primary, lambda: set_journal(source, "wal"))


def set_journal(database: Path, mode: str) -> None:
    assert shop.ask(database, f"PRAGMA journal_mode={mode}") == [(mode,)]


def test_what_a_copy_lacks_is_held_until_it_is_approved_and_all_else_goes_on(fleet: Fleet, tmp_path: Path) -> None:
    """A backup that is put back may be older than much of the data: a person decides (R13)."""
    source, copy = source_of(fleet), tmp_path / "older.db"
    with closing(sqlite3.connect(source)) as connection:
        connection.execute("VACUUM INTO ?", (str(copy),))
    more = ", ".join(f"({GOODS + number}, 'later', 1)" for number in range(100, 100 + GOODS))
    shop.execute(source, f"INSERT INTO goods VALUES {more}")
    fleet.auxiliary.wait_identical("shop")
    before = held(fleet.auxiliary)

    def put_back() -> None:
        for end in ("-wal", "-shm"):
            source.with_name(f"shop.db{end}").unlink(missing_ok=True)
        shutil.copyfile(copy, source)

    restarted(fleet.primary, put_back)
    fleet.primary.wait_state("shop", "held", f"{GOODS} of")
    shop.execute(source, "UPDATE goods SET name = 'meanwhile' WHERE id = 1")
    theirs = fleet.auxiliary.databases["shop"]
    question = "SELECT count(*) FROM goods WHERE name = 'meanwhile'"
    fleet.auxiliary.wait(lambda: shop.ask(theirs, question) == [(1,)], "has what is changed meanwhile")
    assert held(fleet.auxiliary) == before
    fleet.primary.cli("share", "shop", "--from", f"sqlite:{source}")
    group = str(fleet.primary.collection("shop")["held"])
    fleet.primary.cli("approve", group)
    fleet.auxiliary.wait(lambda: held(fleet.auxiliary) == before - GOODS, "is as the copy")
    fleet.auxiliary.wait_identical("shop")
