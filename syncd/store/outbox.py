"""The outbox in SQLite: groups of edits on an auxiliary, from the application's log until they are settled.

Owns ``outbox.db``. Each method is one transaction; what it did survives a power cut (R6). Keeps R10: it has a file, and
so a lock and a thread, of its own.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from syncd.core.edits import Edit, LocalBatch, OutboxState, Overlay, Plan, RefusedGroup
from syncd.core.messages import Upload, Verdict
from syncd.core.model import DataType, ObjectId
from syncd.core.ports import TargetState, Work
from syncd.core.settings import Limits
from syncd.store import outbox_carry as carry
from syncd.store import outbox_plan as plans
from syncd.store import outbox_planned as planned
from syncd.store import outbox_rows as rows
from syncd.store import outbox_send as send
from syncd.store.database import Database, give_back
from syncd.store.edit_groups import Packer
from syncd.store.outbox_echo import Standing, standing
from syncd.store.outbox_keep import Keeper
from syncd.store.outbox_rows import Box
from syncd.store.schema_files import Schema
from syncd.store.type_rows import type_of, type_row

SCHEMA = Schema("outbox", 0x53594E04)

Act = Callable[[sqlite3.Connection, Box], None]


class SqliteOutbox:
    """See ``core.upward_ports``."""

    def __init__(self, database: Database, limits: Limits) -> None:
        self._database = database
        self._limits = limits
        self._states: dict[str, OutboxState] = {}  # as they were after the last commit
        self._standing: dict[str, Standing | None] = {}  # the same
        self._bare: dict[str, Plan] = {}  # of collections of which nothing stands: what any work but a snapshot gets
        self._changes = 0  # begun so far

    @classmethod
    async def open(cls, path: Path, limits: Limits | None = None) -> SqliteOutbox:
        """Creates the file if it is missing."""
        return cls(await Database.open(path, SCHEMA), limits or Limits())

    async def close(self) -> None:
        await self._database.close()

    async def load(self, collection: str) -> OutboxState:
        if (known := self._states.get(collection)) is not None:
            return known

        def write(connection: sqlite3.Connection) -> OutboxState:
            return rows.state_of(connection, rows.box_of(connection, collection))

        return await self._database.write(write)

    async def _do(self, collection: str, act: Act, lazily: bool = False) -> OutboxState:
        """One commit: the act, what need not be kept after it, and how it stands then."""

        def write(connection: sqlite3.Connection) -> tuple[OutboxState, Standing | None]:
            box = rows.box_of(connection, collection)
            act(connection, box)
            rows.let_go(connection, box)
            rows.save(connection, box)
            return rows.state_of(connection, box), standing(connection, box)

        self._begin_change(collection)
        state, self._standing[collection] = await self._database.write(write, lazily)
        self._states[collection] = state
        return state

    def _begin_change(self, collection: str) -> None:
        """What was known of the collection is void, and what is being asked is not kept."""
        self._changes += 1
        self._states.pop(collection, None)
        self._standing.pop(collection, None)
        self._bare.pop(collection, None)

    async def types(self, collection: str, types: Sequence[DataType]) -> None:
        def write(connection: sqlite3.Connection) -> None:
            box = rows.box_of(connection, collection)
            connection.executemany(
                "INSERT OR REPLACE INTO types (box, id, name, key_names, field_names) VALUES (?, ?, ?, ?, ?)",
                [(box.id, *type_row(type_)[:4]) for type_ in types],
            )

        await self._database.write(write)

    async def known_types(self, collection: str) -> Sequence[DataType]:
        def look(connection: sqlite3.Connection) -> Sequence[DataType]:
            found = connection.execute(
                "SELECT types.id, name, key_names, field_names, '[]', '[]' FROM types"
                " JOIN outboxes ON outboxes.id = box WHERE collection = ? ORDER BY types.id",
                (collection,),
            )
            return [type_of(row) for row in found]

        return await self._database.read(look)

    async def keep(self, collection: str, batch: LocalBatch) -> OutboxState:
        return await self._do(collection, lambda connection, box: self._keep(connection, box, batch))

    def _keep(self, connection: sqlite3.Connection, box: Box, batch: LocalBatch) -> None:
        Keeper(connection, box, batch, self._limits).keep()
        rows.hide_old(connection, box, self._oldest_us(batch.time_us))

    async def keep_and_take(
        self, collection: str, batch: LocalBatch, after: int, bytes_max: int
    ) -> tuple[OutboxState, tuple[Upload, ...]]:
        taken: tuple[Upload, ...] = ()

        def act(connection: sqlite3.Connection, box: Box) -> None:
            nonlocal taken
            self._keep(connection, box, batch)
            taken = send.take(connection, box, self._packer(collection, box), after, bytes_max)

        return await self._do(collection, act), taken

    def _packer(self, collection: str, box: Box) -> Packer:
        return Packer(collection, box.outbox, self._limits)

    def _oldest_us(self, now_us: int) -> int:
        return now_us - int(self._limits.refused_s_max * 1_000_000)

    async def take(self, collection: str, after: int, bytes_max: int) -> tuple[Upload, ...]:
        def write(connection: sqlite3.Connection) -> tuple[Upload, ...]:
            box = rows.box_of(connection, collection)
            high = box.high
            frames = send.take(connection, box, self._packer(collection, box), after, bytes_max)
            if box.high != high:
                rows.save(connection, box)
                self._states.pop(collection, None)
            return frames

        return await self._database.write(write)

    async def settle(self, collection: str, verdicts: Sequence[Verdict], position: int, now_us: int) -> OutboxState:
        def act(connection: sqlite3.Connection, box: Box) -> None:
            send.settle(connection, box, verdicts, position, now_us)
            rows.hide_old(connection, box, self._oldest_us(now_us))
            give_back(connection)

        return await self._do(collection, act)

    async def renumber(self, collection: str, after: int) -> OutboxState:
        return await self._do(collection, lambda connection, box: send.renumber(connection, box, after))

    async def plan(self, collection: str, work: Work | None) -> Plan:
        snapshot, changes = work is not None and work.snapshot, self._changes
        if not snapshot and (known := self._bare.get(collection)) is not None:
            return known
        if (stands := self._standing.get(collection)) and self._database.synced and (echo := stands.plan(work)):
            return echo
        stands = self._standing.pop(collection, None)

        def write(connection: sqlite3.Connection) -> tuple[Plan, bool]:
            box = rows.find_box(connection, collection)
            if box is None:
                return Plan(0, 0), False
            if not plans.some_stand(connection, box, snapshot):
                return Plan(0, box.mark), False
            plan = plans.Planner(connection, box).prepare(work)
            if not plan.id:
                return plan, True
            rows.save(connection, box)
            path, leaves, restores = self._database.path, *plans.leaves_and_restores(connection, box)
            leave = planned.Leave(path, box.id, plan.id) if leaves else None
            restore = planned.Restore(path, box.id, plan.id) if restores else None
            return replace(plan, leave=leave, restore=restore), True

        plan, some_stand = await self._database.write(write)
        if changes == self._changes and not plan.id:
            self._standing[collection] = stands
        if not some_stand and changes == self._changes:
            self._bare[collection] = plan
        return plan

    async def carried_out(self, collection: str, state: TargetState) -> OutboxState:
        # The target says it again when it is opened: it may reach the disk with what is kept next.
        return await self._do(collection, lambda connection, box: carry.carried_out(connection, box, state), True)

    async def touches(self, collection: str, work: Work) -> bool:
        def look(connection: sqlite3.Connection) -> bool:
            box = rows.find_box(connection, collection)
            return box is not None and plans.some_stand(connection, box, False) and plans.touches(connection, box, work)

        return await self._database.read(look)

    async def overlay(self, collection: str) -> Overlay:
        def look(connection: sqlite3.Connection) -> Overlay:
            box = rows.find_box(connection, collection)
            return box.overlay() if box else Overlay(0)

        return await self._database.read(look)

    async def refused(self, collection: str) -> Sequence[RefusedGroup]:
        def look(connection: sqlite3.Connection) -> Sequence[RefusedGroup]:
            found = connection.execute(
                "SELECT g.number, g.time_us, g.cause, g.guilty_type, g.guilty_key, g.conflict,"
                " (SELECT count(*) FROM edits WHERE grp = g.id)"
                " FROM groups g JOIN outboxes b ON b.id = g.box"
                " WHERE b.collection = ? AND g.ruling = 'refused' AND g.hidden = 0 ORDER BY g.id DESC",
                (collection,),
            )
            return [_refused(*row) for row in found]

        return await self._database.read(look)

    async def edits(self, collection: str, number: int) -> Sequence[Edit]:
        def look(connection: sqlite3.Connection) -> Sequence[Edit]:
            found = connection.execute(
                "SELECT e.type_id, o.key, e.base, e.fields, e.fault FROM outboxes b JOIN groups g ON g.box = b.id"
                " JOIN edits e ON e.grp = g.id JOIN objects o ON o.id = e.object"
                " WHERE b.collection = ? AND g.number = ? AND g.ruling = 'refused' AND g.hidden = 0 ORDER BY e.id",
                (collection, number),
            )
            return [Edit(*row) for row in found]

        return await self._database.read(look)

    async def forget(self, collection: str, number: int) -> None:
        def act(connection: sqlite3.Connection, box: Box) -> None:
            hide = "UPDATE groups SET hidden = 1 WHERE box = ? AND number = ? AND ruling = 'refused'"
            connection.execute(hide, (box.id, number))

        await self._do(collection, act)

    async def clear(self, collection: str) -> None:
        def write(connection: sqlite3.Connection) -> None:
            if (box := rows.find_box(connection, collection)) is None:
                return
            plans.forget_plan(connection, box)
            rows.drop(connection, "SELECT id FROM groups WHERE box = ?", (box.id,))
            connection.execute("DELETE FROM types WHERE box = ?", (box.id,))
            connection.execute("DELETE FROM outboxes WHERE id = ?", (box.id,))
            give_back(connection)

        self._begin_change(collection)
        await self._database.write(write)


def _refused(number: int, time_us: int, cause: str, *rest: object) -> RefusedGroup:
    type_, key, conflict, objects = rest
    guilty = None if type_ is None else ObjectId(str(type_), key)  # type: ignore[arg-type]
    return RefusedGroup(number, time_us, cause, guilty, conflict, objects)  # type: ignore[arg-type]
