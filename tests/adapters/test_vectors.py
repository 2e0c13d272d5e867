"""The wire does not move: each golden vector encodes and decodes to exactly what it says, in both adapters."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from syncd.adapters import canonical
from syncd.adapters.registry import ADAPTERS
from syncd.core import digest
from syncd.core.messages import Objects, Wire
from syncd.core.model import Kind
from syncd.core.settings import Limits
from tests.adapters.vectors import MESSAGES, Vector, load

LIMITS = Limits()
CANONICAL = load("canonical.json")
DIGEST = load("digest.json")

each_message = pytest.mark.parametrize("vector", MESSAGES, ids=lambda vector: vector.name)
each_adapter = pytest.mark.parametrize("name", sorted(ADAPTERS))


@each_adapter
@each_message
def test_a_message_encodes_to_exactly_the_bytes_of_its_vector(vector: Vector, name: str) -> None:
    assert ADAPTERS[name].encode(vector.message) == vector.frames[name]


@each_adapter
@each_message
def test_a_vector_decodes_to_exactly_its_message(vector: Vector, name: str) -> None:
    decoded = ADAPTERS[name].decode(vector.frames[name], LIMITS)
    assert decoded == vector.message
    assert type(decoded) is type(vector.message)


def test_no_message_class_is_without_a_vector() -> None:
    assert {type(vector.message) for vector in MESSAGES} == set(get_args(Wire))


def test_no_adapter_is_without_its_vectors() -> None:
    assert all(vector.frames.keys() == ADAPTERS.keys() for vector in MESSAGES)


def test_no_kind_of_generic_message_is_without_a_vector() -> None:
    kinds = {kind for vector in MESSAGES if isinstance(vector.message, Objects) for kind in vector.message.kinds}
    assert kinds == set(Kind)


def test_vectors_have_names_of_their_own() -> None:
    assert len({vector.name for vector in MESSAGES}) == len(MESSAGES)


def test_the_smallest_frame_is_what_the_prose_says_byte_by_byte() -> None:
    """Written by hand from PROTOCOL.md: a map of three, each text in its shortest form."""
    credit = next(vector for vector in MESSAGES if vector.name == "credit")
    by_hand = b"\x83\xa4kind\xa6credit\xaacollection\xa8contacts\xaereceived_bytes\xce\x00\x04\x00\x00"
    assert credit.frames["msgpack"] == by_hand


def _values(notes: list[Any]) -> list[canonical.Value]:
    """``{"int"}``, ``{"real"}`` and ``{"blob"}`` are what JSON cannot tell apart."""
    return [_value(note) if isinstance(note, dict) else note for note in notes]


def _value(note: dict[str, str]) -> canonical.Value:
    ((tag, text),) = note.items()
    if tag == "int":
        return int(text)
    return float(text) if tag == "real" else bytes.fromhex(text)


@pytest.mark.parametrize("note", CANONICAL, ids=lambda note: note["name"])
def test_values_have_exactly_these_canonical_bytes(note: dict[str, Any]) -> None:
    values, raw = _values(note["values"]), bytes.fromhex(note["hex"])
    assert canonical.pack_values(values) == raw
    back = canonical.unpack_values(raw)
    assert list(map(repr, back)) == list(map(repr, values))  # repr tells 1 from 1.0 and 0.0 from -0.0


def test_canonical_vectors_pass_the_check_for_untrusted_bytes() -> None:
    rows = [bytes.fromhex(note["hex"]) for note in CANONICAL]
    assert len(canonical.check_many(rows)) == len(rows)


@pytest.mark.parametrize("note", DIGEST["objects"], ids=lambda note: f"{note['type']}-{note['key']}")
def test_an_object_has_exactly_this_hash(note: dict[str, str]) -> None:
    prefix = digest.type_prefix(note["type"])
    assert (
        digest.object_hash_bytes(prefix, bytes.fromhex(note["key"]), bytes.fromhex(note["fields"])).hex()
        == note["hash"]
    )


def test_a_set_has_exactly_this_digest() -> None:
    hashes = [int(note["hash"], 16) for note in DIGEST["objects"]]
    assert digest.of([]).hex() == digest.EMPTY.hex() == DIGEST["digest_of_none"]
    assert digest.of(hashes).hex() == DIGEST["digest_of_all"]
    assert digest.of(hashes[1:]).hex() == DIGEST["digest_without_the_first"]
