"""Previews of settings and links: what they would do where, and that just this is done by the hash, or nothing."""

from __future__ import annotations

import asyncio
import random

import pytest
import pytest_asyncio

from syncd.core.errors import UserError
from syncd.core.history_port import StoodPage
from syncd.core.ports import ChunkRequest
from syncd.core.preferences import Place
from syncd.core.selection import ALL, Selection, read_chosen
from syncd.core.status import Json
from tests.contract.sync_database_kit import devices_of
from tests.control.status_page import mistakes
from tests.deeds_kit import NAME, note
from tests.foresee_kit import OLD, STRANGER, TILL, ForeseeingDesk, moves

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def desk() -> ForeseeingDesk:
    """Notes 1 to 4 are old, 5 to 9 are new."""
    desk = await ForeseeingDesk().open()
    await desk.notes(**{f"n{number}": "old" if number < 5 else "new" for number in range(1, 10)})
    return desk


def selection(desk: ForeseeingDesk) -> Selection:
    """What the till takes, as it is in force."""
    return desk.in_force.selection(Place(1, TILL.id, NAME))


async def test_a_selection_says_what_goes_where_and_does_nothing(desk: ForeseeingDesk) -> None:
    told = await desk.taking()
    assert mistakes("preview", "primary", told) == []
    assert moves(told) == {("till", "delete"): ["[5]", "[6]", "[7]", "[8]", "[9]"]}
    assert told["change"] == f"collection {NAME} on till: selection: not set -> where {OLD}"
    (outcome,) = told["outcomes"] if isinstance(told["outcomes"], list) else []
    assert outcome["delete"]["bytes"] == 5 * len(note(5).key + (desk.source.rows[note(5)] or b""))
    assert (told["applied"], await desk.choices.kept()) == (False, [])


async def test_at_most_five_are_named_the_first_by_key(desk: ForeseeingDesk) -> None:
    await desk.notes(n10="new", n11="new", n5="newer")
    told = await desk.taking()
    assert moves(told) == {("till", "delete"): ["[5]", "[6]", "[7]", "[8]", "[9]"]}
    (outcome,) = told["outcomes"] if isinstance(told["outcomes"], list) else []
    assert outcome["delete"]["objects"] == 7


async def test_by_its_hash_just_that_is_done(desk: ForeseeingDesk) -> None:
    told = await desk.taking()
    done = await desk.taking(apply=str(told["hash"]))
    assert (done["applied"], done["refused"], done["hash"]) == (True, "", told["hash"])
    assert selection(desk) == Selection(OLD)
    (changed,) = await desk.records("journal", "settings_journal")
    assert changed["who"] == "uid 7, preview"
    back = await desk.foresees("settings_unset", name=f"{NAME}.selection", device="till")
    assert moves(back) == {("till", "add"): ["[5]", "[6]", "[7]", "[8]", "[9]"]}


async def test_what_the_guard_would_hold_is_done_by_the_hash(desk: ForeseeingDesk) -> None:
    await desk.notes(**{f"n{number}": "new" for number in range(10, 50)})
    plain = await desk.ask("settings_set", name=f"{NAME}.selection", value=OLD, device="till")
    assert (plain["changed"], bool(plain["held"])) == ([], True)
    told = await desk.foresees("approve", group="settings-1")
    assert told["outcomes"] == (await desk.taking())["outcomes"]
    assert (await desk.foresees("approve", str(told["hash"]), group="settings-1"))["applied"] is True
    assert (selection(desk), await desk.database.held_settings()) == (Selection(OLD), [])
    assert await desk.database.taken_away(0) == {}


async def test_what_else_is_committed_does_not_change_the_hash(desk: ForeseeingDesk) -> None:
    told = await desk.taking()
    await desk.notes(n1="old", n20="old")
    await desk.notes(n2=None)
    assert (await desk.taking())["hash"] == told["hash"]
    for change in ({"n21": "new"}, {"n21": None, "n5": "newest"}, {"n5": "new", "n3": "new"}):
        await desk.notes(**change)
        assert (await desk.taking())["hash"] != told["hash"]
    await desk.notes(n3="old")
    assert (await desk.taking())["hash"] == told["hash"], "all that moves is as it was"


