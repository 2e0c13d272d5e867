"""A work that stands in the database just as it comes is not read, where nothing can be otherwise than it was (R12)."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from syncd.core.errors import EditsUnread
from syncd.core.messages import Objects
from syncd.core.model import DataType
from syncd.core.ports import Work
from tests.contract.application_kit import SqliteTargetBench, body, note
from tests.contract.local_kit import bench_of, comes_back, executed, of, what

pytestmark = pytest.mark.asyncio

MORE = DataType(3, "more", ("id",), ("body",), ("CREATE TABLE more(id TEXT PRIMARY KEY, body TEXT)",))


@pytest_asyncio.fixture
async def bench(tmp_path: Path) -> AsyncIterator[SqliteTargetBench]:
    made = bench_of("sqlite", tmp_path)
    assert isinstance(made, SqliteTargetBench)
    yield made
    await made.target.close()


class Frames:
    """Those of a work, and whether anybody read all of them."""

    def __init__(self, work: Work) -> None:
        self._frames = work.frames
        self.read = False

    def __call__(self) -> Iterator[Objects]:
        yield from self._frames()
        self.read = True


async def known_to_stay(bench: SqliteTargetBench) -> tuple[Work, Frames]:
    """A work that stays as it is, by what is said of it."""
    _, work = await comes_back(bench)
    frames = Frames(work)
    return replace(work, frames=frames), frames


async def test_what_is_known_to_stand_is_not_read(bench: SqliteTargetBench) -> None:
    work, frames = await known_to_stay(bench)
    state = await executed(bench, work)
    assert not frames.read
    assert what(state) == of({note("a"): body("second"), note("b"): body("first")})
    assert await bench.target.open() == state, "it is kept"


async def test_where_the_application_changed_something_else_since_then_it_is_looked_at(
    bench: SqliteTargetBench,
) -> None:
    work, frames = await known_to_stay(bench)
    bench.write(note("b"), "mine")
    state = await executed(bench, work)
    assert frames.read
    assert bench.rows() == {note("a"): body("second"), note("b"): body("mine")}
    assert what(state) == of({note("a"): body("second"), note("b"): body("first")})


@pytest.mark.parametrize("triggers", [True, False])
async def test_where_the_application_has_triggers_of_its_own_it_is_looked_at(
    bench: SqliteTargetBench, triggers: bool
) -> None:
    work, frames = await known_to_stay(bench)
    if triggers:
        with closing(sqlite3.connect(bench.path)) as own:
            own.execute("CREATE TRIGGER more AFTER UPDATE ON notes BEGIN DELETE FROM tags; END")
    await executed(bench, work)
    assert frames.read is triggers


async def test_where_the_capture_was_taken_away_nothing_is_taken_for_granted(bench: SqliteTargetBench) -> None:
    work, _ = await known_to_stay(bench)
    with closing(sqlite3.connect(bench.path)) as own:
        names = own.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'notes'").fetchall()
        for (name,) in names:
            own.execute(f'DROP TRIGGER "{name}"')
    with pytest.raises(EditsUnread):
        await bench.target.execute(work)


async def test_where_it_is_not_known_nothing_is_kept_of_the_look(bench: SqliteTargetBench) -> None:
    """A table that was made for it would be there without its capture, and the types as if a work had brought them."""
    work, _ = await known_to_stay(bench)
    work = replace(work, types={**work.types, 3: MORE})
    bench.write(note("a"), "third")
    with pytest.raises(EditsUnread):
        await bench.target.execute(work)
    with closing(sqlite3.connect(bench.path)) as own:
        assert own.execute("SELECT name FROM sqlite_schema WHERE name = 'more'").fetchall() == []
