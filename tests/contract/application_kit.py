"""Both ends of an application, in memory and in SQLite, under one vocabulary for the contract suites."""

from __future__ import annotations

import os
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from syncd.adapters.canonical import pack_values, unpack_values
from syncd.applications.memory import MemorySource
from syncd.applications.memory_target import MemoryTarget
from syncd.applications.sqlite import SqliteSource, SqliteTarget
from syncd.core import digest
from syncd.core.edits import Overlay
from syncd.core.messages import Objects, Run
from syncd.core.model import DataType, Kind, ObjectId, Proof, Tie
from syncd.core.ports import SourceChanges, Target, TargetState, Work
from syncd.core.settings import Limits
from syncd.core.source_port import Source

NOTES = DataType(1, "notes", ("id",), ("body",), ("CREATE TABLE notes(id TEXT PRIMARY KEY, body TEXT)",))
TAGS = DataType(2, "tags", ("id",), ("body",), ("CREATE TABLE tags(id TEXT PRIMARY KEY, body TEXT)",))
LIMITS = Limits(object_bytes_max=1000, log_rows_max=50, busy_s_max=0.2, schema_quiet_s=0.0)


def note(key: str) -> ObjectId:
    return ObjectId("notes", pack_values([key]))


def tag(key: str) -> ObjectId:
    return ObjectId("tags", pack_values([key]))


def body(text: str) -> bytes:
    return pack_values([text])


# ---------------------------------------------------------------- the primary's end


class SourceBench(ABC):
    """An application on the primary and what can happen to it."""

    source: Source
    identity = ""

    @abstractmethod
    def commit(self, changes: Mapping[ObjectId, bytes | None]) -> None: ...
    @abstractmethod
    def spoil(self, one: ObjectId) -> None:
        """The object is there and cannot be turned into fields."""

    @abstractmethod
    def lose_log(self) -> None: ...
    @abstractmethod
    def back_up(self) -> None: ...
    @abstractmethod
    def put_back(self) -> None:
        """The data becomes what it was when it was backed up, in its place."""

    @abstractmethod
    def reshape(self) -> None:
        """Tags go away as a type that can be shared; a type ``more`` comes."""

    @abstractmethod
    def take_away(self) -> None: ...
    @abstractmethod
    def bring_back(self) -> None: ...

    async def opened(self) -> str:
        """The identity is that of the last opening."""
        state = await self.source.open(self.identity)
        self.identity = state.identity
        ids = {"notes": 1, "tags": 2, "more": 3}
        await self.source.number([replace(one, id=ids[one.name]) for one in state.types])
        return state.identity

    async def scanned(self, type_id: int, limit: int = 100) -> list[tuple[bytes, bytes | None]]:
        found: list[tuple[bytes, bytes | None]] = []
        after: tuple[object, ...] | None = None
        while True:
            page = await self.source.scan(type_id, after, limit)
            found += [(one.key, one.fields) for one in page.observed]
            after = page.after
            if after is None:
                return found


class MemorySourceBench(SourceBench):
    def __init__(self) -> None:
        self.source: MemorySource = MemorySource((NOTES, TAGS))
        self.copy = self.source.copy()

    def commit(self, changes: Mapping[ObjectId, bytes | None]) -> None:
        self.source.commit(changes)

    def spoil(self, one: ObjectId) -> None:
        self.source.faults[one] = "it cannot be read"
        self.source.commit({one: body("spoiled")})

    def lose_log(self) -> None:
        self.source.lose_log()

    def back_up(self) -> None:
        self.copy = self.source.copy()

    def put_back(self) -> None:
        self.source.put_back(self.copy)

    def reshape(self) -> None:
        self.source.reshape((NOTES, replace(NOTES, name="more")))

    def take_away(self) -> None:
        self.source.offline = "it is gone"

    def bring_back(self) -> None:
        self.source.offline = ""


def commit(app: sqlite3.Connection, changes: Mapping[ObjectId, bytes | None]) -> None:
    """One transaction of an application in SQLite."""
    app.execute("BEGIN IMMEDIATE")
    for one, fields in changes.items():
        key = unpack_values(one.key)[0]
        if fields is None:
            app.execute(f"DELETE FROM {one.type} WHERE id = ?", (key,))
        else:
            app.execute(
                f"INSERT INTO {one.type} VALUES(?, ?) ON CONFLICT(id) DO UPDATE SET body = excluded.body",
                (key, unpack_values(fields)[0]),
            )
    app.execute("COMMIT")


