"""Groups that come down whole are told by their sums: what the outbox in SQLite takes for such, and what not (R7)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from syncd.core.edits import LocalBatch, Plan
from syncd.core.ports import Work
from syncd.store import outbox_plain
from syncd.store.outbox import SqliteOutbox
from tests.contract.outbox_kit import (
    LIMITS,
    NAME,
    NEXT,
    NOTE,
    Change,
    S,
    accepted,
    at,
    difference,
    edits,
    make,
    note,
    plain_groups,
    put_back,
    refused,
    work,
)

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def outbox(tmp_path: Path) -> AsyncIterator[SqliteOutbox]:
    opened = await SqliteOutbox.open(tmp_path / "outbox.db", LIMITS)
    await opened.types(NAME, [NOTE])
    yield opened
    await opened.close()


FIRST: dict[str, Change] = {"a": ("1", "2"), "b": (None, "1"), "c": ("1", None)}
SECOND: dict[str, Change] = {"d": ("1", "2"), "e": ("1", "2")}


def brings(*groups: dict[str, Change]) -> dict[str, str | None]:
    return {key: new for group in groups for key, (_, new) in group.items()}


async def rows_of(outbox: SqliteOutbox) -> list[int]:
    tables = ("groups", "edits", "objects", "plans", "plan_rows", "plan_whole", "plan_groups")
    return await outbox._database.read(
        lambda connection: [connection.execute(f"SELECT count(*) FROM {one}").fetchone()[0] for one in tables]
    )


def gain(plan: Plan) -> tuple[int, int]:
    return plan.digest % (1 << 128), plan.objects


async def test_a_work_that_brings_groups_as_they_were_made_has_nothing_to_write(outbox: SqliteOutbox) -> None:
    await make(outbox, FIRST, seal=True)
    await make(outbox, SECOND, mark=7, seal=True)
    assert await plain_groups(outbox) == [1, 2]
    plan = await outbox.plan(NAME, work(brings(FIRST)))
    assert (plan.stays, plan.leave, plan.restore, plan.mark) == (True, None, None, 7)
    assert gain(plan) == (difference(FIRST), 0)
    plan = await outbox.plan(NAME, work(brings(FIRST, SECOND)))
    assert plan.stays
    assert gain(plan) == (difference(FIRST | SECOND), 0)
    await outbox.settle(NAME, [accepted(1, 8), accepted(2, 9)], 7, S)
    plan = await outbox.plan(NAME, work(brings(FIRST, SECOND)))
    state = await outbox.carried_out(NAME, at(9, plan.id))
    assert (state.pending, state.last) == (0, 2)
    assert (await outbox.overlay(NAME)).objects == 0
    assert await rows_of(outbox) == [0] * 7


async def test_a_group_made_of_several_pages_is_one_of_them(outbox: SqliteOutbox) -> None:
    await make(outbox, FIRST | {"f": (None, "1")}, close=False)
    await make(outbox, SECOND | {"g": (None, "1"), "h": ("1", "2")}, close=False)
    await make(outbox, {"i": ("1", "2")}, seal=True)
    assert await plain_groups(outbox) == [1]
    named = brings(FIRST, SECOND) | {"f": "1", "g": "1", "h": "2", "i": "2"}
    assert (await outbox.plan(NAME, work(named))).stays


@pytest.mark.parametrize(
    "named",
    [
        brings(FIRST) | {"x": "1"},
        brings(FIRST) | {"a": "9"},
        brings(FIRST) | {"b": None},
        brings(FIRST) | {"c": "1"},
        brings(FIRST) | {"d": "2"},
        {"a": "2", "b": "1"},
        brings(SECOND),
    ],
)
async def test_what_else_comes_is_looked_at_object_by_object(
    outbox: SqliteOutbox, named: dict[str, str | None]
) -> None:
    await make(outbox, FIRST, seal=True)
    await make(outbox, SECOND, seal=True)
    plan = await outbox.plan(NAME, work(named))
    assert (bool(plan.id), plan.stays) == (True, False)


async def test_other_works_are_looked_at_object_by_object(outbox: SqliteOutbox) -> None:
    await make(outbox, FIRST, seal=True)
    named = work(brings(FIRST))
    others: list[Work] = [
        work(brings(FIRST), skip=frozenset([note("z")])),
        replace(named, snapshot=True),
        replace(named, types={NOTE.id: replace(NOTE, name="another")}),
        replace(_of_type(named, NEXT.id), types={NEXT.id: NEXT}),
    ]
    for other in others:
        assert not (await outbox.plan(NAME, other)).stays


def _of_type(brought: Work, type_: int) -> Work:
    frames = [replace(frame, types=[type_] * len(frame)) for frame in brought.frames()]
    return replace(brought, frames=lambda: iter(frames))


async def test_of_too_many_groups_nothing_is_told(outbox: SqliteOutbox, monkeypatch: pytest.MonkeyPatch) -> None:
    await make(outbox, FIRST, seal=True)
    await make(outbox, SECOND, seal=True)
    both = work(brings(FIRST, SECOND))
    for most, told in ((2, True), (1, False)):
        monkeypatch.setattr(outbox_plain, "_GROUPS_MAX", most)
        assert (await outbox.plan(NAME, both)).stays is told


async def test_a_group_of_which_more_is_to_be_known_is_not_plain(outbox: SqliteOutbox) -> None:
    await make(outbox, FIRST)
    assert (await outbox.plan(NAME, work(brings(FIRST)))).stays is False, "it may yet be joined"
    await make(outbox, {"a": ("2", "3")}, seal=True)
    assert await plain_groups(outbox) == [], "it was joined"
    await make(outbox, SECOND, seal=True)
    await make(outbox, {"d": ("2", "3")}, seal=True)
    assert await plain_groups(outbox) == [], "another edit stands of an object in it"
    third: dict[str, Change] = {"k": ("1", "2"), "l": ("1", "2")}
    await make(outbox, third, seal=True)
    assert await plain_groups(outbox) == [4]
    plan = await outbox.plan(NAME, work({"k": "1", "l": "2"}))
    await outbox.carried_out(NAME, at(9, plan.id))
    assert await plain_groups(outbox) == []


async def test_a_refused_group_is_not_waited_for(outbox: SqliteOutbox) -> None:
    await make(outbox, FIRST, seal=True)
    await make(outbox, SECOND, seal=True)
    await outbox.settle(NAME, [refused(1), accepted(2, 9)], 7, S)
    plan = await outbox.plan(NAME, work(brings(SECOND)))
    assert plan.stays
    await outbox.carried_out(NAME, at(9, plan.id))
    assert (await rows_of(outbox))[:3] == [1, 3, 3]
    plan = await outbox.plan(NAME, None)
    assert put_back(plan) == {"a": "1", "b": None, "c": "1"}


async def test_a_plan_of_whole_groups_is_known_after_a_crash(tmp_path: Path) -> None:
    first = await SqliteOutbox.open(tmp_path / "crash.db", LIMITS)
    await first.types(NAME, [NOTE])
    await make(first, FIRST, seal=True)
    await make(first, SECOND, seal=True)
    plan = await first.plan(NAME, work(brings(FIRST)))
    await first.close()
    again = await SqliteOutbox.open(tmp_path / "crash.db", LIMITS)
    state = await again.carried_out(NAME, at(9, plan.id))
    assert await again.carried_out(NAME, at(9, plan.id)) == state, "once is enough"
    overlay = await again.overlay(NAME)
    assert (overlay.digest + difference(SECOND)) % (1 << 128) == 0
    state = await again.settle(NAME, [accepted(1, 9)], 9, S)
    assert (state.pending, state.undo) == (1, False)
    assert (await rows_of(again))[:3] == [1, 2, 2]
    await again.close()


async def test_what_is_kept_of_another_collection_stays(outbox: SqliteOutbox) -> None:
    await make(outbox, FIRST, seal=True)
    await outbox.types("others", [NOTE])
    batch_state = await outbox.keep("others", LocalBatch(edits(SECOND), True, 3, S))
    await outbox.settle(NAME, [accepted(1, 9)], 7, S)
    plan = await outbox.plan(NAME, work(brings(FIRST)))
    await outbox.carried_out(NAME, at(9, plan.id))
    assert await outbox.load("others") == batch_state
    assert (await rows_of(outbox))[:3] == [1, 2, 2]
