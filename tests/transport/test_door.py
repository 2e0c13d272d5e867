"""Who keeps a place at the door when more come than may (R15)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from syncd.core.errors import UserError
from syncd.core.settings import Limits
from syncd.transport.door import TELL_S, YOUNG_S, Door, bind, source_of
from tests.transport.peers import Clock, Device, dial_or_none, make_device, primary_that_knows, tcp
from tests.wait import eventually


class Street:
    """A door with three places and those who came to it, each from an address of the loopback network."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self.clock = Clock()
        self.door = stack.enter_context(Door(bind("127.0.0.1", 0), 3, lambda: None, self.clock))
        self._stack = stack
        self._inside: list[socket.socket] = []

    def come(self, host: str) -> socket.socket:
        """One more stranger, let in or turned away."""
        one = socket.create_connection(self.door.getsockname(), 5.0, (host, 0))
        self._stack.enter_context(one)
        with contextlib.suppress(ConnectionAbortedError):
            let_in, _ = self.door.accept()
            self._inside.append(self._stack.enter_context(let_in))
        self.clock.time_s += 0.01
        return one


@pytest.fixture
def street() -> Iterator[Street]:
    with contextlib.ExitStack() as stack:
        yield Street(stack)


def has_a_place(stranger: socket.socket) -> bool:
    stranger.setblocking(False)
    try:
        return stranger.recv(1) != b""
    except BlockingIOError:
        return True
    except ConnectionResetError:
        return False


def test_the_source_with_most_strangers_loses_its_oldest_at_once(street: Street) -> None:
    crowd = [street.come("127.0.0.2") for _ in range(3)]
    guest = street.come("127.0.0.3")
    assert [has_a_place(one) for one in (*crowd, guest)] == [False, True, True, True]


def test_a_crowd_never_takes_the_place_of_another_source(street: Street) -> None:
    guest = street.come("127.0.0.3")
    for _ in range(9):
        street.come("127.0.0.2")
        street.clock.time_s += YOUNG_S
    assert has_a_place(guest)


def test_strangers_of_one_source_have_a_moment_before_they_lose_their_place_to_each_other(street: Street) -> None:
    first = [street.come("127.0.0.2") for _ in range(3)]
    assert not has_a_place(street.come("127.0.0.2"))
    assert all(has_a_place(one) for one in first)
    street.clock.time_s += YOUNG_S
    assert has_a_place(street.come("127.0.0.2"))
    assert [has_a_place(one) for one in first] == [False, True, True]


def test_too_many_strangers_are_told_once_a_minute(street: Street, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "syncd")
    for _ in range(6):
        street.come("127.0.0.2")
    (told,) = caplog.messages
    assert "too many strangers, most from 127.0.0.2" in told
    street.clock.time_s += TELL_S
    street.come("127.0.0.2")
    assert len(caplog.messages) == 2


@pytest.mark.parametrize(
    ("host", "source"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_a_stranger_is_counted_for_its_address_or_its_ipv6_network(host: str, source: str) -> None:
    assert source_of(host) == source


def test_a_host_that_cannot_be_a_name_is_one_line() -> None:
    with pytest.raises(UserError, match=r"cannot listen on x{70}.*:8765: this is no host name"):
        bind("x" * 70 + ".example", 8765)


def test_a_port_that_is_taken_is_said_in_words() -> None:
    with bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match="Address already in use") as caught:
            bind("127.0.0.1", port)
    assert "free the port" in caught.value.advice


@pytest.mark.asyncio
async def test_strangers_who_say_nothing_keep_no_device_out(shop: Device, till: Device) -> None:
    limits = Limits(strangers_max=3, open_s_max=30.0)
    async with primary_that_knows(shop, till, limits=limits) as primary:
        with contextlib.ExitStack() as silent:
            for _ in range(3):
                silent.enter_context(tcp(primary.listener.address))
            link = await eventually(lambda: dial_or_none(primary, till))
            assert link is not None
            await link.close()


@pytest.mark.asyncio
async def test_many_devices_behind_one_address_all_come_in_at_once(shop: Device, tmp_path: Path) -> None:
    devices = [make_device(tmp_path, f"till-{number}") for number in range(12)]
    async with primary_that_knows(shop, *devices, limits=Limits(strangers_max=3)) as primary:
        links = await asyncio.gather(*(eventually(partial(dial_or_none, primary, one), 15.0) for one in devices))
        assert all(link is not None and link.is_open for link in links)
        for link in links:
            if link is not None:
                link.abort()
