"""Tells the story, with the time that each step took; ends with 1 where any of it does not hold."""

from __future__ import annotations

import argparse
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from scripts.demonstration.atlas import Atlas, Data, Given, Unusable
from scripts.demonstration.parts import one_country
from scripts.demonstration.stage import COLLECTION, Machine, compare, milliseconds, must, say, title, unlike, wait_for
from syncd.cli.fields import Json, number, records, texts
from tests.e2e import shop

FOUND = ("--interface", "lo")  # by mDNS, within this machine


def set_up(desk: Machine, others: list[Machine], data: Data) -> None:
    desk.types("init", "--role", "primary", "--user", "ada", "--name", "desk", "--listen", "127.0.0.1:0", *FOUND)
    place = f"sqlite:{desk.database}"
    told = desk.cli_json("share", COLLECTION, "--from", place)
    say(f"  desk$ syncd share {COLLECTION} --from {place}")
    for problem in texts(told, "problems"):
        say(f"      not synchronized: {problem}")
    desk.runs()
    seconds = desk.identical()
    objects = number(desk.collection(COLLECTION), "objects")
    must(objects > 0, f"the desk's sync store holds {objects:,} objects, imported in {milliseconds(seconds)}")
    for other in others:
        other.types("init", "--role", "auxiliary", "--name", other.name, *FOUND)
        other.runs()
        say("  desk$ syncd pair")
        code = str(desk.ask("pair_open")["code"])
        began = time.monotonic()
        said = other.types("pair", code)
        other.primary = desk
        must(
            said.startswith("paired with desk"), f"found by mDNS and paired in {milliseconds(time.monotonic() - began)}"
        )


def bootstrap(desk: Machine, others: list[Machine], data: Data) -> None:
    began = time.monotonic()
    for other in others:
        other.accept(COLLECTION, other.database)
        say(f"  {other.name}$ syncd accept {COLLECTION} --into sqlite:{other.database}")
    for other in others:
        other.identical()
    seconds = time.monotonic() - began
    for other in others:
        rows = compare(desk, other)
        must(rows > 0, f"{other.name}: identical, proven by checksum; {rows:,} rows compared one by one")
    say(f"      both in {milliseconds(seconds)}, from the first command on")


def one_transaction(desk: Machine, others: list[Machine], data: Data) -> None:
    with shop.application(desk.database) as application:
        what, count, rows = data.arrive(application)
    began = time.monotonic()
    must(rows > 1, f"the desk commits {what}")
    for other in others:
        seen: set[int] = set()

        def arrived(other: Machine = other, seen: set[int] = seen) -> bool:
            seen.add(other.number(count))
            return rows in seen

        wait_for(arrived, f"{what} on {other.name}", 0.0005)
        must(seen <= {0, rows}, f"{what} on {other.name} after {milliseconds(time.monotonic() - began)}, never a part")


def away(desk: Machine, others: list[Machine], data: Data) -> None:
    laptop = others[0]
    laptop.stop()
    before = desk.head()
    with shop.application(desk.database) as application:
        what, changes = data.away(application)
    must(changes > 0, f"{what}: {changes:,} changes in one transaction")
    desk.wait(lambda: desk.head() > before, "keeps the changes")
    head = desk.head()
    for other in others[1:]:
        must(other.identical(head) >= 0 and compare(desk, other) > 0, f"{other.name} has them")
    began = time.monotonic()
    laptop.runs()
    laptop.identical(head)
    took = milliseconds(time.monotonic() - began)
    must(compare(desk, laptop) > 0, f"the laptop caught up, {took} after its start: row by row the same")


def failure(desk: Machine, others: list[Machine], data: Data) -> None:
    laptop, till = others
    rule, undo = data.rule()
    shop.execute(till.database, rule)
    say(f"  till's database: {rule}")
    before = {other.name: compare(desk, other) for other in others}
    with shop.application(desk.database) as application:
        what, count, rows = data.collide(application)
    must(rows > 1, f"the desk commits {what}, {rows} rows in one transaction")
    wait_for(lambda: laptop.number(count) == rows, "the group on the laptop")
    must(compare(desk, laptop) >= before["laptop"], "the laptop has it, whole")
    till.wait(lambda: till.state() == "parked", "parks the group")
    must(till.number(count) == 0, "on the till it was rolled back, whole: none of its rows is there")
    told = wait_for_failed(desk)
    say(f"      the desk knows: group {told['group']} on {told['device_name']}: {told['outcome']}")
    say(f"      {told['cause']} ({told['type']} {told['key']})")
    must("UNIQUE" in str(told["cause"]), "the reason and the guilty object are named")
    shop.execute(till.database, undo)
    say(f"  the till drops its rule: {undo}")
    till.types("retry")
    till.identical()
    must(compare(desk, till) > 0, "tried again, the group is applied: all three machines are the same")


