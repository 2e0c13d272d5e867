"""Changes on auxiliaries reach the primary's application and all others, exactly once, whole; whoever loses is kept."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import pytest

from syncd.core.edits import Policy
from syncd.core.effects import Recount
from syncd.core.events import Recounted
from syncd.core.model import ObjectId
from syncd.perform import perform
from syncd.perform_up import read_changes
from syncd.store.memory_outbox import MemoryOutbox
from syncd.store.memory_uploads import MemoryUploadQueue
from tests.sim.network import PRIMARY, finish
from tests.two_way_kit import NAME, A, B, House, note, text

BEGUN = {note(1): text("one", "first"), note(2): text("two")}


def house_with(rows: Mapping[ObjectId, bytes] | None = None, policy: Policy = Policy.PRIMARY, seed: int = 1) -> House:
    """At rest: all hold these."""
    house = House(policy=policy, seed=seed)
    house.source.rows = dict(BEGUN if rows is None else rows)
    return house.open(A, B)


# ---------------------------------------------------------------- the road


def test_an_edit_on_one_device_reaches_the_primary_and_the_other_device() -> None:
    house = house_with()
    assert house.all_hold(BEGUN)
    house.targets[A].commit({note(1): text("one", "edited"), note(2): None, note(3): text("three")})
    house.rest()
    assert house.all_hold({note(1): text("one", "edited"), note(3): text("three")})
    assert (house.uplink(A).pending, house.refused(A)) == (0, [])


def test_one_edit_makes_one_message_for_each_device_and_one_to_the_primary() -> None:
    house = house_with()
    house.ears.rows.clear()
    for number in range(5):
        house.targets[A].commit({note(1): text("one", f"edit {number}")})
        house.rest()
    assert (house.ears.edits, house.ears.rows) == ({A: 5}, {A: 5, B: 5})


def test_what_was_changed_without_a_link_arrives_as_its_net_change_when_there_is_one() -> None:
    house = house_with()
    house.cut(A)
    house.run()
    for number in range(10):
        house.targets[A].commit({note(1): text("one", f"edit {number}"), note(5): text("five")})
        house.rest(apart=(A,))
    house.targets[A].commit({note(5): None})
    house.source.commit({note(2): text("two", "meanwhile")})
    house.rest(apart=(A,))
    assert house.uplink(A).pending == 1
    house.rest()
    assert house.all_hold({note(1): text("one", "edit 9"), note(2): text("two", "meanwhile")})
    assert house.ears.edits[A] == 1


def test_changes_of_both_devices_and_the_primary_meet() -> None:
    house = house_with()
    house.targets[A].commit({note(10): text("of A")})
    house.targets[B].commit({note(11): text("of B")})
    house.source.commit({note(12): text("of the primary")})
    house.rest()
    more = {note(10): text("of A"), note(11): text("of B"), note(12): text("of the primary")}
    assert house.all_hold({**BEGUN, **more})


def test_many_changes_travel_within_the_window() -> None:
    house = house_with()
    rows = {note(number): text(f"number {number}", "x" * 100) for number in range(100, 160)}
    for one, fields in rows.items():
        house.targets[A].commit({one: fields})
    house.rest()
    assert house.all_hold({**BEGUN, **rows})


# ---------------------------------------------------------------- refusals


def test_what_the_primarys_application_refuses_is_put_back_whole_and_stays_readable() -> None:
    house = house_with()
    house.failing[note(3)] = "no third note, please"
    house.targets[A].commit({note(1): text("one", "edited"), note(3): text("three")})
    house.rest()
    assert house.all_hold(BEGUN)
    (kept,) = house.refused(A)
    assert ("no third note" in kept.cause, kept.guilty, kept.objects) == (True, note(3), 2)


def test_later_edits_above_a_refused_one_go_back_with_it() -> None:
    house = house_with()
    house.failing[note(3)] = "no third note, please"
    house.cut(A)
    house.run()
    house.targets[A].commit({note(1): text("one", "edited"), note(3): text("three")})
    house.rest(apart=(A,))
    house.connect(A)
    house.targets[A].commit({note(2): text("two", "edited")})
    house.rest()
    assert house.all_hold({**BEGUN, note(2): text("two", "edited")})


def test_an_application_that_is_away_delays_edits_and_nothing_else() -> None:
    house = house_with()
    house.targets[A].commit({note(1): text("one", "edited")})
    house.offline_writer = True
    for _ in range(3):
        house.wake()
        house.run()
        house.tick()
    house.source.commit({note(9): text("down")})
    for _ in range(3):
        house.wake()
        house.run()
        house.tick()
    assert house.targets[B].rows == {**BEGUN, note(9): text("down")}, "downloads go on"
    assert house.targets[A].rows == {**BEGUN, note(1): text("one", "edited"), note(9): text("down")}
    house.offline_writer = False
    house.rest()
    assert house.all_hold({note(1): text("one", "edited"), note(2): text("two"), note(9): text("down")})


# ---------------------------------------------------------------- conflicts

MINE, THEIRS = text("one", "mine"), text("one", "theirs")


def met(house: House) -> None:
    """Device A and the primary change the same note while they do not see each other."""
    house.cut(A)
    house.run()
    house.targets[A].commit({note(1): THEIRS})
    house.now += 10
    house.source.commit({note(1): MINE})
    house.rest(apart=(A,))
    house.rest()


@pytest.mark.parametrize(
    ("policy", "winner"),
    [
        (Policy.PRIMARY, MINE),
        (Policy.AUXILIARY, THEIRS),
        (Policy.NEWEST, MINE),
        (Policy.MERGE, MINE),
    ],
)
def test_a_conflict_is_decided_by_the_policy_and_the_loser_is_kept(policy: Policy, winner: bytes) -> None:
    house = house_with(policy=policy)
    met(house)
    assert house.all_hold({**BEGUN, note(1): winner})
    (conflict,) = house.conflicts()
    (side,) = conflict.sides
    assert (side.base, side.ours, side.theirs) == (BEGUN[note(1)], MINE, THEIRS)
    assert len(house.refused(A)) == (winner == MINE)


def test_under_the_policy_both_the_auxiliarys_version_becomes_a_second_object() -> None:
    house = house_with(policy=Policy.BOTH)
    met(house)
    assert house.all_hold({**BEGUN, note(1): MINE, note(3): THEIRS})
    assert len(house.conflicts()) == 1


def test_fields_that_do_not_overlap_are_merged() -> None:
    house = house_with(policy=Policy.MERGE)
    house.cut(A)
    house.run()
    house.targets[A].commit({note(1): text("one", "edited")})
    house.source.commit({note(1): text("ONE", "first")})
    house.rest(apart=(A,))
    house.rest()
    assert house.all_hold({**BEGUN, note(1): text("ONE", "edited")})
    assert house.refused(A) == []


def test_two_devices_that_change_one_object_end_equal_and_the_loser_is_kept() -> None:
    house = house_with()
    house.targets[A].commit({note(1): MINE})
    house.targets[B].commit({note(1): THEIRS})
    house.rest()
    winner = house.source.rows[note(1)]
    assert house.all_hold({**BEGUN, note(1): winner})
    (conflict,) = house.conflicts()
    assert {conflict.sides[0].ours, conflict.sides[0].theirs} == {MINE, THEIRS}


# ---------------------------------------------------------------- what it holds already


def test_a_target_that_is_merged_offers_what_it_holds() -> None:
    house = House()
    house.source.rows, house.merge = dict(BEGUN), {A}
    house.targets[A] = house.new_target(
        {note(1): BEGUN[note(1)], note(2): text("two", "other"), note(3): text("three")}
    )
    house.open(A, B)
    house.rest()
    assert house.all_hold({**BEGUN, note(3): text("three")})
    (conflict,) = house.conflicts()
    assert [(side.object, side.theirs) for side in conflict.sides] == [(note(2), text("two", "other"))]


def test_a_log_that_was_lost_is_made_up_for_by_offering_everything() -> None:
    house = house_with()
    house.cut(A)
    house.run()
    house.targets[A].lose_log()
    house.targets[A].commit({note(7): text("unseen"), note(2): text("two", "unseen")})
    house.source.commit({note(8): text("eight")})
    house.rest(apart=(A,))
    house.rest()
    assert house.source.rows.get(note(7)) == text("unseen")
    assert house.all_hold({**BEGUN, note(7): text("unseen"), note(8): text("eight")})
    assert any(side.theirs == text("two", "unseen") for one in house.conflicts() for side in one.sides)


def test_what_a_lost_log_hides_is_put_back_although_nothing_else_has_changed() -> None:
    house = house_with()
    house.targets[A].lose_log()
    house.targets[A].commit({note(1): THEIRS})
    house.rest()
    assert house.all_hold(BEGUN)
    assert [side.theirs for one in house.conflicts() for side in one.sides] == [THEIRS]


# ---------------------------------------------------------------- copies of before


def test_a_machine_that_was_put_back_to_before_loses_nothing_that_is_made_on_it_then() -> None:
    """The numbers of its groups were given to others by then, which the primary has."""
    house = house_with()
    before = copy.deepcopy((house.targets[A], house.outboxes[A], house.queues[A]))
    for number in (10, 11):
        house.targets[A].commit({note(number): text("of the one that is gone")})
        house.rest()
    house.cut(A)
    house.run()
    house.targets[A], house.outboxes[A], house.queues[A] = before
    house.start(A)
    for number in (12, 13, 14):
        house.targets[A].commit({note(number): text("made since")})
        house.rest(apart=(A,))
    house.rest()
    gone = {note(number): text("of the one that is gone") for number in (10, 11)}
    since = {note(number): text("made since") for number in (12, 13, 14)}
    assert house.all_hold(BEGUN | gone | since)
    assert house.conflicts() == []


def test_a_lost_outbox_loses_no_edit_that_waited_in_it() -> None:
    house = house_with()
    house.targets[A].commit({note(2): text("two", "before")})
    house.rest()
    house.cut(A)
    house.run()
    house.targets[A].commit({note(1): text("one", "waited"), note(7): text("waited")})
    house.rest(apart=(A,))
    house.outboxes[A] = MemoryOutbox(house.limits, lambda: "fresh")
    house.start(A)
    house.rest()
    assert house.source.rows[note(7)] == text("waited")
    assert house.all_hold(dict(house.source.rows))
    found = [side.theirs for one in house.conflicts() for side in one.sides]
    assert text("one", "waited") in (house.source.rows[note(1)], *found)
    assert house.uplink(A).pending == 0


def test_a_lost_upload_queue_is_filled_again() -> None:
    """The groups were taken, and not executed."""
    house = house_with()
    house.offline_writer = True
    house.targets[A].commit({note(1): text("one", "taken"), note(7): text("taken")})
    for _ in range(5):
        house.wake()
        house.run()
        house.tick()
    house.uploads = MemoryUploadQueue(house.limits)
    house.offline_writer = False
    house.crash(PRIMARY)
    house.rest()
    assert house.all_hold({**BEGUN, note(1): text("one", "taken"), note(7): text("taken")})
    assert house.conflicts() == []


# ---------------------------------------------------------------- crashes


@pytest.mark.slow
@pytest.mark.parametrize("whose", [A, PRIMARY])
@pytest.mark.parametrize("fuse", range(4))
def test_a_crash_between_any_two_calls_of_a_port_changes_nothing(whose: str, fuse: int) -> None:
    """After each step of the road once, inside it."""
    for at in range(60):
        house = house_with(seed=at)
        house.ears.rows.clear()
        house.targets[A].commit({note(1): text("one", "edited"), note(3): text("three")})
        house.source.commit({note(2): text("two", "edited")})
        for step in range(at + 1):
            if step % 7 == 0:
                house.wake()
            house.work(fuse if step == at else -1, whose)
        house.rest()
        expected = {note(1): text("one", "edited"), note(2): text("two", "edited"), note(3): text("three")}
        assert house.all_hold(expected), f"seed {at}, fuse {fuse}"
        assert (house.conflicts(), house.refused(A)) == ([], []), f"seed {at}, fuse {fuse}"


# ---------------------------------------------------------------- what is counted


def test_changes_of_which_only_a_part_was_read_are_not_counted_twice() -> None:
    house = house_with()
    ports, held = house.nodes[A].ports, house.target(A).state
    edits: list[dict[ObjectId, bytes | None]] = [{note(1): MINE, note(5): MINE, note(6): MINE}, {note(1): THEIRS}]
    for edit in edits:
        house.targets[A].commit(edit)
    assert finish(read_changes(ports, NAME)).more
    counted = finish(perform(ports, Recount(NAME)))
    assert isinstance(counted, Recounted)
    assert held is not None
    assert (counted.state.digest, counted.state.objects) == (held.digest, held.objects)
