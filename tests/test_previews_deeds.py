"""Previews of held groups and of an undo: what they would do where, and that just this is done by the hash."""

from __future__ import annotations

import pytest
import pytest_asyncio

from syncd.applications.memory_writer import MemoryWriter
from syncd.core.edits import Written
from syncd.core.errors import UserError
from tests.control.status_page import mistakes
from tests.deeds_kit import NAME, note
from tests.foresee_kit import OLD, ForeseeingDesk, moves

pytestmark = pytest.mark.asyncio
HELD = f"{NAME}:held-1"


@pytest_asyncio.fixture
async def desk() -> ForeseeingDesk:
    """Notes 0 to 14 are old, 15 to 29 are new; the till takes the old ones."""
    desk = await ForeseeingDesk().open()
    await desk.notes(**{f"n{number}": "old" if number < 15 else "new" for number in range(30)})
    told = await desk.taking()
    await desk.taking(apply=str(told["hash"]))
    return desk


async def delete(desk: ForeseeingDesk, first: int = 10, last: int = 22, **titles: str | None) -> None:
    """Held: so many notes are gone, and others changed with them."""
    await desk.notes(**{f"n{number}": None for number in range(first, last)}, **titles)


async def stored(desk: ForeseeingDesk) -> int:
    return (await desk.store.open_collection(NAME)).objects


# ---------------------------------------------------------------- held groups


async def test_an_approval_says_what_goes_and_changes_where(desk: ForeseeingDesk) -> None:
    await delete(desk, n1="new", n40="old")
    told = await desk.foresees("approve", group=HELD)
    assert mistakes("preview", "primary", told) == []
    assert moves(told) == {
        ("till", "add"): ["[40]"],
        ("till", "delete"): ["[1]", "[10]", "[11]", "[12]", "[13]"],
        ("laptop", "add"): ["[40]"],
        ("laptop", "modify"): ["[1]"],
        ("laptop", "delete"): ["[10]", "[11]", "[12]", "[13]", "[14]"],
    }
    assert (await stored(desk), (await desk.foresees("approve", group=HELD))["hash"]) == (30, told["hash"])


async def test_an_approval_by_its_hash_is_carried_out(desk: ForeseeingDesk) -> None:
    await delete(desk, n1="new")
    told = await desk.foresees("approve", group=HELD)
    assert (await desk.foresees("approve", str(told["hash"]), group=HELD))["applied"] is True
    await desk.notes(n50="else")
    assert (await stored(desk), await desk.records("held", "held")) == (19, [])


async def test_an_approval_is_refused_where_an_object_of_the_group_changed(desk: ForeseeingDesk) -> None:
    await delete(desk, n1="new")
    told = await desk.foresees("approve", group=HELD)
    desk.source.commit({note(1): None})
    again = await desk.foresees("approve", str(told["hash"]), group=HELD)
    assert (again["applied"], await stored(desk)) == (False, 30)
    assert "[1]" in moves(again)["laptop", "delete"]


async def test_an_approval_of_a_group_that_has_grown_is_refused(desk: ForeseeingDesk) -> None:
    await delete(desk, n1="new")
    told = await desk.foresees("approve", group=HELD)
    await delete(desk, 22, 24, n1="newer")
    with pytest.raises(UserError, match="more was deleted since"):
        await desk.foresees("approve", str(told["hash"]), group=HELD)
    assert (await stored(desk), bool(await desk.records("held", "held"))) == (30, True)


async def test_a_rejection_says_what_the_application_gets_back(desk: ForeseeingDesk) -> None:
    await delete(desk, n1="new")
    told = await desk.foresees("reject", group=HELD)
    assert moves(told) == {
        ("", "add"): ["[10]", "[11]", "[12]", "[13]", "[14]"],
        ("till", "delete"): ["[1]"],
        ("laptop", "modify"): ["[1]"],
    }
    assert (await desk.foresees("reject", str(told["hash"]), group=HELD))["applied"] is True
    assert {note(number) in desk.source.rows for number in range(10, 22)} == {True}


