"""The token line: what a person copies, and what goes wrong with copying."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.core.errors import UserError
from syncd.transport import token
from syncd.transport.token import Token

FINGERPRINT = bytes(range(32))
SECRET = bytes(range(100, 116))
LINE = token.make(FINGERPRINT, SECRET, ["192.168.1.5:8765", "my-shop.local:8765"])


def test_a_token_line_gives_back_what_it_was_made_of() -> None:
    assert token.parse(LINE) == Token(FINGERPRINT, SECRET, ("192.168.1.5:8765", "my-shop.local:8765"))


def test_a_token_line_is_one_line_that_begins_with_its_version() -> None:
    assert LINE.startswith("syncd1-")
    assert len(LINE.split()) == 1


@pytest.mark.parametrize("written", [LINE.upper(), f"  {LINE}\n", LINE[:40] + " \n " + LINE[40:]])
def test_case_spaces_and_line_breaks_do_not_matter(written: str) -> None:
    assert token.parse(written) == token.parse(LINE)


def test_dashes_within_the_code_do_not_matter() -> None:
    code, _, where = LINE.removeprefix("syncd1-").partition("@")
    grouped = "-".join(code[i : i + 4] for i in range(0, len(code), 4))
    assert token.parse(f"syncd1-{grouped}@{where}") == token.parse(LINE)


@pytest.mark.parametrize("length", range(8, LINE.index("@") + 1))
def test_a_line_cut_within_the_code_is_called_cut(length: int) -> None:
    with pytest.raises(UserError, match="cut short"):
        token.parse(LINE[:length])


@pytest.mark.parametrize("length", range(LINE.index("@") + 1, len(LINE)))
def test_a_line_cut_within_the_addresses_is_noticed(length: int) -> None:
    with pytest.raises(UserError, match="its end is missing"):
        token.parse(LINE[:length])


@given(st.integers(7, LINE.index("@") - 1), st.sampled_from("abcdefghijklmnopqrstuvwxyz234567"))
def test_a_mistyped_letter_is_called_mistyped(place: int, letter: str) -> None:
    typed = LINE[:place] + letter + LINE[place + 1 :]
    if typed != LINE:
        with pytest.raises(UserError, match="mistyped"):
            token.parse(typed)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "does not begin"),
        ("4821-otter", "does not begin"),
        (LINE.replace("syncd1", "syncd2"), "does not begin"),
        (LINE.replace("@", "aaaa@"), "too long"),
        (LINE[:20] + "1" + LINE[21:], "a character that no token has"),
        (LINE[:20] + "é" + LINE[21:], "a character that no token has"),
    ],
)
def test_what_is_no_token_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(UserError, match=why) as caught:
        token.parse(text)
    assert "syncd pair --token" in caught.value.advice


@given(st.text())
def test_any_text_is_a_token_or_a_usage_error(text: str) -> None:
    with pytest.raises(UserError):
        token.parse("syncd1-" + text)


def test_a_token_that_is_logged_does_not_show_its_secret() -> None:
    assert repr(SECRET) not in repr(token.parse(LINE))


def test_a_token_can_be_used_at_another_address() -> None:
    assert token.parse(LINE).at("[::1]:99").addresses == ("[::1]:99",)


def test_a_proof_is_for_one_role_one_secret_and_two_fingerprints() -> None:
    proofs = {
        token.prove(secret, role, primary, auxiliary)
        for secret in (SECRET, bytes(16))
        for role in ("primary", "auxiliary")
        for primary in (FINGERPRINT, bytes(32))
        for auxiliary in (FINGERPRINT, bytes(32))
    }
    assert len(proofs) == 16
