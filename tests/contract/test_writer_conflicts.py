"""The contract of ``upward_ports.Writer`` where the primary changed the same: on SQLite and on the twin in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from syncd.adapters.canonical import unpack_values
from syncd.core.conflict import CHANGED, EARLIER, NOT_AT_BASE, OTHER
from syncd.core.digest import object_hash_bytes, type_prefix
from syncd.core.edits import EditGroup, Fact, Policy, Ruling
from syncd.core.model import ObjectId
from tests.contract.writer_kit import Fields, WriterBench, body, edit, group, item, note, opened, packed

pytestmark = pytest.mark.asyncio
UUID = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"


@pytest_asyncio.fixture(params=["sqlite", "memory"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[WriterBench]:
    async with opened(request.param, tmp_path / "app.db") as made:
        yield made


_ROW = (body("base"), body("ours"), body("theirs"))


@pytest.mark.parametrize(
    ("policy", "ruling", "there"),
    [
        (Policy.PRIMARY, Ruling.REFUSED, body("ours")),
        (Policy.AUXILIARY, Ruling.ACCEPTED, body("theirs")),
        (Policy.NEWEST, Ruling.REFUSED, body("ours")),
        (Policy.BOTH, Ruling.REFUSED, body("ours")),
        (Policy.MERGE, Ruling.REFUSED, body("ours")),
    ],
)
async def test_a_row_changed_on_both_sides_goes_by_the_policy_and_its_group_with_it(
    bench: WriterBench, policy: Policy, ruling: Ruling, there: Fields
) -> None:
    base, ours, theirs = _ROW
    await bench.begun({note("a"): ours})
    (written,) = await bench.write(
        group(1, edit(note("a"), base, theirs), edit(note("b"), None, body("1"))), policy=policy
    )
    accepted = ruling is not Ruling.REFUSED
    assert (written.ruling, written.cause) == (ruling, "" if accepted else CHANGED)
    assert bench.rows() == ({note("a"): there, note("b"): body("1")} if accepted else {note("a"): there})
    assert [side.result for side in written.sides] == [packed(there), packed(body("1")) if accepted else None]
    assert [side.contested for side in written.sides] == [True, False]


@pytest.mark.parametrize("policy", Policy)
async def test_a_modification_beats_a_deletion(bench: WriterBench, policy: Policy) -> None:
    await bench.begun({note("kept"): body("ours")})
    written = await bench.write(
        group(1, edit(note("kept"), body("base"), None)),
        group(2, edit(note("revived"), body("base"), body("theirs"))),
        policy=policy,
    )
    assert [one.ruling for one in written] == [Ruling.REFUSED, Ruling.ACCEPTED]
    assert bench.rows() == {note("kept"): body("ours"), note("revived"): body("theirs")}


@pytest.mark.parametrize(("time_us", "known", "wins"), [(11, True, True), (10, True, False), (11, False, False)])
async def test_the_newest_version_wins_where_the_store_knows_the_other(
    bench: WriterBench, time_us: int, known: bool, wins: bool
) -> None:
    await bench.begun({note("a"): body("ours")})
    held = packed(body("ours" if known else "earlier")) or b""
    facts = {(1, note("a").key): Fact(object_hash_bytes(type_prefix("notes"), note("a").key, held), 10, False)}
    made = EditGroup("laptop", "o", 1, time_us, (edit(note("a"), body("base"), body("theirs")),))
    await bench.write(made, policy=Policy.NEWEST, facts=facts)
    assert bench.rows() == {note("a"): body("theirs" if wins else "ours")}


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "merged"),
    [
        (("t", None, None), ("u", None, None), ("t", 1.5, b"\x00"), ("u", 1.5, b"\x00")),
        (("t", 1.0, b"x"), (None, 1.0, b"x"), ("t", 1.0, None), (None, 1.0, None)),
        (("t", 1.0, None), ("u", 2.5, None), ("t", 2.5, b""), ("u", 2.5, b"")),
        (("t", 1.0, None), ("u", None, None), ("t", 2.5, None), None),
        (("t", None, b"x"), ("t", None, "x"), ("t", None, None), None),
    ],
)
async def test_fields_that_do_not_overlap_merge(
    bench: WriterBench, base: Fields, ours: Fields, theirs: Fields, merged: Fields
) -> None:
    await bench.begun({note("a"): ours})
    (written,) = await bench.write(group(1, edit(note("a"), base, theirs)), policy=Policy.MERGE)
    assert written.ruling is (Ruling.MERGED if merged else Ruling.REFUSED)
    assert bench.rows() == {note("a"): merged or ours}
    assert written.sides[0].result == packed(merged or ours)


async def test_both_keeps_the_other_version_under_the_next_number(bench: WriterBench) -> None:
    await bench.begun({item(1): ("ours",), item(2): ("ours",), item(40): ("last",)})
    (written,) = await bench.write(
        group(
            1,
            edit(item(1), ("base",), ("theirs",)),
            edit(item(41), None, ("added",)),
            edit(item(2), ("base",), ("theirs too",)),
        ),
        policy=Policy.BOTH,
    )
    assert written.ruling is Ruling.MERGED
    assert [unpack_values(side.copy) if side.copy else None for side in written.sides] == [[42], None, [43]]
    assert bench.rows() == {
        item(1): ("ours",),
        item(2): ("ours",),
        item(40): ("last",),
        item(41): ("added",),
        item(42): ("theirs",),
        item(43): ("theirs too",),
    }
    assert set(await bench.read()) == {item(41), item(42), item(43)}


@pytest.mark.parametrize("like", [UUID, UUID.upper(), UUID.replace("-", "")])
async def test_both_keeps_the_other_version_under_a_uuid_that_follows_from_the_edit(
    bench: WriterBench, like: str
) -> None:
    await bench.begun({note(like): body("ours")})
    made = group(1, edit(note(like), body("base"), body("theirs")))
    (written,) = await bench.write(made, policy=Policy.BOTH)
    copy = written.sides[0].copy
    assert bench.rows() == {note(like): body("ours"), ObjectId("notes", copy): body("theirs")}
    text = unpack_values(copy)[0]
    assert isinstance(text, str)
    assert (len(text), text.count("-"), text == text.upper()) == (len(like), like.count("-"), like == like.upper())
    bench.commit({note(like): body("ours again"), ObjectId("notes", copy): None})
    (other,) = await bench.write(group(2, edit(note(like), body("base"), body("theirs"))), policy=Policy.BOTH)
    assert other.sides[0].copy not in (copy, b"")


async def test_what_is_offered_is_added_or_known_or_a_conflict(bench: WriterBench) -> None:
    await bench.begun({note("same"): body("1"), note("other"): body("ours"), note("older"): body("2")})
    offers = [
        group(number, edit(note(key), None, body(text)), offered=True)
        for number, (key, text) in enumerate((("same", "1"), ("other", "theirs"), ("older", "1"), ("own", "1")), 1)
    ]
    facts = {(1, note("older").key): Fact(b"", 0, True)}
    written = await bench.write(*offers, facts=facts)
    assert [(one.ruling, one.cause, len(one.sides)) for one in written] == [
        (Ruling.ACCEPTED, "", 0),
        (Ruling.REFUSED, OTHER, 1),
        (Ruling.REFUSED, EARLIER, 0),
        (Ruling.ACCEPTED, "", 0),
    ]
    assert bench.rows()[note("own")] == body("1")


async def test_without_a_policy_what_changed_since_is_left_and_told(bench: WriterBench) -> None:
    await bench.begun({note("a"): body("2"), note("b"): body("3"), note("c"): body("1")})
    made = (edit(note("a"), body("2"), body("1")), edit(note("b"), body("2"), None), edit(note("c"), body("1"), None))
    (written,) = await bench.write(group(1, *made, device=""), policy=None)
    assert written.ruling is Ruling.MERGED
    assert [side.contested for side in written.sides] == [False, True, False]
    assert bench.rows() == {note("a"): body("1"), note("b"): body("3")}
    (nothing,) = await bench.write(group(2, made[1], device=""), policy=None)
    assert (nothing.ruling, nothing.cause, nothing.guilty) == (Ruling.REFUSED, NOT_AT_BASE, note("b"))


async def test_a_conflict_that_the_application_refuses_is_still_told(bench: WriterBench) -> None:
    await bench.begun({note("a"): body("ours")})
    bench.refuse(note("bad"), "no such note here")
    (written,) = await bench.write(
        group(1, edit(note("a"), body("base"), body("theirs")), edit(note("bad"), None, body("1"))),
        policy=Policy.AUXILIARY,
    )
    assert (written.ruling, written.guilty) == (Ruling.REFUSED, note("bad"))
    assert [(side.theirs, side.result) for side in written.sides] == [
        (packed(body("theirs")), packed(body("ours"))),
        (packed(body("1")), None),
    ]
    assert bench.rows() == {note("a"): body("ours")}
