"""What strangers send is passed over, and a family that cannot be had is done without."""

from __future__ import annotations

import errno
import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zeroconf import (  # type: ignore[attr-defined]
    DNSAddress,
    DNSIncoming,
    DNSOutgoing,
    DNSPointer,
    DNSRecord,
    DNSService,
    DNSText,
    RecordUpdate,
    current_time_millis,
)

from syncd.discovery import station as module
from syncd.discovery.record import SERVICE, Text, instance_name, server_name
from syncd.discovery.seen import Heard, Kind
from syncd.discovery.station import Ear, Silent, Station
from tests.discovery.test_interfaces import interface

A = "AAAAAAAA"
TEXT = b"\x03v=1\x0bid=aaaaaaaa\x0crole=primary\x09pair=8766"
IN = 1


def heard(*records: DNSRecord) -> list[Heard]:
    """What the ear hands on of the records, which travel as a packet."""
    out = DNSOutgoing(0x8400)
    for record in records:
        out.add_answer_at_time(record, 0)
    return [one for packet in out.packets() for one in heard_of(packet)]


def heard_of(packet: bytes, loopback: bool = False) -> list[Heard]:
    got: list[list[Heard]] = []
    incoming = DNSIncoming(packet, ("10.0.0.1", 5353))
    updates = [RecordUpdate(record, None) for record in incoming.answers()]
    Ear(got.append, loopback).async_update_records(None, current_time_millis(), updates)  # type: ignore[arg-type]
    return [one for each in got for one in each]


def test_what_a_primary_says_is_handed_on_the_instance_first() -> None:
    one = heard(
        DNSAddress(server_name(A), 1, IN | 0x8000, 120, socket.inet_aton("10.0.0.1")),
        DNSText(instance_name(A), 16, IN, 4500, TEXT),
        DNSService(instance_name(A), 33, IN, 120, 0, 0, 8765, server_name(A)),
        DNSPointer(SERVICE, 12, IN, 4500, instance_name(A)),
    )
    assert [(each.kind, each.id8, each.value) for each in one] == [
        (Kind.INSTANCE, A, None),
        (Kind.PORT, A, 8765),
        (Kind.TEXT, A, Text(A, 8766)),
        (Kind.ADDRESS, A, "10.0.0.1"),
    ]
    assert one[-1].alone
    assert one[-1].family == 4


def test_what_is_not_of_the_one_form_is_passed_over() -> None:
    other = "syncd-bbbbbbbb.local."
    assert not heard(
        DNSPointer("_http._tcp.local.", 12, IN, 4500, instance_name(A)),
        DNSPointer(SERVICE, 12, IN, 4500, "a printer." + SERVICE),
        DNSPointer(SERVICE, 12, IN, 4500, "syncd-aaaaaaaa\n." + SERVICE),
        DNSPointer(SERVICE, 12, IN, 4500, "\udcff\x00\x1b[31m".encode("utf-8", "replace").decode() + "." + SERVICE),
        DNSService(instance_name(A), 33, IN, 120, 0, 0, 0, server_name(A)),
        DNSService(instance_name(A), 33, IN, 120, 0, 0, 8765, other),
        DNSService(instance_name(A), 33, IN, 120, 0, 0, 8765, "gateway.local."),
        DNSText("a printer." + SERVICE, 16, IN, 4500, TEXT),
        DNSAddress("gateway.local.", 1, IN, 120, socket.inet_aton("10.0.0.1")),
        DNSAddress(server_name(A), 1, IN, 120, socket.inet_aton("224.0.0.1")),
        DNSAddress(server_name(A), 28, IN, 120, socket.inet_pton(socket.AF_INET6, "fe80::1")),
    )


def test_thousands_of_instances_of_others_are_passed_over() -> None:
    assert not heard(*(DNSPointer(SERVICE, 12, IN, 4500, f"x{n}.{SERVICE}") for n in range(3000)))


@given(st.binary(max_size=400))
def test_any_packet_is_survived(packet: bytes) -> None:
    heard_of(packet)
    heard_of(b"\0\0\x84\0\0\0\0\x03\0\0\0\0" + packet)


def test_any_damage_to_a_packet_is_survived() -> None:
    out = DNSOutgoing(0x8400)
    out.add_answer_at_time(DNSPointer(SERVICE, 12, IN, 4500, instance_name(A)), 0)
    out.add_answer_at_time(DNSText(instance_name(A), 16, IN, 4500, TEXT), 0)
    [packet] = out.packets()
    for at in range(len(packet)):
        heard_of(packet[:at])
        for flip in (1, 0x80, 0xFF):
            heard_of(packet[:at] + bytes((packet[at] ^ flip,)) + packet[at + 1 :])


BOTH = interface("lo", "127.0.0.1/8", "::1/128")


@pytest.mark.parametrize("number", [errno.EADDRINUSE, errno.EAFNOSUPPORT])
@pytest.mark.asyncio
async def test_where_ipv6_cannot_be_had_ipv4_speaks_alone(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    real = module._try_port

    def fails(family: socket.AddressFamily, dual: bool) -> None:
        if family == socket.AF_INET6:
            raise OSError(number, os.strerror(number))
        real(family, dual)

    monkeypatch.setattr(module, "_try_port", fails)
    station = Station([BOTH], lambda _: None, loopback=True)
    await station.start()
    assert [sender.sock_name[0] for sender in station._zeroconf.zeroconf.engine.senders] == ["127.0.0.1"]
    await station.close(goodbye=True)


@pytest.mark.asyncio
async def test_an_interface_that_cannot_be_joined_is_done_without() -> None:
    gone = interface("gone", "192.0.2.77/24")
    with pytest.raises(Silent, match="multicast"):
        Station([gone], lambda _: None, loopback=False)
    station = Station([gone, BOTH], lambda _: None, loopback=True)
    await station.start()
    await station.close(goodbye=False)
