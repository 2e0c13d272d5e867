"""Where a change of settings may take objects away from devices, and when that is too much (R8, R13)."""

from __future__ import annotations

import pytest

from syncd.core.loss import Holder, Loss, Shift, shifts, too_much
from syncd.core.preferences import Chosen, Place, Preferences, with_chosen
from syncd.core.selection import ALL, Selection
from syncd.core.settings import Limits

TILL, DESK = Holder("TILL", "notes", 1), Holder("DESK", "notes", 1)
NOTES, ON_TILL = Place(collection="notes"), Place(device="TILL", collection="notes")
FRENCH, DEAR = Selection('country == "FR"'), Selection("total > 1")


def chosen(*those: tuple[Place, str, str], limits: Limits | None = None) -> Preferences:
    return Preferences.of(limits or Limits(), [Chosen(*one) for one in those])


def test_a_device_that_takes_something_else_may_lose() -> None:
    after = chosen((ON_TILL, "selection", FRENCH.canonical))
    assert shifts(chosen(), after, [TILL, DESK]) == [Shift("TILL", "notes", ALL, FRENCH)]
    of_all = chosen((NOTES, "selection", DEAR.canonical), (ON_TILL, "selection", FRENCH.canonical))
    assert shifts(after, of_all, [TILL, DESK]) == [Shift("DESK", "notes", ALL, DEAR)]


def test_a_device_that_takes_all_or_what_it_took_loses_nothing() -> None:
    before = chosen((ON_TILL, "selection", FRENCH.canonical), (NOTES, "direction", "out"))
    assert shifts(before, chosen(), [TILL, DESK]) == []
    assert shifts(before, chosen((NOTES, "selection", FRENCH.canonical)), [TILL]) == []
    assert shifts(before, chosen((NOTES, "selection", DEAR.canonical)), []) == []


def test_a_device_that_is_sent_nothing_loses_nothing_until_it_is_sent_something() -> None:
    narrow = (ON_TILL, "selection", FRENCH.canonical)
    silent = chosen((NOTES, "direction", "in"), narrow)
    assert shifts(chosen(), silent, [TILL]) == []
    assert shifts(silent, chosen(narrow), [TILL]) == [Shift("TILL", "notes", ALL, FRENCH)]
    assert shifts(silent, chosen((NOTES, "direction", "in")), [TILL]) == []


@pytest.mark.parametrize(
    ("lost", "of", "spent", "held"),
    [
        (19, 100, 0, False),
        (20, 100, 0, True),
        (9, 40, 0, False),
        (10, 100, 13, True),
        (1, 1, 0, True),
        (0, 9, 99, False),
    ],
)
def test_the_measure_is_that_of_groups(lost: int, of: int, spent: int, held: bool) -> None:
    assert too_much(chosen(), 1, Loss("TILL", "notes", lost, of), spent) is held


def test_the_guard_of_the_collection_counts() -> None:
    loss = Loss("TILL", "notes", 30, 100)
    assert not too_much(chosen((NOTES, "guard.percent", "40 %")), 1, loss, 0)
    assert not too_much(chosen((Place(1), "guard.objects", "40")), 1, loss, 0)
    assert too_much(chosen((Place(2), "guard.objects", "40")), 1, loss, 0)
    assert not too_much(chosen(limits=Limits(guard_s=0.0)), 1, loss, 0), "it is off"


def test_what_is_chosen_takes_the_place_of_what_was() -> None:
    out, both = Chosen(NOTES, "direction", "out"), Chosen(NOTES, "direction", "both")
    other = Chosen(ON_TILL, "direction", "in")
    assert with_chosen([out, other], [both]) == [both, other]
    assert with_chosen([out, other], [both._replace(value="")]) == [other]
