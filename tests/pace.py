"""How fast this machine is at this moment.

The times that the product promises are those of a usual machine: a test that asserts one multiplies it by this;
`scripts/bench` measures them as they are.
"""

from __future__ import annotations

import time
from statistics import median

_USUAL_S = 0.06  # what the work takes on a usual machine
_TIMES = 5


def slower() -> float:
    """By how much this machine is slower, at least 1."""
    return max(1.0, median(_work_s() for _ in range(_TIMES)) / _USUAL_S)


def _work_s() -> float:
    begin = time.perf_counter()
    total = 0
    for number in range(1_000_000):
        total += number
    return time.perf_counter() - begin
