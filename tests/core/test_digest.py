"""The proof that two devices hold the same (R14): a checksum of a set, kept up to date change by change."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from syncd.adapters.canonical import pack_values
from syncd.core import digest

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
ROWS = st.lists(st.integers(), max_size=3).map(lambda values: pack_values([str(value) for value in values]))
OBJECTS = st.tuples(NAMES, ROWS, ROWS)


def hash_of(one: tuple[str, bytes, bytes]) -> int:
    name, key, fields = one
    return digest.object_hash(digest.type_prefix(name), key, fields)


def test_nothing_has_the_empty_digest() -> None:
    assert digest.of([]) == digest.EMPTY == bytes(16)


@given(st.lists(OBJECTS, max_size=8), st.integers())
def test_order_does_not_matter(objects: list[tuple[str, bytes, bytes]], shuffle: int) -> None:
    other = list(objects)
    random.Random(shuffle).shuffle(other)
    assert digest.of(map(hash_of, objects)) == digest.of(map(hash_of, other))


@given(st.lists(OBJECTS, max_size=8), OBJECTS)
def test_an_object_that_came_and_went_leaves_no_trace(
    objects: list[tuple[str, bytes, bytes]], one: tuple[str, bytes, bytes]
) -> None:
    before = digest.of(map(hash_of, objects))
    with_it = digest.add(before, hash_of(one))
    assert with_it != before
    assert digest.add(with_it, -hash_of(one)) == before


@given(st.lists(OBJECTS, max_size=8), st.lists(OBJECTS, max_size=8))
def test_changes_summed_up_change_as_much_as_one_by_one(
    gone: list[tuple[str, bytes, bytes]], came: list[tuple[str, bytes, bytes]]
) -> None:
    step_by_step = digest.EMPTY
    for one in came:
        step_by_step = digest.add(step_by_step, hash_of(one))
    for one in gone:
        step_by_step = digest.add(step_by_step, -hash_of(one))
    assert digest.add(digest.EMPTY, sum(map(hash_of, came)) - sum(map(hash_of, gone))) == step_by_step


def test_the_same_fields_twice_do_not_cancel_out() -> None:
    one = hash_of(("t", pack_values([1]), pack_values(["a"])))
    assert digest.of([one, one]) not in (digest.EMPTY, digest.of([one]))


@given(OBJECTS, OBJECTS)
def test_different_objects_have_different_hashes(
    one: tuple[str, bytes, bytes], other: tuple[str, bytes, bytes]
) -> None:
    assert (hash_of(one) == hash_of(other)) == (one == other)


def test_what_belongs_to_the_name_is_not_taken_for_the_key() -> None:
    key, fields = pack_values(["k"]), pack_values(["f"])
    joined = hash_of(("t" + key.decode("latin-1"), fields, b""))
    assert hash_of(("t", key, fields)) != joined
    assert digest.type_prefix("ab") + b"c" != digest.type_prefix("abc")


def test_what_belongs_to_the_key_is_not_taken_for_the_fields() -> None:
    assert hash_of(("t", pack_values(["a", "b"]), pack_values([]))) != hash_of(
        ("t", pack_values(["a"]), pack_values(["b"]))
    )


def test_a_whole_number_and_a_real_are_different_objects() -> None:
    key = pack_values([1])
    assert hash_of(("t", key, pack_values([1]))) != hash_of(("t", key, pack_values([1.0])))


@given(OBJECTS)
def test_the_hash_that_is_stored_is_the_hash_that_is_summed(one: tuple[str, bytes, bytes]) -> None:
    name, key, fields = one
    stored = digest.object_hash_bytes(digest.type_prefix(name), key, fields)
    assert len(stored) == digest.DIGEST_BYTES
    assert int.from_bytes(stored, "big") == hash_of(one)


def test_the_sum_wraps_around() -> None:
    largest = (1 << 128) - 1
    assert digest.of([largest, 1]) == digest.EMPTY
    assert digest.add(digest.EMPTY, -1) == largest.to_bytes(16, "big")
