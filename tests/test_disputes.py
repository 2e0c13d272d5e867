"""Conflicts at the primary, as a person sees and settles them: both versions survive until somebody chose (R11)."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from syncd import deeds
from syncd.adapters.canonical import pack_values
from syncd.core.edits import Policy
from syncd.core.errors import UserError
from syncd.core.model import ObjectId
from syncd.core.status import Json
from tests.control.status_page import mistakes
from tests.deeds_kit import LAPTOP, NAME, NOTE, Desk, note

pytestmark = pytest.mark.asyncio
PERSON = ObjectId("person", pack_values(["ada"]))


async def disputed(policy: Policy = Policy.PRIMARY) -> Desk:
    """A desk where note 1 was changed on both sides, and note 2 with it on the laptop."""
    desk = await Desk().open()
    await desk.commit({note(1): ("one", "base"), note(2): ("two", "base")})
    await desk.commit({note(1): ("one", "ours")})
    await desk.edit(
        {
            note(1): (("one", "base"), ("one", "theirs")),
            note(2): (("two", "base"), ("two", "theirs")),
        },
        policy,
    )
    return desk


async def bodies(desk: Desk) -> list[object]:
    return [row[1] if (row := desk.row(note(number))) else None for number in (1, 2)]


async def test_a_conflict_is_listed_with_device_policy_winner_and_guilty_object() -> None:
    desk = await disputed()
    told = await desk.ask("conflicts", collection=NAME)
    assert mistakes("conflicts, on the primary", "primary", told) == []
    (line,) = await desk.records("conflicts", "conflicts")
    assert (line["collection"], line["device"], line["device_name"]) == (NAME, LAPTOP, "laptop")
    assert (line["policy"], line["winner"], line["objects"], line["contested"]) == ("primary", "primary", 2, 1)
    assert (line["type"], line["key"], line["resolved"], line["group"]) == ("note", "[1]", "", "")


async def test_a_conflict_is_shown_with_all_versions_those_in_conflict_first() -> None:
    desk = await disputed(Policy.AUXILIARY)
    told = await desk.ask("conflict", id="1")
    assert mistakes("conflicts show, on the primary", "primary", told) == []
    sides = told["sides"]
    assert isinstance(sides, list)
    assert [(side["key"], side["contested"]) for side in sides] == [("[1]", True), ("[2]", False)]
    assert sides[0]["fields"][1] == {
        "name": "body",
        "base": "base",
        "ours": "ours",
        "theirs": "theirs",
        "result": "theirs",
        "now": "theirs",
    }
    assert str(told["group"]).startswith("notes:")


@pytest.mark.parametrize("policy", [Policy.PRIMARY, Policy.AUXILIARY])
@pytest.mark.parametrize(("take", "expected"), [("ours", ["ours", "base"]), ("theirs", ["theirs", "theirs"])])
async def test_whoever_won_a_person_may_take_either_version_of_the_whole_group(
    policy: Policy, take: str, expected: list[str]
) -> None:
    desk = await disputed(policy)
    told = await desk.ask("resolve", id="1", take=take)
    assert mistakes("resolve", "primary", told) == []
    assert await bodies(desk) == expected
    stood = (policy is Policy.PRIMARY) == (take == "ours")
    assert bool(told["group"]) is bool(told["written"]) is not stood, "what stands already is not written again"
    assert await desk.records("conflicts", "conflicts") == []
    (line,) = await desk.records("conflicts", "conflicts", all=True)
    assert str(line["resolved"]).startswith(take)


async def test_what_was_resolved_is_in_the_history_and_can_be_undone() -> None:
    desk = await disputed()
    told = await desk.ask("resolve", id="1", take="theirs")
    history = await desk.records("versions", "history", collection=NAME, words=["2"])
    assert (history[0]["deed"], history[0]["group"]) == ("resolve 1", told["group"])
    await desk.ask("undo", group=told["group"])
    assert await bodies(desk) == ["ours", "base"]


async def test_a_conflict_can_be_resolved_once_more_in_another_way() -> None:
    desk = await disputed()
    await desk.ask("resolve", id="1", take="theirs")
    await desk.ask("conflict", id="1")
    await desk.ask("resolve", id="1", take="ours")
    assert await bodies(desk) == ["ours", "base"]


async def test_an_edited_version_is_taken_field_by_field() -> None:
    desk = await disputed()
    shown = json.loads(json.dumps(await desk.ask("conflict", id="1")))
    shown["sides"][0]["fields"][1]["result"] = "both of us"
    shown["sides"][1]["there"]["result"] = False
    await desk.ask("resolve", id="1", take="file", sides=shown["sides"])
    assert await bodies(desk) == ["both of us", None]


async def test_what_nobody_edited_in_a_file_stays_as_the_application_holds_it() -> None:
    desk = await disputed()
    await desk.commit({note(2): ("two", "later")})
    shown = json.loads(json.dumps(await desk.ask("conflict", id="1")))
    shown["sides"][0]["fields"][1]["result"] = "edited"
    await desk.ask("resolve", id="1", take="file", sides=shown["sides"])
    assert await bodies(desk) == ["edited", "later"]


@pytest.mark.parametrize(
    ("sides", "words"),
    [
        (None, "no list `sides`"),
        ([1], "no list `sides`"),
        ([{"type": "note", "key": "[9]"}], r"sides\[0\]: note \[9\] is no object of this conflict"),
        (
            [{"type": "note", "key": "[1]", "there": {}, "fields": [{"name": "bodi", "result": ""}]}],
            r"sides\[0\].fields\[0\]: note has no column 'bodi'",
        ),
    ],
)
async def test_a_mistake_in_a_file_changes_nothing(sides: object, words: str) -> None:
    desk = await disputed()
    with pytest.raises(UserError, match=words):
        await desk.ask("resolve", id="1", take="file", sides=sides)
    assert await bodies(desk) == ["ours", "base"]
    assert len(await desk.records("conflicts", "conflicts")) == 1


async def test_what_was_changed_since_a_person_looked_is_not_written_over() -> None:
    desk = await disputed()
    await desk.ask("conflict", id="1")
    await desk.commit({note(2): ("two", "later")})
    with pytest.raises(UserError, match=r"changed since then: note \[2\]") as caught:
        await desk.ask("resolve", id="1", take="theirs")
    assert "`syncd conflicts show 1`" in caught.value.advice
    assert await bodies(desk) == ["ours", "later"]
    shown = await desk.records("sides", "conflict", id="1")
    assert [side["fields"][1]["now"] for side in shown] == ["ours", "later"]  # type: ignore[index]
    await desk.ask("resolve", id="1", take="theirs")
    assert await bodies(desk) == ["theirs", "theirs"], "it was looked at again"


async def test_a_change_that_comes_just_then_is_not_written_over(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = await disputed()
    write = desk.writer.write

    async def late(groups: object, policy: object, facts: object) -> object:
        desk.source.commit({note(1): pack_values(["one", "just now"])})
        return await write(groups, policy, facts)  # type: ignore[arg-type]

    monkeypatch.setattr(desk.writer, "write", late)
    with pytest.raises(UserError, match=r"changed since then: note \[1\]"):
        await desk.ask("resolve", id="1", take="theirs")
    assert await bodies(desk) == ["just now", "base"], "all of it, or nothing"
    assert len(await desk.records("conflicts", "conflicts")) == 1


# ---------------------------------------------------------------- both


@pytest.mark.parametrize("policy", [Policy.PRIMARY, Policy.AUXILIARY])
async def test_both_keeps_what_is_there_and_the_other_version_as_a_second_object(policy: Policy) -> None:
    desk = await disputed(policy)
    told = await desk.ask("resolve", id="1", take="both")
    first, other = ("ours", "theirs") if policy is Policy.PRIMARY else ("theirs", "ours")
    assert await bodies(desk) == [first, "theirs"]
    assert desk.row(note(3)) == ("one", other)
    assert told["group"]
    assert len(await desk.records("conflicts", "conflicts", all=True)) == 1, "no conflict comes of resolving one"


async def test_both_is_refused_where_a_key_has_a_meaning() -> None:
    desk = await Desk().open()
    await desk.commit({PERSON: ("base",)})
    await desk.commit({PERSON: ("ours",)})
    await desk.edit({PERSON: (("base",), ("theirs",))})
    with pytest.raises(UserError, match="person has a key with a meaning") as caught:
        await desk.ask("resolve", id="1", take="both")
    assert "take ours, theirs" in caught.value.advice
    assert desk.row(PERSON) == ("ours",)


async def test_both_is_possible_where_both_sides_added_an_object_of_one_key() -> None:
    desk = await Desk().open()
    await desk.commit({note(1): ("one", "ours")})
    await desk.edit({note(1): (None, ("one", "theirs"))})
    await desk.ask("resolve", id="1", take="both")
    assert (desk.row(note(1)), desk.row(note(2))) == (("one", "ours"), ("one", "theirs"))


async def test_a_second_object_after_another_resolution_has_a_group_of_its_own() -> None:
    desk = await disputed()
    first = await desk.ask("resolve", id="1", take="theirs")
    await desk.ask("conflict", id="1")
    second = await desk.ask("resolve", id="1", take="both")
    assert desk.row(note(3)) == ("one", "ours")
    assert second["group"] not in ("", first["group"]), "an undo of it takes away the second object"
    await desk.ask("undo", group=second["group"])
    assert desk.row(note(3)) is None


# ---------------------------------------------------------------- what cannot be


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"id": "2", "take": "ours"}, "there is no conflict 2"),
        ({"id": "one", "take": "ours"}, "'one' is no id"),
        ({"id": "", "take": "ours"}, "'' is no id"),
        ({"id": "1", "take": "mine"}, "'mine' cannot be taken"),
        ({"id": "1"}, "'' cannot be taken"),
    ],
)
async def test_what_cannot_be_resolved_is_refused_with_advice(args: Json, words: str) -> None:
    desk = await disputed()
    with pytest.raises(UserError, match=words) as caught:
        await desk.ask("resolve", **args)
    assert caught.value.advice


async def test_versions_of_other_columns_are_shown_and_cannot_be_taken() -> None:
    desk = await disputed()
    wider = replace(NOTE, fields=("title", "body", "place"))
    desk.source.reshape((wider,))
    await desk.source.number(await desk.store.set_source(NAME, desk.source.identity, (wider,)))
    told = await desk.ask("conflict", id="1")
    assert mistakes("conflicts show, on the primary", "primary", told) == []
    with pytest.raises(UserError, match="has other columns since then"):
        await desk.ask("resolve", id="1", take="theirs")


async def test_conflicts_of_a_collection_that_is_not_shared_are_refused() -> None:
    desk = await disputed()
    with pytest.raises(UserError, match="no collection 'other' is shared here"):
        await desk.ask("conflicts", collection="other")


async def test_what_is_written_and_not_read_in_time_is_done_without_naming_its_group(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = await disputed()
    monkeypatch.setattr(deeds, "ORDER_S_MAX", 0.01)
    desk.deeds.changed = asyncio.Event()
    told = await desk.ask("resolve", id="1", take="theirs")
    assert (told["group"], told["written"]) == ("", True)
    assert await bodies(desk) == ["theirs", "theirs"]
