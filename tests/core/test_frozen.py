"""A frozen value with some fields changed."""

from __future__ import annotations

import dataclasses

import pytest

from syncd.core.frozen import replace
from syncd.core.model import Proof
from tests.core.target_play import Play


def test_it_is_the_value_with_the_fields_changed_and_the_former_stays() -> None:
    before = Play().target
    after = replace(before, peer="desk", received=7)
    assert after == dataclasses.replace(before, peer="desk", received=7)
    assert (before.peer, before.received) == ("", 0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        after.peer = "other"  # type: ignore[misc]


def test_a_value_without_a_dictionary_is_changed_as_well() -> None:
    assert replace(Proof(1, b"", 0), seq=2) == Proof(2, b"", 0)


def test_a_field_that_is_not_there_is_a_fault() -> None:
    with pytest.raises(TypeError, match="has no colour, size"):
        replace(Play().target, size=1, colour=2)  # type: ignore[call-arg]