async def test_other_decisions_have_other_hashes(desk: ForeseeingDesk) -> None:
    told = [await desk.taking(), await desk.taking('title != "new"'), await desk.taking(device="laptop")]
    assert len({str(one["hash"]) for one in told}) == 3


async def test_it_is_refused_where_the_data_moved_and_told_anew(desk: ForeseeingDesk) -> None:
    told = await desk.taking()
    await desk.notes(n1="new")
    again = await desk.taking(apply=str(told["hash"]))
    assert mistakes("preview", "primary", again) == []
    assert (again["applied"], selection(desk)) == (False, ALL)
    assert "the data moved" in str(again["refused"])
    assert moves(again) == {("till", "delete"): ["[1]", "[5]", "[6]", "[7]", "[8]"]}
    assert (await desk.taking(apply=str(again["hash"])))["applied"] is True


class Committing:
    """Commits while the store is looked at, once."""

    def __init__(self, desk: ForeseeingDesk, **titles: str | None) -> None:
        self._desk, self._titles, self._stood = desk, titles, desk.store.stood
        desk.store.stood = self.stood  # type: ignore[method-assign]

    async def stood(self, name: str, at: int, cursor: int, rows_max: int, bytes_max: int) -> StoodPage:
        page = await self._stood(name, at, cursor, rows_max, bytes_max)
        if titles := self._titles:
            self._titles = {}
            await self._desk.notes(**titles)
        return page


async def test_a_commit_between_the_look_and_the_deed_is_found(desk: ForeseeingDesk) -> None:
    told = await desk.taking()
    Committing(desk, n1="new")
    again = await desk.taking(apply=str(told["hash"]))
    assert (again["applied"], selection(desk)) == (False, ALL)
    assert "[1]" in moves(again)["till", "delete"]


async def test_a_commit_between_them_that_moves_nothing_else_does_not_matter(desk: ForeseeingDesk) -> None:
    told = await desk.taking()
    Committing(desk, n1=None, n30="old")
    assert (await desk.taking(apply=str(told["hash"])))["applied"] is True


async def test_no_commit_comes_between_the_last_look_and_the_deed(desk: ForeseeingDesk) -> None:
    told, seen = await desk.taking(), list[bool]()
    desk.source.commit({note(1): None})
    reading: list[asyncio.Task[object]] = []

    async def meanwhile() -> None:
        reading.append(asyncio.create_task(desk._keep()))
        for _ in range(100):
            await asyncio.sleep(0)
        seen.append(reading[0].done())

    desk.meanwhile = meanwhile
    assert (await desk.taking(apply=str(told["hash"])))["applied"] is True
    await reading[0]
    assert seen == [False]
    assert (await desk.store.open_collection(NAME)).objects == 8


async def test_a_setting_that_was_changed_meanwhile_is_found(desk: ForeseeingDesk) -> None:
    told = await desk.taking()
    await desk.ask("settings_set", name="selection", value='title == "new"', user="ada")
    assert (await desk.taking(apply=str(told["hash"])))["applied"] is False


async def test_a_device_of_another_user_is_never_named(desk: ForeseeingDesk) -> None:
    told = await desk.foresees("settings_set", name="selection", value=OLD, user="ada")
    assert {device for device, _ in moves(told)} == {"till", "laptop"}
    await desk.database.revoke(TILL.id, 1)
    told = await desk.foresees("settings_set", name="selection", value=OLD, user="ada")
    assert {device for device, _ in moves(told)} == {"laptop"}


async def test_a_device_that_is_linked_gets_what_it_will_take(desk: ForeseeingDesk) -> None:
    told = await desk.foresees("device_link", device="stranger", user="ada")
    assert (moves(told)["stranger", "add"], told["change"]) == (
        ["[1]", "[2]", "[3]", "[4]", "[5]"],
        "device stranger is linked with user ada",
    )
    (outcome,) = told["outcomes"] if isinstance(told["outcomes"], list) else []
    assert (outcome["add"]["objects"], outcome["accepted"]) == (9, False)
    await desk.notes(n2="changed")
    refused = await desk.foresees("device_link", str(told["hash"]), device="stranger", user="ada")
    assert refused["applied"] is False
    done = await desk.foresees("device_link", str(refused["hash"]), device="stranger", user="ada")
    assert done["applied"] is True
    assert STRANGER.id in {one.id for one in await devices_of(desk.database, 1)}


