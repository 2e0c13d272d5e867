"""One daemon per home, and one verb at a time that writes: an advisory lock that the system frees when its holder
ends, however it ends.

The file says who holds it, for those who find it held: a verb is done soon and is waited for, a daemon is not.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from syncd.core.errors import HomeError
from syncd.home.paths import Home

VERB_S_MAX = 10.0  # waiting for a verb that holds the lock
POLL_S = 0.02
_DAEMON, _VERB = "daemon", "verb"


class DaemonHolds(HomeError):
    """A daemon holds the home: it runs, starts or stops."""


@contextmanager
def lock(home: Home, daemon: bool = False) -> Iterator[None]:
    """Holds the home's lock, for a verb or for a ``daemon``. Raises DaemonHolds at once where a daemon holds it,
    HomeError where a verb holds it for too long. The file stays: removing it would let two daemons lock two files of
    one name."""
    descriptor = _open(home)
    try:
        _take(home, descriptor)
        with contextlib.suppress(OSError):  # a full disk: then it is not said who holds it
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()} {_DAEMON if daemon else _VERB}\n".encode(), 0)
        try:
            yield
        finally:
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def is_held(home: Home) -> bool:
    """Whether a daemon or a verb holds the lock at this moment. False also where that cannot be told."""
    try:
        descriptor = os.open(home.lock, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _open(home: Home) -> int:
    try:
        descriptor = os.open(home.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        # Root may arrange the home of a service that runs as another user; another name of the file is none of ours.
        if os.geteuid() == 0 and os.fstat(descriptor).st_nlink == 1:
            owner = home.path.stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
    except OSError as error:
        raise HomeError(
            f"cannot open {home.lock}: {error.strerror}", "run this as the user who owns the home"
        ) from error
    return descriptor


def _take(home: Home, descriptor: int) -> None:
    deadline = time.monotonic() + VERB_S_MAX
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            pid, who = _holder(descriptor)
            if who == _DAEMON:
                raise DaemonHolds(
                    f"another syncd daemon runs with this home (pid {pid})",
                    f"stop it, or give this one another --home than {home.path}",
                ) from error
            if time.monotonic() >= deadline:
                what = "another verb" if who else "another daemon or verb"  # on a full disk it stays unnamed
                raise HomeError(
                    f"{what} is at work in the home {home.path} (pid {pid})", "run this again when it has ended"
                ) from error
        else:
            return
        time.sleep(POLL_S)


def _holder(descriptor: int) -> tuple[str, str]:
    """The process id of the holder and what it is; it may not have said so yet."""
    pid, _, who = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip().partition(" ")
    return (pid, who) if pid.isdigit() else ("unknown", "")
