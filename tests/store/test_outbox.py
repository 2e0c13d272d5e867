"""The outbox in SQLite: what its file keeps over a crash, and plans that are out of date (R6)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from syncd.core.digest import EMPTY, add
from syncd.core.edits import LocalBatch, Overlay, Plan
from syncd.core.errors import InvariantBroken
from syncd.core.settings import Limits
from syncd.store.outbox import SqliteOutbox
from tests.contract.outbox_kit import (
    LIMITS,
    NAME,
    NOTE,
    S,
    accepted,
    at,
    difference,
    edits,
    left,
    make,
    offer,
    outbox_of,
    put_back,
    work,
)

pytestmark = pytest.mark.asyncio


async def test_what_waits_and_what_is_planned_survives_a_crash(tmp_path: Path) -> None:
    outbox = await SqliteOutbox.open(tmp_path / "outbox.db", LIMITS)
    await outbox.types(NAME, [NOTE])
    await make(outbox, {"a": ("1", "2"), "b": ("1", "2")}, mark=4)
    await make(outbox, {"c": ("1", "2")}, mark=5, close=False)
    state = await outbox.load(NAME)
    plan = await outbox.plan(NAME, work({"a": "9"}))
    await outbox.close()
    again = await SqliteOutbox.open(tmp_path / "outbox.db", LIMITS)
    assert await again.load(NAME) == state
    assert put_back(plan) == {"b": "1"}
    await again.carried_out(NAME, at(9, plan.id))
    assert (await make(again, {"c": ("2", "1")}, mark=6)).last == 1
    assert await again.overlay(NAME) == Overlay(6)
    await again.close()


async def test_a_plan_that_was_replaced_does_not_say_that_nothing_stays(tmp_path: Path) -> None:
    outbox = await SqliteOutbox.open(tmp_path / "outbox.db", LIMITS)
    await outbox.types(NAME, [NOTE])
    await make(outbox, {"a": ("1", "2"), "b": ("1", "2")})
    leaving = await outbox.plan(NAME, work({"a": "1"}))
    assert left(leaving, "a") == {"a"}
    restoring = await outbox.plan(NAME, work({"a": "9"}))
    assert put_back(restoring) == {"b": "1"}
    await outbox.plan(NAME, work({"a": "1"}))
    with pytest.raises(InvariantBroken):
        left(leaving, "a")
    with pytest.raises(InvariantBroken):
        put_back(restoring)
    await outbox.close()


async def test_nothing_is_left_of_what_is_settled(tmp_path: Path) -> None:
    outbox = await SqliteOutbox.open(tmp_path / "outbox.db", LIMITS)
    await outbox.types(NAME, [NOTE])
    await make(outbox, {"a": ("1", "2")})
    await make(outbox, {"a": ("2", "1")})
    await offer(outbox, {"b": "1"})
    plan = await outbox.plan(NAME, work({"b": "1"}, snapshot=True))
    await outbox.carried_out(NAME, at(9, plan.id))
    counts = await outbox._database.read(
        lambda connection: [
            connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("groups", "edits", "objects", "plans", "plan_rows", "plan_groups")
        ]
    )
    assert counts == [0] * 6
    await outbox.close()


async def _planned_at_hand(outbox: SqliteOutbox, brought: dict[str, str | None]) -> tuple[Plan, int]:
    """The plan, and how many commits were made for it."""
    before = outbox._database.commits
    plan = await outbox.plan(NAME, replace(work(brought), at_hand=True))
    return plan, outbox._database.commits - before


async def test_what_comes_down_as_it_was_made_is_planned_without_a_commit_and_known_after_a_crash(
    tmp_path: Path,
) -> None:
    outbox = await SqliteOutbox.open(tmp_path / "outbox.db", LIMITS)
    await outbox.types(NAME, [NOTE])
    await make(outbox, {"a": ("1", "2"), "b": (None, "1")}, mark=4, seal=True)
    await outbox.keep_and_take(NAME, LocalBatch(edits({"c": ("1", None)}), True, 5, 7 * S), 1, 1000)
    plan, commits = await _planned_at_hand(outbox, {"a": "2", "b": "1", "d": "7"})
    assert (bool(plan.id), commits, plan.mark, plan.leave, plan.restore) == (True, 0, 5, None, None)
    change, one_more = difference({"a": ("1", "2"), "b": (None, "1")}), 1
    assert (plan.digest % (1 << 128), plan.objects) == (change, one_more)
    await outbox.close()
    again = await SqliteOutbox.open(tmp_path / "outbox.db", LIMITS)
    state = await again.carried_out(NAME, at(9, plan.id))
    assert (await again.overlay(NAME)).objects == 1
    assert (state.first, state.last, state.pending) == (1, 2, 2)
    assert await again.carried_out(NAME, at(9, plan.id)) == state, "once is enough"
    state = await again.settle(NAME, [accepted(1, 9)], 9, S)
    assert (state.pending, state.undo) == (1, False)
    await again.close()


async def test_a_plan_without_a_commit_that_was_not_carried_out_leaves_everything_as_it_is(tmp_path: Path) -> None:
    outbox = await SqliteOutbox.open(tmp_path / "outbox.db", LIMITS)
    await outbox.types(NAME, [NOTE])
    await make(outbox, {"a": ("1", "2")}, seal=True)
    plan, _ = await _planned_at_hand(outbox, {"a": "2"})
    state, overlay = await outbox.load(NAME), await outbox.overlay(NAME)
    assert await outbox.carried_out(NAME, at(8)) == state
    assert await outbox.overlay(NAME) == overlay
    again, _ = await _planned_at_hand(outbox, {"a": "2"})
    assert (add(EMPTY, again.digest), again.objects) == (add(EMPTY, plan.digest), plan.objects)
    await outbox.close()


async def test_what_is_not_just_one_whole_group_as_it_was_made_is_looked_up(tmp_path: Path) -> None:
    outbox = await SqliteOutbox.open(tmp_path / "outbox.db", LIMITS)
    await outbox.types(NAME, [NOTE])
    await make(outbox, {"a": ("1", "2"), "b": ("1", "2")}, seal=True)
    await outbox.keep_and_take(NAME, LocalBatch(edits({"c": ("1", "2")}), True, 5, 7 * S), 1, 1000)
    assert (await _planned_at_hand(outbox, {"d": "7"})) == (Plan(0, 5), 0)
    others: list[dict[str, str | None]] = [
        {"a": "2"},
        {"a": "2", "b": "9"},
        {"a": "2", "b": "2", "c": "2"},
        {"c": None},
    ]
    for brought in others:
        await make(outbox, {}, mark=6)  # what was looked up before is not known any more
        assert (await _planned_at_hand(outbox, brought))[1] == 1, brought
    await make(outbox, {"c": ("2", "3")}, mark=7, seal=True)
    assert (await _planned_at_hand(outbox, {"c": "3"}))[1] == 1, "another version of it stands as well"
    await outbox.close()


async def test_a_plan_without_a_commit_waits_until_the_one_before_it_is_durable(tmp_path: Path) -> None:
    outbox = await SqliteOutbox.open(tmp_path / "outbox.db", LIMITS)
    await outbox.types(NAME, [NOTE])
    await make(outbox, {"a": ("1", "2")}, seal=True)
    await outbox.keep_and_take(NAME, LocalBatch(edits({"b": ("1", "2")}), True, 5, 7 * S), 1, 1000)
    first, commits = await _planned_at_hand(outbox, {"a": "2"})
    assert commits == 0
    await outbox.carried_out(NAME, at(8, first.id))
    second, commits = await _planned_at_hand(outbox, {"b": "2"})
    assert (commits, second.id > first.id) == (1, True)
    await outbox.carried_out(NAME, at(9, second.id))
    assert (await outbox.overlay(NAME)).objects == 0
    await outbox.close()


async def _steps_of_what_comes_down(directory: Path, waiting: int) -> int:
    """Steps of SQLite, in hundreds, for one object that comes down while so many edits wait."""
    outbox = await SqliteOutbox.open(directory / f"{waiting}.db", Limits())
    await outbox.types(NAME, [NOTE])
    await make(outbox, {f"waits {number}": ("1", "2") for number in range(waiting)}, seal=True)
    await make(outbox, {"a": ("1", "2")}, seal=True)
    await make(outbox, {"b": ("1", "2")})
    steps = 0

    def step() -> int:
        nonlocal steps
        steps += 1
        return 0

    await outbox._database.write(lambda connection: connection.set_progress_handler(step, 100))
    plan = await outbox.plan(NAME, work({"a": "2"}))
    await outbox.settle(NAME, (accepted(2, 9),), 8, S)
    await outbox.carried_out(NAME, at(9, plan.id))
    await outbox.close()
    return steps


async def test_what_comes_down_costs_what_it_brings_however_much_waits(tmp_path: Path) -> None:
    few, many = [await _steps_of_what_comes_down(tmp_path, waiting) for waiting in (10, 3_000)]
    assert many < 2 * few


@pytest.mark.parametrize("groups_max", [1, 2])
async def test_more_groups_than_are_counted_come_down_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, groups_max: int
) -> None:
    monkeypatch.setattr("syncd.store.outbox_plan._GROUPS_MAX", groups_max)
    async with outbox_of("sqlite", tmp_path) as outbox:
        await make(outbox, {"a": ("1", "2"), "b": ("1", None)}, seal=True)
        await make(outbox, {"c": (None, "1")}, seal=True)
        plan = await outbox.plan(NAME, work({"a": "2", "b": None, "c": "1"}))
        assert plan.digest % (1 << 128) == difference({"a": ("1", "2"), "b": ("1", None), "c": (None, "1")})
        await outbox.settle(NAME, [accepted(1, 9), accepted(2, 9)], 7, S)
        assert (await outbox.carried_out(NAME, at(9, plan.id))).pending == 0
        overlay = await outbox.overlay(NAME)
        assert (overlay.digest % (1 << 128), overlay.objects) == (0, 0)
