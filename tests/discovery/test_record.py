"""What a primary says of itself is read back; whatever else the network says is passed over."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.discovery import record
from syncd.discovery.record import Text

IDS = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", min_size=8, max_size=8)


def raw(pairs: dict[bytes, bytes]) -> bytes:
    strings = [key + b"=" + value for key, value in pairs.items()]
    return b"".join(bytes((len(string),)) + string for string in strings)


GOOD = record.text_of(Text("ABCDEFG2", 0))


@given(id8=IDS, port=st.integers(0, 65535))
def test_a_text_is_read_as_it_was_written(id8: str, port: int) -> None:
    assert record.read_text(raw(record.text_of(Text(id8, port)))) == Text(id8, port)


@given(id8=IDS)
def test_names_are_read_as_they_were_written_in_any_case(id8: str) -> None:
    assert record.id8_of(id8 + "2" * 44) == id8
    for name in (record.instance_name(id8), record.instance_name(id8).upper(), record.instance_name(id8).title()):
        assert record.id8_of_instance(name) == id8
        assert record.id8_of_server(name) == ""
    assert record.id8_of_server(record.server_name(id8)) == id8


def test_a_text_is_short_and_says_nothing_of_users() -> None:
    written = raw(record.text_of(Text("ABCDEFG2", 65535)))
    assert len(written) < 200
    assert written == b"\x03v=1\x0bid=abcdefg2\x0crole=primary\x0apair=65535"


@given(st.binary(max_size=500))
def test_any_bytes_are_a_text_or_none(junk: bytes) -> None:
    text = record.read_text(junk)
    assert text is None or (len(text.id8) == 8 and 0 <= text.pairing_port < 65536)


@given(st.text(max_size=80))
def test_any_name_is_ours_or_none(name: str) -> None:
    assert len(record.id8_of_instance(name)) in (0, 8)
    assert len(record.id8_of_server(name)) in (0, 8)


@pytest.mark.parametrize(
    "pairs",
    [
        {},
        {**GOOD, b"v": b"2"},
        {**GOOD, b"v": b""},
        {**GOOD, b"role": b"auxiliary"},
        {**GOOD, b"id": b"abcdefg1"},  # 1 is not in the alphabet of ids
        {**GOOD, b"id": b"abcdefg"},
        {**GOOD, b"id": b"abcdefg2h"},
        {**GOOD, b"id": b"abcdefg\xff"},
        {**GOOD, b"id": b"../../a/"},
        {**GOOD, b"more": b"x" * 250, b"and": b"x" * 250},
    ],
)
def test_a_text_of_another_form_is_none(pairs: dict[bytes, bytes]) -> None:
    assert record.read_text(raw(pairs)) is None


@pytest.mark.parametrize(
    "port", [b"", b"0", b"-1", b"+5", b"65536", b"99999", b"080", b" 80", b"8e3", b"80\n", "\u0668".encode(), b"1" * 99]
)
def test_a_pairing_port_that_is_none_means_that_pairing_is_closed(port: bytes) -> None:
    assert record.read_text(raw({**GOOD, b"pair": port})) == Text("ABCDEFG2", 0)


def test_a_cut_text_is_none_and_the_first_of_a_key_counts() -> None:
    written = raw(GOOD)
    assert record.read_text(written[:-1]) is None
    assert record.read_text(written + raw({b"ID": b"22222222", b"pair": b"9"})) == Text("ABCDEFG2", 9)
    assert record.read_text(written + raw({b"unknown": b"\xff"})) == Text("ABCDEFG2", 0)


@pytest.mark.parametrize("bad", ["", "ABCDEFG", "abcdefg2", "ABCDEFG1", "ABCD\nFG2", "ÄBCDEFG2"])
def test_what_is_no_device_id_has_no_name(bad: str) -> None:
    with pytest.raises(ValueError, match="no device id"):
        record.id8_of(bad)


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("syncd-abcdefg2._syncd._tcp.local.", True),
        ("syncd-abcdefg2._syncd._tcp.local", False),
        ("syncd-abcdefg2-2._syncd._tcp.local.", False),
        ("x.syncd-abcdefg2._syncd._tcp.local.", False),
        ("syncd-abcdefg2._syncd._udp.local.", False),
        ("syncd-abcdefg2._syncd._tcp.local.\n", False),
        ("syncd-abcdef\u017f2._syncd._tcp.local.", False),  # folds to an s elsewhere
        ("\u017fyncd-abcdefg2._syncd._tcp.local.", False),
    ],
)
def test_only_the_one_form_of_name_is_ours(name: str, ours: bool) -> None:
    assert bool(record.id8_of_instance(name)) == ours


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("192.168.1.5", "192.168.1.5"),
        ("169.254.3.4", "169.254.3.4"),
        ("0.0.0.0", ""),
        ("0.1.2.3", ""),
        ("127.0.0.1", ""),
        ("224.0.0.251", ""),
        ("255.255.255.255", ""),
        ("2001:db8::5", "2001:db8::5"),
        ("fd00::5", "fd00::5"),
        ("fe80::5", "fe80::5%eth0"),
        ("::", ""),
        ("::1", ""),
        ("ff02::fb", ""),
        ("::ffff:127.0.0.1", ""),
        ("::ffff:10.0.0.1", ""),
    ],
)
def test_only_an_address_to_dial_is_a_host(address: str, host: str) -> None:
    assert record.good_host(ipaddress.ip_address(address).packed, "eth0", loopback=False) == host


def test_loopback_is_a_host_only_where_it_is_used_and_link_local_only_with_its_interface() -> None:
    assert record.good_host(b"\x7f\0\0\x01", "", loopback=True) == "127.0.0.1"
    assert record.good_host(ipaddress.ip_address("fe80::5").packed, "", loopback=True) == ""


@given(st.binary(max_size=20))
def test_any_bytes_are_a_host_or_none(packed: bytes) -> None:
    host = record.good_host(packed, "eth0", loopback=False)
    assert not host or str(ipaddress.ip_address(host)) == host
