"""What a plan is asked when it is carried out, read by a connection of its own in the thread that asks (R7)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from syncd.core.edits import Restored
from syncd.core.errors import InvariantBroken
from syncd.core.model import ObjectId
from syncd.store.database import mapped
from syncd.store.inbound_frames import reader
from syncd.store.outbox_plan import BACK
from syncd.store.outbox_rows import lookup


@dataclass(frozen=True, slots=True)
class Leave:
    """Says which objects stay as they are (``core.edits.Plan``). Asked for a frame at a time."""

    path: Path
    box: int
    plan: int

    def __call__(self, objects: Iterable[ObjectId]) -> frozenset[ObjectId]:
        query = (
            "SELECT o.key FROM objects o JOIN plan_rows r ON r.object = o.id AND r.leave"
            " WHERE o.box = ? AND o.type = ? AND o.key IN ({})"
        )
        with _reading(self.path, self.box, self.plan) as own:
            return frozenset(
                ObjectId(type_, key)
                for type_, rows in lookup(own, query, self.box, _by_type(objects))
                for (key,) in rows
            )


@dataclass(frozen=True, slots=True)
class Restore:
    """Gives what is put back (``core.edits.Plan``), of one state, a row at a time."""

    path: Path
    box: int
    plan: int

    def __call__(self) -> Iterator[Restored]:
        query = (
            "SELECT o.type_id, o.key, o.base FROM plan_rows r JOIN objects o ON o.id = r.object"
            " WHERE r.box = ? AND r.kind = ? ORDER BY o.type, o.key"
        )
        with _reading(self.path, self.box, self.plan) as own:
            for row in own.execute(query, (self.box, BACK)):
                yield Restored(*row)


def _by_type(objects: Iterable[ObjectId]) -> dict[str, list[bytes]]:
    keys: dict[str, list[bytes]] = {}
    for type_, key in objects:
        keys.setdefault(type_, []).append(key)
    return keys


@contextmanager
def _reading(path: Path, box: int, plan: int) -> Iterator[sqlite3.Connection]:
    """A transaction of a connection of its own. A plan that was replaced would say that nothing stays."""
    try:
        with closing(reader(path)) as own:
            own.execute("BEGIN")
            if own.execute("SELECT 1 FROM plans WHERE box = ? AND id = ?", (box, plan)).fetchone() is None:
                raise InvariantBroken(f"plan {plan} of the outbox was replaced or carried out")
            yield own
    except sqlite3.Error as error:
        raise mapped(error, path) from error
