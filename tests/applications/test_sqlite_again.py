"""Edits that are made in an application's database once more: as its application would, whole or not at all."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from syncd.adapters.canonical import Value, pack_values
from syncd.applications.sqlite_again import write_again
from syncd.core.edits import Edit
from syncd.core.errors import ApplicationOffline, UserError
from syncd.core.model import DataType
from syncd.core.settings import Limits

NOTE = DataType(1, "note", ("id",), ("title", "body"))
PART = DataType(2, "part", ("note", "word"), ())
TYPES = {one.id: one for one in (NOTE, PART)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "app.db"
    with closing(sqlite3.connect(made)) as db:
        db.executescript(
            "CREATE TABLE note(id INTEGER PRIMARY KEY, title TEXT UNIQUE, body, own TEXT DEFAULT 'here');"
            "CREATE TABLE part(note INTEGER REFERENCES note, word TEXT, PRIMARY KEY(note, word));"
            "CREATE TABLE touched(id INTEGER);"
            "CREATE TRIGGER t AFTER UPDATE ON note BEGIN INSERT INTO touched VALUES(new.id); END;"
            "INSERT INTO note(id, title, body) VALUES(1, 'one', x'00'), (2, 'two', NULL)"
        )
    return made


@pytest.fixture
def db(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path)) as connection:
        yield connection


def edit(type_: DataType, key: tuple[Value, ...], fields: tuple[Value, ...] | None) -> Edit:
    """Of an object that was there."""
    base = pack_values([None] * len(type_.fields))
    return Edit(type_.id, pack_values(key), base, None if fields is None else pack_values(fields))


def added(type_: DataType, key: tuple[Value, ...], fields: tuple[Value, ...]) -> Edit:
    return Edit(type_.id, pack_values(key), None, pack_values(fields))


def again(path: Path, *edits: Edit, new_keys: bool = False) -> int:
    return write_again(path, TYPES, edits, Limits(), new_keys)


def test_rows_are_added_changed_and_deleted_and_the_applications_triggers_fire(
    path: Path, db: sqlite3.Connection
) -> None:
    again(path, edit(NOTE, (1,), ("one", 7)), edit(NOTE, (2,), None), edit(NOTE, (3,), ("three", 1.0)))
    rows = db.execute("SELECT * FROM note ORDER BY id").fetchall()
    assert rows == [(1, "one", 7, "here"), (3, "three", 1.0, "here")]
    assert db.execute("SELECT id FROM touched").fetchall() == [(1,)]


def test_what_is_so_already_is_not_touched(path: Path, db: sqlite3.Connection) -> None:
    assert again(path, edit(NOTE, (1,), ("one", b"\0")), edit(NOTE, (9,), None), edit(NOTE, (2,), ("two", 0))) == 1
    assert db.execute("SELECT id FROM touched").fetchall() == [(2,)]


def test_rows_that_name_each_other_may_come_in_any_order(path: Path, db: sqlite3.Connection) -> None:
    again(path, edit(PART, (9, "x"), ()), edit(NOTE, (9,), ("nine", None)))
    again(path, edit(PART, (9, "x"), ()))
    assert db.execute("SELECT * FROM part").fetchall() == [(9, "x")]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (edit(NOTE, (3,), ("one", None)), r"note \[3\]: UNIQUE constraint failed: note.title"),
        (edit(PART, (99, "x"), ()), "FOREIGN KEY constraint failed"),
    ],
)
def test_what_the_application_refuses_leaves_everything_as_it_was(
    path: Path, db: sqlite3.Connection, bad: Edit, words: str
) -> None:
    with pytest.raises(UserError, match=words) as caught:
        again(path, edit(NOTE, (2,), ("changed", None)), bad)
    assert caught.value.advice
    assert db.execute("SELECT title FROM note WHERE id = 2").fetchone() == ("two",)


def test_a_database_that_is_gone_is_offline(path: Path) -> None:
    path.unlink()
    with pytest.raises(ApplicationOffline):
        again(path, edit(NOTE, (2,), None))


def test_what_was_added_never_writes_over_an_object_that_took_its_key(path: Path, db: sqlite3.Connection) -> None:
    before = db.execute("SELECT * FROM note").fetchall()
    with pytest.raises(UserError, match=r"note \[2\]: another object has its key"):
        again(path, added(NOTE, (3,), ("three", None)), added(NOTE, (2,), ("mine", None)))
    assert db.execute("SELECT * FROM note").fetchall() == before


def test_it_can_be_added_under_another_key_with_what_was_made_with_it(path: Path, db: sqlite3.Connection) -> None:
    db.execute("INSERT INTO part VALUES(2, 'word')")
    db.commit()
    made = [added(NOTE, (2,), ("mine", None)), added(NOTE, (3,), ("three", None)), added(PART, (2, "word"), ())]
    assert again(path, *made, added(PART, (3, "other"), ()), edit(NOTE, (1,), ("one", 7)), new_keys=True) == 5
    notes = db.execute("SELECT id, title FROM note ORDER BY id").fetchall()
    assert notes == [(1, "one"), (2, "two"), (3, "three"), (4, "mine")]
    assert db.execute("SELECT * FROM part ORDER BY note").fetchall() == [(2, "word"), (3, "other"), (4, "word")]


def test_a_key_with_a_meaning_is_not_made_another(path: Path, db: sqlite3.Connection) -> None:
    db.execute("CREATE TABLE word(word TEXT PRIMARY KEY, body)")
    db.execute("INSERT INTO word VALUES('a', 1)")
    db.commit()
    word = DataType(3, "word", ("word",), ("body",))
    with pytest.raises(UserError, match="cannot be just any other"):
        write_again(path, {3: word}, [added(word, ("a",), (2,))], Limits(), new_keys=True)
