"""The applications of all devices change the same collection, on links that break, under daemons that crash between any
two calls of a port: the rules hold in every state, and when the faults end all hold the same and nothing is lost. A
failure prints its seed: ``scripts/simulate --seeds N:N+1`` runs it again."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from tests.sim.edits_story import run_edits_story

SEEDS = int(os.environ.get("SYNCD_SEEDS", "200"))
PORTIONS = 10
ASKED = (
    "R1",
    "R2",
    "R4 power",
    "R6 decided",
    "R6 once",
    "R7 refused",
    "R10 downloads",
    "R10 uploads",
    "R11 accounted",
    "R11 kept",
    "R11 readable",
    "R11 primary refused",
    "R11 auxiliary accepted",
    "R11 newest refused",
    "R11 both merged",
    "R11 merge refused",
    "R11 None refused",
    "R12 captured",
    "R12 one",
)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("portion", range(PORTIONS))
def test_all_end_equal_and_nothing_is_lost_whatever_happens(portion: int) -> None:
    for seed in range(portion, SEEDS, PORTIONS):
        run_edits_story(seed)


@pytest.mark.slow
def test_the_rules_hold_in_a_few_stories_and_each_is_asked() -> None:
    met: Counter[str] = Counter()
    for seed in range(10_000, 10_040):
        met += run_edits_story(seed)
    assert [asked for asked in ASKED if met[asked] < 2] == []
