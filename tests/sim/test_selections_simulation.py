"""Devices take different parts of a collection, and other parts while they are away, on links that break, under daemons
that crash: each holds exactly what its selection takes at its position, and hears of nothing that it never took (R2,
R8). A failure prints its seed."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from tests.sim.selections_story import SELECTIONS, run_selections_story

SEEDS = int(os.environ.get("SYNCD_SEEDS", "200"))
PORTIONS = 10
ASKED = (
    "R5 the selection of this device changed",
    "R8 object",
    "R8 delete",
    "R13 held",
    "R13 let through",
    "R13 restored while held",
    "R13 shown",
    "R13 selection held",
    "R13 taken away",
    "R8 fewer fields",
    *(f"R2 {selection.canonical}" for selection in SELECTIONS),
)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("portion", range(PORTIONS))
def test_each_device_holds_what_its_selection_takes_whatever_happens(portion: int) -> None:
    for seed in range(portion, SEEDS, PORTIONS):
        run_selections_story(seed)


def test_the_rules_hold_in_a_few_stories_and_each_is_asked() -> None:
    met: Counter[str] = Counter()
    for seed in range(10_000, 10_025):
        met += run_selections_story(seed)
    assert [asked for asked in ASKED if met[asked] < 2] == []
