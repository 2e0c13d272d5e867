"""``kill -9`` of a daemon that is at work."""

from __future__ import annotations

import random
from contextlib import suppress

from tests.e2e.harness import POLL_S, Machine

PROGRESS_MAX = 10


def written(machine: Machine) -> set[tuple[str, int, int]]:
    """What the machine's daemon has written until this moment: its home, its log, and an auxiliary's database."""
    found: set[tuple[str, int, int]] = set()
    for path in machine.directory.rglob("*"):
        if path.name.endswith("-shm"):
            continue  # readers write there too
        with suppress(FileNotFoundError):
            state = path.stat()
            found.add((str(path), state.st_size, state.st_mtime_ns))
    return found


def kill_at_work(machine: Machine, rand: random.Random) -> None:
    """Kills it when it was seen writing for the n-th time, n by chance: in the middle of starting, importing, staging,
    executing."""
    left, seen = rand.randrange(1, PROGRESS_MAX), written(machine)

    def wrote() -> bool:
        nonlocal left, seen
        before, seen = seen, written(machine)
        left -= before != seen
        return left == 0

    machine.wait(wrote, "writes", poll_s=POLL_S)
    machine.kill()
    machine.start(wait=False)
