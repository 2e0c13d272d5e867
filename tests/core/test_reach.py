"""Where a device may stand, and what follows for an object: each state counts, and what is not known is said."""

from __future__ import annotations

import pytest

from syncd.core.edits import Version
from syncd.core.messages import Begin, Follow
from syncd.core.model import Span, Spans
from syncd.core.reach import NOTHING, Held, Past, Reach, Reaches, Which, held
from syncd.core.selection import ALL, Selection

FRENCH = Selection('country == "FR"')
NAME = "shop"


def past(*versions: tuple[int, bytes | None], since: int = 0) -> Past:
    """Newest first."""
    return Past([Version(seq, 0, fields, "") for seq, fields in versions], since)


def takes(selection: Selection, fields: bytes) -> bool | None:
    """Fields are a country; ``?`` cannot be read."""
    return None if fields == b"?" else selection == ALL or fields == b"FR"


LIFE = past((30, b"DE"), (20, b"FR"), (10, b"DE"))  # came, became French, and German again
GONE = past((30, None), (20, b"FR"))


@pytest.mark.parametrize(
    ("reach", "known", "expected"),
    [
        (Reach(ALL, 5, 5), LIFE, (Held.NO, Which.UNKNOWN)),
        (Reach(ALL, 10, 10), LIFE, (Held.YES, Which.OLDER)),
        (Reach(ALL, 25, 25), LIFE, (Held.YES, Which.OLDER)),
        (Reach(ALL, 25, 30), LIFE, (Held.YES, Which.UNKNOWN)),
        (Reach(ALL, 30, 99), LIFE, (Held.YES, Which.CURRENT)),
        (Reach(ALL, 5, 10), LIFE, (Held.MAYBE, Which.OLDER)),
        (Reach(FRENCH, 10, 19), LIFE, (Held.NO, Which.UNKNOWN)),
        (Reach(FRENCH, 10, 20), LIFE, (Held.MAYBE, Which.OLDER)),
        (Reach(FRENCH, 20, 29), LIFE, (Held.YES, Which.OLDER)),
        (Reach(FRENCH, 20, 30), LIFE, (Held.MAYBE, Which.OLDER)),
        (Reach(FRENCH, 30, 30), LIFE, (Held.NO, Which.UNKNOWN)),
        (Reach(ALL, 20, 29), GONE, (Held.YES, Which.OLDER)),
        (Reach(ALL, 20, 30), GONE, (Held.MAYBE, Which.OLDER)),
        (Reach(ALL, 30, 30), GONE, (Held.NO, Which.UNKNOWN)),
        (Reach(ALL, 5, 5), past((30, b"FR"), since=20), (Held.MAYBE, Which.UNKNOWN)),
        (Reach(ALL, 20, 20), past((30, b"FR"), since=20), (Held.NO, Which.UNKNOWN)),
        (Reach(FRENCH, 20, 20), past((20, b"?")), (Held.MAYBE, Which.CURRENT)),
        (Reach(None, 20, 20), past((20, b"FR")), (Held.MAYBE, Which.UNKNOWN)),
        (Reach(None, 20, 20), past((20, None)), (Held.NO, Which.UNKNOWN)),
        (NOTHING, LIFE, (Held.NO, Which.UNKNOWN)),
    ],
)
def test_an_object_is_held_if_each_state_has_it(reach: Reach, known: Past, expected: tuple[Held, Which]) -> None:
    found, which = held([reach], known, takes)
    assert found is expected[0]
    if found is Held.YES:
        assert which is expected[1]


def test_what_a_failed_group_changed_is_not_known() -> None:
    failed = Reach(ALL, 30, 30, failed=frozenset({30}))
    assert held([failed], LIFE, takes)[0] is Held.MAYBE
    assert held([failed], GONE, takes)[0] is Held.MAYBE, "its deletion may not have been executed"
    assert held([failed], past((20, b"FR")), takes) == (Held.YES, Which.CURRENT)
    assert held([Reach(ALL, 30, 30, failed=None)], past((20, b"FR")), takes)[0] is Held.MAYBE


def test_of_two_epochs_both_count() -> None:
    old, new = Reach(FRENCH, 20, 20), Reach(ALL, 30, 30)
    assert held([old, new], LIFE, takes) == (Held.YES, Which.UNKNOWN)
    assert held([Reach(FRENCH, 30, 30), new], LIFE, takes)[0] is Held.MAYBE
    assert held([NOTHING, new], LIFE, takes)[0] is Held.MAYBE


# ---------------------------------------------------------------- what devices were sent


def follow(epoch: str = "", position: int = 0, cursor: int = 0) -> Follow:
    return Follow(NAME, epoch, position, False, position, 0, cursor or position)


def test_a_snapshot_is_there_from_its_cut_on() -> None:
    reaches = Reaches()
    reaches.began("d", follow(), Begin(NAME, "e", True, 0, 50, 0, 50, "the device holds nothing yet"))
    assert reaches.spans["d", NAME] == {"e": Span(50, 0)}
    reaches.sent("d", NAME, "e", 20)
    reaches.sent("d", NAME, "e", 60)
    assert reaches.spans["d", NAME] == {"e": Span(50, 60)}


def test_what_goes_on_counts_what_was_staged_before() -> None:
    reaches = Reaches()
    reaches.began("d", follow("e", 20, 35), Begin(NAME, "e", False, 20, 0, 35, 50))
    assert reaches.spans["d", NAME] == {"e": Span(20, 35)}


def test_a_report_leaves_its_own_epoch_and_later_ones() -> None:
    reaches = Reaches()
    for epoch in ("old", "e", "new"):
        reaches.began("d", follow(), Begin(NAME, epoch, True, 0, 50, 0, 50, "anew"))
    reaches.reported("d", NAME, "e")
    assert list(reaches.spans["d", NAME]) == ["e", "new"]
    reaches.reported("d", NAME, "unknown")
    assert list(reaches.spans["d", NAME]) == ["e", "new"]


@pytest.mark.parametrize(
    ("spans", "born", "gone", "may"),
    [
        ([], 5, 9, False),
        ([Span(7, 7)], 5, 9, True),
        ([Span(4, 4)], 5, 9, False),
        ([Span(4, 5)], 5, 9, True),
        ([Span(9, 12)], 5, 9, False),
        ([Span(8, 12)], 5, 9, True),
        ([Span(1, 3), Span(2, 20), Span(12, 13)], 5, 9, True),
        ([Span(1, 3), Span(12, 30)], 5, 9, False),
        ([Span(0, 0)], 1, 1, False),
    ],
)
def test_who_may_stand_between_coming_and_going_may_hold_it(spans: list[Span], born: int, gone: int, may: bool) -> None:
    assert Spans(spans).may_hold(born, gone) is may
