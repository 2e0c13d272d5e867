"""Checksum and number of objects, counted again from what the tables hold (R14).

What is kept is what the primary sent: what the application changed since stands above it, and is counted out.
"""

from __future__ import annotations

import sqlite3
import time
from dataclasses import replace
from typing import NamedTuple

from syncd.applications.sqlite_common import data_version, transaction
from syncd.applications.sqlite_count import Pace, count
from syncd.applications.sqlite_count_beside import Counted
from syncd.applications.sqlite_local import Local
from syncd.applications.sqlite_position import NOTHING, Position
from syncd.applications.sqlite_tables import Tables
from syncd.core import digest
from syncd.core.edits import Overlay
from syncd.core.ports import TargetState


class Due(NamedTuple):
    """``version``: of the data that is to be counted. ``beside``: nobody waits for one who reads."""

    version: int
    beside: bool


_NEVER = -1  # no data version


class Recount:
    """On one connection. ``counted``: data_version of the last count: nobody else had written after it. None: what was
    executed since is to be counted."""

    def __init__(self, connection: sqlite3.Connection, position: Position, local: Local) -> None:
        self.counted: int | None = None
        self._asked: int | None = None  # ``counted`` when a count became due
        self._connection = connection
        self._position = position
        self._local = local

    def recount(self, overlay: Overlay | None) -> TargetState:
        """Counts without the application's lock, which is taken only to keep what is not as it was kept (R16)."""
        with transaction(self._connection, "DEFERRED"):
            before = self._position.state()
            if before is None:
                return NOTHING
            version = data_version(self._connection)
            above, more = self._local.above(overlay)
            tables = Tables(self._connection, self._position.types(), create=False)
            change, objects = count(self._connection, tables, edited=overlay is not None)
        state = replace(before, digest=digest.of((change + above,)), objects=objects + more)
        if state != before:
            with transaction(self._connection, "IMMEDIATE"):
                held = self._position.state()
                if held != before:  # it was restored or reset meanwhile
                    return held or NOTHING
                self._position.keep(state)
        self.counted = version
        return state

    def due(self, pace: Pace, counted: Counted | None) -> Due | None:
        """Whether somebody else wrote since the last count and the next is due. ``counted``: beside, just then."""
        now, version = time.monotonic(), data_version(self._connection)
        if counted is not None:
            pace.counted(now, counted.took_s)
            if not counted.differs and self.counted == self._asked:  # else it says nothing of what was executed since
                self.counted = counted.version
        if version == self.counted:
            pace.quiet(now)
            return None
        before = self._position.state()
        if before is None or not before.epoch or not pace.due(now):
            return None
        self.counted = self._asked = _NEVER if self.counted is None else self.counted
        (journal,) = self._connection.execute("PRAGMA journal_mode").fetchone()
        return Due(version, journal == "wal")

    def look(self, pace: Pace, overlay: Overlay | None) -> TargetState | None:
        """What the tables hold, if that is something else than is kept."""
        began, before = time.monotonic(), self._position.state()
        state = self.recount(overlay)
        pace.counted(ended := time.monotonic(), ended - began)
        return None if state == before else state
