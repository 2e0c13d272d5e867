"""When a collection is synchronized: what a person writes, and when a window is open, by a clock that jumps twice a
year."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.core.schedule import CONTINUOUS, DAY_MIN, MANUAL, WEEK_MIN, Clock, Schedule, Schedules, Window, read_schedule

ALL_DAYS = frozenset(range(7))
MON, TUE, SUN = 0, 1, 6


def at(day: int, hour: int, minute: int = 0) -> int:
    return day * DAY_MIN + hour * 60 + minute


def window(text: str) -> Window:
    found = read_schedule(f"within {text}").window
    assert found is not None
    return found


# ---------------------------------------------------------------- what a person writes


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("continuous", "continuous"),
        ("manual", "manual"),
        ("every 15min", "every 15min"),
        ("every 60 min", "every 1h"),
        ("within 22:00-06:00", "within 22:00-06:00"),
        ("within 9:00-17:30 mon-fri", "within 09:00-17:30 mon-fri"),
        ("within 9:00-17:30 mon-sun", "within 09:00-17:30"),
        ("within 00:00-24:00 sun,sat", "within 00:00-24:00 sat-sun"),
        ("within 20:00-08:00 fri-mon", "within 20:00-08:00 mon,fri-sun"),
        ("within 22:00-06:00 every 1h", "every 1h within 22:00-06:00"),
        ("every 90s within 22:00-06:00 mon,wed,fri", "every 90s within 22:00-06:00 mon,wed,fri"),
    ],
)
def test_a_schedule_has_one_form(text: str, canonical: str) -> None:
    assert read_schedule(text).canonical == canonical
    assert read_schedule(canonical) == read_schedule(text)
    assert Schedules().show(Schedules().parse(text)) == canonical


def test_the_two_without_a_time_are_the_same_each_time() -> None:
    assert read_schedule("continuous") is CONTINUOUS
    assert read_schedule("manual") is MANUAL


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "sometimes", "manual within 22:00-06:00", "continuous manual", "every", "every 1s", "every 31d",
        "every 15min every 1h", "within", "within 22:00", "within 22:00-22:00", "within 24:00-06:00",
        "within 22:60-06:00", "within 22:00-24:01", "within 22:00-06:00 someday", "within 22:00-06:00 mon tue",
        "within 22:00-06:00 mon-", "within 22:00-06:00 ,", "15min every 1h", "within \uff12\uff12:00-06:00", "every 15",
        "every 1h " * 20, "within 22:00-06:00 " + "mon," * 100,
    ],
)  # fmt: skip
def test_what_is_none_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match="use continuous, manual, every 15min, within"):
        read_schedule(text)


@given(
    st.text(max_size=60)
    | st.lists(st.sampled_from("every within manual 5min 9:00-8:00 mon-fri , -".split())).map(" ".join)
)
def test_any_text_is_a_schedule_or_is_refused(text: str) -> None:
    try:
        read = read_schedule(text)
    except ValueError:
        return
    assert read_schedule(read.canonical) == read


days = st.frozensets(st.integers(0, 6), min_size=1)
windows = st.builds(Window, st.integers(0, DAY_MIN - 1), st.integers(1, DAY_MIN - 1), days)
whole_days = st.builds(Window, st.just(0), st.just(DAY_MIN), days)


@given(st.builds(Schedule, st.just(0) | st.integers(5, 86_400), st.none() | windows | whole_days))
def test_what_is_shown_is_read_as_the_same(schedule: Schedule) -> None:
    assert read_schedule(schedule.canonical) == schedule


# ---------------------------------------------------------------- when it is open


def test_a_window_over_midnight_belongs_to_the_day_on_which_it_opens() -> None:
    night = window("22:00-06:00 sun")
    assert [night.has(minute) for minute in (at(SUN, 21, 59), at(SUN, 22), at(MON, 5, 59), at(MON, 6))] == [
        False, True, True, False,
    ]  # fmt: skip
    assert not night.has(at(MON, 22))
    assert window("22:00-06:00").has(at(TUE, 0))


def test_a_whole_day_is_never_closed() -> None:
    assert all(window("00:00-24:00").has(minute) for minute in range(0, WEEK_MIN, 7))
    assert window("12:00-24:00").has(at(MON, 23, 59))


def clock(minute: int, shift_in_min: int = 0, shift_min: int = 0) -> Clock:
    return Clock(minute, 0, 0.0, shift_in_min, shift_min)


def test_it_is_known_when_it_opens() -> None:
    night = window("22:00-06:00 mon-fri")
    assert night.opens_in_min(clock(at(MON, 23))) == 0
    assert night.opens_in_min(clock(at(MON, 6))) == 16 * 60
    assert night.opens_in_min(clock(at(5, 6))) == 2 * DAY_MIN + 16 * 60  # saturday, until monday night


def test_where_an_hour_is_left_out_it_opens_an_hour_sooner_and_what_lies_in_it_a_day_later() -> None:
    """Two o'clock becomes three."""
    before = clock(at(SUN, 0), 120, 60)
    assert window("06:00-07:00").opens_in_min(before) == 5 * 60
    assert window("02:15-02:45").opens_in_min(before) == DAY_MIN + 135 - 60
    assert window("02:30-03:30").opens_in_min(before) == 120, "its second half is there"


def test_where_an_hour_comes_twice_it_opens_twice() -> None:
    """Three o'clock becomes two."""
    before, between = clock(at(SUN, 1), 120, -60), clock(at(SUN, 2, 50), 10, -60)
    assert window("06:00-07:00").opens_in_min(before) == 6 * 60
    assert window("02:00-02:30").opens_in_min(before) == 60
    assert window("02:00-02:30").opens_in_min(between) == 10, "once more"


@given(windows, st.integers(0, WEEK_MIN - 1), st.integers(0, 2_000), st.sampled_from((-60, -30, 0, 30, 60)))
def test_it_opens_at_the_first_minute_at_which_it_is_open(
    window: Window, minute: int, shift_in_min: int, shift_min: int
) -> None:
    now = clock(minute, shift_in_min, shift_min if shift_in_min else 0)
    minutes = range(WEEK_MIN + DAY_MIN + 1)
    assert window.opens_in_min(now) == next(one for one in minutes if window.has(now.after(one)))


def test_a_time_to_come_is_told_by_the_clock_of_this_minute() -> None:
    assert Clock(0, 60_000_000, 100.0).wall_at(130.5) == 90_500_000
