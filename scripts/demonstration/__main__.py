"""Tells the story, with the time that each step took; ends with 1 where any of it does not hold."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from scripts.demonstration.atlas import Atlas, Data, Given
from scripts.demonstration.stage import COLLECTION, Broken, Machine, compare, must, say, title, wait_for


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


def set_up(desk: Machine, others: list[Machine], data: Data) -> None:
    title(f"1. Three machines. The desk has {data.what}")
    say(f"  {data.build(desk.database)}")
    desk.syncd("init", "--role", "primary", "--user", "ada", "--name", "desk", "--listen", "127.0.0.1:0")
    for problem in desk.told("share", COLLECTION, "--from", f"sqlite:{desk.database}")["problems"]:
        say(f"      not synchronized: {problem}")
    say(f"  desk$ syncd share {COLLECTION} --from sqlite:{desk.database.name}")
    desk.start()
    seconds = desk.wait_identical()
    objects = desk.told("status")["collections"][0]["objects"]
    must(objects > 0, f"the desk's sync store holds {objects:,} objects, imported in {milliseconds(seconds)}")
    for other in others:
        other.syncd("init", "--role", "auxiliary", "--name", other.name)
        other.start()
        token = desk.syncd("pair", "--token").strip()
        other.syncd("pair", token, show=False)
        say(f"  {other.name}$ syncd pair {token[:24]}...")


def bootstrap(desk: Machine, others: list[Machine]) -> None:
    title("2. Both others accept the collection into a database that does not exist yet")
    began = time.monotonic()
    for other in others:
        other.syncd("accept", COLLECTION, "--into", f"sqlite:{other.database}", show=False)
        say(f"  {other.name}$ syncd accept {COLLECTION} --into sqlite:{other.database.name}")
    for other in others:
        other.wait_identical()
    seconds = time.monotonic() - began
    for other in others:
        rows = compare(desk, other)
        must(rows > 0, f"{other.name}: identical, proven by checksum; {rows:,} rows compared one by one")
    say(f"      both in {milliseconds(seconds)}, from the first command on")


def one_transaction(desk: Machine, others: list[Machine], data: Data) -> None:
    title("3. The desk's application commits one transaction")
    with desk.application() as application:
        what, count, rows = data.arrive(application)
    began = time.monotonic()
    for other in others:
        seen: set[int] = set()

        def arrived(other: Machine = other, seen: set[int] = seen) -> bool:
            seen.add(other.ask(count)[0][0])
            return rows in seen

        wait_for(arrived, f"{what} on {other.name}", 0.0005)
        must(seen <= {0, rows}, f"{what} on {other.name} after {milliseconds(time.monotonic() - began)}, never a part")


def away(desk: Machine, others: list[Machine], data: Data) -> None:
    laptop = others[0]
    title("4. The laptop is switched off, the desk goes on working")
    laptop.stop()
    before = desk.head()
    with desk.application() as application:
        what, changes = data.away(application)
    say(f"  {what}: {changes:,} changes in one transaction")
    wait_for(lambda: desk.head() > before, "the desk keeps the changes", 0.05)
    head = desk.head()
    for other in others[1:]:
        must(other.wait_identical(head) >= 0 and compare(desk, other) > 0, f"{other.name} has them")
    began = time.monotonic()
    laptop.start()
    laptop.wait_identical(head)
    seconds = time.monotonic() - began
    must(
        compare(desk, laptop) > 0, f"the laptop caught up, {milliseconds(seconds)} after its start: row by row the same"
    )


def failure(desk: Machine, others: list[Machine], data: Data) -> None:
    laptop, till = others
    rule, undo = data.rule()
    title("5. The till's application has a rule of its own, and a transaction breaks it there")
    with till.application() as application:
        application.execute(rule)
    say(f"  till's database: {rule}")
    before = {other.name: compare(desk, other) for other in others}
    with desk.application() as application:
        what, count, rows = data.collide(application)
    say(f"  the desk commits {what}, {rows} rows in one transaction")
    wait_for(lambda: laptop.ask(count)[0][0] == rows, "the group on the laptop")
    must(compare(desk, laptop) >= before["laptop"], "the laptop has it, whole")
    wait_for(lambda: till.state() == "parked", "the till parks the group", 0.05)
    must(till.ask(count)[0][0] == 0, "on the till it was rolled back, whole: none of its rows is there")
    told = wait_for_failed(desk)
    say(f"      the desk knows: group {told['group']} on {told['device_name']}: {told['outcome']}")
    say(f"      {told['cause']} ({told['type']} {told['key']})")
    must("UNIQUE" in told["cause"], "the reason and the guilty object are named")
    with till.application() as application:
        application.execute(undo)
    say(f"  the till drops its rule: {undo}")
    till.syncd("retry")
    till.wait_identical()
    must(compare(desk, till) > 0, "tried again, the group is applied: all three machines are the same")


def wait_for_failed(desk: Machine) -> dict[str, str]:
    found: list[dict[str, str]] = []

    def there() -> bool:
        found[:] = desk.told("transactions", "--outcome", "rolled-back")["transactions"]
        return bool(found)

    wait_for(there, "the desk is told of the failed group", 0.05)
    return found[0]


def main() -> int:
    data: Data = Given(Path(sys.argv[1]).absolute()) if len(sys.argv) > 1 else Atlas()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="syncd-demo-", dir="/tmp") as place:
        desk, laptop, till = (Machine(name, Path(place)) for name in ("desk", "laptop", "till"))
        others = [laptop, till]
        try:
            set_up(desk, others, data)
            bootstrap(desk, others)
            one_transaction(desk, others, data)
            away(desk, others, data)
            failure(desk, others, data)
            title(f"All of it holds. {time.monotonic() - began:.1f} s")
        except Broken as broken:
            say(f"  BROKEN  {broken}")
            for machine in (desk, laptop, till):
                if machine.log.exists():
                    say(f"--- log of {machine.name}\n{machine.log.read_text()[-3000:]}")
            return 1
        finally:
            for machine in (laptop, till, desk):
                machine.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
