"""The pairing window: what works, for how long, and what becomes of it."""

from __future__ import annotations

import pytest

from syncd.core.errors import Refused
from syncd.core.settings import Limits
from syncd.transport.pairing_window import Over, Ticket, Window

LIMITS = Limits(pairing_s_max=600.0, pairing_tries_max=3)
TILL, OTHER = b"till", b"other"


def token(window: Window, secret: bytes = b"one", now_s: float = 0.0) -> Ticket:
    return window.open(secret, "anna", now_s)


def code(window: Window, number: str = "4821", now_s: float = 0.0) -> Ticket:
    return window.open(b"secret of " + number.encode(), "anna", now_s, number)


def take(window: Window, secret: bytes, holder: bytes = TILL, now_s: float = 1.0) -> Ticket:
    return window.take_token(b"proof of " + secret, lambda known: b"proof of " + known, holder, now_s)


def refusal(window: Window, secret: bytes, holder: bytes = TILL, now_s: float = 1.0) -> str:
    with pytest.raises(Refused) as caught:
        take(window, secret, holder, now_s)
    return caught.value.code


def code_refusal(window: Window, number: str, now_s: float = 1.0) -> str:
    with pytest.raises(Refused) as caught:
        window.take_code(number, now_s)
    return caught.value.code


@pytest.fixture
def window() -> Window:
    return Window(LIMITS)


def test_a_window_is_open_from_the_making_of_a_code_or_token_to_its_expiry(window: Window) -> None:
    assert not window.is_open(0.0)
    assert window.expires_s() is None
    code(window)
    token(window, now_s=100.0)
    assert window.expires_s() == 600.0
    assert window.is_open(599.9)
    window.expire(600.0)
    assert window.expires_s() == 700.0
    assert window.is_open(600.0)
    assert not window.is_open(700.0)


def test_what_expires_says_so(window: Window) -> None:
    tickets = [code(window), token(window)]
    window.expire(599.9)
    assert [ticket.over for ticket in tickets] == [None, None]
    window.expire(600.0)
    assert [ticket.over for ticket in tickets] == [Over.EXPIRED, Over.EXPIRED]


# ---------------------------------------------------------------- codes


def test_a_code_is_taken_once_whatever_becomes_of_it(window: Window) -> None:
    ticket = code(window)
    assert window.take_code("4821", 1.0) is ticket
    assert not window.is_open(1.0)
    assert code_refusal(window, "4821") == "code-other"
    window.give_back(ticket)
    assert ticket.over is Over.FAILED
    assert code_refusal(window, "4821") == "code-other"


def test_another_number_costs_nothing(window: Window) -> None:
    ticket = code(window)
    for number in ("4822", "", "04821", "otter"):
        assert code_refusal(window, number) == "code-other"
    assert window.tried == []
    assert window.take_code("4821", 1.0) is ticket


def test_a_token_has_no_number_and_a_code_no_proof(window: Window) -> None:
    token(window)
    assert code_refusal(window, "") == "code-other"
    code(window)
    assert refusal(window, b"secret of 4821") == "token-wrong"


def test_a_code_that_has_expired_is_not_taken(window: Window) -> None:
    code(window)
    assert code_refusal(window, "4821", 600.0) == "code-other"


def test_a_failed_exchange_burns_its_code_only(window: Window) -> None:
    first, second = code(window), code(window, "1234")
    assert not window.failed("192.0.2.7:1", window.take_code("4821", 1.0))
    assert (first.over, second.over) == (Over.WRONG, None)
    assert window.take_code("1234", 1.0) is second
    window.use(second)
    assert second.over is Over.USED


