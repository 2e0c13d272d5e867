"""Plans on a target whose application has triggers: what they do to rows that are put back has not the last word."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from syncd.adapters.canonical import pack_values
from syncd.applications.sqlite import SqliteTarget
from syncd.core.edits import Overlay, Plan, Restored
from syncd.core.ports import Executed
from tests.applications.road import LIMITS, sql
from tests.applications.writing import Group, Row, Writing, table

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("wal")]

NOTES = table(1, "notes", "id INTEGER PRIMARY KEY, body", ("id",), ("body",))
COUNTS = table(2, "counts", "id INTEGER PRIMARY KEY, n INT", ("id",), ("n",))
TRIGGER = "CREATE TRIGGER counting AFTER UPDATE ON notes BEGIN UPDATE counts SET n = n + 1; END"


def note(key: int, body: str) -> Row:
    return Row("notes", (key,), (body,))


async def test_triggers_of_the_application_do_not_change_what_is_put_back(path: Path) -> None:
    target = SqliteTarget(path, "c", False, False, LIMITS, True)
    await target.open()
    try:
        here = Writing(target, path, (NOTES, COUNTS))
        await here.begin(note(1, "a"), note(2, "b"), note(3, "c"), Row("counts", (1,), (0,)))
        sql(path, TRIGGER, "UPDATE notes SET body = 'mine' WHERE id < 3")
        changes = await target.changes(0, 100)
        assert {(one.type, one.base, one.fields) for one in changes.edits} == {
            (1, pack_values(("a",)), pack_values(("mine",))),
            (1, pack_values(("b",)), pack_values(("mine",))),
            (2, pack_values((0,)), pack_values((2,))),
        }
        before = await target.open()
        back = [
            Restored(1, note(1, "").id.key, pack_values(("a",))),
            Restored(1, note(2, "").id.key, pack_values(("b",))),
            Restored(2, note(1, "").id.key, pack_values((0,))),
        ]
        state = await target.restore(Plan(1, changes.mark, restore=lambda: iter(back)))
        assert state == replace(before, plan=1)
        assert await target.recount(Overlay(changes.mark)) == state
        assert sql(path, "SELECT n FROM counts") == [(0,)]

        sql(path, "UPDATE notes SET body = 'mine' WHERE id < 3")
        changes = await target.changes(changes.mark, 100)
        work = replace(here.work([Group([note(3, "d")])]), plan=Plan(2, changes.mark, restore=lambda: iter(back)))
        result = await target.execute(work)
        assert isinstance(result, Executed)
        assert await target.recount(Overlay(changes.mark)) == result.state
        assert sql(path, "SELECT n FROM counts") == [(0,)]
        assert sql(path, "SELECT body FROM notes") == [("a",), ("b",), ("d",)]
        assert (await target.changes(changes.mark, 100)).edits == ()
    finally:
        await target.close()
