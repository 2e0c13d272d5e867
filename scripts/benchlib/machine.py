"""The machine that the figures are of. How long its disk takes to be sure bounds every latency."""

from __future__ import annotations

import os
import platform
import sqlite3
import tempfile
import time

_SYNCS = 200
_PAUSE_S = 0.001


def facts() -> dict[str, object]:
    """``load``: of the minute before; ``fdatasync_ms``: median and 99th percentile of appending 4 KiB."""
    took = sorted(_syncs())
    return {
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "kernel": platform.release(),
        "load": round(os.getloadavg()[0], 2),
        "fdatasync_ms": {"p50": round(took[_SYNCS // 2], 3), "p99": round(took[int(_SYNCS * 0.99)], 3)},
    }


def _syncs() -> list[float]:
    took: list[float] = []
    with tempfile.TemporaryFile(prefix="syncd-bench-") as file:
        for _ in range(_SYNCS):
            file.write(bytes(4096))
            file.flush()
            begin = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append((time.perf_counter() - begin) * 1000)
            time.sleep(_PAUSE_S)
    return took
