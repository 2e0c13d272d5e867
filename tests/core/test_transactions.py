"""What ``syncd transactions`` lists: groups with what became of them, on the primary and on the device itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from syncd.core.errors import UserError
from syncd.core.messages import Failed, Report
from syncd.core.model import ObjectId, OutcomeKind, Role
from syncd.core.ports import Group
from syncd.core.sending import Standing
from syncd.core.settings import Limits
from syncd.core.transactions import Row, check_outcome, chosen, of_device, of_target
from tests.core.kit import EPOCH, NAME, digest_at, part, proof_at, store_state, target_state
from tests.core.target_play import Play, opened, transfer_at

LAPTOP = ("A" * 52, "laptop")
GROUPS = [Group(seq, seq - 4, False, seq * 1_000_000, 5) for seq in (5, 10, 15, 20)]
BROKEN = Failed(10, "rolled-back", "CHECK constraint failed", "city", b"key 10")


def standing(position: int, *failed: Failed, epoch: str = EPOCH) -> Standing:
    return Standing(Report(NAME, epoch, position, digest_at(position), 0, True, 0, "", False, failed), 100.0)


def outcomes(rows: list[Row]) -> dict[int, str]:
    return {row.seq: row.outcome for row in rows}


def test_groups_up_to_the_position_are_applied_but_for_those_that_failed() -> None:
    rows = list(of_device(store_state(20), GROUPS, LAPTOP, standing(15, BROKEN)))
    assert outcomes(rows) == {5: "applied", 10: "rolled-back", 15: "applied", 20: "pending"}


def test_where_a_device_names_only_some_of_its_failed_groups_no_other_is_called_applied() -> None:
    said = standing(15, BROKEN)
    said = replace(said, report=replace(said.report, parked=2))
    rows = list(of_device(store_state(20), GROUPS, LAPTOP, said))
    assert outcomes(rows) == {5: "unknown", 10: "rolled-back", 15: "unknown", 20: "pending"}
    line = rows[0].line(lambda key: key.decode(), str)
    assert line["cause"] == "more groups failed on the device than it names: this one is applied there, or one of them"


def test_where_a_part_may_have_failed_groups_that_are_too_old_to_be_named_no_other_is_called_applied() -> None:
    named = [replace(BROKEN, seq=100 + at) for at in range(Limits().part_groups_max)]
    said = standing(1_000, *named)
    said = replace(said, report=replace(said.report, parked=1))
    assert outcomes(list(of_device(store_state(1_000), GROUPS, LAPTOP, said)))[5] == "unknown"


def test_a_failed_group_that_the_store_has_forgotten_is_listed_all_the_same() -> None:
    rows = list(of_device(store_state(20), GROUPS[2:], LAPTOP, standing(15, BROKEN)))
    assert outcomes(rows) == {10: "rolled-back", 15: "applied", 20: "pending"}
    assert (rows[0].objects, rows[0].time_us) == (0, 0)


@pytest.mark.parametrize("said", [None, standing(15, epoch="older")])
def test_of_a_device_that_said_nothing_in_this_epoch_all_is_pending(said: Standing | None) -> None:
    assert set(outcomes(list(of_device(store_state(20), GROUPS, LAPTOP, said))).values()) == {"pending"}


def test_a_device_lists_what_failed_and_what_is_staged_on_it() -> None:
    play = Play()
    play.hears(opened(target_state(10), transfer_at(10), (part(1, 6, 8, guilty=ObjectId("city", b"key 8")),)))
    target = replace(play.target, cuts=(proof_at(12),))
    rows = list(of_target(target, LAPTOP))
    assert outcomes(rows) == {6: "rolled-back", 8: "rolled-back", 12: "staged"}
    assert [row.objects for row in rows] == [2, 2, 0]


def test_the_newest_come_first_and_not_more_than_asked() -> None:
    rows = list(of_device(store_state(20), GROUPS, LAPTOP, standing(15, BROKEN)))
    assert [row.seq for row in chosen(rows, "", 2)] == [20, 15]
    assert [row.seq for row in chosen(rows, "applied", 9)] == [15, 5]
    assert [row.seq for row in chosen(rows, "rolled-back", 1)] == [10]


def test_a_row_names_its_group_its_cause_and_the_guilty_object() -> None:
    (row,) = chosen(of_device(store_state(20), GROUPS, LAPTOP, standing(15, BROKEN)), "rolled-back", 1)
    assert row.line(lambda key: key.decode(), lambda time_us: f"{time_us} us") == {
        "group": f"{NAME}:10",
        "collection": NAME,
        "seq": 10,
        "device": LAPTOP[0],
        "device_name": "laptop",
        "outcome": "rolled-back",
        "objects": 5,
        "time": "10000000 us",
        "cause": "CHECK constraint failed",
        "type": "city",
        "key": "key 10",
    }


@pytest.mark.parametrize(
    ("role", "outcome", "where"),
    [
        (Role.PRIMARY, OutcomeKind.STAGED, "run it on the auxiliary"),
        (Role.AUXILIARY, OutcomeKind.APPLIED, "run it on the primary"),
        (Role.AUXILIARY, OutcomeKind.PENDING, "run it on the primary"),
    ],
)
def test_what_a_device_keeps_no_list_of_is_refused_with_where_to_ask(role: Role, outcome: str, where: str) -> None:
    with pytest.raises(UserError, match="keeps no list") as refused:
        check_outcome(role, outcome)
    assert refused.value.advice == where


@pytest.mark.parametrize("role", Role)
def test_failed_groups_are_listed_by_both(role: Role) -> None:
    for outcome in ("", "cancelled", "rolled-back", "held"):
        check_outcome(role, outcome)
