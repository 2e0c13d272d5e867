"""How often a source may try in vain."""

from __future__ import annotations

from syncd.transport.tries import SOURCES_MAX, Tries


def test_a_source_that_tries_too_often_is_turned_away_until_time_has_passed() -> None:
    tries = Tries(6, 0.1)
    assert [tries.spend("a", 0.0) for _ in range(7)] == [True] * 6 + [False]
    assert not tries.spend("a", 9.9)
    assert tries.spend("a", 10.0)
    assert not tries.spend("a", 10.0)


def test_a_source_does_not_pay_for_another() -> None:
    tries = Tries(1, 1.0)
    assert tries.spend("a", 0.0)
    assert not tries.spend("a", 0.0)
    assert tries.spend("b", 0.0)


def test_being_turned_away_does_not_lengthen_the_time() -> None:
    tries = Tries(1, 1 / 60)
    assert tries.spend("a", 0.0)
    assert not any(tries.spend("a", second / 10) for second in range(1, 599))
    assert tries.spend("a", 60.0)


def test_what_came_to_something_was_no_try() -> None:
    tries = Tries(2, 0.0)
    for second in range(100):
        assert tries.spend("a", second / 100)
        tries.give_back("a")


def test_only_so_many_sources_are_remembered() -> None:
    tries = Tries(1, 1.0)
    for number in range(SOURCES_MAX + 1):
        assert tries.spend(str(number), 0.0)
    assert tries.spend("0", 0.0)
    assert not tries.spend(str(SOURCES_MAX), 0.0)
    tries.give_back("never seen")
