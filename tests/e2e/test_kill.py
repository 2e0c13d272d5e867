"""``kill -9`` at points by chance: nothing is lost, nothing comes twice, no half group is ever seen (R2, R4, R6)."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e import shop
from tests.e2e.harness import Fleet
from tests.e2e.kills import kill_at_work
from tests.wait import eventually_blocking

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

KILLS = 6

HALF_A_TRANSACTION = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size=5")  # so that unfinished pages reach the write-ahead log
connection.execute("BEGIN IMMEDIATE")
connection.execute("INSERT INTO orders VALUES (424242, 'never', 2000)")
for place in range(2000):
    connection.execute("INSERT INTO line VALUES (424242, ?, ?, 1.5)", (place, "x" * 300))
print("half", flush=True)
sys.stdin.read()
"""


@contextmanager
def working(till: shop.Till) -> Iterator[None]:
    """The application commits all the while."""
    end = threading.Event()

    def work() -> None:
        while not end.is_set():
            till.work(10)

    thread = threading.Thread(target=work, name="till")
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join(60.0)
        assert not thread.is_alive(), "the application did not get its lock"


def set_up(fleet: Fleet, tmp_path: Path) -> Path:
    source = shop.make(tmp_path / "shop.db", 200)
    fleet.primary.share("shop", source)
    fleet.primary.cli("settings", "set", "guard.percent", "100 %")  # it deletes much while the daemon is off
    fleet.auxiliary.accept("shop")
    fleet.auxiliary.wait_identical("shop")
    return source


@pytest.mark.parametrize("victim", ["primary", "auxiliary"])
def test_a_daemon_is_killed_again_and_again_while_the_application_works(tmp_path: Path, seed: int, victim: str) -> None:
    rand = random.Random(seed)
    with Fleet(tmp_path) as fleet:
        source = set_up(fleet, tmp_path)
        machine = fleet.primary if victim == "primary" else fleet.auxiliary
        till = shop.Till(source, random.Random(rand.random()))
        with shop.Reader([fleet.auxiliary.databases["shop"]]) as reader, working(till):
            for _ in range(KILLS):
                kill_at_work(machine, rand)
            eventually_blocking(lambda: reader.seen or reader.looks > 20, what="the reader has looked often")
            eventually_blocking(lambda: till.committed > KILLS, what="the application has worked")
        machine.wait_started()
        fleet.auxiliary.wait_identical("shop")
        assert reader.seen == []
        assert shop.half_orders(source) == []


def test_both_daemons_are_killed_during_a_bootstrap(tmp_path: Path, seed: int) -> None:
    rand = random.Random(seed)
    with Fleet(tmp_path) as fleet:
        source = shop.make(tmp_path / "shop.db", 20_000)
        fleet.primary.share("shop", source)
        fleet.primary.cli("settings", "set", "guard.percent", "100 %")  # it deletes much while the daemon is off
        target = fleet.auxiliary.accept("shop")
        till = shop.Till(source, random.Random(rand.random()))
        with shop.Reader([target]) as reader, working(till):
            for _ in range(KILLS):
                kill_at_work(rand.choice((fleet.primary, fleet.auxiliary)), rand)
        fleet.primary.wait_started()
        fleet.auxiliary.wait_started()
        fleet.auxiliary.wait_identical("shop")
        assert reader.seen == []


def test_an_auxiliary_killed_with_a_whole_bootstrap_staged_executes_it_afterwards(tmp_path: Path) -> None:
    with Fleet(tmp_path) as fleet:
        fleet.primary.share("shop", shop.make(tmp_path / "shop.db", 3_000))
        auxiliary = fleet.auxiliary
        target = shop.make(tmp_path / "target.db")
        lock = sqlite3.connect(target, isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        auxiliary.accept("shop", target)
        auxiliary.wait(lambda: "lock" in str(auxiliary.collection("shop").get("reason")), "says who holds the lock")
        assert auxiliary.collection("shop")["state"] == "offline"
        fleet.primary.stop()  # what was staged is all there is
        auxiliary.kill()
        lock.close()
        auxiliary.start()
        auxiliary.wait(lambda: auxiliary.collection("shop").get("position") == 3_000, "has executed what was staged")
        fleet.primary.start()
        auxiliary.wait_identical("shop")


def test_half_a_transaction_of_an_application_that_is_killed_never_appears(tmp_path: Path) -> None:
    with Fleet(tmp_path) as fleet:
        source = set_up(fleet, tmp_path)
        auxiliary = fleet.auxiliary
        shop.execute(source, "PRAGMA wal_checkpoint(TRUNCATE)")
        auxiliary.wait_identical("shop")
        for _ in range(3):
            command = [sys.executable, "-c", HALF_A_TRANSACTION, str(source)]
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as application:
                assert application.stdout is not None
                assert application.stdout.readline() == b"half\n"
                assert source.with_name("shop.db-wal").stat().st_size > 100_000  # it is in the log, without its commit
                application.kill()
            shop.execute(source, "INSERT INTO orders VALUES (NULL, 'another', 0)")
            auxiliary.wait_identical("shop")
            count = "SELECT count(*) FROM orders WHERE id = 424242"
            assert shop.ask(auxiliary.databases["shop"], count) == shop.ask(source, count) == [(0,)]
