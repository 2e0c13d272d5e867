"""The test bed: daemons in their homes, the clock between two events, and proof that the databases are equal."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from scripts.benchlib import probe, work
from scripts.benchlib.probe import Cost
from tests.e2e.compare import differences
from tests.e2e.harness import ROOT, Fleet, Machine

COLLECTION = "items"
DEADLINE_S = 600.0
_POLL_S = 0.002
_SEEN_POLL_S = 0.0005  # a watcher looks so often
_STATUS_POLL_S = 0.01
_IDLE_S, _IDLE_CPU_S = 1.0, 0.05  # it idles where it needed no more processor time in so long

Row = tuple[str, str]


class NotIdentical(Exception):
    """The databases differ after the daemons said that they do not."""


class Bed:
    """A fleet whose auxiliaries are paired, have accepted the collection and are stopped."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.primary = fleet.primary
        self.auxiliaries = fleet.auxiliaries
        self.database = self.primary.directory / "application.db"
        self._before: dict[str, float] = {}
        for auxiliary in self.auxiliaries:
            auxiliary.stop()
            auxiliary.accept(COLLECTION)

    def share(self, objects: int) -> float:
        """Makes the application's database and shares it. Seconds until the primary holds all objects."""
        work.create(self.database, objects)
        self.meter()
        begin = time.monotonic()
        self.primary.ask("share", name=COLLECTION, kind="sqlite", path=str(self.database), tables=[])
        self.primary.databases[COLLECTION] = self.database
        self.wait_captured(objects)
        return time.monotonic() - begin

    def wait_captured(self, objects: int, head_after: int = 0) -> int:
        """Until the primary holds so many objects and all changes above ``head_after``; returns the head."""
        while True:
            line = self.primary.collection(COLLECTION)
            head = line.get("head")
            captured = line.get("state") == "identical" and line.get("objects") == objects
            if captured and isinstance(head, int) and head > head_after:
                return head
            self._check_alive()
            time.sleep(_STATUS_POLL_S)

    def dial(self) -> float:
        """Starts the auxiliaries. The primary is frozen until each has dialed, so that the start of their processes
        does not count; returns the moment at which it goes on."""
        port = self.port()
        with self.primary.frozen():
            for auxiliary in self.auxiliaries:
                auxiliary.start(wait=False)
            for auxiliary in self.auxiliaries:
                auxiliary.wait_started()
            while probe.connections_to(port) < len(self.auxiliaries):
                self._check_alive()
                time.sleep(_POLL_S)
            self.meter()
            return time.monotonic()

    def port(self) -> int:
        """Where the primary listens."""
        return int(str(self.primary.status()["address"]).rpartition(":")[2])

    def until_idle(self, machine: Machine) -> None:
        """Until a daemon has nothing to do."""
        spent = -1.0
        while (now := probe.cpu_s(machine.pid)) - spent > _IDLE_CPU_S:
            spent = now
            time.sleep(_IDLE_S)

    def wait_identical(self, last: Row, deadline_s: float = DEADLINE_S) -> list[float]:
        """Until each auxiliary's application has the row and its daemon says ``identical``: the moment for each.

        The daemon is asked only once the row is there: before that only the application's database is looked at.
        """
        end = time.monotonic() + deadline_s
        moments: dict[str, float] = {}
        arrivals = [Arrival(auxiliary.databases[COLLECTION], last) for auxiliary in self.auxiliaries]
        try:
            while len(moments) < len(self.auxiliaries):
                for auxiliary, arrival in zip(self.auxiliaries, arrivals, strict=True):
                    if auxiliary.name not in moments and arrival.there() and _says_identical(auxiliary):
                        moments[auxiliary.name] = time.monotonic()
                self._check_alive()
                if time.monotonic() > end:
                    raise TimeoutError(f"not identical within {deadline_s} s: {self._states()}")
                time.sleep(_STATUS_POLL_S if any(one.arrived for one in arrivals) else _POLL_S)
        finally:
            for arrival in arrivals:
                arrival.close()
        return list(moments.values())

    def until(self, condition: Callable[[], bool], deadline_s: float = DEADLINE_S / 10) -> None:
        end = time.monotonic() + deadline_s
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(f"not so within {deadline_s} s: {self._states()}")
            time.sleep(_STATUS_POLL_S)

    def verify(self) -> None:
        """Compares each auxiliary's database with the primary's, row by row."""
        for auxiliary in self.auxiliaries:
            if found := differences(self.database, auxiliary.databases[COLLECTION]):
                raise NotIdentical(f"{auxiliary.name}: {found[0]}")

    def meter(self) -> None:
        """From here on processor time counts."""
        self._before = {one.name: probe.cpu_s(one.pid) for one in self._running()}

    def costs(self) -> list[Cost]:
        """What each daemon needed since ``meter``."""
        return [
            Cost(one.name, probe.peak_rss_mib(one.pid), probe.cpu_s(one.pid) - self._before.get(one.name, 0.0))
            for one in self._running()
        ]

    def _running(self) -> list[Machine]:
        return [machine for machine in (self.primary, *self.auxiliaries) if machine.running]

    def _check_alive(self) -> None:
        for machine in (self.primary, *self.auxiliaries):
            if machine.process is not None and machine.process.poll() not in (None, 0):
                raise RuntimeError(f"{machine.name} ended with {machine.process.returncode}\n{machine.log_end()}")

    def _states(self) -> str:
        return ", ".join(f"{one.name} {one.collection(COLLECTION)}" for one in (self.primary, *self.auxiliaries))


