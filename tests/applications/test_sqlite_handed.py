"""What our writer wrote is handed to the source: as the database holds it, and only where that is certain."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import threading
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from syncd.adapters.canonical import Value, pack_values, unpack_values
from syncd.applications.sqlite import SqliteSource
from syncd.applications.sqlite_handed import Handed, HandOver
from syncd.core.edits import Edit, EditGroup
from syncd.core.errors import ApplicationOffline
from syncd.core.model import Observed
from syncd.core.ports import SourceChanges
from tests.applications.road import LIMITS
from tests.applications.writing_up import WritingUp, writing_up
from tests.wait import eventually

pytestmark = pytest.mark.asyncio

PEOPLE = "CREATE TABLE people(id INTEGER PRIMARY KEY, name TEXT)"
SCHEMAS = {
    "usual": "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b REAL, c)",
    "text key": "CREATE TABLE t(id TEXT PRIMARY KEY, a INTEGER, b NUMERIC, c BLOB)",
    "number as key": "CREATE TABLE t(id NUMERIC PRIMARY KEY, a, b INT, c CHAR)",
    "strict": "CREATE TABLE t(id INT PRIMARY KEY, a TEXT, b REAL, c ANY) STRICT",
    "no rowid": "CREATE TABLE t(id TEXT PRIMARY KEY, a REAL, b, c INT) WITHOUT ROWID",
    "replacing": "CREATE TABLE t(id INTEGER PRIMARY KEY, a UNIQUE ON CONFLICT REPLACE, b, c)",
    "ignoring": "CREATE TABLE t(id INTEGER PRIMARY KEY, a UNIQUE ON CONFLICT IGNORE, b, c)",
    "filling": "CREATE TABLE t(id INTEGER PRIMARY KEY, a NOT NULL ON CONFLICT REPLACE DEFAULT 7, b, c)",
    "unique": "CREATE TABLE t(id INTEGER PRIMARY KEY, a, b, c, UNIQUE(a, b))",
    "checked": "CREATE TABLE t(id INTEGER PRIMARY KEY, a CHECK(a > 0), b, c)",
    "computed": "CREATE TABLE t(id INTEGER PRIMARY KEY, a, b, d AS (a || b) STORED, c)",
}
VALUES: tuple[Value, ...] = (None, 0, 1, 2, -1, 1.0, 2.5, 0.0, -0.0, 1e300, "1", "2.5", "a", "", " 1", b"", b"1", b"a")


class Both:
    """The source that is handed things, and another of the same database that is not."""

    def __init__(self, up: WritingUp, other: SqliteSource) -> None:
        self.up = up
        self.other = other
        self.held: dict[tuple[int, bytes], tuple[bytes | None, str]] = {}
        self.read: dict[tuple[int, bytes], tuple[bytes | None, str]] = {}
        self._marks = [up.mark, up.mark]

    async def agree(self, limit: int = 1000) -> None:
        for at, (source, seen) in enumerate(((self.up.source, self.held), (self.other, self.read))):
            drained = False
            while not drained:
                changes = await source.changes(self._marks[at], limit)
                assert (changes.lost, changes.reshaped) == (False, False)
                self._marks[at], drained = changes.mark, changes.drained
                seen.update({(one.type, one.key): (one.fields, one.author) for one in changes.observed})
        assert self._marks[0] == self._marks[1]
        assert self.held == self.read


@asynccontextmanager
async def both(path: Path, *schema: str) -> AsyncIterator[Both]:
    async with writing_up(path, *schema) as up:
        other = SqliteSource(path, (), LIMITS)
        await other.open(up.identity)
        await other.number(list(up.types.values()))
        try:
            yield Both(up, other)
        finally:
            await other.close()


def handed(up: WritingUp) -> int:
    """Objects that wait to be taken over."""
    return sum(len(one.observed) for one, _ in up.source.hand_over._spans)


class Actor:
    """Groups of an auxiliary, and what the application does, at random."""

    def __init__(self, up: WritingUp, schema: str, seed: int) -> None:
        self._up = up
        self._rng = random.Random(seed)
        whole = "INTEGER PRIMARY KEY" in schema
        self._keys = [1, 2, 3] if whole else [one for one in VALUES if one is not None]

    async def act(self) -> None:
        if self._rng.random() < 0.7:
            authors = self._rng.choices(("laptop", "till"), k=self._rng.choice((1, 1, 2, 8)))
            await self._up.write(*(self._group(author) for author in authors))
        else:
            with suppress(sqlite3.IntegrityError):
                key, value = self._rng.choice(self._keys), self._rng.choice(VALUES)
                self._up.sql("UPDATE t SET b = ? WHERE id = ?", (value, key))

    def limit(self) -> int:
        return self._rng.choice((1, 2, 3, 1000))

    def _group(self, author: str) -> EditGroup:
        keys = self._rng.sample(self._keys, k=self._rng.randint(1, 3))
        return self._up.group(*map(self._edit, keys), author=author)

    def _edit(self, key: Value) -> Edit:
        rows = self._up.sql("SELECT a, b, c FROM t WHERE id = ?", (key,))
        fields = None if rows and self._rng.random() < 0.3 else tuple(self._rng.choices(VALUES, k=3))
        return self._up.edit("t", (key,), rows[0] if rows else None, fields)


@pytest.mark.parametrize("name", SCHEMAS)
async def test_it_is_as_the_database_holds_it(path: Path, name: str) -> None:
    for seed in range(3):
        print(f"seed {seed}")
        async with both(path.with_name(f"{seed}.db"), SCHEMAS[name]) as pair:
            actor = Actor(pair.up, SCHEMAS[name], seed)
            for _ in range(40):
                await actor.act()
                if actor.limit() < 3:
                    await pair.agree(actor.limit())
            await pair.agree()


@pytest.mark.parametrize(
    ("declared", "value", "certain"),
    [
        ("TEXT", "1", True),
        ("TEXT", 1, False),
        ("INTEGER", 1, True),
        ("INTEGER", "a", False),
        ("INTEGER", 1.5, False),
        ("REAL", 1.5, True),
        ("REAL", 1, False),
        ("REAL", 0.0, False),
        ("NUMERIC", "1", False),
        ("", "1", True),
        ("", 1.5, True),
        ("TEXT NOT NULL ON CONFLICT REPLACE DEFAULT 'x'", "1", False),
        ("TEXT UNIQUE ON CONFLICT IGNORE", "1", False),
    ],
)
async def test_only_what_is_stored_as_it_is_given_is_handed_over(
    path: Path, declared: str, value: Value, certain: bool
) -> None:
    async with both(path, f"CREATE TABLE t(id INTEGER PRIMARY KEY, a {declared})") as pair:
        up = pair.up
        groups = [up.group(up.edit("t", (number,), None, (None,))) for number in range(1, 3) if "NOT" not in declared]
        await up.write(*groups, up.group(up.edit("t", (3,), None, (value,)), author="till"))
        assert handed(up) == (len(groups) + 1 if certain else 0)
        await pair.agree()
        before = handed(up)
        ((stored,),) = up.sql("SELECT a FROM t WHERE id = 3")
        await up.write(up.group(up.edit("t", (3,), (stored,), None)))
        assert handed(up) - before == (0 if "CONFLICT" in declared else 1)
        await pair.agree()


async def test_no_row_of_it_is_read_again(path: Path) -> None:
    async with writing_up(path, PEOPLE) as up:
        asked: list[str] = []
        database = up.source._database
        assert database is not None
        await database.run(lambda connection: connection.set_trace_callback(asked.append))
        await up.write(up.group(*(up.edit("people", (number,), None, ("Ann",)) for number in range(1, 9))))
        assert len(await up.read()) == 8
        assert asked
        assert not reads(asked)
        assert handed(up) == 8, "until what follows it is read"
        up.sql("INSERT INTO people VALUES(9, 'Bob')")
        assert len(await up.read()) == 1
        assert reads(asked)
        assert handed(up) == 0


def reads(asked: list[str]) -> list[str]:
    """Statements that read rows of the table."""
    return [sql for sql in asked if sql.startswith("SELECT") and 'FROM "people"' in sql]


async def test_in_another_encoding_nothing_is_handed_over(path: Path) -> None:
    """What is no character in UTF-16 is replaced by SQLite."""
    with closing(sqlite3.connect(path)) as app:
        app.execute("PRAGMA encoding='UTF-16le'")
        app.execute("CREATE TABLE unused(id INTEGER PRIMARY KEY)")
    async with both(path, PEOPLE) as pair:
        await pair.up.write(pair.up.group(pair.up.edit("people", (1,), None, ("\ufffe",))))
        assert handed(pair.up) == 0
        await pair.agree()


async def test_of_a_backup_that_is_put_back_the_rows_are_read(path: Path) -> None:
    """The log has a row with the same number, and it is another."""
    async with both(path, PEOPLE) as pair:
        up = pair.up
        with closing(sqlite3.connect(":memory:")) as backup:
            up.app.backup(backup)
            await up.write(up.group(up.edit("people", (1,), None, ("ours",))))
            assert handed(up) == 1
            backup.backup(up.app)
        up.sql("INSERT INTO people VALUES(2, 'of the backup')")
        await pair.agree()
        assert list(pair.held) == [(up.types["people"].id, pack_values([2]))]
        assert handed(up) == 0


async def test_of_too_much_the_oldest_is_read(path: Path) -> None:
    async with both(path, PEOPLE) as pair:
        up = pair.up
        up.source.hand_over._limits = replace(LIMITS, handed_bytes_max=4 * 200)
        for number in range(1, 9):
            await up.write(up.group(up.edit("people", (number,), None, ("x" * 20,))))
        assert handed(up) == 4
        await pair.agree(3)
        assert len(pair.held) == 8


async def test_a_page_of_it_ends_as_one_that_is_read(path: Path) -> None:
    async with both(path, PEOPLE) as pair:
        up = pair.up
        up.source.hand_over._limits = replace(LIMITS, scan_bytes_max=100)
        groups = [up.group(up.edit("people", (number,), None, ("x" * 30,))) for number in range(1, 9)]
        await up.write(*groups[:5])
        await up.write(*groups[5:])
        pages, mark = list[int](), up.mark
        for _ in range(3):
            changes = await up.source.changes(mark, 1000)
            pages, mark = [*pages, len(changes.observed)], changes.mark
        assert pages == [3, 3, 2]
        await pair.agree()


async def test_what_waits_counts_as_what_it_takes_in_memory() -> None:
    limits = replace(LIMITS, handed_bytes_max=1024 * 1024)
    over = HandOver(limits)
    tracemalloc.start()
    for first in range(1, 20_001, 100):
        rows = [Observed(1, b"key %d" % number, b"%d" % number, "", "laptop") for number in range(first, first + 100)]
        over.put(Handed(first, first + 99, 0, 0, rows))
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert limits.handed_bytes_max / 2 < taken < limits.handed_bytes_max * 3 / 2


async def test_what_the_application_wrote_before_is_read_first(path: Path) -> None:
    async with both(path, PEOPLE) as pair:
        up = pair.up
        up.sql("INSERT INTO people VALUES(1, 'Ann')")
        await up.write(up.group(up.edit("people", (1,), ("Ann",), ("Bob",))))
        up.sql("UPDATE people SET name = 'Cid'")
        await pair.agree(1)


@asynccontextmanager
async def joining(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[WritingUp, asyncio.Task[SourceChanges]]]:
    """Something was read just before, our writer has written, and one who looked waits for more."""
    waits, is_all = threading.Event(), HandOver._is_all

    def looked(over: HandOver, connection: sqlite3.Connection, mark: int) -> bool:
        found = is_all(over, connection, mark)
        waits.set()
        return found

    monkeypatch.setattr(HandOver, "_is_all", looked)
    async with writing_up(path, PEOPLE, limits=replace(LIMITS, written_join_s=60.0)) as up:
        up.sql("INSERT INTO people VALUES(1, 'Ann')")
        await up.read()
        await up.write(up.group(up.edit("people", (2,), None, ("Bob",))))
        waiting = asyncio.create_task(up.source.changes(up.mark, 1000, 120.0))
        await eventually(waits.is_set)
        yield up, waiting


async def test_it_waits_for_what_the_application_commits_just_after(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with joining(path, monkeypatch) as (up, waiting):
        assert not waiting.done()
        up.sql("INSERT INTO people VALUES(4, 'Dan')")
        changes = await asyncio.wait_for(waiting, 30.0)
        assert [unpack_values(one.key) for one in changes.observed] == [[2], [4]]


async def test_it_waits_no_longer_when_the_source_is_wanted(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with joining(path, monkeypatch) as (up, waiting):
        await asyncio.wait_for(up.source.observe([]), 30.0)
        assert len((await asyncio.wait_for(waiting, 30.0)).observed) == 1


async def test_it_does_not_wait_where_nothing_was_read_just_before(path: Path) -> None:
    async with writing_up(path, PEOPLE) as up:
        up.source.hand_over.read_at -= 60.0
        waiting = asyncio.create_task(up.source.changes(up.mark, 1000, 120.0))
        await up.write(up.group(up.edit("people", (2,), None, ("Bob",))))
        assert len((await asyncio.wait_for(waiting, 30.0)).observed) == 1


async def test_what_the_application_commits_waits_for_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with joining(path, monkeypatch) as (up, waiting):
        up.sql("INSERT INTO people VALUES(4, 'Dan')")
        up.mark = (await asyncio.wait_for(waiting, 30.0)).mark
        again = asyncio.create_task(up.source.changes(up.mark, 1000, 120.0))
        up.sql("INSERT INTO people VALUES(5, 'Eve')")
        assert len((await asyncio.wait_for(again, 30.0)).observed) == 1


async def test_where_the_log_is_taken_away_meanwhile_the_source_is_opened_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with joining(path, monkeypatch) as (up, waiting):
        up.sql("DROP TABLE _syncd_log")
        assert (await asyncio.wait_for(waiting, 30.0)).reshaped


async def test_what_comes_late_is_not_taken_for_types_that_are_others_now(path: Path) -> None:
    """The writer may tell of it only after the source was opened again."""
    async with writing_up(path, PEOPLE) as up:
        await up.write(up.group(up.edit("people", (1,), None, ("Ann",))))
        (late, _) = up.source.hand_over._spans[0]
        up.sql("ALTER TABLE people ADD COLUMN age")
        assert (await up.source.changes(up.mark, 1000)).reshaped
        await up.open()
        up.source.hand_over.put(late)
        changes = await up.source.changes(up.mark, 1000)
        assert [one.fields for one in changes.observed] == [pack_values(["Ann", None])]


async def test_there_is_no_gap_in_what_is_handed_over() -> None:
    over = HandOver(LIMITS)
    one = Observed(1, b"key", b"fields")
    for first, last in ((1, 2), (3, 3), (5, 6)):
        over.put(Handed(first, last, last, 0, [one] * (last - first + 1)))
    assert [span.first for span in over._after(0)] == [1, 3]
    assert [span.first for span in over._after(1)] == [1, 3]
    assert [span.first for span in over._after(2)] == [3]
    assert over._after(3) == []
    assert [span.first for span in over._after(4)] == [5]


async def test_the_source_is_hushed_while_its_database_is_written_and_not_after_a_failure(path: Path) -> None:
    told: list[bool] = []
    async with writing_up(path, PEOPLE) as up:
        up.writer._hand_over.hush = told.append
        await up.write(up.group(up.edit("people", (1,), None, ("ann@home",))))
        assert told == [True, False]
        up.sql("DROP TABLE _syncd_source")
        with pytest.raises(ApplicationOffline):
            await up.write(up.group(up.edit("people", (2,), None, ("bob@home",))))
        assert told == [True, False] * 2


async def test_the_source_is_not_hushed_while_the_writer_waits_for_the_lock_of_the_application(path: Path) -> None:
    """Whoever has the lock commits: that is read at once."""
    told: list[bool] = []
    async with writing_up(path, PEOPLE) as up:
        await up.write(up.group(up.edit("people", (1,), None, ("ann@home",))))
        up.writer._hand_over.hush = told.append
        with closing(sqlite3.connect(path, isolation_level=None)) as app:
            app.execute("BEGIN IMMEDIATE")
            waiting = asyncio.create_task(up.write(up.group(up.edit("people", (2,), None, ("bob@home",)))))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(waiting), 0.1)
            assert told == []
            app.execute("COMMIT")
        await waiting
        assert told == [True, False]
