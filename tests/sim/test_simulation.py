"""Many devices on links that break, daemons that crash between any two effects: the rules hold in every state, and when
the faults end all devices agree. A failure prints its seed: ``scripts/simulate --seeds N:N+1`` runs it again."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from tests.sim.story import run_story

SEEDS = int(os.environ.get("SYNCD_SEEDS", "1000"))
PORTIONS = 20
ASKED = (
    "R1",
    "R2",
    "R3",
    "R3 begin",
    "R4",
    "R4 told",
    "R4 power",
    "R5",
    "R5 frames",
    "R6 queue",
    "R6 repeat",
    "R7 failed",
    "R7 parked",
    "R7 retried",
    "R9 one",
    "R9 none",
    "R12",
    "R14 cut",
    "R14 identical",
)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("portion", range(PORTIONS))
def test_the_rules_hold_whatever_happens_and_all_devices_agree_in_the_end(portion: int) -> None:
    for seed in range(portion, SEEDS, PORTIONS):
        run_story(seed)


@pytest.mark.slow
def test_the_rules_hold_in_a_few_stories_and_each_is_asked() -> None:
    met: Counter[str] = Counter()
    for seed in range(10_000, 10_040):
        met += run_story(seed)
    assert [asked for asked in ASKED if met[asked] < 5] == []
