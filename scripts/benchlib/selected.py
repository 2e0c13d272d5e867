"""What selections cost real daemons: devices that take parts of the items, by the beginnings of their keys, which are
in no order: a tenth of the keys is a tenth of the objects."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from statistics import median

from scripts.benchlib import work
from scripts.benchlib.bed import COLLECTION, DEADLINE_S, Bed, NotIdentical, bed, keys_seen_ns, returned_ns, writer
from scripts.benchlib.figures import Figure, Measure, Setting
from syncd.core.devices import Device
from syncd.core.model import Role
from syncd.core.settings_file import Entry, written
from syncd.home import identity
from syncd.home.paths import Home
from syncd.store.sync_database import SqliteSyncDatabase
from tests.e2e.harness import Machine

SHARES = 10
KNOWN, CONNECTED = 1_000, 16
COMMIT_RATE = 100.0
LATENCY_RATE = 200.0
_SETTLED_S_MAX = DEADLINE_S / 4
_BEYOND = 50_000_000  # keys of writers, beyond those of all objects


def share(number: int, of: int = SHARES) -> tuple[str, str]:
    """The keys of one of equal parts: from the first up to before the second."""
    begin, end = (f"{0x10000 * at // of:04x}" if at < of else "g" for at in (number, number + 1))
    return begin, end


def taking(begin: str, end: str) -> str:
    return f'id >= "{begin}" and id < "{end}" and body is not None'


# ---------------------------------------------------------------- many devices, many selections


def many(setting: Setting) -> Figure:
    """A tenth of the objects to each of the devices, then all objects to all, then ten different tenths."""
    objects, commits = setting.of(100_000), int(COMMIT_RATE * (3 if setting.quick else 15))
    known = setting.of(KNOWN)
    with bed(setting.directory, CONNECTED) as made:
        names = _known_besides(made, known - CONNECTED) + [one.name for one in made.auxiliaries]
        made.share(objects)
        made.primary.ask("settings_set", name=f"{COLLECTION}.guard.objects", value="1000000000")
        tenths = [share(number % SHARES) for number in range(known)]
        took: list[float] = []
        for at, parts in enumerate(([share(0)] * known, [("0", "g")] * known, tenths)):
            _choose(made, dict(zip(names, parts, strict=True)))
            if not at:
                made.dial()
            _settled(made, parts[-CONNECTED:])
            took.append(_commit_us(made, at, commits))
            _settled(made, parts[-CONNECTED:])
        costs = made.costs()
    tenth, one, ten = took
    what = (
        f"{objects:,} objects, {known:,} devices known, {CONNECTED} connected, commits at {COMMIT_RATE:.0f}/s, each of"
        f" an object that one of {SHARES} selections takes: CPU of a commit on the primary"
    )
    measures = [
        Measure(f"{SHARES} selections, a tenth each", ten, "us"),
        Measure("one, which takes all", one, "us"),
        Measure("one, which takes a tenth", tenth, "us"),
        Measure(f"{SHARES} / one which takes all", ten / one, "x", 1.5),
        Measure(f"{SHARES} / one which takes a tenth", ten / tenth, "x", 1.5),
    ]
    return Figure("many-selections", what, measures, costs)


def _known_besides(made: Bed, count: int) -> list[str]:
    """So many devices more are paired with the primary, which is stopped for it; their names."""

    async def pair() -> list[str]:
        database = await SqliteSyncDatabase.open(Home(made.primary.home).sync_database)
        try:
            user = (await database.users())[0].id
            names: list[str] = []
            for number in range(count):
                directory = made.primary.directory / "others" / str(number)
                directory.mkdir(parents=True)
                own = identity.create(Home(directory), f"other-{number}")
                names.append(f"other-{number}")
                paired = (own.certificate_der, "msgpack", (), 1, 1)
                await database.link(user, Device(own.device_id, names[-1], Role.AUXILIARY.value, *paired))
            return names
        finally:
            await database.close()

    made.primary.stop()
    names = asyncio.run(pair())
    made.primary.start()
    return names


def _choose(made: Bed, parts: dict[str, tuple[str, str]]) -> None:
    """Each device takes its part from here on."""
    entries = (Entry("", name, COLLECTION, {"selection": taking(*part)}) for name, part in parts.items())
    made.primary.ask("settings_import", toml=written(entries))


def _commit_us(made: Bed, at: int, commits: int) -> float:
    """CPU of the primary for one commit of an object that is new."""
    made.meter()
    with writer(made.database, _BEYOND + at * commits, commits, COMMIT_RATE) as process:
        returned_ns(process)
    made.until(lambda: all(_is_identical(one) for one in made.auxiliaries), _SETTLED_S_MAX)
    return made.costs()[0].cpu_s / commits * 1e6


# ---------------------------------------------------------------- a selection changes


def moved(setting: Setting) -> Figure:
    """A device that takes half of the objects takes the others as well, and then the first half again; twice."""
    objects = setting.of(100_000)
    half, seconds = share(0, 2), list[float]()
    with bed(setting.directory, 1) as made:
        made.share(objects)
        made.primary.ask("settings_set", name=f"{COLLECTION}.guard.objects", value="1000000000")
        device = made.auxiliaries[0]
        _choose(made, {device.name: half})
        made.dial()
        _settled(made, [half])
        key = _rows(made.database, *share(1, 2), limit=1)[0][0]
        made.meter()
        for comes in (True, False, True, False):
            part = ("0", "g") if comes else half
            seconds.append(_changed(device, made, taking(*part), str(key), comes))
            _settled(made, [part])
        costs = made.costs()
    what = f"a selection changes, half of {objects:,} objects come or go: `syncd settings set` begins -> identical"
    measures = [
        Measure("they come", max(seconds[::2]), "s", 2.5),
        Measure("they go", max(seconds[1::2]), "s", 2.5),
    ]
    return Figure("selection-change", what, measures, costs)


def _changed(device: Machine, made: Bed, selection: str, key: str, comes: bool) -> float:
    """Seconds from the command until the object came or went, in one transaction with all others, and the device is
    proven identical."""
    begin, there = time.monotonic(), "SELECT 1 FROM item WHERE id = ?"
    made.primary.cli("settings", "set", f"{COLLECTION}.selection", selection, "--device", device.name)
    with closing(work.open_application(device.databases[COLLECTION])) as connection:
        made.until(lambda: bool(connection.execute(there, (key,)).fetchone()) is comes, _SETTLED_S_MAX)
    made.until(lambda: _is_identical(device), _SETTLED_S_MAX)
    return time.monotonic() - begin


# ---------------------------------------------------------------- latency


def latency(setting: Setting) -> Figure:
    """Ten devices that take all, by one selection; one of them alone; then ten with a tenth each. What is timed are the
    objects of the first tenth on the first device."""
    objects, count = setting.of(10_000), int(LATENCY_RATE * (3 if setting.quick else 15))
    with bed(setting.directory, SHARES) as made:
        made.share(objects)
        made.primary.ask("settings_set", name=f"{COLLECTION}.guard.objects", value="1000000000")
        others = made.auxiliaries[1:]
        made.dial()
        _settled(made, [("0", "g")] * SHARES)
        together = _visible_ms(made, _BEYOND, count)
        for one in others:
            one.stop()
        alone = _visible_ms(made, _BEYOND + count, count)
        parts = [share(number) for number in range(SHARES)]
        _choose(made, {one.name: part for one, part in zip(made.auxiliaries, parts, strict=True)})
        for one in others:
            one.start()
        _settled(made, parts)
        made.meter()
        ten = _visible_ms(made, _BEYOND + 2 * count, count)
        _settled(made, parts)
        costs = made.costs()
    what = (
        f"commits on the primary at {LATENCY_RATE:.0f}/s, visible on one of {SHARES} devices: with {SHARES} selections,"
    )
    what += " a tenth each, and with one that takes all; and on a single device"
    measures = [Measure(f"{name}, {SHARES} selections", at(ten), "ms") for name, at in _AT]
    measures += [Measure(f"{name}, one selection", at(together), "ms") for name, at in _AT]
    measures += [Measure(f"{name}, one selection and device", at(alone), "ms") for name, at in _AT]
    measures.append(Measure(f"p50, {SHARES} / one selection", median(ten) / median(together), "x", 1.3))
    measures.append(Measure(f"p50, {SHARES} / one selection and device", median(ten) / median(alone), "x"))
    return Figure("selections-latency", what, measures, costs)


def _p99(took: Sequence[float]) -> float:
    return sorted(took)[int(len(took) * 0.99)]


_AT: tuple[tuple[str, Callable[[Sequence[float]], float]], ...] = (("p50", median), ("p99", _p99))


def _visible_ms(made: Bed, first: int, count: int) -> list[float]:
    """Of the commits whose objects the first tenth takes, until they were visible on the first device."""
    begin, end = share(0)
    timed = [at for at in range(count) if begin <= work.key(first + at) < end]
    with writer(made.database, first, count, LATENCY_RATE) as process:
        keys = [work.key(first + at) for at in timed]
        seen = keys_seen_ns(made.auxiliaries[0].databases[COLLECTION], keys, process)
        returned = returned_ns(process)
    return [(there - returned[at]) / 1e6 for at, there in zip(timed, seen, strict=True)]


# ---------------------------------------------------------------- until all is there


def _rows(database: Path, begin: str, end: str, limit: int = -1) -> list[tuple[object, ...]]:
    with closing(work.open_application(database)) as connection:
        query = "SELECT id, body FROM item WHERE id >= ? AND id < ? ORDER BY id LIMIT ?"
        return connection.execute(query, (begin, end, limit)).fetchall()


def _is_identical(machine: Machine) -> bool:
    line = machine.collection(COLLECTION)
    return line.get("state") == "identical" and line.get("position") == line.get("head")


def _settled(made: Bed, parts: Sequence[tuple[str, str]]) -> None:
    """Each device is proven identical and holds just what it takes, row by row."""
    for one, part in zip(made.auxiliaries, parts, strict=True):
        database = one.databases[COLLECTION]
        made.until(partial(_is_settled, made, one, part), _SETTLED_S_MAX)
        if _rows(database, "0", "g") != _rows(made.database, *part):
            raise NotIdentical(f"{one.name} does not hold the keys from {part[0]} to {part[1]}, or others besides")


def _is_settled(made: Bed, machine: Machine, part: tuple[str, str]) -> bool:
    database = machine.databases[COLLECTION]
    return database.exists() and _is_identical(machine) and _count(database) == _taken(made, part)


def _count(database: Path) -> int:
    with closing(work.open_application(database)) as connection:
        there = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'item'").fetchone()
        return int(connection.execute("SELECT count(*) FROM item").fetchone()[0]) if there else -1


def _taken(made: Bed, part: tuple[str, str]) -> int:
    with closing(work.open_application(made.database)) as connection:
        found = connection.execute("SELECT count(*) FROM item WHERE id >= ? AND id < ?", part).fetchone()
        return int(found[0])


FIGURES: dict[str, Callable[[Setting], Figure]] = {
    "many-selections": many,
    "selection-change": moved,
    "selections-latency": latency,
}
