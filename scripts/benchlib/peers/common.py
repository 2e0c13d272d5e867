"""What the measuring of all peers shares: processes that end in any case, waiting, the latency of paced commits."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from scripts.benchlib.figures import RATE, Measure
from tests.e2e.harness import ROOT

DEADLINE_S = 120.0
POLL_S = 0.002


class Absent(Exception):
    """The peer is not installed here."""


@contextmanager
def process(arguments: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server that is ended when the context closes."""
    with log.open("ab") as output:
        started = subprocess.Popen(
            list(arguments),
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(10.0)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


def wait(condition: Callable[[], bool], what: str, poll_s: float = POLL_S) -> float:
    """The moment at which the condition held."""
    end = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {DEADLINE_S:.0f} s")
        time.sleep(poll_s)
    return time.monotonic()


def latencies(commit: Callable[[int], None], visible: Callable[[int], bool], count: int) -> list[Measure]:
    """``commit(number)`` at the rate of the figure, in a thread of its own; ``visible(number)`` at the other end."""
    returned: list[int] = []
    failed: list[Exception] = []

    def write() -> None:
        begin = time.monotonic()
        try:
            for number in range(count):
                time.sleep(max(0.0, begin + number / RATE - time.monotonic()))
                commit(number)
                returned.append(time.monotonic_ns())
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=write, name="application")
    thread.start()
    seen: list[int] = []
    try:
        end = time.monotonic() + count / RATE + DEADLINE_S
        while len(seen) < count and not failed and time.monotonic() < end:
            if visible(len(seen)):
                seen.append(time.monotonic_ns())
            else:
                time.sleep(0.00025)
    finally:
        thread.join()
    if failed:
        raise failed[0]
    # The reader may see a commit before the writer's thread has noted its return.
    took = sorted(max(0.0, (there - here) / 1e6) for here, there in zip(returned, seen, strict=True))
    return [
        Measure("p50", median(took), "ms"),
        Measure("p99", took[int(len(took) * 0.99)], "ms"),
        Measure("max", took[-1], "ms"),
    ]
