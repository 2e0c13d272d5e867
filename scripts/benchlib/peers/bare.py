"""The bare script: SQLite -> msgpack -> websocket with TLS -> SQLite, two processes, none of syncd's rules."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from contextlib import ExitStack, closing
from pathlib import Path

from scripts.benchlib import probe, work
from scripts.benchlib.bed import Arrival
from scripts.benchlib.figures import RATE, Figure, Measure, Setting
from scripts.benchlib.peers.common import latencies, process, wait
from scripts.benchlib.probe import Cost
from syncd.home import identity
from syncd.home.paths import Home
from tests.e2e.compare import differences


def measure(setting: Setting) -> list[Figure]:
    return [_bootstrap(setting), _latency(setting)]


class _Ends:
    """Sender and receiver, linked; the sender was frozen until the receiver had dialed."""

    def __init__(self, directory: Path, objects: int, stack: ExitStack) -> None:
        self.source, self.target = directory / "source.db", directory / "target.db"
        work.create(self.source, objects)
        home = Home(directory / "home")
        home.create()
        identity.create(home, "bare")
        port, log = free_port(), directory / "log"
        arguments = (sys.executable, "-m", "scripts.benchlib.peers.bare_end")
        end = (str(port), str(home.identity))
        self.sender = stack.enter_context(process([*arguments, "send", str(self.source), *end], log))
        wait(lambda: _listens(port), "the sender listens")
        os.kill(self.sender.pid, signal.SIGSTOP)
        try:
            self.receiver = stack.enter_context(process([*arguments, "receive", str(self.target), *end], log))
            wait(lambda: probe.connections_to(port) > 0, "the receiver dials")
        finally:
            os.kill(self.sender.pid, signal.SIGCONT)
        self.began = time.monotonic()

    def wait_row(self, number: int) -> float:
        with closing(Arrival(self.target, next(work.rows(number, 1)))) as arrival:
            return wait(arrival.there, "the last row arrives")

    def costs(self) -> list[Cost]:
        ends = (("sender", self.sender.pid), ("receiver", self.receiver.pid))
        return [Cost(name, probe.peak_rss_mib(pid), probe.cpu_s(pid)) for name, pid in ends]


def _bootstrap(setting: Setting) -> Figure:
    objects = setting.of(100_000)
    directory = setting.directory / "bootstrap"
    directory.mkdir()
    with ExitStack() as stack:
        ends = _Ends(directory, objects, stack)
        seconds = ends.wait_row(objects - 1) - ends.began
        costs = ends.costs()
        if found := differences(ends.source, ends.target):
            raise AssertionError(found[0])
    what = f"{objects:,} objects: dial -> all there, batches of 500"
    return Figure("bare script: bootstrap", what, [Measure("bootstrap", seconds, "s")], costs)


def _latency(setting: Setting) -> Figure:
    objects, count = setting.of(10_000), int(RATE * (2 if setting.quick else 10))
    directory = setting.directory / "latency"
    directory.mkdir()
    with ExitStack() as stack:
        ends = _Ends(directory, objects, stack)
        ends.wait_row(objects - 1)
        application = stack.enter_context(closing(work.open_application(ends.source, any_thread=True)))
        reader = stack.enter_context(closing(work.open_application(ends.target)))

        def commit(number: int) -> None:
            application.execute(work.UPSERT, next(work.rows(objects + number, 1)))

        def visible(number: int) -> bool:
            asked = (work.key(objects + number),)
            return reader.execute("SELECT 1 FROM item WHERE id = ?", asked).fetchone() is not None

        measures = latencies(commit, visible, count)
        costs = ends.costs()
    what = f"single-row commits at {RATE:.0f}/s: commit returned -> visible at the receiver"
    return Figure("bare script: latency", what, measures, costs)


def free_port() -> int:
    with socket.socket() as probing:
        probing.bind(("127.0.0.1", 0))
        found: int = probing.getsockname()[1]
        return found


def _listens(port: int) -> bool:
    with socket.socket() as trial:
        return trial.connect_ex(("127.0.0.1", port)) == 0
