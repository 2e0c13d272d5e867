"""One daemon per home, and a lock that no death leaves behind."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from syncd.core.errors import HomeError
from syncd.home.lock import lock
from syncd.home.paths import Home

HOLDER = """
import sys
from pathlib import Path
from syncd.home.lock import lock
from syncd.home.paths import Home
with lock(Home(Path(sys.argv[1]))):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_daemon_is_refused_and_told_who_holds_the_home(home: Home) -> None:
    with lock(home), pytest.raises(HomeError) as caught, lock(home):
        pass
    assert f"(pid {os.getpid()})" in caught.value.text
    assert str(home.path) in caught.value.advice


def test_the_home_is_free_when_its_daemon_has_ended(home: Home) -> None:
    for _ in range(2):
        with lock(home):
            pass


def test_two_homes_do_not_meet(home: Home, tmp_path: Path) -> None:
    other = Home(tmp_path / "other")
    other.create()
    with lock(home), lock(other):
        pass


def test_a_daemon_that_was_killed_leaves_no_lock(home: Home) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(home.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(HomeError, match=rf"\(pid {holder.pid}\)"), lock(home):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait(10)
        with lock(home):
            pass


def test_a_full_disk_does_not_keep_a_home_from_being_locked(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    with lock(home), pytest.raises(HomeError, match="pid unknown"), lock(home):
        pass


def test_a_home_that_is_not_there_cannot_be_locked(tmp_path: Path) -> None:
    with pytest.raises(HomeError, match="cannot open"), lock(Home(tmp_path / "none")):
        pass
