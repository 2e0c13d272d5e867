"""The pairing window: a token works once, for a while, and not after too many wrong tries."""

from __future__ import annotations

import pytest

from syncd.core.errors import Refused
from syncd.core.settings import Limits
from syncd.transport.pairing_window import Ticket, Window

LIMITS = Limits(pairing_s_max=600.0, pairing_tries_max=3)
TILL, OTHER = b"till", b"other"


def take(window: Window, secret: bytes, holder: bytes = TILL, now_s: float = 1.0) -> Ticket:
    return window.take(b"proof of " + secret, lambda known: b"proof of " + known, holder, now_s)


def refusal(window: Window, secret: bytes, holder: bytes = TILL, now_s: float = 1.0) -> str:
    with pytest.raises(Refused) as caught:
        take(window, secret, holder, now_s)
    return caught.value.code


@pytest.fixture
def window() -> Window:
    window = Window(LIMITS)
    window.open(b"one", 0.0)
    return window


def test_a_window_is_open_from_a_tokens_making_to_its_expiry(window: Window) -> None:
    assert not Window(LIMITS).is_open(0.0)
    assert window.is_open(0.0)
    assert window.is_open(599.9)
    assert not window.is_open(600.0)


def test_a_used_token_is_used_up_and_closes_the_window(window: Window) -> None:
    window.use(take(window, b"one"))
    assert not window.is_open(1.0)
    assert refusal(window, b"one", OTHER) == "token-used"


def test_the_device_that_used_a_token_is_answered_again(window: Window) -> None:
    ticket = take(window, b"one")
    window.use(ticket)
    assert take(window, b"one") is ticket


def test_a_token_is_taken_by_one_device_at_a_time(window: Window) -> None:
    ticket = take(window, b"one")
    assert refusal(window, b"one", OTHER) == "token-used"
    window.give_back(ticket)
    assert take(window, b"one", OTHER) is ticket


def test_an_expired_token_is_called_expired_for_an_hour_then_forgotten(window: Window) -> None:
    assert refusal(window, b"one", now_s=600.0) == "token-expired"
    assert refusal(window, b"one", now_s=4199.0) == "token-expired"
    assert refusal(window, b"one", now_s=4200.0) == "token-wrong"


def test_three_wrong_proofs_void_all_open_tokens(window: Window) -> None:
    window.open(b"two", 0.0)
    for _ in range(3):
        assert window.is_open(1.0)
        assert refusal(window, b"guess") == "token-wrong"
    assert not window.is_open(1.0)
    assert refusal(window, b"one") == "token-expired"
    assert refusal(window, b"two") == "token-expired"


def test_a_used_or_expired_token_is_no_wrong_try(window: Window) -> None:
    window.use(take(window, b"one"))
    window.open(b"two", 0.0)
    for _ in range(5):
        assert refusal(window, b"one", OTHER) == "token-used"
    assert window.is_open(1.0)


def test_a_window_that_was_opened_again_counts_tries_anew(window: Window) -> None:
    for _ in range(3):
        refusal(window, b"guess")
    window.open(b"two", 0.0)
    refusal(window, b"guess")
    refusal(window, b"guess")
    assert window.is_open(1.0)


def test_one_more_token_gives_no_more_tries(window: Window) -> None:
    refusal(window, b"guess")
    refusal(window, b"guess")
    window.open(b"two", 0.0)
    refusal(window, b"guess")
    assert not window.is_open(1.0)


def test_closing_voids_what_was_not_used(window: Window) -> None:
    window.close()
    assert not window.is_open(1.0)
    assert refusal(window, b"one") == "token-expired"


def test_only_so_many_tokens_are_kept(window: Window) -> None:
    for number in range(16):
        window.open(b"%d" % number, 0.0)
    assert refusal(window, b"one") == "token-wrong"
    take(window, b"15")