def both_sides(desk: Machine, others: list[Machine], data: Data) -> None:
    laptop, till = others
    with shop.application(laptop.database) as application:
        what, count = data.write(application, "by the laptop")
    began = time.monotonic()
    say(f"  the laptop's application writes {what}")
    for other in (desk, till):
        wait_for(lambda: other.number(count) == 1, f"{what} on {other.name}", 0.0005)  # noqa: B023
        must(True, f"the {other.name} has it after {milliseconds(time.monotonic() - began)}")
    laptop.stop()
    counts: dict[str, str] = {}
    for machine in (laptop, desk):
        with shop.application(machine.database) as application:
            what, counts[machine.name] = data.write(application, f"as the {machine.name} has it")
        say(f"  apart, the {machine.name}'s application writes {what}")
    laptop.runs()
    conflict = wait_for_conflict(desk)
    wait_for(lambda: laptop.number(counts["desk"]) == 1, "the desk's version on the laptop")
    must(True, "the desk's version is on all machines, the laptop's is kept as a conflict")
    for line in desk.types("conflicts", "show", conflict).splitlines():
        say(f"      {line.rstrip()}")
    desk.types("resolve", conflict, "--take", "theirs")
    for machine in (desk, laptop, till):
        wait_for(lambda: machine.number(counts["laptop"]) == 1, f"the laptop's version on {machine.name}")  # noqa: B023
    must(True, "settled by hand: the laptop's version is on all machines")
    undone(desk, others, data)


def undone(desk: Machine, others: list[Machine], data: Data) -> None:
    before = desk.head()
    with shop.application(desk.database) as application:
        what, count, rows = data.mistake(application)
    desk.wait(lambda: desk.head() >= before + rows, "keeps the changes")  # each has a number
    for other in others:
        other.identical(desk.head())
        must(other.number(count) == rows, f"a mistake on the desk, and the {other.name} has it: {what}")
    desk.types("undo", f"{COLLECTION}:{desk.head()}")
    for machine in (desk, *others):
        wait_for(lambda: machine.number(count) == 0, f"the undo on {machine.name}")  # noqa: B023
    for other in others:
        other.identical(desk.head())
        must(compare(desk, other) > 0, f"undone everywhere: the {other.name} is as the desk, row by row")


def wait_for_conflict(desk: Machine) -> str:
    found: list[Json] = []

    def there() -> bool:
        found[:] = records(desk.ask("conflicts"), "conflicts")
        return bool(found)

    desk.wait(there, "keeps the conflict")
    return str(found[0]["id"])


def lost(desk: Machine, others: list[Machine], data: Data) -> None:
    laptop, till = others
    began = time.monotonic()
    told = desk.types("revoke", "till")
    till.wait(lambda: "cut this device off" in till.why_apart(), "learns that it is revoked")
    must(
        "it held" in told,
        f"the till is cut off and knows it, {milliseconds(time.monotonic() - began)} after the command",
    )
    for line in told.splitlines()[1:]:
        say(f"      {line.strip()}")
    before = desk.head()
    with shop.application(desk.database) as application:
        what, changes = data.away(application)
    must(changes > 0, f"after that, {what}")
    desk.wait(lambda: desk.head() > before, "keeps the changes")
    laptop.identical(desk.head())
    must(compare(desk, laptop) > 0, "the laptop has that")
    must(bool(unlike(desk, till)), "the till has nothing of it")


def wait_for_failed(desk: Machine) -> Json:
    found: list[Json] = []

    def there() -> bool:
        found[:] = records(desk.ask("transactions", outcome="rolled-back"), "transactions")
        return bool(found)

    desk.wait(there, "is told of the failed group")
    return found[0]


STEPS: list[tuple[str, Callable[[Machine, list[Machine], Data], None]]] = [
    ("Three machines. The desk has {what}", set_up),
    ("Both others accept the collection into a database that does not exist yet", bootstrap),
    ("The desk's application commits one transaction", one_transaction),
    ("The laptop is switched off, the desk goes on working", away),
    ("The till's application has a rule of its own, and a transaction breaks it there", failure),
    ("The laptop's application writes too, and so do both at once", both_sides),
    ("The till takes a part only", one_country),
    ("The till is stolen", lost),
]


def tell(machines: list[Machine], data: Data) -> int:
    """The whole story; 1 where a step does not hold, with the logs of the machines."""
    desk, *others = machines
    began = time.monotonic()
    about = data.build(desk.database)
    for place, (heading, step) in enumerate(STEPS, 1):
        title(f"{place}. {heading.format(what=data.what)}")
        if step is set_up:
            say(f"  {about}")
        try:
            step(desk, others, data)
        except (AssertionError, sqlite3.Error) as error:
            for machine in machines:
                say(f"--- log of {machine.name}\n{machine.log_end()}")
            say(f"BROKEN  step {place} ({step.__name__}) does not hold: {error}")
            return 1
    for machine in machines:
        machine.stop()
    title(f"All of it holds. {time.monotonic() - began:.1f} s")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/demo", description="Three machines on this one, and their data.")
    parser.add_argument("path", metavar="PATH", nargs="?", type=Path, help="an SQLite database; a copy of it is used")
    given: Path | None = parser.parse_args().path
    data: Data = Given(given.absolute()) if given else Atlas()
    with tempfile.TemporaryDirectory(prefix="syncd-demo-", dir="/tmp") as place, ExitStack() as stack:
        machines = [stack.enter_context(Machine(name, Path(place))) for name in ("desk", "laptop", "till")]
        try:
            return tell(machines, data)
        except Unusable as error:
            print(f"scripts/demo: {error}", file=sys.stderr)
            return 1


if __name__ == "__main__":
    sys.exit(main())
