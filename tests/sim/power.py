"""The disks of an auxiliary whose power can be cut: what was written and never synced may be gone.

What is written lazily is there again in order: up to any commit after the last one that was durable. Everything else is
durable when it was done, and all that was done before with it, as in one write-ahead log.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Mapping, Sequence
from typing import Any

from syncd.applications.memory_local import Copy
from syncd.applications.memory_target import MemoryTarget
from syncd.core.edits import LocalBatch, LocalChanges, OutboxState, Overlay, Plan
from syncd.core.messages import Upload, Verdict
from syncd.core.model import DataType, ObjectId
from syncd.core.ports import Executed, TargetState, Tried, Unexecuted, Work
from syncd.store.memory_edits import Box
from syncd.store.memory_outbox import MemoryOutbox

KEPT_MAX = 20  # states that a disk may fall back to: of more, one after the first is forgotten


class PoweredTarget(MemoryTarget):
    """What the user commits is durable at once. ``durable``: what survives in any case."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._states: list[tuple[Copy, TargetState, bool]] = []
        self.last_for_ever()

    @property
    def durable(self) -> TargetState:
        return self._states[0][1]

    def last_for_ever(self) -> None:
        """Everything that was done is durable."""
        self._states = [self._now()]

    def _now(self) -> tuple[Copy, TargetState, bool]:
        return self.copy(), self.state, self._lost

    def cut_power(self, rng: random.Random) -> bool:
        """Whether anything of what was written is gone."""
        newest, at = len(self._states) - 1, rng.randrange(len(self._states))
        if at == newest:
            self.last_for_ever()
            return False
        data, self.state, lost = self._states[at]
        self.put_back(data)
        self._lost = lost
        self.last_for_ever()
        return True

    def put_back(self, copy: Copy) -> None:
        super().put_back(copy)
        self.last_for_ever()

    def _lazily(self) -> None:
        self._states.append(self._now())
        if len(self._states) > KEPT_MAX:
            del self._states[1]

    # ------------------------------------------------------------ what is lazy, or not

    async def execute(self, work: Work) -> Executed | Unexecuted:
        rows = self.rows
        result = await super().execute(work)
        if isinstance(result, Executed) and self.rows is not rows:  # else it wrote nothing
            (self.last_for_ever if result.durable else self._lazily)()
        return result

    async def sync(self) -> None:
        await super().sync()
        self.last_for_ever()

    async def open(self) -> TargetState:
        state = await super().open()
        self.last_for_ever()
        return state

    async def discard(self, mark: int) -> None:
        await super().discard(mark)
        self._lazily()

    # ------------------------------------------------------------ what is durable at once

    def commit(self, changes: Mapping[ObjectId, bytes | None]) -> None:
        super().commit(changes)
        self.last_for_ever()

    def lose_log(self) -> None:
        super().lose_log()
        self.last_for_ever()

    async def retry(self, works: Sequence[Work]) -> Tried:
        rows, tried = self.rows, await super().retry(works)
        if self.rows is not rows:
            self.last_for_ever()
        return tried

    async def restore(self, plan: Plan) -> TargetState:
        state = await super().restore(plan)
        self.last_for_ever()
        return state

    async def recount(self, overlay: Overlay | None = None) -> TargetState:
        before, state = self.state, await super().recount(overlay)
        if state != before:
            self.last_for_ever()
        return state

    async def changes(self, mark: int, limit: int, wait_s: float | None = None) -> LocalChanges:
        changes = await super().changes(mark, limit, wait_s)
        if changes.lost:  # its log begins anew
            self.last_for_ever()
        return changes

    async def offer(
        self, after: tuple[object, ...] | None, limit: int
    ) -> tuple[LocalChanges, tuple[object, ...] | None]:
        page = await super().offer(after, limit)
        self.last_for_ever()
        return page


class PoweredOutbox(MemoryOutbox):
    """What was carried out is durable with what is written next (``SqliteOutbox.carried_out``)."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._states: list[dict[str, Box]] = []  # as it was before each lazy commit since the last durable one

    def cut_power(self, rng: random.Random) -> bool:
        """Whether anything of what was written is gone."""
        at = rng.randint(0, len(self._states))
        if at == len(self._states):
            self._states.clear()
            return False
        self._boxes = self._states[at]
        self._states.clear()
        return True

    async def carried_out(self, collection: str, state: TargetState) -> OutboxState:
        self._states = [*self._states[-KEPT_MAX:], copy.deepcopy(self._boxes)]
        return await super().carried_out(collection, state)

    async def types(self, collection: str, types: Sequence[DataType]) -> None:
        self._states.clear()
        await super().types(collection, types)

    async def keep(self, collection: str, batch: LocalBatch) -> OutboxState:
        self._states.clear()
        return await super().keep(collection, batch)

    async def take(self, collection: str, after: int, bytes_max: int) -> tuple[Upload, ...]:
        taken = await super().take(collection, after, bytes_max)
        if taken:  # else nothing is written
            self._states.clear()
        return taken

    async def settle(self, collection: str, verdicts: Sequence[Verdict], position: int, now_us: int) -> OutboxState:
        if verdicts or position != self._of(collection).position:
            self._states.clear()
        return await super().settle(collection, verdicts, position, now_us)

    async def renumber(self, collection: str, after: int) -> OutboxState:
        self._states.clear()
        return await super().renumber(collection, after)

    async def plan(self, collection: str, work: Work | None) -> Plan:
        plan = await super().plan(collection, work)
        if plan.id:
            self._states.clear()
        return plan

    async def forget(self, collection: str, number: int) -> None:
        self._states.clear()
        await super().forget(collection, number)

    async def clear(self, collection: str) -> None:
        self._states.clear()
        await super().clear(collection)
