"""The road without what lies between: what a source reads becomes works for a target; then both are compared."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from syncd.adapters.canonical import unpack_values
from syncd.applications.sqlite import SqliteSource, SqliteTarget
from syncd.applications.sqlite_common import is_ours
from syncd.core.messages import Objects, Run
from syncd.core.model import DataType, Kind, Observed, Proof
from syncd.core.ports import Executed, SourceChanges, Unexecuted, Work
from syncd.core.settings import Limits

LIMITS = Limits(busy_s_max=0.3, schema_quiet_s=0.0)


def sql(path: Path, *statements: str) -> list[tuple[object, ...]]:
    """Runs the statements in one connection of an application, which then ends; the rows of the last one."""
    with closing(sqlite3.connect(path, isolation_level=None)) as app:
        rows: list[tuple[object, ...]] = []
        for statement in statements:
            rows = app.execute(statement).fetchall()
        return rows


def put_over(copy: Path, path: Path, without: Sequence[str] = ()) -> None:
    """As `cp` does: the file stays the same, what is in it does not. ``without``: its companions that are removed."""
    with copy.open("rb") as read, path.open("r+b") as written:
        written.truncate(0)
        shutil.copyfileobj(read, written)
    for companion in without:
        os.unlink(f"{path}{companion}")


def contents(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """All rows of all tables of the application, with the types of their values."""
    held: dict[str, list[tuple[object, ...]]] = {}
    with closing(sqlite3.connect(path)) as app:
        for (table,) in app.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            if not is_ours(table):
                quoted = '"' + table.replace('"', '""') + '"'
                rows = [tuple((type(v).__name__, v) for v in row) for row in app.execute(f"SELECT * FROM {quoted}")]
                held[table] = sorted(rows, key=repr)
    return held


class Reading:
    """A source that is read as the engine does."""

    def __init__(self, path: Path, tables: Sequence[str] = (), limits: Limits = LIMITS) -> None:
        self.source = SqliteSource(path, tables, limits)
        self.types: tuple[DataType, ...] = ()
        self.identity = ""
        self.mark = 0

    async def __aenter__(self) -> Reading:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.source.close()

    async def open(self) -> tuple[str, ...]:
        state = await self.source.open(self.identity)
        self.identity = state.identity
        self.types = tuple(replace(one, id=number) for number, one in enumerate(state.types, 1))
        await self.source.number(self.types)
        return state.problems

    async def scan(self, limit: int = 1000) -> list[Observed]:
        found: list[Observed] = []
        for one in self.types:
            after: tuple[object, ...] | None = None
            while True:
                page = await self.source.scan(one.id, after, limit)
                found += page.observed
                after = page.after
                if after is None:
                    break
        return found

    async def changes(self) -> SourceChanges:
        """Everything touched since the last call, in one piece."""
        changes = await self.source.changes(self.mark, 1_000_000)
        self.mark = changes.mark
        return changes

    async def wait(self, wait_s: float) -> None:
        """Until something was touched since it was read last; that stays to be read."""
        await self.source.changes(self.mark, 1_000_000, wait_s)

    async def touched(self) -> list[tuple[str, list[object], list[object] | None]]:
        """The same in words: table, key, fields."""
        changes = await self.changes()
        assert (changes.lost, changes.reshaped) == (False, False)
        names = {one.id: one.name for one in self.types}
        return sorted(
            (
                names[one.type],
                list(unpack_values(one.key)),
                None if one.fields is None else list(unpack_values(one.fields)),
            )
            for one in changes.observed
        )


async def lateness(reading: Reading, path: Path, commits: int, quiet_s: float = 0.0) -> float:
    """Seconds from a commit of an application to the end of the wait for it: the median of so many, each noticed, in
    table t(id, v). ``quiet_s``: so long nothing happens before each."""
    late: list[float] = []
    with closing(sqlite3.connect(path, isolation_level=None)) as app:
        for i in range(commits):
            await reading.changes()
            await reading.wait(quiet_s)
            waiting = asyncio.create_task(reading.wait(10.0))
            await asyncio.sleep(0)  # the wait begins
            app.execute("INSERT INTO t VALUES(?, 1)", (i,))
            committed = time.perf_counter()
            await waiting
            late.append(time.perf_counter() - committed)
            assert await reading.touched() == [("t", [i], [1])]
    return sorted(late)[len(late) // 2]


class Road:
    """From one database to another."""

    def __init__(self, primary: Path, auxiliary: Path, target: SqliteTarget | None = None) -> None:
        self.reading = Reading(primary)
        self.target = target or SqliteTarget(auxiliary, "c", False, False, LIMITS)
        self.seq = 0

    async def __aenter__(self) -> Road:
        await self.reading.open()
        await self.target.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.reading.source.close()
        await self.target.close()

    def work(self, observed: Sequence[Observed], snapshot: bool) -> Work:
        """One work; a snapshot's rows are loose, those of changes are one group."""
        base = 0 if snapshot else self.seq
        self.seq += max(1, len(observed))
        kinds = bytes(Kind.DELETE if one.fields is None else Kind.MODIFY for one in observed)
        frame = Objects(
            "c",
            base,
            self.seq,
            (Run(self.seq, snapshot, len(observed)),) if observed else (),
            kinds,
            [one.type for one in observed],
            [one.key for one in observed],
            [one.fields or b"" for one in observed],
        )
        types = {one.id: one for one in self.reading.types}
        return Work("c", "e", snapshot, lambda: iter((frame,)), types, Proof(self.seq, b"", 0))

    async def snapshot(self) -> Executed | Unexecuted:
        return await self.target.execute(self.work(await self.reading.scan(), snapshot=True))

    async def follow(self) -> Executed | Unexecuted:
        changes = await self.reading.changes()
        assert (changes.lost, changes.reshaped) == (False, False)
        return await self.target.execute(self.work(changes.observed, snapshot=False))

    async def same(self, result: Executed | Unexecuted) -> None:
        """The work was executed, and the target counts what it says."""
        assert isinstance(result, Executed), result
        assert await self.target.recount() == result.state
