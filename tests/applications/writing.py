"""A target in SQLite with works made by hand: tables, rows, groups."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from syncd.adapters.canonical import Value, pack_values
from syncd.applications.sqlite import SqliteTarget
from syncd.core.messages import Objects, Run
from syncd.core.model import DataType, Kind, ObjectId, Proof, Tie
from syncd.core.ports import Executed, Part, Unexecuted, Work
from tests.applications.road import LIMITS, contents


class Row(NamedTuple):
    """One message: ``fields`` None removes the object."""

    table: str
    key: tuple[Value, ...]
    fields: tuple[Value, ...] | None = None

    @property
    def id(self) -> ObjectId:
        return ObjectId(self.table, pack_values(self.key))


class Group(NamedTuple):
    rows: Sequence[Row]
    loose: bool = False
    ties: Sequence[int] = ()  # numbers of older groups, from 0, in the same work


class Writing:
    """Executes works on a target. ``rows_per_frame`` is small where a group is to be spread over frames."""

    def __init__(self, target: SqliteTarget, path: Path, types: Sequence[DataType]) -> None:
        self.target = target
        self.path = path
        self.types = {one.id: one for one in types}
        self.seq = 0
        self.position = 0  # of the last work that was executed
        self.seqs: list[int] = []  # of the groups of the last work

    def work(
        self, groups: Sequence[Group], snapshot: bool = False, skip: Sequence[ObjectId] = (), rows_per_frame: int = 1000
    ) -> Work:
        ids = {one.name: one.id for one in self.types.values()}
        base, begin = (0, 0) if snapshot else (self.seq, self.position)
        numbered: list[tuple[int, Group]] = []
        for group in groups:
            self.seq += max(1, len(group.rows))
            numbered.append((self.seq, group))
        self.seqs = [seq for seq, _ in numbered]
        flat = [(seq, group.loose, row) for seq, group in numbered for row in group.rows]
        ties = tuple(Tie(self.seqs[older], seq) for seq, group in numbered for older in group.ties)

        def frames() -> Iterator[Objects]:
            for at in range(0, max(1, len(flat)), rows_per_frame):
                part = flat[at : at + rows_per_frame]
                runs: list[Run] = []
                for seq, loose, _ in part:
                    if runs and runs[-1].seq == seq:
                        runs[-1] = Run(seq, loose, runs[-1].rows + 1)
                    else:
                        runs.append(Run(seq, loose, 1))
                yield Objects(
                    "c",
                    base + at if at else begin,
                    base + at + len(part),
                    tuple(runs),
                    bytes(Kind.DELETE if row.fields is None else Kind.MODIFY for _, _, row in part),
                    [ids[row.table] for _, _, row in part],
                    [row.id.key for _, _, row in part],
                    [b"" if row.fields is None else pack_values(row.fields) for _, _, row in part],
                    ties if at == 0 else (),
                )

        parked = frozenset(skip).intersection if skip else None
        return Work("c", "e", snapshot, frames, dict(self.types), Proof(self.seq, b"", 0), parked)

    async def done(self, work: Work) -> Executed:
        """The work is executed, and the target holds what it says."""
        result = await self.target.execute(work)
        assert isinstance(result, Executed), result
        self.position = result.state.position
        assert await self.target.recount() == result.state
        return result

    async def done_without_count(self, work: Work) -> None:
        """The work is executed; the application holds rows of its own besides."""
        result = await self.target.execute(work)
        assert isinstance(result, Executed), result
        self.position = result.state.position

    async def failed(self, work: Work) -> tuple[Part, ...]:
        """The work fails and leaves no trace."""
        before = contents(self.path) if self.path.exists() else {}
        result = await self.target.execute(work)
        assert isinstance(result, Unexecuted), result
        assert contents(self.path) == before
        return result.parts

    async def begin(self, *rows: Row) -> None:
        """A first snapshot."""
        await self.done(self.work([Group(rows, loose=True)], snapshot=True))


@asynccontextmanager
async def writing(path: Path, *types: DataType, replace: bool = False) -> AsyncIterator[Writing]:
    """An open target that is closed at the end."""
    target = SqliteTarget(path, "c", replace, False, LIMITS)
    await target.open()
    try:
        yield Writing(target, path, types)
    finally:
        await target.close()


def table(number: int, name: str, columns: str, key: tuple[str, ...], fields: tuple[str, ...], *more: str) -> DataType:
    """A type with its definition."""
    return DataType(number, name, key, fields, (f"CREATE TABLE {name}({columns})", *more))


@asynccontextmanager
async def local(
    path: Path, one: DataType, *rows: Row, captures: bool = True, others: Sequence[DataType] = ()
) -> AsyncIterator[Writing]:
    """A target that was filled once."""
    target = SqliteTarget(path, "c", False, False, LIMITS, captures)
    await target.open()
    try:
        here = Writing(target, path, (one, *others))
        await here.begin(*rows)
        yield here
    finally:
        await target.close()
