"""The history of the sync store: what objects were, who changed them, what undoes a group, and what is forgotten."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from syncd.core import digest
from syncd.core.edits import JUST_NOW_US, NOTHING_KNOWN, Edit, Fact, Version
from syncd.core.errors import UserError
from syncd.core.holding import Batch
from syncd.core.model import Observed
from syncd.core.ports import CollectionState, SyncStore
from syncd.core.settings import Limits
from tests.contract.sync_store_kit import NAME, TYPE, Writer, opened, prepare

pytestmark = pytest.mark.asyncio

LIMITS = Limits(edit_group_bytes_max=1_000, history_versions_max=5)
FOREVER = 2**62


@pytest_asyncio.fixture(params=["sqlite", "memory"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SyncStore]:
    async with opened(request.param, tmp_path, LIMITS) as made:
        yield made


@pytest_asyncio.fixture
async def writer(store: SyncStore) -> Writer:
    """An application that held three objects when it was imported: group 3."""
    writer = Writer(store, await prepare(store))
    await writer.imported({"a": "1", "b": "1", "c": "1"})
    return writer


async def by(writer: Writer, author: str, key: str, value: str | None) -> CollectionState:
    """A group of one object that somebody made."""
    writer.now_us += 1
    observed = Observed(writer.type, key.encode(), None if value is None else value.encode(), "", author)
    return await writer.store.keep(NAME, Batch([observed], publish=True, loose=False), writer.now_us)


async def versions(writer: Writer, key: str, limit: int = 99) -> list[tuple[int, str | None, str]]:
    """Group, fields, author."""
    found = await writer.store.history(NAME, writer.type, key.encode(), limit)
    return [(one.seq, None if one.fields is None else one.fields.decode(), one.author) for one in found]


async def undone(writer: Writer, seq: int) -> dict[str, tuple[str | None, str | None]]:
    """Key -> what the group left and what was before."""
    found = await writer.store.inverse(NAME, seq)
    texts = [[None if raw is None else raw.decode() for raw in (one.base, one.fields)] for one in found]
    assert all(one.type == writer.type and not one.fault for one in found)
    return {one.key.decode(): (base, fields) for one, (base, fields) in zip(found, texts, strict=True)}


async def fact(writer: Writer, key: str, base: str | None, fields: str | None) -> Fact:
    before, after = (None if text is None else text.encode() for text in (base, fields))
    (found,) = await writer.store.facts(NAME, [Edit(writer.type, key.encode(), before, after)])
    return found


def hash_of(key: str, fields: str) -> bytes:
    return digest.object_hash_bytes(digest.type_prefix(TYPE.name), key.encode(), fields.encode())


# ---------------------------------------------------------------- who changed what


async def test_an_object_has_all_its_versions_newest_first_with_group_time_and_author(writer: Writer) -> None:
    await by(writer, "laptop", "a", "2")
    await by(writer, "", "b", "2")
    await by(writer, "desk undo notes:4", "a", "3")
    await by(writer, "laptop", "a", None)
    assert await writer.store.history(NAME, writer.type, b"a", 99) == [
        Version(7, 6, None, "laptop"),
        Version(6, 5, b"3", "desk undo notes:4"),
        Version(4, 3, b"2", "laptop"),
        Version(3, 2, b"1", ""),
    ]
    assert await versions(writer, "b") == [(5, "2", ""), (3, "1", "")]
    assert await versions(writer, "c") == [(3, "1", "")]


async def test_an_object_that_never_was_has_no_versions(writer: Writer) -> None:
    assert await versions(writer, "x") == []
    assert await writer.store.history(NAME, writer.type + 1, b"a", 99) == []


async def test_versions_are_told_up_to_a_limit(writer: Writer) -> None:
    for value in "2345":
        await by(writer, "", "a", value)
    assert await versions(writer, "a", 2) == [(7, "5", ""), (6, "4", "")]


async def test_what_did_not_change_an_object_has_no_part_in_it(writer: Writer) -> None:
    await by(writer, "laptop", "a", "1")
    assert await versions(writer, "a") == [(3, "1", "")]


async def test_an_object_that_came_back_tells_when_it_was_gone(writer: Writer) -> None:
    await by(writer, "laptop", "a", None)
    await by(writer, "", "a", "2")
    assert await versions(writer, "a") == [(5, "2", ""), (4, None, "laptop"), (3, "1", "")]


async def test_a_deletion_stays_known_when_its_tombstone_is_forgotten(writer: Writer) -> None:
    state = await by(writer, "laptop", "a", None)
    assert await writer.store.prune(NAME, state.head, 0) == 1
    assert await versions(writer, "a") == [(4, None, "laptop"), (3, "1", "")]
    await by(writer, "", "a", "2")
    assert await versions(writer, "a") == [(5, "2", ""), (4, None, "laptop"), (3, "1", "")]


async def test_what_is_not_published_is_no_version(writer: Writer) -> None:
    await writer.keep({"a": "2", "d": "1"}, publish=False)
    assert await versions(writer, "a") == [(3, "1", "")]
    assert await versions(writer, "d") == []
    await writer.keep({"a": "3"}, publish=True)
    assert await versions(writer, "a") == [(6, "3", ""), (3, "1", "")]


async def test_versions_of_forgotten_groups_have_no_time(writer: Writer) -> None:
    await by(writer, "laptop", "a", "2")
    await by(writer, "", "b", "2")
    await writer.store.prune(NAME, 0, FOREVER)
    assert await writer.store.history(NAME, writer.type, b"a", 9) == [
        Version(4, 0, b"2", "laptop"),
        Version(1, 0, b"1", ""),  # where no group is known it is the number of the change
    ]


# ---------------------------------------------------------------- what is known of an edited object


async def test_of_an_object_its_hash_and_time_are_known(writer: Writer) -> None:
    await by(writer, "", "a", "2")
    assert await fact(writer, "a", "1", "9") == Fact(hash_of("a", "2"), 3, False)
    assert await fact(writer, "b", "1", "9") == Fact(hash_of("b", "1"), 2, False)
    await by(writer, "", "b", None)
    assert await fact(writer, "b", "1", "9") == Fact(None, 4, False)
    assert await fact(writer, "x", None, "9") == NOTHING_KNOWN


async def test_facts_come_in_the_order_in_which_they_are_asked_for(writer: Writer) -> None:
    await by(writer, "", "b", "2")
    edits = [Edit(writer.type, key, b"1", b"9") for key in (b"c", b"x", b"b", b"a", b"b")]
    found = await writer.store.facts(NAME, edits)
    assert [one.hash for one in found] == [hash_of("c", "1"), None, hash_of("b", "2"), hash_of("a", "1"), found[2].hash]
    assert [one.changed_us for one in found] == [2, 0, 3, 2, 3]


async def test_what_is_not_published_has_changed_just_now(writer: Writer) -> None:
    await writer.keep({"a": "2"}, publish=False)
    assert await fact(writer, "a", "1", "9") == Fact(hash_of("a", "2"), JUST_NOW_US, False)


async def test_content_of_an_earlier_version_is_known_where_the_base_is_not(writer: Writer) -> None:
    await by(writer, "", "a", "2")
    await by(writer, "", "a", "3")
    for fields, stale in (("1", True), ("2", True), ("3", False), ("9", False)):
        assert (await fact(writer, "a", None, fields)).stale is stale
    assert not (await fact(writer, "b", None, "2")).stale
    await by(writer, "", "a", None)
    assert (await fact(writer, "a", None, "3")).stale


# ---------------------------------------------------------------- undo


async def test_the_inverse_of_a_group_names_what_it_made_and_what_was_before(writer: Writer) -> None:
    state = await writer.keep({"a": "2", "b": None, "d": "1"})
    assert await undone(writer, state.head) == {"a": ("2", "1"), "b": (None, "1"), "d": ("1", None)}


async def test_an_inverse_goes_backwards(writer: Writer) -> None:
    state = await writer.keep({"c": "2", "d": "1", "a": "2"})
    assert [one.key for one in await writer.store.inverse(NAME, state.head)] == [b"a", b"d", b"c"]


async def test_objects_that_changed_since_are_in_an_inverse_as_the_group_made_them(writer: Writer) -> None:
    state = await writer.keep({"a": "2", "b": "2", "d": "1", "e": "1"})
    await writer.keep({"a": "3", "d": "2", "e": None})
    await writer.keep({"b": "3"}, publish=False)
    assert await undone(writer, state.head) == {"a": ("2", "1"), "b": ("2", "1"), "d": ("1", None), "e": ("1", None)}


async def test_an_object_that_changed_twice_within_a_group_goes_back_to_the_published_version(writer: Writer) -> None:
    await writer.keep({"a": "2", "b": "2", "d": "1", "e": "1"}, publish=False)
    await writer.keep({"a": "3", "b": "1", "d": None, "e": "2"}, publish=False)
    state = await writer.keep({"c": "2"})
    assert await undone(writer, state.head) == {"a": ("3", "1"), "c": ("2", "1"), "e": ("2", None)}


async def test_a_loose_group_can_be_undone_too(writer: Writer) -> None:
    state = await writer.imported({"a": "2", "c": "1"})
    assert await undone(writer, state.head) == {"a": ("2", "1"), "b": (None, "1")}


async def test_a_deletion_can_be_undone_when_its_tombstone_is_forgotten(writer: Writer) -> None:
    state = await writer.keep({"a": None, "b": "2"})
    await writer.store.prune(NAME, state.head, 0)
    assert await undone(writer, state.head) == {"a": (None, "1"), "b": ("2", "1")}
    again = await writer.keep({"a": "2"})
    assert await undone(writer, again.head) == {"a": ("2", None)}
    assert await undone(writer, state.head) == {"a": (None, "1"), "b": ("2", "1")}


async def test_a_revival_is_undone_by_a_deletion(writer: Writer) -> None:
    await writer.keep({"a": None})
    state = await writer.keep({"a": "2"})
    assert await undone(writer, state.head) == {"a": ("2", None)}


async def refused(writer: Writer, seq: int, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        await writer.store.inverse(NAME, seq)
    assert caught.value.advice


async def test_the_first_import_cannot_be_undone(writer: Writer) -> None:
    await refused(writer, 3, "notes:3 cannot be undone: what its objects were before is not remembered")


async def test_a_group_that_is_not_there_cannot_be_undone(writer: Writer) -> None:
    await writer.keep({"a": "2", "b": "2"})
    await writer.keep({"c": "2"}, publish=False)
    for seq in (0, 4, 6, 99):
        await refused(writer, seq, f"there is no group notes:{seq}")


async def test_a_group_that_is_too_large_is_not_undone(writer: Writer) -> None:
    state = await writer.keep({"a": "x" * 500, "b": "x" * 600})
    await refused(writer, state.head, "too large to undo")


async def test_an_object_that_could_not_be_read_cannot_be_restored(writer: Writer) -> None:
    fault = Observed(writer.type, b"a", b"", "too large")
    await writer.store.keep(NAME, Batch([fault], publish=True, loose=False), 9)
    state = await writer.keep({"a": "2"})
    await refused(writer, state.head, "could not be read")
    assert await undone(writer, 4) == {"a": ("", "1")}


# ---------------------------------------------------------------- tables that change


async def test_versions_of_other_columns_are_not_restored(writer: Writer) -> None:
    before = await writer.keep({"a": "2", "d": "1"})
    (type_,) = await writer.store.set_source(NAME, "source 1", [replace(TYPE, fields=("text", "more"))])
    after = Writer(writer.store, type_.id, writer.now_us)
    compared = await after.imported({"a": "2+", "b": "1+", "c": "1", "d": "1+"})
    await refused(after, before.head, "other columns")
    await refused(after, compared.head, "other columns")
    state = await after.keep({"a": "3+"})
    assert await undone(after, state.head) == {"a": ("3+", "2+")}
    assert [fields for _, fields, _ in await versions(after, "a")] == ["3+", "2+"]
    assert [fields for _, fields, _ in await versions(after, "c")] == ["1"]


async def test_a_group_of_a_table_that_is_gone_cannot_be_undone(writer: Writer) -> None:
    state = await writer.keep({"a": "2"})
    await writer.store.set_source(NAME, "source 1", [replace(TYPE, name="other")])
    await refused(writer, state.head, "or is gone")


async def test_types_that_stay_as_they_are_keep_their_history(writer: Writer) -> None:
    state = await writer.keep({"a": "2"})
    other = replace(TYPE, name="other")
    await writer.store.set_source(NAME, "source 1", [other, replace(TYPE, definition=("CREATE TABLE anew",))])
    assert await undone(writer, state.head) == {"a": ("2", "1")}
    assert await versions(writer, "a") == [(4, "2", ""), (3, "1", "")]


async def test_another_epoch_leaves_the_history(writer: Writer) -> None:
    state = await writer.keep({"a": "2"})
    await writer.store.new_epoch()
    assert await undone(writer, state.head) == {"a": ("2", "1")}


# ---------------------------------------------------------------- forgetting


async def test_versions_that_were_replaced_before_a_time_are_forgotten(writer: Writer) -> None:
    old = await writer.keep({"a": "2", "b": "2"})
    young = await writer.keep({"a": "3"})
    assert await writer.store.forget_history(NAME, writer.now_us, FOREVER) == 2
    await refused(writer, old.head, "not remembered")
    assert await undone(writer, young.head) == {"a": ("3", "2")}
    assert await versions(writer, "a") == [(6, "3", ""), (5, "2", "")]
    assert await versions(writer, "b") == [(5, "2", "")]
    assert await writer.store.forget_history(NAME, writer.now_us, FOREVER) == 0


async def test_old_groups_cannot_be_undone_although_they_replaced_nothing(writer: Writer) -> None:
    state = await writer.keep({"d": "1"})
    assert await undone(writer, state.head) == {"d": ("1", None)}
    await writer.store.forget_history(NAME, FOREVER, FOREVER)
    await refused(writer, state.head, "not remembered")


async def test_a_version_counts_from_when_it_was_replaced(writer: Writer) -> None:
    """What was there for a year and is deleted today can be brought back for 30 days."""
    writer.now_us = 1_000
    state = await writer.keep({"a": None})
    assert await writer.store.forget_history(NAME, 1_000, FOREVER) == 0
    assert await undone(writer, state.head) == {"a": (None, "1")}


async def test_the_oldest_are_forgotten_beyond_so_many_bytes(writer: Writer) -> None:
    first = await writer.keep({"a": "2" * 10})  # replaces 2 bytes
    second = await writer.keep({"b": "2" * 10})
    third = await writer.keep({"a": "3"})  # replaces 11 bytes
    assert await writer.store.forget_history(NAME, 0, 15) == 0
    assert await writer.store.forget_history(NAME, 0, 12) == 2
    await refused(writer, first.head, "not remembered")
    await refused(writer, second.head, "not remembered")
    assert await undone(writer, third.head) == {"a": ("3", "2" * 10)}
    assert await writer.store.forget_history(NAME, 0, 0) == 1
    await refused(writer, third.head, "not remembered")
    await writer.keep({"a": "4"})
    assert await writer.store.forget_history(NAME, 0, 1) == 1


async def test_what_told_of_a_deletion_is_forgotten_with_it(writer: Writer) -> None:
    state = await writer.keep({"a": None})
    await writer.store.prune(NAME, state.head, 0)
    assert await writer.store.forget_history(NAME, FOREVER, FOREVER) == 2
    assert await versions(writer, "a") == []


async def test_tombstones_that_outlive_the_history_are_forgotten_without_a_trace(writer: Writer) -> None:
    state = await writer.keep({"a": None})
    await writer.store.forget_history(NAME, FOREVER, FOREVER)
    assert await versions(writer, "a") == [(4, None, "")]
    await writer.store.prune(NAME, state.head, 0)
    assert await versions(writer, "a") == []


async def test_what_is_forgotten_is_no_earlier_version(writer: Writer) -> None:
    await writer.keep({"a": "2"})
    await writer.store.forget_history(NAME, FOREVER, FOREVER)
    assert not (await fact(writer, "a", None, "1")).stale


async def test_what_is_replaced_before_it_is_forgotten_is_remembered_anew(writer: Writer) -> None:
    await writer.keep({"a": "2"})
    await writer.store.forget_history(NAME, FOREVER, 0)
    state = await writer.keep({"a": "3"})
    assert await undone(writer, state.head) == {"a": ("3", "2")}
