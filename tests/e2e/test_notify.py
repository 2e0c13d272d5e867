"""What systemd hears of a daemon (sd_notify): ready when it answers, signs of life at its pace, stopping."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from syncd.home.paths import Home
from tests.e2e.harness import START_S_MAX, STOP_S_MAX, Machine

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

WATCHDOG_S = 0.4
SIGNS = 12


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """The service manager's end."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        link.bind(str(tmp_path / "notify"))
        link.settimeout(START_S_MAX)
        yield link


def heard(manager: socket.socket) -> dict[str, str]:
    """The assignments of the next datagram."""
    return dict(line.split("=", 1) for line in manager.recv(4096).decode().split("\n"))


def service(tmp_path: Path, manager: socket.socket, role: str) -> Machine:
    """A machine whose daemon has the environment that systemd gives it."""
    machine = Machine(tmp_path / role)
    machine.environment = {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": str(int(WATCHDOG_S * 1e6))}
    machine.init(role)
    return machine


@pytest.mark.parametrize("role", ["primary", "auxiliary"])
def test_ready_is_said_when_the_daemon_answers_and_stopping_when_it_is_asked_to_stop(
    tmp_path: Path, manager: socket.socket, role: str
) -> None:
    with service(tmp_path, manager, role) as machine:
        machine.start(wait=False)
        assert heard(manager) == {"READY": "1", "STATUS": f"{role} {role}"}
        assert machine.status()["device"], "it answers at once"
        assert heard(manager) == {"WATCHDOG": "1"}
        machine.end(signal.SIGTERM, STOP_S_MAX)
        last = heard(manager)
        while last == {"WATCHDOG": "1"}:
            last = heard(manager)
        assert last == {"STOPPING": "1"}
        assert machine.process is not None
        assert machine.process.returncode == 0


def test_a_daemon_that_cannot_answer_on_its_socket_never_says_ready(tmp_path: Path, manager: socket.socket) -> None:
    with service(tmp_path, manager, "primary") as machine:
        Home(machine.home).socket.write_text("in its place")
        machine.start(wait=False)
        assert machine.process is not None
        assert machine.process.wait(START_S_MAX) == 1
        manager.setblocking(False)
        with pytest.raises(BlockingIOError):
            heard(manager)


@pytest.mark.alone
def test_signs_of_life_come_twice_as_often_as_the_manager_asks_for_them(tmp_path: Path, manager: socket.socket) -> None:
    with service(tmp_path, manager, "primary") as machine:
        machine.start(wait=False)
        assert heard(manager)["READY"] == "1"
        at: list[float] = []
        for _ in range(SIGNS):
            assert heard(manager) == {"WATCHDOG": "1"}
            at.append(time.monotonic())
        pauses = sorted(later - earlier for earlier, later in pairwise(at))
        assert pauses[len(pauses) // 2] == pytest.approx(WATCHDOG_S / 2, rel=0.5)
