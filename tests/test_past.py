"""Undo and history at the primary: who changed what, and taking it back."""

from __future__ import annotations

import pytest

from syncd.adapters.canonical import pack_values
from syncd.core.edits import Policy
from syncd.core.errors import ApplicationOffline, UserError
from syncd.core.model import ObjectId
from syncd.core.status import Json
from syncd.past import keys
from tests.control.status_page import mistakes
from tests.deeds_kit import DESK, LAPTOP, NAME, Desk, note

pytestmark = pytest.mark.asyncio


# ---------------------------------------------------------------- undo


async def test_an_undo_puts_back_what_a_group_added_changed_and_deleted() -> None:
    desk = await Desk().open()
    await desk.commit({note(1): ("one", "a"), note(2): ("two", "b")})
    group = await desk.commit({note(1): ("one", "changed"), note(2): None, note(3): ("three", "c")})
    told = await desk.ask("undo", group=group)
    assert mistakes("undo", "primary", told) == []
    assert (told["objects"], told["left"], told["conflict"]) == (3, [], 0)
    assert [desk.row(note(number)) for number in (1, 2, 3)] == [("one", "a"), ("two", "b"), None]


async def test_an_undo_is_a_group_that_can_be_undone_again_and_again() -> None:
    desk = await Desk().open()
    await desk.commit({note(1): ("one", "a")})
    group = await desk.commit({note(1): ("one", "b")})
    seen = {group}
    for expected in ("a", "b", "a"):
        told = await desk.ask("undo", group=group)
        group = str(told["undone_by"])
        assert group not in seen
        seen.add(group)
        assert desk.row(note(1)) == ("one", expected)


async def test_an_undo_that_is_said_twice_names_the_group_that_wrote() -> None:
    desk = await Desk().open()
    await desk.commit({note(1): ("one", "a"), note(2): ("two", "a")})
    group = await desk.commit({note(1): ("one", "b"), note(2): ("two", "b")})
    first = (await desk.ask("undo", group=group))["undone_by"]
    assert (await desk.ask("undo", group=group))["undone_by"] == first, "nothing was left to write"
    await desk.commit({note(2): ("two", "b")})
    assert (await desk.ask("undo", group=group))["undone_by"] not in ("", first)


async def test_what_was_changed_since_is_left_and_kept_as_a_conflict() -> None:
    desk = await Desk().open()
    await desk.commit({note(1): ("one", "a"), note(2): ("two", "a")})
    group = await desk.commit({note(1): ("one", "b"), note(2): ("two", "b")})
    await desk.commit({note(2): ("two", "c")})
    told = await desk.ask("undo", group=group)
    assert (told["objects"], told["left"]) == (1, [{"type": "note", "key": "[2]"}])
    assert (desk.row(note(1)), desk.row(note(2))) == (("one", "a"), ("two", "c"))
    kept = await desk.records("sides", "conflict", id=str(told["conflict"]))
    sides = [_values(side, "body") for side in kept if side["contested"]]
    assert sides == [{"base": "b", "ours": "c", "theirs": "a", "result": "c", "now": "c"}]
    await desk.ask("resolve", id=str(told["conflict"]), take="theirs")
    assert desk.row(note(2)) == ("two", "a")


def _values(side: Json, name: str) -> Json:
    fields = side["fields"]
    assert isinstance(fields, list)
    (found,) = [one for one in fields if one["name"] == name]
    return {version: value for version, value in found.items() if version != "name"}


async def test_an_undo_of_what_was_all_changed_since_changes_nothing_and_is_kept() -> None:
    desk = await Desk().open()
    await desk.commit({note(1): ("one", "a")})
    group = await desk.commit({note(1): ("one", "b")})
    await desk.commit({note(1): ("one", "c")})
    told = await desk.ask("undo", group=group)
    assert (told["objects"], told["undone_by"]) == (0, "")
    assert told["conflict"]
    assert desk.row(note(1)) == ("one", "c")


async def test_an_undo_that_the_application_refuses_says_its_words_and_the_object() -> None:
    desk = await Desk().open()
    await desk.commit({note(1): ("one", "a")})
    group = await desk.commit({note(1): ("one", "b")})
    desk.writer.failing[note(1)] = "CHECK constraint failed"
    with pytest.raises(UserError, match=r"CHECK constraint failed \(note \[1\]\)"):
        await desk.ask("undo", group=group)
    assert desk.row(note(1)) == ("one", "b")
    assert await desk.records("conflicts", "conflicts") == []


async def test_an_undo_that_is_refused_undoes_nothing_although_some_was_changed_since() -> None:
    desk = await Desk().open()
    await desk.commit({note(1): ("one", "a"), note(2): ("two", "a")})
    group = await desk.commit({note(1): ("one", "b"), note(2): ("two", "b")})
    await desk.commit({note(2): ("two", "c")})
    desk.writer.failing[note(1)] = "CHECK constraint failed"
    with pytest.raises(UserError, match="CHECK constraint failed"):
        await desk.ask("undo", group=group)
    assert (desk.row(note(1)), desk.row(note(2))) == (("one", "b"), ("two", "c"))
    assert await desk.records("conflicts", "conflicts") == []


