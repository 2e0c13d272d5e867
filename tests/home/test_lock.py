"""One daemon per home, and a lock that no death leaves behind."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from syncd.core.errors import HomeError
from syncd.home import lock as locking
from syncd.home.lock import DaemonHolds, is_held, lock
from syncd.home.paths import Home

HOLDER = """
import sys
from contextlib import ExitStack
from pathlib import Path
from syncd.home.lock import lock
from syncd.home.paths import Home
with lock(Home(Path(sys.argv[1])), daemon=True):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_daemon_is_refused_and_told_who_holds_the_home(home: Home) -> None:
    with lock(home, daemon=True), pytest.raises(DaemonHolds) as caught, lock(home):
        pass
    assert f"(pid {os.getpid()})" in caught.value.text
    assert str(home.path) in caught.value.advice


def test_the_home_is_free_when_its_daemon_has_ended(home: Home) -> None:
    for _ in range(2):
        with lock(home):
            pass


@pytest.mark.parametrize("daemon", [True, False])
def test_a_verb_that_holds_the_home_is_waited_for(home: Home, monkeypatch: pytest.MonkeyPatch, daemon: bool) -> None:
    verb = ExitStack()
    verb.enter_context(lock(home))
    monkeypatch.setattr("time.sleep", lambda _: verb.close())  # it ends while we wait
    with lock(home, daemon):
        assert is_held(home)
    assert not is_held(home)


def test_a_verb_that_holds_the_home_for_too_long_is_named(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locking, "VERB_S_MAX", 0.05)
    with (
        lock(home),
        pytest.raises(HomeError, match=rf"another verb is at work .* \(pid {os.getpid()}\)"),
        lock(home, True),
    ):
        pass


def test_nobody_is_named_after_the_holder_has_failed(home: Home) -> None:
    with pytest.raises(ValueError, match="why"), lock(home, daemon=True):
        raise ValueError("why")
    assert home.lock.read_bytes() == b""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root arranges the home of another user")
def test_a_lock_that_root_makes_belongs_to_the_owner_of_the_home(home: Home) -> None:
    os.chown(home.path, 65534, 65534)
    with lock(home):
        assert home.lock.stat().st_uid == 65534


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
    monkeypatch.setattr(locking, "VERB_S_MAX", 0.05)
    with lock(home), pytest.raises(HomeError, match="pid unknown"), lock(home):
        pass


def test_a_home_that_is_not_there_cannot_be_locked(tmp_path: Path) -> None:
    with pytest.raises(HomeError, match="cannot open"), lock(Home(tmp_path / "none")):
        pass
