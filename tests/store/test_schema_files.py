"""Numbered schema files: newer ones are refused, older ones copied and migrated in one transaction."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from syncd.core.errors import InvariantBroken, SchemaTooNew, StoreBroken
from syncd.store import inbound, sync_database, sync_store
from syncd.store.database import Database
from syncd.store.schema_files import Schema

pytestmark = pytest.mark.asyncio

FIRST = "CREATE TABLE words (word TEXT PRIMARY KEY) STRICT;"
SECOND = (
    "ALTER TABLE words ADD COLUMN meaning TEXT NOT NULL DEFAULT '?';\n-- and a count\nALTER TABLE words ADD n INTEGER"
)


@pytest.fixture
def schema(tmp_path: Path) -> Schema:
    directory = tmp_path / "schema"
    directory.mkdir()
    (directory / "words_0001.sql").write_text(FIRST)
    return Schema("words", 0x53594E7F, directory)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "words.db"


async def write_one(path: Path, schema: Schema, word: str) -> None:
    database = await Database.open(path, schema)
    await database.write(lambda connection: connection.execute("INSERT INTO words (word) VALUES (?)", (word,)).rowcount)
    await database.close()


def rows(path: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT * FROM words").fetchall()


def content(path: Path) -> bytes:
    return path.read_bytes()


def pragma(path: Path, name: str) -> object:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"PRAGMA {name}").fetchone()[0]


async def test_a_missing_file_is_created_with_the_newest_schema(path: Path, schema: Schema) -> None:
    (schema.directory / "words_0002.sql").write_text(SECOND)
    await write_one(path, schema, "one")
    assert rows(path) == [("one", "?", None)]
    assert (pragma(path, "user_version"), pragma(path, "application_id")) == (2, 0x53594E7F)
    assert sorted(file.name for file in path.parent.iterdir()) == ["schema", "words.db"]


async def test_an_older_file_is_copied_and_migrated(path: Path, schema: Schema) -> None:
    await write_one(path, schema, "one")
    (schema.directory / "words_0002.sql").write_text(SECOND)
    await write_one(path, schema, "two")
    assert rows(path) == [("one", "?", None), ("two", "?", None)]
    assert pragma(path, "user_version") == 2
    copy = path.with_name("words.db.v1-backup")
    assert rows(copy) == [("one",)]
    assert (pragma(copy, "user_version"), pragma(copy, "integrity_check")) == (1, "ok")


async def test_a_migration_that_fails_leaves_the_file_as_it_was(path: Path, schema: Schema) -> None:
    await write_one(path, schema, "one")
    second = schema.directory / "words_0002.sql"
    second.write_text("ALTER TABLE words ADD COLUMN meaning TEXT; SELECT nothing FROM nowhere;")
    with pytest.raises(InvariantBroken):
        await Database.open(path, schema)
    assert (rows(path), pragma(path, "user_version")) == ([("one",)], 1)
    second.write_text(SECOND)
    await write_one(path, schema, "two")
    assert len(rows(path)) == 2


async def test_a_newer_file_is_refused_and_kept(path: Path, schema: Schema) -> None:
    second = schema.directory / "words_0002.sql"
    second.write_text(SECOND)
    await write_one(path, schema, "one")
    second.unlink()
    before = content(path)
    with pytest.raises(SchemaTooNew) as caught:
        await Database.open(path, schema)
    assert str(path) in caught.value.text
    assert "number 2" in caught.value.text
    assert "up to 1" in caught.value.text
    assert caught.value.advice
    assert content(path) == before


async def test_the_database_of_another_program_is_refused_and_kept(path: Path, schema: Schema) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE words (word TEXT)")
        connection.commit()
    before = content(path)
    with pytest.raises(StoreBroken):
        await Database.open(path, schema)
    assert content(path) == before


async def test_one_of_our_databases_is_not_taken_for_another(path: Path, schema: Schema) -> None:
    await write_one(path, schema, "one")
    with pytest.raises(StoreBroken):
        await Database.open(path, sync_store.SCHEMA)
    assert rows(path) == [("one",)]


async def test_schema_files_have_no_gap(path: Path, schema: Schema) -> None:
    (schema.directory / "words_0003.sql").write_text(SECOND)
    with pytest.raises(InvariantBroken):
        await Database.open(path, schema)


@pytest.mark.parametrize("ours", [sync_store.SCHEMA, inbound.SCHEMA, sync_database.SCHEMA], ids=lambda one: one.name)
async def test_our_schemas_are_numbered_by_their_files(path: Path, ours: Schema) -> None:
    await (await Database.open(path, ours)).close()
    await (await Database.open(path, ours)).close()
    assert pragma(path, "user_version") == len(ours.scripts())
    assert pragma(path, "application_id") == ours.application_id


async def test_our_databases_cannot_be_mistaken_for_each_other() -> None:
    ours = [sync_store.SCHEMA, inbound.SCHEMA, sync_database.SCHEMA]
    assert len({one.application_id for one in ours}) == len(ours)
