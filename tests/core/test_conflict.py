"""Conflict rules as tables: what each policy makes of each pair of versions, and how one edit decides for its group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

import pytest

from syncd.core.conflict import ADDED, CHANGED, DELETED_HERE, EARLIER, NOT_AT_BASE, Change, Decision, View, decide
from syncd.core.digest import object_hash_bytes, type_prefix
from syncd.core.edits import NOTHING_KNOWN, Edit, EditGroup, Fact, Policy, Ruling, Side
from syncd.core.model import ObjectId

NOTES = 1
PRIMARY, AUXILIARY, NEWEST, BOTH, MERGE = (
    Policy.PRIMARY,
    Policy.AUXILIARY,
    Policy.NEWEST,
    Policy.BOTH,
    Policy.MERGE,
)


class Letters:
    """Fields are letters, one a field. A key that begins with ``x`` has no meaning."""

    def __init__(self) -> None:
        self._given = 0

    def split(self, fields: bytes) -> Sequence[bytes]:
        return [fields[at : at + 1] for at in range(len(fields))]

    def join(self, parts: Sequence[bytes]) -> bytes:
        return b"".join(parts)

    def second_key(self, group: EditGroup, edit: Edit) -> bytes | None:
        self._given += 1
        return b"%b-%d" % (edit.key, self._given) if edit.key.startswith(b"x") else None

    def follow(self, edit: Edit, moved: Mapping[tuple[int, bytes], bytes]) -> bytes | None:
        return edit.fields

    def usual(self, type: int) -> Sequence[bytes]:
        return [b"u", b"v", b"w"]


def one(key: bytes) -> ObjectId:
    return ObjectId("notes", key)


def edit(base: bytes | None, theirs: bytes | None, key: bytes = b"x") -> Edit:
    return Edit(NOTES, key, base, theirs)


def group(*edits: Edit, time_us: int = 0, offered: bool = False) -> EditGroup:
    return EditGroup("device", "outbox", 1, time_us, edits, offered)


def decided(
    policy: Policy | None,
    edits: Sequence[Edit],
    ours: Sequence[bytes | None],
    *,
    time_us: int = 0,
    facts: Sequence[Fact] = (),
    offered: bool = False,
) -> Decision:
    known = facts or [NOTHING_KNOWN] * len(edits)
    views = [View(one(edit.key), here, fact) for edit, here, fact in zip(edits, ours, known, strict=True)]
    return decide(group(*edits, time_us=time_us, offered=offered), views, policy, Letters())


def fact(fields: bytes, changed_us: int, stale: bool = False) -> Fact:
    return Fact(object_hash_bytes(type_prefix("notes"), b"x", fields), changed_us, stale)


@pytest.mark.parametrize("policy", [*Policy, None])
@pytest.mark.parametrize(
    ("base", "ours", "theirs"),
    [(None, b"a", b"a"), (b"a", b"b", b"b"), (b"a", None, None), (b"a", b"a", b"a"), (None, None, None)],
)
def test_what_is_there_already_is_accepted_and_not_written(
    policy: Policy | None, base: bytes | None, ours: bytes | None, theirs: bytes | None
) -> None:
    assert decided(policy, [edit(base, theirs)], [ours]) == Decision(Ruling.ACCEPTED)


@pytest.mark.parametrize("versions", [(b"a", b"b", b"b"), (b"a", None, None), (None, b"b", b"b")])
@pytest.mark.parametrize("policy", Policy)
def test_the_same_change_on_both_sides_is_a_conflict_in_a_group_that_brings_more(
    policy: Policy, versions: tuple[bytes | None, bytes | None, bytes | None]
) -> None:
    """Two people took the same amount from one account, each into another: not once, but twice."""
    base, ours, theirs = versions
    more = edit(None, b"a", b"y")
    found = decided(policy, [edit(base, theirs), more], [ours, None])
    agree = policy in (Policy.AUXILIARY, Policy.MERGE, Policy.BOTH)
    assert found.ruling is (Ruling.ACCEPTED if agree else Ruling.REFUSED)
    assert found.changes == ((Change(NOTES, b"y", b"a"),) if agree else ())
    assert [side.contested for side in found.sides] == [True, False]


@pytest.mark.parametrize("policy", [*Policy, None])
@pytest.mark.parametrize(("base", "theirs"), [(None, b"a"), (b"a", b"b"), (b"a", None)])
def test_a_change_of_the_version_that_is_there_is_written(
    policy: Policy | None, base: bytes | None, theirs: bytes | None
) -> None:
    assert decided(policy, [edit(base, theirs)], [base]) == Decision(Ruling.ACCEPTED, (Change(NOTES, b"x", theirs),))


@pytest.mark.parametrize("policy", Policy)
@pytest.mark.parametrize("time_us", [0, 100])
def test_a_modification_beats_a_deletion_under_each_policy(policy: Policy, time_us: int) -> None:
    deleted_there = decided(policy, [edit(b"aa", None)], [b"ab"], time_us=time_us, facts=[fact(b"ab", 1)])
    assert deleted_there == Decision(
        Ruling.REFUSED, (), (Side(one(b"x"), b"aa", b"ab", None, b"ab", True),), DELETED_HERE, one(b"x")
    )
    deleted_here = decided(policy, [edit(b"aa", b"ab")], [None], time_us=time_us, facts=[Fact(None, 1, False)])
    assert deleted_here == Decision(
        Ruling.ACCEPTED,
        (Change(NOTES, b"x", b"ab"),),
        (Side(one(b"x"), b"aa", None, b"ab", b"ab", True),),
    )


_ROWS: list[tuple[Policy, tuple[bytes | None, bytes, bytes], Ruling, bytes]] = [  # base, ours, theirs
    (PRIMARY, (b"aa", b"ab", b"ba"), Ruling.REFUSED, b"ab"),
    (PRIMARY, (None, b"ab", b"ba"), Ruling.REFUSED, b"ab"),
    (AUXILIARY, (b"aa", b"ab", b"ba"), Ruling.ACCEPTED, b"ba"),
    (AUXILIARY, (None, b"ab", b"ba"), Ruling.ACCEPTED, b"ba"),
    (MERGE, (b"aa", b"ab", b"ba"), Ruling.MERGED, b"bb"),
    (MERGE, (b"aa", b"ab", b"ac"), Ruling.REFUSED, b"ab"),
    (MERGE, (b"aaa", b"aba", b"cba"), Ruling.ACCEPTED, b"cba"),  # both made the second field the same
    (MERGE, (b"aaa", b"abb", b"aba"), Ruling.MERGED, b"abb"),
    (MERGE, (b"aaa", b"abc", b"abd"), Ruling.REFUSED, b"abc"),
    (MERGE, (b"aa", b"ab", b"aab"), Ruling.REFUSED, b"ab"),  # the type has other fields now
    (MERGE, (None, b"ab", b"ba"), Ruling.REFUSED, b"ab"),
    (MERGE, (None, b"ab", b"aa"), Ruling.REFUSED, b"ab"),
]


@pytest.mark.parametrize(("policy", "versions", "ruling", "result"), _ROWS)
def test_two_versions_are_decided_by_the_policy(
    policy: Policy, versions: tuple[bytes | None, bytes, bytes], ruling: Ruling, result: bytes
) -> None:
    base, ours, theirs = versions
    found = decided(policy, [edit(base, theirs)], [ours])
    assert (found.ruling, found.sides) == (ruling, (Side(one(b"x"), base, ours, theirs, result, True),))
    assert found.changes == (() if result == ours else (Change(NOTES, b"x", result),))
    why = CHANGED if base is not None else ADDED
    assert (found.cause, found.guilty) == ((why, one(b"x")) if ruling is Ruling.REFUSED else ("", None))


@pytest.mark.parametrize(
    ("time_us", "known", "wins"),
    [
        (101, fact(b"b", 100), True),
        (100, fact(b"b", 100), False),
        (99, fact(b"b", 100), False),
        (0, fact(b"b", -1), False),  # the clocks differ too much to tell
        (101, fact(b"c", 100), False),  # the primary's version was made just now
        (101, NOTHING_KNOWN, False),
    ],
)
@pytest.mark.parametrize("base", [b"a", None])
def test_the_newest_wins_only_where_that_is_known(base: bytes | None, time_us: int, known: Fact, wins: bool) -> None:
    found = decided(NEWEST, [edit(base, b"t")], [b"b"], time_us=time_us, facts=[known])
    assert found.ruling is (Ruling.ACCEPTED if wins else Ruling.REFUSED)
    assert found.sides[0].result == (b"t" if wins else b"b")


@pytest.mark.parametrize("base", [b"a", None])
def test_both_keeps_the_other_version_under_a_key_of_its_own(base: bytes | None) -> None:
    found = decided(BOTH, [edit(base, b"t"), edit(base, b"u", b"xx")], [b"b", b"c"])
    assert found == Decision(
        Ruling.MERGED,
        (Change(NOTES, b"x-1", b"t"), Change(NOTES, b"xx-2", b"u")),
        (
            Side(one(b"x"), base, b"b", b"t", b"b", True, b"x-1"),
            Side(one(b"xx"), base, b"c", b"u", b"c", True, b"xx-2"),
        ),
    )


def test_both_is_primary_where_a_key_has_a_meaning() -> None:
    found = decided(BOTH, [edit(b"a", b"t", b"name"), edit(b"a", b"t")], [b"b", b"b"])
    assert (found.ruling, found.changes, found.guilty) == (Ruling.REFUSED, (), one(b"name"))
    assert [(side.result, side.copy) for side in found.sides] == [(b"b", b""), (b"b", b"")]


_CONTESTED = edit(b"a", b"t", b"name")


@pytest.mark.parametrize(("policy", "at"), list(product(Policy, range(3))))
def test_one_contested_edit_decides_for_its_whole_group(policy: Policy, at: int) -> None:
    edits = [edit(None, b"n", b"x1"), edit(b"o", None, b"x2")]
    ours: list[bytes | None] = [None, b"o"]
    edits.insert(at, _CONTESTED)
    ours.insert(at, b"b")
    found = decided(policy, edits, ours)
    assert [side.contested for side in found.sides] == [place == at for place in range(3)]
    assert {side.theirs for side in found.sides} == {b"n", None, b"t"}
    if policy is AUXILIARY:
        assert found.ruling is Ruling.ACCEPTED
        assert [change.fields for change in found.changes] == [one.fields for one in edits]
        assert [side.result for side in found.sides] == [one.fields for one in edits]
    else:
        assert (found.ruling, found.changes) == (Ruling.REFUSED, ())
        assert (found.cause, found.guilty) == (CHANGED, one(b"name"))
        assert [side.result for side in found.sides] == ours


def test_one_version_that_the_primary_wins_refuses_what_would_merge() -> None:
    edits = [edit(b"aa", b"ba", b"x1"), edit(b"aa", b"ba", b"x2"), edit(b"aa", b"ac", b"x3")]
    found = decided(MERGE, edits, [b"ab", b"aa", b"ab"])
    assert (found.ruling, found.changes, found.guilty) == (Ruling.REFUSED, (), one(b"x3"))
    assert [side.contested for side in found.sides] == [True, False, True]
    assert [side.result for side in found.sides] == [b"ab", b"aa", b"ab"]


@pytest.mark.parametrize("policy", Policy)
def test_what_is_offered_and_equal_is_accepted(policy: Policy) -> None:
    found = decided(policy, [edit(None, b"a")], [b"a"], offered=True, facts=[fact(b"a", 1, stale=True)])
    assert found == Decision(Ruling.ACCEPTED)


@pytest.mark.parametrize("policy", Policy)
@pytest.mark.parametrize("ours", [b"b", None])
def test_what_is_offered_as_an_earlier_version_is_refused_and_is_no_conflict(
    policy: Policy, ours: bytes | None
) -> None:
    found = decided(policy, [edit(None, b"a")], [ours], offered=True, facts=[fact(b"b", 1, stale=True)])
    assert found == Decision(Ruling.REFUSED, (), (), EARLIER, one(b"x"))


@pytest.mark.parametrize("policy", Policy)
def test_what_is_offered_and_not_there_is_added(policy: Policy) -> None:
    found = decided(policy, [edit(None, b"a")], [None], offered=True)
    assert found == Decision(Ruling.ACCEPTED, (Change(NOTES, b"x", b"a"),))


@pytest.mark.parametrize(
    ("policy", "ruling", "changes"),
    [
        (PRIMARY, Ruling.REFUSED, ()),
        (AUXILIARY, Ruling.ACCEPTED, (Change(NOTES, b"x", b"a"),)),
        (NEWEST, Ruling.REFUSED, ()),
        (BOTH, Ruling.MERGED, (Change(NOTES, b"x-1", b"a"),)),
        (MERGE, Ruling.REFUSED, ()),
    ],
)
def test_what_is_offered_and_another_is_a_conflict(policy: Policy, ruling: Ruling, changes: tuple[Change, ...]) -> None:
    found = decided(policy, [edit(None, b"a")], [b"b"], offered=True)
    assert (found.ruling, found.changes, found.sides[0].contested) == (ruling, changes, True)


@pytest.mark.parametrize(
    ("base", "ours", "theirs"),
    [(b"a", b"b", b"t"), (b"a", b"b", None), (b"a", None, b"t"), (None, b"b", b"t")],
)
def test_without_a_policy_what_changed_since_is_left_and_told(
    base: bytes | None, ours: bytes | None, theirs: bytes | None
) -> None:
    found = decided(None, [edit(b"o", b"n", b"x1"), edit(base, theirs)], [b"o", ours])
    assert (found.ruling, found.changes) == (Ruling.MERGED, (Change(NOTES, b"x1", b"n"),))
    assert found.sides == (
        Side(one(b"x1"), b"o", b"o", b"n", b"n", False),
        Side(one(b"x"), base, ours, theirs, ours, True),
    )


def test_without_a_policy_a_group_of_which_nothing_can_be_written_is_refused() -> None:
    found = decided(None, [edit(b"a", b"t")], [b"b"])
    assert (found.ruling, found.changes, found.cause, found.guilty) == (Ruling.REFUSED, (), NOT_AT_BASE, one(b"x"))
    assert [side.contested for side in found.sides] == [True]


def test_a_decision_that_the_application_refuses_still_tells_the_conflict() -> None:
    found = decided(BOTH, [edit(b"a", b"t")], [b"b"]).refused("UNIQUE constraint failed", one(b"x-1"))
    assert found == Decision(
        Ruling.REFUSED,
        (),
        (Side(one(b"x"), b"a", b"b", b"t", b"b", True),),
        "UNIQUE constraint failed",
        one(b"x-1"),
    )


# ---------------------------------------------------------------- fields that the device does not have


def spoken(
    policy: Policy | None, base: bytes | None, theirs: bytes | None, ours: bytes | None, offered: bool = False
) -> Decision:
    """The device has the first two of three fields."""
    made = EditGroup("device", "outbox", 1, 0, (edit(base, theirs),), offered, silent={NOTES: frozenset({2})})
    return decide(made, [View(one(b"x"), ours)], policy, Letters())


def test_a_field_that_the_device_does_not_have_stays_and_is_no_conflict() -> None:
    for policy in (*Policy, None):
        made = spoken(policy, b"ab?", b"aB?", b"abP")
        assert (made.ruling, made.changes, made.sides) == (Ruling.ACCEPTED, (Change(NOTES, b"x", b"aBP"),), ())
        assert spoken(policy, b"ab?", None, b"abP").changes == (Change(NOTES, b"x", None),)


def test_an_object_that_it_adds_has_the_usual_value_there() -> None:
    assert spoken(Policy.PRIMARY, None, b"ab?", None).changes == (Change(NOTES, b"x", b"abw"),)


def test_one_that_is_gone_comes_back_with_what_it_had_last() -> None:
    assert spoken(Policy.PRIMARY, b"abP", b"aBP", None).changes == (Change(NOTES, b"x", b"aBP"),)


def test_who_wins_a_conflict_leaves_it_as_it_is() -> None:
    assert spoken(Policy.AUXILIARY, b"ab?", b"aB?", b"cbP").changes == (Change(NOTES, b"x", b"aBP"),)
    assert spoken(Policy.MERGE, b"ab?", b"aB?", b"cbP").changes == (Change(NOTES, b"x", b"cBP"),)
    lost = spoken(Policy.PRIMARY, b"ab?", b"aB?", b"cbP")
    assert (lost.ruling, lost.changes) == (Ruling.REFUSED, ())
    assert lost.sides == (Side(one(b"x"), b"abP", b"cbP", b"aBP", b"cbP", True),)
    assert spoken(Policy.PRIMARY, None, b"ab?", b"abP", offered=True).ruling is Ruling.ACCEPTED
