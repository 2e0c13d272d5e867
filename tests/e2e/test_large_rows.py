"""R15: the primary's memory does not grow with the size of the application's rows."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.harness import Fleet

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ROWS, ROW_BYTES = 150, 1_000_000
PEAK_KIB_MAX = 126 * 1024


def peak_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def test_many_rows_of_a_megabyte_are_imported_and_changed_in_little_memory(tmp_path: Path) -> None:
    source = tmp_path / "app.db"
    with closing(sqlite3.connect(source)) as app, Fleet(tmp_path) as fleet:
        app.execute("PRAGMA journal_mode=WAL")
        app.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
        app.executemany("INSERT INTO t VALUES(?, randomblob(?))", ((i, ROW_BYTES) for i in range(ROWS)))
        app.commit()
        fleet.primary.share("large", source)
        fleet.auxiliary.accept("large")
        fleet.auxiliary.wait_identical("large")
        app.execute("UPDATE t SET v = randomblob(?)", (ROW_BYTES,))
        app.commit()
        fleet.primary.wait(lambda: fleet.primary.collection("large")["head"] == 2 * ROWS, "has read the transaction")
        fleet.auxiliary.wait_identical("large")
        assert peak_kib(fleet.primary.pid) < PEAK_KIB_MAX
