"""Three homes on this machine, driven through the command line as a person would, and what they print."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

COLLECTION = "atlas"
WAIT_S_MAX = 30.0
PLAIN = not sys.stdout.isatty() or "NO_COLOR" in os.environ


class Broken(Exception):
    """Something that the demonstration shows does not hold."""


def say(text: str = "") -> None:
    print(text, flush=True)


def title(text: str) -> None:
    say()
    say(text if PLAIN else f"\033[1m{text}\033[0m")


def must(holds: bool, what: str) -> None:
    """Says what holds; ends the demonstration where it does not."""
    if not holds:
        raise Broken(what)
    say(f"  ok  {what}")


def wait_for(condition: Callable[[], bool], what: str, step_s: float = 0.005) -> float:
    """Seconds until the condition holds."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > WAIT_S_MAX:
            raise Broken(f"{what}: not within {WAIT_S_MAX:.0f} s")
        time.sleep(step_s)
    return time.monotonic() - began


class Machine:
    """A home with its daemon and the application's database."""

    def __init__(self, name: str, place: Path) -> None:
        self.name = name
        self.home = place / name
        self.database = place / f"{name}-atlas.db"
        self.log = place / f"{name}.log"
        self._daemon: subprocess.Popen[bytes] | None = None

    def syncd(self, *args: str, show: bool = True) -> str:
        """One command; its output."""
        if show:
            say(f"  {self.name}$ syncd {' '.join(args)}")
        command = [sys.executable, "-m", "syncd", "--home", str(self.home), *args]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            raise Broken(f"syncd {' '.join(args)} on {self.name}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def told(self, *args: str) -> Any:
        return json.loads(self.syncd(*args, "--json", show=False))

    def start(self) -> None:
        say(f"  {self.name}$ syncd run &")
        with self.log.open("ab") as log:
            self._daemon = subprocess.Popen(
                [sys.executable, "-m", "syncd", "--home", str(self.home), "run"], stdout=log, stderr=log
            )
        wait_for(self._answers, f"the daemon of {self.name} answers", 0.05)

    def _answers(self) -> bool:
        if self._daemon is None or self._daemon.poll() is not None:
            raise Broken(f"the daemon of {self.name} ended: see {self.log}")
        return (self.home / "syncd.sock").exists()

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self._daemon is not None and self._daemon.poll() is None:
            self._daemon.send_signal(how)
            try:
                self._daemon.wait(10)
            except subprocess.TimeoutExpired:
                self._daemon.kill()
                self._daemon.wait(10)
        self._daemon = None

    def state(self) -> str:
        """State of the collection here, as this machine's daemon says."""
        return next((str(one["state"]) for one in self.told("status")["collections"]), "none")

    def head(self) -> int:
        """The newest sequence number that this machine's daemon knows."""
        return int(self.told("status")["collections"][0]["head"])

    def wait_identical(self, at_least: int = 0) -> float:
        """Until the collection is identical, at this sequence number or a later one."""
        return wait_for(
            lambda: self.state() == "identical" and self.head() >= at_least, f"{self.name} is identical", 0.05
        )

    @contextmanager
    def application(self) -> Iterator[sqlite3.Connection]:
        """What the application on this machine does: one transaction on its own database."""
        connection = sqlite3.connect(self.database, timeout=10)
        try:
            connection.execute("PRAGMA foreign_keys=ON")
            with connection:
                yield connection
        finally:
            connection.close()

    def ask(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(self.database, timeout=10)
        try:
            return connection.execute(sql, values).fetchall()
        except sqlite3.OperationalError:
            return []  # not there yet
        finally:
            connection.close()


def tables(machine: Machine) -> list[str]:
    found = machine.ask("SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' ORDER BY name")
    keyed = [name for (name,) in found if not name.startswith(("sqlite_", "_syncd_"))]
    return [name for name in keyed if machine.ask("SELECT 1 FROM pragma_table_info(?) WHERE pk", name)]


def compare(one: Machine, other: Machine) -> int:
    """Rows compared, each with each column and its type; raises Broken at a difference."""
    rows = 0
    for table in tables(one):
        columns = [name for (name,) in one.ask("SELECT name FROM pragma_table_info(?)", table)]
        order = ", ".join(f'"{name}"' for name in columns)
        typed = ", ".join(f'typeof("{name}")' for name in columns)
        query = f'SELECT {order}, {typed} FROM "{table}" ORDER BY {order}'
        first, second = one.ask(query), other.ask(query)
        if first != second:
            raise Broken(f"table {table} differs between {one.name} and {other.name}")
        rows += len(first)
    return rows
