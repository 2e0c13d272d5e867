"""Each rule about held groups fails, by its name, where it is broken, and holds where it is not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from syncd.core.model import ObjectId
from tests.sim import guard_rules as rules
from tests.sim.invariants import Broken

A, B, C = (ObjectId("note", key) for key in (b"a", b"b", b"c"))
STANDING = {A: b"1", B: b"1", C: None}  # two were deleted or changed, one added

BROKEN: dict[str, Callable[[], None]] = {
    "a deletion that is published": lambda: rules.r13_as_before(STANDING, {B: b"1"}),
    "a change that is published": lambda: rules.r13_as_before(STANDING, {A: b"1", B: b"2"}),
    "an addition that is published": lambda: rules.r13_as_before(STANDING, {A: b"1", B: b"1", C: b"1"}),
    "a group that left a trace": lambda: rules.r13_taken_back({A: b"1"}, {A: b"1", B: b"1"}),
    "a deletion that a device executed": lambda: rules.r13_shown(STANDING, {A, B}, {B: b"1"}),
    "a change that a device executed": lambda: rules.r13_shown(STANDING, {B}, {B: b"2"}),
    "a deletion that a device is told": lambda: rules.r13_not_named(STANDING, {A, B}, A),
    "a group that nobody approved": lambda: rules.r13_decided(2, 5, {1}),
    "a group that is gone": lambda: rules.r13_not_forgotten(STANDING, False),
}

HOLDS: dict[str, Callable[[], None]] = {
    "all as before": lambda: rules.r13_as_before(STANDING, {A: b"1", B: b"1", ObjectId("tag", b"a"): b"9"}),
    "a group that left none": lambda: rules.r13_taken_back({A: b"1"}, {A: b"1"}),
    "a device that does not take it": lambda: rules.r13_shown(STANDING, {B}, {B: b"1"}),
    "a deletion of something else": lambda: rules.r13_not_named(STANDING, {A, B}, ObjectId("tag", b"a")),
    "a deletion where it is not taken": lambda: rules.r13_not_named(STANDING, {B}, A),
    "a group that was approved": lambda: rules.r13_decided(2, 5, {2}),
    "a group of which all is back": lambda: rules.r13_decided(2, 0, ()),
    "one that was let through": lambda: rules.r13_not_forgotten(STANDING, True),
    "none that was held": lambda: rules.r13_not_forgotten({}, False),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_rule_is_named(case: str) -> None:
    with pytest.raises(Broken, match=r"^R13 guard: "):
        BROKEN[case]()


@pytest.mark.parametrize("case", HOLDS)
def test_a_rule_that_holds_says_nothing(case: str) -> None:
    HOLDS[case]()


def test_every_rule_has_a_history_that_breaks_it() -> None:
    named = {name for name in vars(rules) if name.startswith("r13_")}
    broken = {name for check in BROKEN.values() for name in check.__code__.co_names}
    assert named <= broken