class SqliteSourceBench(SourceBench):
    def __init__(self, path: Path) -> None:
        self.path = path
        self.app = sqlite3.connect(path, isolation_level=None)
        self.app.execute("PRAGMA journal_mode=WAL")
        for one in (NOTES, TAGS):
            self.app.execute(one.definition[0])
        self.source: SqliteSource = SqliteSource(path, (), LIMITS)

    def commit(self, changes: Mapping[ObjectId, bytes | None]) -> None:
        commit(self.app, changes)

    def spoil(self, one: ObjectId) -> None:
        key = unpack_values(one.key)[0]
        self.app.execute(f"INSERT OR REPLACE INTO {one.type} VALUES(?, CAST(x'ff' AS TEXT))", (key,))

    def lose_log(self) -> None:
        for _ in range(LIMITS.log_rows_max):
            self.app.execute("INSERT INTO tags VALUES('overflow', '') ON CONFLICT DO UPDATE SET body = ''")
        self.app.execute("DELETE FROM tags WHERE id = 'overflow'")

    def back_up(self) -> None:
        with closing(sqlite3.connect(self.path.with_suffix(".backup"))) as copy:
            self.app.backup(copy)

    def put_back(self) -> None:
        with closing(sqlite3.connect(self.path.with_suffix(".backup"))) as copy:
            copy.backup(self.app)

    def reshape(self) -> None:
        self.app.execute("CREATE TABLE more(id TEXT PRIMARY KEY, body TEXT)")

    def take_away(self) -> None:
        self.app.close()
        os.rename(self.path, self.path.with_suffix(".away"))

    def bring_back(self) -> None:
        os.rename(self.path.with_suffix(".away"), self.path)
        self.app = sqlite3.connect(self.path, isolation_level=None)


def keys_of(changes: SourceChanges) -> dict[bytes, bytes | None]:
    return {one.key: one.fields for one in changes.observed}


# ---------------------------------------------------------------- the auxiliary's end

Change = tuple[Kind, ObjectId, bytes]


def put(one: ObjectId, text: str) -> Change:
    return Kind.MODIFY, one, body(text)


def gone(one: ObjectId) -> Change:
    return Kind.DELETE, one, b""


def withheld(one: ObjectId, why: str) -> Change:
    return Kind.WITHHELD, one, why.encode()


class WorkMaker:
    """Makes works; each group of changes becomes a frame with one run."""

    def __init__(self) -> None:
        self.types = {1: NOTES, 2: TAGS}
        self.seq = 0
        self.frames: list[Objects] = []

    def group(self, *changes: Change, loose: bool = False, ties: Sequence[int] = (), type_id: int = 0) -> int:
        """The next group; ``ties``: older groups that share an object with it. Returns its sequence number."""
        first, self.seq = self.seq, self.seq + max(1, len(changes))
        by_name = {one.name: number for number, one in self.types.items()}
        self.frames.append(
            Objects(
                "c",
                first,
                self.seq,
                (Run(self.seq, loose, len(changes)),) if changes else (),
                bytes(kind for kind, _, _ in changes),
                [type_id or by_name[one.type] for _, one, _ in changes],
                [one.key for _, one, _ in changes],
                [fields for _, _, fields in changes],
                tuple(Tie(older, self.seq) for older in ties),
            )
        )
        return self.seq

    def work(
        self,
        snapshot: bool = False,
        skip: Iterable[ObjectId] = (),
        epoch: str = "e1",
        holds: Mapping[ObjectId, bytes] | None = None,
    ) -> Work:
        """The groups since the last call. ``holds``: what the proof says that is held after it."""
        frames, self.frames = self.frames, []
        held = holds or {}
        proof = Proof(self.seq, digest_of(held), len(held))
        parked = frozenset(skip).intersection if skip else None
        return Work("c", epoch, snapshot, lambda: iter(frames), dict(self.types), proof, parked)

    def parked(self) -> Work:
        """The same as rows of a parked part, whose groups the target has passed."""
        frames = [replace(one, first=0, last=0, runs=(Run(1, False, len(one)),)) for one in self.frames]
        return replace(self.work(), proof=None, frames=lambda: iter(frames))


def digest_of(held: Mapping[ObjectId, bytes]) -> bytes:
    return digest.of(digest.object_hash(digest.type_prefix(one.type), one.key, fields) for one, fields in held.items())


