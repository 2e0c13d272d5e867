"""When a group of edits was made, by the primary's clock (R11)."""

from __future__ import annotations

import pytest

from syncd.core.messages import Made
from syncd.core.pieces import made_us
from syncd.core.settings import Limits

NOW_US = 1_700_000_000 * 1_000_000
SKEW_US = int(Limits().clock_skew_s_max * 1_000_000)


def made_at(time_us: int, clock_us: int) -> int:
    return made_us(Made(1, time_us, 1, whole=True, offered=False), clock_us, NOW_US, Limits())


@pytest.mark.parametrize("sign", [1, -1])
def test_clocks_that_differ_by_more_than_may_be_tell_nothing(sign: int) -> None:
    """``clock_skew_s_max``"""
    clock_us = NOW_US + sign * SKEW_US
    assert made_at(clock_us - 5_000, clock_us) == NOW_US - 5_000
    assert made_at(clock_us - 5_000, clock_us + sign) == 0


def test_nothing_was_made_after_it_came() -> None:
    assert made_at(NOW_US + 5_000, NOW_US) == NOW_US
