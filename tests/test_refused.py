"""Refused groups of edits on an auxiliary: they stay readable, and can be made again, as they were or edited."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import pytest

from syncd.adapters.canonical import Value, pack_values
from syncd.core.edits import Edit, LocalBatch, Ruling
from syncd.core.errors import UserError
from syncd.core.messages import Verdict
from syncd.core.model import DataType
from syncd.core.status import Json
from syncd.refused import RefusedEdits
from syncd.store.memory_outbox import MemoryOutbox
from tests.control.status_page import mistakes

pytestmark = pytest.mark.asyncio
NOTE = DataType(1, "note", ("id",), ("title", "body"))
_US = 1_700_000_000_000_000


def packed(*values: Value) -> bytes:
    return pack_values(values)


def changed(number: int, body: str) -> Edit:
    return Edit(NOTE.id, packed(number), packed("title", "base"), packed("title", body))


class Here:
    """The collections of a device, and what was written again. ``refuses``: why the application does not take it.
    ``changes``: how many of the edits change anything."""

    def __init__(self, *collections: str) -> None:
        self.outbox = MemoryOutbox()
        self.collections = collections
        self.known: tuple[DataType, ...] = (NOTE,)
        self.written: list[tuple[str, list[Edit]]] = []
        self.refuses = ""
        self.changes = 1
        self.verbs = RefusedEdits(self.outbox, self).verbs

    def names(self) -> Iterable[str]:
        return self.collections

    async def types(self, collection: str) -> Sequence[DataType]:
        return self.known

    async def write_again(self, collection: str, edits: Sequence[Edit], new_keys: bool) -> int:
        if self.refuses:
            raise UserError(self.refuses, "remove the cause")
        self.written.append((collection, list(edits)))
        return self.changes

    async def refuse(self, collection: str, *edits: Edit, cause: str = "it is in the way", conflict: int = 0) -> int:
        """A group with these edits was sent, and refused. Its number."""
        await self.outbox.types(collection, self.known)
        before = await self.outbox.load(collection)
        batch = LocalBatch(edits, True, before.mark + 1, _US + before.last * 1_000_000)
        number = (await self.outbox.keep_and_take(collection, batch, before.last, 1))[0].last
        verdict = Verdict(number, Ruling.REFUSED.value, 0, cause, "note", packed(1), conflict)
        await self.outbox.settle(collection, (verdict,), 0, _US)
        return number

    async def ask(self, verb: str, **args: object) -> Json:
        return await self.verbs[verb](args)

    async def listed(self, **args: object) -> list[Json]:
        told = (await self.ask("conflicts", **args))["refused"]
        assert isinstance(told, list)
        return told


async def test_refused_groups_are_listed_with_cause_guilty_object_and_conflict() -> None:
    here = Here("notes")
    number = await here.refuse("notes", changed(1, "a"), changed(2, "b"), conflict=7)
    told = await here.ask("conflicts")
    assert mistakes("conflicts, on an auxiliary", "auxiliary", told) == []
    (line,) = await here.listed()
    assert (line["number"], line["collection"], line["cause"], line["conflict"]) == (
        number,
        "notes",
        "it is in the way",
        7,
    )
    assert (line["type"], line["key"], line["objects"]) == ("note", "[1]", 2)


async def test_refused_groups_of_one_collection_are_listed_alone() -> None:
    here = Here("notes", "tasks")
    await here.refuse("notes", changed(1, "a"))
    await here.refuse("tasks", changed(1, "b"))
    assert [one["collection"] for one in await here.listed(collection="tasks")] == ["tasks"]
    with pytest.raises(UserError, match="no collection 'other' is accepted here"):
        await here.listed(collection="other")


async def test_a_refused_group_is_shown_with_what_it_changed() -> None:
    here = Here("notes")
    number = await here.refuse("notes", changed(1, "a"))
    told = await here.ask("conflict", id=str(number))
    assert mistakes("conflicts show, on an auxiliary", "auxiliary", told) == []
    assert told["edits"] == [
        {
            "type": "note",
            "key": "[1]",
            "fault": "",
            "there": {"base": True, "edited": True},
            "fields": [
                {"name": "title", "base": "title", "edited": "title"},
                {"name": "body", "base": "base", "edited": "a"},
            ],
        }
    ]


async def test_a_group_that_is_sent_again_is_written_whole_and_refused_no_more() -> None:
    here = Here("notes")
    number = await here.refuse("notes", changed(1, "a"), changed(2, "b"))
    told = await here.ask("resend", number=str(number))
    assert mistakes("resend", "auxiliary", told) == []
    ((collection, edits),) = here.written
    assert (collection, {edit.key: edit.fields for edit in edits}) == (
        "notes",
        {packed(1): packed("title", "a"), packed(2): packed("title", "b")},
    )
    assert await here.listed() == []


async def test_a_group_may_be_edited_before_it_is_sent_again() -> None:
    here = Here("notes")
    number = await here.refuse("notes", changed(1, "a"), changed(2, "b"))
    shown = json.loads(json.dumps(await here.ask("conflict", id=str(number))))
    shown["edits"][0]["fields"][1]["edited"] = "better"
    shown["edits"][1]["there"]["edited"] = False
    await here.ask("resend", number=f"notes:{number}", edits=shown["edits"])
    assert {edit.key: edit.fields for edit in here.written[0][1]} == {
        packed(1): packed("title", "better"),
        packed(2): None,
    }


@pytest.mark.parametrize(
    ("edits", "words"),
    [
        ("all", "no list `edits`"),
        ([{"type": "note", "key": "[9]"}], r"edits\[0\]: note \[9\] is no object of this group"),
        (
            [{"type": "note", "key": "[1]", "there": {}, "fields": [{"name": "body", "edited": [1]}]}],
            r"edits\[0\].fields\[0\].edited \(body\): \[1\] is no value",
        ),
    ],
)
async def test_a_mistake_in_a_file_sends_nothing(edits: object, words: str) -> None:
    here = Here("notes")
    number = await here.refuse("notes", changed(1, "a"))
    with pytest.raises(UserError, match=words):
        await here.ask("resend", number=str(number), edits=edits)
    assert (here.written, len(await here.listed())) == ([], 1)


async def test_what_the_application_does_not_take_stays_refused() -> None:
    here = Here("notes")
    number = await here.refuse("notes", changed(1, "a"))
    here.refuses = "CHECK constraint failed"
    with pytest.raises(UserError, match="CHECK"):
        await here.ask("resend", number=str(number))
    assert len(await here.listed()) == 1


async def test_what_the_application_holds_already_would_not_travel_and_stays_refused() -> None:
    """Where nothing is put back (direction in), or it was not yet."""
    here = Here("notes")
    number = await here.refuse("notes", changed(1, "a"))
    here.changes = 0
    with pytest.raises(UserError, match="so already"):
        await here.ask("resend", number=str(number))
    assert len(await here.listed()) == 1


async def test_a_number_of_two_collections_needs_the_name_of_one() -> None:
    here = Here("notes", "tasks")
    number = await here.refuse("notes", changed(1, "a"))
    assert number == await here.refuse("tasks", changed(1, "b"))
    with pytest.raises(UserError, match="several collections") as caught:
        await here.ask("conflict", id=str(number))
    assert f"notes:{number} or tasks:{number}" in caught.value.advice
    assert (await here.ask("conflict", id=f"tasks:{number}"))["collection"] == "tasks"


@pytest.mark.parametrize("asked", ["", "99", "other:1", "x"])
async def test_a_group_that_was_not_refused_is_not_there(asked: str) -> None:
    here = Here("notes")
    await here.refuse("notes", changed(1, "a"))
    for verb, name in (("conflict", "id"), ("resend", "number"), ("dismiss", "number")):
        with pytest.raises(UserError, match="was refused") as caught:
            await here.ask(verb, **{name: asked})
        assert caught.value.advice


async def test_a_group_that_is_dismissed_is_listed_no_more_and_nothing_is_written() -> None:
    here = Here("notes")
    number = await here.refuse("notes", changed(1, "a"))
    kept = await here.refuse("notes", changed(2, "b"))
    told = await here.ask("dismiss", number=str(number))
    assert mistakes("dismiss", "auxiliary", told) == []
    assert [one["number"] for one in await here.listed()] == [kept]
    assert here.written == []


async def test_a_group_of_a_table_that_changed_is_shown_and_cannot_be_sent_again() -> None:
    here = Here("notes")
    number = await here.refuse("notes", changed(1, "a"))
    here.known = (DataType(2, "note", ("id",), ("title",)),)
    told = await here.ask("conflict", id=str(number))
    assert mistakes("conflicts show, on an auxiliary", "auxiliary", told) == []
    with pytest.raises(UserError, match="its table has changed since"):
        await here.ask("resend", number=str(number))
