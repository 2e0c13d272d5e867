"""Waiting for a commit of the application.

The notifier of the directory says that something was written. That is before the commit: a commit counts once what it
wrote is on the disk, and nothing tells of that, so for a moment after a notice the data version is asked again and
again, then less and less often. While nothing is written nothing is done. All of it runs in the database's thread and
gives way when that thread is wanted.

With a rollback journal each question takes a lock that a commit of the application fails at or waits for (R16): there
the notifier alone is listened to, and the data version is asked when the application rests.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from syncd.applications.sqlite_common import Database, data_version
from syncd.applications.watch import Watch

_POLL_S = 0.0005  # after a notice, at first
_LISTEN_S = 0.004  # from this pause on notices are listened to
_LONGER, _LONGER_LISTENING = 1.3, 2.0  # each pause is so many times the one before
_BLIND_POLL_S = 0.05  # no notifier
_PLACE_S = 1.0  # how often the path is looked at
_HUSHED_S = 0.02  # while we write through another connection
_REST_S = 0.01  # without a change of any file: the application rests
_WORKS_S_MAX = 0.5  # then the data version is asked although the application works on


class Waiter:
    """Owns the watch, and looks once in a while whether the path still leads to the file that is open."""

    def __init__(self, database: Database) -> None:
        self._database = database
        path = database.path
        real = Path(os.path.realpath(path))  # SQLite keeps the companions of a file beside the file, not beside a link
        self._journal = real.with_name(f"{real.name}-journal")
        self._watch = Watch(*dict.fromkeys((real.parent, path.absolute().parent)))
        database.wanted = self._watch.wake
        self._version = -1
        self._pause_s = _PLACE_S
        self._changed_at = time.monotonic()
        self._looked_at = self._changed_at
        self._gone = False
        self._stopped = False
        self._hushed = False
        self.rollback = False  # the database has a rollback journal, as of the last time that this was asked
        self._asked_at = -_PLACE_S

    def idle(self, now: float) -> float:
        """Seconds since the last change that was read."""
        return now - self._changed_at

    def seen(self, version: int, now: float) -> None:
        """The data version up to which everything was read."""
        if version != self._version:
            self._version = version
            self._changed_at = now
            self._pause_s = _LISTEN_S

    def wrote(self) -> None:
        """This thread just wrote: what was noticed until now is its own, or is found by the data version."""
        if self._watch.noticed():
            self._pause_s = min(self._pause_s, _LISTEN_S)

    def in_place(self, connection: sqlite3.Connection, now: float) -> bool:
        """Whether the path leads to the open file; looked up once in a while, or each time while it does not."""
        if self._gone or now - self._looked_at >= _PLACE_S:
            self._looked_at = now
            self._gone = not self._database.in_place(connection)
        return not self._gone

    def wait(self, connection: sqlite3.Connection, timeout_s: float, wanted: Callable[[], bool]) -> bool:
        """Blocks until a commit, until the file is not in place, until the thread is wanted, or for ``timeout_s``.
        Whether it gave way: then nothing is known."""
        begin = time.monotonic()
        until = begin + timeout_s
        if begin - self._asked_at >= _PLACE_S:
            self._asked_at = begin
            self.rollback = connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal"
        since, works = 0.0, False  # when the application began to work, and whether it still does
        while True:
            noticed = self._watch.noticed()
            now = time.monotonic()
            if self._stopped or (now < until and wanted()):  # who gave way often enough must end as well
                self._pause_s = _POLL_S if noticed else self._pause_s
                return True
            since = (since or now) if self.rollback and (noticed or works) else 0.0
            works = since > 0 and now - since < _WORKS_S_MAX and (noticed or self._journal.exists())
            if (
                now >= until
                or not self.in_place(connection, now)
                or (not works and self._version != data_version(connection))
            ):
                return False
            if self._hushed:
                self._watch.wait(min(_HUSHED_S, until - now), deaf=True)
            elif not self._watch.works:
                self._watch.wait(min(_BLIND_POLL_S, until - now))
            elif self.rollback:
                self._watch.wait(_REST_S if works else min(until - now, _PLACE_S))
            else:
                self._listen(noticed, until - now)

    def _listen(self, noticed: bool, most_s: float) -> None:
        if noticed and self._pause_s >= _LISTEN_S:
            self._pause_s = _POLL_S
            self._looked_at = min(self._looked_at, time.monotonic() - _PLACE_S / 2)
        self._watch.wait(min(self._pause_s, most_s), deaf=self._pause_s < _LISTEN_S)
        longer = _LONGER if self._pause_s < _LISTEN_S else _LONGER_LISTENING
        self._pause_s = min(longer * self._pause_s, _PLACE_S)

    def hush(self, hushed: bool) -> None:
        """While we write through another connection nobody else commits: what is noticed is that, and the end of it is
        told here. From any thread."""
        self._hushed = hushed
        if not hushed:
            self._watch.wake()

    def stop(self) -> None:
        """Ends a wait that runs; from any thread."""
        self._stopped = True
        self._watch.wake()

    def close(self) -> None:
        """Ends the watch."""
        self._watch.close()
