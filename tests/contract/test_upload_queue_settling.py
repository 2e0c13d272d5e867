"""The contract of the upload queue, for the one in SQLite and its twin in memory: verdicts and conflicts (R6, R11)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from syncd.core.edits import Conflict, Ruling
from syncd.core.messages import Verdict
from syncd.core.model import ObjectId
from syncd.core.settings import Limits
from syncd.core.upward_ports import UploadQueue
from tests.contract.uploads_kit import (
    DEVICE,
    NAME,
    NOW_US,
    OUTBOX,
    note,
    numbers,
    open_queue,
    settle,
    side,
    stage,
    upload,
    waiting,
    written,
)

pytestmark = pytest.mark.asyncio

LIMITS = Limits(text_chars_max=50, conflict_bytes_max=3_000, kept_verdicts_max=5)


@pytest_asyncio.fixture(params=["sqlite", "memory"])
async def queue(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[UploadQueue]:
    """Groups 1 to 5 of a device wait."""
    async with open_queue(request.param, tmp_path, LIMITS) as opened:
        await stage(opened, upload({n: {f"{n}": "1"} for n in range(1, 6)}))
        yield opened


async def test_a_verdict_says_what_became_of_a_group(queue: UploadQueue) -> None:
    outcome = [
        written(1),
        written(2, Ruling.MERGED, side("2", "merged")),
        written(3, Ruling.REFUSED, cause="CHECK failed", guilty=note("3")),
        written(4, Ruling.REFUSED, side("4"), cause="changed on the primary", guilty=note("4")),
    ]
    verdicts = await queue.settle(NAME, outcome, 70, "merge", NOW_US)
    expected = (
        Verdict(1, "accepted", 70, "", "", b"", 0),
        Verdict(2, "merged", 70, "", "", b"", 1),
        Verdict(3, "refused", 0, "CHECK failed", "note", b"3", 0),
        Verdict(4, "refused", 0, "changed on the primary", "note", b"4", 2),
    )
    assert verdicts == {DEVICE: expected}
    assert await queue.verdicts(DEVICE, NAME, OUTBOX, 1) == expected
    assert [number for _, number, _ in await waiting(queue)] == [5]


async def test_verdicts_are_told_to_each_device(queue: UploadQueue) -> None:
    await stage(queue, upload({7: {"x": "1"}}), device="tablet")
    assert await settle(queue, written(1), written(7, device="tablet"), written(2)) == {DEVICE: [1, 2], "tablet": [7]}
    assert await numbers(queue, device="tablet") == [7]


async def test_a_device_with_another_outbox_is_told_nothing_of_the_former_one(queue: UploadQueue) -> None:
    await stage(queue, upload({1: {"x": "1"}, 2: {"y": "1"}}, outbox="other"))
    settled = [written(1), written(2, Ruling.REFUSED, side("2")), written(1, outbox="other")]
    settled.append(written(2, Ruling.MERGED, side("y"), outbox="other"))
    verdicts = await queue.settle(NAME, settled, 70, "merge", NOW_US)
    assert [(one.number, one.ruling, one.conflict) for one in verdicts[DEVICE]] == [
        (1, "accepted", 0),
        (2, "merged", 2),
    ]
    assert await numbers(queue, outbox="other") == [1, 2]
    assert await numbers(queue) == [1, 2], "they are kept all the same"


async def test_a_group_that_was_executed_without_being_staged_counts_as_received(queue: UploadQueue) -> None:
    outcome = [written(1), written(7), replace(written(9, Ruling.REFUSED, side("9")), time_us=NOW_US - 5)]
    assert await settle(queue, *outcome) == {DEVICE: [1, 7, 9]}
    assert await numbers(queue) == [1, 7, 9]
    assert await queue.received(DEVICE, NAME, OUTBOX) == 9
    conflict = await queue.conflict(1)
    assert conflict is not None
    assert (conflict.number, conflict.time_us) == (9, NOW_US - 5)
    assert await stage(queue, upload({7: {"x": "1"}, 9: {"y": "1"}, 10: {"z": "1"}})) == 10
    assert [number for _, number, _ in await waiting(queue)] == [2, 3, 4, 5, 10]


async def test_it_is_settled_once_and_so_is_one_that_was_staged_meanwhile(queue: UploadQueue) -> None:
    await settle(queue, written(6, Ruling.REFUSED))
    again = await queue.settle(NAME, [written(6, Ruling.ACCEPTED)], 99, "primary", NOW_US)
    assert [(one.number, one.ruling) for one in again[DEVICE]] == [(6, "refused")]
    await stage(queue, upload({7: {"x": "1"}}))
    assert await settle(queue, written(7), written(7)) == {DEVICE: [7, 7]}
    assert await numbers(queue) == [6, 7]
    assert [number for _, number, _ in await waiting(queue)] == [1, 2, 3, 4, 5]


async def test_the_half_of_it_that_is_there_from_a_former_link_goes(queue: UploadQueue) -> None:
    await settle(queue, *(written(number) for number in range(1, 6)))
    await stage(queue, upload({6: {"a": "1"}}, cut=True))
    await settle(queue, written(6))
    assert await queue.waiting_bytes(DEVICE, NAME) == 0
    await stage(queue, upload({6: {"a": "1"}}, cut=True), upload({6: {"b": "1"}, 7: {"c": "1"}}))
    assert await waiting(queue) == [(DEVICE, 7, {"c": "1"})]


async def test_a_half_group_that_comes_after_it_stays(queue: UploadQueue) -> None:
    await stage(queue, upload({9: {"a": "1"}}, cut=True))
    await settle(queue, *(written(number) for number in range(1, 8)))
    await stage(queue, upload({9: {"b": "1"}}))
    assert await waiting(queue) == [(DEVICE, 9, {"a": "1", "b": "1"})]


async def test_settling_nothing_is_nothing(queue: UploadQueue) -> None:
    assert await settle(queue) == {}
    assert len(await waiting(queue)) == 5


async def test_a_group_is_settled_once(queue: UploadQueue) -> None:
    await settle(queue, written(1, Ruling.REFUSED, side("1")))
    again = await queue.settle(NAME, [written(1, Ruling.ACCEPTED, side("1"))], 99, "primary", NOW_US)
    assert again == {DEVICE: await queue.verdicts(DEVICE, NAME, OUTBOX, 0)}
    assert [(verdict.ruling, verdict.conflict) for verdict in again[DEVICE]] == [("refused", 1)]
    assert len(await queue.conflicts("", True)) == 1


async def test_a_group_whose_verdict_is_known_there_has_none_any_more(queue: UploadQueue) -> None:
    await settle(queue, written(1), written(2))
    assert await numbers(queue, 3) == []
    assert await settle(queue, written(1)) == {}
    assert await numbers(queue, 0) == []


async def test_verdicts_that_are_known_there_are_forgotten(queue: UploadQueue) -> None:
    await settle(queue, *(written(number) for number in range(1, 6)))
    assert await numbers(queue, 3) == [3, 4, 5]
    assert await numbers(queue, 1) == [3, 4, 5]
    assert await numbers(queue, outbox="another") == []


async def test_of_very_many_verdicts_that_nobody_asked_for_the_oldest_are_forgotten(queue: UploadQueue) -> None:
    await stage(queue, upload({100: {"x": "1"}, 700: {"y": "1"}}))
    await settle(queue, *(written(number) for number in (5, 4, 3)))
    await settle(queue, *(written(number) for number in (1, 2, 700, 100)))
    assert await numbers(queue) == [3, 4, 5, 100, 700]
    assert await numbers(queue, 5) == [5, 100, 700]
    await stage(queue, upload({701: {"x": "1"}, 702: {"y": "1"}}))
    await settle(queue, *(written(number) for number in (701, 702)))
    assert await numbers(queue) == [5, 100, 700, 701, 702]


async def test_groups_may_be_settled_in_any_order(queue: UploadQueue) -> None:
    await settle(queue, written(4), written(2))
    assert [number for _, number, _ in await waiting(queue)] == [1, 3, 5]
    await settle(queue, written(1))
    assert [number for _, number, _ in await waiting(queue)] == [3, 5]
    await settle(queue, written(5), written(3))
    assert await numbers(queue) == [1, 2, 3, 4, 5]


async def test_a_large_group_is_settled_with_all_its_frames(queue: UploadQueue) -> None:
    await stage(queue, upload({6: {"a": "1"}}, cut=True), upload({6: {"b": "1"}, 7: {"c": "1"}}))
    await settle(queue, *(written(number) for number in range(1, 7)))
    assert await waiting(queue) == [(DEVICE, 7, {"c": "1"})]


async def test_texts_of_a_verdict_are_bounded(queue: UploadQueue) -> None:
    long = [
        written(1, Ruling.REFUSED, cause="x" * 60, guilty=ObjectId("t" * 60, b"k")),
        written(2, Ruling.REFUSED, guilty=ObjectId("t", b"k" * 60)),
    ]
    first, second = (await queue.settle(NAME, long, 70, "primary", NOW_US))[DEVICE]
    assert (first.cause, first.type, first.key) == ("x" * 50, "", b"k")
    assert (second.type, second.key) == ("t", b"")


async def test_a_group_of_a_device_that_was_cut_off_meanwhile_keeps_its_conflict_and_its_verdict(
    queue: UploadQueue,
) -> None:
    await queue.drop(DEVICE)
    await settle(queue, written(1, Ruling.ACCEPTED, side("1")), written(2))
    assert await numbers(queue) == [1, 2]
    assert [one.number for one in await queue.conflicts(NAME, False)] == [1]
    await settle(queue, written(1, Ruling.ACCEPTED, side("1")))
    assert len(await queue.conflicts(NAME, False)) == 1


async def test_what_a_person_did_at_the_primary_has_conflicts_too(queue: UploadQueue) -> None:
    deed = written(1, Ruling.REFUSED, side("1"), device="", outbox="")
    assert await settle(queue, deed) == {"": [1]}
    assert await settle(queue, deed) == {"": [1]}
    assert [one.device for one in await queue.conflicts(NAME, False)] == ["", ""]
    assert await queue.verdicts("", NAME, "", 0) == ()


# ---------------------------------------------------------------- conflicts


async def test_a_conflict_keeps_all_versions(queue: UploadQueue) -> None:
    sides = (
        side("a", "theirs"),
        side("b", None, contested=False),
        side("c", "ours", copy="c2"),
        side("d")._replace(base=None, ours=b"", theirs=None),
    )
    await settle(queue, written(3, Ruling.MERGED, *sides), seq=77)
    expected = Conflict(1, NAME, DEVICE, 3, NOW_US - 1_000_000 + 3, "primary", "both", 77, "", sides)
    assert await queue.conflict(1) == expected
    (listed,) = await queue.conflicts(NAME, False)
    assert (listed.id, listed.sides) == (1, ())
    assert await queue.conflict(2) is None


@pytest.mark.parametrize(
    ("ruling", "copy", "winner", "seq"),
    [
        (Ruling.REFUSED, "", "primary", 0),
        (Ruling.ACCEPTED, "", "auxiliary", 70),
        (Ruling.MERGED, "", "merge", 70),
        (Ruling.MERGED, "x", "both", 70),
    ],
)
async def test_a_conflict_says_who_won(queue: UploadQueue, ruling: Ruling, copy: str, winner: str, seq: int) -> None:
    await settle(queue, written(1, ruling, side("1"), side("2", copy=copy)))
    conflict = await queue.conflict(1)
    assert conflict is not None
    assert (conflict.winner, conflict.seq) == (winner, seq)


async def test_a_conflict_of_clocks_that_differ_is_dated_when_it_was_settled(queue: UploadQueue) -> None:
    await stage(queue, upload({6: {"x": "1"}}, clock_us=0))
    await settle(queue, written(6, Ruling.REFUSED, side("x")), now_us=NOW_US + 5)
    assert [one.time_us for one in await queue.conflicts(NAME, False)] == [NOW_US + 5]


async def test_conflicts_are_listed_newest_first_until_they_are_resolved(queue: UploadQueue) -> None:
    await settle(queue, *(written(number, Ruling.REFUSED, side(f"{number}")) for number in (1, 2, 3)))
    await stage(queue, upload({1: {"x": "1"}}, collection="other"))
    await queue.settle("other", [written(1, Ruling.REFUSED, side("x"))], 5, "newest", NOW_US)
    assert [one.id for one in await queue.conflicts(NAME, False)] == [3, 2, 1]
    assert [one.id for one in await queue.conflicts("", False)] == [4, 3, 2, 1]
    assert await queue.unresolved() == {NAME: 3, "other": 1}
    await queue.resolve(2, "took theirs")
    await queue.resolve(4, "took ours")
    await queue.resolve(99, "nothing")
    assert [one.id for one in await queue.conflicts("", False)] == [3, 1]
    assert [(one.id, one.resolved) for one in await queue.conflicts("", True)][:2] == [(4, "took ours"), (3, "")]
    assert await queue.unresolved() == {NAME: 2}


async def test_a_conflict_is_kept_from_when_it_was_settled(queue: UploadQueue) -> None:
    await settle(queue, written(1, Ruling.REFUSED, side("1")), now_us=NOW_US + 10)
    await settle(queue, written(2, Ruling.REFUSED, side("2")), now_us=NOW_US + 20)
    assert await queue.prune(NAME, NOW_US + 10) == 0
    assert await queue.prune("other", NOW_US + 20) == 0
    assert await queue.prune(NAME, NOW_US + 20) == 1
    assert await queue.conflict(1) is None
    assert await queue.unresolved() == {NAME: 1}
    assert [verdict.conflict for verdict in await queue.verdicts(DEVICE, NAME, OUTBOX, 0)] == [1, 2]


async def test_ids_of_conflicts_are_never_used_again(queue: UploadQueue) -> None:
    await settle(queue, written(1, Ruling.REFUSED, side("1")))
    await queue.prune(NAME, NOW_US + 1)
    await settle(queue, written(2, Ruling.REFUSED, side("2")))
    assert [one.id for one in await queue.conflicts("", True)] == [2]


async def test_conflicts_of_a_collection_are_bounded_in_bytes_those_resolved_go_first(queue: UploadQueue) -> None:
    large = [side(f"{number}")._replace(ours=b"x" * 900) for number in range(6)]
    await settle(queue, *(written(number, Ruling.REFUSED, large[number]) for number in (1, 2, 3)))
    await queue.resolve(2, "took ours")
    await settle(queue, written(4, Ruling.REFUSED, large[4]))
    assert [one.id for one in await queue.conflicts("", True)] == [4, 3, 1]
    await settle(queue, written(5, Ruling.REFUSED, large[5]._replace(ours=b"x" * 9_000)))
    assert [one.id for one in await queue.conflicts("", True)] == [5], "the newest stays, whatever its size"


async def test_conflicts_outlive_the_device(queue: UploadQueue) -> None:
    await settle(queue, written(1, Ruling.REFUSED, side("1")))
    await queue.drop(DEVICE)
    assert await queue.conflict(1) is not None