async def test_many_changed_objects_of_a_held_group_are_all_seen(desk: ForeseeingDesk) -> None:
    await delete(desk, 5, 25, **{f"n{number}": "added" for number in range(60, 90)})
    told = await desk.foresees("approve", group=HELD)
    outcomes = told["outcomes"]
    assert isinstance(outcomes, list)
    (laptop,) = [one for one in outcomes if one["device_name"] == "laptop"]
    assert (laptop["add"]["objects"], laptop["delete"]["objects"]) == (30, 20)


# ---------------------------------------------------------------- undo


async def test_an_undo_says_what_becomes_of_the_application_and_the_devices(desk: ForeseeingDesk) -> None:
    group = await desk.notes(n1="new", n2=None, n40="new", n16="old")
    told = await desk.foresees("undo", group=group)
    assert mistakes("preview", "primary", told) == []
    assert moves(told) == {
        ("", "add"): ["[2]"],
        ("", "modify"): ["[1]", "[16]"],
        ("", "delete"): ["[40]"],
        ("till", "add"): ["[1]", "[2]"],
        ("till", "delete"): ["[16]"],
        ("laptop", "add"): ["[2]"],
        ("laptop", "modify"): ["[1]", "[16]"],
        ("laptop", "delete"): ["[40]"],
    }
    done = await desk.foresees("undo", str(told["hash"]), group=group)
    assert (done["applied"], str(done["group"]).startswith(f"{NAME}:")) == (True, True)
    assert (desk.row(note(1)), note(40) in desk.source.rows) == (("old", "body"), False)


async def test_what_was_changed_since_is_left_and_named(desk: ForeseeingDesk) -> None:
    group = await desk.notes(n1="new", n2="new")
    await desk.notes(n1="newer")
    told = await desk.foresees("undo", group=group)
    assert (moves(told)["", "modify"], told["left"]) == (["[2]"], [{"type": "note", "key": "[1]"}])
    assert (await desk.foresees("undo", str(told["hash"]), group=group))["applied"] is True
    assert (desk.row(note(1)), desk.row(note(2))) == (("newer", "body"), ("old", "body"))


async def test_an_undo_is_refused_where_an_object_changed_since(desk: ForeseeingDesk) -> None:
    group = await desk.notes(n1="new", n2="new")
    told = await desk.foresees("undo", group=group)
    await desk.notes(n2="newer")
    again = await desk.foresees("undo", str(told["hash"]), group=group)
    assert (again["applied"], moves(again)["", "modify"]) == (False, ["[1]"])


async def test_an_undo_does_nothing_where_an_object_changes_as_it_is_written(
    desk: ForeseeingDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = await desk.notes(n1="new", n2="new")
    told, write = await desk.foresees("undo", group=group), MemoryWriter.write

    async def changed_before(self: MemoryWriter, *args: object) -> list[Written]:
        desk.source.commit({note(2): None})
        return list(await write(self, *args))  # type: ignore[arg-type]

    monkeypatch.setattr(MemoryWriter, "write", changed_before)
    again = await desk.foresees("undo", str(told["hash"]), group=group)
    assert again["applied"] is False
    assert (desk.row(note(1)), note(2) in desk.source.rows) == (("new", "body"), False)


async def test_an_undo_of_what_is_all_changed_moves_nothing(desk: ForeseeingDesk) -> None:
    group = await desk.notes(n1="new")
    await desk.notes(n1="newer")
    told = await desk.foresees("undo", group=group)
    assert (told["outcomes"], len(told["left"] if isinstance(told["left"], list) else [])) == ([], 1)
    done = await desk.foresees("undo", str(told["hash"]), group=group)
    assert (done["applied"], done["group"], desk.row(note(1))) == (True, "", ("newer", "body"))


async def test_what_a_device_takes_counts_for_an_undo_as_well(desk: ForeseeingDesk) -> None:
    group = await desk.notes(n1="new")
    told = await desk.foresees("undo", group=group)
    await desk.ask("settings_set", name=f"{NAME}.selection", value=f"{OLD} or id == 20", device="till")
    assert (await desk.foresees("undo", str(told["hash"]), group=group))["applied"] is True, "the same moves"
