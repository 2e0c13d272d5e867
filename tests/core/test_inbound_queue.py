"""What arrives: next, again or with a gap (R3, R6); how a failure is divided (R7); where a work may begin (R4)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.adapters.canonical import pack_values
from syncd.core.inbound_queue import Arrival, arrival, begins_at, divide, entangled
from syncd.core.messages import Objects, Run
from syncd.core.model import DataType, ObjectId, OutcomeKind, Proof, Tie
from syncd.core.ports import TargetState, Work

TYPES = {1: DataType(1, "t", ("k",), ("f",))}
GROUPS = st.integers(1, 20)
TIES = st.lists(
    st.tuples(GROUPS, GROUPS).filter(lambda pair: pair[0] != pair[1]).map(lambda pair: Tie(min(pair), max(pair))),
    max_size=15,
)


def frame(first: int, last: int, *groups: tuple[int, bool, str], ties: tuple[Tie, ...] = ()) -> Objects:
    """Covers (first, last]; each group is its number, whether it is loose, and the letters that name its objects."""
    keys = [pack_values([letter]) for _, _, letters in groups for letter in letters]
    runs = tuple(Run(seq, loose, len(letters)) for seq, loose, letters in groups)
    rows = len(keys)
    return Objects("c", first, last, runs, b"\2" * rows, [1] * rows, keys, [pack_values(["x"])] * rows, ties)


def work(*frames: Objects, skip: str = "", epoch: str = "e", snapshot: bool = False) -> Work:
    parked = frozenset(map(named, skip))
    proof = Proof(frames[-1].last if frames else 0, bytes(16), 0)
    return Work("c", epoch, snapshot, lambda: iter(frames), TYPES, proof, parked.intersection if skip else None)


def named(letter: str) -> ObjectId:
    return ObjectId("t", pack_values([letter]))


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        (10, 15, Arrival.NEXT),
        (10, 10, Arrival.NEXT),
        (5, 10, Arrival.REPEAT),
        (0, 3, Arrival.REPEAT),
        (11, 15, Arrival.GAP),
        (5, 15, Arrival.GAP),
    ],
)
def test_a_frame_is_next_or_a_repeat_or_a_gap(first: int, last: int, expected: Arrival) -> None:
    assert arrival(10, frame(first, last)) is expected


@given(st.lists(st.integers(1, 5), min_size=1, max_size=8), st.data())
def test_frames_that_are_repeated_in_any_way_are_taken_once_and_in_order(steps: list[int], data: st.DataObject) -> None:
    frames, end = [], 0
    for step in steps:
        frames.append(frame(end, end + step))
        end += step
    cursor, taken, turns = 0, [], 0
    while cursor < end:
        at = next(i for i, one in enumerate(frames) if one.first == cursor)
        again = turns < 20 and data.draw(st.booleans())  # a peer repeats itself, not for ever
        one = frames[data.draw(st.integers(0, at))] if again else frames[at]
        turns += 1
        if arrival(cursor, one) is Arrival.NEXT:
            taken.append(one)
            cursor = one.last
    assert taken == frames


def test_groups_that_share_an_object_form_a_part() -> None:
    assert divide([Tie(1, 3), Tie(2, 4)]) == {1: 1, 3: 1, 2: 2, 4: 2}


def test_groups_are_joined_through_others() -> None:
    assert divide([Tie(1, 3), Tie(4, 5), Tie(3, 4)]) == dict.fromkeys((1, 3, 4, 5), 1)


def test_a_group_without_a_tie_is_a_part_of_its_own() -> None:
    assert divide([]) == {}
    assert 2 not in divide([Tie(1, 3)])


@given(TIES)
def test_parts_are_the_groups_that_are_reachable_from_each_other(ties: list[Tie]) -> None:
    near: dict[int, set[int]] = {}
    for older, newer in ties:
        near.setdefault(older, set()).add(newer)
        near.setdefault(newer, set()).add(older)
    expected = {}
    for group in near:
        seen, ahead = {group}, [group]
        while ahead:
            more = near[ahead.pop()] - seen
            seen |= more
            ahead += more
        expected[group] = min(seen)
    assert divide(ties) == expected


@given(TIES, st.randoms(use_true_random=False))
def test_the_order_of_ties_does_not_matter(ties: list[Tie], chance: object) -> None:
    other = list(ties)
    chance.shuffle(other)  # type: ignore[attr-defined]
    assert divide(ties) == divide(other)


def test_a_long_chain_is_divided_without_recursion() -> None:
    groups = 100_000
    assert set(divide(Tie(group, group + 1) for group in reversed(range(1, groups))).values()) == {1}


def test_work_that_touches_nothing_parked_is_executed() -> None:
    assert entangled(work(frame(0, 3, (3, False, "abc")))) == ()
    assert entangled(work(frame(0, 3, (3, False, "abc")), skip="z")) == ()


def test_a_group_that_touches_a_parked_object_parks_behind_it_whole() -> None:
    (part,) = entangled(work(frame(0, 6, (3, False, "abc"), (6, False, "def")), skip="b"))
    assert part.seqs == {3}
    assert part.failure.outcome is OutcomeKind.CANCELLED


def test_groups_tied_to_one_that_parks_park_with_it() -> None:
    first = frame(0, 3, (3, False, "abc"))
    second = frame(3, 9, (6, False, "ad"), (9, False, "x"), ties=(Tie(3, 6),))
    (part,) = entangled(work(first, second, skip="b"))
    assert part.seqs == {3, 6}


def test_a_group_that_is_spread_over_frames_parks_whole() -> None:
    first, second = frame(0, 2, (4, False, "ab")), frame(2, 4, (4, False, "cd"))
    (part,) = entangled(work(first, second, skip="d"))
    assert part.seqs == {4}


def test_a_loose_object_parks_behind_the_part_that_holds_it() -> None:
    (part,) = entangled(work(frame(0, 3, (3, True, "abc")), skip="b"))
    assert (part.seqs, part.objects, part.behind) == (frozenset(), frozenset(), True)


def test_a_loose_object_parks_behind_a_group_that_parks_and_has_brought_it_before() -> None:
    """Or the group, tried again, would bring an old version back."""
    group, loose = frame(0, 3, (3, False, "abc")), frame(3, 5, (5, True, "cx"))
    parts = entangled(work(group, loose, skip="a"))
    assert [part.seqs for part in parts if part.seqs] == [{3}]
    assert [part.objects for part in parts if part.objects] == [{named("c")}]


def test_what_parks_is_followed_from_object_to_object_in_both_directions() -> None:
    frames = (
        frame(0, 2, (2, False, "yz")),
        frame(2, 4, (4, True, "wx")),
        frame(4, 8, (6, False, "xy"), (8, False, "za")),
    )
    parts = entangled(work(*frames, skip="a"))
    assert sorted(seq for part in parts for seq in part.seqs) == [2, 6, 8]
    assert [part.objects for part in parts if part.objects] == [{named("x")}]


def test_parts_that_have_nothing_in_common_park_apart() -> None:
    parts = entangled(work(frame(0, 6, (3, False, "ab"), (6, False, "cd")), skip="ad"))
    assert sorted(sorted(part.seqs) for part in parts) == [[3], [6]]


def test_work_begins_where_the_target_is_or_before() -> None:
    held = TargetState("e", 10, bytes(16), 0)
    assert begins_at(work(frame(10, 12)), held)
    assert begins_at(work(frame(5, 12)), held)
    assert not begins_at(work(frame(11, 12)), held)


def test_parked_objects_begin_where_the_target_has_passed_their_groups() -> None:
    parked = replace(work(frame(0, 0, (9, False, "a"))), proof=None)
    assert begins_at(parked, TargetState("e", 9, bytes(16), 0))
    assert not begins_at(parked, TargetState("e", 8, bytes(16), 0))
    assert not begins_at(parked, TargetState("other", 9, bytes(16), 0))


def test_work_of_another_epoch_does_not_begin_anywhere() -> None:
    assert not begins_at(work(frame(0, 12), epoch="other"), TargetState("e", 10, bytes(16), 0))


def test_a_snapshot_begins_wherever_the_target_is() -> None:
    assert begins_at(work(frame(0, 12), epoch="other", snapshot=True), TargetState("e", 10, bytes(16), 0))
