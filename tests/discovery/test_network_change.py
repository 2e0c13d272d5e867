"""On a real network of two machines, a primary is found again within seconds of whatever happens to it.

Two network namespaces joined by a veth pair, a process in each. The networks of more machines are tests of the whole
daemon.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.discovery.kit import some_id
from tests.wait import eventually_blocking

ROOT = Path(__file__).resolve().parents[2]
FOUND_S_MAX = 30.0


def ip(*arguments: str) -> None:
    subprocess.run(("ip", *arguments), check=True, capture_output=True, timeout=60)


class Machine:
    """A namespace with discovery in a process."""

    def __init__(self, space: str, *arguments: str) -> None:
        self.space = space
        command = ("ip", "netns", "exec", space, sys.executable, "-m", "tests.discovery.machine", *arguments)
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout
        os.set_blocking(self._process.stdout.fileno(), False)
        self._rest = b""
        self.last: dict[str, object] = {}

    def look(self) -> dict[str, object]:
        """What it printed last."""
        assert self._process.stdout
        self._rest += self._process.stdout.read() or b""
        *lines, self._rest = self._rest.split(b"\n")
        if lines:
            self.last = json.loads(lines[-1])
        return self.last

    def addresses(self, device: str) -> list[str]:
        found = self.look().get("found")
        return list(found.get(device[:8], [])) if isinstance(found, dict) else []

    def ip(self, *arguments: str) -> None:
        ip("-n", self.space, *arguments)

    def end(self) -> None:
        self._process.communicate(timeout=10)


@pytest.fixture
def spaces() -> Iterator[tuple[str, str]]:
    """Two namespaces with a cable between them."""
    names = tuple(f"syncd-disc-{os.getpid()}-{end}" for end in "ab")
    try:
        if not shutil.which("ip"):
            pytest.skip("network namespaces cannot be made: there is no `ip`")
        try:
            for name in names:
                ip("netns", "add", name)
            cable(names[0], names[1], "eth0", "10.99.0")
        except subprocess.CalledProcessError as error:
            pytest.skip(f"network namespaces cannot be made: {error.stderr.decode().strip()}")
        yield names[0], names[1]
    finally:
        for name in names:
            with contextlib.suppress(OSError, subprocess.SubprocessError):
                ip("netns", "del", name)


def cable(one: str, other: str, name: str, network: str) -> None:
    ip("link", "add", name, "netns", one, "type", "veth", "peer", "name", name, "netns", other)
    for last, space in enumerate((one, other), 1):
        ip("-n", space, "addr", "add", f"{network}.{last}/24", "dev", name)
        ip("-n", space, "link", "set", name, "up")


def within(condition: object, what: str) -> None:
    assert callable(condition)
    begun = time.monotonic()
    eventually_blocking(condition, FOUND_S_MAX, what)
    print(f"{what}: {time.monotonic() - begun:.2f} s")


@pytest.mark.slow
def test_a_primary_is_found_again_after_each_change_of_the_network(spaces: tuple[str, str]) -> None:
    device = some_id()
    primary = Machine(spaces[0], "--advertise", f"{device}:8765")
    auxiliary = Machine(spaces[1])
    try:
        within(lambda: "10.99.0.1:8765" in auxiliary.addresses(device), "found after its start")

        primary.ip("addr", "add", "10.99.0.7/24", "dev", "eth0")
        primary.ip("addr", "del", "10.99.0.1/24", "dev", "eth0")
        primary.ip("addr", "replace", "10.99.0.7/24", "dev", "eth0")
        within(lambda: auxiliary.addresses(device)[:1] == ["10.99.0.7:8765"], "found at another address")

        auxiliary.ip("link", "set", "eth0", "down")
        eventually_blocking(lambda: auxiliary.look()["problem"] and not auxiliary.addresses(device))
        auxiliary.ip("link", "set", "eth0", "up")
        within(lambda: "10.99.0.7:8765" in auxiliary.addresses(device), "found when the interface is up again")
        assert not auxiliary.look()["problem"]

        cable(*spaces, "eth1", "10.98.0")
        within(lambda: "10.98.0.1:8765" in auxiliary.addresses(device), "found on a second interface")

        primary.ip("link", "del", "eth0")
        within(lambda: auxiliary.addresses(device)[:1] == ["10.98.0.1:8765"], "found there without the first")
        eventually_blocking(lambda: "10.99.0.7:8765" not in auxiliary.addresses(device))

        primary.end()
        within(lambda: not auxiliary.addresses(device), "gone with its goodbye")
    finally:
        primary.end()
        auxiliary.end()