async def test_an_undo_while_the_application_is_offline_is_refused() -> None:
    desk = await Desk().open()
    group = await desk.commit({note(1): ("one", "a")})
    desk.source.offline = "the disk is not mounted"
    with pytest.raises(ApplicationOffline, match="not mounted"):
        await desk.ask("undo", group=group)


@pytest.mark.parametrize("group", ["", "notes", "notes:", "notes:x", "notes:99", "other:1", "notes:-1"])
async def test_what_is_no_group_cannot_be_undone(group: str) -> None:
    desk = await Desk().open()
    await desk.commit({note(1): ("one", "a")})
    with pytest.raises(UserError) as caught:
        await desk.ask("undo", group=group)
    assert caught.value.advice


# ---------------------------------------------------------------- history


async def test_a_history_says_who_changed_what_and_how_the_newest_first() -> None:
    desk = await Desk().open()
    first = await desk.commit({note(1): ("one", "a")})
    await desk.edit({note(1): (("one", "a"), ("one", "b"))})
    second = await desk.ask("history", collection=NAME, words=["1"])
    told = await desk.ask("undo", group=_versions(second)[0]["group"])
    await desk.commit({note(1): None})
    history = await desk.ask("history", collection=NAME, words=["note", "1"])
    assert mistakes("history", "primary", history) == []
    lines = _versions(history)
    assert [(one["device"], one["device_name"], one["deed"]) for one in lines] == [
        ("", "", ""),
        (DESK, "desk", f"undo {_versions(second)[0]['group']}"),
        (LAPTOP, "laptop", ""),
        ("", "", ""),
    ]
    assert [one["change"] for one in lines] == ["deleted", "changed", "changed", "known"]
    assert lines[1]["group"] == told["undone_by"]
    assert lines[2]["fields"] == [{"name": "body", "before": "a", "after": "b"}]
    assert (lines[3]["group"], history["more"]) == (first, False)


def _versions(told: Json) -> list[Json]:
    versions = told["versions"]
    assert isinstance(versions, list)
    return versions


async def test_an_object_that_came_back_was_added() -> None:
    desk = await Desk().open()
    for row in (("one", "a"), None, ("one", "b")):
        await desk.commit({note(1): row})
    history = await desk.ask("history", collection=NAME, words=["1"])
    assert [one["change"] for one in _versions(history)] == ["added", "deleted", "known"]


async def test_a_history_may_be_shortened_and_says_that_there_is_more() -> None:
    desk = await Desk().open()
    for body in "abcd":
        await desk.commit({note(1): ("one", body)})
    history = await desk.ask("history", collection=NAME, words=["1"], limit=2)
    assert [one["fields"] for one in _versions(history)] == [
        [{"name": "body", "before": "c", "after": "d"}],
        [{"name": "body", "before": "b", "after": "c"}],
    ]
    assert history["more"] is True


async def test_a_key_is_found_as_the_value_or_the_text_that_it_looks_like() -> None:
    desk = await Desk().open()
    tag = ObjectId("tag", pack_values([1, "red"]))
    await desk.commit({note(1): ("one", ""), note("2"): ("text", ""), tag: (5,)})
    for words, key in (
        (["1"], "[1]"),
        (["2"], '["2"]'),
        (['"2"'], '["2"]'),
        (["1", "red"], '[1, "red"]'),
        (["tag", "1", "red"], '[1, "red"]'),
    ):
        assert (await desk.ask("history", collection=NAME, words=words))["key"] == key


async def test_a_key_of_several_tables_needs_the_name_of_one() -> None:
    desk = await Desk().open()
    person = ObjectId("person", pack_values([1]))
    await desk.commit({note(1): ("one", ""), person: ("ada",)})
    with pytest.raises(UserError, match="in note, person"):
        await desk.ask("history", collection=NAME, words=["1"])
    assert (await desk.ask("history", collection=NAME, words=["person", "1"]))["type"] == "person"


@pytest.mark.parametrize("words", [["7"], ["note", "7"], ["a", "b", "c"], [], None, [1]])
async def test_an_object_of_which_nothing_is_known_is_refused_with_advice(words: object) -> None:
    desk = await Desk().open()
    with pytest.raises(UserError) as caught:
        await desk.ask("history", collection=NAME, words=words)
    assert caught.value.advice


async def test_the_readings_of_words_are_all_that_they_may_be() -> None:
    assert list(keys(["7", "x"])) == [pack_values([7, "x"]), pack_values(["7", "x"])]
    assert list(keys(['{"hex": "ff"}'])) == [pack_values([b"\xff"]), pack_values(['{"hex": "ff"}'])]
    assert list(keys(["[1]"])) == [pack_values(["[1]"])]


async def test_a_change_that_won_a_conflict_is_in_the_history_as_its_devices() -> None:
    desk = await Desk().open()
    await desk.commit({note(1): ("one", "a")})
    await desk.commit({note(1): ("one", "b")})
    await desk.edit({note(1): (("one", "a"), ("one", "c"))}, Policy.AUXILIARY)
    history = await desk.ask("history", collection=NAME, words=["1"])
    assert _versions(history)[0]["device_name"] == "laptop"