class TargetBench(ABC):
    """An application on an auxiliary and what can happen to it."""

    target: Target

    @abstractmethod
    def rows(self) -> dict[ObjectId, bytes]: ...
    @abstractmethod
    def commit(self, changes: Mapping[ObjectId, bytes | None]) -> None:
        """One transaction of the application here."""

    def write(self, one: ObjectId, text: str) -> None:
        """The application here writes an object of its own."""
        self.commit({one: body(text)})

    @abstractmethod
    def spoil(self, one: ObjectId) -> None:
        """The object is there and cannot be turned into fields."""

    @abstractmethod
    def lose_log(self) -> None:
        """The application makes its tables anew."""

    @abstractmethod
    def refuse(self, one: ObjectId, why: str) -> None:
        """From here on the application refuses all versions of the object."""

    @abstractmethod
    def accept_all(self) -> None: ...
    @abstractmethod
    async def crash(self, replace_own: bool = False) -> None:
        """The daemon goes without a word, and another takes its place."""

    @abstractmethod
    def take_away(self) -> None: ...


async def looked(target: Target, overlay: Overlay | None = None) -> TargetState | None:
    """What looking finds, with a count that goes on beside."""
    state = await target.look(overlay)
    if state is None and isinstance(target, SqliteTarget):
        await target.beside.wait()
        state = await target.look(overlay)
    return state


class MemoryTargetBench(TargetBench):
    def __init__(self, captures: bool = False) -> None:
        self.target: MemoryTarget = MemoryTarget(captures=captures)

    def rows(self) -> dict[ObjectId, bytes]:
        return dict(self.target.rows)

    def commit(self, changes: Mapping[ObjectId, bytes | None]) -> None:
        self.target.commit(changes)

    def spoil(self, one: ObjectId) -> None:
        self.target.spoil(one, "it cannot be read")

    def lose_log(self) -> None:
        self.target.lose_log()

    def refuse(self, one: ObjectId, why: str) -> None:
        self.target.failing[one] = why

    def accept_all(self) -> None:
        self.target.failing.clear()

    async def crash(self, replace_own: bool = False) -> None:
        self.target.replace = replace_own

    def take_away(self) -> None:
        self.target.offline = "it is gone"


class SqliteTargetBench(TargetBench):
    def __init__(self, path: Path, captures: bool = False) -> None:
        self.path = path
        self._captures = captures
        with closing(sqlite3.connect(path)) as app:
            app.execute("PRAGMA journal_mode=WAL")
            for one in (NOTES, TAGS):
                app.execute(one.definition[0])
        self._limits = replace(LIMITS, log_rows_max=10_000)
        self.target: SqliteTarget = SqliteTarget(path, "c", False, False, self._limits, captures)

    def _do(self, sql: str, values: Sequence[object] = ()) -> list[tuple[str, str]]:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as app:
            return app.execute(sql, values).fetchall()

    def rows(self) -> dict[ObjectId, bytes]:
        found: dict[ObjectId, bytes] = {}
        for table in ("notes", "tags"):
            for key, text in self._do(f"SELECT id, body FROM {table}"):
                found[ObjectId(table, pack_values([key]))] = body(text)
        return found

    def commit(self, changes: Mapping[ObjectId, bytes | None]) -> None:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as app:
            commit(app, changes)

    def spoil(self, one: ObjectId) -> None:
        key = unpack_values(one.key)[0]
        self._do(f"INSERT OR REPLACE INTO {one.type} VALUES(?, CAST(x'ff' AS TEXT))", (key,))

    def lose_log(self) -> None:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as app:
            app.execute("BEGIN IMMEDIATE")
            for table in ("notes", "tags"):
                app.execute("CREATE TABLE made(id TEXT PRIMARY KEY, body TEXT)")
                app.execute(f"INSERT INTO made SELECT * FROM {table}")
                app.execute(f"DROP TABLE {table}")
                app.execute(f"ALTER TABLE made RENAME TO {table}")
            app.execute("COMMIT")

    def refuse(self, one: ObjectId, why: str) -> None:
        key = str(unpack_values(one.key)[0])
        for event in ("INSERT", "UPDATE"):
            self._do(
                f"CREATE TRIGGER no_{event}_{one.type}_{key} BEFORE {event} ON {one.type} WHEN NEW.id = '{key}'"
                f" BEGIN SELECT RAISE(ABORT, '{why}'); END"
            )

    def accept_all(self) -> None:
        for (trigger,) in self._do("SELECT name FROM sqlite_master WHERE name GLOB 'no_*'"):  # type: ignore[misc]
            self._do(f"DROP TRIGGER {trigger}")

    async def crash(self, replace_own: bool = False) -> None:
        await self.target.close()
        self.target = SqliteTarget(self.path, "c", replace_own, False, self._limits, self._captures)

    def take_away(self) -> None:
        os.rename(self.path, self.path.with_suffix(".away"))
