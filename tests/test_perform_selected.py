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
from syncd.perform_selected import FIELDS_LEFT_OUT, outside
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

    async def why_not(
        self, number: int, base: bytes | None, fields: bytes | None, selection: Selection = FRENCH
    ) -> str:
        """Why the device may not make this edit."""
        edit = Edit(self.type.id, pack_values([number]), base, fields)
        group = EditGroup(A, "box", 1, 0, (edit,))
        return (await outside(self.ports, NAME, {A: selection}, [group])).get((A, "box", 1), "")


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


async def test_a_device_that_knows_less_than_all_fields_changes_nothing() -> None:
    shop = await Shop().opened()
    assert await shop.why_not(1, of("FR"), of("FR", "y"), Selection(without=("name",))) == FIELDS_LEFT_OUT


async def test_devices_that_take_all_are_asked_nothing() -> None:
    shop = await Shop().opened()
    group = EditGroup(B, "box", 1, 0, (Edit(shop.type.id, pack_values([2]), None, of("DE")),))
    assert await outside(shop.ports, NAME, {A: FRENCH}, [group]) == {}