class Arrival:
    """Looks whether a row is in an auxiliary's application. Costs the daemon nothing."""

    def __init__(self, database: Path, row: Row) -> None:
        self.arrived = False
        self._database = database
        self._row = row
        self._connection: sqlite3.Connection | None = None
        self._version = -1

    def there(self) -> bool:
        if not self.arrived:
            self.arrived = self._look()
        return self.arrived

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _look(self) -> bool:
        if self._connection is None:
            if not self._database.exists():
                return False
            self._connection = sqlite3.connect(self._database, isolation_level=None, timeout=0.0)
        try:
            version = self._connection.execute("PRAGMA data_version").fetchone()[0]
            if version == self._version:
                return False
            found = self._connection.execute("SELECT body FROM item WHERE id = ?", self._row[:1]).fetchone()
            self._version = version
        except sqlite3.OperationalError:
            return False  # it is being made
        return bool(found and found[0] == self._row[1])


@contextmanager
def bed(directory: Path, auxiliaries: int) -> Iterator[Bed]:
    with Fleet(directory, auxiliaries) as fleet:
        yield Bed(fleet)


@contextmanager
def filled(directory: Path, auxiliaries: int, objects: int) -> Iterator[Bed]:
    """A bed in which all hold the same objects and all are linked."""
    with bed(directory, auxiliaries) as made:
        made.share(objects)
        made.dial()
        made.wait_identical(next(work.rows(objects - 1, 1)))
        yield made


@contextmanager
def writer(database: Path, first: int, count: int, rate: float = 0.0) -> Iterator[subprocess.Popen[str]]:
    """The application: commits rows one by one in a process of its own."""
    arguments: Sequence[str] = (str(database), "--first", str(first), "--count", str(count), "--rate", str(rate))
    process = subprocess.Popen(
        [sys.executable, "-m", "scripts.benchlib.writer", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def returned_ns(process: subprocess.Popen[str]) -> list[int]:
    """When each commit of a writer had returned; waits until it is done."""
    told, _ = process.communicate(timeout=DEADLINE_S)
    if process.returncode:
        raise RuntimeError(f"the application ended with {process.returncode}")
    found: list[int] = json.loads(told)["returned_ns"]
    return found


def seen_ns(database: Path, first: int, count: int, process: subprocess.Popen[str]) -> list[int]:
    """When each row of a writer was visible in a database."""
    return keys_seen_ns(database, [work.key(first + number) for number in range(count)], process)


def keys_seen_ns(database: Path, keys: Sequence[str], process: subprocess.Popen[str]) -> list[int]:
    """When each of these rows of a writer was visible in a database, in their order, seen by a connection that looks
    every half of a millisecond: it is told by so much too late at most. More often it would take a core from those it
    watches."""
    count = len(keys)
    seen: list[int] = []
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        version, until = -1, float("inf")
        while len(seen) < count and time.monotonic() < until:
            now = connection.execute("PRAGMA data_version").fetchone()[0]
            while now != version and len(seen) < count and _there(connection, keys[len(seen)]):
                seen.append(time.monotonic_ns())
            version = now
            if until == float("inf") and process.poll() is not None:
                until = time.monotonic() + DEADLINE_S / 10
            time.sleep(_SEEN_POLL_S)
    if len(seen) < count:
        raise TimeoutError(f"{count - len(seen)} of {count} rows did not arrive")
    return seen


def _there(connection: sqlite3.Connection, key: str) -> bool:
    return connection.execute("SELECT 1 FROM item WHERE id = ?", (key,)).fetchone() is not None


def _says_identical(auxiliary: Machine) -> bool:
    line = auxiliary.collection(COLLECTION)
    return line.get("state") == "identical" and line.get("position") == line.get("head")
