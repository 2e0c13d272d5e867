"""Whatever bytes come, a decoder answers with a message or with FrameError, quickly: never with anything else."""

from __future__ import annotations

import json
import random
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.adapters.base import Adapter
from syncd.adapters.registry import ADAPTERS
from syncd.core.errors import FrameError
from syncd.core.messages import Wire
from syncd.core.settings import Limits
from tests.adapters.strategies import MESSAGES
from tests.adapters.vectors import MESSAGES as VECTORS
from tests.adapters.vectors import Vector

pytestmark = pytest.mark.slow

LIMITS = Limits()

each_adapter = pytest.mark.parametrize("spoken", ADAPTERS.values(), ids=ADAPTERS)
each_vector = pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["kind", "objects", "report", "b64", "int", "real", "1", "AA=="]),
)
NAMES = st.one_of(st.text(max_size=5), st.sampled_from(["kind", "b64", "int", "real", "cut", "keys", "fields"]))


def trees(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(NAMES, inner, max_size=5), max_leaves=20
    )


def answer(spoken: Adapter, frame: bytes | str) -> Wire | None:
    """The message, or None where the frame was refused. A message that got through is a whole one."""
    try:
        message = spoken.decode(frame, LIMITS)
    except FrameError:
        return None
    assert spoken.decode(spoken.encode(message), LIMITS) == message
    return message


@each_adapter
@given(noise=st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_random_bytes_are_no_message(spoken: Adapter, noise: bytes) -> None:
    assert answer(spoken, noise) is None


@each_adapter
@given(noise=st.text(st.characters(), max_size=200))
@settings(max_examples=300, deadline=None)
def test_random_text_is_no_message(spoken: Adapter, noise: str) -> None:
    assert answer(spoken, noise) is None


@each_adapter
@given(tree=trees(LEAVES | st.binary(max_size=8)))
@settings(max_examples=500, deadline=None)
def test_a_random_msgpack_tree_is_no_message(spoken: Adapter, tree: Any) -> None:
    assert answer(spoken, msgpack.packb(tree)) is None


@each_adapter
@given(tree=trees(LEAVES))
@settings(max_examples=500, deadline=None)
def test_a_random_json_tree_is_no_message(spoken: Adapter, tree: Any) -> None:
    assert answer(spoken, json.dumps(tree)) is None


@given(vector=st.sampled_from(VECTORS), wrong=trees(LEAVES | st.binary(max_size=8)), data=st.data())
@settings(max_examples=800, deadline=None)
def test_a_msgpack_message_with_one_wrong_field_is_a_message_or_refused(
    vector: Vector, wrong: Any, data: st.DataObject
) -> None:
    frame = vector.frames["msgpack"]
    assert isinstance(frame, bytes)
    tree = msgpack.unpackb(frame)
    _spoil(tree, wrong, data)
    answer(ADAPTERS["msgpack"], msgpack.packb(tree))


@given(vector=st.sampled_from(VECTORS), wrong=trees(LEAVES), data=st.data())
@settings(max_examples=800, deadline=None)
def test_a_json_message_with_one_wrong_field_is_a_message_or_refused(
    vector: Vector, wrong: Any, data: st.DataObject
) -> None:
    frame = vector.frames["json"]
    if isinstance(frame, str):
        tree = json.loads(frame)
        _spoil(tree, wrong, data)
        answer(ADAPTERS["json"], json.dumps(tree))


def _spoil(tree: Any, wrong: Any, data: st.DataObject) -> None:
    """Replaces one value anywhere in the tree."""
    places = [(tree, name) for name in tree]
    for box, place in places:
        inner = box[place]
        steps = inner.keys() if isinstance(inner, dict) else range(len(inner)) if isinstance(inner, list) else ()
        places += [(inner, step) for step in steps]
    box, place = data.draw(st.sampled_from(places))
    box[place] = wrong


@given(vector=st.sampled_from(VECTORS), where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(max_examples=2000, deadline=None)
def test_a_flipped_bit_gives_a_message_or_is_refused(vector: Vector, where: float, bit: int) -> None:
    for spoken in ADAPTERS.values():
        frame = vector.frames[spoken.name]
        flipped = bytearray(frame if isinstance(frame, bytes) else frame.encode())
        flipped[int(where * len(flipped))] ^= 1 << bit
        answer(spoken, bytes(flipped) if isinstance(frame, bytes) else flipped.decode(errors="replace"))


@each_adapter
@given(message=MESSAGES, cut=st.floats(0, 1), noise=st.binary(max_size=8))
@settings(max_examples=300, deadline=None)
def test_a_frame_that_ends_in_noise_is_a_message_or_refused(
    spoken: Adapter, message: Wire, cut: float, noise: bytes
) -> None:
    frame = spoken.encode(message)
    kept = frame[: int(cut * len(frame))]
    answer(spoken, kept + noise if isinstance(kept, bytes) else kept + noise.decode(errors="replace"))


@each_adapter
@each_vector
def test_bytes_swapped_by_chance_give_a_message_or_are_refused(spoken: Adapter, vector: Vector, seed: int) -> None:
    chance = random.Random(seed)
    frame = vector.frames[spoken.name]
    for _ in range(50):
        raw = bytearray(frame if isinstance(frame, bytes) else frame.encode())
        for _ in range(chance.randint(1, 4)):
            raw[chance.randrange(len(raw))] = chance.choice(b'\x00\x80\x90\xc0\xc1\xc4\xd4\xdd\xdf\xff"\\{}[],:0')
        answer(spoken, bytes(raw) if isinstance(frame, bytes) else raw.decode(errors="replace"))
