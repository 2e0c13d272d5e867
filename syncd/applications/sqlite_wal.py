"""How the write-ahead log of somebody else's database grows: we never checkpoint it (R16), we only make room.

SQLite checkpoints when the last connection closes. Where syncd alone uses the database, that is when ours are closed; a
program that keeps it open must see to it itself. The writer closes its connection after each write while the log is
over its bound and grows; the source once nothing happens, each time that the log has grown by as much again.
"""

from __future__ import annotations

import os
from pathlib import Path

from syncd.core.settings import Limits


class Growth:
    """Of the log beside the file itself, not beside a link to it, as of ``opened``."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self._path = path
        self._limits = limits
        self._left = 0  # bytes after room was last made
        self._log = ""

    def opened(self) -> None:
        """The path may lead elsewhere than before."""
        self._log = f"{os.path.realpath(self._path)}-wal"

    def due(self) -> bool:
        """Whether it has grown by as much again."""
        return self._grown() > self._limits.wal_bytes_max

    def goes_on(self) -> bool:
        """Whether it is over the bound and grows: nobody checkpoints."""
        return self._grown() > 0 and self._bytes() > self._limits.wal_bytes_max

    def made_room(self) -> None:
        """What is left of the log was not to be avoided."""
        self.opened()
        self._left = self._bytes()

    def _grown(self) -> int:
        size = self._bytes()
        self._left = min(self._left, size)
        return size - self._left

    def _bytes(self) -> int:
        try:
            return os.stat(self._log).st_size
        except OSError:
            return 0
