"""What discovery keeps, on the real network (loopback) and in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from syncd.core.found import Found
from syncd.discovery.mdns import MdnsDiscovery
from syncd.discovery.memory import Air, MemoryDiscovery
from tests.discovery.kit import quick_probing, seen, some_id
from tests.pace import slower
from tests.wait import eventually

Machine = Callable[..., "AbstractAsyncContextManager[MdnsDiscovery | MemoryDiscovery]"]


@pytest.fixture(params=["mdns", "memory"])
def machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Makes the discovery of one more machine on the network."""
    quick_probing(monkeypatch)
    if request.param == "mdns":
        return lambda on_change=lambda: None: MdnsDiscovery(on_change, interfaces=("lo",))
    air = Air()
    return lambda on_change=lambda: None: MemoryDiscovery(air, on_change)


@pytest.mark.asyncio
async def test_a_primary_is_found_with_its_address(machine: Machine) -> None:
    device = some_id()
    async with machine() as primary, machine() as auxiliary:
        await primary.advertise(device, 8765)
        found = await eventually(lambda: seen(auxiliary, device))
        assert found
        assert found.id8 == device[:8]
        assert "127.0.0.1:8765" in found.addresses
        assert found.pairing == ()
        assert not primary.problem
        assert not auxiliary.problem


@pytest.mark.alone
@pytest.mark.asyncio
async def test_whoever_comes_later_finds_it_soon(machine: Machine) -> None:
    """An answer that others were given less than a second ago waits for that second (RFC 6762, 6), and up to half of
    one to be joined with others."""
    device = some_id()
    async with machine() as primary, machine() as first:
        await primary.advertise(device, 8765)
        await eventually(lambda: seen(first, device))
        async with machine() as later:
            await eventually(lambda: seen(later, device), 2.0 * slower())


@pytest.mark.asyncio
async def test_pairing_is_told_while_it_is_open(machine: Machine) -> None:
    device = some_id()
    async with machine() as primary, machine() as auxiliary:
        await primary.advertise(device, 8765)
        await eventually(lambda: seen(auxiliary, device))
        await primary.advertise(device, 8765, 8766)
        found = await eventually(lambda: (each := seen(auxiliary, device)) and each.pairing and each)
        assert isinstance(found, Found)
        assert "127.0.0.1:8766" in found.pairing
        assert "127.0.0.1:8765" in found.addresses
        await primary.advertise(device, 8765)
        await eventually(lambda: (each := seen(auxiliary, device)) and not each.pairing)


@pytest.mark.asyncio
async def test_another_port_is_seen_in_place_of_the_one_before(machine: Machine) -> None:
    device = some_id()
    async with machine() as primary, machine() as auxiliary:
        await primary.advertise(device, 8765)
        await eventually(lambda: seen(auxiliary, device))
        await primary.advertise(device, 9000)
        found = await eventually(
            lambda: (each := seen(auxiliary, device)) and "127.0.0.1:9000" in each.addresses and each, 1.0
        )
        assert isinstance(found, Found)
        assert not any(address.endswith(":8765") for address in found.addresses)


@pytest.mark.asyncio
async def test_only_the_address_that_the_listener_is_bound_to_is_told(machine: Machine) -> None:
    device = some_id()
    async with machine() as primary, machine() as auxiliary:
        await primary.advertise(device, 8765, host="127.0.0.1")
        found = await eventually(lambda: seen(auxiliary, device))
        assert found
        assert found.addresses == ("127.0.0.1:8765",)


@pytest.mark.asyncio
async def test_a_primary_that_withdraws_is_gone(machine: Machine) -> None:
    device = some_id()
    async with machine() as primary, machine() as auxiliary:
        await primary.advertise(device, 8765)
        await eventually(lambda: seen(auxiliary, device))
        await primary.withdraw()
        await eventually(lambda: not seen(auxiliary, device))
        await primary.advertise(device, 8765)
        await eventually(lambda: seen(auxiliary, device))


@pytest.mark.asyncio
async def test_a_primary_that_ends_is_gone(machine: Machine) -> None:
    device = some_id()
    async with machine() as auxiliary:
        async with machine() as primary:
            await primary.advertise(device, 8765)
            await eventually(lambda: seen(auxiliary, device))
        await eventually(lambda: not seen(auxiliary, device))


@pytest.mark.asyncio
async def test_primaries_are_found_beside_each_other_by_id_and_not_by_themselves(machine: Machine) -> None:
    first, second = sorted((some_id(), some_id()))
    async with machine() as one, machine() as other, machine() as auxiliary:
        await one.advertise(second, 1)
        await other.advertise(first, 2)
        await eventually(lambda: seen(auxiliary, first) and seen(auxiliary, second))
        ours = [each.id8 for each in auxiliary.found() if each.id8 in (first[:8], second[:8])]
        assert ours == [first[:8], second[:8]]
        await eventually(lambda: seen(one, first) and seen(other, second))
        assert not seen(one, second)
        assert not seen(other, first)


@pytest.mark.asyncio
async def test_it_is_told_when_what_is_found_changes(machine: Machine) -> None:
    device = some_id()
    changed = asyncio.Event()
    async with machine() as primary, machine(changed.set) as auxiliary:
        await primary.advertise(device, 8765)
        while not seen(auxiliary, device):
            async with asyncio.timeout(30):
                await changed.wait()
            changed.clear()
        await primary.withdraw()
        while seen(auxiliary, device):
            async with asyncio.timeout(30):
                await changed.wait()
            changed.clear()


@pytest.mark.asyncio
async def test_a_copied_identity_is_a_problem(machine: Machine) -> None:
    device = some_id()
    async with machine() as primary, machine() as auxiliary, machine() as copy:
        await primary.advertise(device, 8765)
        await eventually(lambda: seen(auxiliary, device))
        await copy.advertise(device, 9000)
        assert "another machine" in str(await eventually(lambda: copy.problem))
        assert seen(auxiliary, device)
        await copy.withdraw()
        await eventually(lambda: not copy.problem)


@pytest.mark.asyncio
async def test_what_is_no_device_id_is_not_advertised(machine: Machine) -> None:
    async with machine() as primary:
        for bad in ("", "SHORT", "lower-case", "0189ABCD" * 4):
            with pytest.raises(ValueError, match="no device id"):
                await primary.advertise(bad, 8765)


@pytest.mark.asyncio
async def test_it_can_be_told_before_and_after_it_is_open(machine: Machine) -> None:
    device = some_id()
    primary = machine()
    assert isinstance(primary, MdnsDiscovery | MemoryDiscovery)
    await primary.advertise(device, 8765)
    async with machine() as auxiliary:
        async with primary:
            await eventually(lambda: seen(auxiliary, device))
        await primary.withdraw()
        await eventually(lambda: not seen(auxiliary, device))
