"""Waiting for a commit of the application.

Commits come in streams, so for a moment after each the data version is asked every half millisecond; then the
notifier of the directory takes over, first with short steps, later with long ones, so that an idle daemon costs close
to nothing. All of it runs in the database's thread and gives way when that thread is wanted.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from syncd.applications.sqlite_common import file_id
from syncd.applications.watch import Watch

_HOT_S = 0.05  # after a change
_HOT_POLL_S = 0.0005
_WARM_S = 5.0
_WARM_STEP_S = 0.002
_COLD_STEP_S = 0.01
_BLIND_POLL_S = 0.05  # no notifier
_PLACE_S = 1.0  # how often the path is looked at


class Waiter:
    """Owns the watch, and knows whether the path still leads to the file that is open."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = file_id(path)
        # SQLite keeps the companions of a file beside the file, not beside a link to it.
        self._watch = Watch(Path(os.path.realpath(path)).parent)
        self._version = -1
        self._pause_s = _PLACE_S
        self._changed_at = time.monotonic()
        self._looked_at = self._changed_at
        self._gone = False
        self._stopped = False

    def seen(self, version: int, now: float) -> None:
        """The data version up to which everything was read."""
        if version != self._version:
            self._version = version
            self._changed_at = now
            self._pause_s = _WARM_STEP_S

    def in_place(self, now: float) -> bool:
        """Whether the path leads to the open file; looked up once in a while."""
        if now - self._looked_at >= _PLACE_S:
            self._looked_at = now
            self._gone = self._gone or file_id(self._path) != self._file
        return not self._gone

    def wait(self, connection: sqlite3.Connection, timeout_s: float, wanted: Callable[[], bool]) -> None:
        """Blocks until a commit, until the file is not in place, until the thread is wanted, or for ``timeout_s``."""
        stop = _Stop(lambda: self._stopped or wanted())
        until = time.monotonic() + timeout_s
        while not stop.is_set():
            now = time.monotonic()
            if now >= until or self._version != _version(connection) or not self.in_place(now):
                return
            quiet = now - self._changed_at
            if quiet < _HOT_S:
                time.sleep(min(_HOT_POLL_S, until - now))
            elif self._watch.works:
                step = _WARM_STEP_S if quiet < _WARM_S else _COLD_STEP_S
                changed = self._watch.wait(min(until - now, self._pause_s), step, stop)
                # The notice of a commit comes before its sync to disk ends, and nothing comes after: look again soon.
                self._pause_s = step if changed else min(2 * self._pause_s, _PLACE_S)
                if changed:
                    self._looked_at = min(self._looked_at, now - _PLACE_S / 2)
            else:
                time.sleep(min(_BLIND_POLL_S, until - now))

    def stop(self) -> None:
        """Ends a wait that runs; from any thread."""
        self._stopped = True

    def close(self) -> None:
        """Ends the watch."""
        self._watch.close()


class _Stop:
    def __init__(self, asked: Callable[[], bool]) -> None:
        self._asked = asked

    def is_set(self) -> bool:
        return self._asked()


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA data_version").fetchone()[0]
    return version
