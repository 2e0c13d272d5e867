"""What the service manager hears."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncd.control.notify import Notifier


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        link.bind(str(tmp_path / "notify"))
        link.settimeout(30)
        yield link


def heard(manager: socket.socket) -> str:
    return manager.recv(4096).decode()


def test_the_manager_hears_each_step(manager: socket.socket) -> None:
    notify = Notifier({"NOTIFY_SOCKET": str(manager.getsockname())})
    notify.ready("2 collections")
    assert heard(manager) == "READY=1\nSTATUS=2 collections"
    notify.status("3 devices")
    assert heard(manager) == "STATUS=3 devices"
    notify.watchdog()
    assert heard(manager) == "WATCHDOG=1"
    notify.stopping()
    assert heard(manager) == "STOPPING=1"


def test_a_name_from_outside_cannot_add_an_assignment(manager: socket.socket) -> None:
    Notifier({"NOTIFY_SOCKET": str(manager.getsockname())}).status("laptop\nMAINPID=1\x00")
    assert heard(manager) == "STATUS=laptop MAINPID=1 "


def test_an_abstract_address_is_understood() -> None:
    name = f"syncd-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        link.bind("\0" + name)
        link.settimeout(30)
        Notifier({"NOTIFY_SOCKET": "@" + name}).watchdog()
        assert heard(link) == "WATCHDOG=1"


def test_without_a_manager_nothing_is_said(manager: socket.socket) -> None:
    notify = Notifier({"WATCHDOG_USEC": "2000000"})
    notify.ready()
    notify.stopping()
    assert notify.watchdog_s is None
    manager.setblocking(False)
    with pytest.raises(BlockingIOError):
        manager.recv(1)


def test_a_manager_that_is_gone_does_not_stop_the_daemon(tmp_path: Path) -> None:
    notify = Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone"), "WATCHDOG_USEC": "30000000"})
    notify.ready()
    assert notify.watchdog_s == 15.0


@pytest.mark.parametrize(
    ("environ", "every_s"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_fed_at_half_its_interval(environ: dict[str, str], every_s: float | None) -> None:
    assert Notifier({"NOTIFY_SOCKET": "/nowhere", **environ}).watchdog_s == every_s
