"""Very many objects parked on an auxiliary: what they cost in memory and time is bounded (R7, R15)."""

from __future__ import annotations

import sqlite3
import statistics
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.harness import Fleet, Machine

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(600)]

PARKED = 20_000
RSS_MIB_MAX = 140  # of a whole daemon, with room for other machines
LATENCY_FACTOR_MAX = 4.0
LATENCY_S_ROOM = 0.03
COMMITS = 40


def fill(source: Path) -> None:
    with closing(sqlite3.connect(source)) as connection, connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE goods (id INTEGER PRIMARY KEY, name TEXT, body TEXT)")
        connection.execute("CREATE TABLE till (id INTEGER PRIMARY KEY, at TEXT)")
        connection.execute("INSERT INTO till VALUES (1, '')")
        rows = ((number, "x" * 200) for number in range(2 * PARKED))
        connection.executemany(f"INSERT INTO goods SELECT ?1, iif(?1 < {PARKED}, 'bad', 'good'), ?2", rows)


def latency_s(source: Path, target: Path) -> float:
    """Median time from a commit that touches nothing parked until the auxiliary's database shows it."""
    taken: list[float] = []
    with (
        closing(sqlite3.connect(source, isolation_level=None)) as here,
        closing(sqlite3.connect(target, isolation_level=None)) as there,
    ):
        for number in range(COMMITS):
            begun = time.monotonic()
            here.execute("UPDATE till SET at = ?", (f"{begun} {number}",))
            while there.execute("SELECT at FROM till").fetchone() != (f"{begun} {number}",):
                assert time.monotonic() < begun + 20.0
            taken.append(time.monotonic() - begun)
    return statistics.median(taken)


def peak_mib(machine: Machine) -> int:
    lines = Path(f"/proc/{machine.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))


def parked(machine: Machine) -> int:
    line = machine.collection("goods")
    count = line.get("parked")
    return count if isinstance(count, int) and line.get("position") == line.get("head") != 0 else 0


def test_very_many_parked_objects_cost_neither_memory_nor_time(tmp_path: Path) -> None:
    source, target = tmp_path / "source.db", tmp_path / "target.db"
    fill(source)
    with closing(sqlite3.connect(target)) as connection, connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE goods (id INTEGER PRIMARY KEY, name TEXT CHECK (name <> 'bad'), body TEXT)")
    with Fleet(tmp_path, auxiliaries=2) as fleet:
        plain, bad = fleet.auxiliaries
        fleet.primary.share("goods", source)
        plain.accept("goods")
        plain.wait_identical("goods")
        without = latency_s(source, plain.databases["goods"])
        bad.accept("goods", target)
        bad.wait(lambda: parked(bad) == PARKED, f"parks {PARKED} objects", 120.0)
        begun = time.monotonic()
        said = bad.cli("retry", code=1)
        assert f"{PARKED:,} groups failed again" in said
        assert time.monotonic() - begun < 30.0
        assert latency_s(source, target) < LATENCY_FACTOR_MAX * without + LATENCY_S_ROOM
        assert peak_mib(bad) < RSS_MIB_MAX
        with closing(sqlite3.connect(source)) as connection, connection:
            connection.execute("UPDATE goods SET name = 'mended' WHERE name = 'bad'")
        plain.wait_identical("goods", 120.0)
        bad.wait_identical("goods", 120.0)
        assert peak_mib(bad) < RSS_MIB_MAX
