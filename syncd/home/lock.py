"""One daemon per home: an advisory lock that the system frees when its holder ends, however it ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from syncd.core.errors import HomeError
from syncd.home.paths import Home


@contextmanager
def lock(home: Home) -> Iterator[None]:
    """Holds the home's lock. The file stays: removing it would let two daemons lock two files of one name."""
    try:
        descriptor = os.open(home.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise HomeError(
            f"cannot open {home.lock}: {error.strerror}", "run this as the user who owns the home"
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise HomeError(
                f"another syncd daemon runs with this home (pid {_holder(descriptor)})",
                f"stop it, or give this one another --home than {home.path}",
            ) from error
        os.ftruncate(descriptor, 0)
        with contextlib.suppress(OSError):  # on a full disk the holder stays unnamed
            os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _holder(descriptor: int) -> str:
    text = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
    return text if text.isdigit() else "unknown"
