"""Addresses: HOST:PORT."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from syncd.core.errors import UserError
from syncd.transport import address as module
from syncd.transport.address import addresses, format_address, kept, parse_address, reason
from syncd.transport.door import bind


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("127.0.0.1:1", "127.0.0.1", 1), ("till.local:8765", "till.local", 8765), ("[::1]:65535", "::1", 65535)],
)
def test_an_address_is_read_and_written_the_same(text: str, host: str, port: int) -> None:
    assert parse_address(text) == (host, port)
    assert format_address(host, port) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "host",
        ":1",
        "host:",
        "host:x",
        "host:65536",
        "::1:5",
        "[]:5",
        "host:-1",
        "h:٣",
        "h\0:1",
        "\ud800:1",
        "h:" + "1" * 5_000,
    ],
)
def test_what_is_no_address_is_a_usage_error(text: str) -> None:
    with pytest.raises(UserError, match="is no address"):
        parse_address(text)


def test_a_bound_host_is_its_own_address() -> None:
    assert addresses("192.168.1.5", 8765) == ["192.168.1.5:8765"]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", ""])
def test_bound_to_everything_the_loopback_address_comes_last(host: str) -> None:
    found = addresses(host, 8765)
    assert found[-1] == "127.0.0.1:8765"
    assert len(set(found)) == len(found)
    assert all(parse_address(one)[1] == 8765 for one in found)


def test_a_port_in_use_is_named_with_what_to_do() -> None:
    with bind("127.0.0.1", 0) as first, pytest.raises(UserError, match="cannot listen on 127") as caught:
        bind(*first.getsockname())
    assert "config.toml" in caught.value.advice


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 1)"), "Connection refused"),
        (
            OSError("Multiple exceptions: [Errno 111] Connect call failed ('::1', 1), [Errno 101] x"),
            "Connection refused",
        ),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "Name or service not known"),
        (UnicodeError("label too long"), "this is no host name"),
        (OSError("something else"), "something else"),
        (ConnectionResetError(), "the connection was broken off"),
    ],
)
def test_why_an_address_cannot_be_used_is_said_in_words(error: OSError | UnicodeError, words: str) -> None:
    assert reason(error) == words


def test_loopback_is_kept_of_another_machine_only_if_it_answered() -> None:
    named = ("192.0.2.1:8765", "127.0.0.1:8765", "[::1]:8765", "localhost:8765", "till.local:8765")
    assert kept("till.local:8765", named) == ("till.local:8765", "192.0.2.1:8765")
    assert kept("127.0.0.1:8765", named) == ("127.0.0.1:8765", "192.0.2.1:8765", "till.local:8765")


def test_the_addresses_of_interfaces_are_told_whatever_the_interfaces_are_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socket, "if_nameindex", lambda: [(1, os.fsdecode(b"\xff\xfe")), (2, "lo")])
    monkeypatch.setattr(module, "_routed", list)
    assert addresses("0.0.0.0", 1) == ["127.0.0.1:1"]


def test_a_network_with_ipv6_alone_has_addresses_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    table = tmp_path / "if_inet6"
    table.write_text(
        "00000000000000000000000000000001 01 80 10 80       lo\n"
        "fd770001000000000000000000000003 02 40 00 80     eth0\n"
        "fe8000000000000078e153fffe824232 02 40 20 80     eth0\n"
        "20010db8000000000000000000000001 02 40 00 40     eth0\n"  # tentative
    )
    monkeypatch.setattr(module, "_INTERFACES6", table)
    monkeypatch.setattr(module, "_routed", list)
    assert "[fd77:1::3]:1" in addresses("::", 1)
    assert not any("fe80" in one or "2001" in one or "::1]" in one for one in addresses("::", 1))
    assert not any("[" in one for one in addresses("0.0.0.0", 1))
    monkeypatch.setattr(module, "_INTERFACES6", tmp_path / "none")
    assert addresses("::", 1)[-1] == "127.0.0.1:1"
