"""Watches a directory for changes of a file and of its companions (write-ahead log, journal).

The one place that knows watchfiles: its notifier, used directly so that the thread that owns the database waits for
the disk itself and no second thread stands between. A directory is watched, not the file: companions come and go.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from watchfiles._rust_notify import RustNotify


class StopEvent(Protocol):
    """Looked at in each step; true ends the wait."""

    def is_set(self) -> bool: ...


class Watch:
    """``wait`` blocks its thread. Without a notifier (no inotify handle left) ``works`` is false."""

    def __init__(self, directory: Path) -> None:
        self._notify: RustNotify | None = None
        try:
            self._notify = RustNotify([str(directory)], False, False, 300, False, False)
        except (OSError, RuntimeError):
            self.close()

    @property
    def works(self) -> bool:
        """Whether changes are noticed."""
        return self._notify is not None

    def wait(self, timeout_s: float, step_s: float, stop: StopEvent) -> bool:
        """True when something changed before the deadline. ``step_s``: how often the notifier looks."""
        if self._notify is None:
            return False
        step_ms = max(1, int(step_s * 1000))
        try:
            found = self._notify.watch(step_ms, step_ms, max(1, int(timeout_s * 1000)), stop)
        except (OSError, RuntimeError):
            self.close()
            return True
        return isinstance(found, set)

    def close(self) -> None:
        """Ends the watch."""
        if self._notify is not None:
            self._notify.close()
            self._notify = None
