"""What a selection costs, without daemons."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import process_time

from scripts.benchlib.figures import Figure, Measure, Setting
from syncd.core.expression import compiled, parse
from syncd.core.model import DataType
from syncd.core.selection import Selection, chooser

THREE = 'country == "FR" and total >= 10 and name < "N"'
TYPE = DataType(1, "Customer", ("id",), ("country", "total", "name"))
ROUNDS = 7


def expression(setting: Setting) -> Figure:
    """Objects that the expression takes, so that each comparison is made."""
    key, fields = (1,), ("FR", 12, "Bernard")
    objects = setting.of(1_000_000)
    test, values = compiled(parse(THREE), TYPE).test, (*key, *fields)
    takes = chooser(Selection(THREE), (TYPE,)).takes
    by_test = _us_each(lambda: test(values), objects)
    whole = _us_each(lambda: takes(1, key, fields), objects)
    what = f"an expression of three comparisons over an object, {objects:,} times: CPU of one"
    return Figure("expression", what, [Measure("test", by_test, "us", 2.0), Measure("chooser", whole, "us")])


def _us_each(asked: Callable[[], bool], objects: int) -> float:
    each = objects // ROUNDS
    seconds: list[float] = []
    for _ in range(ROUNDS):
        begin = process_time()
        for _ in range(each):
            asked()
        seconds.append(process_time() - begin)
    return median(seconds) / each * 1e6


FIGURES: dict[str, Callable[[Setting], Figure]] = {"expression": expression}
