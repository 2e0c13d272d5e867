"""Schedules, pauses on either side and rates come and go, on links that break, under daemons that crash and clocks that
jump: of what rests nothing travels, whatever travels keeps R1 to R16, a run brings all that waited, and when nothing
rests any more all are identical. A failure prints its seed."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from tests.sim.pace_story import run_pace_story

SEEDS = int(os.environ.get("SYNCD_SEEDS", "200"))
PORTIONS = 10
ASKED = ("rests", "rests there", "runs", "edits travel", "a run brought all of it", "R8 object", "R8 delete")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("portion", range(PORTIONS))
def test_what_rests_does_not_travel_and_all_agree_when_nothing_rests(portion: int) -> None:
    for seed in range(portion, SEEDS, PORTIONS):
        run_pace_story(seed)


def test_the_rules_hold_in_a_few_stories_and_each_is_asked() -> None:
    met: Counter[str] = Counter()
    for seed in range(10_000, 10_015):
        met += run_pace_story(seed)
    assert [asked for asked in ASKED if met[asked] < 2] == []
