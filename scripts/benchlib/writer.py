"""The application as a process of its own: single-row commits, as fast as they go or at a rate.

Prints one JSON object when it is done: when each commit had returned (CLOCK_MONOTONIC, nanoseconds), in order.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import closing
from pathlib import Path

from scripts.benchlib.work import UPSERT, open_application, rows


def commit_one_by_one(path: Path, first: int, count: int, rate: float) -> list[int]:
    """When each commit had returned. ``rate``: commits per second, 0: without a pause."""
    returned: list[int] = []
    with closing(open_application(path)) as connection:
        begin = time.monotonic()
        for number, row in enumerate(rows(first, count)):
            if rate and (pause := begin + number / rate - time.monotonic()) > 0:
                time.sleep(pause)
            connection.execute(UPSERT, row)
            returned.append(time.monotonic_ns())
    return returned


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("database", type=Path)
    parser.add_argument("--first", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--rate", type=float, default=0.0)
    given = parser.parse_args()
    returned = commit_one_by_one(given.database, given.first, given.count, given.rate)
    json.dump({"returned_ns": returned}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
