"""Machines on this machine, driven through the command line as a person would, and what they print."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from scripts.demonstration.atlas import KEYED
from syncd.cli.fields import number, records, text
from tests.e2e import harness, shop
from tests.e2e.compare import count, differences

COLLECTION = "atlas"
WAIT_S_MAX = 60.0
PLAIN = not sys.stdout.isatty() or "NO_COLOR" in os.environ


class Broken(AssertionError):
    """Something that the demonstration shows does not hold."""


def say(text: str = "") -> None:
    print(text, flush=True)


def title(text: str) -> None:
    say()
    say(text if PLAIN else f"\033[1m{text}\033[0m")


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


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


class Machine(harness.Machine):
    """A home with its daemon and the application's database. What a person would type is shown."""

    def __init__(self, name: str, place: Path) -> None:
        super().__init__(place / name)
        self.database = self.directory / "atlas.db"

    def types(self, *args: str, shown: str = "") -> str:
        """One command as a person types it; its output. ``shown``: instead of the arguments."""
        say(f"  {self.name}$ syncd {shown or ' '.join(args)}")
        return self.cli(*args)

    def runs(self) -> None:
        say(f"  {self.name}$ syncd run &")
        self.start()

    def state(self) -> str:
        """State of the collection here, as this machine's daemon says."""
        return text(self.collection(COLLECTION), "state")

    def head(self) -> int:
        """The newest sequence number that this machine's daemon knows."""
        return number(self.collection(COLLECTION), "head")

    def why_apart(self) -> str:
        """Why an auxiliary is not connected."""
        return " ".join(text(one, "reason") for one in records(self.status(), "devices"))

    def identical(self, at_least: int = 0) -> float:
        """Seconds until the collection is identical, at this sequence number or a later one."""

        def reached() -> bool:
            line = self.collection(COLLECTION)  # asked once: between two questions more may have come
            return text(line, "state") == "identical" and number(line, "head") >= at_least

        began = time.monotonic()
        self.wait(reached, "is identical", WAIT_S_MAX)
        return time.monotonic() - began

    def number(self, sql: str) -> int:
        """What the machine's database answers to a query for one number."""
        ((found,),) = shop.ask(self.database, sql)
        return int(str(found))


def unlike(one: Machine, other: Machine) -> list[str]:
    """Where the two differ, row by row."""
    return differences(one.database, other.database, _tables(one))


def compare(one: Machine, other: Machine) -> int:
    """Rows compared, each with each column and its type; raises Broken at a difference."""
    if found := unlike(one, other):
        raise Broken(f"{one.name} and {other.name} differ: {found[0]}")
    return sum(count(one.database, table) for table in _tables(one))


def _tables(machine: Machine) -> tuple[str, ...]:
    return tuple(str(name) for (name,) in shop.ask(machine.database, KEYED))
