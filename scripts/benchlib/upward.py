"""Changes that are made on auxiliaries: how soon they are elsewhere, what they cost those that come down, what the past
costs on disk."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from statistics import median

from scripts.benchlib import probe, work
from scripts.benchlib.bed import COLLECTION, Bed, NotIdentical, Row, bed, filled, returned_ns, seen_ns, writer
from scripts.benchlib.figures import Figure, Measure, Setting
from tests.e2e.compare import differences
from tests.e2e.harness import Machine

UP_RATE = 100.0  # commits per second of the auxiliary
DOWN_RATE = 200.0  # of the primary while auxiliaries upload
UPLOADERS, UPLOAD_RATE = 4, 50.0
_APART = 10_000_000  # keys of different writers never meet


def up(setting: Setting) -> Figure:
    objects, count = setting.of(10_000), int(UP_RATE * (2 if setting.quick else 10))
    with filled(setting.directory, 2, objects) as made:
        here, there = (auxiliary.databases[COLLECTION] for auxiliary in made.auxiliaries)
        made.meter()
        with writer(here, objects, count, UP_RATE) as process, ThreadPoolExecutor(2) as threads:
            watched = [threads.submit(seen_ns, one, objects, count, process) for one in (made.database, there)]
            seen = [one.result() for one in watched]
            returned = returned_ns(process)
        _settled(made)
        costs = made.costs()
    what = f"single-row commits on an auxiliary at {UP_RATE:.0f}/s: commit returned -> visible in another's database"
    measures: list[Measure] = []
    for name, moments, floors in zip(
        ("the primary's", "another auxiliary's"), seen, ((8.0, 40.0), (14.0, 60.0)), strict=True
    ):
        took = sorted((later - earlier) / 1e6 for earlier, later in zip(returned, moments, strict=True))
        measures += [
            Measure(f"{name} p50", median(took), "ms", floors[0]),
            Measure(f"{name} p99", took[int(len(took) * 0.99)], "ms", floors[1]),
        ]
    return Figure("up", what, measures, costs)


def offline(setting: Setting) -> Figure:
    objects, changes = setting.of(100_000), setting.of(20_000)
    with filled(setting.directory, 1, objects) as made:
        database = made.auxiliaries[0].databases[COLLECTION]
        away = _without_link(made, lambda: work.modify(database, objects, changes, 100))
        costs = made.costs()
        off = _without_daemon(made, lambda: work.modify(database, objects, changes, 100, version=2))
    what = f"{changes:,} modifications on an auxiliary that is away, in transactions of 100: reconnect -> identical"
    measures = [
        Measure("the link was away", away, "s", 2.0),
        Measure("its daemon was off as well", off, "s"),
    ]
    return Figure("offline", what, measures, costs)


def _without_link(made: Bed, modify: Callable[[], Row]) -> float:
    """The primary is off while the auxiliary, whose daemon runs, is changed. The clock runs once the link is there."""
    auxiliary = made.auxiliaries[0]
    port = made.port()
    made.primary.stop()
    last = modify()
    made.until(lambda: bool(_pending(auxiliary)))
    made.until_idle(auxiliary)
    made.primary.start(wait=False)
    made.until(lambda: bool(probe.connections_to(port)))
    made.meter()
    return _identical_after(made, time.monotonic(), last)


def _pending(auxiliary: Machine) -> object:
    """Groups of its own that the primary has not answered."""
    lines = auxiliary.status()["collections"]
    assert isinstance(lines, list)
    return next(one["pending"] for one in lines if one["name"] == COLLECTION)


def _without_daemon(made: Bed, modify: Callable[[], Row]) -> float:
    made.auxiliaries[0].stop()
    last = modify()
    return _identical_after(made, made.dial(), last)


def _identical_after(made: Bed, begin: float, last: Row) -> float:
    """Seconds from ``begin`` until the last row is on the primary, nothing waits and all are identical."""
    made.until(lambda: _holds(made.database, last) and _nothing_pending(made))
    seconds = time.monotonic() - begin
    _settled(made)
    return seconds


def both_ways(setting: Setting) -> Figure:
    """The latency down, alone and while others upload."""
    return _both_ways(setting, "both-ways", others=None)


def both_ways_apart(setting: Setting) -> Figure:
    """The same where the others, daemons and applications, have a core of their own: they are other machines."""
    return _both_ways(setting, "both-ways-apart", others=max(os.sched_getaffinity(0)))


def _both_ways(setting: Setting, name: str, others: int | None) -> Figure:
    objects, count = setting.of(10_000), int(DOWN_RATE * (2 if setting.quick else 10))
    with filled(setting.directory, UPLOADERS + 1, objects) as made, ExitStack() as stack:
        if others is not None:
            for auxiliary in made.auxiliaries[:-1]:
                probe.keep_on(auxiliary.pid, {others})
            mine = os.sched_getaffinity(0) - {others} or {others}
            for pid in (made.primary.pid, made.auxiliaries[-1].pid):
                probe.keep_on(pid, mine)
            stack.enter_context(_on(mine))
        alone = _down(made, objects, count)
        made.meter()
        with _uploading(made, count / DOWN_RATE, None if others is None else {others}):
            meanwhile = _down(made, objects + count, count)
        _settled(made)
        costs = made.costs()
    what = f"commits on the primary at {DOWN_RATE:.0f}/s, visible on an auxiliary, while {UPLOADERS} others upload"
    what += f" {UPLOAD_RATE:.0f}/s each, and alone" + ("" if others is None else "; the others on a core of their own")
    measures: list[Measure] = []
    for which, at in (("p50", 0.5), ("p99", 0.99)):
        before, after = (took[int(len(took) * at)] for took in (alone, meanwhile))
        measures += [
            Measure(f"{which} alone", before, "ms"),
            Measure(f"{which} meanwhile", after, "ms"),
            Measure(f"{which} meanwhile / alone", after / before, "x", 1.3),
        ]
    return Figure(name, what, measures, costs)


def history(setting: Setting) -> Figure:
    objects, changes = setting.of(100_000), setting.of(20_000)
    with bed(setting.directory, 0) as made:
        made.share(objects)
        store = made.primary.home / "store.db"
        made.primary.stop()
        before = _packed_bytes(store)
        made.primary.start()
        head = made.wait_captured(objects)
        work.modify(made.database, objects, changes, 100)
        made.wait_captured(objects, head + changes - 1)
        made.primary.stop()
        growth, file_bytes = _packed_bytes(store) - before, store.stat().st_size
        costs = made.costs()
    changed = changes * work.BODY_BYTES
    what = (
        f"what {changes:,} modifications of {work.BODY_BYTES}-byte objects leave in the sync store, without free pages"
    )
    measures = [
        Measure("growth", growth / 2**20, "MiB"),
        Measure("the store's file, free pages included", file_bytes / 2**20, "MiB"),
        Measure("growth / bytes changed", growth / changed, "x", 2.0),
    ]
    return Figure("history", what, measures, costs)


def _packed_bytes(database: Path) -> int:
    """Size of a copy of a database without free pages: those are used again."""
    copy = database.with_name("packed.db")
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("VACUUM INTO ?", (str(copy),))
    size_bytes = copy.stat().st_size
    copy.unlink()
    return size_bytes


def _down(made: Bed, first: int, count: int) -> list[float]:
    """Milliseconds from each commit on the primary until it was visible on the last auxiliary, sorted."""
    with writer(made.database, first, count, DOWN_RATE) as process:
        seen = seen_ns(made.auxiliaries[-1].databases[COLLECTION], first, count, process)
        returned = returned_ns(process)
    return sorted((there - here) / 1e6 for here, there in zip(returned, seen, strict=True))


@contextmanager
def _uploading(made: Bed, seconds: float, cores: set[int] | None) -> Iterator[None]:
    """All auxiliaries but the last commit, for at least so long. ``cores``: of their applications; None: all."""
    count = int(UPLOAD_RATE * (seconds + 2))
    with ExitStack() as stack:
        with _on(cores or os.sched_getaffinity(0)):  # what is started keeps to them
            for number, auxiliary in enumerate(made.auxiliaries[:-1], 1):
                stack.enter_context(writer(auxiliary.databases[COLLECTION], number * _APART, count, UPLOAD_RATE))
        time.sleep(1.0)  # until all of them write
        yield


@contextmanager
def _on(cores: set[int]) -> Iterator[None]:
    """This process keeps to these cores meanwhile."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _settled(made: Bed) -> None:
    """Nothing waits anywhere, and all databases are equal row by row."""
    made.until(lambda: _nothing_pending(made))
    for auxiliary in made.auxiliaries:
        if found := differences(made.database, auxiliary.databases[COLLECTION]):
            raise NotIdentical(f"{auxiliary.name}: {found[0]}")


def _nothing_pending(made: Bed) -> bool:
    """The primary, which has the most to do, is asked only once it may be so."""
    lines = [auxiliary.collection(COLLECTION) for auxiliary in made.auxiliaries]
    if any(line.get("state") != "identical" for line in lines):
        return False
    head = made.primary.collection(COLLECTION).get("head")
    return all(line.get("position") == head for line in lines)


def _holds(database: Path, row: tuple[str, str]) -> bool:
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        found = connection.execute("SELECT body FROM item WHERE id = ?", row[:1]).fetchone()
        return found is not None and found[0] == row[1]


FIGURES: dict[str, Callable[[Setting], Figure]] = {
    "up": up,
    "offline": offline,
    "both-ways": both_ways,
    "both-ways-apart": both_ways_apart,
    "history": history,
}
