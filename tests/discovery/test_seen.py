"""What is found is what was heard last, bounded whatever is heard."""

from __future__ import annotations

from ipaddress import ip_interface

from hypothesis import given
from hypothesis import strategies as st

from syncd.core.found import Found
from syncd.core.settings import Limits
from syncd.discovery.record import Text
from syncd.discovery.seen import Heard, Kind, Near, Seen

A, B, C = "AAAAAAAA", "BBBBBBBB", "CCCCCCCC"
NEAR: Near = (ip_interface("10.0.0.9/24"), ip_interface("172.17.0.1/16"))


def address(id8: str, host: str, ttl_s: float = 120, alone: bool = True) -> Heard:
    return Heard(Kind.ADDRESS, id8, host, ttl_s, alone, 6 if ":" in host else 4)


def all_of(id8: str, *hosts: str, port: int = 1, pair: int = 0) -> list[Heard]:
    return [
        Heard(Kind.INSTANCE, id8, None, 4500),
        Heard(Kind.PORT, id8, port, 120),
        Heard(Kind.TEXT, id8, Text(id8, pair), 4500),
        *(address(id8, host) for host in hosts),
    ]


def fresh() -> Seen:
    return Seen(found_max=3, addresses_max=4)


def ids(seen: Seen, now_s: float) -> list[str]:
    return [each.id8 for each in seen.found(now_s, ())]


def hosts(seen: Seen, now_s: float, near: Near = ()) -> list[str]:
    return [each.rpartition(":")[0] for each in seen.found(now_s, near)[0].addresses]


def test_a_primary_is_found_once_it_has_said_all() -> None:
    records = all_of(A, "10.0.0.1", "fe80::1%eth0", port=8765, pair=99)
    for missing in range(3):
        seen = fresh()
        seen.hear(records[:missing] + records[missing + 1 :], 1)
        assert seen.found(1, ()) == ()
    seen = fresh()
    seen.hear(records[:3], 1)
    assert seen.found(1, ()) == ()
    assert seen.incomplete(1) == [A]
    seen.hear(records[3:], 2)
    assert seen.incomplete(2) == []
    assert seen.found(2, NEAR) == (
        Found(A, ("10.0.0.1:8765", "[fe80::1%eth0]:8765"), ("10.0.0.1:99", "[fe80::1%eth0]:99")),
    )


def test_it_goes_by_its_own_word_and_by_silence() -> None:
    seen = fresh()
    seen.hear(all_of(A, "10.0.0.1") + all_of(B, "10.0.0.2"), 0)
    seen.hear([Heard(Kind.INSTANCE, A, None, 0)], 1)
    assert ids(seen, 1) == [B]
    seen.expire(119)
    assert ids(seen, 119) == [B]
    assert ids(seen, 121) == []
    seen.expire(121)
    assert seen.incomplete(121) == [B], "the instance is told for longer: it is asked about"
    seen.expire(130)
    assert seen.incomplete(130) == []


def test_the_address_that_is_told_last_replaces_those_of_before() -> None:
    seen = fresh()
    seen.hear(all_of(A, "10.0.0.1", "fd00::1"), 0)
    seen.hear([address(A, "10.0.0.2")], 10)
    assert hosts(seen, 10) == ["10.0.0.2", "[fd00::1]"]


def test_addresses_that_come_in_pieces_stand_beside_each_other() -> None:
    seen = fresh()
    seen.hear(all_of(A, "10.0.0.1"), 0)
    seen.hear([address(A, "10.0.0.2")], 0.5)
    assert hosts(seen, 1) == ["10.0.0.2", "10.0.0.1"]
    seen.hear([address(A, "10.0.0.3", alone=False)], 100)
    assert hosts(seen, 100) == ["10.0.0.3", "10.0.0.2", "10.0.0.1"]
    seen.hear([address(A, "10.0.0.2", ttl_s=0)], 101)
    assert hosts(seen, 101) == ["10.0.0.3", "10.0.0.1"]


def test_what_is_near_comes_first_and_what_is_ours_last() -> None:
    seen = fresh()
    seen.hear(all_of(A, "172.17.0.1", "10.0.0.1", "192.168.7.1", "fd00::1"), 0)
    assert hosts(seen, 0, NEAR) == ["10.0.0.1", "192.168.7.1", "[fd00::1]", "172.17.0.1"]