async def test_what_a_new_device_would_get_has_no_hash(desk: ForeseeingDesk) -> None:
    told = await desk.foresees("pair", user="")
    assert mistakes("preview", "primary", told) == []
    assert (moves(told)["(new device)", "add"], told["hash"]) == (["[1]", "[2]", "[3]", "[4]", "[5]"], "")
    assert (await desk.foresees("pair", "0", user=""))["applied"] is False


async def test_a_direction_tells_what_is_not_known(desk: ForeseeingDesk) -> None:
    there = {"name": f"{NAME}.direction", "device": "till"}
    told = await desk.foresees("settings_set", value="in", **there)
    assert (moves(told), "keeps what it holds" in str(told["outcomes"])) == ({}, True)
    await desk.ask("settings_set", value="in", **there)
    back = await desk.foresees("settings_set", value="out", **there)
    assert ("at most" in str(back["outcomes"]), len(moves(back)["till", "add"])) == (True, 5)


async def test_a_setting_that_moves_nothing_says_so(desk: ForeseeingDesk) -> None:
    told = await desk.foresees("settings_set", name=f"{NAME}.history.age", value="2d")
    assert (told["outcomes"], moves(told)) == ([], {})
    assert (await desk.foresees("settings_set", str(told["hash"]), name=f"{NAME}.history.age", value="2d"))["applied"]


async def test_what_cannot_be_set_cannot_be_previewed(desk: ForeseeingDesk) -> None:
    for args, said in (
        ({"name": f"{NAME}.selection", "value": "titel == 1", "device": "till"}, "no type has a field"),
        ({"name": f"{NAME}.selection", "value": OLD, "device": "stranger"}, "not linked"),
    ):
        with pytest.raises(UserError, match=said):
            await desk.foresees("settings_set", **args)
    with pytest.raises(UserError, match="cannot be previewed"):
        await desk.foresees("revoke", device="till")
    with pytest.raises(UserError, match="nothing to preview"):
        await desk.ask("preview")


async def test_a_file_of_settings_is_previewed_as_a_whole(desk: ForeseeingDesk) -> None:
    toml = f'[[settings]]\ndevice = "till"\ncollection = "{NAME}"\nselection = \'{OLD}\'\n'
    toml += f'[[settings]]\ndevice = "laptop"\ncollection = "{NAME}"\nselection = \'title == "new"\'\n'
    told = await desk.foresees("settings_import", toml=toml)
    assert moves(told)["laptop", "delete"] == ["[1]", "[2]", "[3]", "[4]"]
    assert moves(told)["till", "delete"] == ["[5]", "[6]", "[7]", "[8]", "[9]"]
    assert (await desk.foresees("settings_import", str(told["hash"]), toml=toml))["applied"] is True


@pytest.mark.parametrize("seed", range(30))
async def test_what_is_foreseen_is_what_the_classes_become(desk: ForeseeingDesk, seed: int) -> None:
    print("seed", seed)
    chance = random.Random(seed)
    for _ in range(5):
        titles = {f"n{chance.randrange(1, 30)}": chance.choice(["old", "new", "x", None]) for _ in range(6)}
        await desk.notes(**titles)
    expressions = [OLD, 'title == "new"', "id >= 9", 'title in ("x", "old") and id < 20', "all"]
    held, takes = chance.choice(expressions), chance.choice(expressions)
    there, after = await members(desk, held), await members(desk, takes)
    first = await desk.taking(held)
    assert (await desk.taking(held, str(first["hash"])))["applied"] is True
    assert counts(await desk.taking(takes)) == (len(after - there), len(there - after))


async def members(desk: ForeseeingDesk, text: str) -> set[bytes]:
    """What the store's class of it holds."""
    chosen = read_chosen(text)
    await desk.store.open_class(NAME, chosen, 1_000)
    chunk = await desk.store.read(ChunkRequest(NAME, chosen, 0, 0, 0), 1_000, 1_000_000)
    return {row.key for row in chunk.rows if row.fields is not None}


def counts(told: Json) -> tuple[int, int]:
    """How many are added and deleted."""
    outcomes = told["outcomes"]
    assert isinstance(outcomes, list)
    return sum(one["add"]["objects"] for one in outcomes), sum(one["delete"]["objects"] for one in outcomes)
