"""Dividing a failed work (R7): the same parts as the twin in memory finds, and quickly."""

from __future__ import annotations

import random
import resource
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from syncd.adapters.canonical import pack_values, unpack_values
from syncd.applications import sqlite_divide
from syncd.applications.base import rows_of
from syncd.applications.memory_target import MemoryTarget
from syncd.core.messages import Objects
from syncd.core.model import ObjectId
from syncd.core.ports import Executed, Part, Unexecuted, Work
from tests.applications.road import sql
from tests.applications.writing import Group, Row, Writing, table, writing

pytestmark = pytest.mark.asyncio

ONE = table(1, "t", "id INTEGER PRIMARY KEY, v INTEGER CHECK(v >= 0)", ("id",), ("v",))


def groups_by_chance(chance: random.Random) -> list[Group]:
    """Groups on few objects: many are brought more than once, some are tied, some values are refused."""
    groups: list[Group] = []
    touched: dict[int, int] = {}
    for number in range(chance.randint(1, 12)):
        keys = chance.sample(range(20), chance.randint(1, 4))
        rows = [Row("t", (key,), chance.choice([None, (-1,), *((chance.randrange(30),),) * 8])) for key in keys]
        loose = chance.random() < 0.3
        ties = [] if loose else sorted({touched[key] for key in keys if key in touched})
        if not loose:
            touched |= dict.fromkeys(keys, number)
        groups.append(Group(rows, loose, ties))
    return groups


def as_set(parts: tuple[Part, ...]) -> set[tuple[frozenset[int], frozenset[ObjectId]]]:
    return {(part.seqs, part.objects) for part in parts}


@pytest.mark.parametrize("bytes_held", [16 * 1024 * 1024, 20], ids=["collected", "read again"])
async def test_the_same_parts_fail_as_in_memory(
    tmp_path: Path, seed: int, bytes_held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_divide, "_COLLECTED_BYTES", bytes_held)
    chance = random.Random(seed)
    twin = MemoryTarget()
    twin.failing_versions = {(Row("t", (key,)).id, pack_values([-1])): "negative" for key in range(20)}
    failures = 0
    path = tmp_path / "app.db"
    async with writing(path, ONE) as here:
        for turn in range(40):
            work = here.work(
                groups_by_chance(chance), snapshot=turn % 10 == 0, rows_per_frame=chance.choice([1, 2, 100])
            )
            parked: frozenset[ObjectId] = frozenset()
            for _ in range(3):
                ours, theirs = await here.target.execute(work), await twin.execute(work)
                if isinstance(ours, Executed):
                    assert ours == theirs
                    break
                assert isinstance(theirs, Unexecuted)
                assert as_set(ours.parts) == as_set(theirs.parts)
                failures += len(ours.parts)
                parked |= _objects(here, work, ours.parts)
                work = replace(work, skip=parked.intersection)
            held = {ObjectId("t", one.key): list(unpack_values(fields)) for one, fields in twin.rows.items()}
            assert {Row("t", (key,)).id: [value] for key, value in sql(path, "SELECT id, v FROM t")} == held  # type: ignore[arg-type]
    assert failures > 10


def _objects(here: Writing, work: Work, parts: tuple[Part, ...]) -> frozenset[ObjectId]:
    """The objects that the caller would park."""
    found = set()
    for row in rows_of(work.frames()):
        one = ObjectId(here.types[row.type].name, row.key)
        if any((not row.loose and row.seq in part.seqs) or one in part.objects for part in parts):
            found.add(one)
    return frozenset(found)


def many(count: int, bad: frozenset[int]) -> list[Row]:
    return [Row("t", (i,), (-1 if i in bad else i,)) for i in range(count)]


@pytest.mark.slow
async def test_one_bad_object_of_a_hundred_thousand_is_found_soon(tmp_path: Path) -> None:
    async with writing(tmp_path / "app.db", ONE) as here:
        bad = frozenset((77_777,))
        work = here.work([Group(many(100_000, bad), loose=True)], snapshot=True)
        began = time.process_time()
        result = await here.target.execute(work)
        assert isinstance(result, Unexecuted)
        skip = frozenset(one for part in result.parts for one in part.objects)
        assert skip == {Row("t", (77_777,)).id}
        assert isinstance(await here.target.execute(replace(work, skip=skip.intersection)), Executed)
        assert time.process_time() - began < 8  # measured: 2


@pytest.mark.slow
async def test_many_bad_objects_are_found_in_a_time_that_grows_with_their_number_only(tmp_path: Path) -> None:
    took: list[float] = []
    for count in (5_000, 20_000):
        async with writing(tmp_path / f"{count}.db", ONE) as here:
            work = here.work([Group(many(count, frozenset(range(0, count, 4))), loose=True)], snapshot=True)
            began = time.process_time()
            result = await here.target.execute(work)
            took.append(time.process_time() - began)
            assert isinstance(result, Unexecuted)
            assert len(result.parts) == count // 4
    assert took[1] < 10 * took[0] + 0.5


@pytest.mark.slow
async def test_a_long_transfer_takes_no_more_memory_than_a_short_one(tmp_path: Path) -> None:
    async with writing(tmp_path / "app.db", ONE) as here:
        await here.begin(*many(10_000, frozenset()))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        frames = list(here.work([Group(many(10_000, frozenset()), loose=True)]).frames())
        work = here.work([Group([])])

        def long() -> Iterator[Objects]:
            return (frame for _ in range(60) for frame in frames)

        result = await here.target.execute(replace(work, frames=long))
        assert isinstance(result, Executed)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60 * 1024
    assert len(sql(tmp_path / "app.db", "SELECT id FROM t")) == 10_000
