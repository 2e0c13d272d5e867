"""A till that takes a part of the collection, then another part, which is seen beforehand, then all again."""

from __future__ import annotations

import re
import time

from scripts.demonstration.atlas import Data
from scripts.demonstration.stage import COLLECTION, Machine, compare, milliseconds, must, say, wait_for

VERB_S_MAX = 60.0
SHOWN = 6  # lines of a preview


def one_country(desk: Machine, others: list[Machine], data: Data) -> None:
    laptop, till = others
    parts, everything = data.parts(desk.database)
    if not parts:
        say("      another table references that one: a part of it alone could not stand, so this step is left out")
    for chooses, (what, selection, count) in zip((choose, choose_seen), parts, strict=False):
        began = time.monotonic()
        chooses(desk, f"{COLLECTION}.selection", selection)
        rows = desk.number(count)
        wait_for(lambda: till.number(everything) == rows == till.number(count), f"{what} on the till")  # noqa: B023
        till.identical(desk.head())
        took = milliseconds(time.monotonic() - began)
        must(rows > 0, f"the till holds {what}, {rows:,} rows and nothing else, {took} after the command")
        must(compare(desk, laptop) > rows, "the laptop noticed nothing")
    if parts:
        desk.types("settings", "unset", f"{COLLECTION}.selection", "--device", till.name)
        wait_for(lambda: till.number(everything) == desk.number(everything), "all of it on the till")
        till.identical(desk.head())
        must(compare(desk, till) > 0, "the till takes all again, row by row the same")


def choose(desk: Machine, name: str, selection: str) -> None:
    """A choice that takes very much away from a device is held until a person decides."""
    words = ("settings", "set", name, selection, "--device", "till")
    say(f"  desk$ syncd settings set {name} '{selection}' --device till")
    asked = desk.begin(*words)
    said = asked.communicate(timeout=VERB_S_MAX)[0]
    if held := re.search(r"`syncd approve (settings-\d+)`", said):
        say(f"      {said.strip().splitlines()[0]}")
        desk.types("approve", held[1])
    else:
        must(asked.returncode == 0, "it holds at once")


def choose_seen(desk: Machine, name: str, selection: str) -> None:
    """What a choice would do is looked at, and then just that is done."""
    words = ("preview", "settings", "set", name, selection, "--device", "till")
    shown = f"preview settings set {name} '{selection}' --device till"
    foreseen = desk.types(*words, shown=shown)
    for line in foreseen.splitlines()[:SHOWN]:
        say(f"      {line}")
    found = re.search(r"--apply (\S+)", foreseen)
    must(found is not None, "a preview ends with what it is done by")
    if found is not None:
        desk.types(*words, "--apply", found[1], shown=f"{shown} --apply {found[1]}")
