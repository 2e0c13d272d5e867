"""The application's own triggers on an auxiliary write too: what was sent has the last word, or it is told."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from syncd.core.model import DataType
from syncd.core.ports import Executed
from tests.applications.road import Road, contents, sql
from tests.applications.writing import Group, Row, table, writing
from tests.contract.application_kit import looked

pytestmark = pytest.mark.asyncio

NOTES = table(1, "notes", "id INTEGER PRIMARY KEY, v, at", ("id",), ("v", "at"))
STOCK = table(2, "stock", "id INTEGER PRIMARY KEY, n", ("id",), ("n",))
STAMP = "CREATE TRIGGER stamp AFTER UPDATE OF v ON notes BEGIN UPDATE notes SET at = 'here' WHERE id = NEW.id; END"
BORN = "CREATE TRIGGER born AFTER INSERT ON notes BEGIN UPDATE notes SET at = 'born here' WHERE id = NEW.id; END"
TAKE = "CREATE TRIGGER take AFTER INSERT ON notes BEGIN UPDATE stock SET n = n - 1 WHERE id = 1; END"
ADD = "CREATE TRIGGER more AFTER INSERT ON notes BEGIN INSERT INTO stock(n) VALUES(NEW.id); END"
CLEAN = "CREATE TRIGGER clean AFTER DELETE ON notes BEGIN DELETE FROM stock WHERE id = 1; END"
SKIP = "CREATE TRIGGER skip BEFORE INSERT ON notes WHEN NEW.v = 'unwanted' BEGIN SELECT RAISE(IGNORE); END"
ALWAYS = "CREATE TRIGGER always AFTER UPDATE ON notes BEGIN UPDATE notes SET at = 'here' WHERE id = NEW.id; END"


def note(key: int, v: str, at: str = "sent") -> Row:
    return Row("notes", (key,), (v, at))


def stock(key: int, n: int) -> Row:
    return Row("stock", (key,), (n,))


@pytest.mark.parametrize("many", [1, 300], ids=["one row", "many rows"])
@pytest.mark.parametrize("trigger", [STAMP, BORN, TAKE, ADD, CLEAN])
async def test_what_was_sent_has_the_last_word(path: Path, trigger: str, many: int) -> None:
    sql(path, *NOTES.definition, *STOCK.definition, trigger)
    async with writing(path, NOTES, STOCK) as here:
        await here.begin(note(0, "a"), note(9999, "a"), stock(1, 100), stock(2, 5))
        rows = [stock(1, 99), *(note(i, "b") for i in range(many)), Row("notes", (9999,))]
        await here.done(here.work([Group(rows)]))
        assert sql(path, "SELECT DISTINCT v, at FROM notes") == [("b", "sent")]
        assert sql(path, "SELECT id, n FROM stock") == [(1, 99), (2, 5)]
        await here.done(here.work([Group([note(0, "c"), note(5000, "c")]), Group([Row("notes", (0,))])]))
        assert sql(path, "SELECT id, n FROM stock") == [(1, 99), (2, 5)]
        await here.done(here.work([Group([note(1, "d"), note(2, "d"), stock(1, 1)], loose=True)], snapshot=True))
        assert sql(path, "SELECT id, v, at FROM notes") == [(1, "d", "sent"), (2, "d", "sent")]
        assert sql(path, "SELECT id, n FROM stock") == [(1, 1)]


@pytest.mark.parametrize("first", ["parent first", "child first"])
async def test_triggers_that_both_machines_have_act_once(tmp_path: Path, first: str) -> None:
    here, there = tmp_path / "primary.db", tmp_path / "auxiliary.db"
    history = ["CREATE TABLE z(id INTEGER PRIMARY KEY AUTOINCREMENT, n, v)", *NOTES.definition]
    schema = [
        *(history if first == "parent first" else reversed(history)),
        *STOCK.definition,
        STAMP,
        TAKE,
        "CREATE TRIGGER keep AFTER UPDATE ON notes BEGIN INSERT INTO z(n, v) VALUES(OLD.id, OLD.v); END",
    ]
    sql(there, *schema)
    sql(here, *schema, "INSERT INTO stock VALUES(1, 100)", "INSERT INTO notes VALUES(1, 'a', '-')")
    async with Road(here, there) as road:
        await road.same(await road.snapshot())
        await road.reading.changes()
        for deed in (
            "UPDATE notes SET v = 'b'",
            "INSERT INTO notes VALUES(2, 'x', '-'), (3, 'y', '-')",
            "UPDATE notes SET v = v || id, at = 'hand'",
            "DELETE FROM z WHERE id = 1",
            "DELETE FROM notes WHERE id = 1",
        ):
            sql(here, deed)
            await road.same(await road.follow())
            assert contents(there) == contents(here)


async def test_a_trigger_that_leaves_a_row_out_is_not_said_to_have_written_it(path: Path) -> None:
    sql(path, *NOTES.definition, SKIP)
    async with writing(path, NOTES) as here:
        await here.begin(note(1, "a"))
        assert (await here.done(here.work([Group([note(2, "unwanted"), note(3, "b")])]))).state.objects == 2
        assert (await here.done(here.work([Group([note(4, "unwanted")])]))).state.objects == 2


async def test_a_trigger_that_has_the_last_word_makes_a_difference_that_is_told(path: Path) -> None:
    sql(path, *NOTES.definition, ALWAYS)
    async with writing(path, NOTES) as here:
        await here.begin(note(1, "a"))
        sent = (await here.done(here.work([Group([note(2, "b")])]))).state
        await here.done(here.work([Group([note(2, "c")])]))
        assert sql(path, "SELECT v, at FROM notes WHERE id = 2") == [("c", "here")]
        sql(path, "DROP TRIGGER always")
        assert (await here.done(here.work([Group([note(2, "b")])]))).state.digest == sent.digest


@pytest.mark.parametrize("kind", ["", " WITHOUT ROWID"])
async def test_keys_that_are_equal_and_not_the_same_are_counted_once(path: Path, kind: str) -> None:
    columns = f"CREATE TABLE names(k TEXT NOT NULL COLLATE NOCASE, l, v, at, PRIMARY KEY(k, l)){kind}"
    names = DataType(1, "names", ("k", "l"), ("v", "at"), (columns,))
    stamp = (
        "CREATE TRIGGER s AFTER UPDATE ON names BEGIN UPDATE names SET at = 'here' WHERE k = NEW.k AND at IS NULL; END"
    )
    sql(path, columns, stamp)
    async with writing(path, names) as here:
        await here.begin(Row("names", ("abc", 1), ("x", "sent")), Row("names", ("abd", 1), ("x", "sent")))
        await here.done(here.work([Group([Row("names", ("ABC", 1.0), ("y", None))])]))
        await here.done(here.work([Group([Row("names", ("abD", 1), ("y", None)), Row("names", ("ABC", 1.0))])]))
        assert sql(path, "SELECT k, l, v FROM names") == [("abD", 1, "y")]


async def test_rows_that_a_trigger_removes_by_replace_are_counted_by_the_next_look(path: Path) -> None:
    sql(
        path,
        *NOTES.definition,
        "CREATE TABLE stock(id INTEGER PRIMARY KEY, n UNIQUE)",
        "CREATE TRIGGER r AFTER INSERT ON notes BEGIN INSERT OR REPLACE INTO stock VALUES(NEW.id, 'x'); END",
    )
    unique = table(2, "stock", "id INTEGER PRIMARY KEY, n UNIQUE", ("id",), ("n",))
    async with writing(path, NOTES, unique) as here:
        await here.begin(Row("stock", (7,), ("x",)))
        here.position = here.seq
        result = await here.target.execute(here.work([Group([note(8, "a")])]))
        assert isinstance(result, Executed)
        found = await looked(here.target) or result.state
        assert await here.target.recount() == found


async def test_a_trigger_that_refuses_to_be_put_right_leaves_its_own_values(path: Path) -> None:
    sql(
        path,
        *NOTES.definition,
        "CREATE TRIGGER born AFTER INSERT ON notes BEGIN UPDATE notes SET at = 'here' WHERE id = NEW.id; END",
        "CREATE TRIGGER never BEFORE UPDATE OF at ON notes WHEN NEW.at = 'sent' BEGIN SELECT RAISE(ABORT, 'no'); END",
    )
    async with writing(path, NOTES) as here:
        await here.begin(Row("notes", (1,), ("a", "other")))
        await here.done(here.work([Group([note(2, "b"), note(3, "b")])]))
        assert sql(path, "SELECT at FROM notes WHERE id > 1") == [("here",), ("here",)]


async def test_a_commit_beside_triggers_reads_what_it_touches_and_no_more(path: Path) -> None:
    sql(path, *NOTES.definition, STAMP)
    async with writing(path, NOTES) as here:
        await here.begin(*(note(i, "a") for i in range(2_000)))
        steps: list[int] = []
        connection = here.target._database._connection._conn  # type: ignore[union-attr]
        connection.set_progress_handler(lambda: steps.append(1), 100)
        result = await here.target.execute(here.work([Group([note(1, "b")])]))
        connection.set_progress_handler(None, 0)
        assert isinstance(result, Executed)
        assert len(steps) * 100 < 2_000


async def test_triggers_that_come_and_go_are_watched_while_they_are_there(path: Path) -> None:
    sql(path, *NOTES.definition)
    async with writing(path, NOTES) as here:
        await here.begin(note(1, "a"))
        sql(path, STAMP)
        await here.done(here.work([Group([note(1, "b")])]))
        assert sql(path, "SELECT at FROM notes") == [("sent",)]
        with closing(sqlite3.connect(path)) as app:
            app.executescript("ALTER TABLE notes ADD COLUMN mine; DROP TRIGGER stamp")
        await here.done(here.work([Group([note(1, "c"), note(2, "c")])]))
        sql(path, STAMP, "ALTER TABLE notes DROP COLUMN mine")
        await here.done(here.work([Group([note(1, "d"), note(2, "d")])]))
        assert sql(path, "SELECT v, at FROM notes") == [("d", "sent")] * 2
