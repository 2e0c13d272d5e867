"""Redis: a primary and a replica with ``appendfsync always``, plain TCP on loopback, if redis-server is installed."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Iterable
from contextlib import ExitStack, closing
from pathlib import Path

from scripts.benchlib import probe, work
from scripts.benchlib.figures import RATE, Figure, Measure, Setting
from scripts.benchlib.peers.bare import free_port
from scripts.benchlib.peers.common import Absent, latencies, process, wait
from scripts.benchlib.probe import Cost

_PIPELINE = 1_000


def measure(setting: Setting) -> list[Figure]:
    if shutil.which("redis-server") is None:
        raise Absent("redis-server is not on the path")
    objects = setting.of(100_000)
    with ExitStack() as stack:
        primary = _Server(setting.directory / "primary", stack)
        primary.many(("SET", *row) for row in work.rows(0, objects))
        replica = _Server(setting.directory / "replica", stack)
        begin = time.monotonic()
        replica.call("REPLICAOF", "127.0.0.1", str(primary.port))
        seconds = wait(lambda: replica.linked() and replica.holds(objects - 1), "full synchronization") - begin
        figures = [
            _figure("bootstrap", f"full synchronization of {objects:,} keys", [Measure("bootstrap", seconds, "s")]),
            _catchup(setting, primary, replica, objects),
            _latency(setting, primary, replica, objects),
            _stream(setting, primary, replica, 2 * objects),
        ]
        figures[-1].daemons.extend([primary.cost("primary, all figures"), replica.cost("replica, all figures")])
    return figures


def _figure(name: str, what: str, measures: list[Measure]) -> Figure:
    return Figure(f"redis: {name}", what, measures)


def _catchup(setting: Setting, primary: _Server, replica: _Server, objects: int) -> Figure:
    """The replica is told another, absent primary, and then the right one again: a partial synchronization."""
    changes = setting.of(20_000)
    replica.call("REPLICAOF", "127.0.0.1", str(free_port()))
    primary.many(("SET", work.key(number), work.body(number, 1)) for number in range(0, objects, objects // changes))
    last = (changes - 1) * (objects // changes)
    begin = time.monotonic()
    replica.call("REPLICAOF", "127.0.0.1", str(primary.port))
    seconds = wait(lambda: replica.linked() and replica.holds(last, 1), "catch-up") - begin
    return _figure("catchup", f"catch-up after {changes:,} modifications", [Measure("catch-up", seconds, "s")])


def _latency(setting: Setting, primary: _Server, replica: _Server, first: int) -> Figure:
    count = int(RATE * (2 if setting.quick else 10))

    def commit(number: int) -> None:
        primary.call("SET", *next(work.rows(first + number, 1)))

    measures = latencies(commit, lambda number: replica.holds(first + number), count)
    return _figure("latency", f"SET at {RATE:.0f}/s: answered -> visible on the replica", measures)


def _stream(setting: Setting, primary: _Server, replica: _Server, first: int) -> Figure:
    count = setting.of(50_000)
    begin = time.monotonic()
    for row in work.rows(first, count):
        primary.call("SET", *row)
    end = time.monotonic()
    seconds = wait(lambda: replica.holds(first + count - 1), "the stream arrives") - end
    measures = [Measure("last SET -> visible", seconds, "s"), Measure("commits", count / (end - begin), "/s")]
    return _figure("stream", f"{count:,} SETs, one by one", measures)


class _Server:
    """One redis-server with a connection to it."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        directory.mkdir()
        self.port = free_port()
        options = ("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(directory), "--save", "")
        durable = ("--appendonly", "yes", "--appendfsync", "always", "--repl-backlog-size", "256mb")
        sync = ("--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0")
        self._process = stack.enter_context(process(["redis-server", *options, *durable, *sync], directory / "log"))
        wait(self._connects, "redis-server answers")
        self._link = stack.enter_context(closing(socket.create_connection(("127.0.0.1", self.port), 60.0)))
        self._link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._answers = stack.enter_context(closing(self._link.makefile("rb")))

    def call(self, *words: str) -> bytes | None:
        self._link.sendall(_request(words))
        return self._answer()

    def many(self, requests: Iterable[tuple[str, ...]]) -> None:
        """In pipelines."""
        waiting: list[bytes] = []
        for words in requests:
            waiting.append(_request(words))
            if len(waiting) == _PIPELINE:
                self._flush(waiting)
        self._flush(waiting)

    def holds(self, number: int, version: int = 0) -> bool:
        return self.call("GET", work.key(number)) == work.body(number, version).encode()

    def linked(self) -> bool:
        return b"master_link_status:up" in (self.call("INFO", "replication") or b"")

    def cost(self, name: str) -> Cost:
        return Cost(name, probe.peak_rss_mib(self._process.pid), probe.cpu_s(self._process.pid))

    def _flush(self, waiting: list[bytes]) -> None:
        self._link.sendall(b"".join(waiting))
        for _ in waiting:
            self._answer()
        waiting.clear()

    def _answer(self) -> bytes | None:
        line = self._answers.readline()
        if line[:1] == b"$":
            length = int(line[1:])
            return None if length < 0 else self._answers.read(length + 2)[:-2]
        if line[:1] not in (b"+", b":"):
            raise RuntimeError(f"redis-server said {line!r}")
        return line[1:-2]

    def _connects(self) -> bool:
        with socket.socket() as trial:
            return trial.connect_ex(("127.0.0.1", self.port)) == 0


def _request(words: Iterable[str]) -> bytes:
    parts = [word.encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)
