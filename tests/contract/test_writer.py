"""The contract of ``upward_ports.Writer``, on an SQLite database and on the twin in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from syncd.core.conflict import TABLE_CHANGED
from syncd.core.edits import Policy, Ruling
from syncd.core.errors import ApplicationOffline
from tests.contract.writer_kit import (
    IDS,
    Fields,
    WriterBench,
    body,
    edit,
    group,
    item,
    note,
    opened,
    packed,
)

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture(params=["sqlite", "memory"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[WriterBench]:
    async with opened(request.param, tmp_path / "app.db") as made:
        yield made


# ---------------------------------------------------------------- whole groups


async def test_a_group_is_written_whole_and_read_by_the_source_up_to_its_mark(bench: WriterBench) -> None:
    await bench.begun({note("a"): body("1"), note("b"): body("1")})
    edits = (
        edit(note("a"), body("1"), body("2")),
        edit(note("b"), body("1"), None),
        edit(note("c"), None, body("1")),
        edit(item(7), None, ("seven",)),
    )
    (written,) = await bench.write(group(1, *edits))
    assert (written.device, written.outbox, written.number) == ("laptop", "laptop-outbox", 1)
    assert (written.ruling, written.cause, written.guilty, written.sides) == (Ruling.ACCEPTED, "", None, ())
    assert bench.rows() == {note("a"): body("2"), note("c"): body("1"), item(7): ("seven",)}
    assert bench.mark < written.mark
    read = await bench.read()
    assert bench.mark >= written.mark
    assert {one: observed.fields for one, observed in read.items()} == {
        note("a"): packed(body("2")),
        note("b"): None,
        note("c"): packed(body("1")),
        item(7): packed(("seven",)),
    }


async def test_groups_are_written_in_order_each_on_what_the_one_before_left(bench: WriterBench) -> None:
    written = await bench.write(
        group(1, edit(note("a"), None, body("1"))),
        group(2, edit(note("a"), body("1"), body("2"))),
        group(1, edit(note("a"), body("2"), None), device="tablet"),
        group(3, edit(note("a"), None, body("3"))),
    )
    assert [one.ruling for one in written] == [Ruling.ACCEPTED] * 4
    assert [(one.device, one.number) for one in written] == [("laptop", 1), ("laptop", 2), ("tablet", 1), ("laptop", 3)]
    assert bench.rows() == {note("a"): body("3")}


async def test_what_the_application_refuses_leaves_nothing_of_its_group_and_stops_no_other(bench: WriterBench) -> None:
    await bench.begun({note("gone"): body("1"), note("old"): body("1")})
    bench.refuse(note("bad"), "no such note here")
    written = await bench.write(
        group(1, edit(note("before"), None, body("1"))),
        group(
            2,
            edit(note("gone"), body("1"), None),
            edit(note("old"), body("1"), body("2")),
            edit(note("bad"), None, body("1")),
            edit(note("more"), None, body("1")),
        ),
        group(3, edit(note("after"), None, body("1"))),
    )
    assert [one.ruling for one in written] == [Ruling.ACCEPTED, Ruling.REFUSED, Ruling.ACCEPTED]
    assert "no such note here" in written[1].cause
    assert (written[1].guilty, written[1].sides) == (note("bad"), ())
    there = {note("gone"): body("1"), note("old"): body("1"), note("before"): body("1"), note("after"): body("1")}
    assert bench.rows() == there
    assert set(await bench.read()) == {note("before"), note("after")}


async def test_an_edit_of_a_type_that_is_not_known_refuses_its_group(bench: WriterBench) -> None:
    (written,) = await bench.write(
        group(1, edit(note("a"), None, body("1")), edit(note("b"), None, body("1"), type_id=9))
    )
    assert (written.ruling, written.cause, written.sides) == (Ruling.REFUSED, TABLE_CHANGED, ())
    assert bench.rows() == {}


async def test_what_cannot_be_read_is_not_written_over(bench: WriterBench) -> None:
    await bench.begun({note("a"): body("1")})
    bench.spoil(note("a"))
    (written,) = await bench.write(
        group(1, edit(note("a"), body("1"), body("2")), edit(note("b"), None, body("1"))), policy=Policy.AUXILIARY
    )
    assert (written.ruling, written.guilty) == (Ruling.REFUSED, note("a"))
    assert "what the primary holds cannot be read" in written.cause


async def test_an_empty_order_writes_nothing(bench: WriterBench) -> None:
    assert await bench.write() == []


async def test_the_same_change_on_both_sides_is_accepted_and_its_mark_is_that_of_the_application(
    bench: WriterBench,
) -> None:
    await bench.begun({note("a"): body("1")})
    bench.commit({note("a"): body("2")})
    (written,) = await bench.write(group(1, edit(note("a"), body("1"), body("2"))))
    assert (written.ruling, written.sides) == (Ruling.ACCEPTED, ())
    assert written.mark > bench.mark
    assert set(await bench.read()) == {note("a")}
    assert bench.mark >= written.mark


# ---------------------------------------------------------------- exactly once


async def test_a_group_that_comes_again_is_told_again_and_not_written(bench: WriterBench) -> None:
    bench.refuse(note("bad"), "no such note here")
    groups = (
        group(1, edit(note("a"), None, body("1"))),
        group(2, edit(note("bad"), None, body("1"))),
    )
    first = await bench.write(*groups)
    bench.commit({note("a"): None})
    await bench.read()
    for crash in (False, True):
        if crash:
            await bench.crash()
        assert await bench.write(*groups) == first
        assert bench.rows() == {}
        assert await bench.read() == {}


async def test_a_conflict_that_comes_again_has_all_its_versions(bench: WriterBench) -> None:
    blob = ("text", 1.5, b"\x00\xff")
    await bench.begun({note("a"): body("p"), note("b"): None})
    one = group(1, edit(note("a"), body("1"), blob), edit(note("b"), None, (None, None, None)))
    first = await bench.write(one, policy=Policy.AUXILIARY)
    await bench.crash()
    assert await bench.write(one, policy=Policy.AUXILIARY) == first
    sides = [(side.object, side.base, side.ours, side.theirs, side.contested) for side in first[0].sides]
    assert sides == [
        (note("a"), packed(body("1")), packed(body("p")), packed(blob), True),
        (note("b"), None, None, packed((None, None, None)), False),
    ]


async def test_a_crash_between_groups_is_made_up_for(bench: WriterBench) -> None:
    """The second order is a part that was executed and one that was not."""
    groups = [group(number, edit(note("a"), body(str(number - 1)), body(str(number)))) for number in range(1, 5)]
    bench.commit({note("a"): body("0")})
    await bench.write(*groups[:2])
    await bench.crash()
    again = await bench.write(*groups)
    assert [one.ruling for one in again] == [Ruling.ACCEPTED] * 4
    assert bench.rows() == {note("a"): body("4")}


async def test_groups_that_come_again_one_by_one_after_a_crash_are_told_again(bench: WriterBench) -> None:
    """The first of them says nothing of how far the others had come."""
    groups = [group(number, edit(note(str(number)), None, body("1"))) for number in range(1, 4)]
    first = await bench.write(*groups)
    bench.commit({note(str(number)): None for number in range(1, 4)})
    await bench.crash()
    assert [(await bench.write(one))[0] for one in groups] == list(first)
    assert bench.rows() == {}
    await bench.write(group(4, edit(note("4"), None, body("1"))))
    assert bench.rows() == {note("4"): body("1")}


async def test_what_is_settled_is_forgotten_and_nothing_else(bench: WriterBench) -> None:
    one, two = group(1, edit(note("a"), None, body("1"))), group(2, edit(note("b"), None, body("1")))
    await bench.write(one, two)
    await bench.writer.settled([("laptop", "laptop-outbox", 1)])
    bench.commit({note("a"): None, note("b"): None})
    (told,) = await bench.write(two)
    assert (told.ruling, bench.rows()) == (Ruling.ACCEPTED, {})
    await bench.write(one)
    assert bench.rows() == {note("a"): body("1")}


# ---------------------------------------------------------------- authors


async def test_the_source_tells_who_changed_each_object_last(bench: WriterBench) -> None:
    bench.commit({note("mine"): body("1"), note("shared"): body("1")})
    await bench.write(
        group(1, edit(note("a"), None, body("1")), edit(note("b"), None, body("1"))),
        group(1, edit(note("b"), body("1"), body("2")), device="tablet"),
        group(2, edit(note("c"), None, body("1")), author="laptop undo notes:17"),
        group(3, edit(note("d"), None, body("1")), author=""),
        group(4, edit(note("shared"), body("1"), body("2"))),
        group(5, edit(note("b"), body("2"), None)),
        group(6, edit(note("mine"), body("1"), body("2"))),
    )
    bench.commit({note("mine"): body("3")})
    authors = {one: observed.author for one, observed in (await bench.read()).items()}
    assert authors == {
        note("mine"): "",
        note("shared"): "laptop",
        note("a"): "laptop",
        note("b"): "laptop",
        note("c"): "laptop undo notes:17",
        note("d"): "",
    }


async def test_authors_outlive_a_crash_and_are_forgotten_with_what_was_read(bench: WriterBench) -> None:
    await bench.write(group(1, edit(note("a"), None, body("1"))))
    await bench.crash()
    await bench.write(group(2, edit(note("b"), None, body("1"))))
    assert {observed.author for observed in (await bench.read()).values()} == {"laptop"}
    await bench.source.discard(bench.mark)
    bench.commit({note("a"): body("3")})
    assert {observed.author for observed in (await bench.read()).values()} == {""}


async def test_a_group_that_was_refused_signs_nothing(bench: WriterBench) -> None:
    bench.refuse(note("bad"), "no such note here")
    await bench.write(group(1, edit(note("x"), None, body("1")), edit(note("bad"), None, body("1"))))
    bench.commit({note("a"): body("1"), note("b"): body("1")})
    assert {observed.author for observed in (await bench.read()).values()} == {""}


# ---------------------------------------------------------------- marks and absence


async def test_what_a_full_log_does_not_hold_is_read_when_its_mark_is_reached(bench: WriterBench) -> None:
    bench.lose_log()
    (written,) = await bench.write(group(1, edit(note("a"), None, body("1"))))
    lost = await bench.source.changes(bench.mark, 100)
    assert lost.lost
    assert lost.mark >= written.mark > bench.mark
    page = await bench.source.scan(1, None, 100)
    assert (note("a").key, packed(body("1"))) in [(one.key, one.fields) for one in page.observed]


async def test_data_that_is_away_is_offline_and_back_again(bench: WriterBench) -> None:
    await bench.write(group(1, edit(note("a"), None, body("1"))))
    await bench.source.close()
    bench.take_away()
    for _ in range(2):
        with pytest.raises(ApplicationOffline):
            await bench.write(group(2, edit(note("b"), None, body("1"))))
    bench.bring_back()
    await bench.write(group(1, edit(note("a"), None, body("1"))), group(2, edit(note("b"), None, body("1"))))
    assert bench.rows() == {note("a"): body("1"), note("b"): body("1")}


async def test_other_data_than_what_was_shared_is_offline(bench: WriterBench) -> None:
    state = await bench.source.open("")
    bench.writer.describe("something else", state.types)
    with pytest.raises(ApplicationOffline, match="was replaced"):
        await bench.write(group(1, edit(note("a"), None, body("1"))))
    assert bench.rows() == {}


async def test_many_objects_of_a_group_are_written_at_once(bench: WriterBench) -> None:
    bench.commit({item(number): (f"old {number}",) for number in range(10)})
    edits = [edit(item(number), (f"old {number}",) if number < 10 else None, ("new",)) for number in range(20)]
    edits[5] = edit(item(5), ("old 5",), None)
    (written,) = await bench.write(group(1, *edits))
    assert written.ruling is Ruling.ACCEPTED
    assert bench.rows() == {item(number): ("new",) for number in range(20) if number != 5}


# ---------------------------------------------------------------- fields that a device does not have


async def test_fields_of_which_an_edit_says_nothing_stay(bench: WriterBench) -> None:
    await bench.begun({note("a"): ("1", 2.0, b"x"), note("b"): ("1", 2.0, b"y")})
    edits = (
        edit(note("a"), ("1", None, None), ("2", None, None)),
        edit(note("b"), ("1", 9.0, None), None),
        edit(note("c"), None, ("new", None, None)),
    )
    (written,) = await bench.write(replace(group(1, *edits), silent={IDS["notes"]: frozenset({1, 2})}))
    assert (written.ruling, written.sides) == (Ruling.ACCEPTED, ())
    assert bench.rows() == {note("a"): ("2", 2.0, b"x"), note("c"): ("new", None, None)}


def _many(first: int = 0) -> dict[str, tuple[Fields, Fields]]:
    """Changes of a hundred notes: some go, some come, some stay as they are."""
    changes: dict[str, tuple[Fields, Fields]] = {}
    for number in range(first, first + 100):
        before = None if number % 5 == 0 else body(f"{number}")
        after = None if number % 5 == 1 else before if number % 5 == 2 else body(f"{number} anew")
        changes[f"{number:03}"] = before, after
    return changes


async def test_many_clean_edits_of_several_groups_are_written(bench: WriterBench) -> None:
    changes = _many()
    await bench.begun({note(key): before for key, (before, _) in changes.items() if before is not None})
    edits = [edit(note(key), before, after) for key, (before, after) in changes.items()]
    written = await bench.write(group(1, *edits[:90]), group(2, *edits[90:]))
    assert [(one.ruling, one.sides) for one in written] == [(Ruling.ACCEPTED, ())] * 2
    assert bench.rows() == {note(key): after for key, (_, after) in changes.items() if after is not None}


@pytest.mark.parametrize(
    ("before", "there"),
    [
        (body("1"), body("2")),
        (body("1"), None),
        (None, body("2")),
        (("1", 1, None), ("1", 1.0, None)),  # equal, and not the same
    ],
)
async def test_among_many_edits_one_of_another_version_refuses_its_group_alone(
    bench: WriterBench, before: Fields, there: Fields
) -> None:
    changes, key = _many(), "x"
    held = {note(key): before for key, (before, _) in changes.items() if before is not None}
    await bench.begun(held | ({note(key): there} if there is not None else {}))
    edits = [edit(note(one), before, after) for one, (before, after) in changes.items()]
    stale = edit(note(key), before, None if there is None else body("3"))
    written = await bench.write(group(1, *edits[:90]), group(2, stale, *edits[90:]))
    assert [one.ruling for one in written] == [Ruling.ACCEPTED, Ruling.REFUSED]
    assert written[1].guilty == note(key)
    assert bench.rows().get(note(key)) == there