def test_three_failed_exchanges_void_everything(window: Window) -> None:
    tickets = [code(window, str(number)) for number in range(1000, 1005)]
    waiting = token(window)
    under_way = window.take_code("1003", 1.0)
    assert [window.failed(f"192.0.2.{n}:1", window.take_code(str(1000 + n), 1.0)) for n in range(3)] == [
        False,
        False,
        True,
    ]
    assert [ticket.over for ticket in tickets] == [Over.WRONG] * 3 + [Over.CLOSED] * 2
    assert waiting.over is Over.CLOSED
    assert not under_way.taken
    assert window.tried == ["192.0.2.0:1", "192.0.2.1:1", "192.0.2.2:1"]
    assert not window.is_open(1.0)


def test_codes_and_tokens_share_the_tries(window: Window) -> None:
    code(window)
    token(window)
    window.failed("192.0.2.7:1")
    window.failed("192.0.2.7:1", window.take_code("4821", 1.0))
    assert window.is_open(1.0)
    assert window.failed("192.0.2.7:1")
    assert not window.is_open(1.0)


def test_the_number_of_a_code_is_known_for_as_long_as_it_is_remembered(window: Window) -> None:
    code(window)
    assert window.knows("4821")
    assert not window.knows("1234")
    window.close()
    assert window.knows("4821")


# ---------------------------------------------------------------- tokens


def test_a_used_token_is_used_up_and_closes_the_window(window: Window) -> None:
    token(window)
    ticket = take(window, b"one")
    assert window.is_open(1.0)  # it may come back
    window.use(ticket)
    assert not window.is_open(1.0)
    assert refusal(window, b"one", OTHER) == "token-used"


def test_the_device_that_used_a_token_is_answered_again(window: Window) -> None:
    token(window)
    ticket = take(window, b"one")
    window.use(ticket)
    assert take(window, b"one") is ticket
    window.give_back(ticket)
    assert ticket.over is Over.USED


def test_a_token_is_taken_by_one_device_at_a_time(window: Window) -> None:
    token(window)
    ticket = take(window, b"one")
    assert refusal(window, b"one", OTHER) == "token-used"
    window.give_back(ticket)
    assert ticket.over is None
    assert take(window, b"one", OTHER) is ticket


def test_an_expired_token_is_called_expired_for_an_hour_then_forgotten(window: Window) -> None:
    token(window)
    assert refusal(window, b"one", now_s=600.0) == "token-expired"
    assert refusal(window, b"one", now_s=4199.0) == "token-expired"
    assert refusal(window, b"one", now_s=4200.0) == "token-wrong"


def test_a_used_or_expired_token_is_no_failed_exchange(window: Window) -> None:
    token(window)
    window.use(take(window, b"one"))
    for _ in range(5):
        assert refusal(window, b"one", OTHER) == "token-used"
    assert window.tried == []


# ---------------------------------------------------------------- both


def test_a_window_that_was_opened_again_counts_tries_anew(window: Window) -> None:
    token(window)
    for _ in range(3):
        window.failed("192.0.2.7:1")
    token(window, b"two")
    window.failed("192.0.2.7:1")
    window.failed("192.0.2.7:1")
    assert window.is_open(1.0)


def test_one_more_code_gives_no_more_tries(window: Window) -> None:
    token(window)
    window.failed("192.0.2.7:1")
    window.failed("192.0.2.7:1")
    code(window)
    assert window.failed("192.0.2.7:1")
    assert not window.is_open(1.0)


def test_closing_voids_what_was_not_used(window: Window) -> None:
    token(window)
    used = window.open(b"used", "anna", 0.0)
    window.use(take(window, b"used"))
    code(window)
    window.close()
    assert not window.is_open(1.0)
    assert refusal(window, b"one") == "token-expired"
    assert code_refusal(window, "4821") == "code-other"
    assert used.over is Over.USED


def test_only_so_many_are_kept_and_the_oldest_gives_way(window: Window) -> None:
    oldest = token(window)
    for number in range(16):
        token(window, b"%d" % number)
    assert oldest.over is Over.CLOSED
    assert refusal(window, b"one") == "token-wrong"
    take(window, b"15")


def test_a_code_or_token_that_is_logged_does_not_show_its_secret(window: Window) -> None:
    assert "secret of" not in repr(code(window))
