"""What is gathered beside the store in SQLite, or beside its twin, is what each selection takes and all that leads from
there (R8)."""

from __future__ import annotations

import random

import pytest

from syncd.core.gathered import Met
from syncd.core.ports import SyncStore
from syncd.core.references import Object

pytestmark = pytest.mark.asyncio


def one(number: int) -> Object:
    return number % 3, b"%d" % number


async def test_it_takes_its_own_and_all_that_leads_from_there_in_circles_too(store: SyncStore, seed: int) -> None:
    chance = random.Random(seed)
    objects = [one(number) for number in range(60)]
    lead = {each: tuple(chance.sample(objects, chance.choice([0, 0, 1, 1, 2]))) for each in objects[:50]}
    async with store.gather() as gathered:
        for of in (0, 1):
            own = set(chance.sample(objects[:50], 4))
            for at in range(0, 50, 7):
                met = [Met(each, each in own, lead[each]) for each in objects[at : min(at + 7, 50)]]
                await gathered.add(of, met)
            expected, queue = set[Object](), [*own]
            while queue:
                if (each := queue.pop()) not in expected:
                    expected.add(each)
                    queue += lead.get(each, ())
            await gathered.spread()
            assert await gathered.among(of, objects) == expected
        assert await gathered.led_from(1, objects[0]) == set(lead[objects[0]])
        assert await gathered.led_from(1, one(99)) == set()
        assert await gathered.among(2, objects) == set()


async def test_a_long_way_is_gone_to_its_end(store: SyncStore) -> None:
    async with store.gather() as gathered:
        await gathered.add(0, [Met(one(number), number == 0, (one(number + 1),)) for number in range(5_000)])
        await gathered.spread()
        assert await gathered.among(0, [one(5_000), one(5_001)]) == {one(5_000)}


async def test_one_does_not_see_what_another_gathered(store: SyncStore) -> None:
    async with store.gather() as first, store.gather() as second:
        await first.add(0, [Met(one(1), True, ())])
        assert await second.among(0, [one(1)]) == set()
