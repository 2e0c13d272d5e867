"""SPAKE2 and the confirmations: who gets the same key, who does not, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.core.errors import FrameError
from syncd.core.model import Role
from syncd.transport import code
from syncd.transport.pake import Ends, Pake, confirm
from tests.adapters.vectors import DIRECTORY

ENDS = Ends(bytes(range(32)), bytes(range(32, 64)))
SECRET = b"4821-otter-lantern"
VECTOR: dict[str, Any] = json.loads((DIRECTORY / "pairing.json").read_text(encoding="utf-8"))

ORDER = 2**252 + 27742317777372353535851937790883648493


def keys(own: bytes, others: bytes, own_ends: Ends = ENDS, others_ends: Ends = ENDS) -> tuple[bytes, bytes]:
    """What an auxiliary and a primary get."""
    auxiliary, primary = Pake(Role.AUXILIARY, own, own_ends), Pake(Role.PRIMARY, others, others_ends)
    return auxiliary.key(primary.message), primary.key(auxiliary.message)


def test_one_secret_between_the_same_two_gives_one_key() -> None:
    first, second = keys(SECRET, SECRET)
    assert first == second
    assert len(first) == 32


def test_another_secret_or_another_end_gives_another_key() -> None:
    for others, ends in (
        (b"4821-otter-lemon", ENDS),
        (SECRET, ENDS._replace(auxiliary=bytes(32))),
        (SECRET, ENDS._replace(primary=bytes(32))),
        (SECRET, Ends(ENDS.primary, ENDS.auxiliary)),
    ):
        first, second = keys(SECRET, others, others_ends=ends)
        assert first != second


def test_no_two_exchanges_have_the_same_message_or_key() -> None:
    assert Pake(Role.AUXILIARY, SECRET, ENDS).message != Pake(Role.AUXILIARY, SECRET, ENDS).message
    assert keys(SECRET, SECRET) != keys(SECRET, SECRET)


def test_a_message_that_comes_back_is_refused() -> None:
    auxiliary = Pake(Role.AUXILIARY, SECRET, ENDS)
    with pytest.raises(FrameError):
        auxiliary.key(auxiliary.message)
    auxiliary = Pake(Role.AUXILIARY, SECRET, ENDS)
    with pytest.raises(FrameError, match="Reflection"):
        auxiliary.key(b"B" + auxiliary.message[1:])


POINTS = {
    "the neutral one": (1).to_bytes(32, "little"),
    "of order 2": (2**255 - 20).to_bytes(32, "little"),
    "of order 4": bytes(32),
    "of order 8": bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    "not on the curve": (2).to_bytes(32, "little"),
    "of a larger group": (3).to_bytes(32, "little"),
}


@pytest.mark.parametrize("point", POINTS.values(), ids=POINTS.keys())
@pytest.mark.parametrize("role", [Role.AUXILIARY, Role.PRIMARY])
def test_points_that_are_not_of_the_group_are_refused(role: Role, point: bytes) -> None:
    side = b"B" if role is Role.AUXILIARY else b"A"
    with pytest.raises(FrameError):
        Pake(role, SECRET, ENDS).key(side + point)


def test_a_message_that_is_cut_or_longer_is_refused() -> None:
    good = Pake(Role.AUXILIARY, SECRET, ENDS).message
    for bad in (b"", good[:1], good[:-1], good + b"\0", b"C" + good[1:], b"S" + good[1:]):
        with pytest.raises(FrameError):
            Pake(Role.PRIMARY, SECRET, ENDS).key(bad)


@settings(max_examples=20, deadline=None)
@given(st.binary(max_size=40))
def test_any_message_is_taken_or_refused(message: bytes) -> None:
    try:
        key = Pake(Role.PRIMARY, SECRET, ENDS).key(message)
    except FrameError:
        return
    assert len(key) == 32


def test_a_confirmation_is_for_one_key_one_role_one_pair_and_one_course() -> None:
    said = ("one", "two")
    made = {
        confirm(key, role, ends, frames)
        for key in (bytes(32), bytes(31) + b"\1")
        for role in (Role.AUXILIARY, Role.PRIMARY)
        for ends in (ENDS, Ends(ENDS.primary, ENDS.auxiliary))
        for frames in (said, ("onet", "wo"), ("one", "two", ""), ("two", "one"), ())
    }
    assert len(made) == 2 * 2 * 2 * 5


def test_the_golden_exchange() -> None:
    """Fixed scalars: what each end sends, the key, and both confirmations."""
    ends = Ends(bytes.fromhex(VECTOR["auxiliary"]), bytes.fromhex(VECTOR["primary"]))
    secret = code.parse(VECTOR["code"]).secret
    assert secret.hex() == VECTOR["secret"]
    chance = {role: bytes.fromhex(VECTOR["entropy"][role.value]) for role in (Role.AUXILIARY, Role.PRIMARY)}
    sides = {role: Pake(role, secret, ends, lambda n, role=role: chance[role][:n]) for role in chance}  # type: ignore[misc]
    for role, side in sides.items():
        assert len(chance[role]) == 64
        scalar = int.from_bytes(chance[role]) % ORDER
        assert scalar == int(VECTOR["scalar"][role.value], 16)
        assert side.message.hex() == VECTOR["pake"][role.value]
    for role, side in sides.items():
        other = sides[Role.PRIMARY if role is Role.AUXILIARY else Role.AUXILIARY]
        assert side.key(other.message).hex() == VECTOR["key"]
    key, frames = bytes.fromhex(VECTOR["key"]), VECTOR["frames"]
    assert confirm(key, Role.AUXILIARY, ends, frames[:2]).hex() == VECTOR["confirm"]["auxiliary"]
    assert confirm(key, Role.PRIMARY, ends, frames[:3]).hex() == VECTOR["confirm"]["primary"]
