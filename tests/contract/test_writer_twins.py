"""Random groups of edits: the database and its twin in memory tell and hold the same, read it back the same, and what
was executed at once is what is executed one by one."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from syncd.adapters.canonical import unpack_values
from syncd.core.edits import Edit, EditGroup, Fact, Policy, Written
from syncd.core.model import ObjectId
from tests.contract.writer_kit import IDS, LIMITS, Fields, WriterBench, edit, group, item, note, opened

pytestmark = pytest.mark.asyncio
UUID = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
OBJECTS = [note("a"), note("b"), note("c"), note(UUID), *(item(number) for number in range(1, 9))]


def version(chance: random.Random, one: ObjectId) -> Fields:
    if chance.random() < 0.2:
        return None
    if one.type == "items":
        return (chance.choice(("x", "y", None)),)
    return (chance.choice(("x", "y")), chance.choice((1.5, None)), chance.choice((b"", b"z")))


def edited(chance: random.Random, one: ObjectId, held: dict[ObjectId, Fields]) -> Edit:
    base = held.get(one) if chance.random() < 0.7 else version(chance, one)
    return edit(one, base, version(chance, one))


def groups_of(chance: random.Random, number: int, held: dict[ObjectId, Fields]) -> list[EditGroup]:
    made: list[EditGroup] = []
    for at in range(chance.randint(1, 12)):
        objects = chance.sample(OBJECTS, chance.choice((1, 1, 1, 2, 5)))
        device = chance.choice(("laptop", "laptop", "laptop", "tablet"))
        edits = [edited(chance, one, held) for one in objects]
        made.append(group(number + at, *edits, device=device, offered=chance.random() < 0.1))
    return made


async def day(bench: WriterBench, seed: int) -> tuple[list[Written], dict[ObjectId, Fields], set[tuple[object, ...]]]:
    chance = random.Random(seed)
    told: list[Written] = []
    read: set[tuple[object, ...]] = set()
    for number in range(0, 200, 20):
        rows = {one: version(chance, one) for one in chance.sample(OBJECTS, 3)}
        held = bench.rows()
        bench.commit({one: fields for one, fields in rows.items() if fields is not None or one in held})
        held = bench.rows()
        groups = groups_of(chance, number, {one: held.get(one) for one in OBJECTS})
        policy = chance.choice([*Policy, None])
        facts = {(IDS[one.type], one.key): Fact(b"", 0, chance.random() < 0.1) for one in OBJECTS}
        alone = chance.random() < 0.3
        for part in [[one] for one in groups] if alone else [groups]:
            told += await bench.write(*part, policy=policy, facts=facts)
        if chance.random() < 0.3:
            await bench.crash()
        assert await bench.write(*groups, policy=policy, facts=facts) == told[-len(groups) :]
        found = await bench.read()
        assert bench.mark >= told[-1].mark
        read |= {(number, one, seen.fields, seen.author) for one, seen in found.items()}
    return told, bench.rows(), read


def without_marks(told: list[Written]) -> list[tuple[object, ...]]:
    return [(one.device, one.number, one.ruling, one.cause, one.guilty, one.sides) for one in told]


@pytest.mark.parametrize("seed", range(12))
async def test_the_twins_tell_and_hold_the_same(tmp_path: Path, seed: int) -> None:
    print(f"seed {seed}")
    limits = replace(LIMITS, log_rows_max=10_000)
    async with opened("sqlite", tmp_path / "app.db", limits) as real, opened("memory", tmp_path / "none") as twin:
        told, rows, read = await day(real, seed)
        its_told, its_rows, its_read = await day(twin, seed)
    assert without_marks(told) == without_marks(its_told)
    assert rows == its_rows
    assert read == its_read
    assert all(isinstance(unpack_values(one.key)[0], str | int) for one in rows)
