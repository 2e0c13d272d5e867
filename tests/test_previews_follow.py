"""Previews where a device takes what others reference: what goes where because of that, and that just this is done."""

from __future__ import annotations

import pytest
import pytest_asyncio

from syncd.adapters.canonical import pack_values
from syncd.core.model import DataType, ObjectId, Reference
from syncd.core.preferences import Place
from tests.control.status_page import mistakes
from tests.deeds_kit import NAME, note
from tests.foresee_kit import TILL, ForeseeingDesk, moves
from tests.test_previews import Committing

pytestmark = pytest.mark.asyncio
SALE = DataType(0, "sale", ("id",), ("country", "note"), references=(Reference(("note",), "note"),))
FRENCH = 'country == "FR"'
FOLLOWING = f"{FRENCH} follow sale.note"


@pytest_asyncio.fixture
async def desk() -> ForeseeingDesk:
    """Sale 1 is French and of note 1, sale 2 is German and of note 2; nothing references note 3."""
    desk = await ForeseeingDesk(SALE).open()
    await desk.notes(n1="a", n2="b", n3="c")
    await sold(desk, {1: ("FR", 1), 2: ("DE", 2)})
    return desk


async def sold(desk: ForeseeingDesk, sales: dict[int, tuple[str, int] | None]) -> str:
    return await desk.commit({ObjectId("sale", pack_values([number])): row for number, row in sales.items()})


async def test_what_its_objects_reference_stays(desk: ForeseeingDesk) -> None:
    told = await desk.taking(FOLLOWING)
    assert mistakes("preview", "primary", told) == []
    assert moves(told) == {("till", "delete"): ["[2]", "[3]", "[2]"]}
    assert (await desk.taking(FOLLOWING, str(told["hash"])))["applied"] is True
    assert desk.in_force.selection(Place(1, TILL.id, NAME)).follow == ("sale.note",)
    assert moves(await desk.taking(FRENCH)) == {("till", "delete"): ["[1]"]}


async def test_what_they_reference_by_then_has_another_hash(desk: ForeseeingDesk) -> None:
    told = await desk.taking(FOLLOWING)
    await desk.notes(n1="of the same, changed")
    assert (await desk.taking(FOLLOWING))["hash"] == told["hash"]
    await sold(desk, {1: ("FR", 3)})
    again = await desk.taking(FOLLOWING, str(told["hash"]))
    assert (again["applied"], moves(again)) == (False, {("till", "delete"): ["[1]", "[2]", "[2]"]})
    assert (await desk.taking(FOLLOWING, str(again["hash"])))["applied"] is True


async def test_what_is_referenced_between_the_look_and_the_deed_is_found(desk: ForeseeingDesk) -> None:
    await sold(desk, {1: ("FR", 9)})
    await desk.ask("settings_set", name=f"{NAME}.selection", value=FRENCH, device="till")
    told = await desk.taking(FOLLOWING)
    Committing(desk, n9="was referenced before it was there")
    assert (await desk.taking(FOLLOWING, str(told["hash"])))["applied"] is False
    told = await desk.taking(FOLLOWING)
    Committing(desk, n3="of no sale")
    assert (await desk.taking(FOLLOWING, str(told["hash"])))["applied"] is True


async def test_the_guard_counts_what_they_reference(desk: ForeseeingDesk) -> None:
    await desk.notes(**{f"n{number}": "of sales" for number in range(10, 60)})
    await sold(desk, {number: ("FR", number) for number in range(10, 60)})
    plain = await desk.ask("settings_set", name=f"{NAME}.selection", value=FOLLOWING, device="till")
    assert (bool(plain["changed"]), plain["held"]) == (True, [])
    await desk.ask("settings_set", name=f"{NAME}.selection", value=FRENCH, device="till")
    assert "would lose 51 of the 102 objects" in str(await desk.ask("held"))


async def test_of_an_undo_it_is_said_that_the_device_is_not_foreseen(desk: ForeseeingDesk) -> None:
    await desk.ask("settings_set", name=f"{NAME}.selection", value=FOLLOWING, device="till")
    group = await sold(desk, {2: ("FR", 2)})
    told = await desk.foresees("undo", group=group)
    assert mistakes("preview", "primary", told) == []
    assert ("takes what others reference" in str(told["outcomes"]), told["hash"]) == (True, "")
    assert moves(told)["laptop", "modify"] == ["[2]"]
    assert note(2) in desk.source.rows


async def test_what_leaves_out_what_its_objects_reference_is_warned_of(desk: ForeseeingDesk) -> None:
    told = await desk.taking(FRENCH)
    assert mistakes("preview", "primary", told) == []
    assert "add `follow sale.note` at the end" in str(told["warnings"])
    assert (await desk.taking(FOLLOWING))["warnings"] == []
    assert (await desk.taking(FRENCH, str(told["hash"])))["applied"] is True, "it is no reason to refuse it"
