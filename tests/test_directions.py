"""Which way changes travel: out of the primary only, into it only, or both ways, and another one from here on."""

from __future__ import annotations

from syncd.adapters.canonical import pack_values
from syncd.core.edits import Direction
from syncd.core.selection import ALL, Selection
from tests.sim.network import PRIMARY
from tests.test_two_way import BEGUN, MINE, THEIRS
from tests.two_way_kit import NAME, A, B, House, note, text


def test_where_changes_come_from_the_primary_only_edits_are_put_back() -> None:
    house = House(direction=Direction.OUT)
    house.source.rows = dict(BEGUN)
    house.open(A, B)
    house.targets[A].commit({note(1): THEIRS})
    house.rest()
    assert house.all_hold(BEGUN)
    assert "from the primary only" in house.refused(A)[0].cause
    assert house.ears.edits == {}


def test_or_they_stay_if_that_was_chosen_until_the_primary_changes_the_object() -> None:
    house = House(direction=Direction.OUT)
    house.source.rows, house.keep_edits = dict(BEGUN), {A}
    house.open(A, B)
    house.targets[A].commit({note(1): THEIRS})
    house.rest()
    assert (house.targets[A].rows[note(1)], house.source.rows, house.target(A).match) == (THEIRS, BEGUN, True)
    house.source.commit({note(1): MINE})
    house.rest()
    assert house.targets[A].rows[note(1)] == MINE


def turned(house: House, direction: Direction) -> None:
    """A person sets another direction."""
    house.terms = direction, house.terms[1]
    house.nodes[PRIMARY].order(house.primary.set_terms(NAME, *house.terms))


def goes_on(house: House) -> None:
    """All that can be done is done, also by those who wait before they try again."""
    for _ in range(5):
        for device in house.targets:
            house.connect(device)
        house.wake()
        house.run()
        house.tick()
        house.run()


def test_and_so_does_what_left_just_before_that_was_said() -> None:
    house = House()
    house.source.rows, house.keep_edits = dict(BEGUN), {A}
    house.open(A, B)
    house.offline_writer = True
    house.targets[A].commit({note(1): THEIRS, note(9): THEIRS})
    goes_on(house)
    turned(house, Direction.OUT)
    goes_on(house)
    house.offline_writer = False
    goes_on(house)
    house.source.commit({note(2): MINE})
    goes_on(house)
    assert house.ears.edits[A] == 2, "it had left"
    assert house.source.rows == {**BEGUN, note(2): MINE}
    assert house.targets[A].rows == {**BEGUN, note(1): THEIRS, note(2): MINE, note(9): THEIRS}
    assert (house.target(A).match, "from the primary only" in house.refused(A)[0].cause) == (True, True)
    turned(house, Direction.BOTH)
    house.rest()
    assert house.all_hold(house.source.rows)


def test_a_device_that_only_gives_is_sent_nothing_and_gives_all_it_has_once() -> None:
    house = House(direction=Direction.IN)
    house.source.rows = dict(BEGUN)
    for device, number in ((A, 20), (B, 30)):
        house.targets[device] = house.new_target({note(number): text("own")})
    house.open(A, B)
    more = {note(20): text("own"), note(30): text("own")}
    assert house.source.rows == {**BEGUN, **more}
    house.targets[A].commit({note(20): text("own", "edited"), note(21): text("new")})
    house.rest()
    assert house.source.rows == {**BEGUN, **more, note(20): text("own", "edited"), note(21): text("new")}
    assert house.targets[A].rows == {note(20): text("own", "edited"), note(21): text("new")}
    assert (house.ears.rows, house.ears.edits[A]) == ({}, 3)
    house.crash(A)
    house.rest()
    assert house.ears.edits[A] == 3, "it offers everything once"


# ---------------------------------------------------------------- other fields, of a device that only gives

LESS = Selection(without=("text",))


BARE = pack_values(["one"])


def giving(first: Selection, own: bytes) -> House:
    """A has given a note of its own."""
    house = House(direction=Direction.IN)
    house.select(A, first)
    house.targets[A] = house.new_target({note(1): own})
    return house.open(A)


def takes(house: House, selection: Selection, own: bytes) -> None:
    """Other fields, by which the application's note reads so from then on."""
    house.targets[A].rows[note(1)] = own
    house.select(A, selection)
    goes_on(house)


def test_what_is_edited_after_a_field_is_taken_again_reaches_the_primary() -> None:
    house = giving(LESS, BARE)
    takes(house, ALL, pack_values(["one", None]))
    house.targets[A].commit({note(1): text("ONE", "mine"), note(2): text("two", "mine")})
    house.rest()
    assert house.source.rows == {note(1): text("ONE", "mine"), note(2): text("two", "mine")}
    assert house.refused(A) == []


def test_what_is_edited_after_a_field_is_left_out_reaches_the_primary() -> None:
    house = giving(ALL, text("one", "mine"))
    takes(house, LESS, BARE)
    house.targets[A].commit({note(1): pack_values(["ONE"])})
    house.rest()
    assert house.source.rows == {note(1): text("ONE", "mine")}
    assert house.refused(A) == []


def test_also_where_its_daemon_was_off_when_that_was_said() -> None:
    house = giving(LESS, BARE)
    house.nodes.pop(A)
    house.select(A, ALL)
    house.targets[A].rows[note(1)] = pack_values(["one", None])
    house.start(A)
    goes_on(house)
    house.targets[A].commit({note(1): text("ONE", "mine")})
    house.rest()
    assert house.source.rows == {note(1): text("ONE", "mine")}


def test_a_device_that_held_what_it_was_sent_gives_other_fields_and_is_sent_them_again_later() -> None:
    house = House()
    house.source.rows = {note(1): text("one", "first"), note(2): text("two", "second")}
    house.select(A, LESS)
    house.open(A, B)
    turned(house, Direction.IN)
    goes_on(house)
    house.targets[A].rows[note(2)] = text("two", "second")
    takes(house, ALL, text("one", "first"))
    house.targets[A].commit({note(1): text("ONE", "mine")})
    house.rest()
    assert (house.source.rows[note(1)], house.refused(A)) == (text("ONE", "mine"), [])
    turned(house, Direction.BOTH)
    house.rest()
    assert house.all_hold({note(1): text("ONE", "mine"), note(2): text("two", "second")})
    house.targets[A].commit({note(2): None})
    house.rest()
    assert house.all_hold({note(1): text("ONE", "mine")})
