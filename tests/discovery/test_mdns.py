"""Discovery goes on whatever the network does, and says what is wrong."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import time
from collections.abc import Callable
from ipaddress import ip_address

import pytest

from syncd.core.settings import Limits
from syncd.discovery import mdns as module
from syncd.discovery import network, station
from syncd.discovery.interfaces import Interface, outward
from syncd.discovery.mdns import MdnsDiscovery
from syncd.discovery.seen import Heard, Kind
from tests.discovery.kit import seen, some_id
from tests.discovery.test_interfaces import interface
from tests.wait import eventually

pytestmark = pytest.mark.slow  # the network has its own pace

QUICK = Limits(network_poll_s=0.2, network_settle_s=0.05)
LO = interface("lo", "127.0.0.1/8", loopback=True, multicast=False)
LO_MOVED = interface("lo", "127.0.0.9/8", loopback=True, multicast=False)


class Interfaces:
    """The interfaces of one machine of the test; others see the real ones."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.up: tuple[Interface, ...] = (LO,)
        monkeypatch.setattr(network, "read", lambda: self.up)
        monkeypatch.setattr(network, "_TICK_S", 0.05)


def on_loopback(
    on_change: Callable[[], None] = lambda: None, on_network: Callable[[], None] = lambda: None
) -> MdnsDiscovery:
    return MdnsDiscovery(on_change, on_network, interfaces=("lo",), limits=QUICK)


def taken(family: socket.AddressFamily, dual: bool) -> None:
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


@pytest.mark.asyncio
async def test_a_port_that_is_taken_is_a_problem_until_it_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    device = some_id()
    async with on_loopback() as other:
        with monkeypatch.context() as patched:
            patched.setattr(station, "_try_port", taken)
            primary = on_loopback()
            await primary.__aenter__()
            await primary.advertise(device, 8765)
            assert "5353" in str(await eventually(lambda: primary.problem))
        await eventually(lambda: not primary.problem)
        await eventually(lambda: seen(other, device))
        await primary.__aexit__(None, None, None)


@pytest.mark.asyncio
async def test_without_an_interface_it_waits_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Interfaces(monkeypatch)
    machine.up = ()
    device = some_id()
    changes = asyncio.Event()
    async with on_loopback(on_network=changes.set) as primary:
        await primary.advertise(device, 8765)
        assert "no network interface" in str(await eventually(lambda: primary.problem))
        assert "config.toml" in primary.problem
        machine.up = (LO,)
        await eventually(lambda: not primary.problem)
        assert changes.is_set()
        async with on_loopback() as auxiliary:
            await eventually(lambda: seen(auxiliary, device))
            machine.up = ()
            await eventually(lambda: primary.problem and auxiliary.problem)


@pytest.mark.asyncio
async def test_an_address_that_changes_is_seen_in_place_of_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Interfaces(monkeypatch)
    device = some_id()
    async with on_loopback() as primary, on_loopback() as auxiliary:
        await primary.advertise(device, 8765)
        await eventually(lambda: (each := seen(auxiliary, device)) and each.addresses == ("127.0.0.1:8765",))
        machine.up = (LO_MOVED,)
        await eventually(lambda: (each := seen(auxiliary, device)) and each.addresses[0] == "127.0.0.9:8765")
        await eventually(lambda: (each := seen(auxiliary, device)) and each.addresses == ("127.0.0.9:8765",))


@pytest.mark.asyncio
async def test_after_sleep_it_is_announced_and_asked_anew() -> None:
    device = some_id()
    told = asyncio.Event()
    async with on_loopback() as primary, on_loopback(on_network=told.set) as auxiliary:
        await primary.advertise(device, 8765)
        await eventually(lambda: seen(auxiliary, device))
        before = auxiliary._station
        assert auxiliary._network
        auxiliary._network.slept_s = lambda: 3600.0
        async with asyncio.timeout(30):
            await told.wait()
        await eventually(lambda: auxiliary._station is not before)
        assert seen(auxiliary, device)


@pytest.mark.asyncio
async def test_an_address_on_no_network_of_discovery_is_a_problem() -> None:
    async with on_loopback() as primary:
        await primary.advertise(some_id(), 8765, host="192.0.2.77")
        await eventually(lambda: "listens" in primary.problem)
        assert "`listen` in config.toml" in primary.problem
        await primary.withdraw()
        await eventually(lambda: not primary.problem)


def test_of_very_many_addresses_the_one_towards_far_networks_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many a machine has more networks for its containers than addresses are told."""
    monkeypatch.setattr(module, "outward", lambda: frozenset([ip_address("192.168.1.5"), ip_address("fd00::5")]))
    bridges = [interface(f"br{n}", f"172.{17 + n}.0.1/16") for n in range(12)]
    up = [*bridges, interface("eth0", "192.168.1.5/24", "fd00::5/64", "fe80::5/64")]
    most = Limits().found_addresses_max
    told = [str(address.ip) for address in module._advertised(up, "", most)]
    assert told[:3] == ["192.168.1.5", "fd00::5", "172.17.0.1"]
    assert len(told) == most


def test_the_addresses_towards_far_networks_are_of_this_machine() -> None:
    assert all(not address.is_unspecified for address in outward())


@pytest.mark.asyncio
async def test_another_machine_that_answers_with_our_name_is_a_problem() -> None:
    device = some_id()
    async with on_loopback() as primary, on_loopback() as auxiliary:
        await primary.advertise(device, 8765)
        await eventually(lambda: seen(auxiliary, device))
        primary._hear([Heard(Kind.ADDRESS, device[:8], "127.0.0.1", 120.0)])
        assert not primary.problem
        primary._hear([Heard(Kind.ADDRESS, device[:8], "192.0.2.77", 120.0)])
        assert "another machine" in primary.problem
        assert seen(auxiliary, device), "a stranger who says so does not silence us"


@pytest.mark.asyncio
async def test_a_name_that_is_free_again_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_COPIED_RETRY_S", 0.2)
    device = some_id()
    async with on_loopback() as auxiliary, on_loopback() as copy:
        async with on_loopback() as primary:
            await primary.advertise(device, 8765)
            await eventually(lambda: seen(auxiliary, device))
            await copy.advertise(device, 9000)
            await eventually(lambda: copy.problem)
        await eventually(lambda: not copy.problem)
        found = await eventually(lambda: seen(auxiliary, device))
        assert found
        assert found.addresses[0] == "127.0.0.1:9000"


@pytest.mark.asyncio
async def test_a_fault_of_the_package_does_not_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    device = some_id()
    with monkeypatch.context() as patched:
        patched.setattr(station, "_open", lambda _: 1 // 0)
        broken = on_loopback()
        await broken.__aenter__()
        await broken.advertise(device, 8765)
        await eventually(lambda: "log" in broken.problem)
    await eventually(lambda: not broken.problem)
    await broken.__aexit__(None, None, None)


@pytest.mark.asyncio
async def test_it_ends_in_a_bounded_time_at_any_moment() -> None:
    for pause_s in (0.0, 0.001, 0.01, 0.05, 0.1, 0.3):
        begun = time.monotonic()
        async with on_loopback() as primary:
            await primary.advertise(some_id(), 8765)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await asyncio.Event().wait()
        assert time.monotonic() - begun < pause_s + 10.0


@pytest.mark.asyncio
async def test_a_close_that_hangs_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(station, "_CLOSE_S_MAX", 0.05)
    async with on_loopback() as primary:
        await eventually(lambda: primary._station)
        assert primary._station
        monkeypatch.setattr(primary._station._zeroconf, "async_close", asyncio.Event().wait)
