"""What an application does to a target's database comes out as edits: bases as at the mark, fields as they are."""

from __future__ import annotations

import asyncio
import dataclasses
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from syncd.adapters.canonical import Value, pack_values
from syncd.applications.sqlite import SqliteTarget, forget
from syncd.applications.sqlite_count import count
from syncd.core import digest
from syncd.core.edits import Overlay, Plan, Restored
from syncd.core.errors import ApplicationOffline, EditsUnread
from syncd.core.model import DataType
from tests.applications.road import LIMITS, sql
from tests.applications.writing import Group, Row, Writing, local, table
from tests.contract.application_kit import looked

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("wal")]

Objects = dict[tuple[str, bytes], bytes]
Changed = dict[tuple[str, bytes], tuple[bytes | None, bytes | None]]
SCHEMAS: dict[str, DataType] = {
    "rowid": table(1, "t", "id INTEGER PRIMARY KEY, u TEXT UNIQUE, v", ("id",), ("u", "v")),
    "text": table(1, "t", "id TEXT PRIMARY KEY, u INT, v REAL", ("id",), ("u", "v"), "CREATE UNIQUE INDEX i ON t(u)"),
    "no rowid": DataType(
        1, "t", ("id",), ("u", "v"), ("CREATE TABLE t(id, u, v UNIQUE, PRIMARY KEY(id)) WITHOUT ROWID",)
    ),
    "nocase": table(1, "t", "id TEXT COLLATE NOCASE PRIMARY KEY, u UNIQUE, v", ("id",), ("u", "v")),
    "two": table(1, "t", "v, id INT, u TEXT NOT NULL DEFAULT 'x', PRIMARY KEY(u, id)", ("u", "id"), ("v",)),
    "no affinity": table(1, "t", "id BLOB PRIMARY KEY, u, v, UNIQUE(u, v)", ("id",), ("u", "v")),
    "replacing": table(
        1, "t", "id INTEGER PRIMARY KEY ON CONFLICT REPLACE, u UNIQUE ON CONFLICT REPLACE, v", ("id",), ("u", "v")
    ),
    "partial": table(
        1, "t", "id INTEGER PRIMARY KEY, u, v", ("id",), ("u", "v"), "CREATE UNIQUE INDEX i ON t(u) WHERE v = 1"
    ),
    "parent": table(
        1, "t", "id INTEGER PRIMARY KEY, u INT REFERENCES t ON DELETE CASCADE ON UPDATE CASCADE, v", ("id",), ("u", "v")
    ),
}
VALUES = ("NULL", "1", "2", "3", "4", "1.0", "2.5", "'a'", "'A'", "'b'", "'1'", "x'01'", "''")


