"""Which edits of a device that takes a part of a collection are refused, and that a guess gains it nothing (R8, R9)."""

from __future__ import annotations

import pytest

from syncd.adapters.canonical import pack_values
from syncd.adapters.registry import ADAPTERS
from syncd.core.edits import Edit, EditGroup
from syncd.core.holding import Batch
from syncd.core.model import DataType, Observed
from syncd.core.selection import Selection
from syncd.core.settings import Limits
from syncd.outside import Ports
from syncd.perform_selected import OTHER_FIELDS, within
from syncd.store.memory import MemorySyncStore

pytestmark = pytest.mark.asyncio
NAME, A, B = "shop", "A" * 52, "B" * 52
CUSTOMER = DataType(0, "customer", ("id",), ("country", "name"))
FRENCH = Selection('country == "FR"')


def of(country: str, name: str = "x") -> bytes:
    return pack_values([country, name])


class Shop:
    """The store holds these customers, and held others before."""

    def __init__(self) -> None:
        self.store = MemorySyncStore()
        self.ports = Ports(Limits(), ADAPTERS, lambda: 0.0, lambda: 0)
        self.ports.store = self.store

    async def opened(self) -> Shop:
        await self.store.open_collection(NAME)
        (self.type,) = await self.store.set_source(NAME, "source", [CUSTOMER])
        await self.store.begin_scan(NAME)
        await self.store.keep(NAME, Batch([], True, True, end_scan=True), 1)
        await self.holds({1: of("FR"), 2: of("DE", "secret"), 3: of("FR", "old")})
        await self.holds({3: of("DE", "moved")})
        return self

    async def holds(self, rows: dict[int, bytes]) -> None:
        seen = [Observed(self.type.id, pack_values([number]), fields) for number, fields in rows.items()]
        await self.store.keep(NAME, Batch(seen, True, False), 1)

    async def gone(self, number: int) -> None:
        seen = [Observed(self.type.id, pack_values([number]), None)]
        await self.store.keep(NAME, Batch(seen, True, False), 1)

    async def why_not(
        self, number: int, base: bytes | None, fields: bytes | None, selection: Selection = FRENCH
    ) -> str:
        """Why the device may not make this edit."""
        edit = Edit(self.type.id, pack_values([number]), base, fields)
        group = EditGroup(A, "box", 1, 0, (edit,))
        return (await within(self.ports, NAME, {A: selection}, [group]))[1].get((A, "box", 1), "")

    async def whole(self, edit: Edit, selection: Selection, offered: bool = False) -> EditGroup | str:
        """The edit as the writer gets it, or why it does not."""
        group = EditGroup(A, "box", 1, 0, (edit,), offered)
        allowed, refused = await within(self.ports, NAME, {A: selection}, [group])
        return allowed[0] if allowed else refused[A, "box", 1]


@pytest.mark.parametrize(
    ("number", "base", "fields"),
    [
        (1, of("FR"), of("FR", "y")),
        (1, of("FR"), of("DE")),  # it leaves
        (1, of("FR"), None),
        (9, None, of("FR")),
        (9, of("FR"), of("FR", "y")),  # deleted meanwhile
        (3, of("FR", "old"), of("FR", "edited")),  # it left meanwhile: a conflict like any other
        (3, of("FR", "old"), None),
        (1, of("FR", "older than what is remembered"), of("FR", "y")),
    ],
)
async def test_what_its_selection_takes_a_device_may_edit(
    number: int, base: bytes | None, fields: bytes | None
) -> None:
    assert await (await Shop().opened()).why_not(number, base, fields) == ""


@pytest.mark.parametrize(
    ("number", "base", "fields"),
    [
        (9, None, of("DE")),
        (2, of("DE", "secret"), None),
        (2, of("DE", "secret"), of("DE", "y")),
        (2, None, of("FR")),  # it would take the place of one that it never held
        (2, of("FR", "a guess"), of("FR")),
        (2, of("DE", "a guess"), of("FR", "a guess")),  # a merge would give it the name
        (3, of("FR", "a guess"), of("FR", "y")),
    ],
)
async def test_anything_else_is_refused_and_named(number: int, base: bytes | None, fields: bytes | None) -> None:
    said = await (await Shop().opened()).why_not(number, base, fields)
    assert said == f"this device's selection does not take customer/{number}"


NAMELESS = Selection('country == "FR"', without=("name",))


async def test_an_edit_with_fewer_fields_gets_those_that_the_primary_held_last() -> None:
    shop = await Shop().opened()
    told, silent = NAMELESS.told_id(shop.type.id), {shop.type.id: frozenset({1})}
    edits = {
        (1, "FR", "IT"): (of("FR"), of("IT")),
        (1, "FR", None): (of("FR"), None),
        (9, None, "FR"): (None, pack_values(["FR", None])),
    }
    for (number, base, fields), (whole_base, whole) in edits.items():
        base_, fields_ = (None if one is None else pack_values([one]) for one in (base, fields))
        made = await shop.whole(Edit(told, pack_values([number]), base_, fields_), NAMELESS)
        assert isinstance(made, EditGroup)
        assert made.edits == (Edit(shop.type.id, pack_values([number]), whole_base, whole),)
        assert made.silent == silent
    await shop.gone(1)
    made = await shop.whole(Edit(told, pack_values([1]), pack_values(["FR"]), pack_values(["FR"])), NAMELESS)
    assert isinstance(made, EditGroup)
    assert made.edits[0].fields == of("FR")


async def test_one_that_is_offered_is_known_as_an_earlier_version() -> None:
    shop = await Shop().opened()
    await shop.holds({1: of("FR", "second")})
    await shop.holds({1: of("IT", "third")})
    all_ = Selection(without=("name",))
    offered = Edit(all_.told_id(shop.type.id), pack_values([1]), None, pack_values(["FR"]))
    made = await shop.whole(offered, all_, offered=True)
    assert isinstance(made, EditGroup)
    assert [one.stale for one in await shop.store.facts(NAME, made.edits)] == [True]


async def test_edits_made_before_fields_were_left_out_are_taken_if_they_say_nothing_of_those() -> None:
    shop = await Shop().opened()
    key = pack_values([1])
    changes: list[tuple[bytes, bytes | None]] = [(of("FR"), of("IT")), (of("FR"), None)]
    for before, after in changes:
        made = await shop.whole(Edit(shop.type.id, key, before, after), NAMELESS)
        assert isinstance(made, EditGroup)
        assert made.edits == (Edit(shop.type.id, key, before, after),)
    added = Edit(shop.type.id, pack_values([9]), None, of("FR", "y"))
    for edit in (Edit(shop.type.id, key, of("FR"), of("FR", "y")), added):
        assert await shop.whole(edit, NAMELESS) == OTHER_FIELDS
    short = Edit(NAMELESS.told_id(shop.type.id), key, None, pack_values([]))
    assert await shop.whole(short, NAMELESS) == OTHER_FIELDS


async def test_devices_that_take_all_are_asked_nothing() -> None:
    shop = await Shop().opened()
    group = EditGroup(B, "box", 1, 0, (Edit(shop.type.id, pack_values([2]), None, of("DE")),))
    assert await within(shop.ports, NAME, {A: FRENCH}, [group]) == ([group], {})
