"""The ports of an auxiliary, in memory, on which effects that concern its edits are performed."""

from __future__ import annotations

from collections.abc import Sequence

from syncd.adapters.registry import ADAPTERS
from syncd.applications.memory_target import MemoryTarget
from syncd.core import events as ev
from syncd.core import upward_effects as fx
from syncd.core import upward_events as up
from syncd.core.edits import LocalBatch, OutboxState
from syncd.core.effects import Effect, ExecuteNow
from syncd.core.errors import DiskFull
from syncd.core.messages import Cut, Objects, Run, Verdict
from syncd.core.model import DataType, Kind, ObjectId
from syncd.core.ports import TargetState
from syncd.core.settings import Limits
from syncd.outside import Ports
from syncd.perform import perform
from syncd.store.memory_inbound_queue import MemoryInboundQueue
from syncd.store.memory_outbox import MemoryOutbox
from tests.two_way_kit import NAME, note, text

LIMITS = Limits(unread_tries_max=3, scan_rows_max=2)
NUMBERED = {1: DataType(1, "note", ("id",), ("title", "text"))}
EPOCH = "epoch"


class FullOutbox(MemoryOutbox):
    """One whose disk has no room while ``full``."""

    full = False

    async def keep(self, collection: str, batch: LocalBatch) -> OutboxState:
        if self.full:
            raise DiskFull("no room in the home", "make room")
        return await super().keep(collection, batch)

    async def carried_out(self, collection: str, state: TargetState) -> OutboxState:
        if self.full:
            raise DiskFull("no room in the home", "make room")
        return await super().carried_out(collection, state)

    async def settle(self, collection: str, verdicts: Sequence[Verdict], position: int, now_us: int) -> OutboxState:
        if self.full:
            raise DiskFull("no room in the home", "make room")
        return await super().settle(collection, verdicts, position, now_us)


class Auxiliary:
    """The ports of an auxiliary whose target holds note 1, at 1."""

    def __init__(self) -> None:
        self.outbox, self.target = FullOutbox(LIMITS, lambda: "box"), MemoryTarget(captures=True)
        self.ports = Ports(LIMITS, ADAPTERS, lambda: 100.0, lambda: 5)
        self.ports.inbound, self.ports.outbox = MemoryInboundQueue(), self.outbox
        self.ports.targets[NAME] = self.ports.locals[NAME] = self.target

    async def does(self, effect: Effect) -> ev.Event | None:
        return await perform(self.ports, effect)

    async def begins(self) -> Auxiliary:
        done = await self.executes(0, 1, {note(1): text("one")})
        assert isinstance(done, ev.WorkDone)
        return self

    async def executes(self, first: int, last: int, rows: dict[ObjectId, bytes]) -> ev.Event | None:
        return await self.does(ExecuteNow(NAME, (frame(first, last, rows),), self.target.state, NUMBERED))

    async def reads(self) -> up.LocalRead:
        read = await self.does(fx.ReadLocal(NAME))
        assert isinstance(read, up.LocalRead)
        return read


def frame(first: int, last: int, rows: dict[ObjectId, bytes]) -> Objects:
    count, kinds = len(rows), bytes([Kind.MODIFY]) * len(rows)
    columns = kinds, [1] * count, [one.key for one in rows], list(rows.values())
    return Objects(NAME, first, last, (Run(last, False, count),), *columns, (), Cut(last, bytes(16), 0))


async def opened() -> Auxiliary:
    """Its first work is executed without a snapshot, as a target that is at the same epoch."""
    auxiliary = Auxiliary()
    auxiliary.target.state = TargetState(EPOCH, 0, bytes(16), 0)
    return await auxiliary.begins()
