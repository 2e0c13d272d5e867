"""Watches directories for changes of a file and of its companions (write-ahead log, journal).

inotify itself: the thread that owns the database waits for the disk, or to be wanted, in one system call that costs
nothing until then. A directory is watched, not the file: companions come and go.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import threading
from pathlib import Path

_MODIFY, _ATTRIB, _MOVED, _CREATE, _DELETE = 0x2, 0x4, 0xC0, 0x100, 0x200
_MASK = _MODIFY | _ATTRIB | _MOVED | _CREATE | _DELETE
_READ_BYTES = 64 * 1024


def inotify(directories: tuple[Path, ...]) -> int:
    """A descriptor that can be read when something changes in them. Raises OSError."""
    library = ctypes.CDLL(None, use_errno=True)
    descriptor: int = library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "no inotify handle left")
    for directory in directories:
        if library.inotify_add_watch(descriptor, os.fsencode(directory), ctypes.c_uint32(_MASK)) < 0:
            os.close(descriptor)
            raise OSError(ctypes.get_errno(), f"{directory} cannot be watched")
    return descriptor


class Watch:
    """``wait`` blocks its thread. Without a notifier (no inotify handle left) ``works`` is false."""

    def __init__(self, *directories: Path) -> None:
        self._lock = threading.Lock()  # held while it is woken, so that it is not closed meanwhile
        self._woken = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._notify = -1
        self._deaf, self._all = select.poll(), select.poll()
        self._deaf.register(self._woken, select.POLLIN)
        self._all.register(self._woken, select.POLLIN)
        with contextlib.suppress(OSError, AttributeError):
            self._notify = inotify(directories)
            self._all.register(self._notify, select.POLLIN)

    @property
    def works(self) -> bool:
        """Whether changes are noticed."""
        return self._notify >= 0

    def wake(self) -> None:
        """Ends the wait, or the next one; from any thread, also after the end of the watch."""
        with self._lock:
            if self._woken >= 0:
                os.eventfd_write(self._woken, 1)

    def noticed(self) -> bool:
        """Whether something changed since this was last asked. What was to wake before counts no more."""
        changed = False
        for descriptor, _ in self._all.poll(0):
            if descriptor == self._woken:
                os.eventfd_read(descriptor)
            else:
                changed = bool(os.read(descriptor, _READ_BYTES))
        return changed

    def wait(self, timeout_s: float, deaf: bool = False) -> None:
        """Until something changes, unless it is to be deaf to that, at the latest for ``timeout_s``."""
        (self._deaf if deaf else self._all).poll(max(0.0, timeout_s) * 1000)

    def close(self) -> None:
        """Ends the watch."""
        with self._lock:
            for descriptor in (self._woken, self._notify):
                if descriptor >= 0:
                    os.close(descriptor)
            self._woken = self._notify = -1