class Statements:
    """What an application may do, at random."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def transaction(self) -> Iterator[str]:
        if self._rng.random() < 0.3:
            yield self._one()
            return
        yield "BEGIN"
        for _ in range(self._rng.randint(1, 5)):
            saved = self._rng.random() < 0.2
            if saved:
                yield "SAVEPOINT s"
            yield self._one()
            if saved:
                yield "ROLLBACK TO s" if self._rng.random() < 0.5 else "RELEASE s"
        yield "COMMIT" if self._rng.random() < 0.8 else "ROLLBACK"

    def run(self, app: sqlite3.Connection) -> None:
        """Some transactions; what fails fails."""
        for _ in range(self._rng.randint(1, 4)):
            for statement in self.transaction():
                with suppress(sqlite3.IntegrityError, sqlite3.OperationalError):
                    app.execute(statement)
            if app.in_transaction:
                app.execute("ROLLBACK")

    def _one(self) -> str:
        rng = self._rng
        conflict = rng.choice(("", "", " OR REPLACE", " OR REPLACE", " OR IGNORE", " OR FAIL", " OR ABORT"))
        rows = ", ".join(f"({self._value()}, {self._value()}, {self._value()})" for _ in range(rng.randint(1, 3)))
        kind = rng.random()
        if kind < 0.4:
            return f"INSERT{conflict} INTO t(id, u, v) VALUES {rows}"
        if kind < 0.5:
            return f"INSERT INTO t(id, u, v) VALUES {rows} ON CONFLICT DO UPDATE SET {self._sets()}"
        if kind < 0.55:
            return f"INSERT{conflict} INTO t(u, v) VALUES({self._value()}, {self._value()})"
        if kind < 0.85:
            return f"UPDATE{conflict} t SET {self._sets()}{self._where()}"
        return f"DELETE FROM t{self._where()}"

    def _sets(self) -> str:
        columns = self._rng.sample(("id", "u", "v"), self._rng.randint(1, 2))
        return ", ".join(f"{one} = {self._rng.choice((self._value(), f'{one} + 1', 'id', 'u'))}" for one in columns)

    def _where(self) -> str:
        kind = self._rng.random()
        if kind < 0.2:
            return ""
        return f" WHERE {self._rng.choice(('id', 'u', 'v'))} {self._rng.choice(('=', '<', '>'))} {self._value()}"

    def _value(self) -> str:
        return self._rng.choice(VALUES)


def held(path: Path, one: DataType) -> Objects:
    """All objects that can be named, as they are."""
    columns = (*one.key, *one.fields)
    with closing(sqlite3.connect(path)) as app:
        rows: list[list[Value]] = app.execute(f"SELECT {', '.join(columns)} FROM {one.name}").fetchall()
    width = len(one.key)
    return {(one.name, pack_values(row[:width])): pack_values(row[width:]) for row in rows if None not in row[:width]}


@pytest.mark.parametrize("schema", SCHEMAS)
@pytest.mark.parametrize("recursive", [False, True])
async def test_edits_are_what_was_at_the_mark_and_what_is(path: Path, schema: str, recursive: bool) -> None:
    one = SCHEMAS[schema]
    for seed in range(2):
        print(f"seed {seed}")
        rng = random.Random(seed)
        path = path.with_name(f"{seed}.db")
        statements, mark = Statements(rng), 0
        async with local(path, one) as here:
            sent = held(path, one)
            with closing(sqlite3.connect(path, isolation_level=None)) as app:
                app.execute(f"PRAGMA recursive_triggers={recursive}")
                app.execute("PRAGMA foreign_keys=ON")
                for _ in range(25):
                    before = held(path, one)
                    statements.run(app)
                    after = held(path, one)
                    state = await here.target.recount(overlay(mark, sent, before))
                    assert (state.digest, state.objects) == (digest_of(sent), len(sent))
                    mark, found = await read(here.target, mark, rng.choice((1, 3, 1000)))
                    assert found == changed(before, after)


async def read(target: SqliteTarget, mark: int, limit: int = 1000) -> tuple[int, Changed]:
    """Where reading ended, and what it told: the pages joined as the outbox does."""
    found: Changed = {}
    while True:
        changes = await target.changes(mark, limit)
        assert not changes.lost
        mark = changes.mark
        for edit in changes.edits:
            base = found.get(("t", edit.key), (edit.base, None))[0]
            found["t", edit.key] = base, edit.fields
        if changes.drained:
            return mark, {key: pair for key, pair in found.items() if pair[0] != pair[1]}


def changed(before: Objects, after: Objects) -> Changed:
    return {
        key: (before.get(key), after.get(key))
        for key in before.keys() | after.keys()
        if before.get(key) != after.get(key)
    }


def overlay(mark: int, sent: Objects, read: Objects) -> Overlay:
    """What stands above what was sent, as far as it was read."""
    return Overlay(mark, sum(map(hash_of, sent.items())) - sum(map(hash_of, read.items())), len(sent) - len(read))


def hash_of(one: tuple[tuple[str, bytes], bytes]) -> int:
    (name, key), fields = one
    return digest.object_hash(digest.type_prefix(name), key, fields)


def digest_of(objects: Objects) -> bytes:
    return digest.of(map(hash_of, objects.items()))


# ---------------------------------------------------------------- the application's schema

ONE = table(1, "t", "id INTEGER PRIMARY KEY, u, v", ("id",), ("u", "v"))


def row(key: int, u: Value = "u", v: Value = "v") -> Row:
    return Row("t", (key,), (u, v))


def pair(before: Row | None, after: Row | None) -> Changed:
    """One change as it is told."""
    one = before or after
    assert one is not None
    fields = [None if it is None or it.fields is None else pack_values(it.fields) for it in (before, after)]
    return {("t", one.id.key): (fields[0], fields[1])}


async def test_triggers_of_the_application_that_were_made_later_run_after_ours(path: Path) -> None:
    async with local(path, ONE, row(1)) as here:
        sql(
            path,
            "CREATE TRIGGER a AFTER INSERT ON t BEGIN UPDATE t SET v = 'by a trigger' WHERE id = NEW.id; END",
            "CREATE TRIGGER b BEFORE INSERT ON t BEGIN DELETE FROM t WHERE id = NEW.id; END",
        )
        mark, found = await read(here.target, 0)
        assert found == {}
        sql(path, "INSERT INTO t(u) VALUES('x')", "INSERT INTO t VALUES(1, 'x', 'y')")
        _, found = await read(here.target, mark)
        assert found == {
            **pair(None, row(2, "x", "by a trigger")),
            **pair(row(1), row(1, "x", "by a trigger")),
        }


async def test_a_column_that_the_application_drops_is_not_in_its_way(path: Path) -> None:
    async with local(path, ONE, row(1)) as here:
        sql(path, "ALTER TABLE t DROP COLUMN v")
        sql(path, "UPDATE t SET u = 'x'", "REPLACE INTO t VALUES(1, 'y')", "UPDATE t SET id = 3", "DELETE FROM t")
        assert not (await here.target.changes(0, 100)).lost


async def test_a_column_that_the_application_adds_changes_nothing(path: Path) -> None:
    async with local(path, ONE, row(1)) as here:
        sql(path, "ALTER TABLE t ADD COLUMN mine", "UPDATE t SET mine = 1", "INSERT INTO t VALUES(2, 'x', 'y', 'z')")
        _, found = await read(here.target, 0)
        assert found == pair(None, row(2, "x", "y"))


async def test_an_index_that_the_application_makes_is_noticed(path: Path) -> None:
    async with local(path, ONE, row(1, "a"), row(2, "b")) as here:
        sql(path, "CREATE UNIQUE INDEX i ON t(u)")
        mark, _ = await read(here.target, 0)
        sql(path, "REPLACE INTO t VALUES(3, 'a', 'v')")
        assert (await read(here.target, mark))[1] == {**pair(row(1, "a"), None), **pair(None, row(3, "a"))}


async def test_a_table_that_was_made_anew_is_told_as_lost_and_captured_again(path: Path) -> None:
    async with local(path, ONE, row(1)) as here:
        sql(
            path,
            "CREATE TABLE n AS SELECT * FROM t",
            "DROP TABLE t",
            ONE.definition[0],
            "INSERT INTO t SELECT * FROM n",
        )
        with pytest.raises(EditsUnread):
            await here.target.execute(dataclasses.replace(here.work([Group([row(1, "x")])]), plan=Plan(0, 0)))
        changes = await here.target.changes(0, 100)
        assert changes.lost
        sql(path, "UPDATE t SET u = 'x'")
        _, found = await read(here.target, changes.mark)
        assert found == pair(row(1), row(1, "x"))


async def test_a_log_at_its_bound_is_lost(path: Path) -> None:
    target = SqliteTarget(path, "c", False, False, dataclasses.replace(LIMITS, log_rows_max=20), True)
    await target.open()
    try:
        await Writing(target, path, (ONE,)).begin(row(1, 0))
        sql(path, *["UPDATE t SET u = u + 1"] * 30)
        assert sql(path, "SELECT count(*) FROM _syncd_local_1_log") == [(20,)]
        assert (await target.changes(0, 100)).lost
    finally:
        await target.close()


async def test_columns_that_exist_only_here_stay_where_an_object_is_put_back(path: Path) -> None:
    async with local(path, ONE, row(1), row(2)) as here:
        sql(path, "ALTER TABLE t ADD COLUMN mine", "UPDATE t SET u = 'x', mine = 'kept'")
        mark, _ = await read(here.target, 0)
        back = [Restored(1, row(1).id.key, pack_values(("u", "v")))]
        await here.target.restore(Plan(1, mark, restore=lambda: iter(back)))
        assert sql(path, "SELECT * FROM t") == [(1, "u", "v", "kept"), (2, "x", "v", "kept")]


async def test_what_other_edits_need_is_not_put_back_before_them(path: Path) -> None:
    one = table(1, "t", "id INTEGER PRIMARY KEY, u REFERENCES t(id), v", ("id",), ("u", "v"))
    async with local(path, one) as here:
        sql(path, "INSERT INTO t VALUES(1, NULL, 'v'), (2, 1, 'v')")
        mark, _ = await read(here.target, 0)
        state = await here.target.open()
        gone = [Restored(1, row(key).id.key, None) for key in (1, 2)]
        with pytest.raises(ApplicationOffline, match="cannot be put back"):
            await here.target.restore(Plan(1, mark, restore=lambda: iter(gone[:1])))
        assert await here.target.open() == state
        assert len(sql(path, "SELECT * FROM t")) == 2
        assert (await here.target.restore(Plan(2, mark, restore=lambda: iter(gone)))).plan == 2
        assert sql(path, "SELECT * FROM t") == []


async def test_values_under_a_unique_index_are_swapped_back(path: Path) -> None:
    async with local(path, SCHEMAS["rowid"], row(1, "a"), row(2, "b")) as here:
        sql(
            path,
            "UPDATE t SET u = 'c' WHERE id = 1",
            "UPDATE t SET u = 'a' WHERE id = 2",
            "UPDATE t SET u = 'b' WHERE id = 1",
        )
        mark, _ = await read(here.target, 0)
        back = [
            Restored(1, row(1).id.key, pack_values(("a", "v"))),
            Restored(1, row(2).id.key, pack_values(("b", "v"))),
        ]
        await here.target.restore(Plan(1, mark, restore=lambda: iter(back)))
        assert sql(path, "SELECT id, u FROM t ORDER BY id") == [(1, "a"), (2, "b")]


async def test_two_collections_in_one_database_are_captured_apart(path: Path) -> None:
    other = table(1, "s", "id INTEGER PRIMARY KEY, u, v", ("id",), ("u", "v"))
    async with local(path, ONE, row(1)) as here:
        target = SqliteTarget(path, "d", True, False, LIMITS, True)
        await target.open()
        try:
            there = Writing(target, path, (other,))
            await target.execute(
                dataclasses.replace(there.work([Group([Row("s", (1,), ("u", "v"))])], True), collection="d")
            )
            sql(path, "UPDATE t SET u = 'x'", "UPDATE s SET u = 'y'")
            for one in (here.target, target):
                (edit,) = (await one.changes(0, 100)).edits
                assert edit.base == pack_values(("u", "v"))
        finally:
            await target.close()


async def test_what_is_forgotten_is_not_captured(path: Path) -> None:
    async with local(path, ONE, row(1)):
        pass
    forget(path)
    assert sql(path, "SELECT name FROM sqlite_master WHERE type = 'trigger'") == []


async def test_a_target_that_does_not_capture_takes_the_capture_away(path: Path) -> None:
    async with local(path, ONE, row(1)):
        pass
    async with local(path, ONE, row(1), row(2), captures=False):
        assert sql(path, "SELECT name FROM sqlite_master WHERE type = 'trigger'") == []


async def test_a_value_over_the_limit_is_a_fault(path: Path) -> None:
    target = SqliteTarget(path, "c", False, False, dataclasses.replace(LIMITS, object_bytes_max=10_000), True)
    await target.open()
    try:
        await Writing(target, path, (ONE,)).begin(row(1))
        sql(path, "UPDATE t SET v = zeroblob(9000000)")
        changes = await target.changes(0, 100)
        (edit,) = changes.edits
        assert (edit.base, edit.fields) == (pack_values(("u", "v")), b"")
        assert "over the limit" in edit.fault
        sql(path, "UPDATE t SET v = 'small'")
        (edit,) = (await target.changes(changes.mark, 100)).edits
        assert (edit.base, edit.fields) == (None, pack_values(("u", "small")))
    finally:
        await target.close()


async def test_a_wait_gives_way_to_a_work_and_is_not_ended_by_it(path: Path) -> None:
    async with local(path, ONE, row(1)) as here:
        await here.target.changes(0, 100)
        waiting = asyncio.create_task(here.target.changes(0, 100, wait_s=600.0))
        await asyncio.sleep(0)
        await here.done(here.work([Group([row(2)])]))
        assert (await here.target.changes(0, 100)).edits == ()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(waiting), 0.3)
        sql(path, "INSERT INTO t VALUES (3, 3, 3)")
        assert [edit.key for edit in (await waiting).edits] == [pack_values((3,))]


async def test_a_wait_does_not_make_a_count_give_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[tuple[int, int]] = []

    def counting(*given: object, **named: bool) -> tuple[int, int]:
        ended.append(count(*given, **named))  # type: ignore[arg-type]
        return ended[-1]

    for where in ("sqlite_recount", "sqlite_count_beside"):
        monkeypatch.setattr(f"syncd.applications.{where}.count", counting)
    async with local(path, ONE, row(1)) as here:
        sql(path, "INSERT INTO t VALUES (3, 3, 3)")
        mark = (await here.target.changes(0, 100)).mark
        waiting = asyncio.create_task(here.target.changes(mark, 100, wait_s=600.0))
        await asyncio.sleep(0)
        ended.clear()
        await looked(here.target, Overlay(mark))
        assert [objects for _, objects in ended] == [2, 2]  # beside, and what it found is counted once more
        sql(path, "INSERT INTO t VALUES (4, 4, 4)")
        await waiting
