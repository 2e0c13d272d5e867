"""Each figure: what is done, between which two events the clock runs, and what must be reached."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from scripts.benchlib import work
from scripts.benchlib.bed import COLLECTION, Bed, bed, filled, returned_ns, seen_ns, writer
from scripts.benchlib.probe import Cost

RATE = 200.0  # commits per second of the latency figure
FANOUTS = (1, 4, 16)


@dataclass(frozen=True, slots=True)
class Measure:
    """One number. ``floor``: must not be above; ``aim``: should not be above; None: nothing is asked."""

    name: str
    value: float
    unit: str
    floor: float | None = None
    aim: float | None = None

    @property
    def reached(self) -> bool | None:
        return None if self.floor is None else self.value <= self.floor


@dataclass(frozen=True, slots=True)
class Figure:
    """What came out. ``what``: the work and the clock in one line."""

    name: str
    what: str
    measures: list[Measure]
    daemons: list[Cost] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Setting:
    """``directory``: empty, for this figure alone. ``quick``: a tenth of the work; budgets are not judged."""

    directory: Path
    quick: bool

    def of(self, amount: int) -> int:
        return amount // 10 if self.quick else amount


def first_import(setting: Setting) -> Figure:
    objects = setting.of(100_000)
    with bed(setting.directory, 0) as made:
        seconds = made.share(objects)
        what = f"first import of {objects:,} rows on the primary: share -> all in the store"
        return Figure("import", what, [Measure("import", seconds, "s", 2.5)], made.costs())


def bootstrap(setting: Setting) -> Figure:
    objects = setting.of(100_000)
    seconds, costs = _bootstrap(setting.directory, objects, 1)
    what = f"new auxiliary, {objects:,} objects: dial -> identical"
    return Figure("bootstrap", what, [Measure("bootstrap", seconds, "s", 2.5, 1.0)], costs)


def fanout_bootstrap(setting: Setting) -> Figure:
    objects = setting.of(100_000)
    seconds, costs = _bootstrap(setting.directory, objects, 4)
    what = f"4 new auxiliaries at once, {objects:,} objects: dial -> the last is identical"
    return Figure("fanout-bootstrap", what, [Measure("bootstrap of 4", seconds, "s", 7.0, 3.0)], costs)


def catchup(setting: Setting) -> Figure:
    objects, changes = setting.of(100_000), setting.of(20_000)
    with filled(setting.directory, 1, objects) as made:
        made.auxiliaries[0].stop()
        head = made.wait_captured(objects)
        last = work.modify(made.database, objects, changes, 100)
        made.wait_captured(objects, head + changes - 1)
        seconds, costs = _timed(made, made.dial(), last)
    what = f"catch-up after {changes:,} modifications in transactions of 100: reconnect -> identical"
    return Figure("catchup", what, [Measure("catch-up", seconds, "s", 0.8, 0.3)], costs)


def latency(setting: Setting) -> Figure:
    objects, count = setting.of(10_000), int(RATE * (2 if setting.quick else 10))
    with filled(setting.directory, 1, objects) as made:
        database = made.auxiliaries[0].databases[COLLECTION]
        made.meter()
        with writer(made.database, objects, count, RATE) as process:
            seen = seen_ns(database, objects, count, process)
            returned = returned_ns(process)
        made.wait_identical(next(work.rows(objects + count - 1, 1)))
        costs = made.costs()
        made.verify()
    took = sorted((there - here) / 1e6 for here, there in zip(returned, seen, strict=True))
    what = f"single-row commits at {RATE:.0f}/s: commit returned -> visible in the auxiliary's database"
    measures = [
        Measure("p50", median(took), "ms", 6.0, 2.0),
        Measure("p99", took[int(len(took) * 0.99)], "ms", 30.0),
        Measure("max", took[-1], "ms"),
    ]
    return Figure("latency", what, measures, costs)


def stream(setting: Setting) -> Figure:
    count = setting.of(50_000)
    seconds, rate, costs = _stream(setting, 1, count)
    what = f"{count:,} single-row commits one by one, synchronous=NORMAL: last commit -> identical"
    measures = [Measure("last commit -> identical", seconds, "s", 1.5), Measure("commits", rate, "/s")]
    return Figure("stream", what, measures, costs)


def fanout(setting: Setting) -> Figure:
    count = setting.of(50_000)
    measures: list[Measure] = []
    daemons: list[Cost] = []
    cpu_s: dict[int, float] = {}
    for devices in FANOUTS:
        directory = setting.directory / f"to-{devices}"
        seconds, rate, costs = _stream(Setting(directory, setting.quick), devices, count)
        cpu_s[devices] = costs[0].cpu_s
        measures += [
            Measure(f"primary's CPU, to {devices}", cpu_s[devices], "s"),
            Measure(f"last commit -> identical, to {devices}", seconds, "s"),
            Measure(f"commits, to {devices}", rate, "/s"),
        ]
        daemons += [Cost(f"to {devices}: {one.name}", one.peak_rss_mib, one.cpu_s) for one in costs]
    measures += [
        Measure("primary's CPU, 4 / 1", cpu_s[4] / cpu_s[1], "x"),
        Measure("primary's CPU, 16 / 1", cpu_s[16] / cpu_s[1], "x", 3.0),
    ]
    return Figure("fanout", f"the stream of {count:,} commits to 1, 4 and 16 auxiliaries", measures, daemons)


def memory(setting: Setting) -> Figure:
    sizes = (20_000, 100_000) if setting.quick else (100_000, 1_000_000)
    peaks: list[list[float]] = []
    measures: list[Measure] = []
    daemons: list[Cost] = []
    for objects in sizes:
        _, costs = _bootstrap(setting.directory / str(objects), objects, 1)
        peaks.append([one.peak_rss_mib for one in costs])
        for one in costs:
            measures.append(Measure(f"{one.name}, {objects:,} objects", one.peak_rss_mib, "MiB", 120.0))
            daemons.append(Cost(f"{objects:,}: {one.name}", one.peak_rss_mib, one.cpu_s))
    for index, name in enumerate(("primary", "auxiliary")):
        measures.append(Measure(f"{name}, second / first", peaks[1][index] / peaks[0][index], "x", 1.3))
    what = f"peak RSS after import and bootstrap of {sizes[0]:,} and of {sizes[1]:,} objects"
    return Figure("memory", what, measures, daemons)


def _bootstrap(directory: Path, objects: int, auxiliaries: int) -> tuple[float, list[Cost]]:
    with bed(directory, auxiliaries) as made:
        made.share(objects)
        return _timed(made, made.dial(), next(work.rows(objects - 1, 1)))


def _stream(setting: Setting, auxiliaries: int, count: int) -> tuple[float, float, list[Cost]]:
    objects = setting.of(10_000)
    with filled(setting.directory, auxiliaries, objects) as made:
        made.meter()
        with writer(made.database, objects, count) as process:
            returned = returned_ns(process)
        seconds, costs = _timed(made, returned[-1] / 1e9, next(work.rows(objects + count - 1, 1)))
    return seconds, (len(returned) - 1) / ((returned[-1] - returned[0]) / 1e9), costs


def _timed(made: Bed, begin: float, last: tuple[str, str]) -> tuple[float, list[Cost]]:
    """Seconds from ``begin`` until the last auxiliary is identical, checked row by row after the clock has stopped."""
    seconds = max(made.wait_identical(last)) - begin
    costs = made.costs()
    made.verify()
    return max(seconds, 0.0), costs


FIGURES: dict[str, Callable[[Setting], Figure]] = {
    "import": first_import,
    "bootstrap": bootstrap,
    "fanout-bootstrap": fanout_bootstrap,
    "catchup": catchup,
    "latency": latency,
    "stream": stream,
    "fanout": fanout,
    "memory": memory,
}
