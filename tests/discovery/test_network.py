"""Changes of the network are noticed, joined, and damped where they do not end."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from syncd.core.settings import Limits
from syncd.discovery import network as module
from syncd.discovery.interfaces import Interface
from syncd.discovery.network import Network
from tests.discovery.test_interfaces import interface
from tests.wait import eventually

pytestmark = pytest.mark.slow  # the network has its own pace

LIMITS = Limits(network_settle_s=0.05, network_poll_s=0.5)
ETH, OTHER = interface("eth0", "10.0.0.1/24"), interface("eth0", "10.0.0.2/24")


def link_message(index: int, flags: int, kind: int = 16) -> bytes:
    body = struct.pack("=BBHiII", 0, 0, 1, index, flags, 0)
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


class Machine:
    """A machine whose interfaces, kernel and sleep the test decides."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.up: tuple[Interface, ...] = (ETH,)
        self.fails: OSError | None = None
        self.asleep_s = 0.0
        self.reads = 0
        self.told: list[bool] = []
        self.kernel, self._netlink = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._netlink.setblocking(False)
        monkeypatch.setattr(module, "read", self._read)
        monkeypatch.setattr(module, "_open_netlink", lambda: self._netlink)
        monkeypatch.setattr(module, "_TICK_S", 0.02)
        self.network = Network((), ("docker*",), self.told.append, LIMITS)
        self.network.slept_s = lambda: self.asleep_s
        self.network.start()

    def _read(self) -> tuple[Interface, ...]:
        self.reads += 1
        if self.fails:
            raise self.fails
        return self.up

    async def looked(self) -> None:
        before = self.reads
        await eventually(lambda: self.reads > before)


@pytest_asyncio.fixture
async def machine(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Machine]:
    machine = Machine(monkeypatch)
    yield machine
    machine.network.stop()
    machine.kernel.close()


@pytest.mark.asyncio
async def test_a_change_that_the_kernel_tells_of_is_seen_once(machine: Machine) -> None:
    machine.up = (OTHER,)
    for _ in range(20):
        machine.kernel.send(link_message(7, 0x43))
    await eventually(lambda: machine.told)
    assert machine.network.chosen == (OTHER,)
    await machine.looked()
    assert machine.told == [True]


@pytest.mark.asyncio
async def test_a_change_that_nobody_told_of_is_seen_in_time(machine: Machine) -> None:
    machine.up = (ETH, interface("eth1", "10.1.0.1/24"))
    await eventually(lambda: machine.told)


@pytest.mark.asyncio
async def test_what_changes_nothing_is_not_told(machine: Machine) -> None:
    machine.kernel.send(link_message(1, 0x43))
    machine.up = (ETH, interface("docker0", "172.17.0.1/16"))
    await machine.looked()
    machine.kernel.send(b"\x01" * 3)
    machine.kernel.send(struct.pack("=IHHII", 0, 16, 0, 0, 0) + os.urandom(5))
    await machine.looked()
    assert machine.told == []


@pytest.mark.asyncio
async def test_an_interface_that_is_not_used_to_multicast_is_told_of_without_renewal(machine: Machine) -> None:
    machine.up = (ETH, interface("wg0", "10.9.0.1/24", multicast=False))
    machine.kernel.send(link_message(9, 0x41))
    await eventually(lambda: machine.told)
    assert machine.told == [False]


@pytest.mark.asyncio
async def test_a_link_that_was_away_for_a_moment_is_told_of(machine: Machine) -> None:
    machine.kernel.send(link_message(ETH.index, 0x3) + link_message(ETH.index, 0x43))
    await eventually(lambda: machine.told)
    assert machine.told == [True]


@pytest.mark.asyncio
async def test_after_sleep_it_may_be_any_network(machine: Machine) -> None:
    machine.asleep_s = 0.5  # a correction of the clock, no sleep
    await machine.looked()
    assert machine.told == []
    machine.asleep_s = 3600.5
    await eventually(lambda: machine.told)
    await machine.looked()
    assert machine.told == [True]


@pytest.mark.asyncio
async def test_a_network_that_flaps_is_told_of_ever_more_rarely(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FLAPPING_S_MAX", 0.4)
    machine.network._limits = replace(LIMITS, network_poll_s=60.0)  # after so long a calm it would begin anew
    told_s: list[float] = []
    for count in range(1, 6):
        machine.kernel.send(link_message(ETH.index, 0x3))
        await eventually(lambda count=count: len(machine.told) == count)  # type: ignore[misc]
        told_s.append(machine.network._reported_s)
    assert told_s[-1] - told_s[-2] >= 0.4


@pytest.mark.asyncio
async def test_interfaces_that_cannot_be_read_are_a_problem_until_they_can(machine: Machine) -> None:
    machine.fails = OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
    await eventually(lambda: "AF_NETLINK" in machine.network.problem)
    assert not machine.network.chosen
    machine.fails = None
    await eventually(lambda: not machine.network.problem)
    assert machine.told == [True, True]
    assert [each.name for each in machine.network.chosen] == ["eth0"]


@pytest.mark.asyncio
async def test_without_the_kernel_the_interfaces_are_read_now_and_then(machine: Machine) -> None:
    machine.kernel.close()
    machine.network._close_netlink()
    machine.up = (OTHER,)
    await eventually(lambda: machine.told == [True])


def test_the_kernel_is_asked_for_changes() -> None:
    netlink = module._open_netlink()
    if netlink is None:
        pytest.skip("the kernel tells nobody of network changes here")
    netlink.close()
    assert module.slept_s() > -1
