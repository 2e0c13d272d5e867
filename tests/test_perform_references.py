"""Edits of a device whose selection follows references: which are refused, and that a guess gains nothing (R8, R9)."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from syncd.adapters.canonical import Value, pack_values
from syncd.adapters.registry import ADAPTERS
from syncd.core.edits import Edit, EditGroup
from syncd.core.errors import ApplicationOffline
from syncd.core.holding import Batch
from syncd.core.model import DataType, Observed, Reference
from syncd.core.selection import Selection
from syncd.core.settings import Limits
from syncd.outside import Ports
from syncd.perform_selected import within
from syncd.store.memory import MemorySyncStore

pytestmark = pytest.mark.asyncio
NAME, A = "shop", "A" * 52
PERSON = DataType(0, "person", ("id",), ("boss", "name"), references=(Reference(("boss",), "person"),))
SALE = DataType(0, "sale", ("id",), ("country", "person"), references=(Reference(("person",), "person"),))
FRENCH = Selection('country == "FR"', follow=("sale.person", "person.boss"))
Thing = tuple[str, int]
Values = tuple[Value, ...]
Made = tuple[str, int, Values | None, Values | None]  # type, key, base, fields


@dataclass
class Shop:
    """The class holds sale 1 and persons 2 and 1; it held person 4."""

    limits: Limits = field(default_factory=Limits)
    store: MemorySyncStore = field(default_factory=MemorySyncStore)
    ids: dict[str, int] = field(default_factory=dict)
    number: int = 0

    async def opened(self, selection: Selection | None = FRENCH) -> Shop:
        self.ports = Ports(self.limits, ADAPTERS, lambda: 0.0, lambda: 0)
        self.ports.store = self.store
        await self.store.open_collection(NAME)
        self.ids = {one.name: one.id for one in await self.store.set_source(NAME, "source", [PERSON, SALE])}
        await self.store.begin_scan(NAME)
        await self.store.keep(NAME, Batch([], True, True, end_scan=True), 1)
        persons: dict[Thing, Values] = {("person", number): (None, f"p{number}") for number in (1, 3, 4)}
        await self.holds(persons | {("person", 2): (1, "p2"), ("sale", 1): ("FR", 2), ("sale", 2): ("FR", 4)})
        if selection is not None:
            await self.store.open_class(NAME, selection, 100)
        await self.holds({("sale", 2): ("DE", 3)})
        return self

    async def holds(self, things: dict[Thing, Values]) -> None:
        seen = [
            Observed(self.ids[type_], pack_values([key]), pack_values(values))
            for (type_, key), values in things.items()
        ]
        await self.store.keep(NAME, Batch(seen, True, False), 1)

    async def why_not(self, *made: Made, device: str = A) -> str:
        """Why the device may not make this group of edits."""
        self.number += 1
        edits = [
            Edit(
                self.ids[type_],
                pack_values([key]),
                None if base is None else pack_values(base),
                None if fields is None else pack_values(fields),
            )
            for type_, key, base, fields in made
        ]
        group = EditGroup(device, "box", self.number, 0, tuple(edits))
        _, refused = await within(self.ports, NAME, {device: FRENCH}, [group])
        return refused.get((device, "box", self.number), "")


ALLOWED: dict[str, list[Made]] = {
    "of one that it holds by reference": [("person", 2, (1, "p2"), (1, "edited"))],
    "with a base that is long gone": [("person", 2, (1, "older"), (1, "edited"))],
    "one that it holds by reference goes": [("person", 2, (1, "p2"), None)],
    "one that has left meanwhile": [("person", 4, (None, "p4"), (None, "edited"))],
    "a new one with what references it": [("sale", 9, None, ("FR", 9)), ("person", 9, None, (None, "new"))],
    "two new ones one after the other": [
        ("person", 8, None, (None, "new")),
        ("person", 9, None, (8, "new")),
        ("sale", 9, None, ("FR", 9)),
    ],
    "a new reference to one that it holds": [("sale", 9, None, ("FR", 1))],
    "a new reference to one that it held": [("sale", 1, ("FR", 2), ("FR", 4))],
    "no reference": [("sale", 1, ("FR", 2), ("FR", None))],
    "it leaves with what it references": [("sale", 1, ("FR", 2), ("DE", 2))],
}
REFUSED: dict[str, tuple[str, list[Made]]] = {
    "of one that it never held": ("person/3", [("person", 3, (None, "p3"), (None, "edited"))]),
    "one that it held, by a guess": ("person/4", [("person", 4, (None, "a guess"), (None, "edited"))]),
    "a new one that nothing references": ("person/9", [("person", 9, None, (None, "new"))]),
    "one that is there, as if it were new": (
        "person/3",
        [("sale", 9, None, ("FR", 3)), ("person", 3, None, (None, "mine"))],
    ),
    "a reference to one that it never held": (
        "person/3, which sale/1 references",
        [("sale", 1, ("FR", 2), ("FR", 3))],
    ),
    "a new reference to one that it never held": ("person/3, which sale/9 references", [("sale", 9, None, ("FR", 3))]),
    "one further on": ("person/3, which person/2 references", [("person", 2, (1, "p2"), (3, "p2"))]),
    "to one that may come": ("person/77, which sale/9 references", [("sale", 9, None, ("FR", 77))]),
    "with the base to go with it": ("person/3, which sale/9 references", [("sale", 9, ("FR", 3), ("FR", 3))]),
}


@pytest.mark.parametrize("case", ALLOWED)
async def test_what_it_holds_by_reference_a_device_may_edit(case: str) -> None:
    assert await (await Shop().opened()).why_not(*ALLOWED[case]) == ""


@pytest.mark.parametrize("case", REFUSED)
async def test_anything_else_is_refused_and_named(case: str) -> None:
    named, made = REFUSED[case]
    assert await (await Shop().opened()).why_not(*made) == f"this device's selection does not take {named}"


async def test_what_a_device_added_is_its_own_before_it_is_read_from_the_application() -> None:
    shop = await Shop().opened()
    assert await shop.why_not(("sale", 9, None, ("FR", 9)), ("person", 9, None, (None, "new"))) == ""
    assert await shop.why_not(("person", 9, (None, "new"), (None, "edited"))) == ""
    assert await shop.why_not(("sale", 10, None, ("FR", 9))) == ""
    assert await shop.why_not(("sale", 11, None, ("FR", 9)), device="B" * 52) != ""


async def test_what_a_device_added_is_remembered_within_a_bound() -> None:
    shop = await Shop(Limits(added_objects_max=2)).opened()
    for number in (11, 12, 13):
        assert await shop.why_not(("sale", number, None, ("FR", 1))) == ""
    assert [key for _, key in shop.ports.added[NAME, A]] == [pack_values([12]), pack_values([13])]


async def test_edits_wait_while_the_class_is_being_filled() -> None:
    shop = await Shop().opened(selection=None)
    await shop.store.open_class(NAME, FRENCH, 1)
    with pytest.raises(ApplicationOffline, match="is being applied"):
        await shop.why_not(("person", 2, (1, "p2"), (1, "edited")))


async def test_a_device_that_nothing_is_sent_to_may_reference_what_it_likes() -> None:
    shop = await Shop().opened(selection=None)
    assert await shop.why_not(("sale", 9, None, ("FR", 3))) == ""
    assert await shop.why_not(("person", 2, (1, "p2"), (1, "edited"))) != ""
