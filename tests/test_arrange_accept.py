"""Accepting a collection without a daemon: what is made, what is refused, and that a refusal changes nothing (R13)."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from syncd import arrange
from syncd.adapters.registry import restore
from syncd.core.edits import Edit, LocalBatch
from syncd.core.errors import UserError
from syncd.core.messages import Begin
from syncd.core.model import DataType, Role
from syncd.home import config
from syncd.home.config import Asked, Config
from syncd.home.paths import Home
from syncd.store.inbound import SqliteInboundQueue
from syncd.store.outbox import SqliteOutbox
from tests.arrange_kit import database, refused


@pytest.fixture
def auxiliary(tmp_path: Path) -> Home:
    home = Home(tmp_path / "auxiliary")
    arrange.init(home, Config(role=Role.AUXILIARY, name="laptop"))
    return home


def test_accept_takes_a_target_that_does_not_exist_and_does_not_make_it(auxiliary: Home, tmp_path: Path) -> None:
    path = tmp_path / "copy.db"
    assert arrange.accept(auxiliary, Asked("notes", "sqlite", str(path))) == {"problems": [], "backup": None}
    assert config.load(auxiliary).collection("notes") == config.Collection(name="notes", kind="sqlite", path=str(path))
    assert not path.exists()


def test_accept_refuses_a_target_with_objects_of_its_own(auxiliary: Home, tmp_path: Path) -> None:
    path = database(tmp_path / "own.db", rows=3)
    with pytest.raises(UserError, match="3 objects") as caught:
        arrange.accept(auxiliary, Asked("notes", "sqlite", str(path)))
    assert "--replace" in caught.value.advice
    assert "--merge" in caught.value.advice
    assert config.load(auxiliary).collections == ()
    assert [entry.name for entry in tmp_path.glob("own.db*backup*")] == []


def test_accept_with_replace_makes_a_copy_first_and_leaves_the_target(auxiliary: Home, tmp_path: Path) -> None:
    path = database(tmp_path / "own.db", rows=3)
    backup = arrange.accept(auxiliary, Asked("notes", "sqlite", str(path), replace=True))["backup"]
    assert isinstance(backup, str)
    for file in (backup, path):
        with closing(sqlite3.connect(file)) as db:
            assert db.execute("SELECT count(*) FROM note").fetchone() == (3,)
    accepted = config.load(auxiliary).collection("notes")
    assert accepted is not None
    assert accepted.replace


def test_accept_with_merge_makes_a_copy_first_and_leaves_what_is_there(auxiliary: Home, tmp_path: Path) -> None:
    path = database(tmp_path / "own.db", rows=3)
    backup = arrange.accept(auxiliary, Asked("notes", "sqlite", str(path), merge=True))["backup"]
    assert isinstance(backup, str)
    for file in (backup, path):
        with closing(sqlite3.connect(file)) as db:
            assert db.execute("SELECT count(*) FROM note").fetchone() == (3,)
    (entry,) = config.load(auxiliary).collections
    assert (entry.merge, entry.replace) == (True, False)
    arrange.accept(auxiliary, Asked("notes", "sqlite", str(path), replace=True))
    (entry,) = config.load(auxiliary).collections
    assert (entry.merge, entry.replace) == (False, True), "the last word counts"


def test_what_a_target_holds_is_either_replaced_or_merged(auxiliary: Home, tmp_path: Path) -> None:
    with refused(auxiliary, "exclude each other"):
        arrange.accept(auxiliary, Asked("notes", "sqlite", str(tmp_path / "n.db"), replace=True, merge=True))


def test_whether_edits_are_kept_can_be_changed_where_it_was_accepted(auxiliary: Home, tmp_path: Path) -> None:
    place = ("notes", "sqlite", str(tmp_path / "n.db"))
    for said, kept in ((None, False), (True, True), (None, True), (False, False)):
        arrange.accept(auxiliary, Asked(*place, keep_edits=said))
        (entry,) = config.load(auxiliary).collections
        assert entry.keep_edits is kept


def test_accepting_the_same_again_changes_nothing_even_when_it_holds_objects(auxiliary: Home, tmp_path: Path) -> None:
    path = tmp_path / "copy.db"
    arrange.accept(auxiliary, Asked("notes", "sqlite", str(path)))
    database(path, rows=3)
    written = auxiliary.config.read_bytes()
    assert arrange.accept(auxiliary, Asked("notes", "sqlite", str(path))) == {"problems": [], "backup": None}
    assert auxiliary.config.read_bytes() == written


def test_a_collection_moves_to_another_place_only_with_replace(auxiliary: Home, tmp_path: Path) -> None:
    arrange.accept(auxiliary, Asked("notes", "sqlite", str(tmp_path / "one.db")))
    with refused(auxiliary, "accepted already"):
        arrange.accept(auxiliary, Asked("notes", "sqlite", str(tmp_path / "two.db")))
    arrange.accept(auxiliary, Asked("notes", "sqlite", str(tmp_path / "two.db"), replace=True))
    assert [(entry.path, entry.replace) for entry in config.load(auxiliary).collections] == [
        (str(tmp_path / "two.db"), True)
    ]


@pytest.mark.parametrize(("replace", "forgotten"), [(False, []), (True, ["notes"])])
def test_what_was_received_for_the_former_target_is_forgotten_when_it_is_replaced(
    auxiliary: Home, tmp_path: Path, replace: bool, forgotten: list[str]
) -> None:
    path, names = str(tmp_path / "one.db"), ("notes", "others")
    arrange.accept(auxiliary, Asked("notes", "sqlite", path))

    async def received(begin: bool) -> list[str]:
        """The collections of which nothing was received; with ``begin``, a transfer of each begins first."""
        queue = await SqliteInboundQueue.open(auxiliary.inbound, restore)
        try:
            for name in names if begin else ():
                await queue.begin(name, Begin(name, "e1", False, 7, 0, 7, 7))
            return [name for name in names if (await queue.load(name))[0] is None]
        finally:
            await queue.close()

    async def waits(edit: bool) -> list[str]:
        """The collections of which nothing waits to be sent; with ``edit``, something of each does first."""
        outbox = await SqliteOutbox.open(auxiliary.outbox)
        batch = LocalBatch((Edit(1, b"\x91\x01", None, b"\x90"),), True, 1, 0)
        try:
            for name in names if edit else ():
                await outbox.types(name, (DataType(1, "note", ("id",), ()),))
                await outbox.keep(name, batch)
            return [name for name in names if not (await outbox.load(name)).pending]
        finally:
            await outbox.close()

    assert asyncio.run(waits(edit=True)) == []
    assert asyncio.run(received(begin=True)) == []
    told = arrange.accept(auxiliary, Asked("notes", "sqlite", path, replace=replace))
    wait = "1 group of changes made here that waited for the primary: not sent any more"
    assert told["problems"] == ([wait] if replace else [])
    assert asyncio.run(received(begin=False)) == forgotten
    assert asyncio.run(waits(edit=False)) == forgotten


def test_two_collections_do_not_share_a_target(auxiliary: Home, tmp_path: Path) -> None:
    arrange.accept(auxiliary, Asked("notes", "sqlite", str(tmp_path / "one.db")))
    with refused(auxiliary, "holds collection 'notes'"):
        arrange.accept(auxiliary, Asked("other", "sqlite", str(tmp_path / "one.db")))


def test_a_target_in_a_directory_that_is_missing_is_refused(auxiliary: Home, tmp_path: Path) -> None:
    with refused(auxiliary, "directory .* does not exist"):
        arrange.accept(auxiliary, Asked("notes", "sqlite", str(tmp_path / "gone" / "copy.db")))
