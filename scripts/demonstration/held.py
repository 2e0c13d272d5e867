"""A mass delete by mistake: it is held, shown and rejected, and everything else goes on."""

from __future__ import annotations

from scripts.demonstration.atlas import Data
from scripts.demonstration.stage import COLLECTION, Machine, must, say, wait_for
from syncd.cli.fields import number, records, text
from tests.e2e import shop

SHOWN = 3  # lines of what is held


def mass_delete(desk: Machine, others: list[Machine], data: Data) -> None:
    with shop.application(desk.database) as application:
        what, count = data.lose(application)
    say(f"  the desk's application deletes {what}")
    left = desk.number(count)
    had = {other.name: other.number(count) for other in others}
    before = max(had.values())
    desk.wait(lambda: gone(desk) == before - left, "holds the deletion")
    for line in desk.types("held").splitlines()[:SHOWN]:
        say(f"      {line}")
    with shop.application(desk.database) as application:
        other_change, arrived = data.write(application, "meanwhile")
    for other in others:
        wait_for(lambda: other.number(arrived) == 1, f"{other_change} on {other.name}")  # noqa: B023
        must(other.number(count) == had[other.name] > left, f"the {other.name} has all of it, and {other_change}")
    group = text(desk.collection(COLLECTION), "held")
    desk.types("reject", group)
    must(desk.number(count) > left, "rejected: the desk's application has it again")
    desk.wait(lambda: desk.state() == "identical", "holds nothing back")
    for other in others:
        other.identical(desk.head())
        must(other.number(count) == had[other.name], f"the {other.name} never noticed")


def gone(desk: Machine) -> int:
    """How many deleted objects are held."""
    return sum(number(one, "gone") for one in records(desk.ask("held"), "held"))
