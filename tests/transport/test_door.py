"""Who keeps a place at the door when more come than may (R15)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from syncd.core.errors import UserError
from syncd.core.settings import Limits
from syncd.transport.door import TELL_S, YOUNG_S, Door, bind
from tests.transport.peers import Clock, Device, dial_or_none, make_device, primary_that_knows, tcp
from tests.wait import eventually


class Street:
    """A door with three places and those who came to it, each from an address of the loopback network."""

    def __init__(self, stack: contextlib.ExitStack, limits: Limits | None = None, homes: Sequence[str] = ()) -> None:
        self.clock = Clock()
        self.turns: list[Callable[[], None]] = []
        limits = limits or Limits(
            strangers_max=3, strangers_of_address_max=3, stranger_tries_max=1_000, strangers_per_s_max=1_000
        )
        self.door = stack.enter_context(Door(bind("127.0.0.1", 0), limits, homes, self.clock, self.turns.append))
        self._stack = stack
        self._inside: list[socket.socket] = []

    def come(self, host: str) -> socket.socket:
        """One more stranger, let in or turned away."""
        one = socket.create_connection(self.door.getsockname(), 5.0, (host, 0))
        self._stack.enter_context(one)
        while self.turns:
            self.turns.pop()()
        with contextlib.suppress(ConnectionAbortedError):
            let_in, _ = self.door.accept()
            self._inside.append(self._stack.enter_context(let_in))
        self.clock.time_s += 0.01
        return one

    def recognize_latest(self) -> None:
        class Transport:
            get_extra_info = {"socket": self._inside[-1]}.get

        class Recognized:
            transport = Transport

        self.door.recognize(Recognized)  # type: ignore[arg-type]


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
    assert "too many strangers, 3 from 127.0.0.2" in told
    street.clock.time_s += TELL_S
    street.come("127.0.0.2")
    assert len(caplog.messages) == 2


def test_a_source_that_comes_in_vain_too_often_is_turned_away_for_a_while() -> None:
    with contextlib.ExitStack() as stack:
        street = Street(stack, Limits(stranger_tries_max=2, stranger_tries_per_s_max=1.0))
        assert [has_a_place(street.come("127.0.0.2")) for _ in range(3)] == [True, True, False]
        assert has_a_place(street.come("127.0.0.3"))
        street.clock.time_s += 1.0
        assert [has_a_place(street.come("127.0.0.2")) for _ in range(2)] == [True, False]


def test_all_sources_together_are_turned_away_where_they_come_too_fast_but_not_a_paired_devices() -> None:
    with contextlib.ExitStack() as stack:
        street = Street(stack, Limits(strangers_per_s_max=3.0))
        device = street.come("127.0.0.9")
        street.recognize_latest()
        many = [street.come(f"127.0.0.{number}") for number in range(2, 7)]
        assert [has_a_place(one) for one in many] == [True, True, True, False, False]
        assert has_a_place(street.come("127.0.0.9"))
        assert has_a_place(device)


def test_a_device_that_comes_back_takes_a_strangers_place_and_keeps_it() -> None:
    with contextlib.ExitStack() as stack:
        street = Street(stack, Limits(strangers_max=2, strangers_per_s_max=1_000.0))
        street.come("127.0.0.9")
        street.recognize_latest()
        many = [street.come(f"127.0.0.{number}") for number in (2, 3)]
        back = street.come("127.0.0.9")
        assert [has_a_place(one) for one in (*many, back)] == [False, True, True]
        crowd = [street.come(f"127.0.0.{number}") for number in range(4, 9)]
        assert has_a_place(back)
        assert sum(has_a_place(one) for one in crowd) == 1


def test_only_a_few_are_taken_in_one_turn_of_the_loop() -> None:
    with contextlib.ExitStack() as stack:
        street = Street(stack, Limits(accepts_max=2))
        for _ in range(3):
            stack.enter_context(tcp(street.door.getsockname()))
        for _ in range(2):
            stack.enter_context(street.door.accept()[0])
        with pytest.raises(BlockingIOError):
            street.door.accept()
        (turn,) = street.turns
        turn()
        stack.enter_context(street.door.accept()[0])


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
    with contextlib.ExitStack() as stack:
        assert Street(stack).door.source_of(host) == source


@pytest.mark.parametrize("device", ["2001:db8:1:2::7", "fe80::7%eth0"])
def test_where_a_device_came_from_is_not_counted_for_its_neighbours(device: str) -> None:
    with contextlib.ExitStack() as stack:
        door = Street(stack, homes=[device]).door
        assert door.source_of(device) == device.partition("%")[0]
        assert door.source_of(device.replace("7", "8")).endswith("/64")


def test_a_devices_address_from_before_the_daemon_began_has_a_place_in_a_flood() -> None:
    with contextlib.ExitStack() as stack:
        street = Street(stack, Limits(strangers_per_s_max=1.0), ["127.0.0.9"])
        many = [street.come(f"127.0.0.{number}") for number in range(2, 7)]
        assert [has_a_place(one) for one in many] == [True, False, False, False, False]
        assert has_a_place(street.come("127.0.0.9"))


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
