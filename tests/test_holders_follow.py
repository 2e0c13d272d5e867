"""Who holds what others reference: known where the class has stayed the same since the device's position, and not
guessed elsewhere (R4, R8)."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import pytest_asyncio

from syncd.adapters.canonical import pack_values
from syncd.core.messages import Failed
from syncd.core.model import ObjectId, Span
from syncd.core.selection import Selection
from tests.deeds_kit import NAME
from tests.test_holders import LAPTOP, TILL, HoldersDesk, members
from tests.test_previews_follow import SALE

pytestmark = pytest.mark.asyncio
FRENCH = Selection('country == "FR"', follow=("sale.note",))


@pytest_asyncio.fixture
async def desk() -> HoldersDesk:
    """Sale 1 is French and of note 1, sale 2 is German and of note 2; nothing references note 3."""
    desk = HoldersDesk(SALE)
    await desk.open()
    await desk.notes(n1="a", n2="b", n3="c")
    await sold(desk, {1: ("FR", 1), 2: ("DE", 2)})
    return desk


async def sold(desk: HoldersDesk, sales: dict[int, tuple[str, int] | None]) -> int:
    await desk.commit({ObjectId("sale", pack_values([number])): row for number, row in sales.items()})
    return (await desk.store.open_collection(NAME)).head


async def notes(desk: HoldersDesk) -> tuple[set[str], set[str]]:
    """Notes that the till holds, and that it may hold; one is asked about as all are."""
    found: dict[str, set[str]] = {"yes": set(), "maybe": set()}
    after = ""
    while True:
        told = await desk.ask("holds_objects", device="till", collection=NAME, after=after)
        assert isinstance(told["objects"], list)
        for each in told["objects"]:
            if each["type"] == "note":
                found[each["holds"]].add(each["key"])
        if not (after := str(told["after"])):
            break
    for number in range(10):
        note = ObjectId("note", pack_values([number]))
        if await desk.store.history(NAME, desk.ids["note"], note.key, 1):
            held = (await desk.holders(number)).get("till", ("no", ""))[0]
            assert held == next((word for word, keys in found.items() if f"[{number}]" in keys), "no")
    return found["yes"], found["maybe"]


async def test_who_has_all_of_its_class_holds_what_is_in_it(desk: HoldersDesk) -> None:
    await desk.stands(TILL, FRENCH)
    assert await notes(desk) == ({"[1]"}, set())
    await desk.notes(n2="of a German sale", n4="of none")
    assert await notes(desk) == ({"[1]"}, set())


async def test_who_is_behind_may_hold_what_is_referenced(desk: HoldersDesk) -> None:
    await desk.stands(TILL, FRENCH)
    await sold(desk, {2: ("FR", 2)})
    assert await notes(desk) == (set(), {"[1]", "[2]", "[3]"})
    await desk.stands(TILL, FRENCH)
    assert await notes(desk) == ({"[1]", "[2]"}, set())


async def test_what_failed_is_not_guessed(desk: HoldersDesk) -> None:
    head = await sold(desk, {2: ("FR", 2)})
    report = await desk.stands(TILL, FRENCH)
    failed = (Failed(head, "rolled-back", "its rule", "sale", b""),)
    desk.said[TILL.id, NAME] = replace(report, parked=1, failed=failed)
    assert await notes(desk) == (set(), {"[1]", "[2]", "[3]"})


async def test_another_class_of_the_same_says_nothing(desk: HoldersDesk) -> None:
    await desk.stands(TILL, FRENCH)
    await desk.store.drop_class(NAME, FRENCH)
    assert (await notes(desk))[0] == set()
    await desk.store.open_class(NAME, FRENCH, 1_000)
    assert (await notes(desk))[0] == set()


@pytest.mark.parametrize("seed", range(20))
async def test_what_is_said_for_certain_is_what_the_class_had(desk: HoldersDesk, seed: int) -> None:
    print("seed", seed)
    chance = random.Random(seed)
    states: list[tuple[int, set[str]]] = []
    for _ in range(8):
        await desk.notes(**{f"n{chance.randrange(6)}": chance.choice(["a", "b", None])})
        number, row = chance.randrange(4), (chance.choice(["FR", "DE"]), chance.randrange(6))
        head = await sold(desk, {number: chance.choice([None, row, row])})
        states.append((head, await of_class(desk)))
    first = chance.choice([*range(8), 7, 7, 7])
    last = chance.randrange(first, 8)
    report = await desk.stands(TILL, FRENCH, states[first][0])
    desk.reaches.spans[TILL.id, NAME] = {report.epoch: Span(0, states[last][0])}
    between = [held for _, held in states[first : last + 1]]
    sure, perhaps = await notes(desk)
    assert sure <= set.intersection(*between)
    assert set.union(*between) <= sure | perhaps
    if first == 7:
        assert (sure, perhaps) == (states[7][1], set())


async def of_class(desk: HoldersDesk) -> set[str]:
    """Notes that the store's class holds."""
    await desk.store.open_class(NAME, FRENCH, 1_000)
    every = [(desk.ids["note"], pack_values([number])) for number in range(10)]
    there, _ = await desk.store.in_class(NAME, FRENCH, every)
    return {f"[{number}]" for number in range(10) if every[number] in there}


async def test_a_device_of_everything_is_not_concerned(desk: HoldersDesk) -> None:
    await desk.stands(LAPTOP)
    assert await desk.holders(3) == {"laptop": ("yes", "current")}
    assert await members(desk, FRENCH) == {"[1]"}
