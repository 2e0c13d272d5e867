"""How fast: what a rate lets through, and how it is written (R15)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.core.errors import UserError
from syncd.core.pace import BURST_S, bucket
from syncd.core.preferences import TABLE

steps = st.lists(st.tuples(st.floats(0, 5), st.integers(1, 5_000)), min_size=1, max_size=60)


@given(st.integers(1, 10_000), steps)
def test_no_more_leaves_than_the_rate_a_burst_and_one_frame(rate: int, frames: list[tuple[float, int]]) -> None:
    account, now, sent = bucket(rate, 0.0), 0.0, list[tuple[float, int]]()
    for pause_s, size_bytes in frames:
        now += pause_s
        if account.ready(now):
            account = account.spent(size_bytes, now)
            sent.append((now, size_bytes))
    for first, (begin, _) in enumerate(sent):
        total, largest = 0, 0
        for end, size_bytes in sent[first:]:
            total, largest = total + size_bytes, max(largest, size_bytes)
            assert total <= rate * (end - begin + BURST_S) + largest + 1e-6


@given(st.integers(1, 10_000), st.integers(1, 1_000_000), st.floats(0, 1e6))
def test_what_left_is_paid_for_in_its_time_and_then_more_leaves(rate: int, size_bytes: int, begin: float) -> None:
    account = bucket(rate, begin).spent(size_bytes, begin)
    due_s = (size_bytes - rate * BURST_S) / rate
    assert account.ready(begin + max(0.0, due_s) + 1e-3 + due_s * 1e-6)
    if due_s > 1e-2:
        assert not account.ready(begin + due_s * 0.99 - 1e-3)


def test_a_clock_that_goes_back_gives_nothing_and_takes_nothing() -> None:
    account = bucket(100, 50.0).spent(100, 50.0)
    assert account.now(10.0).bytes == 0.0
    assert not account.ready(50.0)
    assert account.ready(50.5)


def test_a_rate_is_written_with_its_unit() -> None:
    rate = TABLE["rate"]
    for text, value, shown in (
        ("1 MiB/s", 1 << 20, "1 MiB/s"),
        ("1.5kib/s", 1_536, "1536 B/s"),
        ("unlimited", 0, "unlimited"),
        ("2048 B/s", 2_048, "2 KiB/s"),
    ):
        assert rate.parse(text) == value
        assert rate.kind.show(value) == shown
        assert rate.parse(shown) == value
    for text in ("1 MiB", "0 B/s", "1 B/s", "fast", "", "1 MB/s"):
        with pytest.raises(UserError, match="rate cannot be ") as caught:
            rate.parse(text)
        assert "unlimited, or a value from 1 KiB/s to 1 TiB/s, in B/s, KiB/s" in caught.value.advice