def test_another_network_leaves_who_answers_there() -> None:
    seen = fresh()
    seen.hear(all_of(A, "10.0.0.1") + all_of(B, "10.0.0.2"), 0)
    seen.doubt(10, within_s=5)
    assert ids(seen, 14) == [A, B]
    seen.hear(all_of(B, "10.1.0.2"), 14)
    assert ids(seen, 16) == [B]


def test_this_device_is_not_found() -> None:
    seen = fresh()
    seen.own = A
    seen.hear(all_of(A, "10.0.0.1") + all_of(B, "10.0.0.2"), 0)
    assert ids(seen, 0) == [B]


def test_there_is_room_for_so_many_and_for_those_that_are_wanted() -> None:
    seen = fresh()
    seen.wanted = frozenset([A])
    for last in "DEFGH":
        seen.hear(all_of("AAAAAAA" + last, "10.0.0.1"), 0)
    assert len(ids(seen, 0)) == 3
    seen.hear(all_of(A, "10.0.0.1"), 1)
    assert A in ids(seen, 1)
    assert len(ids(seen, 1)) == 3
    seen.hear(all_of(C, "10.0.0.1"), 1)
    assert A in ids(seen, 1)


def test_instances_that_say_no_more_make_room() -> None:
    seen = fresh()
    for last in "DEF":
        seen.hear([Heard(Kind.INSTANCE, "AAAAAAA" + last, None, 4500)], 0)
    seen.hear(all_of(A, "10.0.0.1"), 1)
    assert ids(seen, 1) == []
    seen.expire(6)
    seen.hear(all_of(A, "10.0.0.1"), 6)
    assert ids(seen, 6) == [A]


def test_a_long_list_of_addresses_is_cut_to_the_newest() -> None:
    seen = fresh()
    seen.hear(all_of(A, "10.0.0.1"), 0)
    for last in range(2, 200):
        seen.hear([address(A, f"10.0.0.{last}", alone=False)], last / 2)
    assert hosts(seen, 100) == [f"10.0.0.{last}" for last in (199, 198, 197, 196)]


def test_so_many_addresses_of_a_primary_are_remembered() -> None:
    """``found_addresses_max``"""
    most = Limits().found_addresses_max
    for told in (most, most + 1):
        seen = Seen(found_max=3, addresses_max=most)
        seen.hear(all_of(A, *(f"10.0.0.{last}" for last in range(1, told + 1))), 0)
        assert len(hosts(seen, 0)) == most


def test_a_text_of_another_id_is_no_text() -> None:
    seen = fresh()
    seen.hear(all_of(A, "10.0.0.1"), 0)
    seen.hear([Heard(Kind.TEXT, A, Text(B, 5), 4500)], 1)
    assert ids(seen, 1) == []


HEARD = st.builds(
    Heard,
    st.sampled_from(Kind),
    st.sampled_from([A, B, C, "DDDDDDDD", "EEEEEEEE"]),
    st.one_of(st.none(), st.integers(1, 65535), st.just(Text(A, 7)), st.just(Text(B, 0))),
    st.sampled_from([0.0, 1.0, 120.0, 1e12]),
    st.booleans(),
)
ADDRESSES = st.builds(address, st.sampled_from([A, B]), st.ip_addresses(v=4).map(str), st.sampled_from([0.0, 120.0]))


@given(
    st.lists(st.tuples(st.lists(HEARD.filter(lambda one: one.kind is not Kind.ADDRESS) | ADDRESSES), st.floats(0, 90)))
)
def test_whatever_is_heard_is_bounded(packets: list[tuple[list[Heard], float]]) -> None:
    seen = fresh()
    now_s = 0.0
    for records, later_s in packets:
        now_s += later_s
        seen.hear(records, now_s)
        seen.expire(now_s)
        found = seen.found(now_s, NEAR)
        assert len(found) <= 3
        assert all(1 <= len(each.addresses) <= 4 for each in found)
        assert len(seen.incomplete(now_s)) <= 3
    seen.expire(now_s + 1e6)
    assert seen.found(now_s + 1e6, ()) == ()
    assert seen.incomplete(now_s + 1e6) == []
