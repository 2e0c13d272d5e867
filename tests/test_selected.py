"""Devices that take a part of a collection, with edits on both sides, on twins (R2, R4, R5, R8, R9, R11)."""

from __future__ import annotations

import pytest

from syncd.adapters.canonical import pack_values
from syncd.core.edits import Policy
from syncd.core.events import LinkDown
from syncd.core.messages import Begin, Objects
from syncd.core.messages import Wire as Message
from syncd.core.model import ObjectId
from syncd.core.selection import ALL, Selection
from syncd.core.upward_effects import SettleWritten
from tests.sim.network import PRIMARY
from tests.two_way_kit import NAME, A, B, Ears, House, note, text

FRENCH = 'title == "FR"'


class Told(Ears):
    """``keys``: of objects, that each device was told of; ``begins``: how its transfers began."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: dict[str, set[bytes]] = {A: set(), B: set()}
        self.begins: list[tuple[str, str]] = []

    def leaves(self, device: str, message: Message) -> None:
        super().leaves(device, message)
        if isinstance(message, Objects):
            self.keys[device].update(message.keys)
        if isinstance(message, Begin) and message.snapshot:
            self.begins.append((device, message.reason))


def shop(policy: Policy = Policy.PRIMARY, selected: str = FRENCH) -> tuple[House, Told]:
    """A takes the French, B all."""
    house, told = House(policy=policy), Told()
    house.observer = told
    house.source.rows = {note(1): text("FR", "one"), note(2): text("DE", "two"), note(3): text("FR", "three")}
    house.select(A, selected)
    house.open()
    return house, told


def holds(house: House, device: str, *numbers: int) -> None:
    assert house.targets[device].rows == {note(number): house.source.rows[note(number)] for number in numbers}


def test_a_device_holds_what_its_selection_takes_and_hears_of_nothing_else() -> None:
    house, told = shop()
    holds(house, A, 1, 3)
    holds(house, B, 1, 2, 3)
    house.source.commit({note(2): text("DE", "again"), note(4): text("IT")})
    house.rest()
    holds(house, A, 1, 3)
    holds(house, B, 1, 2, 3, 4)
    assert told.keys[A] == {note(1).key, note(3).key}


def test_an_object_enters_and_leaves() -> None:
    house, _ = shop()
    house.source.commit({note(1): text("DE", "moved"), note(2): text("FR", "moved")})
    house.rest()
    holds(house, A, 2, 3)
    holds(house, B, 1, 2, 3)
    house.source.commit({note(2): None, note(3): None, note(1): text("FR")})
    house.rest()
    holds(house, A, 1)


def test_a_selection_changes_while_the_device_is_linked() -> None:
    house, told = shop()
    rows = told.rows[B]
    house.select(A, 'title == "DE"')
    house.rest()
    holds(house, A, 2)
    house.select(A, ALL)
    house.rest()
    holds(house, A, 1, 2, 3)
    house.select(A, 'title == "IT"')
    house.rest()
    holds(house, A)
    changed = "the selection of this device changed"
    assert [reason for device, reason in told.begins if device == A] == ["the device holds nothing yet", *[changed] * 3]
    assert told.rows[B] == rows


def test_a_selection_changes_while_the_device_is_away() -> None:
    house, told = shop()
    house.nodes.pop(A)
    house.nodes[PRIMARY].take(LinkDown(A, "switched off"))
    house.nodes[PRIMARY].ends.pop(A)
    house.select(A, 'title == "DE"')
    house.source.commit({note(1): None, note(5): text("DE", "five"), note(6): text("IT")})
    house.start(A)
    house.rest()
    holds(house, A, 2, 5)
    assert note(6).key not in told.keys[A]


def test_a_class_goes_with_the_last_device_that_takes_it() -> None:
    house, _ = shop()
    house.select(B, FRENCH)
    house.rest()
    state = house.primary.sources["notes"].state
    assert state is not None
    assert [one.selection for one in state.classes] == [Selection(FRENCH)]
    house.select(A, ALL)
    house.select(B, ALL)
    house.rest()
    state = house.primary.sources["notes"].state
    assert state is not None
    assert state.classes == ()
    holds(house, B, 1, 2, 3)


# ---------------------------------------------------------------- edits


@pytest.mark.parametrize("policy", list(Policy))
def test_edits_within_the_selection_are_taken(policy: Policy) -> None:
    house, _ = shop(policy)
    house.targets[A].commit({note(1): text("FR", "edited"), note(9): text("FR", "added"), note(3): None})
    house.rest()
    assert house.source.rows == {
        note(1): text("FR", "edited"),
        note(2): text("DE", "two"),
        note(9): text("FR", "added"),
    }
    holds(house, A, 1, 9)
    holds(house, B, 1, 2, 9)
    assert house.uplink(A).pending == 0


def test_an_edit_that_makes_an_object_leave_is_taken() -> None:
    house, _ = shop()
    house.targets[A].commit({note(1): text("DE", "moved away")})
    house.rest()
    assert house.source.rows[note(1)] == text("DE", "moved away")
    holds(house, A, 3)
    holds(house, B, 1, 2, 3)
    assert (house.uplink(A).pending, house.uplink(A).refused) == (0, 0)


def test_an_edit_outside_of_the_selection_is_refused_with_its_whole_group() -> None:
    house, _ = shop()
    house.targets[A].commit({note(1): text("FR", "edited"), note(9): text("DE", "not mine")})
    house.rest()
    holds(house, A, 1, 3)
    assert house.source.rows[note(1)] == text("FR", "one")
    (refused,) = house.refused(A)
    assert refused.cause == "this device's selection does not take note/9"


@pytest.mark.parametrize("policy", list(Policy))
def test_an_edit_does_not_bring_an_object_that_the_device_never_held(policy: Policy) -> None:
    """It has the key of one, and would get its fields by a merge, or take its place."""
    house, _ = shop(policy)
    house.targets[A].commit({note(2): text("FR", "a guess")})
    house.rest()
    assert house.source.rows[note(2)] == text("DE", "two")
    holds(house, A, 1, 3)
    holds(house, B, 1, 2, 3)
    (refused,) = house.refused(A)
    assert refused.cause == "this device's selection does not take note/2"


def test_a_conflict_about_an_object_that_left_meanwhile_is_decided_like_any_other() -> None:
    house, _ = shop(Policy.AUXILIARY)
    house.cut(A)
    house.run()
    house.targets[A].commit({note(1): text("FR", "edited")})
    house.source.commit({note(1): text("DE", "moved away")})
    house.rest(apart=(A,))
    house.rest()
    assert house.source.rows[note(1)] == text("FR", "edited")
    holds(house, A, 1, 3)


def test_a_device_of_a_quiet_class_knows_that_its_edits_are_settled() -> None:
    """The number of its verdict is beyond all that changed in its class."""
    house, _ = shop()
    node = house.nodes[PRIMARY]
    node.slow = (SettleWritten,)
    for changes in ({note(1): text("FR", "one more")}, {note(3): text("DE", "moved away")}):
        house.targets[A].commit(changes)
        house.wake()
        house.run()
        house.wake()
        house.run()
    house.source.commit({note(20): text("DE", "busy")})
    house.wake()
    house.run()
    node.slow = ()
    house.rest()
    assert house.uplink(A).pending == 0
    holds(house, A, 1)
    stored = house.primary.sources[NAME].state
    assert stored is not None
    assert house.targets[A].state.position == stored.head
    assert len(house.epochs) == 1  # nobody took it for one that is ahead of the store


def test_a_device_that_has_proven_more_than_its_class_has_is_not_ahead_of_the_store() -> None:
    house, told = shop()
    house.source.commit({note(20): text("DE", "busy")})
    house.rest()
    house.cut(A)
    house.rest()
    house.cut(A)
    house.rest()
    assert len(house.epochs) == 1
    assert sorted(device for device, _ in told.begins) == [A, B]


def test_what_a_selection_takes_is_asked_of_each_type() -> None:
    house, _ = shop(selected='type == "tag"')
    house.source.commit({ObjectId("tag", note(1).key): text("FR")})
    house.rest()
    assert set(house.targets[A].rows) == {ObjectId("tag", note(1).key)}


# ---------------------------------------------------------------- fields left out

LESS = Selection('title == "FR"', without=("text",))


def less(*titles: str) -> bytes:
    """A note as a device holds it whose selection leaves its text out."""
    return pack_values(titles)


def without_text(policy: Policy = Policy.PRIMARY) -> tuple[House, Told]:
    """A takes the French without their texts, B all."""
    house, told = shop(policy)
    house.select(A, LESS)
    house.rest()
    return house, told


def test_fields_that_are_left_out_do_not_come() -> None:
    house, told = without_text()
    assert house.targets[A].rows == {note(1): less("FR"), note(3): less("FR")}
    rows = told.rows[A]
    house.source.commit({note(1): text("FR", "another text")})
    house.rest()
    assert house.targets[A].rows[note(1)] == less("FR")
    assert told.rows[A] - rows <= 1
    house.source.commit({note(3): text("DE", "three")})
    house.rest()
    assert house.targets[A].rows == {note(1): less("FR")}


@pytest.mark.parametrize("policy", list(Policy))
def test_edits_without_them_leave_them_as_they_are(policy: Policy) -> None:
    house, _ = without_text(policy)
    house.targets[A].commit({note(1): less("IT"), note(9): less("FR"), note(3): None})
    house.rest()
    assert house.source.rows == {
        note(1): text("IT", "one"),
        note(2): text("DE", "two"),
        note(9): pack_values(["FR", None]),
    }
    assert house.targets[A].rows == {note(9): less("FR")}
    holds(house, B, 1, 2, 9)
    assert (house.uplink(A).pending, house.uplink(A).refused) == (0, 0)


@pytest.mark.parametrize("policy", list(Policy))
def test_who_changes_only_what_the_other_does_not_have_is_in_no_conflict(policy: Policy) -> None:
    house, _ = without_text(policy)
    house.cut(A)
    house.run()
    house.targets[A].commit({note(1): less("IT")})
    house.source.commit({note(1): text("FR", "changed meanwhile")})
    house.rest(apart=(A,))
    house.rest()
    assert house.source.rows[note(1)] == text("IT", "changed meanwhile")
    assert (house.uplink(A).pending, house.uplink(A).refused) == (0, 0)


def test_what_was_deleted_meanwhile_comes_back_whole() -> None:
    house, _ = without_text()
    house.cut(A)
    house.run()
    house.targets[A].commit({note(1): less("IT")})
    house.source.commit({note(1): None})
    house.rest(apart=(A,))
    house.rest()
    assert house.source.rows[note(1)] == text("IT", "one")


def test_they_come_and_go_with_the_selection() -> None:
    house, _ = without_text()
    for _ in range(2):
        house.select(A, FRENCH)
        house.rest()
        holds(house, A, 1, 3)
        house.targets[A].commit({note(1): text("FR", "edited")})
        house.rest()
        assert house.source.rows[note(1)] == text("FR", "edited")
        house.select(A, Selection('title == "FR"', without=("title",)))
        house.rest()
        assert house.targets[A].rows[note(1)] == less("edited")
        house.select(A, LESS)
        house.rest()
        assert house.targets[A].rows == {note(1): less("FR"), note(3): less("FR")}
        house.targets[A].commit({note(3): less("FR")})
        house.rest()
    assert house.uplink(A).refused == 0


def test_edits_that_were_made_with_other_fields_are_refused_and_kept() -> None:
    """By their widths nobody could tell a title from a text."""
    house, _ = without_text()
    house.cut(A)
    house.run()
    house.targets[A].commit({note(1): less("edited")})
    house.select(A, Selection(without=("title",)))
    house.rest(apart=(A,))
    house.rest()
    assert house.source.rows[note(1)] == text("FR", "one")
    (refused,) = house.refused(A)
    assert refused.cause == "its table has changed since"
    assert house.targets[A].rows[note(1)] == less("one")
