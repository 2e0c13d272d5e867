"""Settings: every wait, queue and frame has a limit with a unit, and they fit together (R15)."""

from __future__ import annotations

import re
from dataclasses import FrozenInstanceError, fields
from itertools import pairwise

import pytest

from syncd.core.settings import Limits, back_off, check_name

LIMITS = Limits()
UNITS = re.compile(r"_(bytes|s|rows|items|chars)(_max|_first)?$")


def test_a_limit_is_a_positive_number() -> None:
    names = [field.name for field in fields(Limits)]
    assert [name for name in sorted(names) if not getattr(LIMITS, name) > 0] == []


def test_a_limit_of_seconds_or_bytes_says_so_in_its_name() -> None:
    seconds = [field.name for field in fields(Limits) if isinstance(getattr(LIMITS, field.name), float)]
    assert [name for name in seconds if not UNITS.search(name)] == []


def test_limits_cannot_be_changed_while_the_daemon_runs() -> None:
    with pytest.raises(FrozenInstanceError):
        LIMITS.frame_bytes = 1  # type: ignore[misc]


def test_the_largest_frame_that_is_built_may_be_received() -> None:
    """A frame is closed when it reaches frame_bytes; its last row may be the largest object with the largest key."""
    envelope = 64 * LIMITS.chunk_rows_max + 32 * LIMITS.ties_max
    assert LIMITS.frame_bytes + LIMITS.object_bytes_max + envelope <= LIMITS.message_bytes_max


def test_a_frame_that_is_built_has_no_more_items_than_a_receiver_takes() -> None:
    assert max(LIMITS.chunk_rows_max, LIMITS.ties_max, LIMITS.failed_max) <= LIMITS.array_items_max


def test_credit_comes_before_the_window_is_full() -> None:
    assert LIMITS.credit_bytes + LIMITS.frame_bytes <= LIMITS.window_bytes_max


def test_a_blocked_application_is_given_up_before_its_device_counts_as_stalled() -> None:
    assert LIMITS.busy_s_max < LIMITS.stalled_s


@pytest.mark.parametrize("name", ["a", "A1", "contacts", "till-12.shop_A", "0", "a" * 64])
def test_a_plain_name_is_taken(name: str) -> None:
    assert check_name("collection", name) == name


@pytest.mark.parametrize(
    "name", ["", "-a", ".a", "_a", "a b", "a/b", "..", "a\0", "a\n", "\na", "é", "a" * 65, "a:b", "<b>"]
)
def test_a_name_that_could_be_a_path_or_markup_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"^collection .*letters, digits"):
        check_name("collection", name)


def test_pauses_double_up_to_their_limit() -> None:
    pauses = [back_off(attempt, 0.2, 30.0) for attempt in range(12)]
    assert pauses[:4] == [0.2, 0.4, 0.8, 1.6]
    assert all(earlier <= later for earlier, later in pairwise(pauses))
    assert pauses[-1] == 30.0


def test_a_pause_after_endless_failure_is_still_bounded() -> None:
    assert back_off(10**9, 0.2, 30.0) == 30.0
    assert back_off(40, 1e-12, 3600.0) == pytest.approx(2.0**30 * 1e-12)
